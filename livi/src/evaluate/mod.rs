//! How good a posterior's predictions are on rows with known targets.

mod classification;
mod page;

pub use classification::{ClassEvaluation, Classified, Foreign, TemperatureEvaluation, labels};
pub use page::page;

use crate::Result;
use crate::config::LikelihoodKind;
use crate::data::Table;
use crate::listing::aligned;
use crate::metrics::regression::{coverage, rmse, sharpness};
use crate::number::{in_nats, in_units};
use crate::posterior::Posterior;
use crate::predict::predict_in_parts;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Probabilities of the central intervals whose coverage is measured.
pub const INTERVALS: [f64; 3] = [0.5, 0.9, 0.95];

/// Measures of predictions by the mixture of weight samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "likelihood", rename_all = "lowercase")]
pub enum Evaluation {
    /// Of a Gaussian likelihood.
    Gaussian(RegressionEvaluation),
    /// Of a softmax likelihood.
    Softmax(ClassEvaluation),
}

/// Measures of regression, in the targets' original units. Several targets have units of their own: then `targets` alone has what is in these, and
/// what would pool them is `None`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RegressionEvaluation {
    /// Rows evaluated.
    pub rows: usize,
    /// Weight samples in the mixture.
    pub samples: usize,
    /// Root mean squared error of the predictive mean of a single target.
    pub rmse: Option<f64>,
    /// Mean over rows of the mixture's log-density, of several targets the joint one, in nats.
    pub log_likelihood: f64,
    /// Coverage and width of central intervals of a single target.
    pub intervals: Option<Vec<IntervalEvaluation>>,
    /// Mean over rows of the epistemic standard deviation of a single target.
    pub mean_epistemic_std: Option<f64>,
    /// Standard deviation of the noise of a single target.
    pub mean_aleatoric_std: Option<f64>,
    /// Each target alone.
    pub targets: Vec<TargetEvaluation>,
}

/// A central interval of the predictive distribution.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct IntervalEvaluation {
    /// Probability it should hold.
    pub probability: f64,
    /// Part of the targets inside.
    pub coverage: f64,
    /// Mean width (sharpness).
    pub width: f64,
}

/// Measures of one target, in its own unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TargetEvaluation {
    /// Name of the column.
    pub name: String,
    /// Root mean squared error of the predictive mean.
    pub rmse: f64,
    /// Coverage and width of central intervals.
    pub intervals: Vec<IntervalEvaluation>,
    /// Mean over rows of the epistemic standard deviation.
    pub mean_epistemic_std: f64,
    /// Standard deviation of the noise.
    pub noise_std: f64,
}

/// Evaluates weight samples (samples x m) of a posterior on a table in original units.
///
/// # Errors
/// [`crate::Error::Argument`] when the table's columns do not fit the posterior, a label is no class, or predictions are not finite.
pub fn evaluate(posterior: &Posterior, theta: &[f64], samples: usize, table: &Table) -> Result<Evaluation> {
    match posterior.model.likelihood {
        LikelihoodKind::Gaussian => regression(posterior, theta, samples, table).map(Evaluation::Gaussian),
        LikelihoodKind::Softmax => {
            let classified = Classified::new(posterior, theta, samples, &table.x, table.rows)?;
            classified.evaluate(&labels(table)?).map(Evaluation::Softmax)
        }
    }
}

