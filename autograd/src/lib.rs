//! A tape that is a program.

mod error;
pub use error::{Error, Result};
