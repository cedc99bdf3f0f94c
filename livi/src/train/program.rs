//! The training program: one tape with the objective, its gradient and the optimiser, and where its buffers are.

use super::noise_levels::LOG_STD;
use super::optimiser::{Adam, Corrections};
use super::plans::settings_of;
use crate::Result;
use crate::config::{Config, Dtype, LikelihoodKind};
use crate::draw::{Draw, Sampled};
use crate::entropy::{Constants, DirectionInputs, Method, Surrogate, record_exact, record_surrogate};
use crate::likelihood::{gaussian_log_likelihood, softmax_log_likelihood};
use crate::model::Model;
use crate::sampler::{Sampler, record};
use autograd::{DType, Options, Plan, Request, Tape, Var};

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
    /// Logarithms of the noise standard deviations (outputs), one for each target (Gaussian likelihood).
    pub log_std: Option<Var>,
    /// Inputs (rows, inputs), of a streamed data set (batch, inputs).
    pub x: Var,
    /// Targets (rows, outputs) or (batch, outputs): numbers, or indicator vectors of classes.
    pub y: Var,
    /// Rows of the batch, type u32; `None` for full batches and streamed ones.
    pub index: Option<Var>,
    /// The weights of all samples.
    pub draw: Draw,
    /// Directions of the entropy's gradient at the first L latents, for methods whose work is done outside of the plan.
    pub directions: Option<DirectionInputs>,
    /// What their surrogate holds fixed, [`Surrogate::u`].
    pub fixed: Option<Var>,
    /// The network's part, where it works through weight samples in chunks before the step.
    pub chunks: Option<Chunks>,
    /// Expected log-likelihood of the whole training set, scalar; without chunks.
    pub likelihood: Option<Var>,
    /// What the step descends, scalar. The entropy's part is one whose gradient alone counts; so is the network's where it works in chunks.
    pub loss: Var,
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

/// The network's forward and backward pass for c of the S weight samples at a time, by a plan of its own; the step then begins at the gradient with
/// respect to all weights, so that the network's memory does not grow with S.
#[derive(Clone, Copy, Debug)]
pub struct Chunks {
    /// Weight samples in one chunk, c; divides S.
    pub samples: usize,
    /// Weights of one chunk (c, m), an input.
    pub theta: Var,
    /// The chunk's part of the expected log-likelihood, scalar: those of all chunks add up to the whole.
    pub likelihood: Var,
    /// Its gradient with respect to the chunk's weights (c, m).
    pub gradient: Var,
    /// Its gradient with respect to the logarithms of the noise standard deviations (outputs); where these are learned.
    pub noise_gradient: Option<Var>,
    /// The gradients of all chunks (S, m), an input of the step.
    pub cotangent: Var,
    /// The sum of their gradients with respect to the logarithms of the noise standard deviations (outputs), an input of the step.
    pub noise_cotangent: Option<Var>,
}

impl Program {
    /// Records the training step of a model under a configuration, with chunks of `training.chunk` weight samples.
    ///
    /// # Errors
    /// Those of recording: sizes that do not fit.
    pub fn record(config: &Config, model: &Model, data: DataShape) -> Result<Self> {
        let dtype = dtype_of(config.dtype);
        let mut tape = Tape::new();
        let t = &mut tape;
        let samples = config.training.samples;
        let specification = model.parameters();
        let weights = t.named_input("weights", &[model.parameter_count()], dtype);
        let gaussian = model.likelihood == LikelihoodKind::Gaussian;
        let log_std = gaussian.then(|| t.named_input(LOG_STD, &[data.outputs], dtype));
        let learned = log_std.filter(|_| config.likelihood.learn_noise);

        let held = if data.streamed { data.batch } else { data.rows };
        let x = t.named_input("data.x", &[held, data.inputs], dtype);
        let y = t.named_input("data.y", &[held, data.outputs], dtype);
        let index = (data.batch < held).then(|| t.named_input("data.index", &[data.batch], DType::U32));
        let (batch_x, batch_y) = match index {
            Some(index) => (t.gather(x, index, 0)?, t.gather(y, index, 0)?),
            None => (x, y),
        };

        let draw = Draw::record(t, model, weights, samples)?;
        let chunk = config.training.chunk_of(samples);
        let theta = match chunk < samples {
            true => t.named_input("chunk.theta", &[chunk, model.network.layout().len()], dtype),
            false => draw.theta,
        };
        let outputs = model.network.record(t, theta, batch_x)?;
        let batch_likelihood = match log_std {
            Some(log_std) => {
                let std = t.exp(log_std)?;
                gaussian_log_likelihood(t, outputs, batch_y, std)?
            }
            None => softmax_log_likelihood(t, outputs, batch_y)?,
        };
        let share = data.rows as f64 / data.batch as f64 * (chunk as f64 / samples as f64);
        let likelihood = t.scale(batch_likelihood, share)?;
        let chunks = match chunk < samples {
            true => Some(Chunks::record(t, chunk, theta, draw.theta, learned, likelihood)?),
            false => None,
        };
        let scored = match &chunks {
            Some(chunks) => chunks.surrogate(t, draw.theta, learned)?,
            None => likelihood,
        };

        let complexity = Complexity::record(t, config, model, &draw)?;
        let warmup = t.named_input("objective.warmup", &[], dtype);
        let weighted = t.mul(complexity.weighted, warmup)?;
        let objective = t.add(scored, weighted)?;
        let loss = t.neg(objective)?;

        let mut wanted = draw.tensors.clone();
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
            let noise = t.sum_all(square)?;
            square_norm = t.add(square_norm, noise)?;
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
        let constants = match &model.sampler {
            Some(sampler) => Constants::new(sampler.outputs(), sampler.latents(), model.sigma),
            None => Constants { gaussian: 0.0, excess: 0.0, scales: 0.0 },
        };
        Ok(Self {
            tape,
            weights,
            log_std,
            x,
            y,
            index,
            draw,
            directions: complexity.directions,
            fixed: complexity.fixed,
            likelihood: chunks.is_none().then_some(likelihood),
            chunks,
            loss,
            prior: complexity.prior,
            half_log_det: complexity.half_log_det,
            scale_entropy: complexity.scale_entropy,
            gradient_norm,
            warmup,
            constants,
            corrections,
            weights_adam,
            noise_adam,
            updates,
        })
    }

