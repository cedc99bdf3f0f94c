//! The folder of one training run: what is in it, who may write to it, and how it survives being killed.
//!
//! | file | content |
//! |---|---|
//! | `run.json` | version of this layout, version of the crate, seed, and what created the run |
//! | `config.toml` | the configuration as run |
//! | `metrics.jsonl` | one JSON object a line, each with its `step` |
//! | `checkpoint.safetensors` | the state to continue from, replaced as a whole |
//! | `samples.safetensors` | weight samples, see [`crate::export`] |
//! | `plots/` | pictures, SVG and PNG |
//! | `report.md` | a short report |
//! | `result.json` | the result of a completed run, see [`crate::report::RunResult`] |
//! | `lock` | process number of the training process that holds the folder |
//!
//! Every file but the metrics is replaced atomically (see [`crate::atomic`]). Metrics are appended; on resuming,
//! the lines past the checkpoint's step are cut off, so that the file ends up as if the run had never stopped.
//! Write a step's metrics **before** its checkpoint.

mod checkpoint;
mod lock;
mod metrics;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::atomic::{io_error, remove_stale_temporaries, write_atomic};
use crate::{Error, Result};

pub use checkpoint::Checkpoint;

use lock::Lock;

/// Version of the folder's layout; a folder of another version is refused.
pub const FORMAT_VERSION: u32 = 1;

/// Name of the file with the run's description.
pub const RUN_FILE: &str = "run.json";
/// Name of the file with the configuration as run.
pub const CONFIG_FILE: &str = "config.toml";
/// Name of the file with the metrics, one JSON object a line.
pub const METRICS_FILE: &str = "metrics.jsonl";
/// Name of the file with the state to continue from.
pub const CHECKPOINT_FILE: &str = "checkpoint.safetensors";
/// Name of the file with weight samples.
pub const SAMPLES_FILE: &str = "samples.safetensors";
/// Name of the report.
pub const REPORT_FILE: &str = "report.md";
/// Name of the folder with the pictures.
pub const PLOTS_FOLDER: &str = "plots";
/// Name of the lock file; it stays in the folder, what counts is whether a living process holds it.
pub const LOCK_FILE: &str = "lock";

/// The content of `run.json`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct RunDescription {
    /// Version of the folder's layout, [`FORMAT_VERSION`].
    pub format_version: u32,
    /// Version of the crate that created the run.
    pub crate_version: String,
    /// Seed of the run.
    pub seed: u64,
    /// What created the run, for instance the command line.
    pub created_by: String,
}

/// An open run folder.
///
/// [`RunFolder::create`] and [`RunFolder::resume`] open it for training, under a lock held until the value is
/// dropped or the process ends in whatever way; [`RunFolder::open`] opens it for reading.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    description: RunDescription,
    config: String,
    /// The metrics file and the lock, for a folder opened for training.
    writer: Option<Writer>,
}

#[derive(Debug)]
struct Writer {
    metrics: File,
    /// Held for its lifetime only.
    _lock: Lock,
}

