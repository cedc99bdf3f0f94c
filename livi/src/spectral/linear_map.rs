//! A linear map known by its products only.

use super::Real;
use super::arguments::{expect_length, expect_positive};
use super::kernels::{all_finite, dot};
use crate::{Error, Result};

/// A linear map J from R^d to R^m, known only by products with blocks of vectors.
///
/// Blocks are row-major with one vector a row. A method of this module calls with one `count` during a whole run (a
/// vector that is no longer needed is replaced by zeros), so an implementation may prepare its workspace for that
/// count; only the last block of a longer list of probes can be shorter.
pub trait LinearMap<T: Real> {
    /// Dimension m of the outputs.
    fn rows(&self) -> usize;

    /// Dimension d of the inputs.
    fn cols(&self) -> usize;

    /// `out = J v` for each row v of `vectors`: `vectors` is `count x d`, `out` is `count x m` and is overwritten.
    ///
    /// # Errors
    /// Whatever prevents the product; a wrong length of a slice is [`Error::Argument`].
    fn apply(&mut self, count: usize, vectors: &[T], out: &mut [T]) -> Result<()>;

    /// `out = J^T u` for each row u of `vectors`: `vectors` is `count x m`, `out` is `count x d` and is overwritten.
    ///
    /// # Errors
    /// As [`LinearMap::apply`].
    fn apply_transpose(&mut self, count: usize, vectors: &[T], out: &mut [T]) -> Result<()>;
}

impl<T: Real, M: LinearMap<T> + ?Sized> LinearMap<T> for &mut M {
    fn rows(&self) -> usize {
        (**self).rows()
    }

    fn cols(&self) -> usize {
        (**self).cols()
    }

    fn apply(&mut self, count: usize, vectors: &[T], out: &mut [T]) -> Result<()> {
        (**self).apply(count, vectors, out)
    }

    fn apply_transpose(&mut self, count: usize, vectors: &[T], out: &mut [T]) -> Result<()> {
        (**self).apply_transpose(count, vectors, out)
    }
}

/// A matrix stored as numbers, row-major, for tests and small problems.
///
/// ```
/// use livi::spectral::{DenseMap, LinearMap};
/// let mut map = DenseMap::new(2, 3, vec![1.0_f64, 2.0, 3.0, 4.0, 5.0, 6.0])?;
/// let mut image = [0.0; 2];
/// map.apply(1, &[1.0, 0.0, -1.0], &mut image)?;
/// assert_eq!(image, [-2.0, -2.0]);
/// # Ok::<(), livi::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct DenseMap<T> {
    rows: usize,
    cols: usize,
    matrix: Vec<T>,
    transposed: Vec<T>,
}

impl<T: Real> DenseMap<T> {
    /// The map of the `rows x cols` matrix whose entries are given row by row.
    ///
    /// # Errors
    /// [`Error::Argument`] when a size is zero or the number of entries is not `rows * cols`.
    pub fn new(rows: usize, cols: usize, matrix: Vec<T>) -> Result<Self> {
        expect_positive("rows", rows)?;
        expect_positive("cols", cols)?;
        expect_length("matrix", matrix.len(), rows, cols)?;
        let transposed = (0..rows * cols).map(|index| matrix[(index % rows) * cols + index / rows]).collect();
        Ok(Self { rows, cols, matrix, transposed })
    }

    /// The entries, row by row.
    pub fn matrix(&self) -> &[T] {
        &self.matrix
    }
}

impl<T: Real> LinearMap<T> for DenseMap<T> {
    fn rows(&self) -> usize {
        self.rows
    }

    fn cols(&self) -> usize {
        self.cols
    }

    fn apply(&mut self, count: usize, vectors: &[T], out: &mut [T]) -> Result<()> {
        multiply(count, self.cols, &self.matrix, vectors, out)
    }

    fn apply_transpose(&mut self, count: usize, vectors: &[T], out: &mut [T]) -> Result<()> {
        multiply(count, self.rows, &self.transposed, vectors, out)
    }
}

/// Each row of `vectors` times each row of `matrix`, both of length `inner`.
fn multiply<T: Real>(count: usize, inner: usize, matrix: &[T], vectors: &[T], out: &mut [T]) -> Result<()> {
    expect_length("vectors", vectors.len(), count, inner)?;
    expect_length("out", out.len(), count, matrix.len() / inner)?;
    let products =
        vectors.chunks_exact(inner).flat_map(|vector| matrix.chunks_exact(inner).map(move |row| dot(row, vector)));
    for (entry, product) in out.iter_mut().zip(products) {
        *entry = T::from_f64(product);
    }
    Ok(())
}

/// Number of products with single vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Products {
    /// Products with J.
    pub apply: usize,
    /// Products with the transpose of J.
    pub apply_transpose: usize,
}

impl Products {
    /// All products.
    pub fn total(self) -> usize {
        self.apply + self.apply_transpose
    }
}

