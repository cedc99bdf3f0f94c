use super::super::krylov_largest;
use super::super::test_maps::{gallery, map_of, matrix_with, normals, singular_values};
use super::*;

#[test]
fn it_converges_to_the_largest_singular_value_and_its_enclosure_holds_it() {
    for (name, rows, cols, matrix) in gallery() {
        // Power iteration does not tell the members of the cluster apart in any sensible time.
        if name == "clustered" {
            continue;
        }
        let exact = singular_values(&matrix, rows, cols)[0];
        for block in [1, 4].into_iter().filter(|&block| block <= cols) {
            let mut map = map_of::<f64>(&matrix, rows, cols);
            let triplet = power_iteration(&mut map, block, &normals(block, cols, 71), 1e-6, 5000).unwrap();
            assert!(triplet.converged, "{name}, block {block}");
            let (lower, upper) = triplet.largest_enclosure();
            assert!(
                lower <= exact * (1.0 + 1e-13) && exact <= upper * (1.0 + 1e-13),
                "{name}: {lower} {exact} {upper}"
            );
        }
    }
}

#[test]
fn before_convergence_some_singular_value_lies_in_the_enclosure() {
    for (name, rows, cols, matrix) in gallery() {
        let values = singular_values(&matrix, rows, cols);
        for iterations in [1, 3, 10] {
            let mut map = map_of::<f64>(&matrix, rows, cols);
            let triplet = power_iteration(&mut map, 1, &normals(1, cols, 70), 1e-15, iterations).unwrap();
            let (lower, upper) = triplet.enclosure();
            let rounding = 1e-12 * values[0];
            let inside = |value: &f64| lower <= value + rounding && *value <= upper + rounding;
            assert!(values.iter().any(inside), "{name}, {iterations} iterations: [{lower}, {upper}]");
        }
    }
}

#[test]
fn the_value_is_never_above_the_largest_singular_value() {
    for (name, rows, cols, matrix) in gallery() {
        let exact = singular_values(&matrix, rows, cols)[0];
        for iterations in [1, 2, 4] {
            let mut map = map_of::<f64>(&matrix, rows, cols);
            let triplet = power_iteration(&mut map, 1, &normals(1, cols, 72), 1e-15, iterations).unwrap();
            assert!(triplet.value <= exact * (1.0 + 1e-13), "{name}: {} {exact}", triplet.value);
        }
    }
}

#[test]
fn the_triplet_satisfies_both_of_its_equations() {
    let values: Vec<f64> = (0..12).map(|i| 0.7_f64.powi(i)).collect();
    let matrix = matrix_with(&values, 20, 12, 73);
    let mut map = map_of::<f64>(&matrix, 20, 12);
    let triplet = power_iteration(&mut map, 2, &normals(2, 12, 74), 1e-12, 200).unwrap();
    let (mut image, mut back) = (vec![0.0; 20], vec![0.0; 12]);
    map.apply(1, &triplet.right, &mut image).unwrap();
    map.apply_transpose(1, &triplet.left, &mut back).unwrap();
    assert!(image.iter().zip(&triplet.left).all(|(product, entry)| (product - entry).abs() < 1e-12));
    assert!(back.iter().zip(&triplet.right).all(|(product, entry)| (product - entry).abs() < 1e-11));
}

#[test]
fn a_block_needs_fewer_iterations_than_one_vector() {
    let values: Vec<f64> = (0..12).map(|i| 1.0 - 0.02 * i as f64).collect();
    let matrix = matrix_with(&values, 20, 12, 75);
    let mut map = map_of::<f64>(&matrix, 20, 12);
    let one = power_iteration(&mut map, 1, &normals(1, 12, 76), 1e-6, 5000).unwrap();
    let four = power_iteration(&mut map, 4, &normals(4, 12, 76), 1e-6, 5000).unwrap();
    assert!(one.converged && four.converged && 2 * four.iterations < one.iterations);
}

#[test]
fn it_agrees_with_the_krylov_value_in_single_precision() {
    let (_, rows, cols, matrix) = gallery().swap_remove(2);
    let mut map = map_of::<f32>(&matrix, rows, cols);
    let power = power_iteration(&mut map, 2, &normals::<f32>(2, cols, 77), 1e-5, 500).unwrap();
    let krylov = krylov_largest(&mut map, &normals::<f32>(1, cols, 78), 1e-5, 10, 2).unwrap();
    assert!((power.value / krylov.value - 1.0).abs() < 1e-6);
}

#[test]
fn dependent_start_vectors_do_no_harm() {
    let mut map = map_of::<f64>(&[3.0, 0.0, 0.0, 1.0], 2, 2);
    let triplet = power_iteration(&mut map, 2, &[1.0, 1.0, 2.0, 2.0], 1e-10, 100).unwrap();
    assert!((triplet.value - 3.0).abs() < 1e-12);
}

#[test]
fn bad_arguments_are_refused_by_name() {
    let mut map = map_of::<f64>(&[1.0, 0.0, 0.0, 2.0], 2, 2);
    let mut message = |block: usize, starts: &[f64], tolerance: f64, iterations: usize| {
        power_iteration(&mut map, block, starts, tolerance, iterations).unwrap_err().to_string()
    };
    assert!(message(1, &[1.0, 1.0], 0.0, 5).starts_with("tolerance: "));
    assert!(message(1, &[1.0, 1.0], 1e-3, 0).starts_with("max_iterations: "));
    assert!(message(0, &[], 1e-3, 5).starts_with("block: "));
    assert!(message(3, &[1.0; 6], 1e-3, 5).starts_with("block: "));
    assert_eq!(message(2, &[1.0, 1.0, 0.0, 0.0], 1e-3, 5), "start vectors: row 1 is zero");
}
