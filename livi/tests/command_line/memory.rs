//! Memory: what is refused, and what a whole process takes.

use super::support::{copy_of_trained, livi};
use std::fs;

/// Bytes that the refusal of training with next to no memory names as needed.
fn bytes_needed(message: &str) -> usize {
    let words: Vec<&str> = message.split_whitespace().collect();
    let at = words.iter().position(|word| *word == "needs").unwrap_or_else(|| panic!("no amount in: {message}"));
    words[at + 1].parse().unwrap_or_else(|error| panic!("{error}: {message}"))
}

#[test]
fn memory_that_is_too_small_is_refused_with_the_least_that_would_do() {
    let folder = tempfile::tempdir().unwrap();
    let train = |memory: &str| {
        livi(folder.path(), &["train", "toy", "--out", "run", "--set", "training.steps=1", "--memory", memory])
    };
    let refusal = train("100K");
    refusal.refused(&["102400 are allowed", "raise --memory", "training.batch_size", "training.samples"]);
    assert!(!folder.path().join("run").exists(), "a folder was made for a run that did not start");

    let least = bytes_needed(&refusal.stderr);
    train(&(least - 1).to_string()).refused(&[&format!("needs {least} bytes")]);
    train(&least.to_string()).succeeded();
    assert!(fs::metadata(folder.path().join("run/result.json")).unwrap().is_file());
}

#[test]
fn sizes_that_no_machine_holds_are_refused_before_memory_is_asked_for() {
    let folder = copy_of_trained();
    let most = usize::MAX.to_string();
    let predict = ["predict", "run", "--input", "data.csv", "--output", "out.csv", "--samples"];
    for samples in ["100000000000000", &most] {
        livi(folder.path(), &[&predict[..], &[samples]].concat()).refused(&["needs", "fewer weight samples"]);
        livi(folder.path(), &["sample", "run", "--out", "out", "--samples", samples])
            .refused(&["fewer weight samples"]);
        livi(folder.path(), &["verify", "toy", "--methods", "paper", "--latents", samples]).refused(&["fewer latents"]);
    }
    for hidden in ["[1000000000000]", "[9223372036854775807]", "[3000000000, 3000000000]"] {
        let setting = format!("network.hidden={hidden}");
        livi(folder.path(), &["train", "toy", "--set", &setting, "--out", "large"]).refused(&["weights"]);
    }
    let setting = "training.samples=100000000000";
    livi(folder.path(), &["train", "toy", "--set", setting, "--out", "large"]).refused(&["needs", "are allowed"]);
    assert!(!folder.path().join("large").exists());
}

/// The most resident memory of the program, in kB, as the kernel's high-water mark tells it every half millisecond until the process ends.
#[cfg(target_os = "linux")]
fn most_resident_kb(folder: &std::path::Path, arguments: &[&str]) -> u64 {
    let mut child = super::support::command(folder, arguments).stdout(std::process::Stdio::null()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut most = 0;
    loop {
        // The line is gone once the process has given its memory back.
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        if let Some(amount) = line {
            most = most.max(amount.trim().trim_end_matches("kB").trim().parse().unwrap());
        }
        if let Some(ended) = child.try_wait().unwrap() {
            assert!(ended.success(), "{ended}");
            return most;
        }
        std::thread::sleep(std::time::Duration::from_micros(500));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn training_the_toy_regression_with_its_evaluation_and_pictures_stays_below_60_mb() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["train", "toy", "--out", "run", "--set", "training.steps=400", "--threads", "2"];
    let most = most_resident_kb(folder.path(), &arguments);
    assert!(folder.path().join("run/report.md").is_file());
    // Below the size of the program's own code the mark was not read.
    assert!((4_000..60_000).contains(&most), "{most} kB");
}
