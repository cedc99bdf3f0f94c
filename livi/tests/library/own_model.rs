//! Networks and samplers of a program's own.

use super::data::{config, dataset, names, refused, table};
use autograd::{Device, Tape, Var};
use livi::Result;
use livi::activation::Activation;
use livi::config::Config;
use livi::data::{Dataset, Standardiser, Table, Training};
use livi::export::read_samples;
use livi::metrics::noise;
use livi::model::Model;
use livi::network::{Layer, Network};
use livi::posterior::Posterior;
use livi::run_folder::RunFolder;
use livi::sampler::{LastLayer, Parameter, Piece, Recorded, Sampler};
use livi::train::{Observer, Saved, Silent, Terms, Trainer, encode, run};
use std::sync::atomic::AtomicBool;

const CPU: Device = Device::Cpu { threads: 1 };

/// The network that the settings of [`config`] describe, with other names.
fn network() -> Network {
    let layers = vec![Layer::linear("in", 3), Layer::Activation(Activation::Relu), Layer::linear("out", 2)];
    Network::new(&[2], layers).unwrap()
}

/// g(z) = A z + b, from the latents themselves.
struct Affine {
    latents: usize,
    outputs: usize,
    /// What it says about itself and what it does may differ.
    made: usize,
    bias: usize,
}

impl Affine {
    fn new(latents: usize, outputs: usize) -> Self {
        Self { latents, outputs, made: outputs, bias: 1 }
    }
}

impl Sampler for Affine {
    fn latents(&self) -> usize {
        self.latents
    }

    fn outputs(&self) -> usize {
        self.outputs
    }

    fn parameters(&self) -> Vec<Parameter> {
        let weight = Parameter { name: "A".into(), shape: vec![self.made, self.latents], bound: 0.5_f64.sqrt() };
        vec![weight, Parameter { name: "b".into(), shape: vec![self.made], bound: 0.0 }]
    }

    fn output_biases(&self) -> Vec<usize> {
        vec![self.bias]
    }

    fn record(&self, tape: &mut Tape, parameters: &[Var], latents: Var) -> Result<Recorded> {
        let transposed = tape.transpose(parameters[0])?;
        let product = tape.matmul(latents, transposed)?;
        let theta = tape.add(product, parameters[1])?;
        let pieces = vec![Piece { hidden: latents, last: LastLayer::Dense { weight: parameters[0] } }];
        Recorded::from_latents(tape, latents, theta, pieces)
    }
}

fn trained(config: &Config, model: Option<Model>) -> Result<Posterior> {
    let trainer = match model {
        Some(model) => Trainer::with_model(config, model, &dataset(), CPU, None)?,
        None => Trainer::on(config, &dataset(), CPU, None)?,
    };
    trainer.fit(&mut Silent)
}

#[test]
fn a_network_of_ones_own_trains_as_the_configurations() {
    let config = config(&["network.activation=relu"]);
    let model = Model::of(&config, network(), None).unwrap();
    let (own, same) = (trained(&config, Some(model)).unwrap(), trained(&config, None).unwrap());
    assert_eq!(own.model.network.layout().entries()[0].name, "in.weight");
    assert_eq!(own.draw(4, 9).unwrap(), same.draw(4, 9).unwrap());
    // What is not named stays a point estimate.
    let partial = {
        let mut partial = config.clone();
        partial.set("network.stochastic=[\"out.*\"]").unwrap();
        partial
    };
    let model = Model::of(&partial, network(), None).unwrap();
    assert_eq!((model.drawn.len(), model.points.len()), (8, 9));
    let draws = trained(&partial, Some(model)).unwrap().draw(2, 9).unwrap();
    assert_eq!(draws[..9], draws[17..26]);
    assert_ne!(draws[9..17], draws[26..]);
}

