//! Named tensors in safetensors files: written atomically and reproducibly, read with checks.
//!
//! The format (<https://github.com/huggingface/safetensors>) is a JSON header with every tensor's name, dtype,
//! shape and place, followed by the raw little-endian numbers in row-major order. Python reads it with
//! `safetensors.numpy.load_file` or `safetensors.torch.load_file`.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, Metadata, SafeTensors, TensorInfo};

use crate::atomic::{io_error, write_atomic_with};
use crate::{Error, Result};

/// The numbers of a tensor, in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub enum TensorData {
    /// Single precision.
    F32(Vec<f32>),
    /// Double precision.
    F64(Vec<f64>),
    /// Signed integers.
    I64(Vec<i64>),
    /// Unsigned integers, for instance counters of random number generators.
    U64(Vec<u64>),
}

impl TensorData {
    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::F64(values) => values.len(),
            Self::I64(values) => values.len(),
            Self::U64(values) => values.len(),
        }
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Name of the element type as safetensors spells it: `F32`, `F64`, `I64` or `U64`.
    pub fn dtype_name(&self) -> &'static str {
        match self {
            Self::F32(_) => "F32",
            Self::F64(_) => "F64",
            Self::I64(_) => "I64",
            Self::U64(_) => "U64",
        }
    }

    fn dtype(&self) -> Dtype {
        match self {
            Self::F32(_) => Dtype::F32,
            Self::F64(_) => Dtype::F64,
            Self::I64(_) => Dtype::I64,
            Self::U64(_) => Dtype::U64,
        }
    }

    /// The numbers as they lie in a file.
    pub(crate) fn little_endian_bytes(&self) -> Vec<u8> {
        match self {
            Self::F32(values) => little_endian_bytes(values, f32::to_le_bytes),
            Self::F64(values) => little_endian_bytes(values, f64::to_le_bytes),
            Self::I64(values) => little_endian_bytes(values, i64::to_le_bytes),
            Self::U64(values) => little_endian_bytes(values, u64::to_le_bytes),
        }
    }

    fn from_little_endian_bytes(dtype: Dtype, bytes: &[u8]) -> Option<Self> {
        /// Chunks of exactly `N` bytes; the file's header has been checked against its length before.
        fn chunks<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; N]> + '_ {
            bytes.chunks_exact(N).map(|chunk| {
                let mut array = [0; N];
                array.copy_from_slice(chunk);
                array
            })
        }
        Some(match dtype {
            Dtype::F32 => Self::F32(chunks(bytes).map(f32::from_le_bytes).collect()),
            Dtype::F64 => Self::F64(chunks(bytes).map(f64::from_le_bytes).collect()),
            Dtype::I64 => Self::I64(chunks(bytes).map(i64::from_le_bytes).collect()),
            Dtype::U64 => Self::U64(chunks(bytes).map(u64::from_le_bytes).collect()),
            _ => return None,
        })
    }
}

/// A tensor with a name and a shape.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedTensor {
    /// Unique name inside the file, for instance `0.weight`.
    pub name: String,
    /// Extent of every axis; empty for a scalar.
    pub shape: Vec<usize>,
    /// The numbers, row-major; as many as the product of `shape`.
    pub data: TensorData,
}

impl NamedTensor {
    /// A tensor of these parts; lengths are checked when it is written.
    pub fn new(name: impl Into<String>, shape: impl Into<Vec<usize>>, data: TensorData) -> Self {
        Self { name: name.into(), shape: shape.into(), data }
    }
}

/// Makes the little-endian bytes of a tensor when they are needed.
pub(crate) type BytesLater<'a> = Box<dyn Fn() -> Vec<u8> + 'a>;

/// A tensor about to be written whose bytes are made only when its turn comes.
pub(crate) struct PendingTensor<'a> {
    pub name: &'a str,
    pub shape: Vec<usize>,
    pub dtype: Dtype,
    pub bytes: BytesLater<'a>,
}

impl<'a> PendingTensor<'a> {
    /// Of a tensor whose data are as long as its shape says.
    pub fn of(tensor: &'a NamedTensor) -> Self {
        let (name, shape, dtype) = (tensor.name.as_str(), tensor.shape.clone(), tensor.data.dtype());
        Self { name, shape, dtype, bytes: Box::new(|| tensor.data.little_endian_bytes()) }
    }
}

