use super::super::DenseMap;
use super::super::test_maps::{
    dense_half_log, dense_solve, gallery, generator, map_of, matrix_with, normals, signs, singular_values,
};
use super::super::{bounds::half_log_det, orthonormal_probes};
use super::*;

fn options(sigma: f64, steps: usize, kind: ProbeKind) -> SlqOptions {
    SlqOptions { sigma, steps, block: 8, kind, solve: false }
}

fn exact_value(matrix: &[f64], rows: usize, cols: usize, sigma: f64) -> f64 {
    half_log_det(&singular_values(matrix, rows, cols), cols, sigma).unwrap()
}

/// Checks every probe's bracket against the dense quadratic form, up to `truth_error`, the dense truth's own relative
/// error, and the rounding allowance: the report gives its mean over the three probes, so three times that covers each.
fn check_brackets<T: Real>(sigma: f64, truth_error: f64) {
    for (name, rows, cols, matrix) in gallery() {
        let matrix: Vec<f64> = matrix.iter().map(|&entry| T::from_f64(entry).to_f64()).collect();
        let probes = normals::<T>(3, cols, 21);
        for steps in [1, 2, 3, 5, 8, 13, 30] {
            let mut map = map_of::<T>(&matrix, rows, cols);
            let options = options(sigma, steps, ProbeKind::Independent);
            let report = stochastic_lanczos_quadrature(&mut map, 3, &probes, &options).unwrap();
            for (bracket, probe) in report.per_probe.iter().zip(probes.chunks_exact(cols)) {
                let unit: Vec<f64> = probe.iter().map(|entry| entry.to_f64() / norm(probe)).collect();
                let exact = cols as f64 * dense_half_log(&matrix, rows, cols, sigma, &unit);
                let slack = 3.0 * report.rounding + truth_error * (1.0 + exact.abs());
                assert!(bracket.upper >= exact - slack, "{name}, {steps} steps: upper {} {exact}", bracket.upper);
                assert!(bracket.lower <= exact + slack, "{name}, {steps} steps: lower {} {exact}", bracket.lower);
                assert!(bracket.lower <= bracket.estimate && bracket.estimate <= bracket.upper);
            }
        }
    }
}

#[test]
fn gauss_is_above_and_gauss_radau_below_the_exact_form_of_every_probe_in_double_precision() {
    check_brackets::<f64>(0.1, 1e-12);
    check_brackets::<f64>(1e-3, 1e-11);
}

#[test]
fn gauss_is_above_and_gauss_radau_below_the_exact_form_of_every_probe_in_single_precision() {
    check_brackets::<f32>(0.1, 1e-7);
    check_brackets::<f32>(1e-3, 1e-7);
}

#[test]
fn full_depth_is_exact_for_any_probe() {
    for (name, rows, cols, matrix) in gallery() {
        for probe in [signs::<f64>(1, cols, 22), normals::<f64>(1, cols, 23)] {
            let options = options(0.05, cols, ProbeKind::Independent);
            let mut map = map_of::<f64>(&matrix, rows, cols);
            let report = stochastic_lanczos_quadrature(&mut map, 1, &probe, &options).unwrap();
            let unit: Vec<f64> = probe.iter().map(|entry| entry / norm(&probe)).collect();
            let exact = cols as f64 * dense_half_log(&matrix, rows, cols, 0.05, &unit);
            for value in [report.estimate, report.lower, report.upper] {
                assert!((value - exact).abs() < 1e-12 * (1.0 + exact.abs()), "{name}: {value} {exact}");
            }
            assert!(report.per_probe[0].is_invariant);
        }
    }
}

#[test]
fn an_orthogonal_basis_gives_the_log_determinant_without_monte_carlo_error() {
    for (name, rows, cols, matrix) in gallery() {
        let basis: Vec<f64> = orthonormal_probes(&mut generator(24), cols, cols).unwrap();
        let options = options(0.01, cols, ProbeKind::OrthogonalBasis);
        let mut map = map_of::<f64>(&matrix, rows, cols);
        let report = stochastic_lanczos_quadrature(&mut map, cols, &basis, &options).unwrap();
        let exact = exact_value(&matrix, rows, cols, 0.01);
        assert!((report.estimate - exact).abs() < 1e-11 * (1.0 + exact.abs()), "{name}: {} {exact}", report.estimate);
        assert_eq!(report.standard_error, 0.0);
    }
}

