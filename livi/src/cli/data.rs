//! `livi data`.

use super::fetch_progress::FetchProgress;
use super::output::{emit, emit_json};
use crate::data::check::{DatasetSummary, check};
use crate::data::images::check as images;
use crate::data::images::fetch::{Fetched, Origin, fetch};
use crate::data::images::published::{PublishedSet, SETS};
use crate::number::in_units;
use crate::{Error, Result};
use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use serde::Serialize;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Most classes that are listed one by one.
const LISTED_CLASSES: usize = 20;

/// Fetch data sets, and look at them before using them.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  livi data fetch mnist --to data/mnist\n  livi data check data/mnist\n  livi data check data/uci/concrete"
)]
pub(super) struct DataArgs {
    #[command(subcommand)]
    command: DataCommand,
}

#[derive(Debug, Subcommand)]
enum DataCommand {
    Fetch(FetchArgs),
    Check(CheckArgs),
}

/// Download a published image set from its home, check it and unpack it.
///
/// A download that breaks off is kept and gone on with when the command is run again; only files with the published SHA-256 are
/// ever put in place.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  livi data fetch mnist --to data/mnist\n  livi data fetch cifar10 --to data/cifar10 --json"
)]
struct FetchArgs {
    /// Name of the set
    #[arg(value_name = "SET", value_parser = PossibleValuesParser::new(SETS.map(|set| set.name)))]
    set: String,
    /// Folder for the set's files; made where it is not there
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// Print one JSON object with the files and where they came from
    #[arg(long)]
    json: bool,
}

/// Read data sets whole and say what is there and what is wrong: image folders (idx, CIFAR, safetensors), UCI folders with all
/// their splits, folders of such folders, or a CSV file.
///
/// Exit code 2 when anything is wrong with any of the sets.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  livi data check data/mnist\n  livi data check data/uci\n  livi data check houses.csv --json"
)]
struct CheckArgs {
    /// Folder or CSV file
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// Print one JSON array with an object for each data set
    #[arg(long)]
    json: bool,
}

/// A set of either kind.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Summary {
    Images(images::ImageSummary),
    Table(DatasetSummary),
}

/// A path that holds no set.
#[derive(Debug, Serialize)]
struct Unread {
    path: PathBuf,
    problems: Vec<String>,
}

pub(super) fn run(args: &DataArgs) -> Result<()> {
    match &args.command {
        DataCommand::Fetch(args) => run_fetch(args),
        DataCommand::Check(args) => run_check(args),
    }
}

fn run_fetch(args: &FetchArgs) -> Result<()> {
    let set = PublishedSet::named(&args.set)?;
    let fetched = fetch(set, &args.to, &mut FetchProgress::new())?;
    if args.json { emit_json(&fetched) } else { emit(&describe_fetched(set, &fetched)) }
}

fn describe_fetched(set: &PublishedSet, fetched: &Fetched) -> String {
    let mut text = format!("{}, {}: {}\n", set.name, set.title, fetched.folder.display());
    for file in &fetched.files {
        let origin = match &file.origin {
            Origin::AlreadyThere => "was there already",
            Origin::Downloaded { url } => url,
        };
        let _ = writeln!(text, "  {:<28} {:>11} bytes  {origin}", file.name, file.bytes);
    }
    text
}

fn run_check(args: &CheckArgs) -> Result<()> {
    let found = summaries_of(&args.path);
    if let (Err(error), true) = (&found, args.json) {
        emit_json(&[Unread { path: args.path.clone(), problems: vec![error.to_string()] }])?;
    }
    let summaries = found?;
    if args.json {
        emit_json(&summaries)?;
    } else {
        emit(&summaries.iter().map(describe).collect::<String>())?;
    }
    let problems: Vec<&String> = summaries.iter().flat_map(Summary::problems).collect();
    let Some(first) = problems.first() else { return Ok(()) };
    let more =
        if problems.len() == 1 { String::new() } else { format!(" (and {} more, listed above)", problems.len() - 1) };
    Err(Error::Argument { name: "data check".into(), problem: format!("{first}{more}") })
}

/// Image sets, then tables.
fn summaries_of(path: &Path) -> Result<Vec<Summary>> {
    let mut summaries: Vec<Summary> = images::check(path)?.into_iter().map(Summary::Images).collect();
    match check(path) {
        Ok(tables) => summaries.extend(tables.into_iter().map(Summary::Table)),
        // No tables beside the images.
        Err(Error::Argument { .. }) if !summaries.is_empty() => {}
        Err(error) => return Err(error),
    }
    Ok(summaries)
}

impl Summary {
    fn problems(&self) -> &[String] {
        match self {
            Self::Images(summary) => &summary.problems,
            Self::Table(summary) => &summary.problems,
        }
    }

    fn notes(&self) -> &[String] {
        match self {
            Self::Images(summary) => &summary.notes,
            Self::Table(summary) => &summary.notes,
        }
    }
}

fn describe(summary: &Summary) -> String {
    let mut text = match summary {
        Summary::Images(summary) => describe_images(summary),
        Summary::Table(summary) => describe_table(summary),
    };
    for note in summary.notes() {
        let _ = writeln!(text, "  note: {note}");
    }
    for problem in summary.problems() {
        let _ = writeln!(text, "  problem: {problem}");
    }
    text
}

fn describe_images(summary: &images::ImageSummary) -> String {
    let kind = format!("{:?}", summary.kind).to_lowercase();
    let mut text = format!("{}: images ({kind})\n", summary.name);
    for part in &summary.parts {
        let shape = images::extents(part.shape);
        let _ = writeln!(text, "  {}: {} images of {shape}, {} classes", part.part, part.count, part.classes);
        let counts = &part.label_histogram;
        if counts.len() <= LISTED_CLASSES {
            for (name, count) in part.class_names.iter().zip(counts) {
                let _ = writeln!(text, "    {name:<20} {count:>8}");
            }
        } else {
            let (least, most) = (counts.iter().min().unwrap_or(&0), counts.iter().max().unwrap_or(&0));
            let _ = writeln!(text, "    {least} to {most} images a class");
        }
    }
    text
}

fn describe_table(summary: &DatasetSummary) -> String {
    let mut text = format!("{}: ", summary.name);
    if summary.columns.is_empty() {
        text.push_str("could not be read\n");
    } else {
        let splits = match summary.splits {
            0 => String::new(),
            1 => ", 1 split".into(),
            splits => format!(", {splits} splits"),
        };
        let _ = writeln!(text, "{} rows, {} columns{splits}", summary.rows, summary.columns.len());
        let _ =
            writeln!(text, "  {:<20} {:<7} {:>12} {:>12} {:>12} {:>12}", "column", "role", "mean", "std", "min", "max");
    }
    for column in &summary.columns {
        let role = format!("{:?}", column.role).to_lowercase();
        let role = if role == "any" { "-".into() } else { role };
        let _ = writeln!(
            text,
            "  {:<20} {role:<7} {:>12} {:>12} {:>12} {:>12}",
            column.name,
            in_units(column.mean),
            in_units(column.std),
            in_units(column.min),
            in_units(column.max)
        );
    }
    text
}
