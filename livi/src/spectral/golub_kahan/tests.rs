use super::super::DenseMap;
use super::super::kernels::dot;
use super::super::test_maps::{dense_half_log, gallery, map_of, matrix_with, normals, singular_values};
use super::*;
use crate::Error;

fn process<T: Real>(matrix: &[f64], rows: usize, cols: usize, steps: usize, seed: u64) -> GolubKahan<T> {
    let mut process = GolubKahan::new(rows, cols, 1, steps).unwrap();
    process.run(&mut map_of::<T>(matrix, rows, cols), 1, &normals::<T>(1, cols, seed)).unwrap();
    process
}

/// Largest distance of the Gram matrix of the rows from the identity.
fn gram_defect<T: Real>(vectors: &[T], length: usize) -> f64 {
    let mut largest = 0.0_f64;
    for (i, x) in vectors.chunks_exact(length).enumerate() {
        for (j, y) in vectors.chunks_exact(length).enumerate().take(i + 1) {
            largest = largest.max((dot(x, y) - f64::from(i == j)).abs());
        }
    }
    largest
}

/// Largest distance of `J V` from an orthonormal basis times B, over the largest singular value: that of `(J V)^T J V` from `B^T B` would square
/// the small ones away, so the singular values of `J V` themselves are compared.
fn bidiagonal_defect<T: Real>(matrix: &[f64], rows: usize, cols: usize, process: &mut GolubKahan<T>) -> f64 {
    let depth = process.bidiagonals().depth(0);
    let right: Vec<f64> = process.right(0)[..depth * cols].iter().map(|entry| entry.to_f64()).collect();
    let mut images = vec![0.0; depth * rows];
    map_of::<f64>(matrix, rows, cols).apply(depth, &right, &mut images).unwrap();
    let exact = if depth > 0 { singular_values(&images, depth, rows) } else { Vec::new() };
    process.bidiagonals_mut().decompose(0, depth, false).unwrap();
    let defects = process.bidiagonals().decomposed_values()[..depth]
        .iter()
        .zip(&exact)
        .map(|(found, exact)| (found - exact).abs());
    defects.fold(0.0, f64::max) / singular_values(matrix, rows, cols)[0].max(f64::MIN_POSITIVE)
}

/// Largest entry of `J^T J V - V B^T B`, over the square of the largest singular value.
fn recurrence_defect<T: Real>(matrix: &[f64], rows: usize, cols: usize, process: &GolubKahan<T>) -> f64 {
    let mut map = map_of::<f64>(matrix, rows, cols);
    let right: Vec<f64> = process.right(0).iter().map(|entry| entry.to_f64()).collect();
    let (alpha, beta) = (process.bidiagonals().alpha(0), process.bidiagonals().beta(0));
    let mut largest = 0.0_f64;
    for index in 0..alpha.len() {
        let (mut image, mut back) = (vec![0.0; rows], vec![0.0; cols]);
        map.apply(1, &right[index * cols..(index + 1) * cols], &mut image).unwrap();
        map.apply_transpose(1, &image, &mut back).unwrap();
        // Column `index` of B^T B has three entries.
        let before = if index > 0 { alpha[index - 1] * beta[index - 1] } else { 0.0 };
        let own = alpha[index].powi(2) + if index > 0 { beta[index - 1].powi(2) } else { 0.0 };
        for col in 0..cols {
            let former = if index > 0 { before * right[(index - 1) * cols + col] } else { 0.0 };
            let next = right.get((index + 1) * cols + col).map_or(0.0, |entry| alpha[index] * beta[index] * entry);
            largest = largest.max((back[col] - former - own * right[index * cols + col] - next).abs());
        }
    }
    largest / singular_values(matrix, rows, cols)[0].powi(2).max(f64::MIN_POSITIVE)
}