#[test]
fn the_bracket_over_a_basis_holds_the_log_determinant_at_every_depth() {
    for (name, rows, cols, matrix) in gallery() {
        let basis: Vec<f64> = orthonormal_probes(&mut generator(25), cols, cols).unwrap();
        for steps in [1, 2, 4, 8] {
            let options = options(1e-3, steps, ProbeKind::OrthogonalBasis);
            let mut map = map_of::<f64>(&matrix, rows, cols);
            let report = stochastic_lanczos_quadrature(&mut map, cols, &basis, &options).unwrap();
            let exact = exact_value(&matrix, rows, cols, 1e-3);
            let (lower, upper) = report.interval(0.0);
            assert!(lower <= exact + 1e-11 && exact <= upper + 1e-11, "{name} {steps}: {lower} {exact} {upper}");
        }
    }
}

#[test]
fn the_bracket_shrinks_with_every_step() {
    for (name, rows, cols, matrix) in gallery() {
        let mut process = GolubKahan::new(rows, cols, 1, cols).unwrap();
        process.run(&mut map_of::<f64>(&matrix, rows, cols), 1, &signs::<f64>(1, cols, 26)).unwrap();
        let mut former = (f64::NEG_INFINITY, f64::INFINITY);
        for depth in 1..=process.bidiagonals().depth(0) {
            let lower = process.bidiagonals_mut().gauss_radau(0, depth).unwrap().half_log(0.01);
            let upper = process.bidiagonals_mut().gauss(0, depth).unwrap().half_log(0.01);
            assert!(lower >= former.0 - 1e-12 && upper <= former.1 + 1e-12, "{name}, depth {depth}");
            former = (lower, upper);
        }
    }
}

#[test]
fn the_estimate_is_far_nearer_than_the_midpoint_for_a_spectrum_away_from_zero_and_for_low_rank() {
    let bulk: Vec<f64> = (0..120).map(|i| 0.05 + 0.25 * i as f64 / 119.0).collect();
    let low_rank: Vec<f64> = (0..40).map(|i| (-0.1 * i as f64).exp()).collect();
    for (values, steps) in [(bulk, 8), (low_rank, 25)] {
        let matrix = matrix_with(&values, 150, 120, 27);
        let mut map = map_of::<f64>(&matrix, 150, 120);
        let probe = signs::<f64>(1, 120, 28);
        let options = options(1e-2, steps, ProbeKind::Independent);
        let report = stochastic_lanczos_quadrature(&mut map, 1, &probe, &options).unwrap();
        let unit: Vec<f64> = probe.iter().map(|entry| entry / norm(&probe)).collect();
        let exact = 120.0 * dense_half_log(&matrix, 150, 120, 1e-2, &unit);
        let error = (report.estimate - exact).abs();
        let midpoint_error = (0.5 * (report.lower + report.upper) - exact).abs();
        assert!(3.0 * error < midpoint_error, "{error} {midpoint_error}");
    }
}

#[test]
fn the_standard_error_matches_the_spread_of_repeated_estimates() {
    let (_, rows, cols, matrix) = gallery().swap_remove(2);
    let mut map = map_of::<f64>(&matrix, rows, cols);
    let options = SlqOptions { block: 20, ..options(0.1, 20, ProbeKind::Independent) };
    let (mut estimates, mut variance) = (Vec::new(), 0.0);
    for seed in 0..300 {
        let probes = signs::<f64>(20, cols, 1000 + seed);
        let report = stochastic_lanczos_quadrature(&mut map, 20, &probes, &options).unwrap();
        estimates.push(report.estimate);
        variance += report.standard_error.powi(2) / 300.0;
    }
    let (mean, error) = mean_and_standard_error(&estimates).unwrap();
    let spread = error * 300.0_f64.sqrt();
    // 300 repetitions know the spread to 1 / sqrt(600) = 4 percent.
    assert!((spread / variance.sqrt() - 1.0).abs() < 0.15, "{spread} {}", variance.sqrt());
    assert!((mean - exact_value(&matrix, rows, cols, 0.1)).abs() < 4.0 * error);
}

