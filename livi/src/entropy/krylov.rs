//! Golub-Kahan processes whose vectors stay with the machine that multiplies them: for a card, whose memory is its own.
//!
//! One step is one plan, which leaves its vectors where the next step finds them: the host starts it as often as there are steps and reads nothing
//! but, at the end, the coefficients. So that every step has the same shapes, right vectors are made orthogonal to room for all of them, in which
//! those to come are zeros; and a process at its end goes on with zeros.
//!
//! Norms and inner products are sums in the vectors' own element type, in f32 too: a plan adds in pairs or carries the rounding errors along, so that
//! a sum of many terms is off by a few units of roundoff of the sum of their magnitudes. A coefficient is off by as much, which is what rounding the
//! map's entries does to it; and of the two passes of orthogonalisation the second takes out what the first, rounded, has left, a part of order
//! roundoff of what was taken out.

use super::Jacobian;
use super::linearised::{Linearised, Planner};
use super::slq::squared_norm;
use crate::spectral::{Bidiagonalisation, Bidiagonals, NEGLIGIBLE, Products, Real};
use crate::{Error, Result};
use autograd::{DType, Element, Machine, Plan, PlanId, Tape, Var};

/// Where the processes of K start vectors at each of S latents have their memory.
#[derive(Clone, Copy, Debug)]
struct Memory {
    /// Right vectors of the step (K, S, d); at the beginning the start vectors, of length 1, or zeros where there are fewer.
    right: Var,
    /// All right vectors (steps + 1, K, S, d), zeros where there is none yet.
    basis: Var,
    /// Left vectors of the step before (K, S, rows).
    former_left: Var,
    /// Coefficients of the step before by which the right vectors were divided (K, S, 1).
    beta: Var,
    /// Largest norms of a column of the bidiagonal matrices so far (K, S, 1).
    largest: Var,
    /// Coefficients of all steps (steps, 2, K, S): alpha and beta.
    coefficients: Var,
}

/// The solutions of A w = v from the right vectors.
#[derive(Clone, Copy, Debug)]
struct Solve {
    /// Their coefficients on the right vectors (steps + 1, K, S, 1).
    coefficients: Var,
    /// Norms of the start vectors as they were given (K, S, 1).
    norms: Var,
    /// sigma^2, a scalar.
    shift: Var,
    /// w (K, S, d).
    solutions: Var,
    /// |A w - v| (K, S, 1).
    residuals: Var,
}

/// The programs.
#[derive(Clone, Debug)]
pub(super) struct Krylov<P> {
    /// Steps of a process.
    pub steps: usize,
    /// Start vectors for each latent.
    probes: usize,
    memory: Memory,
    /// Zeros but for the first right vectors.
    begin: P,
    step: P,
    /// Coefficients of the step (2, K, S).
    found: Var,
    solve: Solve,
    solving: P,
}

impl Krylov<Plan> {
    /// Records and plans processes of so many probes for each latent.
    ///
    /// # Errors
    /// Those of recording and planning.
    pub fn record(planner: &mut Planner<'_>, linearised: &Linearised, probes: usize, steps: usize) -> Result<Self> {
        let &Linearised { rows, cols, samples, dtype, .. } = linearised;
        let steps = steps.min(rows).min(cols);
        let t = &mut *planner.tape;
        let each = [probes, samples, 1];
        let memory = Memory {
            right: t.named_input("krylov.right", &[probes, samples, cols], dtype),
            basis: t.named_input("krylov.basis", &[steps + 1, probes, samples, cols], dtype),
            former_left: t.named_input("krylov.former_left", &[probes, samples, rows], dtype),
            beta: t.named_input("krylov.beta", &each, dtype),
            largest: t.named_input("krylov.largest", &each, dtype),
            coefficients: t.named_input("krylov.coefficients", &[steps, 2, probes, samples], dtype),
        };
        let begin = memory.begin(t)?;
        let begin = planner.plan(&[memory.right], &[], &begin)?;
        let (found, next) = memory.step(planner.tape, linearised)?;
        let Memory { right, basis, former_left, beta, largest, .. } = memory;
        let step = planner.plan(&[right, basis, former_left, beta, largest], &[found], &next)?;
        let solve = Solve::record(planner.tape, linearised, memory)?;
        let Solve { coefficients, norms, shift, solutions, residuals } = solve;
        let solving = planner.plan(&[basis, coefficients, norms, shift], &[solutions, residuals], &[])?;
        Ok(Self { steps, probes, memory, begin, step, found, solve, solving })
    }

    /// All plans, for their memory.
    pub fn plans(&self) -> impl Iterator<Item = &Plan> {
        [&self.begin, &self.step, &self.solving].into_iter()
    }

    /// Loads the plans on a machine.
    ///
    /// # Errors
    /// Those of the machine.
    pub fn load(self, machine: &mut Machine) -> Result<Krylov<PlanId>> {
        let Self { steps, probes, memory, begin, step, found, solve, solving } = self;
        let (begin, step, solving) = (machine.load(begin)?, machine.load(step)?, machine.load(solving)?);
        Ok(Krylov { steps, probes, memory, begin, step, found, solve, solving })
    }
}

