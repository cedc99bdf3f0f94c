use super::super::test_maps::{gallery, map_of, matrix_with, normals, singular_values};
use super::*;

fn options(tolerance: f64, max_iterations: usize) -> SmallestOptions {
    SmallestOptions { tolerance, floor: 1e-3, max_iterations }
}

#[test]
fn it_converges_to_the_smallest_singular_value_and_its_enclosure_holds_it() {
    for (name, rows, cols, matrix) in gallery() {
        let exact = singular_values(&matrix, rows, cols)[cols - 1];
        // Without a preconditioner small singular values at the end of a steep decay are out of reach of any tight
        // tolerance.
        let tolerance = if ["decaying", "rank deficient"].contains(&name) { 0.1 } else { 1e-6 };
        // A block that cuts a cluster converges slowly; six vectors hold the whole lower cluster.
        let blocks = if name == "clustered" { [1, 6] } else { [1, 3] };
        for block in blocks.into_iter().filter(|&block| block <= cols) {
            let starts = normals::<f64>(block, cols, 51);
            let mut map = map_of::<f64>(&matrix, rows, cols);
            let triplet = lobpcg(&mut map, block, &starts, &options(tolerance, 2000)).unwrap();
            assert!(
                triplet.converged,
                "{name}, block {block}: {:e} {:e} {}",
                triplet.value, triplet.residual, triplet.iterations
            );
            let (lower, upper) = triplet.smallest_enclosure();
            let rounding = 1e-13 * singular_values(&matrix, rows, cols)[0];
            assert!(lower <= exact + rounding && exact <= upper + rounding, "{name}: {lower:e} {exact:e} {upper:e}");
        }
    }
}

#[test]
fn the_value_is_never_below_the_smallest_singular_value_before_convergence() {
    for (name, rows, cols, matrix) in gallery() {
        let values = singular_values(&matrix, rows, cols);
        for iterations in [1, 2, 3, 5, 8] {
            let mut map = map_of::<f64>(&matrix, rows, cols);
            let triplet = lobpcg(&mut map, 1, &normals(1, cols, 52), &options(1e-12, iterations)).unwrap();
            assert!(triplet.value >= values[cols - 1] - 1e-13 * values[0], "{name}, {iterations} iterations");
        }
    }
}

#[test]
fn before_convergence_some_singular_value_lies_in_the_enclosure() {
    for (name, rows, cols, matrix) in gallery() {
        let values = singular_values(&matrix, rows, cols);
        for iterations in [1, 3, 6] {
            let mut map = map_of::<f64>(&matrix, rows, cols);
            let triplet = lobpcg(&mut map, 1, &normals(1, cols, 53), &options(1e-12, iterations)).unwrap();
            let (lower, upper) = triplet.enclosure();
            let rounding = 1e-7 * values[0];
            assert!(
                values.iter().any(|value| lower <= value + rounding && *value <= upper + rounding),
                "{name}, {iterations} iterations: [{lower}, {upper}]"
            );
        }
    }
}

#[test]
fn the_vectors_are_those_of_the_smallest_singular_value() {
    let values: Vec<f64> = (0..15).map(|i| 0.2 + 0.1 * i as f64).collect();
    let matrix = matrix_with(&values, 25, 15, 54);
    let mut map = map_of::<f64>(&matrix, 25, 15);
    let triplet = lobpcg(&mut map, 2, &normals(2, 15, 55), &options(1e-11, 500)).unwrap();
    let mut back = vec![0.0; 15];
    map.apply_transpose(1, &triplet.left, &mut back).unwrap();
    for (product, entry) in back.iter().zip(&triplet.right) {
        assert!((product - 0.2 * entry).abs() < 1e-9);
    }
    assert!((norm(&triplet.left) - 1.0).abs() < 1e-14 && (norm(&triplet.right) - 1.0).abs() < 1e-14);
}

#[test]
fn a_small_singular_value_is_found_in_single_precision() {
    // 1e-4 of the largest: its square is at the rounding of a squared operator.
    let mut values: Vec<f64> = (0..20).map(|i| 1.0 - 0.04 * i as f64).collect();
    values[19] = 1e-4;
    let rounded: Vec<f64> = matrix_with(&values, 40, 20, 56).iter().map(|&entry| f64::from(entry as f32)).collect();
    let exact = singular_values(&rounded, 40, 20)[19];
    let mut map = map_of::<f32>(&rounded, 40, 20);
    let triplet = lobpcg(&mut map, 2, &normals::<f32>(2, 20, 57), &options(1e-9, 100)).unwrap();
    assert!((triplet.value / exact - 1.0).abs() < 0.01, "{:e} {exact:e}", triplet.value);
}

#[test]
fn a_long_run_in_single_precision_does_not_drift() {
    let values: Vec<f64> = (0..60).map(|i| 0.05 + i as f64 / 60.0).collect();
    let matrix = matrix_with(&values, 80, 60, 58);
    let mut map = map_of::<f32>(&matrix, 80, 60);
    let triplet = lobpcg(&mut map, 1, &normals::<f32>(1, 60, 59), &options(1e-12, 400)).unwrap();
    assert!((triplet.value - 0.05).abs() < 1e-5, "{}", triplet.value);
}

#[test]
fn fewer_rows_than_columns_give_exactly_zero_without_a_product() {
    let mut map = map_of::<f64>(&[1.0, 2.0], 1, 2);
    let triplet = lobpcg(&mut map, 1, &[1.0, 0.0], &options(1e-8, 10)).unwrap();
    assert_eq!((triplet.value, triplet.residual, triplet.products.total()), (0.0, 0.0, 0));
    assert_eq!(triplet.smallest_enclosure(), (0.0, 0.0));
}

#[test]
fn each_iteration_costs_one_product_of_either_kind() {
    let (_, rows, cols, matrix) = gallery().swap_remove(0);
    let mut map = map_of::<f64>(&matrix, rows, cols);
    let triplet = lobpcg(&mut map, 1, &normals(1, cols, 60), &options(1e-15, 4)).unwrap();
    // One to start, four iterations, one pair for the final residual.
    assert_eq!(triplet.iterations, 4);
    assert_eq!((triplet.products.apply, triplet.products.apply_transpose), (6, 5));
}

#[test]
fn bad_arguments_are_refused_by_name() {
    let mut map = map_of::<f64>(&[1.0, 0.0, 0.0, 2.0], 2, 2);
    let mut message = |block: usize, starts: &[f64], options: SmallestOptions| {
        lobpcg(&mut map, block, starts, &options).unwrap_err().to_string()
    };
    let good = options(1e-8, 10);
    assert!(message(0, &[], good).starts_with("block: "));
    assert!(message(3, &[1.0; 6], good).starts_with("block: is 3, expected at most the 2 columns"));
    assert_eq!(message(2, &[1.0, 1.0, 2.0, 2.0], good), "start vectors: row 1 depends linearly on the rows before it");
    assert!(message(1, &[0.0, 0.0], good).starts_with("start vectors: row 0"));
    assert!(message(1, &[1.0, 1.0], SmallestOptions { tolerance: 0.0, ..good }).starts_with("tolerance: "));
    assert!(message(1, &[1.0, 1.0], SmallestOptions { floor: -1.0, ..good }).starts_with("floor: "));
    assert!(message(1, &[1.0, 1.0], SmallestOptions { max_iterations: 0, ..good }).starts_with("max_iterations: "));
}
