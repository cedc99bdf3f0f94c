//! Measures of classification: likelihood, calibration, uncertainty, and detection of inputs of another kind.

use crate::data::Table;
use crate::metrics::calibration::{CalibrationError, DEFAULT_BINS};
use crate::metrics::log_probabilities::{log_softmax, mean_log_probabilities};
use crate::metrics::temperature::{self, FittedTemperature};
use crate::metrics::{ClassPredictions, Detection, Uncertainty};
use crate::posterior::Posterior;
use crate::predict::predict_in_parts;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// Bins of the second calibration error reported.
const FINE_BINS: usize = 100;

/// Measures of classification.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassEvaluation {
    /// Rows evaluated.
    pub rows: usize,
    /// Weight samples in the mixture.
    pub samples: usize,
    /// Mean negative log-probability of the true class, in nats.
    pub negative_log_likelihood: f64,
    /// Part of the rows whose most probable class is true.
    pub accuracy: f64,
    /// Brier score, from 0 to 2.
    pub brier: f64,
    /// Expected calibration error over 15 bins.
    pub expected_calibration_error: f64,
    /// The same over 100 bins.
    pub expected_calibration_error_100: f64,
    /// Largest gap of the 15 bins.
    pub maximum_calibration_error: f64,
    /// Adaptive calibration error over 15 ranges, one a row where there are fewer (Nixon et al. 2019).
    pub adaptive_calibration_error: f64,
    /// Static calibration error over 15 bins (Nixon et al. 2019).
    pub static_calibration_error: f64,
    /// Mean entropy of the predictive distribution, in nats.
    pub mean_predictive_entropy: f64,
    /// Mean mutual information between class and weights, in nats.
    pub mean_mutual_information: f64,
    /// What one fitted temperature makes of the same rows, where it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<TemperatureEvaluation>,
    /// Detection of inputs of another kind, one entry a set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub out_of_distribution: Vec<Foreign>,
}

/// Rows at a temperature fitted to validation rows.
///
/// The temperature divides the logarithms of the mixture's probabilities, which are normalised again after it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TemperatureEvaluation {
    /// The temperature.
    pub temperature: f64,
    /// Whether it is an end of the range that is searched: the validation rows, too few or all right or all wrong, do not determine it.
    #[serde(default)]
    pub at_bound: bool,
    /// Mean negative log-probability of the true class, in nats.
    pub negative_log_likelihood: f64,
    /// Expected calibration error over 15 bins.
    pub expected_calibration_error: f64,
}

/// Detection of one out-of-distribution set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Foreign {
    /// Name of the set.
    pub name: String,
    /// Its rows.
    pub rows: usize,
    /// Detection by largest probability and by predictive entropy; in-distribution rows are the positives.
    #[serde(flatten)]
    pub detection: Detection,
    /// Mean entropy of its predictive distribution, in nats.
    pub mean_predictive_entropy: f64,
}

/// What a posterior says about rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Classified {
    /// Classes.
    pub classes: usize,
    /// Weight samples in the mixture.
    pub samples: usize,
    /// Log-probabilities of the mixture, rows x classes.
    pub log_probabilities: Vec<f64>,
    /// Where the uncertainty of each row comes from.
    pub uncertainty: Uncertainty,
}

/// The class of each row of a table.
///
/// # Errors
/// [`Error::Argument`] for a label that is no whole number from 0.
pub fn labels(table: &Table) -> Result<Vec<usize>> {
    let class = |(row, &label): (usize, &f64)| {
        if label >= 0.0 && label.fract() == 0.0 && label < 65_536.0 {
            return Ok(label as usize);
        }
        let problem = format!("row {row} has {label}, expected a class, a whole number from 0");
        Err(Error::Argument { name: "labels".into(), problem })
    };
    table.y.iter().enumerate().map(class).collect()
}

