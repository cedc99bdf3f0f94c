//! Trained weights of a network out of a safetensors file, such as a PyTorch model's state dictionary.

use super::safetensors_io::{TensorData, TensorFile};
use crate::Result;
use crate::network::Layout;

/// The weights of a network, in the order of its layout, by the names of its tensors: from a state dictionary, or the first of the samples that
/// [`export_samples`](super::export_samples) wrote. Tensors of other names are ignored.
///
/// ```
/// use livi::export::{NamedTensor, TensorData, read_tensors, trained_weights, write_tensors};
/// use livi::{activation::Activation, network::Network};
/// let network = Network::mlp(&[2, 1], Activation::Relu)?;
/// let folder = tempfile::tempdir().unwrap();
/// let path = folder.path().join("linear.safetensors");
/// let tensors = [
///     NamedTensor::new("layer0.bias", vec![1], TensorData::F32(vec![0.5])),
///     NamedTensor::new("layer0.weight", vec![1, 2], TensorData::F32(vec![1.0, -2.0])),
/// ];
/// write_tensors(&path, &tensors, &Default::default())?;
/// assert_eq!(trained_weights(&read_tensors(&path)?, network.layout())?, [1.0, -2.0, 0.5]);
/// # Ok::<(), livi::Error>(())
/// ```
///
/// # Errors
/// [`crate::Error::File`] listing every tensor that is missing, of another shape, no floating-point numbers or not finite.
pub fn trained_weights(file: &TensorFile, layout: &Layout) -> Result<Vec<f64>> {
    let mut weights = Vec::with_capacity(layout.len());
    let mut problems = Vec::new();
    for entry in layout.entries() {
        match one(file, &entry.name, &entry.shape) {
            Ok(values) => weights.extend(values),
            Err(problem) => problems.push(format!("`{}` {problem}", entry.name)),
        }
    }
    if problems.is_empty() {
        return Ok(weights);
    }
    let present: Vec<&str> = file.names().collect();
    let problem = format!("do not fit the network: {}; the file has {}", problems.join(", "), present.join(", "));
    Err(file.problem("tensors", problem))
}

fn one(file: &TensorFile, name: &str, shape: &[usize]) -> std::result::Result<Vec<f64>, String> {
    let tensor = file.get(name).map_err(|_| format!("of shape {shape:?} is missing"))?;
    let samples = tensor.shape.len() == shape.len() + 1 && tensor.shape[1..] == *shape && tensor.shape[0] > 0;
    if tensor.shape != shape && !samples {
        return Err(format!("has shape {:?}, expected {shape:?}", tensor.shape));
    }
    let count = shape.iter().product();
    let values: Vec<f64> = match &tensor.data {
        TensorData::F32(values) => values[..count].iter().map(|&value| f64::from(value)).collect(),
        TensorData::F64(values) => values[..count].to_vec(),
        other => return Err(format!("has element type {}, expected F32 or F64", other.dtype_name())),
    };
    match values.iter().find(|value| !value.is_finite()) {
        Some(value) => Err(format!("holds {value}, expected finite numbers")),
        None => Ok(values),
    }
}
