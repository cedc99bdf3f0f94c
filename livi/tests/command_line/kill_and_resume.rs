//! Runs that are killed at random moments and resumed end in the same bits as a run that was left alone.

use super::support::{SMALL, command, joined, livi, write_csv};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const KILLS: usize = 10;

/// Starts training in `run` (or its continuation).
fn start(folder: &Path, settings: &[&str]) -> Child {
    let arguments = joined(&[&["train"], settings, &["--resume", "--out", "run"]]);
    command(folder, &arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Step of the last whole line of the metrics; 0 where there is none.
fn last_step(folder: &Path) -> u64 {
    let text = fs::read_to_string(folder.join("run/metrics.jsonl")).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let record: Option<serde_json::Value> = whole.lines().last().and_then(|line| serde_json::from_str(line).ok());
    record.and_then(|record| record["step"].as_u64()).unwrap_or(0)
}

/// Waits until the run has written the metrics of `step` or has ended.
fn wait_for(folder: &Path, child: &mut Child, step: u64) {
    while last_step(folder) < step && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Everything that must be equal: metrics and checkpoint, byte for byte.
fn outcome(folder: &Path, run: &str) -> [Vec<u8>; 2] {
    ["metrics.jsonl", "checkpoint.safetensors"].map(|name| fs::read(folder.join(run).join(name)).unwrap())
}

/// Trains undisturbed, then again with `disturb` called on ten processes at random steps, each resumed, and compares.
fn same_bits_after_kills(folder: &Path, settings: &[&str], seed: u64) {
    same_bits_after(folder, &joined(&[settings, &SMALL]), seed, false, kill);
}

/// The same with a model of the settings' own, disturbed in whatever way, if `begun` only after each process has begun to train.
fn same_bits_after(folder: &Path, settings: &[&str], seed: u64, begun: bool, disturb: impl Fn(Child)) {
    livi(folder, &joined(&[&["train"], settings, &["--out", "undisturbed"]])).succeeded();
    let undisturbed = outcome(folder, "undisturbed");
    let result = fs::read_to_string(folder.join("undisturbed/result.json")).unwrap();
    let result: serde_json::Value = serde_json::from_str(&result).unwrap();
    let steps = result["steps"].as_u64().unwrap();

    let mut rng = StdRng::seed_from_u64(seed);
    // Two while the program starts or soon after, the others at random steps of the first half, so that even on a busy machine the run does not end first.
    let mut targets: Vec<u64> = (2..KILLS).map(|_| rng.random_range(1..steps / 2)).collect();
    targets.sort_unstable();
    for target in [0, 0].into_iter().chain(targets) {
        let least = if begun { last_step(folder) + 1 } else { 0 };
        let mut child = start(folder, settings);
        wait_for(folder, &mut child, target.max(least));
        // Anywhere between two steps, in the middle of writing a file, or before the folder is there.
        std::thread::sleep(Duration::from_micros(rng.random_range(0..20_000)));
        assert!(child.try_wait().unwrap().is_none(), "the run ended before it could be disturbed at step {target}");
        disturb(child);
    }
    let rest = livi(folder, &joined(&[&["train"], settings, &["--resume", "--out", "run"]]));
    rest.succeeded();
    assert!(outcome(folder, "run") == undisturbed, "metrics or checkpoint differ");
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Sends SIGINT, as Ctrl-C does, and expects the exit code of an interrupted run.
fn interrupt(mut child: Child) {
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let code = child.wait().unwrap().code();
    assert_eq!(code, Some(130));
}

const FULL_BATCH: [&str; 7] =
    ["toy", "--set", "training.steps=30000", "--set", "training.checkpoint_every=70", "--set", "training.log_every=9"];

#[test]
fn killed_ten_times_with_full_batches() {
    let folder = tempfile::tempdir().unwrap();
    same_bits_after_kills(folder.path(), &FULL_BATCH, 1);
}

#[test]
fn killed_ten_times_with_minibatches_and_early_stopping() {
    let folder = tempfile::tempdir().unwrap();
    write_csv(folder.path(), "data.csv", 200);
    let text = "[data]\nsource = \"csv\"\npath = \"data.csv\"\ntarget = [\"y\"]\nvalidation_fraction = 0.2\n[training]\n\
                steps = 40000\nbatch_size = 30\ncheckpoint_every = 70\nlog_every = 9\n[training.early_stopping]\n\
                patience_evaluations = 20\nevaluate_every = 250\n";
    fs::write(folder.path().join("c.toml"), text).unwrap();
    same_bits_after_kills(folder.path(), &["c.toml"], 2);
}

#[test]
fn killed_ten_times_while_components_with_learned_scales_are_trained_one_after_another() {
    let folder = tempfile::tempdir().unwrap();
    write_csv(folder.path(), "data.csv", 200);
    let text = "[data]\nsource = \"csv\"\npath = \"data.csv\"\ntarget = [\"y\"]\nvalidation_fraction = 0.2\n[sampler]\n\
                learned_scales = true\n[training]\nsteps = 8000\ncomponents = 5\nbatch_size = 30\ncheckpoint_every = 70\n\
                log_every = 9\n[training.early_stopping]\npatience_evaluations = 20\nevaluate_every = 250\n";
    fs::write(folder.path().join("c.toml"), text).unwrap();
    same_bits_after_kills(folder.path(), &["c.toml"], 4);
}

#[test]
fn killed_ten_times_with_augmented_images_and_matrix_free_entropy() {
    let folder = tempfile::tempdir().unwrap();
    super::images::write_bars(folder.path());
    let settings = ["c.toml", "--set", "training.steps=4000"];
    same_bits_after(folder.path(), &settings, 5, false, kill);
}

#[test]
fn interrupted_ten_times() {
    let folder = tempfile::tempdir().unwrap();
    // Steps so slow that half of the run takes seconds: a signal is sent by a program of its own, which a busy machine may start late.
    let slow = ["--set", "training.steps=60000", "--set", "training.log_every=90", "--set", "network.hidden=[30]"];
    let settings = joined(&[&FULL_BATCH, &SMALL, &slow, &["--set", "sampler.hidden=[30]"]]);
    // A program that was started in the background of a shell ignores the signal until it installs its handler: training has begun by then.
    same_bits_after(folder.path(), &settings, 3, true, interrupt);
}

#[test]
fn an_interrupted_run_says_how_to_continue() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = joined(&[&["train", "toy", "--set", "training.steps=100000000", "--out", "run"], &SMALL]);
    let mut child = command(folder.path(), &arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for(folder.path(), &mut child, 1);
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(stderr.contains("livi train --resume --out run"), "{stderr}");
    let checkpoint =
        livi::run_folder::RunFolder::open(folder.path().join("run")).unwrap().require_checkpoint().unwrap();
    assert!(stderr.contains(&format!("interrupted at step {}", checkpoint.step)), "{stderr}");
}

/// A training that ends soon after it has begun, started to ignore hang-ups as by `nohup` or not, is sent one.
#[cfg(target_os = "linux")]
fn hung_up(ignored: bool) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let trap = if ignored { "trap '' HUP; " } else { "" };
    let train = format!(
        "{trap}exec \"$0\" train toy --set training.steps=20000 --set training.log_every=10 --out run {}",
        SMALL.join(" ")
    );
    let mut child = Command::new("sh");
    child.args(["-c", &train, env!("CARGO_BIN_EXE_livi")]).current_dir(folder.path());
    let mut child = child.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for(folder.path(), &mut child, 1);
    let sent = Command::new("kill").args(["-HUP", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
#[cfg(target_os = "linux")]
fn a_hang_up_interrupts_unless_the_run_was_started_to_ignore_it() {
    let (code, stderr) = hung_up(false);
    assert_eq!(code, Some(130), "{stderr}");
    let (code, stderr) = hung_up(true);
    assert_eq!(code, Some(0), "{stderr}");
}

#[test]
fn what_follows_the_last_step_may_be_stopped_at_once_and_done_again() {
    let folder = tempfile::tempdir().unwrap();
    write_csv(folder.path(), "data.csv", 20_000);
    let text = "[data]\nsource = \"csv\"\npath = \"data.csv\"\ntarget = [\"y\"]\ntest_fraction = 0.9\n[training]\nsteps = 20\nbatch_size = 50\n";
    fs::write(folder.path().join("c.toml"), text).unwrap();
    // An evaluation that would take minutes.
    let arguments = joined(&[&["train", "c.toml", "--out", "run"], &SMALL, &["--set", "prediction.samples=100000"]]);
    let mut child = command(folder.path(), &arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for(folder.path(), &mut child, 20);
    // Its checkpoint is the last thing before.
    while !folder.path().join("run/checkpoint.safetensors").is_file() {
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(Duration::from_millis(300));
    let sent = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(!folder.path().join("run/result.json").exists());
}
