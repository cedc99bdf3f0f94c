//! Configuration of a run: presets, TOML files and `key=value` settings.
//!
//! A configuration is made from a preset or a TOML file (what the file leaves out, but for `data.source`, keeps its
//! default), changed by [`Config::set`], checked by [`Config::validate`] and written beside the results by
//! [`Config::to_toml_string`]. Unknown keys and values of the wrong type are errors that name the key.

mod choices;
mod keys;
pub mod presets;
mod sections;
mod validate;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use crate::{Error, Result};
pub use choices::{
    Activation, Architecture, Dtype, LikelihoodKind, PriorKind, ReportedPart, SamplerKind, Schedule, Source,
};
pub use sections::{
    DataConfig, EarlyStoppingConfig, EntropyConfig, HeadConfig, LikelihoodConfig, NetworkConfig, PredictionConfig,
    PriorConfig, SamplerConfig, TrainingConfig,
};
pub(crate) use validate::quantiles;

/// Version of the configuration's format; files of another version are refused.
pub const FORMAT_VERSION: u32 = 1;

/// Everything that decides a run.
///
/// # Examples
/// ```
/// use livi::config::Config;
/// use livi::entropy::Method;
/// let mut config = Config::preset("toy").unwrap();
/// config.set("training.steps=500").unwrap();
/// config.set("entropy.method=slq").unwrap();
/// config.validate().unwrap();
/// assert_eq!(config.training.steps, Some(500));
/// assert_eq!(config.entropy.method, Method::Slq);
/// let message = config.set("training.stesp=1").unwrap_err().to_string();
/// assert!(message.contains("did you mean `training.steps`"));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Version of this format, [`FORMAT_VERSION`].
    pub format_version: u32,
    /// Seed of every random number of the run, at most 2^63 - 1. Default 0.
    pub seed: u64,
    /// Number format of training and prediction. Default `f32`.
    pub dtype: Dtype,
    /// `[data]`.
    pub data: DataConfig,
    /// `[network]`.
    pub network: NetworkConfig,
    /// `[sampler]`.
    pub sampler: SamplerConfig,
    /// `[likelihood]`.
    pub likelihood: LikelihoodConfig,
    /// `[prior]`.
    pub prior: PriorConfig,
    /// `[entropy]`.
    pub entropy: EntropyConfig,
    /// `[training]`.
    pub training: TrainingConfig,
    /// `[prediction]`.
    pub prediction: PredictionConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            format_version: FORMAT_VERSION,
            seed: 0,
            dtype: Dtype::F32,
            data: DataConfig::default(),
            network: NetworkConfig::default(),
            sampler: SamplerConfig::default(),
            likelihood: LikelihoodConfig::default(),
            prior: PriorConfig::default(),
            entropy: EntropyConfig::default(),
            training: TrainingConfig::default(),
            prediction: PredictionConfig::default(),
        }
    }
}

impl Config {
    /// The named preset: one of [`presets::names`].
    ///
    /// # Errors
    /// [`Error::Argument`] listing the presets when there is none of that name.
    pub fn preset(name: &str) -> Result<Self> {
        presets::preset(name)
    }

    /// Reads a TOML file, which must set `data.source`; other keys it leaves out keep their defaults. The result is
    /// valid.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be read; [`Error::File`] naming line and key for text that is no
    /// TOML, an unknown key, a value of the wrong type or out of its range, no `data.source`, or another format
    /// version.
    pub fn from_toml_file(path: &Path) -> Result<Self> {
        let text =
            fs::read_to_string(path).map_err(|source| Error::Io { path: path.into(), action: "read", source })?;
        Self::from_toml_text(path, &text)
    }

    /// As [`Self::from_toml_file`], for text that was read already; `path` is named in errors.
    ///
    /// # Errors
    /// As for [`Self::from_toml_file`], without [`Error::Io`].
    pub fn from_toml_text(path: &Path, text: &str) -> Result<Self> {
        let refuse = |place: String, problem: String| Error::File { path: path.into(), place, problem };
        let parse_error = |error: toml::de::Error| {
            let line = error.span().map_or(1, |span| line_of(text, span.start));
            refuse(format!("line {line}"), error.message().replace('\n', "; "))
        };
        let lines = key_lines(text).map_err(parse_error)?;
        let document: Table = toml::from_str(text).map_err(parse_error)?;
        let mut config = Self::default();
        let checked = config.merge(&document).and_then(|()| require_source(&document)).and_then(|()| config.validate());
        checked.map_err(|error| match error {
            Error::Config { key, problem } => {
                let place = match lines.get(&key) {
                    Some(line) => format!("line {line}, key `{key}`"),
                    None => format!("key `{key}`"),
                };
                refuse(place, problem)
            }
            other => other,
        })?;
        Ok(config)
    }

