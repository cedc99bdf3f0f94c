//! Golub-Kahan bidiagonalisation with full reorthogonalisation of the right vectors.

use rayon::prelude::*;

use super::arguments::{expect_block, expect_positive, refuse};
use super::bidiagonal::Bidiagonal;
use super::kernels::{
    add_scaled, combine, norm, orthogonalise, orthogonalise_scratch, scale, scale_into, subtract_and_norm,
};
use super::{Bidiagonalisation, Bidiagonals, Counted, LinearMap, Products, Real};
use crate::Result;

/// Numbers of a basis under which one thread is faster than several.
const PARALLEL_THRESHOLD: usize = 1 << 16;

/// The right vectors of one start vector.
#[derive(Debug)]
struct Basis<T> {
    right: Vec<T>,
    scratch: Vec<f64>,
}

/// Golub-Kahan bidiagonalisation of a linear map from several start vectors in lockstep, with its memory.
///
/// From a unit vector `v_1` the process builds, with products by J and its transpose only, orthonormal vectors `v_j` in
/// R^d, `u_j` in R^m and an upper bidiagonal B with diagonal `alpha`, superdiagonal `beta`, such that after k steps
///
/// ```text
/// J V_k = U_k B_k,        J^T U_k = V_k B_k^T + beta_k v_{k+1} e_k^T
/// ```
///
/// (Golub and Kahan 1965, "Calculating the singular values and pseudo-inverse of a matrix"). `B_k^T B_k` is what the
/// Lanczos process would find for `J^T J`, but J is never squared: in f32 the squared form loses singular values under
/// about 3e-4 of the largest, this one keeps them down to rounding. Each new right vector is made orthogonal to all
/// former ones twice. Left vectors are not, and none but the last is kept: B is that of a map within rounding of J
/// whatever becomes of their orthogonality (Barlow 2013, "Reorthogonalization for the Golub-Kahan-Lanczos bidiagonal
/// reduction"), and of the two sides of a sampler's Jacobian the left one is by far the longer.
///
/// Row i of every block given to the map belongs to start vector i during the whole run, so a map may well apply
/// another J to each row (a batch of latents). A start vector whose Krylov space is exhausted stops by itself; its rows
/// are zeros from then on.
///
/// Memory: `count * (2 m + (steps + 2) d)` numbers, taken by [`GolubKahan::new`]; a run takes none.
///
/// ```
/// use livi::spectral::{DenseMap, GolubKahan};
/// let mut map = DenseMap::new(2, 2, vec![3.0_f64, 0.0, 0.0, 4.0])?;
/// let mut process = GolubKahan::new(2, 2, 1, 2)?;
/// process.run(&mut map, 1, &[1.0, 1.0])?;
/// // Two steps are all there is in two dimensions: the rule holds both singular values.
/// let rule = process.bidiagonals_mut().gauss(0, 2)?;
/// assert!((rule.nodes[0] - 4.0).abs() < 1e-14 && (rule.nodes[1] - 3.0).abs() < 1e-14);
/// assert!(process.bidiagonals().is_invariant(0));
/// # Ok::<(), livi::Error>(())
/// ```
#[derive(Debug)]
pub struct GolubKahan<T> {
    rows: usize,
    cols: usize,
    steps: usize,
    bidiagonals: Bidiagonals,
    bases: Vec<Basis<T>>,
    right_block: Vec<T>,
    /// Images of the right block, which become its left vectors.
    left_block: Vec<T>,
    /// Left vectors of the step before.
    former_left: Vec<T>,
    products: Products,
}

