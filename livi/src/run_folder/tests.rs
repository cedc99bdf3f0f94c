use super::*;
use crate::atomic::TEMPORARY_PREFIX;
use crate::export::{NamedTensor, TensorData, write_tensors};
use serde_json::json;
use std::collections::BTreeMap;

fn message<T: std::fmt::Debug>(result: Result<T>) -> String {
    let error = result.unwrap_err();
    assert_eq!(error.exit_code(), 2, "{error}");
    error.to_string()
}

fn state(step: u64) -> Vec<NamedTensor> {
    vec![
        NamedTensor::new("gamma", [2], TensorData::F32(vec![step as f32, 0.5])),
        NamedTensor::new("noise", [], TensorData::F64(vec![1.0 / step as f64])),
    ]
}

/// A folder with a run whose metrics reach step 5 and whose checkpoint is of step 3.
fn run_stopped_after_checkpoint_3() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("runs").join("toy");
    let run = RunFolder::create(&path, "steps = 5\n", 11, "test").unwrap();
    for step in 1..=5_u64 {
        run.append_metrics(&json!({ "step": step, "elbo": -1.0 / step as f64 })).unwrap();
        if step == 3 {
            run.save_checkpoint(step, &state(step), &BTreeMap::from([("best".into(), "2".into())])).unwrap();
        }
    }
    (folder, path)
}

fn metrics_text(path: &Path) -> String {
    fs::read_to_string(path.join(METRICS_FILE)).unwrap()
}

#[test]
fn a_created_run_opens_with_its_config_and_description() {
    let (_folder, path) = run_stopped_after_checkpoint_3();
    let run = RunFolder::open(&path).unwrap();
    assert_eq!(run.config(), "steps = 5\n");
    assert_eq!((run.description().seed, run.description().format_version), (11, FORMAT_VERSION));
    assert_eq!(run.description().created_by, "test");
    assert!(run.plots_folder().is_dir());
}

#[test]
fn a_checkpoint_survives_a_round_trip() {
    let (_folder, path) = run_stopped_after_checkpoint_3();
    let checkpoint = RunFolder::open(&path).unwrap().load_checkpoint().unwrap().unwrap();
    assert_eq!(checkpoint.step, 3);
    assert_eq!(checkpoint.tensors.f32("gamma", &[2]).unwrap(), [3.0, 0.5]);
    assert_eq!(checkpoint.tensors.f64("noise", &[]).unwrap(), [1.0 / 3.0]);
    assert_eq!(checkpoint.tensors.metadata_value("best").unwrap(), "2");
}

#[test]
fn a_run_without_a_checkpoint_has_none_and_says_so_when_one_is_needed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("toy");
    let run = RunFolder::create(&path, "", 1, "test").unwrap();
    assert!(run.load_checkpoint().unwrap().is_none());
    let message = message(run.require_checkpoint());
    assert!(message.contains(CHECKPOINT_FILE) && message.contains("--resume"), "{message}");
}

#[test]
fn creating_over_a_run_is_refused_and_changes_nothing() {
    let (_folder, path) = run_stopped_after_checkpoint_3();
    let before = metrics_text(&path);
    let message = message(RunFolder::create(&path, "steps = 9\n", 12, "test"));
    assert!(message.contains("--resume") && message.contains("--out"), "{message}");
    assert_eq!(metrics_text(&path), before);
    assert_eq!(RunFolder::open(&path).unwrap().config(), "steps = 5\n");
}

#[test]
fn creating_in_a_folder_with_other_files_is_refused_and_leaves_no_trace() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("config.toml"), "mine").unwrap();
    let message = message(RunFolder::create(folder.path(), "ours", 1, "test"));
    assert!(message.contains("`config.toml`") && message.contains("--out"), "{message}");
    assert_eq!(fs::read_to_string(folder.path().join("config.toml")).unwrap(), "mine");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_run_json_of_another_program_is_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(RUN_FILE), "{}").unwrap();
    let message = message(RunFolder::create(folder.path(), "ours", 1, "test"));
    assert!(message.contains("`run.json`"), "{message}");
    assert_eq!(fs::read_to_string(folder.path().join(RUN_FILE)).unwrap(), "{}");
}

#[test]
fn a_creation_killed_before_its_config_was_written_can_be_repeated() {
    let (_folder, path) = run_stopped_after_checkpoint_3();
    fs::remove_file(path.join(CONFIG_FILE)).unwrap();
    fs::remove_file(path.join(CHECKPOINT_FILE)).unwrap();
    fs::write(path.join(format!("{TEMPORARY_PREFIX}x")), "half").unwrap();
    let run = RunFolder::resume_or_create(&path, "again", 12, "test").unwrap();
    assert_eq!((run.config(), run.description().seed), ("again", 12));
    assert_eq!(metrics_text(&path), "");
}

