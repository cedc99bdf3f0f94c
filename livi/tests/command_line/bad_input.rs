//! Every bad input is answered with exit code 2 and a message that names the place and what was expected, and changes no file.

use super::support::{SMALL, command, contents, copy_of_trained, joined, livi, trained, write_csv, write_uci_set};
use std::fs;
use std::path::Path;

/// Runs the program in `folder`, asserts that it refuses with a message of these parts and leaves every file as it was.
#[track_caller]
fn refused(folder: &Path, arguments: &[&str], parts: &[&str]) {
    let before = contents(folder);
    livi(folder, arguments).refused(parts);
    assert!(before == contents(folder), "files changed: {:?}", contents(folder).keys());
}

/// Trains on the file `data.csv` with the given content.
#[track_caller]
fn refused_csv(content: &str, parts: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("data.csv"), content).unwrap();
    fs::write(folder.path().join("c.toml"), "[data]\nsource = \"csv\"\npath = \"data.csv\"\ntarget = [\"y\"]\n")
        .unwrap();
    refused(folder.path(), &["train", "c.toml", "--out", "run"], parts);
}

#[test]
fn nan_and_infinity_in_data_name_line_and_column() {
    refused_csv("a,y\n1,2\nNaN,3\n", &["data.csv", "line 3", "`a`", "expected a finite number"]);
    refused_csv("a,y\n1,2\n4,-inf\n", &["data.csv", "line 3", "`y`", "expected a finite number"]);
}

#[test]
fn numbers_too_large_for_single_precision_name_line_and_column() {
    refused_csv("a,y\n1,2\n3,1e300\n", &["line 3, column `y`", "`1e300`", "between -1e18 and 1e18"]);
    let folder = copy_of_trained();
    fs::write(folder.path().join("new.csv"), "a,b\n0,0\n-1e19,0\n").unwrap();
    refused(folder.path(), &["predict", "run", "--input", "new.csv", "--json"], &["line 3, column `a`", "`-1e19`"]);
}

#[test]
fn a_cell_that_is_no_number_names_line_column_and_text() {
    refused_csv("a,y\n1,2\n5,cheap\n", &["data.csv", "line 3", "`y`", "`cheap`", "expected a number"]);
}

#[test]
fn a_missing_target_column_lists_the_columns_there_are() {
    refused_csv("a,b\n1,2\n", &["data.csv", "header", "`y`", "`a`, `b`"]);
}

#[test]
fn a_missing_input_column_of_predict_is_named() {
    let folder = copy_of_trained();
    fs::write(folder.path().join("new.csv"), "a\n1\n").unwrap();
    let arguments = ["predict", "run", "--input", "new.csv", "--output", "out.csv"];
    refused(folder.path(), &arguments, &["new.csv", "`b`", "the columns are `a`"]);
}

#[test]
fn quantiles_that_do_not_rise_between_0_and_1_are_refused() {
    let folder = copy_of_trained();
    for levels in ["0.5,0.5", "0.5,0.1", "0,0.5", "-0.1,0.5", "0.5,1"] {
        let levels = format!("--quantiles={levels}");
        let arguments = ["predict", "run", "--input", "data.csv", "--output", "out.csv", &levels];
        refused(folder.path(), &arguments, &["quantiles", "expected ascending numbers between 0 and 1"]);
    }
}

#[test]
fn a_split_out_of_range_names_the_splits_there_are() {
    let folder = tempfile::tempdir().unwrap();
    write_uci_set(&folder.path().join("set"));
    let arguments = [
        "train",
        "uci-energy",
        "--set",
        "data.path=set",
        "--set",
        "data.set=set",
        "--set",
        "data.split=7",
        "--out",
        "run",
    ];
    refused(folder.path(), &arguments, &["split", "7 is out of range", "0 to 0"]);
}

