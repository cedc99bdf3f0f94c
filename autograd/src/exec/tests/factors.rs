//! Factorisations against their definitions.

use super::support::*;
use crate::plan::step::{Action, BufferId};
use crate::{DType, Error};

/// Positive definite matrices A = G G^T + I.
fn positive(random: &mut Random, batch: usize, n: usize) -> Vec<f64> {
    let mut a = vec![0.0; batch * n * n];
    for e in 0..batch {
        let g = random.reals(n * n);
        for i in 0..n {
            for j in 0..n {
                let dot: f64 = (0..n).map(|k| g[i * n + k] * g[j * n + k]).sum();
                a[(e * n + i) * n + j] = dot + if i == j { 1.0 } else { 0.0 };
            }
        }
    }
    a
}

struct Case {
    bench: Bench,
    a: Vec<f64>,
    factor: BufferId,
}

fn case(batch: usize, n: usize, dtype: DType) -> Case {
    let mut bench = Bench::new();
    let mut a = positive(&mut Random::new(n as u64 + 17), batch, n);
    if dtype == DType::F32 {
        a.iter_mut().for_each(|x| *x = f64::from(*x as f32));
    }
    let matrix = bench.input(a.clone(), dtype);
    let factor = bench.output(batch * n * n, dtype);
    bench.step(Action::Cholesky {
        a: dense(matrix, &[batch, n, n], dtype),
        factor: dense(factor, &[batch, n, n], dtype),
    });
    Case { bench, a, factor }
}

const SIZES: [(usize, usize); 6] = [(1, 1), (3, 2), (5, 7), (2, 40), (1, 130), (4, 65)];
const TYPES: [(DType, f64); 2] = [(DType::F32, 2e-5), (DType::F64, 1e-13)];

#[test]
fn a_factor_times_its_transpose_is_the_matrix() {
    for (batch, n) in SIZES {
        for (dtype, tolerance) in TYPES {
            let case = case(batch, n, dtype);
            let l = case.bench.values(case.factor);
            for e in 0..batch {
                for i in 0..n {
                    for j in 0..n {
                        let at = |r: usize, c: usize| l[(e * n + r) * n + c];
                        assert!(j <= i || at(i, j) == 0.0, "the upper triangle is not zero");
                        let dot: f64 = (0..n).map(|k| at(i, k) * at(j, k)).sum();
                        let right = case.a[(e * n + i) * n + j];
                        assert!((dot - right).abs() <= tolerance * n as f64, "{batch}x{n}: {dot} for {right}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_solution_times_the_matrix_is_the_right_hand_side() {
    for (batch, n) in SIZES {
        for k in [1, 3, 100] {
            for (dtype, tolerance) in TYPES {
                let mut case = case(batch, n, dtype);
                let values = Random::new(5).reals(batch * n * k);
                let b = case.bench.input(values.clone(), dtype);
                let x = case.bench.output(batch * n * k, dtype);
                case.bench.step(Action::SolveFactor {
                    factor: dense(case.factor, &[batch, n, n], dtype),
                    b: dense(b, &[batch, n, k], dtype),
                    out: dense(x, &[batch, n, k], dtype),
                });
                let x = case.bench.values(x);
                for e in 0..batch {
                    for i in 0..n {
                        for j in 0..k {
                            let dot: f64 = (0..n).map(|l| case.a[(e * n + i) * n + l] * x[(e * n + l) * k + j]).sum();
                            let right = values[(e * n + i) * k + j];
                            assert!((dot - right).abs() <= tolerance * 10.0 * n as f64, "{n}: {dot} for {right}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn an_inverse_times_the_matrix_is_the_identity() {
    for (batch, n) in SIZES {
        for (dtype, tolerance) in TYPES {
            let mut case = case(batch, n, dtype);
            let inverse = case.bench.output(batch * n * n, dtype);
            case.bench.step(Action::InverseFactor {
                factor: dense(case.factor, &[batch, n, n], dtype),
                out: dense(inverse, &[batch, n, n], dtype),
            });
            let x = case.bench.values(inverse);
            for e in 0..batch {
                for i in 0..n {
                    for j in 0..n {
                        let dot: f64 = (0..n).map(|l| case.a[(e * n + i) * n + l] * x[(e * n + l) * n + j]).sum();
                        let right = if i == j { 1.0 } else { 0.0 };
                        assert!((dot - right).abs() <= tolerance * 10.0 * n as f64, "{n}: {dot} for {right}");
                        assert_eq!(x[(e * n + i) * n + j], x[(e * n + j) * n + i]);
                    }
                }
            }
        }
    }
}

#[test]
fn log_determinants_of_two_by_two_matrices_are_those_of_the_formula() {
    for (dtype, tolerance) in TYPES {
        let mut case = case(9, 2, dtype);
        let out = case.bench.output(9, dtype);
        case.bench
            .step(Action::LogDetFactor { factor: dense(case.factor, &[9, 2, 2], dtype), out: dense(out, &[9], dtype) });
        let right: Vec<f64> = case.a.chunks(4).map(|a| (a[0] * a[3] - a[1] * a[2]).ln()).collect();
        assert_close(&case.bench.values(out), &right, tolerance, "log-determinant");
    }
}

#[test]
fn a_matrix_that_is_not_positive_definite_is_named_with_its_pivot() {
    let mut bench = Bench::new();
    let mut values = vec![0.0; 3 * 4];
    for e in 0..3 {
        values[e * 4] = 1.0;
        values[e * 4 + 3] = if e == 0 { 1.0 } else { -1.0 };
    }
    let a = bench.input(values, DType::F64);
    let factor = bench.output(12, DType::F64);
    bench.step(Action::Cholesky { a: dense(a, &[3, 2, 2], DType::F64), factor: dense(factor, &[3, 2, 2], DType::F64) });
    for threads in [1, 2] {
        match bench.machine(threads) {
            Err(Error::NotPositiveDefinite { index, pivot, .. }) => assert_eq!((index, pivot), (1, 1)),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn only_the_lower_triangle_is_read() {
    let mut bench = Bench::new();
    let a = bench.input(vec![4.0, f64::NAN, 2.0, 5.0], DType::F64);
    let factor = bench.output(4, DType::F64);
    bench.step(Action::Cholesky { a: dense(a, &[1, 2, 2], DType::F64), factor: dense(factor, &[1, 2, 2], DType::F64) });
    assert_eq!(bench.values(factor), [2.0, 0.0, 1.0, 2.0]);
}
