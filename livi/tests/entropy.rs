//! The matrix-free entropy methods against dense linear algebra, closed forms and finite differences.

#[path = "entropy/accuracy.rs"]
mod accuracy;
#[path = "entropy/cases.rs"]
mod cases;
#[path = "entropy/estimates.rs"]
mod estimates;
#[path = "entropy/gradients.rs"]
mod gradients;
#[path = "entropy/gram.rs"]
mod gram;
#[path = "entropy/jacobian.rs"]
mod jacobian;
#[path = "entropy/krylov.rs"]
mod krylov;
#[path = "entropy/several_latents.rs"]
mod several_latents;
#[path = "entropy/single_precision.rs"]
mod single_precision;
#[path = "entropy/true_entropy.rs"]
mod true_entropy;
#[path = "entropy/verification.rs"]
mod verification;
