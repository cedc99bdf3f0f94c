//! Whole numbers among the arguments: each is answered with what is expected where it is none, negative ones included.

use clap::{Arg, Command};
use std::any::TypeId;
use std::num::{IntErrorKind, NonZeroUsize};
use std::str::FromStr;

/// Lets every argument of a command and its subcommands that takes a number see negative ones, which clap otherwise takes for flags, and gives
/// counts and seeds parsers that say what is expected.
pub(super) fn with_number_parsers(command: Command) -> Command {
    command.mut_args(with_parser).mut_subcommands(with_number_parsers)
}

fn with_parser(argument: Arg) -> Arg {
    let found = argument.get_value_parser().type_id();
    if found == TypeId::of::<NonZeroUsize>() {
        argument.value_parser(from_1).allow_negative_numbers(true)
    } else if found == TypeId::of::<u64>() {
        argument.value_parser(from_0::<u64>).allow_negative_numbers(true)
    } else if found == TypeId::of::<usize>() || found == TypeId::of::<f64>() {
        // Not all of them are plain numbers, so each keeps its own parser.
        argument.allow_negative_numbers(true)
    } else {
        argument
    }
}

/// Reads a whole number from 0.
pub(super) fn from_0<T: FromStr<Err = std::num::ParseIntError>>(text: &str) -> Result<T, String> {
    read(text, 0)
}

/// Reads a whole number from 1.
fn from_1(text: &str) -> Result<NonZeroUsize, String> {
    read(text, 1)
}

fn read<T: FromStr<Err = std::num::ParseIntError>>(text: &str, least: u8) -> Result<T, String> {
    text.parse().map_err(|error: std::num::ParseIntError| match error.kind() {
        IntErrorKind::PosOverflow => format!("is too large, expected a whole number from {least} to {}", u64::MAX),
        _ => format!("expected a whole number from {least}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_whole_number_is_answered_with_the_least_one() {
        assert_eq!(from_0::<u64>("0"), Ok(0));
        assert_eq!(from_1("7"), Ok(NonZeroUsize::new(7).unwrap()));
        for text in ["", "-1", "abc", "1.5", "1e3"] {
            assert_eq!(from_0::<usize>(text), Err("expected a whole number from 0".into()), "{text}");
            assert_eq!(from_1(text), Err("expected a whole number from 1".into()), "{text}");
        }
        assert_eq!(from_1("0"), Err("expected a whole number from 1".into()));
        assert!(from_0::<u64>("99999999999999999999").unwrap_err().contains("too large"));
    }
}
