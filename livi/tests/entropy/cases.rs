//! Samplers of every kind, with their dense Jacobians as truth.

use autograd::{DType, Element, Machine, Plan, Request, Tape, Var};
use faer::{Mat, MatRef};
use livi::activation::Activation;
use livi::entropy::{JacobianMap, JacobianPrograms};
use livi::sampler::{CorrelatedSampler, Head, MatMulSampler, MlpSampler, Sampler, initial_parameters};
use livi::spectral::Real;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// A sampler with weights and a latent.
pub struct Case {
    pub name: &'static str,
    pub sampler: Box<dyn Sampler>,
    pub parameters: Vec<Vec<f64>>,
    pub latent: Vec<f64>,
}

impl Case {
    pub fn new(name: &'static str, sampler: impl Sampler + 'static, seed: u64) -> Self {
        let parameters = initial_parameters(&sampler, seed);
        let latent = uniform(sampler.latents(), seed + 100);
        Self { name, sampler: Box::new(sampler), parameters, latent }
    }

    pub fn d(&self) -> usize {
        self.sampler.latents()
    }

    pub fn m(&self) -> usize {
        self.sampler.outputs()
    }

    /// Weights and latent rounded to f32.
    pub fn rounded(&self) -> (Vec<Vec<f64>>, Vec<f64>) {
        let round = |values: &Vec<f64>| values.iter().map(|&x| f64::from(x as f32)).collect();
        (self.parameters.iter().map(round).collect(), round(&self.latent))
    }
}

/// Numbers uniform on (-1.5, 1.5).
pub fn uniform(count: usize, seed: u64) -> Vec<f64> {
    let mut generator = StdRng::seed_from_u64(seed);
    (0..count).map(|_| 3.0 * generator.random::<f64>() - 1.5).collect()
}

/// Small samplers: one latent, more latents than weights, last layers with fewer and with more outputs than inputs, affine, MM with and without
/// a remainder, correlated.
pub fn small() -> Vec<Case> {
    let mlp = |d, hidden: &[usize], m, activation| MlpSampler::new(d, hidden, m, activation).unwrap();
    vec![
        Case::new("mlp with one latent", mlp(1, &[4], 7, Activation::Tanh), 1),
        Case::new("mlp", mlp(6, &[9, 12], 40, Activation::Elu), 2),
        Case::new("mlp with more hidden units than weights", mlp(4, &[30], 11, Activation::Softplus), 3),
        Case::new("mlp with more latents than weights", mlp(9, &[10], 4, Activation::Elu), 4),
        Case::new("mlp with a bottleneck", mlp(8, &[3], 20, Activation::Tanh), 5),
        Case::new("affine", mlp(5, &[], 13, Activation::Elu), 6),
        Case::new("mm", MatMulSampler::sized([3, 4], [6, 5], 1, 77, Activation::Elu).unwrap(), 7),
        Case::new("mm with a small output", MatMulSampler::sized([2, 2], [6, 7], 1, 20, Activation::Tanh).unwrap(), 8),
        Case::new(
            "mm with more latents than weights",
            MatMulSampler::sized([4, 4], [5, 5], 0, 9, Activation::Elu).unwrap(),
            9,
        ),
        Case::new("correlated", correlated([3, 3], [10, 8], [7, 6], &[30, 12, 25]), 10),
        // Cut within the last row, at the end of a row, to less than a row, and within the last head.
        Case::new("mm cut to some rows and a part of one", cut(8, 9, 60), 30),
        Case::new("mm cut to whole rows", cut(8, 9, 54), 31),
        Case::new("mm cut to less than a row", cut(3, 30, 20), 32),
        Case::new("mm cut to fewer rows than hidden ones", cut(8, 4, 15), 36),
        Case::new("correlated cut", correlated_cut(), 34),
    ]
}

/// An MM sampler with an output matrix of which m numbers are kept.
fn cut(rows: usize, columns: usize, m: usize) -> MatMulSampler {
    MatMulSampler::new([3, 2], [5, 6], 0, &[[rows, columns]], Activation::Elu).unwrap().cut(m).unwrap()
}

fn correlated_cut() -> CorrelatedSampler {
    let head = |rows, hidden, outputs, hidden_layers| Head { input: [rows, 4], hidden, outputs, hidden_layers };
    let heads =
        [head(3, [4, 5], vec![[7, 8]], 0), head(4, [6, 3], vec![[5, 5], [1, 9]], 1), head(2, [5, 4], vec![[9, 10]], 2)];
    CorrelatedSampler::new([3, 3], &[[6, 5], [9, 4]], &heads, Activation::Tanh).unwrap().cut(56 + 34 + 77).unwrap()
}

/// Samplers with up to 400 latents.
pub fn large() -> Vec<Case> {
    vec![
        Case::new("mlp with 60 latents", MlpSampler::new(60, &[105], 105, Activation::Elu).unwrap(), 11),
        Case::new(
            "mm with 400 latents",
            MatMulSampler::sized([20, 20], [24, 24], 1, 1001, Activation::Elu).unwrap(),
            12,
        ),
        Case::new("correlated with 100 latents", correlated([10, 10], [30, 20], [16, 16], &[300, 200, 150]), 13),
        Case::new(
            "mlp with 200 latents and 90 weights",
            MlpSampler::new(200, &[210], 90, Activation::Tanh).unwrap(),
            14,
        ),
    ]
}