#[test]
fn a_damaged_set_is_refused_by_data_check() {
    let folder = tempfile::tempdir().unwrap();
    write_uci_set(&folder.path().join("set"));
    fs::write(folder.path().join("set/index_test_0.txt"), "4 99").unwrap();
    refused(folder.path(), &["data", "check", "set"], &["index_test_0.txt", "row index 99 is out of range"]);
}

#[test]
fn a_csv_file_that_cannot_be_read_is_refused_by_data_check() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("data.csv"), "a;y\n1;2\n").unwrap();
    let found = livi(folder.path(), &["data", "check", "data.csv"]);
    found.refused(&["data.csv: line 1", "separated by commas"]);
    assert_eq!(found.stderr.matches("data.csv").count(), 1, "{}", found.stderr);
    assert!(found.stdout.starts_with("data.csv: could not be read\n"), "{}", found.stdout);
}

#[test]
fn a_path_that_holds_no_data_is_a_problem_in_the_json_of_data_check() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("empty")).unwrap();
    for (path, part) in [("nope", "nope: cannot read"), ("empty", "holds no data set")] {
        let found = livi(folder.path(), &["data", "check", path, "--json"]);
        found.refused(&[part]);
        let json: serde_json::Value = serde_json::from_str(&found.stdout).unwrap();
        assert_eq!(json[0]["path"], path);
        assert!(json[0]["problems"][0].as_str().unwrap().contains(part), "{json}");
    }
}

#[test]
fn a_folder_where_a_table_belongs_is_answered_with_what_is_expected() {
    let folder = copy_of_trained();
    fs::create_dir(folder.path().join("empty")).unwrap();
    refused(folder.path(), &["evaluate", "run", "--input", "empty"], &["empty", "is a folder, expected a CSV file"]);
}

#[test]
fn class_labels_that_are_none_name_file_line_and_column() {
    let folder = tempfile::tempdir().unwrap();
    let text = "[data]\nsource = \"csv\"\npath = \"data.csv\"\ntarget = [\"y\"]\n[likelihood]\nkind = \"softmax\"\n";
    fs::write(folder.path().join("c.toml"), text).unwrap();
    for label in ["-1", "1.5", "65536"] {
        fs::write(folder.path().join("data.csv"), format!("a,y\n1,0\n2,1\n\n3,{label}\n4,0\n")).unwrap();
        let parts = ["data.csv", "line 5, column `y`", &format!("`{label}`"), "a whole number from 0 to 65535"];
        for command in ["train", "verify"] {
            refused(folder.path(), &[command, "c.toml"], &parts);
        }
    }
}

#[test]
fn uci_data_that_are_not_there_say_where_they_are_looked_for() {
    let folder = tempfile::tempdir().unwrap();
    refused(folder.path(), &["train", "uci-energy"], &["data.path", "LIVI_DATA_DIR"]);
    refused(folder.path(), &["train", "uci", "--out", "table"], &["data.path", "LIVI_DATA_DIR"]);
}

#[test]
fn an_empty_variable_for_the_data_folder_counts_as_unset() {
    let folder = tempfile::tempdir().unwrap();
    write_uci_set(&folder.path().join("uci/energy"));
    fs::create_dir(folder.path().join("mnist")).unwrap();
    for preset in ["uci-energy", "mnist-lenet"] {
        let output = command(folder.path(), &["train", preset]).env("LIVI_DATA_DIR", "").output().unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(message.contains("`data.path`: is not set"), "{message}");
    }
}

#[test]
fn a_truncated_checkpoint_is_refused_by_every_command_that_reads_it() {
    let folder = copy_of_trained();
    let path = folder.path().join("run/checkpoint.safetensors");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 10]).unwrap();
    let parts = ["checkpoint.safetensors", "truncated or of another format"];
    refused(folder.path(), &["evaluate", "run"], &parts);
    refused(folder.path(), &["predict", "run", "--input", "data.csv", "--output", "out.csv"], &parts);
    refused(folder.path(), &["sample", "run", "--samples", "2", "--out", "out.safetensors"], &parts);
    refused(folder.path(), &["verify", "run"], &parts);
}

