//! Matrices with known singular values, and dense truth, for the tests.

use faer::{Mat, Side};
use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;

use super::{DenseMap, Real, fill_gaussian, fill_rademacher, orthonormal_probes};

/// A generator for the tests.
pub fn generator(seed: u64) -> Xoshiro256PlusPlus {
    Xoshiro256PlusPlus::seed_from_u64(seed)
}

/// A `rows x cols` matrix, row-major, with the given singular values (at most `min(rows, cols)`; the others are zero)
/// in random positions.
pub fn matrix_with(singular_values: &[f64], rows: usize, cols: usize, seed: u64) -> Vec<f64> {
    let mut generator = generator(seed);
    let rank = singular_values.len();
    let left: Vec<f64> = orthonormal_probes(&mut generator, rank, rows).unwrap();
    let right: Vec<f64> = orthonormal_probes(&mut generator, rank, cols).unwrap();
    let mut matrix = vec![0.0; rows * cols];
    for (index, &value) in singular_values.iter().enumerate() {
        for row in 0..rows {
            for col in 0..cols {
                matrix[row * cols + col] += value * left[index * rows + row] * right[index * cols + col];
            }
        }
    }
    matrix
}

/// The matrix as a map of another scalar.
pub fn map_of<T: Real>(matrix: &[f64], rows: usize, cols: usize) -> DenseMap<T> {
    DenseMap::new(rows, cols, matrix.iter().map(|&entry| T::from_f64(entry)).collect()).unwrap()
}

/// Matrices of every kind the estimators have to cope with: name, rows, columns, entries.
pub fn gallery() -> Vec<(&'static str, usize, usize, Vec<f64>)> {
    let mut random = vec![0.0; 50 * 24];
    fill_gaussian(&mut generator(11), &mut random);
    let mut wide = vec![0.0; 9 * 20];
    fill_gaussian(&mut generator(12), &mut wide);
    let clustered: Vec<f64> = (0..20).map(|i| [5.0, 1.0, 0.01][i % 3] * (1.0 + 1e-4 * i as f64)).collect();
    let decaying: Vec<f64> = (0..20).map(|i| 10.0_f64.powf(-0.3 * i as f64)).collect();
    vec![
        ("random", 50, 24, random),
        ("clustered", 30, 20, matrix_with(&clustered, 30, 20, 13)),
        ("decaying", 25, 20, matrix_with(&decaying, 25, 20, 14)),
        ("rank deficient", 30, 18, matrix_with(&decaying[..11], 30, 18, 15)),
        ("conformal", 30, 16, matrix_with(&[0.7; 16], 30, 16, 16)),
        ("fewer rows than columns", 9, 20, wide),
        ("one column", 5, 1, vec![0.1, -0.2, 0.3, 0.0, 0.5]),
        ("one row", 1, 5, vec![0.1, -0.2, 0.3, 0.0, 0.5]),
        ("zero", 4, 3, vec![0.0; 12]),
    ]
}

/// Singular values of a dense matrix, padded with zeros to the number of columns, from the largest.
pub fn singular_values(matrix: &[f64], rows: usize, cols: usize) -> Vec<f64> {
    let dense = Mat::from_fn(rows, cols, |row, col| matrix[row * cols + col]);
    let mut values = dense.singular_values().unwrap();
    values.resize(cols, 0.0);
    values
}

/// `1/2 v^T log(J^T J + sigma^2 I) v` by the dense eigenvalue decomposition.
pub fn dense_half_log(matrix: &[f64], rows: usize, cols: usize, sigma: f64, vector: &[f64]) -> f64 {
    let dense = Mat::from_fn(rows, cols, |row, col| matrix[row * cols + col]);
    let eigen = (dense.transpose() * &dense).self_adjoint_eigen(Side::Lower).unwrap();
    (0..cols)
        .map(|index| {
            let component: f64 = (0..cols).map(|row| eigen.U()[(row, index)] * vector[row]).sum();
            // The eigenvector's own quotient: the eigenvalue of the squared matrix is blurred near zero.
            let image = &dense * eigen.U().col(index);
            0.5 * component * component * (image.squared_norm_l2() + sigma * sigma).ln()
        })
        .sum()
}

/// `(J^T J + sigma^2 I)^{-1} v` by dense Cholesky.
pub fn dense_solve(matrix: &[f64], rows: usize, cols: usize, sigma: f64, vector: &[f64]) -> Vec<f64> {
    use faer::linalg::solvers::Solve;
    let dense = Mat::from_fn(rows, cols, |row, col| matrix[row * cols + col]);
    let mut gram = dense.transpose() * &dense;
    for index in 0..cols {
        gram[(index, index)] += sigma * sigma;
    }
    let solution = gram.llt(Side::Lower).unwrap().solve(Mat::from_fn(cols, 1, |row, _| vector[row]));
    (0..cols).map(|row| solution[(row, 0)]).collect()
}

/// Random signs, `count x cols`.
pub fn signs<T: Real>(count: usize, cols: usize, seed: u64) -> Vec<T> {
    let mut probes = vec![T::from_f64(0.0); count * cols];
    fill_rademacher(&mut generator(seed), &mut probes);
    probes
}

/// Standard normal vectors, `count x cols`.
pub fn normals<T: Real>(count: usize, cols: usize, seed: u64) -> Vec<T> {
    let mut probes = vec![T::from_f64(0.0); count * cols];
    fill_gaussian(&mut generator(seed), &mut probes);
    probes
}
