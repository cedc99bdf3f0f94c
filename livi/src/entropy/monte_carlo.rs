//! The true entropy of the implicit posterior q(theta), between two Monte-Carlo bounds: a check of the linearisation itself, for small samplers.
//!
//! With theta drawn from latent z_0 and z_1 .. z_K fresh latents, the negative logarithm of the mixture of N(theta; g(z_k), sigma^2 I)
//! that includes k = 0 has an expectation of at most H\[q\], that of the mixture without it one of at least H\[q\]; both tighten as K grows
//! (Sobolev and Vetrov 2019, "Importance weighted hierarchical variational inference").

use super::estimate::check_sigma;
use super::parameters;
use crate::device::require_memory;
use crate::sampler::{Sampler, record};
use crate::spectral::mean_and_standard_error;
use crate::{Error, Result};
use autograd::{DType, Device, Machine, Plan, PlanId, Request, Tape, Var};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand_distr::{Distribution, StandardNormal};
use serde::Serialize;
use std::f64::consts::PI;

/// Sampler evaluations that one run of the program makes.
const BATCH: usize = 256;

/// The entropy between two estimated bounds, in nats.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct EntropyBracket {
    /// Mean of the mixture that includes the latent drawn from: its expectation is at most the entropy.
    pub lower: f64,
    /// Standard error of `lower`.
    pub lower_standard_error: f64,
    /// Mean of the mixture without it: its expectation is at least the entropy.
    pub upper: f64,
    /// Standard error of `upper`.
    pub upper_standard_error: f64,
    /// Fresh latents K in each mixture.
    pub components: usize,
}

impl EntropyBracket {
    /// The bracket widened by a number of standard errors on both sides.
    pub fn widened(&self, standard_errors: f64) -> (f64, f64) {
        (
            self.lower - standard_errors * self.lower_standard_error,
            self.upper + standard_errors * self.upper_standard_error,
        )
    }
}

/// Brackets the entropy of q(theta) = E_z N(g(z), sigma^2 I) from `draws` independent draws of theta, with mixtures of each number of fresh latents in
/// `components` (ascending). Each draw has fresh latents of its own, the smaller mixtures are parts of the larger ones.
///
/// Costs `draws * (max(components) + 1)` evaluations of the sampler on the device, in f64. In high dimensions the bracket is wide: its upper end falls
/// only like the logarithm of the components.
///
/// # Errors
/// [`Error::Argument`] for weights that do not fit the sampler, a sigma that is not positive and finite, fewer than 2 draws, components that are empty,
/// zero or not ascending; [`Error::Numerical`] when a weight vector is not finite; those of recording, planning and running.
///
/// ```
/// use livi::activation::Activation;
/// use livi::entropy::entropy_bracket;
/// use livi::sampler::MlpSampler;
/// // theta = 2 z + noise of std 1: normal with variance 5.
/// let sampler = MlpSampler::new(1, &[], 1, Activation::Elu)?;
/// let device = livi::device::processor();
/// let found = entropy_bracket(&sampler, &[vec![2.0], vec![0.0]], 1.0, 2000, &[100], 7, device)?[0];
/// let exact = 0.5 * (2.0 * std::f64::consts::PI * std::f64::consts::E * 5.0).ln();
/// let (lower, upper) = found.widened(4.0);
/// assert!(lower < exact && exact < upper && upper - lower < 0.2);
/// # Ok::<(), livi::Error>(())
/// ```
pub fn entropy_bracket(
    sampler: &dyn Sampler,
    parameters: &[Vec<f64>],
    sigma: f64,
    draws: usize,
    components: &[usize],
    seed: u64,
    device: Device,
) -> Result<Vec<EntropyBracket>> {
    check_sigma(sigma)?;
    parameters::check(sampler, parameters)?;
    let refuse = |name: &str, problem: String| Err(Error::Argument { name: name.into(), problem });
    if draws < 2 {
        return refuse("draws", format!("is {draws}, expected at least 2"));
    }
    if components.first().is_none_or(|&k| k == 0) || components.windows(2).any(|w| w[0] >= w[1]) {
        return refuse("components", format!("are {components:?}, expected ascending positive numbers"));
    }
    let most = components[components.len() - 1];
    let numbers = draws.checked_mul(2 * components.len()).and_then(|numbers| numbers.checked_add(most));
    require_memory(numbers, size_of::<f64>(), "ask for fewer draws or components")?;
    let mut evaluator = Evaluator::new(sampler, parameters, most + 1, device)?;
    let mut generator = StdRng::seed_from_u64(seed);
    let mut samples = vec![(Vec::with_capacity(draws), Vec::with_capacity(draws)); components.len()];
    let mut logs = Vec::with_capacity(most);
    for _ in 0..draws {
        let own = evaluator.log_densities(&mut generator, sigma, &mut logs)?;
        let (mut sum, mut taken) = (LogSum::new(), 0);
        for (&count, (lower, upper)) in components.iter().zip(&mut samples) {
            logs[taken..count].iter().for_each(|&log| sum.add(log));
            taken = count;
            upper.push((count as f64).ln() - sum.value());
            lower.push(((count + 1) as f64).ln() - sum.with(own).value());
        }
    }
    let bracket = |(&components, (lower, upper)): (&usize, &(Vec<f64>, Vec<f64>))| {
        let (lower, lower_standard_error) = mean_and_standard_error(lower)?;
        let (upper, upper_standard_error) = mean_and_standard_error(upper)?;
        Ok(EntropyBracket { lower, lower_standard_error, upper, upper_standard_error, components })
    };
    components.iter().zip(&samples).map(bracket).collect()
}

