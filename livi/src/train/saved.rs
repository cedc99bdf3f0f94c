//! A posterior back from a run folder, and whether a checkpoint belongs to a configuration and to data.
//!
//! The checkpoint's metadata hold what the tensors alone do not say: the standardisation, the names of the columns and the number of network
//! outputs. So prediction needs the run folder and nothing else.

use super::Reason;
use super::component::{BEST_WEIGHTS, Component};
use super::noise_levels;
use super::signature::Signature;
use crate::config::{Config, Dtype};
use crate::data::{Dataset, Standardiser};
use crate::device::processor;
use crate::export::TensorFile;
use crate::model::Model;
use crate::posterior::Posterior;
use crate::run_folder::{CONFIG_FILE, Checkpoint, RunFolder};
use crate::{Error, Result};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use toml::{Table, Value};

/// Tensor of the rows on which batch normalisation takes its statistics.
pub(super) const REFERENCE: &str = "reference.x";
/// Tensor of the noise standard deviations that the validation rows gave, one for each target.
pub(super) const FITTED_NOISE: &str = "noise.fitted_std";
/// Metadata key of the reason why training is complete.
pub(super) const FINISHED: &str = "finished";
const STANDARDISER: &str = "standardiser";
const INPUT_NAMES: &str = "input_names";
const OUTPUT_NAMES: &str = "output_names";
const OUTPUTS: &str = "network_outputs";

/// The posterior that a run folder holds.
pub struct Saved {
    /// The configuration as run.
    pub config: Config,
    /// The posterior: the best state on the validation rows with early stopping, else that of the checkpoint.
    pub posterior: Posterior,
    /// Steps of the checkpoint.
    pub steps: u64,
    /// Step of the state kept, the best on the validation rows; `None` where that is the last.
    pub best_step: Option<u64>,
    /// Why training ended; `None` while it has not.
    pub finished: Option<Reason>,
    /// Names of the input columns, in the order of the network's inputs.
    pub input_names: Vec<String>,
    /// Names of the target columns.
    pub output_names: Vec<String>,
}

impl Saved {
    /// Reads configuration and checkpoint of a run folder. The posterior computes on the processor, until its `device` is set.
    ///
    /// # Errors
    /// [`Error::File`] when the folder has no checkpoint yet, or its files are damaged, foreign or do not fit each other; when an earlier version
    /// trained it to several targets with one noise level for all of them.
    pub fn open(folder: &RunFolder) -> Result<Self> {
        Self::read(folder, None)
    }

    /// The same for a run that was trained with a model of one's own ([`Trainer::with_model`](super::Trainer::with_model)): the same model again,
    /// for instance made with [`stored_config`].
    ///
    /// # Errors
    /// As for [`Saved::open`]; also where the tensors of the two models differ.
    pub fn with_model(folder: &RunFolder, model: Model) -> Result<Self> {
        Self::read(folder, Some(model))
    }

