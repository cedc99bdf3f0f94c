//! The smaller Gram matrix of a Jacobian as numbers, and the log-determinant that it gives.

use super::estimate::check_sigma;
use crate::{Error, Result};
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt::factor::{cholesky_in_place, cholesky_in_place_scratch};
use faer::linalg::triangular_solve::solve_lower_triangular_in_place;
use faer::{Mat, MatMut, MatRef, Par, Spec};

/// Columns of the inverse factor that are solved for at once.
const PANEL: usize = 128;
/// G = J^T J (d x d), or J J^T (m x m) where that is smaller, in f64: n^2 numbers, and its factors in their place.
///
/// ```
/// use livi::entropy::GramMatrix;
/// // J^T J of J = diag(3, 4), as rows; sigma = 1.
/// let mut gram = GramMatrix::new(2, 2)?;
/// gram.rows_mut(0, 2).copy_from_slice(&[9.0, 0.0, 0.0, 16.0]);
/// let found = gram.factor(1.0)?;
/// assert!((found.half_log_det() - 0.5 * 170.0_f64.ln()).abs() < 1e-14);
/// assert!((found.inverse_trace() - (0.1 + 1.0 / 17.0)).abs() < 1e-15);
/// assert_eq!(found.frobenius_squared(), 25.0);
/// # Ok::<(), livi::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct GramMatrix {
    size: usize,
    latents: usize,
    /// By columns; the upper triangle is of no account.
    numbers: Vec<f64>,
    /// Whether the numbers are those of a factor.
    factored: bool,
}

/// Cholesky factor of G + sigma^2 I.
#[derive(Debug)]
pub struct GramFactor<'a> {
    factor: MatRef<'a, f64>,
    excess: usize,
    sigma: f64,
    trace: f64,
    largest_row_sum: f64,
}

/// What a Gram matrix G and sigma say of a Jacobian.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GramFigures {
    /// 1/2 log det(J^T J + sigma^2 I_d) in nats.
    pub half_log_det: f64,
    /// tr (J^T J + sigma^2 I_d)^-1.
    pub inverse_trace: f64,
    /// |J|_F^2.
    pub frobenius_squared: f64,
    /// At least the largest squared singular value of J.
    pub largest_row_sum: f64,
}

impl GramFigures {
    /// What there is to say when G plus so much times the identity has no Cholesky factor.
    pub(super) fn indefinite(square: f64) -> String {
        format!(
            "the Gram matrix plus sigma^2 = {square:e} is not positive definite to working precision; take a larger sigma"
        )
    }
}

impl GramMatrix {
    /// Zeros, for a Gram matrix of `size` rows of a Jacobian with `latents` columns (`size` is the smaller of its two sides).
    ///
    /// # Errors
    /// [`Error::Argument`] for a size of 0 or above the number of latents.
    pub fn new(size: usize, latents: usize) -> Result<Self> {
        if size == 0 || size > latents {
            let problem = format!("is {size}, expected 1 to the number of latents, {latents}");
            return Err(Error::Argument { name: "size of the Gram matrix".into(), problem });
        }
        Ok(Self { size, latents, numbers: vec![0.0; size * size], factored: false })
    }

    /// Bytes that a matrix of this size takes.
    pub fn bytes(size: usize) -> usize {
        size.saturating_mul(size).saturating_mul(size_of::<f64>())
    }

    /// Number of rows n.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Consecutive rows to be filled. G is symmetric: what is read later is the part on and right of the diagonal.
    ///
    /// # Panics
    /// If there are not as many rows.
    pub fn rows_mut(&mut self, first: usize, count: usize) -> &mut [f64] {
        self.factored = false;
        &mut self.numbers[first * self.size..(first + count) * self.size]
    }

    /// The whole matrix by columns, to be filled in the lower triangle.
    pub(super) fn lower_mut(&mut self) -> MatMut<'_, f64> {
        self.factored = false;
        MatMut::from_column_major_slice_mut(&mut self.numbers, self.size, self.size)
    }

    /// Trace, and the largest sum of magnitudes along a row.
    fn sums(&self) -> (f64, f64) {
        let n = self.size;
        let (mut trace, mut sums) = (0.0, vec![0.0; n]);
        for (column, numbers) in self.numbers.chunks_exact(n).enumerate() {
            trace += numbers[column];
            sums[column] += numbers[column].abs();
            for (row, number) in numbers.iter().enumerate().skip(column + 1) {
                sums[row] += number.abs();
                sums[column] += number.abs();
            }
        }
        (trace, sums.into_iter().fold(0.0, f64::max))
    }

    /// Factors G + sigma^2 I in place, on all threads of the current pool. The matrix is lost: its rows must be filled anew for another factor.
    ///
    /// # Errors
    /// [`Error::Argument`] for a sigma that is not positive and finite, or a matrix that was factored already; [`Error::Numerical`] when it is not
    /// finite or the sum is not positive definite to working precision.
    pub fn factor(&mut self, sigma: f64) -> Result<GramFactor<'_>> {
        check_sigma(sigma)?;
        if self.factored {
            let problem = "was factored already, expected new rows".into();
            return Err(Error::Argument { name: "Gram matrix".into(), problem });
        }
        let refuse = |problem: String| Err(Error::Numerical { method: "exact", problem });
        let (trace, largest_row_sum) = self.sums();
        if !trace.is_finite() {
            return refuse("the Jacobian is not finite".into());
        }
        self.factored = true;
        let n = self.size;
        for k in 0..n {
            self.numbers[k * (n + 1)] += sigma * sigma;
        }
        let mut memory = MemBuffer::new(cholesky_in_place_scratch::<f64>(n, Par::rayon(0), Spec::default()));
        let stack = MemStack::new(&mut memory);
        let matrix = MatMut::from_column_major_slice_mut(&mut self.numbers, n, n);
        if cholesky_in_place(matrix, Default::default(), Par::rayon(0), stack, Spec::default()).is_err() {
            return refuse(GramFigures::indefinite(sigma * sigma));
        }
        let factor = MatRef::from_column_major_slice(&self.numbers, n, n);
        Ok(GramFactor { factor, excess: self.latents - n, sigma, trace, largest_row_sum })
    }
}

