//! Cholesky factors and inverses of matrices that fit in cache.
//!
//! Both go over a padded copy four rows at a time (left-looking block algorithms; Golub and Van Loan, "Matrix Computations", 4th edition, section
//! 4.2): what earlier rows contribute to four rows is a product whose sums stay in registers, and only the four rows' own triangle is solved one row
//! after another. Each element is summed in an order that does not depend on the width of registers.

use super::scalar::Scalar;
use super::vector::Vector;
use pulp::{Simd, WithSimd};

/// Rows of the largest matrix that is worth it: beyond, copies no longer fit second-level cache.
pub(super) const LARGEST: usize = 128;

/// Rows worked on together.
const ROWS: usize = 4;
/// Registers along a row worked on together.
const WIDTH: usize = 2;
/// Bytes of so many of the widest registers: what a row may be written beyond its end.
const MARGIN: usize = WIDTH * 64;

/// A square matrix in memory.
#[derive(Clone, Copy)]
pub(super) struct Square<T> {
    pub(super) pointer: *mut T,
    pub(super) row: usize,
    pub(super) column: usize,
}

impl<T: Copy> Square<T> {
    /// # Safety
    /// The element must lie in the matrix, and nobody may write to it meanwhile.
    #[inline(always)]
    unsafe fn get(&self, row: usize, column: usize) -> T {
        // SAFETY: the caller's promise.
        unsafe { *self.pointer.add(row * self.row + column * self.column) }
    }

    /// # Safety
    /// The element must lie in the matrix and belong to the caller.
    #[inline(always)]
    unsafe fn set(&self, row: usize, column: usize, value: T) {
        // SAFETY: the caller's promise.
        unsafe { *self.pointer.add(row * self.row + column * self.column) = value }
    }
}

/// A square matrix whose sides are filled up to whole blocks of rows, row-major with a margin behind each row.
struct Padded<T> {
    pointer: *mut T,
    side: usize,
    stride: usize,
}

const fn side(n: usize) -> usize {
    n.next_multiple_of(ROWS)
}

fn stride<T>(n: usize) -> usize {
    side(n) + MARGIN / size_of::<T>()
}

/// Bytes of the two padded copies that an n x n matrix needs.
pub(super) fn scratch_bytes<T>(n: usize) -> usize {
    2 * side(n) * stride::<T>(n) * size_of::<T>()
}

impl<T: Vector> Padded<T> {
    /// Zeros, the unit matrix in the padding.
    ///
    /// # Safety
    /// Room for `side(n) * stride(n)` elements that belong to the caller.
    #[inline(always)]
    unsafe fn new(pointer: *mut T, n: usize) -> Self {
        let matrix = Self { pointer, side: side(n), stride: stride::<T>(n) };
        // SAFETY: the caller's promise.
        unsafe {
            std::slice::from_raw_parts_mut(pointer, matrix.side * matrix.stride).fill(T::ZERO);
            for i in n..matrix.side {
                *matrix.at(i, i) = T::ONE;
            }
        }
        matrix
    }

    #[inline(always)]
    unsafe fn at(&self, row: usize, column: usize) -> *mut T {
        // SAFETY: only called for positions in the matrix.
        unsafe { self.pointer.add(row * self.stride + column) }
    }

    /// Columns `first..last` of two rows, the second to be written.
    #[inline(always)]
    unsafe fn rows(&mut self, from: usize, to: usize, first: usize, last: usize) -> (&[T], &mut [T]) {
        // SAFETY: different rows of the matrix, which the caller owns.
        unsafe {
            (
                std::slice::from_raw_parts(self.at(from, first), last - first),
                std::slice::from_raw_parts_mut(self.at(to, first), last - first),
            )
        }
    }

    /// Columns `first..last` of a row to be written.
    #[inline(always)]
    unsafe fn row(&mut self, row: usize, first: usize, last: usize) -> &mut [T] {
        // SAFETY: a row of the matrix, which the caller owns.
        unsafe { std::slice::from_raw_parts_mut(self.at(row, first), last - first) }
    }

    /// Stores at (i.., j..) a tile of `self` (or of zeros) less the sum over p in `depth` of left\[p\]\[i..\] right\[p\]\[j..\].
    ///
    /// # Safety
    /// Rows `depth` of both operands and block row i of `self` lie in their matrices, column j before the margin; nobody else uses them.
    #[inline(always)]
    unsafe fn update<S: Simd>(
        &self,
        simd: S,
        (i, j): (usize, usize),
        zero: bool,
        depth: std::ops::Range<usize>,
        left: &Self,
        right: &Self,
    ) {
        let lanes = size_of::<T::Register<S>>() / size_of::<T>();
        // SAFETY: the caller's promise; a tile reaches less than the margin beyond the last column.
        unsafe {
            let place = |r: usize, w: usize| self.at(i + r, j + w * lanes).cast::<T::Register<S>>();
            let mut tile = [[T::splat(simd, T::ZERO); WIDTH]; ROWS];
            if !zero {
                for r in 0..ROWS {
                    for w in 0..WIDTH {
                        tile[r][w] = place(r, w).read_unaligned();
                    }
                }
            }
            for p in depth {
                let mut row = [T::splat(simd, T::ZERO); WIDTH];
                for w in 0..WIDTH {
                    row[w] = right.at(p, j + w * lanes).cast::<T::Register<S>>().read_unaligned();
                }
                for r in 0..ROWS {
                    let factor = T::splat(simd, *left.at(p, i + r));
                    for w in 0..WIDTH {
                        tile[r][w] = T::less_product(simd, factor, row[w], tile[r][w]);
                    }
                }
            }
            for r in 0..ROWS {
                for w in 0..WIDTH {
                    place(r, w).write_unaligned(tile[r][w]);
                }
            }
        }
    }
}

