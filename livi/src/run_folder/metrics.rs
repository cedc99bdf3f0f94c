//! The metrics of a run: JSON lines, appended while training, cut back when resuming.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use super::{METRICS_FILE, RunFolder, problem};
use crate::atomic::io_error;
use crate::{Error, Result};

impl RunFolder {
    /// Appends `record` to `metrics.jsonl` as one line.
    ///
    /// It must serialise to a JSON object with a whole number `step`, by which the file is cut back on resuming.
    /// Numbers that are not finite become `null`. The line is handed to the operating system at once and flushed
    /// to the disk with the next checkpoint.
    ///
    /// # Errors
    /// [`Error::Argument`] for a record without a step or a folder opened for reading, [`Error::Io`] when the file
    /// cannot be written.
    pub fn append_metrics(&self, record: &impl Serialize) -> Result<()> {
        let writer = self.writer()?;
        let unusable = |problem: String| Error::Argument { name: "metrics record".into(), problem };
        let record = serde_json::to_value(record).map_err(|error| unusable(error.to_string()))?;
        if step_of(&record).is_none() {
            return Err(unusable(format!("{record} is no object with a whole number `step`")));
        }
        // One write of the whole line: what a kill leaves is a whole line or a torn last one.
        (&writer.metrics)
            .write_all(format!("{record}\n").as_bytes())
            .map_err(io_error(&self.file(METRICS_FILE), "append"))
    }

    /// All records of `metrics.jsonl` in order. A last line without its line break, as a kill may leave it, is left out.
    ///
    /// # Errors
    /// [`Error::File`] naming the line that is no JSON object with a `step`, [`Error::Io`] when the file cannot be read.
    pub fn read_metrics(&self) -> Result<Vec<Value>> {
        let path = self.file(METRICS_FILE);
        let bytes = fs::read(&path).map_err(io_error(&path, "read"))?;
        Ok(parse(&path, &bytes)?.into_iter().map(|line| line.record).collect())
    }
}

/// Opens the metrics file so that every write goes to its end.
pub(super) fn open_for_appending(path: &Path) -> Result<File> {
    OpenOptions::new().append(true).open(path).map_err(io_error(path, "open"))
}

/// Cuts off a torn last line and every line from the first whose step is past `step`; all lines without a step.
pub(super) fn cut_back(path: &Path, file: &File, step: Option<u64>) -> Result<()> {
    let bytes = fs::read(path).map_err(io_error(path, "read"))?;
    let kept = match step {
        None => 0,
        Some(step) => {
            parse(path, &bytes)?.iter().take_while(|line| line.step <= step).last().map_or(0, |line| line.end)
        }
    };
    if kept < bytes.len() {
        file.set_len(kept as u64).map_err(io_error(path, "cut back"))?;
    }
    Ok(())
}

/// A whole line of the metrics.
struct Line {
    step: u64,
    record: Value,
    /// Offset of the byte after its line break.
    end: usize,
}

/// The whole lines of the file's content.
fn parse(path: &Path, bytes: &[u8]) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    let mut end = 0;
    for (index, line) in bytes.split_inclusive(|&byte| byte == b'\n').enumerate() {
        if line.last() != Some(&b'\n') {
            break;
        }
        end += line.len();
        let record: Option<Value> = serde_json::from_slice(line).ok();
        match record.and_then(|record| step_of(&record).map(|step| (step, record))) {
            Some((step, record)) => lines.push(Line { step, record, end }),
            None => {
                let place = format!("line {}", index + 1);
                return Err(problem(path, place, "is no JSON object with a whole number `step`"));
            }
        }
    }
    Ok(lines)
}

fn step_of(record: &Value) -> Option<u64> {
    record.get("step")?.as_u64()
}
