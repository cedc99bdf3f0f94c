//! Weight samples as a safetensors file: one tensor per layer name with a leading sample axis.
//!
//! Names and layouts are PyTorch's: a linear layer has `weight` of shape (outputs, inputs) and `bias` of shape
//! (outputs), so sample `i` of a file with N samples is the state dictionary `{name: tensor[i]}`. Networks with batch normalisation have its
//! statistics beside their weights ([`normalisation_tensors`](super::normalisation_tensors)). The metadata
//! ([`description`](super::description)) hold all else that predictions need.

use std::path::Path;

use safetensors::tensor::Dtype;

use super::description::{SampleDescription, read};
use super::safetensors_io::{
    BytesLater, NamedTensor, PendingTensor, TensorData, little_endian_bytes, read_tensors, write_pending,
};
use crate::{Error, Result};

/// Weight samples to write: N vectors of m weights, row-major (sample after sample).
#[derive(Clone, Copy, Debug)]
pub enum SampleValues<'a> {
    /// Single precision.
    F32(&'a [f32]),
    /// Double precision.
    F64(&'a [f64]),
}

impl<'a> From<&'a [f32]> for SampleValues<'a> {
    fn from(values: &'a [f32]) -> Self {
        Self::F32(values)
    }
}

impl<'a> From<&'a [f64]> for SampleValues<'a> {
    fn from(values: &'a [f64]) -> Self {
        Self::F64(values)
    }
}

impl SampleValues<'_> {
    fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::F64(values) => values.len(),
        }
    }
}

/// Weight samples as read from a file.
#[derive(Clone, Debug, PartialEq)]
pub struct WeightSamples {
    /// Layer names and shapes, in the order of the weight vector.
    pub layout: Vec<(String, Vec<usize>)>,
    /// Number of samples N.
    pub count: usize,
    /// N x m weights, row-major; `F32` or `F64`.
    pub values: TensorData,
    /// Tensors beside the weights, each with the samples as its first axis: the statistics of batch normalisation.
    pub beside: Vec<NamedTensor>,
    /// Configuration, seed, and what predictions need besides.
    pub description: SampleDescription,
}

/// Number of weights m of a layout.
fn weight_count(layout: &[(String, Vec<usize>)]) -> usize {
    layout.iter().map(|(_, shape)| shape.iter().product::<usize>()).sum()
}

/// Writes `count` weight samples to `path`, replacing an older file in one step.
///
/// `layout` names the slices of the weight vector in order, `samples` holds N x m numbers row-major, where m is
/// the sum of the layout's sizes. Tensor `name` gets the shape (N, layer shape...). Tensors `beside` the weights have names of their own and N
/// entries each along their first axis.
///
/// # Errors
/// [`Error::Argument`] when `count` is 0, the layout is empty or has a name twice, `samples` is not N x m long, a tensor beside is not of N
/// entries, or the description's parts do not fit each other;
/// [`Error::Io`] when the file cannot be written.
///
/// # Examples
/// ```
/// use livi::data::Standardiser;
/// use livi::export::{SampleDescription, TensorData, export_samples, read_samples, read_tensors};
/// let folder = tempfile::tempdir().unwrap();
/// let path = folder.path().join("samples.safetensors");
/// let layout = [("0.weight".to_string(), vec![2, 1]), ("0.bias".to_string(), vec![2])];
/// let samples = [1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]; // two samples of four weights
/// let description = SampleDescription {
///     config: "seed = 7".into(),
///     seed: 7,
///     components: 1,
///     input_names: vec!["x".into()],
///     output_names: vec!["y".into()],
///     standardiser: Standardiser { x_mean: vec![2.0], x_std: vec![0.5], y_mean: vec![10.0], y_std: vec![4.0] },
///     noise_std: vec![1.2],
/// };
/// export_samples(&path, &layout, samples.as_slice(), 2, &[], &description).unwrap();
/// let bias = read_tensors(&path).unwrap().f32("0.bias", &[2, 2]).unwrap().to_vec();
/// assert_eq!(bias, [3.0, 4.0, 7.0, 8.0]);
/// let read = read_samples(&path).unwrap();
/// assert_eq!(read.values, TensorData::F32(samples.to_vec()));
/// assert_eq!(read.description, description);
/// ```
pub fn export_samples<'a>(
    path: impl AsRef<Path>,
    layout: &[(String, Vec<usize>)],
    samples: impl Into<SampleValues<'a>>,
    count: usize,
    beside: &[NamedTensor],
    description: &SampleDescription,
) -> Result<()> {
    let samples = samples.into();
    let weights = weight_count(layout);
    if count == 0 || weights == 0 {
        return Err(Error::Argument {
            name: "samples".into(),
            problem: format!("{count} samples of {weights} weights: expected at least one of each"),
        });
    }
    if Some(samples.len()) != count.checked_mul(weights) {
        return Err(Error::Argument {
            name: "samples".into(),
            problem: format!(
                "{} numbers given, expected {count} samples x {weights} weights (the sum of the layout's sizes)",
                samples.len()
            ),
        });
    }
    let mut start = 0;
    let mut pending = Vec::with_capacity(layout.len());
    for (name, shape) in layout {
        let end = start + shape.iter().product::<usize>();
        let columns = start..end;
        let (dtype, bytes): (_, BytesLater<'_>) = match samples {
            SampleValues::F32(values) => (
                Dtype::F32,
                Box::new(move || {
                    let slice = columns_of(values, weights, columns.clone());
                    little_endian_bytes(&slice, f32::to_le_bytes)
                }),
            ),
            SampleValues::F64(values) => (
                Dtype::F64,
                Box::new(move || {
                    let slice = columns_of(values, weights, columns.clone());
                    little_endian_bytes(&slice, f64::to_le_bytes)
                }),
            ),
        };
        let shape = std::iter::once(count).chain(shape.iter().copied()).collect();
        pending.push(PendingTensor { name, shape, dtype, bytes });
        start = end;
    }
    for tensor in beside {
        if tensor.shape.first() != Some(&count) || tensor.shape.iter().product::<usize>() != tensor.data.len() {
            let problem = format!("has shape {:?}, expected {count} samples along its first axis", tensor.shape);
            return Err(Error::Argument { name: format!("tensor `{}`", tensor.name), problem });
        }
        pending.push(PendingTensor::of(tensor));
    }
    write_pending(path.as_ref(), pending, &description.to_metadata(layout, count)?)
}

