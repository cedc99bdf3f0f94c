//! Products with the Jacobian of a sampler at one latent: programs that run again and again without new recording or memory.
//!
//! A sampler ends in linear layers, theta = L h(z) + b, so J = L D with D the Jacobian of the hidden units. With the thin QR factorisation L = Q R
//! the map J' = R D has the singular values and right singular vectors of J but left vectors of hidden size (for a matrix-multiplication layer, L =
//! W_r^T (x) W_l and R = R_r (x) R_l). All spectral work runs on J'; only gradients need J itself, in the program that computes them.

use super::folding::Factor;
use super::krylov::{Krylov, KrylovProcess};
use super::linearised::{Linearised, Planner, Product};
use crate::sampler::Sampler;
use crate::spectral::{GolubKahan, LinearMap, Real};
use crate::{Error, Result};
use autograd::{DType, Element, Machine, Plan, PlanId, Request, Tape, Var};
use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError};

/// The products for blocks of one size.
#[derive(Clone, Debug)]
struct Block<P> {
    size: usize,
    /// J' v.
    folded: Product<P>,
    /// J'^T u.
    transposed: Product<P>,
}

/// Everything but the plans.
#[derive(Clone, Debug)]
struct Shape {
    latents: Var,
    factors: Vec<Factor>,
    samples: usize,
    rows: usize,
    cols: usize,
}

/// The planned programs of a sampler's Jacobian at one latent, for blocks of vectors.
///
/// ```
/// use autograd::{DType, Machine, Tape};
/// use livi::activation::Activation;
/// use livi::entropy::JacobianPrograms;
/// use livi::sampler::{MlpSampler, Sampler};
/// use livi::spectral::LinearMap;
/// // An affine sampler from one latent to three weights: J is its matrix.
/// let sampler = MlpSampler::new(1, &[], 3, Activation::Elu)?;
/// let mut tape = Tape::new();
/// let weight = tape.input(&[3, 1], DType::F64);
/// let bias = tape.input(&[3], DType::F64);
/// let programs = JacobianPrograms::record(&mut tape, &sampler, &[weight, bias], DType::F64, 4)?;
/// let mut machine = Machine::cpu(1)?;
/// let jacobian = programs.load(&mut machine)?;
/// machine.write(weight, &[2.0, 3.0, 6.0])?;
/// jacobian.fold(&mut machine)?;
/// jacobian.linearise(&mut machine, &[0.5])?;
/// // Folded, it is a single number of the same singular value: |(2, 3, 6)| = 7.
/// let mut map = jacobian.map::<f64>(&mut machine);
/// let mut image = [0.0];
/// map.apply(1, &[1.0], &mut image)?;
/// assert!((image[0].abs() - 7.0).abs() < 1e-14);
/// # Ok::<(), livi::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct JacobianPrograms {
    shape: Shape,
    /// Holds the weights that are folded, and does nothing.
    folded: Plan,
    linearise: Option<Plan>,
    blocks: Vec<Block<Plan>>,
    krylov: Option<Krylov<Plan>>,
}

impl JacobianPrograms {
    /// Records and plans the programs for a latent of its own and blocks of `block` vectors (and of one), on a tape that may hold others: the
    /// parameters are shared with every plan on the same machine.
    ///
    /// # Errors
    /// [`Error::Argument`] for a block of 0; those of recording and planning.
    pub fn record(
        tape: &mut Tape,
        sampler: &dyn Sampler,
        parameters: &[Var],
        dtype: DType,
        block: usize,
    ) -> Result<Self> {
        Self::record_samples(tape, sampler, parameters, dtype, 1, block, None)
    }

    /// The same for several latents at once, with blocks of `block` vectors for each of them: one run multiplies them all. With a number of Krylov
    /// steps, `slq` of so many steps keeps its vectors where the plans run: right on a card, whose memory is not the program's own.
    ///
    /// # Errors
    /// [`Error::Argument`] for no latent or a block of 0; those of recording and planning.
    pub fn record_samples(
        tape: &mut Tape,
        sampler: &dyn Sampler,
        parameters: &[Var],
        dtype: DType,
        samples: usize,
        block: usize,
        krylov: Option<usize>,
    ) -> Result<Self> {
        for (name, count) in [("latents", samples), ("block", block)] {
            if count == 0 {
                return Err(Error::Argument { name: name.into(), problem: "is 0, expected at least 1".into() });
            }
        }
        let linearised = Linearised::record(tape, sampler, parameters, dtype, samples)?;
        let mut planner = Planner::new(tape);
        let mut blocks = Vec::new();
        for size in if block == 1 { vec![1] } else { vec![1, block] } {
            let vectors = linearised.vectors(planner.tape, size);
            let covectors = linearised.covectors(planner.tape, size);
            let image = linearised.apply(planner.tape, vectors)?;
            let back = linearised.apply_transpose(planner.tape, covectors)?;
            blocks.push(Block {
                size,
                folded: planner.product(vectors, image)?,
                transposed: planner.product(covectors, back)?,
            });
        }
        let krylov = krylov.map(|steps| Krylov::record(&mut planner, &linearised, block, steps)).transpose()?;
        let folded: Vec<Var> = linearised.factors.iter().map(Factor::parameter).collect();
        let folded = Plan::new(planner.tape, &Request { given: &folded, ..Request::outputs(&folded) })?;
        let linearise = planner.linearise()?;
        let Linearised { latents, factors, rows, cols, .. } = linearised;
        let shape = Shape { latents, factors, samples, rows, cols };
        Ok(Self { shape, folded, linearise, blocks, krylov })
    }