#[test]
fn the_recurrence_holds_to_rounding_in_both_precisions() {
    for (name, rows, cols, matrix) in gallery() {
        let defect = recurrence_defect(&matrix, rows, cols, &process::<f64>(&matrix, rows, cols, 100, 1));
        assert!(defect < 1e-14, "{name}: {defect:e}");
        let defect = recurrence_defect(&matrix, rows, cols, &process::<f32>(&matrix, rows, cols, 100, 1));
        assert!(defect < 3e-6, "{name}, single: {defect:e}");
    }
}

#[test]
fn the_bidiagonal_has_the_singular_values_of_the_map_on_its_right_vectors_to_rounding_in_both_precisions() {
    for (name, rows, cols, matrix) in gallery() {
        let defect = bidiagonal_defect(&matrix, rows, cols, &mut process::<f64>(&matrix, rows, cols, 100, 1));
        assert!(defect < 1e-14, "{name}: {defect:e}");
        let defect = bidiagonal_defect(&matrix, rows, cols, &mut process::<f32>(&matrix, rows, cols, 100, 1));
        assert!(defect < 3e-6, "{name}, single: {defect:e}");
    }
}

#[test]
fn on_an_ill_conditioned_map_in_single_precision_right_vectors_stay_orthonormal_and_singular_values_right() {
    let values: Vec<f64> = (0..100).map(|i| 10.0_f64.powf(-6.0 * i as f64 / 99.0)).collect();
    let matrix = matrix_with(&values, 150, 100, 2);
    let mut process = process::<f32>(&matrix, 150, 100, 100, 3);
    assert!(process.bidiagonals().depth(0) >= 60, "{}", process.bidiagonals().depth(0));
    assert!(gram_defect(process.right(0), 100) < 1e-6);
    let defect = bidiagonal_defect(&matrix, 150, 100, &mut process);
    assert!(defect < 1e-6, "{defect:e}");
}

#[test]
fn singular_values_far_under_the_square_root_of_rounding_survive_in_single_precision() {
    // Squared in f32, anything under 3e-4 of the largest would drown.
    let values: Vec<f64> = (0..20).map(|i| 10.0_f64.powf(-5.0 * i as f64 / 19.0)).collect();
    let rounded: Vec<f64> = matrix_with(&values, 30, 20, 4).iter().map(|&entry| f64::from(entry as f32)).collect();
    let exact = singular_values(&rounded, 30, 20);
    let mut process = process::<f32>(&rounded, 30, 20, 20, 5);
    assert_eq!(process.bidiagonals().depth(0), 20);
    for (value, exact) in process.bidiagonals_mut().ritz_values(0).unwrap().iter().zip(&exact) {
        assert!((value - exact).abs() < 5e-7 * exact.max(0.2), "{value:e} {exact:e}");
    }
    assert!((process.bidiagonals_mut().ritz_values(0).unwrap()[19] / exact[19] - 1.0).abs() < 0.02);
}

#[test]
fn full_depth_gives_all_singular_values() {
    for (name, rows, cols, matrix) in gallery() {
        let mut process = process::<f64>(&matrix, rows, cols, 100, 6);
        let exact = singular_values(&matrix, rows, cols);
        for value in process.bidiagonals_mut().ritz_values(0).unwrap() {
            let nearest = exact.iter().map(|exact| (exact - value).abs()).fold(f64::INFINITY, f64::min);
            assert!(nearest < 1e-13 * exact[0].max(1.0), "{name}: {value:e} is off by {nearest:e}");
        }
        if name == "random" {
            assert_eq!(process.bidiagonals_mut().ritz_values(0).unwrap().len(), cols);
        }
    }
}

#[test]
fn ritz_values_never_exceed_the_singular_values_of_the_same_rank() {
    for (name, rows, cols, matrix) in gallery() {
        let exact = singular_values(&matrix, rows, cols);
        for steps in [1, 3, 7] {
            let mut process = process::<f64>(&matrix, rows, cols, steps, 7);
            for (rank, value) in process.bidiagonals_mut().ritz_values(0).unwrap().into_iter().enumerate() {
                assert!(value <= exact[rank] + 1e-13 * exact[0], "{name} {rank}: {value} {}", exact[rank]);
            }
        }
    }
}

