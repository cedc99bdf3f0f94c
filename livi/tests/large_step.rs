//! One training step of the sampler of CIFAR-10 size: its memory, and its gradient against differences of the same seeded loss.

use autograd::{Device, Machine, Plan, Request, Var};
use livi::config::Config;
use livi::entropy::DirectionPrograms;
use livi::model::Model;
use livi::train::{DataShape, Program, settings_of};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const BATCH: usize = 32;
const INPUTS: usize = 3 * 32 * 32;
const CLASSES: usize = 10;

#[test]
#[ignore = "takes about 2 GB and a minute"]
fn the_gradient_of_a_step_of_the_wide_residual_network_is_that_of_its_loss() {
    // Where units are kinked, differences have errors that shrink with the step alone.
    for (activation, h, tolerance) in [("softplus", 1e-7, 1e-6), ("relu", 1e-9, 1e-5)] {
        let settings = ["dtype=f64", "training.batch_size=32", "training.samples=2", "entropy.steps=10"];
        let mut config = Config::preset("cifar10-wrn16-4").unwrap();
        settings.iter().for_each(|setting| config.set(setting).unwrap());
        config.set(&format!("network.activation={activation}")).unwrap();
        check(&config, h, tolerance);
    }
}

/// Compares along random directions, with differences over `h` in each parameter either way.
fn check(config: &Config, h: f64, tolerance: f64) {
    let model = Model::new(config, INPUTS, CLASSES).unwrap();
    let shape = DataShape { rows: 50_000, inputs: INPUTS, outputs: CLASSES, batch: BATCH, streamed: true };
    let mut program = Program::record(config, &model, shape).unwrap();
    let (sampler, sampled) = (model.sampler.as_deref().unwrap(), program.draw.sampled.clone().unwrap());
    let (settings, method) = (settings_of(&config.entropy), config.entropy.method);
    let (inputs, fixed, device) = (program.directions.unwrap(), program.fixed.unwrap(), Device::Cpu { threads: 2 });
    let (latents, parameters) = (config.entropy.latents_of(config.training.samples), &sampled.parameters);
    let directions =
        DirectionPrograms::record(&mut program.tape, sampler, parameters, method, settings, latents, inputs, device)
            .unwrap();
    let (step, preparation) = (program.plan().unwrap(), program.preparation_plan().unwrap().unwrap());
    let plan =
        |output, given: &[Var]| Plan::new(&program.tape, &Request { given, ..Request::outputs(&[output]) }).unwrap();
    // The loss whose gradient the step descends: what the surrogate holds fixed stays as it was.
    let held = plan(fixed, &[sampled.latents]);
    let loss = plan(program.loss, &[sampled.latents, fixed]);
    let peak = Plan::peak_bytes_together([&step, &preparation, &held, &loss].into_iter().chain(directions.plans()));
    assert!(peak < 8_000_000_000, "{peak} bytes");

    let mut machine = Machine::on(device).unwrap();
    let inputs = step.inputs().to_vec();
    let (step, preparation) = (machine.load(step).unwrap(), machine.load(preparation).unwrap());
    let (held, loss) = (machine.load(held).unwrap(), machine.load(loss).unwrap());
    let directions = directions.load(&mut machine).unwrap();
    // The optimiser's rates and moments stay zero.
    for var in inputs {
        machine.write_f64(var, &vec![0.0; program.tape.elements(var)]).unwrap();
    }
    let mut generator = StdRng::seed_from_u64(3);
    let x: Vec<f64> = (0..BATCH * INPUTS).map(|_| 4.0 * generator.random::<f64>() - 2.0).collect();
    machine.write_f64(program.x, &x).unwrap();
    let y: Vec<f64> = (0..BATCH * CLASSES).map(|i| f64::from(u8::from(i % CLASSES == i / CLASSES % CLASSES))).collect();
    machine.write_f64(program.y, &y).unwrap();
    machine.write_scalar(program.warmup, 1.0).unwrap();
    let weights = model.initial(config.sampler.init_scale, 1);
    machine.write_f64(program.weights, &weights).unwrap();
    machine.set_noise(7, 0);
    machine.run(preparation).unwrap();
    let values = machine.read_f64(sampled.latents).unwrap();
    directions.compute(&mut machine, &values[..latents * sampler.latents()], model.sigma, 5).unwrap();
    machine.run(held).unwrap();
    machine.run(step).unwrap();
    // After one step from zero the first moment is a tenth of the gradient.
    let state = program.state();
    let (_, moment) = state.iter().find(|(name, _)| name == "weights.first_moment").unwrap();
    let gradient: Vec<f64> = machine.read_f64(*moment).unwrap().iter().map(|value| value / 0.1).collect();

    // What a derivative along random signs is worth: one that happens to be smaller has the differences' rounding all the same (that of a loss of
    // 2.6e6 makes it 0.2 at a step of 1e-9).
    let length = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
    for direction in 0..3 {
        let signs: Vec<f64> = (0..weights.len()).map(|_| if generator.random::<bool>() { 1.0 } else { -1.0 }).collect();
        let expected: f64 = gradient.iter().zip(&signs).map(|(g, sign)| g * sign).sum();
        let mut at = |shift: f64| {
            let moved: Vec<f64> = weights.iter().zip(&signs).map(|(weight, sign)| weight + shift * sign).collect();
            machine.write_f64(program.weights, &moved).unwrap();
            machine.run(loss).unwrap();
            machine.read_scalar(program.loss).unwrap()
        };
        let difference = (at(h) - at(-h)) / (2.0 * h);
        let error = (expected - difference).abs() / length;
        println!(
            "h {h:e}, direction {direction}: gradient {expected:.9e}, difference {difference:.9e}, error over the gradient's length {error:.1e}, peak {peak} bytes"
        );
        assert!(error < tolerance, "direction {direction}: {expected} {difference}");
    }
}
