//! The smallest singular value from a Golub-Kahan process, without a shift or an inverse.

use super::arguments::{expect_block, expect_positive};
use super::lobpcg::SmallestOptions;
use super::triplet::{measure, zero};
use super::{Counted, GolubKahan, LinearMap, Products, Real, SingularTriplet};
use crate::Result;

/// Smallest singular value of J as the smallest singular value of the bidiagonal matrix of a Golub-Kahan process from
/// `start` (d numbers, best random).
///
/// The Ritz vector minimises `|J v| / |v|` over a whole Krylov space of `options.max_iterations` steps, which LOBPCG
/// only approaches: for a given number of products this is the better of the two as long as memory holds the basis,
/// `steps * (m + d)` numbers. When one space is not enough, the process starts again from the Ritz vector, up to
/// `restarts` times; products grow by two for each step and by two for each residual.
///
/// The value is a Ritz value, at least the true smallest singular value: see [`SingularTriplet::smallest_enclosure`].
/// With fewer rows than columns the smallest singular value is exactly 0 and no product is made.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) for options out of range, sizes of zero, a start vector that is zero,
/// not finite or of a wrong length; [`Error::Numerical`](crate::Error::Numerical) when a product is not finite or the
/// small problem does not converge; what the map answers.
///
/// ```
/// use livi::spectral::{DenseMap, SmallestOptions, krylov_smallest};
/// let mut map = DenseMap::new(3, 3, vec![3.0_f64, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.5])?;
/// let options = SmallestOptions { tolerance: 1e-10, floor: 0.0, max_iterations: 3 };
/// let triplet = krylov_smallest(&mut map, &[1.0, 1.0, 1.0], &options, 0)?;
/// assert!(triplet.converged && (triplet.value - 0.5).abs() < 1e-12);
/// assert_eq!(triplet.products.total(), 8);
/// # Ok::<(), livi::Error>(())
/// ```
pub fn krylov_smallest<T: Real, M: LinearMap<T> + ?Sized>(
    map: &mut M,
    start: &[T],
    options: &SmallestOptions,
    restarts: usize,
) -> Result<SingularTriplet<T>> {
    options.check()?;
    let mut map = Counted::new(map)?;
    let (rows, cols) = (map.rows(), map.cols());
    expect_block("start vector", start, 1, cols)?;
    if rows < cols {
        return Ok(zero(rows, cols));
    }
    krylov_extreme(&mut map, start, options.max_iterations, restarts, false, |value, residual| {
        options.is_reached(value, residual)
    })
}

/// Largest singular value of J by the same process: `steps` of a Golub-Kahan process from `start`, restarted up to
/// `restarts` times until `|J^T J v - s^2 v| <= tolerance * s^2`.
///
/// Converges in far fewer products than [`power_iteration`](super::power_iteration), at the price of the basis: `steps
/// * (m + d)` numbers. The value is at most the true largest singular value: see
/// [`SingularTriplet::largest_enclosure`].
///
/// # Errors
/// As [`krylov_smallest`].
///
/// ```
/// use livi::spectral::{DenseMap, krylov_largest};
/// let mut map = DenseMap::new(1, 2, vec![3.0_f64, 4.0])?;
/// let triplet = krylov_largest(&mut map, &[1.0, 0.0], 1e-10, 2, 0)?;
/// assert!((triplet.value - 5.0).abs() < 1e-14);
/// # Ok::<(), livi::Error>(())
/// ```
pub fn krylov_largest<T: Real, M: LinearMap<T> + ?Sized>(
    map: &mut M,
    start: &[T],
    tolerance: f64,
    steps: usize,
    restarts: usize,
) -> Result<SingularTriplet<T>> {
    super::arguments::expect_tolerance(tolerance)?;
    expect_positive("steps", steps)?;
    let mut map = Counted::new(map)?;
    expect_block("start vector", start, 1, map.cols())?;
    krylov_extreme(&mut map, start, steps, restarts, true, |value, residual| residual <= tolerance * value * value)
}

fn krylov_extreme<T: Real, M: LinearMap<T>>(
    map: &mut Counted<M>,
    start: &[T],
    steps: usize,
    restarts: usize,
    largest: bool,
    is_reached: impl Fn(f64, f64) -> bool,
) -> Result<SingularTriplet<T>> {
    let mut process = GolubKahan::new(map.rows(), map.cols(), 1, steps)?;
    let mut iterations = 0;
    let mut vector = start.to_vec();
    let mut round = 0;
    loop {
        process.run(map, 1, &vector)?;
        iterations += process.depth(0);
        process.extreme_right_vector(0, largest, &mut vector)?;
        let mut triplet = measure(map, vector)?;
        triplet.converged = is_reached(triplet.value, triplet.residual);
        if triplet.converged || round == restarts {
            let products: Products = map.products();
            return Ok(SingularTriplet { iterations, products, ..triplet });
        }
        vector = triplet.right;
        round += 1;
    }
}

#[cfg(test)]
mod tests;
