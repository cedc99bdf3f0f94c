//! Whole trainings, predictions and verifications with the kernels of a card, on the emulated one or a real one, against the processor's own.

use autograd::{DType, Device, Machine};
use livi::config::Config;
use livi::data::{self, Dataset, Standardiser, Table, Training};
use livi::device::processor;
use livi::entropy::{GramPrograms, Method, ResidentPrograms, Settings};
use livi::export::{read_tensors, write_tensors};
use livi::sampler::{MatMulSampler, Sampler, initial_parameters};
use livi::train::{Terms, Trainer};
use livi::verify::verify_within;
use std::fs;
use std::path::Path;

/// The device under test: the one that the variable `LIVI_TEST_DEVICE` names, else the emulated one.
fn card() -> Device {
    std::env::var("LIVI_TEST_DEVICE").map_or(Device::Emulated, |name| name.parse().unwrap())
}

/// Terms of a number of steps, and the posterior's first component.
fn trained(config: &Config, dataset: &Dataset, device: Device, steps: u64) -> (Vec<Terms>, Vec<f64>) {
    let mut trainer = Trainer::on(config, dataset, device, None).unwrap();
    assert_eq!(trainer.device(), device);
    let terms = (0..steps).map(|_| trainer.advance().unwrap()).collect();
    (terms, trainer.into_posterior().unwrap().components.remove(0))
}

/// A difference relative to a number.
#[track_caller]
fn close(found: f64, expected: f64, tolerance: f64, what: &str) {
    let allowed = tolerance * (1.0 + expected.abs());
    assert!((found - expected).abs() <= allowed, "{what}: {found} on the card, {expected} on the processor");
}

/// Trains on both devices and compares all terms, the first step's closely, later ones less so as roundings add up.
fn compare(config: &Config, dataset: &Dataset, steps: u64, tolerance: f64) {
    let (expected, weights) = trained(config, dataset, processor(), steps);
    let (found, own) = trained(config, dataset, card(), steps);
    for (found, expected) in found.iter().zip(&expected) {
        let what = |term: &str| format!("{term} of step {}", found.step);
        close(found.likelihood, expected.likelihood, tolerance, &what("likelihood"));
        close(found.prior, expected.prior, tolerance, &what("prior"));
        close(found.entropy, expected.entropy, tolerance, &what("entropy"));
        close(found.gradient_norm, expected.gradient_norm, 10.0 * tolerance, &what("gradient norm"));
        assert_eq!(found.learning_rate, expected.learning_rate);
        assert_eq!(found.noise_std.len(), expected.noise_std.len());
        let pairs = found.noise_std.iter().zip(&expected.noise_std);
        pairs.for_each(|(&found, &expected)| close(found, expected, tolerance, &what("noise")));
    }
    let norm = |values: &[f64]| values.iter().map(|v| v * v).sum::<f64>().sqrt();
    let difference: Vec<f64> = own.iter().zip(&weights).map(|(a, b)| a - b).collect();
    let (difference, norm) = (norm(&difference), norm(&weights));
    assert!(difference <= 100.0 * tolerance * norm, "weights differ by {difference} of {norm}");
}

fn preset(name: &str, settings: &[&str]) -> Config {
    let mut config = Config::preset(name).unwrap();
    settings.iter().for_each(|setting| config.set(setting).unwrap());
    config.validate().unwrap();
    config
}

#[test]
fn the_toy_regression_trains_as_on_the_processor() {
    for (settings, tolerance) in [(&["dtype=f64"][..], 1e-9), (&["dtype=f32"], 1e-3)] {
        let config = preset("toy", settings);
        compare(&config, &data::load(&config.data).unwrap(), 30, tolerance);
    }
}

#[test]
fn chunks_of_weight_samples_and_a_matrix_free_entropy_train_as_on_the_processor() {
    let small = ["dtype=f64", "network.hidden=[4]", "sampler.latent=[4]", "sampler.hidden=[8]", "training.samples=6"];
    let config = preset("toy", &[&small[..], &["training.chunk=2"]].concat());
    compare(&config, &data::load(&config.data).unwrap(), 5, 1e-9);
    let config = preset("toy-slq", &[&small[..], &["sampler.learned_scales=true"]].concat());
    compare(&config, &data::load(&config.data).unwrap(), 3, 1e-7);
}

