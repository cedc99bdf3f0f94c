//! The training loop's state: one step at a time, saved and restored bit for bit.

mod readings;
mod snapshot;

use super::component::Component;
use super::feed::Feed;
use super::optimiser::first_correction;
use super::plans::StepPlans;
use super::program::{DataShape, Program};
use super::schedule::{complexity_weight, rate_factor};
use super::signature::Signature;
use super::targets::{Encoded, encode, outputs};
use super::terms::Terms;
use crate::config::{Config, LikelihoodKind};
use crate::data::{Batches, Dataset, Training};
use crate::device::{beside_training, is_card, memory_limit, require_memory};
use crate::entropy::Directions;
use crate::export::{read_tensors, trained_weights};
use crate::metrics::noise;
use crate::model::Model;
use crate::posterior::{Posterior, component_seed};
use crate::{Error, Result};
use autograd::{Device, Machine, PlanId};
use readings::{Reading, Readings};

/// Seeds of independent random streams are told apart by these.
const NOISE_STREAM: u64 = 0x6c69_7669_0000_0001;
const BATCH_STREAM: u64 = 0x6c69_7669_0000_0002;
const VALIDATION_STREAM: u64 = 0x6c69_7669_0000_0003;
const REFERENCE_STREAM: u64 = 0x6c69_7669_0000_0004;
/// Weight samples of a validation estimate.
const VALIDATION_SAMPLES: usize = 64;

/// The best state seen on the validation rows.
#[derive(Clone, Debug)]
struct Best {
    score: f64,
    step: u64,
    component: Component,
    waited: u64,
}

/// A training run in memory.
pub struct Trainer {
    config: Config,
    program: Program,
    machine: Machine,
    step_plan: PlanId,
    preparation: Option<PlanId>,
    chunk_plan: Option<PlanId>,
    flops: f64,
    peak_bytes: usize,
    directions: Option<Directions>,
    readings: Readings,
    feed: Feed,
    /// The step whose rows lie in the machine ahead of time.
    fed: Option<u64>,
    /// Steps of each component at most.
    steps: u64,
    step: u64,
    finished: Vec<Component>,
    /// Steps that the finished components took.
    begun: u64,
    validation: Option<Encoded>,
    best: Option<Best>,
    posterior: Posterior,
    /// Of a model that is not the configuration's.
    own: Option<Signature>,
    /// The noise standard deviations that the validation rows gave, one for each target.
    fitted_noise: Option<Vec<f64>>,
}

impl Trainer {
    /// Records, plans and initialises the training of a configuration's model on a data set, on `threads` threads of the processor.
    ///
    /// # Errors
    /// Settings out of their ranges ([`Config::validate`]), or sizes that do not fit together; early stopping or noise from validation rows without
    /// such rows; more memory needed than `memory` bytes.
    pub fn new(config: &Config, dataset: &Dataset, threads: usize, memory: Option<usize>) -> Result<Self> {
        Self::on(config, dataset, Device::Cpu { threads }, memory)
    }

    /// The same on any device. Without a number of bytes a card's free memory is the limit ([`memory_limit`]).
    ///
    /// # Errors
    /// As for [`Trainer::new`]; [`autograd::Error::Device`] for a device that cannot be used.
    pub fn on(config: &Config, dataset: &Dataset, device: Device, memory: Option<usize>) -> Result<Self> {
        config.validate()?;
        let model = Model::new(config, dataset.training.inputs(), outputs(config, dataset)?)?;
        Self::made(config, model, None, dataset, device, memory)
    }