#[test]
fn a_truncated_checkpoint_is_not_trained_over() {
    let folder = copy_of_trained();
    let path = folder.path().join("run/checkpoint.safetensors");
    fs::write(&path, b"half").unwrap();
    livi(folder.path(), &["train", "--resume", "--out", "run"]).refused(&["checkpoint.safetensors", "truncated"]);
    assert_eq!(fs::read(&path).unwrap(), b"half");
}

#[test]
fn a_foreign_safetensors_file_in_place_of_the_checkpoint_is_refused() {
    let folder = copy_of_trained();
    livi(folder.path(), &["sample", "run", "--samples", "2", "--out", "samples.safetensors"]).succeeded();
    fs::copy(folder.path().join("samples.safetensors"), folder.path().join("run/checkpoint.safetensors")).unwrap();
    refused(folder.path(), &["evaluate", "run"], &["checkpoint.safetensors", "kind", "expected `livi checkpoint`"]);
}

#[test]
fn a_configuration_key_that_does_not_exist_names_line_and_close_keys() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("c.toml"), "seed = 1\n\n[training]\nstesp = 5\n").unwrap();
    refused(
        folder.path(),
        &["train", "c.toml"],
        &["c.toml", "line 4", "`training.stesp`", "did you mean `training.steps`"],
    );
    refused(
        folder.path(),
        &["train", "toy", "--set", "training.stesp=5"],
        &["`training.stesp`", "did you mean `training.steps`"],
    );
}

#[test]
fn a_configuration_value_of_the_wrong_type_names_key_and_type() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("c.toml"), "[training]\nsteps = \"many\"\n").unwrap();
    refused(folder.path(), &["train", "c.toml"], &["c.toml", "line 2", "`training.steps`", "expected a whole number"]);
    refused(folder.path(), &["train", "toy", "--set", "training.steps=1.5"], &["`training.steps`", "1.5", "expected"]);
    refused(folder.path(), &["train", "toy", "--set", "training.steps"], &["--set", "key=value"]);
}

#[test]
fn sigma_must_be_positive() {
    let folder = tempfile::tempdir().unwrap();
    for sigma in ["0", "-0.1"] {
        let setting = format!("sampler.sigma={sigma}");
        refused(folder.path(), &["train", "toy", "--set", &setting], &["`sampler.sigma`", "above 0"]);
        let flag = format!("--sigma={sigma}");
        refused(folder.path(), &["verify", "toy", &flag], &["--sigma", "above 0"]);
    }
}

#[test]
fn sizes_of_zero_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let expected = "expected sizes of at least 1";
    refused(folder.path(), &["train", "toy", "--set", "sampler.latent=[0]"], &["`sampler.latent`", expected]);
    refused(folder.path(), &["verify", "toy", "--set", "sampler.latent=[0]"], &["`sampler.latent`", expected]);
    refused(folder.path(), &["train", "toy", "--set", "network.hidden=[7, 0]"], &["`network.hidden`", expected]);
    refused(folder.path(), &["sample", "run", "--samples", "0", "--out", "x"], &["--samples"]);
}

#[test]
fn a_run_folder_that_is_incomplete_names_what_is_missing() {
    let folder = copy_of_trained();
    fs::remove_file(folder.path().join("run/config.toml")).unwrap();
    for arguments in [vec!["evaluate", "run"], vec!["verify", "run"], vec!["train", "--resume", "--out", "run"]] {
        refused(folder.path(), &arguments, &["run", "`config.toml`"]);
    }
    refused(folder.path(), &["evaluate", "nowhere"], &["nowhere", "does not exist"]);
}

#[test]
fn an_emptied_configuration_of_a_run_folder_is_named() {
    let folder = copy_of_trained();
    fs::write(folder.path().join("run/config.toml"), "").unwrap();
    for arguments in [vec!["evaluate", "run"], vec!["verify", "run"], vec!["train", "--resume", "--out", "run"]] {
        refused(folder.path(), &arguments, &["config.toml", "`data.source`", "is not set"]);
    }
}

