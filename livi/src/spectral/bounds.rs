//! Deterministic bounds of `1/2 log det(J^T J + sigma^2 I_d)`, in nats.
//!
//! Each name says which side of the exact value the bound is on.

use super::arguments::{expect_positive, expect_sigma, refuse};
use crate::Result;

/// The exact value from all singular values of J: `1/2 sum_{i <= d} log(s_i^2 + sigma^2)`.
///
/// Fewer than d singular values are padded with zeros, as for a J with fewer rows than columns.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) when `sigma` is not positive and finite, `dimension` (d) is zero, there
/// are more than d singular values, or one of them is negative or not finite.
///
/// ```
/// use livi::spectral::bounds::half_log_det;
/// let value = half_log_det(&[4.0], 2, 3.0)?;
/// assert!((value - (5.0_f64.ln() + 3.0_f64.ln())).abs() < 1e-15);
/// # Ok::<(), livi::Error>(())
/// ```
pub fn half_log_det(singular_values: &[f64], dimension: usize, sigma: f64) -> Result<f64> {
    sum_with_floor(singular_values, dimension, sigma)
}

/// Lower bound from Ritz values: `sum_{i <= k} 1/2 log(t_i^2 + sigma^2) + (d - k) log sigma`.
///
/// `ritz_values` are the square roots `t_i` of the Ritz values of `J^T J` (or of `J J^T`) on any k-dimensional
/// subspace, or the singular values of any compression `P^T J Q` by orthonormal columns: each is at most the singular
/// value of J of the same rank (Cauchy interlacing), and the singular values left out are at least 0. Equality holds
/// when the subspace contains the right singular vectors of all singular values that are not zero.
///
/// # Errors
/// As [`half_log_det`].
///
/// ```
/// use livi::spectral::bounds::{half_log_det, lower_from_ritz_values};
/// // J = diag(2, 1), subspace spanned by (1, 1) / sqrt(2): |J v|^2 = 5 / 2.
/// let lower = lower_from_ritz_values(&[2.5_f64.sqrt()], 2, 0.1)?;
/// assert!(lower < half_log_det(&[2.0, 1.0], 2, 0.1)?);
/// # Ok::<(), livi::Error>(())
/// ```
pub fn lower_from_ritz_values(ritz_values: &[f64], dimension: usize, sigma: f64) -> Result<f64> {
    sum_with_floor(ritz_values, dimension, sigma)
}

/// Upper bound from the squared Frobenius norm of J: `d/2 log(|J|_F^2 / d + sigma^2)`, by the inequality of the
/// arithmetic and geometric mean.
///
/// Equality holds exactly for a conformal J (all d singular values equal).
///
/// # Errors
/// As [`half_log_det`].
///
/// ```
/// use livi::spectral::bounds::upper_from_frobenius;
/// assert!((upper_from_frobenius(2.0 * 16.0, 2, 3.0)? - 2.0 * 5.0_f64.ln()).abs() < 1e-15);
/// # Ok::<(), livi::Error>(())
/// ```
pub fn upper_from_frobenius(frobenius_squared: f64, dimension: usize, sigma: f64) -> Result<f64> {
    expect_positive("dimension", dimension)?;
    expect_singular_value("frobenius_squared", frobenius_squared)?;
    one_value((frobenius_squared / dimension as f64).sqrt(), dimension, sigma)
}

/// Lower bound `d/2 log(s_min^2 + sigma^2)` from the smallest of all d singular values (0 when J has fewer rows than
/// columns).
///
/// The bound is safe to maximise (Uppal et al. 2023, section 3). It holds for the true smallest singular value and
/// anything below it; a Ritz value is at least as large, so put in the lower end of an enclosure where the bound must
/// be certain.
///
/// # Errors
/// As [`half_log_det`].
///
/// ```
/// use livi::spectral::bounds::lower_from_smallest_singular_value;
/// assert_eq!(lower_from_smallest_singular_value(0.0, 3, 0.5)?, 3.0 * 0.5_f64.ln());
/// # Ok::<(), livi::Error>(())
/// ```
pub fn lower_from_smallest_singular_value(smallest: f64, dimension: usize, sigma: f64) -> Result<f64> {
    one_value(smallest, dimension, sigma)
}

/// Upper bound `d/2 log(s_max^2 + sigma^2)` from the largest singular value: a diagnostic, unsafe to maximise.
///
/// It holds for the true largest singular value and anything above it; a value from power iteration is at most as
/// large.
///
/// # Errors
/// As [`half_log_det`].
///
/// ```
/// use livi::spectral::bounds::upper_from_largest_singular_value;
/// assert!((upper_from_largest_singular_value(4.0, 2, 3.0)? - 2.0 * 5.0_f64.ln()).abs() < 1e-15);
/// # Ok::<(), livi::Error>(())
/// ```
pub fn upper_from_largest_singular_value(largest: f64, dimension: usize, sigma: f64) -> Result<f64> {
    one_value(largest, dimension, sigma)
}

