//! Regression data: tables, their sources, splits and standardisation.
//!
//! Everything is `f64` and row-major. A [`Table`] is checked when it is made (finite numbers, matching
//! shapes), so what follows need not check again. Statistics for standardisation come from training rows
//! only ([`Standardiser::fit`]).

pub mod check;
pub mod csv_table;
mod load;
mod standardiser;
mod table;
pub mod toy;
pub mod uci;

pub(crate) use load::uci_folder;
pub use load::{Dataset, load};
pub use standardiser::Standardiser;
pub use table::{Table, split_rows};