impl Classified {
    /// Predictions of weight samples (samples x m) for inputs (rows x inputs) in original units.
    ///
    /// # Errors
    /// Inputs that do not fit the network; predictions that are not finite.
    pub fn new(posterior: &Posterior, theta: &[f64], samples: usize, x: &[f64], rows: usize) -> Result<Self> {
        let classes = posterior.model.network.outputs();
        let inputs = posterior.model.network.inputs();
        if rows * inputs != x.len() {
            let problem = format!("{} numbers in {rows} rows, but the network takes {inputs} a row", x.len());
            return Err(Error::Argument { name: "inputs".into(), problem });
        }
        let mut log_probabilities = Vec::with_capacity(rows * classes);
        let mut uncertainty = Uncertainty {
            predictive_entropy: Vec::with_capacity(rows),
            expected_entropy: Vec::with_capacity(rows),
            mutual_information: Vec::with_capacity(rows),
        };
        predict_in_parts(posterior, theta, samples, x, rows, |_, predictions| {
            let logs = log_softmax(predictions.outputs, classes);
            log_probabilities.extend(mean_log_probabilities(&logs, samples, classes)?);
            let found = Uncertainty::from_log_probabilities(&logs, samples, classes)?;
            uncertainty.predictive_entropy.extend(found.predictive_entropy);
            uncertainty.expected_entropy.extend(found.expected_entropy);
            uncertainty.mutual_information.extend(found.mutual_information);
            Ok(())
        })?;
        Ok(Self { classes, samples, log_probabilities, uncertainty })
    }

    /// Probabilities of the mixture, rows x classes.
    pub fn probabilities(&self) -> Vec<f64> {
        self.log_probabilities.iter().map(|log| log.exp()).collect()
    }

    /// The calibration error over 15 bins, with the bins.
    ///
    /// # Errors
    /// Labels that do not fit.
    pub fn calibration(&self, labels: &[usize]) -> Result<CalibrationError> {
        ClassPredictions::new(&self.probabilities(), self.classes, labels)?.calibration_error(DEFAULT_BINS)
    }

    /// All measures but temperature and out-of-distribution sets.
    ///
    /// # Errors
    /// Labels that do not fit.
    pub fn evaluate(&self, labels: &[usize]) -> Result<ClassEvaluation> {
        let probabilities = self.probabilities();
        let predictions = ClassPredictions::new(&probabilities, self.classes, labels)?;
        let calibration = predictions.calibration_error(DEFAULT_BINS)?;
        Ok(ClassEvaluation {
            rows: labels.len(),
            samples: self.samples,
            negative_log_likelihood: self.negative_log_likelihood(labels),
            accuracy: predictions.accuracy(),
            brier: predictions.brier_score(),
            expected_calibration_error: calibration.expected,
            expected_calibration_error_100: predictions.calibration_error(FINE_BINS)?.expected,
            maximum_calibration_error: calibration.maximum,
            adaptive_calibration_error: predictions.adaptive_calibration_error(DEFAULT_BINS.min(labels.len()))?,
            static_calibration_error: predictions.static_calibration_error(DEFAULT_BINS)?,
            mean_predictive_entropy: mean(&self.uncertainty.predictive_entropy),
            mean_mutual_information: mean(&self.uncertainty.mutual_information),
            temperature: None,
            out_of_distribution: Vec::new(),
        })
    }

    /// Mean over rows of -log p(true class), from log-probabilities, so that nothing underflows.
    fn negative_log_likelihood(&self, labels: &[usize]) -> f64 {
        let rows = self.log_probabilities.chunks_exact(self.classes).zip(labels);
        -rows.map(|(row, &label)| row[label]).sum::<f64>() / labels.len() as f64
    }

    /// A temperature fitted to other rows, and what it makes of these.
    ///
    /// # Errors
    /// Those of [`temperature::fit`].
    pub fn at_temperature_of(
        &self,
        labels: &[usize],
        validation: &Self,
        validation_labels: &[usize],
    ) -> Result<TemperatureEvaluation> {
        let FittedTemperature { temperature: fitted, at_bound, .. } =
            temperature::fit(&validation.log_probabilities, self.classes, validation_labels)?;
        let log_probabilities = temperature::apply(&self.log_probabilities, self.classes, fitted)?;
        let scaled = Self { log_probabilities, ..self.clone() };
        Ok(TemperatureEvaluation {
            temperature: fitted,
            at_bound,
            negative_log_likelihood: scaled.negative_log_likelihood(labels),
            expected_calibration_error: scaled.calibration(labels)?.expected,
        })
    }