/// The given columns of a row-major matrix with `width` columns, row after row.
fn columns_of<T: Copy>(values: &[T], width: usize, columns: std::ops::Range<usize>) -> Vec<T> {
    values.chunks_exact(width).flat_map(|row| row[columns.clone()].iter().copied()).collect()
}

/// Reads weight samples written by [`export_samples`].
///
/// # Errors
/// [`Error::Io`] when the file cannot be read; [`Error::File`] when it is truncated, of another format or version,
/// or a tensor is missing or of another shape or type than the layout in its metadata says.
pub fn read_samples(path: impl AsRef<Path>) -> Result<WeightSamples> {
    let file = read_tensors(path)?;
    let description = SampleDescription::from_metadata(&file)?;
    let count: usize = read(&file, "count", "a number of samples")?;
    let layout: Vec<(String, Vec<usize>)> = read(&file, "layout", "a list of layer names and shapes")?;
    let shape_of = |shape: &[usize]| -> Vec<usize> { std::iter::once(count).chain(shape.iter().copied()).collect() };
    let double = match layout.first() {
        Some((name, _)) => matches!(file.get(name)?.data, TensorData::F64(_)),
        None => return Err(file.problem("metadata `layout`", "is empty, expected at least one layer")),
    };
    let values = if double {
        let layers: Result<Vec<&[f64]>> = layout.iter().map(|(name, shape)| file.f64(name, &shape_of(shape))).collect();
        TensorData::F64(side_by_side(&layers?, count))
    } else {
        let layers: Result<Vec<&[f32]>> = layout.iter().map(|(name, shape)| file.f32(name, &shape_of(shape))).collect();
        TensorData::F32(side_by_side(&layers?, count))
    };
    let mut beside = Vec::new();
    for name in file.names().filter(|name| layout.iter().all(|(layer, _)| layer != name)) {
        let tensor = file.get(name)?;
        if tensor.shape.first() != Some(&count) {
            let problem = format!("has shape {:?}, expected {count} samples along its first axis", tensor.shape);
            return Err(file.problem(format!("tensor `{name}`"), problem));
        }
        beside.push(tensor.clone());
    }
    Ok(WeightSamples { layout, count, values, beside, description })
}

/// Joins matrices of `rows` rows each along their columns.
fn side_by_side<T: Copy>(blocks: &[&[T]], rows: usize) -> Vec<T> {
    let mut joined = Vec::with_capacity(blocks.iter().map(|block| block.len()).sum());
    for row in 0..rows {
        for block in blocks {
            let width = block.len() / rows;
            joined.extend_from_slice(&block[row * width..(row + 1) * width]);
        }
    }
    joined
}

#[cfg(test)]
mod tests;
