//! Learned scales of the weights: theta = s * (g(z) + sigma eta), elementwise, with one positive factor s_i for each weight of the network.
//!
//! A single sigma must serve the directions of weight space that no latent moves, whatever the data say about them. With scales each weight has
//! a spread of its own, s_i sigma, and the mean-field posterior is contained as the special case of a constant g. The sampler itself is
//! unchanged: theta / s = g(z) + sigma eta is what all entropy methods work on, and a change of variables gives
//! H\[theta\] = H\[theta / s\] + sum_i log s_i exactly.

use crate::Result;
use crate::sampler::Parameter;
use autograd::{Tape, Var};

/// The logarithms of the scales, a parameter beside the sampler's own; all scales begin at 1.
pub fn log_scale_parameter(weights: usize) -> Parameter {
    Parameter { name: "log_scale".into(), shape: vec![weights], bound: 0.0 }
}

/// Scales on a tape.
#[derive(Clone, Copy, Debug)]
pub struct Scales {
    /// s, shape (m).
    pub values: Var,
    /// sum_i log s_i, the entropy they add, a scalar in nats.
    pub entropy: Var,
}

impl Scales {
    /// Records the scales of logarithms (m).
    ///
    /// # Errors
    /// Those of recording.
    pub fn record(tape: &mut Tape, log_scale: Var) -> Result<Self> {
        Ok(Self { values: tape.exp(log_scale)?, entropy: tape.sum_all(log_scale)? })
    }
}

/// theta = s * (mean + sigma eta) for `mean` = g(z) and standard normal `eta`, both (S, m); without scales s = 1.
///
/// # Errors
/// Those of recording.
pub fn record_draw(tape: &mut Tape, mean: Var, eta: Var, sigma: f64, scales: Option<Scales>) -> Result<Var> {
    let spread = tape.scale(eta, sigma)?;
    let theta = tape.add(mean, spread)?;
    Ok(match scales {
        Some(scales) => tape.mul(theta, scales.values)?,
        None => theta,
    })
}
