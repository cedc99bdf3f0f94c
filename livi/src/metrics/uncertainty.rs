//! Where the uncertainty of a prediction comes from: the noise of the labels or disagreement of the weights.
//!
//! The entropy of the mean probabilities (total) is the mean of the samples' entropies (aleatoric) plus the mutual information
//! between label and weights (epistemic); Houlsby et al. 2011, Depeweg et al. 2018.

use serde::Serialize;

use super::log_probabilities::{checked_entries, mean_log_probabilities};
use crate::Result;

/// Uncertainty of each row, in nats.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Uncertainty {
    /// Entropy of the mean probabilities, from 0 to `ln classes`: how unsure the prediction is.
    pub predictive_entropy: Vec<f64>,
    /// Mean over weight samples of the entropy of their probabilities: what remains unsure when the weights are known.
    pub expected_entropy: Vec<f64>,
    /// Their difference, at least 0: what knowing the weights would tell about the label.
    pub mutual_information: Vec<f64>,
}

impl Uncertainty {
    /// From the log-probabilities of every weight sample, `samples x rows x classes`.
    ///
    /// The mutual information is summed as the mean divergence of the samples from their mean: as a difference of entropies it
    /// would lose digits where it is small.
    ///
    /// # Errors
    /// [`crate::Error::Argument`], as for [`mean_log_probabilities`].
    ///
    /// # Examples
    /// ```
    /// use livi::metrics::Uncertainty;
    /// // Two weight samples: on the first row each is sure, and they disagree; on the second both toss a coin.
    /// let probabilities = [1.0, 0.0, 0.5, 0.5, 0.0, 1.0, 0.5, 0.5];
    /// let found = Uncertainty::from_log_probabilities(&probabilities.map(f64::ln), 2, 2).unwrap();
    /// let ln_2 = 2.0_f64.ln();
    /// for (row, [total, expected, information]) in [[ln_2, 0.0, ln_2], [ln_2, ln_2, 0.0]].into_iter().enumerate() {
    ///     assert!((found.predictive_entropy[row] - total).abs() < 1e-15);
    ///     assert!((found.expected_entropy[row] - expected).abs() < 1e-15);
    ///     assert!((found.mutual_information[row] - information).abs() < 1e-15);
    /// }
    /// ```
    pub fn from_log_probabilities(log_probabilities: &[f64], samples: usize, classes: usize) -> Result<Self> {
        let entries = checked_entries(log_probabilities, samples, classes)?;
        let mean = mean_log_probabilities(log_probabilities, samples, classes)?;
        let predictive_entropy = mean.chunks_exact(classes).map(entropy).collect();
        let rows = entries / classes;
        let (mut expected_entropy, mut mutual_information) = (vec![0.0; rows], vec![0.0; rows]);
        for sample in log_probabilities.chunks_exact(entries) {
            for (row, (logs, mean)) in sample.chunks_exact(classes).zip(mean.chunks_exact(classes)).enumerate() {
                expected_entropy[row] += entropy(logs) / samples as f64;
                mutual_information[row] += divergence(logs, mean) / samples as f64;
            }
        }
        mutual_information.iter_mut().for_each(|information| *information = f64::max(*information, 0.0));
        Ok(Self { predictive_entropy, expected_entropy, mutual_information })
    }
}

/// `-sum p ln p`; a class without probability adds nothing.
fn entropy(logs: &[f64]) -> f64 {
    logs.iter().filter(|log| log.is_finite()).fold(0.0, |sum, log| sum - log.exp() * log)
}

/// `sum p ln (p / mean)`.
fn divergence(logs: &[f64], mean: &[f64]) -> f64 {
    let present = logs.iter().zip(mean).filter(|(log, _)| log.is_finite());
    present.map(|(log, mean)| log.exp() * (log - mean)).sum()
}

#[cfg(test)]
mod tests {
    use super::super::classification::{mutual_information, predictive_entropy, softmax};
    use super::super::log_probabilities::log_softmax;
    use super::*;

    fn logits(count: usize) -> Vec<f64> {
        (0..count).map(|k| (k * 37 % 23) as f64 / 5.0 - 2.0).collect()
    }

    #[test]
    fn the_total_is_the_sum_of_its_parts() {
        let found = Uncertainty::from_log_probabilities(&log_softmax(logits(5 * 6 * 4), 4), 5, 4).unwrap();
        for row in 0..6 {
            let sum = found.expected_entropy[row] + found.mutual_information[row];
            assert!((found.predictive_entropy[row] - sum).abs() < 1e-14, "row {row}");
        }
    }

    #[test]
    fn both_agree_with_what_plain_probabilities_give() {
        let (logs, plain) = (log_softmax(logits(3 * 5 * 4), 4), softmax(logits(3 * 5 * 4), 4));
        let found = Uncertainty::from_log_probabilities(&logs, 3, 4).unwrap();
        let mean = super::super::classification::mean_probabilities(&plain, 3, 4).unwrap();
        let pairs = [
            (&found.mutual_information, mutual_information(&plain, 3, 4).unwrap()),
            (&found.predictive_entropy, predictive_entropy(&mean, 4).unwrap()),
        ];
        for (found, expected) in pairs {
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-14));
        }
    }

    #[test]
    fn samples_that_agree_tell_nothing_about_the_weights() {
        let row = log_softmax(vec![0.3, -1.0, 2.0], 3);
        let found = Uncertainty::from_log_probabilities(&row.repeat(7), 7, 3).unwrap();
        assert!(found.mutual_information[0] < 1e-15);
        assert!((found.predictive_entropy[0] - found.expected_entropy[0]).abs() < 1e-14);
    }

    #[test]
    fn a_small_disagreement_is_found_to_its_leading_order() {
        // p = 1/2 +- e: the information is 2 e^2 and terms of order e^4.
        let e = 1e-4_f64;
        let logs = [0.5 + e, 0.5 - e, 0.5 - e, 0.5 + e].map(f64::ln);
        let information = Uncertainty::from_log_probabilities(&logs, 2, 2).unwrap().mutual_information[0];
        assert!((information / (2.0 * e * e) - 1.0).abs() < 1e-6, "{information}");
    }
}
