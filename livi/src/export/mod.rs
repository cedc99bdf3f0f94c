//! Tensors and weight samples in files that other programs can read.
//!
//! - [`safetensors_io`]: named tensors in a safetensors file, written atomically, read with checks.
//! - [`description`]: what a file of weight samples says about them in its metadata.
//! - [`statistics`]: statistics of batch normalisation beside weight samples.
//! - [`trained`]: trained weights of a network to start from.
//! - [`weights`]: weight samples, one tensor per layer name with a leading sample axis, in PyTorch's layouts.

pub mod description;
pub mod safetensors_io;
pub mod statistics;
pub mod trained;
pub mod weights;

pub use description::SampleDescription;
pub use safetensors_io::{NamedTensor, TensorData, TensorFile, read_tensors, write_tensors};
pub use statistics::normalisation_tensors;
pub use trained::trained_weights;
pub use weights::{SampleValues, WeightSamples, export_samples, read_samples};