impl std::ops::Add for Products {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { apply: self.apply + other.apply, apply_transpose: self.apply_transpose + other.apply_transpose }
    }
}

/// A map that counts its products and refuses blocks of a wrong length and results that are not finite.
///
/// ```
/// use livi::spectral::{Counted, DenseMap, LinearMap};
/// let mut map = Counted::new(DenseMap::new(1, 1, vec![2.0_f64])?)?;
/// map.apply(3, &[1.0, 2.0, 3.0], &mut [0.0; 3])?;
/// assert_eq!(map.products().total(), 3);
/// # Ok::<(), livi::Error>(())
/// ```
#[derive(Debug)]
pub struct Counted<M> {
    map: M,
    rows: usize,
    cols: usize,
    products: Products,
}

impl<M> Counted<M> {
    /// Starts counting at zero.
    ///
    /// # Errors
    /// [`Error::Argument`] when the map has no rows or no columns.
    pub fn new<T: Real>(map: M) -> Result<Self>
    where
        M: LinearMap<T>,
    {
        let (rows, cols) = (map.rows(), map.cols());
        expect_positive("rows of the linear map", rows)?;
        expect_positive("columns of the linear map", cols)?;
        Ok(Self { map, rows, cols, products: Products::default() })
    }

    /// Products made so far.
    pub fn products(&self) -> Products {
        self.products
    }
}

impl<T: Real, M: LinearMap<T>> LinearMap<T> for Counted<M> {
    fn rows(&self) -> usize {
        self.rows
    }

    fn cols(&self) -> usize {
        self.cols
    }

    fn apply(&mut self, count: usize, vectors: &[T], out: &mut [T]) -> Result<()> {
        expect_length("vectors", vectors.len(), count, self.cols)?;
        expect_length("out", out.len(), count, self.rows)?;
        self.map.apply(count, vectors, out)?;
        self.products.apply += count;
        expect_finite("product with the linear map", out)
    }

    fn apply_transpose(&mut self, count: usize, vectors: &[T], out: &mut [T]) -> Result<()> {
        expect_length("vectors", vectors.len(), count, self.rows)?;
        expect_length("out", out.len(), count, self.cols)?;
        self.map.apply_transpose(count, vectors, out)?;
        self.products.apply_transpose += count;
        expect_finite("product with the transposed linear map", out)
    }
}

fn expect_finite<T: Real>(method: &'static str, block: &[T]) -> Result<()> {
    if all_finite(block) {
        Ok(())
    } else {
        Err(Error::Numerical {
            method,
            problem: "the result is not finite; the map's parameters or its input overflow".into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> DenseMap<f64> {
        DenseMap::new(2, 3, vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap()
    }

    #[test]
    fn a_dense_map_multiplies_each_row_of_the_block() {
        let mut out = [0.0; 4];
        example().apply(2, &[1.0, 0.0, 0.0, 0.0, 1.0, 1.0], &mut out).unwrap();
        assert_eq!(out, [1.0, 4.0, 5.0, 11.0]);
    }

    #[test]
    fn the_transpose_of_a_dense_map_is_its_adjoint() {
        let mut out = [0.0; 3];
        example().apply_transpose(1, &[1.0, -2.0], &mut out).unwrap();
        assert_eq!(out, [-7.0, -8.0, -9.0]);
    }

    #[test]
    fn a_matrix_of_a_wrong_length_is_refused_by_name() {
        let message = DenseMap::new(2, 2, vec![1.0_f32; 3]).unwrap_err().to_string();
        assert_eq!(message, "matrix: has 3 numbers, expected 2 x 2 = 4");
    }

    #[test]
    fn a_map_without_columns_is_refused() {
        assert!(matches!(DenseMap::<f64>::new(2, 0, vec![]), Err(Error::Argument { .. })));
    }

    #[test]
    fn counting_tells_products_of_either_kind_apart() {
        let mut map = Counted::new(example()).unwrap();
        map.apply(2, &[0.0; 6], &mut [0.0; 4]).unwrap();
        map.apply_transpose(3, &[0.0; 6], &mut [0.0; 9]).unwrap();
        assert_eq!(map.products(), Products { apply: 2, apply_transpose: 3 });
    }

    #[test]
    fn a_result_that_is_not_finite_is_a_numerical_error() {
        let mut map = Counted::new(DenseMap::new(1, 1, vec![f32::MAX]).unwrap()).unwrap();
        let error = map.apply(1, &[10.0], &mut [0.0]).unwrap_err();
        assert!(matches!(error, Error::Numerical { .. }), "{error}");
    }

    #[test]
    fn a_block_of_a_wrong_length_is_refused_before_the_product() {
        let mut map = Counted::new(example()).unwrap();
        let error = map.apply(2, &[0.0; 5], &mut [0.0; 4]).unwrap_err();
        assert!(matches!(&error, Error::Argument { name, .. } if name == "vectors"), "{error}");
        assert_eq!(map.products().total(), 0);
    }
}
