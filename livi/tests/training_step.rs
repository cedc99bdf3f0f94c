//! The whole training step against independent truth: the bound's terms against dense linear algebra, its gradient against differences.

use autograd::{DType, Machine, Plan, Request, Tape};
use faer::Mat;
use livi::config::{Config, LikelihoodKind};
use livi::model::Model;
use livi::train::{DataShape, Program, Trainer};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::f64::consts::{E, PI};

const ROWS: usize = 7;
const INPUTS: usize = 2;
const NOISE: (u64, u64) = (11, 3);
const WARMUP: f64 = 0.7;

/// A loaded training step with data, weights and noise.
struct Step {
    config: Config,
    model: Model,
    program: Program,
    machine: Machine,
    plan: autograd::PlanId,
    weights: Vec<f64>,
    log_std: Vec<f64>,
}

/// Terms of the bound.
struct Terms {
    likelihood: f64,
    prior: f64,
    half_log_det: f64,
    scales: f64,
}

impl Step {
    fn new(settings: &[&str]) -> Self {
        Self::with_targets(1, settings)
    }

    /// With so many target columns, those of a Gaussian likelihood.
    fn with_targets(targets: usize, settings: &[&str]) -> Self {
        let mut config = Config::default();
        let common = [
            "dtype=f64",
            "network.hidden=[3]",
            "sampler.latent=[2]",
            "sampler.hidden=[4]",
            "sampler.sigma=0.3",
            "training.samples=3",
            "training.prior_weight=0.8",
            "training.entropy_weight=0.9",
            "training.temperature=1.3",
            "training.clip_norm=0",
        ];
        common.iter().chain(settings).for_each(|setting| config.set(setting).unwrap());
        let outputs = if config.likelihood.kind == LikelihoodKind::Softmax { 3 } else { targets };
        let model = Model::new(&config, INPUTS, outputs).unwrap();
        let shape = DataShape { rows: ROWS, inputs: INPUTS, outputs, batch: ROWS, streamed: false };
        let program = Program::record(&config, &model, shape).unwrap();
        let mut machine = Machine::cpu(1).unwrap();
        let plan = program.plan().unwrap();
        let inputs = plan.inputs().to_vec();
        let plan = machine.load(plan).unwrap();
        // The optimiser's rates and moments stay zero.
        for var in inputs {
            machine.write_f64(var, &vec![0.0; program.tape.elements(var)]).unwrap();
        }
        let mut generator = StdRng::seed_from_u64(5);
        let mut numbers =
            |count: usize| (0..count).map(|_| 2.0 * generator.random::<f64>() - 1.0).collect::<Vec<f64>>();
        machine.write_f64(program.x, &numbers(ROWS * INPUTS)).unwrap();
        let y = match config.likelihood.kind {
            LikelihoodKind::Gaussian => numbers(ROWS * targets),
            LikelihoodKind::Softmax => (0..ROWS * 3).map(|i| f64::from(u8::from(i % 3 == i / 3 % 3))).collect(),
        };
        machine.write_f64(program.y, &y).unwrap();
        machine.write_f64(program.warmup, &[WARMUP]).unwrap();
        let weights = numbers(model.parameter_count());
        let log_std = (0..program.noise_levels()).map(|target| -0.4 + 0.9 * target as f64).collect();
        Self { config, model, program, machine, plan, weights, log_std }
    }

    /// Runs at the given parameters with the same noise every time.
    fn run(&mut self, weights: &[f64], log_std: &[f64]) -> Terms {
        self.machine.write_f64(self.program.weights, weights).unwrap();
        if let Some(var) = self.program.log_std {
            self.machine.write_f64(var, log_std).unwrap();
        }
        self.machine.set_noise(NOISE.0, NOISE.1);
        self.machine.run(self.plan).unwrap();
        let read = |var| self.machine.read_f64(var).unwrap()[0];
        Terms {
            likelihood: read(self.program.likelihood.unwrap()),
            prior: read(self.program.prior),
            half_log_det: self.program.half_log_det.map_or(0.0, read),
            scales: self.program.scale_entropy.map_or(0.0, read),
        }
    }

    /// The objective that the step descends, from its terms.
    fn loss(&mut self, weights: &[f64], log_std: &[f64]) -> f64 {
        let terms = self.run(weights, log_std);
        let training = &self.config.training;
        let entropy = training.entropy_weight * training.temperature * (terms.half_log_det + terms.scales);
        -(terms.likelihood + WARMUP * (training.prior_weight * terms.prior + entropy))
    }

