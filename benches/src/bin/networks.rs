//! Gradients of image networks: the cross-entropy summed over images and weight samples, with respect to every sample's weights.
//!
//! `networks [--device DEVICE] [--tf32] [--threads N] [--only TEXT] [--json]` prints medians in milliseconds; names and sizes are those of the PyTorch and
//! JAX peers, which are larger on a card. With `--steps` it prints each plan's steps with the least time that each took, its rate, and that rate's share
//! of what a product of large matrices reaches. `--only` keeps the jobs whose name or sizes contain the text.

use autograd::{DType, Device, Machine, Plan, PlanId, Request, Tape};
use livi::activation::Activation;
use livi::likelihood::softmax_log_likelihood;
use livi::network::Network;
use livi::profile::product_rate_on;
use livi_benches::{Arguments, Figures, Gauge};

const JOB: &str = "network_gradient";
/// Runs of a plan whose steps are timed.
const REPEATS: usize = 12;

/// Seconds for the repeats of one job.
const BUDGET: f64 = 3.0;

/// Name, the sampler's latents (which tell the peers' sizes apart), images, weight samples; on a processor, and on a card.
const JOBS: [(&str, usize, usize, usize); 2] = [("lenet", 4225, 256, 10), ("wrn", 9025, 32, 2)];
const CARD_JOBS: [(&str, usize, usize, usize); 2] = [("lenet", 4225, 256, 10), ("wrn", 9025, 128, 10)];

fn main() -> livi::Result<()> {
    let arguments = Arguments::read(&["--steps"])?;
    let device = arguments.device;
    let mut gauge = Gauge::new(device)?;
    for (name, latents, images, samples) in if arguments.on_card() { CARD_JOBS } else { JOBS } {
        let network = match name {
            "lenet" => Network::lenet(&[1, 28, 28], 10, Activation::Relu)?,
            _ => Network::wide_resnet(&[3, 32, 32], 16, 4, 10, Activation::Relu)?,
        };
        let sizes = format!("{name} m={} d={latents} batch={images} S={samples}", network.layout().len());
        if !arguments.wants(JOB, &sizes) {
            continue;
        }
        gauge.reset()?;
        let Job { mut machine, id, plan } = gradient(&network, images, samples, device)?;
        if arguments.has("--steps") {
            print_steps(&plan, &machine.profile(id, REPEATS)?, product_rate_on(device, DType::F32)?);
        } else {
            let figures = Figures::of_plan(BUDGET, &mut machine, id, plan.flops(), plan.peak_bytes(), &gauge)?;
            arguments.show(JOB, &sizes, &figures);
        }
    }
    Ok(())
}

/// A loaded plan whose inputs have values.
struct Job {
    machine: Machine,
    id: PlanId,
    plan: Plan,
}

/// dL/dtheta, shape (S, m), of the cross-entropy L summed over images and weight samples.
fn gradient(network: &Network, images: usize, samples: usize, device: Device) -> livi::Result<Job> {
    let mut tape = Tape::new();
    let theta = tape.named_input("theta", &[samples, network.layout().len()], DType::F32);
    let shape: Vec<usize> = std::iter::once(images).chain(network.input().iter().copied()).collect();
    let x = tape.named_input("x", &shape, DType::F32);
    let labels = tape.named_input("labels", &[images], DType::U32);
    let classes = network.outputs();
    let logits = network.record(&mut tape, theta, x)?;
    let targets = tape.one_hot(labels, classes, DType::F32)?;
    let mean = softmax_log_likelihood(&mut tape, logits, targets)?;
    let loss = tape.scale(mean, -(samples as f64))?;
    let gradient = tape.grad(loss, &[theta])?;
    let plan = Plan::new(&tape, &Request::outputs(&gradient))?;
    let mut machine = Machine::on(device)?;
    let id = machine.load(plan.clone())?;
    let noise = |count: usize| (0..count).map(|i| ((i * 7919 + i / 131 * 31) % 1000) as f64 / 288.0 - 1.732);
    let mut weights = Vec::with_capacity(tape.elements(theta));
    for sample in 0..samples {
        for entry in network.layout().entries() {
            let fan_in = if entry.is_bias() { 100 } else { entry.fan_in };
            let scale = 1.4 / (fan_in as f64).sqrt();
            let skipped = sample * 37 + entry.range.start % 991;
            weights.extend(noise(skipped + entry.range.len()).skip(skipped).map(|value| value * scale));
        }
    }
    machine.write_f64(theta, &weights)?;
    machine.write_f64(x, &noise(tape.elements(x)).collect::<Vec<_>>())?;
    machine.write(labels, &(0..images as u32).map(|i| i * 7 % classes as u32).collect::<Vec<_>>())?;
    Ok(Job { machine, id, plan })
}

/// A plan's table with milliseconds, GFLOP/s, their share of `rate` and GB/s of each step in front; then what steps of each kind take together.
fn print_steps(plan: &Plan, seconds: &[f64], rate: f64) {
    let figures = |seconds: f64, flops: f64, bytes: f64| {
        let share = 100.0 * flops / seconds / rate;
        format!(
            "{:>9.3} ms {:>6.1} GFLOP/s {share:>4.0} % {:>5.1} GB/s",
            seconds * 1e3,
            flops / seconds / 1e9,
            bytes / seconds / 1e9
        )
    };
    let mut kinds: Vec<(&str, [f64; 3])> = Vec::new();
    let mut all = [0.0; 3];
    for (cost, &seconds) in plan.step_costs().iter().zip(seconds) {
        let bytes = cost.bytes_read + cost.bytes_written;
        println!("{} {:<14} {}", figures(seconds, cost.flops, bytes), cost.op, cost.description);
        let kind = cost.kind.name();
        let at = kinds.iter().position(|known| known.0 == kind).unwrap_or_else(|| {
            kinds.push((kind, [0.0; 3]));
            kinds.len() - 1
        });
        for sums in [&mut kinds[at].1, &mut all] {
            sums.iter_mut().zip([seconds, cost.flops, bytes]).for_each(|(sum, own)| *sum += own);
        }
    }
    for (kind, [seconds, flops, bytes]) in kinds {
        println!("{} all {kind}", figures(seconds, flops, bytes));
    }
    let [seconds, flops, bytes] = all;
    println!("{} in all; a product of large matrices {:.1} GFLOP/s", figures(seconds, flops, bytes), rate / 1e9);
    println!("peak {:.1} MB", plan.peak_bytes() as f64 / 1e6);
}
