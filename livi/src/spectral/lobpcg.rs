//! The smallest singular value by Rayleigh-Ritz steps on the span of iterate, residual and former direction (LOBPCG).

use super::arguments::{expect_block, expect_positive, expect_tolerance, refuse};
use super::kernels::{add_scaled, combine, norm, orthogonalise, orthogonalise_scratch, scale};
use super::small_svd::SmallSvd;
use super::triplet::{measure, zero};
use super::{Counted, LinearMap, Real, SingularTriplet};
use crate::Result;

/// When an iteration for the smallest singular value ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SmallestOptions {
    /// Done when `|J^T J v - s^2 v| <= tolerance * (s^2 + floor^2)`: then some eigenvalue of `J^T J + floor^2 I` is
    /// that close, relatively.
    pub tolerance: f64,
    /// Length under which singular values need not be told apart, in the unit of singular values: the sigma of the
    /// entropy, or 0 for a purely relative test.
    pub floor: f64,
    /// Most iterations (LOBPCG) or steps of one Krylov space (the Golub-Kahan process).
    pub max_iterations: usize,
}

impl SmallestOptions {
    pub(super) fn check(&self) -> Result<()> {
        expect_tolerance(self.tolerance)?;
        expect_positive("max_iterations", self.max_iterations)?;
        if self.floor >= 0.0 && self.floor.is_finite() {
            Ok(())
        } else {
            refuse("floor", format!("is {}, expected a finite number that is not negative", self.floor))
        }
    }

    pub(super) fn is_reached(&self, value: f64, residual: f64) -> bool {
        residual <= self.tolerance * (value * value + self.floor * self.floor)
    }
}

/// Smallest singular value of J, as the smallest eigenpair of `J^T J`, by LOBPCG (Knyazev 2001, "Toward the optimal
/// preconditioned eigensolver") without a preconditioner, from a block of start vectors (`block x d`, linearly
/// independent, best random).
///
/// Each iteration makes one product with J and one with its transpose for each vector of the block. The Rayleigh-Ritz
/// step takes the singular values of `J S` for an orthonormal S instead of the eigenvalues of `S^T J^T J S`, so small
/// singular values are not lost by squaring. A larger block copes with clusters at the lower end.
///
/// The value is a Ritz value, at least the true smallest singular value: before convergence it makes no lower bound.
/// See [`SingularTriplet::smallest_enclosure`]. With fewer rows than columns the smallest singular value is exactly 0
/// and no product is made.
///
/// Memory: `6 * block * (d + m)` numbers.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) for options out of range, sizes of zero, a wrong length, start vectors
/// that are not finite or linearly dependent; [`Error::Numerical`](crate::Error::Numerical) when a product is not
/// finite or a small problem does not converge; what the map answers.
///
/// ```
/// use livi::spectral::{DenseMap, SmallestOptions, lobpcg};
/// let mut map = DenseMap::new(3, 3, vec![3.0_f64, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.5])?;
/// let options = SmallestOptions { tolerance: 1e-10, floor: 0.0, max_iterations: 50 };
/// let triplet = lobpcg(&mut map, 1, &[1.0, 1.0, 1.0], &options)?;
/// assert!(triplet.converged && (triplet.value - 0.5).abs() < 1e-10);
/// # Ok::<(), livi::Error>(())
/// ```
pub fn lobpcg<T: Real, M: LinearMap<T> + ?Sized>(
    map: &mut M,
    block: usize,
    starts: &[T],
    options: &SmallestOptions,
) -> Result<SingularTriplet<T>> {
    options.check()?;
    let mut map = Counted::new(map)?;
    let (rows, cols) = (map.rows(), map.cols());
    check_starts(block, cols, starts)?;
    if rows < cols {
        return Ok(zero(rows, cols));
    }
    iterate(&mut map, block, starts, options.max_iterations, |value, residual| options.is_reached(value, residual))
}

fn check_starts<T: Real>(block: usize, cols: usize, starts: &[T]) -> Result<()> {
    expect_positive("block", block)?;
    if block > cols {
        return refuse("block", format!("is {block}, expected at most the {cols} columns"));
    }
    expect_block("start vectors", starts, block, cols)
}