    /// The gradient as the optimiser saw it: after one step from zero the first moment is a tenth of it.
    fn gradient(&mut self, of: &str) -> Vec<f64> {
        let state = self.program.state();
        let (_, moment) = state.iter().find(|(name, _)| *name == format!("{of}.first_moment")).unwrap();
        for (name, var) in &state {
            if name.contains("moment") {
                let zeros = vec![0.0; self.program.tape.elements(*var)];
                self.machine.write_f64(*var, &zeros).unwrap();
            }
        }
        let (weights, log_std) = (self.weights.clone(), self.log_std.clone());
        self.run(&weights, &log_std);
        self.machine.read_f64(*moment).unwrap().iter().map(|value| value / 0.1).collect()
    }

    /// The latents of the step, S x d.
    fn latents(&self) -> Vec<f64> {
        let mut machine = Machine::cpu(1).unwrap();
        let latents = self.program.draw.sampled.as_ref().unwrap().latents;
        let plan = Plan::new(&self.program.tape, &Request::outputs(&[latents])).unwrap();
        let plan = machine.load(plan).unwrap();
        machine.set_noise(NOISE.0, NOISE.1);
        machine.run(plan).unwrap();
        machine.read_f64(latents).unwrap()
    }

    /// The sampler's output (m) and Jacobian (m x d, row-major) at one latent.
    fn sampler_at(&self, latent: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let sampler = self.model.sampler.as_deref().unwrap();
        let mut tape = Tape::new();
        let z = tape.input(&[1, sampler.latents()], DType::F64);
        let parameters: Vec<_> = sampler.parameters().iter().map(|p| tape.input(&p.shape, DType::F64)).collect();
        let recorded = sampler.record(&mut tape, &parameters, z).unwrap();
        let jacobian = tape.jacobian(recorded.theta, z).unwrap();
        let mut machine = Machine::cpu(1).unwrap();
        let plan = machine.load(Plan::new(&tape, &Request::outputs(&[recorded.theta, jacobian])).unwrap()).unwrap();
        let (values, _) = self.model.tensors(&self.weights);
        parameters.iter().zip(&values).for_each(|(&var, value)| machine.write_f64(var, value).unwrap());
        machine.write_f64(z, latent).unwrap();
        machine.run(plan).unwrap();
        (machine.read_f64(recorded.theta).unwrap(), machine.read_f64(jacobian).unwrap())
    }

    /// exp of the logarithms of the scales, all 1 where they are not learned.
    fn scales(&self) -> Vec<f64> {
        let (_, log_scale) = self.model.tensors(&self.weights);
        match log_scale.is_empty() {
            true => vec![1.0; self.model.drawn.len()],
            false => log_scale.iter().map(|log| log.exp()).collect(),
        }
    }
}

/// Settings for which everything is checked.
const SETTINGS: [&[&str]; 8] = [
    &[],
    &["sampler.learned_scales=true"],
    &["sampler.learned_scales=true", "prior.kind=fan_in", "prior.std=1.5"],
    &["prior.kind=fan_in", "network.activation=tanh"],
    &["sampler.learned_scales=true", "likelihood.kind=softmax"],
    &["entropy.latents=2"],
    &["network.stochastic=[\"layer1.*\"]", "sampler.learned_scales=true"],
    &["network.stochastic=[\"*.weight\"]", "prior.kind=fan_in", "likelihood.kind=softmax"],
];

/// The same for a network without a drawn weight.
const POINT_ESTIMATE: &[&str] = &["network.stochastic=[]", "training.samples=1", "prior.kind=fan_in"];

#[test]
fn the_gradient_is_that_of_the_weighted_sum_of_the_terms() {
    let several = (2, &["sampler.learned_scales=true"][..]);
    for (targets, settings) in SETTINGS.into_iter().chain([POINT_ESTIMATE]).map(|one| (1, one)).chain([several]) {
        let mut step = Step::with_targets(targets, settings);
        let log_std = step.log_std.clone();
        let gradient = step.gradient("weights");
        assert!(gradient.iter().all(|g| g.abs() > 1e-12), "{settings:?}: {gradient:?}");
        let h = 1e-5;
        for (i, &found) in gradient.iter().enumerate() {
            let mut at = |shift: f64| {
                let mut weights = step.weights.clone();
                weights[i] += shift;
                step.loss(&weights, &log_std)
            };
            // Central difference of fourth order.
            let difference = (8.0 * (at(h) - at(-h)) - (at(2.0 * h) - at(-2.0 * h))) / (12.0 * h);
            assert!(
                (found - difference).abs() < 1e-7 * (1.0 + difference.abs()),
                "{settings:?} {i}: {found} {difference}"
            );
        }
    }
}

