//! Names and shapes of a network's tensors inside the flat weight vector theta.

use crate::{Error, Result};
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

/// Elements of a shape; the largest number there is where they are more.
pub(crate) fn volume(shape: &[usize]) -> usize {
    shape.iter().fold(1, |elements, &length| elements.saturating_mul(length))
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
        let range = start..start.saturating_add(volume(shape));
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

    /// The tensors whose names fit one of the patterns, and the others: two layouts with places in vectors of their own. A `*` in a pattern stands
    /// for any number of characters.
    ///
    /// ```
    /// use livi::{activation::Activation, network::Network};
    /// let network = Network::mlp(&[2, 3, 1], Activation::Relu)?;
    /// let (last, others) = network.layout().partition(&["layer1.*".to_string()])?;
    /// assert_eq!(last.entries()[0].name, "layer1.weight");
    /// assert_eq!((last.len(), others.len()), (4, 9));
    /// # Ok::<(), livi::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`] for a pattern that no tensor fits.
    pub fn partition(&self, patterns: &[String]) -> Result<(Self, Self)> {
        if let Some(pattern) = patterns.iter().find(|pattern| !self.entries.iter().any(|e| fits(pattern, &e.name))) {
            let names: Vec<&str> = self.entries.iter().map(|entry| entry.name.as_str()).collect();
            let problem = format!("`{pattern}` fits no tensor of the network; they are {}", names.join(", "));
            return Err(Error::Argument { name: "pattern".into(), problem });
        }
        let (mut chosen, mut others) = (Self::default(), Self::default());
        for entry in &self.entries {
            let fitting = patterns.iter().any(|pattern| fits(pattern, &entry.name));
            let into = if fitting { &mut chosen } else { &mut others };
            into.push(&entry.name, &entry.shape, entry.fan_in);
        }
        Ok((chosen, others))
    }

    /// Names and shapes in order, as the export of weight samples takes them.
    pub fn names_and_shapes(&self) -> Vec<(String, Vec<usize>)> {
        self.entries.iter().map(|e| (e.name.clone(), e.shape.clone())).collect()
    }
}

/// Whether a name fits a pattern in which `*` stands for any number of characters.
fn fits(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, rest)) => name
            .strip_prefix(start)
            .is_some_and(|after| (0..=after.len()).any(|at| after.is_char_boundary(at) && fits(rest, &after[at..]))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_any_number_of_characters() {
        for (pattern, name, expected) in [
            ("*", "fc1.weight", true),
            ("fc*.weight", "fc1.weight", true),
            ("fc*.weight", "fc1.bias", false),
            ("*.bias", "block1.layer.0.conv1.bias", true),
            ("fc1.weight", "fc1.weight", true),
            ("fc1", "fc1.weight", false),
            ("*1*1*", "conv1.1", true),
            ("*1*1*", "conv1.2", false),
            ("", "", true),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn a_partition_keeps_the_order_and_takes_every_tensor_once() {
        let mut layout = Layout::default();
        for (name, shape) in
            [("a.weight", vec![2, 3]), ("a.bias", vec![2]), ("b.weight", vec![1, 2]), ("b.bias", vec![1])]
        {
            layout.push(name, &shape, 3);
        }
        let patterns = ["*.bias".to_string(), "b.*".to_string()];
        let (chosen, others) = layout.partition(&patterns).unwrap();
        let places = |layout: &Layout| -> Vec<_> {
            layout.entries().iter().map(|e| (e.name.clone(), e.range.clone())).collect()
        };
        let named = |name: &str, range| (name.to_string(), range);
        assert_eq!(places(&chosen), [named("a.bias", 0..2), named("b.weight", 2..4), named("b.bias", 4..5)]);
        assert_eq!(places(&others), [named("a.weight", 0..6)]);
        let (all, none) = layout.partition(&["*".to_string()]).unwrap();
        assert_eq!((&all, none.is_empty()), (&layout, true));
        let error = layout.partition(&["c.*".to_string()]).unwrap_err().to_string();
        assert!(error.contains("`c.*`") && error.contains("a.weight, a.bias, b.weight, b.bias"), "{error}");
    }
}
