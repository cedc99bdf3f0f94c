//! `livi train`.

use super::changes::{self, Changes, Named, configuration};
use super::device::DeviceArgs;
use super::interrupt::stop_flag;
use super::memory::parse_bytes;
use super::profile;
use super::progress::{RunProgress, say};
use super::progress_line::Batch;
use super::results::conclude;
use super::table;
use crate::config::Config;
use crate::data::{self, Dataset};
use crate::run_folder::RunFolder;
use crate::train::{self, Trainer, require_same_config, stored_config};
use crate::{Error, Result};
use clap::Args;
use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

/// Where run folders go without --out.
pub(super) const RUNS: &str = "runs";

/// Train a posterior, evaluate it, and leave everything in a run folder.
///
/// The folder holds the configuration, the terms of the evidence lower bound over the steps, the checkpoint, pictures and a report. Nothing is
/// ever overwritten: without --out a fresh numbered folder is made under `runs`. Ctrl-C finishes the step and saves; --resume continues bit for bit,
/// also after `kill -9`. The source `uci` trains all seven UCI sets over all their splits and prints a table.
///
/// With --profile nothing is kept: a few steps are done in memory, and a table tells what each part of a step costs: its time, floating-point
/// operations, bytes moved, and how near that is to what a product of large matrices reaches on the same threads or card.
///
/// With --device cuda the steps and all that follows them are computed on an NVIDIA card. The device is no part of the configuration: a run may be
/// resumed on another one, and then goes on with other roundings.
///
/// Four settings worth knowing, each as --set KEY=VALUE: training.components=K trains K samplers one after another, whose mixture in equal parts is
/// the posterior; sampler.learned_scales=true gives every weight a spread of its own; likelihood.noise_from_validation=true, with
/// data.validation_fraction, takes the noise that fits validation rows in place of the one learned; data.report_on=validation, with --splits N,
/// tells results on validation rows, for choosing settings without a look at test rows (the evidence lower bound does not rank settings).
#[derive(Debug, Default, Args)]
#[command(
    after_help = "Examples:\n  livi train toy\n  livi train uci-concrete --set data.split=3 --out runs/concrete-3\n  livi train houses.toml --set training.steps=20000 --seed 1\n  livi train --resume --out runs/concrete-3\n  livi train houses.toml --set training.components=8\n  livi train mnist-lenet --set data.path=data/mnist --device cuda\n  livi train mnist-lenet --set data.path=data/mnist --profile\n  livi train uci-energy --all-splits --splits 3 --set data.report_on=validation --set data.validation_fraction=0.1\n  LIVI_DATA_DIR=data livi train uci --out runs/uci --resume\n\nA configuration for one's own CSV file (houses.toml):\n  [data]\n  source = \"csv\"\n  path = \"houses.csv\"\n  target = [\"price\"]"
)]
pub(super) struct TrainArgs {
    /// Preset, configuration file, run folder (with --resume), or `uci` for the table of all UCI sets [default: toy]
    source: Option<String>,
    /// Run folder to make (or to resume) [default: runs/NAME-N with the next free number N]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Continue the run in --out, or the latest of that name under `runs`; begin it where there is none yet
    #[arg(long)]
    resume: bool,
    #[command(flatten)]
    changes: Changes,
    #[command(flatten)]
    pub(super) device: DeviceArgs,
    /// Memory that the plans may take, for instance 4G: weight samples go through the network in chunks that fit; refused where one at a time does not
    /// [default: as much as it takes, on a card seven eighths of what is free]
    #[arg(long, value_parser = parse_bytes, value_name = "SIZE")]
    memory: Option<usize>,
    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
    /// Train every split of the UCI set and print a table
    #[arg(long)]
    all_splits: bool,
    /// Train only the first so many splits of each set of a table
    #[arg(long)]
    splits: Option<NonZeroUsize>,
    /// Runs at a time in a table, each on one thread [default: as many as --threads, or as there are cores]
    #[arg(long)]
    jobs: Option<NonZeroUsize>,
    /// Do a few steps in memory, print what each part of a step costs, and make no run folder
    #[arg(long)]
    profile: bool,
}

