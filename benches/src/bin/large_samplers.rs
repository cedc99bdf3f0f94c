//! Samplers of the published sizes, and training steps with them: forward pass, products with the Jacobian, bounds, quadrature, blocks of the exact
//! entropy, whole steps.
//!
//! `large_samplers [--threads N] [--only TEXT] [--json] [--full]` prints medians in milliseconds, in f32 but for the exact entropy; names and sizes
//! are those of the PyTorch and JAX peers where they have the job. `--only` keeps the jobs whose name or sizes contain the text.
//!
//! `jvp` and `vjp` are the products that entropies are made of here: those of a map with the Jacobian's singular values, whose last layer is folded
//! (its factorisation is the job `fold`, once a step); `jvp_unfolded` is J v itself. The exact entropy is timed on single blocks of unit vectors and
//! extrapolated to all; with `--full` it is computed whole.

use autograd::{DType, Machine, Plan, Request, Tape, Var};
use livi::config::Config;
use livi::data::{Dataset, Standardiser, Table, Training};
use livi::entropy::{
    DirectionPrograms, GramPrograms, Jacobian, JacobianPrograms, Method, Settings, estimates, record_surrogate,
};
use livi::model::Model;
use livi::sampler::{Sampler, initial_parameters, published};
use livi::spectral::{LinearMap, fill_gaussian};
use livi::train::Trainer;
use livi_benches::{Timing, time};
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::time::Instant;

const SIGMA: f64 = 1e-3;
/// Name, published name, latents.
const SAMPLERS: [(&str, &str, usize); 2] = [("lenet", "mnist-lenet", 10), ("wrn", "cifar10", 1)];
/// Name, preset, images, weight samples.
const STEPS: [(&str, &str, usize, usize); 2] = [("lenet", "mnist-lenet", 256, 10), ("wrn", "cifar10-wrn16-4", 32, 2)];
/// Names of steps, and the settings with which they look at the entropy; the last one is the presets' own.
const ENTROPIES: [(&str, &[&str]); 3] = [
    ("step_s_min", &["entropy.method=smallest", "entropy.latents=0", "entropy.steps=5"]),
    ("step_slq", &["entropy.method=slq", "entropy.latents=0", "entropy.probes=1", "entropy.steps=10"]),
    ("step_recommended", &[]),
];
/// Probes and steps of quadrature, and whether its gradient is timed too.
const QUADRATURES: [(usize, usize, bool); 2] = [(1, 10, true), (8, 30, false)];
/// Seconds for the repeats of one job.
const BUDGET: f64 = 4.0;
/// Seconds from which on a job is repeated three times only.
const SLOW: f64 = 0.5;

fn main() -> livi::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let value = |name: &str| arguments.iter().position(|a| a == name).and_then(|k| arguments.get(k + 1));
    let threads = value("--threads").and_then(|text| text.parse().ok()).unwrap_or(2);
    let flag = |name: &str| arguments.iter().any(|a| a == name);
    let out = Output { json: flag("--json"), only: value("--only").cloned(), threads };
    for (name, published, samples) in SAMPLERS {
        let bench = Bench::new(name, published, samples, threads)?;
        bench.products(&out)?;
        bench.smallest(&out)?;
        for (probes, steps, gradient) in QUADRATURES {
            bench.quadrature(&out, probes, steps, gradient)?;
        }
        bench.exact(&out, flag("--full"))?;
    }
    for (name, preset, images, samples) in STEPS {
        for (job, settings) in ENTROPIES {
            training_step(&out, job, name, preset, images, samples, settings)?;
        }
    }
    Ok(())
}

