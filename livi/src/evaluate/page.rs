//! An evaluation as a page with its plots.

use super::{ClassEvaluation, Evaluation, TargetEvaluation};
use crate::Result;
use crate::html_report::{Block, Page, Plot, Row, Table};
use std::path::{Path, PathBuf};

/// The page of an evaluation on the rows called `name`: all measures with their meaning, then the plots, each an SVG file with its caption.
///
/// # Errors
/// A plot that cannot be read.
pub fn page(name: &str, found: &Evaluation, plots: &[(PathBuf, String)]) -> Result<Page> {
    let (rows, samples) = found.rows_and_samples();
    let mut blocks = vec![
        Block::Text(format!("{rows} rows, a mixture of {samples} weight samples.")),
        Block::Table(Table { caption: "Predictions".into(), rows: measures(found) }),
    ];
    match found {
        Evaluation::Gaussian(found) if found.targets.len() > 1 => {
            let table = |target: &TargetEvaluation| Table { caption: target.name.clone(), rows: of_target(target) };
            blocks.extend(found.targets.iter().map(|target| Block::Table(table(target))));
        }
        Evaluation::Gaussian(_) => {}
        Evaluation::Softmax(found) => blocks.extend(foreign(found)),
    }
    for (path, caption) in plots {
        blocks.push(Block::Plot(Plot::new(caption, &read(path)?)?));
    }
    Ok(Page { title: format!("Evaluation on {name}"), blocks })
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|source| crate::Error::Io { path: path.into(), action: "read", source })
}

fn row(name: &str, value: f64, unit: &str, meaning: &str) -> Row {
    Row::new(name, format!("{value:.5}"), unit, meaning)
}

/// What a target has by itself.
fn of_target(found: &TargetEvaluation) -> Vec<Row> {
    let unit = "target's unit";
    let mut rows = vec![
        row("RMSE", found.rmse, unit, "Root mean squared error of the predictive mean."),
        row("epistemic std", found.mean_epistemic_std, unit, "Mean spread of the weight samples' predictions."),
        row("noise std", found.noise_std, unit, "Standard deviation of the noise."),
    ];
    rows.extend(found.intervals.iter().map(|interval| {
        let name = format!("coverage of {} % intervals", 100.0 * interval.probability);
        let meaning = format!("Part of the targets inside; mean width {:.5}.", interval.width);
        Row::new(name, format!("{:.1}", 100.0 * interval.coverage), "%", meaning)
    }));
    rows
}

fn measures(found: &Evaluation) -> Vec<Row> {
    match found {
        Evaluation::Gaussian(found) => {
            let joint = |meaning: &str| row("log-likelihood", found.log_likelihood, "nats", meaning);
            match &found.targets[..] {
                [only] => {
                    let mut rows = of_target(only);
                    rows.insert(1, joint("Mean log-density of the targets under the mixture."));
                    rows
                }
                _ => vec![joint("Mean joint log-density of a row's targets under the mixture.")],
            }
        }
        Evaluation::Softmax(found) => {
            let mut rows = vec![
                row("error", 100.0 * (1.0 - found.accuracy), "%", "Rows whose most probable class is wrong."),
                row("negative log-likelihood", found.negative_log_likelihood, "nats", "Mean of -log p(true class)."),
                row(
                    "Brier score",
                    found.brier,
                    "",
                    "Mean squared distance to the true class's indicator vector, from 0 to 2.",
                ),
                row("ECE, 15 bins", found.expected_calibration_error, "", "Mean gap between confidence and accuracy."),
                row("ECE, 100 bins", found.expected_calibration_error_100, "", "The same over finer bins."),
                row("MCE", found.maximum_calibration_error, "", "Largest gap of a bin."),
                row(
                    "adaptive ECE",
                    found.adaptive_calibration_error,
                    "",
                    "The gap over ranges of equally many predictions, all classes.",
                ),
                row("static ECE", found.static_calibration_error, "", "The gap over equal-width bins, all classes."),
                row("predictive entropy", found.mean_predictive_entropy, "nats", "Mean total uncertainty."),
                row(
                    "mutual information",
                    found.mean_mutual_information,
                    "nats",
                    "Mean disagreement of the weight samples (epistemic).",
                ),
            ];
            if let Some(scaled) = &found.temperature {
                let after =
                    format!("fitted on validation rows: temperature {:.4}{}", scaled.temperature, scaled.remark());
                rows.push(row("NLL at temperature", scaled.negative_log_likelihood, "nats", &after));
                rows.push(row("ECE at temperature", scaled.expected_calibration_error, "", "15 bins."));
            }
            rows
        }
    }
}

fn foreign(found: &ClassEvaluation) -> Vec<Block> {
    let mut blocks = Vec::new();
    for set in &found.out_of_distribution {
        let (entropy, most) = (set.detection.predictive_entropy, set.detection.max_probability);
        let row = |name: &str, value: f64, meaning: &str| Row::new(name, format!("{value:.5}"), "", meaning);
        let rows = vec![
            row(
                "AUROC by predictive entropy",
                entropy.auroc,
                "Chance that a row of the set is less certain than a test row.",
            ),
            row("AUROC by largest probability", most.auroc, "The same by the largest class probability."),
            row(
                "FPR at 95 % TPR by entropy",
                entropy.false_positive_rate_at_95,
                "Rows of the set that pass where 95 % of the test rows do.",
            ),
            row(
                "FPR at 95 % TPR by probability",
                most.false_positive_rate_at_95,
                "The same by the largest class probability.",
            ),
            Row::new("predictive entropy", format!("{:.5}", set.mean_predictive_entropy), "nats", "Mean over the set."),
        ];
        blocks.push(Block::Table(Table { caption: format!("Against {} ({} rows)", set.name, set.rows), rows }));
    }
    blocks
}
