//! What a program that uses the library may get wrong is answered by an error that says what was expected.

use super::data::{config, dataset, names, posterior, refused, table};
use livi::activation::Activation;
use livi::config::LikelihoodKind;
use livi::data::{Batches, Standardiser, Table, split_rows};
use livi::device::processor;
use livi::entropy::{GramPrograms, entropy_bracket};
use livi::metrics::ClassPredictions;
use livi::metrics::regression::{coverage, sharpness};
use livi::posterior::Posterior;
use livi::predict::{predict_in_parts, prediction_columns};
use livi::run_folder::RunFolder;
use livi::sampler::{MatMulSampler, MlpSampler, Sampler, record};
use livi::train::{Silent, Trainer, encode, run};
use std::sync::atomic::AtomicBool;

#[test]
fn predictions_want_as_many_numbers_as_their_shapes_have() {
    let posterior = posterior();
    let m = posterior.model.network.layout().len();
    let theta = posterior.draw(3, 1).unwrap();
    // Also with more numbers than are needed, of which the first would do.
    for x in [vec![1.0; 2], vec![1.0; 8]] {
        refused(posterior.predict_with(&theta, 3, &x, 3), &["inputs", "expected 3 x 2"]);
        refused(predict_in_parts(&posterior, &theta, 3, &x, 3, |_, _| Ok(())), &["inputs", "expected 3 x 2"]);
    }
    for samples in [2, 4] {
        let expected = format!("expected {samples} x {m}");
        refused(posterior.predict_with(&theta, samples, &[1.0; 4], 2), &["weight samples", &expected]);
    }
    let wide = Table::new(vec![1.0; 9], vec![1.0; 6], 3, names(&["a", "b", "c"]), names(&["u", "v"])).unwrap();
    refused(livi::evaluate::evaluate(&posterior, &theta, 3, &wide), &["inputs", "9 numbers", "expected 3 x 2"]);
    for wrong in [&["u"][..], &["u", "v", "w"], &[]] {
        let found = prediction_columns(&posterior, &names(wrong), &theta, 3, &[1.0; 4], 2, &[0.5]);
        refused(found, &["target names", "expected 2"]);
    }
    refused(Posterior { components: Vec::new(), ..posterior }.draw(1, 1), &["components", "none"]);
}

#[test]
fn labels_are_the_numbers_of_outputs() {
    let labelled = |labels: &[f64]| {
        let rows = labels.len();
        Table::new(vec![1.0; rows], labels.to_vec(), rows, names(&["a"]), names(&["kind"])).unwrap()
    };
    let encoded = |table: &Table, outputs: usize| {
        encode(LikelihoodKind::Softmax, table, &Standardiser::identity(table.inputs, table.outputs), outputs)
    };
    assert_eq!(encoded(&labelled(&[1.0, 0.0]), 2).unwrap().y, [0.0, 1.0, 1.0, 0.0]);
    for wrong in [2.0, -1.0, 0.5] {
        refused(encoded(&labelled(&[0.0, wrong]), 2), &["kind", "row 1", "below 2"]);
    }
    refused(encoded(&labelled(&[0.0]), 0), &["kind", "below 0"]);
    refused(encoded(&table(), 20), &["2 target columns"]);
}

#[test]
fn a_trainer_wants_settings_in_their_ranges() {
    let wrong = [
        ("sampler.sigma", "sampler.sigma=0"),
        ("training.samples", "training.samples=0"),
        ("entropy.latents", "entropy.latents=50"),
        ("training.chunk", "training.chunk=3"),
    ];
    for (key, setting) in wrong {
        refused(Trainer::new(&config(&["training.samples=2", setting]), &dataset(), 1, None), &[key]);
    }
    let patient = config(&["training.early_stopping.patience_evaluations=2"]);
    refused(Trainer::new(&patient, &dataset(), 1, None), &["validation rows", "early stopping"]);
}

