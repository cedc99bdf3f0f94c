//! Training: the recorded step, its optimiser and schedule, batches, and the state of a run.

mod batches;
mod optimiser;
mod program;
mod schedule;
mod targets;
mod trainer;

pub use batches::Batches;
pub use program::{DataShape, Program, dtype_of, split};
pub use schedule::rate_factor;
pub use targets::{Encoded, encode, outputs};
pub use trainer::{Terms, Trainer, method_of, settings_of};
