//! Ctrl-C: the first finishes the step and saves, the second ends at once.

use crate::{Error, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A flag that the first Ctrl-C (or a request to terminate) sets; the second ends the process.
pub(super) fn stop_flag() -> Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&flag);
    let handler = move || {
        if seen.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
    };
    ctrlc::set_handler(handler).map_err(|error| Error::Argument {
        name: "Ctrl-C".into(),
        problem: format!("the handler cannot be installed: {error}"),
    })?;
    Ok(flag)
}
