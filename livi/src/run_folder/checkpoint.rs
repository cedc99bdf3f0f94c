//! The state of a run to continue from, as a safetensors file.

use std::collections::BTreeMap;
use std::io;

use super::{CHECKPOINT_FILE, METRICS_FILE, RunFolder};
use crate::atomic::io_error;
use crate::export::{NamedTensor, TensorFile, read_tensors, write_tensors};
use crate::{Error, Result};

/// Metadata key that says that a safetensors file is a checkpoint, and its value.
const KIND: (&str, &str) = ("kind", "livi checkpoint");
/// Metadata key of the step.
const STEP: &str = "step";

/// The state of a run after `step` steps.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// Number of completed steps.
    pub step: u64,
    /// The tensors and all metadata; its accessors check names, shapes and types.
    pub tensors: TensorFile,
}

impl RunFolder {
    /// Replaces the checkpoint by the state after `step` steps, in one step.
    ///
    /// The metrics written so far are flushed to the disk before, so a checkpoint is never ahead of them. The
    /// metadata keys `kind` and `step` are this function's own.
    ///
    /// # Errors
    /// [`Error::Argument`] for tensors that do not fit their shapes, reserved keys, or a folder opened for reading;
    /// [`Error::Io`] when a file cannot be written. The last checkpoint then stands.
    pub fn save_checkpoint(
        &self,
        step: u64,
        tensors: &[NamedTensor],
        metadata: &BTreeMap<String, String>,
    ) -> Result<()> {
        let writer = self.writer()?;
        if let Some(key) = [KIND.0, STEP].into_iter().find(|key| metadata.contains_key(*key)) {
            let problem = "the key is reserved, expected another".to_string();
            return Err(Error::Argument { name: format!("checkpoint metadata `{key}`"), problem });
        }
        let mut metadata = metadata.clone();
        metadata.insert(KIND.0.into(), KIND.1.into());
        metadata.insert(STEP.into(), step.to_string());
        writer.metrics.sync_data().map_err(io_error(&self.file(METRICS_FILE), "flush to disk"))?;
        write_tensors(self.file(CHECKPOINT_FILE), tensors, &metadata)
    }

    /// The checkpoint, or `None` when the run has not saved one yet.
    ///
    /// # Errors
    /// [`Error::File`] when the file is truncated, foreign or no checkpoint; [`Error::Io`] when it cannot be read.
    pub fn load_checkpoint(&self) -> Result<Option<Checkpoint>> {
        let tensors = match read_tensors(self.file(CHECKPOINT_FILE)) {
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let kind = tensors.metadata_value(KIND.0)?;
        if kind != KIND.1 {
            return Err(tensors.problem("metadata `kind`", format!("is `{kind}`, expected `{}`", KIND.1)));
        }
        let step = tensors
            .metadata_value(STEP)?
            .parse()
            .map_err(|_| tensors.problem("metadata `step`", "is no whole number of steps"))?;
        Ok(Some(Checkpoint { step, tensors }))
    }

    /// The checkpoint, for commands that need one.
    ///
    /// # Errors
    /// As [`RunFolder::load_checkpoint`]; besides [`Error::File`] when there is none.
    pub fn require_checkpoint(&self) -> Result<Checkpoint> {
        self.load_checkpoint()?.ok_or_else(|| Error::File {
            path: self.file(CHECKPOINT_FILE),
            place: "checkpoint".into(),
            problem: "is missing: the run stopped before its first one; continue it with `livi train --resume`".into(),
        })
    }
}
