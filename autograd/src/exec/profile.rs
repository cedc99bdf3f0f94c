//! What a machine can tell of its plans: how long their steps take, what they cost, how often they ran.

use super::{Machine, PlanId, Processor, Program, lost, name};
use crate::{Result, StepCost};

impl Machine {
    /// Runs a plan once, then `runs` times with a clock, and answers the seconds that each of its steps took in the quickest of them, in the
    /// order of [`Plan::steps`](crate::Plan::steps) (infinity for no runs). These are real runs: what a plan updates is updated each time.
    ///
    /// ```
    /// use autograd::{DType, Machine, Plan, Request, Tape};
    /// let mut tape = Tape::new();
    /// let x = tape.input(&[100, 100], DType::F32);
    /// let square = tape.matmul(x, x)?;
    /// let plan = Plan::new(&tape, &Request::outputs(&[square]))?;
    /// let steps = plan.steps().len();
    /// let mut machine = Machine::cpu(1)?;
    /// let plan = machine.load(plan)?;
    /// machine.write(x, &[1.0_f32; 10_000])?;
    /// let seconds = machine.profile(plan, 5)?;
    /// assert_eq!(seconds.len(), steps);
    /// assert!(seconds.iter().all(|&least| least > 0.0 && least.is_finite()));
    /// # Ok::<(), autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`Machine::run`].
    pub fn profile(&mut self, plan: PlanId, runs: usize) -> Result<Vec<f64>> {
        self.run(plan)?;
        let Self { processor, plans, held, seed, step, .. } = self;
        let loaded = &mut plans[plan.index];
        for &position in &loaded.writes {
            held[position].mirror.forget();
        }
        match (processor, &mut loaded.program) {
            (Processor::Cpu(cpu), Program::Cpu(program)) => cpu.profile(program, *seed, *step, runs),
            (Processor::Cuda(cuda), Program::Cuda(program)) => {
                // SAFETY: as in `run`.
                unsafe { cuda.profile(program, &loaded.steps, (*seed, *step), runs) }
            }
            _ => Err(lost()),
        }
    }

    /// What each step of a plan costs, as [`Plan::step_costs`](crate::Plan::step_costs) counts it, in the order of [`Machine::profile`].
    ///
    /// ```
    /// use autograd::{DType, Machine, Plan, Request, Tape};
    /// let mut tape = Tape::new();
    /// let x = tape.named_input("x", &[100], DType::F32);
    /// let y = tape.exp(x)?;
    /// let plan = Plan::new(&tape, &Request::outputs(&[y]))?;
    /// let costs = plan.step_costs();
    /// let mut machine = Machine::cpu(1)?;
    /// let plan = machine.load(plan)?;
    /// assert_eq!(machine.step_costs(plan)?, costs);
    /// # Ok::<(), autograd::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) for a plan of another machine.
    pub fn step_costs(&self, plan: PlanId) -> Result<Vec<StepCost>> {
        let loaded = self.loaded(plan)?;
        Ok(StepCost::of_steps(&loaded.steps, &loaded.buffers, |var| {
            self.positions.get(&var).map_or_else(|| name(var), |&position| self.held[position].name.clone())
        }))
    }

    /// Why a card runs a plan's commands one by one, though they are enough to be replayed as a graph from the second run on: what it answered when
    /// they were captured. `None` where nothing was refused, and on a processor.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) for a plan of another machine.
    pub fn refusal(&self, plan: PlanId) -> Result<Option<String>> {
        Ok(match &self.loaded(plan)?.program {
            Program::Cuda(program) => program.refusal(),
            _ => None,
        })
    }

    /// How often a plan has run on this machine; the timed runs of [`Machine::profile`] do not count.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) for a plan of another machine.
    pub fn runs(&self, plan: PlanId) -> Result<u64> {
        self.loaded(plan).map(|loaded| loaded.runs)
    }
}

/// The seconds of a plan's steps in the quickest of so many runs, so that they add up to those of one run; infinity for no runs.
pub(super) fn quickest(steps: usize, runs: usize, mut run: impl FnMut(&mut [f64]) -> Result<()>) -> Result<Vec<f64>> {
    let (mut least, mut seconds) = (vec![f64::INFINITY; steps], vec![0.0; steps]);
    for _ in 0..runs {
        run(&mut seconds)?;
        if seconds.iter().sum::<f64>() < least.iter().sum() {
            std::mem::swap(&mut least, &mut seconds);
        }
    }
    Ok(least)
}
