//! Ctrl-C and requests to end: the first finishes the step and saves, the second ends at once.

use crate::{Error, Result};
#[cfg(unix)]
use signal_hook::consts::SIGHUP;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag::{register, register_conditional_shutdown};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// A flag that the first Ctrl-C, request to terminate or hang-up of the terminal sets; once it is set, the next ends the process. A hang-up that the
/// process was started to ignore, as `nohup` has it, stays ignored.
pub(super) fn stop_flag() -> Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    let failed =
        |error| Error::Argument { name: "Ctrl-C".into(), problem: format!("the handler cannot be installed: {error}") };
    let mut signals = vec![SIGINT, SIGTERM];
    #[cfg(unix)]
    if !is_ignored(SIGHUP) {
        signals.push(SIGHUP);
    }
    for signal in signals {
        // In this order, so that the first of them does not end the process.
        register_conditional_shutdown(signal, 130, Arc::clone(&flag)).map_err(failed)?;
        register(signal, Arc::clone(&flag)).map_err(failed)?;
    }
    Ok(flag)
}

/// Whether this process ignores a signal; no where the system does not tell.
#[cfg(unix)]
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    // A mask in which the first signal has the lowest bit.
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}
