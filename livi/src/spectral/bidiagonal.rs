//! The bidiagonal matrices that Golub-Kahan processes end in, and what they say about the map.

use super::Quadrature;
use super::arguments::{expect_positive, expect_sigma, refuse};
use super::small_svd::SmallSvd;
use crate::{Error, Result};

/// A coefficient is negligible up to this many units of roundoff of the largest so far.
pub(crate) const NEGLIGIBLE: f64 = 4.0;

/// How one start vector's process stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// More steps are possible.
    Running,
    /// The right vectors span an invariant subspace, as many as there are left vectors.
    Square,
    /// The right vectors span an invariant subspace, one more than there are left vectors.
    Wide,
}

/// The coefficients of one start vector's process.
#[derive(Debug)]
pub(super) struct Bidiagonal {
    state: State,
    start_norm: f64,
    largest: f64,
    alpha: Vec<f64>,
    beta: Vec<f64>,
}

/// Bidiagonal matrices B of several start vectors, with memory for their decompositions: all that quadratures and solves need of a
/// [`GolubKahan`](super::GolubKahan) process but its vectors, wherever those lie.
///
/// ```
/// use livi::spectral::Bidiagonals;
/// // From (1, 1) / sqrt(2), J = diag(3, 4) makes alpha_1 = 5 / sqrt(2), beta_1 = 7 / (5 sqrt(2)), alpha_2 = 12 sqrt(2) / 5.
/// let root = 2.0_f64.sqrt();
/// let mut processes = Bidiagonals::new(2, 2, 1, 2)?;
/// processes.push(f64::EPSILON / 2.0, 1.0, [(5.0 / root, 0.7 * root), (2.4 * root, 0.0)])?;
/// let rule = processes.gauss(0, 2)?;
/// assert!((rule.nodes[0] - 4.0).abs() < 1e-14 && (rule.nodes[1] - 3.0).abs() < 1e-14);
/// # Ok::<(), livi::Error>(())
/// ```
#[derive(Debug)]
pub struct Bidiagonals {
    rows: usize,
    cols: usize,
    steps: usize,
    all: Vec<Bidiagonal>,
    /// Those in use.
    count: usize,
    svd: SmallSvd,
    /// Start vector, depth and shape that `svd` holds.
    decomposed: Option<(usize, usize, bool)>,
}

impl Bidiagonals {
    /// Memory for up to `count` start vectors and `steps` steps (more than `min(rows, cols)` are never needed) with a `rows x cols` map.
    ///
    /// # Errors
    /// [`Error::Argument`] for a size of zero.
    pub fn new(rows: usize, cols: usize, count: usize, steps: usize) -> Result<Self> {
        for (name, size) in [("rows", rows), ("cols", cols), ("count", count), ("steps", steps)] {
            expect_positive(name, size)?;
        }
        let steps = steps.min(rows).min(cols);
        let one = || Bidiagonal {
            state: State::Running,
            start_norm: 0.0,
            largest: 0.0,
            alpha: Vec::with_capacity(steps),
            beta: Vec::with_capacity(steps),
        };
        let (all, svd) = ((0..count).map(|_| one()).collect(), SmallSvd::new(steps + 1));
        Ok(Self { rows, cols, steps, all, count: 0, svd, decomposed: None })
    }

    /// Forgets all processes.
    pub fn clear(&mut self) {
        self.count = 0;
        self.decomposed = None;
    }

    /// Begins the process of one more start vector of norm `start_norm`.
    pub(super) fn begin(&mut self, start_norm: f64) -> Result<()> {
        let index = self.count;
        if !(start_norm > 0.0 && start_norm.is_finite()) {
            let problem = format!("row {index} has norm {start_norm}, expected a positive finite norm");
            return refuse("start vectors", problem);
        }
        let capacity = self.all.len();
        let Some(next) = self.all.get_mut(index) else {
            return refuse("count", format!("is {}, the memory is for at most {capacity}", index + 1));
        };
        (next.state, next.start_norm, next.largest) = (State::Running, start_norm, 0.0);
        next.alpha.clear();
        next.beta.clear();
        self.count += 1;
        Ok(())
    }

