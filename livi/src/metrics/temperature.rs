//! One temperature for all predictions (Guo et al. 2017), fitted to the mixture over weight samples on validation rows.
//!
//! `p_T(k) = p(k)^(1/T) / sum_j p(j)^(1/T)` with `p` the mean probability over weight samples. `T > 1` makes predictions less
//! sure, `T < 1` surer; their order, and so the accuracy, stays. In `1/T` the negative log-likelihood is convex, so the optimum is
//! the one zero of its derivative.

use serde::Serialize;

use super::argument;
use super::log_probabilities::{checked_entries, log_softmax, log_sum_exp};
use crate::Result;

/// Least and largest temperature that is fitted.
pub const TEMPERATURE_RANGE: (f64, f64) = (0.01, 100.0);

/// A fitted temperature and what it does to the rows it was fitted to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct FittedTemperature {
    /// The temperature, within [`TEMPERATURE_RANGE`].
    pub temperature: f64,
    /// Whether the optimum lies outside the range (predictions that are always right, or worse than none), so that the
    /// temperature is the range's end.
    pub at_bound: bool,
    /// Mean negative log-likelihood at temperature 1, in nats.
    pub before: f64,
    /// Mean negative log-likelihood at the fitted temperature, in nats; never more than before.
    pub after: f64,
}

/// Fits the temperature to log-probabilities (`rows x classes`, of the mixture) and the true classes of validation rows.
///
/// # Errors
/// [`crate::Error::Argument`] when lengths do not fit, a row is no distribution
/// ([`super::log_probabilities::mean_log_probabilities`]), a label is out of range, or a true class has probability 0: then no
/// temperature gives a finite likelihood.
///
/// # Examples
/// ```
/// use livi::metrics::temperature::fit;
/// // Sure to 0.9, right in 3 rows of 4: odds of 9 should be odds of 3, and 9^(1/2) = 3.
/// let rows = [0.9_f64.ln(), 0.1_f64.ln()].repeat(4);
/// let fitted = fit(&rows, 2, &[0, 0, 0, 1]).unwrap();
/// assert!((fitted.temperature - 2.0).abs() < 1e-9);
/// ```
pub fn fit(log_probabilities: &[f64], classes: usize, labels: &[usize]) -> Result<FittedTemperature> {
    let rows = checked_entries(log_probabilities, 1, classes)? / classes;
    if labels.len() != rows {
        return Err(argument("labels", format!("has length {}, expected {rows}, one a row", labels.len())));
    }
    for (row, &label) in labels.iter().enumerate() {
        if label >= classes {
            return Err(argument("labels", format!("row {row} has label {label}, expected 0 to {}", classes - 1)));
        }
        if log_probabilities[row * classes + label] == f64::NEG_INFINITY {
            let problem = format!("row {row}: the true class {label} has probability 0, which no temperature mends");
            return Err(argument("log-probabilities", problem));
        }
    }
    let objective = Objective { log_probabilities, classes, labels };
    let (inverse, at_bound) = objective.minimiser();
    let (before, after) = (objective.value(1.0), objective.value(inverse));
    Ok(FittedTemperature { temperature: 1.0 / inverse, at_bound, before, after })
}

/// Log-probabilities at a temperature, `rows x classes`.
///
/// # Errors
/// [`crate::Error::Argument`] when a row is no distribution or the temperature is not positive and finite.
///
/// # Examples
/// ```
/// let softened = livi::metrics::temperature::apply(&[0.9_f64.ln(), 0.1_f64.ln()], 2, 2.0).unwrap();
/// assert!((softened[0].exp() - 0.75).abs() < 1e-15);
/// ```
pub fn apply(log_probabilities: &[f64], classes: usize, temperature: f64) -> Result<Vec<f64>> {
    checked_entries(log_probabilities, 1, classes)?;
    if !(temperature > 0.0 && temperature.is_finite()) {
        return Err(argument("temperature", format!("is {temperature}, expected a positive number")));
    }
    Ok(log_softmax(log_probabilities.iter().map(|log| log / temperature).collect(), classes))
}

/// Mean negative log-likelihood as a function of the inverse temperature.
struct Objective<'a> {
    log_probabilities: &'a [f64],
    classes: usize,
    labels: &'a [usize],
}

