//! The training program: one tape with the objective, its gradient and the optimiser, and where its buffers are.

use super::optimiser::{Adam, Corrections};
use crate::Result;
use crate::config::{Config, Dtype, LikelihoodKind};
use crate::entropy::{Constants, Method, record_exact, record_surrogate};
use crate::likelihood::{gaussian_log_likelihood, softmax_log_likelihood};
use crate::model::Model;
use crate::sampler::Parameter;
use crate::scale::{Scales, record_draw};
use autograd::{DType, Distribution, Options, Plan, Request, Tape, Var};

/// Sizes of the data a program is recorded for.
#[derive(Clone, Copy, Debug)]
pub struct DataShape {
    /// Training rows.
    pub rows: usize,
    /// Columns of x.
    pub inputs: usize,
    /// Columns of y (classes for a softmax likelihood).
    pub outputs: usize,
    /// Rows a step; equal to `rows` for full batches.
    pub batch: usize,
    /// Whether each step's rows are written before it; otherwise all rows lie in the machine and steps pick theirs.
    pub streamed: bool,
}

/// The recorded training step.
pub struct Program {
    /// The tape everything is on.
    pub tape: Tape,
    /// All parameters of the model in one vector (P).
    pub weights: Var,
    /// The sampler's tensors, parts of `weights`.
    pub parameters: Vec<Var>,
    /// Logarithm of the noise standard deviation, a scalar (Gaussian likelihood).
    pub log_std: Option<Var>,
    /// Inputs (rows, inputs), of a streamed data set (batch, inputs).
    pub x: Var,
    /// Targets (rows, outputs) or (batch, outputs): numbers, or indicator vectors of classes.
    pub y: Var,
    /// Rows of the batch, type u32; `None` for full batches and streamed ones.
    pub index: Option<Var>,
    /// Latents (S, d), drawn by the machine.
    pub latents: Var,
    /// Weights u (K, L, m) and directions v (K, L, d) at the first L latents of the entropy's gradient, for methods whose work is done outside of the plan.
    pub directions: Option<(Var, Var)>,
    /// Expected log-likelihood of the whole training set, scalar.
    pub likelihood: Var,
    /// Expected log-prior, scalar.
    pub prior: Var,
    /// Mean over the entropy's latents of 1/2 sum_i log(s_i^2 + sigma^2), scalar; only with the exact entropy.
    pub half_log_det: Option<Var>,
    /// What learned scales add to the entropy, scalar.
    pub scale_entropy: Option<Var>,
    /// Euclidean norm of the gradient before clipping, scalar.
    pub gradient_norm: Var,
    /// Weight of prior and entropy at this step, scalar input.
    pub warmup: Var,
    /// Constants of the entropy.
    pub constants: Constants,
    pub(super) corrections: Corrections,
    pub(super) weights_adam: Adam,
    pub(super) noise_adam: Option<Adam>,
    updates: Vec<(Var, Var)>,
}