#[test]
fn a_run_wants_the_trainer_of_its_own_configuration() {
    let root = tempfile::tempdir().unwrap();
    let (own, other) = (config(&[]), config(&["network.hidden=[5]"]));
    let folder = RunFolder::create(root.path().join("run"), &other.to_toml_string().unwrap(), 0, "a test").unwrap();
    let mut trainer = Trainer::new(&own, &dataset(), 1, None).unwrap();
    let found = run(&other, &dataset(), &mut trainer, &folder, &AtomicBool::new(false), &mut Silent);
    refused(found, &["trainer", "another configuration"]);
    assert!(folder.load_checkpoint().unwrap().is_none());
    // Data that a program had are not there again.
    refused(livi::data::load(&own.data), &["data.source", "memory"]);
}

#[test]
fn samplers_want_all_their_parameters() {
    let mlp = MlpSampler::new(2, &[3], 5, Activation::Tanh).unwrap();
    let matrices = MatMulSampler::new([2, 2], [3, 3], 1, &[[2, 3]], Activation::Tanh).unwrap();
    for sampler in [&mlp as &dyn Sampler, &matrices] {
        let mut tape = autograd::Tape::new();
        let latents = tape.input(&[1, sampler.latents()], autograd::DType::F64);
        let parameters: Vec<_> =
            sampler.parameters().iter().skip(1).map(|p| tape.input(&p.shape, autograd::DType::F64)).collect();
        let expected = format!("expected {}", parameters.len() + 1);
        refused(sampler.record(&mut tape, &parameters, latents), &["parameters of the sampler", &expected]);
        for shape in [&[][..], &[3], &[1, sampler.latents() + 1]] {
            let latents = tape.input(shape, autograd::DType::F64);
            refused(record(sampler, &mut tape, &parameters, latents), &["latents of the sampler", "expected [S,"]);
        }
    }
}

#[test]
fn numbers_beyond_all_measure_are_refused() {
    let labels = [0, 1];
    let predictions = ClassPredictions::new(&[0.4, 0.6, 0.3, 0.7], 2, &labels).unwrap();
    for bins in [0, 1 << 40, usize::MAX] {
        refused(predictions.calibration_error(bins), &["bins", "expected a number from 1"]);
        refused(predictions.static_calibration_error(bins), &["bins"]);
    }
    refused(split_rows(usize::MAX, 0.5, 1), &["rows to split"]);
    let mut index = vec![1];
    Batches::new(0, 4, 1).fill(3, &mut index);
    assert!(index.is_empty());
}

#[test]
fn what_has_come_to_its_end_or_fits_nothing_is_refused() {
    let mut trainer = Trainer::new(&config(&[]), &dataset(), 1, None).unwrap();
    for step in 1..=3 {
        assert_eq!(trainer.advance().unwrap().step, step);
    }
    refused(trainer.advance(), &["trainer", "all its 3 steps", "next_component"]);
    let sampler = MlpSampler::new(2, &[3], 5, Activation::Tanh).unwrap();
    let weights: Vec<Vec<f64>> = sampler.parameters().iter().map(|p| vec![0.5; p.elements()]).collect();
    refused(
        GramPrograms::record(&sampler, None).unwrap().load(&weights[..3], 1),
        &["sampler weights", "there are 3, expected 4"],
    );
    for sigma in [0.0, -1.0, f64::NAN, 1e-200, 1e200] {
        refused(entropy_bracket(&sampler, &weights, sigma, 2, &[1], 1, processor()), &["sigma", "from 1e-18 to 1e18"]);
    }
    refused(entropy_bracket(&sampler, &weights, 1.0, usize::MAX, &[1], 1, processor()), &["fewer draws"]);
    refused(coverage(&[0.0, 1.0], &[1.0, 0.5], &[0.2, 0.7]), &["upper ends", "index 1 is 0.5", "lower end 1"]);
    refused(sharpness(&[1.0], &[0.5]), &["upper ends"]);
}
