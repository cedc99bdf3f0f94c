//! The command line.

mod changes;
mod data;
mod device;
mod evaluate;
mod fetch_progress;
mod images;
mod info;
mod interrupt;
mod memory;
mod output;
mod predict;
mod profile;
mod progress;
mod progress_line;
mod results;
mod sample;
mod table;
mod train;
mod verify;
mod whole_numbers;

use crate::{Error, Result};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use std::io::Write;
use std::process::ExitCode;

/// Trains, checks and uses implicit variational posteriors of Bayesian neural networks.
///
/// Without a command it trains the embedded toy regression: `livi train toy`.
#[derive(Debug, Parser)]
#[command(
    name = "livi",
    version,
    after_help = "Examples:\n  livi                                    train the embedded toy regression\n  livi train uci-concrete --seed 3        train on a UCI set\n  livi verify toy                         compare all entropy methods\n  livi predict runs/toy-1 --input new.csv --output predictions.csv\n\nErrors go to standard error. Exit codes: 0 success, 1 a failure while running, 2 bad input, 130 interrupted."
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Train(train::TrainArgs),
    Verify(verify::VerifyArgs),
    Evaluate(evaluate::EvaluateArgs),
    Predict(predict::PredictArgs),
    Sample(sample::SampleArgs),
    Data(data::DataArgs),
    Info(info::InfoArgs),
}

impl Command {
    /// Where it computes, for commands that do.
    fn device(&self) -> Option<&device::DeviceArgs> {
        match self {
            Self::Train(args) => Some(&args.device),
            Self::Verify(args) => Some(&args.device),
            Self::Evaluate(args) => Some(&args.device),
            Self::Predict(args) => Some(&args.device),
            Self::Sample(args) => Some(&args.device),
            Self::Data(_) | Self::Info(_) => None,
        }
    }
}

/// Reads the arguments, does what they ask and returns the process's exit code.
pub fn main() -> ExitCode {
    let parsed = whole_numbers::with_number_parsers(Cli::command())
        .try_get_matches()
        .and_then(|matches| Cli::from_arg_matches(&matches));
    let command = match parsed {
        Ok(cli) => cli.command.unwrap_or_else(|| Command::Train(train::TrainArgs::default())),
        Err(error) => {
            // Help and version are errors to clap too; a reader that went away is none.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match run(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut message = format!("error: {error}\n");
            if let Some(hint) = hint(&error) {
                message.push_str(&format!("  {hint}\n"));
            }
            // Not `eprint!`: it panics when nobody reads standard error any more.
            let _ = std::io::stderr().write_all(message.as_bytes());
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(command: Command) -> Result<()> {
    if let Some(device) = command.device() {
        device.limit_threads()?;
    }
    match command {
        Command::Train(args) => train::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Evaluate(args) => evaluate::run(&args),
        Command::Predict(args) => predict::run(&args),
        Command::Sample(args) => sample::run(&args),
        Command::Data(args) => data::run(&args),
        Command::Info(args) => info::run(&args),
    }
}

/// What to do next, where the error itself does not say.
fn hint(error: &Error) -> Option<String> {
    match error {
        Error::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            Some("check the path; `livi COMMAND --help` shows an example of each command".into())
        }
        Error::Io { .. } => Some("check permissions and free space, or choose another path".into()),
        // About folders the error itself says what to do.
        Error::File { path, .. } => path.is_file().then(|| "mend the file, or name another".into()),
        Error::Config { key, .. } if key == "data.path" => {
            Some("set it with --set data.path=FOLDER, or set the environment variable LIVI_DATA_DIR".into())
        }
        Error::Config { key, .. } => Some(format!("change it in the configuration file or with --set {key}=VALUE")),
        Error::Argument { .. } => Some("`livi COMMAND --help` explains the arguments".into()),
        // Says itself what would do.
        Error::Autograd(autograd::Error::Memory { .. }) => None,
        Error::Autograd(autograd::Error::Device(_)) => {
            Some("`livi info` says what there is and what is missing; --device cpu needs no card".into())
        }
        Error::Numerical { .. } | Error::Autograd(autograd::Error::NotPositiveDefinite { .. }) => {
            Some("try --dtype f64 or a larger sampler.sigma".into())
        }
        Error::Autograd(_) | Error::NotFinite { .. } | Error::Interrupted { .. } | Error::Download { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_number_format_is_advised_for_numerical_failures_alone() {
        let advised = |error: Error| hint(&error).is_some_and(|hint| hint.contains("--dtype f64"));
        let location = std::panic::Location::caller();
        assert!(advised(Error::Numerical { method: "exact", problem: "the Jacobian is not finite".into() }));
        let indefinite = autograd::Error::NotPositiveDefinite { op: "cholesky", index: 0, pivot: 3, location };
        assert!(advised(indefinite.into()));
        let others = [
            autograd::Error::Memory { needed: 2, limit: 1, advice: "" },
            autograd::Error::Unbound { name: "x".into(), problem: "write it first" },
            autograd::Error::Shape { op: "add", problem: "[2] and [3]".into(), location },
            autograd::Error::Buffer { name: "x".into(), problem: "3 numbers for 2".into() },
            autograd::Error::Argument { name: "axis", problem: "is 3, expected less than 2".into() },
        ];
        for other in others {
            assert!(!advised(other.clone().into()), "{other}");
        }
    }
}
