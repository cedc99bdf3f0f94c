//! Data: tables for regression and images for classification, their sources, splits and standardisation.
//!
//! Tables are `f64` and row-major; images are in [`images`]. A [`Table`] is checked when it is made (finite numbers, matching
//! shapes), so what follows need not check again. Statistics for standardisation come from training rows
//! only ([`Standardiser::fit`]).

mod batches;
mod cell;
pub mod check;
pub mod csv_table;
pub mod images;
mod load;
mod standardiser;
mod table;
pub mod toy;
mod training;
pub mod uci;

pub use batches::Batches;
pub(crate) use load::uci_folder;
pub use load::{Dataset, load};
pub use standardiser::Standardiser;
pub use table::{Table, split_rows};
pub use training::{Training, TrainingImages};