pub(super) fn run(args: &TrainArgs) -> Result<()> {
    if args.profile {
        return profiled(args);
    }
    if args.all_splits || args.source.as_deref() == Some(table::ALL_SETS) {
        let request = table::Request {
            source: args.source.as_deref().unwrap_or(table::ALL_SETS),
            out: args.out.as_deref(),
            resume: args.resume,
            changes: &args.changes,
            device: &args.device,
            memory: args.memory,
            jobs: args.jobs,
            splits: args.splits,
            json: args.json,
        };
        return table::run(&request);
    }
    for (flag, given) in [("--splits", args.splits), ("--jobs", args.jobs)] {
        if given.is_some() {
            let problem =
                "is for tables: give --all-splits with it, or train `uci`; a single split is --set data.split=K";
            return Err(Error::Argument { name: flag.into(), problem: problem.into() });
        }
    }
    let (named, existing) = chosen(args)?;
    let Named { name, mut config } = named;
    let device = args.device.resolve(config.dtype)?;
    if let Some(path) = &existing {
        let folder = RunFolder::open(path)?;
        if config.training.chunk == 0 {
            // What --memory allowed when the run began.
            config.training.chunk = stored_config(&folder)?.training.chunk;
        }
        require_same_config(&folder, &config)?;
    } else if let Some(path) = &args.out {
        // Before data are read and plans are made, which may take a while.
        RunFolder::require_free(path)?;
    }
    let dataset = data::load(&config.data)?;
    let mut trainer = Trainer::on(&config, &dataset, device, args.memory)?;
    config.clone_from(trainer.config());
    let stop = stop_flag()?;
    let folder = match (existing, &args.out) {
        (Some(path), _) => RunFolder::resume(path)?,
        (None, out) => {
            let path = match out {
                Some(path) => path.clone(),
                None => fresh_folder(Path::new(RUNS), &name)?,
            };
            RunFolder::create(path, &config.to_toml_string()?, config.seed, &command_line())?
        }
    };
    let mut progress = RunProgress::new(batch(&config, &dataset));
    let ending = train::run(&config, &dataset, &mut trainer, &folder, &stop, &mut progress);
    let ending = ending.inspect_err(|error| {
        if matches!(error, Error::Interrupted { .. }) {
            say(&format!("stopped; continue with: livi train --resume --out {}", folder.path().display()));
        }
    })?;
    // All that is left can be done again by --resume: whoever asks it to stop now need not wait.
    stop.store(true, Ordering::SeqCst);
    let peak_bytes = trainer.peak_bytes();
    drop(trainer);
    conclude(&folder, &dataset, &ending, peak_bytes, device, args.json)
}

/// `--profile`, which goes with what describes one training alone.
fn profiled(args: &TrainArgs) -> Result<()> {
    let source = args.source.as_deref().unwrap_or("toy");
    let others = [
        ("--out", args.out.is_some()),
        ("--resume", args.resume),
        ("--all-splits", args.all_splits),
        ("--splits", args.splits.is_some()),
        ("--jobs", args.jobs.is_some()),
        (table::ALL_SETS, source == table::ALL_SETS),
    ];
    if let Some((name, _)) = others.into_iter().find(|(_, given)| *given) {
        let problem = format!(
            "does not go with {name}: it does a few steps of one training in memory and makes no run folder; expected a preset, a configuration \
             file or a run folder, with --set, --seed, --dtype, --device, --threads, --memory and --json"
        );
        return Err(Error::Argument { name: "--profile".into(), problem });
    }
    let named = configuration(source, &args.changes)?;
    let device = args.device.resolve(named.config.dtype)?;
    profile::run(&named, device, args.memory, args.json)
}

/// What a step takes, where that is less than all training rows.
fn batch(config: &Config, dataset: &Dataset) -> Option<Batch> {
    let all = dataset.training.rows();
    let unit = if dataset.training.table().is_none() { "images" } else { "rows" };
    Some(Batch { rows: config.training.batch_rows(all), unit }).filter(|batch| batch.rows < all)
}

