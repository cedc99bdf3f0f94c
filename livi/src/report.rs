//! The result of a completed run: as `result.json`, as a table on the terminal, and as `report.md`.

use crate::atomic::write_atomic;
use crate::config::ReportedPart;
use crate::data::Dataset;
use crate::evaluate::{Evaluation, evaluate};
use crate::listing::aligned;
use crate::number::in_units;
use crate::run_folder::{CHECKPOINT_FILE, CONFIG_FILE, METRICS_FILE, RunFolder};
use crate::train::{Ending, Reason, Saved};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use std::fs;

/// Name of the file with a completed run's [`RunResult`].
pub const RESULT_FILE: &str = "result.json";

/// What came out of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    /// Version of the crate.
    pub version: String,
    /// Hash of the configuration, see [`crate::config::Config::config_hash`].
    pub config_hash: String,
    /// Name of the data set.
    pub data: String,
    /// Rows of the training part.
    pub training_rows: usize,
    /// Rows of the validation part.
    pub validation_rows: usize,
    /// Rows of the test part; 0 where the validation rows are reported on.
    pub test_rows: usize,
    /// Weights of the network, m.
    pub weights: usize,
    /// Those of them that the sampler draws; the others are point estimates.
    pub drawn_weights: usize,
    /// Latents, d; 0 where nothing is drawn.
    pub latents: usize,
    /// Components of the posterior: samplers trained one after another, mixed in equal parts.
    pub components: usize,
    /// Parameters learned about them: weights of the sampler, scales and point estimates, all components counted.
    pub sampler_weights: usize,
    /// Seed.
    pub seed: u64,
    /// Steps done.
    pub steps: u64,
    /// Why training ended.
    pub reason: Reason,
    /// Step of the state kept, where it is the best on the validation rows.
    pub best_step: Option<u64>,
    /// Terms of the evidence lower bound at the last step, before its update, in nats: estimates from the rows and weight samples of that step. With
    /// several components those of the last.
    pub elbo: Option<ElboTerms>,
    /// Names of the targets.
    #[serde(default)]
    pub targets: Vec<String>,
    /// Standard deviation of the noise of each target, learned, fitted to validation rows or fixed, in the target's own unit; empty for a softmax
    /// likelihood.
    pub noise_std: Vec<f64>,
    /// The rows that `test` is about: the test rows, or the validation rows where the configuration says so.
    pub reported: ReportedPart,
    /// Measures on these rows, where there are any.
    pub test: Option<Evaluation>,
    /// Wall-clock seconds of training (since it was last resumed).
    pub seconds: f64,
    /// Peak memory of the training program, as announced by its plans.
    pub peak_bytes: usize,
}

/// Terms of the evidence lower bound, in nats with all constants.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ElboTerms {
    /// Their sum.
    pub elbo: f64,
    /// Expected log-likelihood of the training rows.
    pub likelihood: f64,
    /// Expected log-prior.
    pub prior: f64,
    /// Linearised entropy.
    pub entropy: f64,
}

impl RunResult {
    /// Evaluates the posterior of a completed run on the test rows, with as many weight samples as its configuration says and its seed.
    ///
    /// # Errors
    /// Those of prediction, and of reading the folder.
    pub fn of(
        folder: &RunFolder,
        saved: &Saved,
        dataset: &Dataset,
        ending: &Ending,
        peak_bytes: usize,
    ) -> Result<Self> {
        let (config, posterior) = (&saved.config, &saved.posterior);
        let test = match &dataset.test {
            Some(table) => {
                let samples = config.prediction.samples;
                let theta = posterior.draw(samples, config.seed)?;
                Some(evaluate(posterior, &theta, samples, table)?)
            }
            None => None,
        };
        Ok(Self {
            version: env!("CARGO_PKG_VERSION").into(),
            config_hash: config.config_hash()?,
            data: dataset.name.clone(),
            training_rows: dataset.training.rows(),
            validation_rows: dataset.validation.as_ref().map_or(0, |table| table.rows),
            // Validation rows that stand in for the test rows are counted once.
            test_rows: match config.data.report_on {
                ReportedPart::Test => dataset.test.as_ref().map_or(0, |table| table.rows),
                ReportedPart::Validation => 0,
            },
            weights: posterior.model.network.layout().len(),
            drawn_weights: posterior.model.drawn.len(),
            latents: posterior.model.sampler.as_ref().map_or(0, |sampler| sampler.latents()),
            components: posterior.components.len(),
            sampler_weights: posterior.components.iter().map(Vec::len).sum(),
            seed: config.seed,
            steps: ending.steps,
            reason: ending.reason,
            best_step: ending.best_step,
            elbo: last_terms(folder)?,
            targets: saved.output_names.clone(),
            noise_std: posterior.target_noise_std(),
            reported: config.data.report_on,
            test,
            seconds: ending.seconds,
            peak_bytes,
        })
    }