#[test]
fn the_noise_of_each_target_has_the_gradient_of_the_likelihood() {
    for targets in [1, 3] {
        let mut step = Step::with_targets(targets, &["sampler.learned_scales=true"]);
        let gradient = step.gradient("noise.log_std");
        assert_eq!(gradient.len(), targets);
        for (target, found) in gradient.into_iter().enumerate() {
            let (weights, h) = (step.weights.clone(), 1e-5);
            let mut at = |shift: f64| {
                let mut log_std = step.log_std.clone();
                log_std[target] += shift;
                step.loss(&weights, &log_std)
            };
            let difference = (at(h) - at(-h)) / (2.0 * h);
            assert!((found - difference).abs() < 1e-6 * difference.abs(), "target {target}: {found} {difference}");
        }
    }
}

#[test]
fn the_likelihood_of_several_targets_has_each_ones_noise() {
    let mut step = Step::with_targets(2, &[]);
    let (weights, log_std) = (step.weights.clone(), step.log_std.clone());
    let found = step.run(&weights, &log_std).likelihood;
    // What is missing at other levels is in closed form: the misfit of a target goes with its variance alone.
    let at = |step: &mut Step, log_std: [f64; 2]| step.run(&weights, &log_std).likelihood;
    let far = [log_std[0] + 40.0, log_std[1] + 40.0];
    let normaliser = |log_std: f64| ROWS as f64 * (log_std + 0.5 * (2.0 * PI).ln());
    let misfit = |step: &mut Step, target: usize| {
        let mut own = far;
        own[target] = log_std[target];
        at(step, own) + normaliser(own[0]) + normaliser(own[1])
    };
    let expected = misfit(&mut step, 0) + misfit(&mut step, 1) - normaliser(log_std[0]) - normaliser(log_std[1]);
    assert!((found - expected).abs() < 1e-10 * expected.abs(), "{found} {expected}");
}

#[test]
fn the_entropy_is_that_of_the_dense_covariance_of_scaled_weights() {
    for settings in SETTINGS {
        let mut step = Step::new(settings);
        let (weights, log_std) = (step.weights.clone(), step.log_std.clone());
        let terms = step.run(&weights, &log_std);
        let found = terms.half_log_det + terms.scales + step.program.constants.total();
        let (scales, sigma) = (step.scales(), step.model.sigma);
        let (m, d) = (step.model.drawn.len(), step.model.sampler.as_ref().unwrap().latents());
        let latents = step.latents();
        let latents = &latents[..step.config.entropy.latents_of(latents.len() / d) * d];
        let mut entropy = 0.0;
        for latent in latents.chunks_exact(d) {
            let (_, jacobian) = step.sampler_at(latent);
            // Covariance of s (g + J dz + sigma eta) for standard normal dz and eta.
            let covariance = Mat::from_fn(m, m, |i, j| {
                let dot: f64 = (0..d).map(|k| jacobian[i * d + k] * jacobian[j * d + k]).sum();
                scales[i] * scales[j] * (dot + if i == j { sigma * sigma } else { 0.0 })
            });
            let factor = covariance.llt(faer::Side::Lower).unwrap();
            let log_det: f64 = (0..m).map(|i| 2.0 * factor.L()[(i, i)].ln()).sum();
            entropy += 0.5 * log_det + m as f64 / 2.0 * (2.0 * PI * E).ln();
        }
        entropy /= (latents.len() / d) as f64;
        assert!((found - entropy).abs() < 1e-10 * entropy.abs().max(1.0), "{settings:?}: {found} {entropy}");
    }
}

#[test]
fn the_prior_is_the_expectation_over_the_noise_on_the_weights() {
    for settings in SETTINGS {
        let mut step = Step::new(settings);
        let (weights, log_std) = (step.weights.clone(), step.log_std.clone());
        let found = step.run(&weights, &log_std).prior;
        let (scales, sigma) = (step.scales(), step.model.sigma);
        let d = step.model.sampler.as_ref().unwrap().latents();
        let Model { drawn, points, prior, .. } = &step.model;
        let latents = step.latents();
        let log_density =
            |std: f64, weight: f64| -0.5 * (2.0 * PI * std * std).ln() - weight * weight / (2.0 * std * std);
        let mut expected = 0.0;
        for latent in latents.chunks_exact(d) {
            let (mean, _) = step.sampler_at(latent);
            for entry in drawn.entries() {
                for i in entry.range.clone() {
                    // A quadratic function of a standard normal number has the mean of its values at 1 and -1.
                    for eta in [1.0, -1.0] {
                        expected += 0.5 * log_density(prior.std_of(entry), scales[i] * (mean[i] + sigma * eta));
                    }
                }
            }
        }
        expected /= (latents.len() / d) as f64;
        let values = &weights[weights.len() - points.len()..];
        for entry in points.entries() {
            expected += values[entry.range.clone()].iter().map(|&w| log_density(prior.std_of(entry), w)).sum::<f64>();
        }
        assert!((found - expected).abs() < 1e-11 * expected.abs(), "{settings:?}: {found} {expected}");
    }
}

