//! Training steps of the presets with other sizes and settings, on noise in the place of images.

use crate::measure;
use livi::config::Config;
use livi::data::{Dataset, Standardiser, Table, Training};
use livi::model::Model;
use livi::profile::{Total, TrainingProfile};
use livi::spectral::fill_gaussian;
use livi::train::Trainer;
use livi_benches::{Arguments, Figures, Gauge};
use rand::SeedableRng;
use rand::rngs::StdRng;

/// Name, preset, images, weight samples; on a processor, and on a card.
const SIZES: [(&str, &str, usize, usize); 2] = [("lenet", "mnist-lenet", 256, 10), ("wrn", "cifar10-wrn16-4", 32, 2)];
const CARD_SIZES: [(&str, &str, usize, usize); 2] =
    [("lenet", "mnist-lenet", 256, 10), ("wrn", "cifar10-wrn16-4", 128, 10)];
/// Names of steps, and the settings with which they look at the entropy; the last one is the presets' own.
const ENTROPIES: [(&str, &[&str]); 3] = [
    ("step_s_min", &["entropy.method=smallest", "entropy.latents=0", "entropy.steps=5"]),
    ("step_slq", &["entropy.method=slq", "entropy.latents=0", "entropy.probes=1", "entropy.steps=10"]),
    ("step_recommended", &[]),
];
/// The longest steps that are printed one by one.
const LONGEST: usize = 25;

pub fn run(arguments: &Arguments, gauge: &mut Gauge) -> livi::Result<()> {
    for (name, preset, images, samples) in if arguments.on_card() { CARD_SIZES } else { SIZES } {
        for (job, settings) in ENTROPIES {
            step(arguments, gauge, job, name, preset, images, samples, settings)?;
        }
    }
    Ok(())
}

fn step(
    arguments: &Arguments,
    gauge: &mut Gauge,
    job: &str,
    name: &str,
    preset: &str,
    images: usize,
    samples: usize,
    settings: &[&str],
) -> livi::Result<()> {
    let mut config = Config::preset(preset)?;
    config.set("training.steps=100000000")?;
    config.set(&format!("training.batch_size={images}"))?;
    config.set(&format!("training.samples={samples}"))?;
    settings.iter().try_for_each(|setting| config.set(setting))?;
    let inputs: usize = config.network.input.iter().product();
    let model = Model::new(&config, inputs, config.network.outputs)?;
    let (m, d) = (model.network.layout().len(), model.sampler.map_or(0, |sampler| sampler.latents()));
    let sizes = format!("{name} m={m} d={d} batch={images} S={samples}");
    if !arguments.wants(job, &sizes) {
        return Ok(());
    }
    let dataset = noise(2 * images, inputs, config.network.outputs)?;
    gauge.reset()?;
    let mut trainer = Trainer::on(&config, &dataset, arguments.device, None)?;
    let timing = measure(|| trainer.advance().map(drop))?;
    let figures = Figures::new(timing, trainer.step_flops());
    let figures = Figures { announced: Some(trainer.peak_bytes()), taken: gauge.taken()?, ..figures };
    arguments.show(job, &sizes, &figures);
    if arguments.has("--steps") && !arguments.json {
        println!("chunks of {} weight samples", trainer.config().training.chunk_of(samples));
        print_steps(&TrainingProfile::measure(trainer, config.dtype)?);
    }
    Ok(())
}

fn noise(rows: usize, inputs: usize, classes: usize) -> livi::Result<Dataset> {
    let mut x = vec![0.0; rows * inputs];
    fill_gaussian(&mut StdRng::seed_from_u64(4), &mut x);
    let y = (0..rows).map(|row| (row % classes) as f64).collect();
    let training = Table::new(x, y, rows, (0..inputs).map(|k| format!("x{k}")).collect(), vec!["class".into()])?;
    let (training, standardiser) = (Training::Table(training), Standardiser::identity(inputs, 1));
    Ok(Dataset { name: "noise".into(), training, validation: None, test: None, standardiser })
}

/// Where a step's time goes: by plans, by kinds of work, by the longest steps.
fn print_steps(profile: &TrainingProfile) {
    let figures = |Total { seconds, flops, bytes }| {
        format!("{:>9.3} ms {:>8.1} GFLOP/s {:>7.1} GB/s", 1e3 * seconds, flops / seconds / 1e9, bytes / seconds / 1e9)
    };
    for plan in &profile.plans {
        let mut total = Total::default();
        plan.steps.iter().for_each(|step| total.add(Total::of(step, plan.runs)));
        println!("{}  {} steps, {} runs of {}", figures(total), plan.steps.len(), plan.runs, plan.name);
    }
    println!("{:>9.3} ms beside the plans, {:.3} ms a step", 1e3 * profile.beside(), 1e3 * profile.step_seconds);
    for (kind, total) in profile.kinds() {
        println!("{}  all {kind}", figures(total));
    }
    for (plan, step, total) in profile.longest_first().into_iter().take(LONGEST) {
        println!("{}  {}:{step} {}", figures(total), plan + 1, profile.plans[plan].steps[step].cost.description);
    }
    println!("a product of large matrices {:.1} GFLOP/s", profile.product_rate / 1e9);
}