impl Krylov<PlanId> {
    /// The plans with what they compute, for measurement.
    pub fn loaded_plans(&self) -> Vec<(String, PlanId)> {
        let Self { probes, begin, step, solving, .. } = self;
        let plans = [("room for Krylov spaces", begin), ("Krylov step", step), ("solutions in Krylov spaces", solving)];
        plans.map(|(what, &plan)| (format!("{what}, {probes} vectors"), plan)).into()
    }
}

impl Memory {
    /// What is there before the first step.
    fn begin(&self, t: &mut Tape) -> Result<Vec<(Var, Var)>> {
        let shape = t.shape(self.basis).to_vec();
        let first = t.reshape(self.right, &[1, shape[1], shape[2], shape[3]])?;
        let basis = t.pad(first, &[0; 4], &shape)?;
        let zeros = [self.former_left, self.beta, self.largest, self.coefficients].map(|var| (var, t.zeros_like(var)));
        Ok(std::iter::once((self.basis, basis)).chain(zeros).collect())
    }

    /// One step: its coefficients, and what is there after it.
    fn step(&self, t: &mut Tape, linearised: &Linearised) -> Result<(Var, Vec<(Var, Var)>)> {
        let unit = unit_roundoff(linearised.dtype);
        let image = linearised.apply(t, self.right)?;
        let known = t.mul(self.beta, self.former_left)?;
        let rest = t.sub(image, known)?;
        let alpha = Extension::record(t, rest, self.largest, unit)?;
        let column = hypotenuse(t, alpha.length, self.beta)?;
        let largest = t.maximum(self.largest, column)?;
        let back = linearised.apply_transpose(t, alpha.vector)?;
        let rest = orthogonalised(t, self.basis, back)?;
        let rest = orthogonalised(t, self.basis, rest)?;
        let beta = Extension::record(t, rest, largest, unit)?;
        let largest = t.maximum(largest, beta.length)?;
        let shape = [1, t.shape(beta.length)[0], t.shape(beta.length)[1]];
        let rows = [t.reshape(alpha.length, &shape)?, t.reshape(beta.length, &shape)?];
        let found = t.concat(&rows, 0)?;
        let next = vec![
            (self.right, beta.vector),
            (self.former_left, alpha.vector),
            (self.beta, beta.length),
            (self.largest, largest),
        ];
        Ok((found, next))
    }
}

/// A vector that a step adds, with the coefficient that it was divided by.
struct Extension {
    /// Zero where it is negligible; not a number where it is none.
    length: Var,
    /// Of length 1, or zeros.
    vector: Var,
}

impl Extension {
    /// From what is left of a product, rounding of which are lengths of a few units of roundoff of `largest`.
    fn record(t: &mut Tape, rest: Var, largest: Var, unit_roundoff: f64) -> Result<Self> {
        let length = norm(t, rest)?;
        let negligible = t.scale(largest, NEGLIGIBLE * unit_roundoff)?;
        let counts = t.greater(length, negligible)?;
        let one = t.constant(1.0, &[], t.dtype(length));
        let divisor = t.select(counts, length, one)?;
        let factor = t.div(counts, divisor)?;
        Ok(Self { length: t.mul(length, counts)?, vector: t.mul(rest, factor)? })
    }
}

impl Solve {
    fn record(t: &mut Tape, linearised: &Linearised, memory: Memory) -> Result<Self> {
        let dtype = linearised.dtype;
        let shape = t.shape(memory.basis).to_vec();
        let coefficients = t.named_input("krylov.solution", &[shape[0], shape[1], shape[2], 1], dtype);
        let norms = t.named_input("krylov.norms", &[shape[1], shape[2], 1], dtype);
        let shift = t.named_input("krylov.sigma^2", &[], dtype);
        let terms = t.mul(memory.basis, coefficients)?;
        let sum = t.sum(terms, &[0])?;
        let solutions = t.reshape(sum, &shape[1..])?;
        let image = linearised.apply(t, solutions)?;
        let back = linearised.apply_transpose(t, image)?;
        let shifted = t.mul(solutions, shift)?;
        let product = t.add(back, shifted)?;
        let first = t.narrow(memory.basis, 0, 0, 1)?;
        let first = t.reshape(first, &shape[1..])?;
        let starts = t.mul(first, norms)?;
        let remainder = t.sub(product, starts)?;
        Ok(Self { coefficients, norms, shift, solutions, residuals: norm(t, remainder)? })
    }
}

/// Euclidean norms along the last axis, which keeps length 1.
fn norm(t: &mut Tape, x: Var) -> Result<Var> {
    let square = t.square(x)?;
    let last = t.shape(x).len() - 1;
    let sum = t.sum(square, &[last])?;
    Ok(t.sqrt(sum)?)
}

/// sqrt(a^2 + b^2).
fn hypotenuse(t: &mut Tape, a: Var, b: Var) -> Result<Var> {
    let (a, b) = (t.square(a)?, t.square(b)?);
    let sum = t.add(a, b)?;
    Ok(t.sqrt(sum)?)
}

