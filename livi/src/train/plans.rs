//! The plans of a training step, and the chunks of weight samples with which they fit the memory allowed.

use super::program::{DataShape, Program};
use crate::config::{Config, EntropyConfig};
use crate::entropy::{DirectionPrograms, Settings};
use crate::model::Model;
use crate::{Error, Result};
use autograd::{Device, Plan};

/// A recorded training step with all its plans, not yet loaded.
pub(super) struct StepPlans {
    pub program: Program,
    /// Objective, gradient and update.
    pub step: Plan,
    /// What comes first, if anything does.
    pub preparation: Option<Plan>,
    /// The network for one chunk of weight samples.
    pub chunk: Option<Plan>,
    /// The products of the matrix-free entropy.
    pub directions: Option<DirectionPrograms>,
}

impl StepPlans {
    /// Records and plans a step for a device with the chunks that the configuration asks for.
    fn new(config: &Config, model: &Model, shape: DataShape, device: Device) -> Result<Self> {
        let mut program = Program::record(config, model, shape)?;
        let (step, preparation, chunk) = (program.plan()?, program.preparation_plan()?, program.chunk_plan()?);
        let directions = match (program.directions, &model.sampler, &program.draw.sampled) {
            (Some(inputs), Some(sampler), Some(sampled)) => {
                let method = config.entropy.method;
                let latents = config.entropy.latents_of(config.training.samples);
                let settings = settings_of(&config.entropy);
                let (tape, parameters) = (&mut program.tape, &sampled.parameters);
                Some(DirectionPrograms::record(
                    tape, &**sampler, parameters, method, settings, latents, inputs, device,
                )?)
            }
            _ => None,
        };
        Ok(Self { program, step, preparation, chunk, directions })
    }

    /// The same for a device within so many bytes: with the chunks that the configuration asks for, or else with the largest that fit. The number of
    /// weight samples in a chunk goes into the configuration, unless it is all of them.
    ///
    /// # Errors
    /// Those of recording; [`Error::Autograd`] naming the least memory that would do.
    pub fn within(
        config: &mut Config,
        model: &Model,
        shape: DataShape,
        device: Device,
        limit: Option<usize>,
    ) -> Result<Self> {
        let samples = config.training.samples;
        let fixed = config.training.chunk != 0;
        let mut chunk = config.training.chunk_of(samples);
        // Where weights are many and the network is small, chunks take more than all samples at once.
        let mut least = usize::MAX;
        loop {
            let made = Self::new(config, model, shape, device)?;
            let needed = made.peak_bytes();
            let Some(limit) = limit.filter(|&limit| needed > limit) else { return Ok(made) };
            least = least.min(needed);
            chunk = match (1..chunk).rev().find(|&smaller| samples.is_multiple_of(smaller)) {
                Some(smaller) if !fixed => smaller,
                _ => {
                    let advice = "raise --memory, or lower training.batch_size or training.samples";
                    return Err(Error::Autograd(autograd::Error::Memory { needed: least, limit, advice }));
                }
            };
            config.training.chunk = chunk;
        }
    }

    /// Bytes that all plans take together on one machine.
    pub fn peak_bytes(&self) -> usize {
        let directions = self.directions.iter().flat_map(DirectionPrograms::plans);
        let own = std::iter::once(&self.step).chain(&self.preparation).chain(&self.chunk);
        Plan::peak_bytes_together(own.chain(directions))
    }

    /// Floating-point operations of one step outside of the matrix-free entropy.
    pub fn flops(&self, config: &Config) -> f64 {
        let samples = config.training.samples;
        let chunks = (samples / config.training.chunk_of(samples)) as f64;
        let of = |plan: &Option<Plan>| plan.as_ref().map_or(0.0, Plan::flops);
        self.step.flops() + of(&self.preparation) + chunks * of(&self.chunk)
    }
}

/// The work that a configuration allows a matrix-free method in one training step.
pub fn settings_of(config: &EntropyConfig) -> Settings {
    Settings {
        probes: config.probes,
        steps: config.steps,
        iterations: config.iterations,
        tolerance: config.tolerance,
        directions: true,
        ..Settings::default()
    }
}