impl Objective<'_> {
    fn value(&self, inverse: f64) -> f64 {
        let of_row =
            |(row, &label): (&[f64], &usize)| log_sum_exp(row.iter().map(|log| inverse * log)) - inverse * row[label];
        self.rows().map(of_row).sum::<f64>() / self.labels.len() as f64
    }

    /// First and second derivative: mean over rows of E[l] - l_true, and of the variance of l, l the row's logs under p_T.
    fn derivatives(&self, inverse: f64) -> (f64, f64) {
        let (mut slope, mut curvature) = (0.0, 0.0);
        for (row, &label) in self.rows() {
            let total = log_sum_exp(row.iter().map(|log| inverse * log));
            // A class without probability has none at any temperature.
            let weighted = || row.iter().filter(|log| log.is_finite()).map(|log| ((inverse * log - total).exp(), *log));
            let mean: f64 = weighted().map(|(p, log)| p * log).sum();
            slope += mean - row[label];
            curvature += weighted().map(|(p, log)| p * (log - mean).powi(2)).sum::<f64>();
        }
        (slope / self.labels.len() as f64, curvature / self.labels.len() as f64)
    }

    /// Best inverse temperature in the range, and whether it is an end of it: Newton's method, with bisection where a step
    /// would leave the bracket.
    fn minimiser(&self) -> (f64, bool) {
        let (mut low, mut high) = (1.0 / TEMPERATURE_RANGE.1, 1.0 / TEMPERATURE_RANGE.0);
        let mut inverse = 1.0;
        let (slope, curvature) = self.derivatives(inverse);
        if slope == 0.0 && curvature == 0.0 {
            // Uniform predictions are the same at every temperature.
            return (inverse, false);
        }
        if self.derivatives(low).0 >= 0.0 {
            return (low, true);
        }
        if self.derivatives(high).0 <= 0.0 {
            return (high, true);
        }
        for _ in 0..200 {
            let (slope, curvature) = self.derivatives(inverse);
            if slope > 0.0 {
                high = inverse;
            } else {
                low = inverse;
            }
            let newton = inverse - slope / curvature;
            // The bracket spans decades: halve it on their scale.
            let next = if newton > low && newton < high { newton } else { (low * high).sqrt() };
            let moved = (next - inverse).abs();
            inverse = next;
            if moved <= 1e-14 * inverse {
                break;
            }
        }
        (inverse, false)
    }

    fn rows(&self) -> impl Iterator<Item = (&[f64], &usize)> {
        self.log_probabilities.chunks_exact(self.classes).zip(self.labels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `count` rows of two classes with odds `odds` for class 0, the first `right` of them right.
    fn two_classes(odds: f64, right: usize, count: usize) -> (Vec<f64>, Vec<usize>) {
        let row = [(odds / (1.0 + odds)).ln(), (1.0 / (1.0 + odds)).ln()];
        (row.repeat(count), (0..count).map(|k| usize::from(k >= right)).collect())
    }

    #[test]
    fn the_temperature_turns_the_odds_said_into_the_odds_found() {
        for (odds, right, count) in [(9.0, 3, 4), (1.2, 9, 10), (1e6, 51, 100), (4.0, 4, 5)] {
            let (rows, labels) = two_classes(odds, right, count);
            let found = right as f64 / (count - right) as f64;
            let expected = f64::ln(odds) / found.ln();
            let fitted = fit(&rows, 2, &labels).unwrap();
            let inside = (TEMPERATURE_RANGE.0..TEMPERATURE_RANGE.1).contains(&expected);
            assert_eq!(fitted.at_bound, !inside, "{odds} {expected}");
            if inside {
                assert!((fitted.temperature / expected - 1.0).abs() < 1e-9, "{odds}: {fitted:?}, expected {expected}");
            }
        }
    }

    #[test]
    fn the_likelihood_after_is_that_of_the_odds_found() {
        let (rows, labels) = two_classes(99.0, 7, 10);
        let fitted = fit(&rows, 2, &labels).unwrap();
        let entropy = -(0.7 * 0.7_f64.ln() + 0.3 * 0.3_f64.ln());
        assert!((fitted.after - entropy).abs() < 1e-12);
        assert!((fitted.before + 0.7 * 0.99_f64.ln() + 0.3 * 0.01_f64.ln()).abs() < 1e-12);
    }

    /// Rows of five classes and labels that follow their cubes: the best temperature is near 1/3.
    fn five_classes(rows: usize) -> (Vec<f64>, Vec<usize>) {
        let logits: Vec<f64> = (0..rows * 5).map(|k| (k * 7919 % 97) as f64 / 40.0).collect();
        let logs = log_softmax(logits, 5);
        let labels = logs
            .chunks_exact(5)
            .enumerate()
            .map(|(k, row)| {
                let cubed = log_softmax(row.iter().map(|log| 3.0 * log).collect(), 5);
                let mut left = (k as f64 * 0.618_033_988_749_895).fract();
                cubed.iter().position(|log| {
                    left -= log.exp();
                    left <= 0.0
                })
            })
            .map(|label| label.unwrap_or(4))
            .collect();
        (logs, labels)
    }

    #[test]
    fn no_temperature_on_a_fine_grid_is_better() {
        let (rows, labels) = five_classes(300);
        let fitted = fit(&rows, 5, &labels).unwrap();
        assert!(fitted.after < fitted.before && !fitted.at_bound);
        for k in -400..=400 {
            let temperature = fitted.temperature * (f64::from(k) * 0.005).exp();
            let scaled = apply(&rows, 5, temperature).unwrap();
            let nll = -scaled.chunks_exact(5).zip(&labels).map(|(row, &label)| row[label]).sum::<f64>() / 300.0;
            assert!(nll >= fitted.after - 1e-13, "{temperature}: {nll} < {}", fitted.after);
        }
    }

    #[test]
    fn fitting_again_after_applying_gives_one() {
        let (rows, labels) = five_classes(300);
        let scaled = apply(&rows, 5, fit(&rows, 5, &labels).unwrap().temperature).unwrap();
        assert!((fit(&scaled, 5, &labels).unwrap().temperature - 1.0).abs() < 1e-9);
    }

    #[test]
    fn labels_that_follow_the_cubes_want_a_temperature_near_a_third() {
        let (rows, labels) = five_classes(20_000);
        let temperature = fit(&rows, 5, &labels).unwrap().temperature;
        assert!((temperature * 3.0 - 1.0).abs() < 0.05, "{temperature}");
    }

    #[test]
    fn predictions_always_right_or_always_wrong_meet_a_bound() {
        let (rows, _) = two_classes(3.0, 0, 5);
        let right = fit(&rows, 2, &[0; 5]).unwrap();
        let wrong = fit(&rows, 2, &[1; 5]).unwrap();
        assert!(right.at_bound && (right.temperature - 0.01).abs() < 1e-15, "{right:?}");
        assert!(wrong.at_bound && (wrong.temperature - 100.0).abs() < 1e-12, "{wrong:?}");
    }

    #[test]
    fn uniform_predictions_keep_temperature_one() {
        let fitted = fit(&[0.25_f64.ln(); 8], 4, &[0, 3]).unwrap();
        assert_eq!((fitted.temperature, fitted.at_bound), (1.0, false));
    }

    #[test]
    fn a_class_without_probability_is_allowed_unless_it_is_the_true_one() {
        let half = 0.5_f64.ln();
        let rows = [half, half, f64::NEG_INFINITY];
        assert!(fit(&rows, 3, &[0]).is_ok());
        let message = fit(&rows, 3, &[2]).unwrap_err().to_string();
        assert!(message.contains("row 0: the true class 2 has probability 0"), "{message}");
    }

    #[test]
    fn labels_and_temperatures_out_of_range_are_named() {
        let rows = [0.5_f64.ln(); 4];
        assert!(fit(&rows, 2, &[0, 2]).unwrap_err().to_string().contains("row 1 has label 2, expected 0 to 1"));
        assert!(fit(&rows, 2, &[0]).unwrap_err().to_string().contains("has length 1, expected 2"));
        assert!([0.0, -1.0, f64::INFINITY, f64::NAN].iter().all(|&temperature| apply(&rows, 2, temperature).is_err()));
    }
}