    /// Rows of the folded map J'.
    pub fn rows(&self) -> usize {
        self.shape.rows
    }

    /// All plans, for their memory.
    pub fn plans(&self) -> impl Iterator<Item = &Plan> {
        let products = self.blocks.iter().flat_map(|b| [&b.folded.plan, &b.transposed.plan]);
        let krylov = self.krylov.iter().flat_map(Krylov::plans);
        std::iter::once(&self.folded).chain(&self.linearise).chain(products).chain(krylov)
    }

    /// Loads the plans on a machine. The parameters must be written before [`Jacobian::fold`].
    ///
    /// # Errors
    /// Those of the machine.
    pub fn load(self, machine: &mut Machine) -> Result<Jacobian> {
        machine.load(self.folded)?;
        let linearise = self.linearise.map(|plan| machine.load(plan)).transpose()?;
        let mut blocks = Vec::with_capacity(self.blocks.len());
        for block in self.blocks {
            blocks.push(Block {
                size: block.size,
                folded: block.folded.load(machine)?,
                transposed: block.transposed.load(machine)?,
            });
        }
        let krylov = self.krylov.map(|krylov| krylov.load(machine)).transpose()?;
        Ok(Jacobian { shape: self.shape, linearise, blocks, krylov, process: Arc::default() })
    }
}

/// The programs of a sampler's Jacobian, loaded on a machine. All methods must be given that machine.
#[derive(Clone, Debug)]
pub struct Jacobian {
    shape: Shape,
    linearise: Option<PlanId>,
    blocks: Vec<Block<PlanId>>,
    krylov: Option<Krylov<PlanId>>,
    /// Memory of the last Golub-Kahan process on a processor, of either element type: training needs the same in every step.
    process: Arc<Mutex<Option<Box<dyn Any + Send>>>>,
}

impl Jacobian {
    /// Number of latents d.
    pub fn cols(&self) -> usize {
        self.shape.cols
    }

    /// Number of latents that are linearised at together.
    pub fn samples(&self) -> usize {
        self.shape.samples
    }

    /// Rows of the folded map J'.
    pub fn rows(&self) -> usize {
        self.shape.rows
    }

    /// The plans with what they compute, for measurement.
    pub fn loaded_plans(&self) -> Vec<(String, PlanId)> {
        let mut plans: Vec<(String, PlanId)> =
            self.linearise.iter().map(|&plan| ("linearisation of the sampler".to_string(), plan)).collect();
        let latents =
            if self.shape.samples == 1 { String::new() } else { format!(" x {} latents", self.shape.samples) };
        for Block { size, folded, transposed } in &self.blocks {
            for (what, product) in [("J' v", folded), ("J'^T u", transposed)] {
                plans.push((format!("{what}, {size} vectors{latents}"), product.plan));
            }
        }
        for (what, plan) in self.krylov.iter().flat_map(Krylov::loaded_plans) {
            plans.push((format!("{what}{latents}"), plan));
        }
        plans
    }

    /// Folds the last layers anew; needed whenever the parameters have changed.
    ///
    /// # Errors
    /// Those of the machine, for instance for a parameter without a value.
    pub fn fold(&self, machine: &mut Machine) -> Result<()> {
        self.shape.factors.iter().try_for_each(|factor| factor.refresh(machine))
    }

    /// Linearises the sampler at a latent (d numbers), or at all S of them (S x d), with the parameters' present values.
    ///
    /// # Errors
    /// [`Error::Argument`] for latents of a wrong length; those of the machine.
    pub fn linearise(&self, machine: &mut Machine, latents: &[f64]) -> Result<()> {
        let Shape { samples, cols, .. } = self.shape;
        if latents.len() != samples * cols {
            let expected = if samples == 1 { format!("{cols}") } else { format!("{samples} x {cols}") };
            let problem = format!("has {} numbers, expected {expected}", latents.len());
            return Err(Error::Argument { name: "latent".into(), problem });
        }
        // An affine sampler has the same Jacobian everywhere: no program reads the latent then.
        let Some(plan) = self.linearise else { return Ok(()) };
        machine.write_f64(self.shape.latents, latents)?;
        Ok(machine.run(plan)?)
    }

    /// The Jacobian at the latent last linearised at, as a linear map. T must be the element type of the programs.
    pub fn map<'a, T: Real + Element>(&'a self, machine: &'a mut Machine) -> JacobianMap<'a, T> {
        JacobianMap { jacobian: self, machine, padded: Vec::new(), products: 0, runs: 0 }
    }
}

