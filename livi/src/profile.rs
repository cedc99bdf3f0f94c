//! Where the time of a training step goes: every step of every plan with its time, operations and bytes.
//!
//! Training steps are done first, for their wall-clock time and for how often each runs which plan; then each plan is run by itself with a
//! clock at every step. Times are those of the quickest of several runs, so what other work on the machine takes away is mostly left out.

use crate::Result;
use crate::config::Dtype;
use crate::train::{Trainer, dtype_of};
use autograd::{DType, Device, Machine, Plan, PlanId, Request, StepCost, Tape};
use serde::Serialize;
use std::time::Instant;

/// Side of the product whose rate stands for what the machine can do, and that for a card, which a small one does not fill.
const SIDE: usize = 1024;
const CARD_SIDE: usize = 4096;
/// Timed runs of that product.
const PRODUCT_RUNS: usize = 10;
/// Timed training steps, and timed runs of a plan: at least and at most, with so many seconds for them.
const LEAST_RUNS: u64 = 3;
const MOST_RUNS: u64 = 50;
/// Steps that a measurement does at most, the first included.
pub(crate) const MOST_STEPS: u64 = MOST_RUNS + 1;
const SECONDS: f64 = 1.0;

/// Times of a training step.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainingProfile {
    /// Least wall-clock seconds of a training step.
    pub step_seconds: f64,
    /// Training steps timed.
    pub steps: u64,
    /// The plans that training steps run.
    pub plans: Vec<PlanProfile>,
    /// Floating-point operations a second of one product of large matrices in the same number format, on the same number of threads or the same card.
    pub product_rate: f64,
}

/// Times of a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct PlanProfile {
    /// What the plan computes.
    pub name: String,
    /// How often a training step runs it; the mean over the steps timed.
    pub runs: f64,
    /// Its steps in order, for one run.
    pub steps: Vec<StepProfile>,
}

impl PlanProfile {
    /// Seconds of its steps in one run.
    pub fn seconds(&self) -> f64 {
        self.steps.iter().map(|step| step.seconds).sum()
    }
}

/// Time and cost of a plan's step in one run.
#[derive(Clone, Debug, PartialEq)]
pub struct StepProfile {
    /// Least seconds.
    pub seconds: f64,
    /// What it is and what it costs.
    pub cost: StepCost,
}

/// What steps take together in a training step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Total {
    /// Seconds.
    pub seconds: f64,
    /// Floating-point operations.
    pub flops: f64,
    /// Bytes read and written.
    pub bytes: f64,
}

impl Total {
    /// A plan's step so many times.
    pub fn of(step: &StepProfile, runs: f64) -> Self {
        let StepProfile { seconds, cost } = step;
        Self { seconds: runs * seconds, flops: runs * cost.flops, bytes: runs * (cost.bytes_read + cost.bytes_written) }
    }

    /// Adds another.
    pub fn add(&mut self, other: Self) {
        self.seconds += other.seconds;
        self.flops += other.flops;
        self.bytes += other.bytes;
    }
}

impl TrainingProfile {
    /// Does a few training steps in memory, beginning where the trainer stands, and times them and their plans. The trainer's state is of no use
    /// afterwards: timed runs update its parameters too.
    ///
    /// ```
    /// use livi::config::Config;
    /// use livi::profile::TrainingProfile;
    /// use livi::train::Trainer;
    /// let config = Config::preset("toy")?;
    /// let dataset = livi::data::load(&config.data)?;
    /// let trainer = Trainer::new(&config, &dataset, 1, None)?;
    /// let flops = trainer.step_flops();
    /// let profile = TrainingProfile::measure(trainer, config.dtype)?;
    /// // The exact entropy needs no plan beside that of the step.
    /// assert_eq!((profile.plans.len(), profile.plans[0].runs), (1, 1.0));
    /// assert_eq!(profile.total().flops, flops);
    /// # Ok::<(), livi::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`Trainer::advance`] and of running.
    pub fn measure(mut trainer: Trainer, dtype: Dtype) -> Result<Self> {
        let device = trainer.device();
        // The first step fetches memory and starts the making of batches: it is neither timed nor counted.
        trainer.advance()?;
        let before = run_counts(&mut trainer)?;
        let (mut steps, mut step_seconds) = (0, f64::INFINITY);
        let begin = Instant::now();
        while steps < LEAST_RUNS || (steps < MOST_RUNS && begin.elapsed().as_secs_f64() < SECONDS) {
            let start = Instant::now();
            trainer.advance()?;
            step_seconds = step_seconds.min(start.elapsed().as_secs_f64());
            steps += 1;
        }
        let after = run_counts(&mut trainer)?;
        let (machine, plans) = trainer.machine_and_plans();
        let mut profiles = Vec::new();
        for ((name, plan), (after, before)) in plans.into_iter().zip(after.into_iter().zip(before)) {
            // Those for blocks of a size that does not occur were never given inputs.
            if after > before {
                let runs = (after - before) as f64 / steps as f64;
                profiles.push(PlanProfile { name, runs, steps: time_plan(machine, plan)? });
            }
        }
        // A card may have no room for both.
        drop(trainer);
        let product_rate = product_rate_on(device, dtype_of(dtype))?;
        Ok(Self { step_seconds, steps, plans: profiles, product_rate })
    }

