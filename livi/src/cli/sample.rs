//! `livi sample`.

use super::device::DeviceArgs;
use super::output::{emit, require_apart, require_new};
use super::progress::say_unfinished;
use crate::Result;
use crate::run_folder::RunFolder;
use crate::train::Saved;
use clap::Args;
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// Draw weight samples from a trained posterior into a safetensors file that PyTorch users can load.
///
/// One tensor for each layer name (PyTorch's names and layouts) with a leading sample axis. The metadata hold what predictions need besides: as JSON
/// `standardiser` (x_mean, x_std, y_mean, y_std), `noise_std` (one a target, in its units), `input_names` and `output_names`; the number of
/// `components` K (sample i comes from component i modulo K); the `config`; the `seed`. The same seed draws the same weights as
/// `livi predict --seed` on the same device.
///
/// Networks with batch normalisation have two tensors more for each of them, `NAME.running_mean` and `NAME.running_var`: the statistics with which
/// `livi predict` computes each weight sample's outputs, for `BatchNorm2d(channels, affine=False)` in evaluation mode with PyTorch's `eps` of 1e-5.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  livi sample runs/toy-1 --samples 100 --out toy.safetensors")]
pub(super) struct SampleArgs {
    /// Run folder
    run: PathBuf,
    /// Number of weight samples
    #[arg(long)]
    samples: NonZeroUsize,
    /// File to write
    #[arg(long)]
    out: PathBuf,
    /// Seed of the draws [default: the seed of the run]
    #[arg(long)]
    seed: Option<u64>,
    #[command(flatten)]
    pub(super) device: DeviceArgs,
    /// Replace the file where it exists
    #[arg(long)]
    force: bool,
}

pub(super) fn run(args: &SampleArgs) -> Result<()> {
    require_apart(&args.out, None, &args.run)?;
    require_new(&args.out, args.force)?;
    let folder = RunFolder::open(&args.run)?;
    let mut saved = Saved::open(&folder)?;
    say_unfinished(&saved);
    saved.posterior.device = args.device.resolve(saved.config.dtype)?;
    let (count, seed) = (args.samples.get(), args.seed.unwrap_or(saved.config.seed));
    let Saved { config, posterior, input_names, output_names, .. } = &saved;
    let tensors = posterior.export(&args.out, count, seed, config, input_names, output_names)?;
    let tensors: Vec<String> = tensors.iter().map(|(name, shape)| format!("  {name}: {count} x {shape:?}\n")).collect();
    emit(&format!("{}: {count} weight samples\n{}", args.out.display(), tensors.concat()))
}
