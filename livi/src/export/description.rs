//! What a file of weight samples says about them in its metadata, so that predictions need nothing else.
//!
//! | key | value |
//! |---|---|
//! | `kind` | `livi weight samples` |
//! | `format_version` | `2` |
//! | `count` | number of samples N |
//! | `seed` | seed of the draws |
//! | `components` | number K of the posterior's components; sample i is a draw from component i modulo K |
//! | `layout` | JSON list of \[name, shape\] of the layers, in the order of the weight vector |
//! | `input_names`, `output_names` | JSON lists of the columns' names, in the order of the network's inputs and of the targets |
//! | `standardiser` | JSON object of four lists, `x_mean` and `x_std` (one number an input), `y_mean` and `y_std` (one a target) |
//! | `noise_std` | JSON list with the standard deviation of each target's noise, in the target's units; empty for a softmax likelihood |
//! | `config` | the run's configuration as TOML |
//!
//! All numbers are in the units of the data. The network f takes (x - `x_mean`) / `x_std`; its output times `y_std` plus `y_mean` is a target's
//! prediction (classes are not standardised: f gives logits). Images are inputs of intensities from 0 to 1, channels first. The noise is one for all
//! samples, also in a mixture of components, whose variances are averaged.
//!
//! A network with batch normalisation has two tensors more for each normalisation NAME and each sample: `NAME.running_mean` and
//! `NAME.running_var`, mean and variance of its channels on the run's reference rows, (N, channels). f takes (h - mean) / sqrt(variance + 1e-5) of
//! each channel and has no affine weights there: PyTorch's `BatchNorm2d(channels, affine=False)` in evaluation mode.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::TensorFile;
use crate::data::Standardiser;
use crate::{Error, Result};

/// Value of the metadata key `kind`.
const KIND: &str = "livi weight samples";
/// Version of the file's conventions, under the metadata key `format_version`.
const FORMAT_VERSION: &str = "2";

/// Where weight samples come from, and what predictions need besides them.
#[derive(Clone, Debug, PartialEq)]
pub struct SampleDescription {
    /// The run's configuration as TOML text.
    pub config: String,
    /// Seed with which the samples were drawn.
    pub seed: u64,
    /// Components K of the posterior, at least 1; sample i is a draw from component i modulo K.
    pub components: usize,
    /// Names of the input columns, in the order of the network's inputs.
    pub input_names: Vec<String>,
    /// Names of the target columns.
    pub output_names: Vec<String>,
    /// Standardisation of inputs and targets.
    pub standardiser: Standardiser,
    /// Noise standard deviation of each target in its own units; empty for a softmax likelihood.
    pub noise_std: Vec<f64>,
}

impl SampleDescription {
    /// Whether its parts fit each other; what is wrong, by metadata key, where not.
    fn check(&self) -> std::result::Result<(), (&'static str, String)> {
        if self.components == 0 {
            return Err(("components", "is 0, expected at least 1".into()));
        }
        self.standardiser.validate().map_err(|error| ("standardiser", error.to_string()))?;
        let (inputs, outputs) = (self.input_names.len(), self.output_names.len());
        let scaled = (self.standardiser.x_mean.len(), self.standardiser.y_mean.len());
        if scaled != (inputs, outputs) {
            let problem =
                format!("is for {scaled:?} inputs and targets, the names are those of {:?}", (inputs, outputs));
            return Err(("standardiser", problem));
        }
        let noise = self.noise_std.len();
        if noise != 0 && noise != outputs {
            return Err(("noise_std", format!("has {noise} numbers, expected {outputs}, one a target, or none")));
        }
        match self.noise_std.iter().find(|std| !(std.is_finite() && **std > 0.0)) {
            Some(std) => Err(("noise_std", format!("holds {std}, expected a positive number"))),
            None => Ok(()),
        }
    }

    /// The metadata of a file with `count` samples of this layout.
    ///
    /// # Errors
    /// [`Error::Argument`] naming the field whose parts do not fit each other.
    pub(super) fn to_metadata(
        &self,
        layout: &[(String, Vec<usize>)],
        count: usize,
    ) -> Result<BTreeMap<String, String>> {
        self.check().map_err(|(key, problem)| Error::Argument { name: key.into(), problem })?;
        Ok(BTreeMap::from([
            ("kind".into(), KIND.into()),
            ("format_version".into(), FORMAT_VERSION.into()),
            ("config".into(), self.config.clone()),
            ("seed".into(), self.seed.to_string()),
            ("count".into(), count.to_string()),
            ("components".into(), self.components.to_string()),
            ("layout".into(), json("layout", layout)?),
            ("input_names".into(), json("input_names", &self.input_names)?),
            ("output_names".into(), json("output_names", &self.output_names)?),
            ("standardiser".into(), json("standardiser", &self.standardiser)?),
            ("noise_std".into(), json("noise_std", &self.noise_std)?),
        ]))
    }

    /// The description in a file's metadata.
    ///
    /// # Errors
    /// [`Error::File`] for a file of another kind or version, and for a key that is missing, cannot be read or does not fit the others.
    pub(super) fn from_metadata(file: &TensorFile) -> Result<Self> {
        for (key, expected) in [("kind", KIND), ("format_version", FORMAT_VERSION)] {
            let found = file.metadata_value(key)?;
            if found != expected {
                return Err(file.problem(place(key), format!("is `{found}`, expected `{expected}`")));
            }
        }
        let description = Self {
            config: file.metadata_value("config")?.into(),
            seed: read(file, "seed", "a whole number")?,
            components: read(file, "components", "a number of components")?,
            input_names: read(file, "input_names", "a list of names")?,
            output_names: read(file, "output_names", "a list of names")?,
            standardiser: read(file, "standardiser", "an object of x_mean, x_std, y_mean and y_std")?,
            noise_std: read(file, "noise_std", "a list of numbers")?,
        };
        description.check().map_err(|(key, problem)| file.problem(place(key), problem))?;
        Ok(description)
    }
}

fn json<T: Serialize + ?Sized>(key: &str, value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Error::Argument { name: key.into(), problem: error.to_string() })
}

/// A metadata value; whole numbers are JSON too.
pub(super) fn read<T: DeserializeOwned>(file: &TensorFile, key: &str, expected: &str) -> Result<T> {
    let value = file.metadata_value(key)?;
    serde_json::from_str(value).map_err(|_| file.problem(place(key), format!("is not {expected}")))
}

fn place(key: &str) -> String {
    format!("metadata `{key}`")
}

#[cfg(test)]
pub(super) mod tests;