#[test]
fn a_sampler_of_ones_own_trains_as_the_same_one_of_ours() {
    for method in ["exact", "slq", "smallest"] {
        let method = format!("entropy.method={method}");
        let settings = ["sampler.hidden=[]", "dtype=f64", "training.steps=6", &method, "sampler.init_scale=1"];
        let config = config(&settings);
        let own = Model::of(&config, network(), Some(Box::new(Affine::new(2, 17)))).unwrap();
        let ours = Model::of(&config, network(), None).unwrap();
        let mut last = Vec::new();
        for model in [own, ours] {
            let mut trainer = Trainer::with_model(&config, model, &dataset(), CPU, None).unwrap();
            last.push((0..6).map(|_| trainer.advance().unwrap()).collect::<Vec<Terms>>());
        }
        for (step, (own, ours)) in last[0].iter().zip(&last[1]).enumerate() {
            let differ = |a: f64, b: f64| (a - b).abs() > 1e-9 * b.abs().max(1.0);
            let pairs = [
                (own.entropy, ours.entropy),
                (own.likelihood, ours.likelihood),
                (own.gradient_norm, ours.gradient_norm),
            ];
            assert!(!pairs.iter().any(|&(a, b)| differ(a, b)), "{method}, step {step}: {own:?} {ours:?}");
        }
    }
}

#[test]
fn models_that_do_not_fit_are_refused() {
    let config = config(&[]);
    let of = |sampler: Affine| Model::of(&config, network(), Some(Box::new(sampler)));
    refused(of(Affine::new(2, 16)), &["sampler", "makes 16 weights, but 17"]);
    refused(of(Affine::new(0, 17)), &["sampler", "no latents"]);
    refused(of(Affine { bias: 2, ..Affine::new(2, 17) }), &["sampler", "parameter 2", "has 2"]);
    let lying = of(Affine { made: 18, ..Affine::new(2, 17) }).unwrap();
    let found = Trainer::with_model(&config, lying, &dataset(), CPU, None);
    refused(found, &["theta of the recorded sampler", "18], expected", "17]"]);
    let narrow = Network::new(&[2], vec![Layer::linear("one", 1)]).unwrap();
    let found = Trainer::with_model(&config, Model::of(&config, narrow, None).unwrap(), &dataset(), CPU, None);
    refused(found, &["network", "takes 2 numbers and makes 1", "2 and 2"]);
    let mut classes = config.clone();
    classes.set("likelihood.kind=softmax").unwrap();
    let found = Trainer::with_model(&classes, Model::of(&config, network(), None).unwrap(), &dataset(), CPU, None);
    refused(found, &["model", "gaussian", "softmax"]);
    for layers in [
        vec![Layer::linear("a", usize::MAX)],
        vec![Layer::linear("a", 1 << 30), Layer::linear("b", 1 << 30)],
        vec![Layer::conv("a", usize::MAX, 1)],
    ] {
        let input: &[usize] = if matches!(layers[0], Layer::Conv { .. }) { &[3, 4, 4] } else { &[3] };
        refused(Network::new(input, layers), &["which no machine holds"]);
    }
    let wide = Layer::Conv {
        name: "a".into(),
        channels: 1,
        size: [1; 2],
        stride: [1; 2],
        padding: [usize::MAX; 2],
        bias: true,
    };
    refused(Network::new(&[1, 4, 4], vec![wide]), &["which no machine holds"]);
}

