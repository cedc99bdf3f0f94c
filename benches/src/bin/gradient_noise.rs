//! Noise of a training step's gradient against its time, for several amounts of work in the entropy's estimate, at the parameters of a run.
//!
//! `gradient_noise RUN [--draws N] [--threads N] [--set KEY=VALUE]...` takes the run's last checkpoint and leaves it as it is. Each setting does
//! the same N steps, with the same rows, latents and weight noise, and with parameters that stand still; gradients are read off the change of
//! Adam's first moment. The noise is the trace of the gradients' covariance, every component divided by Adam's second moment (a step of Adam is
//! long in the units that this measures), and so relative to the number of parameters. The entropy's own part is the noise of the differences to
//! a reference with all latents, probes and steps, and its error the length of their mean, both in the same units.
//!
//! Averaging over k steps divides the noise by k: noise times seconds is what a setting is chosen by, the least being the best.

use livi::config::Config;
use livi::data::{self, Dataset};
use livi::entropy::Method;
use livi::export::TensorData;
use livi::run_folder::RunFolder;
use livi::train::{FIRST_DECAY, Trainer, stored_config};
use livi::{Error, Result};
use std::time::Instant;

/// Added to second moments, as Adam adds its root to theirs.
const EPSILON: f64 = 1e-16;
/// Probes and steps of the reference.
const REFERENCE: (usize, usize) = (8, 40);
/// Latents, probes, steps of quadrature.
const SETTINGS: [(usize, usize, usize); 9] =
    [(1, 1, 5), (1, 1, 10), (1, 1, 20), (1, 1, 40), (1, 2, 20), (1, 4, 20), (2, 1, 20), (4, 1, 10), (4, 1, 20)];

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (mut run, mut draws, mut threads, mut changes) = (None, 40, 2, Vec::new());
    while let Some(argument) = arguments.next() {
        let mut next = || arguments.next().unwrap_or_default();
        match argument.as_str() {
            "--draws" => draws = number("--draws", &next())?,
            "--threads" => threads = number("--threads", &next())?,
            "--set" => changes.push(next()),
            _ => run = Some(argument),
        }
    }
    let Some(run) = run else { return Err(invalid("RUN", "a run folder is needed: gradient_noise RUN".into())) };
    let folder = RunFolder::open(run)?;
    let mut config = stored_config(&folder)?;
    for change in changes {
        config.set(&change)?;
    }
    let dataset = data::load(&config.data)?;
    let samples = config.training.samples;
    let measure = |method: Method, latents: usize, (probes, steps): (usize, usize)| {
        let mut own = standing_still(&config)?;
        own.set(&format!("entropy.method={}", method.name()))?;
        let quadrature = [("latents", latents), ("probes", probes), ("steps", steps)];
        for (key, value) in quadrature {
            own.set(&format!("entropy.{key}={value}"))?;
        }
        Gradients::measure(&own, &folder, &dataset, threads, draws)
    };
    let reference = measure(Method::Slq, samples, REFERENCE)?;
    println!("{draws} draws, {samples} weight samples a step, {threads} threads");
    println!("  ms a step      noise   x seconds  entropy's   x seconds      error  entropy's estimate");
    let print = |what: String, found: &Gradients| {
        let noise = noise(&found.draws, &found.second);
        let differences: Vec<Vec<f64>> = found.draws.iter().zip(&reference.draws).map(|(a, b)| minus(a, b)).collect();
        let own = self::noise(&differences, &found.second);
        let error = mean_square(&differences, &found.second) - own / draws as f64;
        let seconds = found.seconds;
        let [whole, part] = [noise, own].map(|noise| noise * seconds);
        let error = error.max(0.0).sqrt();
        println!("{:>11.1} {noise:>10.4} {whole:>11.5} {own:>10.5} {part:>11.6} {error:>10.4}  {what}", seconds * 1e3);
    };
    print(format!("slq, {samples} latents, {} probes of {} steps (reference)", REFERENCE.0, REFERENCE.1), &reference);
    for (latents, probes, steps) in SETTINGS.into_iter().filter(|setting| setting.0 <= samples) {
        let found = measure(Method::Slq, latents, (probes, steps))?;
        print(format!("slq, {latents} latents, {probes} probes of {steps} steps"), &found);
    }
    for latents in [1, samples] {
        print(format!("smallest, {latents} latents"), &measure(Method::Smallest, latents, (1, 20))?);
    }
    Ok(())
}