/// The iteration for its own sake, whatever the shape of the map: at most `max_iterations`, fewer when `is_reached`
/// (value, residual).
pub(super) fn iterate<T: Real, M: LinearMap<T>>(
    map: &mut Counted<M>,
    block: usize,
    starts: &[T],
    max_iterations: usize,
    is_reached: impl Fn(f64, f64) -> bool,
) -> Result<SingularTriplet<T>> {
    let (rows, cols) = (map.rows(), map.cols());
    check_starts(block, cols, starts)?;
    let mut space = Space::new(rows, cols, block);
    space.start(map, starts)?;
    let mut iterations = 0;
    while iterations < max_iterations {
        let residual = space.residuals(map)?;
        if is_reached(space.values[0], residual) || !space.extend(map)? {
            break;
        }
        space.rayleigh_ritz()?;
        iterations += 1;
    }
    let mut triplet = measure(map, space.basis[..cols].to_vec())?;
    triplet.iterations = iterations;
    triplet.converged = is_reached(triplet.value, triplet.residual);
    triplet.products = map.products();
    Ok(triplet)
}

/// The trial space [X, P, R] as rows, with its images under J.
struct Space<T> {
    rows: usize,
    cols: usize,
    block: usize,
    /// Vectors in use: X first (`block` of them), then P, then R.
    size: usize,
    basis: Vec<T>,
    images: Vec<T>,
    next_basis: Vec<T>,
    next_images: Vec<T>,
    /// Residuals of X, and the block that products are made of.
    residuals: Vec<T>,
    residual_images: Vec<T>,
    /// Ritz values of X, from the smallest.
    values: Vec<f64>,
    triangle: Vec<f64>,
    /// Coefficients of the next X and P in the trial space, one vector a row.
    coefficients: Vec<f64>,
    scratch: Vec<f64>,
    svd: SmallSvd,
}

impl<T: Real> Space<T> {
    fn new(rows: usize, cols: usize, block: usize) -> Self {
        let zero = T::from_f64(0.0);
        let capacity = 3 * block;
        Self {
            rows,
            cols,
            block,
            size: 0,
            basis: vec![zero; capacity * cols],
            images: vec![zero; capacity * rows],
            next_basis: vec![zero; 2 * block * cols],
            next_images: vec![zero; capacity * rows],
            residuals: vec![zero; block * cols],
            residual_images: vec![zero; block * rows],
            values: vec![0.0; block],
            triangle: vec![0.0; capacity * capacity],
            coefficients: vec![0.0; 2 * block * capacity],
            scratch: vec![0.0; orthogonalise_scratch(capacity)],
            svd: SmallSvd::new(capacity),
        }
    }

    /// Orthonormal X from the start vectors, and its Ritz values.
    fn start<M: LinearMap<T>>(&mut self, map: &mut Counted<M>, starts: &[T]) -> Result<()> {
        for (index, start) in starts.chunks_exact(self.cols).enumerate() {
            let length = norm(start);
            let mut independent = length > 0.0;
            if independent {
                self.residuals[..self.cols].copy_from_slice(start);
                scale(1.0 / length, &mut self.residuals[..self.cols]);
                independent = self.append();
            }
            if !independent {
                return refuse("start vectors", format!("row {index} depends linearly on the rows before it"));
            }
        }
        let width = self.block * self.cols;
        let images = &mut self.images[..self.block * self.rows];
        map.apply(self.block, &self.basis[..width], images)?;
        self.rayleigh_ritz()
    }

    /// Appends the first residual row, of unit length, to the basis unless it lies in its span up to rounding.
    fn append(&mut self) -> bool {
        let (former, rest) = self.basis.split_at_mut(self.size * self.cols);
        let vector = &mut rest[..self.cols];
        vector.copy_from_slice(&self.residuals[..self.cols]);
        let length = orthogonalise(former, vector, &mut self.scratch);
        if length <= 100.0 * T::UNIT_ROUNDOFF {
            return false;
        }
        scale(1.0 / length, vector);
        let length = orthogonalise(former, vector, &mut self.scratch);
        scale(1.0 / length, vector);
        self.size += 1;
        true
    }

    /// Residuals `J^T J x - s^2 x` of X; returns the norm of the first.
    fn residuals<M: LinearMap<T>>(&mut self, map: &mut Counted<M>) -> Result<f64> {
        map.apply_transpose(self.block, &self.images[..self.block * self.rows], &mut self.residuals)?;
        let vectors = self.basis.chunks_exact(self.cols);
        for ((residual, vector), &value) in self.residuals.chunks_exact_mut(self.cols).zip(vectors).zip(&self.values) {
            add_scaled(-value * value, vector, residual);
        }
        Ok(norm(&self.residuals[..self.cols]))
    }