    /// The same with a model of one's own ([`Model::of`]). A run folder that it is trained into by [`run`](super::run) is read by
    /// [`Saved::with_model`](super::Saved::with_model).
    ///
    /// # Errors
    /// As for [`Trainer::on`]; [`Error::Argument`] for a model that does not fit the data or has another likelihood than the configuration.
    ///
    /// # Examples
    /// ```
    /// use livi::activation::Activation;
    /// use livi::config::Config;
    /// use livi::data::{Dataset, Training, toy};
    /// use livi::model::Model;
    /// use livi::network::{Layer, Network};
    /// use livi::train::{Silent, Trainer};
    /// let mut config = Config::default();
    /// config.set("data.source=memory")?;
    /// config.set("training.steps=20")?;
    /// let layers = vec![Layer::linear("in", 5), Layer::Activation(Activation::Tanh), Layer::linear("out", 1)];
    /// let model = Model::of(&config, Network::new(&[1], layers)?, None)?;
    /// let (training, standardiser) = (Training::Table(toy::training_table(0)?), toy::standardiser());
    /// let data = Dataset { name: "toy".into(), training, validation: None, test: None, standardiser };
    /// let trainer = Trainer::with_model(&config, model, &data, autograd::Device::Cpu { threads: 1 }, None)?;
    /// let posterior = trainer.fit(&mut Silent)?;
    /// assert_eq!(posterior.draw(3, 1)?.len(), 3 * 16);
    /// # Ok::<(), livi::Error>(())
    /// ```
    pub fn with_model(
        config: &Config,
        model: Model,
        dataset: &Dataset,
        device: Device,
        memory: Option<usize>,
    ) -> Result<Self> {
        config.validate()?;
        if model.likelihood != config.likelihood.kind {
            let problem =
                format!("has the likelihood `{}`, the configuration `{}`", model.likelihood, config.likelihood.kind);
            return Err(Error::Argument { name: "model".into(), problem });
        }
        let (inputs, needed) = (dataset.training.inputs(), outputs(config, dataset)?);
        let found = (model.network.inputs(), model.network.outputs());
        // Classes that no row has are allowed.
        let spare = model.likelihood == LikelihoodKind::Softmax && found.1 > needed;
        if found.0 != inputs || (found.1 != needed && !spare) {
            let problem =
                format!("takes {} numbers and makes {}, but the data need {inputs} and {needed}", found.0, found.1);
            return Err(Error::Argument { name: "network".into(), problem });
        }
        let own = Signature::of(&model);
        Self::made(config, model, Some(own), dataset, device, memory)
    }