/// Training steps of a preset with other sizes and settings, on noise in the place of images.
fn training_step(
    out: &Output,
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
    if !out.wants(job, &sizes) {
        return Ok(());
    }
    let rows = 2 * images;
    let mut x = vec![0.0; rows * inputs];
    fill_gaussian(&mut StdRng::seed_from_u64(4), &mut x);
    let y = (0..rows).map(|row| (row % config.network.outputs) as f64).collect();
    let training = Table::new(x, y, rows, (0..inputs).map(|k| format!("x{k}")).collect(), vec!["class".into()])?;
    let standardiser = Standardiser::identity(inputs, 1);
    let dataset = Dataset {
        name: "noise".into(),
        training: Training::Table(training),
        validation: None,
        test: None,
        standardiser,
    };
    let mut trainer = Trainer::new(&config, &dataset, out.threads, None)?;
    let (flops, peak) = (trainer.step_flops(), trainer.peak_bytes());
    if !out.json {
        println!("{job:30} {sizes:40} plans announce {:.1} MB", peak as f64 / 1e6);
    }
    out.job(job, &sizes, flops, || trainer.advance().map(|_| ()))
}

/// How results are shown.
struct Output {
    json: bool,
    only: Option<String>,
    threads: usize,
}

impl Output {
    fn wants(&self, job: &str, sizes: &str) -> bool {
        self.only.as_ref().is_none_or(|text| job.contains(text.as_str()) || sizes.contains(text.as_str()))
    }

    /// Times a job, if it is wanted; `flops` are those of one run.
    fn job(&self, job: &str, sizes: &str, flops: f64, run: impl FnMut() -> livi::Result<()>) -> livi::Result<()> {
        if self.wants(job, sizes) {
            self.show(job, sizes, flops, measure(run)?);
        }
        Ok(())
    }

    fn show(&self, job: &str, sizes: &str, flops: f64, timing: Timing) {
        let Timing { median, least, repeats } = timing;
        let (rate, threads) = (flops / median / 1e6, self.threads);
        if self.json {
            let record = serde_json::json!({
                "job": job, "framework": "livi", "sizes": sizes, "median_ms": median, "min_ms": least, "reps": repeats,
                "threads": threads, "dtype": "f32", "gflops": rate,
            });
            println!("{record}");
        } else {
            println!(
                "{job:30} {sizes:40} median {median:10.2} ms  min {least:10.2}  n={repeats:<3} threads {threads}  {rate:6.1} GFLOP/s"
            );
        }
    }
}

/// Times repeats of a job, three of them where one takes so long that [`time`] would not end.
fn measure(mut run: impl FnMut() -> livi::Result<()>) -> livi::Result<Timing> {
    let mut once = || -> livi::Result<f64> {
        let begin = Instant::now();
        run()?;
        Ok(begin.elapsed().as_secs_f64() * 1e3)
    };
    if once()? < 1e3 * SLOW {
        return time(BUDGET, run);
    }
    let mut times = [once()?, once()?, once()?];
    times.sort_by(f64::total_cmp);
    Ok(Timing { median: times[1], least: times[0], repeats: times.len() })
}

/// A sampler with initial weights and latents.
struct Bench {
    sampler: Box<dyn Sampler>,
    weights: Vec<Vec<f64>>,
    latents: Vec<f64>,
    samples: usize,
    threads: usize,
    sizes: String,
}

/// Programs on a machine that holds the weights.
struct Loaded {
    machine: Machine,
    jacobian: Jacobian,
    /// Floating-point operations of one product, one transposed and one unfolded product of the whole block.
    flops: [f64; 3],
}

impl Bench {
    fn new(name: &str, published: &str, samples: usize, threads: usize) -> livi::Result<Self> {
        let sampler = published::by_name(published)?;
        let weights = initial_parameters(&*sampler, 0);
        let mut latents = vec![0.0; samples * sampler.latents()];
        fill_gaussian(&mut StdRng::seed_from_u64(1), &mut latents);
        let sizes = format!("{name} m={} d={} latents={samples}", sampler.outputs(), sampler.latents());
        Ok(Self { sampler, weights, latents, samples, threads, sizes })
    }

    fn declare(&self, tape: &mut Tape) -> Vec<Var> {
        self.sampler.parameters().iter().map(|p| tape.named_input(&p.name, &p.shape, DType::F32)).collect()
    }

