//! Command lines of the benchmarks.

use autograd::{Device, Error, Result};

/// Threads of the processor unless `--threads` says otherwise.
const THREADS: usize = 2;
const FLAGS: [&str; 2] = ["--json", "--tf32"];
const VALUES: [&str; 3] = ["--device", "--threads", "--only"];

/// What all benchmarks understand: `--device cpu|cuda[:N]|emulated` (the processor unless it is given), `--threads N` for the processor, `--tf32` for
/// a card, `--only TEXT`, `--json`; and a program's own flags.
#[derive(Clone, Debug)]
pub struct Arguments {
    /// Where the work is done.
    pub device: Device,
    /// One JSON object a line instead of text.
    pub json: bool,
    only: Option<String>,
    flags: Vec<String>,
}

impl Arguments {
    /// Those of this program, which has flags of its own.
    ///
    /// # Errors
    /// [`Error::Argument`] for what is not understood.
    pub fn read(own: &[&str]) -> Result<Self> {
        Self::of(std::env::args().skip(1), own)
    }

    fn of(words: impl IntoIterator<Item = String>, own: &[&str]) -> Result<Self> {
        let (mut device, mut threads, mut only) = (Device::Cpu { threads: THREADS }, THREADS, None);
        let mut flags = Vec::new();
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            if FLAGS.contains(&word.as_str()) || own.contains(&word.as_str()) {
                flags.push(word);
                continue;
            }
            let Some(name) = VALUES.into_iter().find(|name| *name == word) else {
                let known = [&FLAGS[..], &VALUES, own].concat().join(", ");
                return Err(wrong("argument", format!("`{word}` was given; expected one of {known}")));
            };
            let value = words.next().ok_or_else(|| wrong("argument", format!("{name} needs a value")))?;
            match name {
                "--device" => device = value.parse()?,
                "--threads" => {
                    threads = value.parse().map_err(|_| wrong("threads", format!("`{value}` is no whole number")))?;
                }
                _ => only = Some(value),
            }
        }
        let tf32 = flags.iter().any(|flag| flag == "--tf32");
        let device = match device {
            Device::Cuda { ordinal, .. } => Device::Cuda { ordinal, tf32 },
            _ if tf32 => return Err(wrong("tf32", "is for a card; give --device cuda with it".into())),
            Device::Cpu { .. } => Device::Cpu { threads },
            emulated => emulated,
        };
        Ok(Self { device, json: flags.iter().any(|flag| flag == "--json"), only, flags })
    }

    /// Whether one of the program's own flags was given.
    pub fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|given| given == flag)
    }

    /// Whether a job is to be run: its name or sizes contain what `--only` says.
    pub fn wants(&self, job: &str, sizes: &str) -> bool {
        self.only.as_ref().is_none_or(|text| job.contains(text.as_str()) || sizes.contains(text.as_str()))
    }

    /// Whether the device has memory and a clock of its own.
    pub fn on_card(&self) -> bool {
        !matches!(self.device, Device::Cpu { .. })
    }
}

fn wrong(name: &'static str, problem: String) -> Error {
    Error::Argument { name, problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Arguments> {
        Arguments::of(text.split_whitespace().map(String::from), &["--steps"])
    }

    #[test]
    fn devices_are_read() {
        assert_eq!(read("").unwrap().device, Device::Cpu { threads: THREADS });
        assert_eq!(read("--threads 7 --device cpu").unwrap().device, Device::Cpu { threads: 7 });
        let card = read("--tf32 --json --device cuda:1").unwrap();
        assert_eq!(card.device, Device::Cuda { ordinal: 1, tf32: true });
        assert!(card.json && card.on_card() && !card.has("--steps"));
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        for text in ["--step", "--only", "--tf32", "--tf32 --device emulated", "--threads two", "--device gpu"] {
            assert!(read(text).is_err(), "{text}");
        }
        assert!(read("--steps").unwrap().has("--steps"));
    }

    #[test]
    fn only_looks_at_names_and_sizes() {
        let arguments = read("--only d=60").unwrap();
        assert!(arguments.wants("entropy", "m=105 d=60") && !arguments.wants("entropy", "m=105 d=20"));
        assert!(read("--only entropy").unwrap().wants("entropy", ""));
    }
}
