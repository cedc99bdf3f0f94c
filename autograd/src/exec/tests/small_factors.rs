//! Factors, inverses and log-determinants of matrices of every small size, against faer on dense copies in double precision.

use super::support::*;
use crate::plan::step::{Action, View};
use crate::{DType, Error};
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt::{factor, inverse};
use faer::{Mat, Par};

/// How a matrix lies in memory.
#[derive(Clone, Copy, Debug)]
enum Layout {
    RowMajor,
    ColumnMajor,
    /// Every third column of every second row of a larger matrix.
    Strided,
}

const LAYOUTS: [Layout; 3] = [Layout::RowMajor, Layout::ColumnMajor, Layout::Strided];
/// Sizes around those of blocks and registers; the last two are beyond the small algorithms.
const SIZES: [usize; 12] = [1, 2, 3, 4, 5, 31, 32, 33, 127, 128, 129, 130];

/// A batch of n x n matrices as an input with such a layout.
fn matrices(bench: &mut Bench, values: &[f64], n: usize, layout: Layout, dtype: DType) -> View {
    let batch = values.len() / (n * n);
    let (row, column) = match layout {
        Layout::RowMajor => (n, 1),
        Layout::ColumnMajor => (1, n),
        Layout::Strided => (6 * n, 3),
    };
    let entry = n * row.max(column);
    let mut memory = vec![f64::NAN; batch * entry];
    for (i, value) in values.iter().enumerate() {
        memory[i / (n * n) * entry + i / n % n * row + i % n * column] = *value;
    }
    let buffer = bench.input(memory, dtype);
    View { buffer, offset: 0, shape: vec![batch, n, n], strides: vec![entry, row, column], dtype }
}

/// Symmetric matrices G G^T / n + I, rounded to the type; above the diagonal numbers that nobody may read.
fn positive(n: usize, batch: usize, dtype: DType) -> Vec<f64> {
    let mut random = Random::new(n as u64 + 3);
    let mut result = vec![f64::NAN; batch * n * n];
    for matrix in result.chunks_mut(n * n) {
        let g = random.reals(n * n);
        for i in 0..n {
            for j in 0..=i {
                let dot: f64 = (0..n).map(|k| g[i * n + k] * g[j * n + k]).sum();
                let value = dot / n as f64 + if i == j { 1.0 } else { 0.0 };
                matrix[i * n + j] = if dtype == DType::F32 { f64::from(value as f32) } else { value };
            }
        }
    }
    result
}

/// The lower factor of a row-major matrix by faer, or the pivot that is not positive.
fn faer_factor(matrix: &[f64], n: usize) -> Result<Mat<f64>, usize> {
    let mut a = Mat::from_fn(n, n, |i, j| if j <= i { matrix[i * n + j] } else { 0.0 });
    let mut memory = MemBuffer::new(factor::cholesky_in_place_scratch::<f64>(n, Par::Seq, Default::default()));
    let stack = MemStack::new(&mut memory);
    match factor::cholesky_in_place(a.as_mut(), Default::default(), Par::Seq, stack, Default::default()) {
        Ok(_) => Ok(a),
        Err(factor::LltError::NonPositivePivot { index }) => Err(index),
    }
}

/// The lower triangle of the inverse, from the factor.
fn faer_inverse(lower: &Mat<f64>) -> Mat<f64> {
    let n = lower.nrows();
    let mut result = Mat::zeros(n, n);
    let mut memory = MemBuffer::new(inverse::inverse_scratch::<f64>(n, Par::Seq));
    inverse::inverse(result.as_mut(), lower.as_ref(), Par::Seq, MemStack::new(&mut memory));
    result
}

fn tolerance(dtype: DType) -> f64 {
    if dtype == DType::F32 { 5e-6 } else { 1e-14 }
}