#[test]
fn gaussian_probes_are_unbiased_whatever_their_norm() {
    let (_, rows, cols, matrix) = gallery().swap_remove(2);
    let mut probes = normals::<f64>(3000, cols, 29);
    for (index, entry) in probes.iter_mut().enumerate() {
        *entry *= 1.0 + (index / cols % 5) as f64;
    }
    let options = SlqOptions { block: 100, ..options(0.1, 20, ProbeKind::Independent) };
    let mut map = map_of::<f64>(&matrix, rows, cols);
    let report = stochastic_lanczos_quadrature(&mut map, 3000, &probes, &options).unwrap();
    let exact = exact_value(&matrix, rows, cols, 0.1);
    assert!((report.estimate - exact).abs() < 4.0 * report.standard_error);
    let (lower, upper) = report.interval(4.0);
    assert!(lower < exact && exact < upper);
}

#[test]
fn the_solves_agree_with_dense_cholesky_and_their_residuals_are_what_they_say() {
    for (name, rows, cols, matrix) in gallery() {
        let (sigma, count) = (0.1, 3);
        let probes = normals::<f64>(count, cols, 30);
        let options = SlqOptions { solve: true, block: 2, ..options(sigma, cols, ProbeKind::Independent) };
        let mut map = map_of::<f64>(&matrix, rows, cols);
        let report = stochastic_lanczos_quadrature(&mut map, count, &probes, &options).unwrap();
        let solves = report.solves.unwrap();
        for (index, probe) in probes.chunks_exact(cols).enumerate() {
            let exact = dense_solve(&matrix, rows, cols, sigma, probe);
            let solution = &solves.solutions[index * cols..(index + 1) * cols];
            let distance = solution.iter().zip(&exact).map(|(w, e)| (w - e).powi(2)).sum::<f64>().sqrt();
            assert!(distance < 1e-10 * norm(&exact), "{name}: {distance:e}");
            assert!(solves.residuals[index] < 1e-11, "{name}: {:e}", solves.residuals[index]);
            assert!((solves.weights[index] * norm(probe).powi(2) * count as f64 - cols as f64).abs() < 1e-12);
        }
    }
}

#[test]
fn before_convergence_the_predicted_residual_is_the_measured_one() {
    let (_, rows, cols, matrix) = gallery().swap_remove(0);
    let options = SlqOptions { solve: true, ..options(0.3, 6, ProbeKind::Independent) };
    let mut map = map_of::<f64>(&matrix, rows, cols);
    let report = stochastic_lanczos_quadrature(&mut map, 2, &signs(2, cols, 31), &options).unwrap();
    let solves = report.solves.unwrap();
    for (measured, predicted) in solves.residuals.iter().zip(&solves.predicted_residuals) {
        assert!(*measured > 1e-3 && (measured / predicted - 1.0).abs() < 1e-9, "{measured} {predicted}");
    }
    // Six steps of two products for two probes, and a pair of products for each residual.
    assert_eq!(report.products, Products { apply: 14, apply_transpose: 14 });
}

#[test]
fn the_surrogate_over_a_basis_has_the_gradient_of_the_log_determinant() {
    let (rows, cols, sigma) = (12, 7, 0.2);
    let matrix = normals::<f64>(rows, cols, 32);
    let change = normals::<f64>(rows, cols, 33);
    let basis: Vec<f64> = orthonormal_probes(&mut generator(34), cols, cols).unwrap();
    let options = SlqOptions { solve: true, ..options(sigma, cols, ProbeKind::OrthogonalBasis) };
    let report =
        stochastic_lanczos_quadrature(&mut map_of::<f64>(&matrix, rows, cols), cols, &basis, &options).unwrap();
    let solves = report.solves.unwrap();
    let mut change_map = map_of::<f64>(&change, rows, cols);
    let (mut images, mut changed) = (vec![0.0; cols * rows], vec![0.0; cols * rows]);
    map_of::<f64>(&matrix, rows, cols).apply(cols, &solves.solutions, &mut images).unwrap();
    change_map.apply(cols, &basis, &mut changed).unwrap();
    let gradient: f64 = (0..cols)
        .map(|index| {
            let range = index * rows..(index + 1) * rows;
            solves.weights[index] * dot(&images[range.clone()], &changed[range])
        })
        .sum();
    let at = |step: f64| {
        let moved: Vec<f64> = matrix.iter().zip(&change).map(|(entry, change)| entry + step * change).collect();
        exact_value(&moved, rows, cols, sigma)
    };
    let difference = (at(1e-5) - at(-1e-5)) / 2e-5;
    assert!((gradient - difference).abs() < 1e-8 * difference.abs(), "{gradient} {difference}");
}