    fn write(&self, machine: &mut Machine, parameters: &[Var]) -> livi::Result<()> {
        for (&parameter, values) in parameters.iter().zip(&self.weights) {
            match machine.write_f64(parameter, values) {
                // Biases that no plan reads.
                Err(autograd::Error::Unbound { .. }) => {}
                other => other?,
            }
        }
        Ok(())
    }

    fn load(&self, block: usize) -> livi::Result<Loaded> {
        let mut tape = Tape::new();
        let vars = self.declare(&mut tape);
        let programs =
            JacobianPrograms::record_samples(&mut tape, &*self.sampler, &vars, DType::F32, self.samples, block)?;
        // After the linearisation: folded, transposed, unfolded of one vector, then of a block.
        let all: Vec<f64> = programs.plans().map(Plan::flops).collect();
        let last = &all[all.len() - 3..];
        let flops = [last[0], last[1], last[2]];
        let mut machine = Machine::cpu(self.threads)?;
        let jacobian = programs.load(&mut machine)?;
        self.write(&mut machine, &vars)?;
        jacobian.fold(&mut machine)?;
        jacobian.linearise(&mut machine, &self.latents)?;
        Ok(Loaded { machine, jacobian, flops })
    }

    /// Forward pass, folding, and folded products of one and of eight vectors a latent.
    fn products(&self, out: &Output) -> livi::Result<()> {
        let sizes = &self.sizes;
        if out.wants("forward", sizes) {
            let mut tape = Tape::new();
            let vars = self.declare(&mut tape);
            let z = tape.named_input("z", &[self.samples, self.sampler.latents()], DType::F32);
            let theta = self.sampler.record(&mut tape, &vars, z)?.theta;
            let plan = Plan::new(&tape, &Request::outputs(&[theta]))?;
            let flops = plan.flops();
            let mut machine = Machine::cpu(self.threads)?;
            let plan = machine.load(plan)?;
            self.write(&mut machine, &vars)?;
            machine.write_f64(z, &self.latents)?;
            out.job("forward", sizes, flops, || Ok(machine.run(plan)?))?;
        }
        for block in [1, 8] {
            let of = |product: &str| if block == 1 { product.to_string() } else { format!("{product}_block{block}") };
            let names = [of("jvp"), of("vjp"), of("jvp_unfolded"), "fold".into()];
            if !names.iter().any(|job| out.wants(job, sizes)) {
                continue;
            }
            let Loaded { mut machine, jacobian, flops } = self.load(block)?;
            if block == 1 {
                out.job("fold", sizes, 0.0, || jacobian.fold(&mut machine))?;
            }
            let count = block * self.samples;
            let mut vectors = vec![0.0_f32; count * jacobian.cols()];
            let mut covectors = vec![0.0_f32; count * jacobian.rows()];
            fill_gaussian(&mut StdRng::seed_from_u64(2), &mut vectors);
            let mut map = jacobian.map::<f32>(&mut machine);
            out.job(&names[0], sizes, flops[0], || map.apply(count, &vectors, &mut covectors))?;
            out.job(&names[1], sizes, flops[1], || map.apply_transpose(count, &covectors, &mut vectors))?;
            if block == 1 {
                let mut images = vec![0.0; count * jacobian.outputs()];
                out.job(&names[2], sizes, flops[2], || map.unfolded(count, &vectors, &mut images))?;
            }
        }
        Ok(())
    }

    /// Five steps towards the smallest singular value.
    fn smallest(&self, out: &Output) -> livi::Result<()> {
        let settings = Settings { steps: 5, iterations: 0, directions: false, ..Settings::default() };
        self.values(out, "s_min_value", Method::Smallest, 1, &settings)?;
        self.gradient(out, "s_min_value_and_grad", Method::Smallest, 1, settings)
    }

    fn quadrature(&self, out: &Output, probes: usize, steps: usize, gradient: bool) -> livi::Result<()> {
        let settings = Settings { probes, steps, iterations: 0, directions: false, ..Settings::default() };
        self.values(out, &format!("slq_value_{probes}x{steps}"), Method::Slq, probes, &settings)?;
        if gradient {
            self.gradient(out, &format!("slq_grad_krylov_{probes}x{steps}"), Method::Slq, probes, settings)?;
        }
        Ok(())
    }

