//! Partially stochastic networks, point estimates, trained weights to start from, and chunks of weight samples.

use super::support::{joined, livi};
use livi::export::{TensorData, WeightSamples, read_samples};
use std::fs;
use std::path::Path;

const SMALL: [&str; 8] = [
    "--set",
    "network.hidden=[4]",
    "--set",
    "training.steps=60",
    "--set",
    "prediction.samples=10",
    "--set",
    "sampler.hidden=[8]",
];

const POINT: [&str; 4] = ["--set", "network.stochastic=[]", "--set", "training.samples=1"];

fn train(folder: &Path, out: &str, settings: &[&str]) -> String {
    livi(folder, &joined(&[&["train", "toy", "--out", out], &SMALL, settings])).succeeded()
}

fn sampled(folder: &Path, run: &str, count: &str) -> WeightSamples {
    let file = format!("{run}.safetensors");
    livi(folder, &["sample", run, "--samples", count, "--out", &file]).succeeded();
    read_samples(folder.join(file)).unwrap()
}

fn numbers(samples: &WeightSamples) -> &[f32] {
    let TensorData::F32(values) = &samples.values else { panic!("the runs are in f32") };
    values
}

#[test]
fn only_the_chosen_tensors_differ_from_draw_to_draw() {
    let folder = tempfile::tempdir().unwrap();
    let table = train(folder.path(), "run", &["--set", "network.stochastic=[\"layer1.*\"]"]);
    assert!(table.contains("m = 13 network weights, 5 of them drawn and the rest a point estimate"), "{table}");
    let samples = sampled(folder.path(), "run", "6");
    let draws: Vec<&[f32]> = numbers(&samples).chunks_exact(13).collect();
    for i in 0..13 {
        let varies = draws.iter().any(|draw| draw[i] != draws[0][i]);
        // layer0.weight and layer0.bias come first, 8 numbers.
        assert_eq!(varies, i >= 8, "weight {i}");
    }
    for command in [&["evaluate", "run"][..], &["verify", "run"]] {
        livi(folder.path(), command).succeeded();
    }
    fs::write(folder.path().join("x.csv"), "x\n0.1\n0.7\n").unwrap();
    livi(folder.path(), &["predict", "run", "--input", "x.csv", "--output", "y.csv"]).succeeded();
    assert_eq!(fs::read_to_string(folder.path().join("y.csv")).unwrap().lines().count(), 3);
}

#[test]
fn a_point_estimate_is_trained_evaluated_and_drawn_but_has_no_entropy() {
    let folder = tempfile::tempdir().unwrap();
    let table = train(folder.path(), "run", &joined(&[&POINT, &["--set", "training.components=2"]]));
    assert!(table.contains("m = 13 network weights, a point estimate in 2 components"), "{table}");
    assert!(table.contains("entropy 0.00"), "{table}");
    // Two components are an ensemble of two: draws come from them in turn.
    let samples = sampled(folder.path(), "run", "4");
    let draws: Vec<&[f32]> = numbers(&samples).chunks_exact(13).collect();
    assert_eq!((draws[0], draws[1]), (draws[2], draws[3]));
    assert_ne!(draws[0], draws[1]);
    livi(folder.path(), &["evaluate", "run"]).succeeded();
    livi(folder.path(), &["verify", "run"]).refused(&["network.stochastic", "no entropy to verify"]);
}

#[test]
fn training_starts_from_the_weights_of_a_file() {
    let folder = tempfile::tempdir().unwrap();
    train(folder.path(), "point", &POINT);
    let start = numbers(&sampled(folder.path(), "point", "2")).to_vec();
    let still = ["--set", "network.start=point.safetensors", "--set", "training.learning_rate=1e-30"];
    train(folder.path(), "again", &joined(&[&POINT, &still]));
    assert_eq!(numbers(&sampled(folder.path(), "again", "1")), &start[..13]);

    // What is added to the sampler's output starts there, so draws of a sampler with next to no spread do.
    let narrow =
        ["--set", "sampler.init_scale=1e-9", "--set", "sampler.sigma=1e-9", "--set", "likelihood.learn_noise=false"];
    train(folder.path(), "drawn", &joined(&[&still, &narrow]));
    for (found, expected) in numbers(&sampled(folder.path(), "drawn", "1")).iter().zip(&start) {
        assert!((found - expected).abs() < 1e-6, "{found} {expected}");
    }
}

#[test]
fn weights_that_do_not_fit_are_listed() {
    let folder = tempfile::tempdir().unwrap();
    train(folder.path(), "point", &POINT);
    sampled(folder.path(), "point", "1");
    let start = ["train", "toy", "--out", "other", "--set", "network.start=point.safetensors"];
    let refusal = livi(folder.path(), &joined(&[&start, &["--set", "network.hidden=[4, 5]"]]));
    refusal.refused(&[
        "point.safetensors",
        "`layer1.weight` has shape [1, 1, 4], expected [5, 4]",
        "`layer1.bias` has shape [1, 1], expected [5]",
        "`layer2.weight` of shape [1, 5] is missing",
        "layer0.bias, layer0.weight, layer1.bias, layer1.weight",
    ]);
    assert!(!refusal.stderr.contains("`layer0.weight` has"), "{}", refusal.stderr);
    livi(folder.path(), &["train", "toy", "--set", "network.start=nowhere.safetensors"])
        .refused(&["nowhere.safetensors"]);
    assert!(!folder.path().join("other").exists());
}

#[test]
fn patterns_and_samples_that_make_no_sense_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let refused =
        |setting: &str, parts: &[&str]| livi(folder.path(), &["train", "toy", "--set", setting]).refused(parts);
    refused("network.stochastic=[\"fc9.*\"]", &["network.stochastic", "`fc9.*`", "layer0.weight, layer0.bias"]);
    refused("network.stochastic=[]", &["training.samples", "expected 1"]);
    refused("training.chunk=2", &["training.chunk", "a divisor of `training.samples`, 3"]);
    refused("entropy.latents=4", &["entropy.latents", "at most `training.samples`, 3"]);
}

#[test]
fn a_run_notes_the_chunks_that_its_memory_allowed_and_resumes_with_them() {
    let folder = tempfile::tempdir().unwrap();
    let wide = ["train", "toy", "--out", "run", "--set", "network.hidden=[200, 200]", "--set", "sampler.latent=[2]"];
    let wide =
        joined(&[&wide, &["--set", "sampler.hidden=[2]", "--set", "training.steps=3", "--set", "training.samples=8"]]);
    let least = livi(folder.path(), &joined(&[&wide, &["--memory", "1K"]]));
    least.refused(&["raise --memory"]);
    let words: Vec<&str> = least.stderr.split_whitespace().collect();
    let at = words.iter().position(|word| *word == "needs").unwrap();
    livi(folder.path(), &joined(&[&wide, &["--memory", words[at + 1]]])).succeeded();
    let config = fs::read_to_string(folder.path().join("run/config.toml")).unwrap();
    assert!(config.contains("chunk = 1\n"), "{config}");
    livi(folder.path(), &joined(&[&wide, &["--resume"]])).succeeded();
}