#[test]
fn a_start_in_an_invariant_subspace_stops_when_that_is_exhausted() {
    let mut diagonal = vec![0.0; 36];
    for index in 0..6 {
        diagonal[index * 7] = 1.0 + index as f64;
    }
    let mut map = map_of::<f64>(&diagonal, 6, 6);
    let mut process = GolubKahan::new(6, 6, 1, 6).unwrap();
    let start = [0.0, 1.0, 0.0, 0.0, -1.0, 0.0];
    process.run(&mut map, 1, &start).unwrap();
    assert_eq!(process.bidiagonals().depth(0), 2);
    assert!(process.bidiagonals().is_invariant(0));
    // Half the weight on the singular value 2, half on 5.
    let exact = 0.5 * (2.0_f64.hypot(0.1).ln() + 5.0_f64.hypot(0.1).ln());
    assert!((process.bidiagonals_mut().gauss(0, 6).unwrap().half_log(0.1) - exact).abs() < 1e-15);
    assert!((process.bidiagonals_mut().gauss_radau(0, 6).unwrap().half_log(0.1) - exact).abs() < 1e-15);
}

#[test]
fn a_start_in_an_invariant_subspace_of_a_dense_map_is_exact_whether_or_not_rounding_hides_it() {
    let (rows, cols) = (30, 20);
    let values: Vec<f64> = (1..=20).map(|i| i as f64 / 10.0).collect();
    let matrix = matrix_with(&values, rows, cols, 8);
    // J^T J to the fourth on any vector would not lie in a small subspace: build one from the right singular vectors.
    let dense = faer::Mat::from_fn(rows, cols, |row, col| matrix[row * cols + col]);
    let svd = dense.thin_svd().unwrap();
    let start: Vec<f64> = (0..cols).map(|row| svd.V()[(row, 3)] + 2.0 * svd.V()[(row, 11)]).collect();
    let exact = 0.2 * svd.S()[3].hypot(1e-3).ln() + 0.8 * svd.S()[11].hypot(1e-3).ln();
    for steps in [2, 10, 20] {
        let mut process = GolubKahan::new(rows, cols, 1, steps).unwrap();
        process.run(&mut map_of::<f64>(&matrix, rows, cols), 1, &start).unwrap();
        assert!((process.bidiagonals_mut().gauss(0, steps).unwrap().half_log(1e-3) - exact).abs() < 1e-12);
        assert!((process.bidiagonals_mut().gauss_radau(0, steps).unwrap().half_log(1e-3) - exact).abs() < 1e-12);
    }
}

#[test]
fn a_start_in_the_null_space_sees_the_singular_value_zero_only() {
    let mut map = DenseMap::new(2, 3, vec![1.0_f64, 0.0, 0.0, 0.0, 1.0, 0.0]).unwrap();
    let mut process = GolubKahan::new(2, 3, 1, 2).unwrap();
    process.run(&mut map, 1, &[0.0, 0.0, 3.0]).unwrap();
    assert_eq!((process.bidiagonals().depth(0), process.bidiagonals().is_invariant(0)), (0, true));
    assert_eq!(process.bidiagonals_mut().gauss(0, 2).unwrap().half_log(0.5), 0.5_f64.ln());
    assert_eq!(process.bidiagonals_mut().gauss_radau(0, 2).unwrap().half_log(0.5), 0.5_f64.ln());
    let mut solution = [0.0; 3];
    let (coefficients, _) = process.bidiagonals_mut().solve(0, 0.5).unwrap();
    process.combine(0, &coefficients, &mut solution);
    assert!((solution[2] - 12.0).abs() < 1e-14);
}