impl RunFolder {
    /// Creates a run folder (and the folders above it) and takes its lock.
    ///
    /// `config` is the configuration's text as run, `created_by` says what created the run, for instance the
    /// command line. What a creation killed half-way left behind is replaced.
    ///
    /// # Errors
    /// [`Error::File`] when the folder holds a run or anything else already (the message says what to do), or when
    /// another living process holds its lock; [`Error::Io`] when it cannot be written. Nothing is overwritten.
    ///
    /// # Examples
    /// ```
    /// use livi::run_folder::RunFolder;
    /// let folder = tempfile::tempdir().unwrap();
    /// let path = folder.path().join("toy");
    /// let run = RunFolder::create(&path, "steps = 10", 7, "livi train toy").unwrap();
    /// run.append_metrics(&serde_json::json!({ "step": 1, "elbo": -3.5 })).unwrap();
    /// drop(run);
    /// let run = RunFolder::open(&path).unwrap();
    /// assert_eq!(run.config(), "steps = 10");
    /// assert_eq!(run.description().seed, 7);
    /// assert_eq!(run.read_metrics().unwrap()[0]["elbo"], -3.5);
    /// assert!(RunFolder::create(&path, "steps = 20", 7, "livi train toy").is_err());
    /// ```
    pub fn create(path: impl AsRef<Path>, config: &str, seed: u64, created_by: &str) -> Result<Self> {
        let path = path.as_ref();
        // Looked at before the lock is taken, so that a refused folder gets no lock file, and again under it.
        Self::require_free(path)?;
        fs::create_dir_all(path).map_err(io_error(path, "create"))?;
        let lock = Lock::take(path)?;
        Self::require_free(path)?;
        remove_stale_temporaries(path)?;
        let description = RunDescription {
            format_version: FORMAT_VERSION,
            crate_version: env!("CARGO_PKG_VERSION").into(),
            seed,
            created_by: created_by.into(),
        };
        let mut text = serde_json::to_string_pretty(&description).map_err(|error| Error::File {
            path: path.join(RUN_FILE),
            place: "description".into(),
            problem: error.to_string(),
        })?;
        text.push('\n');
        write_atomic(path.join(RUN_FILE), text)?;
        let plots = path.join(PLOTS_FOLDER);
        fs::create_dir_all(&plots).map_err(io_error(&plots, "create"))?;
        write_atomic(path.join(METRICS_FILE), "")?;
        // The configuration comes last: a folder without one is a creation that was not completed.
        write_atomic(path.join(CONFIG_FILE), config)?;
        let metrics = metrics::open_for_appending(&path.join(METRICS_FILE))?;
        let writer = Some(Writer { metrics, _lock: lock });
        Ok(Self { path: path.to_path_buf(), description, config: config.into(), writer })
    }

