//! Predictions for new inputs: the mixture over weight samples, summarised column by column.

use crate::config::{self, LikelihoodKind};
use crate::forward::require_shape;
use crate::metrics::classification::{mean_probabilities, mutual_information, predictive_entropy, softmax};
use crate::posterior::{Posterior, Predictions};
use crate::{Error, Result};
use std::ops::Range;

/// Network outputs held at once; more rows are predicted in parts.
const MOST_OUTPUTS: usize = 1 << 22;

/// Predicts with given weight samples (samples x m) part by part, so that memory does not grow with the rows of `x` (rows x inputs), and hands
/// every part to `take` with the rows it is about.
///
/// # Errors
/// Those of [`Posterior::predict_with`] and of `take`; [`Error::Numerical`] naming a row whose outputs are not finite.
pub fn predict_in_parts(
    posterior: &Posterior,
    theta: &[f64],
    samples: usize,
    x: &[f64],
    rows: usize,
    mut take: impl FnMut(Range<usize>, Predictions) -> Result<()>,
) -> Result<()> {
    let (inputs, columns) = (posterior.model.network.inputs(), posterior.model.network.outputs());
    require_shape("inputs", x.len(), rows, inputs)?;
    let part = (MOST_OUTPUTS / (samples * columns).max(1)).max(1);
    let mut predictor = posterior.predictor();
    for first in (0..rows).step_by(part) {
        let range = first..rows.min(first + part);
        let x = &x[range.start * inputs..range.end * inputs];
        let predictions = predictor.predict(theta, samples, x, range.len())?;
        if let Some(place) = predictions.outputs.iter().position(|output| !output.is_finite()) {
            let row = place / predictions.columns % range.len();
            let most = x[row * inputs..(row + 1) * inputs].iter().fold(0.0_f64, |most, x| most.max(x.abs()));
            let problem = format!(
                "row {} (from 0) has an output that is not finite; its inputs are of sizes up to {most:e}",
                range.start + row
            );
            return Err(Error::Numerical { method: "prediction", problem });
        }
        take(range.clone(), predictions)?;
    }
    Ok(())
}

/// Named columns of predictions, one number a row of `x` (rows x inputs, original units).
///
/// For a Gaussian likelihood and every target `t`, in the target's unit: `t_mean`, `t_epistemic_std` (of the mean over weight samples),
/// `t_aleatoric_std` (of the noise), `t_total_std`, and `t_q0.025` and so on for every quantile asked for. For a softmax likelihood:
/// `t_class` (the most probable), `t_probability_0`, ..., `t_entropy` and `t_mutual_information` in nats.
///
/// # Errors
/// Quantiles that do not rise strictly between 0 and 1; names that are not one for each target (one in all for a softmax likelihood); as many
/// numbers as the shapes do not have; outputs that are not finite; those of planning
/// and running.
pub fn prediction_columns(
    posterior: &Posterior,
    target_names: &[String],
    theta: &[f64],
    samples: usize,
    x: &[f64],
    rows: usize,
    quantiles: &[f64],
) -> Result<Vec<(String, Vec<f64>)>> {
    config::quantiles(quantiles).map_err(|problem| Error::Argument { name: "quantiles".into(), problem })?;
    let gaussian = posterior.model.likelihood == LikelihoodKind::Gaussian;
    let (named, targets) = (target_names.len(), if gaussian { posterior.model.network.outputs() } else { 1 });
    if named != targets {
        let problem = format!("{named} names, expected {targets}, one for each target");
        return Err(Error::Argument { name: "target names".into(), problem });
    }
    let mut columns: Vec<(String, Vec<f64>)> = Vec::new();
    predict_in_parts(posterior, theta, samples, x, rows, |_, predictions| {
        let part = if gaussian {
            regression_columns(target_names, predictions, quantiles)?
        } else {
            class_columns(target_names, predictions)?
        };
        if columns.is_empty() {
            columns = part;
        } else {
            columns.iter_mut().zip(part).for_each(|(column, (_, values))| column.1.extend(values));
        }
        Ok(())
    })?;
    Ok(columns)
}

fn regression_columns(names: &[String], predictions: Predictions, levels: &[f64]) -> Result<Vec<(String, Vec<f64>)>> {
    let rows = predictions.rows;
    let mixture = predictions.mixture()?;
    let (mean, epistemic, total) = (mixture.mean(), mixture.epistemic_std(), mixture.total_std());
    let quantiles = mixture.quantiles(levels)?;
    let mut columns = Vec::new();
    for (target, name) in names.iter().enumerate() {
        let of = |values: &[f64]| values.iter().skip(target).step_by(names.len()).copied().collect::<Vec<f64>>();
        columns.push((format!("{name}_mean"), of(&mean)));
        columns.push((format!("{name}_epistemic_std"), of(&epistemic)));
        columns.push((format!("{name}_aleatoric_std"), vec![mixture.aleatoric_std()[target]; rows]));
        columns.push((format!("{name}_total_std"), of(&total)));
        for (at, level) in levels.iter().enumerate() {
            let stride = names.len() * levels.len();
            let values = quantiles.iter().skip(target * levels.len() + at).step_by(stride).copied();
            columns.push((format!("{name}_q{level}"), values.collect()));
        }
    }
    Ok(columns)
}

fn class_columns(names: &[String], predictions: Predictions) -> Result<Vec<(String, Vec<f64>)>> {
    let (samples, classes) = (predictions.samples, predictions.columns);
    let name = &names[0];
    let each = softmax(predictions.outputs, predictions.columns);
    let mean = mean_probabilities(&each, samples, classes)?;
    let most_probable = mean.chunks_exact(classes).map(|row| {
        let best = row
            .iter()
            .enumerate()
            .fold((0, f64::NEG_INFINITY), |best, (class, &p)| if p > best.1 { (class, p) } else { best });
        best.0 as f64
    });
    let mut columns = vec![(format!("{name}_class"), most_probable.collect())];
    for class in 0..classes {
        let values = mean.iter().skip(class).step_by(classes).copied().collect();
        columns.push((format!("{name}_probability_{class}"), values));
    }
    columns.push((format!("{name}_entropy"), predictive_entropy(&mean, classes)?));
    columns.push((format!("{name}_mutual_information"), mutual_information(&each, samples, classes)?));
    Ok(columns)
}
