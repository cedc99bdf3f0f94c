//! Mixtures of components that are trained one after another.

use super::support::{SMALL, joined, livi, write_csv};
use livi::export::{TensorData, read_samples};
use livi::posterior::{Posterior, component_seed};
use livi::run_folder::RunFolder;
use livi::train::Saved;
use serde_json::Value;
use std::fs;
use std::path::Path;

/// Trains three components in `run` under the folder and answers the result.
fn train(folder: &Path, settings: &[&str]) -> Value {
    write_csv(folder, "data.csv", 60);
    let text = "[data]\nsource = \"csv\"\npath = \"data.csv\"\ntarget = [\"y\"]\ntest_fraction = 0.2\n\
                [training]\nsteps = 100\ncomponents = 3\n";
    fs::write(folder.join("model.toml"), text).unwrap();
    let arguments = joined(&[&["train", "model.toml", "--out", "run", "--json"], &SMALL, settings]);
    serde_json::from_str(&livi(folder, &arguments).succeeded()).unwrap()
}

fn open(folder: &Path) -> Posterior {
    Saved::open(&RunFolder::open(folder.join("run")).unwrap()).unwrap().posterior
}

#[test]
fn components_start_differently_and_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let result = train(folder.path(), &[]);
    assert_eq!((&result["components"], &result["steps"]), (&3.into(), &300.into()));
    let posterior = open(folder.path());
    let [a, b, c] = &posterior.components[..] else { panic!("{} components", posterior.components.len()) };
    assert!(a != b && b != c && a != c);
    assert_eq!(result["sampler_weights"], 3 * posterior.model.parameter_count());
    let report = fs::read_to_string(folder.path().join("run/report.md")).unwrap();
    assert!(report.contains("in 3 components") && report.contains("nats, last component"), "{report}");
}

#[test]
fn the_first_component_is_the_run_with_one() {
    let (three, one) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    train(three.path(), &[]);
    train(one.path(), &["--set", "training.components=1"]);
    assert_eq!(open(three.path()).components[0], open(one.path()).components[0]);
}

#[test]
fn draws_come_from_the_components_in_turn() {
    let folder = tempfile::tempdir().unwrap();
    train(folder.path(), &["--set", "sampler.learned_scales=true"]);
    let mut posterior = open(folder.path());
    let (m, seed) = (posterior.model.drawn.len(), 8);
    // More than two blocks of draws from each component.
    let mixed = posterior.draw(100, seed).unwrap();
    assert_eq!(posterior.draw(41, seed).unwrap(), mixed[..41 * m]);
    let components = std::mem::take(&mut posterior.components);
    for (k, component) in components.into_iter().enumerate() {
        posterior.components = vec![component];
        let own = posterior.draw(34, component_seed(seed, k)).unwrap();
        for (i, draw) in mixed.chunks_exact(m).skip(k).step_by(3).enumerate() {
            assert_eq!(draw, &own[i * m..(i + 1) * m], "draw {i} of component {k}");
        }
    }

    let sample = ["sample", "run", "--samples", "7", "--seed", "8", "--out", "w.safetensors"];
    livi(folder.path(), &sample).succeeded();
    let samples = read_samples(folder.path().join("w.safetensors")).unwrap();
    assert_eq!(samples.description.components, 3);
    let TensorData::F32(exported) = samples.values else { panic!("the run is in f32") };
    assert!(exported.iter().zip(&mixed[..7 * m]).all(|(a, b)| f64::from(*a) == *b));
}

#[test]
fn learned_scales_multiply_the_draws() {
    let folder = tempfile::tempdir().unwrap();
    train(folder.path(), &["--set", "sampler.learned_scales=true"]);
    let mut posterior = open(folder.path());
    let m = posterior.model.drawn.len();
    let mut weights = posterior.components[0].clone();
    let at = weights.len() - m;
    let learned: Vec<f64> = weights[at..].to_vec();
    assert!(learned.iter().all(|log| *log != 0.0), "{learned:?}");
    posterior.components = vec![weights.clone()];
    let scaled = posterior.draw(3, 1).unwrap();
    weights[at..].fill(0.0);
    posterior.components = vec![weights];
    let plain = posterior.draw(3, 1).unwrap();
    for (i, (scaled, plain)) in scaled.iter().zip(&plain).enumerate() {
        let expected = plain * learned[i % m].exp();
        assert!((scaled - expected).abs() < 1e-6 * expected.abs().max(1e-3), "{i}: {scaled} {expected}");
    }
}

#[test]
fn verify_takes_any_component_and_counts_the_scales() {
    let folder = tempfile::tempdir().unwrap();
    train(folder.path(), &["--set", "sampler.learned_scales=true"]);
    let posterior = open(folder.path());
    let mut values = Vec::new();
    for (k, component) in posterior.components.iter().enumerate() {
        let number = k.to_string();
        let text = livi(folder.path(), &["verify", "run", "--component", &number, "--json"]).succeeded();
        let found: Value = serde_json::from_str(&text).unwrap();
        let (_, log_scale) = posterior.model.tensors(component);
        let scales = found["constants"]["scales"].as_f64().unwrap();
        assert!((scales - log_scale.iter().sum::<f64>()).abs() < 1e-12, "{found}");
        values.push(found["methods"][0]["value"].as_f64().unwrap());
    }
    assert!(values[0] != values[1] && values[1] != values[2], "{values:?}");
    let missing = livi(folder.path(), &["verify", "run", "--component", "3"]);
    missing.refused(&["--component", "is 3, but the run has 3, counted from 0"]);
    livi(folder.path(), &["verify", "toy", "--component", "0"]).refused(&["--component", "run folders"]);
}

#[test]
fn the_noise_of_the_mixture_is_the_root_of_the_mean_variance() {
    let folder = tempfile::tempdir().unwrap();
    train(folder.path(), &[]);
    let run = RunFolder::open(folder.path().join("run")).unwrap();
    let tensors = run.require_checkpoint().unwrap().tensors;
    let finished = tensors.f64("finished.log_std", &[2, 1]).unwrap().to_vec();
    let last = f64::from(tensors.f32("noise.log_std", &[1]).unwrap()[0]);
    let variances: f64 = finished.iter().chain([&last]).map(|log_std| (2.0 * log_std).exp()).sum();
    let found = open(folder.path()).noise_std;
    assert_eq!(found.len(), 1);
    assert!((found[0] - (variances / 3.0).sqrt()).abs() < 1e-12, "{found:?}");
}

#[test]
fn a_checkpoint_with_components_of_another_size_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    train(folder.path(), &[]);
    let config = folder.path().join("run/config.toml");
    let text = fs::read_to_string(&config).unwrap();
    assert!(text.contains("hidden = [8]"), "{text}");
    fs::write(&config, text.replace("hidden = [8]", "hidden = [9]")).unwrap();
    livi(folder.path(), &["evaluate", "run"]).refused(&["checkpoint.safetensors", "weights"]);
}
