//! The exact entropy of samplers with thousands of latents: the smaller Gram matrix from blocks of products, in f64, and its Cholesky factor.
//!
//! Rows of G = J'^T J' come from one program, J'^T (J' e_k) for a block of unit vectors e_k: nothing larger than G itself is kept, and for a sampler
//! whose products are cheap for their size it is less work than multiplying out J'. Where it is not, and memory allows, J' is kept and multiplied
//! with itself. Either way the work is 2 d products (for a sampler with fewer rows than latents, G = J' J'^T).

use super::accumulation::{Accumulation, least_work};
use super::folding::Factor;
use super::linearised::{Linearised, Planner, Product};
use super::{GramMatrix, parameters};
use crate::sampler::Sampler;
use crate::{Error, Result};
use autograd::{DType, Machine, Plan, PlanId, Tape, Var};
use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::{Accum, MatRef, Par};

/// Vectors in one run of the program, if memory allows.
const BLOCK: usize = 32;

/// The program of a sampler's Gram matrix at one latent, planned, with the memory it will take.
///
/// ```
/// use livi::activation::Activation;
/// use livi::entropy::GramPrograms;
/// use livi::sampler::{MlpSampler, Sampler, initial_parameters};
/// // An affine sampler from one latent to three weights.
/// let sampler = MlpSampler::new(1, &[], 3, Activation::Elu)?;
/// let mut machine = GramPrograms::record(&sampler, None)?.load(&[vec![2.0, 3.0, 6.0], vec![0.0; 3]], 1)?;
/// machine.compute(&[0.5], &mut |_, _| ())?;
/// // J^T J = 4 + 9 + 36.
/// assert!((machine.gram().factor(1.0)?.half_log_det() - 0.5 * 50.0_f64.ln()).abs() < 1e-14);
/// # Ok::<(), livi::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct GramPrograms {
    parameters: Vec<Var>,
    latents: Var,
    factors: Vec<Factor>,
    linearise: Option<Plan>,
    product: Product<Plan>,
    accumulation: Accumulation,
    block: usize,
    rows: usize,
    cols: usize,
    bytes: usize,
}

impl GramPrograms {
    /// Records and plans the program that takes least work within `memory` bytes (as much as it takes without a limit).
    ///
    /// # Errors
    /// [`autograd::Error::Memory`] with the least that would do if even that is more than `memory`; those of recording and planning.
    pub fn record(sampler: &dyn Sampler, memory: Option<usize>) -> Result<Self> {
        let mut tape = Tape::new();
        let vars = parameters::declare(&mut tape, sampler, DType::F64);
        let linearised = Linearised::record(&mut tape, sampler, &vars, DType::F64, 1)?;
        let (rows, cols) = (linearised.rows, linearised.cols);
        let block = |accumulation: Accumulation| BLOCK.min(accumulation.unit_vectors(rows, cols));
        let cost = |programs: &Self| (programs.bytes, programs.flops());
        least_work(memory, block, cost, |accumulation, block| {
            Self::plan(&mut tape, &vars, &linearised, accumulation, block)
        })
    }

    fn plan(
        tape: &mut Tape,
        vars: &[Var],
        linearised: &Linearised,
        accumulation: Accumulation,
        block: usize,
    ) -> Result<Self> {
        let &Linearised { rows, cols, latents, .. } = linearised;
        let size = rows.min(cols);
        let length = accumulation.length(rows, cols);
        let input = tape.named_input("unit vectors", &[block, 1, length], DType::F64);
        let output = accumulation.apply(tape, linearised, input)?;
        let mut planner = Planner::new(tape);
        let product = planner.product(input, output)?;
        let linearise = planner.linearise()?;
        let stored = if accumulation == Accumulation::Stored { 8 * rows * cols } else { 0 };
        // The block of unit vectors is held once more outside of the machine.
        let vectors = 8 * block * length;
        let plans = Plan::peak_bytes_together(linearise.iter().chain([&product.plan]));
        let bytes = plans + GramMatrix::bytes(size) + stored + vectors;
        let (parameters, factors) = (vars.to_vec(), linearised.factors.clone());
        Ok(Self { parameters, latents, factors, linearise, product, accumulation, block, rows, cols, bytes })
    }

    /// Bytes that machine and matrix will take together.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Number of rows of the Gram matrix.
    pub fn size(&self) -> usize {
        self.rows.min(self.cols)
    }

    /// How the matrix will come about.
    pub fn accumulation(&self) -> Accumulation {
        self.accumulation
    }

    /// Vectors in one run of the program.
    pub fn block(&self) -> usize {
        self.block
    }

    /// Floating-point operations of the matrix and its factorisation.
    pub fn flops(&self) -> f64 {
        let n = self.size() as f64;
        let products = self.product.plan.flops()
            * self.accumulation.unit_vectors(self.rows, self.cols).div_ceil(self.block) as f64;
        let stored =
            if self.accumulation == Accumulation::Stored { n * n * self.rows.max(self.cols) as f64 } else { 0.0 };
        products + stored + n * n * n / 3.0
    }

