//! Writing to standard output and to files that the user names.

use crate::{Error, Result};
use serde::Serialize;
use std::io::{ErrorKind, Write};
use std::path::Path;

/// Writes text to standard output. A reader that has gone away (a closed pipe) is no error: what it wanted it has.
pub(super) fn emit(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        Err(source) => Err(Error::Io { path: "standard output".into(), action: "write", source }),
        Ok(()) => Ok(()),
    }
}

/// Writes one JSON value, indented, to standard output.
pub(super) fn emit_json(value: &impl Serialize) -> Result<()> {
    emit(&format!("{}\n", json_text(value)?))
}

/// Indented JSON.
pub(super) fn json_text(value: &impl Serialize) -> Result<String> {
    serde_json::to_string_pretty(value)
        .map_err(|error| Error::Argument { name: "JSON output".into(), problem: error.to_string() })
}

/// Refuses to replace a file that is there.
pub(super) fn require_new(path: &Path, force: bool) -> Result<()> {
    if force || !path.exists() {
        return Ok(());
    }
    let problem = "exists already; choose another path, remove it, or give --force to replace it".into();
    Err(Error::Argument { name: path.display().to_string(), problem })
}
