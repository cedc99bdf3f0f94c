//! Names and shapes of a network's tensors inside the flat weight vector theta.

use std::ops::Range;

/// One tensor of the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Name as PyTorch would give it, such as `layer0.weight`.
    pub name: String,
    /// Shape; weights are (outputs, inputs).
    pub shape: Vec<usize>,
    /// Its place in theta, row-major.
    pub range: Range<usize>,
    /// Inputs that each output sums over, 1 for a bias: what a fan-in prior divides the variance by.
    pub fan_in: usize,
}

impl Entry {
    /// Name of the layer that the tensor belongs to: its own up to the last dot.
    pub fn layer(&self) -> &str {
        self.name.rsplit_once('.').map_or(&self.name, |(layer, _)| layer)
    }

    /// Whether the tensor is a bias: one number for each output.
    pub fn is_bias(&self) -> bool {
        self.shape.len() == 1
    }
}

/// The order of all tensors in theta.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    entries: Vec<Entry>,
}

impl Layout {
    /// Appends a tensor.
    pub fn push(&mut self, name: impl Into<String>, shape: &[usize], fan_in: usize) {
        let start = self.len();
        let range = start..start + shape.iter().product::<usize>();
        self.entries.push(Entry { name: name.into(), shape: shape.to_vec(), range, fan_in });
    }

    /// The tensors in order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Number of weights m.
    pub fn len(&self) -> usize {
        self.entries.last().map_or(0, |e| e.range.end)
    }

    /// Whether there is no tensor.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Names and shapes in order, as the export of weight samples takes them.
    pub fn names_and_shapes(&self) -> Vec<(String, Vec<usize>)> {
        self.entries.iter().map(|e| (e.name.clone(), e.shape.clone())).collect()
    }
}
