//! Training: the recorded step, its optimiser and schedule, batches, and the state of a run.

mod component;
mod feed;
mod noise_levels;
mod optimiser;
mod plans;
mod program;
mod run;
mod saved;
mod schedule;
mod signature;
mod targets;
mod terms;
mod trainer;

pub use optimiser::FIRST_DECAY;
pub use plans::settings_of;
pub use program::{DataShape, Program, dtype_of};
pub use run::{Ending, Observer, Reason, Silent, run, warning};
pub use saved::{Saved, require_same_config, stored_config};
pub use schedule::{complexity_weight, rate_factor};
pub use targets::{Encoded, encode, outputs};
pub use terms::Terms;
pub use trainer::Trainer;
