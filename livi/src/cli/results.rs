//! What follows training: evaluation, pictures, report, and the result on standard output.

use super::output::{emit, json_text};
use crate::data::Dataset;
use crate::device::beside_training;
use crate::pictures::draw_pictures;
use crate::report::RunResult;
use crate::run_folder::RunFolder;
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
    let mut saved = Saved::open(folder)?;
    saved.posterior.device = beside_training(device);
    let mut result = RunResult::of(folder, &saved, dataset, ending, peak_bytes)?;
    if ending.seconds == 0.0
        && let Ok(Some(before)) = RunResult::read(folder)
    {
        // Nothing was trained this time: the time it took is the one noted then.
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