#[test]
fn with_fewer_rows_than_columns_the_process_ends_after_as_many_steps_as_rows() {
    let matrix = normals::<f64>(1, 4 * 9, 9);
    let mut process = process::<f64>(&matrix, 4, 9, 9, 10);
    assert_eq!((process.bidiagonals().depth(0), process.bidiagonals().is_invariant(0)), (4, true));
    assert_eq!(process.products(), Products { apply: 4, apply_transpose: 4 });
    let start = normals::<f64>(1, 9, 10);
    let unit: Vec<f64> = start.iter().map(|entry| entry / norm(&start)).collect();
    let exact = dense_half_log(&matrix, 4, 9, 0.01, &unit);
    assert!((process.bidiagonals_mut().gauss(0, 4).unwrap().half_log(0.01) - exact).abs() < 1e-12);
}

#[test]
fn probes_in_lockstep_give_bit_for_bit_what_each_gives_alone() {
    let (_, rows, cols, matrix) = gallery().swap_remove(0);
    let starts = normals::<f32>(3, cols, 11);
    let mut together = GolubKahan::new(rows, cols, 3, 10).unwrap();
    together.run(&mut map_of::<f32>(&matrix, rows, cols), 3, &starts).unwrap();
    for index in 0..3 {
        let mut alone = GolubKahan::new(rows, cols, 1, 10).unwrap();
        let start = &starts[index * cols..(index + 1) * cols];
        alone.run(&mut map_of::<f32>(&matrix, rows, cols), 1, start).unwrap();
        assert_eq!(together.bidiagonals().alpha(index), alone.bidiagonals().alpha(0));
        assert_eq!(together.bidiagonals().beta(index), alone.bidiagonals().beta(0));
        assert_eq!(together.right(index), alone.right(0));
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let (rows, cols) = (900, 700);
    let matrix = normals::<f64>(rows, cols, 12);
    let starts = normals::<f32>(4, cols, 13);
    let coefficients = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let mut process = GolubKahan::new(rows, cols, 4, 15).unwrap();
        pool.install(|| process.run(&mut map_of::<f32>(&matrix, rows, cols), 4, &starts)).unwrap();
        // The last steps are large enough for several threads.
        assert!(15 * (rows + cols) * 4 >= PARALLEL_THRESHOLD);
        (0..4)
            .flat_map(|index| [process.bidiagonals().alpha(index), process.bidiagonals().beta(index)].concat())
            .collect::<Vec<f64>>()
    };
    let one = coefficients(1);
    assert_eq!(one, coefficients(2));
    assert_eq!(one, coefficients(5));
}

#[test]
fn a_probe_that_stops_early_leaves_the_others_undisturbed() {
    let (_, rows, cols, matrix) = gallery().swap_remove(0);
    // A column of zeros makes the last unit vector a null vector.
    let mut matrix = matrix;
    for row in 0..rows {
        matrix[row * cols + cols - 1] = 0.0;
    }
    let mut starts = vec![0.0; cols];
    starts[cols - 1] = 1.0;
    starts.extend(normals::<f64>(1, cols, 14));
    let mut together = GolubKahan::new(rows, cols, 2, 8).unwrap();
    together.run(&mut map_of::<f64>(&matrix, rows, cols), 2, &starts).unwrap();
    let alone = process::<f64>(&matrix, rows, cols, 8, 14);
    assert_eq!(together.bidiagonals().depth(0), 0);
    assert_eq!(together.bidiagonals().alpha(1), alone.bidiagonals().alpha(0));
}

#[test]
fn memory_that_was_used_before_gives_the_same_as_fresh_memory() {
    let (_, rows, cols, matrix) = gallery().swap_remove(1);
    let mut used = GolubKahan::new(rows, cols, 2, 6).unwrap();
    used.run(&mut map_of::<f64>(&matrix, rows, cols), 2, &normals::<f64>(2, cols, 15)).unwrap();
    used.bidiagonals_mut().gauss(0, 6).unwrap();
    used.run(&mut map_of::<f64>(&matrix, rows, cols), 1, &normals::<f64>(1, cols, 16)).unwrap();
    let mut fresh = process::<f64>(&matrix, rows, cols, 6, 16);
    assert_eq!(used.bidiagonals().count(), 1);
    assert_eq!(used.bidiagonals_mut().gauss(0, 6).unwrap(), fresh.bidiagonals_mut().gauss(0, 6).unwrap());
}

