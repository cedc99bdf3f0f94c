//! An approximate singular triplet with its residual.

use super::kernels::{add_scaled, norm, scale};
use super::{LinearMap, Products, Real, bounds};
use crate::{Error, Result};

/// Chance that an honest enclosure of a triplet that has not converged may fail.
pub const FAILURE: f64 = 1e-6;

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
    /// Largest Ritz value seen on the way, at most the largest singular value.
    pub largest_seen: f64,
    /// Iterations made.
    pub iterations: usize,
    /// Dimension of the Krylov space that the start vector made, before any restart; 0 for methods without one.
    pub first_space: usize,
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

    /// Enclosure of the smallest singular value that does not take the iteration's word for it, for a random start vector (Gaussian, or uniform on
    /// the sphere): a converged triplet's own; otherwise the end that any spectrum leaves possible but for a chance of [`FAILURE`]
    /// ([`bounds::krylov_relative_error`]), which before convergence is mostly 0.
    pub fn honest_smallest_enclosure(&self) -> (f64, f64) {
        if self.converged {
            return self.smallest_enclosure();
        }
        let error = bounds::krylov_relative_error(self.right.len(), self.first_space, FAILURE);
        let spread = if error < 1.0 { error * self.largest_seen.powi(2) / (1.0 - error) } else { f64::INFINITY };
        ((self.value * self.value - spread).max(0.0).sqrt(), self.value)
    }

    /// The same for the largest singular value; the upper end is infinite where the Krylov space was too small to say anything.
    pub fn honest_largest_enclosure(&self) -> (f64, f64) {
        if self.converged {
            return self.largest_enclosure();
        }
        let error = bounds::krylov_relative_error(self.right.len(), self.first_space, FAILURE);
        let upper = if error < 1.0 { self.value / (1.0 - error).sqrt() } else { f64::INFINITY };
        (self.value, upper.max(self.enclosure().1))
    }

    /// Enclosure when the triplet is taken for the largest singular value, which is never under a Ritz value.
    pub fn largest_enclosure(&self) -> (f64, f64) {
        (self.value, self.enclosure().1)
    }
}

/// A triplet whose iterations, convergence and products are left for the caller.
fn finished<T>(value: f64, left: Vec<T>, right: Vec<T>, residual: f64) -> SingularTriplet<T> {
    SingularTriplet {
        value,
        left,
        right,
        residual,
        largest_seen: value,
        iterations: 0,
        first_space: 0,
        converged: false,
        products: Products::default(),
    }
}

/// The triplet of a vector v of any length but zero, value and residual from fresh products. Iterations, convergence
/// and products are left for the caller.
pub(super) fn measure<T: Real, M: LinearMap<T> + ?Sized>(map: &mut M, right: Vec<T>) -> Result<SingularTriplet<T>> {
    let zero = T::from_f64(0.0);
    let (mut images, mut backs) = (vec![zero; map.rows()], vec![zero; map.cols()]);
    let mut triplet = measure_block(map, right, &mut images, &mut backs)?.remove(0);
    triplet.left = images;
    Ok(triplet)
}

/// The same for each row of `vectors` (`count x d`), with two products of the whole block. The left vectors are left in `images` (`count x m`),
/// where whoever needs them finds them; `backs` is as long as `vectors`.
pub(super) fn measure_block<T: Real, M: LinearMap<T> + ?Sized>(
    map: &mut M,
    mut vectors: Vec<T>,
    images: &mut [T],
    backs: &mut [T],
) -> Result<Vec<SingularTriplet<T>>> {
    let (rows, cols) = (map.rows(), map.cols());
    for right in vectors.chunks_exact_mut(cols) {
        let length = norm(right);
        if !(length > 0.0 && length.is_finite()) {
            return Err(Error::Numerical {
                method: "singular triplet",
                problem: format!("the iteration ended in a vector of norm {length}"),
            });
        }
        scale(1.0 / length, right);
    }
    let count = vectors.len() / cols;
    map.apply(count, &vectors, images)?;
    map.apply_transpose(count, images, backs)?;
    let pairs = vectors.chunks_exact(cols).zip(images.chunks_exact_mut(rows)).zip(backs.chunks_exact_mut(cols));
    Ok(pairs
        .map(|((right, left), residual)| {
            // The rounded vector's own length, so that the quotient is a Ritz value to the last digit.
            let length = norm(right);
            let image = norm(left);
            let value = image / length;
            add_scaled(-value * value, right, residual);
            let residual = norm(residual) / length;
            if value > 0.0 {
                scale(1.0 / image, left);
            }
            finished(value, Vec::new(), right.to_vec(), residual)
        })
        .collect())
}

/// The smallest singular value of a map with fewer rows than columns: exactly 0, no products.
pub(super) fn zero<T: Real>(rows: usize, cols: usize) -> SingularTriplet<T> {
    let (left, right) = (vec![T::from_f64(0.0); rows], vec![T::from_f64(0.0); cols]);
    SingularTriplet { converged: true, ..finished(0.0, left, right, 0.0) }
}
