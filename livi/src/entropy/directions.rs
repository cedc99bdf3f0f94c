//! The matrix-free entropies inside training: one estimate a latent, and the vectors that carry its gradient into the training plan.

use super::{Jacobian, JacobianPrograms, Method, Settings, estimates, takes_several};
use crate::Result;
use crate::sampler::Sampler;
use autograd::{DType, Machine, Plan, PlanId, Tape, Var};
use rand::SeedableRng;
use rand::rngs::StdRng;

/// What one step needs: the value, and u and v of the surrogate ([`record_surrogate`](super::record_surrogate)).
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Mean over latents of 1/2 sum_i log(s_i^2 + sigma^2), by the method.
    pub half_log_det: f64,
    /// (K, S, m), row-major.
    pub u: Vec<f64>,
    /// (K, S, d), row-major.
    pub v: Vec<f64>,
}

/// The Jacobian's programs beside a training program, on the same tape; not yet on its machine.
#[derive(Clone, Debug)]
pub struct DirectionPrograms {
    programs: JacobianPrograms,
    method: Method,
    settings: Settings,
    dtype: DType,
    count: usize,
}

impl DirectionPrograms {
    /// Records and plans the programs for `samples` latents on the training tape. `parameters` must be outputs of a plan that runs before
    /// [`Directions::compute`].
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
    ) -> Result<Self> {
        let dtype = tape.dtype(parameters[0]);
        let count = if method == Method::Slq { settings.probes } else { 1 };
        let together = if takes_several(method, sampler.latents()) { samples } else { 1 };
        let programs = JacobianPrograms::record_samples(tape, sampler, parameters, dtype, together, count)?;
        Ok(Self { programs, method, settings, dtype, count })
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
        let Self { programs, method, settings, dtype, count } = self;
        Ok(Directions { jacobian: programs.load(machine)?, method, settings, dtype, count })
    }
}

/// The same on the machine.
#[derive(Clone, Debug)]
pub struct Directions {
    jacobian: Jacobian,
    method: Method,
    settings: Settings,
    dtype: DType,
    count: usize,
}

impl Directions {
    /// The plans with what they compute, for measurement.
    pub fn loaded_plans(&self) -> Vec<(String, PlanId)> {
        self.jacobian.loaded_plans()
    }

    /// Estimates at each of the latents (S, d) with the parameters' present values. Random vectors come from `seed` alone.
    ///
    /// # Errors
    /// Those of the estimate.
    pub fn compute(&self, machine: &mut Machine, latents: &[f64], sigma: f64, seed: u64) -> Result<Found> {
        let (d, m, together) = (self.jacobian.cols(), self.jacobian.outputs(), self.jacobian.samples());
        let samples = latents.len() / d;
        let mut found =
            Found { half_log_det: 0.0, u: vec![0.0; self.count * samples * m], v: vec![0.0; self.count * samples * d] };
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
                let s = first * together + own;
                found.half_log_det += estimate.half_log_det / samples as f64;
                for (k, direction) in estimate.directions.iter().enumerate() {
                    let at = k * samples + s;
                    found.u[at * m..(at + 1) * m].copy_from_slice(&direction.u);
                    found.v[at * d..(at + 1) * d].copy_from_slice(&direction.v);
                }
            }
        }
        Ok(found)
    }
}
