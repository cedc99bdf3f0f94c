//! The programs behind the methods of a verification, and the memory that they take.

use super::Task;
use crate::Result;
use crate::entropy::{Jacobian, JacobianPrograms, announced_bytes, parameters};
use autograd::{DType, Machine, Tape, Var};

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
}

impl Planned {
    /// Plans for as many probes at once as the memory allows.
    ///
    /// # Errors
    /// [`autograd::Error::Memory`] where not even one probe fits; those of recording and planning.
    pub fn record(task: &Task<'_>, dtype: DType) -> Result<Self> {
        let mut tape = Tape::new();
        let vars: Vec<Var> = parameters::declare(&mut tape, task.sampler, dtype);
        let limit = task.memory.unwrap_or(usize::MAX);
        let cols = task.sampler.latents();
        let mut block = task.settings.probes.clamp(1, MOST_AT_ONCE).min(cols);
        loop {
            let programs = JacobianPrograms::record(&mut tape, task.sampler, &vars, dtype, block)?;
            let bytes = announced_bytes(&programs.plans().collect::<Vec<_>>());
            let needed = bytes + krylov_bytes(programs.rows(), cols, block, task.settings.steps, dtype.size());
            if needed <= limit {
                return Ok(Self { programs, parameters: vars, bytes, number: dtype.size() });
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
        Ok(Loaded { machine, jacobian, bytes: self.bytes, number: self.number })
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