    /// The plan of a whole step: objective, gradient, update. With directions from outside, latents are drawn by another plan before it; with chunks,
    /// the network is not part of it.
    ///
    /// # Errors
    /// Those of planning.
    pub fn plan(&self) -> Result<Plan> {
        let mut outputs = vec![self.prior, self.gradient_norm];
        outputs.extend(self.likelihood);
        outputs.extend(self.half_log_det);
        outputs.extend(self.scale_entropy);
        let latents = self.draw.sampled.as_ref().map(|sampled| sampled.latents);
        let given = Vec::from_iter(latents.filter(|_| self.directions.is_some()));
        let options = Options::default();
        Ok(Plan::new(&self.tape, &Request { outputs: &outputs, given: &given, updates: &self.updates, options })?)
    }

    /// The plan that comes before it: with directions from outside, a step's latents and the sampler's tensors on their own; with chunks, all weights.
    /// `None` where neither is needed.
    ///
    /// # Errors
    /// Those of planning.
    pub fn preparation_plan(&self) -> Result<Option<Plan>> {
        let mut outputs = Vec::new();
        if let (Some(_), Some(sampled)) = (self.directions, &self.draw.sampled) {
            outputs.push(sampled.latents);
            outputs.extend(&sampled.parameters);
        }
        outputs.extend(self.chunks.map(|_| self.draw.theta));
        match outputs.is_empty() {
            true => Ok(None),
            false => Ok(Some(Plan::new(&self.tape, &Request::outputs(&outputs))?)),
        }
    }

    /// The plan of the network's forward and backward pass for one chunk of weight samples.
    ///
    /// # Errors
    /// Those of planning.
    pub fn chunk_plan(&self) -> Result<Option<Plan>> {
        let Some(chunks) = self.chunks else { return Ok(None) };
        let mut outputs = vec![chunks.likelihood, chunks.gradient];
        outputs.extend(chunks.noise_gradient);
        Ok(Some(Plan::new(&self.tape, &Request::outputs(&outputs))?))
    }