/// The same training at its end's weights of prior and entropy, for ever, with steps too small for any parameter to change.
fn standing_still(config: &Config) -> Result<Config> {
    let mut config = config.clone();
    let settings = [
        "training.learning_rate=1e-30",
        "training.noise_learning_rate=1e-30",
        "training.schedule=constant",
        "training.steps=1000000000",
        "training.warmup=0",
    ];
    settings.iter().try_for_each(|setting| config.set(setting))?;
    Ok(config)
}

/// Gradients of the same steps.
struct Gradients {
    draws: Vec<Vec<f64>>,
    /// Adam's second moment in the checkpoint.
    second: Vec<f64>,
    /// Median seconds of a step.
    seconds: f64,
}

impl Gradients {
    fn measure(config: &Config, folder: &RunFolder, dataset: &Dataset, threads: usize, draws: usize) -> Result<Self> {
        let mut trainer = Trainer::new(config, dataset, threads, None)?;
        let checkpoint = folder.require_checkpoint()?;
        trainer.restore(checkpoint.step, &checkpoint.tensors)?;
        let second = moment(&trainer, "second")?;
        let mut before = moment(&trainer, "first")?;
        let (mut found, mut times) = (Vec::new(), Vec::new());
        for _ in 0..draws {
            let start = Instant::now();
            trainer.advance()?;
            times.push(start.elapsed().as_secs_f64());
            let after = moment(&trainer, "first")?;
            let pairs = after.iter().zip(&before);
            found.push(pairs.map(|(after, before)| (after - FIRST_DECAY * before) / (1.0 - FIRST_DECAY)).collect());
            before = after;
        }
        times.sort_by(f64::total_cmp);
        Ok(Self { draws: found, second, seconds: times[times.len() / 2] })
    }
}

/// A moment of Adam for the sampler's parameters.
fn moment(trainer: &Trainer, which: &str) -> Result<Vec<f64>> {
    let name = format!("weights.{which}_moment");
    let (tensors, _) = trainer.state()?;
    let Some(tensor) = tensors.into_iter().find(|tensor| tensor.name == name) else {
        return Err(invalid("RUN", format!("its state has no tensor `{name}`")));
    };
    match tensor.data {
        TensorData::F32(values) => Ok(values.into_iter().map(f64::from).collect()),
        TensorData::F64(values) => Ok(values),
        _ => Err(invalid("RUN", format!("`{name}` holds whole numbers"))),
    }
}

fn minus(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

/// Variance of each component over its scale, their mean.
fn noise(draws: &[Vec<f64>], scale: &[f64]) -> f64 {
    let count = draws.len() as f64;
    let square: f64 = draws.iter().map(|draw| weighted_square(draw, scale)).sum();
    (square - count * mean_square(draws, scale)) / (count - 1.0)
}

/// Square of each component's mean over its scale, their mean.
fn mean_square(draws: &[Vec<f64>], scale: &[f64]) -> f64 {
    let mut mean = vec![0.0; scale.len()];
    for draw in draws {
        mean.iter_mut().zip(draw).for_each(|(mean, value)| *mean += value / draws.len() as f64);
    }
    weighted_square(&mean, scale)
}

fn weighted_square(values: &[f64], scale: &[f64]) -> f64 {
    let terms = values.iter().zip(scale).map(|(value, scale)| value * value / (scale + EPSILON));
    terms.sum::<f64>() / scale.len() as f64
}

fn number(name: &str, text: &str) -> Result<usize> {
    text.parse().map_err(|_| invalid(name, format!("`{text}` is no whole number")))
}

fn invalid(name: &str, problem: String) -> Error {
    Error::Argument { name: name.into(), problem }
}