    /// How well a set of another kind is told from these rows.
    ///
    /// # Errors
    /// None in practice: both are distributions.
    pub fn detect(&self, name: &str, other: &Self) -> Result<Foreign> {
        Ok(Foreign {
            name: name.into(),
            rows: other.uncertainty.predictive_entropy.len(),
            detection: Detection::from_probabilities(&self.probabilities(), &other.probabilities(), self.classes)?,
            mean_predictive_entropy: mean(&other.uncertainty.predictive_entropy),
        })
    }
}

impl TemperatureEvaluation {
    /// What is to be said beside the temperature.
    pub(super) fn remark(&self) -> &'static str {
        if self.at_bound {
            " (the end of the range: the validation rows do not determine it; not to be used)"
        } else {
            ""
        }
    }
}

impl ClassEvaluation {
    /// Names and values of all measures, as text.
    pub(super) fn entries(&self) -> Vec<(String, String)> {
        let mut entries = vec![
            ("negative log-likelihood", self.negative_log_likelihood),
            ("accuracy", self.accuracy),
            ("Brier score", self.brier),
            ("expected calibration error", self.expected_calibration_error),
            ("the same, 100 bins", self.expected_calibration_error_100),
            ("maximum calibration error", self.maximum_calibration_error),
            ("adaptive calibration error", self.adaptive_calibration_error),
            ("static calibration error", self.static_calibration_error),
            ("mean predictive entropy", self.mean_predictive_entropy),
            ("mean mutual information", self.mean_mutual_information),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_string(), format!("{value:.4}")))
        .collect::<Vec<_>>();
        if let Some(found) = &self.temperature {
            entries.push(("fitted temperature".into(), format!("{:.3}{}", found.temperature, found.remark())));
            entries.push(("NLL at it".into(), format!("{:.4}", found.negative_log_likelihood)));
            entries.push(("calibration error at it".into(), format!("{:.4}", found.expected_calibration_error)));
        }
        for set in &self.out_of_distribution {
            let (entropy, most) = (set.detection.predictive_entropy, set.detection.max_probability);
            let text = format!(
                "AUROC {:.4} by entropy, {:.4} by probability; FPR at 95 % TPR {:.4}, {:.4}",
                entropy.auroc, most.auroc, entropy.false_positive_rate_at_95, most.false_positive_rate_at_95
            );
            entries.push((format!("against {}", set.name), text));
        }
        entries
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classified(log_probabilities: Vec<f64>) -> Classified {
        let uncertainty = Uncertainty::from_log_probabilities(&log_probabilities, 1, 2).unwrap();
        Classified { classes: 2, samples: 1, log_probabilities, uncertainty }
    }

    #[test]
    fn a_true_class_whose_probability_underflows_has_a_finite_likelihood() {
        let found = classified(log_softmax(vec![0.0, -2000.0, 0.0, 0.0], 2)).evaluate(&[1, 0]).unwrap();
        assert!((found.negative_log_likelihood - (2000.0 + 2.0_f64.ln()) / 2.0).abs() < 1e-9);
    }

    #[test]
    fn the_temperature_comes_from_the_validation_rows_alone() {
        let odds = |odds: f64| [(odds / (1.0 + odds)).ln(), (1.0 / (1.0 + odds)).ln()];
        let validation = classified(odds(9.0).repeat(4));
        let test = classified(odds(81.0).to_vec());
        let found = test.at_temperature_of(&[0], &validation, &[0, 0, 0, 1]).unwrap();
        // Odds of 9 ought to be odds of 3: a temperature of 2, which makes odds of 9 out of 81.
        assert!((found.temperature - 2.0).abs() < 1e-9, "{found:?}");
        assert!((found.negative_log_likelihood - (10.0_f64 / 9.0).ln()).abs() < 1e-9, "{found:?}");
    }

    #[test]
    fn a_set_without_confidence_is_told_from_a_sure_one() {
        let sure = classified(log_softmax(vec![9.0, 0.0, 0.0, 8.0], 2));
        let unsure = classified(log_softmax(vec![0.1, 0.0], 2));
        let found = sure.detect("noise", &unsure).unwrap();
        assert_eq!((found.rows, found.detection.predictive_entropy.auroc), (1, 1.0));
        assert!((found.mean_predictive_entropy - 2.0_f64.ln()).abs() < 0.01);
    }
}
