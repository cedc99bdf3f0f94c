//! The smallest singular value from a Golub-Kahan process, without a shift or an inverse.

use super::arguments::{expect_block, expect_positive, expect_tolerance};
use super::lobpcg::SmallestOptions;
use super::triplet::{measure_block, zero};
use super::{Counted, GolubKahan, LinearMap, Products, Real, SingularTriplet};
use crate::Result;

/// Smallest singular value of J as the smallest singular value of the bidiagonal matrix of a Golub-Kahan process from
/// `start` (d numbers, best random).
///
/// The Ritz vector minimises `|J v| / |v|` over a whole Krylov space of `options.max_iterations` steps, which LOBPCG
/// only approaches: for a given number of products this is the better of the two as long as memory holds the basis,
/// `steps * d + 2 m` numbers. When one space is not enough, the process starts again from the Ritz vector, up to
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
    Ok(krylov_smallest_block(map, 1, start, options, restarts)?.remove(0))
}

/// [`krylov_smallest`] for each row of `starts` (`count x d`) in lockstep, for a map that applies another J to each row (a batch of latents).
///
/// # Errors
/// As [`krylov_smallest`].
pub fn krylov_smallest_block<T: Real, M: LinearMap<T> + ?Sized>(
    map: &mut M,
    count: usize,
    starts: &[T],
    options: &SmallestOptions,
    restarts: usize,
) -> Result<Vec<SingularTriplet<T>>> {
    options.check()?;
    let mut map = Counted::new(map)?;
    let (rows, cols) = (map.rows(), map.cols());
    expect_block("start vector", starts, count, cols)?;
    expect_positive("number of start vectors", count)?;
    if rows < cols {
        return Ok(vec![zero(rows, cols); count]);
    }
    let mut process = GolubKahan::new(rows, cols, count, options.max_iterations)?;
    let is_reached = |value: f64, residual: f64| options.is_reached(value, residual);
    krylov_extreme(&mut process, &mut map, count, starts, restarts, false, true, is_reached)
}

/// [`krylov_smallest_block`] in the memory of a process. The triplets' left vectors are empty.
pub(crate) fn krylov_smallest_in<T: Real, M: LinearMap<T> + ?Sized>(
    process: &mut GolubKahan<T>,
    map: &mut M,
    count: usize,
    starts: &[T],
    options: &SmallestOptions,
    restarts: usize,
) -> Result<Vec<SingularTriplet<T>>> {
    options.check()?;
    let mut map = Counted::new(map)?;
    let (rows, cols) = (map.rows(), map.cols());
    expect_block("start vector", starts, count, cols)?;
    if rows < cols {
        return Ok(vec![zero(rows, cols); count]);
    }
    let is_reached = |value: f64, residual: f64| options.is_reached(value, residual);
    krylov_extreme(process, &mut map, count, starts, restarts, false, false, is_reached)
}

/// Largest singular value of J by the same process: `steps` of a Golub-Kahan process from `start`, restarted up to
/// `restarts` times until `|J^T J v - s^2 v| <= tolerance * s^2`.
///
/// Converges in far fewer products than [`power_iteration`](super::power_iteration), at the price of the basis: `steps
/// * d + 2 m` numbers. The value is at most the true largest singular value: see
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
    Ok(krylov_largest_block(map, 1, start, tolerance, steps, restarts)?.remove(0))
}

/// [`krylov_largest`] for each row of `starts` (`count x d`) in lockstep, for a map that applies another J to each row (a batch of latents).
///
/// # Errors
/// As [`krylov_largest`].
pub fn krylov_largest_block<T: Real, M: LinearMap<T> + ?Sized>(
    map: &mut M,
    count: usize,
    starts: &[T],
    tolerance: f64,
    steps: usize,
    restarts: usize,
) -> Result<Vec<SingularTriplet<T>>> {
    expect_tolerance(tolerance)?;
    expect_positive("steps", steps)?;
    let mut map = Counted::new(map)?;
    expect_block("start vector", starts, count, map.cols())?;
    expect_positive("number of start vectors", count)?;
    let mut process = GolubKahan::new(map.rows(), map.cols(), count, steps)?;
    let is_reached = |value: f64, residual: f64| residual <= tolerance * value * value;
    krylov_extreme(&mut process, &mut map, count, starts, restarts, true, true, is_reached)
}

/// [`krylov_largest_block`] in the memory of a process, as many steps as it is for. The triplets' left vectors are empty.
pub(crate) fn krylov_largest_in<T: Real, M: LinearMap<T> + ?Sized>(
    process: &mut GolubKahan<T>,
    map: &mut M,
    count: usize,
    starts: &[T],
    tolerance: f64,
    restarts: usize,
) -> Result<Vec<SingularTriplet<T>>> {
    expect_tolerance(tolerance)?;
    let mut map = Counted::new(map)?;
    expect_block("start vector", starts, count, map.cols())?;
    let is_reached = |value: f64, residual: f64| residual <= tolerance * value * value;
    krylov_extreme(process, &mut map, count, starts, restarts, true, false, is_reached)
}

/// The extreme singular values; with their left vectors, which otherwise stay empty, if asked for.
fn krylov_extreme<T: Real, M: LinearMap<T>>(
    process: &mut GolubKahan<T>,
    map: &mut Counted<M>,
    count: usize,
    starts: &[T],
    restarts: usize,
    largest: bool,
    left: bool,
    is_reached: impl Fn(f64, f64) -> bool,
) -> Result<Vec<SingularTriplet<T>>> {
    expect_positive("number of start vectors", count)?;
    let (rows, cols) = (map.rows(), map.cols());
    let mut vectors = starts.to_vec();
    let mut found: Vec<SingularTriplet<T>> = Vec::new();
    let mut round = 0;
    loop {
        process.run(map, count, &vectors)?;
        let mut seen = Vec::with_capacity(count);
        for (probe, vector) in vectors.chunks_exact_mut(cols).enumerate() {
            process.extreme_right_vector(probe, largest, vector)?;
            seen.push(process.bidiagonals_mut().ritz_pair(probe, 0)?.0);
        }
        let (images, backs) = process.blocks(count);
        let mut measured = measure_block(map, vectors, images, backs)?;
        if left {
            measured.iter_mut().zip(images.chunks_exact(rows)).for_each(|(triplet, left)| triplet.left = left.to_vec());
        }
        let mut next = Vec::with_capacity(count);
        for (probe, triplet) in measured.into_iter().enumerate() {
            let depth = process.bidiagonals().depth(probe);
            let former = found.get(probe);
            // What has converged stays as it is while the others go on.
            if former.is_some_and(|former| former.converged) {
                next.extend(former.cloned());
                continue;
            }
            next.push(SingularTriplet {
                converged: is_reached(triplet.value, triplet.residual),
                iterations: former.map_or(0, |former| former.iterations) + depth,
                first_space: former.map_or(depth, |former| former.first_space),
                largest_seen: seen[probe].max(triplet.value).max(former.map_or(0.0, |former| former.largest_seen)),
                ..triplet
            });
        }
        found = next;
        if round == restarts || found.iter().all(|triplet| triplet.converged) {
            let all = map.products();
            // Every product was made for all rows.
            let each = Products { apply: all.apply / count, apply_transpose: all.apply_transpose / count };
            found.iter_mut().for_each(|triplet| triplet.products = each);
            return Ok(found);
        }
        vectors = found.iter().flat_map(|triplet| triplet.right.iter().copied()).collect();
        round += 1;
    }
}

#[cfg(test)]
mod tests;