impl GramFactor<'_> {
    /// All that it says, by about as much work again as the factorisation.
    pub fn figures(&self) -> GramFigures {
        GramFigures {
            half_log_det: self.half_log_det(),
            inverse_trace: self.inverse_trace(),
            frobenius_squared: self.frobenius_squared(),
            largest_row_sum: self.largest_row_sum(),
        }
    }

    /// 1/2 log det(J^T J + sigma^2 I_d) in nats.
    pub fn half_log_det(&self) -> f64 {
        let n = self.factor.nrows();
        (0..n).map(|k| self.factor[(k, k)].ln()).sum::<f64>() + self.excess as f64 * self.sigma.ln()
    }

    /// |J|_F^2, the sum of all squared singular values of J.
    pub fn frobenius_squared(&self) -> f64 {
        self.trace
    }

    /// At least the largest squared singular value of J: the largest sum of magnitudes along a row of G.
    pub fn largest_row_sum(&self) -> f64 {
        self.largest_row_sum
    }

    /// tr (J^T J + sigma^2 I_d)^-1 = sum_i 1 / (s_i^2 + sigma^2), by about as much work again as the factorisation.
    pub fn inverse_trace(&self) -> f64 {
        let n = self.factor.nrows();
        let mut sum = self.excess as f64 / (self.sigma * self.sigma);
        for first in (0..n).step_by(PANEL) {
            let width = PANEL.min(n - first);
            let mut columns = Mat::<f64>::from_fn(n - first, width, |i, j| f64::from(i == j));
            let lower = self.factor.submatrix(first, first, n - first, n - first);
            solve_lower_triangular_in_place(lower, columns.as_mut(), Par::rayon(0));
            sum += columns.squared_norm_l2();
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use faer::Side;

    /// A Gram matrix of rank below its size, filled by blocks of rows, with its eigenvalues.
    fn example(size: usize) -> (GramMatrix, Vec<f64>) {
        let rank = size.div_ceil(2);
        let factor = Mat::from_fn(rank, size, |i, j| ((i * 37 + j * 91) % 101) as f64 / 50.0 - 1.0);
        let dense = factor.transpose() * &factor;
        let mut gram = GramMatrix::new(size, size + 3).unwrap();
        for first in (0..size).step_by(7) {
            let count = 7.min(size - first);
            for (k, entry) in gram.rows_mut(first, count).iter_mut().enumerate() {
                *entry = dense[(first + k / size, k % size)];
            }
        }
        (gram, dense.self_adjoint_eigenvalues(Side::Lower).unwrap())
    }

    #[test]
    fn the_log_determinant_is_that_of_the_eigenvalues() {
        for size in [1, 2, 33, 70, 200] {
            for sigma in [1.0, 0.1, 3.0] {
                let (mut gram, eigenvalues) = example(size);
                let truth: f64 = eigenvalues.iter().map(|e| 0.5 * (e + sigma * sigma).ln()).sum();
                let truth = truth + 3.0 * sigma.ln();
                let found = gram.factor(sigma).unwrap().half_log_det();
                assert!((found - truth).abs() < 1e-9 * (1.0 + truth.abs()), "{size} {sigma}: {found} {truth}");
            }
        }
    }

    #[test]
    fn the_trace_of_the_inverse_is_that_of_the_eigenvalues() {
        for size in [1, 33, 200] {
            let (mut gram, eigenvalues) = example(size);
            let truth: f64 = eigenvalues.iter().map(|e| 1.0 / (e + 0.25)).sum::<f64>() + 3.0 / 0.25;
            let found = gram.factor(0.5).unwrap().inverse_trace();
            assert!((found / truth - 1.0).abs() < 1e-11, "{size}: {found} {truth}");
        }
    }

    #[test]
    fn the_frobenius_norm_is_the_sum_and_the_largest_row_sum_at_least_the_largest_of_the_eigenvalues() {
        let (mut gram, eigenvalues) = example(70);
        let found = gram.factor(0.5).unwrap();
        assert!((found.frobenius_squared() / eigenvalues.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert!(found.largest_row_sum() >= eigenvalues[69]);
    }

    #[test]
    fn a_matrix_is_factored_once_for_each_filling() {
        let mut gram = GramMatrix::new(1, 1).unwrap();
        for entry in [3.0, 8.0] {
            gram.rows_mut(0, 1)[0] = entry;
            assert_eq!(gram.factor(1.0).unwrap().half_log_det(), 0.5 * (entry + 1.0_f64).ln());
        }
        assert!(gram.factor(1.0).unwrap_err().to_string().contains("factored already"));
    }

    #[test]
    fn a_matrix_that_is_not_positive_definite_or_not_finite_is_a_numerical_error() {
        let mut gram = GramMatrix::new(2, 2).unwrap();
        gram.rows_mut(0, 2).copy_from_slice(&[1.0, 2.0, 2.0, 1.0]);
        let message = gram.factor(0.1).unwrap_err().to_string();
        assert!(message.contains("take a larger sigma"), "{message}");
        gram.rows_mut(0, 2).copy_from_slice(&[f64::NAN, 0.0, 0.0, 1.0]);
        assert!(gram.factor(0.1).unwrap_err().to_string().contains("not finite"));
    }
}