/// Relative error that the largest eigenvalue of a positive semidefinite matrix of order `dimension` has, when it is taken from a Krylov space of
/// `steps` dimensions started at a random vector (uniform in direction), but for a chance of `failure`; whatever the spectrum. 1 if nothing can be said.
///
/// Kuczynski and Wozniakowski 1992, "Estimating the largest eigenvalue by the power and Lanczos algorithms with a random start", theorem 4.2: the
/// chance of a relative error above e is at most `1.648 sqrt(n) exp(-sqrt(e) (2 k - 1))`. For the smallest eigenvalue it holds relative to the
/// spread of the spectrum.
///
/// ```
/// use livi::spectral::bounds::krylov_relative_error;
/// assert!((krylov_relative_error(4225, 40, 1e-6) - 0.0547).abs() < 1e-4);
/// assert_eq!(krylov_relative_error(4225, 5, 1e-6), 1.0);
/// ```
pub fn krylov_relative_error(dimension: usize, steps: usize, failure: f64) -> f64 {
    let rate = (2.0 * steps as f64 - 1.0).max(0.0);
    let error = ((1.648 * (dimension as f64).sqrt() / failure).ln().max(0.0) / rate).powi(2);
    if steps >= dimension { 0.0 } else { error.min(1.0) }
}

fn one_value(value: f64, dimension: usize, sigma: f64) -> Result<f64> {
    expect_positive("dimension", dimension)?;
    expect_sigma(sigma)?;
    expect_singular_value("singular value", value)?;
    Ok(dimension as f64 * value.hypot(sigma).ln())
}

fn sum_with_floor(values: &[f64], dimension: usize, sigma: f64) -> Result<f64> {
    expect_positive("dimension", dimension)?;
    expect_sigma(sigma)?;
    if values.len() > dimension {
        return refuse("singular values", format!("there are {}, expected at most {dimension}", values.len()));
    }
    let mut sum = (dimension - values.len()) as f64 * sigma.ln();
    for &value in values {
        expect_singular_value("singular value", value)?;
        sum += value.hypot(sigma).ln();
    }
    Ok(sum)
}

fn expect_singular_value(name: &str, value: f64) -> Result<()> {
    if value >= 0.0 && value.is_finite() {
        Ok(())
    } else {
        refuse(name, format!("is {value}, expected a finite number that is not negative"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn each_bound_is_on_its_side_of_the_exact_value(
            mut values in prop::collection::vec(0.0..10.0_f64, 1..20),
            sigma in 1e-4..2.0_f64,
            kept in 0..20_usize,
        ) {
            values.sort_by(|a, b| b.total_cmp(a));
            let dimension = values.len();
            let exact = half_log_det(&values, dimension, sigma).unwrap();
            let rounding = 1e-12 * (1.0 + exact.abs());
            let frobenius = values.iter().map(|s| s * s).sum();
            let lower = lower_from_smallest_singular_value(values[dimension - 1], dimension, sigma).unwrap();
            let ritz = lower_from_ritz_values(&values[..kept.min(dimension)], dimension, sigma).unwrap();
            let upper = upper_from_frobenius(frobenius, dimension, sigma).unwrap();
            let largest = upper_from_largest_singular_value(values[0], dimension, sigma).unwrap();
            prop_assert!(lower <= exact + rounding && ritz <= exact + rounding);
            prop_assert!(exact <= upper + rounding && upper <= largest + rounding);
        }
    }

    #[test]
    fn all_bounds_are_equal_to_the_exact_value_for_a_conformal_map() {
        let (dimension, value, sigma) = (7, 0.3, 0.01);
        let exact = half_log_det(&[value; 7], dimension, sigma).unwrap();
        let bounds = [
            lower_from_smallest_singular_value(value, dimension, sigma),
            lower_from_ritz_values(&[value; 7], dimension, sigma),
            upper_from_frobenius(7.0 * value * value, dimension, sigma),
            upper_from_largest_singular_value(value, dimension, sigma),
        ];
        for bound in bounds {
            assert!((bound.unwrap() - exact).abs() < 1e-13);
        }
    }

    #[test]
    fn squares_that_leave_the_range_of_numbers_do_no_harm() {
        let value = upper_from_largest_singular_value(1e200, 1, 1e-200).unwrap();
        assert!((value - 200.0 * 10.0_f64.ln()).abs() < 1e-12);
        let value = lower_from_smallest_singular_value(0.0, 1, 1e-200).unwrap();
        assert!((value + 200.0 * 10.0_f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn a_sigma_that_is_not_positive_is_refused_by_name() {
        for sigma in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let message = upper_from_frobenius(1.0, 1, sigma).unwrap_err().to_string();
            assert!(message.starts_with("sigma: is "), "{message}");
        }
    }

    #[test]
    fn krylov_errors_shrink_with_steps_and_vanish_in_the_whole_space() {
        let errors: Vec<f64> = [10, 20, 40, 80, 100].map(|steps| krylov_relative_error(100, steps, 1e-6)).to_vec();
        assert!(errors.windows(2).all(|pair| pair[1] < pair[0] || pair[0] == 1.0), "{errors:?}");
        assert_eq!(errors[4], 0.0);
    }

    #[test]
    fn more_singular_values_than_dimensions_are_refused() {
        assert!(half_log_det(&[1.0, 1.0], 1, 0.1).is_err());
    }
}
