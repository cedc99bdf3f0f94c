//! Pictures of a posterior and its training, each written as SVG and PNG.
//!
//! - [`predictive`]: predictive band over one input; predictions against observations for many inputs.
//! - [`training_curves`]: the terms of the evidence lower bound over the steps.
//! - [`reliability`]: accuracy against confidence; [`entropy_curves`]: predictive entropy in and out of distribution.
//! - [`spectrum`]: singular values of the sampler's Jacobian with the entropy's bounds drawn in.
//!
//! Every function takes plain numbers and a stem: `plots/predictive` gives `plots/predictive.svg` and
//! `plots/predictive.png`, each replaced atomically. The PNG's font comes with the program, so that it works
//! on a machine with none installed; an SVG holds its texts as text, set in a font of whoever shows it. The colours are those of Okabe and Ito
//! (2008), which colour-blind readers tell apart.

mod axis;
pub mod entropy_curves;
mod panel;
pub mod predictive;
pub mod reliability;
pub mod spectrum;
mod surface;
pub mod training_curves;

pub use entropy_curves::{EntropyCurves, EntropySet, plot_entropy_curves};
pub use predictive::{
    PredictedAgainstObserved, PredictiveBand, SampledFunction, plot_predicted_against_observed, plot_predictive_band,
};
pub use reliability::plot_reliability;
pub use spectrum::{EntropyLevel, Spectrum, plot_spectrum};
pub use surface::{PICTURE_HEIGHT, PICTURE_WIDTH};
pub use training_curves::{TrainingCurves, plot_training_curves};

use crate::{Error, Result};

/// An error when `found` numbers of `what` were given and not `expected`.
fn require_length(what: &str, found: usize, expected: usize) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    Err(Error::Argument { name: format!("plot: {what}"), problem: format!("has {found} values, expected {expected}") })
}

/// An error when there is nothing to draw.
fn require_some(what: &str, count: usize) -> Result<()> {
    if count > 0 {
        return Ok(());
    }
    Err(Error::Argument { name: format!("plot: {what}"), problem: "is empty, expected at least one value".into() })
}

#[cfg(test)]
mod tests;
