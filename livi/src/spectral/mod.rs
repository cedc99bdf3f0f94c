//! Matrix-free spectral estimators of `A = J^T J + sigma^2 I` for a linear map J known by its products only.
//!
//! J goes from R^d to R^m; sigma is positive. When m < d the missing singular values of J are zero. Nothing here knows
//! of samplers, tapes or latents: a [`LinearMap`] is all that is seen.
//!
//! Shared conventions: a block of vectors is row-major with one vector a row; vectors are f32 or f64 ([`Real`]), every
//! scalar is f64; random vectors are arguments, so that the caller holds the seed; results do not depend on the number
//! of threads.

mod arguments;
mod bidiagonal;
pub mod bounds;
mod cg;
mod deflation;
mod golub_kahan;
mod kernels;
mod linear_map;
mod lobpcg;
mod paper_variant;
mod power;
mod probes;
mod quadrature;
mod real;
mod slq;
mod small_svd;
mod smallest;
#[cfg(test)]
pub(crate) mod test_maps;
mod trace;
mod triplet;

pub use bidiagonal::Bidiagonals;
pub(crate) use bidiagonal::NEGLIGIBLE;
pub use cg::{CgOptions, CgReport, conjugate_gradients};
pub use deflation::{DominantSpace, complement_probes, dominant_spaces};
pub use golub_kahan::{GolubKahan, ProcessOn};
pub use linear_map::{Counted, DenseMap, LinearMap, Products};
pub use lobpcg::{SmallestOptions, lobpcg};
pub use paper_variant::{PAPER_STEPS, paper_half_log_det, paper_smallest};
pub use power::power_iteration;
pub use probes::{fill_gaussian, fill_rademacher, orthonormal_probes};
pub use quadrature::Quadrature;
pub use real::Real;
pub use slq::{
    Bidiagonalisation, BracketMean, ProbeBracket, ProbeKind, ProbeSolves, SlqOptions, SlqReport,
    stochastic_lanczos_quadrature, stochastic_lanczos_quadrature_by,
};
pub use smallest::{krylov_largest, krylov_largest_block, krylov_smallest, krylov_smallest_block};
pub(crate) use smallest::{krylov_largest_in, krylov_smallest_in};
pub use trace::{TraceEstimate, frobenius_squared, hutchinson_trace, mean_and_standard_error, student_quantile};
pub use triplet::{FAILURE, SingularTriplet};
