//! `livi evaluate`.

use super::device::DeviceArgs;
use super::images::read_images;
use super::output::{emit, emit_json, json_text};
use super::progress::say_unfinished;
use crate::atomic::write_atomic;
use crate::config::{LikelihoodKind, Source};
use crate::data::{self, Dataset, Table, csv_table};
use crate::evaluate::{Classified, Evaluation, evaluate, labels, page};
use crate::html_report::render;
use crate::plot::{EntropyCurves, EntropySet, plot_entropy_curves, plot_reliability};
use crate::run_folder::RunFolder;
use crate::train::Saved;
use crate::{Error, Result};
use clap::Args;
use serde::Serialize;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

/// Measure a trained posterior's predictions on the run's test rows, or on a CSV file with the same columns.
///
/// Error, log-likelihood of the mixture over weight samples and coverage of central intervals, all in the targets' original units; for classes
/// negative log-likelihood, accuracy, Brier score, calibration errors, and how well images of other sets are told from the run's own.
/// What is printed goes to `evaluation.json` in the run folder as well, and to the page `evaluation.html`, for classes with plots; for the rows of a
/// CSV file the files are named `evaluation-NAME` after it.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  livi evaluate runs/uci-concrete-1\n  livi evaluate runs/houses-1 --input later.csv --samples 1000 --json\n  \
                  livi evaluate runs/mnist-lenet-1 --ood data/fashion-mnist data/kmnist --temperature"
)]
pub(super) struct EvaluateArgs {
    /// Run folder
    run: PathBuf,
    /// CSV file with the run's input and target columns, instead of the test rows
    #[arg(long)]
    input: Option<PathBuf>,
    /// Image sets out of the distribution: folders, of which the test images are taken, or safetensors files; images of the run's own shape
    #[arg(long, num_args = 1..)]
    ood: Vec<PathBuf>,
    /// Fit one temperature to the run's validation rows and report what it changes
    #[arg(long)]
    temperature: bool,
    /// Weight samples in the mixture [default: the run's prediction.samples]
    #[arg(long)]
    samples: Option<NonZeroUsize>,
    /// Seed of the weight samples [default: the seed of the run]
    #[arg(long)]
    seed: Option<u64>,
    #[command(flatten)]
    pub(super) device: DeviceArgs,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &EvaluateArgs) -> Result<()> {
    let folder = RunFolder::open(&args.run)?;
    let mut saved = Saved::open(&folder)?;
    say_unfinished(&saved);
    saved.posterior.device = args.device.resolve(saved.config.dtype)?;
    require_classes(args, &saved)?;
    let dataset = match &args.input {
        Some(_) => None,
        None => {
            let dataset = data::load(&saved.config.data)?;
            saved.require_data(&dataset)?;
            Some(dataset)
        }
    };
    let (name, table) = match (&args.input, &dataset) {
        (Some(path), _) => (path.display().to_string(), read(path, &saved)?),
        (None, Some(Dataset { name, test: Some(test), .. })) => {
            (format!("{name}, {} rows", saved.config.data.report_on), test.clone())
        }
        (None, dataset) => {
            let name = dataset.as_ref().map_or("", |dataset| &dataset.name);
            let problem = format!("`{name}` has no test rows; name a CSV file with known targets");
            return Err(Error::Argument { name: "--input".into(), problem });
        }
    };
    let samples = args.samples.map_or(saved.config.prediction.samples, NonZeroUsize::get);
    let theta = saved.posterior.draw(samples, args.seed.unwrap_or(saved.config.seed))?;
    let mut plots = Vec::new();
    let found = match saved.posterior.model.likelihood {
        LikelihoodKind::Gaussian => evaluate(&saved.posterior, &theta, samples, &table)?,
        LikelihoodKind::Softmax => {
            let task = Task { args, saved: &saved, theta: &theta, samples, folder: &folder };
            task.classes(&name, &table, dataset.as_ref(), &mut plots)?
        }
    };
    let told = Told { data: &name, measures: &found };
    // Measures that cannot be kept are told all the same.
    match args.json {
        true => emit_json(&told)?,
        false => {
            let (rows, samples) = found.rows_and_samples();
            emit(&format!("{name}: {rows} rows, {samples} weight samples\n{found}\n"))?;
        }
    }
    let stem = match args.input.as_deref().and_then(Path::file_stem) {
        Some(input) => format!("evaluation-{}", input.to_string_lossy()),
        None => "evaluation".into(),
    };
    let report = folder.file(&format!("{stem}.html"));
    write_atomic(folder.file(&format!("{stem}.json")), json_text(&told)?)?;
    write_atomic(&report, render(&page(&name, &found, &plots)?))?;
    if args.json { Ok(()) } else { emit(&format!("report: {}\n", report.display())) }
}