    /// What all plans take in a training step. The operations are exact where the number of runs does not change from step to step.
    pub fn total(&self) -> Total {
        let mut total = Total::default();
        for plan in &self.plans {
            plan.steps.iter().for_each(|step| total.add(Total::of(step, plan.runs)));
        }
        total
    }

    /// Seconds of a training step beside its plans: fetching rows, vector work of Krylov methods, moving numbers between plans.
    pub fn beside(&self) -> f64 {
        (self.step_seconds - self.total().seconds).max(0.0)
    }

    /// What shares are taken of: a training step's seconds, or its plans' where these, each by itself, took longer.
    pub fn whole(&self) -> f64 {
        self.step_seconds.max(self.total().seconds)
    }

    /// Totals for each kind of step, by its name, the longest first.
    pub fn kinds(&self) -> Vec<(&'static str, Total)> {
        let mut kinds: Vec<(&'static str, Total)> = Vec::new();
        for plan in &self.plans {
            for step in &plan.steps {
                let (name, total) = (step.cost.kind.name(), Total::of(step, plan.runs));
                match kinds.iter_mut().find(|(kind, _)| *kind == name) {
                    Some((_, sum)) => sum.add(total),
                    None => kinds.push((name, total)),
                }
            }
        }
        kinds.sort_by(|a, b| b.1.seconds.total_cmp(&a.1.seconds));
        kinds
    }

    /// Number of the plan and number of the step in it, with what it takes in a training step, the longest first.
    pub fn longest_first(&self) -> Vec<(usize, usize, Total)> {
        let mut all: Vec<(usize, usize, Total)> = Vec::new();
        for (number, plan) in self.plans.iter().enumerate() {
            all.extend(plan.steps.iter().enumerate().map(|(k, step)| (number, k, Total::of(step, plan.runs))));
        }
        all.sort_by(|a, b| b.2.seconds.total_cmp(&a.2.seconds));
        all
    }
}

fn run_counts(trainer: &mut Trainer) -> Result<Vec<u64>> {
    let (machine, plans) = trainer.machine_and_plans();
    Ok(plans.iter().map(|(_, plan)| machine.runs(*plan)).collect::<autograd::Result<_>>()?)
}

/// The steps of a plan with their least times, of as many runs as there is time for.
fn time_plan(machine: &mut Machine, plan: PlanId) -> Result<Vec<StepProfile>> {
    let once: f64 = machine.profile(plan, 1)?.iter().sum();
    let runs = (SECONDS / once.max(1e-9)).clamp(LEAST_RUNS as f64, MOST_RUNS as f64) as usize;
    let seconds = machine.profile(plan, runs)?;
    let steps = machine.step_costs(plan)?.into_iter().zip(seconds);
    Ok(steps.map(|(cost, seconds)| StepProfile { seconds, cost }).collect())
}

/// Floating-point operations a second of one large product: what a processor's so many threads can do.
///
/// # Errors
/// Those of planning and running.
pub fn product_rate(dtype: DType, threads: usize) -> Result<f64> {
    product_rate_on(Device::Cpu { threads }, dtype)
}

/// The same for any device; with TF32 that of products rounded to it.
///
/// # Errors
/// Those of planning and running.
pub fn product_rate_on(device: Device, dtype: DType) -> Result<f64> {
    let side = if matches!(device, Device::Cuda { .. }) { CARD_SIDE } else { SIDE };
    let mut tape = Tape::new();
    let (x, y) = (tape.input(&[side, side], dtype), tape.input(&[side, side], dtype));
    let product = tape.matmul(x, y)?;
    let plan = Plan::new(&tape, &Request::outputs(&[product]))?;
    let flops = plan.flops();
    let mut machine = Machine::on(device)?;
    let plan = machine.load(plan)?;
    for input in [x, y] {
        machine.write_f64(input, &vec![0.5; side * side])?;
    }
    Ok(flops / machine.profile(plan, PRODUCT_RUNS)?.iter().sum::<f64>())
}