#[test]
fn two_targets_with_levels_of_noise_of_their_own_train_as_on_the_processor() {
    let (x, y) =
        ((0..80).map(|k| f64::from(k * 7 % 11)), (0..80).map(|k| f64::from(k * k % (if k % 2 == 0 { 13 } else { 7 }))));
    let names = ["a", "b", "u", "v"].map(String::from);
    let table = Table::new(x.collect(), y.collect(), 40, names[..2].to_vec(), names[2..].to_vec()).unwrap();
    let standardiser = Standardiser::fit(&table).unwrap();
    let training = Training::Table(table);
    let dataset = Dataset { name: "two".into(), training, validation: None, test: None, standardiser };
    let small =
        ["data.source=memory", "network.hidden=[5]", "sampler.latent=[4]", "sampler.hidden=[8]", "training.samples=6"];
    let rates = [
        "training.steps=20",
        "training.warmup=0",
        "training.learning_rate=1e-2",
        "training.noise_learning_rate=5e-2",
        "likelihood.initial_noise_std=0.7",
    ];
    let variants: [(&[&str], f64); 3] = [
        (&["dtype=f64", "training.batch_size=16", "training.clip_norm=40"], 1e-9),
        (&["dtype=f64", "training.chunk=2"], 1e-9),
        (&["dtype=f32"], 1e-3),
    ];
    for (settings, tolerance) in variants {
        let config = preset("toy", &[&small[..], &rates, settings].concat());
        compare(&config, &dataset, 20, tolerance);
        let levels = trained(&config, &dataset, card(), 20).0.remove(19).noise_std;
        assert!(levels.len() == 2 && levels[0] != levels[1], "{levels:?}");
    }
}

#[test]
fn krylov_spaces_of_a_card_are_in_the_memory_that_is_announced() {
    let config = preset("toy-slq", &["dtype=f64", "entropy.steps=12", "entropy.probes=3", "training.samples=2"]);
    let dataset = data::load(&config.data).unwrap();
    let announced = |device: Device| Trainer::on(&config, &dataset, device, None).unwrap().peak_bytes();
    let d = 60;
    let (here, there) = (announced(processor()), announced(Device::Emulated));
    assert!(there >= here + 13 * 3 * 2 * d * 8, "{here} {there}");

    let sampler = MatMulSampler::sized([3, 3], [5, 4], 1, 37, livi::activation::Activation::Elu).unwrap();
    let parameters = initial_parameters(&sampler, 4);
    let settings = Settings { probes: 8, steps: 9, directions: false, ..Settings::default() };
    let verified = |memory: Option<usize>| {
        let (latents, methods, device, say) = (vec![0.3; 9], &[Method::Slq], Device::Emulated, &mut |_: &str| ());
        verify_within(&sampler, &parameters, &latents, 0.1, methods, &settings, DType::F64, 1, device, memory, say)
    };
    let taken = verified(None).unwrap().methods.iter().find(|row| row.method == "slq").unwrap().bytes;
    assert!(taken >= 10 * 8 * 9 * 8, "{taken}");
    let error = verified(Some(1000)).unwrap_err().to_string();
    assert!(error.contains("take fewer steps"), "{error}");
}

/// A folder of made-up images in the format of idx files, `train` and `test` of them.
fn write_images(folder: &Path, side: usize, train: usize, test: usize) {
    let header = |magic: u32, sizes: &[usize]| -> Vec<u8> {
        let numbers = sizes.iter().map(|&size| size as u32);
        std::iter::once(magic).chain(numbers).flat_map(u32::to_be_bytes).collect()
    };
    for (part, count) in [("train", train), ("t10k", test)] {
        let pixels = (0..count * side * side).map(|k| ((k * 7919 + k / 13 * 31) % 251) as u8);
        let images: Vec<u8> = header(0x0803, &[count, side, side]).into_iter().chain(pixels).collect();
        let labels: Vec<u8> = header(0x0801, &[count]).into_iter().chain((0..count).map(|k| (k % 10) as u8)).collect();
        fs::write(folder.join(format!("{part}-images-idx3-ubyte")), images).unwrap();
        fs::write(folder.join(format!("{part}-labels-idx1-ubyte")), labels).unwrap();
    }
}

