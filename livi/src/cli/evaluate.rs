//! `livi evaluate`.

use super::output::{emit, emit_json};
use crate::Result;
use crate::data::{self, Table, csv_table};
use crate::evaluate::evaluate;
use crate::run_folder::RunFolder;
use crate::train::Saved;
use crate::{Error, evaluate::Evaluation};
use clap::Args;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

/// Measure a trained posterior's predictions on the run's test rows, or on a CSV file with the same columns.
///
/// Error, log-likelihood of the mixture over weight samples and coverage of central intervals, all in the targets' original units; for classes
/// negative log-likelihood, accuracy, Brier score and calibration error.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  livi evaluate runs/uci-concrete-1\n  livi evaluate runs/houses-1 --input later.csv --samples 1000 --json"
)]
pub(super) struct EvaluateArgs {
    /// Run folder
    run: PathBuf,
    /// CSV file with the run's input and target columns, instead of the test rows
    #[arg(long)]
    input: Option<PathBuf>,
    /// Weight samples in the mixture [default: the run's prediction.samples]
    #[arg(long)]
    samples: Option<NonZeroUsize>,
    /// Seed of the weight samples [default: the seed of the run]
    #[arg(long)]
    seed: Option<u64>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &EvaluateArgs) -> Result<()> {
    let folder = RunFolder::open(&args.run)?;
    let saved = Saved::open(&folder)?;
    let (name, table) = match &args.input {
        Some(path) => (path.display().to_string(), read(path, &saved)?),
        None => {
            let dataset = data::load(&saved.config.data)?;
            let table = dataset.test.ok_or_else(|| Error::Argument {
                name: "--input".into(),
                problem: format!("`{}` has no test rows; name a CSV file with known targets", dataset.name),
            })?;
            (dataset.name, table)
        }
    };
    let samples = args.samples.map_or(saved.config.prediction.samples, NonZeroUsize::get);
    let theta = saved.posterior.draw(samples, args.seed.unwrap_or(saved.config.seed))?;
    let found = evaluate(&saved.posterior, &theta, samples, &table)?;
    show(&name, &found, args.json)
}

fn show(name: &str, found: &Evaluation, json: bool) -> Result<()> {
    if json {
        return emit_json(found);
    }
    let (rows, samples) = found.rows_and_samples();
    emit(&format!("{name}: {rows} rows, {samples} weight samples\n{found}\n"))
}

/// The columns of the run, by name, in the run's order.
fn read(path: &Path, saved: &Saved) -> Result<Table> {
    let (x, rows) = csv_table::read_inputs(path, &saved.input_names)?;
    let (y, _) = csv_table::read_inputs(path, &saved.output_names)?;
    Table::new(x, y, rows, saved.input_names.clone(), saved.output_names.clone())
}