    fn made(
        config: &Config,
        model: Model,
        own: Option<Signature>,
        dataset: &Dataset,
        device: Device,
        memory: Option<usize>,
    ) -> Result<Self> {
        if config.training.early_stopping.patience_evaluations > 0 && dataset.validation.is_none() {
            let problem = "has none, but the settings ask for early stopping".into();
            return Err(Error::Argument { name: "validation rows of the data set".into(), problem });
        }
        if config.likelihood.noise_from_validation && dataset.validation.is_none() {
            let problem = "has none, but the settings ask for the noise that fits them".into();
            return Err(Error::Argument { name: "validation rows of the data set".into(), problem });
        }
        let (kind, columns) = (model.likelihood, model.network.outputs());
        let (rows, inputs) = (dataset.training.rows(), dataset.training.inputs());
        let validation =
            dataset.validation.as_ref().map(|v| encode(kind, v, &dataset.standardiser, columns)).transpose()?;
        let batch = config.training.batch_rows(rows);
        let streamed = dataset.training.table().is_none();
        let shape = DataShape { rows, inputs, outputs: columns, batch, streamed };
        let mut config = config.clone();
        let mut machine = Machine::on(device)?;
        let plans = StepPlans::within(&mut config, &model, shape, device, memory_limit(&machine, memory)?)?;
        let (flops, peak_bytes) = (plans.flops(&config), plans.peak_bytes());
        if !is_card(device) && memory.is_none() {
            let advice = "allow less by --memory, so that weight samples go through the network in smaller chunks, or make the network or the sampler smaller";
            require_memory(Some(peak_bytes), 1, advice)?;
        }
        let StepPlans { mut program, step, preparation, chunk, directions } = plans;
        let step = machine.load(step)?;
        let preparation = preparation.map(|plan| machine.load(plan)).transpose()?;
        let chunk = chunk.map(|plan| machine.load(plan)).transpose()?;
        let directions = directions.map(|programs| programs.load(&mut machine)).transpose()?;
        let samples = config.training.samples;
        let readings = Readings::load(&mut program, &mut machine, samples / config.training.chunk_of(samples))?;
        // What a card works in beside the plans is known once they are lowered to it.
        let peak_bytes = peak_bytes + if is_card(device) { machine.scratch_bytes() } else { 0 };
        if let Training::Table(table) = &dataset.training {
            let training = encode(kind, table, &dataset.standardiser, columns)?;
            machine.write_f64(program.x, &training.x)?;
            machine.write_f64(program.y, &training.y)?;
        }
        let reference = match model.network.statistics() {
            0 => Vec::new(),
            _ => reference_rows(dataset, config.prediction.reference_rows, config.seed ^ REFERENCE_STREAM)?,
        };
        let posterior = Posterior {
            components: Vec::new(),
            noise_std: vec![config.likelihood.initial_noise_std; model.noise_levels()],
            model,
            standardiser: dataset.standardiser.clone(),
            dtype: config.dtype,
            device: beside_training(device),
            reference,
        };
        let mut trainer = Self {
            feed: Feed::new(&dataset.training, batch, columns),
            steps: config.training.total_steps(rows),
            config,
            program,
            machine,
            step_plan: step,
            preparation,
            chunk_plan: chunk,
            flops,
            peak_bytes,
            directions,
            readings,
            fed: None,
            step: 0,
            finished: Vec::new(),
            begun: 0,
            validation,
            best: None,
            posterior,
            own,
            fitted_noise: None,
        };
        trainer.begin_component()?;
        Ok(trainer)
    }

    /// Fresh parameters and moments for the component to be trained next.
    fn begin_component(&mut self) -> Result<()> {
        for (_, var) in self.program.state() {
            let zeros = vec![0.0; self.program.tape.elements(var)];
            self.machine.write_f64(var, &zeros)?;
        }
        let (model, scale) = (&self.posterior.model, self.config.sampler.init_scale);
        let initial = match &self.config.network.start {
            Some(path) => {
                let weights = trained_weights(&read_tensors(path)?, model.network.layout())?;
                model.initial_around(&weights, scale, self.seed())?
            }
            None => model.initial(scale, self.seed()),
        };
        self.machine.write_f64(self.program.weights, &initial)?;
        if let Some(log_std) = self.program.log_std {
            let initial = self.config.likelihood.initial_noise_std.ln();
            self.machine.write_f64(log_std, &vec![initial; self.program.noise_levels()])?;
        }
        self.feed.begin(self.seed() ^ BATCH_STREAM);
        self.fed = None;
        self.best = None;
        self.begun = self.step;
        Ok(())
    }

    /// Seed of the component in training.
    fn seed(&self) -> u64 {
        component_seed(self.config.seed, self.finished.len())
    }

    /// Whether the component in training has done all its steps.
    pub fn component_done(&self) -> bool {
        self.step - self.begun >= self.steps
    }

    /// Keeps the component in training as finished and begins the next; `false` if it was the last.
    ///
    /// # Errors
    /// None in practice; reading the machine's buffers.
    pub fn next_component(&mut self) -> Result<bool> {
        if self.finished.len() + 1 >= self.config.training.components {
            return Ok(false);
        }
        let component = self.kept()?;
        self.finished.push(component);
        self.begin_component()?;
        Ok(true)
    }

    /// The component in training: its best state on the validation rows with early stopping, else the current one.
    fn kept(&self) -> Result<Component> {
        match &self.best {
            Some(best) => Ok(best.component.clone()),
            None => self.current(),
        }
    }