fn correlated(noise: [usize; 2], trunk: [usize; 2], hidden: [usize; 2], parts: &[usize]) -> CorrelatedSampler {
    CorrelatedSampler::sized(noise, &[trunk, trunk], hidden, 1, parts, Activation::Elu).unwrap()
}

/// A sampler recorded at a latent.
pub struct Recording {
    pub tape: Tape,
    pub parameters: Vec<Var>,
    pub recorded: livi::sampler::Recorded,
}

/// Records in f64 at one latent.
pub fn record(sampler: &dyn Sampler) -> Recording {
    record_in(DType::F64, sampler)
}

/// Records at one latent.
pub fn record_in(dtype: DType, sampler: &dyn Sampler) -> Recording {
    let mut tape = Tape::new();
    let parameters: Vec<Var> = sampler.parameters().iter().map(|p| tape.input(&p.shape, dtype)).collect();
    let latents = tape.input(&[1, sampler.latents()], dtype);
    let recorded = sampler.record(&mut tape, &parameters, latents).unwrap();
    Recording { tape, parameters, recorded }
}

/// Writes values where a plan reads them.
pub fn fill(machine: &mut Machine, vars: &[Var], values: &[Vec<f64>]) {
    for (&var, values) in vars.iter().zip(values) {
        match machine.write_f64(var, values) {
            Ok(()) | Err(autograd::Error::Unbound { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// Values of outputs at given weights and latent.
pub fn evaluate(recording: &Recording, outputs: &[Var], parameters: &[Vec<f64>], latent: &[f64]) -> Vec<Vec<f64>> {
    let plan = Plan::new(&recording.tape, &Request::outputs(outputs)).unwrap();
    let mut machine = Machine::cpu(1).unwrap();
    let plan = machine.load(plan).unwrap();
    fill(&mut machine, &recording.parameters, parameters);
    fill(&mut machine, &[recording.recorded.latents], &[latent.to_vec()]);
    machine.run(plan).unwrap();
    outputs.iter().map(|&y| machine.read_f64(y).unwrap()).collect()
}

/// The m x d Jacobian in f64, from the tape's own `jacobian`, without any folding.
pub fn dense_jacobian(sampler: &dyn Sampler, parameters: &[Vec<f64>], latent: &[f64]) -> Mat<f64> {
    let mut recording = record(sampler);
    let jacobian = recording.tape.jacobian(recording.recorded.theta, recording.recorded.latents).unwrap();
    let values = evaluate(&recording, &[jacobian], parameters, latent).remove(0);
    MatRef::from_row_major_slice(&values, sampler.outputs(), sampler.latents()).to_owned()
}

/// All d singular values, zero-padded, from the largest to the smallest.
pub fn singular_values(sampler: &dyn Sampler, parameters: &[Vec<f64>], latent: &[f64]) -> Vec<f64> {
    let mut values = dense_jacobian(sampler, parameters, latent).singular_values().unwrap();
    values.resize(sampler.latents(), 0.0);
    values
}

/// 1/2 sum log(s^2 + sigma^2).
pub fn half_log_det(singular_values: &[f64], sigma: f64) -> f64 {
    singular_values.iter().map(|s| 0.5 * (s * s + sigma * sigma).ln()).sum()
}

/// Runs `ask` on the sampler's Jacobian in the element type T.
pub fn with_map<T: Real + Element, A>(
    sampler: &dyn Sampler,
    parameters: &[Vec<f64>],
    latent: &[f64],
    block: usize,
    ask: impl FnOnce(&mut JacobianMap<'_, T>) -> A,
) -> A {
    with_maps(sampler, parameters, latent, 1, block, ask)
}

/// The same on the Jacobians at several latents.
pub fn with_maps<T: Real + Element, A>(
    sampler: &dyn Sampler,
    parameters: &[Vec<f64>],
    latent: &[f64],
    samples: usize,
    block: usize,
    ask: impl FnOnce(&mut JacobianMap<'_, T>) -> A,
) -> A {
    with_krylov(sampler, parameters, latent, samples, block, None, ask)
}

/// The same with programs for Krylov processes of so many steps, whose vectors stay with the machine.
pub fn with_krylov<T: Real + Element, A>(
    sampler: &dyn Sampler,
    parameters: &[Vec<f64>],
    latent: &[f64],
    samples: usize,
    block: usize,
    krylov: Option<usize>,
    ask: impl FnOnce(&mut JacobianMap<'_, T>) -> A,
) -> A {
    let mut tape = Tape::new();
    let vars: Vec<Var> = sampler.parameters().iter().map(|p| tape.input(&p.shape, T::DTYPE)).collect();
    let programs =
        JacobianPrograms::record_samples(&mut tape, sampler, &vars, T::DTYPE, samples, block, krylov).unwrap();
    let mut machine = Machine::cpu(1).unwrap();
    let jacobian = programs.load(&mut machine).unwrap();
    fill(&mut machine, &vars, parameters);
    jacobian.fold(&mut machine).unwrap();
    jacobian.linearise(&mut machine, latent).unwrap();
    ask(&mut jacobian.map(&mut machine))
}