#[test]
fn the_certified_lower_bound_is_below_the_exact_value_and_meets_it_at_full_depth() {
    for (name, rows, cols, matrix) in gallery() {
        let exact = exact_value(&matrix, rows, cols, 0.05);
        for steps in [1, 4, cols] {
            let options = options(0.05, steps, ProbeKind::Independent);
            let mut map = map_of::<f64>(&matrix, rows, cols);
            let report = stochastic_lanczos_quadrature(&mut map, 2, &normals(2, cols, 35), &options).unwrap();
            assert!(report.certified_lower <= exact + 1e-12 * (1.0 + exact.abs()), "{name}");
            if steps == cols && name == "random" {
                assert!((report.certified_lower - exact).abs() < 1e-12 * exact.abs());
            }
        }
    }
}

#[test]
fn the_size_of_the_blocks_changes_no_bit() {
    let (_, rows, cols, matrix) = gallery().swap_remove(1);
    let probes = signs::<f32>(5, cols, 36);
    let with_block = |block: usize| {
        let options = SlqOptions { block, solve: true, ..options(0.1, 7, ProbeKind::Independent) };
        stochastic_lanczos_quadrature(&mut map_of::<f32>(&matrix, rows, cols), 5, &probes, &options).unwrap()
    };
    let whole = with_block(5);
    assert_eq!(whole, with_block(2));
    assert_eq!(whole, with_block(1));
}

#[test]
fn one_independent_probe_has_an_infinite_standard_error_and_a_finite_bracket() {
    let mut map = map_of::<f64>(&[1.0, 0.5, 0.0, 2.0], 2, 2);
    let report =
        stochastic_lanczos_quadrature(&mut map, 1, &[1.0, -1.0], &options(0.1, 1, ProbeKind::Independent)).unwrap();
    assert_eq!(report.standard_error, f64::INFINITY);
    let (lower, upper) = report.interval(0.0);
    assert!(lower.is_finite() && upper.is_finite() && lower < upper);
}

#[test]
fn bad_arguments_are_refused_by_name() {
    let mut map = map_of::<f64>(&[1.0, 0.0, 0.0, 1.0], 2, 2);
    let good = options(0.1, 2, ProbeKind::Independent);
    let mut message = |count: usize, probes: &[f64], options: SlqOptions| {
        stochastic_lanczos_quadrature(&mut map, count, probes, &options).unwrap_err().to_string()
    };
    for sigma in [0.0, -0.1, f64::NAN, f64::INFINITY] {
        let text = message(1, &[1.0, 1.0], SlqOptions { sigma, ..good });
        assert_eq!(text, format!("sigma: is {sigma}, expected a positive finite number"));
    }
    assert!(message(0, &[], good).starts_with("number of probes: "));
    assert!(message(1, &[1.0, 1.0], SlqOptions { steps: 0, ..good }).starts_with("steps: "));
    assert!(message(1, &[1.0, 1.0], SlqOptions { block: 0, ..good }).starts_with("block: "));
    assert_eq!(message(1, &[1.0], good), "probes: has 1 numbers, expected 1 x 2 = 2");
    let basis = SlqOptions { kind: ProbeKind::OrthogonalBasis, ..good };
    assert_eq!(message(1, &[1.0, 0.0], basis), "number of probes: is 1, an orthogonal basis has 2");
    assert!(message(2, &[1.0, 0.0, 1.0, 1.0], basis).starts_with("probes: rows 0 and 1 are not orthogonal"));
}

#[test]
fn a_map_without_rows_or_columns_is_refused() {
    struct Empty;
    impl LinearMap<f64> for Empty {
        fn rows(&self) -> usize {
            0
        }
        fn cols(&self) -> usize {
            2
        }
        fn apply(&mut self, _: usize, _: &[f64], _: &mut [f64]) -> Result<()> {
            Ok(())
        }
        fn apply_transpose(&mut self, _: usize, _: &[f64], _: &mut [f64]) -> Result<()> {
            Ok(())
        }
    }
    let options = options(0.1, 1, ProbeKind::Independent);
    assert!(stochastic_lanczos_quadrature(&mut Empty, 1, &[1.0, 1.0], &options).is_err());
}

#[test]
fn products_that_are_not_finite_are_a_numerical_error() {
    let mut map = DenseMap::new(1, 1, vec![f32::NAN]).unwrap();
    let error = stochastic_lanczos_quadrature(&mut map, 1, &[1.0], &options(0.1, 1, ProbeKind::Independent));
    assert!(matches!(error, Err(crate::Error::Numerical { .. })));
}
