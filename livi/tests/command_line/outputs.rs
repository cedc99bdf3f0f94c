//! What the commands print and write.

use super::support::{Finished, SMALL, command, copy_of_trained, joined, livi, trained, write_csv, write_uci_set};
use serde_json::Value;
use std::fs;
use std::path::Path;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn a_run_folder_holds_all_that_is_promised() {
    let run = trained().join("run");
    let files = [
        "run.json",
        "config.toml",
        "metrics.jsonl",
        "checkpoint.safetensors",
        "result.json",
        "report.md",
        "plots/predictive.svg",
        "plots/predictive.png",
        "plots/training.svg",
        "plots/training.png",
        "plots/spectrum.svg",
        "plots/spectrum.png",
    ];
    for file in files {
        assert!(run.join(file).is_file(), "{file}");
    }
}

#[test]
fn a_finished_run_resumed_repeats_its_result_and_trains_no_more() {
    let folder = copy_of_trained();
    let checkpoint = fs::read(folder.path().join("run/checkpoint.safetensors")).unwrap();
    let before = json(&fs::read_to_string(folder.path().join("run/result.json")).unwrap());
    let mut again = json(&livi(folder.path(), &["train", "--resume", "--out", "run", "--json"]).succeeded());
    assert_eq!(again["run"], "run");
    again.as_object_mut().unwrap().remove("run");
    // Planned memory belongs to this process's plans and is the same for the same machine.
    assert_eq!(again, before);
    assert_eq!(fs::read(folder.path().join("run/checkpoint.safetensors")).unwrap(), checkpoint);
    // Nothing is evaluated again where nothing is missing, whatever has become of the data's test rows; what is missing is made anew.
    let mut marked = before.clone();
    marked["test"]["targets"][0]["rmse"] = 123.25.into();
    fs::write(folder.path().join("run/result.json"), marked.to_string()).unwrap();
    let shown = livi(folder.path(), &["train", "--resume", "--out", "run"]).succeeded();
    assert!(shown.contains("123.25"), "{shown}");
    fs::remove_file(folder.path().join("run/report.md")).unwrap();
    livi(folder.path(), &["train", "--resume", "--out", "run"]).succeeded();
    assert_eq!(json(&fs::read_to_string(folder.path().join("run/result.json")).unwrap()), before);
    assert!(folder.path().join("run/report.md").is_file());
}

#[test]
fn the_name_of_a_preset_is_the_preset_beside_a_folder_of_that_name() {
    let folder = tempfile::tempdir().unwrap();
    let small = joined(&[&["--set", "training.steps=3"], &SMALL]);
    livi(folder.path(), &joined(&[&["train", "toy", "--out", "toy"], &small])).succeeded();
    livi(folder.path(), &joined(&[&["train", "toy", "--out", "second"], &small])).succeeded();
    livi(folder.path(), &joined(&[&["verify", "toy", "--json"], &SMALL])).succeeded();
    livi(folder.path(), &["train", "./toy"]).refused(&["./toy is a run folder", "--resume"]);
    livi(folder.path(), &["train", "--resume", "./toy", "--out", "second"]).refused(&["--out second", "./toy"]);
    livi(folder.path(), &["train", "--resume", "./toy", "--out", "toy"]).succeeded();
    // Without settings it is another training than that in the folder.
    livi(folder.path(), &["train", "--resume", "toy", "--out", "second"]).refused(&["another configuration"]);
}