#[test]
fn factors_and_what_follows_from_them_are_faers_for_every_size_up_to_130() {
    const BATCH: usize = 2;
    for n in 1..=130 {
        for dtype in [DType::F32, DType::F64] {
            let values = positive(n, BATCH, dtype);
            let mut bench = Bench::new();
            let mut outputs = Vec::new();
            for layout in LAYOUTS {
                let a = matrices(&mut bench, &values, n, layout, dtype);
                let [factor, inverse] = [0; 2].map(|_| bench.output(BATCH * n * n, dtype));
                let log_det = bench.output(BATCH, dtype);
                let (lower, flat) = (dense(factor, &[BATCH, n, n], dtype), dense(log_det, &[BATCH], dtype));
                bench.step(Action::Cholesky { a, factor: lower.clone() });
                bench.step(Action::InverseFactor { factor: lower.clone(), out: dense(inverse, &[BATCH, n, n], dtype) });
                bench.step(Action::LogDetFactor { factor: lower, out: flat });
                outputs.push([factor, inverse, log_det]);
            }
            let machine = bench.machine(1).unwrap();
            let read = |id: crate::plan::step::BufferId| machine.read_f64(bench.vars[id.0]).unwrap();
            let (mut lowers, mut inverses, mut log_dets) = (Vec::new(), Vec::new(), Vec::new());
            for matrix in values.chunks(n * n) {
                let lower = faer_factor(matrix, n).unwrap();
                let inverse = faer_inverse(&lower);
                for i in 0..n {
                    lowers.extend((0..n).map(|j| if j <= i { lower[(i, j)] } else { 0.0 }));
                    inverses.extend((0..n).map(|j| inverse[(i.max(j), i.min(j))]));
                }
                log_dets.push((0..n).map(|i| 2.0 * lower[(i, i)].ln()).sum::<f64>());
            }
            for (layout, [factor, inverse, log_det]) in LAYOUTS.into_iter().zip(outputs) {
                let what = |part: &str| format!("{part} of {n}x{n}, {dtype}, {layout:?}");
                assert_close(&read(factor), &lowers, tolerance(dtype), &what("factor"));
                assert_close(&read(inverse), &inverses, tolerance(dtype), &what("inverse"));
                assert_close(&read(log_det), &log_dets, tolerance(dtype), &what("log-determinant"));
            }
        }
    }
}

#[test]
fn results_do_not_depend_on_threads_or_on_how_the_matrix_lies() {
    for n in SIZES {
        for dtype in [DType::F32, DType::F64] {
            let values = positive(n, 12, dtype);
            let mut results = LAYOUTS.map(|layout| {
                let mut bench = Bench::new();
                let a = matrices(&mut bench, &values, n, layout, dtype);
                let [factor, inverse] = [0; 2].map(|_| bench.output(12 * n * n, dtype));
                let lower = dense(factor, &[12, n, n], dtype);
                bench.step(Action::Cholesky { a, factor: lower.clone() });
                bench.step(Action::InverseFactor { factor: lower, out: dense(inverse, &[12, n, n], dtype) });
                [bench.values(factor), bench.values(inverse)]
            });
            let first = std::mem::take(&mut results[0]);
            assert!(results[1..].iter().all(|other| *other == first), "{n}x{n}, {dtype}");
        }
    }
}

/// The pivot that the second of two matrices fails at, if it does; the first is positive definite.
fn failure(matrix: &[f64], n: usize, dtype: DType) -> Option<usize> {
    let mut values = positive(n, 1, dtype);
    values.extend(matrix);
    let mut bench = Bench::new();
    let a = matrices(&mut bench, &values, n, Layout::RowMajor, dtype);
    let out = bench.output(2 * n * n, dtype);
    bench.step(Action::Cholesky { a, factor: dense(out, &[2, n, n], dtype) });
    match bench.machine(2) {
        Ok(_) => None,
        Err(Error::NotPositiveDefinite { index, pivot, .. }) => {
            assert_eq!(index, 1, "{n}x{n}, {dtype}");
            Some(pivot)
        }
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn a_matrix_without_a_factor_is_named_with_the_pivot_that_faer_names() {
    for n in SIZES {
        for dtype in [DType::F32, DType::F64] {
            for p in [0, 1, n / 2, n - 1] {
                let p = p.min(n - 1);
                for value in [0.0, -1.0, f64::NAN, f64::NEG_INFINITY] {
                    let mut matrix = positive(n, 1, dtype);
                    matrix[p * n + p] = value;
                    assert_eq!(failure(&matrix, n, dtype), Some(p), "{n}x{n}, {dtype}: {value} at pivot {p}");
                    assert_eq!(faer_factor(&matrix, n).err(), Some(p));
                }
                for value in [f64::NAN, f64::INFINITY, 1e3] {
                    if p > 0 {
                        let mut matrix = positive(n, 1, dtype);
                        matrix[p * n] = value;
                        assert_eq!(failure(&matrix, n, dtype), Some(p), "{n}x{n}, {dtype}: {value} in row {p}");
                        assert_eq!(faer_factor(&matrix, n).err(), Some(p));
                    }
                }
            }
        }
    }
}
