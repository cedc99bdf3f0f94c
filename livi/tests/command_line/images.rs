//! Training, evaluating and predicting on a small set of images.

use super::support::{Finished, joined, livi};
use livi::export::{NamedTensor, TensorData, read_samples, write_tensors};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// A big-endian header and bytes: an idx file.
fn idx(magic: u32, sizes: &[usize], bytes: &[u8]) -> Vec<u8> {
    let mut file = magic.to_be_bytes().to_vec();
    sizes.iter().for_each(|&size| file.extend((size as u32).to_be_bytes()));
    file.extend(bytes);
    file
}

/// Images of `side` rows and columns with a bright bar in their first eight: upright, lying or a block, for classes 0, 1 and 2.
fn write_set(folder: &Path, side: usize, train: usize, test: usize) {
    fs::create_dir_all(folder).unwrap();
    for (part, count) in [("train", train), ("t10k", test)] {
        let (mut pixels, mut labels) = (Vec::new(), Vec::new());
        for k in 0..count {
            let (class, at) = (k % 3, k / 3 % 5);
            for (row, column) in (0..side).flat_map(|row| (0..side).map(move |column| (row, column))) {
                let (upright, lying) = ((at..at + 2).contains(&column), (at..at + 2).contains(&row));
                let bright = [upright, lying, upright && lying][class];
                pixels.push(if bright { 200 + (k % 50) as u8 } else { (7 * k + row + column) as u8 % 30 });
            }
            labels.push(class as u8);
        }
        fs::write(folder.join(format!("{part}-images-idx3-ubyte")), idx(0x0803, &[count, side, side], &pixels))
            .unwrap();
        fs::write(folder.join(format!("{part}-labels-idx1-ubyte")), idx(0x0801, &[count], &labels)).unwrap();
    }
}

pub const CONFIG: &str = "\
[data]
source = \"images\"
path = \"bars\"
validation_fraction = 0.2
[data.augmentation]
padding = 1
flip = true
[network]
architecture = \"layers\"
input = [1, 8, 8]
layers = [\"conv 4 padding=1\", \"relu\", \"max_pool 2\", \"flatten\", \"linear 3\"]
[likelihood]
kind = \"softmax\"
[sampler]
kind = \"mm\"
latent = [3, 3]
hidden = [8, 8]
init_scale = 0.3
[entropy]
method = \"slq\"
[training]
steps = 400
batch_size = 20
samples = 2
learning_rate = 5e-3
warmup = 0.5
checkpoint_every = 20
log_every = 7
[prediction]
samples = 20
";

/// The set and its configuration in a folder.
pub fn write_bars(folder: &Path) {
    write_set(&folder.join("bars"), 8, 150, 60);
    fs::write(folder.join("c.toml"), CONFIG).unwrap();
}

fn train(folder: &Path, settings: &[&str]) -> Finished {
    livi(folder, &joined(&[&["train", "c.toml", "--out", "run"], settings]))
}

#[test]
fn bars_are_learned_evaluated_told_from_noise_and_predicted() {
    let folder = tempfile::tempdir().unwrap();
    write_bars(folder.path());
    train(folder.path(), &[]).succeeded();
    let noise: Vec<u8> = (0..64 * 30).map(|k: u32| (k.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let other = folder.path().join("noise");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("t10k-images-idx3-ubyte"), idx(0x0803, &[30, 8, 8], &noise)).unwrap();
    fs::write(other.join("t10k-labels-idx1-ubyte"), idx(0x0801, &[30], &[0; 30])).unwrap();
    let arguments = ["evaluate", "run", "--ood", "noise", "--temperature", "--json"];
    let found: Value = serde_json::from_str(&livi(folder.path(), &arguments).succeeded()).unwrap();
    assert!(found["accuracy"].as_f64().unwrap() > 0.9, "{found}");
    assert_eq!(found["out_of_distribution"][0]["name"], "noise");
    assert!(found["temperature"]["temperature"].as_f64().unwrap() > 0.0, "{found}");
    let saved = fs::read_to_string(folder.path().join("run/evaluation.json")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&saved).unwrap(), found);
    let page = fs::read_to_string(folder.path().join("run/evaluation.html")).unwrap();
    assert!(page.contains("AUROC") && page.matches("<svg").count() == 2, "{} plots", page.matches("<svg").count());

    livi(folder.path(), &["predict", "run", "--input", "bars", "--output", "p.csv"]).succeeded();
    let table = fs::read_to_string(folder.path().join("p.csv")).unwrap();
    assert_eq!(table.lines().count(), 61);
    let right = table.lines().skip(1).enumerate().filter(|(k, line)| line.starts_with(&format!("{}", k % 3))).count();
    assert!(right > 54, "{right} of 60 classes");
    livi(folder.path(), &["sample", "run", "--samples", "3", "--out", "w.safetensors"]).succeeded();
    // New images have no labels.
    let pixels = TensorData::F32((0..128).map(|k| k as f32 / 128.0).collect());
    let x = NamedTensor::new("x", [2, 8, 8], pixels);
    write_tensors(folder.path().join("new.safetensors"), &[x], &Default::default()).unwrap();
    let new = livi(folder.path(), &["predict", "run", "--input", "new.safetensors", "--json"]).succeeded();
    assert_eq!(serde_json::from_str::<Value>(&new).unwrap()["class_class"].as_array().unwrap().len(), 2);
    livi(folder.path(), &["evaluate", "run", "--ood", "new.safetensors"]).succeeded();
    livi(folder.path(), &["predict", "run", "--input", "bars", "--json", "--quantiles", "0.5"])
        .refused(&["--quantiles"]);
}

#[test]
fn images_of_another_shape_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    write_bars(folder.path());
    train(folder.path(), &["--set", "network.input=[1,4,16]", "--set", "network.layers=[\"flatten\",\"linear 3\"]"])
        .succeeded();
    livi(folder.path(), &["evaluate", "run", "--ood", "bars"]).refused(&["--ood", "[1, 8, 8]", "[1, 4, 16]"]);
    let wrong = livi(folder.path(), &["train", "c.toml", "--out", "other", "--set", "network.input=[1,9,9]"]);
    wrong.refused(&["network.input", "64 numbers"]);
}