/// What programs read.
#[derive(Serialize)]
struct Told<'a> {
    /// What was measured on: a CSV file, or the data's name and the part.
    data: &'a str,
    #[serde(flatten)]
    measures: &'a Evaluation,
}

/// Refuses what goes with images and classes only.
fn require_classes(args: &EvaluateArgs, saved: &Saved) -> Result<()> {
    let wrong = |name: &str, problem: &str| Err(Error::Argument { name: name.into(), problem: problem.into() });
    let softmax = saved.posterior.model.likelihood == LikelihoodKind::Softmax;
    if !args.ood.is_empty() && (saved.config.data.source != Source::Images || !softmax) {
        return wrong("--ood", "is for runs on images; this run's data are a table");
    }
    if args.temperature && !softmax {
        return wrong("--temperature", "is for a softmax likelihood; this run's is gaussian");
    }
    if args.temperature && saved.config.data.validation_fraction == 0.0 {
        return wrong(
            "--temperature",
            "needs validation rows to fit it to, but the run held out none; train with data.validation_fraction",
        );
    }
    Ok(())
}

/// A classification to be measured.
struct Task<'a> {
    args: &'a EvaluateArgs,
    saved: &'a Saved,
    theta: &'a [f64],
    samples: usize,
    folder: &'a RunFolder,
}

impl Task<'_> {
    fn classify(&self, x: &[f64], rows: usize) -> Result<Classified> {
        Classified::new(&self.saved.posterior, self.theta, self.samples, x, rows)
    }

    fn classes(
        &self,
        name: &str,
        table: &Table,
        dataset: Option<&Dataset>,
        plots: &mut Vec<(PathBuf, String)>,
    ) -> Result<Evaluation> {
        let classes = labels(table)?;
        let own = self.classify(&table.x, table.rows)?;
        let mut found = own.evaluate(&classes)?;
        if self.args.temperature
            && let Some(validation) = dataset.and_then(|dataset| dataset.validation.as_ref())
        {
            let other = self.classify(&validation.x, validation.rows)?;
            found.temperature = Some(own.at_temperature_of(&classes, &other, &labels(validation)?)?);
        }
        let stem = |name: &str| self.folder.plots_folder().join(name);
        plot_reliability(stem("reliability"), name, &own.calibration(&classes)?)?;
        plots.push((stem("reliability.svg"), "Accuracy against confidence, and how many predictions there are".into()));
        let entropies = |label: &str, found: &Classified| EntropySet {
            label: label.into(),
            // Rounding may leave a sure row just below 0.
            entropies: found.uncertainty.predictive_entropy.iter().map(|entropy| entropy.max(0.0)).collect(),
        };
        let mut sets = vec![entropies(name, &own)];
        for path in &self.args.ood {
            let images = read_images(path, self.saved, "--ood")?;
            let label = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
            let other = self.classify(&images.table()?.x, images.count)?;
            found.out_of_distribution.push(own.detect(&label, &other)?);
            sets.push(entropies(&label, &other));
        }
        let title = "Predictive entropy".into();
        plot_entropy_curves(stem("entropy"), &EntropyCurves { title, classes: own.classes, sets })?;
        plots.push((stem("entropy.svg"), "Distribution of the predictive entropy, in nats".into()));
        Ok(Evaluation::Softmax(found))
    }
}

/// The columns of the run, by name, in the run's order.
fn read(path: &Path, saved: &Saved) -> Result<Table> {
    let (x, rows) = csv_table::read_inputs(path, &saved.input_names)?;
    let (y, _) = csv_table::read_columns(path, &saved.output_names, "target")?;
    Table::new(x, y, rows, saved.input_names.clone(), saved.output_names.clone())
}