#[test]
fn what_comes_from_a_training_that_is_not_complete_says_so() {
    assert!(!livi(trained(), &["predict", "run", "--input", "data.csv", "--json"]).stderr.contains("not complete"));
    let folder = tempfile::tempdir().unwrap();
    write_csv(folder.path(), "data.csv", 30);
    let text = "[data]\nsource = \"csv\"\npath = \"data.csv\"\ntarget = [\"y\"]\n[training]\nsteps = 100000000\ncheckpoint_every = 10\ncomponents = 3\n";
    fs::write(folder.path().join("c.toml"), text).unwrap();
    let mut child = command(folder.path(), &joined(&[&["train", "c.toml", "--out", "run"], &SMALL])).spawn().unwrap();
    while !folder.path().join("run/checkpoint.safetensors").is_file() {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    for arguments in [&["evaluate", "run"][..], &["predict", "run", "--input", "data.csv", "--json"]] {
        let Finished { code, stderr, .. } = livi(folder.path(), arguments);
        assert_eq!(code, Some(0), "{stderr}");
        assert!(stderr.starts_with("note: the run is not complete: this is its state after step "), "{stderr}");
        assert!(stderr.contains("0, component 1 of 3\n"), "{stderr}");
    }
}

#[test]
fn rows_of_a_file_leave_the_evaluation_of_the_test_rows_alone() {
    let folder = copy_of_trained();
    livi(folder.path(), &["evaluate", "run"]).succeeded();
    let own = fs::read(folder.path().join("run/evaluation.json")).unwrap();
    livi(folder.path(), &["evaluate", "run", "--input", "data.csv"]).succeeded();
    assert_eq!(fs::read(folder.path().join("run/evaluation.json")).unwrap(), own);
    assert!(folder.path().join("run/evaluation-data.json").is_file());
    assert!(folder.path().join("run/evaluation-data.html").is_file());
}

#[test]
fn columns_to_be_ignored_may_hold_anything_and_are_no_inputs() {
    let folder = tempfile::tempdir().unwrap();
    write_csv(folder.path(), "plain.csv", 40);
    let plain = fs::read_to_string(folder.path().join("plain.csv")).unwrap();
    let dated =
        |(row, line): (usize, &str)| if row == 0 { format!("sold,{line}") } else { format!("day {row},{line}") };
    fs::write(folder.path().join("dated.csv"), plain.lines().enumerate().map(dated).collect::<Vec<_>>().join("\n"))
        .unwrap();
    let text = "[data]\nsource = \"csv\"\npath = \"dated.csv\"\ntarget = [\"y\"]\n[training]\nsteps = 20\n";
    fs::write(folder.path().join("c.toml"), text).unwrap();
    let train = |out: &str, settings: &[&str]| {
        livi(folder.path(), &joined(&[&["train", "c.toml", "--out", out, "--json"], settings, &SMALL]))
    };
    train("none", &[]).refused(&["line 2, column `sold`", "found `day 1`"]);
    let rmse = |finished: Finished| json(&finished.succeeded())["test"]["rmse"].as_f64();
    let ignored = rmse(train("ignored", &["--set", "data.ignore=sold"]));
    assert_eq!(ignored, rmse(train("plain", &["--set", "data.path=plain.csv"])));
    train("both", &["--set", "data.ignore=[\"sold\",\"y\"]"]).refused(&["`y` is to be ignored as well"]);
    train("absent", &["--set", "data.ignore=soled"]).refused(&["missing ignored column `soled`"]);
    livi(folder.path(), &["predict", "ignored", "--input", "dated.csv", "--json"]).succeeded();
}

#[test]
fn a_name_and_a_toml_file_make_numbered_run_folders() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = joined(&[&["train", "toy", "--set", "training.steps=3"], &SMALL]);
    for number in 1..=2 {
        let text = livi(folder.path(), &arguments).succeeded();
        assert!(text.contains(&format!("runs/toy-{number}\n")), "{text}");
        assert!(folder.path().join(format!("runs/toy-{number}/result.json")).is_file());
    }
}

#[test]
fn evaluation_of_the_run_agrees_with_its_result() {
    let result = json(&fs::read_to_string(trained().join("run/result.json")).unwrap());
    let mut evaluation = json(&livi(trained(), &["evaluate", "run", "--json"]).succeeded());
    let data = evaluation.as_object_mut().unwrap().remove("data").unwrap();
    assert!(data.as_str().unwrap().ends_with("data.csv, test rows"), "{data}");
    assert_eq!(evaluation, result["test"]);
    let table = livi(trained(), &["evaluate", "run"]).succeeded();
    assert!(
        table.contains("RMSE") && table.contains("log-likelihood") && table.contains("coverage of 95 %"),
        "{table}"
    );
}