/// A configuration for such images.
fn on_images(folder: &Path, settings: &[&str]) -> Config {
    let mut config = Config::default();
    let path = format!("data.path={}", folder.display());
    let common = [
        "data.source=images",
        &path,
        "likelihood.kind=softmax",
        "sampler.kind=mm",
        "sampler.latent=[3, 3]",
        "sampler.hidden=[12, 12]",
        "sampler.init_scale=0.3",
        "training.batch_size=6",
        "training.samples=2",
        "training.steps=10",
    ];
    common.iter().chain(settings).for_each(|setting| config.set(setting).unwrap());
    config.validate().unwrap();
    config
}

/// A small wide residual network.
const RESIDUAL: [&str; 4] = [
    "network.architecture=layers",
    "network.input=[1, 8, 8]",
    r#"network.layers=["conv 4 padding=1", "wide_block 4", "wide_block 8 stride=2", "batch_norm", "relu", "mean", "linear 10"]"#,
    "prediction.reference_rows=12",
];

#[test]
fn lenet_trains_on_images_as_on_the_processor() {
    let folder = tempfile::tempdir().unwrap();
    write_images(folder.path(), 28, 24, 6);
    let config = on_images(folder.path(), &["network.architecture=lenet", "network.input=[1, 28, 28]"]);
    compare(&config, &data::load(&config.data).unwrap(), 2, 1e-3);
}

#[test]
fn a_residual_network_trains_and_predicts_as_on_the_processor() {
    let folder = tempfile::tempdir().unwrap();
    write_images(folder.path(), 8, 24, 9);
    let config = on_images(folder.path(), &RESIDUAL);
    let dataset = data::load(&config.data).unwrap();
    compare(&config, &dataset, 2, 1e-3);

    let mut posterior = Trainer::new(&config, &dataset, 1, None).unwrap().into_posterior().unwrap();
    let test = dataset.test.as_ref().unwrap();
    let expected = posterior.predict(&test.x, test.rows, 5, 3).unwrap().outputs;
    posterior.device = card();
    let found = posterior.predict(&test.x, test.rows, 5, 3).unwrap().outputs;
    assert_eq!(found.len(), expected.len());
    found.iter().zip(&expected).for_each(|(&found, &expected)| close(found, expected, 1e-3, "a logit"));
}

/// Takes a training some steps further.
fn advance(trainer: &mut Trainer, steps: u64) -> Vec<Terms> {
    (0..steps).map(|_| trainer.advance().unwrap()).collect()
}

/// A training that goes on from where another stands, through a file.
fn resumed(config: &Config, dataset: &Dataset, device: Device, other: &Trainer, step: u64) -> Trainer {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.safetensors");
    let (tensors, metadata) = other.state().unwrap();
    write_tensors(&path, &tensors, &metadata).unwrap();
    let mut trainer = Trainer::on(config, dataset, device, None).unwrap();
    trainer.restore(step, &read_tensors(&path).unwrap()).unwrap();
    trainer
}

#[test]
fn a_run_goes_on_on_another_device() {
    let config = preset("toy", &["dtype=f64"]);
    let dataset = data::load(&config.data).unwrap();
    for (first, second) in [(card(), processor()), (processor(), card())] {
        let mut whole = Trainer::on(&config, &dataset, processor(), None).unwrap();
        let expected = advance(&mut whole, 5).remove(4);
        let mut first = Trainer::on(&config, &dataset, first, None).unwrap();
        advance(&mut first, 2);
        let found = advance(&mut resumed(&config, &dataset, second, &first, 2), 3).remove(2);
        assert_eq!(found.step, expected.step);
        close(found.elbo, expected.elbo, 1e-9, "the bound after a change of devices");
    }
}

