//! Components of a mixture that are trained one after another.

use super::noise_levels;
use crate::Result;
use crate::export::{NamedTensor, TensorData, TensorFile};

const WEIGHTS: &str = "finished.weights";
const LOG_STD: &str = "finished.log_std";
const STEPS: &str = "finished.steps";
/// Tensors of the best state on the validation rows.
pub(super) const BEST_WEIGHTS: &str = "best.weights";
const BEST_NUMBERS: &str = "best.score_and_log_std";

/// One trained component.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Component {
    /// All parameters of the model.
    pub weights: Vec<f64>,
    /// Logarithms of the noise standard deviations, one for each target; empty for a softmax likelihood.
    pub log_std: Vec<f64>,
}

impl Component {
    /// The noise standard deviations, one for each target.
    pub(super) fn noise_std(&self) -> Vec<f64> {
        self.log_std.iter().map(|log_std| log_std.exp()).collect()
    }

    /// The noise standard deviations of their mixture, for each target the root of the mean variance. Each component's variance maximises its own
    /// bound, and the bound averaged over components is largest at the mean of these.
    pub(super) fn pooled_noise_std(components: &[Self]) -> Vec<f64> {
        let levels = match components {
            [] => return Vec::new(),
            [one] => return one.noise_std(),
            [first, ..] => first.log_std.len(),
        };
        let count = components.len() as f64;
        let pooled =
            |level: usize| (components.iter().map(|c| (2.0 * c.log_std[level]).exp()).sum::<f64>() / count).sqrt();
        (0..levels).map(pooled).collect()
    }

    /// Tensors of the finished components for a checkpoint, with the number of steps that they took together; none if there are none.
    pub(super) fn finished_tensors(components: &[Self], steps: u64) -> Vec<NamedTensor> {
        let Some(first) = components.first() else { return Vec::new() };
        let (count, size, levels) = (components.len(), first.weights.len(), first.log_std.len());
        let weights = components.iter().flat_map(|c| c.weights.iter().copied()).collect();
        let log_std = components.iter().flat_map(|c| c.log_std.iter().copied()).collect();
        let mut tensors = vec![
            NamedTensor::new(WEIGHTS, vec![count, size], TensorData::F64(weights)),
            NamedTensor::new(STEPS, vec![1], TensorData::U64(vec![steps])),
        ];
        if levels > 0 {
            tensors.push(NamedTensor::new(LOG_STD, vec![count, levels], TensorData::F64(log_std)));
        }
        tensors
    }

    /// Tensors of the best state on the validation rows for a checkpoint, with its score.
    pub(super) fn best_tensors(&self, score: f64) -> Vec<NamedTensor> {
        let mut numbers = vec![score];
        numbers.extend(&self.log_std);
        // A softmax likelihood has a 0 in place of the noise.
        numbers.resize(numbers.len().max(2), 0.0);
        vec![
            NamedTensor::new(BEST_WEIGHTS, vec![self.weights.len()], TensorData::F64(self.weights.clone())),
            NamedTensor::new(BEST_NUMBERS, vec![numbers.len()], TensorData::F64(numbers)),
        ]
    }

    /// The best state of a checkpoint, of `size` parameters and `levels` noise levels, and its score.
    ///
    /// # Errors
    /// Tensors that are missing or of other shapes or types, named with the file.
    pub(super) fn read_best(tensors: &TensorFile, size: usize, levels: usize) -> Result<(Self, f64)> {
        let weights = tensors.f64(BEST_WEIGHTS, &[size])?.to_vec();
        let numbers = tensors.f64(BEST_NUMBERS, &[1 + levels.max(1)])?;
        Ok((Self { weights, log_std: numbers[1..=levels].to_vec() }, numbers[0]))
    }

    /// The finished components of a checkpoint, of `size` parameters and `levels` noise levels each, and the steps that they took.
    ///
    /// # Errors
    /// Tensors of other shapes or types, named with the file.
    pub(super) fn read_finished(tensors: &TensorFile, size: usize, levels: usize) -> Result<(Vec<Self>, u64)> {
        if !tensors.names().any(|name| name == WEIGHTS) {
            return Ok((Vec::new(), 0));
        }
        let count = tensors.get(WEIGHTS)?.shape.first().copied().unwrap_or(0);
        let weights = tensors.f64(WEIGHTS, &[count, size])?;
        let log_std = noise_levels::read(tensors, LOG_STD, &[count], levels)?;
        let component = |k: usize| Self {
            weights: weights[k * size..(k + 1) * size].to_vec(),
            log_std: log_std[k * levels..(k + 1) * levels].to_vec(),
        };
        Ok(((0..count).map(component).collect(), tensors.u64(STEPS, &[1])?[0]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pooled_variance_of_each_target_is_the_mean_of_its_variances() {
        let component = |std: [f64; 2]| Component { weights: vec![0.0], log_std: std.map(f64::ln).to_vec() };
        let pooled = Component::pooled_noise_std(&[component([0.1, 2.0]), component([0.7, 14.0])]);
        assert!((pooled[0] - 0.5).abs() < 1e-15 && (pooled[1] - 10.0).abs() < 1e-13, "{pooled:?}");
        assert_eq!(pooled.len(), 2);
    }
}
