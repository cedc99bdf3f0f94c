//! Likelihood, accuracy and uncertainty measures of classification.

use super::argument;
use crate::Result;

/// Predicted class probabilities with the true labels, checked once.
///
/// Calibration measures are in [`super::calibration`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClassPredictions<'a> {
    pub(super) probabilities: &'a [f64],
    pub(super) labels: &'a [usize],
    pub(super) classes: usize,
}

impl<'a> ClassPredictions<'a> {
    /// Predictions from `probabilities` (`rows x classes`) and `labels` (one a row, from 0).
    ///
    /// # Errors
    /// [`crate::Error::Argument`] when the lengths do not fit or are 0, a label is not below `classes`, a
    /// probability is not in [0, 1], or a row's sum is off 1 by more than 1e-5 (what `f32` softmax may be off by).
    ///
    /// # Examples
    /// ```
    /// let predictions = livi::metrics::ClassPredictions::new(&[0.7, 0.3, 0.4, 0.6], 2, &[0, 0]).unwrap();
    /// assert_eq!(predictions.accuracy(), 0.5);
    /// assert!((predictions.negative_log_likelihood() + (0.7_f64.ln() + 0.4_f64.ln()) / 2.0).abs() < 1e-15);
    /// assert!((predictions.brier_score() - (0.18 + 0.72) / 2.0).abs() < 1e-15);
    /// ```
    pub fn new(probabilities: &'a [f64], classes: usize, labels: &'a [usize]) -> Result<Self> {
        check_probabilities(probabilities, classes)?;
        let rows = probabilities.len() / classes;
        if labels.len() != rows {
            return Err(argument("labels", format!("has length {}, expected {rows}, one a row", labels.len())));
        }
        if let Some(row) = labels.iter().position(|&label| label >= classes) {
            let problem = format!("row {row} has label {}, expected 0 to {}", labels[row], classes - 1);
            return Err(argument("labels", problem));
        }
        Ok(Self { probabilities, labels, classes })
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.labels.len()
    }

    /// Minus the mean log-probability of the true classes, in nats; infinite if one has probability 0.
    pub fn negative_log_likelihood(&self) -> f64 {
        -self.mean_over_rows(|row, label| row[label].ln())
    }

    /// Part of the rows whose most probable class (the first, if several are) is the true one.
    pub fn accuracy(&self) -> f64 {
        self.mean_over_rows(|row, label| f64::from(most_probable(row).0 == label))
    }

    /// Brier score (Brier 1950): mean over rows of the squared distance between the probabilities and the
    /// one-hot truth, summed over classes; from 0 (perfect) to 2.
    pub fn brier_score(&self) -> f64 {
        self.mean_over_rows(|row, label| {
            let distance = |(class, p): (usize, &f64)| (p - f64::from(class == label)).powi(2);
            row.iter().enumerate().map(distance).sum()
        })
    }

    pub(super) fn rows_with_labels(&self) -> impl Iterator<Item = (&'a [f64], usize)> {
        self.probabilities.chunks_exact(self.classes).zip(self.labels.iter().copied())
    }

    fn mean_over_rows(&self, score: impl Fn(&[f64], usize) -> f64) -> f64 {
        self.rows_with_labels().map(|(row, label)| score(row, label)).sum::<f64>() / self.rows() as f64
    }
}

/// Probabilities from logits, row by row of `classes` numbers: `exp(f_k) / sum_j exp(f_j)`, without overflow.
///
/// # Examples
/// ```
/// let found = livi::metrics::classification::softmax(vec![1000.0, 1000.0 + 3.0_f64.ln()], 2);
/// assert!((found[0] - 0.25).abs() < 1e-12 && (found[1] - 0.75).abs() < 1e-12);
/// ```
pub fn softmax(mut logits: Vec<f64>, classes: usize) -> Vec<f64> {
    for row in logits.chunks_mut(classes.max(1)) {
        let top = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        row.iter_mut().for_each(|logit| *logit = (*logit - top).exp());
        let total: f64 = row.iter().sum();
        row.iter_mut().for_each(|p| *p /= total);
    }
    logits
}

