//! The matrix-free entropies inside training: one estimate a latent, and the vectors that carry its gradient into the training plan.

use super::{DirectionInputs, Jacobian, JacobianPrograms, Method, Settings, estimates, takes_several};
use crate::Result;
use crate::device::is_card;
use crate::sampler::Sampler;
use autograd::{DType, Device, Machine, Plan, PlanId, Tape, Var};
use rand::SeedableRng;
use rand::rngs::StdRng;

/// The Jacobian's programs beside a training program, on the same tape; not yet on its machine.
#[derive(Clone, Debug)]
pub struct DirectionPrograms {
    programs: JacobianPrograms,
    method: Method,
    settings: Settings,
    inputs: DirectionInputs,
    dtype: DType,
    count: usize,
}

impl DirectionPrograms {
    /// Records and plans the programs for `samples` latents on the training tape. `parameters` must be outputs of a plan that runs before
    /// [`Directions::compute`], `inputs` those of the surrogate of the same method and settings at as many latents. On a card `slq` keeps its vectors
    /// there.
    ///
    /// # Errors
    /// Those of recording and planning.
    pub fn record(
        tape: &mut Tape,
        sampler: &dyn Sampler,
        parameters: &[Var],
        method: Method,
        settings: Settings,
        samples: usize,
        inputs: DirectionInputs,
        device: Device,
    ) -> Result<Self> {
        let dtype = tape.dtype(parameters[0]);
        let count = settings.directions_of(method);
        let together = if takes_several(method, sampler.latents()) { samples } else { 1 };
        let krylov = (method == Method::Slq && is_card(device)).then_some(settings.steps);
        let programs = JacobianPrograms::record_samples(tape, sampler, parameters, dtype, together, count, krylov)?;
        Ok(Self { programs, method, settings, inputs, dtype, count })
    }

    /// All plans, for their memory.
    pub fn plans(&self) -> impl Iterator<Item = &Plan> {
        self.programs.plans()
    }

    /// Loads the plans on the training machine.
    ///
    /// # Errors
    /// Those of the machine.
    pub fn load(self, machine: &mut Machine) -> Result<Directions> {
        let Self { programs, method, settings, inputs, dtype, count } = self;
        Ok(Directions { jacobian: programs.load(machine)?, method, settings, inputs, dtype, count })
    }
}

/// The same on the machine.
#[derive(Clone, Debug)]
pub struct Directions {
    jacobian: Jacobian,
    method: Method,
    settings: Settings,
    inputs: DirectionInputs,
    dtype: DType,
    count: usize,
}

impl Directions {
    /// The plans with what they compute, for measurement.
    pub fn loaded_plans(&self) -> Vec<(String, PlanId)> {
        self.jacobian.loaded_plans()
    }

    /// Estimates at each of the latents (S, d) with the parameters' present values, and writes the directions of the gradient where the surrogate
    /// finds them; a plan with the surrogate must be loaded. The answer is the mean over latents of 1/2 sum_i log(s_i^2 + sigma^2), by the method.
    /// Random vectors come from `seed` alone.
    ///
    /// # Errors
    /// Those of the estimate and of the machine.
    pub fn compute(&self, machine: &mut Machine, latents: &[f64], sigma: f64, seed: u64) -> Result<f64> {
        let (d, together) = (self.jacobian.cols(), self.jacobian.samples());
        let samples = latents.len() / d;
        let mut half_log_det = 0.0;
        let (mut v, mut w) = (vec![0.0; self.count * samples * d], vec![0.0; self.count * samples * d]);
        let mut factors = vec![0.0; self.count * samples];
        let mut generator = StdRng::seed_from_u64(seed);
        self.jacobian.fold(machine)?;
        for (first, latents) in latents.chunks(together * d).enumerate() {
            self.jacobian.linearise(machine, latents)?;
            let estimates = match self.dtype {
                DType::F64 => {
                    let mut map = self.jacobian.map::<f64>(machine);
                    estimates(self.method, &mut map, sigma, &self.settings, &mut generator)?
                }
                _ => {
                    let mut map = self.jacobian.map::<f32>(machine);
                    estimates(self.method, &mut map, sigma, &self.settings, &mut generator)?
                }
            };
            for (own, estimate) in estimates.iter().enumerate() {
                half_log_det += estimate.half_log_det / samples as f64;
                for (k, direction) in estimate.directions.iter().enumerate() {
                    let at = k * samples + first * together + own;
                    v[at * d..(at + 1) * d].copy_from_slice(&direction.v);
                    w[at * d..(at + 1) * d].copy_from_slice(&direction.w);
                    factors[at] = direction.factor;
                }
            }
        }
        let inputs = self.inputs;
        machine.write_f64(inputs.v, &v)?;
        if inputs.w != inputs.v {
            machine.write_f64(inputs.w, &w)?;
        }
        machine.write_f64(inputs.factors, &factors)?;
        Ok(half_log_det)
    }
}
