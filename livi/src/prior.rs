//! The normal prior of the network's weights.

use crate::Result;
use crate::network::{Entry, Layout};
use autograd::{Tape, Var};
use std::f64::consts::PI;

/// Zero-mean normal prior, independent over weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Prior {
    /// The same standard deviation for every weight.
    Isotropic {
        /// Standard deviation.
        std: f64,
    },
    /// Variance std^2 / fan-in for weights, std^2 for biases.
    FanIn {
        /// Standard deviation before division.
        std: f64,
    },
}

impl Prior {
    /// Standard deviation of one tensor's weights.
    pub fn std_of(&self, entry: &Entry) -> f64 {
        match *self {
            Self::Isotropic { std } => std,
            Self::FanIn { std } => std / (entry.fan_in as f64).sqrt(),
        }
    }

    /// E\[log p(theta)\] for theta = s (g + sigma eta), averaged over S rows of `mean` = g (S, m): the noise is integrated in closed form,
    /// sum over tensors of -m_l/2 log(2 pi tau_l^2) - (|s_l g_l|^2 + sigma^2 |s_l|^2) / (2 tau_l^2), where all s are 1 without `scales` (m).
    /// A scalar in nats.
    pub fn record(&self, tape: &mut Tape, layout: &Layout, mean: Var, sigma: f64, scales: Option<Var>) -> Result<Var> {
        let samples = tape.shape(mean)[0] as f64;
        let mean = match scales {
            Some(scales) => tape.mul(mean, scales)?,
            None => mean,
        };
        let mut constant = 0.0;
        let mut quadratic: Option<Var> = None;
        for (range, tau) in self.groups(layout) {
            let m = range.len() as f64;
            constant -= m / 2.0 * (2.0 * PI * tau * tau).ln();
            let part = tape.narrow(mean, 1, range.start, range.len())?;
            let mut terms = vec![(part, -0.5 / (tau * tau * samples))];
            match scales {
                Some(scales) => {
                    let part = tape.narrow(scales, 0, range.start, range.len())?;
                    terms.push((part, -0.5 * sigma * sigma / (tau * tau)));
                }
                None => constant -= m * sigma * sigma / (2.0 * tau * tau),
            }
            for (values, factor) in terms {
                let square = tape.square(values)?;
                let total = tape.sum_all(square)?;
                let term = tape.scale(total, factor)?;
                quadratic = Some(match quadratic {
                    Some(sum) => tape.add(sum, term)?,
                    None => term,
                });
            }
        }
        let dtype = tape.dtype(mean);
        let quadratic = quadratic.unwrap_or_else(|| tape.constant(0.0, &[], dtype));
        Ok(tape.add_scalar(quadratic, constant)?)
    }

    /// log p(w) of point estimates (p), with places in a layout of their own: a scalar in nats.
    pub fn record_point(&self, tape: &mut Tape, layout: &Layout, points: Var) -> Result<Var> {
        let row = tape.reshape(points, &[1, layout.len()])?;
        self.record(tape, layout, row, 0.0, None)
    }

    /// Consecutive weights with one standard deviation.
    fn groups(&self, layout: &Layout) -> Vec<(std::ops::Range<usize>, f64)> {
        match *self {
            Self::Isotropic { std } => vec![(0..layout.len(), std)],
            Self::FanIn { .. } => layout.entries().iter().map(|e| (e.range.clone(), self.std_of(e))).collect(),
        }
    }
}
