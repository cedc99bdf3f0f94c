//! The exact entropy where the Gram matrix stays with the machine that computes it: for a card, whose memory is its own.
//!
//! As in [`GramPrograms`](super::GramPrograms), rows of G = J'^T J' come from products with blocks of unit vectors, or J' is kept and multiplied with
//! itself, whichever is less work and fits. But unit vectors are made by the program, rows are copied within the machine, and the log-determinant
//! is a plan too: of a matrix with 9,025 rows, four numbers come back.

use super::accumulation::{Accumulation, least_work};
use super::estimate::check_sigma;
use super::folding::Factor;
use super::linearised::{Linearised, Planner, Product};
use super::{GramFigures, parameters};
use crate::sampler::Sampler;
use crate::{Error, Result};
use autograd::{DType, Machine, Plan, PlanId, Request, Tape, Var};

/// Vectors in one run of the program, if memory allows: enough to fill a card.
const BLOCK: usize = 256;

/// The programs of a sampler's Gram matrix at one latent and of its log-determinant, planned.
///
/// ```
/// use livi::activation::Activation;
/// use livi::device::processor;
/// use livi::entropy::ResidentPrograms;
/// use livi::sampler::MlpSampler;
/// // An affine sampler from one latent to three weights.
/// let sampler = MlpSampler::new(1, &[], 3, Activation::Elu)?;
/// let machine = autograd::Machine::on(processor())?;
/// let mut gram = ResidentPrograms::record(&sampler, None)?.load(&[vec![2.0, 3.0, 6.0], vec![0.0; 3]], machine)?;
/// gram.compute(&[0.5], &mut |_, _| ())?;
/// // J^T J = 4 + 9 + 36.
/// assert!((gram.figures(1.0)?.half_log_det - 0.5 * 50.0_f64.ln()).abs() < 1e-14);
/// # Ok::<(), livi::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ResidentPrograms {
    parameters: Vec<Var>,
    latents: Var,
    factors: Vec<Factor>,
    linearise: Option<Plan>,
    /// From the numbers of unit vectors (block) to rows of G, or of J'^T where that is kept.
    product: Product<Plan>,
    /// J'^T (d, rows), where it is kept, and the plan from it to G.
    stored: Option<Product<Plan>>,
    /// G (n, n).
    gram: Var,
    sums: Sums<Plan>,
    log_det: LogDet<Plan>,
    block: usize,
    rows: usize,
    cols: usize,
    bytes: usize,
}

/// What tells whether G is finite, and what else its entries say.
#[derive(Clone, Debug)]
struct Sums<P> {
    plan: P,
    /// Scalars: trace, and the largest sum of magnitudes along a row.
    trace: Var,
    largest_row_sum: Var,
}

/// The log-determinant of G + sigma^2 I and the trace of its inverse.
#[derive(Clone, Debug)]
struct LogDet<P> {
    plan: P,
    /// sigma^2, a scalar.
    shift: Var,
    log_det: Var,
    inverse_trace: Var,
}

impl ResidentPrograms {
    /// Records and plans the programs that take least work within `memory` bytes (as much as they take without a limit).
    ///
    /// # Errors
    /// [`autograd::Error::Memory`] with the least that would do if even that is more than `memory`; those of recording and planning.
    pub fn record(sampler: &dyn Sampler, memory: Option<usize>) -> Result<Self> {
        let mut tape = Tape::new();
        let vars = parameters::declare(&mut tape, sampler, DType::F64);
        let linearised = Linearised::record(&mut tape, sampler, &vars, DType::F64, 1)?;
        let (rows, cols) = (linearised.rows, linearised.cols);
        let block = |accumulation: Accumulation| {
            // Blocks of one size, as nearly as can be: the last is done in full as well.
            let vectors = accumulation.unit_vectors(rows, cols);
            vectors.div_ceil(vectors.div_ceil(BLOCK))
        };
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
        let numbers = tape.named_input("unit vectors", &[block], DType::U32);
        let length = accumulation.length(rows, cols);
        let vectors = tape.one_hot(numbers, length, DType::F64)?;
        let vectors = tape.reshape(vectors, &[block, 1, length])?;
        let output = accumulation.apply(tape, linearised, vectors)?;
        let mut planner = Planner::new(tape);
        let product = planner.product(numbers, output)?;
        let linearise = planner.linearise()?;

        let (stored, gram) = match accumulation {
            Accumulation::Products => (None, tape.named_input("gram", &[size, size], DType::F64)),
            Accumulation::Stored => {
                let columns = tape.named_input("jacobian", &[cols, rows], DType::F64);
                let across = tape.transpose(columns)?;
                let (left, right) = if rows < cols { (across, columns) } else { (columns, across) };
                let gram = tape.matmul(left, right)?;
                let plan = Plan::new(tape, &Request::outputs(&[gram]))?;
                (Some(Product { plan, input: columns, output: gram }), gram)
            }
        };
        let sums = Sums::record(tape, gram)?;
        let log_det = LogDet::record(tape, gram)?;
        let all = linearise.iter().chain([&product.plan, &sums.plan, &log_det.plan]);
        let bytes = Plan::peak_bytes_together(all.chain(stored.iter().map(|stored| &stored.plan)));
        let (parameters, factors) = (vars.to_vec(), linearised.factors.clone());
        Ok(Self {
            parameters,
            latents,
            factors,
            linearise,
            product,
            stored,
            gram,
            sums,
            log_det,
            block,
            rows,
            cols,
            bytes,
        })
    }