/// Writes `tensors` and string `metadata` to `path` as one safetensors file, replacing an older file in one step.
///
/// The same input gives the same bytes: tensors lie in the order of their dtype's size, then name, and the
/// header's keys are sorted.
///
/// # Errors
/// [`Error::Argument`] for a name used twice, the reserved name `__metadata__`, or data whose length does not
/// match its shape; [`Error::Io`] when the file cannot be written. An older file then stands untouched.
///
/// # Examples
/// ```
/// use livi::export::{NamedTensor, TensorData, read_tensors, write_tensors};
/// use std::collections::BTreeMap;
/// let folder = tempfile::tempdir().unwrap();
/// let path = folder.path().join("tensors.safetensors");
/// let weight = NamedTensor::new("weight", [2, 3], TensorData::F64(vec![1., 2., 3., 4., 5., 6.]));
/// write_tensors(&path, &[weight], &BTreeMap::from([("seed".into(), "7".into())])).unwrap();
/// let file = read_tensors(&path).unwrap();
/// assert_eq!(file.f64("weight", &[2, 3]).unwrap()[4], 5.0);
/// assert_eq!(file.metadata_value("seed").unwrap(), "7");
/// ```
pub fn write_tensors(
    path: impl AsRef<Path>,
    tensors: &[NamedTensor],
    metadata: &BTreeMap<String, String>,
) -> Result<()> {
    let mut pending = Vec::with_capacity(tensors.len());
    for tensor in tensors {
        let expected: usize = tensor.shape.iter().product();
        if tensor.data.len() != expected {
            return Err(Error::Argument {
                name: format!("tensor `{}`", tensor.name),
                problem: format!("has {} elements, its shape {:?} needs {expected}", tensor.data.len(), tensor.shape),
            });
        }
        pending.push(PendingTensor::of(tensor));
    }
    write_pending(path.as_ref(), pending, metadata)
}

/// Lays out and writes tensors one after another, so that only one tensor's bytes are held at a time.
pub(crate) fn write_pending(
    path: &Path,
    mut tensors: Vec<PendingTensor<'_>>,
    metadata: &BTreeMap<String, String>,
) -> Result<()> {
    // Wider types first keeps every tensor aligned; the header is padded to eight bytes for the same reason.
    tensors.sort_by(|a, b| b.dtype.bitsize().cmp(&a.dtype.bitsize()).then(a.name.cmp(b.name)));
    let mut names: Vec<&str> = tensors.iter().map(|tensor| tensor.name).collect();
    names.sort_unstable();
    for (index, name) in names.iter().enumerate() {
        if *name == "__metadata__" || (index > 0 && names[index - 1] == *name) {
            return Err(Error::Argument {
                name: format!("tensor `{name}`"),
                problem: "this name is reserved or used twice; every tensor needs a name of its own".into(),
            });
        }
    }
    let mut offset = 0;
    let mut infos = Vec::with_capacity(tensors.len());
    for tensor in &tensors {
        let end = offset + tensor.shape.iter().product::<usize>() * tensor.dtype.bitsize() / 8;
        let info = TensorInfo { dtype: tensor.dtype, shape: tensor.shape.clone(), data_offsets: (offset, end) };
        infos.push((tensor.name.to_string(), info));
        offset = end;
    }
    let in_header = |problem: String| Error::File { path: path.to_path_buf(), place: "header".into(), problem };
    let metadata: HashMap<String, String> = metadata.clone().into_iter().collect();
    let header = Metadata::new(Some(metadata), infos).map_err(|error| in_header(error.to_string()))?;
    // A JSON value keeps its keys sorted, a hash map does not: this makes the bytes reproducible.
    let mut header = serde_json::to_value(&header)
        .map(|value| value.to_string().into_bytes())
        .map_err(|error| in_header(error.to_string()))?;
    header.resize(header.len().next_multiple_of(8), b' ');
    write_atomic_with(path, |file| {
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(&header)?;
        tensors.iter().try_for_each(|tensor| file.write_all(&(tensor.bytes)()))
    })
}

/// The content of a safetensors file.
#[derive(Clone, Debug)]
pub struct TensorFile {
    path: PathBuf,
    tensors: BTreeMap<String, NamedTensor>,
    metadata: BTreeMap<String, String>,
}

/// Reads a whole safetensors file whose tensors are of type F32, F64, I64 or U64.
///
/// # Errors
/// [`Error::Io`] when it cannot be read; [`Error::File`] when it is truncated, of another format, or holds a
/// tensor of another type.
pub fn read_tensors(path: impl AsRef<Path>) -> Result<TensorFile> {
    let path = path.as_ref();
    let bytes = fs::read(path).map_err(io_error(path, "read"))?;
    let foreign = |error: safetensors::SafeTensorError| Error::File {
        path: path.to_path_buf(),
        place: "header".into(),
        problem: format!(
            "not a complete safetensors file of {} bytes ({error}); it is truncated or of another format",
            bytes.len()
        ),
    };
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(foreign)?;
    let content = SafeTensors::deserialize(&bytes).map_err(foreign)?;
    let mut tensors = BTreeMap::new();
    for (name, view) in content.tensors() {
        let data = TensorData::from_little_endian_bytes(view.dtype(), view.data()).ok_or_else(|| Error::File {
            path: path.to_path_buf(),
            place: format!("tensor `{name}`"),
            problem: format!("has element type {}, expected one of F32, F64, I64, U64", view.dtype()),
        })?;
        tensors.insert(name.clone(), NamedTensor { name, shape: view.shape().to_vec(), data });
    }
    let metadata = header.metadata().clone().unwrap_or_default().into_iter().collect();
    Ok(TensorFile { path: path.to_path_buf(), tensors, metadata })
}

