use super::*;
use crate::export::{export_samples, read_samples, read_tensors, write_tensors};
use std::path::PathBuf;

/// A description of two inputs and one target.
pub(in crate::export) fn example() -> SampleDescription {
    SampleDescription {
        config: "[network]\nhidden = [3]\n".into(),
        seed: u64::MAX,
        components: 3,
        input_names: vec!["width".into(), "a \"quoted\", name".into()],
        output_names: vec!["price".into()],
        standardiser: Standardiser {
            x_mean: vec![0.1, -1e300],
            x_std: vec![1.0 / 3.0, 5e-324],
            y_mean: vec![250_000.0],
            y_std: vec![0.1 + 0.2],
        },
        noise_std: vec![0.7],
    }
}

fn written(description: &SampleDescription) -> Result<(tempfile::TempDir, PathBuf)> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("samples.safetensors");
    export_samples(&path, &[("bias".into(), vec![2])], [1.0, 2.0].as_slice(), 1, &[], description)?;
    Ok((folder, path))
}

/// What reading says after one metadata value was replaced.
fn refusal(key: &str, value: &str) -> String {
    let (_folder, path) = written(&example()).unwrap();
    let file = read_tensors(&path).unwrap();
    let tensors: Vec<_> = file.names().map(|name| file.get(name).unwrap().clone()).collect();
    let mut metadata = file.metadata().clone();
    metadata.insert(key.into(), value.into());
    write_tensors(&path, &tensors, &metadata).unwrap();
    let error = read_samples(&path).unwrap_err();
    assert_eq!(error.exit_code(), 2, "{error}");
    let message = error.to_string();
    assert!(message.contains(&format!("metadata `{key}`")), "{message}");
    message
}

#[test]
fn every_number_and_name_survives_a_round_trip() {
    let mut description = example();
    for noise in [vec![0.7], vec![]] {
        description.noise_std = noise;
        let (_folder, path) = written(&description).unwrap();
        assert_eq!(read_samples(&path).unwrap().description, description);
    }
}

#[test]
fn values_are_json_or_plain_text_as_documented() {
    let (_folder, path) = written(&example()).unwrap();
    let file = read_tensors(&path).unwrap();
    let value = |key: &str| file.metadata_value(key).unwrap().to_string();
    let json = |key: &str| serde_json::from_str::<serde_json::Value>(&value(key)).unwrap();
    assert_eq!(json("standardiser")["y_mean"], serde_json::json!([250_000.0]));
    assert_eq!(json("noise_std"), serde_json::json!([0.7]));
    assert_eq!(json("input_names")[1], "a \"quoted\", name");
    assert_eq!(json("layout"), serde_json::json!([["bias", [2]]]));
    assert_eq!((value("components"), value("count"), value("seed")), ("3".into(), "1".into(), u64::MAX.to_string()));
    assert_eq!(value("config"), "[network]\nhidden = [3]\n");
}

#[test]
fn files_of_another_kind_or_version_are_refused() {
    assert!(refusal("kind", "something").contains(&format!("is `something`, expected `{KIND}`")));
    assert!(refusal("format_version", "1").contains("is `1`, expected `2`"));
}

#[test]
fn metadata_that_do_not_fit_are_refused_by_key() {
    assert!(refusal("noise_std", "[0.7, 0.7]").contains("has 2 numbers, expected 1"));
    assert!(refusal("noise_std", "[-1]").contains("-1"));
    assert!(refusal("noise_std", "0.7").contains("is not a list of numbers"));
    assert!(refusal("components", "0").contains("at least 1"));
    assert!(refusal("seed", "-1").contains("is not a whole number"));
    let scale = r#"{"x_mean":[0],"x_std":[1],"y_mean":[0],"y_std":[1]}"#;
    assert!(refusal("standardiser", scale).contains("(1, 1)"));
    assert!(refusal("standardiser", &scale.replace("[1]", "[0]")).contains("x_std"));
}

#[test]
fn a_description_whose_parts_do_not_fit_is_not_written() {
    let mut description = example();
    description.noise_std = vec![f64::NAN];
    let error = written(&description).unwrap_err();
    assert!(matches!(&error, Error::Argument { name, .. } if name == "noise_std"), "{error}");
    description.noise_std.clear();
    description.output_names.push("second".into());
    let error = written(&description).unwrap_err();
    assert!(matches!(&error, Error::Argument { name, .. } if name == "standardiser"), "{error}");
}