impl<T: Real> GolubKahan<T> {
    /// Memory for up to `count` start vectors and `steps` steps (more than `min(rows, cols)` are never needed nor
    /// made).
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) for a size of zero or a memory need beyond the address space.
    pub fn new(rows: usize, cols: usize, count: usize, steps: usize) -> Result<Self> {
        let rights = steps.min(rows).saturating_add(1).min(cols);
        let numbers =
            rows.checked_mul(2).zip(rights.saturating_add(1).checked_mul(cols)).and_then(|(l, r)| l.checked_add(r));
        if numbers.and_then(|numbers| numbers.checked_mul(count)).is_none_or(|all| all > isize::MAX as usize / 8) {
            return refuse("steps", format!("{steps} steps of {count} vectors exceed the address space"));
        }
        let (zero, bidiagonals) = (T::from_f64(0.0), Bidiagonals::new(rows, cols, count, steps)?);
        let basis = || Basis { right: vec![zero; rights * cols], scratch: vec![0.0; orthogonalise_scratch(rights)] };
        Ok(Self {
            rows,
            cols,
            steps,
            bidiagonals,
            bases: (0..count).map(|_| basis()).collect(),
            right_block: vec![zero; count * cols],
            left_block: vec![zero; count * rows],
            former_left: vec![zero; count * rows],
            products: Products::default(),
        })
    }

    /// Bidiagonalises `map` from each row of `starts` (`count x d`, any length but zero), forgetting any former run.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) when sizes differ from those of the memory, `count` is zero or above
    /// its capacity, or a start vector is zero or not finite; [`Error::Numerical`](crate::Error::Numerical) when a
    /// product is not finite; what the map answers.
    pub fn run<M: LinearMap<T> + ?Sized>(&mut self, map: &mut M, count: usize, starts: &[T]) -> Result<()> {
        let mut map = Counted::new(map)?;
        if (map.rows(), map.cols()) != (self.rows, self.cols) {
            let problem =
                format!("is {} x {}, the memory is for {} x {}", map.rows(), map.cols(), self.rows, self.cols);
            return refuse("linear map", problem);
        }
        expect_positive("count", count)?;
        if count > self.bases.len() {
            return refuse("count", format!("is {count}, the memory is for at most {}", self.bases.len()));
        }
        expect_block("start vectors", starts, count, self.cols)?;
        self.bidiagonals.clear();
        for (basis, start) in self.bases.iter_mut().zip(starts.chunks_exact(self.cols)) {
            let length = norm(start);
            self.bidiagonals.begin(length)?;
            scale_into(1.0 / length, start, &mut basis.right[..start.len()]);
        }
        let (rows, cols) = (self.rows, self.cols);
        let bases = &mut self.bases[..count];
        for step in 0..self.bidiagonals.steps() {
            let processes = self.bidiagonals.running();
            if !processes.iter().any(Bidiagonal::is_running) {
                break;
            }
            let right_block = &mut self.right_block[..count * cols];
            let left_block = &mut self.left_block[..count * rows];
            let parallel = count > 1 && (step + 1) * (rows + cols) * count >= PARALLEL_THRESHOLD;
            let rows_of_block = right_block.chunks_exact_mut(cols).zip(bases.iter());
            for ((row, basis), process) in rows_of_block.zip(processes.iter()) {
                match process.is_running() {
                    true => row.copy_from_slice(&basis.right[step * cols..(step + 1) * cols]),
                    false => row.fill(T::from_f64(0.0)),
                }
            }
            map.apply(count, right_block, left_block)?;
            let former = &self.former_left;
            for_each_running(parallel, processes, bases, left_block, rows, |index, process, _, image| {
                extend_left(process, &former[index * rows..(index + 1) * rows], image);
            });
            map.apply_transpose(count, left_block, right_block)?;
            for_each_running(parallel, processes, bases, right_block, cols, |_, process, basis, image| {
                extend_right(process, basis, step, image);
            });
            std::mem::swap(&mut self.left_block, &mut self.former_left);
        }
        self.bidiagonals.finish();
        self.products = map.products();
        Ok(())
    }

    /// The process on one map, for what takes it wherever its vectors lie.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) when the map has no rows or no columns.
    pub fn on<'a, M: LinearMap<T> + ?Sized>(&'a mut self, map: &'a mut M) -> Result<ProcessOn<'a, T, M>> {
        Ok(ProcessOn { process: self, map: Counted::new(map)? })
    }

    /// Whether the memory is that for such maps, start vectors and steps.
    pub(crate) fn is_for(&self, rows: usize, cols: usize, count: usize, steps: usize) -> bool {
        (self.rows, self.cols, self.bases.len(), self.steps) == (rows, cols, count, steps)
    }

    /// Memory for the images of so many vectors and for what the transpose makes of them, which is free between runs.
    pub(super) fn blocks(&mut self, count: usize) -> (&mut [T], &mut [T]) {
        (&mut self.left_block[..count * self.rows], &mut self.right_block[..count * self.cols])
    }

    /// The bidiagonal matrices of the last run.
    pub fn bidiagonals(&self) -> &Bidiagonals {
        &self.bidiagonals
    }

    /// The same, for decompositions in their memory.
    pub fn bidiagonals_mut(&mut self) -> &mut Bidiagonals {
        &mut self.bidiagonals
    }

    /// Products of the last run.
    pub fn products(&self) -> Products {
        self.products
    }

    /// Orthonormal right vectors, [`Bidiagonals::right_vectors`] x d.
    pub fn right(&self, probe: usize) -> &[T] {
        &self.bases[probe].right[..self.bidiagonals.right_vectors(probe) * self.cols]
    }

    /// Writes the right vector in R^d of singular value number `index` of B into `out`.
    pub(super) fn ritz_vector(&mut self, probe: usize, index: usize, out: &mut [T]) -> Result<()> {
        let coefficients = self.bidiagonals.ritz_coefficients(probe, index)?;
        self.combine(probe, &coefficients, out);
        Ok(())
    }

    /// Writes the right vector in R^d of the largest or smallest singular value of B into `out`.
    pub(super) fn extreme_right_vector(&mut self, probe: usize, largest: bool, out: &mut [T]) -> Result<()> {
        let index = if largest { 0 } else { self.bidiagonals.size(probe) - 1 };
        self.ritz_vector(probe, index, out)
    }

    /// Writes the sum of the first right vectors times coefficients into `out`.
    pub(super) fn combine(&self, probe: usize, coefficients: &[f64], out: &mut [T]) {
        combine(&self.bases[probe].right, coefficients, out);
    }
}

