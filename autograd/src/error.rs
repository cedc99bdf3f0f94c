//! The one error type of the crate.

/// Result of everything in `autograd` that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong while recording, transforming, planning or running a program.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// Shapes that do not fit an operation, found when the node is pushed.
    #[error("{location}: {op}: {problem}")]
    Shape {
        /// Name of the operation.
        op: &'static str,
        /// Shapes found and what was expected.
        problem: String,
        /// The caller's file and line.
        location: &'static std::panic::Location<'static>,
    },
}