#[test]
fn a_network_of_flat_inputs_takes_the_images_it_was_trained_on() {
    let folder = tempfile::tempdir().unwrap();
    write_bars(folder.path());
    write_set(&folder.path().join("wide"), 4, 9, 9);
    for (out, input) in [("shaped", "network.input=[1,8,8]"), ("flat", "network.input=[]")] {
        let settings = ["--set", "network.architecture=mlp", "--set", "network.layers=[]", "--set", input];
        let arguments = joined(&[&["train", "c.toml", "--out", out, "--set", "training.epochs=1"], &settings]);
        livi(folder.path(), &arguments).succeeded();
        livi(folder.path(), &["evaluate", out, "--ood", "bars"]).succeeded();
        livi(folder.path(), &["predict", out, "--input", "bars", "--json"]).succeeded();
        livi(folder.path(), &["predict", out, "--input", "wide", "--json"]).refused(&["--input", "[1, 4, 4]"]);
    }
}

#[test]
fn a_network_that_does_not_make_one_output_a_class_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    write_bars(folder.path());
    let layers = "network.layers=[\"flatten\",\"linear 4\"]";
    train(folder.path(), &["--set", layers]).refused(&["network.layers", "4 outputs", "need 3"]);
    let layers = "network.layers=[\"linear 3\"]";
    train(folder.path(), &["--set", layers]).refused(&["network.layers", "flatten"]);
}

#[test]
fn what_goes_with_images_only_is_refused_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["train", "toy", "--set", "data.augmentation.flip=true", "--out", "run"];
    livi(folder.path(), &arguments).refused(&["data.augmentation", "source `images` only"]);
    let run = super::support::trained();
    livi(run, &["evaluate", "run", "--ood", "x"]).refused(&["--ood", "images"]);
    livi(run, &["evaluate", "run", "--temperature"]).refused(&["--temperature", "softmax"]);
}