    /// Changes one setting, given as `key=value` with the key dotted: `training.steps=500`,
    /// `sampler.latent=[20, 20]`, `data.target=price`. Texts need no quotes.
    ///
    /// The type is checked here, the range by [`Self::validate`], so that several settings can be changed one
    /// after the other. Setting `training.steps` drops `training.epochs` and the reverse.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key, what was found and what was expected, with close keys when there is no
    /// such key; [`Error::Argument`] when there is no `=`. The configuration is then unchanged.
    pub fn set(&mut self, assignment: &str) -> Result<()> {
        let Some((key, raw)) = assignment.split_once('=') else {
            let problem = format!("found `{assignment}`, expected key=value such as training.steps=500");
            return Err(Error::Argument { name: "setting".into(), problem });
        };
        let key = key.trim();
        let refuse = |problem: String| Error::Config { key: key.into(), problem };
        let kind = keys::kind_of(key).ok_or_else(|| refuse(unknown_or_section(key)))?;
        let value = kind.read(raw).map_err(refuse)?;
        let (parents, leaf) = match key.rsplit_once('.') {
            Some((parents, leaf)) => (Some(parents), leaf),
            None => (None, key),
        };
        let mut document = Table::from_iter([(leaf.to_string(), value)]);
        for section in parents.into_iter().flat_map(|parents| parents.rsplit('.')) {
            document = Table::from_iter([(section.to_string(), Value::Table(document))]);
        }
        self.merge(&document)
    }

    /// Checks ranges and whether the settings agree with each other.
    ///
    /// # Errors
    /// [`Error::Config`] naming the first key at fault, its value and what was expected.
    pub fn validate(&self) -> Result<()> {
        validate::validate(self)
    }

    /// The whole configuration as TOML, defaults included; [`Self::from_toml_file`] reads it back unchanged.
    ///
    /// # Errors
    /// [`Error::Config`] when a number cannot be written as TOML (a seed above 2^63 - 1).
    pub fn to_toml_string(&self) -> Result<String> {
        toml::to_string(self).map_err(|error| whole(error.to_string()))
    }

    /// Sixteen hexadecimal digits that differ between configurations (64-bit FNV-1a of the TOML text), the same
    /// on every machine.
    ///
    /// # Errors
    /// As for [`Self::to_toml_string`].
    pub fn config_hash(&self) -> Result<String> {
        let text = self.to_toml_string()?;
        let hash = text
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
        Ok(format!("{hash:016x}"))
    }

    /// Puts the settings of a TOML document on top, after checking every key and type.
    fn merge(&mut self, document: &Table) -> Result<()> {
        check_types(document, "")?;
        let mut merged = Table::try_from(&*self).map_err(|error| whole(error.to_string()))?;
        let given = |key: &str| document.get("training").and_then(|training| training.get(key)).is_some();
        if let Some(training) = merged.get_mut("training").and_then(Value::as_table_mut) {
            match (given("steps"), given("epochs")) {
                (true, false) => training.remove("epochs"),
                (false, true) => training.remove("steps"),
                _ => None,
            };
        }
        overlay(&mut merged, document);
        *self = merged.try_into().map_err(|error: toml::de::Error| whole(error.message().into()))?;
        Ok(())
    }
}

/// An error of the configuration as a whole.
fn whole(problem: String) -> Error {
    Error::Config { key: "(all)".into(), problem }
}

/// Refuses a document that does not say which data: an empty file would train on the toy set.
fn require_source(document: &Table) -> Result<()> {
    if document.get("data").is_some_and(|data| data.get("source").is_some()) {
        return Ok(());
    }
    let problem = format!("is not set, expected one of {}", keys::join(Source::NAMES.iter().copied()));
    Err(Error::Config { key: "data.source".into(), problem })
}

fn unknown_or_section(key: &str) -> String {
    if keys::is_section(key) {
        format!("is a section, expected one of its keys, `{key}.KEY`")
    } else {
        keys::unknown_key(key)
    }
}

/// Checks that every key of the document exists and has a value of its type.
fn check_types(table: &Table, path: &str) -> Result<()> {
    for (name, value) in table {
        let key = dotted(path, name);
        let refuse = |problem: String| Err(Error::Config { key: key.clone(), problem });
        match (keys::kind_of(&key), value) {
            (Some(kind), value) => kind.check(value).or_else(refuse)?,
            (None, Value::Table(section)) if keys::is_section(&key) => check_types(section, &key)?,
            (None, value) if keys::is_section(&key) => {
                return refuse(format!("found {}, expected a section [{key}]", keys::describe(value)));
            }
            _ => return refuse(keys::unknown_key(&key)),
        }
    }
    Ok(())
}

/// Copies the leaves of `document` into `base`.
fn overlay(base: &mut Table, document: &Table) {
    for (name, value) in document {
        match (base.get_mut(name), value) {
            (Some(Value::Table(base)), Value::Table(document)) => overlay(base, document),
            _ => {
                base.insert(name.clone(), value.clone());
            }
        }
    }
}

/// The line of every key (and section) of a TOML text.
fn key_lines(text: &str) -> std::result::Result<BTreeMap<String, usize>, toml::de::Error> {
    fn walk(table: &DeTable<'_>, path: &str, text: &str, lines: &mut BTreeMap<String, usize>) {
        for (name, value) in table {
            let key = dotted(path, name.get_ref());
            lines.insert(key.clone(), line_of(text, name.span().start));
            if let DeValue::Table(section) = value.get_ref() {
                walk(section, &key, text, lines);
            }
        }
    }
    let mut lines = BTreeMap::new();
    walk(DeTable::parse(text)?.get_ref(), "", text, &mut lines);
    Ok(lines)
}

fn dotted(path: &str, name: &str) -> String {
    if path.is_empty() { name.into() } else { format!("{path}.{name}") }
}

/// Line, from 1, of the byte at `offset`.
fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|&byte| byte == b'\n').count()
}

#[cfg(test)]
mod tests;