#[test]
fn resume_or_create_keeps_a_run_that_is_there() {
    let (_folder, path) = run_stopped_after_checkpoint_3();
    let run = RunFolder::resume_or_create(&path, "other", 12, "test").unwrap();
    assert_eq!((run.config(), run.description().seed), ("steps = 5\n", 11));
}

#[test]
fn resuming_cuts_the_metrics_back_to_the_checkpoint() {
    let (_folder, path) = run_stopped_after_checkpoint_3();
    let undisturbed = metrics_text(&path);
    let run = RunFolder::resume(&path).unwrap();
    let steps: Vec<u64> = run.read_metrics().unwrap().iter().map(|record| record["step"].as_u64().unwrap()).collect();
    assert_eq!(steps, [1, 2, 3]);
    for step in 4..=5_u64 {
        run.append_metrics(&json!({ "step": step, "elbo": -1.0 / step as f64 })).unwrap();
    }
    assert_eq!(metrics_text(&path), undisturbed);
}

#[test]
fn resuming_without_a_checkpoint_starts_the_metrics_anew() {
    let (_folder, path) = run_stopped_after_checkpoint_3();
    fs::remove_file(path.join(CHECKPOINT_FILE)).unwrap();
    let run = RunFolder::resume(&path).unwrap();
    assert_eq!(run.read_metrics().unwrap().len(), 0);
}

#[test]
fn a_torn_last_line_is_dropped() {
    let (_folder, path) = run_stopped_after_checkpoint_3();
    let kept: String = metrics_text(&path).lines().take(2).map(|line| format!("{line}\n")).collect();
    fs::write(path.join(METRICS_FILE), format!("{kept}{{\"step\":3,\"el")).unwrap();
    assert_eq!(RunFolder::open(&path).unwrap().read_metrics().unwrap().len(), 2);
    let _run = RunFolder::resume(&path).unwrap();
    assert_eq!(metrics_text(&path), kept);
}

#[test]
fn a_damaged_line_in_the_middle_is_named() {
    let (_folder, path) = run_stopped_after_checkpoint_3();
    let damaged = metrics_text(&path).replacen("{\"elbo\":-0.5", "{\"elbo\":-0.5oops", 1);
    fs::write(path.join(METRICS_FILE), damaged).unwrap();
    let message = message(RunFolder::resume(&path));
    assert!(message.contains(METRICS_FILE) && message.contains("line 2"), "{message}");
}

#[test]
fn a_stale_temporary_file_is_ignored_and_removed() {
    let (_folder, path) = run_stopped_after_checkpoint_3();
    let stale = path.join(format!("{TEMPORARY_PREFIX}kill9"));
    fs::write(&stale, "half a checkpoint").unwrap();
    assert_eq!(RunFolder::open(&path).unwrap().load_checkpoint().unwrap().unwrap().step, 3);
    let run = RunFolder::resume(&path).unwrap();
    assert!(!stale.exists());
    assert_eq!(run.load_checkpoint().unwrap().unwrap().step, 3);
}

#[test]
fn a_folder_in_training_is_refused_by_process_number() {
    let (_folder, path) = run_stopped_after_checkpoint_3();
    let _training = RunFolder::resume(&path).unwrap();
    let message = message(RunFolder::resume(&path));
    assert!(message.contains(&format!("process {}", std::process::id())), "{message}");
}

#[test]
fn a_folder_in_training_can_be_read() {
    let (_folder, path) = run_stopped_after_checkpoint_3();
    let _training = RunFolder::resume(&path).unwrap();
    assert_eq!(RunFolder::open(&path).unwrap().read_metrics().unwrap().len(), 3);
}

#[test]
fn the_lock_file_of_a_dead_process_is_taken_over() {
    let (_folder, path) = run_stopped_after_checkpoint_3();
    // Process 1 is alive on every Unix, so a mere look at the number would refuse this one.
    fs::write(path.join(LOCK_FILE), "1\n").unwrap();
    let _run = RunFolder::resume(&path).unwrap();
    assert_eq!(fs::read_to_string(path.join(LOCK_FILE)).unwrap(), format!("{}\n", std::process::id()));
}

#[test]
fn the_lock_ends_with_the_value() {
    let (_folder, path) = run_stopped_after_checkpoint_3();
    drop(RunFolder::resume(&path).unwrap());
    assert!(RunFolder::resume(&path).is_ok());
}

#[test]
fn every_missing_file_is_named() {
    let (_folder, path) = run_stopped_after_checkpoint_3();
    fs::remove_file(path.join(METRICS_FILE)).unwrap();
    fs::remove_file(path.join(RUN_FILE)).unwrap();
    let message = message(RunFolder::open(&path));
    assert!(message.contains("`run.json`, `metrics.jsonl`"), "{message}");
}