#[test]
fn evaluation_of_a_file_finds_its_columns_by_name() {
    let folder = copy_of_trained();
    fs::write(folder.path().join("reordered.csv"), "y,b,note,a\n0.5,0.25,x,0.5\n-1,0.5,y,-0.5\n").unwrap();
    fs::write(folder.path().join("ordered.csv"), "a,b,y\n0.5,0.25,0.5\n-0.5,0.5,-1\n").unwrap();
    let of = |file: &str| {
        let mut found = json(&livi(folder.path(), &["evaluate", "run", "--input", file, "--json"]).succeeded());
        assert_eq!(found.as_object_mut().unwrap().remove("data"), Some(file.into()));
        found
    };
    assert_eq!(of("reordered.csv"), of("ordered.csv"));
    assert_eq!(of("ordered.csv")["rows"], 2);
}

#[test]
fn predictions_in_json_and_in_csv_are_the_same_numbers() {
    let folder = copy_of_trained();
    let arguments = ["predict", "run", "--input", "data.csv", "--output", "out.csv", "--json"];
    let found = json(&livi(folder.path(), &arguments).succeeded());
    let csv = fs::read_to_string(folder.path().join("out.csv")).unwrap();
    let mut lines = csv.lines();
    let header: Vec<&str> = lines.next().unwrap().split(',').collect();
    let names = ["y_mean", "y_epistemic_std", "y_aleatoric_std", "y_total_std", "y_q0.025", "y_q0.5", "y_q0.975"];
    assert_eq!(header, names);
    let rows: Vec<Vec<f64>> = lines.map(|line| line.split(',').map(|cell| cell.parse().unwrap()).collect()).collect();
    assert_eq!(rows.len(), 60);
    for (row, numbers) in rows.iter().enumerate() {
        for (name, number) in names.iter().zip(numbers) {
            assert_eq!(found[name][row].as_f64(), Some(*number), "{name}, row {row}");
        }
        let [_, epistemic, aleatoric, total, low, median, high] = numbers[..] else { panic!("seven columns") };
        assert!((epistemic.hypot(aleatoric) - total).abs() < 1e-12 * total);
        assert!(low < median && median < high);
    }
}

#[test]
fn verify_prints_one_object_whose_bounds_hold() {
    let text = livi(Path::new("."), &joined(&[&["verify", "toy", "--latents", "2", "--json"], &SMALL])).succeeded();
    let found = json(&text);
    assert_eq!((&found["latents"], &found["d"]), (&Value::from(2), &Value::from(4)));
    let methods = found["methods"].as_array().unwrap();
    let value = |name: &str| methods.iter().find(|row| row["method"] == name).unwrap()["value"].as_f64().unwrap();
    assert!(value("smallest") <= value("exact") && value("exact") <= value("largest"));
    for key in ["lower", "upper", "standard_error", "residual", "products", "seconds"] {
        assert!(methods[0].get(key).is_some(), "{key}");
    }
}

#[test]
fn verify_of_a_run_folder_is_about_its_trained_sampler() {
    let of = |source: &str| {
        let text = livi(trained(), &["verify", source, "--methods", "exact", "--json"]).succeeded();
        json(&text)["methods"][0]["value"].as_f64().unwrap()
    };
    assert_ne!(of("run"), of("model.toml"));
}

#[test]
fn verify_of_several_sigmas_prints_one_object_a_line() {
    let arguments = joined(&[&["verify", "toy", "--sigma", "0.1", "--sigma", "0.01", "--json"], &SMALL]);
    let text = livi(Path::new("."), &arguments).succeeded();
    let sigmas: Vec<f64> = text.lines().map(|line| json(line)["sigma"].as_f64().unwrap()).collect();
    assert_eq!(sigmas, [0.1, 0.01]);
}