    fn read(folder: &RunFolder, own: Option<Model>) -> Result<Self> {
        let config = stored_config(folder)?;
        let Checkpoint { step, tensors } = folder.require_checkpoint()?;
        Signature::require(own.as_ref().map(Signature::of).as_ref(), &tensors)?;
        let input_names: Vec<String> = json(&tensors, INPUT_NAMES)?;
        let output_names: Vec<String> = json(&tensors, OUTPUT_NAMES)?;
        let standardiser: Standardiser = json(&tensors, STANDARDISER)?;
        standardiser.validate().map_err(|error| tensors.problem(place(STANDARDISER), error.to_string()))?;
        let columns: usize = json(&tensors, OUTPUTS)?;
        if standardiser.x_mean.len() != input_names.len() || standardiser.y_mean.len() != output_names.len() {
            return Err(tensors.problem(place(STANDARDISER), "does not fit the names of the columns"));
        }
        let model = match own {
            Some(own) => own,
            None => Model::new(&config, input_names.len(), columns)?,
        };
        if (model.network.inputs(), model.network.outputs()) != (input_names.len(), columns) {
            return Err(tensors.problem(place(OUTPUTS), "does not fit the network"));
        }
        let (size, levels) = (model.parameter_count(), model.noise_levels());
        noise_levels::require_own(&tensors, levels)?;
        let (last, best_step) = state(&tensors, config.dtype, size, levels)?;
        let (mut components, _) = Component::read_finished(&tensors, size, levels)?;
        components.push(last);
        let noise_std = match tensors.names().any(|name| name == FITTED_NOISE) {
            true => noise_levels::read(&tensors, FITTED_NOISE, &[], levels)?,
            false => Component::pooled_noise_std(&components),
        };
        if let Some(std) = noise_std.iter().find(|std| !(std.is_finite() && **std > 0.0)) {
            let problem = format!("is {std}, expected a positive number");
            return Err(tensors.problem("the noise's standard deviation", problem));
        }
        let components: Vec<Vec<f64>> = components.into_iter().map(|component| component.weights).collect();
        if let Some(k) = components.iter().position(|weights| weights.iter().any(|weight| !weight.is_finite())) {
            return Err(tensors.problem(format!("weights of component {k}"), "are not all finite"));
        }
        let finished = tensors.metadata().get(FINISHED).and_then(|name| Reason::from_name(name));
        let reference = match tensors.names().any(|name| name == REFERENCE) {
            true => {
                let rows = tensors.get(REFERENCE)?.shape.first().copied().unwrap_or(0);
                tensors.f64(REFERENCE, &[rows, input_names.len()])?.to_vec()
            }
            false => Vec::new(),
        };
        let (dtype, device) = (config.dtype, processor());
        let posterior = Posterior { model, components, noise_std, standardiser, dtype, device, reference };
        Ok(Self { config, posterior, steps: step, best_step, finished, input_names, output_names })
    }

    /// Refuses data whose columns or statistics of the training rows are not those that the run was trained on: their test rows may be rows that it
    /// has seen.
    ///
    /// # Errors
    /// [`Error::Argument`] naming the data.
    pub fn require_data(&self, dataset: &Dataset) -> Result<()> {
        if same_data(&self.input_names, &self.output_names, &self.posterior.standardiser, dataset) {
            return Ok(());
        }
        let problem = "have changed since the run was trained (other columns, or other statistics of the training rows), so that its test rows \
                       are not known; restore them, or name rows to measure on by --input";
        Err(Error::Argument { name: format!("data `{}`", dataset.name), problem: problem.into() })
    }
}

/// The component in training or trained last, and the step of its best state.
fn state(tensors: &TensorFile, dtype: Dtype, size: usize, levels: usize) -> Result<(Component, Option<u64>)> {
    if tensors.names().any(|name| name == BEST_WEIGHTS) {
        let step = tensors.u64("best.step_and_waited", &[2])?[0];
        return Ok((Component::read_best(tensors, size, levels)?.0, Some(step)));
    }
    let read = |name: &str, shape: &[usize]| -> Result<Vec<f64>> {
        let shape = noise_levels::stored_shape(tensors, name, shape)?;
        Ok(match dtype {
            Dtype::F32 => tensors.f32(name, shape)?.iter().map(|&v| f64::from(v)).collect(),
            Dtype::F64 => tensors.f64(name, shape)?.to_vec(),
        })
    };
    let log_std = if levels > 0 { read(noise_levels::LOG_STD, &[levels])? } else { Vec::new() };
    Ok((Component { weights: read("weights", &[size])?, log_std }, None))
}

/// The configuration of a run folder.
///
/// # Errors
/// [`Error::File`] as for [`Config::from_toml_text`].
pub fn stored_config(folder: &RunFolder) -> Result<Config> {
    Config::from_toml_text(&folder.file(CONFIG_FILE), folder.config())
}

