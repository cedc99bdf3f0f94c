//! Times of jobs, and how they are printed.

use crate::{Arguments, Gauge, with_scratch};
use autograd::{DType, Device, Machine, PlanId};
use serde_json::{Value, json};
use std::time::Instant;

/// Seconds from which on a job takes so long that few repeats do.
const LONG: f64 = 0.5;
/// Least seconds of a repeat.
const REPEAT: f64 = 0.003;
/// Runs of a plan whose steps are timed.
const PROFILED: usize = 5;

/// Times of repeated runs, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// The middle of all repeats.
    pub median: f64,
    /// The quickest repeat.
    pub least: f64,
    /// Number of repeats.
    pub repeats: usize,
}

impl Timing {
    /// Of milliseconds, at least one.
    pub fn of(mut times: Vec<f64>) -> Self {
        times.sort_by(f64::total_cmp);
        Self { median: times[times.len() / 2], least: times[0], repeats: times.len() }
    }
}

/// Warms up, then times `run`, which does its job so many times and waits until they are done, for at least 15 repeats (five of what takes longer than
/// half a second) of at least three milliseconds each, ending after about `budget` seconds.
///
/// # Errors
/// The first error of a run.
pub fn time<E>(budget: f64, mut run: impl FnMut(usize) -> Result<(), E>) -> Result<Timing, E> {
    let mut seconds = |count: usize| {
        let start = Instant::now();
        run(count)?;
        Ok(start.elapsed().as_secs_f64())
    };
    seconds(1)?;
    let mut once = seconds(1)?;
    if once < LONG {
        // On a card the second run made the graph that all later ones replay.
        once = seconds(1)?;
    }
    let count = (REPEAT / once).ceil().clamp(1.0, 1000.0) as usize;
    let least = if once > LONG { 5 } else { 15 };
    let mut times = Vec::new();
    let begin = Instant::now();
    while times.len() < least || (begin.elapsed().as_secs_f64() < budget && times.len() < 200) {
        times.push(seconds(count)? * 1e3 / count as f64);
    }
    Ok(Timing::of(times))
}

/// The steps of a plan by themselves, against which the time of a whole run tells what lies between them.
#[derive(Clone, Debug)]
pub struct Replay {
    /// Number of steps.
    pub steps: usize,
    /// Milliseconds of all of them, each by the device's own clock; where they are short, mostly the clock's own.
    pub alone: f64,
    /// Why they are not replayed, where a card refused.
    pub refusal: Option<String>,
}

impl Replay {
    /// Of a loaded plan.
    ///
    /// # Errors
    /// Those of a run.
    pub fn of(machine: &mut Machine, plan: PlanId) -> autograd::Result<Self> {
        let seconds = machine.profile(plan, PROFILED)?;
        let refusal = machine.refusal(plan)?;
        Ok(Self { steps: seconds.len(), alone: 1e3 * seconds.iter().sum::<f64>(), refusal })
    }
}

/// What there is to say of a job.
#[derive(Clone, Debug)]
pub struct Figures {
    /// Its times.
    pub timing: Timing,
    /// Floating-point operations of one run, 0 where nobody counted.
    pub flops: f64,
    /// Bytes that one run must read and write, 0 where nobody counted.
    pub bytes: f64,
    /// Number format of the bulk of the work.
    pub dtype: DType,
    /// Bytes that plans announced.
    pub announced: Option<usize>,
    /// Bytes taken on a card.
    pub taken: Option<usize>,
    /// The plan's steps, where the job is a single plan.
    pub replay: Option<Replay>,
}

impl Figures {
    /// Of single precision.
    pub fn new(timing: Timing, flops: f64) -> Self {
        Self { timing, flops, bytes: 0.0, dtype: DType::F32, announced: None, taken: None, replay: None }
    }

    /// Those of a loaded plan that has its inputs: its time, what the machine's plans announced and, on a card, its steps and the memory taken since
    /// the gauge was reset.
    ///
    /// # Errors
    /// Those of a run.
    pub fn of_plan(
        budget: f64,
        machine: &mut Machine,
        plan: PlanId,
        flops: f64,
        announced: usize,
        gauge: &Gauge,
    ) -> autograd::Result<Self> {
        let mut figures = Self::new(crate::time_plan(budget, machine, plan)?, flops);
        figures.announced = Some(with_scratch(machine, announced));
        figures.taken = gauge.taken()?;
        if !matches!(machine.device(), Device::Cpu { .. }) {
            figures.replay = Some(Replay::of(machine, plan)?);
        }
        Ok(figures)
    }

    fn object(&self, device: Device, job: &str, sizes: &str) -> Value {
        let Self { timing: Timing { median, least, repeats }, flops, bytes, dtype, announced, taken, replay } = self;
        let mut object = json!({
            "job": job, "framework": "livi", "sizes": sizes, "median_ms": median, "min_ms": least, "reps": repeats,
            "device": device.to_string(), "dtype": dtype.to_string(), "gflops": flops / median / 1e6,
        });
        match device {
            Device::Cpu { threads } => object["threads"] = threads.into(),
            Device::Cuda { tf32: true, .. } => object["note"] = "TF32".into(),
            _ => {}
        }
        if *bytes > 0.0 {
            object["gigabytes_per_s"] = (bytes / median / 1e6).into();
        }
        for (name, bytes) in [("announced_mb", announced), ("peak_mb", taken)] {
            if let Some(bytes) = bytes {
                object[name] = mebibytes(*bytes).into();
            }
        }
        if let Some(Replay { steps, alone, refusal }) = replay {
            object["steps"] = (*steps).into();
            object["steps_ms"] = (*alone).into();
            if let Some(refusal) = refusal {
                object["not_replayed"] = refusal.as_str().into();
            }
        }
        object
    }

    fn line(&self, device: Device, job: &str, sizes: &str) -> String {
        let Self { timing: Timing { median, least, repeats }, flops, bytes, .. } = self;
        let mut line = format!("{job:30} {sizes:42} median {median:10.3} ms  min {least:10.3}  n={repeats:<3} ");
        line += &match device {
            Device::Cpu { threads } => format!("threads {threads}"),
            Device::Cuda { tf32: true, .. } => format!("{device} TF32"),
            _ => device.to_string(),
        };
        if *flops > 0.0 {
            line += &format!("  {:7.1} GFLOP/s", flops / median / 1e6);
        }
        if *bytes > 0.0 {
            line += &format!("  {:7.1} GB/s", bytes / median / 1e6);
        }
        for (what, bytes) in [("announced", self.announced), ("taken", self.taken)] {
            if let Some(bytes) = bytes {
                line += &format!("  {what} {:.1} MiB", mebibytes(bytes));
            }
        }
        if let Some(Replay { steps, alone, refusal }) = &self.replay {
            line += &format!("  its {steps} steps alone {alone:.3} ms");
            if let Some(refusal) = refusal {
                line += &format!("  not replayed: {refusal}");
            }
        }
        line
    }
}

fn mebibytes(bytes: usize) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

impl Arguments {
    /// Prints one job: a line for people, or an object in JSON with the names that the peers use.
    pub fn show(&self, job: &str, sizes: &str, figures: &Figures) {
        if self.json {
            println!("{}", figures.object(self.device, job, sizes));
        } else {
            println!("{}", figures.line(self.device, job, sizes));
        }
    }
}