#[test]
fn a_map_may_apply_another_matrix_to_each_row_of_the_block() {
    /// Row i of a block meets map i.
    struct PerRow(Vec<DenseMap<f64>>);
    impl LinearMap<f64> for PerRow {
        fn rows(&self) -> usize {
            5
        }
        fn cols(&self) -> usize {
            4
        }
        fn apply(&mut self, _: usize, vectors: &[f64], out: &mut [f64]) -> Result<()> {
            let rows = vectors.chunks(4).zip(out.chunks_mut(5));
            self.0.iter_mut().zip(rows).try_for_each(|(map, (v, out))| map.apply(1, v, out))
        }
        fn apply_transpose(&mut self, _: usize, vectors: &[f64], out: &mut [f64]) -> Result<()> {
            let rows = vectors.chunks(5).zip(out.chunks_mut(4));
            self.0.iter_mut().zip(rows).try_for_each(|(map, (v, out))| map.apply_transpose(1, v, out))
        }
    }
    let matrices = [normals::<f64>(5, 4, 17), normals::<f64>(5, 4, 18)];
    let mut maps = PerRow(matrices.iter().map(|matrix| map_of(matrix, 5, 4)).collect());
    let mut process = GolubKahan::new(5, 4, 2, 4).unwrap();
    process.run(&mut maps, 2, &normals::<f64>(2, 4, 19)).unwrap();
    for (index, matrix) in matrices.iter().enumerate() {
        let exact = singular_values(matrix, 5, 4);
        for (value, exact) in process.bidiagonals_mut().ritz_values(index).unwrap().iter().zip(exact) {
            assert!((value - exact).abs() < 1e-13);
        }
    }
}

#[test]
fn bad_starts_and_sizes_are_refused_by_name() {
    let mut map = map_of::<f64>(&[1.0, 0.0, 0.0, 1.0], 2, 2);
    let mut process = GolubKahan::<f64>::new(2, 2, 1, 2).unwrap();
    let mut message = |count: usize, starts: &[f64]| process.run(&mut map, count, starts).unwrap_err().to_string();
    assert_eq!(message(1, &[0.0, 0.0]), "start vectors: row 0 has norm 0, expected a positive finite norm");
    assert_eq!(message(1, &[1.0]), "start vectors: has 1 numbers, expected 1 x 2 = 2");
    assert_eq!(message(1, &[1.0, f64::NAN]), "start vectors: holds a number that is not finite");
    assert_eq!(message(2, &[1.0; 4]), "count: is 2, the memory is for at most 1");
    assert_eq!(message(0, &[]), "count: is 0, expected at least 1");
    assert!(GolubKahan::<f64>::new(2, 2, 1, 0).is_err());
    assert!(GolubKahan::<f64>::new(usize::MAX / 2, usize::MAX / 2, 8, 100).is_err());
    let mut other = map_of::<f64>(&[1.0; 6], 3, 2);
    assert_eq!(
        process.run(&mut other, 1, &[1.0, 1.0]).unwrap_err().to_string(),
        "linear map: is 3 x 2, the memory is for 2 x 2"
    );
}

#[test]
fn a_product_that_overflows_is_a_numerical_error() {
    let mut map = DenseMap::new(1, 1, vec![f64::INFINITY]).unwrap();
    let mut process = GolubKahan::new(1, 1, 1, 1).unwrap();
    assert!(matches!(process.run(&mut map, 1, &[1.0]), Err(Error::Numerical { .. })));
}