    /// Takes the memory and writes the sampler's weights; products run on `threads` threads.
    ///
    /// # Errors
    /// Weights that do not fit the sampler; those of the machine.
    pub fn load(self, values: &[Vec<f64>], threads: usize) -> Result<GramMachine> {
        let mut machine = Machine::cpu(threads)?;
        let linearise = self.linearise.map(|plan| machine.load(plan)).transpose()?;
        let product = self.product.load(&mut machine)?;
        parameters::write(&mut machine, &self.parameters, values)?;
        self.factors.iter().try_for_each(|factor| factor.refresh_from(&mut machine, &self.parameters, values))?;
        let width = self.accumulation.length(self.rows, self.cols);
        let stored = if self.accumulation == Accumulation::Stored { self.rows * self.cols } else { 0 };
        Ok(GramMachine {
            machine,
            linearise,
            product,
            latents: self.latents,
            accumulation: self.accumulation,
            block: self.block,
            rows: self.rows,
            cols: self.cols,
            vectors: vec![0.0; self.block * width],
            stored: vec![0.0; stored],
            gram: GramMatrix::new(self.rows.min(self.cols), self.cols)?,
            products: 0,
        })
    }
}

/// The loaded program with its Gram matrix.
#[derive(Debug)]
pub struct GramMachine {
    machine: Machine,
    linearise: Option<PlanId>,
    product: Product<PlanId>,
    latents: Var,
    accumulation: Accumulation,
    block: usize,
    rows: usize,
    cols: usize,
    /// Unit vectors.
    vectors: Vec<f64>,
    /// J' by columns, where it is kept.
    stored: Vec<f64>,
    gram: GramMatrix,
    products: u64,
}

impl GramMachine {
    /// Computes the Gram matrix at a latent (d numbers). `progress` hears after every block how many unit vectors of how many are done.
    ///
    /// # Errors
    /// [`Error::Argument`] for a latent of a wrong length; those of the machine.
    pub fn compute(&mut self, latent: &[f64], progress: &mut dyn FnMut(usize, usize)) -> Result<()> {
        self.linearise(latent)?;
        let total = self.unit_vectors();
        for first in (0..total).step_by(self.block) {
            self.run_block(first)?;
            progress((first + self.block).min(total), total);
        }
        if !self.stored.is_empty() {
            let (matrix, accum, par) = (self.gram.lower_mut(), Accum::Replace, Par::rayon(0));
            let jacobian = MatRef::from_column_major_slice(&self.stored, self.rows, self.cols);
            let (left, right) = match self.rows < self.cols {
                true => (jacobian, jacobian.transpose()),
                false => (jacobian.transpose(), jacobian),
            };
            use BlockStructure::{Rectangular, TriangularLower};
            triangular::matmul(matrix, TriangularLower, accum, left, Rectangular, right, Rectangular, 1.0, par);
        }
        Ok(())
    }

    /// Linearises the sampler at a latent (d numbers).
    ///
    /// # Errors
    /// [`Error::Argument`] for a latent of a wrong length; those of the machine.
    pub fn linearise(&mut self, latent: &[f64]) -> Result<()> {
        if latent.len() != self.cols {
            let problem = format!("has {} numbers, expected {}", latent.len(), self.cols);
            return Err(Error::Argument { name: "latent".into(), problem });
        }
        let Some(plan) = self.linearise else { return Ok(()) };
        self.machine.write(self.latents, latent)?;
        Ok(self.machine.run(plan)?)
    }

    /// Multiplies one block of unit vectors, beginning with number `first`, at the latent last linearised at.
    ///
    /// # Errors
    /// [`Error::Argument`] for a vector that does not exist; those of the machine.
    pub fn run_block(&mut self, first: usize) -> Result<()> {
        let total = self.unit_vectors();
        if first >= total {
            let problem = format!("is {first}, expected less than {total}");
            return Err(Error::Argument { name: "first unit vector".into(), problem });
        }
        let (count, width) = (self.block.min(total - first), self.vectors.len() / self.block);
        self.vectors.fill(0.0);
        for k in 0..count {
            self.vectors[k * width + first + k] = 1.0;
        }
        self.machine.write(self.product.input, &self.vectors)?;
        self.machine.run(self.product.plan)?;
        let found = self.machine.read::<f64>(self.product.output)?;
        if self.stored.is_empty() {
            let rows = self.gram.rows_mut(first, count);
            rows.copy_from_slice(&found[..rows.len()]);
        } else {
            self.stored[first * self.rows..(first + count) * self.rows].copy_from_slice(&found[..count * self.rows]);
        }
        self.products += self.accumulation.products() * count as u64;
        Ok(())
    }

    /// Unit vectors to be multiplied for one matrix.
    pub fn unit_vectors(&self) -> usize {
        self.accumulation.unit_vectors(self.rows, self.cols)
    }

    /// Vectors in one run of the program.
    pub fn block(&self) -> usize {
        self.block
    }

    /// The matrix last computed.
    pub fn gram(&mut self) -> &mut GramMatrix {
        &mut self.gram
    }

    /// Products with single vectors made so far, with J' and its transpose.
    pub fn products(&self) -> u64 {
        self.products
    }
}
