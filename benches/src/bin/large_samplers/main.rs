//! Samplers of the published sizes, and training steps with them: forward pass, products with the Jacobian, bounds, quadrature, the exact entropy,
//! whole steps.
//!
//! `large_samplers [--device DEVICE] [--tf32] [--threads N] [--only TEXT] [--json] [--full] [--steps]` prints medians in milliseconds, in f32 but for the
//! exact entropy; names and sizes are those of the PyTorch and JAX peers where they have the job. `--only` keeps the jobs whose name or sizes contain the
//! text.
//!
//! `jvp` and `vjp` are the products that entropies are made of here: those of a map with the Jacobian's singular values, whose last layer is folded
//! (its factorisation is the job `fold`, once a step); `jvp_unfolded` is J v itself, with
//! the forward pass. On a card these are the plans alone, with vectors that lie there,
//! and the jobs whose names end in `_carried` bring vectors and images there and back. The exact entropy is computed whole on a card; on a
//! processor it is timed on single blocks of unit vectors and extrapolated to all, and computed whole with `--full`. With `--steps` the plans and
//! kinds of work of whole training steps are printed too.

mod exact;
mod samplers;
mod training;

use livi_benches::{Arguments, Gauge, Timing, time};
use samplers::Bench;
use std::time::Instant;

const SIGMA: f64 = 1e-3;
/// Name, published name, latents.
const SAMPLERS: [(&str, &str, usize); 2] = [("lenet", "mnist-lenet", 10), ("wrn", "cifar10", 1)];
/// Probes and steps of quadrature, and whether its gradient is timed too.
const QUADRATURES: [(usize, usize, bool); 2] = [(1, 10, true), (8, 30, false)];
/// Seconds for the repeats of one job.
const BUDGET: f64 = 4.0;
/// Seconds from which on a job is repeated three times only.
const SLOW: f64 = 0.5;

fn main() -> livi::Result<()> {
    let arguments = Arguments::read(&["--full", "--steps"])?;
    let mut gauge = Gauge::new(arguments.device)?;
    for (name, published, samples) in SAMPLERS {
        let bench = Bench::new(name, published, samples, arguments.device)?;
        bench.products(&arguments, &mut gauge)?;
        bench.smallest(&arguments, &mut gauge)?;
        for (probes, steps, gradient) in QUADRATURES {
            bench.quadrature(&arguments, &mut gauge, probes, steps, gradient)?;
        }
        exact::run(&bench, &arguments, &mut gauge)?;
    }
    training::run(&arguments, &mut gauge)
}

/// Times repeats of a job that waits until it is done, three of them where one takes so long that [`time`] would not end.
fn measure<E>(mut run: impl FnMut() -> Result<(), E>) -> Result<Timing, E> {
    let mut once = || {
        let begin = Instant::now();
        run()?;
        Ok(begin.elapsed().as_secs_f64())
    };
    if once()? < SLOW {
        return time(BUDGET, |count| (0..count).try_for_each(|_| run()));
    }
    let times = [once()?, once()?, once()?];
    Ok(Timing::of(times.map(|seconds| 1e3 * seconds).to_vec()))
}
