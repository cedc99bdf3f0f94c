//! The largest singular value by power iteration.

use super::arguments::{expect_block, expect_positive, expect_tolerance, refuse};
use super::kernels::{combine, norm, orthogonalise, orthogonalise_scratch, scale};
use super::small_svd::SmallSvd;
use super::triplet::measure;
use super::{Counted, LinearMap, Real, SingularTriplet};
use crate::Result;

/// Largest singular triplet of J by power iteration with `J^T J` from a block of start vectors (`block x d`, best
/// random).
///
/// With `block = 1` this is the power method; a larger block iterates a subspace with a Rayleigh-Ritz step (Golub and
/// Van Loan 2013, "Matrix Computations", section 8.2.4), and the error of the value then shrinks by `(s_{block + 1} /
/// s_1)^4` an iteration. Each iteration makes one product with J and one with its transpose for each vector of the
/// block. Done when `|J^T J v - s^2 v| <= tolerance * s^2`.
///
/// The value is at most the true largest singular value: see [`SingularTriplet::largest_enclosure`]. A map that is zero
/// on all start vectors gives the value 0.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) for options out of range, sizes of zero, a wrong length, start vectors
/// that are zero or not finite; [`Error::Numerical`](crate::Error::Numerical) when a product is not finite or a small
/// problem does not converge; what the map answers.
///
/// ```
/// use livi::spectral::{DenseMap, power_iteration};
/// let mut map = DenseMap::new(2, 2, vec![4.0_f64, 0.0, 0.0, 1.0])?;
/// let triplet = power_iteration(&mut map, 1, &[1.0, 1.0], 1e-12, 100)?;
/// assert!(triplet.converged && (triplet.value - 4.0).abs() < 1e-12);
/// # Ok::<(), livi::Error>(())
/// ```
pub fn power_iteration<T: Real, M: LinearMap<T> + ?Sized>(
    map: &mut M,
    block: usize,
    starts: &[T],
    tolerance: f64,
    max_iterations: usize,
) -> Result<SingularTriplet<T>> {
    expect_tolerance(tolerance)?;
    expect_positive("max_iterations", max_iterations)?;
    let mut map = Counted::new(map)?;
    let (rows, cols) = (map.rows(), map.cols());
    expect_positive("block", block)?;
    if block > cols {
        return refuse("block", format!("is {block}, expected at most the {cols} columns"));
    }
    expect_block("start vectors", starts, block, cols)?;
    if let Some(row) = starts.chunks_exact(cols).position(|start| norm(start) == 0.0) {
        return refuse("start vectors", format!("row {row} is zero"));
    }
    let zero = T::from_f64(0.0);
    let mut vectors = starts.to_vec();
    let mut images = vec![zero; block * rows];
    let mut rotated = vec![zero; block * rows];
    let mut best = vec![zero; cols];
    let mut scratch = vec![0.0; orthogonalise_scratch(block)];
    let mut triangle = vec![0.0; block * block];
    let mut coefficients = vec![0.0; block];
    let mut svd = SmallSvd::new(block);
    let mut iterations = 0;
    loop {
        orthonormalise(&mut vectors, cols, &mut scratch);
        map.apply(block, &vectors, &mut images)?;
        // J V = Q R: the singular values of R are the Ritz values, its right singular vectors turn V into Ritz vectors.
        rotated.copy_from_slice(&images);
        for index in 0..block {
            let (former, rest) = rotated.split_at_mut(index * rows);
            let length = orthogonalise(former, &mut rest[..rows], &mut scratch);
            for row in 0..block {
                triangle[row * block + index] = if row < index { scratch[row] } else { 0.0 };
            }
            triangle[index * block + index] = length;
            scale(if length > 0.0 { 1.0 / length } else { 0.0 }, &mut rest[..rows]);
        }
        svd.decompose(block, |row, column| triangle[row * block + column])?;
        for index in 0..block {
            for (row, coefficient) in coefficients.iter_mut().enumerate() {
                *coefficient = svd.right(row, index);
            }
            combine(&images, &coefficients, &mut rotated[index * rows..(index + 1) * rows]);
            if index == 0 {
                combine(&vectors, &coefficients, &mut best);
            }
        }
        let value = svd.values()[0];
        map.apply_transpose(block, &rotated, &mut vectors)?;
        iterations += 1;
        let square = value * value;
        let difference = |(&product, &entry): (&T, &T)| (product.to_f64() - square * entry.to_f64()).powi(2);
        let residual = vectors[..cols].iter().zip(&best).map(difference).sum::<f64>().sqrt();
        if residual <= tolerance * square || iterations == max_iterations {
            break;
        }
    }
    let mut triplet = measure(&mut map, best)?;
    triplet.iterations = iterations;
    triplet.converged = triplet.residual <= tolerance * triplet.value * triplet.value;
    triplet.products = map.products();
    Ok(triplet)
}

/// Orthonormal rows with the same span; a row that depends on the former ones becomes zero and drops out.
fn orthonormalise<T: Real>(vectors: &mut [T], cols: usize, scratch: &mut [f64]) {
    for index in 0..vectors.len() / cols {
        let (former, rest) = vectors.split_at_mut(index * cols);
        let vector = &mut rest[..cols];
        let length = norm(vector);
        scale(if length > 0.0 { 1.0 / length } else { 0.0 }, vector);
        let length = orthogonalise(former, vector, scratch);
        let dependent = length <= 100.0 * T::UNIT_ROUNDOFF;
        scale(if dependent { 0.0 } else { 1.0 / length }, vector);
    }
}

#[cfg(test)]
mod tests;
