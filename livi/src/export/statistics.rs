//! Statistics of batch normalisation beside weight samples, by PyTorch's names.

use super::safetensors_io::{NamedTensor, TensorData};
use crate::config::Dtype;
use crate::network::Network;
use crate::{Error, Result};

/// The statistics (samples x T, as [`crate::forward::Forward::statistics`] gives them) as tensors `NAME.running_mean` and `NAME.running_var` of shape
/// (samples, channels), one pair for each normalisation of the network.
///
/// Variances are divided by the number of values, and 1e-5 is added where they are used: PyTorch's `BatchNorm` layers with `affine=False` and its
/// default `eps`, in evaluation mode, so predict as livi does.
///
/// ```
/// use livi::config::Dtype;
/// use livi::export::normalisation_tensors;
/// use livi::network::{Layer, Network};
/// let network = Network::new(&[3], vec![Layer::linear("fc1", 2), Layer::batch_norm("bn1")])?;
/// let tensors = normalisation_tensors(&network, &[0.5, -0.5, 1.0, 4.0], 1, Dtype::F32)?;
/// assert_eq!((tensors[1].name.as_str(), &tensors[1].shape), ("bn1.running_var", &vec![1, 2]));
/// # Ok::<(), livi::Error>(())
/// ```
///
/// # Errors
/// [`Error::Argument`] if there are not samples x T numbers.
pub fn normalisation_tensors(
    network: &Network,
    statistics: &[f64],
    samples: usize,
    dtype: Dtype,
) -> Result<Vec<NamedTensor>> {
    let width = network.statistics();
    if statistics.len() != samples * width {
        let problem = format!("has {} numbers, expected {samples} samples x {width}", statistics.len());
        return Err(Error::Argument { name: "statistics".into(), problem });
    }
    let mut tensors = Vec::with_capacity(2 * network.normalisations().len());
    let mut first = 0;
    for (name, channels) in network.normalisations() {
        for kind in ["running_mean", "running_var"] {
            let rows = statistics.chunks_exact(width).flat_map(|row| row[first..first + channels].iter().copied());
            let data = match dtype {
                Dtype::F32 => TensorData::F32(rows.map(|value| value as f32).collect()),
                Dtype::F64 => TensorData::F64(rows.collect()),
            };
            tensors.push(NamedTensor::new(format!("{name}.{kind}"), [samples, *channels], data));
            first += channels;
        }
    }
    Ok(tensors)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activation::Activation;

    #[test]
    fn every_statistic_goes_to_its_normalisation_sample_and_channel() {
        let network = Network::wide_resnet(&[3, 8, 8], 10, 1, 10, Activation::Relu).unwrap();
        let width = network.statistics();
        let statistics: Vec<f64> = (0..3 * width).map(|k| k as f64).collect();
        let tensors = normalisation_tensors(&network, &statistics, 3, Dtype::F64).unwrap();
        let find = |name: &str| {
            let tensor = tensors.iter().find(|tensor| tensor.name == name).unwrap();
            let TensorData::F64(values) = &tensor.data else { panic!("{name}") };
            (tensor.shape.clone(), values.clone())
        };
        let (shape, means) = find("block1.0.bn1.running_mean");
        assert_eq!((shape, means[0], means[16]), (vec![3, 16], 0.0, width as f64));
        let (_, variances) = find("block1.0.bn2.running_var");
        assert_eq!(variances[0], 48.0);
        let (shape, variances) = find("bn1.running_var");
        assert_eq!((shape, variances[3 * 64 - 1]), (vec![3, 64], (3 * width - 1) as f64));
        assert_eq!(tensors.len(), 2 * 7);
        let error = normalisation_tensors(&network, &statistics[1..], 3, Dtype::F64).unwrap_err().to_string();
        assert!(error.contains(&format!("expected 3 samples x {width}")), "{error}");
    }
}
