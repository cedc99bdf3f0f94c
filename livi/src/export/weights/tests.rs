use super::*;
use crate::export::description::tests::example;
use crate::export::{NamedTensor, write_tensors};
use std::path::PathBuf;

fn layout() -> Vec<(String, Vec<usize>)> {
    // The name order (bias before weight) differs from the order in theta on purpose.
    vec![("0.weight".into(), vec![3, 2]), ("0.bias".into(), vec![3]), ("2.weight".into(), vec![1, 3])]
}

fn written(count: usize) -> (tempfile::TempDir, PathBuf, Vec<f64>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("samples.safetensors");
    let samples: Vec<f64> = (0..count * 12).map(|i| (i as f64).sqrt()).collect();
    export_samples(&path, &layout(), samples.as_slice(), count, &[], &example()).unwrap();
    (folder, path, samples)
}

fn message<T: std::fmt::Debug>(result: Result<T>) -> String {
    let error = result.unwrap_err();
    assert_eq!(error.exit_code(), 2, "{error}");
    error.to_string()
}

#[test]
fn every_layer_is_its_slice_of_every_sample() {
    let (_folder, path, samples) = written(4);
    let file = read_tensors(&path).unwrap();
    let weight = file.f64("0.weight", &[4, 3, 2]).unwrap();
    let bias = file.f64("0.bias", &[4, 3]).unwrap();
    for sample in 0..4 {
        let theta = &samples[sample * 12..(sample + 1) * 12];
        for output in 0..3 {
            assert_eq!(bias[sample * 3 + output], theta[6 + output]);
            for input in 0..2 {
                assert_eq!(weight[(sample * 3 + output) * 2 + input], theta[output * 2 + input]);
            }
        }
    }
}

#[test]
fn samples_layout_config_and_seed_survive_a_round_trip() {
    let (_folder, path, samples) = written(3);
    let read = read_samples(&path).unwrap();
    assert_eq!(read.values, TensorData::F64(samples));
    assert_eq!(read.layout, layout());
    assert_eq!(read.count, 3);
    assert_eq!(read.description, example());
}

#[test]
fn single_precision_samples_stay_single_precision() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("samples.safetensors");
    let samples: Vec<f32> = (0..24).map(|i| 0.1 * i as f32).collect();
    export_samples(&path, &layout(), samples.as_slice(), 2, &[], &example()).unwrap();
    assert_eq!(read_samples(&path).unwrap().values, TensorData::F32(samples));
}

#[test]
fn a_layout_that_does_not_add_up_to_the_weights_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("samples.safetensors");
    let message = message(export_samples(&path, &layout(), [0.0; 26].as_slice(), 2, &[], &example()));
    assert!(message.contains("26") && message.contains("2 samples x 12 weights"), "{message}");
    assert!(!path.exists());
}

#[test]
fn no_samples_at_all_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let empty: &[f32] = &[];
    let message = message(export_samples(folder.path().join("x"), &layout(), empty, 0, &[], &example()));
    assert!(message.contains("at least one"), "{message}");
}

#[test]
fn a_layer_of_another_shape_than_the_layout_says_is_refused() {
    let (_folder, path, _) = written(2);
    let file = read_tensors(&path).unwrap();
    let mut tensors: Vec<NamedTensor> = file.names().map(|name| file.get(name).unwrap().clone()).collect();
    tensors.iter_mut().find(|tensor| tensor.name == "0.weight").unwrap().shape = vec![2, 2, 3];
    write_tensors(&path, &tensors, file.metadata()).unwrap();
    let message = message(read_samples(&path));
    assert!(message.contains("`0.weight`") && message.contains("[2, 2, 3]"), "{message}");
}

#[test]
fn tensors_beside_the_weights_survive_a_round_trip() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("samples.safetensors");
    let beside = [
        NamedTensor::new("1.running_mean", [2, 3], TensorData::F32(vec![0.5; 6])),
        NamedTensor::new("1.running_var", [2, 3], TensorData::F32(vec![1.5; 6])),
    ];
    export_samples(&path, &layout(), [1.0_f32; 24].as_slice(), 2, &beside, &example()).unwrap();
    let read = read_samples(&path).unwrap();
    assert_eq!((read.layout, read.values), (layout(), TensorData::F32(vec![1.0; 24])));
    assert_eq!(read.beside, beside);
}

#[test]
fn a_tensor_beside_the_weights_needs_every_sample_and_a_name_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("samples.safetensors");
    for (tensor, expected) in [
        (NamedTensor::new("bn.running_mean", [3, 2], TensorData::F64(vec![0.0; 6])), "expected 2 samples"),
        (NamedTensor::new("bn.running_mean", [2, 2], TensorData::F64(vec![0.0; 6])), "expected 2 samples"),
        (NamedTensor::new("0.bias", [2, 3], TensorData::F64(vec![0.0; 6])), "used twice"),
    ] {
        let message = message(export_samples(&path, &layout(), [0.0; 24].as_slice(), 2, &[tensor], &example()));
        assert!(message.contains(expected), "{message}");
        assert!(!path.exists());
    }
}
