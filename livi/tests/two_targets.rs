//! Training on two targets whose noise differs: a level for each is found, predictions are calibrated, and the state is whole.

use livi::config::Config;
use livi::data::{Dataset, Standardiser, Table, Training};
use livi::device::processor;
use livi::evaluate::{Evaluation, TargetEvaluation, evaluate};
use livi::export::{NamedTensor, TensorData, read_tensors, write_tensors};
use livi::posterior::Posterior;
use livi::train::{Silent, Terms, Trainer};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rand_distr::StandardNormal;

/// Standard deviations of the noise: a fifteenth of the first target's spread, and most of the second's.
const NOISE: [f64; 2] = [10.0, 0.9];
const ROWS: usize = 500;

/// Rows of area and age with price and rent.
fn table(rows: usize, seed: u64) -> Table {
    let mut rng = StdRng::seed_from_u64(seed);
    let (mut x, mut y) = (Vec::new(), Vec::new());
    for _ in 0..rows {
        let (a, b) = (2.0 * rng.random::<f64>() - 1.0, 2.0 * rng.random::<f64>() - 1.0);
        let mut noise = |std: f64| std * rng.sample::<f64, _>(StandardNormal);
        x.extend([a, b]);
        y.extend([400.0 + 250.0 * a + 60.0 * (2.0 * b).sin() + noise(NOISE[0]), 9.0 + a - 0.5 * b + noise(NOISE[1])]);
    }
    let names = |names: [&str; 2]| names.map(String::from).to_vec();
    Table::new(x, y, rows, names(["area", "age"]), names(["price", "rent"])).unwrap()
}

fn dataset(validation: usize) -> Dataset {
    let training = table(ROWS, 1);
    let standardiser = Standardiser::fit(&training).unwrap();
    let validation = (validation > 0).then(|| table(validation, 2));
    Dataset { name: "houses".into(), training: Training::Table(training), validation, test: None, standardiser }
}

fn config(settings: &[&str]) -> Config {
    let mut config = Config::default();
    let common = [
        "data.source=memory",
        "network.hidden=[12]",
        "network.activation=tanh",
        "sampler.latent=[10]",
        "sampler.hidden=[20]",
        "training.steps=4000",
        "training.learning_rate=5e-3",
        "training.noise_learning_rate=5e-3",
    ];
    common.iter().chain(settings).for_each(|setting| config.set(setting).unwrap());
    config.validate().unwrap();
    config
}

fn measured(posterior: &Posterior) -> Vec<TargetEvaluation> {
    let theta = posterior.draw(100, 3).unwrap();
    let Evaluation::Gaussian(found) = evaluate(posterior, &theta, 100, &table(2000, 4)).unwrap() else {
        panic!("a Gaussian likelihood was asked for")
    };
    assert_eq!((found.rmse, found.mean_epistemic_std, found.mean_aleatoric_std), (None, None, None));
    found.targets
}

/// Whether both levels are those of the data, the spread of the weights added where the level holds it, and intervals hold what they promise.
#[track_caller]
fn check(posterior: &Posterior, holds_spread: bool, tolerance: f64) {
    for (found, noise) in measured(posterior).iter().zip(NOISE) {
        let spread = found.mean_epistemic_std;
        let expected = if holds_spread { noise.hypot(spread) } else { noise };
        let off = (found.noise_std / expected).ln().abs();
        assert!(off < tolerance, "{}: {} where {expected} is expected", found.name, found.noise_std);
        assert!((found.rmse / noise).ln().abs() < 0.1, "{}: RMSE {} of {noise}", found.name, found.rmse);
        for interval in &found.intervals {
            let p = interval.probability;
            // Three standard errors of 2000 rows, and what a spread that is off by so much changes: the coverage of z standard deviations has the
            // derivative 2 z phi(z) <= 0.48 by log z.
            let wider = tolerance + (expected.hypot(spread) / noise.hypot(spread)).ln();
            let allowed = 3.0 * (p * (1.0 - p) / 2000.0).sqrt() + 0.48 * wider;
            assert!((interval.coverage - p).abs() < allowed, "{}: {interval:?}, {allowed} allowed", found.name);
        }
    }
}

