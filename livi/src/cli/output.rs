//! Writing to standard output and to files that the user names.

use crate::report::RESULT_FILE;
use crate::run_folder::{CHECKPOINT_FILE, CONFIG_FILE, METRICS_FILE};
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

/// Refuses to write over what a command reads: one of its inputs, or a file that makes up a run folder.
pub(super) fn require_apart(output: &Path, input: Option<&Path>, run: &Path) -> Result<()> {
    let Ok(found) = output.canonicalize() else { return Ok(()) };
    let same = |other: &Path| other.canonicalize().is_ok_and(|other| other == found);
    let own = [CONFIG_FILE, CHECKPOINT_FILE, METRICS_FILE, RESULT_FILE];
    let problem = match input.is_some_and(same) {
        true => "is the input itself; choose another path",
        false if own.iter().any(|name| same(&run.join(name))) => "is a part of the run; choose another path",
        false => return Ok(()),
    };
    Err(Error::Argument { name: output.display().to_string(), problem: problem.into() })
}

/// Refuses to replace a file that is there. What is no file - a pipe, a terminal - is written to.
pub(super) fn require_new(path: &Path, force: bool) -> Result<()> {
    let replaced = std::fs::metadata(path).is_ok_and(|found| found.is_file() || found.is_dir());
    if force || !replaced {
        return Ok(());
    }
    let problem = "exists already; choose another path, remove it, or give --force to replace it".into();
    Err(Error::Argument { name: path.display().to_string(), problem })
}
