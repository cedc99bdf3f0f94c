//! The state of a run to continue from, as a safetensors file.

use std::collections::BTreeMap;
use std::io;

use sha2::{Digest, Sha256};

use super::{CHECKPOINT_FILE, METRICS_FILE, RunFolder};
use crate::atomic::io_error;
use crate::export::{NamedTensor, TensorFile, read_tensors, write_tensors};
use crate::{Error, Result};

/// Metadata key that says that a safetensors file is a checkpoint, and its value.
const KIND: (&str, &str) = ("kind", "livi checkpoint");
/// Metadata key of the step.
const STEP: &str = "step";
/// Metadata key of the checksum over all the rest.
const CHECKSUM: &str = "sha256";

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
    /// metadata keys `kind`, `step` and `sha256` are this function's own.
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
        if let Some(key) = [KIND.0, STEP, CHECKSUM].into_iter().find(|key| metadata.contains_key(*key)) {
            let problem = "the key is reserved, expected another".to_string();
            return Err(Error::Argument { name: format!("checkpoint metadata `{key}`"), problem });
        }
        let mut metadata = metadata.clone();
        metadata.insert(KIND.0.into(), KIND.1.into());
        metadata.insert(STEP.into(), step.to_string());
        let mut sorted: Vec<&NamedTensor> = tensors.iter().collect();
        sorted.sort_by(|a, b| a.name.cmp(&b.name));
        metadata.insert(CHECKSUM.into(), checksum(sorted, &metadata));
        writer.metrics.sync_data().map_err(io_error(&self.file(METRICS_FILE), "flush to disk"))?;
        write_tensors(self.file(CHECKPOINT_FILE), tensors, &metadata)
    }

    /// The checkpoint, or `None` when the run has not saved one yet.
    ///
    /// # Errors
    /// [`Error::File`] when the file is truncated, foreign, damaged or no checkpoint; [`Error::Io`] when it cannot be read.
    pub fn load_checkpoint(&self) -> Result<Option<Checkpoint>> {
        let tensors = match read_tensors(self.file(CHECKPOINT_FILE)) {
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let kind = tensors.metadata_value(KIND.0)?;
        if kind != KIND.1 {
            return Err(tensors.problem("metadata `kind`", format!("is `{kind}`, expected `{}`", KIND.1)));
        }
        // Checkpoints of earlier versions have none.
        if let Some(written) = tensors.metadata().get(CHECKSUM)
            && *written != checksum(tensors.tensors(), tensors.metadata())
        {
            let problem = "is not that of what the file holds: it was damaged or changed after it was written; \
                           take a copy, or train anew";
            return Err(tensors.problem(format!("metadata `{CHECKSUM}`"), problem));
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

/// SHA-256 over tensors in the order of their names and all other metadata, every part behind its length.
fn checksum<'a>(tensors: impl IntoIterator<Item = &'a NamedTensor>, metadata: &BTreeMap<String, String>) -> String {
    let mut sum = Sha256::new();
    let mut add = |part: &[u8]| {
        sum.update((part.len() as u64).to_le_bytes());
        sum.update(part);
    };
    for tensor in tensors {
        add(tensor.name.as_bytes());
        add(format!("{} {:?}", tensor.data.dtype_name(), tensor.shape).as_bytes());
        add(&tensor.data.little_endian_bytes());
    }
    for (key, value) in metadata.iter().filter(|(key, _)| *key != CHECKSUM) {
        add(key.as_bytes());
        add(value.as_bytes());
    }
    sum.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