#[test]
fn a_run_with_a_model_of_ones_own_is_read_back_with_it() {
    let root = tempfile::tempdir().unwrap();
    let config = config(&["network.activation=relu"]);
    let made =
        |name: &str| RunFolder::create(root.path().join(name), &config.to_toml_string().unwrap(), 0, "a test").unwrap();
    let into = |folder: &RunFolder, mut trainer: Trainer| {
        run(&config, &dataset(), &mut trainer, folder, &AtomicBool::new(false), &mut Silent)
    };
    let with = |network: Network| Model::of(&config, network, None).unwrap();
    let (own, ours) = (made("own"), made("ours"));
    into(&own, Trainer::with_model(&config, with(network()), &dataset(), CPU, None).unwrap()).unwrap();
    into(&ours, Trainer::on(&config, &dataset(), CPU, None).unwrap()).unwrap();

    refused(Saved::open(&own), &["own_model", "open it with that model"]);
    let saved = Saved::with_model(&own, with(network())).unwrap();
    assert_eq!(saved.posterior.draw(2, 5).unwrap(), Saved::open(&ours).unwrap().posterior.draw(2, 5).unwrap());
    refused(Saved::with_model(&ours, with(network())), &["own_model", "is missing"]);
    let layers = vec![Layer::linear("in", 3), Layer::Activation(Activation::Relu), Layer::linear("head", 2)];
    let renamed = Network::new(&[2], layers).unwrap();
    refused(Saved::with_model(&own, with(renamed)), &["another model", "`out.weight` [2, 3]", "`head.weight` [2, 3]"]);
    // Nor is it trained on as another.
    refused(into(&own, Trainer::on(&config, &dataset(), CPU, None).unwrap()), &["own_model"]);
    refused(into(&ours, Trainer::with_model(&config, with(network()), &dataset(), CPU, None).unwrap()), &["own_model"]);
    let again = into(&own, Trainer::with_model(&config, with(network()), &dataset(), CPU, None).unwrap()).unwrap();
    assert_eq!(again.steps, 3);

    let file = root.path().join("weights.safetensors");
    let Saved { config, posterior, input_names, output_names, .. } = saved;
    let tensors = posterior.export(&file, 3, 5, &config, &input_names, &output_names).unwrap();
    assert_eq!(tensors[3], ("out.bias".to_string(), vec![2]));
    let samples = read_samples(&file).unwrap();
    assert_eq!((samples.layout, samples.count, samples.description.output_names), (tensors, 3, names(&["u", "v"])));
}

/// Counts what it is told.
#[derive(Default)]
struct Counter {
    started: Option<(u64, u64)>,
    steps: u64,
    validated: Vec<u64>,
    ended: usize,
}

impl Observer for Counter {
    fn started(&mut self, step: u64, total: u64) {
        self.started = Some((step, total));
    }

    fn stepped(&mut self, terms: &Terms) {
        self.steps += 1;
        assert_eq!(terms.step, self.steps);
    }

    fn validated(&mut self, step: u64, _: f64) {
        self.validated.push(step);
    }

    fn ended(&mut self) {
        self.ended += 1;
    }
}

#[test]
fn fitting_in_memory_is_what_a_run_in_a_folder_does() {
    let root = tempfile::tempdir().unwrap();
    let config = config(&[
        "training.steps=12",
        "training.components=3",
        "training.learning_rate=0.3",
        "training.early_stopping.patience_evaluations=1",
        "training.early_stopping.evaluate_every=2",
    ]);
    let validation = Table { x: table().x[..8].to_vec(), y: table().y[16..].to_vec(), rows: 4, ..table() };
    let dataset = Dataset { training: Training::Table(table()), validation: Some(validation), ..dataset() };
    let folder = RunFolder::create(root.path().join("run"), &config.to_toml_string().unwrap(), 0, "a test").unwrap();
    let mut trainer = Trainer::on(&config, &dataset, CPU, None).unwrap();
    let ending = run(&config, &dataset, &mut trainer, &folder, &AtomicBool::new(false), &mut Silent).unwrap();
    let mut counter = Counter::default();
    let fitted = Trainer::on(&config, &dataset, CPU, None).unwrap().fit(&mut counter).unwrap();
    assert_eq!(fitted.components.len(), 3);
    assert_eq!(fitted.draw(6, 2).unwrap(), Saved::open(&folder).unwrap().posterior.draw(6, 2).unwrap());
    assert_eq!((counter.started, counter.steps, counter.ended), (Some((0, 36)), ending.steps, 1));
    assert!(counter.steps < 36, "patience ran out in no component");
    assert!(counter.validated.iter().all(|step| step % 2 == 0) && counter.validated.len() >= 6);
}

