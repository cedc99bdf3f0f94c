//! Singular values and right singular vectors of small dense matrices, through faer.

use faer::diag::Diag;
use faer::dyn_stack::{MemBuffer, MemStack, StackReq};
use faer::linalg::svd::{ComputeSvdVectors, svd, svd_scratch};
use faer::{Mat, MatRef, Par, Side};

use crate::{Error, Result};

/// Decompositions of square matrices up to a capacity, in memory taken once.
pub(super) struct SmallSvd {
    size: usize,
    matrix: Mat<f64>,
    left: Mat<f64>,
    right: Mat<f64>,
    values: Vec<f64>,
    diagonal: Diag<f64>,
    buffer: MemBuffer,
}

impl std::fmt::Debug for SmallSvd {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("SmallSvd").field("size", &self.size).field("values", &self.values()).finish()
    }
}

impl SmallSvd {
    /// Memory for matrices of up to `capacity` rows and columns.
    pub(super) fn new(capacity: usize) -> Self {
        let vectors = ComputeSvdVectors::Full;
        let scratch = |size| svd_scratch::<f64>(size, size, vectors, vectors, Par::Seq, Default::default());
        let sizes: Vec<StackReq> = (0..=capacity).map(scratch).collect();
        Self {
            size: 0,
            matrix: Mat::zeros(capacity, capacity),
            left: Mat::zeros(capacity, capacity),
            right: Mat::zeros(capacity, capacity),
            values: vec![0.0; capacity],
            diagonal: Diag::zeros(capacity),
            buffer: MemBuffer::new(StackReq::any_of(&sizes)),
        }
    }

    /// Decomposes the `size x size` matrix with the given entries (row, column).
    pub(super) fn decompose(&mut self, size: usize, entry: impl Fn(usize, usize) -> f64) -> Result<()> {
        self.size = size;
        for column in 0..size {
            for row in 0..size {
                self.matrix[(row, column)] = entry(row, column);
            }
        }
        let matrix = self.matrix.as_ref().submatrix(0, 0, size, size);
        let decomposed = svd(
            matrix,
            self.diagonal.as_mut().column_vector_mut().subrows_mut(0, size).as_diagonal_mut(),
            Some(self.left.as_mut().submatrix_mut(0, 0, size, size)),
            Some(self.right.as_mut().submatrix_mut(0, 0, size, size)),
            Par::Seq,
            MemStack::new(&mut self.buffer),
            Default::default(),
        );
        for index in 0..size {
            self.values[index] = self.diagonal.column_vector()[index];
        }
        let finite = self.values[..size].iter().all(|value| value.is_finite());
        if decomposed.is_err() || !finite {
            let right = self.right.as_mut().submatrix_mut(0, 0, size, size);
            decompose_by_eigenvectors(matrix, &mut self.values[..size], right)?;
        }
        Ok(())
    }

    /// Singular values from the largest to the smallest.
    pub(super) fn values(&self) -> &[f64] {
        &self.values[..self.size]
    }

    /// Component `row` of the right singular vector of singular value `index`.
    pub(super) fn right(&self, row: usize, index: usize) -> f64 {
        self.right[(row, index)]
    }
}

/// The decomposition from the eigenvectors of the Gram matrix, for the rare matrix on which the direct iteration
/// stalls.
///
/// Values under about 1e-8 of the largest are then known to that absolute accuracy only.
fn decompose_by_eigenvectors(
    matrix: MatRef<'_, f64>,
    values: &mut [f64],
    mut right: faer::MatMut<'_, f64>,
) -> Result<()> {
    let stalled = |problem: &str| Error::Numerical { method: "small singular value problem", problem: problem.into() };
    if !(0..matrix.ncols()).all(|column| matrix.col(column).iter().all(|entry| entry.is_finite())) {
        return Err(stalled("the matrix holds a number that is not finite"));
    }
    let gram = matrix.transpose() * matrix;
    let eigen = gram
        .self_adjoint_eigen(Side::Lower)
        .map_err(|_| stalled("neither the singular value nor the eigenvalue iteration converged"))?;
    // Eigenvalues come in rising order.
    let last = values.len() - 1;
    for (index, value) in values.iter_mut().enumerate() {
        let vector = eigen.U().col(last - index);
        *value = (matrix * vector).norm_l2();
        right.as_mut().col_mut(index).copy_from(vector);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(row: usize, column: usize) -> f64 {
        ((3 * row + 5 * column) % 7) as f64 - if row == column { 4.0 } else { 0.0 }
    }

    fn largest_defect(size: usize, values: &[f64], right: impl Fn(usize, usize) -> f64) -> f64 {
        // M^T M v = s^2 v for each pair.
        let gram = |i: usize, j: usize| (0..size).map(|k| entry(k, i) * entry(k, j)).sum::<f64>();
        let defect = |i: usize, index: usize| {
            let product: f64 = (0..size).map(|j| gram(i, j) * right(j, index)).sum();
            (product - values[index].powi(2) * right(i, index)).abs()
        };
        (0..size).flat_map(|i| (0..size).map(move |index| (i, index))).map(|(i, j)| defect(i, j)).fold(0.0, f64::max)
    }

    #[test]
    fn right_singular_vectors_are_eigenvectors_of_the_gram_matrix_at_every_size() {
        let mut svd = SmallSvd::new(12);
        for size in 1..=12 {
            svd.decompose(size, entry).unwrap();
            assert!(largest_defect(size, svd.values(), |i, j| svd.right(i, j)) < 1e-11);
        }
    }

    #[test]
    fn the_fallback_by_eigenvectors_agrees_with_the_direct_decomposition() {
        let mut svd = SmallSvd::new(6);
        svd.decompose(6, entry).unwrap();
        let (mut values, mut right) = (vec![0.0; 6], Mat::zeros(6, 6));
        decompose_by_eigenvectors(Mat::from_fn(6, 6, entry).as_ref(), &mut values, right.as_mut()).unwrap();
        assert!(largest_defect(6, &values, |i, j| right[(i, j)]) < 1e-11);
        for (value, direct) in values.iter().zip(svd.values()) {
            assert!((value - direct).abs() < 1e-12);
        }
    }

    #[test]
    fn a_matrix_that_is_not_finite_is_a_numerical_error() {
        let error = SmallSvd::new(2).decompose(2, |row, _| if row == 0 { f64::NAN } else { 1.0 }).unwrap_err();
        assert!(matches!(error, Error::Numerical { .. }));
    }
}
