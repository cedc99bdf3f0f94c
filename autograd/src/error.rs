//! The one error type of the crate.

use crate::DType;
use std::panic::Location;

/// Result of everything in `autograd` that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong while recording, transforming, planning or running a program.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// Shapes that do not fit an operation, found when the node is pushed.
    #[error("{location}: {op}: {problem}")]
    Shape {
        /// Name of the operation.
        op: &'static str,
        /// Shapes found and what was expected.
        problem: String,
        /// The caller's file and line.
        location: &'static Location<'static>,
    },
    /// Operands of different element types, or of a type the operation does not take.
    #[error("{location}: {op}: element type {found} where {expected} is needed")]
    DType {
        /// Name of the operation.
        op: &'static str,
        /// Type found.
        found: DType,
        /// Types accepted.
        expected: &'static str,
        /// The caller's file and line.
        location: &'static Location<'static>,
    },
    /// A variable of another tape.
    #[error("{location}: a variable of another tape was used; variables belong to the tape that made them")]
    ForeignVar {
        /// The caller's file and line.
        location: &'static Location<'static>,
    },
    /// An operation without the rule that a transform needs.
    #[error("{op} (recorded at {location}) has no {rule} rule: {reason}")]
    MissingRule {
        /// Name of the operation.
        op: &'static str,
        /// `jvp`, `transpose` or `batch`.
        rule: &'static str,
        /// Why there is none.
        reason: &'static str,
        /// Where the node was recorded.
        location: &'static Location<'static>,
    },
    /// A plan that needs more memory than is allowed.
    #[error("the plan needs {needed} bytes at its peak, {limit} are allowed; {advice}")]
    Memory {
        /// Bytes needed at the peak.
        needed: usize,
        /// Bytes allowed.
        limit: usize,
        /// What would make it fit.
        advice: &'static str,
    },
    /// Memory that the system does not give.
    #[error("{bytes} bytes of memory are not to be had from the system; smaller sizes or batches need less")]
    OutOfMemory {
        /// Bytes asked for in one piece; [`usize::MAX`] for more than can be counted.
        bytes: usize,
    },
    /// An input that was never given a value, or a variable the machine holds no buffer for.
    #[error("variable {name} has no buffer on this machine: {problem}")]
    Unbound {
        /// Name or number of the variable.
        name: String,
        /// What to do.
        problem: &'static str,
    },
    /// A slice whose length or type does not fit the buffer it is written to or read into.
    #[error("variable {name}: {problem}")]
    Buffer {
        /// Name or number of the variable.
        name: String,
        /// Lengths and types found and expected.
        problem: String,
    },
    /// A matrix that should be symmetric positive definite and is not.
    #[error("{op} (recorded at {location}): matrix {index} of the batch is not positive definite at pivot {pivot}")]
    NotPositiveDefinite {
        /// Name of the operation.
        op: &'static str,
        /// Number of the matrix in its batch.
        index: usize,
        /// Row at which the factorisation broke down.
        pivot: usize,
        /// Where the node was recorded.
        location: &'static Location<'static>,
    },
    /// An index outside of the axis it selects from.
    #[error("{op} (recorded at {location}): index {index} at position {position} is out of range for {length} entries")]
    IndexOutOfRange {
        /// Name of the operation.
        op: &'static str,
        /// The index found.
        index: u32,
        /// Its position in the index tensor.
        position: usize,
        /// Entries there are.
        length: usize,
        /// Where the node was recorded.
        location: &'static Location<'static>,
    },
    /// A device that cannot be used, or failed.
    #[error(transparent)]
    Device(#[from] cuda_kernels::Error),
    /// An argument out of its range.
    #[error("{name}: {problem}")]
    Argument {
        /// The argument.
        name: &'static str,
        /// What was found and what was expected.
        problem: String,
    },
}
