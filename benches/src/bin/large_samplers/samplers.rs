//! Samplers: forward pass, products with the Jacobian, bounds, quadrature.

use crate::{BUDGET, SIGMA, measure};
use autograd::{DType, Device, Machine, Plan, Request, Tape, Var};
use livi::entropy::{
    DirectionInputs, DirectionPrograms, Jacobian, JacobianPrograms, Method, Settings, estimates, record_surrogate,
};
use livi::sampler::{Sampler, initial_parameters, published};
use livi::spectral::{LinearMap, fill_gaussian};
use livi_benches::{Arguments, Fence, Figures, Gauge, with_scratch};
use rand::SeedableRng;
use rand::rngs::StdRng;

/// A sampler with initial weights and latents.
pub struct Bench {
    pub sampler: Box<dyn Sampler>,
    pub weights: Vec<Vec<f64>>,
    latents: Vec<f64>,
    samples: usize,
    device: Device,
    pub sizes: String,
}

/// Programs on a machine that holds the weights.
struct Loaded {
    machine: Machine,
    jacobian: Jacobian,
    /// Floating-point operations of one product and one transposed product of the whole block.
    flops: [f64; 2],
    /// Bytes that all plans announce.
    announced: usize,
}

impl Bench {
    pub fn new(name: &str, published: &str, samples: usize, device: Device) -> livi::Result<Self> {
        let sampler = published::by_name(published)?;
        let weights = initial_parameters(&*sampler, 0);
        let mut latents = vec![0.0; samples * sampler.latents()];
        fill_gaussian(&mut StdRng::seed_from_u64(1), &mut latents);
        let sizes = format!("{name} m={} d={} latents={samples}", sampler.outputs(), sampler.latents());
        Ok(Self { sampler, weights, latents, samples, device, sizes })
    }