    fn values(&self, out: &Output, job: &str, method: Method, block: usize, settings: &Settings) -> livi::Result<()> {
        if !out.wants(job, &self.sizes) {
            return Ok(());
        }
        let Loaded { mut machine, jacobian, flops } = self.load(block)?;
        let work = settings.steps as f64 * (flops[0] + flops[1]);
        out.job(job, &self.sizes, work, || {
            jacobian.linearise(&mut machine, &self.latents)?;
            let mut map = jacobian.map::<f32>(&mut machine);
            estimates(method, &mut map, SIGMA, settings, &mut StdRng::seed_from_u64(3))?;
            Ok(())
        })
    }

    /// The value, and the gradient of all sampler weights by one reverse pass over the surrogate; folding included, as in training.
    fn gradient(
        &self,
        out: &Output,
        job: &str,
        method: Method,
        directions: usize,
        settings: Settings,
    ) -> livi::Result<()> {
        if !out.wants(job, &self.sizes) {
            return Ok(());
        }
        let settings = Settings { directions: true, ..settings };
        let (samples, d, m) = (self.samples, self.sampler.latents(), self.sampler.outputs());
        let mut tape = Tape::new();
        let vars = self.declare(&mut tape);
        let z = tape.named_input("z", &[samples, d], DType::F32);
        let u = tape.named_input("u", &[directions, samples, m], DType::F32);
        let v = tape.named_input("v", &[directions, samples, d], DType::F32);
        let recorded = self.sampler.record(&mut tape, &vars, z)?;
        let surrogate = record_surrogate(&mut tape, &recorded, u, v)?;
        let gradient = tape.grad(surrogate, &vars)?;
        let plan = Plan::new(&tape, &Request::outputs(&gradient))?;
        let flops = plan.flops();
        let mut machine = Machine::cpu(self.threads)?;
        let plan = machine.load(plan)?;
        let found = DirectionPrograms::record(&mut tape, &*self.sampler, &vars, method, settings, samples)?
            .load(&mut machine)?;
        self.write(&mut machine, &vars)?;
        machine.write_f64(z, &self.latents)?;
        out.job(job, &self.sizes, flops, || {
            let found = found.compute(&mut machine, &self.latents, SIGMA, 3)?;
            machine.write_f64(u, &found.u)?;
            machine.write_f64(v, &found.v)?;
            Ok(machine.run(plan)?)
        })
    }

    /// Blocks of unit vectors of the exact entropy at the first latent, and the whole time that they foretell.
    fn exact(&self, out: &Output, full: bool) -> livi::Result<()> {
        let (job, sizes) = ("exact f64, a block", &self.sizes);
        if !out.wants(job, sizes) {
            return Ok(());
        }
        let programs = GramPrograms::record(&*self.sampler, None)?;
        let (bytes, flops, block) = (programs.bytes(), programs.flops(), programs.block());
        let mut machine = programs.load(&self.weights, self.threads)?;
        let latent = &self.latents[..self.sampler.latents()];
        machine.linearise(latent)?;
        let timing = measure(|| machine.run_block(0))?;
        let blocks = machine.unit_vectors().div_ceil(block) as f64;
        out.show(job, sizes, flops / blocks, timing);
        let foretold = Timing { median: timing.median * blocks, least: timing.least * blocks, repeats: 0 };
        out.show(&format!("exact f64, all of {:.2} GB", bytes as f64 / 1e9), sizes, flops, foretold);
        if full {
            let begin = Instant::now();
            machine.compute(latent, &mut |_, _| ())?;
            let value = machine.gram().factor(SIGMA)?.half_log_det();
            let milliseconds = begin.elapsed().as_secs_f64() * 1e3;
            let timing = Timing { median: milliseconds, least: milliseconds, repeats: 1 };
            out.show(&format!("exact f64 = {value:.3}"), sizes, flops, timing);
        }
        Ok(())
    }
}