    /// The component in training as it stands in the machine.
    fn current(&self) -> Result<Component> {
        let log_std = match self.program.log_std {
            Some(var) => self.machine.read_f64(var)?,
            None => Vec::new(),
        };
        Ok(Component { weights: self.machine.read_f64(self.program.weights)?, log_std })
    }

    /// Steps done.
    pub fn step_count(&self) -> u64 {
        self.step
    }

    /// Steps of the whole run; early stopping may need fewer.
    pub fn total_steps(&self) -> u64 {
        self.steps * self.config.training.components as u64
    }

    /// The configuration, with the chunks of weight samples that the step really takes.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Floating-point operations of one step's plans, the products of a matrix-free entropy left out, as planned.
    pub fn step_flops(&self) -> f64 {
        self.flops
    }

    /// Bytes that running needs at its peak, as the plans announced them before they were loaded; on a card with the scratch memory that its own
    /// libraries and kernels take.
    pub fn peak_bytes(&self) -> usize {
        self.peak_bytes
    }

    /// Does one step and returns the terms before its update.
    ///
    /// # Errors
    /// [`Error::NotFinite`] if a term is NaN or infinite; [`Error::Argument`] if the component in training has done all its steps; those of running.
    pub fn advance(&mut self) -> Result<Terms> {
        if self.component_done() {
            let problem =
                format!("the component has done all its {} steps; begin the next one by `next_component`", self.steps);
            return Err(Error::Argument { name: "trainer".into(), problem });
        }
        let done = self.step - self.begun;
        let t = done + 1;
        let training = &self.config.training;
        let factor = rate_factor(training.schedule, done, self.steps);
        let learning_rate = training.learning_rate * factor;
        let correction = first_correction(t);
        let warmup = complexity_weight(training.warmup, done, self.steps);
        self.machine.write_scalar(self.program.warmup, warmup)?;
        self.machine.write_scalar(self.program.weights_adam.rate, learning_rate * correction)?;
        if let Some(adam) = &self.program.noise_adam {
            // The noise must not explain what the network has not yet learned: it warms up as prior and entropy do.
            self.machine.write_scalar(adam.rate, training.noise_learning_rate * factor * warmup * correction)?;
        }
        let (var, value) = self.program.corrections.value(t);
        self.machine.write_scalar(var, value)?;
        if self.fed.take() != Some(done) {
            self.feed.write(done, &self.program, &mut self.machine)?;
        }
        if let Some(var) = self.program.log_std {
            self.readings.note(&mut self.machine, Reading::LogStd, var)?;
        }
        self.machine.set_noise(self.seed() ^ NOISE_STREAM, done);
        if let Some(plan) = self.preparation {
            self.machine.run(plan)?;
        }
        let found = self.find_directions(done)?;
        self.run_chunks()?;
        let run = self.machine.run(self.step_plan);
        if let Err(autograd::Error::NotPositiveDefinite { .. }) = run {
            self.check(&[("the entropy's Gram matrix", f64::NAN)])?;
        }
        run?;
        self.note_terms()?;
        if is_card(self.machine.device()) && t < self.steps {
            // While the card computes.
            self.feed.write(t, &self.program, &mut self.machine)?;
            self.fed = Some(t);
        }
        let terms = self.readings.terms(&self.machine)?;
        let read = |reading: Reading| terms[reading as usize];
        let likelihood = self.readings.chunk_sums(&self.machine)?.0 + read(Reading::Likelihood);
        let (prior, gradient_norm) = (read(Reading::Prior), read(Reading::GradientNorm));
        let half_log_det = found + read(Reading::HalfLogDet);
        let entropy = half_log_det + read(Reading::ScaleEntropy) + self.program.constants.total();
        let noise_std = terms[Reading::LogStd as usize..].iter().map(|log_std| log_std.exp()).collect();
        self.check(&[
            ("the log-likelihood", likelihood),
            ("the log-prior", prior),
            ("the entropy", entropy),
            ("the gradient's norm", gradient_norm),
        ])?;
        self.step += 1;
        let elbo = likelihood + prior + entropy;
        Ok(Terms { step: self.step, likelihood, prior, entropy, elbo, noise_std, gradient_norm, learning_rate })
    }

