//! Runs with several targets, whose units and noise differ.

use super::support::{SMALL, joined, livi};
use livi::export::{NamedTensor, read_samples, read_tensors, write_tensors};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// Trains `run` to the named columns of a file with inputs `a`, `b` and the targets `price` (thousands, a hundredth of noise) and `rent` (ones, much
/// noise).
fn train(folder: &Path, targets: &str, settings: &[&str]) -> Value {
    let lines: String = (0..90)
        .map(|row| {
            let (a, b) = ((row * 37 % 101) as f64 / 50.0 - 1.0, (row * 53 % 89) as f64 / 40.0 - 1.0);
            let noise = |k: usize| ((k * 7919 + k / 13 * 31) % 251) as f64 / 125.0 - 1.0;
            format!("{a},{b},{},{}\n", 3000.0 + 800.0 * a + 5.0 * noise(row), a - 0.5 * b + noise(row + 90))
        })
        .collect();
    fs::write(folder.join("data.csv"), format!("a,b,price,rent\n{lines}")).unwrap();
    let text = format!(
        "[data]\nsource = \"csv\"\npath = \"data.csv\"\ntarget = [{targets}]\ntest_fraction = 0.3\n[training]\nsteps = 600\n\
         learning_rate = 1e-2\nnoise_learning_rate = 1e-2\n"
    );
    fs::write(folder.join("model.toml"), text).unwrap();
    let arguments = joined(&[&["train", "model.toml", "--out", "run", "--json"], &SMALL, settings]);
    json(&livi(folder, &arguments).succeeded())
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

const BOTH: &str = "\"price\", \"rent\"";
const POOLED: [&str; 4] = ["rmse", "intervals", "mean_epistemic_std", "mean_aleatoric_std"];

#[test]
fn each_target_is_measured_by_name_in_its_own_units() {
    let folder = tempfile::tempdir().unwrap();
    let result = train(folder.path(), BOTH, &[]);
    let test = &result["test"];
    assert!(test["log_likelihood"].is_number() && POOLED.iter().all(|name| test[name].is_null()), "{test}");
    let noise: Vec<f64> = result["noise_std"].as_array().unwrap().iter().map(|std| std.as_f64().unwrap()).collect();
    assert_eq!(noise.len(), 2);
    for (target, (name, noise)) in ["price", "rent"].iter().zip(&noise).enumerate() {
        let found = &test["targets"][target];
        assert_eq!((&found["name"], &found["noise_std"]), (&Value::from(*name), &Value::from(*noise)));
        assert!(found["rmse"].as_f64().unwrap() > 0.0 && found["mean_epistemic_std"].as_f64().unwrap() > 0.0);
        let intervals = found["intervals"].as_array().unwrap();
        assert_eq!(intervals.iter().map(|i| i["probability"].as_f64().unwrap()).collect::<Vec<_>>(), [0.5, 0.9, 0.95]);
        // A normal distribution alone would have 3.92 noise levels of width, the spread of the weights makes it wider.
        assert!(intervals[2]["width"].as_f64().unwrap() > 3.9 * noise, "{found}");
    }
    let metrics = fs::read_to_string(folder.path().join("run/metrics.jsonl")).unwrap();
    let last = json(metrics.lines().last().unwrap());
    assert!(last["noise_std"].as_array().is_some_and(|levels| levels.len() == 2 && levels[0] != levels[1]), "{last}");

    let report = fs::read_to_string(folder.path().join("run/report.md")).unwrap();
    let told = livi(folder.path(), &["evaluate", "run"]).succeeded();
    let page = fs::read_to_string(folder.path().join("run/evaluation.html")).unwrap();
    for name in ["price", "rent"] {
        for measure in ["RMSE", "coverage of 50 % intervals", "coverage of 95 % intervals", "mean epistemic std"] {
            assert!(told.contains(&format!("{measure} of {name}")), "{told}");
            assert!(report.contains(&format!("| test {measure} of {name} |")), "{report}");
        }
        assert!(told.contains(&format!("noise std of {name}")) && report.contains(&format!("| noise std of {name} |")));
        assert!(page.contains(&format!("<caption>{name}</caption>")), "{page}");
    }
    for pooled in ["| test RMSE |", "| noise std |", "intervals |", "epistemic std |"] {
        assert!(!report.contains(pooled), "{pooled} in {report}");
    }
    let evaluation = json(&fs::read_to_string(folder.path().join("run/evaluation.json")).unwrap());
    assert_eq!(evaluation["targets"], test["targets"]);
    assert!(POOLED.iter().all(|name| evaluation[name].is_null()), "{evaluation}");
}

#[test]
fn exported_weights_and_predictions_have_each_targets_noise() {
    let folder = tempfile::tempdir().unwrap();
    let result = train(folder.path(), BOTH, &["--set", "training.components=2"]);
    livi(folder.path(), &["sample", "run", "--samples", "3", "--out", "w.safetensors"]).succeeded();
    let noise = read_samples(folder.path().join("w.safetensors")).unwrap().description.noise_std;
    assert_eq!(Value::from(noise.clone()), result["noise_std"]);
    fs::write(folder.path().join("one.csv"), "a,b\n0.25,-0.5\n").unwrap();
    let predicted = json(&livi(folder.path(), &["predict", "run", "--input", "one.csv", "--json"]).succeeded());
    for (name, std) in ["price", "rent"].iter().zip(&noise) {
        assert_eq!(predicted[format!("{name}_aleatoric_std")][0], *std);
    }
    // Levels of their own in the standardised units too: both targets have about the spread 1 there, rent most of it by noise.
    let tensors = read_tensors(folder.path().join("run/checkpoint.safetensors")).unwrap();
    let levels = tensors.f32("noise.log_std", &[2]).unwrap();
    assert!(levels[1] - levels[0] > 1.0, "{levels:?}");
    assert_eq!(tensors.f64("finished.log_std", &[1, 2]).unwrap().len(), 2);
}

#[test]
fn without_test_rows_the_noise_is_told_by_the_targets_names() {
    let folder = tempfile::tempdir().unwrap();
    let result = train(folder.path(), BOTH, &["--set", "data.test_fraction=0"]);
    assert!(result["test"].is_null() && result["targets"] == serde_json::json!(["price", "rent"]), "{result}");
    let report = fs::read_to_string(folder.path().join("run/report.md")).unwrap();
    assert!(report.contains("| noise std of price |") && report.contains("| noise std of rent |"), "{report}");
}

/// Makes the checkpoint one of an earlier version: a noise level has no axis, and there is no checksum.
fn as_of_an_earlier_version(folder: &Path) {
    let path = folder.join("run/checkpoint.safetensors");
    let mut file = read_tensors(&path).unwrap();
    let names: Vec<String> = file.names().map(String::from).collect();
    let tensors: Vec<NamedTensor> = names
        .iter()
        .map(|name| {
            let mut tensor = file.take(name).unwrap();
            if name.starts_with("noise.log_std") {
                tensor.shape.clear();
                if let livi::export::TensorData::F32(values) = &mut tensor.data {
                    values.truncate(1);
                }
            } else if name == "finished.log_std" {
                tensor.shape.truncate(1);
            }
            tensor
        })
        .collect();
    let mut metadata = file.metadata().clone();
    metadata.remove("sha256");
    write_tensors(&path, &tensors, &metadata).unwrap();
}

#[test]
fn one_noise_level_for_several_targets_of_an_earlier_version_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    train(folder.path(), BOTH, &[]);
    as_of_an_earlier_version(folder.path());
    for command in [
        &["evaluate", "run"][..],
        &["train", "--resume", "--out", "run"],
        &["sample", "run", "--samples", "2", "--out", "w"],
    ] {
        livi(folder.path(), command).refused(&[
            "checkpoint.safetensors",
            "noise.log_std",
            "all 2 targets",
            "train anew",
        ]);
    }
}

#[test]
fn a_run_of_an_earlier_version_with_a_single_target_is_opened_and_continued() {
    let folder = tempfile::tempdir().unwrap();
    let result = train(folder.path(), "\"rent\"", &["--set", "training.components=2"]);
    let arguments = ["evaluate", "run", "--json"];
    let before = livi(folder.path(), &arguments).succeeded();
    as_of_an_earlier_version(folder.path());
    assert_eq!(livi(folder.path(), &arguments).succeeded(), before);
    let again = json(&livi(folder.path(), &["train", "--resume", "--out", "run", "--json"]).succeeded());
    assert_eq!((&again["test"], &again["noise_std"]), (&result["test"], &result["noise_std"]));
    assert_eq!(result["test"]["rmse"], result["test"]["targets"][0]["rmse"]);
}