/// The largest probability of each row, one a row: the confidence.
///
/// # Errors
/// As for [`ClassPredictions::new`], labels apart.
pub fn max_probability(probabilities: &[f64], classes: usize) -> Result<Vec<f64>> {
    check_probabilities(probabilities, classes)?;
    Ok(probabilities.chunks_exact(classes).map(|row| most_probable(row).1).collect())
}

/// Entropy `-sum_k p_k ln p_k` of each row (`rows x classes`), in nats, from 0 to `ln classes`.
///
/// # Errors
/// As for [`ClassPredictions::new`], labels apart.
///
/// # Examples
/// ```
/// let entropy = livi::metrics::classification::predictive_entropy(&[0.5, 0.5, 1.0, 0.0], 2).unwrap();
/// assert_eq!(entropy, [2.0_f64.ln(), 0.0]);
/// ```
pub fn predictive_entropy(probabilities: &[f64], classes: usize) -> Result<Vec<f64>> {
    check_probabilities(probabilities, classes)?;
    Ok(probabilities.chunks_exact(classes).map(entropy).collect())
}

/// Mean over weight samples of the class probabilities `samples x rows x classes`: `rows x classes`.
///
/// # Errors
/// As for [`ClassPredictions::new`], labels apart; also when the length is no multiple of `samples x classes`.
pub fn mean_probabilities(sample_probabilities: &[f64], samples: usize, classes: usize) -> Result<Vec<f64>> {
    check_probabilities(sample_probabilities, classes)?;
    let rows = sample_probabilities.len() / classes;
    if samples == 0 || !rows.is_multiple_of(samples) {
        let problem = format!("{rows} rows of probabilities do not divide among {samples} weight samples");
        return Err(argument("probabilities", problem));
    }
    let entries = sample_probabilities.len() / samples;
    let mut mean = vec![0.0; entries];
    for sample in sample_probabilities.chunks_exact(entries) {
        mean.iter_mut().zip(sample).for_each(|(sum, p)| *sum += p);
    }
    mean.iter_mut().for_each(|sum| *sum /= samples as f64);
    Ok(mean)
}

/// Mutual information between a row's label and the weights, one a row, in nats: the entropy of the mean
/// probabilities less the mean of the samples' entropies (Houlsby et al. 2011). From 0 (all weight samples
/// agree) to `ln classes`; the epistemic part of the predictive entropy.
///
/// # Errors
/// As for [`mean_probabilities`].
///
/// # Examples
/// ```
/// use livi::metrics::classification::mutual_information;
/// // Two weight samples, each certain, that disagree on the first row and agree on the second.
/// let information = mutual_information(&[1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0], 2, 2).unwrap();
/// assert_eq!(information, [2.0_f64.ln(), 0.0]);
/// ```
pub fn mutual_information(sample_probabilities: &[f64], samples: usize, classes: usize) -> Result<Vec<f64>> {
    let mean = mean_probabilities(sample_probabilities, samples, classes)?;
    let rows = mean.len() / classes;
    let of_row = |row: usize| {
        let each = sample_probabilities.chunks_exact(classes).skip(row).step_by(rows).map(entropy);
        let expected = each.sum::<f64>() / samples as f64;
        // By Jensen's inequality not negative; rounding may make it so.
        (entropy(&mean[row * classes..(row + 1) * classes]) - expected).max(0.0)
    };
    Ok((0..rows).map(of_row).collect())
}

/// Class and probability of the largest entry; the first of several.
pub(super) fn most_probable(row: &[f64]) -> (usize, f64) {
    row.iter().copied().enumerate().fold((0, f64::NEG_INFINITY), |best, (class, probability)| {
        if probability > best.1 { (class, probability) } else { best }
    })
}

fn entropy(row: &[f64]) -> f64 {
    // p ln p goes to 0 with p. Subtraction from 0 keeps a certain row at 0 rather than -0.
    row.iter().filter(|&&p| p > 0.0).fold(0.0, |sum, p| sum - p * p.ln())
}

