//! Planned and run on the machine against the naive interpreter: every primitive, random programs, updates, residuals,
//! noise.

mod arbitrary;
mod every_primitive;
mod generator;
mod harness;
mod order_of_sums;
mod paranoid_twin;
mod random_programs;
#[path = "../reference/mod.rs"]
mod reference;
mod residuals;
mod sizes;
mod updates;