/// Vectors (K, S, d) less their components along the basis (J, K, S, d).
fn orthogonalised(t: &mut Tape, basis: Var, vectors: Var) -> Result<Var> {
    let shape = t.shape(vectors).to_vec();
    let products = t.mul(basis, vectors)?;
    let components = t.sum(products, &[3])?;
    let parts = t.mul(basis, components)?;
    let sum = t.sum(parts, &[0])?;
    let sum = t.reshape(sum, &shape)?;
    Ok(t.sub(vectors, sum)?)
}

fn unit_roundoff(dtype: DType) -> f64 {
    if dtype == DType::F32 { f32::UNIT_ROUNDOFF } else { f64::UNIT_ROUNDOFF }
}

/// The processes at the latents that a Jacobian was last linearised at.
#[derive(Debug)]
pub(super) struct KrylovProcess<'a, T> {
    krylov: &'a Krylov<PlanId>,
    machine: &'a mut Machine,
    /// Latents S.
    samples: usize,
    bidiagonals: Bidiagonals,
    /// Numbers that go to the machine.
    block: Vec<T>,
    products: Products,
}

impl<'a, T: Real + Element> KrylovProcess<'a, T> {
    /// Processes of up to `probes` start vectors for each latent.
    ///
    /// # Errors
    /// [`Error::Argument`] for no probe.
    pub fn new(
        jacobian: &Jacobian,
        krylov: &'a Krylov<PlanId>,
        machine: &'a mut Machine,
        probes: usize,
    ) -> Result<Self> {
        let (rows, cols, samples) = (jacobian.rows(), jacobian.cols(), jacobian.samples());
        let bidiagonals = Bidiagonals::new(rows, cols, probes.min(krylov.probes) * samples, krylov.steps)?;
        Ok(Self { krylov, machine, samples, bidiagonals, block: Vec::new(), products: Products::default() })
    }

    fn multiplied(&mut self, times: usize) {
        self.products.apply += times;
        self.products.apply_transpose += times;
    }
}

impl<T: Real + Element> Bidiagonalisation<T> for KrylovProcess<'_, T> {
    fn run(&mut self, count: usize, starts: &[T]) -> Result<()> {
        let Krylov { steps, probes, memory, begin, step, found, .. } = *self.krylov;
        let (all, cols) = (probes * self.samples, self.bidiagonals.cols());
        let norms: Vec<f64> = starts.chunks_exact(cols).map(|start| squared_norm(start).sqrt()).collect();
        self.block.clear();
        for (start, norm) in starts.chunks_exact(cols).zip(&norms) {
            self.block.extend(start.iter().map(|x| T::from_f64(x.to_f64() / norm)));
        }
        self.block.resize(all * cols, T::from_f64(0.0));
        self.machine.write(memory.right, &self.block)?;
        self.machine.run(begin)?;
        for k in 0..steps {
            self.machine.run(step)?;
            self.machine.copy(memory.right, 0, memory.basis, (k + 1) * all * cols, all * cols)?;
            self.machine.copy(found, 0, memory.coefficients, k * 2 * all, 2 * all)?;
        }
        self.multiplied(steps * count);
        let coefficients = self.machine.read_f64(memory.coefficients)?;
        self.bidiagonals.clear();
        for (index, &norm) in norms.iter().enumerate() {
            let own = (0..steps).map(|k| (coefficients[2 * k * all + index], coefficients[(2 * k + 1) * all + index]));
            self.bidiagonals.push(T::UNIT_ROUNDOFF, norm, own)?;
        }
        Ok(())
    }

    fn bidiagonals(&mut self) -> &mut Bidiagonals {
        &mut self.bidiagonals
    }

    fn combine(&mut self, sigma: f64, coefficients: &[Vec<f64>], _: &[T], out: &mut [T]) -> Result<Vec<f64>> {
        let Krylov { steps, probes, solve, solving, .. } = *self.krylov;
        let (all, count) = (probes * self.samples, coefficients.len());
        let (mut given, mut norms) = (vec![0.0; (steps + 1) * all], vec![0.0; all]);
        for (index, own) in coefficients.iter().enumerate() {
            own.iter().enumerate().for_each(|(k, &coefficient)| given[k * all + index] = coefficient);
            norms[index] = self.bidiagonals.start_norm(index);
        }
        self.machine.write_f64(solve.coefficients, &given)?;
        self.machine.write_f64(solve.norms, &norms)?;
        self.machine.write_scalar(solve.shift, sigma * sigma)?;
        self.machine.run(solving)?;
        self.multiplied(count);
        out.copy_from_slice(&self.machine.read::<T>(solve.solutions)?[..out.len()]);
        let lengths = self.machine.read_f64(solve.residuals)?;
        let residuals: Vec<f64> = lengths.iter().zip(&norms).take(count).map(|(length, norm)| length / norm).collect();
        match residuals.iter().all(|residual| residual.is_finite()) {
            true => Ok(residuals),
            false => {
                Err(Error::Numerical { method: "solve on a Krylov space", problem: "a product is not finite".into() })
            }
        }
    }

    fn products(&self) -> Products {
        self.products
    }
}

#[cfg(test)]
mod tests;
