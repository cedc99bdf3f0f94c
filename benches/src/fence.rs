//! Timing of plans that return before they are done.

use crate::{Timing, time};
use autograd::{DType, Machine, Plan, PlanId, Request, Result, Tape, Var};

/// Two numbers on a machine: what reads the second one after the first was copied to it waits for everything that was asked before.
#[derive(Debug)]
pub struct Fence {
    from: Var,
    to: Var,
}

impl Fence {
    /// Puts them on a machine.
    ///
    /// # Errors
    /// Those of loading and running a plan.
    pub fn new(machine: &mut Machine) -> Result<Self> {
        let mut tape = Tape::new();
        let from = tape.input(&[], DType::F32);
        let to = tape.exp(from)?;
        let plan = machine.load(Plan::new(&tape, &Request::outputs(&[to]))?)?;
        machine.write_scalar(from, 0.0)?;
        machine.run(plan)?;
        Ok(Self { from, to })
    }

    /// Waits until the machine has done all it was asked to.
    ///
    /// # Errors
    /// What a card reports of work that failed.
    pub fn wait(&self, machine: &mut Machine) -> Result<()> {
        machine.copy(self.from, 0, self.to, 0, 1)?;
        machine.read_scalar(self.to).map(drop)
    }
}

/// Times runs of a loaded plan as [`time`] does; a card gets them one after the other and is waited for at the end of each repeat.
///
/// ```
/// use autograd::{DType, Machine, Plan, Request, Tape};
/// let mut tape = Tape::new();
/// let x = tape.input(&[100], DType::F32);
/// let y = tape.exp(x)?;
/// let mut machine = Machine::cpu(1)?;
/// let plan = machine.load(Plan::new(&tape, &Request::outputs(&[y]))?)?;
/// machine.write(x, &[1.0_f32; 100])?;
/// assert!(livi_benches::time_plan(0.01, &mut machine, plan)?.repeats >= 15);
/// # Ok::<(), autograd::Error>(())
/// ```
///
/// # Errors
/// The first error of a run.
pub fn time_plan(budget: f64, machine: &mut Machine, plan: PlanId) -> Result<Timing> {
    let fence = Fence::new(machine)?;
    time(budget, |count| {
        (0..count).try_for_each(|_| machine.run(plan))?;
        fence.wait(machine)
    })
}
