//! Fully connected networks whose weights are rows of theta.

use super::Layout;
use crate::activation::Activation;
use crate::{Error, Result};
use autograd::{Tape, Var};

/// A multilayer perceptron: affine layers with an activation between them, none after the last.
///
/// ```
/// use livi::activation::Activation;
/// use livi::network::Mlp;
/// let net = Mlp::new(&[1, 7, 10, 1], Activation::Elu)?;
/// assert_eq!(net.layout().len(), 105);
/// assert_eq!(net.layout().entries()[2].name, "layer1.weight");
/// # Ok::<(), livi::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Mlp {
    widths: Vec<usize>,
    activation: Activation,
    layout: Layout,
}

impl Mlp {
    /// A network with these layer widths, inputs first and outputs last.
    ///
    /// # Errors
    /// Fewer than two widths, or a width of 0.
    pub fn new(widths: &[usize], activation: Activation) -> Result<Self> {
        if widths.len() < 2 || widths.contains(&0) {
            let problem = format!("widths {widths:?}; at least inputs and outputs are needed, all of them positive");
            return Err(Error::Argument { name: "network".into(), problem });
        }
        let mut layout = Layout::default();
        for (k, pair) in widths.windows(2).enumerate() {
            layout.push(format!("layer{k}.weight"), &[pair[1], pair[0]], pair[0]);
            layout.push(format!("layer{k}.bias"), &[pair[1]], 1);
        }
        Ok(Self { widths: widths.to_vec(), activation, layout })
    }

    /// Names and places of the weights.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Layer widths, inputs first.
    pub fn widths(&self) -> &[usize] {
        &self.widths
    }

    /// Records the outputs, shape (S, N, outputs), of S weight vectors `theta` (S, m) on N inputs `x` (N, inputs).
    pub fn record(&self, tape: &mut Tape, theta: Var, x: Var) -> Result<Var> {
        let samples = tape.shape(theta)[0];
        let mut h = x;
        let last = self.widths.len() - 2;
        for k in 0..=last {
            let (inputs, outputs) = (self.widths[k], self.widths[k + 1]);
            let weight = self.tensor(tape, theta, 2 * k, &[samples, outputs, inputs])?;
            let bias = self.tensor(tape, theta, 2 * k + 1, &[samples, 1, outputs])?;
            let weight = tape.transpose(weight)?;
            let product = tape.matmul(h, weight)?;
            h = tape.add(product, bias)?;
            if k < last {
                h = self.activation.record(tape, h)?;
            }
        }
        Ok(h)
    }

    fn tensor(&self, tape: &mut Tape, theta: Var, entry: usize, shape: &[usize]) -> Result<Var> {
        let range = &self.layout.entries()[entry].range;
        let part = tape.narrow(theta, 1, range.start, range.len())?;
        Ok(tape.reshape(part, shape)?)
    }
}