#[test]
fn each_targets_noise_is_learned_and_its_intervals_hold_what_they_promise() {
    let posterior = Trainer::on(&config(&[]), &dataset(0), processor(), None).unwrap().fit(&mut Silent).unwrap();
    // Training learns the noise around a draw of the weights. The standard error of a standard deviation from 500 rows is 3 %; three of them. One level
    // for both targets would be off by a factor of 3 or more in one of them.
    check(&posterior, true, 0.1);
    let [price, rent] = posterior.noise_std[..] else { panic!("{:?}", posterior.noise_std) };
    assert!(rent > 8.0 * price, "{price} {rent}");
}

#[test]
fn each_targets_noise_is_fitted_to_the_validation_rows() {
    let fixed = ["likelihood.learn_noise=false", "likelihood.initial_noise_std=0.3"];
    let config = config(&[&fixed[..], &["likelihood.noise_from_validation=true"]].concat());
    let posterior = Trainer::on(&config, &dataset(200), processor(), None).unwrap().fit(&mut Silent).unwrap();
    // The standard error from 200 rows is 5 %, and the largest level within one of the likeliest is taken: three on either side of that.
    check(&posterior, false, 0.2);
}

#[test]
fn levels_that_are_not_learned_stay_where_they_are() {
    let settings = ["likelihood.learn_noise=false", "likelihood.initial_noise_std=0.3", "training.steps=20"];
    let posterior = Trainer::on(&config(&settings), &dataset(0), processor(), None).unwrap().fit(&mut Silent).unwrap();
    assert!(posterior.noise_std.iter().all(|std| (std - 0.3).abs() < 1e-7), "{:?}", posterior.noise_std);
    assert_eq!(posterior.noise_std.len(), 2);
}

fn advance(trainer: &mut Trainer, steps: usize) -> Vec<Terms> {
    (0..steps).map(|_| trainer.advance().unwrap()).collect()
}

/// A trainer that goes on from tensors, through a file.
fn resumed(config: &Config, dataset: &Dataset, step: u64, tensors: &[NamedTensor]) -> livi::Result<Trainer> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.safetensors");
    write_tensors(&path, tensors, &Default::default()).unwrap();
    let mut trainer = Trainer::on(config, dataset, processor(), None).unwrap();
    trainer.restore(step, &read_tensors(&path).unwrap())?;
    Ok(trainer)
}

#[test]
fn a_training_that_was_stopped_and_resumed_has_the_bits_of_one_that_was_not() {
    for settings in [
        &["dtype=f32", "training.amsgrad=true"][..],
        &["dtype=f64", "training.chunk=1", "training.batch_size=64"],
        &["dtype=f32", "training.early_stopping.patience_evaluations=3", "training.early_stopping.evaluate_every=4"],
    ] {
        let config = config(&[settings, &["training.steps=10", "training.components=2"]].concat());
        let dataset = dataset(50);
        let mut whole = Trainer::on(&config, &dataset, processor(), None).unwrap();
        advance(&mut whole, 10);
        whole.evaluate().unwrap();
        assert!(whole.next_component().unwrap());
        advance(&mut whole, 4);
        whole.evaluate().unwrap();
        let mut other = resumed(&config, &dataset, 14, &whole.state().unwrap().0).unwrap();
        let terms = advance(&mut whole, 6);
        assert!(terms[5].noise_std.len() == 2 && terms[5].noise_std[0] != terms[5].noise_std[1], "{terms:?}");
        assert_eq!(advance(&mut other, 6), terms);
        assert_eq!(whole.state().unwrap().0, other.state().unwrap().0);
        let (whole, other) = (whole.into_posterior().unwrap(), other.into_posterior().unwrap());
        assert_eq!((whole.components, whole.noise_std), (other.components, other.noise_std));
    }
}

#[test]
fn a_state_with_one_level_for_both_targets_is_refused() {
    let (config, dataset) = (config(&["training.steps=3"]), dataset(0));
    let trainer = Trainer::on(&config, &dataset, processor(), None).unwrap();
    let mut tensors = trainer.state().unwrap().0;
    for tensor in tensors.iter_mut().filter(|tensor| tensor.name.starts_with("noise.log_std")) {
        assert_eq!(tensor.shape, [2]);
        *tensor = NamedTensor::new(tensor.name.clone(), [], TensorData::F32(vec![0.0]));
    }
    let message = resumed(&config, &dataset, 0, &tensors).err().expect("an error").to_string();
    assert!(message.contains("all 2 targets") && message.contains("train anew"), "{message}");
}