    /// Notes the terms of the step that was just run.
    fn note_terms(&mut self) -> Result<()> {
        let Self { readings, machine, program, .. } = self;
        let terms = [
            (Reading::Likelihood, program.likelihood),
            (Reading::Prior, Some(program.prior)),
            (Reading::GradientNorm, Some(program.gradient_norm)),
            (Reading::HalfLogDet, program.half_log_det),
            (Reading::ScaleEntropy, program.scale_entropy),
        ];
        terms.into_iter().try_for_each(|(reading, var)| match var {
            Some(var) => readings.note(machine, reading, var),
            None => Ok(()),
        })
    }

    /// Computes what a matrix-free entropy's gradient needs; its mean half log-determinant, 0 where the step has it by itself.
    fn find_directions(&mut self, done: u64) -> Result<f64> {
        let seed = self.seed() ^ done.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let Self { config, program, machine, directions, posterior, .. } = self;
        let (Some(directions), Some(sampled)) = (directions, &program.draw.sampled) else {
            return Ok(0.0);
        };
        let latents = machine.read_f64(sampled.latents)?;
        let each = latents.len() / config.training.samples;
        let measured = &latents[..config.entropy.latents_of(config.training.samples) * each];
        directions.compute(machine, measured, posterior.model.sigma, seed)
    }

    /// Runs the network on one chunk of weight samples after another, unless the step has the network in itself.
    fn run_chunks(&mut self) -> Result<()> {
        let (Some(plan), Some(chunks)) = (self.chunk_plan, self.program.chunks) else { return Ok(()) };
        let Self { machine, readings, program, .. } = self;
        let (all, size) = (program.draw.theta, program.tape.elements(chunks.theta));
        for (k, first) in (0..program.tape.elements(all)).step_by(size).enumerate() {
            machine.copy(all, first, chunks.theta, 0, size)?;
            machine.run(plan)?;
            machine.copy(chunks.gradient, 0, chunks.cotangent, first, size)?;
            readings.note_chunk(machine, k, chunks.likelihood, chunks.noise_gradient)?;
        }
        if let Some(var) = chunks.noise_cotangent {
            let (_, noise) = readings.chunk_sums(machine)?;
            machine.write_f64(var, &noise)?;
        }
        Ok(())
    }

    fn check(&self, terms: &[(&str, f64)]) -> Result<()> {
        match terms.iter().find(|(_, value)| !value.is_finite()) {
            None => Ok(()),
            Some(&(term, value)) => Err(Error::NotFinite {
                step: self.step + 1,
                term: term.into(),
                value,
                advice: "the last checkpoint before it stands; try a smaller learning rate, gradient clipping, a larger sigma or dtype f64"
                    .into(),
            }),
        }
    }

    /// Whether the configuration asks for an evaluation on the validation rows now.
    pub fn evaluation_due(&self) -> bool {
        let early = &self.config.training.early_stopping;
        self.validation.is_some()
            && early.patience_evaluations > 0
            && ((self.step - self.begun).is_multiple_of(early.evaluate_every) || self.component_done())
    }

    /// Mean log-likelihood of the validation rows under the mixture of weight samples, in the targets' standardised units; keeps the best
    /// state. The second value tells whether patience has run out.
    ///
    /// # Errors
    /// Those of prediction.
    pub fn evaluate(&mut self) -> Result<Option<(f64, bool)>> {
        let Some(validation) = &self.validation else { return Ok(None) };
        let component = self.current()?;
        self.posterior.components = vec![component.weights.clone()];
        self.posterior.noise_std = component.noise_std();
        let score = validation_score(&self.posterior, validation, self.config.seed ^ VALIDATION_STREAM)?;
        let patience = self.config.training.early_stopping.patience_evaluations;
        let waited = match &mut self.best {
            Some(best) if score <= best.score => {
                best.waited += 1;
                best.waited
            }
            _ => {
                self.best = Some(Best { score, step: self.step, component, waited: 0 });
                0
            }
        };
        Ok(Some((score, waited >= patience)))
    }