    /// Noise levels: one for each target; none for a softmax likelihood.
    pub fn noise_levels(&self) -> usize {
        self.log_std.map_or(0, |log_std| self.tape.elements(log_std))
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

impl Chunks {
    fn record(
        t: &mut Tape,
        samples: usize,
        theta: Var,
        all: Var,
        learned: Option<Var>,
        likelihood: Var,
    ) -> Result<Self> {
        let wanted: Vec<Var> = std::iter::once(theta).chain(learned).collect();
        let gradients = t.grad(likelihood, &wanted)?;
        let (shape, dtype) = (t.shape(all).to_vec(), t.dtype(all));
        let cotangent = t.named_input("chunks.gradient", &shape, dtype);
        let levels = learned.map(|log_std| t.shape(log_std).to_vec());
        let noise_cotangent = levels.map(|levels| t.named_input("chunks.noise_gradient", &levels, dtype));
        let noise_gradient = learned.map(|_| gradients[1]);
        Ok(Self { samples, theta, likelihood, gradient: gradients[0], noise_gradient, cotangent, noise_cotangent })
    }

    /// A scalar whose gradient is that of the expected log-likelihood, by the gradients of all chunks.
    fn surrogate(&self, t: &mut Tape, theta: Var, learned: Option<Var>) -> Result<Var> {
        let by_weights = t.inner(theta, self.cotangent)?;
        match (learned, self.noise_cotangent) {
            (Some(log_std), Some(cotangent)) => {
                let by_noise = t.inner(log_std, cotangent)?;
                Ok(t.add(by_weights, by_noise)?)
            }
            _ => Ok(by_weights),
        }
    }
}

/// Prior and entropy on the tape.
struct Complexity {
    /// Both with their weights in the objective, scalar.
    weighted: Var,
    prior: Var,
    half_log_det: Option<Var>,
    scale_entropy: Option<Var>,
    directions: Option<DirectionInputs>,
    fixed: Option<Var>,
}

impl Complexity {
    fn record(t: &mut Tape, config: &Config, model: &Model, draw: &Draw) -> Result<Self> {
        let mut prior = None;
        let mut entropy = None;
        let (mut half_log_det, mut scale_entropy, mut directions, mut fixed) = (None, None, None, None);
        if let (Some(sampled), Some(sampler)) = (&draw.sampled, &model.sampler) {
            let scales = sampled.scales.map(|scales| scales.values);
            prior = Some(model.prior.record(t, &model.drawn, sampled.recorded.theta, model.sigma, scales)?);
            let measured = Measured::record(t, config, model, sampled, &**sampler)?;
            let weight = config.training.entropy_weight * config.training.temperature;
            let mut weighted = t.scale(measured.surrogate, weight)?;
            if let Some(scales) = sampled.scales {
                let more = t.scale(scales.entropy, weight)?;
                weighted = t.add(weighted, more)?;
            }
            (half_log_det, directions, fixed) = (measured.half_log_det, measured.directions, measured.fixed);
            (entropy, scale_entropy) = (Some(weighted), sampled.scales.map(|scales| scales.entropy));
        }
        if let Some(points) = draw.points {
            let own = model.prior.record_point(t, &model.points, points)?;
            prior = Some(match prior {
                Some(prior) => t.add(prior, own)?,
                None => own,
            });
        }
        let prior = match prior {
            Some(prior) => prior,
            None => t.constant(0.0, &[], t.dtype(draw.theta)),
        };
        let weighted_prior = t.scale(prior, config.training.prior_weight)?;
        let weighted = match entropy {
            Some(entropy) => t.add(weighted_prior, entropy)?,
            None => weighted_prior,
        };
        Ok(Self { weighted, prior, half_log_det, scale_entropy, directions, fixed })
    }
}

/// The linearised entropy at the latents where a step looks at it.
struct Measured {
    /// A scalar with its gradient.
    surrogate: Var,
    half_log_det: Option<Var>,
    directions: Option<DirectionInputs>,
    fixed: Option<Var>,
}

impl Measured {
    fn record(t: &mut Tape, config: &Config, model: &Model, sampled: &Sampled, sampler: &dyn Sampler) -> Result<Self> {
        let samples = config.training.samples;
        let latents = config.entropy.latents_of(samples);
        let own;
        let recorded = if latents == samples {
            &sampled.recorded
        } else {
            let first = t.narrow(sampled.latents, 0, 0, latents)?;
            own = record(sampler, t, &sampled.parameters, first)?;
            &own
        };
        let weight = 1.0 / latents as f64;
        if config.entropy.method == Method::Exact {
            let exact = record_exact(t, recorded, model.sigma)?;
            let (mean, surrogate) = (t.mean_all(exact.half_log_det)?, t.scale(exact.surrogate, weight)?);
            return Ok(Self { surrogate, half_log_det: Some(mean), directions: None, fixed: None });
        }
        let (entropy, dtype) = (&config.entropy, t.dtype(sampled.latents));
        let settings = settings_of(entropy);
        let inputs = DirectionInputs::record(t, entropy.method, &settings, latents, sampler.latents(), dtype);
        let Surrogate { value, u } = record_surrogate(t, recorded, inputs)?;
        let surrogate = t.scale(value, weight)?;
        Ok(Self { surrogate, half_log_det: None, directions: Some(inputs), fixed: Some(u) })
    }
}

/// The tape's element type for a configured number format.
pub fn dtype_of(dtype: Dtype) -> DType {
    match dtype {
        Dtype::F32 => DType::F32,
        Dtype::F64 => DType::F64,
    }
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
