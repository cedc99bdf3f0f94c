//! `livi train uci` and `--all-splits`: the table of UCI sets.

use super::changes::{Changes, configuration};
use super::device::DeviceArgs;
use super::interrupt::stop_flag;
use super::output::{emit, emit_json};
use super::progress::{TableProgress, say};
use super::train::{RUNS, command_line, fresh_folder, latest_folder};
use crate::config::{Source, presets};
use crate::device::is_card;
use crate::table::{TableSet, make_table};
use crate::{Error, Result};
use autograd::{Device, Machine};
use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

/// The source that stands for all UCI sets.
pub(super) const ALL_SETS: &str = "uci";

/// What `livi train` was asked for.
pub(super) struct Request<'a> {
    /// `uci`, or the preset or configuration of one set.
    pub source: &'a str,
    /// Folder of the table.
    pub out: Option<&'a Path>,
    /// Whether to continue a table.
    pub resume: bool,
    /// Settings for all sets.
    pub changes: &'a Changes,
    /// Where runs compute; on a processor each on one thread.
    pub device: &'a DeviceArgs,
    /// Most memory of a run.
    pub memory: Option<usize>,
    /// Runs at a time.
    pub jobs: Option<NonZeroUsize>,
    /// Splits of each set at most.
    pub splits: Option<NonZeroUsize>,
    /// Whether to print JSON.
    pub json: bool,
}

pub(super) fn run(request: &Request<'_>) -> Result<()> {
    let sets = sets(request)?;
    let device = device(request, &sets)?;
    let out = folder(request)?;
    let jobs = request.jobs.map_or_else(rayon::current_num_threads, NonZeroUsize::get);
    let stop = stop_flag()?;
    let made = make_table(&sets, &out, jobs, device, request.memory, &command_line(), &stop, &TableProgress::new());
    let table = made.inspect_err(|error| {
        if error.exit_code() != 2 {
            say(&format!(
                "not all runs are complete; continue with the same command, --resume and --out {}",
                out.display()
            ));
        }
    })?;
    if request.json {
        return emit_json(&table);
    }
    emit(&format!("{}\nWritten to {}\n", table.markdown(), out.display()))
}

/// The device of all runs, before anything is written.
fn device(request: &Request<'_>, sets: &[TableSet]) -> Result<Device> {
    let mut device = Device::Cpu { threads: 1 };
    for set in sets {
        device = Some(request.device.resolve(set.config.dtype)?).filter(|&found| is_card(found)).unwrap_or(device);
    }
    if is_card(device) {
        // The libraries that it needs are looked for here.
        Machine::on(device)?;
    }
    Ok(device)
}

fn sets(request: &Request<'_>) -> Result<Vec<TableSet>> {
    let sources: Vec<String> = match request.source {
        ALL_SETS => presets::uci_sets().map(|set| format!("uci-{set}")).collect(),
        source => vec![source.into()],
    };
    for key in ["data.set", "data.split"] {
        let is_set = |setting: &String| setting.split('=').next().is_some_and(|name| name.trim() == key);
        // The split is the table's own matter, and so is the set where it is of all sets.
        if (key == "data.split" || request.source == ALL_SETS) && request.changes.set.iter().any(is_set) {
            let problem =
                format!("`{key}` does not go with a table, which has every set and split in turn; leave it out");
            return Err(Error::Argument { name: "--set".into(), problem });
        }
    }
    let sets = sources.iter().map(|source| {
        let config = configuration(source, request.changes)?.config;
        if config.data.source != Source::Uci {
            let problem = format!("is for UCI sets only, the data source of `{source}` is `{}`", config.data.source);
            return Err(Error::Argument { name: "--all-splits".into(), problem });
        }
        let from_path = || Some(config.data.path.as_ref()?.file_name()?.to_string_lossy().into_owned());
        let name = config.data.set.clone().or_else(from_path).unwrap_or_else(|| source.clone());
        let mut set = TableSet::new(name, config)?;
        set.splits = request.splits.map_or(set.splits, |most| set.splits.min(most.get()));
        Ok(set)
    });
    sets.collect()
}

fn folder(request: &Request<'_>) -> Result<PathBuf> {
    let name = request.source.rsplit('/').next().unwrap_or(request.source);
    let name = format!("{}-table", name.strip_suffix(".toml").unwrap_or(name));
    match (request.out, request.resume) {
        (Some(out), true) => Ok(out.into()),
        (Some(out), false) => {
            let holds_something = fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_some());
            if holds_something || out.is_file() {
                let problem = "is not empty; continue the table in it with --resume, or choose another folder".into();
                return Err(Error::Argument { name: format!("--out {}", out.display()), problem });
            }
            Ok(out.into())
        }
        (None, true) => match latest_folder(Path::new(RUNS), &name)? {
            Some(folder) => Ok(folder),
            None => fresh_folder(Path::new(RUNS), &name),
        },
        (None, false) => fresh_folder(Path::new(RUNS), &name),
    }
}