#[test]
fn batch_normalisation_predicts_each_image_on_its_own() {
    let folder = tempfile::tempdir().unwrap();
    write_bars(folder.path());
    let layers = "network.layers=[\"conv 4 padding=1 bias=false\",\"wide_block 4\",\"batch_norm\",\"relu\",\"mean\",\"linear 3\"]";
    train(folder.path(), &["--set", layers, "--set", "training.steps=300"]).succeeded();
    livi(folder.path(), &["predict", "run", "--input", "bars", "--output", "all.csv"]).succeeded();
    // The first three images alone.
    fs::create_dir(folder.path().join("three")).unwrap();
    for (name, header, size) in [("t10k-images-idx3-ubyte", 16, 64), ("t10k-labels-idx1-ubyte", 8, 1)] {
        let mut bytes = fs::read(folder.path().join("bars").join(name)).unwrap()[..header + 3 * size].to_vec();
        bytes[7] = 3;
        fs::write(folder.path().join("three").join(name), bytes).unwrap();
    }
    livi(folder.path(), &["predict", "run", "--input", "three", "--output", "three.csv"]).succeeded();
    let lines = |name: &str| {
        fs::read_to_string(folder.path().join(name)).unwrap().lines().map(String::from).collect::<Vec<_>>()
    };
    let numbers = |line: &String| line.split(',').map(|cell| cell.parse::<f64>().unwrap()).collect::<Vec<f64>>();
    for (all, alone) in lines("all.csv")[1..4].iter().zip(&lines("three.csv")[1..]) {
        assert!(numbers(all).iter().zip(numbers(alone)).all(|(a, b)| (a - b).abs() < 1e-5), "{all}\n{alone}");
    }
    let found = livi(folder.path(), &["evaluate", "run", "--json"]).succeeded();
    let found: Value = serde_json::from_str(&found).unwrap();
    assert!(found["accuracy"].as_f64().unwrap() > 0.8, "{found}");

    let sample = ["sample", "run", "--samples", "5", "--out", "w.safetensors"];
    let text = livi(folder.path(), &sample).succeeded();
    assert!(text.contains("block1.bn2.running_var: 5 x [4]"), "{text}");
    let samples = read_samples(folder.path().join("w.safetensors")).unwrap();
    let names: Vec<&str> = samples.beside.iter().map(|tensor| tensor.name.as_str()).collect();
    let expected = ["block1.bn1", "block1.bn2", "bn1"]
        .map(|layer| ["running_mean", "running_var"].map(|kind| format!("{layer}.{kind}")))
        .concat();
    assert_eq!(names, expected);
    for tensor in &samples.beside {
        let TensorData::F32(values) = &tensor.data else { panic!("the run is in f32") };
        assert_eq!(tensor.shape, [5, 4]);
        // Every weight sample has statistics of its own.
        assert!(values[..4] != values[4..8] && values.iter().all(|value| value.is_finite()), "{}", tensor.name);
        assert!(tensor.name.ends_with("mean") || values.iter().all(|&value| value > 0.0), "{}", tensor.name);
    }
}

#[test]
fn a_lenet_is_trained_evaluated_predicted_with_and_sampled() {
    let folder = tempfile::tempdir().unwrap();
    write_set(&folder.path().join("bars"), 16, 60, 30);
    let (before, network) = CONFIG.split_once("[network]").unwrap();
    let (_, after) = network.split_once("[likelihood]").unwrap();
    let lenet = "[network]\narchitecture = \"lenet\"\ninput = [1, 16, 16]\n[likelihood]";
    fs::write(folder.path().join("c.toml"), [before, lenet, after].concat()).unwrap();
    train(folder.path(), &["--set", "training.steps=120", "--set", "prediction.samples=6"]).succeeded();
    let found = livi(folder.path(), &["evaluate", "run", "--json"]).succeeded();
    let found: Value = serde_json::from_str(&found).unwrap();
    assert_eq!((&found["rows"], &found["samples"]), (&30.into(), &6.into()));
    let likelihood = found["negative_log_likelihood"].as_f64().unwrap();

    let found = livi(folder.path(), &["predict", "run", "--input", "bars", "--json"]).succeeded();
    let found: Value = serde_json::from_str(&found).unwrap();
    // The same weights on the same images: the likelihood follows from the probabilities.
    let of = |row: usize| found[format!("class_probability_{}", row % 3)][row].as_f64().unwrap();
    let again = -(0..30).map(|row| of(row).ln()).sum::<f64>() / 30.0;
    assert!((again - likelihood).abs() < 1e-6 * likelihood.max(1.0), "{again} {likelihood}");

    livi(folder.path(), &["sample", "run", "--samples", "2", "--out", "w.safetensors"]).succeeded();
    let samples = read_samples(folder.path().join("w.safetensors")).unwrap();
    let layers = ["conv1", "conv2", "fc1", "fc2", "fc3"];
    let expected = layers.map(|layer| ["weight", "bias"].map(|kind| format!("{layer}.{kind}"))).concat();
    assert_eq!(samples.layout.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>(), expected);
    assert_eq!((&samples.layout[4].1, samples.beside.len()), (&vec![120, 16], 0));
}