#[test]
fn info_says_that_no_gpu_is_used() {
    let text = livi(Path::new("."), &["info"]).succeeded();
    assert!(text.contains("no GPU: "), "{text}");
    let found = json(&livi(Path::new("."), &["info", "--json"]).succeeded());
    assert_eq!((&found["version"], &found["gpu_usable"]), (&env!("CARGO_PKG_VERSION").into(), &false.into()));
    // All that is missing is told, each with what to do about it.
    let missing = found["cuda_missing"].as_array().unwrap();
    assert!(!missing.is_empty() && missing.iter().all(|line| text.contains(line.as_str().unwrap())), "{text}");
    assert!(found["threads"].as_u64().unwrap() >= 1);
}

#[test]
fn data_check_describes_a_good_set() {
    let folder = tempfile::tempdir().unwrap();
    write_uci_set(&folder.path().join("set"));
    let found = json(&livi(folder.path(), &["data", "check", "set", "--json"]).succeeded());
    assert_eq!((&found[0]["rows"], &found[0]["splits"]), (&6.into(), &1.into()));
    let text = livi(folder.path(), &["data", "check", "set"]).succeeded();
    assert!(text.starts_with("set: 6 rows, 2 columns, 1 split\n"), "{text}");
}

#[test]
fn sampled_weights_are_the_ones_that_predictions_use() {
    let folder = copy_of_trained();
    let sample = ["sample", "run", "--samples", "3", "--out", "w.safetensors", "--seed", "5"];
    livi(folder.path(), &sample).succeeded();
    fs::write(folder.path().join("one.csv"), "a,b\n0.25,-0.5\n").unwrap();
    let predict = ["predict", "run", "--input", "one.csv", "--json", "--samples", "3", "--seed", "5"];
    let predicted = json(&livi(folder.path(), &predict).succeeded());
    let of = |name: &str| predicted[name][0].as_f64().unwrap();

    let samples = livi::export::read_samples(folder.path().join("w.safetensors")).unwrap();
    let names: Vec<&str> = samples.layout.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["layer0.weight", "layer0.bias", "layer1.weight", "layer1.bias"]);
    let livi::export::TensorData::F32(weights) = samples.values else { panic!("the run is in f32") };
    let scale = samples.description.standardiser;
    let x = scale.apply_x(&[0.25, -0.5]).unwrap();
    // Two inputs, four hidden units with the default activation (relu), one output.
    let outputs = weights.chunks_exact(17).map(|w| {
        let w: Vec<f64> = w.iter().map(|&w| f64::from(w)).collect();
        let hidden = (0..4).map(|k| (w[2 * k] * x[0] + w[2 * k + 1] * x[1] + w[8 + k]).max(0.0));
        hidden.enumerate().map(|(k, h)| w[12 + k] * h).sum::<f64>() + w[16]
    });
    let expected = outputs.sum::<f64>() / 3.0 * scale.y_std[0] + scale.y_mean[0];
    assert!((of("y_mean") - expected).abs() < 1e-5 * scale.y_std[0], "{} {expected}", of("y_mean"));
    assert_eq!(samples.description.noise_std, [of("y_aleatoric_std")]);
    assert_eq!(samples.description.input_names, ["a", "b"]);
    assert_eq!((samples.description.output_names, samples.description.components), (vec!["y".to_string()], 1));
}

