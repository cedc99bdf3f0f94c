//! Fully connected networks.

use super::{Layer, Network, wrong};
use crate::Result;
use crate::activation::Activation;

impl Network {
    /// A multilayer perceptron of these widths, inputs first and outputs last: affine layers with an activation between them, none after the last.
    /// Tensors `layer0.weight`, `layer0.bias`, `layer1.weight` ..
    ///
    /// # Errors
    /// Fewer than two widths, or a width of 0.
    pub fn mlp(widths: &[usize], activation: Activation) -> Result<Self> {
        if widths.len() < 2 || widths.contains(&0) {
            return Err(wrong(format!(
                "widths {widths:?}; at least inputs and outputs are needed, all of them positive"
            )));
        }
        let mut layers = Vec::new();
        for (k, &width) in widths[1..].iter().enumerate() {
            if k > 0 {
                layers.push(Layer::Activation(activation));
            }
            layers.push(Layer::linear(&format!("layer{k}"), width));
        }
        Self::new(&widths[..1], layers)
    }
}
