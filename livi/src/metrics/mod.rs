//! Measures of predictions, as the field defines them.
//!
//! Everything takes plain `f64` slices, row-major, with the shapes stated. Regression quantities are in the
//! units of the targets that are passed: pass original units to report original units.

pub mod calibration;
pub mod classification;
pub mod detection;
pub mod log_probabilities;
pub mod mixture;
pub mod noise;
pub mod normal;
pub mod ood;
pub mod regression;
pub mod temperature;
pub mod uncertainty;

use crate::{Error, Result};

pub use calibration::CalibrationError;
pub use classification::ClassPredictions;
pub use detection::{Detection, DetectionScore};
pub use mixture::PredictiveMixture;
pub use regression::{MeanWithError, RegressionMetrics};
pub use uncertainty::Uncertainty;

fn argument(name: &str, problem: impl Into<String>) -> Error {
    Error::Argument { name: name.into(), problem: problem.into() }
}

fn require_length(name: &str, found: usize, expected: usize) -> Result<()> {
    if found == expected { Ok(()) } else { Err(argument(name, format!("has length {found}, expected {expected}"))) }
}

fn require_finite(name: &str, values: &[f64]) -> Result<()> {
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(at) => Err(argument(name, format!("index {at} is {}, expected a finite number", values[at]))),
    }
}

fn require_not_empty(name: &str, values: &[f64]) -> Result<()> {
    if values.is_empty() { Err(argument(name, "is empty, expected at least 1 value")) } else { Ok(()) }
}