impl TensorFile {
    /// The file this was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Names of the tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// The tensors, sorted by name.
    pub(crate) fn tensors(&self) -> impl Iterator<Item = &NamedTensor> {
        self.tensors.values()
    }

    /// All metadata.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// The metadata value under `key`.
    ///
    /// # Errors
    /// [`Error::File`] when the key is missing; it lists the keys that are there.
    pub fn metadata_value(&self, key: &str) -> Result<&str> {
        self.metadata.get(key).map(String::as_str).ok_or_else(|| {
            let present: Vec<&str> = self.metadata.keys().map(String::as_str).collect();
            self.problem(format!("metadata `{key}`"), format!("is missing; there are {}", listed(&present)))
        })
    }

    /// The tensor called `name`.
    ///
    /// # Errors
    /// [`Error::File`] when there is none; it lists the names that are there.
    pub fn get(&self, name: &str) -> Result<&NamedTensor> {
        self.tensors.get(name).ok_or_else(|| {
            let present: Vec<&str> = self.names().collect();
            self.problem(format!("tensor `{name}`"), format!("is missing; there are {}", listed(&present)))
        })
    }

    /// Removes the tensor called `name` from the file's content and returns it, to save a copy.
    ///
    /// # Errors
    /// As [`TensorFile::get`].
    pub fn take(&mut self, name: &str) -> Result<NamedTensor> {
        match self.tensors.remove(name) {
            Some(tensor) => Ok(tensor),
            None => self.get(name).cloned(),
        }
    }

    /// The numbers of the single-precision tensor `name` of exactly this shape.
    ///
    /// # Errors
    /// [`Error::File`] when it is missing, of another shape or of another type, saying which.
    pub fn f32(&self, name: &str, shape: &[usize]) -> Result<&[f32]> {
        match &self.of_shape(name, shape)?.data {
            TensorData::F32(values) => Ok(values),
            other => Err(self.wrong_type(name, "F32", other)),
        }
    }

    /// The numbers of the double-precision tensor `name` of exactly this shape.
    ///
    /// # Errors
    /// As [`TensorFile::f32`].
    pub fn f64(&self, name: &str, shape: &[usize]) -> Result<&[f64]> {
        match &self.of_shape(name, shape)?.data {
            TensorData::F64(values) => Ok(values),
            other => Err(self.wrong_type(name, "F64", other)),
        }
    }

    /// The numbers of the signed integer tensor `name` of exactly this shape.
    ///
    /// # Errors
    /// As [`TensorFile::f32`].
    pub fn i64(&self, name: &str, shape: &[usize]) -> Result<&[i64]> {
        match &self.of_shape(name, shape)?.data {
            TensorData::I64(values) => Ok(values),
            other => Err(self.wrong_type(name, "I64", other)),
        }
    }

    /// The numbers of the unsigned integer tensor `name` of exactly this shape.
    ///
    /// # Errors
    /// As [`TensorFile::f32`].
    pub fn u64(&self, name: &str, shape: &[usize]) -> Result<&[u64]> {
        match &self.of_shape(name, shape)?.data {
            TensorData::U64(values) => Ok(values),
            other => Err(self.wrong_type(name, "U64", other)),
        }
    }

    /// An [`Error::File`] about this file, for callers with checks of their own.
    pub fn problem(&self, place: impl Into<String>, problem: impl Into<String>) -> Error {
        Error::File { path: self.path.clone(), place: place.into(), problem: problem.into() }
    }

    fn of_shape(&self, name: &str, shape: &[usize]) -> Result<&NamedTensor> {
        let tensor = self.get(name)?;
        if tensor.shape != shape {
            let problem = format!("has shape {:?}, expected {shape:?}", tensor.shape);
            return Err(self.problem(format!("tensor `{name}`"), problem));
        }
        Ok(tensor)
    }

    fn wrong_type(&self, name: &str, expected: &str, found: &TensorData) -> Error {
        let problem = format!("has element type {}, expected {expected}", found.dtype_name());
        self.problem(format!("tensor `{name}`"), problem)
    }
}

/// The bytes of `values` one after another, each as `to_bytes` gives it.
pub(crate) fn little_endian_bytes<T: Copy, const N: usize>(values: &[T], to_bytes: fn(T) -> [u8; N]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(values.len() * N);
    for &value in values {
        bytes.extend_from_slice(&to_bytes(value));
    }
    bytes
}

/// Names in backticks, or a word that there are none.
fn listed(names: &[&str]) -> String {
    if names.is_empty() {
        return "none at all".into();
    }
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
