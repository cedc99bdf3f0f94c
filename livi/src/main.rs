//! The `livi` command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    livi::cli::main()
}