    /// Writes `result.json` into the folder.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be written.
    pub fn write(&self, folder: &RunFolder) -> Result<()> {
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| Error::Argument { name: RESULT_FILE.into(), problem: error.to_string() })?;
        write_atomic(folder.file(RESULT_FILE), text + "\n")
    }

    /// Reads `result.json`, or `None` when the run has none yet.
    ///
    /// # Errors
    /// [`Error::File`] when it is no result, [`Error::Io`] when it cannot be read.
    pub fn read(folder: &RunFolder) -> Result<Option<Self>> {
        let path = folder.file(RESULT_FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(Error::Io { path, action: "read", source }),
        };
        serde_json::from_str(&text).map(Some).map_err(|error| Error::File {
            path,
            place: format!("line {}", error.line()),
            problem: format!("is no result of this version: {error}; remove the file, it is made anew"),
        })
    }

    /// Names and values for the terminal and the report.
    pub fn entries(&self) -> Vec<(String, String)> {
        let mut entries = vec![
            (
                "data".to_string(),
                format!(
                    "{}: {} training, {} validation, {} test rows",
                    self.data, self.training_rows, self.validation_rows, self.test_rows
                ),
            ),
            ("model".into(), self.model_text()),
            ("steps".into(), self.steps_text()),
        ];
        if let Some(terms) = self.elbo {
            let text = format!(
                "{:.2} = likelihood {:.2} + prior {:.2} + entropy {:.2} nats{}",
                terms.elbo,
                terms.likelihood,
                terms.prior,
                terms.entropy,
                if self.components > 1 { ", last component" } else { "" }
            );
            entries.push(("ELBO at the last step".into(), text));
        }
        if self.test.is_none() {
            match &self.noise_std[..] {
                [std] => entries.push(("noise std".into(), in_units(*std))),
                several => {
                    let named = self.targets.iter().zip(several);
                    entries.extend(named.map(|(name, &std)| (format!("noise std of {name}"), in_units(std))));
                }
            }
        }
        if let Some(test) = &self.test {
            let part = self.reported.name();
            let named = |(name, value): (String, String)| {
                (if name.starts_with("noise std") { name } else { format!("{part} {name}") }, value)
            };
            entries.extend(test.entries().into_iter().map(named));
        }
        entries.push(("training memory".into(), format!("{:.2} MB at the peak", self.peak_bytes as f64 / 1e6)));
        entries
    }

    fn model_text(&self) -> String {
        let mut text = format!("m = {} network weights", self.weights);
        if self.drawn_weights == 0 {
            text.push_str(", a point estimate");
        } else {
            if self.drawn_weights < self.weights {
                let _ = write!(text, ", {} of them drawn and the rest a point estimate", self.drawn_weights);
            }
            let _ = write!(text, ", d = {} latents, {} sampler weights", self.latents, self.sampler_weights);
        }
        if self.components > 1 {
            let _ = write!(text, " in {} components", self.components);
        }
        text
    }

    fn steps_text(&self) -> String {
        let mut text = self.steps.to_string();
        if self.reason == Reason::EarlyStopping {
            text.push_str(", stopped early");
        }
        if let Some(step) = self.best_step {
            let _ = write!(text, ", state of step {step} kept");
        }
        if self.seconds > 0.0 {
            let _ = write!(text, " ({:.1} s)", self.seconds);
        }
        text
    }

    /// The result table for the terminal, with the run's folder below.
    pub fn table(&self, folder: &str) -> String {
        let mut entries = self.entries();
        entries.push(("run folder".into(), folder.into()));
        aligned(&entries, 32)
    }

    /// The report as Markdown; `pictures` are file names in the folder `plots`, `notes` go below the table.
    pub fn report(&self, folder: &RunFolder, pictures: &[(String, String)], notes: &[String]) -> String {
        let mut text =
            format!("# {}\n\nMade by `{}`, livi {}.\n\n", self.data, folder.description().created_by, self.version);
        text.push_str("| | |\n|---|---|\n");
        for (name, value) in self.entries() {
            // Names of columns may hold anything.
            let [name, value] = [name, value].map(|cell| cell.replace('|', "\\|").replace('<', "&lt;"));
            let _ = writeln!(text, "| {name} | {value} |");
        }
        text.push('\n');
        for note in notes {
            let _ = writeln!(text, "{note}\n");
        }
        for (file, caption) in pictures {
            let _ = writeln!(text, "![{caption}](plots/{file}.png)\n\n*{caption}*\n");
        }
        let _ = writeln!(
            text,
            "Files: `{CONFIG_FILE}` (the configuration as run), `{METRICS_FILE}` (terms of the evidence lower bound and validation \
             scores over the steps), `{CHECKPOINT_FILE}` (the posterior, and the state to continue from), `{RESULT_FILE}` (the numbers \
             above), `plots/`."
        );
        text
    }
}

/// The terms of the last metrics line that has them.
fn last_terms(folder: &RunFolder) -> Result<Option<ElboTerms>> {
    let records = folder.read_metrics()?;
    Ok(records.into_iter().rev().find_map(|record| serde_json::from_value(record).ok()))
}
