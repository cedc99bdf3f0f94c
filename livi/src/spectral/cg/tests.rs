use super::super::test_maps::{dense_solve, gallery, map_of, normals};
use super::*;

fn options(sigma: f64, tolerance: f64) -> CgOptions {
    CgOptions { sigma, tolerance, max_iterations: 500 }
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
}

#[test]
fn solutions_agree_with_dense_cholesky() {
    for (name, rows, cols, matrix) in gallery() {
        let sides = normals::<f64>(3, cols, 41);
        let mut map = map_of::<f64>(&matrix, rows, cols);
        let report = conjugate_gradients(&mut map, 3, &sides, &options(0.1, 1e-12)).unwrap();
        for (index, side) in sides.chunks_exact(cols).enumerate() {
            let exact = dense_solve(&matrix, rows, cols, 0.1, side);
            let solution = &report.solutions[index * cols..(index + 1) * cols];
            assert!(report.converged[index], "{name}");
            assert!(distance(solution, &exact) < 1e-8 * norm(&exact), "{name}: {:e}", distance(solution, &exact));
            let mut image = vec![0.0; rows];
            map.apply(1, solution, &mut image).unwrap();
            let given = &report.images[index * rows..(index + 1) * rows];
            assert!(distance(&image, given) < 1e-10 * norm(&exact), "{name}");
        }
    }
}

#[test]
fn residuals_are_those_of_the_returned_solutions() {
    let (_, rows, cols, matrix) = gallery().swap_remove(0);
    let side = normals::<f64>(1, cols, 42);
    let mut map = map_of::<f64>(&matrix, rows, cols);
    let short = CgOptions { max_iterations: 3, ..options(0.1, 1e-12) };
    let report = conjugate_gradients(&mut map, 1, &side, &short).unwrap();
    let (mut image, mut product) = (vec![0.0; rows], vec![0.0; cols]);
    map.apply(1, &report.solutions, &mut image).unwrap();
    map.apply_transpose(1, &image, &mut product).unwrap();
    let with_shift: Vec<f64> = product.iter().zip(&report.solutions).map(|(p, w)| p + 0.01 * w).collect();
    let exact = distance(&with_shift, &side) / norm(&side);
    assert!((report.residuals[0] / exact - 1.0).abs() < 1e-10);
    assert!(!report.converged[0] && report.iterations == [3]);
}

#[test]
fn single_precision_reaches_a_tolerance_above_rounding() {
    let (_, rows, cols, matrix) = gallery().swap_remove(0);
    let side = normals::<f32>(2, cols, 43);
    let mut map = map_of::<f32>(&matrix, rows, cols);
    let report = conjugate_gradients(&mut map, 2, &side, &options(0.5, 1e-4)).unwrap();
    assert!(report.converged.iter().all(|&done| done));
    assert!(report.residuals.iter().all(|&residual| residual < 2e-4), "{:?}", report.residuals);
}

#[test]
fn each_right_hand_side_stops_by_itself_as_if_it_were_alone() {
    let (_, rows, cols, matrix) = gallery().swap_remove(0);
    // The first side is a singular direction of a conformal part: make it converge at once with a zero side.
    let mut sides = vec![0.0; cols];
    sides.extend(normals::<f64>(1, cols, 44));
    let mut map = map_of::<f64>(&matrix, rows, cols);
    let both = conjugate_gradients(&mut map, 2, &sides, &options(0.1, 1e-8)).unwrap();
    let alone = conjugate_gradients(&mut map, 1, &sides[cols..], &options(0.1, 1e-8)).unwrap();
    assert_eq!(both.iterations, [0, alone.iterations[0]]);
    assert_eq!(both.solutions[cols..], alone.solutions[..]);
    assert!(both.solutions[..cols].iter().all(|&entry| entry == 0.0) && both.residuals[0] == 0.0);
}

#[test]
fn a_conformal_map_needs_one_iteration() {
    let (name, rows, cols, matrix) = gallery().swap_remove(4);
    assert_eq!(name, "conformal");
    let mut map = map_of::<f64>(&matrix, rows, cols);
    let report = conjugate_gradients(&mut map, 1, &normals(1, cols, 45), &options(0.1, 1e-10)).unwrap();
    assert_eq!(report.iterations, [1]);
    assert_eq!(report.products.total(), 4);
}

#[test]
fn bad_options_are_refused_by_name() {
    let mut map = map_of::<f64>(&[1.0], 1, 1);
    let good = options(0.1, 1e-8);
    let mut message =
        |side: &[f64], options: CgOptions| conjugate_gradients(&mut map, 1, side, &options).unwrap_err().to_string();
    assert!(message(&[1.0], CgOptions { sigma: 0.0, ..good }).starts_with("sigma: "));
    assert!(message(&[1.0], CgOptions { tolerance: f64::NAN, ..good }).starts_with("tolerance: "));
    assert!(message(&[1.0], CgOptions { max_iterations: 0, ..good }).starts_with("max_iterations: "));
    assert!(message(&[f64::INFINITY], good).starts_with("right-hand sides: "));
    assert!(message(&[1.0, 2.0], good).starts_with("right-hand sides: "));
}
