//! All singular values of a sampler's Jacobian, where there are few enough latents to multiply every unit vector.

use super::estimate::{Direction, directions};
use super::{Estimate, JacobianMap, Settings};
use crate::spectral::{LinearMap, Real, bounds};
use crate::{Error, Result};
use autograd::Element;
use faer::{Mat, MatRef, Side};

/// Up to this many latents the extreme singular values are taken from the whole spectrum: d products in blocks and one dense
/// decomposition cost less than a Krylov space that has converged, and leave no doubt which singular value was found.
pub const FULL_DEPTH: usize = 400;

/// Singular values of J from the largest to the smallest, d of them (zeros beyond its rows), with the right singular vectors.
#[derive(Clone, Debug)]
pub struct Spectrum {
    /// Singular values.
    pub values: Vec<f64>,
    /// Right singular vectors as columns, d x min(m', d): one for each of the first singular values.
    right: Mat<f64>,
    /// How far each singular value may be off through rounding of the products: 8 units of roundoff of the Frobenius norm.
    pub rounding: f64,
}

impl Spectrum {
    /// Multiplies all unit vectors with the folded map and decomposes the product in f64.
    ///
    /// # Errors
    /// [`Error::Numerical`] when a product is not finite or neither the singular value nor the eigenvalue problem converges; those of the machine.
    pub fn compute<T: Real + Element>(map: &mut JacobianMap<'_, T>) -> Result<Self> {
        let (rows, cols) = (map.rows(), map.cols());
        let block = map.block().min(cols);
        let mut vectors = vec![T::from_f64(0.0); block * cols];
        let mut images = vec![T::from_f64(0.0); block * rows];
        let mut columns = Vec::with_capacity(rows * cols);
        for start in (0..cols).step_by(block) {
            let count = block.min(cols - start);
            vectors.fill(T::from_f64(0.0));
            for k in 0..count {
                vectors[k * cols + start + k] = T::from_f64(1.0);
            }
            map.apply(count, &vectors[..count * cols], &mut images[..count * rows])?;
            columns.extend(images[..count * rows].iter().map(|x| x.to_f64()));
        }
        let squares: f64 = columns.iter().map(|x| x * x).sum();
        if !squares.is_finite() {
            return Err(Error::Numerical { method: "spectrum", problem: "the Jacobian is not finite".into() });
        }
        let (mut values, right) = decompose(MatRef::from_column_major_slice(&columns, rows, cols))?;
        values.resize(cols, 0.0);
        Ok(Self { values, right, rounding: 8.0 * T::UNIT_ROUNDOFF * squares.sqrt() })
    }

    /// The right singular vector of singular value `index`; zeros for one beyond the rows of J.
    pub(super) fn vector<T: Real>(&self, index: usize) -> Vec<T> {
        let found = index < self.right.ncols();
        (0..self.right.nrows()).map(|i| T::from_f64(if found { self.right[(i, index)] } else { 0.0 })).collect()
    }
}

/// Singular values and right singular vectors; from the Gram matrix where the direct iteration stalls.
fn decompose(matrix: MatRef<'_, f64>) -> Result<(Vec<f64>, Mat<f64>)> {
    if let Ok(svd) = matrix.thin_svd() {
        let values: Vec<f64> = svd.S().column_vector().iter().copied().collect();
        if values.iter().all(|s| s.is_finite()) {
            return Ok((values, svd.V().to_owned()));
        }
    }
    let gram = matrix.transpose() * matrix;
    let eigen = gram.self_adjoint_eigen(Side::Lower).map_err(|_| Error::Numerical {
        method: "spectrum",
        problem: "neither the singular value nor the eigenvalue iteration converged".into(),
    })?;
    let (size, rank) = (gram.ncols(), matrix.nrows().min(gram.ncols()));
    let right = Mat::from_fn(size, rank, |i, j| eigen.U()[(i, size - 1 - j)]);
    let values = (0..rank).map(|j| (matrix * right.col(j)).norm_l2()).collect();
    Ok((values, right))
}

/// The exact value from the whole spectrum; its gradient is that of sum_i <J v_i / (s_i^2 + sigma^2), J_gamma v_i> over all right singular vectors.
pub(super) fn exact<T: Real + Element>(
    map: &mut JacobianMap<'_, T>,
    sigma: f64,
    settings: &Settings,
) -> Result<Estimate> {
    let spectrum = Spectrum::compute(map)?;
    let value = bounds::half_log_det(&spectrum.values, spectrum.values.len(), sigma)?;
    let mut found = Vec::new();
    if settings.directions {
        let rank = spectrum.right.ncols();
        let vectors: Vec<T> = (0..rank).flat_map(|index| spectrum.vector::<T>(index)).collect();
        found = directions(map.cols(), &vectors, &vectors, |k| spectrum.values[k].hypot(sigma).powi(-2));
    }
    Ok(deterministic(value, found))
}

/// An estimate without bracket, error or residual.
pub(super) fn deterministic(half_log_det: f64, directions: Vec<Direction>) -> Estimate {
    Estimate { half_log_det, lower: None, upper: None, standard_error: 0.0, residual: None, products: 0, directions }
}
