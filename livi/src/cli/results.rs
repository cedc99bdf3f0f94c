//! What follows training: evaluation, pictures, report, and the result on standard output.

use super::output::{emit, json_text};
use crate::data::Dataset;
use crate::device::beside_training;
use crate::pictures::draw_pictures;
use crate::report::RunResult;
use crate::run_folder::{REPORT_FILE, RunFolder};
use crate::train::{Ending, Saved};
use crate::{Error, Result};
use autograd::Device;
use serde_json::{Map, Value};

/// Evaluates a run completed on a device, draws its pictures, writes result and report, and shows the result.
pub(super) fn conclude(
    folder: &RunFolder,
    dataset: &Dataset,
    ending: &Ending,
    peak_bytes: usize,
    device: Device,
    json: bool,
) -> Result<()> {
    // One that cannot be read is made anew.
    let before = RunResult::read(folder).ok().flatten().filter(|_| ending.seconds == 0.0);
    let result = match before {
        // Nothing was trained this time, and the report, which comes last, says that nothing else is missing.
        Some(before) if folder.file(REPORT_FILE).is_file() => before,
        before => complete(folder, dataset, ending, peak_bytes, device, before)?,
    };
    let path = folder.path().display().to_string();
    if json {
        let mut object: Map<String, Value> = Map::from_iter([("run".to_string(), Value::String(path))]);
        match serde_json::to_value(&result) {
            Ok(Value::Object(fields)) => object.extend(fields),
            Ok(_) => {}
            Err(error) => return Err(Error::Argument { name: "--json".into(), problem: error.to_string() }),
        }
        return emit(&format!("{}\n", json_text(&object)?));
    }
    emit(&result.table(&path))
}

/// Evaluation, pictures and report of a run whose training is complete; `before` is the result where it had one already.
fn complete(
    folder: &RunFolder,
    dataset: &Dataset,
    ending: &Ending,
    peak_bytes: usize,
    device: Device,
    before: Option<RunResult>,
) -> Result<RunResult> {
    let mut saved = Saved::open(folder)?;
    saved.posterior.device = beside_training(device);
    let mut result = RunResult::of(folder, &saved, dataset, ending, peak_bytes)?;
    if let Some(before) = before {
        // The time that training took is the one noted then.
        result.seconds = before.seconds;
    }
    result.write(folder)?;
    let pictures = draw_pictures(folder, &saved, dataset)?;
    let mut notes = Vec::new();
    if !pictures.iter().any(|(stem, _)| stem == "spectrum") {
        notes.push(
            "The singular spectrum is not drawn: the sampler has too many latents for it to be quick.".to_string(),
        );
    }
    folder.write_report(&result.report(folder, &pictures, &notes))?;
    Ok(result)
}
