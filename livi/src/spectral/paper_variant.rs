//! The published approximation of the one-singular-value entropy, kept for comparison.

use super::arguments::{expect_positive, expect_sigma, refuse};
use super::{Counted, LinearMap, Real, SingularTriplet, lobpcg};
use crate::Result;

/// Rayleigh-Ritz steps of the published variant.
pub const PAPER_STEPS: usize = 5;

/// The published estimate of the smallest singular value: [`PAPER_STEPS`] Rayleigh-Ritz steps on the span of iterate,
/// residual and former direction, from `start` (d numbers; the publication draws it at random each time), whatever the
/// residual then is (Uppal et al. 2023, section 3.2 and the accompanying code).
///
/// After so few steps the value is usually far above the smallest singular value: compare
/// [`SingularTriplet::residual`]. A map with fewer rows than columns gets no special treatment.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) for sizes of zero, a start vector that is zero, not finite or of a wrong
/// length; [`Error::Numerical`](crate::Error::Numerical) when a product is not finite; what the map answers.
///
/// ```
/// use livi::spectral::{DenseMap, paper_smallest};
/// let mut map = DenseMap::new(2, 2, vec![4.0_f64, 0.0, 0.0, 1.0])?;
/// let triplet = paper_smallest(&mut map, &[1.0, 1.0])?;
/// assert!((triplet.value - 1.0).abs() < 1e-12);
/// # Ok::<(), livi::Error>(())
/// ```
pub fn paper_smallest<T: Real, M: LinearMap<T> + ?Sized>(map: &mut M, start: &[T]) -> Result<SingularTriplet<T>> {
    let mut map = Counted::new(map)?;
    lobpcg::iterate(&mut map, 1, start, PAPER_STEPS, |_, residual| residual == 0.0)
}

/// The published value `d log(mu + sigma^2)`, in nats, in the place of `d/2 log(mu^2 + sigma^2)`: neither a lower nor
/// an upper bound of `1/2 log det A`.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) when `dimension` (d) is zero, `sigma` is not positive and finite, or
/// `value` (mu) is negative or not finite.
///
/// ```
/// let value = livi::spectral::paper_half_log_det(0.99, 3, 0.1)?;
/// assert!(value.abs() < 1e-15);
/// # Ok::<(), livi::Error>(())
/// ```
pub fn paper_half_log_det(value: f64, dimension: usize, sigma: f64) -> Result<f64> {
    expect_positive("dimension", dimension)?;
    expect_sigma(sigma)?;
    if !(value >= 0.0 && value.is_finite()) {
        return refuse("mu", format!("is {value}, expected a finite number that is not negative"));
    }
    Ok(dimension as f64 * (value + sigma * sigma).ln())
}

#[cfg(test)]
mod tests {
    use super::super::test_maps::{map_of, matrix_with, normals};
    use super::*;

    #[test]
    fn five_steps_make_six_products_with_the_map_besides_the_final_residual() {
        let values: Vec<f64> = (0..30).map(|i| 0.1 + i as f64).collect();
        let mut map = map_of::<f64>(&matrix_with(&values, 40, 30, 81), 40, 30);
        let triplet = paper_smallest(&mut map, &normals(1, 30, 82)).unwrap();
        assert_eq!((triplet.iterations, triplet.products.apply), (5, 7));
    }

    #[test]
    fn after_five_steps_the_value_is_still_far_above_the_smallest_singular_value() {
        let values: Vec<f64> = (0..200).map(|i| 0.001 + i as f64 / 200.0).collect();
        let mut map = map_of::<f64>(&matrix_with(&values, 220, 200, 83), 220, 200);
        let triplet = paper_smallest(&mut map, &normals(1, 200, 84)).unwrap();
        assert!(triplet.value > 0.02 && !triplet.converged, "{}", triplet.value);
    }

    #[test]
    fn the_published_value_can_exceed_the_upper_bound() {
        // All singular values 0.09, sigma 0.01: the exact value is d/2 log(0.0082), the published one d log(0.0901).
        let exact = super::super::bounds::half_log_det(&[0.09; 4], 4, 0.01).unwrap();
        let published = paper_half_log_det(0.09, 4, 0.01).unwrap();
        assert!((exact - 2.0 * 0.0082_f64.ln()).abs() < 1e-13);
        assert!((published - 4.0 * 0.0901_f64.ln()).abs() < 1e-13);
        // Not equal, and for a larger value above it.
        assert!(published < exact);
        let larger = super::super::bounds::half_log_det(&[1.0; 4], 4, 0.5).unwrap();
        assert!(paper_half_log_det(1.0, 4, 0.5).unwrap() > larger);
    }

    #[test]
    fn a_map_with_fewer_rows_than_columns_is_iterated_like_any_other() {
        let mut map = map_of::<f64>(&[1.0, 2.0, 0.5], 1, 3);
        assert!(paper_smallest(&mut map, &[1.0, 1.0, 1.0]).unwrap().products.total() > 0);
    }
}