#[test]
fn a_table_over_all_splits_counts_them_and_is_not_made_twice() {
    let folder = tempfile::tempdir().unwrap();
    write_uci_set(&folder.path().join("set"));
    fs::write(folder.path().join("set/n_splits.txt"), "2").unwrap();
    fs::write(folder.path().join("set/index_train_1.txt"), "2 3 4 5").unwrap();
    fs::write(folder.path().join("set/index_test_1.txt"), "0 1").unwrap();
    let settings = ["--set", "data.path=set", "--set", "data.set=set", "--set", "training.steps=20"];
    let table = joined(&[&["train", "uci-energy", "--all-splits", "--out", "table"], &settings, &SMALL]);
    let first = json(&livi(folder.path(), &joined(&[&table, &["--json"]])).succeeded());
    assert_eq!((&first["sets"][0]["set"], &first["sets"][0]["splits"]), (&"set".into(), &2.into()));
    assert!(first["sets"][0]["log_likelihood"]["standard_error"].as_f64().unwrap() >= 0.0);
    let markdown = fs::read_to_string(folder.path().join("table/table.md")).unwrap();
    assert!(markdown.contains("| set | 2 |"), "{markdown}");

    livi(folder.path(), &table).refused(&["table", "--resume"]);
    // One split's result is taken away: only that split is trained again, to the same numbers.
    let kept = folder.path().join("table/set/split-0/checkpoint.safetensors");
    let before = fs::metadata(&kept).unwrap().modified().unwrap();
    fs::remove_dir_all(folder.path().join("table/set/split-1")).unwrap();
    let again = json(&livi(folder.path(), &joined(&[&table, &["--json", "--resume"]])).succeeded());
    assert_eq!(again["sets"][0]["log_likelihood"], first["sets"][0]["log_likelihood"]);
    assert_eq!(fs::metadata(&kept).unwrap().modified().unwrap(), before);
}

#[test]
fn a_table_of_validation_rows_is_compared_with_nothing_published() {
    let folder = tempfile::tempdir().unwrap();
    let set = folder.path().join("energy");
    write_uci_set(&set);
    // A test row that would ruin every figure if it were looked at.
    fs::write(set.join("data.txt"), "1 2\n3 4\n5 6\n7 7\n9 1e9\n11 12\n").unwrap();
    let settings = ["--set", "data.path=energy", "--set", "training.steps=20", "--set", "data.report_on=validation"];
    let part = ["--set", "data.validation_fraction=0.25", "--splits", "1", "--json"];
    let train = joined(&[&["train", "uci-energy", "--all-splits", "--out", "table"], &settings, &part, &SMALL]);
    let found = json(&livi(folder.path(), &train).succeeded());
    let row = &found["sets"][0];
    assert_eq!((&found["part"], &row["splits"], &found["compared"]), (&"validation".into(), &1.into(), &0.into()));
    assert!(row["published"].is_null() && row["rmse"]["mean"].as_f64().unwrap() < 100.0, "{row}");
    let markdown = fs::read_to_string(folder.path().join("table/table.md")).unwrap();
    assert!(markdown.contains("of validation rows") && !markdown.contains("as published"), "{markdown}");
    let result = json(&fs::read_to_string(folder.path().join("table/energy/split-0/result.json")).unwrap());
    assert_eq!((&result["reported"], &result["test_rows"]), (&"validation".into(), &0.into()));
    assert_eq!((&result["training_rows"], &result["validation_rows"]), (&3.into(), &1.into()));
}

#[test]
fn flags_of_tables_are_refused_for_a_single_run() {
    let folder = tempfile::tempdir().unwrap();
    for flag in ["--splits", "--jobs"] {
        livi(folder.path(), &["train", "toy", flag, "2", "--out", "run"]).refused(&[flag, "--all-splits"]);
    }
    assert!(!folder.path().join("run").exists());
}

#[test]
fn what_a_table_goes_through_is_not_set() {
    let folder = tempfile::tempdir().unwrap();
    write_uci_set(&folder.path().join("set"));
    livi(folder.path(), &["train", "uci", "--set", "data.set=set", "--out", "table"]).refused(&["--set", "`data.set`"]);
    let split =
        ["train", "uci-energy", "--all-splits", "--set", "data.path=set", "--set", "data.split=0", "--out", "table"];
    livi(folder.path(), &split).refused(&["--set", "`data.split`"]);
    assert!(!folder.path().join("table").exists());
}