    /// Bytes that the plans will take on their machine.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How the matrix will come about.
    pub fn accumulation(&self) -> Accumulation {
        if self.stored.is_some() { Accumulation::Stored } else { Accumulation::Products }
    }

    /// Vectors in one run of the program.
    pub fn block(&self) -> usize {
        self.block
    }

    /// Floating-point operations of the matrix and of what is made of it.
    pub fn flops(&self) -> f64 {
        let blocks = self.accumulation().unit_vectors(self.rows, self.cols).div_ceil(self.block);
        let stored = self.stored.as_ref().map_or(0.0, |stored| stored.plan.flops());
        blocks as f64 * self.product.plan.flops() + stored + self.sums.plan.flops() + self.log_det.plan.flops()
    }

    /// Takes the memory of a machine, whose only plans these are, and writes the sampler's weights.
    ///
    /// # Errors
    /// Weights that do not fit the sampler; those of the machine.
    pub fn load(self, values: &[Vec<f64>], mut machine: Machine) -> Result<ResidentGram> {
        let accumulation = self.accumulation();
        let linearise = self.linearise.map(|plan| machine.load(plan)).transpose()?;
        let product = self.product.load(&mut machine)?;
        let stored = self.stored.map(|stored| stored.load(&mut machine)).transpose()?;
        let Sums { plan, trace, largest_row_sum } = self.sums;
        let sums = Sums { plan: machine.load(plan)?, trace, largest_row_sum };
        let LogDet { plan, shift, log_det, inverse_trace } = self.log_det;
        let log_det = LogDet { plan: machine.load(plan)?, shift, log_det, inverse_trace };
        parameters::write(&mut machine, &self.parameters, values)?;
        self.factors.iter().try_for_each(|factor| factor.refresh_from(&mut machine, &self.parameters, values))?;
        Ok(ResidentGram {
            machine,
            linearise,
            product,
            stored,
            gram: self.gram,
            sums,
            log_det,
            latents: self.latents,
            accumulation,
            block: self.block,
            rows: self.rows,
            cols: self.cols,
            products: 0,
        })
    }
}

impl Sums<Plan> {
    fn record(tape: &mut Tape, gram: Var) -> Result<Self> {
        let diagonal = tape.diag(gram)?;
        let trace = tape.sum_all(diagonal)?;
        let magnitudes = tape.abs(gram)?;
        let rows = tape.sum(magnitudes, &[1])?;
        let largest_row_sum = tape.max(rows, &[0])?;
        let plan = planned(tape, gram, &[trace, largest_row_sum])?;
        Ok(Self { plan, trace, largest_row_sum })
    }
}

impl LogDet<Plan> {
    fn record(tape: &mut Tape, gram: Var) -> Result<Self> {
        let shift = tape.named_input("sigma^2", &[], DType::F64);
        let identity = tape.identity(tape.shape(gram)[0], DType::F64);
        let diagonal = tape.mul(identity, shift)?;
        let a = tape.add(gram, diagonal)?;
        let log_det = tape.log_det_spd(a)?;
        let inverse = tape.inverse_spd(a)?;
        let diagonal = tape.diag(inverse)?;
        let inverse_trace = tape.sum_all(diagonal)?;
        let plan = planned(tape, gram, &[log_det, inverse_trace])?;
        Ok(Self { plan, shift, log_det, inverse_trace })
    }
}