/// A [`GolubKahan`] process with the map that it runs on.
#[derive(Debug)]
pub struct ProcessOn<'a, T, M: ?Sized> {
    process: &'a mut GolubKahan<T>,
    map: Counted<&'a mut M>,
}

impl<T: Real, M: LinearMap<T> + ?Sized> Bidiagonalisation<T> for ProcessOn<'_, T, M> {
    fn run(&mut self, count: usize, starts: &[T]) -> Result<()> {
        self.process.run(&mut self.map, count, starts)
    }

    fn bidiagonals(&mut self) -> &mut Bidiagonals {
        &mut self.process.bidiagonals
    }

    fn combine(&mut self, sigma: f64, coefficients: &[Vec<f64>], starts: &[T], out: &mut [T]) -> Result<Vec<f64>> {
        let Self { process, map } = self;
        let (count, cols) = (coefficients.len(), process.cols);
        for (probe, (coefficients, out)) in coefficients.iter().zip(out.chunks_exact_mut(cols)).enumerate() {
            process.combine(probe, coefficients, out);
        }
        let (images, backs) = process.blocks(count);
        map.apply(count, out, images)?;
        map.apply_transpose(count, images, backs)?;
        let pairs = backs.chunks_exact_mut(cols).zip(out.chunks_exact(cols)).zip(starts.chunks_exact(cols));
        let residual = |((back, solution), start): ((&mut [T], &[T]), &[T])| {
            add_scaled(sigma * sigma, solution, back);
            add_scaled(-1.0, start, back);
            norm(back) / norm(start)
        };
        Ok(pairs.map(residual).collect())
    }

    fn products(&self) -> Products {
        self.map.products()
    }
}

/// Takes in `J v_{step + 1}`, which becomes `u_{step + 1}`, or zeros if there is none.
fn extend_left<T: Real>(process: &mut Bidiagonal, former: &[T], image: &mut [T]) {
    let beta = process.former_beta();
    let alpha = if beta == 0.0 { norm(image) } else { subtract_and_norm(beta, former, image) };
    match process.extend_left(alpha, T::UNIT_ROUNDOFF) {
        true => scale(1.0 / alpha, image),
        false => image.fill(T::from_f64(0.0)),
    }
}

/// Takes in `J^T u_{step + 1}`.
fn extend_right<T: Real>(process: &mut Bidiagonal, basis: &mut Basis<T>, step: usize, image: &mut [T]) {
    let cols = image.len();
    let (vectors, rest) = basis.right.split_at_mut((step + 1) * cols);
    let beta = orthogonalise(vectors, image, &mut basis.scratch);
    if process.extend_right(beta, T::UNIT_ROUNDOFF, cols) {
        scale_into(1.0 / beta, image, &mut rest[..cols]);
    }
}

/// Hands each process that is still running its basis and its row of the block. They are independent, so threads change nothing in the results.
fn for_each_running<T: Real>(
    parallel: bool,
    processes: &mut [Bidiagonal],
    bases: &mut [Basis<T>],
    block: &mut [T],
    size: usize,
    extend: impl Fn(usize, &mut Bidiagonal, &mut Basis<T>, &mut [T]) + Sync,
) {
    let step = |index: usize, process: &mut Bidiagonal, basis: &mut Basis<T>, row: &mut [T]| {
        if process.is_running() {
            extend(index, process, basis, row);
        }
    };
    if parallel {
        let rows = processes.par_iter_mut().zip(bases).zip(block.par_chunks_exact_mut(size));
        rows.enumerate().for_each(|(index, ((process, basis), row))| step(index, process, basis, row));
    } else {
        let rows = processes.iter_mut().zip(bases).zip(block.chunks_exact_mut(size));
        rows.enumerate().for_each(|(index, ((process, basis), row))| step(index, process, basis, row));
    }
}

#[cfg(test)]
mod tests;
