//! The one error type of the crate.

use std::path::PathBuf;

/// Result of everything in `livi` that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong, where, and what was expected instead.
///
/// [`Error::exit_code`] tells the process's exit code: 2 for input the user can mend, 1 for the rest.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file that cannot be read, written, created or renamed.
    #[error("{path}: cannot {action}: {source}", path = path.display())]
    Io {
        /// File or folder concerned.
        path: PathBuf,
        /// What was attempted, as a verb phrase: `read`, `create`, `rename`.
        action: &'static str,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// The content of a file is not what it should be; `place` names line, column, tensor, field or index.
    #[error("{path}: {place}: {problem}", path = path.display())]
    File {
        /// File concerned.
        path: PathBuf,
        /// Line, column, tensor, key or index inside the file.
        place: String,
        /// What was found and what was expected.
        problem: String,
    },
    /// A configuration key with a wrong name, type or value.
    #[error("configuration key `{key}`: {problem}")]
    Config {
        /// Dotted path of the key.
        key: String,
        /// What was found and what was expected.
        problem: String,
    },
    /// An argument (a flag, a size, a shape) out of its range.
    #[error("{name}: {problem}")]
    Argument {
        /// Flag or argument name.
        name: String,
        /// What was found and what was expected.
        problem: String,
    },
    /// Numbers that are not finite where they must be, during training or estimation.
    #[error("step {step}: {term} is not finite ({value}); {advice}")]
    NotFinite {
        /// Training step (or iteration) at which it appeared.
        step: u64,
        /// Term of the objective or quantity concerned.
        term: String,
        /// The offending value.
        value: f64,
        /// What stands and what to do next, for instance where the last good checkpoint is.
        advice: String,
    },
    /// A numerical method that did not reach what was asked of it.
    #[error("{method}: {problem}")]
    Numerical {
        /// Name of the method.
        method: &'static str,
        /// What happened.
        problem: String,
    },
    /// An error of the tape, the planner or an executor.
    #[error(transparent)]
    Autograd(#[from] autograd::Error),
    /// A file that could not be downloaded; what arrived is kept to go on from.
    #[error(
        "{file}: not downloaded: {problem}; anything that arrived is kept as `.part`: try again to go on from it, or get the file by hand \
         and put it there",
        file = file.display()
    )]
    Download {
        /// Where the file was to go.
        file: PathBuf,
        /// Every address tried and what happened there.
        problem: String,
    },
    /// Stopped by the user; the last checkpoint stands.
    #[error("interrupted at step {step}; continue with --resume")]
    Interrupted {
        /// Step that was completed last.
        step: u64,
    },
}

impl Error {
    /// Exit code of the command line: 2 when the user's input is at fault (paths that are not there or may not be used, sizes that do not fit the memory
    /// allowed and devices that are not there included), 130 after an interruption, 1 otherwise, for instance where a disk is full.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Io { source, .. } if is_failure(source) => 1,
            Self::Io { .. } | Self::File { .. } | Self::Config { .. } | Self::Argument { .. } => 2,
            Self::Autograd(autograd::Error::Memory { .. } | autograd::Error::OutOfMemory { .. }) => 2,
            Self::Autograd(autograd::Error::Device(error)) if is_absence(error) => 2,
            Self::Interrupted { .. } => 130,
            Self::NotFinite { .. } | Self::Numerical { .. } | Self::Autograd(_) | Self::Download { .. } => 1,
        }
    }
}

/// Whether the system failed at what may well be asked of it.
fn is_failure(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    matches!(
        error.kind(),
        ErrorKind::StorageFull
            | ErrorKind::QuotaExceeded
            | ErrorKind::FileTooLarge
            | ErrorKind::WriteZero
            | ErrorKind::OutOfMemory
            | ErrorKind::TimedOut
            | ErrorKind::Other
    ) || error.raw_os_error() == Some(EIO)
}

/// The system's number for a device that fails.
const EIO: i32 = 5;

/// Whether what was asked for is not there, rather than that it failed.
fn is_absence(error: &cuda_kernels::Error) -> bool {
    use cuda_kernels::Error::{NoDevice, NoDriver, NoLibrary, NotBuilt, OutOfMemory};
    matches!(error, NotBuilt | NoDriver | NoDevice | NoLibrary { .. } | OutOfMemory { .. })
}
