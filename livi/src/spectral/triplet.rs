//! An approximate singular triplet with its residual.

use super::kernels::{add_scaled, norm, scale};
use super::{LinearMap, Products, Real};
use crate::{Error, Result};

/// An approximate singular triplet `J v ~ s u` as an iteration left it.
#[derive(Debug, Clone, PartialEq)]
pub struct SingularTriplet<T> {
    /// `s = |J v|`, a Ritz value: at least the smallest and at most the largest singular value.
    pub value: f64,
    /// `u = J v / |J v|`, m numbers; zeros where the value is 0.
    pub left: Vec<T>,
    /// Unit vector v, d numbers; zeros where a value of 0 needed no iteration (fewer rows than columns).
    pub right: Vec<T>,
    /// `|J^T J v - s^2 v|`: some eigenvalue of `J^T J` is at most this far from `s^2`.
    pub residual: f64,
    /// Iterations made.
    pub iterations: usize,
    /// Whether the residual, measured afresh, reached the tolerance.
    pub converged: bool,
    /// Products used.
    pub products: Products,
}

impl<T> SingularTriplet<T> {
    /// Interval that holds some singular value of J (exact arithmetic): the square roots of `s^2 -+ residual`, the
    /// lower end at least 0.
    ///
    /// An iteration that has settled on a wrong singular value has a small residual too: which singular value it is,
    /// the residual cannot tell.
    pub fn enclosure(&self) -> (f64, f64) {
        let root = |side: f64| (self.value * self.value + side * self.residual).max(0.0).sqrt();
        (root(-1.0), root(1.0))
    }

    /// Enclosure when the triplet is taken for the smallest singular value, which is never above a Ritz value: from the
    /// lower end of [`SingularTriplet::enclosure`] to the value.
    pub fn smallest_enclosure(&self) -> (f64, f64) {
        (self.enclosure().0, self.value)
    }

    /// Enclosure when the triplet is taken for the largest singular value, which is never under a Ritz value.
    pub fn largest_enclosure(&self) -> (f64, f64) {
        (self.value, self.enclosure().1)
    }
}

/// The triplet of a vector v of any length but zero, value and residual from fresh products. Iterations, convergence
/// and products are left for the caller.
pub(super) fn measure<T: Real, M: LinearMap<T> + ?Sized>(map: &mut M, mut right: Vec<T>) -> Result<SingularTriplet<T>> {
    let length = norm(&right);
    if !(length > 0.0 && length.is_finite()) {
        return Err(Error::Numerical {
            method: "singular triplet",
            problem: format!("the iteration ended in a vector of norm {length}"),
        });
    }
    scale(1.0 / length, &mut right);
    // The rounded vector's own length, so that the quotient is a Ritz value to the last digit.
    let length = norm(&right);
    let mut left = vec![T::from_f64(0.0); map.rows()];
    map.apply(1, &right, &mut left)?;
    let value = norm(&left) / length;
    let mut residual = vec![T::from_f64(0.0); right.len()];
    map.apply_transpose(1, &left, &mut residual)?;
    add_scaled(-value * value, &right, &mut residual);
    let residual = norm(&residual) / length;
    if value > 0.0 {
        scale(1.0 / norm(&left), &mut left);
    }
    Ok(SingularTriplet { value, left, right, residual, iterations: 0, converged: false, products: Products::default() })
}

/// The smallest singular value of a map with fewer rows than columns: exactly 0, no products.
pub(super) fn zero<T: Real>(rows: usize, cols: usize) -> SingularTriplet<T> {
    SingularTriplet {
        value: 0.0,
        left: vec![T::from_f64(0.0); rows],
        right: vec![T::from_f64(0.0); cols],
        residual: 0.0,
        iterations: 0,
        converged: true,
        products: Products::default(),
    }
}