    /// Makes X and P orthonormal afresh, appends the residuals and their images. False when the residuals add nothing
    /// to the space.
    fn extend<M: LinearMap<T>>(&mut self, map: &mut Counted<M>) -> Result<bool> {
        for index in 0..self.size {
            // Only rounding is taken out here; the images follow by the same combination.
            let (former, rest) = self.basis.split_at_mut(index * self.cols);
            let length = orthogonalise(former, &mut rest[..self.cols], &mut self.scratch);
            scale(1.0 / length, &mut rest[..self.cols]);
            let (former, rest) = self.images.split_at_mut(index * self.rows);
            let image = &mut rest[..self.rows];
            for (other, &component) in former.chunks_exact(self.rows).zip(&self.scratch[..index]) {
                add_scaled(-component, other, image);
            }
            scale(1.0 / length, image);
        }
        let former = self.size;
        for index in 0..self.block {
            self.residuals.copy_within(index * self.cols..(index + 1) * self.cols, 0);
            let length = norm(&self.residuals[..self.cols]);
            if length > 0.0 {
                scale(1.0 / length, &mut self.residuals[..self.cols]);
                self.append();
            }
        }
        let added = self.size - former;
        if added == 0 {
            return Ok(false);
        }
        self.residuals.fill(T::from_f64(0.0));
        self.residuals[..added * self.cols].copy_from_slice(&self.basis[former * self.cols..self.size * self.cols]);
        map.apply(self.block, &self.residuals, &mut self.residual_images)?;
        self.images[former * self.rows..self.size * self.rows]
            .copy_from_slice(&self.residual_images[..added * self.rows]);
        Ok(true)
    }

    /// Replaces X by the Ritz vectors of the smallest Ritz values and P by the part of them outside the former X,
    /// orthogonal to the new X.
    fn rayleigh_ritz(&mut self) -> Result<()> {
        let (size, block, rows, cols) = (self.size, self.block, self.rows, self.cols);
        // J S = Q R; the singular values of R are those of J S.
        self.next_images[..size * rows].copy_from_slice(&self.images[..size * rows]);
        self.triangle.fill(0.0);
        for index in 0..size {
            let (former, rest) = self.next_images.split_at_mut(index * rows);
            let image = &mut rest[..rows];
            let length = orthogonalise(former, image, &mut self.scratch);
            for (row, &component) in self.scratch[..index].iter().enumerate() {
                self.triangle[row * size + index] = component;
            }
            self.triangle[index * size + index] = length;
            // A zero vector stays zero: it takes nothing out of the later ones.
            scale(if length > 0.0 { 1.0 / length } else { 0.0 }, image);
        }
        let triangle = &self.triangle;
        self.svd.decompose(size, |row, column| triangle[row * size + column])?;
        for index in 0..block {
            let column = size - 1 - index;
            self.values[index] = self.svd.values()[column];
            for row in 0..size {
                self.coefficients[index * size + row] = self.svd.right(row, column);
            }
        }
        let mut kept = block;
        for index in 0..if size > block { block } else { 0 } {
            let (former, rest) = self.coefficients.split_at_mut(kept * size);
            let direction = &mut rest[..size];
            direction[..block].fill(0.0);
            direction[block..].copy_from_slice(&former[index * size + block..(index + 1) * size]);
            let length = norm(direction);
            if length == 0.0 {
                continue;
            }
            scale(1.0 / length, direction);
            let length = orthogonalise(former, direction, &mut self.scratch);
            // A direction that lies in the new X adds nothing.
            if length > 1e-8 {
                scale(1.0 / length, direction);
                kept += 1;
            }
        }
        for index in 0..kept {
            let coefficients = &self.coefficients[index * size..(index + 1) * size];
            let basis = &mut self.next_basis[index * cols..(index + 1) * cols];
            combine(&self.basis[..size * cols], coefficients, basis);
            let images = &mut self.next_images[index * rows..(index + 1) * rows];
            combine(&self.images[..size * rows], coefficients, images);
        }
        self.basis[..kept * cols].copy_from_slice(&self.next_basis[..kept * cols]);
        self.images[..kept * rows].copy_from_slice(&self.next_images[..kept * rows]);
        self.size = kept;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
