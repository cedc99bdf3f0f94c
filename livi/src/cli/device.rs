//! `--device`, `--threads` and `--tf32`: where a command computes.

use crate::config::Dtype;
use crate::device::processor;
use crate::{Error, Result};
use autograd::{Device, MOST_THREADS};
use clap::Args;
use std::num::NonZeroUsize;

/// Where to compute.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(super) struct DeviceArgs {
    /// Where to compute: `cpu`, `cuda` (the first NVIDIA card) or `cuda:N` (card number N) [default: cpu]
    #[arg(long, value_name = "DEVICE", value_parser = parse)]
    device: Option<Device>,
    /// Threads of the processor to compute with; results do not depend on it [default: all cores]
    #[arg(long)]
    threads: Option<NonZeroUsize>,
    /// On a card, compute products and convolutions in f32 on tensor cores with operands rounded to TF32, 10 bits of mantissa: faster, less exact.
    /// Not for the exact entropy with a small sigma, which takes the digits that are rounded away
    #[arg(long)]
    tf32: bool,
}

impl DeviceArgs {
    /// Keeps the whole process to the threads that were asked for; before anything is computed, and once.
    ///
    /// # Errors
    /// [`Error::Argument`] for more threads than there may be, for threads of a card, and where the system starts none.
    pub fn limit_threads(&self) -> Result<()> {
        let wrong = |problem: String| Err(Error::Argument { name: "--threads".into(), problem });
        let Some(threads) = self.threads.map(NonZeroUsize::get) else { return Ok(()) };
        if self.names_card() {
            return wrong("is for the processor; leave it out, or leave out --device".into());
        }
        if threads > MOST_THREADS {
            let cores = super::info::threads();
            return wrong(format!("is {threads}, expected at most {MOST_THREADS}; the processor has {cores}"));
        }
        // Threads that wait for a core cost time and change no result.
        let threads = threads.min(std::thread::available_parallelism().map_or(threads, NonZeroUsize::get));
        rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().or_else(|error| wrong(error.to_string()))
    }

    /// The device for a computation in a number format; of the processor as many threads as were asked for, or all.
    ///
    /// # Errors
    /// [`Error::Argument`] for a card that cannot be used, saying what is missing, and for TF32 where it has no meaning.
    pub fn resolve(&self, dtype: Dtype) -> Result<Device> {
        let device = self.device.unwrap_or_else(processor);
        if self.tf32 {
            let wrong = |problem: String| Err(Error::Argument { name: "--tf32".into(), problem });
            if !matches!(device, Device::Cuda { .. }) {
                return wrong(format!("is for cards, but the device is `{device}`; give --device cuda with it"));
            }
            if dtype == Dtype::F64 {
                return wrong("is for f32, but the computation is in f64; leave out one of the two".into());
            }
        }
        match device {
            Device::Cpu { .. } => Ok(processor()),
            Device::Cuda { ordinal, .. } => {
                require_card(ordinal)?;
                Ok(Device::Cuda { ordinal, tf32: self.tf32 })
            }
            Device::Emulated => Ok(device),
        }
    }

    /// Whether anything but the processor was asked for.
    pub fn names_card(&self) -> bool {
        self.device.is_some_and(crate::device::is_card)
    }
}

/// Refuses a card that is not there. Libraries that it needs besides the driver are looked for when the first plan is loaded.
fn require_card(ordinal: usize) -> Result<()> {
    let wrong = |problem: String| Err(Error::Argument { name: format!("--device cuda:{ordinal}"), problem });
    match cuda_kernels::device_count() {
        Ok(count) if ordinal < count => Ok(()),
        Ok(1) => wrong("there is one card, cuda:0".into()),
        Ok(count) => wrong(format!("there are {count} cards, cuda:0 to cuda:{}", count - 1)),
        Err(error) => wrong(error.to_string()),
    }
}

/// Reads the name of a device. The emulated one is there in test builds only.
fn parse(text: &str) -> std::result::Result<Device, String> {
    match text.parse() {
        Ok(Device::Emulated) if !cfg!(feature = "emulated") => {}
        Ok(device) => return Ok(device),
        Err(_) => {}
    }
    Err("expected `cpu`, `cuda` or `cuda:N` with the number of a card".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(device: &str, tf32: bool) -> DeviceArgs {
        DeviceArgs { device: Some(parse(device).unwrap()), tf32, ..DeviceArgs::default() }
    }

    #[test]
    fn names_of_devices_are_read_and_others_answered_with_what_is_expected() {
        assert!(matches!(parse("cpu"), Ok(Device::Cpu { .. })));
        assert_eq!(parse("cuda"), Ok(Device::Cuda { ordinal: 0, tf32: false }));
        assert_eq!(parse("cuda:3"), Ok(Device::Cuda { ordinal: 3, tf32: false }));
        for text in ["", "gpu", "CUDA", "cuda:", "cuda:-1", "cuda:x", "cuda:0:1", "cpu:0"] {
            assert!(parse(text).unwrap_err().contains("`cuda:N`"), "{text}");
        }
    }

    #[test]
    fn without_a_device_it_is_the_whole_processor() {
        assert_eq!(DeviceArgs::default().resolve(Dtype::F32).unwrap(), processor());
        assert_eq!(arguments("cpu", false).resolve(Dtype::F64).unwrap(), processor());
    }

    #[test]
    fn tf32_is_refused_on_the_processor_and_in_f64_before_a_card_is_looked_for() {
        let problem = |device, dtype| arguments(device, true).resolve(dtype).unwrap_err().to_string();
        assert!(problem("cpu", Dtype::F32).starts_with("--tf32: is for cards, but the device is `cpu`"));
        assert!(problem("cuda:7", Dtype::F64).starts_with("--tf32: is for f32, but the computation is in f64"));
    }
}
