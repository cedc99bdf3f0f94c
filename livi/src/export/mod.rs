//! Tensors and weight samples in files that other programs can read.
//!
//! - [`safetensors_io`]: named tensors in a safetensors file, written atomically, read with checks.
//! - [`description`]: what a file of weight samples says about them in its metadata.
//! - [`weights`]: weight samples, one tensor per layer name with a leading sample axis, in PyTorch's layouts.

pub mod description;
pub mod safetensors_io;
pub mod weights;

pub use description::SampleDescription;
pub use safetensors_io::{NamedTensor, TensorData, TensorFile, read_tensors, write_tensors};
pub use weights::{SampleValues, WeightSamples, export_samples, read_samples};
