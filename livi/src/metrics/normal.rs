//! The normal distribution, and finding quantiles from tails.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

/// `ln N(value; mean, std^2)`.
///
/// # Examples
/// ```
/// let at_mean = livi::metrics::normal::log_density(3.0, 3.0, 2.0);
/// assert!((at_mean + (2.0 * (2.0 * std::f64::consts::PI).sqrt()).ln()).abs() < 1e-15);
/// ```
pub fn log_density(value: f64, mean: f64, std: f64) -> f64 {
    let z = (value - mean) / std;
    -0.5 * z * z - std.ln() - 0.5 * (2.0 * PI).ln()
}

/// Probability that a standard normal variable is at most `z`, accurate in both tails (through `erfc`).
///
/// # Examples
/// ```
/// assert!((livi::metrics::normal::cdf(1.96) - 0.975_002_104_851_779_5).abs() < 1e-15);
/// ```
pub fn cdf(z: f64) -> f64 {
    0.5 * libm::erfc(-z * FRAC_1_SQRT_2)
}

/// The standard normal quantile: `z` with `cdf(z) = level`; infinite at 0 and 1, NaN outside [0, 1].
///
/// # Examples
/// ```
/// assert!((livi::metrics::normal::quantile(0.975) - 1.959_963_984_540_054).abs() < 1e-14);
/// ```
pub fn quantile(level: f64) -> f64 {
    if level == 0.0 {
        return f64::NEG_INFINITY;
    }
    if level == 1.0 {
        return f64::INFINITY;
    }
    if !(level > 0.0 && level < 1.0) {
        return f64::NAN;
    }
    // The smallest positive f64 has its quantile at -38.5.
    let (sign, tail) = nearer_tail(level);
    sign * find_quantile(tail, -39.0, 0.0, 0.0, 1.0, |z| (cdf(z), density(z)))
}

/// Density of the standard normal distribution.
pub(super) fn density(z: f64) -> f64 {
    (-0.5 * z * z).exp() / (2.0 * PI).sqrt()
}

/// `(1, level)` for the lower tail, `(-1, 1 - level)` for the upper.
pub(super) fn nearer_tail(level: f64) -> (f64, f64) {
    if level <= 0.5 { (1.0, level) } else { (-1.0, 1.0 - level) }
}

/// Solves `F(y) = tail` for an increasing `F` given with its derivative, between `low` and `high`.
///
/// Newton's iteration on `ln F`, which is near linear to quadratic in a normal tail, with bisection whenever a
/// step leaves the bracket or shrinks it too slowly. `scale` is the natural width (a standard deviation).
pub(super) fn find_quantile(
    tail: f64,
    mut low: f64,
    mut high: f64,
    start: f64,
    scale: f64,
    value_and_derivative: impl Fn(f64) -> (f64, f64),
) -> f64 {
    // Bisection alone takes about 60 halvings to reach rounding; Newton's steps take about 6.
    const MOST_ITERATIONS: usize = 200;
    let mut y = start.clamp(low, high);
    let mut previous_step = high - low;
    for _ in 0..MOST_ITERATIONS {
        let (value, derivative) = value_and_derivative(y);
        if value < tail {
            low = y;
        } else {
            high = y;
        }
        let newton = (tail.ln() - value.ln()) * value / derivative;
        let accepted =
            newton.is_finite() && (low..=high).contains(&(y + newton)) && newton.abs() <= 0.5 * previous_step.abs();
        let step = if accepted { newton } else { 0.5 * (low + high) - y };
        previous_step = if accepted { newton } else { high - low };
        y += step;
        if step.abs() <= 4.0 * f64::EPSILON * y.abs().max(scale) {
            break;
        }
    }
    y
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cdf_keeps_its_relative_accuracy_far_in_the_lower_tail() {
        // Abramowitz and Stegun, table 26.2: ln 10 logarithms of Q(5), Q(10), Q(20).
        for (z, log10) in [(5.0, -6.542_65), (10.0, -23.118_05), (20.0, -88.560_10)] {
            assert!((cdf(-z).log10() - log10).abs() < 6e-6, "{z}: {}", cdf(-z).log10());
        }
    }

    #[test]
    fn the_cdf_is_the_integral_of_the_density() {
        // Simpson's rule with 20,000 intervals on [-12, 1.3]; what lies below -12 is under 1e-32.
        let (low, high, intervals) = (-12.0, 1.3, 20_000);
        let h = (high - low) / intervals as f64;
        let weight = |i: usize| if i == 0 || i == intervals { 1.0 } else { 2.0 + 2.0 * (i % 2) as f64 };
        let sum: f64 = (0..=intervals).map(|i| weight(i) * density(low + i as f64 * h)).sum();
        assert!((sum * h / 3.0 - cdf(1.3)).abs() < 1e-13);
    }

    #[test]
    fn quantile_and_cdf_are_inverse_to_each_other() {
        for level in [1e-300, 1e-20, 1e-6, 0.025, 0.3, 0.5, 0.7, 0.999] {
            let back = cdf(quantile(level));
            assert!((back / level - 1.0).abs() < 1e-12, "{level}: {back}");
        }
    }

    #[test]
    fn quantiles_are_antisymmetric_about_one_half() {
        assert_eq!(quantile(0.5), 0.0);
        assert_eq!(quantile(0.25), -quantile(0.75));
    }

    #[test]
    fn quantiles_at_and_beyond_the_ends_are_infinite_and_nan() {
        assert_eq!((quantile(0.0), quantile(1.0)), (f64::NEG_INFINITY, f64::INFINITY));
        assert!(quantile(-0.1).is_nan() && quantile(1.1).is_nan() && quantile(f64::NAN).is_nan());
    }
}
