//! Tensors and weight samples in files that other programs can read.
//!
//! - [`safetensors_io`]: named tensors in a safetensors file, written atomically, read with checks.
//! - [`weights`]: weight samples, one tensor per layer name with a leading sample axis, in PyTorch's layouts.

pub mod safetensors_io;
pub mod weights;

pub use safetensors_io::{NamedTensor, TensorData, TensorFile, read_tensors, write_tensors};
pub use weights::{SampleDescription, SampleValues, WeightSamples, export_samples, read_samples};
