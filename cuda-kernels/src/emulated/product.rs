//! Matrix products by faer.

use crate::{Gemm, Matrix, Precision, Real};
use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};

/// Multiplies.
///
/// # Safety
/// The matrices lie in memory that is as long as their shapes need, and the result overlaps neither operand.
pub(super) unsafe fn run(gemm: &Gemm) {
    // SAFETY: the caller's promise.
    unsafe {
        match gemm.real {
            Real::F32 => typed::<f32>(gemm, gemm.alpha as f32, gemm.beta as f32),
            Real::F64 => typed::<f64>(gemm, gemm.alpha, gemm.beta),
        }
    }
}

trait Element: faer::traits::ComplexField + Copy + PartialEq + std::ops::Mul<Output = Self> {
    const ZERO: Self;
    /// Rounded to 10 bits of mantissa.
    fn rounded(self) -> Self;
}

impl Element for f32 {
    const ZERO: Self = 0.0;
    fn rounded(self) -> Self {
        if self.is_finite() { f32::from_bits((self.to_bits() + 0x1000) & !0x1fff) } else { self }
    }
}

impl Element for f64 {
    const ZERO: Self = 0.0;
    fn rounded(self) -> Self {
        self
    }
}

/// The elements of an operand, row-major, as the device multiplies them.
unsafe fn gathered<T: Element>(matrix: &Matrix, entry: usize, (rows, columns): (usize, usize), round: bool) -> Vec<T> {
    let base = (matrix.address as *const T).wrapping_add(entry * matrix.batch_stride);
    let mut values = Vec::with_capacity(rows * columns);
    for i in 0..rows {
        for j in 0..columns {
            let place = if matrix.transposed { j * matrix.leading + i } else { i * matrix.leading + j };
            // SAFETY: the caller's promise.
            let value = unsafe { *base.wrapping_add(place) };
            values.push(if round { value.rounded() } else { value });
        }
    }
    values
}

unsafe fn typed<T: Element>(gemm: &Gemm, alpha: T, beta: T) {
    let round = gemm.precision == Precision::Tf32;
    let (m, n, k) = (gemm.m, gemm.n, gemm.k);
    let (down, across) = if gemm.c.transposed { (1, gemm.c.leading) } else { (gemm.c.leading, 1) };
    for entry in 0..gemm.batch {
        // SAFETY: the caller's promise.
        unsafe {
            let a = gathered::<T>(&gemm.a, entry, (m, k), round);
            let b = gathered::<T>(&gemm.b, entry, (k, n), round);
            let c = (gemm.c.address as *mut T).wrapping_add(entry * gemm.c.batch_stride);
            for i in 0..m {
                for j in 0..n {
                    let place = c.wrapping_add(i * down + j * across);
                    *place = if beta == T::ZERO { T::ZERO } else { beta * *place };
                }
            }
            matmul(
                MatMut::from_raw_parts_mut(c, m, n, down as isize, across as isize),
                Accum::Add,
                MatRef::from_row_major_slice(&a, m, k),
                MatRef::from_row_major_slice(&b, k, n),
                alpha,
                Par::Seq,
            );
        }
    }
}