/// The configuration, and the folder of the run to resume.
fn chosen(args: &TrainArgs) -> Result<(Named, Option<PathBuf>)> {
    let source = args.source.as_deref();
    if !args.resume {
        if let Some(path) = source.and_then(changes::folder).filter(|path| RunFolder::holds_run(path)) {
            let problem = format!(
                "{} is a run folder; continue it with --resume, or name a preset or a configuration file",
                path.display()
            );
            return Err(Error::Argument { name: "configuration".into(), problem });
        }
        return Ok((configuration(source.unwrap_or("toy"), &args.changes)?, None));
    }
    let named = source.and_then(changes::folder);
    let folder = match (&args.out, named) {
        (Some(out), Some(named)) if fs::canonicalize(out).ok() != fs::canonicalize(named).ok() => {
            let problem = format!("names another folder than {}; give one of the two", named.display());
            return Err(Error::Argument { name: format!("--out {}", out.display()), problem });
        }
        (Some(out), _) => Some(out.clone()).filter(|out| out.exists()),
        (None, Some(named)) => Some(named.into()),
        (None, None) => {
            let name = match source {
                Some(source) => configuration(source, &args.changes)?.name,
                None => "toy".into(),
            };
            latest_folder(Path::new(RUNS), &name)?
        }
    };
    // A creation that was killed before its end holds no run and is begun anew.
    let begun = folder.filter(|path| RunFolder::holds_run(path) || RunFolder::require_free(path).is_err());
    let Some(path) = begun else {
        let Some(source) = source.filter(|_| named.is_none()) else {
            let problem = "there is no run to resume; name the preset or configuration file to begin one with".into();
            return Err(Error::Argument { name: "--resume".into(), problem });
        };
        return Ok((configuration(source, &args.changes)?, None));
    };
    let named = match source {
        Some(source) if named.is_none() => configuration(source, &args.changes)?,
        _ => {
            let mut config = stored_config(&RunFolder::open(&path)?)?;
            args.changes.apply(&mut config)?;
            Named { name: "run".into(), config }
        }
    };
    Ok((named, Some(path)))
}

/// Makes and returns the folder `root/name-N` with the next free number.
pub(super) fn fresh_folder(root: &Path, name: &str) -> Result<PathBuf> {
    let io = |path: &Path, action: &'static str| {
        let path = path.to_path_buf();
        move |source| Error::Io { path, action, source }
    };
    fs::create_dir_all(root).map_err(io(root, "create"))?;
    let mut number = numbers(root, name)?.into_iter().max().unwrap_or(0) + 1;
    loop {
        let path = root.join(format!("{name}-{number}"));
        match fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            // Another process was faster.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(io(&path, "create")(error)),
        }
    }
}

/// The folder `root/name-N` with the largest number, if there is one.
pub(super) fn latest_folder(root: &Path, name: &str) -> Result<Option<PathBuf>> {
    if !root.is_dir() {
        return Ok(None);
    }
    Ok(numbers(root, name)?.into_iter().max().map(|number| root.join(format!("{name}-{number}"))))
}

fn numbers(root: &Path, name: &str) -> Result<Vec<u64>> {
    let list = |source| Error::Io { path: root.into(), action: "list", source };
    let mut numbers = Vec::new();
    for entry in fs::read_dir(root).map_err(list)? {
        let found = entry.map_err(list)?.file_name();
        let number: Option<u64> =
            found.to_str().and_then(|text| text.strip_prefix(name)?.strip_prefix('-')?.parse().ok());
        numbers.extend(number);
    }
    Ok(numbers)
}

/// The command line, for the run's description.
pub(super) fn command_line() -> String {
    let arguments: Vec<String> = std::env::args_os().skip(1).map(|text| text.to_string_lossy().into_owned()).collect();
    format!("livi {}", arguments.join(" ")).trim_end().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_numbered_after_the_largest_number_of_that_name() {
        let root = tempfile::tempdir().unwrap();
        for name in ["toy-2", "toy-9", "toy-slq-40", "toy-x", "other-50"] {
            fs::create_dir(root.path().join(name)).unwrap();
        }
        assert_eq!(fresh_folder(root.path(), "toy").unwrap(), root.path().join("toy-10"));
        assert_eq!(fresh_folder(root.path(), "toy").unwrap(), root.path().join("toy-11"));
        assert_eq!(latest_folder(root.path(), "toy").unwrap(), Some(root.path().join("toy-11")));
        assert_eq!(latest_folder(root.path(), "none").unwrap(), None);
    }
}
