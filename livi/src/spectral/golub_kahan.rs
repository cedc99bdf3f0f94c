//! Golub-Kahan bidiagonalisation with full reorthogonalisation of the right vectors.

use rayon::prelude::*;

use super::arguments::{expect_block, expect_length, expect_positive, refuse};
use super::kernels::{combine, norm, orthogonalise, orthogonalise_scratch, scale, scale_into, subtract_and_norm};
use super::small_svd::SmallSvd;
use super::{Counted, LinearMap, Products, Quadrature, Real};
use crate::Result;

/// Numbers of a basis under which one thread is faster than several.
const PARALLEL_THRESHOLD: usize = 1 << 16;

/// How one probe's process stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// More steps are possible.
    Running,
    /// The right vectors span an invariant subspace, as many as there are left vectors.
    Square,
    /// The right vectors span an invariant subspace, one more than there are left vectors.
    Wide,
}

/// The process of one start vector.
#[derive(Debug)]
struct Probe<T> {
    state: State,
    start_norm: f64,
    largest: f64,
    alpha: Vec<f64>,
    beta: Vec<f64>,
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
/// let rule = process.gauss(0, 2)?;
/// assert!((rule.nodes[0] - 4.0).abs() < 1e-14 && (rule.nodes[1] - 3.0).abs() < 1e-14);
/// assert!(process.is_invariant(0));
/// # Ok::<(), livi::Error>(())
/// ```
#[derive(Debug)]
pub struct GolubKahan<T> {
    rows: usize,
    cols: usize,
    steps: usize,
    count: usize,
    probes: Vec<Probe<T>>,
    right_block: Vec<T>,
    /// Images of the right block, which become its left vectors.
    left_block: Vec<T>,
    /// Left vectors of the step before.
    former_left: Vec<T>,
    svd: SmallSvd,
    /// Probe, depth and shape that `svd` holds.
    decomposed: Option<(usize, usize, bool)>,
    products: Products,
}

impl<T: Real> GolubKahan<T> {
    /// Memory for up to `count` start vectors and `steps` steps (more than `min(rows, cols)` are never needed nor
    /// made).
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) for a size of zero or a memory need beyond the address space.
    pub fn new(rows: usize, cols: usize, count: usize, steps: usize) -> Result<Self> {
        expect_positive("rows", rows)?;
        expect_positive("cols", cols)?;
        expect_positive("count", count)?;
        expect_positive("steps", steps)?;
        let steps = steps.min(rows).min(cols);
        let rights = (steps + 1).min(cols);
        let numbers = rows.checked_mul(2).zip((rights + 1).checked_mul(cols)).and_then(|(l, r)| l.checked_add(r));
        if numbers.and_then(|numbers| numbers.checked_mul(count)).is_none_or(|all| all > isize::MAX as usize / 8) {
            return refuse("steps", format!("{steps} steps of {count} vectors exceed the address space"));
        }
        let zero = T::from_f64(0.0);
        let probe = || Probe {
            state: State::Running,
            start_norm: 0.0,
            largest: 0.0,
            alpha: Vec::with_capacity(steps),
            beta: Vec::with_capacity(steps),
            right: vec![zero; rights * cols],
            scratch: vec![0.0; orthogonalise_scratch(rights)],
        };
        Ok(Self {
            rows,
            cols,
            steps,
            count: 0,
            probes: (0..count).map(|_| probe()).collect(),
            right_block: vec![zero; count * cols],
            left_block: vec![zero; count * rows],
            former_left: vec![zero; count * rows],
            svd: SmallSvd::new(steps + 1),
            decomposed: None,
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
        if count > self.probes.len() {
            return refuse("count", format!("is {count}, the memory is for at most {}", self.probes.len()));
        }
        expect_block("start vectors", starts, count, self.cols)?;
        self.count = count;
        self.decomposed = None;
        for (index, (probe, start)) in self.probes.iter_mut().zip(starts.chunks_exact(self.cols)).enumerate() {
            probe.start(index, start)?;
        }
        let (rows, cols) = (self.rows, self.cols);
        for step in 0..self.steps {
            if self.probes[..count].iter().all(|probe| probe.state != State::Running) {
                break;
            }
            let right_block = &mut self.right_block[..count * cols];
            let left_block = &mut self.left_block[..count * rows];
            let parallel = count > 1 && (step + 1) * (rows + cols) * count >= PARALLEL_THRESHOLD;
            fill_block(right_block, cols, &self.probes, |probe| &probe.right[step * cols..]);
            map.apply(count, right_block, left_block)?;
            let former = &self.former_left;
            for_each_probe(parallel, &mut self.probes[..count], left_block, rows, |index, probe, image| {
                probe.extend_left(&former[index * rows..(index + 1) * rows], image);
            });
            map.apply_transpose(count, left_block, right_block)?;
            for_each_probe(parallel, &mut self.probes[..count], right_block, cols, |_, probe, image| {
                probe.extend_right(step, cols, image);
            });
            std::mem::swap(&mut self.left_block, &mut self.former_left);
        }
        for probe in &mut self.probes[..count] {
            // With m left vectors R^m is full: the next alpha is zero without a product.
            if probe.state == State::Running && probe.alpha.len() == rows {
                probe.state = State::Wide;
            }
        }
        self.products = map.products();
        Ok(())
    }

    /// Start vectors of the last run.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Most start vectors of a run.
    pub fn capacity(&self) -> usize {
        self.probes.len()
    }

    /// Steps a run makes unless a Krylov space is exhausted before.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// Products of the last run.
    pub fn products(&self) -> Products {
        self.products
    }

    /// Steps that start vector `probe` made: the number of its left vectors.
    pub fn depth(&self, probe: usize) -> usize {
        self.probes[probe].alpha.len()
    }

    /// Whether the Krylov space of start vector `probe` is exhausted, so that every quadrature at full depth is exact
    /// up to rounding.
    pub fn is_invariant(&self, probe: usize) -> bool {
        self.probes[probe].state != State::Running
    }

    /// Diagonal of B, [`GolubKahan::depth`] numbers.
    pub fn alpha(&self, probe: usize) -> &[f64] {
        &self.probes[probe].alpha
    }

    /// Superdiagonal of B and, last, the coefficient of the next right vector: [`GolubKahan::depth`] numbers.
    pub fn beta(&self, probe: usize) -> &[f64] {
        &self.probes[probe].beta
    }

    /// Orthonormal right vectors: `depth x d`, or `(depth + 1) x d` unless the last coefficient of [`GolubKahan::beta`]
    /// is zero.
    pub fn right(&self, probe: usize) -> &[T] {
        let probe = &self.probes[probe];
        let count = probe.alpha.len() + usize::from(probe.state != State::Square);
        &probe.right[..count * self.cols]
    }

    /// Norm of start vector `probe` as it was given.
    pub fn start_norm(&self, probe: usize) -> f64 {
        self.probes[probe].start_norm
    }

    /// Largest norm of a column of B: a lower estimate of the largest singular value of J.
    pub fn norm_estimate(&self, probe: usize) -> f64 {
        self.probes[probe].largest
    }

    /// Gauss quadrature after `depth` steps (at most those made): an upper bound for the logarithm.
    ///
    /// Nodes are the singular values of `B_k`, weights the squared first components of its right singular vectors
    /// (Golub and Meurant 2010, "Matrices, Moments and Quadrature with Applications", chapter 6).
    ///
    /// # Errors
    /// [`Error::Numerical`](crate::Error::Numerical) when the small singular value problem does not converge.
    pub fn gauss(&mut self, probe: usize, depth: usize) -> Result<Quadrature> {
        let made = self.depth(probe);
        let wide = depth >= made && self.probes[probe].state == State::Wide;
        self.quadrature(probe, depth.min(made), wide)
    }

    /// Gauss-Radau quadrature with a node fixed at the singular value 0, after `depth` steps: a lower bound for the
    /// logarithm of `J^T J + sigma^2 I`, whose smallest possible eigenvalue `sigma^2` is that node.
    ///
    /// The rule belongs to the Lanczos matrix of order k + 1 with its last diagonal entry chosen such that 0 is an
    /// eigenvalue (Golub 1973, "Some modified matrix eigenvalue problems"). That entry is `beta_k^2 + alpha_{k+1}^2`
    /// and the matrix is `B_{k+1}^T B_{k+1}`; it becomes singular when `alpha_{k+1} = 0` is put in. So the nodes are
    /// the singular values of the k x (k + 1) matrix `[B_k, beta_k e_k]` and a zero: no shifted system has to be
    /// solved, and nothing cancels.
    ///
    /// # Errors
    /// As [`GolubKahan::gauss`].
    pub fn gauss_radau(&mut self, probe: usize, depth: usize) -> Result<Quadrature> {
        let depth = depth.min(self.depth(probe));
        let wide = self.probes[probe].beta.get(depth.wrapping_sub(1)).is_none_or(|&beta| beta > 0.0);
        self.quadrature(probe, depth, wide)
    }

    fn quadrature(&mut self, probe: usize, depth: usize, wide: bool) -> Result<Quadrature> {
        self.decompose(probe, depth, wide)?;
        let nodes = self.svd.values().to_vec();
        let weights = (0..nodes.len()).map(|index| self.svd.right(0, index).powi(2)).collect();
        Ok(Quadrature { nodes, weights })
    }

    /// Singular values of `U_k^T J V_{k+1}` after all steps, `depth` of them from the largest to the smallest.
    ///
    /// Each is at most the singular value of J of the same rank (interlacing); their squares are the Ritz values of `J
    /// J^T`.
    ///
    /// # Errors
    /// As [`GolubKahan::gauss`].
    pub fn ritz_values(&mut self, probe: usize) -> Result<Vec<f64>> {
        let depth = self.depth(probe);
        self.decompose(probe, depth, self.probes[probe].state != State::Square)?;
        Ok(self.svd.values()[..depth].to_vec())
    }

    /// Singular value number `index` of B from the largest, and the residual `|J^T J v - s^2 v|` of its right vector v that the coefficients
    /// predict: `alpha_k beta_k` times the vector's last coefficient.
    pub(super) fn ritz_pair(&mut self, probe: usize, index: usize) -> Result<(f64, f64)> {
        let depth = self.depth(probe);
        self.decompose(probe, depth, self.probes[probe].state == State::Wide)?;
        let probe = &self.probes[probe];
        let residual = match probe.state {
            State::Running => probe.alpha[depth - 1] * probe.beta[depth - 1] * self.svd.right(depth - 1, index).abs(),
            State::Square | State::Wide => 0.0,
        };
        Ok((self.svd.values()[index], residual))
    }

    /// Writes the right vector in R^d of singular value number `index` of B into `out`.
    pub(super) fn ritz_vector(&mut self, probe: usize, index: usize, out: &mut [T]) -> Result<()> {
        let depth = self.depth(probe);
        let size = self.decompose(probe, depth, self.probes[probe].state == State::Wide)?;
        let coefficients: Vec<f64> = (0..size).map(|row| self.svd.right(row, index)).collect();
        combine(&self.probes[probe].right, &coefficients, out);
        Ok(())
    }

    /// Writes the right vector in R^d of the largest or smallest singular value of B into `out` and returns that value.
    pub(super) fn extreme_right_vector(&mut self, probe: usize, largest: bool, out: &mut [T]) -> Result<f64> {
        let depth = self.depth(probe);
        let size = self.decompose(probe, depth, self.probes[probe].state == State::Wide)?;
        let index = if largest { 0 } else { size - 1 };
        self.ritz_vector(probe, index, out)?;
        Ok(self.svd.values()[index])
    }

    /// Solves `(J^T J + sigma^2 I) w = v` for start vector v by Galerkin's condition on the right vectors: the iterate
    /// that conjugate gradients would reach.
    ///
    /// `solution` (d numbers) becomes w. Returns the relative residual `|A w - v| / |v|` that the coefficients predict
    /// in exact arithmetic.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) for a slice of a wrong length; otherwise as [`GolubKahan::gauss`].
    pub fn solve(&mut self, probe: usize, sigma: f64, solution: &mut [T]) -> Result<f64> {
        super::arguments::expect_sigma(sigma)?;
        expect_length("solution", solution.len(), 1, self.cols)?;
        let depth = self.depth(probe);
        let size = self.decompose(probe, depth, self.probes[probe].state == State::Wide)?;
        let probe = &self.probes[probe];
        let mut coefficients = vec![0.0; size];
        for (index, &value) in self.svd.values().iter().enumerate() {
            let length = value.hypot(sigma);
            let component = probe.start_norm * self.svd.right(0, index) / length / length;
            for (row, coefficient) in coefficients.iter_mut().enumerate() {
                *coefficient += component * self.svd.right(row, index);
            }
        }
        combine(&probe.right, &coefficients, solution);
        let residual = match probe.state {
            State::Running => probe.alpha[depth - 1] * probe.beta[depth - 1] * coefficients[depth - 1].abs(),
            State::Square | State::Wide => 0.0,
        };
        Ok(residual / probe.start_norm)
    }

    /// Decomposes `B_depth`, with the next column when `wide`, padded to a square; returns its number of columns.
    fn decompose(&mut self, probe: usize, depth: usize, wide: bool) -> Result<usize> {
        let size = depth + usize::from(wide);
        let key = Some((probe, depth, wide));
        if self.decomposed == key {
            return Ok(size);
        }
        self.decomposed = None;
        let probe = &self.probes[probe];
        self.svd.decompose(size, |row, column| {
            if row >= depth {
                0.0
            } else if column == row {
                probe.alpha[row]
            } else if column == row + 1 {
                probe.beta[row]
            } else {
                0.0
            }
        })?;
        self.decomposed = key;
        Ok(size)
    }
}

impl<T: Real> Probe<T> {
    fn start(&mut self, index: usize, start: &[T]) -> Result<()> {
        let length = norm(start);
        if !(length > 0.0 && length.is_finite()) {
            return refuse("start vectors", format!("row {index} has norm {length}, expected a positive finite norm"));
        }
        self.state = State::Running;
        self.start_norm = length;
        self.largest = 0.0;
        self.alpha.clear();
        self.beta.clear();
        scale_into(1.0 / length, start, &mut self.right[..start.len()]);
        Ok(())
    }

    /// The coefficient up to which what is left of a product is rounding of it only, and its direction arbitrary.
    fn negligible(&self) -> f64 {
        (4.0 * T::UNIT_ROUNDOFF * self.largest).max(f64::MIN_POSITIVE)
    }

    /// Takes in `J v_{step + 1}`, which becomes `u_{step + 1}`, or zeros if there is none.
    fn extend_left(&mut self, former: &[T], image: &mut [T]) {
        let beta = self.beta.last().copied().unwrap_or(0.0);
        let alpha = if self.beta.is_empty() { norm(image) } else { subtract_and_norm(beta, former, image) };
        if alpha <= self.negligible() {
            self.state = State::Wide;
            image.fill(T::from_f64(0.0));
            return;
        }
        scale(1.0 / alpha, image);
        self.alpha.push(alpha);
        self.largest = self.largest.max(alpha.hypot(beta));
    }

    /// Takes in `J^T u_{step + 1}`.
    fn extend_right(&mut self, step: usize, cols: usize, image: &mut [T]) {
        let negligible = self.negligible();
        let (basis, rest) = self.right.split_at_mut((step + 1) * cols);
        let beta = orthogonalise(basis, image, &mut self.scratch);
        // With d right vectors R^d is full, and what is left of the product is rounding.
        if step + 1 == cols || beta <= negligible {
            self.beta.push(0.0);
            self.state = State::Square;
            return;
        }
        scale_into(1.0 / beta, image, &mut rest[..cols]);
        self.beta.push(beta);
        self.largest = self.largest.max(beta);
    }
}

/// Copies the current vector of each probe into a block, zeros for those that have stopped.
fn fill_block<'a, T: Real>(
    block: &mut [T],
    size: usize,
    probes: &'a [Probe<T>],
    vector: impl Fn(&'a Probe<T>) -> &'a [T],
) {
    for (row, probe) in block.chunks_exact_mut(size).zip(probes) {
        if probe.state == State::Running {
            row.copy_from_slice(&vector(probe)[..size]);
        } else {
            row.fill(T::from_f64(0.0));
        }
    }
}

/// Hands each probe that is still running its row of the block. Probes are independent, so threads change nothing in
/// the results.
fn for_each_probe<T: Real>(
    parallel: bool,
    probes: &mut [Probe<T>],
    block: &mut [T],
    size: usize,
    extend: impl Fn(usize, &mut Probe<T>, &mut [T]) + Sync,
) {
    let step = |(index, (probe, row)): (usize, (&mut Probe<T>, &mut [T]))| {
        if probe.state == State::Running {
            extend(index, probe, row);
        }
    };
    if parallel {
        probes.par_iter_mut().zip(block.par_chunks_exact_mut(size)).enumerate().for_each(step);
    } else {
        probes.iter_mut().zip(block.chunks_exact_mut(size)).enumerate().for_each(step);
    }
}

#[cfg(test)]
mod tests;
