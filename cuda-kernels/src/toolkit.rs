//! What of CUDA a machine has, and what it lacks.

use crate::Error;

/// What of CUDA this machine has. Looking costs little and fails nowhere: what is missing is part of the answer.
///
/// ```
/// let toolkit = cuda_kernels::Toolkit::find();
/// // Either there is all that a card needs, or every reason why one cannot be used is named.
/// assert!(!toolkit.missing().is_empty() || toolkit.found().iter().any(|line| line.starts_with("cuda:0 ")));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toolkit {
    /// The version of CUDA that the driver has, as in `13.0`.
    pub driver: Result<String, Error>,
    /// The cards that the driver sees.
    pub cards: Result<Vec<Card>, Error>,
    /// Libraries that did not come with the driver.
    pub libraries: Vec<Library>,
}

/// A card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    /// Its name.
    pub name: String,
    /// Its compute capability, as in `9.0`.
    pub capability: String,
    /// Bytes of its memory.
    pub bytes: usize,
}

/// A library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Library {
    /// Its name.
    pub name: &'static str,
    /// Its version, as in `13.0`.
    pub version: Result<String, Error>,
    /// Nothing runs without it.
    pub needed: bool,
}

impl Toolkit {
    /// Looks for everything.
    pub fn find() -> Self {
        #[cfg(feature = "cuda")]
        return found::toolkit();
        #[cfg(not(feature = "cuda"))]
        Self { driver: Err(Error::NotBuilt), cards: Err(Error::NotBuilt), libraries: Vec::new() }
    }

    /// What there is, in a few words each: the driver, the cards by their numbers, and libraries.
    pub fn found(&self) -> Vec<String> {
        let driver = self.driver.iter().map(|version| format!("driver for CUDA {version}"));
        let cards = self.cards.iter().flatten().enumerate().map(|(number, Card { name, capability, bytes })| {
            let gib = *bytes as f64 / f64::from(1 << 30);
            format!("cuda:{number} {name}, compute capability {capability}, {gib:.1} GiB")
        });
        let libraries = self.libraries.iter().filter_map(|library| {
            let version = library.version.as_ref().ok()?;
            Some(format!("{} {version}", library.name))
        });
        driver.chain(cards).chain(libraries).collect()
    }

    /// What is missing that nothing needs, with what takes its place and what to install.
    pub fn optional(&self) -> Vec<String> {
        let missing = self.libraries.iter().filter(|library| !library.needed);
        missing.filter_map(|library| library.version.as_ref().err().map(Error::to_string)).collect()
    }

    /// Why no card can be used: what is missing, with what to install. Nothing where one can.
    pub fn missing(&self) -> Vec<String> {
        let mut missing: Vec<String> = Vec::new();
        let libraries =
            self.libraries.iter().filter(|library| library.needed).map(|library| library.version.as_ref().err());
        for error in [self.driver.as_ref().err(), self.cards.as_ref().err()].into_iter().chain(libraries).flatten() {
            let text = error.to_string();
            if !missing.contains(&text) {
                missing.push(text);
            }
        }
        missing
    }
}

#[cfg(feature = "cuda")]
mod found {
    use super::{Card, Library, Toolkit};
    use crate::{Error, card};

    pub(super) fn toolkit() -> Toolkit {
        let (nvrtc, cublas, cudnn) = (&card::NVRTC, &card::CUBLAS, &card::CUDNN);
        let name = |full: &'static str| full.split(' ').next().unwrap_or(full);
        let pair = |(major, minor): (i32, i32)| format!("{major}.{minor}");
        Toolkit {
            cards: cards(),
            driver: card::driver_version().map(|version| pair((version / 1000, version % 1000 / 10))),
            libraries: vec![
                Library { name: name(nvrtc.name), version: card::version().map(pair), needed: true },
                Library { name: name(cublas.name), version: card::blas_version(), needed: true },
                Library { name: name(cudnn.name), version: card::dnn_version(), needed: false },
            ],
        }
    }

    fn cards() -> Result<Vec<Card>, Error> {
        (0..card::count()?)
            .map(|ordinal| {
                let found = card::properties(ordinal)?;
                let capability = format!("{}.{}", found.capability / 10, found.capability % 10);
                Ok(Card { name: found.name, capability, bytes: found.bytes })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_named_once() {
        let version = Err(Error::NoLibrary { library: "NVRTC (libnvrtc)", advice: "install it" });
        let other = Err(Error::NoLibrary { library: "cuDNN (libcudnn)", advice: "nothing needs it" });
        let toolkit = Toolkit {
            driver: Err(Error::NoDriver),
            cards: Err(Error::NoDriver),
            libraries: vec![
                Library { name: "NVRTC", version, needed: true },
                Library { name: "cuBLAS", version: Ok("13.0".into()), needed: true },
                Library { name: "cuDNN", version: other, needed: false },
            ],
        };
        assert_eq!(toolkit.missing().len(), 2);
        assert_eq!(toolkit.optional(), ["cuDNN (libcudnn) was not found; nothing needs it"]);
        assert_eq!(toolkit.found(), ["cuBLAS 13.0"]);
    }

    #[test]
    fn a_complete_machine_is_described_in_a_few_lines() {
        let card = Card { name: "Card".into(), capability: "9.0".into(), bytes: 80 << 30 };
        let toolkit = Toolkit { driver: Ok("13.0".into()), cards: Ok(vec![card]), libraries: Vec::new() };
        assert!(toolkit.missing().is_empty());
        assert_eq!(toolkit.found(), ["driver for CUDA 13.0", "cuda:0 Card, compute capability 9.0, 80.0 GiB"]);
    }
}