    /// The posterior as it stands: the finished components and the one in training, each the best on the validation rows with early stopping. Its noise
    /// is that of training, or fits the validation rows best where the configuration says so.
    ///
    /// # Errors
    /// Reading the machine's buffers; those of prediction.
    pub fn posterior(&mut self) -> Result<&Posterior> {
        let mut components = self.finished.clone();
        components.push(self.kept()?);
        let learned = Component::pooled_noise_std(&components);
        self.posterior.components = components.into_iter().map(|component| component.weights).collect();
        self.fitted_noise = match &self.validation {
            Some(rows) if self.config.likelihood.noise_from_validation => {
                let samples = self.config.prediction.samples;
                let theta = self.posterior.draw(samples, self.config.seed ^ VALIDATION_STREAM)?;
                let outputs = self.posterior.standardised_outputs(&theta, samples, rows)?;
                let fitted = noise::fit(&outputs, samples, &rows.y, self.outputs())?;
                Some(fitted.iter().map(|level| level.cautious).collect())
            }
            _ => None,
        };
        self.posterior.noise_std = self.fitted_noise.clone().unwrap_or(learned);
        Ok(&self.posterior)
    }

    /// The same by value, ending the run in memory.
    ///
    /// # Errors
    /// As [`Trainer::posterior`].
    pub fn into_posterior(mut self) -> Result<Posterior> {
        self.posterior()?;
        Ok(self.posterior)
    }

    /// Outputs of the network.
    pub(super) fn outputs(&self) -> usize {
        self.posterior.model.network.outputs()
    }

    /// What a checkpoint says about a model that is not the configuration's.
    pub(super) fn own_model(&self) -> Option<&Signature> {
        self.own.as_ref()
    }

    /// Step of the best state on the validation rows, if any was evaluated.
    pub fn best_step(&self) -> Option<u64> {
        self.best.as_ref().map(|b| b.step)
    }

    /// Where the steps are computed.
    pub fn device(&self) -> Device {
        self.machine.device()
    }

    /// The machine and the plans that a step runs, with what they compute, for measurement.
    pub(crate) fn machine_and_plans(&mut self) -> (&mut Machine, Vec<(String, PlanId)>) {
        let mut plans = Vec::new();
        plans.extend(self.preparation.map(|plan| ("preparation of the step".to_string(), plan)));
        plans.extend(self.directions.iter().flat_map(Directions::loaded_plans));
        plans.extend(self.chunk_plan.map(|plan| ("network on a chunk of weight samples".to_string(), plan)));
        plans.push(("objective, gradient and update".to_string(), self.step_plan));
        (&mut self.machine, plans)
    }
}

/// Standardised training rows, as many as asked for, chosen by the seed alone.
fn reference_rows(dataset: &Dataset, count: usize, seed: u64) -> Result<Vec<f64>> {
    let rows = dataset.training.rows();
    let mut chosen = Vec::new();
    Batches::new(rows, count.min(rows), seed).fill(0, &mut chosen);
    let chosen: Vec<usize> = chosen.into_iter().map(|row| row as usize).collect();
    let table = match &dataset.training {
        Training::Table(table) => table.select(&chosen)?,
        Training::Images(part) => part.images.select(&chosen)?.table()?,
    };
    dataset.standardiser.apply_x(&table.x)
}

/// Mean mixture log-likelihood of encoded rows.
fn validation_score(posterior: &Posterior, rows: &Encoded, seed: u64) -> Result<f64> {
    let theta = posterior.draw(VALIDATION_SAMPLES, seed)?;
    posterior.log_likelihood(&theta, VALIDATION_SAMPLES, rows)
}