#[test]
fn the_noise_of_predictions_may_be_the_one_that_fits_the_validation_rows() {
    let root = tempfile::tempdir().unwrap();
    let config = config(&["training.steps=60", "training.components=2", "likelihood.noise_from_validation=true"]);
    refused(Trainer::on(&config, &dataset(), CPU, None), &["validation rows", "noise"]);
    let validation = Table { x: table().x[..8].to_vec(), y: table().y[16..].to_vec(), rows: 4, ..table() };
    let rows = encode(config.likelihood.kind, &validation, &dataset().standardiser, 2).unwrap();
    let dataset = Dataset { validation: Some(validation), ..dataset() };
    let folder = RunFolder::create(root.path().join("run"), &config.to_toml_string().unwrap(), 0, "a test").unwrap();
    let mut trainer = Trainer::on(&config, &dataset, CPU, None).unwrap();
    run(&config, &dataset, &mut trainer, &folder, &AtomicBool::new(false), &mut Silent).unwrap();
    let posterior = Trainer::on(&config, &dataset, CPU, None).unwrap().fit(&mut Silent).unwrap();
    let fitted = &posterior.noise_std;
    assert_eq!(*fitted, Saved::open(&folder).unwrap().posterior.noise_std);
    // The same with other draws, from predictions in original units.
    let x = &table().x[..8];
    let predictions = posterior.predict(x, 4, 4000, 77).unwrap();
    let Standardiser { y_mean, y_std, .. } = &posterior.standardiser;
    let scaled: Vec<f64> =
        predictions.outputs.chunks(2).flat_map(|row| (0..2).map(|k| (row[k] - y_mean[k]) / y_std[k])).collect();
    let again = noise::fit(&scaled, 4000, &rows.y, 2).unwrap();
    assert_eq!((fitted.len(), again.len()), (2, 2));
    for (fitted, again) in fitted.iter().zip(&again) {
        assert!((fitted / again.cautious - 1.0).abs() < 0.1, "{fitted}, {again:?}");
        assert!(again.cautious > again.likeliest);
    }
    assert!((fitted[0] / fitted[1]).ln().abs() > 0.05, "one level for both targets: {fitted:?}");
    // They are those that predictions have.
    let noise: Vec<f64> = y_std.iter().zip(fitted).map(|(unit, std)| unit * std).collect();
    assert_eq!(predictions.noise_std, noise);
}

#[test]
fn predictions_know_what_their_outputs_are() {
    let posterior = trained(&config(&[]), None).unwrap();
    let predictions = posterior.predict(&[1.0, 2.0], 1, 5, 3).unwrap();
    refused(predictions.clone().class_probabilities(), &["predictions", "gaussian", "softmax"]);
    let mean = predictions.clone().mixture().unwrap().mean();
    let plain: Vec<f64> = (0..2).map(|k| predictions.outputs.iter().skip(k).step_by(2).sum::<f64>() / 5.0).collect();
    assert!(mean.iter().zip(&plain).all(|(a, b)| (a - b).abs() < 1e-12), "{mean:?} {plain:?}");

    let mut classes = config(&["likelihood.kind=softmax"]);
    classes.set("network.hidden=[]").unwrap();
    let labels: Vec<f64> = (0..12).map(|k| f64::from(k % 3)).collect();
    let labelled = Table::new(table().x, labels, 12, names(&["a", "b"]), names(&["kind"])).unwrap();
    let standardiser = Standardiser::identity(2, 1);
    let data = Dataset { training: Training::Table(labelled), standardiser, ..dataset() };
    // A fourth class that no row has.
    let model = Model::of(&classes, Network::new(&[2], vec![Layer::linear("fc", 4)]).unwrap(), None).unwrap();
    let posterior = Trainer::with_model(&classes, model, &data, CPU, None).unwrap().fit(&mut Silent).unwrap();
    let predictions = posterior.predict(&[1.0, 2.0, 0.5, 3.0], 2, 5, 3).unwrap();
    refused(predictions.clone().mixture(), &["predictions", "softmax", "gaussian"]);
    let probabilities = predictions.class_probabilities().unwrap();
    assert_eq!(probabilities.len(), 8);
    assert!(probabilities.chunks(4).all(|row| (row.iter().sum::<f64>() - 1.0).abs() < 1e-6));
}
