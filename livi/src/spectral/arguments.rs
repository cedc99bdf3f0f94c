//! Checks of arguments that every method shares.

use super::Real;
use super::kernels::all_finite;
use crate::{Error, Result};

/// An [`Error::Argument`] about `name`.
pub(super) fn refuse<V>(name: &str, problem: impl Into<String>) -> Result<V> {
    Err(Error::Argument { name: name.into(), problem: problem.into() })
}

/// Refuses zero.
pub(super) fn expect_positive(name: &str, size: usize) -> Result<()> {
    if size == 0 { refuse(name, "is 0, expected at least 1") } else { Ok(()) }
}

/// Refuses a block whose length is not `count * size`.
pub(super) fn expect_length(name: &str, length: usize, count: usize, size: usize) -> Result<()> {
    match count.checked_mul(size) {
        Some(expected) if expected == length => Ok(()),
        Some(expected) => refuse(name, format!("has {length} numbers, expected {count} x {size} = {expected}")),
        None => refuse(name, format!("{count} x {size} numbers exceed the address space")),
    }
}

/// Refuses a block of a wrong length or with an entry that is not finite.
pub(super) fn expect_block<T: Real>(name: &str, block: &[T], count: usize, size: usize) -> Result<()> {
    expect_length(name, block.len(), count, size)?;
    if all_finite(block) { Ok(()) } else { refuse(name, "holds a number that is not finite") }
}

/// Refuses a standard deviation that is not positive and finite.
pub(super) fn expect_sigma(sigma: f64) -> Result<()> {
    if sigma > 0.0 && sigma.is_finite() {
        Ok(())
    } else {
        refuse("sigma", format!("is {sigma}, expected a positive finite number"))
    }
}

/// Refuses a tolerance that is not positive and finite.
pub(super) fn expect_tolerance(tolerance: f64) -> Result<()> {
    if tolerance > 0.0 && tolerance.is_finite() {
        Ok(())
    } else {
        refuse("tolerance", format!("is {tolerance}, expected a positive finite number"))
    }
}
