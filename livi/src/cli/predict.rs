//! `livi predict`.

use super::device::DeviceArgs;
use super::images::{are_images, read_images};
use super::output::{emit_json, require_apart, require_new};
use super::progress::{say, say_unfinished};
use crate::config::LikelihoodKind;
use crate::data::csv_table::{read_inputs, write_columns};
use crate::predict::prediction_columns;
use crate::run_folder::RunFolder;
use crate::train::Saved;
use crate::{Error, Result};
use clap::Args;
use serde_json::{Map, Value};
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// Predict the targets of new inputs.
///
/// Reads the run's input columns by name from a CSV file (other columns are ignored) and writes, for every target, its mean, its epistemic,
/// aleatoric and total standard deviation and its quantiles, in original units; for classes the most probable one, all probabilities, entropy and
/// mutual information.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  livi predict runs/houses-1 --input new.csv --output predictions.csv\n  livi predict runs/houses-1 --input new.csv --json --samples 1000 --quantiles 0.05,0.5,0.95\n  livi predict runs/mnist-lenet-1 --input data/mnist --output digits.csv"
)]
pub(super) struct PredictArgs {
    /// Run folder
    run: PathBuf,
    /// CSV file with the input columns; for images a folder, of which the test images are taken, or a safetensors file with `x`
    #[arg(long)]
    input: PathBuf,
    /// CSV file to write; with --json it may be left out
    #[arg(long)]
    output: Option<PathBuf>,
    /// Weight samples in the mixture [default: the run's prediction.samples]
    #[arg(long)]
    samples: Option<NonZeroUsize>,
    /// Quantiles to report, separated by commas [default: the run's prediction.quantiles]
    #[arg(long, value_delimiter = ',')]
    quantiles: Vec<f64>,
    /// Seed of the weight samples [default: the seed of the run]; `livi sample` draws the same weights from the same seed
    #[arg(long)]
    seed: Option<u64>,
    #[command(flatten)]
    pub(super) device: DeviceArgs,
    /// Print the predictions as one JSON object of columns
    #[arg(long)]
    json: bool,
    /// Replace the output file where it exists
    #[arg(long)]
    force: bool,
}

pub(super) fn run(args: &PredictArgs) -> Result<()> {
    match &args.output {
        Some(output) => {
            require_apart(output, Some(&args.input), &args.run)?;
            require_new(output, args.force)?;
        }
        None if args.json => {}
        None => {
            let problem = "is missing, expected a CSV file to write (or --json for standard output)".into();
            return Err(Error::Argument { name: "--output".into(), problem });
        }
    }
    let mut saved = Saved::open(&RunFolder::open(&args.run)?)?;
    say_unfinished(&saved);
    saved.posterior.device = args.device.resolve(saved.config.dtype)?;
    let (x, rows) = if are_images(&args.input) {
        let images = read_images(&args.input, &saved, "--input")?;
        (images.table()?.x, images.count)
    } else {
        read_inputs(&args.input, &saved.input_names)?
    };
    if !args.quantiles.is_empty() && saved.posterior.model.likelihood == LikelihoodKind::Softmax {
        let problem = "is for numbers; this run's targets are classes".into();
        return Err(Error::Argument { name: "--quantiles".into(), problem });
    }
    let samples = args.samples.map_or(saved.config.prediction.samples, NonZeroUsize::get);
    let quantiles = if args.quantiles.is_empty() { &saved.config.prediction.quantiles } else { &args.quantiles };
    let theta = saved.posterior.draw(samples, args.seed.unwrap_or(saved.config.seed))?;
    let columns = prediction_columns(&saved.posterior, &saved.output_names, &theta, samples, &x, rows, quantiles)?;
    if let Some(output) = &args.output {
        write_columns(output, &columns)?;
    }
    if args.json {
        let object: Map<String, Value> = columns.into_iter().map(|(name, values)| (name, values.into())).collect();
        return emit_json(&object);
    }
    let output = args.output.as_deref().map(|path| path.display().to_string()).unwrap_or_default();
    // Standard output may be where the predictions went.
    say(&format!("{output}: {rows} rows, {} columns, {samples} weight samples", columns.len()));
    Ok(())
}