impl Program {
    /// Records the training step of a model under a configuration.
    ///
    /// # Errors
    /// Those of recording: sizes that do not fit.
    pub fn record(config: &Config, model: &Model, data: DataShape) -> Result<Self> {
        let dtype = dtype_of(config.dtype);
        let mut tape = Tape::new();
        let t = &mut tape;
        let (m, d, samples) = (model.sampler.outputs(), model.sampler.latents(), config.training.samples);
        let specification = model.parameters();
        let weights = t.named_input("weights", &[model.parameter_count()], dtype);
        let tensors = split(t, weights, &specification)?;
        let (parameters, log_scale) = tensors.split_at(model.sampler.parameters().len());
        let scales = log_scale.first().map(|&log_scale| Scales::record(t, log_scale)).transpose()?;
        let gaussian = model.likelihood == LikelihoodKind::Gaussian;
        let log_std = gaussian.then(|| t.named_input("noise.log_std", &[], dtype));

        let held = if data.streamed { data.batch } else { data.rows };
        let x = t.named_input("data.x", &[held, data.inputs], dtype);
        let y = t.named_input("data.y", &[held, data.outputs], dtype);
        let index = (data.batch < held).then(|| t.named_input("data.index", &[data.batch], DType::U32));
        let (batch_x, batch_y) = match index {
            Some(index) => (t.gather(x, index, 0)?, t.gather(y, index, 0)?),
            None => (x, y),
        };

        let latents = t.noise(Distribution::Normal, &[samples, d], dtype)?;
        let eta = t.noise(Distribution::Normal, &[samples, m], dtype)?;
        let recorded = model.sampler.record(t, parameters, latents)?;
        let theta = record_draw(t, recorded.theta, eta, model.sigma, scales)?;
        let outputs = model.network.record(t, theta, batch_x)?;
        let batch_likelihood = match log_std {
            Some(log_std) => {
                let std = t.exp(log_std)?;
                gaussian_log_likelihood(t, outputs, batch_y, std)?
            }
            None => softmax_log_likelihood(t, outputs, batch_y)?,
        };
        let likelihood = t.scale(batch_likelihood, data.rows as f64 / data.batch as f64)?;
        let scale_values = scales.map(|scales| scales.values);
        let prior = model.prior.record(t, model.network.layout(), recorded.theta, model.sigma, scale_values)?;

        let entropy_latents = config.entropy.latents_of(samples);
        let measured = if entropy_latents == samples {
            recorded
        } else {
            let first = t.narrow(latents, 0, 0, entropy_latents)?;
            model.sampler.record(t, parameters, first)?
        };
        let (half_log_det, entropy, directions) = if config.entropy.method == Method::Exact {
            let exact = record_exact(t, &measured, model.sigma)?;
            (Some(t.mean_all(exact.half_log_det)?), exact.surrogate, None)
        } else {
            let probes = if config.entropy.method == Method::Slq { config.entropy.probes } else { 1 };
            let u = t.named_input("entropy.u", &[probes, entropy_latents, m], dtype);
            let v = t.named_input("entropy.v", &[probes, entropy_latents, d], dtype);
            (None, record_surrogate(t, &measured, u, v)?, Some((u, v)))
        };

        let weighted_prior = t.scale(prior, config.training.prior_weight)?;
        let entropy_weight = config.training.entropy_weight * config.training.temperature;
        let weighted_entropy = t.scale(entropy, entropy_weight / entropy_latents as f64)?;
        let mut complexity = t.add(weighted_prior, weighted_entropy)?;
        if let Some(scales) = scales {
            let weighted = t.scale(scales.entropy, entropy_weight)?;
            complexity = t.add(complexity, weighted)?;
        }
        let warmup = t.named_input("objective.warmup", &[], dtype);
        let complexity = t.mul(complexity, warmup)?;
        let objective = t.add(likelihood, complexity)?;
        let loss = t.neg(objective)?;

        let learned = log_std.filter(|_| config.likelihood.learn_noise);
        let mut wanted = tensors.clone();
        wanted.extend(learned);
        let mut gradients = t.grad(loss, &wanted)?;
        let noise_gradient = learned.and_then(|_| gradients.pop());
        let flat: Vec<Var> = gradients
            .iter()
            .zip(&specification)
            .map(|(&g, p)| t.reshape(g, &[p.elements()]))
            .collect::<autograd::Result<_>>()?;
        let gradient = t.concat(&flat, 0)?;
        let square = t.square(gradient)?;
        let mut square_norm = t.sum_all(square)?;
        if let Some(g) = noise_gradient {
            let square = t.square(g)?;
            square_norm = t.add(square_norm, square)?;
        }
        let gradient_norm = t.sqrt(square_norm)?;
        let clip = clip_factor(t, gradient_norm, config.training.clip_norm)?;
        let clipped = |t: &mut Tape, g: Var| clip.map_or(Ok(g), |c| t.mul(g, c));

        let corrections = Corrections::record(t, dtype);
        let weights_adam = Adam::record(t, weights, config.training.amsgrad);
        let clipped_gradient = clipped(t, gradient)?;
        let mut updates = weights_adam.step(t, clipped_gradient, corrections)?;
        let mut noise_adam = None;
        if let (Some(parameter), Some(g)) = (learned, noise_gradient) {
            let adam = Adam::record(t, parameter, config.training.amsgrad);
            let g = clipped(t, g)?;
            updates.extend(adam.step(t, g, corrections)?);
            noise_adam = Some(adam);
        }
        Ok(Self {
            tape,
            weights,
            parameters: parameters.to_vec(),
            log_std,
            x,
            y,
            index,
            latents,
            directions,
            likelihood,
            prior,
            half_log_det,
            scale_entropy: scales.map(|scales| scales.entropy),
            gradient_norm,
            warmup,
            constants: Constants::new(m, d, model.sigma),
            corrections,
            weights_adam,
            noise_adam,
            updates,
        })
    }

