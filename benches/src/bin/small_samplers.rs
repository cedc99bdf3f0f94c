//! Exact entropy of small samplers, value with the gradient of all sampler weights, and a whole training step of the toy regression.
//!
//! `small_samplers [--threads N] [--json]` prints medians in milliseconds; the sizes are those of the PyTorch and JAX peers.

use autograd::{DType, Machine, Plan, Request, Tape, Var};
use livi::activation::Activation;
use livi::config::Config;
use livi::entropy::record_exact;
use livi::sampler::{MlpSampler, Sampler, initial_parameters};
use livi::train::Trainer;
use livi_benches::{Timing, time};

const SIGMA: f64 = 1e-2;
/// (m, d, latents, hidden).
const SIZES: [(usize, usize, usize, usize); 4] =
    [(105, 60, 3, 105), (2000, 20, 10, 100), (10_000, 50, 1, 100), (10_000, 50, 10, 100)];

fn main() -> livi::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let json = arguments.iter().any(|a| a == "--json");
    let threads = arguments
        .iter()
        .position(|a| a == "--threads")
        .and_then(|k| arguments.get(k + 1))
        .and_then(|text| text.parse().ok())
        .unwrap_or(2);
    for (m, d, latents, hidden) in SIZES {
        let (timing, flops) = entropy(m, d, latents, hidden, threads)?;
        let sizes = format!("m={m} d={d} B={latents} h={hidden}");
        print(json, "entropy_value_and_grad", &sizes, threads, timing, flops);
    }
    let (timing, flops) = toy_step(threads)?;
    print(json, "toy_step", "1-7-10-1, MLP 60-105-105, S=3, 70 points", threads, timing, flops);
    Ok(())
}

fn print(json: bool, job: &str, sizes: &str, threads: usize, timing: Timing, flops: f64) {
    let Timing { median, least, repeats } = timing;
    let rate = flops / median / 1e6;
    if json {
        let record = serde_json::json!({
            "job": job, "framework": "livi", "sizes": sizes, "median_ms": median, "min_ms": least, "reps": repeats,
            "threads": threads, "dtype": "f32", "gflops": rate,
        });
        println!("{record}");
    } else {
        println!(
            "{job:24} {sizes:42} median {median:8.3} ms  min {least:8.3}  n={repeats:<3} threads {threads}  {rate:6.1} GFLOP/s"
        );
    }
}

/// Mean over latents of the exact half log-determinant with the gradient with respect to all sampler weights.
fn entropy(m: usize, d: usize, latents: usize, hidden: usize, threads: usize) -> livi::Result<(Timing, f64)> {
    let sampler = MlpSampler::new(d, &[hidden], m, Activation::Elu)?;
    let mut tape = Tape::new();
    let parameters: Vec<Var> =
        sampler.parameters().iter().map(|p| tape.named_input(&p.name, &p.shape, DType::F32)).collect();
    let z = tape.named_input("z", &[latents, d], DType::F32);
    let recorded = sampler.record(&mut tape, &parameters, z)?;
    let exact = record_exact(&mut tape, &recorded, SIGMA)?;
    let value = tape.mean_all(exact.half_log_det)?;
    let surrogate = tape.scale(exact.surrogate, 1.0 / latents as f64)?;
    let mut outputs = vec![value];
    outputs.extend(tape.grad(surrogate, &parameters)?);
    let plan = Plan::new(&tape, &Request::outputs(&outputs))?;
    let flops = plan.flops();
    let needed = plan.inputs().to_vec();
    let mut machine = Machine::cpu(threads)?;
    let plan = machine.load(plan)?;
    for (&parameter, values) in parameters.iter().zip(initial_parameters(&sampler, 0)) {
        if needed.contains(&parameter) {
            machine.write_f64(parameter, &values)?;
        }
    }
    let points: Vec<f64> = (0..latents * d).map(|i| ((i * 7919 % 1000) as f64 / 500.0 - 1.0) * 1.7).collect();
    machine.write_f64(z, &points)?;
    Ok((time(3.0, || machine.run(plan))?, flops))
}

/// A whole step of the toy preset: noise, objective, gradient, update, terms read back and checked.
fn toy_step(threads: usize) -> livi::Result<(Timing, f64)> {
    let mut config = Config::preset("toy")?;
    config.set("training.steps=100000000")?;
    let dataset = livi::data::load(&config.data)?;
    let mut trainer = Trainer::new(&config, &dataset, threads, None)?;
    let flops = trainer.step_flops();
    Ok((time(3.0, || trainer.advance().map(|_| ()))?, flops))
}