fn regression(posterior: &Posterior, theta: &[f64], samples: usize, table: &Table) -> Result<RegressionEvaluation> {
    let targets = table.outputs;
    let levels: Vec<f64> = INTERVALS.iter().flat_map(|p| [0.5 * (1.0 - p), 0.5 * (1.0 + p)]).collect();
    let (mut mean, mut epistemic, mut ends) = (Vec::new(), Vec::new(), Vec::new());
    let (mut log_likelihood, mut noise) = (0.0, Vec::new());
    predict_in_parts(posterior, theta, samples, &table.x, table.rows, |rows, predictions| {
        let mixture = predictions.mixture()?;
        let y = &table.y[rows.start * targets..rows.end * targets];
        log_likelihood += mixture.log_likelihoods(y)?.iter().sum::<f64>();
        mean.extend(mixture.mean());
        epistemic.extend(mixture.epistemic_std());
        ends.extend(mixture.quantiles(&levels)?);
        noise = mixture.aleatoric_std().to_vec();
        Ok(())
    })?;
    let every = |values: &[f64], first: usize, stride: usize| -> Vec<f64> {
        values.iter().skip(first).step_by(stride).copied().collect()
    };
    let measured = table.output_names.iter().enumerate().map(|(target, name)| {
        let y = every(&table.y, target, targets);
        let end = |at: usize| every(&ends, target * levels.len() + at, targets * levels.len());
        let intervals = INTERVALS.iter().enumerate().map(|(at, &probability)| {
            let (lower, upper) = (end(2 * at), end(2 * at + 1));
            let coverage = coverage(&lower, &upper, &y)?;
            Ok(IntervalEvaluation { probability, coverage, width: sharpness(&lower, &upper)? })
        });
        Ok(TargetEvaluation {
            name: name.clone(),
            rmse: rmse(&every(&mean, target, targets), &y)?,
            intervals: intervals.collect::<Result<_>>()?,
            mean_epistemic_std: every(&epistemic, target, targets).iter().sum::<f64>() / table.rows as f64,
            noise_std: noise[target],
        })
    });
    let measured = measured.collect::<Result<Vec<_>>>()?;
    let only = if let [only] = &measured[..] { Some(only) } else { None };
    Ok(RegressionEvaluation {
        rows: table.rows,
        samples,
        rmse: only.map(|target| target.rmse),
        log_likelihood: log_likelihood / table.rows as f64,
        intervals: only.map(|target| target.intervals.clone()),
        mean_epistemic_std: only.map(|target| target.mean_epistemic_std),
        mean_aleatoric_std: only.map(|target| target.noise_std),
        targets: measured,
    })
}

impl RegressionEvaluation {
    /// Names and values of all measures, as text: of a single target by themselves, of several with the target's name.
    fn entries(&self) -> Vec<(String, String)> {
        let log_likelihood = ("log-likelihood".to_string(), in_nats(self.log_likelihood));
        if let [only] = &self.targets[..] {
            let mut entries = only.entries();
            entries.insert(1, log_likelihood);
            return entries;
        }
        let named = |target: &TargetEvaluation| -> Vec<(String, String)> {
            let entries = target.entries().into_iter();
            entries.map(|(measure, value)| (format!("{measure} of {}", target.name), value)).collect()
        };
        std::iter::once(log_likelihood).chain(self.targets.iter().flat_map(named)).collect()
    }
}

impl TargetEvaluation {
    fn entries(&self) -> Vec<(String, String)> {
        let length = |name: &str, value: f64| (name.to_string(), in_units(value));
        let mut entries = vec![length("RMSE", self.rmse)];
        entries.extend(self.intervals.iter().map(|interval| {
            let name = format!("coverage of {} % intervals", 100.0 * interval.probability);
            (name, format!("{:.1} % (mean width {})", 100.0 * interval.coverage, in_units(interval.width)))
        }));
        entries.push(length("mean epistemic std", self.mean_epistemic_std));
        entries.push(length("noise std", self.noise_std));
        entries
    }
}

impl Evaluation {
    /// The main numbers in a line.
    pub fn brief(&self) -> String {
        match self {
            Self::Gaussian(found) => {
                let errors: Vec<String> = match &found.targets[..] {
                    [only] => vec![in_units(only.rmse)],
                    several => several.iter().map(|t| format!("{} of {}", in_units(t.rmse), t.name)).collect(),
                };
                format!("RMSE {}  log-likelihood {}", errors.join(", "), in_nats(found.log_likelihood))
            }
            Self::Softmax(found) => {
                format!("accuracy {:.4}  NLL {:.4}", found.accuracy, found.negative_log_likelihood)
            }
        }
    }