#[test]
fn a_configuration_file_that_does_not_say_which_data_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("c.toml"), "").unwrap();
    for command in ["train", "verify"] {
        refused(folder.path(), &[command, "c.toml"], &["c.toml", "`data.source`", "is not set", "`csv`"]);
    }
}

#[test]
fn a_run_folder_without_checkpoint_says_so() {
    let folder = copy_of_trained();
    fs::remove_file(folder.path().join("run/checkpoint.safetensors")).unwrap();
    refused(folder.path(), &["evaluate", "run"], &["checkpoint", "is missing"]);
}

#[test]
fn a_run_folder_of_another_version_names_both_versions() {
    let folder = copy_of_trained();
    let path = folder.path().join("run/run.json");
    let text = fs::read_to_string(&path).unwrap().replace("\"format_version\": 1", "\"format_version\": 99");
    fs::write(&path, text).unwrap();
    refused(folder.path(), &["evaluate", "run"], &["run.json", "format_version", "is 99"]);
    refused(folder.path(), &["train", "--resume", "--out", "run"], &["run.json", "is 99"]);
}

#[test]
fn a_folder_that_holds_a_run_is_not_trained_into_without_resume() {
    let folder = copy_of_trained();
    let arguments = joined(&[&["train", "model.toml", "--out", "run"], &SMALL]);
    refused(folder.path(), &arguments, &["run", "holds a run already", "--resume"]);
}

#[test]
fn a_folder_that_holds_anything_else_is_not_trained_into() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("thesis")).unwrap();
    fs::write(folder.path().join("thesis/chapter.tex"), "words").unwrap();
    refused(folder.path(), &["train", "toy", "--out", "thesis"], &["thesis", "`chapter.tex`", "--out"]);
    refused(folder.path(), &["train", "toy", "--resume", "--out", "thesis"], &["thesis", "incomplete"]);
}

#[test]
fn resuming_with_other_settings_names_the_keys_and_both_values() {
    let folder = copy_of_trained();
    let arguments = ["train", "--resume", "--out", "run", "--set", "training.learning_rate=0.5", "--seed", "9"];
    let parts = ["`training.learning_rate` was 0.001, now 0.5", "`seed` was 0, now 9"];
    refused(folder.path(), &arguments, &parts);
}

#[test]
fn resuming_on_data_that_have_changed_is_refused() {
    let folder = copy_of_trained();
    // The run's configuration names its data by their absolute path: that of the folder it was copied from.
    let path = folder.path().join("run/config.toml");
    let old = trained().join("data.csv");
    let new = folder.path().join("data.csv");
    let text = fs::read_to_string(&path).unwrap().replace(old.to_str().unwrap(), new.to_str().unwrap());
    fs::write(&path, text).unwrap();
    write_csv(folder.path(), "data.csv", 61);
    livi(folder.path(), &["train", "--resume", "--out", "run"]).refused(&["checkpoint.safetensors", "have changed"]);
}

#[test]
fn rows_that_the_run_may_have_seen_are_not_evaluated_on() {
    let folder = copy_of_trained();
    let path = folder.path().join("run/config.toml");
    let (old, new) = (trained().join("data.csv"), folder.path().join("data.csv"));
    let text = fs::read_to_string(&path).unwrap().replace(old.to_str().unwrap(), new.to_str().unwrap());
    fs::write(&path, text).unwrap();
    livi(folder.path(), &["evaluate", "run"]).succeeded();
    // The same rows in another order: other ones are training rows.
    let content = fs::read_to_string(&new).unwrap();
    let mut lines: Vec<&str> = content.lines().collect();
    lines[1..].reverse();
    fs::write(&new, lines.join("\n")).unwrap();
    refused(folder.path(), &["evaluate", "run"], &["data.csv", "have changed", "--input"]);
    livi(folder.path(), &["evaluate", "run", "--input", "data.csv"]).succeeded();
}