/// A plan that finds G where it lies.
fn planned(tape: &Tape, gram: Var, outputs: &[Var]) -> Result<Plan> {
    Ok(Plan::new(tape, &Request { given: &[gram], ..Request::outputs(outputs) })?)
}

/// The loaded programs with their Gram matrix.
#[derive(Debug)]
pub struct ResidentGram {
    machine: Machine,
    linearise: Option<PlanId>,
    product: Product<PlanId>,
    stored: Option<Product<PlanId>>,
    gram: Var,
    sums: Sums<PlanId>,
    log_det: LogDet<PlanId>,
    latents: Var,
    accumulation: Accumulation,
    block: usize,
    rows: usize,
    cols: usize,
    products: u64,
}

impl ResidentGram {
    /// Computes the Gram matrix at a latent (d numbers). `progress` hears after every block how many unit vectors of how many are done.
    ///
    /// # Errors
    /// [`Error::Argument`] for a latent of a wrong length; those of the machine.
    pub fn compute(&mut self, latent: &[f64], progress: &mut dyn FnMut(usize, usize)) -> Result<()> {
        if latent.len() != self.cols {
            let problem = format!("has {} numbers, expected {}", latent.len(), self.cols);
            return Err(Error::Argument { name: "latent".into(), problem });
        }
        if let Some(plan) = self.linearise {
            self.machine.write(self.latents, latent)?;
            self.machine.run(plan)?;
        }
        let total = self.accumulation.unit_vectors(self.rows, self.cols);
        // Numbers in one row of what the blocks add up to, and where it lies.
        let (width, target) = match &self.stored {
            Some(stored) => (self.rows, stored.input),
            None => (total, self.gram),
        };
        let mut numbers = vec![0_u32; self.block];
        for first in (0..total).step_by(self.block) {
            let count = self.block.min(total - first);
            // Beyond the last vector it is multiplied again.
            numbers.iter_mut().enumerate().for_each(|(k, number)| *number = (first + k).min(total - 1) as u32);
            self.machine.write(self.product.input, &numbers)?;
            self.machine.run(self.product.plan)?;
            self.machine.copy(self.product.output, 0, target, first * width, count * width)?;
            self.products += self.accumulation.products() * count as u64;
            progress(first + count, total);
        }
        match &self.stored {
            Some(stored) => Ok(self.machine.run(stored.plan)?),
            None => Ok(()),
        }
    }

    /// What the matrix last computed says; it is kept, for another sigma.
    ///
    /// # Errors
    /// [`Error::Argument`] for a sigma that is not positive and finite; [`Error::Numerical`] when the matrix is not finite or G + sigma^2 I is not
    /// positive definite to working precision; those of the machine, for instance before [`ResidentGram::compute`].
    pub fn figures(&mut self, sigma: f64) -> Result<GramFigures> {
        check_sigma(sigma)?;
        let machine = &mut self.machine;
        machine.run(self.sums.plan)?;
        let (trace, largest_row_sum) =
            (machine.read_scalar(self.sums.trace)?, machine.read_scalar(self.sums.largest_row_sum)?);
        let refuse = |problem: String| Err(Error::Numerical { method: "exact", problem });
        if !trace.is_finite() {
            return refuse("the Jacobian is not finite".into());
        }
        let square = sigma * sigma;
        machine.write_scalar(self.log_det.shift, square)?;
        match machine.run(self.log_det.plan) {
            Err(autograd::Error::NotPositiveDefinite { .. }) => return refuse(GramFigures::indefinite(square)),
            other => other?,
        }
        let excess = self.cols.saturating_sub(self.rows) as f64;
        Ok(GramFigures {
            half_log_det: 0.5 * machine.read_scalar(self.log_det.log_det)? + excess * sigma.ln(),
            inverse_trace: machine.read_scalar(self.log_det.inverse_trace)? + excess / square,
            frobenius_squared: trace,
            largest_row_sum,
        })
    }

    /// Products with single vectors made so far, with J' and its transpose.
    pub fn products(&self) -> u64 {
        self.products
    }
}