    /// Names and values of all measures, as text.
    pub fn entries(&self) -> Vec<(String, String)> {
        match self {
            Self::Gaussian(found) => found.entries(),
            Self::Softmax(found) => found.entries(),
        }
    }

    /// Rows evaluated and weight samples used.
    pub fn rows_and_samples(&self) -> (usize, usize) {
        match self {
            Self::Gaussian(found) => (found.rows, found.samples),
            Self::Softmax(found) => (found.rows, found.samples),
        }
    }
}

impl fmt::Display for Evaluation {
    /// One line a measure, without a line break at the end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(aligned(&self.entries(), 28).trim_end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::data::Standardiser;
    use crate::model::Model;

    /// A linear network y = w x + b with two weight samples, so that every number can be checked by hand.
    fn posterior(standardiser: Standardiser, noise_std: f64) -> Posterior {
        let mut config = Config::default();
        for setting in ["network.hidden=[]", "sampler.latent=[1]", "sampler.hidden=[]", "dtype=f64"] {
            config.set(setting).unwrap();
        }
        let model = Model::new(&config, 1, 1).unwrap();
        let count = model.parameter_count();
        Posterior {
            model,
            components: vec![vec![0.0; count]],
            noise_std: vec![noise_std],
            standardiser,
            dtype: config.dtype,
            device: crate::device::processor(),
            reference: Vec::new(),
        }
    }

    fn table(x: &[f64], y: &[f64]) -> Table {
        Table::new(x.to_vec(), y.to_vec(), x.len(), vec!["x".into()], vec!["y".into()]).unwrap()
    }

    #[test]
    fn one_weight_sample_has_the_likelihood_of_one_normal_in_original_units() {
        let standardiser = Standardiser { x_mean: vec![1.0], x_std: vec![2.0], y_mean: vec![10.0], y_std: vec![5.0] };
        let posterior = posterior(standardiser, 0.2);
        // y = 5 (3 (x - 1) / 2 + 0.5) + 10 with noise 5 0.2 = 1.
        let found = evaluate(&posterior, &[3.0, 0.5], 1, &table(&[1.0, 3.0], &[12.5, 29.5])).unwrap();
        let Evaluation::Gaussian(found) = found else { panic!("a Gaussian likelihood was asked for") };
        let normaliser = 0.5 * (2.0 * std::f64::consts::PI).ln();
        assert!((found.targets[0].rmse - 2.0_f64.sqrt()).abs() < 1e-12, "{}", found.targets[0].rmse);
        assert!((found.log_likelihood + normaliser + 1.0).abs() < 1e-12, "{}", found.log_likelihood);
        let intervals = found.intervals.unwrap();
        assert!((intervals[2].width - 2.0 * 1.959_963_984_540_054).abs() < 1e-12);
        assert_eq!(intervals.iter().map(|i| i.coverage).collect::<Vec<_>>(), [0.5, 0.5, 0.5]);
    }

    #[test]
    fn two_weight_samples_give_the_mean_of_their_densities() {
        let posterior = posterior(Standardiser::identity(1, 1), 1.0);
        let found = evaluate(&posterior, &[0.0, 0.0, 0.0, 2.0], 2, &table(&[7.0], &[0.0])).unwrap();
        let Evaluation::Gaussian(found) = found else { panic!("a Gaussian likelihood was asked for") };
        let density = |mean: f64| (-0.5 * mean * mean).exp() / (2.0 * std::f64::consts::PI).sqrt();
        assert!((found.log_likelihood - (0.5 * (density(0.0) + density(2.0))).ln()).abs() < 1e-12);
        assert!((found.rmse.unwrap() - 1.0).abs() < 1e-12);
        assert!((found.mean_epistemic_std.unwrap() - 1.0).abs() < 1e-12);
    }
}
