use super::*;
use crate::entropy::Method;

fn from_text(text: &str) -> Result<Config> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.toml");
    fs::write(&path, text).unwrap();
    Config::from_toml_file(&path)
}

fn assert_file_error(text: &str, expected: &[&str]) {
    let error = from_text(text).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    let message = error.to_string();
    for part in ["run.toml"].iter().chain(expected) {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}

fn assert_invalid(settings: &[&str], key: &str, expected: &str) {
    let mut config = Config::default();
    for setting in settings {
        config.set(setting).unwrap();
    }
    match config.validate().unwrap_err() {
        Error::Config { key: found, problem } => {
            assert_eq!(found, key, "{problem}");
            assert!(problem.contains(expected), "{problem}");
        }
        other => panic!("{other}"),
    }
}

/// A configuration in which every optional key has a value.
fn full() -> Config {
    let mut config = Config::default();
    config.data.path = Some("a folder/table.csv".into());
    config.data.set = Some("concrete".into());
    config.data.target = vec!["price".into()];
    config.network.start = Some("weights.safetensors".into());
    config.training.epochs = Some(3);
    config.sampler.trunk = vec![[3, 4]];
    config.sampler.heads = vec![HeadConfig { input: [3, 4], hidden: [5, 6], output: [7, 8], hidden_layers: 1 }];
    config
}

fn leaves(table: &Table, path: &str, found: &mut Vec<(String, Value)>) {
    for (name, value) in table {
        match value {
            Value::Table(section) => leaves(section, &dotted(path, name), found),
            _ => found.push((dotted(path, name), value.clone())),
        }
    }
}

#[test]
fn the_table_of_keys_holds_exactly_the_fields_of_the_configuration() {
    let mut found = Vec::new();
    leaves(&Table::try_from(full()).unwrap(), "", &mut found);
    let mut fields: Vec<&str> = found.iter().map(|(key, _)| key.as_str()).collect();
    let mut known: Vec<&str> = keys::KEYS.iter().map(|(key, _)| *key).collect();
    fields.sort_unstable();
    known.sort_unstable();
    assert_eq!(fields, known);
}

#[test]
fn every_field_passes_the_type_check_of_its_own_key() {
    let mut found = Vec::new();
    leaves(&Table::try_from(full()).unwrap(), "", &mut found);
    for (key, value) in found {
        keys::kind_of(&key).unwrap().check(&value).unwrap_or_else(|problem| panic!("{key}: {problem}"));
    }
}

#[test]
fn every_choice_can_be_set() {
    for (key, kind) in keys::KEYS {
        if let keys::Kind::Choice(names) = kind {
            for name in *names {
                Config::default().set(&format!("{key}={name}")).unwrap();
            }
        }
    }
}

#[test]
fn written_configurations_read_back_unchanged() {
    for name in presets::names() {
        let config = Config::preset(&name).unwrap();
        assert_eq!(from_text(&config.to_toml_string().unwrap()).unwrap(), config, "{name}");
    }
}

#[test]
fn a_file_keeps_the_defaults_of_what_it_leaves_out() {
    let config = from_text("seed = 7\n[data]\nsource = \"toy\"\n[training]\nepochs = 4\n").unwrap();
    assert_eq!((config.seed, config.training.epochs, config.training.steps), (7, Some(4), None));
    assert_eq!(config.sampler, SamplerConfig::default());
}

#[test]
fn a_whole_number_is_a_number() {
    assert_eq!(from_text("data.source = \"toy\"\n[sampler]\nsigma = 1\n").unwrap().sampler.sigma, 1.0);
}

#[test]
fn an_unknown_key_in_a_file_names_file_line_and_close_keys() {
    let expected = ["line 3, key `training.stpes`", "did you mean `training.steps`"];
    assert_file_error("seed = 1\n[training]\nstpes = 5\n", &expected);
}

#[test]
fn an_unknown_section_in_a_file_is_an_error_even_if_empty() {
    assert_file_error("\n[trainig]\n", &["line 2, key `trainig`", "there is no such key"]);
}

#[test]
fn a_wrong_type_in_a_file_names_line_key_found_and_expected() {
    let expected = ["line 2, key `training.steps`", "found the text \"many\"", "expected a whole number"];
    assert_file_error("[training]\nsteps = \"many\"\n", &expected);
    assert_file_error("[training]\nsteps = -5\n", &["found the whole number -5", "a whole number from 0"]);
    assert_file_error("[sampler]\nsigma = nan\n", &["line 2, key `sampler.sigma`", "a finite number"]);
}

#[test]
fn a_wrong_choice_lists_the_choices() {
    assert_file_error("[sampler]\nkind = \"gan\"\n", &["found the text \"gan\"", "`mlp`, `mm`, `cmmnn`"]);
}

#[test]
fn a_value_where_a_section_belongs_is_an_error() {
    assert_file_error("training = 5\n", &["line 1, key `training`", "expected a section [training]"]);
}

#[test]
fn a_value_out_of_range_in_a_file_names_its_line() {
    assert_file_error(
        "data.source = \"toy\"\n\n[sampler]\nsigma = 0.0\n",
        &["line 4, key `sampler.sigma`", "is 0", "above 0"],
    );
}

#[test]
fn text_that_is_no_toml_names_its_line() {
    assert_file_error("seed = 1\ndtype = = 2\n", &["line 2"]);
    assert_file_error("seed = 1\nseed = 2\n", &["line 2", "duplicate key"]);
}

#[test]
fn another_format_version_is_refused() {
    let text = "format_version = 2\ndata.source = \"toy\"\n";
    assert_file_error(text, &["line 1, key `format_version`", "is 2", "reads version 1"]);
}

#[test]
fn a_file_that_does_not_say_which_data_is_refused() {
    for text in ["", "# nothing yet\n", "seed = 3\n", "[data]\n", "[data]\npath = \"t.csv\"\ntarget = [\"y\"]\n"] {
        let expected = ["key `data.source`", "is not set", "one of `toy`, `uci`, `csv`, `images`"];
        assert_file_error(text, &expected);
    }
    assert_eq!(from_text("[data]\nsource = \"toy\"\n").unwrap(), Config::default());
}

#[test]
fn steps_and_epochs_together_in_a_file_are_refused() {
    let text = "[data]\nsource = \"toy\"\n[training]\nsteps = 5\nepochs = 2\n";
    assert_file_error(text, &["line 5, key `training.epochs`", "one of them"]);
}

#[test]
fn setting_steps_drops_epochs_and_the_reverse() {
    let mut config = Config::preset("toy").unwrap();
    config.set("training.epochs=10").unwrap();
    assert_eq!((config.training.steps, config.training.epochs), (None, Some(10)));
    config.set("seed=3").unwrap();
    assert_eq!((config.training.steps, config.training.epochs), (None, Some(10)));
    config.set("training.steps = 20").unwrap();
    assert_eq!((config.training.steps, config.training.epochs), (Some(20), None));
}

#[test]
fn settings_reach_every_depth() {
    let mut config = Config::default();
    config.set("dtype=f64").unwrap();
    config.set("sampler.trunk=[[2, 3], [4, 5]]").unwrap();
    config.set("training.early_stopping.patience_evaluations=9").unwrap();
    config.set("data.path=/a b/c=d.csv").unwrap();
    assert_eq!(config.dtype, Dtype::F64);
    assert_eq!(config.sampler.trunk, [[2, 3], [4, 5]]);
    assert_eq!(config.training.early_stopping.patience_evaluations, 9);
    assert_eq!(config.data.path.as_deref(), Some(Path::new("/a b/c=d.csv")));
}

#[test]
fn a_setting_that_fails_leaves_the_configuration_as_it_was() {
    let mut config = Config::preset("toy").unwrap();
    let before = config.clone();
    for bad in ["training.steps=many", "training.steps=", "training=3", "no.such=1", "seed", "sampler.hidden=50"] {
        let error = config.set(bad).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert_eq!(config, before, "{bad}");
    }
}

#[test]
fn a_setting_of_the_wrong_type_names_key_found_and_expected() {
    let message = Config::default().set("network.hidden=50").unwrap_err().to_string();
    let expected = "configuration key `network.hidden`: found the whole number 50, expected a list of whole numbers";
    assert!(message.contains(expected), "{message}");
}

#[test]
fn sigma_must_be_positive_and_finite() {
    assert_invalid(&["sampler.sigma=0"], "sampler.sigma", "above 0");
    assert_invalid(&["sampler.sigma=-1e-3"], "sampler.sigma", "above 0");
    let mut config = Config::default();
    config.sampler.sigma = f64::INFINITY;
    assert!(config.validate().is_err());
}

#[test]
fn sizes_of_zero_are_refused() {
    assert_invalid(&["sampler.latent=[0]"], "sampler.latent", "at least 1");
    assert_invalid(&["network.hidden=[50, 0]"], "network.hidden", "at least 1");
    assert_invalid(&["training.samples=0"], "training.samples", "at least 1");
    assert_invalid(&["prediction.samples=0"], "prediction.samples", "at least 1");
    assert_invalid(&["entropy.probes=0"], "entropy.probes", "at least 1");
}

#[test]
fn a_mixture_has_at_least_one_component() {
    assert_invalid(&["training.components=0"], "training.components", "is 0, expected at least 1");
}

#[test]
fn reporting_on_validation_rows_needs_some() {
    assert_invalid(&["data.report_on=validation"], "data.report_on", "there are no validation rows");
    let mut config = Config::default();
    config.set("data.validation_fraction=0.1").unwrap();
    config.set("data.report_on=validation").unwrap();
    config.validate().unwrap();
}

#[test]
fn fractions_must_stay_below_one() {
    assert_invalid(&["data.validation_fraction=1"], "data.validation_fraction", "below 1");
    assert_invalid(&["data.test_fraction=-0.1"], "data.test_fraction", "from 0");
}

#[test]
fn sampler_sizes_must_fit_the_kind() {
    assert_invalid(&["sampler.latent=[3, 4]"], "sampler.latent", "kind `mlp` expects 1");
    assert_invalid(&["sampler.kind=mm"], "sampler.latent", "kind `mm` expects 2");
    assert_invalid(&["sampler.kind=mm", "sampler.latent=[3, 4]"], "sampler.hidden", "[rows, columns]");
    assert_invalid(&["sampler.output=[3, 4]"], "sampler.output", "`mm` only");
    let matrices = ["sampler.kind=mm", "sampler.latent=[3, 4]", "sampler.hidden=[5, 6]"];
    assert_invalid(&[&matrices[..], &["sampler.output=[7]"]].concat(), "sampler.output", "[rows, columns]");
    assert_invalid(&[&matrices[..], &["sampler.output=[7, 0]"]].concat(), "sampler.output", "at least 1");
    assert_invalid(&["sampler.kind=cmmnn"], "sampler.trunk", "at least one pair");
    assert_invalid(&["sampler.trunk=[[3, 4]]"], "sampler.trunk", "`cmmnn` only");
    let heads = "sampler.heads=[{ input = [3, 4], hidden = [5, 0], output = [7, 8], hidden_layers = 1 }]";
    assert_invalid(&[heads], "sampler.heads", "`cmmnn` only");
    let correlated = ["sampler.kind=cmmnn", "sampler.trunk=[[3, 4]]", "sampler.latent=[2, 2]", "sampler.hidden=[]"];
    assert_invalid(&[&correlated[..], &[heads]].concat(), "sampler.heads", "at least 1");
}

#[test]
fn csv_needs_a_path_and_a_target_and_other_sources_take_none() {
    assert_invalid(&["data.source=csv"], "data.path", "a CSV file");
    assert_invalid(&["data.source=csv", "data.path=t.csv"], "data.target", "column name");
    assert_invalid(&["data.target=price"], "data.target", "source `csv` only");
    assert_invalid(&["data.source=uci"], "data.set", "name of a UCI set");
    assert_invalid(&["data.set=concrete"], "data.set", "sources `uci` and `images` only");
}

#[test]
fn settings_of_other_choices_are_refused_where_they_have_no_effect() {
    assert_invalid(&["data.split=1"], "data.split", "source `uci` only, the source is `toy`");
    assert_invalid(&["data.test_fraction=0.2"], "data.test_fraction", "source `csv` only, the source is `toy`");
    assert_invalid(&["network.depth=22"], "network.depth", "`wide_resnet` only, the architecture is `mlp`");
    assert_invalid(&["network.width=2"], "network.width", "leave it out or at 4");
    assert_invalid(&["sampler.hidden_layers=2"], "sampler.hidden_layers", "`mm` only, the kind is `mlp`");
    let correlated = ["sampler.kind=cmmnn", "sampler.trunk=[[3, 4]]", "sampler.latent=[2, 2]", "sampler.hidden=[]"];
    let deeper = [&correlated[..], &["sampler.hidden_layers=2"]].concat();
    assert_invalid(&deeper, "sampler.hidden_layers", "leave it out or at 1");
}

#[test]
fn every_preset_takes_every_entropy_that_its_iterations_allow() {
    for name in presets::names() {
        for method in Method::ALL {
            let mut config = Config::preset(&name).unwrap();
            config.set(&format!("entropy.method={}", method.name())).unwrap();
            if method != Method::Paper || config.entropy.iterations > 0 {
                config.validate().unwrap_or_else(|error| panic!("{name}, {}: {error}", method.name()));
            }
        }
    }
}

#[test]
fn early_stopping_needs_validation_rows() {
    let key = "training.early_stopping.patience_evaluations";
    assert_invalid(&[&format!("{key}=3")], key, "no validation rows");
}

#[test]
fn quantiles_must_ascend_inside_zero_to_one() {
    for list in ["[]", "[0.5, 0.5]", "[0, 0.5]", "[0.5, 1]", "[0.9, 0.1]"] {
        assert_invalid(&[&format!("prediction.quantiles={list}")], "prediction.quantiles", "ascending");
    }
}

#[test]
fn a_seed_too_large_for_a_file_is_refused() {
    let config = Config { seed: u64::MAX, ..Config::default() };
    assert!(config.validate().unwrap_err().to_string().contains("`seed`"));
}

#[test]
fn the_hash_is_that_of_the_text_and_tells_configurations_apart() {
    let (a, b) = (Config::preset("toy").unwrap(), Config::preset("toy-slq").unwrap());
    assert_eq!(a.config_hash().unwrap(), Config::preset("toy").unwrap().config_hash().unwrap());
    assert_ne!(a.config_hash().unwrap(), b.config_hash().unwrap());
    assert_eq!(a.config_hash().unwrap().len(), 16);
}

#[test]
fn an_epoch_counts_its_last_incomplete_batch() {
    let mut training = TrainingConfig { steps: None, epochs: Some(2), batch_size: 32, ..TrainingConfig::default() };
    assert_eq!(training.total_steps(100), 8);
    training.batch_size = 0;
    assert_eq!((training.total_steps(100), training.batch_rows(100)), (2, 100));
    training.batch_size = 1000;
    assert_eq!((training.total_steps(100), training.batch_rows(100)), (2, 100));
}

#[test]
fn image_presets_take_any_entropy_and_the_published_one_names_what_it_needs() {
    for method in ["exact", "smallest", "largest", "slq"] {
        let mut config = Config::preset("mnist-lenet").unwrap();
        config.set(&format!("entropy.method={method}")).unwrap();
        config.validate().unwrap();
    }
    let mut config = Config::preset("mnist-lenet").unwrap();
    config.set("entropy.method=paper").unwrap();
    let message = config.validate().unwrap_err().to_string();
    assert!(message.contains("`entropy.iterations`: is 0, method `paper` expects at least 1"), "{message}");
}
