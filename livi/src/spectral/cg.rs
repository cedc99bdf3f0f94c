//! Conjugate gradients for `(J^T J + sigma^2 I) w = v`, several right-hand sides in lockstep.

use super::arguments::{expect_block, expect_positive, expect_sigma, expect_tolerance};
use super::kernels::{add_scaled, norm, scale_and_add};
use super::{Counted, LinearMap, Products, Real};
use crate::{Error, Result};

/// Options of [`conjugate_gradients`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CgOptions {
    /// Standard deviation sigma in `A = J^T J + sigma^2 I`.
    pub sigma: f64,
    /// A right-hand side v is done when `|A w - v| <= tolerance |v|` by the recurrence.
    pub tolerance: f64,
    /// Most iterations: one product with J and one with its transpose for each right-hand side not yet done.
    pub max_iterations: usize,
}

/// Result of [`conjugate_gradients`].
#[derive(Debug, Clone, PartialEq)]
pub struct CgReport<T> {
    /// Solutions w, `count x d`.
    pub solutions: Vec<T>,
    /// J w, `count x m`, summed along the way.
    pub images: Vec<T>,
    /// `|A w - v| / |v|` (0 for v = 0), computed afresh from w at the end and so free of the recurrence's drift.
    pub residuals: Vec<f64>,
    /// Iterations of each right-hand side.
    pub iterations: Vec<usize>,
    /// Whether the recurrence reached the tolerance, for each right-hand side.
    pub converged: Vec<bool>,
    /// Products used, those for the residuals included.
    pub products: Products,
}

/// Solves `(J^T J + sigma^2 I) w = v` for each row v of `right_hand_sides` (`count x d`), starting at w = 0.
///
/// Hestenes and Stiefel 1952, "Methods of conjugate gradients for solving linear systems", independently for each row.
/// The curvature along a direction p is `|J p|^2 + sigma^2 |p|^2`, a sum of squares that cannot turn negative by
/// rounding. Iterations grow like the condition number `sqrt(s_max^2 + sigma^2) / sigma` at worst.
///
/// Not reaching the tolerance is no error: see `converged` and `residuals`.
///
/// # Errors
/// [`Error::Argument`] for options out of range, sizes of zero, a wrong length or numbers that are not finite;
/// [`Error::Numerical`] when a product or a curvature is not finite; what the map answers.
///
/// ```
/// use livi::spectral::{CgOptions, DenseMap, conjugate_gradients};
/// let mut map = DenseMap::new(2, 2, vec![1.0_f64, 0.0, 0.0, 2.0])?;
/// let options = CgOptions { sigma: 1.0, tolerance: 1e-12, max_iterations: 10 };
/// let report = conjugate_gradients(&mut map, 1, &[2.0, 5.0], &options)?;
/// assert!((report.solutions[0] - 1.0).abs() < 1e-12 && (report.solutions[1] - 1.0).abs() < 1e-12);
/// # Ok::<(), livi::Error>(())
/// ```
pub fn conjugate_gradients<T: Real, M: LinearMap<T> + ?Sized>(
    map: &mut M,
    count: usize,
    right_hand_sides: &[T],
    options: &CgOptions,
) -> Result<CgReport<T>> {
    let mut map = Counted::new(map)?;
    let (rows, cols) = (map.rows(), map.cols());
    expect_sigma(options.sigma)?;
    expect_tolerance(options.tolerance)?;
    expect_positive("max_iterations", options.max_iterations)?;
    expect_positive("number of right-hand sides", count)?;
    expect_block("right-hand sides", right_hand_sides, count, cols)?;
    let zero = T::from_f64(0.0);
    let variance = options.sigma * options.sigma;
    let mut solutions = vec![zero; count * cols];
    let mut images = vec![zero; count * rows];
    let mut remainders = right_hand_sides.to_vec();
    let mut directions = right_hand_sides.to_vec();
    let mut direction_images = vec![zero; count * rows];
    let mut products = vec![zero; count * cols];
    let lengths: Vec<f64> = right_hand_sides.chunks_exact(cols).map(norm).collect();
    let mut squares: Vec<f64> = lengths.iter().map(|length| length * length).collect();
    let mut converged: Vec<bool> = lengths.iter().map(|&length| length == 0.0).collect();
    let mut iterations = vec![0; count];

    for _ in 0..options.max_iterations {
        if converged.iter().all(|&done| done) {
            break;
        }
        map.apply(count, &directions, &mut direction_images)?;
        map.apply_transpose(count, &direction_images, &mut products)?;
        for index in 0..count {
            if converged[index] {
                continue;
            }
            let narrow = index * cols..(index + 1) * cols;
            let wide = index * rows..(index + 1) * rows;
            let direction = &mut directions[narrow.clone()];
            let product = &mut products[narrow.clone()];
            let curvature = norm(&direction_images[wide.clone()]).powi(2) + variance * norm(direction).powi(2);
            let length = squares[index] / curvature;
            if !length.is_finite() {
                return Err(Error::Numerical {
                    method: "conjugate gradients",
                    problem: format!("curvature {curvature:e} along the direction of right-hand side {index}"),
                });
            }
            add_scaled(length, direction, &mut solutions[narrow.clone()]);
            add_scaled(length, &direction_images[wide.clone()], &mut images[wide]);
            add_scaled(variance, direction, product);
            let remainder = &mut remainders[narrow];
            add_scaled(-length, product, remainder);
            let square = norm(remainder).powi(2);
            iterations[index] += 1;
            if square.sqrt() <= options.tolerance * lengths[index] {
                converged[index] = true;
                direction.fill(zero);
            } else {
                scale_and_add(square / squares[index], remainder, direction);
            }
            squares[index] = square;
        }
    }

    map.apply(count, &solutions, &mut direction_images)?;
    map.apply_transpose(count, &direction_images, &mut products)?;
    let mut residuals = Vec::with_capacity(count);
    for index in 0..count {
        let narrow = index * cols..(index + 1) * cols;
        let residual = &mut products[narrow.clone()];
        add_scaled(variance, &solutions[narrow.clone()], residual);
        add_scaled(-1.0, &right_hand_sides[narrow], residual);
        residuals.push(if lengths[index] == 0.0 { 0.0 } else { norm(residual) / lengths[index] });
    }
    Ok(CgReport { solutions, images, residuals, iterations, converged, products: map.products() })
}

#[cfg(test)]
mod tests;
