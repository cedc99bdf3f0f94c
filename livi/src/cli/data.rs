//! `livi data`.

use super::output::{emit, emit_json};
use crate::data::check::{DatasetSummary, check};
use crate::number::in_units;
use crate::{Error, Result};
use clap::{Args, Subcommand};
use std::fmt::Write;
use std::path::PathBuf;

/// Look at data sets before using them.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  livi data check data/uci/concrete")]
pub(super) struct DataArgs {
    #[command(subcommand)]
    command: DataCommand,
}

#[derive(Debug, Subcommand)]
enum DataCommand {
    Check(CheckArgs),
}

/// Read a UCI folder with all its splits, a folder of such folders, or a CSV file, and say what is there and what is wrong.
///
/// Exit code 2 when anything is wrong with any of the sets.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  livi data check data/uci\n  livi data check houses.csv --json")]
struct CheckArgs {
    /// Folder or CSV file
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// Print one JSON array with an object for each data set
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &DataArgs) -> Result<()> {
    let DataCommand::Check(args) = &args.command;
    let summaries = check(&args.path)?;
    if args.json {
        emit_json(&summaries)?;
    } else {
        emit(&summaries.iter().map(describe).collect::<String>())?;
    }
    let count: usize = summaries.iter().map(|summary| summary.problems.len()).sum();
    if count == 0 {
        return Ok(());
    }
    let first = summaries.iter().find_map(|summary| summary.problems.first()).cloned().unwrap_or_default();
    let more = if count == 1 { String::new() } else { format!(" (and {} more, listed above)", count - 1) };
    Err(Error::Argument { name: "data check".into(), problem: format!("{first}{more}") })
}

fn describe(summary: &DatasetSummary) -> String {
    let mut text = format!("{}: ", summary.name);
    if summary.columns.is_empty() {
        text.push_str("could not be read\n");
    } else {
        let splits = if summary.splits == 0 { String::new() } else { format!(", {} splits", summary.splits) };
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
    for note in &summary.notes {
        let _ = writeln!(text, "  note: {note}");
    }
    for problem in &summary.problems {
        let _ = writeln!(text, "  problem: {problem}");
    }
    text
}
