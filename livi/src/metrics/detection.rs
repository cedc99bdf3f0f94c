//! Detection of out-of-distribution rows from class probabilities, by the two scores in common use.

use serde::{Deserialize, Serialize};

use super::classification::{max_probability, predictive_entropy};
use super::ood::{auroc, false_positive_rate};
use crate::Result;

/// How well a score tells the two apart; in-distribution rows are the positives.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct DetectionScore {
    /// Area under the receiver operating characteristic; 1 is perfect, 0.5 is chance.
    pub auroc: f64,
    /// Part of the out-of-distribution rows that pass where 95 % of the in-distribution rows do; 0 is perfect.
    pub false_positive_rate_at_95: f64,
}

impl DetectionScore {
    /// From scores that are higher on in-distribution rows.
    ///
    /// # Errors
    /// As for [`auroc`].
    pub fn new(in_distribution: &[f64], out_of_distribution: &[f64]) -> Result<Self> {
        Ok(Self {
            auroc: auroc(in_distribution, out_of_distribution)?,
            false_positive_rate_at_95: false_positive_rate(in_distribution, out_of_distribution, 0.95)?,
        })
    }
}

/// Detection by the largest probability and by the predictive entropy.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Detection {
    /// By the largest class probability.
    pub max_probability: DetectionScore,
    /// By minus the entropy of the probabilities.
    pub predictive_entropy: DetectionScore,
}

impl Detection {
    /// From mean probabilities over weight samples, `rows x classes` each.
    ///
    /// # Errors
    /// [`crate::Error::Argument`] when a row is no distribution.
    ///
    /// # Examples
    /// ```
    /// use livi::metrics::Detection;
    /// let found = Detection::from_probabilities(&[0.9, 0.1, 0.2, 0.8], &[0.6, 0.4, 0.9, 0.1], 2).unwrap();
    /// // Of four pairs two are in order, one is tied and one the wrong way round.
    /// assert_eq!(found.max_probability.auroc, 0.625);
    /// ```
    pub fn from_probabilities(in_distribution: &[f64], out_of_distribution: &[f64], classes: usize) -> Result<Self> {
        let certainty = |probabilities: &[f64]| -> Result<Vec<f64>> {
            Ok(predictive_entropy(probabilities, classes)?.into_iter().map(|entropy| -entropy).collect())
        };
        Ok(Self {
            max_probability: DetectionScore::new(
                &max_probability(in_distribution, classes)?,
                &max_probability(out_of_distribution, classes)?,
            )?,
            predictive_entropy: DetectionScore::new(&certainty(in_distribution)?, &certainty(out_of_distribution)?)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sure_rows_are_told_from_unsure_ones_by_both_scores() {
        let (sure, unsure) = ([0.98, 0.01, 0.01, 0.0, 0.95, 0.05], [0.4, 0.3, 0.3, 0.5, 0.5, 0.0]);
        let found = Detection::from_probabilities(&sure, &unsure, 3).unwrap();
        let perfect = DetectionScore { auroc: 1.0, false_positive_rate_at_95: 0.0 };
        assert_eq!((found.max_probability, found.predictive_entropy), (perfect, perfect));
    }

    #[test]
    fn the_scores_differ_where_the_rest_is_spread_differently() {
        // Both have largest probability 0.5, but the second spreads the rest.
        let found = Detection::from_probabilities(&[0.5, 0.5, 0.0], &[0.5, 0.25, 0.25], 3).unwrap();
        assert_eq!((found.max_probability.auroc, found.predictive_entropy.auroc), (0.5, 1.0));
    }

    #[test]
    fn two_classes_give_both_scores_the_same_order() {
        let (a, b) = ([0.9, 0.1, 0.3, 0.7, 0.45, 0.55], [0.6, 0.4, 0.2, 0.8]);
        let found = Detection::from_probabilities(&a, &b, 2).unwrap();
        assert_eq!(found.max_probability, found.predictive_entropy);
    }
}