    /// The first of the latents.
    pub fn first_latent(&self) -> &[f64] {
        &self.latents[..self.sampler.latents()]
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

    /// Products of blocks of vectors; with a number of steps, Krylov processes of as many vectors that stay on the card.
    fn load(&self, block: usize, krylov: Option<usize>) -> livi::Result<Loaded> {
        let mut tape = Tape::new();
        let vars = self.declare(&mut tape);
        let programs = JacobianPrograms::record_samples(
            &mut tape,
            &*self.sampler,
            &vars,
            DType::F32,
            self.samples,
            block,
            krylov,
        )?;
        // Folded and transposed of a block come last before the plans of Krylov processes, which are three.
        let all: Vec<f64> = programs.plans().map(Plan::flops).collect();
        let products = all.len() - if krylov.is_some() { 3 } else { 0 };
        let flops = [all[products - 2], all[products - 1]];
        let announced = Plan::peak_bytes_together(programs.plans());
        let mut machine = Machine::on(self.device)?;
        let jacobian = programs.load(&mut machine)?;
        self.write(&mut machine, &vars)?;
        jacobian.fold(&mut machine)?;
        jacobian.linearise(&mut machine, &self.latents)?;
        Ok(Loaded { machine, jacobian, flops, announced })
    }

    /// Forward pass, J v with the forward pass in it, folding, and folded products of one and of eight vectors a latent.
    pub fn products(&self, arguments: &Arguments, gauge: &mut Gauge) -> livi::Result<()> {
        let sizes = &self.sizes;
        for job in ["forward", "jvp_unfolded"] {
            if arguments.wants(job, sizes) {
                self.whole(arguments, gauge, job)?;
            }
        }
        for block in [1, 8] {
            let of = |product: &str| if block == 1 { product.to_string() } else { format!("{product}_block{block}") };
            let names = [of("jvp"), of("vjp")];
            if names.iter().any(|job| arguments.wants(job, sizes)) || (block == 1 && arguments.wants("fold", sizes)) {
                gauge.reset()?;
                self.block(arguments, gauge, block, &names)?;
            }
        }
        Ok(())
    }

    /// The sampler's output, or its tangent for one vector a latent.
    fn whole(&self, arguments: &Arguments, gauge: &mut Gauge, job: &str) -> livi::Result<()> {
        gauge.reset()?;
        let mut tape = Tape::new();
        let vars = self.declare(&mut tape);
        let shape = [self.samples, self.sampler.latents()];
        let z = tape.named_input("z", &shape, DType::F32);
        let mut output = self.sampler.record(&mut tape, &vars, z)?.theta;
        let mut inputs = vec![z];
        if job == "jvp_unfolded" {
            let tangent = tape.named_input("tangent", &shape, DType::F32);
            output = tape.jvp(&[output], &[(z, tangent)])?[0].unwrap_or_else(|| tape.zeros_like(output));
            inputs.push(tangent);
        }
        let plan = Plan::new(&tape, &Request::outputs(&[output]))?;
        let (flops, announced) = (plan.flops(), plan.peak_bytes());
        let mut machine = Machine::on(self.device)?;
        let plan = machine.load(plan)?;
        self.write(&mut machine, &vars)?;
        inputs.into_iter().try_for_each(|input| machine.write_f64(input, &self.latents))?;
        let figures = Figures::of_plan(BUDGET, &mut machine, plan, flops, announced, gauge)?;
        arguments.show(job, &self.sizes, &figures);
        Ok(())
    }

    /// Products of one block of vectors: folded and transposed.
    fn block(&self, arguments: &Arguments, gauge: &Gauge, block: usize, names: &[String]) -> livi::Result<()> {
        let sizes = &self.sizes;
        let Loaded { mut machine, jacobian, flops, announced } = self.load(block, None)?;
        if block == 1 && arguments.wants("fold", sizes) {
            let fence = Fence::new(&mut machine)?;
            let timing = measure(|| {
                jacobian.fold(&mut machine)?;
                Ok::<(), livi::Error>(fence.wait(&mut machine)?)
            })?;
            arguments.show("fold", sizes, &Figures::new(timing, 0.0));
        }
        let count = block * self.samples;
        let mut vectors = vec![0.0_f32; count * jacobian.cols()];
        let mut covectors = vec![0.0_f32; count * jacobian.rows()];
        fill_gaussian(&mut StdRng::seed_from_u64(2), &mut vectors);
        let plans = jacobian.loaded_plans();
        let plans = &plans[plans.len() - 2..];
        for (k, name) in names.iter().enumerate() {
            if !arguments.wants(name, sizes) {
                continue;
            }
            let mut product = |machine: &mut Machine| {
                let mut map = jacobian.map::<f32>(machine);
                match k {
                    0 => map.apply(count, &vectors, &mut covectors),
                    _ => map.apply_transpose(count, &covectors, &mut vectors),
                }
            };
            if arguments.on_card() {
                // The plan keeps the vectors.
                product(&mut machine)?;
                let figures = Figures::of_plan(BUDGET, &mut machine, plans[k].1, flops[k], announced, gauge)?;
                arguments.show(name, sizes, &figures);
                let timing = measure(|| product(&mut machine))?;
                arguments.show(&format!("{name}_carried"), sizes, &Figures::new(timing, flops[k]));
            } else {
                let timing = measure(|| product(&mut machine))?;
                arguments.show(name, sizes, &Figures::new(timing, flops[k]));
            }
        }
        Ok(())
    }

    /// Five steps towards the smallest singular value.
    pub fn smallest(&self, arguments: &Arguments, gauge: &mut Gauge) -> livi::Result<()> {
        let settings = Settings { steps: 5, iterations: 0, directions: false, ..Settings::default() };
        self.values(arguments, gauge, "s_min_value", Method::Smallest, 1, &settings)?;
        self.gradient(arguments, gauge, "s_min_value_and_grad", Method::Smallest, settings)
    }

    pub fn quadrature(
        &self,
        arguments: &Arguments,
        gauge: &mut Gauge,
        probes: usize,
        steps: usize,
        gradient: bool,
    ) -> livi::Result<()> {
        let settings = Settings { probes, steps, iterations: 0, directions: false, ..Settings::default() };
        self.values(arguments, gauge, &format!("slq_value_{probes}x{steps}"), Method::Slq, probes, &settings)?;
        if gradient {
            let job = format!("slq_grad_krylov_{probes}x{steps}");
            self.gradient(arguments, gauge, &job, Method::Slq, settings)?;
        }
        Ok(())
    }

    fn values(
        &self,
        arguments: &Arguments,
        gauge: &mut Gauge,
        job: &str,
        method: Method,
        block: usize,
        settings: &Settings,
    ) -> livi::Result<()> {
        if !arguments.wants(job, &self.sizes) {
            return Ok(());
        }
        gauge.reset()?;
        let krylov = (method == Method::Slq && arguments.on_card()).then_some(settings.steps);
        let Loaded { mut machine, jacobian, flops, announced } = self.load(block, krylov)?;
        let work = settings.steps as f64 * (flops[0] + flops[1]);
        let timing = measure(|| {
            jacobian.linearise(&mut machine, &self.latents)?;
            let mut map = jacobian.map::<f32>(&mut machine);
            estimates(method, &mut map, SIGMA, settings, &mut StdRng::seed_from_u64(3)).map(drop)
        })?;
        let announced = Some(with_scratch(&machine, announced));
        let figures = Figures { announced, taken: gauge.taken()?, ..Figures::new(timing, work) };
        arguments.show(job, &self.sizes, &figures);
        Ok(())
    }

    /// The value, and the gradient of all sampler weights by one reverse pass over the surrogate; folding included, as in training.
    fn gradient(
        &self,
        arguments: &Arguments,
        gauge: &mut Gauge,
        job: &str,
        method: Method,
        settings: Settings,
    ) -> livi::Result<()> {
        if !arguments.wants(job, &self.sizes) {
            return Ok(());
        }
        gauge.reset()?;
        let settings = Settings { directions: true, ..settings };
        let (samples, d) = (self.samples, self.sampler.latents());
        let mut tape = Tape::new();
        let vars = self.declare(&mut tape);
        let z = tape.named_input("z", &[samples, d], DType::F32);
        let inputs = DirectionInputs::record(&mut tape, method, &settings, samples, d, DType::F32);
        let recorded = self.sampler.record(&mut tape, &vars, z)?;
        let surrogate = record_surrogate(&mut tape, &recorded, inputs)?.value;
        let gradient = tape.grad(surrogate, &vars)?;
        let plan = Plan::new(&tape, &Request::outputs(&gradient))?;
        let sampler = &*self.sampler;
        let programs =
            DirectionPrograms::record(&mut tape, sampler, &vars, method, settings, samples, inputs, self.device)?;
        let (flops, announced) = (plan.flops(), Plan::peak_bytes_together(programs.plans().chain([&plan])));
        let mut machine = Machine::on(self.device)?;
        let plan = machine.load(plan)?;
        let directions = programs.load(&mut machine)?;
        let fence = Fence::new(&mut machine)?;
        self.write(&mut machine, &vars)?;
        machine.write_f64(z, &self.latents)?;
        let timing = measure(|| {
            directions.compute(&mut machine, &self.latents, SIGMA, 3)?;
            machine.run(plan)?;
            Ok::<(), livi::Error>(fence.wait(&mut machine)?)
        })?;
        let announced = Some(with_scratch(&machine, announced));
        let figures = Figures { announced, taken: gauge.taken()?, ..Figures::new(timing, flops) };
        arguments.show(job, &self.sizes, &figures);
        Ok(())
    }
}