/// Trainings of every kind: exact and matrix-free entropies, both precisions, images.
fn trainings(folder: &Path) -> Vec<Config> {
    write_images(folder, 8, 24, 9);
    let small = ["network.hidden=[4]", "sampler.latent=[4]", "sampler.hidden=[8]"];
    vec![
        preset("toy", &["dtype=f64"]),
        preset("toy", &["dtype=f32"]),
        preset("toy-slq", &[&small[..], &["dtype=f32", "sampler.learned_scales=true"]].concat()),
        on_images(folder, &RESIDUAL),
    ]
}

/// The next step takes its blocks, warps and threads in another order: what is the same does not depend on it.
#[test]
fn a_seed_has_the_same_bits_every_time_and_another_seed_has_others() {
    let folder = tempfile::tempdir().unwrap();
    for mut config in trainings(folder.path()) {
        let dataset = data::load(&config.data).unwrap();
        let first = trained(&config, &dataset, card(), 3);
        assert_eq!(first, trained(&config, &dataset, card(), 3));
        config.seed += 1;
        assert_ne!(first, trained(&config, &dataset, card(), 3));
    }
}

#[test]
fn a_training_that_was_stopped_and_resumed_has_the_bits_of_one_that_was_not() {
    let folder = tempfile::tempdir().unwrap();
    for config in trainings(folder.path()) {
        let dataset = data::load(&config.data).unwrap();
        let (terms, weights) = trained(&config, &dataset, card(), 4);
        let mut first = Trainer::on(&config, &dataset, card(), None).unwrap();
        assert_eq!(advance(&mut first, 2), terms[..2]);
        let mut second = resumed(&config, &dataset, card(), &first, 2);
        assert_eq!(advance(&mut second, 2), terms[2..]);
        assert_eq!(second.into_posterior().unwrap().components, [weights]);
    }
}

#[test]
fn every_claim_of_a_verification_holds() {
    let sampler = MatMulSampler::sized([3, 3], [5, 4], 1, 37, livi::activation::Activation::Elu).unwrap();
    let parameters = initial_parameters(&sampler, 4);
    let latents: Vec<f64> = (0..2 * sampler.latents()).map(|k| ((k * 37 % 19) as f64 - 9.0) / 9.0).collect();
    let of = |device: Device, dtype: DType| {
        let settings = Settings { directions: false, ..Settings::default() };
        let methods = &Method::ALL;
        let say = &mut |_: &str| ();
        verify_within(&sampler, &parameters, &latents, 0.1, methods, &settings, dtype, 1, device, None, say).unwrap()
    };
    for (dtype, tolerance) in [(DType::F64, 1e-9), (DType::F32, 1e-3)] {
        let (expected, found) = (of(processor(), dtype), of(card(), dtype));
        assert!(found.violations().is_empty(), "{found}");
        for (found, expected) in found.methods.iter().zip(&expected.methods) {
            close(found.value, expected.value, tolerance, found.method);
        }
    }
}

#[test]
fn a_gram_matrix_on_the_card_has_the_log_determinant_of_one_here() {
    let sampler = MatMulSampler::sized([5, 4], [7, 6], 1, 307, livi::activation::Activation::Elu).unwrap();
    let parameters = initial_parameters(&sampler, 9);
    let latent: Vec<f64> = (0..sampler.latents()).map(|k| (k as f64).sin()).collect();
    let mut here = GramPrograms::record(&sampler, None).unwrap().load(&parameters, 1).unwrap();
    here.compute(&latent, &mut |_, _| ()).unwrap();
    let expected = here.gram().factor(0.1).unwrap().figures();
    let machine = Machine::on(card()).unwrap();
    let mut there = ResidentPrograms::record(&sampler, None).unwrap().load(&parameters, machine).unwrap();
    there.compute(&latent, &mut |_, _| ()).unwrap();
    let found = there.figures(0.1).unwrap();
    close(found.half_log_det, expected.half_log_det, 1e-11, "half log-determinant");
    close(found.inverse_trace, expected.inverse_trace, 1e-10, "trace of the inverse");
    close(found.frobenius_squared, expected.frobenius_squared, 1e-12, "Frobenius norm");
    close(found.largest_row_sum, expected.largest_row_sum, 1e-12, "largest row sum");
    assert_eq!(there.products(), here.products());
}
