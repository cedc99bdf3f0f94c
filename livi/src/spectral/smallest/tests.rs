use super::super::lobpcg;
use super::super::test_maps::{gallery, map_of, matrix_with, normals, singular_values};
use super::*;

fn options(tolerance: f64, steps: usize) -> SmallestOptions {
    SmallestOptions { tolerance, floor: 1e-3, max_iterations: steps }
}

#[test]
fn full_depth_gives_the_smallest_singular_value_and_its_enclosure_holds_it() {
    for (name, rows, cols, matrix) in gallery() {
        let values = singular_values(&matrix, rows, cols);
        let mut map = map_of::<f64>(&matrix, rows, cols);
        let triplet = krylov_smallest(&mut map, &normals(1, cols, 61), &options(1e-6, cols), 0).unwrap();
        assert!(triplet.converged, "{name}: {:e} {:e}", triplet.value, triplet.residual);
        let (lower, upper) = triplet.smallest_enclosure();
        let (exact, rounding) = (values[cols - 1], 1e-13 * values[0]);
        assert!(lower <= exact + rounding && exact <= upper + rounding, "{name}: {lower:e} {exact:e} {upper:e}");
    }
}

#[test]
fn the_value_is_never_below_the_smallest_singular_value() {
    for (name, rows, cols, matrix) in gallery() {
        let values = singular_values(&matrix, rows, cols);
        for steps in 1..12 {
            let mut map = map_of::<f64>(&matrix, rows, cols);
            let triplet = krylov_smallest(&mut map, &normals(1, cols, 62), &options(1e-12, steps), 0).unwrap();
            assert!(triplet.value >= values[cols - 1] - 1e-13 * values[0], "{name}, {steps} steps");
        }
    }
}

#[test]
fn for_the_same_products_one_krylov_space_is_at_least_as_good_as_lobpcg() {
    let values: Vec<f64> = (0..80).map(|i| 0.01 + i as f64 / 80.0).collect();
    let matrix = matrix_with(&values, 100, 80, 63);
    let start = normals::<f64>(1, 80, 64);
    for steps in [10, 20, 40] {
        let mut map = map_of::<f64>(&matrix, 100, 80);
        let krylov = krylov_smallest(&mut map, &start, &options(1e-14, steps), 0).unwrap();
        let ritz = lobpcg(&mut map, 1, &start, &options(1e-14, steps - 1)).unwrap();
        assert!(krylov.products.total() <= ritz.products.total() + 2);
        assert!(krylov.value <= ritz.value * (1.0 + 1e-12), "{steps}: {} {}", krylov.value, ritz.value);
    }
}

#[test]
fn restarts_go_on_where_one_space_was_too_small() {
    let values: Vec<f64> = (0..40).map(|i| 0.1 + i as f64 / 20.0).collect();
    let matrix = matrix_with(&values, 50, 40, 65);
    let mut map = map_of::<f64>(&matrix, 50, 40);
    let start = normals::<f64>(1, 40, 66);
    let once = krylov_smallest(&mut map, &start, &options(1e-8, 10), 0).unwrap();
    let often = krylov_smallest(&mut map, &start, &options(1e-8, 10), 60).unwrap();
    assert!(!once.converged && often.converged);
    assert!((often.value - 0.1).abs() < 1e-7);
    assert_eq!(often.products.apply, often.iterations + often.iterations / 10);
}

#[test]
fn a_small_singular_value_is_found_in_single_precision() {
    let mut values: Vec<f64> = (0..20).map(|i| 1.0 - 0.04 * i as f64).collect();
    values[19] = 1e-4;
    let rounded: Vec<f64> = matrix_with(&values, 40, 20, 67).iter().map(|&entry| f64::from(entry as f32)).collect();
    let exact = singular_values(&rounded, 40, 20)[19];
    let mut map = map_of::<f32>(&rounded, 40, 20);
    let triplet = krylov_smallest(&mut map, &normals::<f32>(1, 20, 68), &options(1e-9, 20), 0).unwrap();
    assert!((triplet.value / exact - 1.0).abs() < 0.01, "{:e} {exact:e}", triplet.value);
}

#[test]
fn fewer_rows_than_columns_give_exactly_zero_without_a_product() {
    let mut map = map_of::<f32>(&[1.0, 2.0], 1, 2);
    let triplet = krylov_smallest(&mut map, &[1.0, 0.0], &options(1e-8, 10), 0).unwrap();
    assert_eq!((triplet.value, triplet.products.total()), (0.0, 0));
}

#[test]
fn the_largest_singular_value_takes_few_products() {
    for (name, rows, cols, matrix) in gallery() {
        let exact = singular_values(&matrix, rows, cols)[0];
        let mut map = map_of::<f64>(&matrix, rows, cols);
        let triplet = krylov_largest(&mut map, &normals(1, cols, 69), 1e-7, 20, 3).unwrap();
        assert!(triplet.converged, "{name}");
        let (lower, upper) = triplet.largest_enclosure();
        assert!(lower <= exact * (1.0 + 1e-13) && exact <= upper * (1.0 + 1e-13), "{name}: {lower} {exact} {upper}");
    }
}

#[test]
fn bad_arguments_are_refused_by_name() {
    let mut map = map_of::<f64>(&[1.0, 0.0, 0.0, 2.0], 2, 2);
    let message = krylov_smallest(&mut map, &[0.0, 0.0], &options(1e-8, 2), 0).unwrap_err().to_string();
    assert!(message.starts_with("start vectors: row 0"), "{message}");
    assert!(krylov_smallest(&mut map, &[1.0], &options(1e-8, 2), 0).is_err());
    assert!(krylov_smallest(&mut map, &[1.0, 1.0], &options(1e-8, 0), 0).is_err());
    assert!(krylov_largest(&mut map, &[1.0, 1.0], -1.0, 2, 0).is_err());
}
