//! Training that goes wrong, and training under different conditions.

use super::support::{SMALL, command, joined, livi};
use livi::export::TensorData;
use livi::run_folder::RunFolder;
use std::fs;
use std::io::Read;
use std::process::Stdio;

#[test]
fn numbers_that_overflow_stop_training_and_keep_the_last_good_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let settings = [
        "--set",
        "training.learning_rate=1e30",
        "--set",
        "training.checkpoint_every=1",
        "--set",
        "training.log_every=1",
    ];
    let found = livi(folder.path(), &joined(&[&["train", "toy", "--out", "run"], &settings, &SMALL]));
    assert_eq!(found.code, Some(1), "{}", found.stderr);
    assert!(found.stderr.contains("is not finite"), "{}", found.stderr);

    let checkpoint = RunFolder::open(folder.path().join("run")).unwrap().require_checkpoint().unwrap();
    let stands = format!("the last good checkpoint, after step {}, is kept in run", checkpoint.step);
    assert!(found.stderr.contains(&stands), "{stands}: {}", found.stderr);
    let failed = format!("step {}: ", checkpoint.step + 1);
    assert!(found.stderr.contains(&failed), "{failed}: {}", found.stderr);
    for name in checkpoint.tensors.names() {
        if let TensorData::F32(values) = &checkpoint.tensors.get(name).unwrap().data {
            assert!(values.iter().all(|value| value.is_finite()), "{name}");
        }
    }
}

#[test]
fn the_number_of_threads_does_not_change_a_bit() {
    let folder = tempfile::tempdir().unwrap();
    let train = |threads: &str, out: &str| {
        let arguments =
            joined(&[&["train", "toy", "--set", "training.steps=100", "--threads", threads, "--out", out], &SMALL]);
        livi(folder.path(), &arguments).succeeded();
        fs::read(folder.path().join(out).join("checkpoint.safetensors")).unwrap()
    };
    assert!(train("1", "one") == train("2", "two"));
}

#[test]
fn another_seed_gives_another_posterior() {
    let folder = tempfile::tempdir().unwrap();
    let train = |seed: &str| {
        let arguments =
            joined(&[&["train", "toy", "--set", "training.steps=10", "--seed", seed, "--out", seed], &SMALL]);
        livi(folder.path(), &arguments).succeeded();
        fs::read(folder.path().join(seed).join("checkpoint.safetensors")).unwrap()
    };
    assert!(train("1") != train("2"));
}

#[test]
fn training_with_the_upper_bound_on_the_entropy_warns_on_standard_error_alone() {
    let folder = tempfile::tempdir().unwrap();
    let train = |method: &str| {
        let setting = format!("entropy.method={method}");
        let arguments = ["train", "toy", "--set", "training.steps=3", "--set", &setting, "--json", "--out", method];
        let found = livi(folder.path(), &joined(&[&arguments, &SMALL]));
        assert_eq!(found.code, Some(0), "{}", found.stderr);
        serde_json::from_str::<serde_json::Value>(&found.stdout).unwrap();
        found.stderr
    };
    let warning = train("largest");
    assert!(warning.starts_with("warning: `entropy.method` is `largest`, an upper bound"), "{warning}");
    assert!(warning.contains("for diagnosis only"), "{warning}");
    assert!(!train("exact").contains("warning"));
}

#[test]
fn classes_are_trained_evaluated_and_predicted() {
    let folder = tempfile::tempdir().unwrap();
    let rows: String = (0..80).map(|row| format!("{},{}\n", row as f64 / 40.0 - 1.0, usize::from(row >= 40))).collect();
    fs::write(folder.path().join("data.csv"), format!("x,label\n{rows}")).unwrap();
    let text = "[data]\nsource = \"csv\"\npath = \"data.csv\"\ntarget = [\"label\"]\ntest_fraction = 0.25\n[likelihood]\nkind = \"softmax\"\n";
    fs::write(folder.path().join("c.toml"), text).unwrap();
    let settings = ["--set", "training.steps=1500", "--set", "training.learning_rate=0.01", "--json"];
    let result = livi(folder.path(), &joined(&[&["train", "c.toml", "--out", "run"], &settings, &SMALL])).succeeded();
    let result: serde_json::Value = serde_json::from_str(&result).unwrap();
    assert_eq!(result["test"]["likelihood"], "softmax");
    assert!(result["test"]["accuracy"].as_f64().unwrap() > 0.8, "{result}");
    let found = livi(folder.path(), &["predict", "run", "--input", "data.csv", "--json"]).succeeded();
    let found: serde_json::Value = serde_json::from_str(&found).unwrap();
    for row in 0..80 {
        let sum =
            found["label_probability_0"][row].as_f64().unwrap() + found["label_probability_1"][row].as_f64().unwrap();
        assert!((sum - 1.0).abs() < 1e-12);
    }
    assert_eq!((&found["label_class"][0], &found["label_class"][79]), (&0.0.into(), &1.0.into()));
}

#[test]
fn classes_without_a_training_row_and_single_rows_are_remarked_upon() {
    let folder = tempfile::tempdir().unwrap();
    let write = |labels: &[usize]| {
        let rows: String = labels.iter().enumerate().map(|(row, label)| format!("{row},{label}\n")).collect();
        fs::write(folder.path().join("data.csv"), format!("x,label\n{rows}")).unwrap();
    };
    let text = "[data]\nsource = \"csv\"\npath = \"data.csv\"\ntarget = [\"label\"]\n[likelihood]\nkind = \"softmax\"\n[training]\nsteps = 3\n";
    fs::write(folder.path().join("c.toml"), text).unwrap();
    let train = |out: &str, fraction: &str| {
        let setting = format!("data.test_fraction={fraction}");
        let found = livi(folder.path(), &joined(&[&["train", "c.toml", "--out", out, "--set", &setting], &SMALL]));
        assert_eq!(found.code, Some(0), "{}", found.stderr);
        found.stderr
    };
    write(&[0, 1, 0, 1]);
    assert!(!train("good", "0").contains("warning"));
    write(&[0, 3, 0, 1]);
    let warning = train("gap", "0");
    assert!(warning.contains("warning: 1 of 4 classes have no training row: 2;"), "{warning}");
    write(&[20, 0, 0]);
    let warning = train("wide", "0");
    assert!(warning.contains("19 of 21 classes") && warning.contains("1, 2, 3, 4, 5, 6, 7, 8, ..;"), "{warning}");
    write(&[0, 0]);
    assert!(train("single", "0.5").contains("a single training row"));
}

#[test]
fn a_second_process_may_not_train_in_the_same_folder() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = joined(&[&["train", "toy", "--set", "training.steps=100000000", "--out", "run"], &SMALL]);
    let mut first = command(folder.path(), &arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let metrics = folder.path().join("run/metrics.jsonl");
    while fs::metadata(&metrics).map_or(0, |meta| meta.len()) == 0 {
        std::thread::yield_now();
    }
    let second = livi(folder.path(), &["train", "--resume", "--out", "run"]);
    first.kill().unwrap();
    first.wait().unwrap();
    second.refused(&["lock", "is training in this folder"]);
}

#[test]
fn a_reader_that_goes_away_is_no_panic() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [vec!["verify", "toy", "--methods", "exact"], vec!["info"], vec!["train", "--help"]] {
        let mut child =
            command(folder.path(), &arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let mut errors = String::new();
        child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        let status = child.wait().unwrap();
        assert!(status.success(), "{arguments:?}: {status}, {errors}");
        assert_eq!(errors, "", "{arguments:?}");
    }
}
