//! The oracle of all tests: a naive interpreter of tapes, a table of programs over every primitive, finite differences.
//!
//! Shared by several test programs, none of which uses all of it.
#![allow(dead_code)]

pub mod check;
pub mod interpreter;
pub mod random;
pub mod scalar;
pub mod table;
pub mod table_linear;

pub use interpreter::{Bindings, Value, evaluate_reals};
pub use random::Random;