#[test]
fn nothing_is_written_over_the_input_or_a_part_of_the_run() {
    let folder = copy_of_trained();
    let predict = ["predict", "run", "--input", "data.csv", "--output", "./data.csv", "--force"];
    refused(folder.path(), &predict, &["./data.csv", "is the input itself"]);
    let sample = ["sample", "run", "--samples", "2", "--out", "run/checkpoint.safetensors", "--force"];
    refused(folder.path(), &sample, &["checkpoint.safetensors", "is a part of the run"]);
}

#[test]
fn resuming_nothing_is_an_error_rather_than_a_new_run() {
    let folder = tempfile::tempdir().unwrap();
    refused(folder.path(), &["train", "--resume", "--out", "absent"], &["--resume", "no run to resume"]);
}

#[test]
fn outputs_that_exist_are_not_overwritten() {
    let folder = copy_of_trained();
    fs::write(folder.path().join("kept"), "precious").unwrap();
    let predict = ["predict", "run", "--input", "data.csv", "--output", "kept"];
    refused(folder.path(), &predict, &["kept", "exists already"]);
    refused(folder.path(), &["sample", "run", "--samples", "2", "--out", "kept"], &["kept", "exists already"]);
}

#[test]
fn an_unknown_preset_lists_the_presets() {
    let folder = tempfile::tempdir().unwrap();
    refused(folder.path(), &["train", "toi"], &["`toi`", "toy-slq", "uci-concrete"]);
}

#[test]
fn a_table_of_data_without_splits_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    refused(folder.path(), &["train", "toy", "--all-splits"], &["--all-splits", "UCI"]);
}

#[test]
fn arguments_out_of_range_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    refused(folder.path(), &["train", "toy", "--threads", "0"], &["--threads", "a whole number from 1"]);
    refused(folder.path(), &["train", "toy", "--threads", "100000"], &["--threads", "100000", "at most 1024"]);
    refused(folder.path(), &["train", "toy", "--memory", "lots"], &["--memory", "4G"]);
    refused(folder.path(), &["train", "toy", "--dtype", "f16"], &["--dtype", "f32", "f64"]);
    refused(folder.path(), &["verify", "toy", "--methods", "exact,magic"], &["--methods", "slq"]);
    refused(folder.path(), &["sampel"], &["sampel", "sample"]);
}

#[test]
fn numbers_that_are_negative_or_none_are_answered_with_what_is_expected() {
    let folder = tempfile::tempdir().unwrap();
    let seeds: [&[&str]; 5] = [
        &["train", "toy", "--seed"],
        &["verify", "toy", "--seed"],
        &["evaluate", "run", "--seed"],
        &["verify", "toy", "--component"],
        &["verify", "toy", "--deflate"],
    ];
    for arguments in seeds {
        for value in ["-1", "abc", "1.5"] {
            let parts = [&format!("'{value}'"), arguments[2], "expected a whole number from 0"];
            refused(folder.path(), &joined(&[arguments, &[value]]), &parts);
        }
    }
    let counts: [&[&str]; 4] = [
        &["predict", "run", "--input", "new.csv", "--samples"],
        &["sample", "run", "--out", "x", "--samples"],
        &["train", "uci", "--splits"],
        &["verify", "toy", "--probes"],
    ];
    for arguments in counts {
        for value in ["0", "-1", "abc"] {
            let parts = [&format!("'{value}'"), arguments[arguments.len() - 1], "expected a whole number from 1"];
            refused(folder.path(), &joined(&[arguments, &[value]]), &parts);
        }
    }
    refused(folder.path(), &["verify", "toy", "--target", "-1"], &["'-1'", "--target", "a finite number above 0"]);
    refused(folder.path(), &["verify", "toy", "--sigma", "-0.1"], &["'-0.1'", "--sigma", "a finite number above 0"]);
    refused(folder.path(), &["train", "toy", "--memory", "-1"], &["--memory", "such as 500M or 4G"]);
}
