//! `--device`, `--threads` and `--tf32` on every command that computes.

use super::support::{SMALL, command, contents, copy_of_trained, joined, livi, trained};
use std::fs;
use std::path::Path;

/// A command line of each command that computes, with what it needs, in a folder as [`trained`] makes it.
const COMMANDS: [&[&str]; 7] = [
    &["train", "model.toml", "--out", "other"],
    &["train", "model.toml", "--profile"],
    &["verify", "run"],
    &["verify", "toy"],
    &["evaluate", "run"],
    &["predict", "run", "--input", "data.csv", "--output", "out.csv"],
    &["sample", "run", "--samples", "2", "--out", "out.safetensors"],
];

/// Runs a command where no card can be seen and asserts that it is refused with these parts and writes nothing.
#[track_caller]
fn refused(folder: &Path, arguments: &[&str], parts: &[&str]) {
    let before = contents(folder);
    let output = command(folder, arguments).env("CUDA_VISIBLE_DEVICES", "").output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
    assert!(message.starts_with("error: ") && !message.contains("panicked"), "{message}");
    for part in parts {
        assert!(message.contains(part), "{arguments:?}: `{part}` is not in: {message}");
    }
    assert!(before == contents(folder), "files changed: {:?}", contents(folder).keys());
}

#[test]
fn a_device_that_is_none_is_refused_with_those_there_are() {
    let folder = copy_of_trained();
    for arguments in COMMANDS {
        for device in ["gpu", "cuda:first", "cuda:-1", "cpu:2"] {
            let found = ["--device", "expected `cpu`, `cuda` or `cuda:N`", device];
            refused(folder.path(), &joined(&[arguments, &["--device", device]]), &found);
        }
    }
}

#[test]
fn a_card_that_is_not_there_is_refused_before_anything_is_written() {
    let folder = copy_of_trained();
    for arguments in COMMANDS {
        refused(folder.path(), &joined(&[arguments, &["--device", "cuda"]]), &["--device cuda:0: "]);
        refused(folder.path(), &joined(&[arguments, &["--device", "cuda:3"]]), &["--device cuda:3: "]);
    }
    #[cfg(not(feature = "cuda"))]
    refused(folder.path(), &["train", "toy", "--device", "cuda"], &["built without GPU support", "--features cuda"]);
}

#[test]
fn tf32_is_for_single_precision_on_cards() {
    let folder = copy_of_trained();
    for arguments in COMMANDS {
        refused(folder.path(), &joined(&[arguments, &["--tf32"]]), &["--tf32: is for cards", "give --device cuda"]);
    }
    let double = ["train", "toy", "--device", "cuda", "--tf32", "--dtype", "f64"];
    refused(folder.path(), &double, &["--tf32: is for f32", "the computation is in f64"]);
}

#[test]
fn threads_are_the_processors() {
    let folder = copy_of_trained();
    for arguments in COMMANDS {
        let threads = |count: &'static str| joined(&[arguments, &["--threads", count]]);
        refused(folder.path(), &joined(&[&threads("2"), &["--device", "cuda"]]), &["--threads: is for the processor"]);
        refused(folder.path(), &threads("2000"), &["--threads: is 2000, expected at most 1024"]);
    }
}

#[test]
fn naming_the_processor_or_its_threads_changes_no_bit() {
    let folder = copy_of_trained();
    let train = joined(&[&["train", "model.toml", "--out", "again", "--device", "cpu"], &SMALL]);
    livi(folder.path(), &train).succeeded();
    for file in ["checkpoint.safetensors", "metrics.jsonl"] {
        let of = |run: &str| fs::read(folder.path().join(run).join(file)).unwrap();
        assert!(of("again") == of("run"), "{file} differs");
    }
    let printed = |arguments: &[&str], device: &[&str]| livi(trained(), &joined(&[arguments, device])).succeeded();
    let predict = ["predict", "run", "--input", "data.csv", "--json"];
    for named in [["--device", "cpu"], ["--threads", "1"], ["--threads", "3"]] {
        assert_eq!(printed(&predict, &named), printed(&predict, &[]), "{named:?}");
    }
}
