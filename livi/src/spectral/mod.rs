//! Matrix-free spectral estimators of `A = J^T J + sigma^2 I` for a linear map J known by its products only.
//!
//! J goes from R^d to R^m; sigma is positive. When m < d the missing singular values of J are zero. Nothing here knows of samplers,
//! tapes or latents: a [`LinearMap`] is all that is seen.
//!
//! Shared conventions: a block of vectors is row-major with one vector a row; vectors are f32 or f64 ([`Real`]), every scalar is
//! f64; random vectors are arguments, so that the caller holds the seed; results do not depend on the number of threads.

mod arguments;
mod kernels;
mod linear_map;
mod real;

pub use linear_map::{Counted, DenseMap, LinearMap, Products};
pub use real::Real;
