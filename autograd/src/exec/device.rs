//! Where plans run.

use crate::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// The most threads that a machine may have.
pub const MOST_THREADS: usize = 1024;

/// Where plans run.
///
/// ```
/// use autograd::Device;
/// assert_eq!("cuda:1".parse(), Ok(Device::Cuda { ordinal: 1, tf32: false }));
/// assert!("gpu".parse::<Device>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Device {
    /// This computer's processor, with so many threads.
    Cpu {
        /// Threads, at least one and at most 1024.
        threads: usize,
    },
    /// An NVIDIA card (feature `cuda`).
    Cuda {
        /// Its number.
        ordinal: usize,
        /// Products and convolutions in single precision run on tensor cores, with operands rounded to the 10 bits of mantissa of TF32.
        tf32: bool,
    },
    /// The processor in the place of a card: the same kernels and commands, for tests on machines without one (feature `emulated`).
    Emulated,
}

impl FromStr for Device {
    type Err = Error;

    /// `cpu` (all its threads, at most 1024), `cuda` (the first card), `cuda:N`, or `emulated`.
    fn from_str(text: &str) -> Result<Self> {
        let wrong = || Error::Argument {
            name: "device",
            problem: format!("`{text}` was given; expected `cpu`, `cuda` or `cuda:N` with the number of a card"),
        };
        match text.split_once(':') {
            None if text == "cpu" => {
                let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
                Ok(Self::Cpu { threads: threads.min(MOST_THREADS) })
            }
            None if text == "cuda" => Ok(Self::Cuda { ordinal: 0, tf32: false }),
            None if text == "emulated" => Ok(Self::Emulated),
            Some(("cuda", number)) => Ok(Self::Cuda { ordinal: number.parse().map_err(|_| wrong())?, tf32: false }),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu { .. } => f.write_str("cpu"),
            Self::Cuda { ordinal, .. } => write!(f, "cuda:{ordinal}"),
            Self::Emulated => f.write_str("emulated"),
        }
    }
}
