//! Products with the Jacobian of a sampler at one latent: programs that run again and again without new recording or memory.
//!
//! A sampler ends in linear layers, theta = L h(z) + b, so J = L D with D the Jacobian of the hidden units. With the thin QR factorisation
//! L = Q R the map J' = R D has the singular values and right singular vectors of J but left vectors of hidden size (for a
//! matrix-multiplication layer, L = W_r^T (x) W_l and R = R_r (x) R_l). All spectral work runs on J'; only gradients need J itself.

use super::folding::{Factor, folded_product};
use super::residuals::residuals;
use crate::sampler::Sampler;
use crate::spectral::{LinearMap, Real};
use crate::{Error, Result};
use autograd::{DType, Element, Linear, Machine, Plan, PlanId, Request, Tape, Var};

/// One product: the plan with its input and output.
#[derive(Clone, Debug)]
struct Product<P> {
    plan: P,
    input: Var,
    output: Var,
}

/// The products for blocks of one size.
#[derive(Clone, Debug)]
struct Block<P> {
    size: usize,
    /// J' v.
    folded: Product<P>,
    /// J'^T u.
    transposed: Product<P>,
    /// J v.
    unfolded: Product<P>,
}

/// Everything but the plans.
#[derive(Clone, Debug)]
struct Shape {
    latent: Var,
    factors: Vec<Factor>,
    rows: usize,
    cols: usize,
    outputs: usize,
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
    linearise: Option<Plan>,
    blocks: Vec<Block<Plan>>,
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
        if block == 0 {
            return Err(Error::Argument { name: "block".into(), problem: "is 0, expected at least 1".into() });
        }
        let cols = sampler.latents();
        let latent = tape.named_input("latent", &[1, cols], dtype);
        let recorded = sampler.record(tape, parameters, latent)?;
        let mut outputs: Vec<Var> = recorded.pieces.iter().map(|piece| piece.hidden).collect();
        outputs.push(recorded.theta);
        let linear = tape.linearize(&outputs, &[latent])?;
        let tangent = linear.inputs[0];
        let mut tangents: Vec<Var> = Vec::with_capacity(outputs.len());
        for (&output, found) in outputs.iter().zip(&linear.outputs) {
            tangents.push(found.unwrap_or_else(|| tape.zeros_like(output)));
        }
        let mut factors = Vec::new();
        let mut parts = Vec::with_capacity(recorded.pieces.len());
        for (piece, &hidden) in recorded.pieces.iter().zip(&tangents) {
            let part = folded_product(tape, piece, hidden, &mut factors)?;
            parts.push(tape.reshape(part, &[1, tape.elements(part)])?);
        }
        let folded = tape.concat(&parts, 1)?;
        let unfolded = tangents[recorded.pieces.len()];
        let rows = tape.shape(folded)[1];
        let covector = tape.named_input("covector", &[1, rows], dtype);
        let back = Linear { inputs: vec![tangent], outputs: vec![Some(folded)] }.transpose(tape, &[covector])?;
        let back = back[0].unwrap_or_else(|| tape.zeros_like(tangent));

        let mut planner = Planner { tape, kept: Vec::new() };
        let mut blocks = Vec::new();
        for size in if block == 1 { vec![1] } else { vec![1, block] } {
            let vectors = planner.tape.named_input("vectors", &[size, 1, cols], dtype);
            let covectors = planner.tape.named_input("covectors", &[size, 1, rows], dtype);
            let images = planner.tape.batch(&[folded, unfolded], &[(tangent, vectors)])?;
            let backs = planner.tape.batch(&[back], &[(covector, covectors)])?;
            blocks.push(Block {
                size,
                folded: planner.product(vectors, images[0])?,
                transposed: planner.product(covectors, backs[0])?,
                unfolded: planner.product(vectors, images[1])?,
            });
        }
        let mut kept = planner.kept;
        kept.sort();
        kept.dedup();
        let linearise = match kept.is_empty() {
            true => None,
            false => Some(Plan::new(tape, &Request::outputs(&kept))?),
        };
        let shape = Shape { latent, factors, rows, cols, outputs: sampler.outputs() };
        Ok(Self { shape, linearise, blocks })
    }

    /// All plans, for their memory.
    pub fn plans(&self) -> impl Iterator<Item = &Plan> {
        let products = self.blocks.iter().flat_map(|b| [&b.folded.plan, &b.transposed.plan, &b.unfolded.plan]);
        self.linearise.iter().chain(products)
    }

    /// Loads the plans on a machine. The parameters must be written before [`Jacobian::fold`].
    ///
    /// # Errors
    /// Those of the machine.
    pub fn load(self, machine: &mut Machine) -> Result<Jacobian> {
        let linearise = self.linearise.map(|plan| machine.load(plan)).transpose()?;
        let mut load = |product: Product<Plan>| -> Result<Product<PlanId>> {
            Ok(Product { plan: machine.load(product.plan)?, input: product.input, output: product.output })
        };
        let mut blocks = Vec::with_capacity(self.blocks.len());
        for block in self.blocks {
            blocks.push(Block {
                size: block.size,
                folded: load(block.folded)?,
                transposed: load(block.transposed)?,
                unfolded: load(block.unfolded)?,
            });
        }
        Ok(Jacobian { shape: self.shape, linearise, blocks })
    }
}

