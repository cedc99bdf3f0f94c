//! One training process to a folder.
//!
//! The lock is the operating system's advisory lock on the file `lock` ([`File::try_lock`]): the system releases
//! it when the process ends in whatever way, `kill -9` and a power failure included. So a lock is never stale:
//! the file left by a dead process is simply taken over, with no guess whether a process number was given out
//! again. The process number in the file only serves the message. The file is never removed, since a process that
//! removes it could remove another's lock.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use super::{LOCK_FILE, problem};
use crate::Result;
use crate::atomic::io_error;

/// The lock on a run folder, released when dropped.
#[derive(Debug)]
pub(super) struct Lock {
    /// The system's lock lives as long as this file is open.
    _file: File,
}

impl Lock {
    /// Takes the lock of `folder`; an error names the process that holds it.
    pub(super) fn take(folder: &Path) -> Result<Self> {
        let path = folder.join(LOCK_FILE);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(io_error(&path, "open"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // Some systems forbid reading a locked file; the message then does without the number.
                let holder = match file.read_to_string(&mut holder) {
                    Ok(_) if !holder.trim().is_empty() => format!("process {}", holder.trim()),
                    _ => "another process".to_string(),
                };
                return Err(problem(
                    &path,
                    "lock",
                    format!("{holder} is training in this folder; wait for it, stop it, or choose another folder"),
                ));
            }
            Err(TryLockError::Error(error)) => return Err(io_error(&path, "lock")(error)),
        }
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(io_error(&path, "write"))?;
        Ok(Self { _file: file })
    }
}
