//! The linearised entropy H = (m/2) log(2 pi e) + E_z\[1/2 log det(J J^T + sigma^2 I_m)\] (Uppal et al. 2023, equation 8), by every method.
//!
//! It is exact for an affine sampler; otherwise it is neither an upper nor a lower bound of the true entropy (it counts twice where sheets of
//! the sampler overlap).

mod accumulation;
mod directions;
mod estimate;
mod exact;
mod folding;
mod gram;
mod gram_matrix;
mod jacobian;
mod krylov;
mod largest;
mod linearised;
mod monte_carlo;
mod paper;
pub(crate) mod parameters;
mod report;
mod resident;
mod residuals;
mod slq;
mod smallest;
mod spectrum;
mod tangents;

pub use accumulation::Accumulation;
pub use directions::{DirectionPrograms, Directions};
pub use estimate::{
    Direction, DirectionInputs, Estimate, Settings, Surrogate, Target, combine, estimate, estimates, record_surrogate,
    takes_several,
};
pub(crate) use estimate::{check_sigma, sigma_problem};
pub use exact::{ExactEntropy, record_exact};
pub use gram::{GramMachine, GramPrograms};
pub use gram_matrix::{GramFactor, GramFigures, GramMatrix};
pub use jacobian::{Jacobian, JacobianMap, JacobianPrograms};
pub use monte_carlo::{EntropyBracket, entropy_bracket};
pub use report::{Constants, EntropyReport, Method};
pub use resident::{ResidentGram, ResidentPrograms};
pub(crate) use slq::LEAST_PROBES;
pub use spectrum::{FULL_DEPTH, Spectrum};
pub use tangents::hidden_tangents;