/// Trains a few steps on the toy set; the parameters at the end and the terms of every step.
fn trained(settings: &[&str]) -> (Vec<f64>, Vec<livi::train::Terms>) {
    let mut config = Config::default();
    let common = [
        "dtype=f64",
        "network.hidden=[4]",
        "sampler.latent=[3]",
        "sampler.hidden=[5]",
        "training.samples=6",
        "training.steps=8",
        "training.learning_rate=1e-2",
        "training.clip_norm=500",
    ];
    common.iter().chain(settings).for_each(|setting| config.set(setting).unwrap());
    config.validate().unwrap();
    let dataset = livi::data::load(&config.data).unwrap();
    let mut trainer = Trainer::new(&config, &dataset, 1, None).unwrap();
    let terms = (0..8).map(|_| trainer.advance().unwrap()).collect();
    (trainer.into_posterior().unwrap().components.remove(0), terms)
}

#[test]
fn chunks_of_weight_samples_give_the_steps_of_all_at_once() {
    let variants: [&[&str]; 5] = [
        &[],
        &["training.batch_size=16", "sampler.learned_scales=true"],
        &["entropy.method=slq", "entropy.latents=2"],
        &["network.stochastic=[\"layer1.*\"]", "entropy.method=smallest"],
        &["likelihood.learn_noise=false"],
    ];
    for variant in variants {
        let (whole, terms) = trained(variant);
        for chunk in [1, 2, 3] {
            let setting = format!("training.chunk={chunk}");
            let (found, own) = trained(&[variant, &[setting.as_str()]].concat());
            for (a, b) in whole.iter().zip(&found) {
                assert!((a - b).abs() < 1e-8, "{variant:?}, chunks of {chunk}: {a} {b}");
            }
            for (a, b) in terms.iter().zip(&own) {
                let pairs = [(a.likelihood, b.likelihood), (a.prior, b.prior), (a.entropy, b.entropy)];
                for (a, b) in pairs.into_iter().chain([(a.gradient_norm, b.gradient_norm)]) {
                    assert!((a - b).abs() < 1e-8 * a.abs().max(1.0), "{variant:?}, chunks of {chunk}: {a} {b}");
                }
            }
        }
    }
}

#[test]
fn memory_that_does_not_hold_all_weight_samples_gives_smaller_chunks() {
    let mut config = Config::default();
    for setting in ["network.hidden=[300, 300]", "training.samples=12", "sampler.latent=[2]", "sampler.hidden=[3]"] {
        config.set(setting).unwrap();
    }
    let dataset = livi::data::load(&config.data).unwrap();
    let made = |memory: Option<usize>| Trainer::new(&config, &dataset, 1, memory);
    let whole = made(None).unwrap().peak_bytes();
    let mut seen = Vec::new();
    let mut memory = whole;
    // The least that would do stands in the refusal.
    let least = loop {
        match made(Some(memory)) {
            Ok(trainer) => {
                assert!(trainer.peak_bytes() <= memory, "{} {memory}", trainer.peak_bytes());
                seen.push(trainer.config().training.chunk);
                memory = trainer.peak_bytes() - 1;
            }
            Err(livi::Error::Autograd(autograd::Error::Memory { needed, limit, .. })) => {
                assert_eq!(limit, memory);
                break needed;
            }
            Err(other) => panic!("{other}"),
        }
    };
    assert_eq!((seen.first(), seen.last()), (Some(&0), Some(&1)));
    assert!(seen[1..].is_sorted_by(|a, b| a > b && 12 % b == 0), "{seen:?}");
    assert_eq!(least, memory + 1);
    config.set("training.chunk=4").unwrap();
    assert!(Trainer::new(&config, &dataset, 1, Some(least)).is_err(), "chunks that were asked for stay as they are");
}
