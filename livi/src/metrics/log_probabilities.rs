//! Class probabilities as logarithms: no probability underflows, and averages over weight samples stay exact.

use super::argument;
use crate::Result;

/// How far the sum of a row's probabilities may be off 1: what `f32` arithmetic may leave.
const TOLERANCE: f64 = 1e-5;

/// Log-probabilities from logits, row by row of `classes` numbers: `f_k - ln sum_j exp(f_j)`, without overflow.
///
/// # Examples
/// ```
/// let found = livi::metrics::log_probabilities::log_softmax(vec![1000.0, 1000.0 + 3.0_f64.ln()], 2);
/// assert!((found[0] - 0.25_f64.ln()).abs() < 1e-12 && (found[1] - 0.75_f64.ln()).abs() < 1e-12);
/// ```
pub fn log_softmax(mut logits: Vec<f64>, classes: usize) -> Vec<f64> {
    for row in logits.chunks_mut(classes.max(1)) {
        let total = log_sum_exp(row.iter().copied());
        row.iter_mut().for_each(|logit| *logit -= total);
    }
    logits
}

/// Logarithm of the mean over weight samples of the probabilities: `samples x rows x classes` to `rows x classes`.
///
/// # Errors
/// [`crate::Error::Argument`] when the length is no multiple of `samples x classes` or 0, a number is NaN or
/// infinite upwards, or the probabilities
/// of a row do not sum to 1 within 1e-5.
///
/// # Examples
/// ```
/// let samples: Vec<f64> = [0.5, 0.5, 0.1, 0.9].map(f64::ln).into();
/// let mean = livi::metrics::log_probabilities::mean_log_probabilities(&samples, 2, 2).unwrap();
/// assert!((mean[0] - 0.3_f64.ln()).abs() < 1e-15);
/// ```
pub fn mean_log_probabilities(log_probabilities: &[f64], samples: usize, classes: usize) -> Result<Vec<f64>> {
    let entries = checked_entries(log_probabilities, samples, classes)?;
    let mean_of = |entry: usize| {
        let over_samples = log_probabilities.iter().skip(entry).step_by(entries).copied();
        log_sum_exp(over_samples) - (samples as f64).ln()
    };
    Ok((0..entries).map(mean_of).collect())
}

/// `ln sum exp` without overflow; minus infinity for no or only infinitely small terms.
pub(super) fn log_sum_exp(terms: impl Iterator<Item = f64> + Clone) -> f64 {
    let top = terms.clone().fold(f64::NEG_INFINITY, f64::max);
    if top == f64::NEG_INFINITY {
        return top;
    }
    top + terms.map(|term| (term - top).exp()).sum::<f64>().ln()
}

/// Number of entries (`rows x classes`) of one sample, after a look at every row.
pub(super) fn checked_entries(log_probabilities: &[f64], samples: usize, classes: usize) -> Result<usize> {
    let length = log_probabilities.len();
    let block = samples.checked_mul(classes).unwrap_or(0);
    if block == 0 || length == 0 || !length.is_multiple_of(block) {
        let problem =
            format!("has length {length}, expected rows of {classes} classes for each of {samples} weight samples");
        return Err(argument("log-probabilities", problem));
    }
    let rows = length / block;
    for (index, row) in log_probabilities.chunks_exact(classes).enumerate() {
        let place = || format!("weight sample {}, row {}", index / rows, index % rows);
        if let Some(class) = row.iter().position(|&value| value.is_nan() || value == f64::INFINITY) {
            let problem =
                format!("{}, class {class} is {}, expected a logarithm of a probability", place(), row[class]);
            return Err(argument("log-probabilities", problem));
        }
        let sum = log_sum_exp(row.iter().copied()).exp();
        if (sum - 1.0).abs() > TOLERANCE {
            let problem = format!("the probabilities of {} sum to {sum}, expected 1", place());
            return Err(argument("log-probabilities", problem));
        }
    }
    Ok(length / samples)
}

#[cfg(test)]
mod tests {
    use super::super::classification::{mean_probabilities, softmax};
    use super::*;

    #[test]
    fn they_are_the_logarithms_of_softmax() {
        let logits: Vec<f64> = (0..12).map(|k| f64::from(k * 7 % 5) - 2.0).collect();
        let (logs, plain) = (log_softmax(logits.clone(), 3), softmax(logits, 3));
        assert!(logs.iter().zip(plain).all(|(log, p)| (log.exp() - p).abs() < 1e-15));
    }

    #[test]
    fn their_mean_is_that_of_the_probabilities() {
        let logits: Vec<f64> = (0..24).map(|k| f64::from(k * 11 % 7) - 3.0).collect();
        let mean = mean_log_probabilities(&log_softmax(logits.clone(), 3), 4, 3).unwrap();
        let plain = mean_probabilities(&softmax(logits, 3), 4, 3).unwrap();
        assert_eq!(mean.len(), 6);
        assert!(mean.iter().zip(plain).all(|(log, p)| (log.exp() - p).abs() < 1e-15));
    }

    #[test]
    fn probabilities_too_small_for_a_double_keep_their_logarithm() {
        let rows = log_softmax(vec![0.0, -2000.0, 0.0, -2000.0], 2);
        let mean = mean_log_probabilities(&rows, 2, 2).unwrap();
        assert!((mean[1] + 2000.0).abs() < 1e-9);
    }

    #[test]
    fn a_probability_of_nought_is_allowed() {
        let mean = mean_log_probabilities(&[0.0, f64::NEG_INFINITY, 0.0, f64::NEG_INFINITY], 2, 2).unwrap();
        assert_eq!(mean, [0.0, f64::NEG_INFINITY]);
    }

    #[test]
    fn what_are_no_log_probabilities_is_refused_by_place() {
        let message = |values: &[f64], samples| mean_log_probabilities(values, samples, 2).unwrap_err().to_string();
        let half = 0.5_f64.ln();
        assert!(message(&[half; 6], 2).contains("has length 6, expected rows of 2 classes for each of 2"));
        assert!(message(&[], 1).contains("has length 0"));
        assert!(message(&[half; 2], 0).contains("0 weight samples"));
        assert!(
            message(&[half, half, half, half, half, f64::NAN], 3).contains("weight sample 2, row 0, class 1 is NaN")
        );
        assert!(message(&[half, half, half, 0.0], 1).contains("weight sample 0, row 1 sum to 1.5"));
        assert!(message(&[half, f64::INFINITY], 1).contains("row 0, class 1 is inf"));
        let none = f64::NEG_INFINITY;
        assert!(message(&[none, none], 1).contains("sum to 0"));
    }
}
