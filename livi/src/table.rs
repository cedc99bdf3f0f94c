//! The table of UCI sets: every split of every set trained and evaluated, beside published figures.
//!
//! Each split is a run folder of its own, `SET/split-K` (without pictures), and leaves its result there; what is complete is not trained
//! again, so a table that was interrupted continues where it stopped.

use crate::atomic::write_atomic;
use crate::config::{Config, ReportedPart};
use crate::data::{self, uci::UciSet, uci_folder};
use crate::device::beside_training;
use crate::evaluate::Evaluation;
use crate::metrics::MeanWithError;
use crate::report::RunResult;
use crate::run_folder::RunFolder;
use crate::train::{self, Saved, Silent, Trainer, require_same_config};
use crate::{Error, Result};
use autograd::Device;
use serde::Serialize;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Name of the table as Markdown.
pub const MARKDOWN_FILE: &str = "table.md";
/// Name of the table as JSON.
pub const JSON_FILE: &str = "table.json";

/// Published test figures of MC dropout (Gal and Ghahramani 2016), one hidden layer, tuned, 100 times the epochs of their first table.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Published {
    /// Name of the set.
    #[serde(skip)]
    pub set: &'static str,
    /// Mean test log-likelihood over the splits, nats a row in natural units.
    pub log_likelihood: f64,
    /// Its standard error.
    pub standard_error: f64,
    /// Mean test RMSE.
    pub rmse: f64,
}

/// Figures recomputed from the per-split result files that accompany Gal and Ghahramani (2016), "Dropout as a Bayesian approximation".
pub const PUBLISHED: [Published; 7] = [
    Published { set: "bostonHousing", log_likelihood: -2.402, standard_error: 0.043, rmse: 2.90 },
    Published { set: "concrete", log_likelihood: -2.937, standard_error: 0.025, rmse: 4.83 },
    Published { set: "energy", log_likelihood: -1.212, standard_error: 0.005, rmse: 0.54 },
    Published { set: "kin8nm", log_likelihood: 1.136, standard_error: 0.007, rmse: 0.079 },
    Published { set: "power-plant", log_likelihood: -2.808, standard_error: 0.009, rmse: 4.01 },
    Published { set: "protein-tertiary-structure", log_likelihood: -2.871, standard_error: 0.002, rmse: 4.27 },
    Published { set: "wine-quality-red", log_likelihood: -0.928, standard_error: 0.013, rmse: 0.62 },
];

/// Whoever watches a table being made; called from several threads.
pub trait TableObserver: Sync {
    /// A set's settings deserve a second thought.
    fn warned(&self, set: &str, warning: &str) {
        let _ = (set, warning);
    }

    /// `done` of `total` runs were complete already.
    fn started(&self, done: usize, total: usize) {
        let _ = (done, total);
    }

    /// A run is complete; `done` of `total` are now.
    fn finished(&self, set: &str, split: usize, evaluation: &Evaluation, done: usize, total: usize) {
        let _ = (set, split, evaluation, done, total);
    }

    /// A run failed; the others go on.
    fn failed(&self, set: &str, split: usize, error: &Error) {
        let _ = (set, split, error);
    }

    /// All runs are complete, or the table was interrupted.
    fn ended(&self) {}
}

/// A set of the table with its configuration; the split is filled in.
#[derive(Clone, Debug)]
pub struct TableSet {
    /// Name of the set, and of its folder.
    pub name: String,
    /// Configuration of its runs.
    pub config: Config,
    /// Number of splits to train.
    pub splits: usize,
    /// Number of splits that the set has; published figures are of all of them.
    pub all_splits: usize,
    /// Training rows of the first split.
    pub rows: usize,
}

impl TableSet {
    /// A set with as many splits as its folder has.
    ///
    /// # Errors
    /// Those of reading the set: every file of it is checked.
    pub fn new(name: String, config: Config) -> Result<Self> {
        let set = UciSet::load(&uci_folder(&config.data)?)?;
        let rows = set.splits.first().map_or(0, |split| split.train.len());
        let splits = set.splits.len();
        Ok(Self { name, splits, all_splits: splits, rows, config })
    }

    /// Relative work of one run; only decides the order.
    fn work(&self) -> u64 {
        let training = &self.config.training;
        let each_step = (training.samples * training.batch_rows(self.rows)) as u64;
        training.total_steps(self.rows).saturating_mul(training.components as u64).saturating_mul(each_step)
    }
}

/// Results of all splits of all sets.
#[derive(Clone, Debug, Serialize)]
pub struct UciTable {
    /// `test`, or `validation` where some set's results are of its validation rows.
    pub part: &'static str,
    /// One row a set.
    pub sets: Vec<SetRow>,
    /// Sets whose log-likelihood is at least the published one.
    pub at_least_as_good: usize,
    /// Sets that there are published figures of.
    pub compared: usize,
    /// Where the published figures come from.
    pub published_source: &'static str,
}

