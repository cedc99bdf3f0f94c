//! Exact entropy of small samplers, value with the gradient of all sampler weights, and a whole training step of the toy regression.
//!
//! `small_samplers [--device DEVICE] [--tf32] [--threads N] [--only TEXT] [--json]` prints medians in milliseconds; the sizes are those of the PyTorch and
//! JAX peers. With `--steps` it prints each plan's steps with the least time that each took. `--only` keeps the jobs whose name or sizes contain the text.

use autograd::{DType, Device, Machine, Plan, PlanId, Request, Tape, Var};
use livi::activation::Activation;
use livi::config::Config;
use livi::entropy::record_exact;
use livi::model::Model;
use livi::sampler::{MlpSampler, Sampler, initial_parameters};
use livi::train::{DataShape, Program, Trainer};
use livi_benches::{Arguments, Figures, Gauge, time};

const SIGMA: f64 = 1e-2;
/// Seconds for the repeats of one job.
const BUDGET: f64 = 3.0;
/// Runs of a plan whose steps are timed.
const REPEATS: usize = 300;
/// (m, d, latents, hidden).
const SIZES: [(usize, usize, usize, usize); 4] =
    [(105, 60, 3, 105), (2000, 20, 10, 100), (10_000, 50, 1, 100), (10_000, 50, 10, 100)];

fn main() -> livi::Result<()> {
    let arguments = Arguments::read(&["--steps"])?;
    let (device, steps) = (arguments.device, arguments.has("--steps"));
    let mut gauge = Gauge::new(device)?;
    for (m, d, latents, hidden) in SIZES {
        let (job, sizes) = ("entropy_value_and_grad", format!("m={m} d={d} B={latents} h={hidden}"));
        if arguments.wants(job, &sizes) {
            gauge.reset()?;
            let Job { mut machine, plan, flops, announced, table } = entropy(m, d, latents, hidden, device)?;
            if steps {
                print_steps(&table, &machine.profile(plan, REPEATS)?);
            } else {
                let figures = Figures::of_plan(BUDGET, &mut machine, plan, flops, announced, &gauge)?;
                arguments.show(job, &sizes, &figures);
            }
        }
    }
    let (job, sizes) = ("toy_step", "1-7-10-1, MLP 60-105-105, S=3, 70 points");
    if arguments.wants(job, sizes) {
        if steps {
            let Job { mut machine, plan, table, .. } = toy_plan(device)?;
            print_steps(&table, &machine.profile(plan, REPEATS)?);
        } else {
            gauge.reset()?;
            arguments.show(job, sizes, &toy_step(device, &gauge)?);
        }
    }
    Ok(())
}

/// A loaded plan whose inputs have values.
struct Job {
    machine: Machine,
    plan: PlanId,
    flops: f64,
    /// Bytes that the plan announces.
    announced: usize,
    table: String,
}

/// A plan's table with the microseconds of each step in front.
fn print_steps(table: &str, seconds: &[f64]) {
    for (line, seconds) in table.lines().skip(1).zip(seconds) {
        println!("{:>9.1} us {line}", seconds * 1e6);
    }
    println!("{:>9.1} us in all", seconds.iter().sum::<f64>() * 1e6);
}

/// Mean over latents of the exact half log-determinant with the gradient with respect to all sampler weights.
fn entropy(m: usize, d: usize, latents: usize, hidden: usize, device: Device) -> livi::Result<Job> {
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
    let (flops, announced, table) = (plan.flops(), plan.peak_bytes(), plan.to_string());
    let needed = plan.inputs().to_vec();
    let mut machine = Machine::on(device)?;
    let plan = machine.load(plan)?;
    for (&parameter, values) in parameters.iter().zip(initial_parameters(&sampler, 0)) {
        if needed.contains(&parameter) {
            machine.write_f64(parameter, &values)?;
        }
    }
    let points: Vec<f64> = (0..latents * d).map(|i| ((i * 7919 % 1000) as f64 / 500.0 - 1.0) * 1.7).collect();
    machine.write_f64(z, &points)?;
    Ok(Job { machine, plan, flops, announced, table })
}

/// The toy preset with the peers' optimiser, which keeps one moment more than the preset's.
fn toy_config() -> livi::Result<Config> {
    let mut config = Config::preset("toy")?;
    config.set("training.amsgrad=true")?;
    Ok(config)
}

/// A whole step of the toy preset: noise, objective, gradient, update, terms read back and checked.
fn toy_step(device: Device, gauge: &Gauge) -> livi::Result<Figures> {
    let mut config = Config::preset("toy")?;
    config.set("training.steps=100000000")?;
    let dataset = livi::data::load(&config.data)?;
    let mut trainer = Trainer::on(&config, &dataset, device, None)?;
    let timing = time(BUDGET, |count| (0..count).try_for_each(|_| trainer.advance().map(drop)))?;
    let figures = Figures::new(timing, trainer.step_flops());
    Ok(Figures { announced: Some(trainer.peak_bytes()), taken: gauge.taken()?, ..figures })
}

/// The plan of such a step with initial weights, its other inputs filled with small numbers.
fn toy_plan(device: Device) -> livi::Result<Job> {
    let config = toy_config()?;
    let data = livi::data::load(&config.data)?.training;
    let (rows, inputs) = (data.rows(), data.inputs());
    let model = Model::new(&config, inputs, 1)?;
    let shape = DataShape { rows, inputs, outputs: 1, batch: rows, streamed: false };
    let program = Program::record(&config, &model, shape)?;
    let plan = program.plan()?;
    let (flops, announced, inputs) = (plan.flops(), plan.peak_bytes(), plan.inputs().to_vec());
    let table = plan.to_string();
    let mut machine = Machine::on(device)?;
    let plan = machine.load(plan)?;
    for input in inputs {
        let values = if input == program.weights {
            model.initial(config.sampler.init_scale, 0)
        } else {
            // Scalars are rates and the like: tiny, so that many steps leave the weights in place.
            let scale = if program.tape.shape(input).is_empty() { 1e-12 } else { 1e-4 };
            (0..program.tape.elements(input)).map(|i| scale * (1.0 + (i * 7919 % 1000) as f64)).collect()
        };
        machine.write_f64(input, &values)?;
    }
    Ok(Job { machine, plan, flops, announced, table })
}