    /// Adds the process of one start vector from its coefficients alpha and beta, a pair a step, found with vectors of this unit roundoff. It ends at
    /// the first coefficient that is negligible, of which rounding is left only; what comes after is not looked at.
    ///
    /// # Errors
    /// [`Error::Argument`] for a norm that is not positive and finite, or one start vector too many; [`Error::Numerical`] for a coefficient that is
    /// not finite, because a product was not.
    pub fn push(
        &mut self,
        unit_roundoff: f64,
        start_norm: f64,
        coefficients: impl IntoIterator<Item = (f64, f64)>,
    ) -> Result<()> {
        self.begin(start_norm)?;
        let (steps, cols) = (self.steps, self.cols);
        let process = &mut self.all[self.count - 1];
        for (alpha, beta) in coefficients.into_iter().take(steps) {
            if !(alpha.is_finite() && beta.is_finite()) {
                self.count -= 1;
                return Err(Error::Numerical {
                    method: "Golub-Kahan process",
                    problem: "a product is not finite; the map's parameters or its input overflow".into(),
                });
            }
            if !process.extend_left(alpha, unit_roundoff) || !process.extend_right(beta, unit_roundoff, cols) {
                break;
            }
        }
        self.finish();
        Ok(())
    }

    /// The processes in use, to be extended.
    pub(super) fn running(&mut self) -> &mut [Bidiagonal] {
        &mut self.all[..self.count]
    }

    /// Ends processes that have as many steps as the map has rows.
    pub(super) fn finish(&mut self) {
        let rows = self.rows;
        for process in self.running() {
            // With m left vectors R^m is full: the next alpha is zero without a product.
            if process.state == State::Running && process.alpha.len() == rows {
                process.state = State::Wide;
            }
        }
    }

    /// Dimension d of right vectors.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Start vectors whose processes are known.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Most start vectors.
    pub fn capacity(&self) -> usize {
        self.all.len()
    }

    /// Most steps.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// Steps that start vector `probe` made: the number of its left vectors.
    pub fn depth(&self, probe: usize) -> usize {
        self.all[probe].alpha.len()
    }

    /// Whether the Krylov space of start vector `probe` is exhausted, so that every quadrature at full depth is exact
    /// up to rounding.
    pub fn is_invariant(&self, probe: usize) -> bool {
        self.all[probe].state != State::Running
    }

    /// Diagonal of B, [`Bidiagonals::depth`] numbers.
    pub fn alpha(&self, probe: usize) -> &[f64] {
        &self.all[probe].alpha
    }

    /// Superdiagonal of B and, last, the coefficient of the next right vector: [`Bidiagonals::depth`] numbers.
    pub fn beta(&self, probe: usize) -> &[f64] {
        &self.all[probe].beta
    }

    /// Right vectors of start vector `probe`: as many as steps, or one more unless the last coefficient of [`Bidiagonals::beta`] is zero.
    pub fn right_vectors(&self, probe: usize) -> usize {
        self.depth(probe) + usize::from(self.all[probe].state != State::Square)
    }

    /// Norm of start vector `probe` as it was given.
    pub fn start_norm(&self, probe: usize) -> f64 {
        self.all[probe].start_norm
    }

    /// Largest norm of a column of B: a lower estimate of the largest singular value of J.
    pub fn norm_estimate(&self, probe: usize) -> f64 {
        self.all[probe].largest
    }