/// Results of all splits of a set, in natural units.
#[derive(Clone, Debug, Serialize)]
pub struct SetRow {
    /// Name of the set.
    pub set: String,
    /// The rows that the results are of.
    pub part: ReportedPart,
    /// Number of splits.
    pub splits: usize,
    /// Test RMSE; `None` for several targets, which have units of their own.
    pub rmse: Option<MeanWithError>,
    /// Test log-likelihood, nats a row.
    pub log_likelihood: MeanWithError,
    /// Mean part of the test targets inside their central 95 % intervals; `None` for several targets.
    pub coverage_95: Option<f64>,
    /// Seconds of training, all splits together.
    pub seconds: f64,
    /// Published figures, where there are any of the same rows: all splits, test rows.
    pub published: Option<Published>,
    /// Whether the mean log-likelihood is at least the published one.
    pub at_least_as_good: Option<bool>,
}

/// One run of the table.
struct Task<'a> {
    set: &'a TableSet,
    split: usize,
    folder: PathBuf,
}

/// Trains and evaluates every split of every set under `out`, `jobs` runs at a time, each on the device (of a processor on as many threads as that
/// says), and writes `table.md` and `table.json`.
///
/// # Errors
/// [`Error::Interrupted`] (with the number of complete runs) after `stop` was set. A run that fails does not keep the others from finishing; the
/// first failure is returned then. [`Error::File`] for a run that was made with another configuration.
pub fn make_table(
    sets: &[TableSet],
    out: &Path,
    jobs: usize,
    device: Device,
    memory_limit: Option<usize>,
    created_by: &str,
    stop: &AtomicBool,
    observer: &dyn TableObserver,
) -> Result<UciTable> {
    let mut tasks = Vec::new();
    for set in sets {
        let folder = |split: usize| out.join(&set.name).join(format!("split-{split}"));
        tasks.extend((0..set.splits).map(|split| Task { set, split, folder: folder(split) }));
    }
    let total = tasks.len();
    let results: Vec<Option<RunResult>> = tasks.iter().map(Task::result).collect::<Result<_>>()?;
    let done = AtomicUsize::new(results.iter().flatten().count());
    for set in sets {
        if let Some(warning) = train::warning(&set.config) {
            observer.warned(&set.name, warning);
        }
    }
    observer.started(done.load(Ordering::SeqCst), total);
    let mut open: Vec<usize> = (0..total).filter(|&at| results[at].is_none()).collect();
    // The longest runs, started last, would leave the other threads idle at the end.
    open.sort_by_key(|&at| std::cmp::Reverse(tasks[at].set.work()));
    let results = Mutex::new(results);
    let failure: Mutex<Option<Error>> = Mutex::new(None);
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, open.len().max(1)) {
            scope.spawn(|| {
                while !stop.load(Ordering::SeqCst) {
                    let Some(&at) = open.get(next.fetch_add(1, Ordering::SeqCst)) else { return };
                    let task = &tasks[at];
                    match task.run(device, memory_limit, created_by, stop) {
                        Ok(result) => {
                            let done = 1 + done.fetch_add(1, Ordering::SeqCst);
                            if let Some(evaluation) = &result.test {
                                observer.finished(&task.set.name, task.split, evaluation, done, total);
                            }
                            if let Ok(mut results) = results.lock() {
                                results[at] = Some(result);
                            }
                        }
                        Err(Error::Interrupted { .. }) => return,
                        Err(error) => {
                            observer.failed(&task.set.name, task.split, &error);
                            if let Ok(mut failure) = failure.lock() {
                                failure.get_or_insert(error);
                            }
                        }
                    }
                }
            });
        }
    });
    observer.ended();
    if let Some(error) = failure.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
        return Err(error);
    }
    let results = results.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let complete: Vec<(&Task<'_>, RunResult)> =
        tasks.iter().zip(results).filter_map(|(task, result)| Some((task, result?))).collect();
    if complete.len() < total {
        return Err(Error::Interrupted { step: complete.len() as u64 });
    }
    let table = UciTable::of(sets, &complete)?;
    write_atomic(out.join(MARKDOWN_FILE), table.markdown())?;
    let text = serde_json::to_string_pretty(&table)
        .map_err(|error| Error::Argument { name: JSON_FILE.into(), problem: error.to_string() })?;
    write_atomic(out.join(JSON_FILE), text + "\n")?;
    Ok(table)
}

impl Task<'_> {
    fn config(&self) -> Config {
        let mut config = self.set.config.clone();
        config.data.split = self.split;
        config
    }

    /// The result of a run that is complete already.
    fn result(&self) -> Result<Option<RunResult>> {
        if !RunFolder::holds_run(&self.folder) {
            return Ok(None);
        }
        let folder = RunFolder::open(&self.folder)?;
        require_same_config(&folder, &self.config())?;
        RunResult::read(&folder)
    }

    fn run(
        &self,
        device: Device,
        memory_limit: Option<usize>,
        created_by: &str,
        stop: &AtomicBool,
    ) -> Result<RunResult> {
        let config = self.config();
        let dataset = data::load(&config.data)?;
        // A run's configuration tells all about it: no chunks that depend on the memory of the day.
        let mut whole = config.clone();
        whole.training.chunk = config.training.chunk_of(config.training.samples);
        let mut trainer = Trainer::on(&whole, &dataset, device, memory_limit)?;
        let folder = RunFolder::resume_or_create(&self.folder, &config.to_toml_string()?, config.seed, created_by)?;
        let ending = train::run(&config, &dataset, &mut trainer, &folder, stop, &mut Silent)?;
        let peak_bytes = trainer.peak_bytes();
        drop(trainer);
        let mut saved = Saved::open(&folder)?;
        saved.posterior.device = beside_training(device);
        let result = RunResult::of(&folder, &saved, &dataset, &ending, peak_bytes)?;
        folder.write_report(&result.report(&folder, &[], &[]))?;
        result.write(&folder)?;
        Ok(result)
    }
}