#[test]
fn a_folder_that_does_not_exist_is_named_and_not_created() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("absent");
    let message = message(RunFolder::resume(&path));
    assert!(message.contains("absent") && message.contains("does not exist"), "{message}");
    assert!(!path.exists());
}

#[test]
fn another_format_version_is_refused_with_both_versions() {
    let (_folder, path) = run_stopped_after_checkpoint_3();
    let file = path.join(RUN_FILE);
    let text = fs::read_to_string(&file).unwrap().replace("\"format_version\": 1", "\"format_version\": 99");
    fs::write(&file, text).unwrap();
    let message = message(RunFolder::open(&path));
    assert!(message.contains("format_version: is 99") && message.contains("reads 1"), "{message}");
}

#[test]
fn a_description_that_is_no_json_is_named_with_its_line() {
    let (_folder, path) = run_stopped_after_checkpoint_3();
    fs::write(path.join(RUN_FILE), "{\n oops").unwrap();
    let message = message(RunFolder::open(&path));
    assert!(message.contains("run.json") && message.contains("line 2"), "{message}");
}

#[test]
fn a_truncated_checkpoint_is_named() {
    let (_folder, path) = run_stopped_after_checkpoint_3();
    let file = path.join(CHECKPOINT_FILE);
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() - 3]).unwrap();
    let message = message(RunFolder::resume(&path));
    assert!(message.contains(CHECKPOINT_FILE) && message.contains("truncated"), "{message}");
}

#[test]
fn a_damaged_checkpoint_is_named_wherever_the_damage_is() {
    let (_folder, path) = run_stopped_after_checkpoint_3();
    let file = path.join(CHECKPOINT_FILE);
    let bytes = fs::read(&file).unwrap();
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    // A bit of every number, and a digit of the metadata.
    let step = bytes[..header].windows(4).position(|part| part == b"\"2\",").unwrap() + 1;
    for place in (header..bytes.len()).chain([step]) {
        let mut damaged = bytes.clone();
        damaged[place] ^= 1;
        fs::write(&file, damaged).unwrap();
        let message = message(RunFolder::open(&path).unwrap().load_checkpoint());
        assert!(message.contains(CHECKPOINT_FILE) && message.contains("damaged"), "byte {place}: {message}");
    }
}

#[test]
fn a_foreign_safetensors_file_is_no_checkpoint() {
    let (_folder, path) = run_stopped_after_checkpoint_3();
    write_tensors(path.join(CHECKPOINT_FILE), &state(1), &BTreeMap::new()).unwrap();
    let message = message(RunFolder::open(&path).unwrap().load_checkpoint());
    assert!(message.contains(CHECKPOINT_FILE) && message.contains("`kind`"), "{message}");
}

#[test]
fn a_refused_checkpoint_leaves_the_last_one() {
    let (_folder, path) = run_stopped_after_checkpoint_3();
    let run = RunFolder::resume(&path).unwrap();
    let wrong = NamedTensor::new("gamma", [3], TensorData::F32(vec![0.0; 2]));
    assert!(message(run.save_checkpoint(4, &[wrong], &BTreeMap::new())).contains("`gamma`"));
    assert!(message(run.save_checkpoint(4, &[], &BTreeMap::from([("step".into(), "9".into())]))).contains("reserved"));
    assert_eq!(run.load_checkpoint().unwrap().unwrap().step, 3);
}

#[test]
fn a_metrics_record_without_a_step_is_refused() {
    let (_folder, path) = run_stopped_after_checkpoint_3();
    let run = RunFolder::resume(&path).unwrap();
    let before = metrics_text(&path);
    assert!(message(run.append_metrics(&json!({ "elbo": 1.0 }))).contains("`step`"));
    assert_eq!(metrics_text(&path), before);
}

#[test]
fn a_folder_opened_for_reading_cannot_be_trained_in() {
    let (_folder, path) = run_stopped_after_checkpoint_3();
    let run = RunFolder::open(&path).unwrap();
    assert!(message(run.append_metrics(&json!({ "step": 6 }))).contains("reading"));
    assert!(message(run.save_checkpoint(6, &[], &BTreeMap::new())).contains("reading"));
}

#[test]
fn a_report_is_replaced_whole() {
    let (_folder, path) = run_stopped_after_checkpoint_3();
    let run = RunFolder::open(&path).unwrap();
    run.write_report("a long first report").unwrap();
    run.write_report("short").unwrap();
    assert_eq!(fs::read_to_string(path.join(REPORT_FILE)).unwrap(), "short");
}
