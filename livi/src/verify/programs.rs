//! The programs behind the methods of a verification, and the memory that they take.

use super::Task;
use crate::Result;
use crate::device::is_card;
use crate::entropy::{Jacobian, JacobianPrograms, parameters};
use autograd::{DType, Machine, Plan, Tape, Var};

/// Probes at once where memory allows.
const MOST_AT_ONCE: usize = 32;

/// The planned programs of a Jacobian.
pub(super) struct Planned {
    programs: JacobianPrograms,
    parameters: Vec<Var>,
    /// Bytes of the plans.
    bytes: usize,
    /// Bytes of one number.
    number: usize,
    /// Whether the Krylov spaces of quadrature are in the plans.
    resident: bool,
}

impl Planned {
    /// Plans for as many probes at once as the memory allows; on a card quadrature, if it is asked for, keeps its Krylov spaces there.
    ///
    /// # Errors
    /// [`autograd::Error::Memory`] where not even one probe fits; those of recording and planning.
    pub fn record(task: &Task<'_>, dtype: DType, quadrature: bool) -> Result<Self> {
        let mut tape = Tape::new();
        let vars: Vec<Var> = parameters::declare(&mut tape, task.sampler, dtype);
        let limit = task.memory.unwrap_or(usize::MAX);
        let cols = task.sampler.latents();
        let mut block = task.settings.probes.clamp(1, MOST_AT_ONCE).min(cols);
        let (sampler, steps) = (task.sampler, task.settings.steps);
        let resident = quadrature && is_card(task.device);
        loop {
            let krylov = resident.then_some(steps);
            let programs = JacobianPrograms::record_samples(&mut tape, sampler, &vars, dtype, 1, block, krylov)?;
            let bytes = Plan::peak_bytes_together(programs.plans());
            let spaces = if resident { 1 } else { block };
            let needed = bytes + krylov_bytes(programs.rows(), cols, spaces, steps, dtype.size());
            if needed <= limit {
                return Ok(Self { programs, parameters: vars, bytes, number: dtype.size(), resident });
            }
            if block == 1 {
                let advice = "allow that much, or take fewer steps";
                return Err(autograd::Error::Memory { needed, limit, advice }.into());
            }
            block /= 2;
        }
    }

    /// On a machine that holds the weights.
    ///
    /// # Errors
    /// Those of the machine.
    pub fn load(self, task: &Task<'_>) -> Result<Loaded> {
        let mut machine = Machine::on(task.device)?;
        let jacobian = self.programs.load(&mut machine)?;
        parameters::write(&mut machine, &self.parameters, task.parameters)?;
        jacobian.fold(&mut machine)?;
        let Self { bytes, number, resident, .. } = self;
        Ok(Loaded { machine, jacobian, bytes, number, resident })
    }
}

/// A machine with the programs of a Jacobian.
pub(super) struct Loaded {
    pub machine: Machine,
    pub jacobian: Jacobian,
    /// Bytes of the plans.
    bytes: usize,
    /// Bytes of one number.
    number: usize,
    /// Whether the Krylov spaces of quadrature are in the plans.
    pub resident: bool,
}

impl Loaded {
    /// Bytes of the plans and of Krylov spaces of so many start vectors.
    pub fn with_krylov(&self, count: usize, steps: usize) -> u64 {
        let (rows, cols) = (self.jacobian.rows(), self.jacobian.cols());
        (self.bytes + krylov_bytes(rows, cols, count, steps, self.number)) as u64
    }
}

/// Bytes of Krylov spaces: all right vectors, the last two on the left, and a block of right ones.
fn krylov_bytes(rows: usize, cols: usize, count: usize, steps: usize, number: usize) -> usize {
    let steps = steps.min(rows).min(cols);
    count * (2 * rows + ((steps + 1).min(cols) + 1) * cols) * number
}