/// The folded Jacobian J' at one latent, as a [`LinearMap`].
///
/// With several latents every vector belongs to one of them, and is multiplied by that latent's Jacobian: in a block of k S vectors, vector i to
/// latent i modulo S.
#[derive(Debug)]
pub struct JacobianMap<'a, T> {
    jacobian: &'a Jacobian,
    machine: &'a mut Machine,
    padded: Vec<T>,
    products: u64,
    runs: u64,
}

impl<T: Real + Element> JacobianMap<'_, T> {
    /// Number S of latents.
    pub fn samples(&self) -> usize {
        self.jacobian.shape.samples
    }

    /// Vectors that one run of a plan multiplies, for each latent.
    pub fn block(&self) -> usize {
        self.jacobian.blocks.last().map_or(1, |block| block.size)
    }

    /// Products with single vectors since the map was made, with J' and its transpose.
    pub fn products(&self) -> u64 {
        self.products
    }

    /// Runs of plans behind those products.
    pub fn runs(&self) -> u64 {
        self.runs
    }

    /// Krylov processes of up to `probes` start vectors for each latent, whose vectors stay with the machine; `None` where no such programs of so
    /// many steps were recorded.
    pub(super) fn krylov(&mut self, probes: usize, steps: usize) -> Result<Option<KrylovProcess<'_, T>>> {
        let Jacobian { shape, krylov, .. } = self.jacobian;
        match krylov {
            Some(krylov) if krylov.steps == steps.min(shape.rows).min(shape.cols) => {
                Ok(Some(KrylovProcess::new(self.jacobian, krylov, self.machine, probes)?))
            }
            _ => Ok(None),
        }
    }

    /// Memory for Golub-Kahan processes of so many start vectors and steps: that which was kept, if it is for the same.
    ///
    /// # Errors
    /// As [`GolubKahan::new`].
    pub(crate) fn process(&self, count: usize, steps: usize) -> Result<GolubKahan<T>> {
        let Shape { rows, cols, .. } = self.jacobian.shape;
        let kept = self.jacobian.process.lock().unwrap_or_else(PoisonError::into_inner).take();
        let kept = kept.and_then(|kept| kept.downcast::<GolubKahan<T>>().ok());
        // Memory of another size goes before new memory comes: there is never more than one process.
        match kept.filter(|process| process.is_for(rows, cols, count, steps)) {
            Some(process) => Ok(*process),
            None => GolubKahan::new(rows, cols, count, steps),
        }
    }

    /// Keeps the memory for the next process.
    pub(super) fn keep(&self, process: GolubKahan<T>) {
        *self.jacobian.process.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(process));
    }

    /// Counts products made for the map but not by it.
    pub(super) fn count(&mut self, products: usize) {
        self.products += products as u64;
    }

    fn multiply(
        &mut self,
        count: usize,
        vectors: &[T],
        width: usize,
        out: &mut [T],
        out_width: usize,
        product: impl Fn(&Block<PlanId>) -> &Product<PlanId>,
    ) -> Result<()> {
        for (name, length, width) in [("vectors", vectors.len(), width), ("out", out.len(), out_width)] {
            if count.checked_mul(width) != Some(length) {
                let problem = format!("has {length} numbers, expected {count} x {width}");
                return Err(Error::Argument { name: name.into(), problem });
            }
        }
        let samples = self.jacobian.shape.samples;
        if !count.is_multiple_of(samples) {
            let problem = format!("{count} vectors, expected a multiple of the {samples} latents");
            return Err(Error::Argument { name: "vectors".into(), problem });
        }
        let blocks = &self.jacobian.blocks;
        let mut done = 0;
        while done < count {
            let left = count - done;
            let block = &blocks[if left == samples { 0 } else { blocks.len() - 1 }];
            let size = block.size * samples;
            let taken = left.min(size);
            let Product { plan, input, output } = product(block);
            let given = &vectors[done * width..(done + taken) * width];
            if taken == size {
                self.machine.write(*input, given)?;
            } else {
                self.padded.clear();
                self.padded.extend_from_slice(given);
                self.padded.resize(size * width, T::from_f64(0.0));
                self.machine.write(*input, &self.padded)?;
            }
            self.machine.run(*plan)?;
            self.runs += 1;
            let found = self.machine.read::<T>(*output)?;
            out[done * out_width..(done + taken) * out_width].copy_from_slice(&found[..taken * out_width]);
            done += taken;
        }
        self.products += count as u64;
        Ok(())
    }
}

impl<T: Real + Element> LinearMap<T> for JacobianMap<'_, T> {
    fn rows(&self) -> usize {
        self.jacobian.shape.rows
    }

    fn cols(&self) -> usize {
        self.jacobian.shape.cols
    }

    fn apply(&mut self, count: usize, vectors: &[T], out: &mut [T]) -> Result<()> {
        let (rows, cols) = (self.rows(), self.cols());
        self.multiply(count, vectors, cols, out, rows, |block| &block.folded)
    }

    fn apply_transpose(&mut self, count: usize, vectors: &[T], out: &mut [T]) -> Result<()> {
        let (rows, cols) = (self.rows(), self.cols());
        self.multiply(count, vectors, rows, out, cols, |block| &block.transposed)
    }
}