    /// Gauss quadrature after `depth` steps (at most those made): an upper bound for the logarithm.
    ///
    /// Nodes are the singular values of `B_k`, weights the squared first components of its right singular vectors
    /// (Golub and Meurant 2010, "Matrices, Moments and Quadrature with Applications", chapter 6).
    ///
    /// # Errors
    /// [`Error::Numerical`] when the small singular value problem does not converge.
    pub fn gauss(&mut self, probe: usize, depth: usize) -> Result<Quadrature> {
        let made = self.depth(probe);
        let wide = depth >= made && self.all[probe].state == State::Wide;
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
    /// As [`Bidiagonals::gauss`].
    pub fn gauss_radau(&mut self, probe: usize, depth: usize) -> Result<Quadrature> {
        let depth = depth.min(self.depth(probe));
        let wide = self.all[probe].beta.get(depth.wrapping_sub(1)).is_none_or(|&beta| beta > 0.0);
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
    /// As [`Bidiagonals::gauss`].
    pub fn ritz_values(&mut self, probe: usize) -> Result<Vec<f64>> {
        let depth = self.depth(probe);
        self.decompose(probe, depth, self.all[probe].state != State::Square)?;
        Ok(self.svd.values()[..depth].to_vec())
    }

    /// Singular value number `index` of B from the largest, and the residual `|J^T J v - s^2 v|` of its right vector v that the coefficients
    /// predict: `alpha_k beta_k` times the vector's last coefficient.
    pub(super) fn ritz_pair(&mut self, probe: usize, index: usize) -> Result<(f64, f64)> {
        self.decompose_whole(probe)?;
        let last = self.svd.right(self.depth(probe).saturating_sub(1), index);
        Ok((self.svd.values()[index], self.all[probe].residual(last)))
    }

    /// Coefficients on the right vectors of the right singular vector of singular value number `index` of B.
    pub(super) fn ritz_coefficients(&mut self, probe: usize, index: usize) -> Result<Vec<f64>> {
        let size = self.decompose_whole(probe)?;
        Ok((0..size).map(|row| self.svd.right(row, index)).collect())
    }

    /// Number of singular values of B.
    pub(super) fn size(&self, probe: usize) -> usize {
        self.depth(probe) + usize::from(self.all[probe].state == State::Wide)
    }

    /// Solves `(J^T J + sigma^2 I) w = v` for start vector v by Galerkin's condition on the right vectors: the iterate
    /// that conjugate gradients would reach. The answer are w's coefficients on the first right vectors, and the relative residual `|A w - v| / |v|`
    /// that B predicts in exact arithmetic.
    ///
    /// # Errors
    /// [`Error::Argument`] for a sigma that is not positive and finite; otherwise as [`Bidiagonals::gauss`].
    pub fn solve(&mut self, probe: usize, sigma: f64) -> Result<(Vec<f64>, f64)> {
        expect_sigma(sigma)?;
        let size = self.decompose_whole(probe)?;
        let process = &self.all[probe];
        let mut coefficients = vec![0.0; size];
        for (index, &value) in self.svd.values().iter().enumerate() {
            let length = value.hypot(sigma);
            let component = process.start_norm * self.svd.right(0, index) / length / length;
            for (row, coefficient) in coefficients.iter_mut().enumerate() {
                *coefficient += component * self.svd.right(row, index);
            }
        }
        let last = coefficients[process.alpha.len().saturating_sub(1)];
        let residual = process.residual(last) / process.start_norm;
        Ok((coefficients, residual))
    }

    /// Decomposes all of B; returns its number of columns.
    fn decompose_whole(&mut self, probe: usize) -> Result<usize> {
        let depth = self.depth(probe);
        self.decompose(probe, depth, self.all[probe].state == State::Wide)
    }

    /// Decomposes `B_depth`, with the next column when `wide`, padded to a square; returns its number of columns.
    pub(super) fn decompose(&mut self, probe: usize, depth: usize, wide: bool) -> Result<usize> {
        let size = depth + usize::from(wide);
        let key = Some((probe, depth, wide));
        if self.decomposed == key {
            return Ok(size);
        }
        self.decomposed = None;
        let process = &self.all[probe];
        self.svd.decompose(size, |row, column| {
            if row >= depth {
                0.0
            } else if column == row {
                process.alpha[row]
            } else if column == row + 1 {
                process.beta[row]
            } else {
                0.0
            }
        })?;
        self.decomposed = key;
        Ok(size)
    }

    /// Singular values last decomposed.
    #[cfg(test)]
    pub(super) fn decomposed_values(&self) -> &[f64] {
        self.svd.values()
    }
}

impl Bidiagonal {
    /// Whether more steps are possible.
    pub(super) fn is_running(&self) -> bool {
        self.state == State::Running
    }

    /// The coefficient up to which what is left of a product is rounding of it only, and its direction arbitrary.
    fn negligible(&self, unit_roundoff: f64) -> f64 {
        (NEGLIGIBLE * unit_roundoff * self.largest).max(f64::MIN_POSITIVE)
    }

    /// The coefficient beta of the step before, 0 at the first.
    pub(super) fn former_beta(&self) -> f64 {
        self.beta.last().copied().unwrap_or(0.0)
    }

    /// Takes in the length of what `J v` leaves for the next left vector; `false` if that is negligible and the process at its end.
    pub(super) fn extend_left(&mut self, alpha: f64, unit_roundoff: f64) -> bool {
        if alpha <= self.negligible(unit_roundoff) {
            self.state = State::Wide;
            return false;
        }
        self.largest = self.largest.max(alpha.hypot(self.former_beta()));
        self.alpha.push(alpha);
        true
    }

    /// Takes in the length of what `J^T u` leaves for the next right vector in `R^cols`; `false` if that is negligible and the process at its end.
    pub(super) fn extend_right(&mut self, beta: f64, unit_roundoff: f64, cols: usize) -> bool {
        // With d right vectors R^d is full, and what is left of the product is rounding.
        if self.alpha.len() == cols || beta <= self.negligible(unit_roundoff) {
            self.beta.push(0.0);
            self.state = State::Square;
            return false;
        }
        self.beta.push(beta);
        self.largest = self.largest.max(beta);
        true
    }

    /// Length of what `J^T J` takes a vector of the Krylov space out of it, whose last coefficient this is.
    fn residual(&self, last: f64) -> f64 {
        match (self.state, self.alpha.last(), self.beta.last()) {
            (State::Running, Some(alpha), Some(beta)) => alpha * beta * last.abs(),
            _ => 0.0,
        }
    }
}