fn check_probabilities(probabilities: &[f64], classes: usize) -> Result<()> {
    const TOLERANCE: f64 = 1e-5;
    if classes == 0 || probabilities.is_empty() || !probabilities.len().is_multiple_of(classes) {
        let problem = format!("has length {}, expected rows of {classes} classes, at least 1", probabilities.len());
        return Err(argument("probabilities", problem));
    }
    for (row, values) in probabilities.chunks_exact(classes).enumerate() {
        if let Some(class) = values.iter().position(|p| !(0.0..=1.0).contains(p)) {
            let problem = format!("row {row}, class {class} is {}, expected 0 to 1", values[class]);
            return Err(argument("probabilities", problem));
        }
        let sum: f64 = values.iter().sum();
        if (sum - 1.0).abs() > TOLERANCE {
            return Err(argument("probabilities", format!("row {row} sums to {sum}, expected 1")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_of_three_classes_equal_hand_computed_ones() {
        let probabilities = [0.2, 0.5, 0.3, 0.1, 0.1, 0.8];
        let predictions = ClassPredictions::new(&probabilities, 3, &[1, 0]).unwrap();
        assert_eq!(predictions.accuracy(), 0.5);
        assert!((predictions.negative_log_likelihood() + (0.5_f64.ln() + 0.1_f64.ln()) / 2.0).abs() < 1e-15);
        let brier = (0.04 + 0.25 + 0.09 + 0.81 + 0.01 + 0.64) / 2.0;
        assert!((predictions.brier_score() - brier).abs() < 1e-15);
    }

    #[test]
    fn a_true_class_of_probability_zero_has_infinite_negative_log_likelihood() {
        let predictions = ClassPredictions::new(&[1.0, 0.0], 2, &[1]).unwrap();
        assert_eq!(predictions.negative_log_likelihood(), f64::INFINITY);
        assert_eq!(predictions.brier_score(), 2.0);
    }

    #[test]
    fn a_tie_goes_to_the_first_class() {
        assert_eq!(ClassPredictions::new(&[0.5, 0.5], 2, &[0]).unwrap().accuracy(), 1.0);
        assert_eq!(ClassPredictions::new(&[0.5, 0.5], 2, &[1]).unwrap().accuracy(), 0.0);
    }

    #[test]
    fn uniform_probabilities_have_the_largest_entropy() {
        let entropy = predictive_entropy(&[0.25; 4], 4).unwrap()[0];
        assert!((entropy - 4.0_f64.ln()).abs() < 1e-15);
    }

    #[test]
    fn mutual_information_is_the_mean_divergence_from_the_mean() {
        let samples = [0.9, 0.1, 0.2, 0.8, 0.6, 0.4, 0.3, 0.7, 0.5, 0.5, 0.1, 0.9];
        let (count, rows) = (3, 2);
        let found = mutual_information(&samples, count, 2).unwrap();
        let mean = mean_probabilities(&samples, count, 2).unwrap();
        for row in 0..rows {
            let mut divergence = 0.0;
            for sample in 0..count {
                for class in 0..2 {
                    let p = samples[(sample * rows + row) * 2 + class];
                    divergence += p * (p / mean[2 * row + class]).ln() / count as f64;
                }
            }
            assert!((found[row] - divergence).abs() < 1e-15, "row {row}");
        }
    }

    #[test]
    fn confidence_is_the_largest_probability() {
        assert_eq!(max_probability(&[0.2, 0.5, 0.3, 0.1, 0.1, 0.8], 3).unwrap(), [0.5, 0.8]);
    }

    #[test]
    fn bad_probabilities_and_labels_are_named() {
        let message = |probabilities: &[f64], labels: &[usize]| {
            ClassPredictions::new(probabilities, 2, labels).unwrap_err().to_string()
        };
        assert!(message(&[0.5, 0.5, 0.4, 0.5], &[0, 1]).contains("row 1 sums to 0.9"));
        assert!(message(&[1.5, -0.5], &[0]).contains("row 0, class 0 is 1.5"));
        assert!(message(&[f64::NAN, 1.0], &[0]).contains("row 0, class 0 is NaN"));
        assert!(message(&[0.5, 0.5], &[2]).contains("row 0 has label 2, expected 0 to 1"));
        assert!(message(&[0.5, 0.5], &[0, 1]).contains("labels: has length 2, expected 1"));
        assert!(message(&[0.5, 0.5, 1.0], &[0]).contains("has length 3"));
        assert!(mean_probabilities(&[0.5, 0.5, 0.5, 0.5, 0.5, 0.5], 2, 2).is_err());
    }
}