/// Plans products and gathers the residuals they need.
struct Planner<'a> {
    tape: &'a mut Tape,
    kept: Vec<Var>,
}

impl Planner<'_> {
    fn product(&mut self, input: Var, output: Var) -> Result<Product<Plan>> {
        let given = residuals(self.tape, &[input], &[output]);
        let outputs = [output];
        let request = Request { given: &given, ..Request::outputs(&outputs) };
        let plan = Plan::new(self.tape, &request)?;
        self.kept.extend(given);
        Ok(Product { plan, input, output })
    }
}

/// The programs of a sampler's Jacobian, loaded on a machine. All methods must be given that machine.
#[derive(Clone, Debug)]
pub struct Jacobian {
    shape: Shape,
    linearise: Option<PlanId>,
    blocks: Vec<Block<PlanId>>,
}

impl Jacobian {
    /// Number of latents d.
    pub fn cols(&self) -> usize {
        self.shape.cols
    }

    /// Number of weights m.
    pub fn outputs(&self) -> usize {
        self.shape.outputs
    }

    /// Rows of the folded map J'.
    pub fn rows(&self) -> usize {
        self.shape.rows
    }

    /// Folds the last layers anew; needed whenever the parameters have changed.
    ///
    /// # Errors
    /// Those of the machine, for instance for a parameter without a value.
    pub fn fold(&self, machine: &mut Machine) -> Result<()> {
        self.shape.factors.iter().try_for_each(|factor| factor.refresh(machine))
    }

    /// Linearises the sampler at a latent (d numbers), with the parameters' present values.
    ///
    /// # Errors
    /// [`Error::Argument`] for a latent of a wrong length; those of the machine.
    pub fn linearise(&self, machine: &mut Machine, latent: &[f64]) -> Result<()> {
        let cols = self.shape.cols;
        if latent.len() != cols {
            let problem = format!("has {} numbers, expected {cols}", latent.len());
            return Err(Error::Argument { name: "latent".into(), problem });
        }
        // An affine sampler has the same Jacobian everywhere: no program reads the latent then.
        let Some(plan) = self.linearise else { return Ok(()) };
        machine.write_f64(self.shape.latent, latent)?;
        Ok(machine.run(plan)?)
    }

    /// The Jacobian at the latent last linearised at, as a linear map. T must be the element type of the programs.
    pub fn map<'a, T: Real + Element>(&'a self, machine: &'a mut Machine) -> JacobianMap<'a, T> {
        JacobianMap { jacobian: self, machine, padded: Vec::new(), products: 0 }
    }
}

/// The Jacobian at one latent: as a [`LinearMap`] it is the folded J', and [`JacobianMap::unfolded`] is J itself.
#[derive(Debug)]
pub struct JacobianMap<'a, T> {
    jacobian: &'a Jacobian,
    machine: &'a mut Machine,
    padded: Vec<T>,
    products: u64,
}

impl<T: Real + Element> JacobianMap<'_, T> {
    /// Number of weights m: the rows of J itself.
    pub fn outputs(&self) -> usize {
        self.jacobian.shape.outputs
    }

    /// Vectors that one run of a plan multiplies.
    pub fn block(&self) -> usize {
        self.jacobian.blocks.last().map_or(1, |block| block.size)
    }

    /// Products with single vectors since the map was made, folded, transposed and unfolded.
    pub fn products(&self) -> u64 {
        self.products
    }

    /// `out = J v` with J itself: `vectors` is `count x d`, `out` is `count x m`.
    ///
    /// # Errors
    /// As [`LinearMap::apply`].
    pub fn unfolded(&mut self, count: usize, vectors: &[T], out: &mut [T]) -> Result<()> {
        let (cols, outputs) = (self.jacobian.shape.cols, self.jacobian.shape.outputs);
        self.multiply(count, vectors, cols, out, outputs, |block| &block.unfolded)
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
        let blocks = &self.jacobian.blocks;
        let mut done = 0;
        while done < count {
            let left = count - done;
            let block = &blocks[if left == 1 { 0 } else { blocks.len() - 1 }];
            let taken = left.min(block.size);
            let Product { plan, input, output } = product(block);
            let given = &vectors[done * width..(done + taken) * width];
            if taken == block.size {
                self.machine.write(*input, given)?;
            } else {
                self.padded.clear();
                self.padded.extend_from_slice(given);
                self.padded.resize(block.size * width, T::from_f64(0.0));
                self.machine.write(*input, &self.padded)?;
            }
            self.machine.run(*plan)?;
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