    /// Opens a run folder for reading (evaluation, prediction, sampling); it may be training at the time.
    ///
    /// # Errors
    /// [`Error::File`] when it does not exist, when files are missing (each is named), or when it is of another
    /// format version; [`Error::Io`] when a file cannot be read.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        if !path.is_dir() {
            return Err(problem(path, "run folder", "does not exist, expected a folder made by `livi train`"));
        }
        let missing: Vec<String> = [RUN_FILE, CONFIG_FILE, METRICS_FILE]
            .iter()
            .filter(|name| !path.join(name).is_file())
            .map(|name| format!("`{name}`"))
            .collect();
        if !missing.is_empty() {
            return Err(problem(
                path,
                "run folder",
                format!(
                    "is incomplete, missing {}; it is no run folder, or its creation was interrupted: train anew",
                    missing.join(", ")
                ),
            ));
        }
        let description = read_description(&path.join(RUN_FILE))?;
        let config = path.join(CONFIG_FILE);
        let config = fs::read_to_string(&config).map_err(io_error(&config, "read"))?;
        Ok(Self { path: path.to_path_buf(), description, config, writer: None })
    }

    /// Opens a run folder to continue its training: takes the lock, removes what a killed process left half
    /// written, and cuts the metrics back to the checkpoint's step (to nothing when there is no checkpoint).
    ///
    /// # Errors
    /// As [`RunFolder::open`]; besides [`Error::File`] when another living process holds the lock, or the
    /// checkpoint or a line of the metrics cannot be read.
    pub fn resume(path: impl AsRef<Path>) -> Result<Self> {
        // Opened once to answer for a folder that is none before a lock file is put into it.
        let mut run = Self::open(path)?;
        let lock = Lock::take(&run.path)?;
        remove_stale_temporaries(&run.path)?;
        let plots = run.plots_folder();
        fs::create_dir_all(&plots).map_err(io_error(&plots, "create"))?;
        remove_stale_temporaries(&plots)?;
        let step = run.load_checkpoint()?.map(|checkpoint| checkpoint.step);
        let metrics = metrics::open_for_appending(&run.file(METRICS_FILE))?;
        metrics::cut_back(&run.file(METRICS_FILE), &metrics, step)?;
        run.writer = Some(Writer { metrics, _lock: lock });
        Ok(run)
    }

    /// Resumes the run in `path` when there is one, creates it otherwise.
    ///
    /// # Errors
    /// As [`RunFolder::create`] and [`RunFolder::resume`].
    pub fn resume_or_create(path: impl AsRef<Path>, config: &str, seed: u64, created_by: &str) -> Result<Self> {
        let path = path.as_ref();
        match Self::holds_run(path) {
            true => Self::resume(path),
            false => Self::create(path, config, seed, created_by),
        }
    }

    /// Whether `path` holds a run whose creation was completed.
    pub fn holds_run(path: impl AsRef<Path>) -> bool {
        let path = path.as_ref();
        path.join(RUN_FILE).is_file() && path.join(CONFIG_FILE).is_file()
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What `run.json` says.
    pub fn description(&self) -> &RunDescription {
        &self.description
    }

    /// Text of the configuration as run.
    pub fn config(&self) -> &str {
        &self.config
    }

    /// Path of a file in the folder, for instance `run.file(SAMPLES_FILE)`.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The folder of the pictures; it exists in every created run.
    pub fn plots_folder(&self) -> PathBuf {
        self.path.join(PLOTS_FOLDER)
    }

    /// Replaces `report.md`.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be written.
    pub fn write_report(&self, text: &str) -> Result<()> {
        write_atomic(self.file(REPORT_FILE), text)
    }

    /// The open metrics file and lock, or an error when the folder was opened for reading.
    fn writer(&self) -> Result<&Writer> {
        self.writer.as_ref().ok_or_else(|| Error::Argument {
            name: self.path.display().to_string(),
            problem: "the run folder is open for reading only; training opens it with create or resume".into(),
        })
    }

    /// Refuses a path where [`RunFolder::create`] would: one that holds anything but the traces of a creation that was not completed.
    ///
    /// # Errors
    /// [`Error::File`] saying what is there and what to do; [`Error::Io`] when the folder cannot be listed.
    pub fn require_free(path: &Path) -> Result<()> {
        let entries = match fs::read_dir(path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(io_error(path, "list")(error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            names.push(entry.map_err(io_error(path, "list"))?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        let has = |name: &str| names.iter().any(|found| found == name);
        if has(RUN_FILE) && has(CONFIG_FILE) {
            return Err(problem(
                path,
                "run folder",
                "holds a run already; continue it with --resume, choose another folder with --out, or remove it",
            ));
        }
        // Only what `create` itself writes before the configuration, and only with a description that is ours.
        let begun = has(RUN_FILE) && read_description(&path.join(RUN_FILE)).is_ok();
        let ours = |name: &String| {
            name == LOCK_FILE
                || name.starts_with(crate::atomic::TEMPORARY_PREFIX)
                || (begun && [RUN_FILE, METRICS_FILE, PLOTS_FOLDER].contains(&name.as_str()))
        };
        match names.iter().find(|name| !ours(name)) {
            Some(name) => Err(problem(
                path,
                "run folder",
                format!("is not empty (it holds `{name}`) and holds no run; choose another folder with --out"),
            )),
            None => Ok(()),
        }
    }
}

/// Reads and checks `run.json`.
fn read_description(path: &Path) -> Result<RunDescription> {
    let text = fs::read_to_string(path).map_err(io_error(path, "read"))?;
    let value: serde_json::Value = serde_json::from_str(&text)
        .map_err(|error| problem(path, format!("line {}", error.line()), format!("is no JSON: {error}")))?;
    // The version is looked at first: another version may have other fields.
    match value.get("format_version").and_then(serde_json::Value::as_u64) {
        Some(version) if version == u64::from(FORMAT_VERSION) => {}
        Some(version) => {
            return Err(problem(
                path,
                "format_version",
                format!(
                    "is {version}, this livi {} reads {FORMAT_VERSION}; the run was made by livi {}",
                    env!("CARGO_PKG_VERSION"),
                    value.get("crate_version").and_then(serde_json::Value::as_str).unwrap_or("of an unknown version")
                ),
            ));
        }
        None => return Err(problem(path, "format_version", format!("is missing, expected {FORMAT_VERSION}"))),
    }
    serde_json::from_value(value).map_err(|error| problem(path, "description", error.to_string()))
}

/// An [`Error::File`].
fn problem(path: &Path, place: impl Into<String>, problem: impl Into<String>) -> Error {
    Error::File { path: path.to_path_buf(), place: place.into(), problem: problem.into() }
}

#[cfg(test)]
mod tests;