impl UciTable {
    fn of(sets: &[TableSet], complete: &[(&Task<'_>, RunResult)]) -> Result<Self> {
        let sets: Vec<SetRow> = sets
            .iter()
            .map(|set| {
                let results = complete.iter().filter(|(task, _)| task.set.name == set.name);
                SetRow::of(set, &results.map(|(_, result)| result).collect::<Vec<_>>())
            })
            .collect::<Result<_>>()?;
        let part = match sets.iter().all(|row| row.part == ReportedPart::Test) {
            true => ReportedPart::Test,
            false => ReportedPart::Validation,
        };
        Ok(Self {
            part: part.name(),
            at_least_as_good: sets.iter().filter(|row| row.at_least_as_good == Some(true)).count(),
            compared: sets.iter().filter(|row| row.published.is_some()).count(),
            sets,
            published_source: "MC dropout, Gal and Ghahramani (2016), recomputed from their per-split result files",
        })
    }

    /// The table as Markdown.
    pub fn markdown(&self) -> String {
        let mut text = String::from("# UCI regression sets\n\n");
        let _ = writeln!(
            text,
            "Log-likelihood (nats a row) and RMSE of {} rows in natural units, mean +- standard error over the standard splits. MC dropout \
             (test rows): Gal and Ghahramani (2016), recomputed from their per-split result files.\n",
            self.part
        );
        text.push_str("| set | splits | log-likelihood | MC dropout | at least as good | RMSE | MC dropout | 95 % coverage | seconds |\n");
        text.push_str("|---|---|---|---|---|---|---|---|---|\n");
        for row in &self.sets {
            let published = row.published.map_or(("-".to_string(), "-".to_string()), |found| {
                (format!("{:.3} +- {:.3}", found.log_likelihood, found.standard_error), format!("{}", found.rmse))
            });
            let good = row.at_least_as_good.map_or("-", |good| if good { "yes" } else { "no" });
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {good} | {} | {} | {} | {:.0} |",
                row.set,
                row.splits,
                with_error(row.log_likelihood),
                published.0,
                row.rmse.map_or("-".to_string(), with_error),
                published.1,
                row.coverage_95.map_or("-".to_string(), |coverage| format!("{coverage:.3}")),
                row.seconds
            );
        }
        if self.compared > 0 {
            let (good, all) = (self.at_least_as_good, self.compared);
            let _ = writeln!(text, "\nLog-likelihood at least as good as published on {good} of {all} sets.");
        }
        text
    }
}

impl SetRow {
    fn of(set: &TableSet, results: &[&RunResult]) -> Result<Self> {
        let part = set.config.data.report_on;
        let comparable = part == ReportedPart::Test && set.splits == set.all_splits;
        let set = set.name.as_str();
        let (mut rmse, mut log_likelihood, mut coverage) = (Vec::new(), Vec::new(), Vec::new());
        for result in results {
            let Some(Evaluation::Gaussian(found)) = &result.test else {
                let problem = format!("`{set}` has a run without a regression result on test rows");
                return Err(Error::Argument { name: "table".into(), problem });
            };
            log_likelihood.push(found.log_likelihood);
            rmse.extend(found.rmse);
            coverage.extend(found.intervals.iter().flatten().find(|i| i.probability == 0.95).map(|i| i.coverage));
        }
        // None of several targets.
        let mean = |values: &[f64]| if values.is_empty() { Ok(None) } else { MeanWithError::of(values).map(Some) };
        let published = PUBLISHED.iter().find(|found| found.set == set && comparable).copied();
        let log_likelihood = MeanWithError::of(&log_likelihood)?;
        Ok(Self {
            set: set.into(),
            part,
            splits: results.len(),
            rmse: mean(&rmse)?,
            log_likelihood,
            coverage_95: mean(&coverage)?.map(|coverage| coverage.mean),
            seconds: results.iter().map(|result| result.seconds).sum(),
            published,
            at_least_as_good: published.map(|published| log_likelihood.mean >= published.log_likelihood),
        })
    }
}

/// A mean and its standard error with three decimals, or with as many as the mean needs for three digits.
fn with_error(value: MeanWithError) -> String {
    let size = value.mean.abs();
    let decimals = if size > 0.0 && size < 0.1 { (2.0 - size.log10().floor()).min(12.0) as usize } else { 3 };
    match value.standard_error {
        Some(error) => format!("{:.decimals$} +- {error:.decimals$}", value.mean),
        None => format!("{:.decimals$}", value.mean),
    }
}