/// Refuses to continue a run under another configuration.
///
/// # Errors
/// [`Error::File`] naming every key that differs, with both values.
pub fn require_same_config(folder: &RunFolder, config: &Config) -> Result<()> {
    let (stored, asked) = (leaves(&stored_config(folder)?)?, leaves(config)?);
    let keys: std::collections::BTreeSet<&String> = stored.keys().chain(asked.keys()).collect();
    let text = |value: Option<&String>| value.map_or_else(|| "not set".to_string(), Clone::clone);
    let differing: Vec<String> = keys
        .into_iter()
        .filter(|key| stored.get(*key) != asked.get(*key))
        .map(|key| format!("`{key}` was {}, now {}", text(stored.get(key)), text(asked.get(key))))
        .collect();
    if differing.is_empty() {
        return Ok(());
    }
    let problem = format!(
        "the run was made with another configuration: {}; resume with the same settings, or train anew in another folder",
        differing.join("; ")
    );
    Err(Error::File { path: folder.file(CONFIG_FILE), place: "configuration".into(), problem })
}

/// Dotted keys and their values as text.
fn leaves(config: &Config) -> Result<BTreeMap<String, String>> {
    fn walk(table: &Table, path: &str, into: &mut BTreeMap<String, String>) {
        for (name, value) in table {
            let key = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            match value {
                Value::Table(section) => walk(section, &key, into),
                value => {
                    into.insert(key, value.to_string());
                }
            }
        }
    }
    let table =
        Table::try_from(config).map_err(|error| Error::Config { key: "(all)".into(), problem: error.to_string() })?;
    let mut found = BTreeMap::new();
    walk(&table, "", &mut found);
    Ok(found)
}

/// What the checkpoint's metadata say about the data.
pub(super) fn describe(dataset: &Dataset, columns: usize) -> Result<BTreeMap<String, String>> {
    let entry = |key: &str, value: serde_json::Result<String>| match value {
        Ok(text) => Ok((key.to_string(), text)),
        Err(error) => Err(Error::Argument { name: place(key), problem: error.to_string() }),
    };
    Ok(BTreeMap::from([
        entry(STANDARDISER, serde_json::to_string(&dataset.standardiser))?,
        entry(INPUT_NAMES, serde_json::to_string(&dataset.training.input_names()))?,
        entry(OUTPUT_NAMES, serde_json::to_string(&dataset.training.output_names()))?,
        entry(OUTPUTS, serde_json::to_string(&columns))?,
    ]))
}

/// Whether data have these columns and these statistics of their training rows.
fn same_data(inputs: &[String], outputs: &[String], standardiser: &Standardiser, dataset: &Dataset) -> bool {
    let training = &dataset.training;
    inputs == training.input_names() && outputs == training.output_names() && *standardiser == dataset.standardiser
}

/// Refuses to continue on other data: their columns and the statistics of the training rows must be those of the checkpoint.
pub(super) fn require_same_data(checkpoint: &Checkpoint, dataset: &Dataset) -> Result<()> {
    let tensors = &checkpoint.tensors;
    let (inputs, outputs): (Vec<String>, Vec<String>) = (json(tensors, INPUT_NAMES)?, json(tensors, OUTPUT_NAMES)?);
    if same_data(&inputs, &outputs, &json(tensors, STANDARDISER)?, dataset) {
        return Ok(());
    }
    let problem = format!(
        "the data `{}` have changed since the checkpoint (other columns, or other statistics of the training rows); restore them, or train \
         anew in another folder",
        dataset.name
    );
    Err(tensors.problem(place(STANDARDISER), problem))
}

fn json<T: DeserializeOwned>(tensors: &TensorFile, key: &str) -> Result<T> {
    serde_json::from_str(tensors.metadata_value(key)?)
        .map_err(|error| tensors.problem(place(key), format!("cannot be read: {error}")))
}

fn place(key: &str) -> String {
    format!("metadata `{key}`")
}
