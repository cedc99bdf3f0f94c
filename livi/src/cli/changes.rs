//! Where a command's configuration comes from: a preset, a file or a run folder, and the settings changed on top.

use crate::config::{Config, Dtype, presets};
use crate::run_folder::RunFolder;
use crate::train::stored_config;
use crate::{Error, Result};
use clap::{Args, ValueEnum};
use std::path::Path;

/// Settings on top of a configuration.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct Changes {
    /// Change a setting, for instance training.steps=500; may be given several times
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Seed of every random number (the setting `seed`)
    #[arg(long)]
    pub seed: Option<u64>,
    /// Number format of training and prediction (the setting `dtype`)
    #[arg(long)]
    pub dtype: Option<DtypeArg>,
}

/// Number formats on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum DtypeArg {
    /// 32-bit floating point
    F32,
    /// 64-bit floating point
    F64,
}

impl Changes {
    /// Puts the settings on top and checks the whole.
    pub fn apply(&self, config: &mut Config) -> Result<()> {
        for assignment in &self.set {
            config.set(assignment).map_err(|error| match error {
                Error::Argument { problem, .. } => Error::Argument { name: "--set".into(), problem },
                other => other,
            })?;
        }
        if let Some(seed) = self.seed {
            config.seed = seed;
        }
        match self.dtype {
            Some(DtypeArg::F32) => config.dtype = Dtype::F32,
            Some(DtypeArg::F64) => config.dtype = Dtype::F64,
            None => {}
        }
        if let Some(path) = &mut config.data.path {
            // So that the run folder can be used from any other working folder.
            *path = std::path::absolute(&path).map_err(|source| Error::Io {
                path: path.clone(),
                action: "resolve",
                source,
            })?;
        }
        config.validate()
    }
}

/// A configuration with the name that its run folders get.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub name: String,
    pub config: Config,
}

/// The configuration that `source` names: a preset, a TOML file or a run folder.
pub(super) fn configuration(source: &str, changes: &Changes) -> Result<Named> {
    let path = Path::new(source);
    let mut named = if is_preset(source) {
        Named { name: source.into(), config: Config::preset(source)? }
    } else if let Some(folder) = folder(source) {
        let folder = RunFolder::open(folder)?;
        Named { name: stem(path), config: stored_config(&folder)? }
    } else if path.exists() || path.extension().is_some_and(|extension| extension == "toml") {
        Named { name: stem(path), config: Config::from_toml_file(path)? }
    } else if source.starts_with("uci-") && !source.contains('/') {
        Named { name: source.into(), config: Config::preset(source)? }
    } else {
        let problem = format!(
            "`{source}` is neither a preset nor a file or run folder that exists; the presets are {}, and uci-SET for any other set of that layout",
            presets::names().join(", ")
        );
        return Err(Error::Argument { name: "configuration".into(), problem });
    };
    changes.apply(&mut named.config)?;
    Ok(named)
}

fn is_preset(source: &str) -> bool {
    presets::names().iter().any(|name| name == source)
}

/// The folder that a source names. The name of a preset names that preset, also beside a folder of the same name: the folder is `./NAME` then.
pub(super) fn folder(source: &str) -> Option<&Path> {
    Some(Path::new(source)).filter(|path| path.is_dir() && !is_preset(source))
}

fn stem(path: &Path) -> String {
    path.file_stem().map_or_else(|| "run".into(), |stem| stem.to_string_lossy().into_owned())
}
