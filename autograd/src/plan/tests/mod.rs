//! Tests of plans against the meaning of their tapes.

mod costs;
mod generate;
mod interpret;
pub(crate) mod naive;
mod properties;
mod structure;