/// log sum exp, term by term, relative to the largest term so far.
#[derive(Clone, Copy)]
struct LogSum {
    largest: f64,
    sum: f64,
}

impl LogSum {
    fn new() -> Self {
        Self { largest: f64::NEG_INFINITY, sum: 0.0 }
    }

    fn add(&mut self, log: f64) {
        if log <= self.largest {
            self.sum += (log - self.largest).exp();
        } else {
            self.sum = self.sum * (self.largest - log).exp() + 1.0;
            self.largest = log;
        }
    }

    fn with(mut self, log: f64) -> Self {
        self.add(log);
        self
    }

    fn value(&self) -> f64 {
        self.largest + self.sum.ln()
    }
}

/// The sampler's program for batches of latents.
struct Evaluator {
    machine: Machine,
    plan: PlanId,
    latents: Var,
    theta: Var,
    m: usize,
    batch: usize,
    /// Mixture components and the latent drawn from.
    count: usize,
    values: Vec<f64>,
}

impl Evaluator {
    fn new(sampler: &dyn Sampler, parameters: &[Vec<f64>], count: usize, device: Device) -> Result<Self> {
        let (d, m) = (sampler.latents(), sampler.outputs());
        let batch = count.min(BATCH);
        let mut tape = Tape::new();
        let vars = parameters::declare(&mut tape, sampler, DType::F64);
        let latents = tape.named_input("latents", &[batch, d], DType::F64);
        let theta = record(sampler, &mut tape, &vars, latents)?.theta;
        let plan = Plan::new(&tape, &Request::outputs(&[theta]))?;
        let mut machine = Machine::on(device)?;
        let plan = machine.load(plan)?;
        parameters::write(&mut machine, &vars, parameters)?;
        Ok(Self { machine, plan, latents, theta, m, batch, count, values: vec![0.0; batch * d] })
    }

    /// Draws theta from a latent of its own and returns log N(theta; g(z_0), sigma^2 I); `logs` becomes those of the fresh latents.
    fn log_densities(&mut self, generator: &mut StdRng, sigma: f64, logs: &mut Vec<f64>) -> Result<f64> {
        let constant = -0.5 * self.m as f64 * (2.0 * PI * sigma * sigma).ln();
        let mut drawn: Option<(Vec<f64>, f64)> = None;
        logs.clear();
        while logs.len() + usize::from(drawn.is_some()) < self.count {
            for value in &mut self.values {
                *value = StandardNormal.sample(generator);
            }
            self.machine.write(self.latents, &self.values)?;
            self.machine.run(self.plan)?;
            let mut means = self.machine.read::<f64>(self.theta)?.chunks_exact(self.m).take(self.batch);
            let (theta, _) = match &drawn {
                Some(found) => found,
                None => {
                    let mean = means.next().unwrap_or(&[]);
                    let noise: Vec<f64> = mean.iter().map(|_| StandardNormal.sample(generator)).collect();
                    let own = constant - 0.5 * noise.iter().map(|e| e * e).sum::<f64>();
                    drawn.insert((mean.iter().zip(&noise).map(|(g, e)| g + sigma * e).collect(), own))
                }
            };
            let missing = self.count - 1 - logs.len();
            for mean in means.take(missing) {
                let square: f64 = theta.iter().zip(mean).map(|(t, g)| ((t - g) / sigma).powi(2)).sum();
                logs.push(constant - 0.5 * square);
            }
        }
        let own = drawn.map_or(f64::NAN, |found| found.1);
        if !(own.is_finite() && logs.iter().all(|log| log.is_finite())) {
            let problem = "the sampler drew a weight vector that is not finite".into();
            return Err(Error::Numerical { method: "entropy bracket", problem });
        }
        Ok(own)
    }
}