    /// The plan of a whole step: objective, gradient, update. With directions from outside, latents are drawn by another plan before it.
    ///
    /// # Errors
    /// More memory needed than `limit` bytes.
    pub fn plan(&self, limit: Option<usize>) -> Result<Plan> {
        let mut outputs = vec![self.likelihood, self.prior, self.gradient_norm];
        outputs.extend(self.half_log_det);
        outputs.extend(self.scale_entropy);
        let given: &[Var] = if self.directions.is_some() { std::slice::from_ref(&self.latents) } else { &[] };
        let options = Options { memory_limit: limit, ..Options::default() };
        Ok(Plan::new(&self.tape, &Request { outputs: &outputs, given, updates: &self.updates, options })?)
    }

    /// The plan that comes before it where directions come from outside: a step's latents, and the sampler's tensors on their own.
    ///
    /// # Errors
    /// Those of planning.
    pub fn preparation_plan(&self) -> Result<Plan> {
        let mut outputs = vec![self.latents];
        outputs.extend(&self.parameters);
        Ok(Plan::new(&self.tape, &Request::outputs(&outputs))?)
    }

    /// All buffers that make up the state of training, with their names: parameters and moments.
    pub fn state(&self) -> Vec<(String, Var)> {
        let mut state = Vec::new();
        for adam in std::iter::once(&self.weights_adam).chain(&self.noise_adam) {
            state.push(adam.parameter);
            state.extend(&adam.moments);
        }
        if let (Some(fixed), None) = (self.log_std, &self.noise_adam) {
            state.push(fixed);
        }
        state.into_iter().map(|v| (self.tape.name(v), v)).collect()
    }
}

/// The tape's element type for a configured number format.
pub fn dtype_of(dtype: Dtype) -> DType {
    match dtype {
        Dtype::F32 => DType::F32,
        Dtype::F64 => DType::F64,
    }
}

/// Tensors as parts of one vector.
pub fn split(tape: &mut Tape, weights: Var, parameters: &[Parameter]) -> Result<Vec<Var>> {
    let mut at = 0;
    let mut parts = Vec::with_capacity(parameters.len());
    for parameter in parameters {
        let part = tape.narrow(weights, 0, at, parameter.elements())?;
        parts.push(tape.reshape(part, &parameter.shape)?);
        at += parameter.elements();
    }
    Ok(parts)
}

/// min(1, limit / norm), or nothing without a limit.
fn clip_factor(tape: &mut Tape, norm: Var, limit: f64) -> Result<Option<Var>> {
    if limit == 0.0 {
        return Ok(None);
    }
    let dtype = tape.dtype(norm);
    let (one, limit) = (tape.constant(1.0, &[], dtype), tape.constant(limit, &[], dtype));
    let ratio = tape.div(limit, norm)?;
    Ok(Some(tape.minimum(one, ratio)?))
}
