//! The fully connected sampler: z -> affine -> activation -> ... -> theta.

use super::{LastLayer, Parameter, Piece, Recorded, Sampler, require_few, require_parameters};
use crate::activation::Activation;
use crate::{Error, Result};
use autograd::{Tape, Var};

/// A multilayer perceptron from latents to weights.
#[derive(Clone, Debug)]
pub struct MlpSampler {
    widths: Vec<usize>,
    activation: Activation,
}

impl MlpSampler {
    /// Latents, hidden widths, number of weights m. Without hidden layers the sampler is affine and its entropy formula exact.
    ///
    /// # Errors
    /// A size of 0.
    pub fn new(latents: usize, hidden: &[usize], outputs: usize, activation: Activation) -> Result<Self> {
        let widths: Vec<usize> = std::iter::once(latents).chain(hidden.iter().copied()).chain([outputs]).collect();
        if widths.contains(&0) {
            let problem = format!("latents, hidden widths and weights {widths:?}; all must be positive");
            return Err(Error::Argument { name: "sampler".into(), problem });
        }
        require_few(widths.iter().copied())?;
        Ok(Self { widths, activation })
    }
}

impl Sampler for MlpSampler {
    fn latents(&self) -> usize {
        self.widths[0]
    }

    fn outputs(&self) -> usize {
        self.widths[self.widths.len() - 1]
    }

    fn parameters(&self) -> Vec<Parameter> {
        let layers = self.widths.windows(2).enumerate();
        layers
            .flat_map(|(k, w)| {
                let bound = (w[0] as f64).sqrt().recip();
                [
                    Parameter { name: format!("layers.{k}.weight"), shape: vec![w[1], w[0]], bound },
                    Parameter { name: format!("layers.{k}.bias"), shape: vec![w[1]], bound },
                ]
            })
            .collect()
    }

    fn output_biases(&self) -> Vec<usize> {
        vec![2 * self.widths.len() - 3]
    }

    fn record(&self, tape: &mut Tape, parameters: &[Var], latents: Var) -> Result<Recorded> {
        let d = self.latents();
        let last = self.widths.len() - 2;
        require_parameters(parameters, 2 * last + 2)?;
        let (mut entry, mut entry_basis) = (latents, None);
        let mut hidden = latents;
        for k in 0..last {
            let weight = tape.transpose(parameters[2 * k])?;
            let product = tape.matmul(hidden, weight)?;
            let pre = tape.add(product, parameters[2 * k + 1])?;
            if k == 0 {
                entry = pre;
                entry_basis = Some(weight);
            }
            hidden = self.activation.record(tape, pre)?;
        }
        let entry_basis = match entry_basis {
            Some(columns) => columns,
            None => tape.identity(d, tape.dtype(latents)),
        };
        let width = tape.shape(entry_basis)[1];
        let entry_basis = tape.reshape(entry_basis, &[d, 1, width])?;
        let weight = parameters[2 * last];
        let transposed = tape.transpose(weight)?;
        let product = tape.matmul(hidden, transposed)?;
        let theta = tape.add(product, parameters[2 * last + 1])?;
        let pieces = vec![Piece { hidden, last: LastLayer::Dense { weight } }];
        Ok(Recorded { latents, theta, pieces, entry, entry_basis })
    }
}