/// Sum of the logarithms of a factor's diagonal.
pub(super) struct LogDiagonal<T> {
    pub(super) factor: Square<T>,
    pub(super) n: usize,
}

impl<T: Vector> WithSimd for LogDiagonal<T> {
    type Output = T;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> T {
        const COUNT: usize = 32;
        let mut sum = T::ZERO;
        for first in (0..self.n).step_by(COUNT) {
            let count = COUNT.min(self.n - first);
            let mut logs = [T::ONE; COUNT];
            for i in 0..count {
                // SAFETY: the maker promised a matrix of n rows and columns.
                logs[i] = unsafe { self.factor.get(first + i, first + i) };
            }
            logs.iter_mut().for_each(
                #[inline(always)]
                |x| *x = Scalar::ln(*x),
            );
            for log in &logs[..count] {
                sum = sum.add(*log);
            }
        }
        sum
    }
}

/// to -= factor from.
#[inline(always)]
fn subtract<T: Scalar>(to: &mut [T], factor: T, from: &[T]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = to.sub(factor.mul(*from));
    }
}

#[inline(always)]
fn scale<T: Scalar>(row: &mut [T], factor: T) {
    row.iter_mut().for_each(
        #[inline(always)]
        |x| *x = x.mul(factor),
    );
}

/// Lower Cholesky factor of a matrix of which the lower triangle is read; the strict upper one of the result is zero. Answers the first pivot that
/// is not positive.
pub(super) struct Factor<T> {
    pub(super) matrix: Square<T>,
    pub(super) out: Square<T>,
    pub(super) n: usize,
    /// `scratch_bytes` bytes that belong to the caller.
    pub(super) scratch: *mut T,
}

impl<T: Vector> WithSimd for Factor<T> {
    type Output = Result<(), usize>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Result<(), usize> {
        let n = self.n;
        let step = WIDTH * size_of::<T::Register<S>>() / size_of::<T>();
        // SAFETY: the maker promised matrices of n rows and columns and the scratch memory.
        unsafe {
            // U with U^T U = A, the transpose of the factor.
            let mut u = Padded::new(self.scratch, n);
            for row in 0..n {
                for column in 0..=row {
                    *u.at(column, row) = self.matrix.get(row, column);
                }
            }
            for i in (0..u.side).step_by(ROWS) {
                for j in (i..u.side).step_by(step) {
                    u.update(simd, (i, j), false, 0..i, &u, &u);
                }
                for r in i..i + ROWS {
                    let pivot = *u.at(r, r);
                    // Not a number is not positive either.
                    let positive = pivot > T::ZERO;
                    if !positive {
                        return Err(r);
                    }
                    let root = pivot.sqrt();
                    scale(u.row(r, r, u.side), root.reciprocal());
                    *u.at(r, r) = root;
                    for q in r + 1..i + ROWS {
                        let (from, to) = u.rows(r, q, q, u.side);
                        subtract(to, from[0], from);
                    }
                }
            }
            for row in 0..n {
                for column in 0..n {
                    self.out.set(row, column, if column <= row { *u.at(column, row) } else { T::ZERO });
                }
            }
        }
        Ok(())
    }
}

/// Inverse of a matrix from its lower Cholesky factor.
pub(super) struct Inverse<T> {
    pub(super) factor: Square<T>,
    pub(super) out: Square<T>,
    pub(super) n: usize,
    /// `scratch_bytes` bytes that belong to the caller.
    pub(super) scratch: *mut T,
}

impl<T: Vector> WithSimd for Inverse<T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let n = self.n;
        let step = WIDTH * size_of::<T::Register<S>>() / size_of::<T>();
        // SAFETY: the maker promised matrices of n rows and columns and the scratch memory.
        unsafe {
            let u = Padded::new(self.scratch, n);
            let mut inverse = Padded::new(self.scratch.add(u.side * u.stride), n);
            for row in 0..n {
                for column in 0..=row {
                    *u.at(column, row) = self.factor.get(row, column);
                }
            }
            // M = L^-1, from L M = I.
            for i in (0..u.side).step_by(ROWS) {
                for j in (0..i).step_by(step) {
                    inverse.update(simd, (i, j), true, j..i, &u, &inverse);
                }
                for r in i..i + ROWS {
                    *inverse.at(r, r) = T::ONE;
                    for q in i..r {
                        let (from, to) = inverse.rows(q, r, 0, r);
                        subtract(to, *u.at(q, r), from);
                    }
                    scale(inverse.row(r, 0, r + 1), u.at(r, r).read().reciprocal());
                }
            }
            // -A^-1 = -M^T M, in the place of U.
            for i in (0..u.side).step_by(ROWS) {
                for j in (0..i + ROWS).step_by(step) {
                    u.update(simd, (i, j), true, i..u.side, &inverse, &inverse);
                }
            }
            for row in 0..n {
                for column in 0..=row {
                    let value = u.at(row, column).read().neg();
                    self.out.set(row, column, value);
                    self.out.set(column, row, value);
                }
            }
        }
    }
}
