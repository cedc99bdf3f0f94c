//! The exact entropy in double precision, at the first latent.

use crate::samplers::Bench;
use crate::{SIGMA, measure};
use autograd::{DType, Device, Machine};
use livi::device::memory_limit;
use livi::entropy::{GramPrograms, ResidentPrograms};
use livi_benches::{Arguments, Figures, Gauge, Timing};
use std::time::Instant;

const JOB: &str = "exact f64";

pub fn run(bench: &Bench, arguments: &Arguments, gauge: &mut Gauge) -> livi::Result<()> {
    if !arguments.wants(JOB, &bench.sizes) {
        return Ok(());
    }
    if let Device::Cpu { threads } = arguments.device {
        return blocks(bench, arguments, threads);
    }
    gauge.reset()?;
    resident(bench, arguments, gauge)
}

fn figures(timing: Timing, flops: f64, bytes: usize) -> Figures {
    Figures { dtype: DType::F64, announced: Some(bytes), ..Figures::new(timing, flops) }
}

/// The whole, on a card.
fn resident(bench: &Bench, arguments: &Arguments, gauge: &Gauge) -> livi::Result<()> {
    let machine = Machine::on(arguments.device)?;
    let programs = ResidentPrograms::record(&*bench.sampler, memory_limit(&machine, None)?)?;
    let (bytes, flops) = (programs.bytes(), programs.flops());
    let mut gram = programs.load(&bench.weights, machine)?;
    let mut value = 0.0;
    let timing = measure(|| -> livi::Result<()> {
        gram.compute(bench.first_latent(), &mut |_, _| ())?;
        value = gram.figures(SIGMA)?.half_log_det;
        Ok(())
    })?;
    let figures = Figures { taken: gauge.taken()?, ..figures(timing, flops, bytes) };
    arguments.show(JOB, &bench.sizes, &figures);
    if !arguments.json {
        println!("{JOB:30} {:42} value {value:.6}", bench.sizes);
    }
    Ok(())
}

/// Blocks of unit vectors, and the whole time that they foretell.
fn blocks(bench: &Bench, arguments: &Arguments, threads: usize) -> livi::Result<()> {
    let programs = GramPrograms::record(&*bench.sampler, None)?;
    let (bytes, flops, block) = (programs.bytes(), programs.flops(), programs.block());
    let mut machine = programs.load(&bench.weights, threads)?;
    let (latent, sizes) = (bench.first_latent(), &bench.sizes);
    machine.linearise(latent)?;
    let timing = measure(|| machine.run_block(0))?;
    let blocks = machine.unit_vectors().div_ceil(block) as f64;
    arguments.show(&format!("{JOB}, a block"), sizes, &figures(timing, flops / blocks, bytes));
    let foretold = Timing { median: timing.median * blocks, least: timing.least * blocks, repeats: 0 };
    arguments.show(&format!("{JOB}, all"), sizes, &figures(foretold, flops, bytes));
    if arguments.has("--full") {
        let begin = Instant::now();
        machine.compute(latent, &mut |_, _| ())?;
        let value = machine.gram().factor(SIGMA)?.half_log_det();
        let timing = Timing::of(vec![1e3 * begin.elapsed().as_secs_f64()]);
        arguments.show(&format!("{JOB} = {value:.3}"), sizes, &figures(timing, flops, bytes));
    }
    Ok(())
}
