//! Components of a mixture that are trained one after another.

use crate::Result;
use crate::export::{NamedTensor, TensorData, TensorFile};

const WEIGHTS: &str = "finished.weights";
const LOG_STD: &str = "finished.log_std";
const STEPS: &str = "finished.steps";

/// One trained component.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Component {
    /// All parameters of the model.
    pub weights: Vec<f64>,
    /// Logarithm of the noise standard deviation (0 for a softmax likelihood).
    pub log_std: f64,
}

impl Component {
    /// The noise standard deviation of their mixture: the root of the mean variance. Each component's variance maximises its own bound, and the
    /// bound averaged over components is largest at the mean of these.
    pub(super) fn pooled_noise_std(components: &[Self]) -> f64 {
        match components {
            [one] => one.log_std.exp(),
            all => (all.iter().map(|c| (2.0 * c.log_std).exp()).sum::<f64>() / all.len() as f64).sqrt(),
        }
    }

    /// Tensors of the finished components for a checkpoint, with the number of steps that they took together; none if there are none.
    pub(super) fn finished_tensors(components: &[Self], steps: u64) -> Vec<NamedTensor> {
        let Some(first) = components.first() else { return Vec::new() };
        let (count, size) = (components.len(), first.weights.len());
        let weights = components.iter().flat_map(|c| c.weights.iter().copied()).collect();
        let log_std = components.iter().map(|c| c.log_std).collect();
        vec![
            NamedTensor::new(WEIGHTS, vec![count, size], TensorData::F64(weights)),
            NamedTensor::new(LOG_STD, vec![count], TensorData::F64(log_std)),
            NamedTensor::new(STEPS, vec![1], TensorData::U64(vec![steps])),
        ]
    }

    /// The finished components of a checkpoint, of `size` parameters each, and the steps that they took.
    ///
    /// # Errors
    /// Tensors of other shapes or types, named with the file.
    pub(super) fn read_finished(tensors: &TensorFile, size: usize) -> Result<(Vec<Self>, u64)> {
        if !tensors.names().any(|name| name == LOG_STD) {
            return Ok((Vec::new(), 0));
        }
        let count = tensors.get(LOG_STD)?.shape.first().copied().unwrap_or(0);
        let log_std = tensors.f64(LOG_STD, &[count])?;
        let weights = tensors.f64(WEIGHTS, &[count, size])?;
        let components = weights.chunks_exact(size).zip(log_std);
        let components = components.map(|(weights, &log_std)| Self { weights: weights.to_vec(), log_std }).collect();
        Ok((components, tensors.u64(STEPS, &[1])?[0]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pooled_variance_is_the_mean_of_the_variances() {
        let component = |std: f64| Component { weights: vec![0.0], log_std: std.ln() };
        let pooled = Component::pooled_noise_std(&[component(0.1), component(0.7)]);
        assert!((pooled - 0.5).abs() < 1e-15);
    }
}
