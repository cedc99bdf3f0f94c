//! The largest singular values taken out of a trace by name, so that probes need to see the rest only.

use super::arguments::{expect_block, expect_positive, expect_sigma, expect_tolerance};
use super::kernels::{norm, orthogonalise, orthogonalise_scratch, scale};
use super::{GolubKahan, LinearMap, Real, fill_gaussian};
use crate::{Error, Result};
use rand::Rng;

/// Orthonormal vectors close to the right singular vectors of the largest singular values, with what they contribute to `1/2 log det A`.
#[derive(Debug, Clone, PartialEq)]
pub struct DominantSpace<T> {
    /// The vectors, `count x d`.
    pub vectors: Vec<T>,
    /// Number of vectors.
    pub count: usize,
    /// At most `1/2 tr(V^T log(A) V)`.
    pub lower: f64,
    /// At least `1/2 tr(V^T log(A) V)`.
    pub upper: f64,
}

/// For each of `count` start vectors (`count x d`) the largest singular triplets, up to `at_most`, that a Golub-Kahan run found to a residual
/// `|J^T J v - s^2 v| <= tolerance (s^2 + sigma^2)`; none where none has converged.
///
/// For any orthonormal V, `tr log A = tr(V^T log(A) V) + (the trace over the complement of V)`: with V deflated the remaining trace has less spread
/// for probes to average over (Meyer, Musco, Musco and Woodruff 2021, "Hutch++"), and a Krylov space started in the complement does not spend its
/// steps on singular values that are known. The first part is bracketed with no further product: with `a = s^2 + sigma^2` and the residual r,
/// `log a` is too large for `v^T log(A) v` by Jensen's inequality, and at most by `r^2 (log(a / sigma^2) + sigma^2 / a - 1) / (a - sigma^2)^2`.
///
/// # Errors
/// Those of [`GolubKahan::run`]; [`Error::Argument`] for a sigma or a tolerance that is not positive and finite.
///
/// ```
/// use livi::spectral::{DenseMap, GolubKahan, dominant_spaces};
/// let mut map = DenseMap::new(2, 2, vec![9.0_f64, 0.0, 0.0, 1.0])?;
/// let mut process = GolubKahan::new(2, 2, 1, 2)?;
/// let space = &dominant_spaces(&mut process, &mut map, 1, &[1.0, 1.0], 0.1, 1e-3, 1)?[0];
/// assert!(space.count == 1 && (space.upper - 9.0_f64.hypot(0.1).ln()).abs() < 1e-14);
/// # Ok::<(), livi::Error>(())
/// ```
pub fn dominant_spaces<T: Real, M: LinearMap<T> + ?Sized>(
    process: &mut GolubKahan<T>,
    map: &mut M,
    count: usize,
    starts: &[T],
    sigma: f64,
    tolerance: f64,
    at_most: usize,
) -> Result<Vec<DominantSpace<T>>> {
    expect_sigma(sigma)?;
    expect_tolerance(tolerance)?;
    process.run(map, count, starts)?;
    let cols = map.cols();
    (0..count)
        .map(|probe| {
            let mut space = DominantSpace { vectors: Vec::new(), count: 0, lower: 0.0, upper: 0.0 };
            let rounding = 8.0 * T::UNIT_ROUNDOFF * process.bidiagonals().norm_estimate(probe);
            for index in 0..at_most.min(process.bidiagonals().depth(probe)) {
                let (value, residual) = process.bidiagonals_mut().ritz_pair(probe, index)?;
                let (shifted, floor) = (value * value + sigma * sigma, sigma * sigma);
                let residual = residual + rounding * value;
                if residual > tolerance * shifted || shifted < 2.0 * floor {
                    break;
                }
                space.vectors.resize((index + 1) * cols, T::from_f64(0.0));
                process.ritz_vector(probe, index, &mut space.vectors[index * cols..])?;
                let excess = ((shifted / floor).ln() + floor / shifted - 1.0) / (shifted - floor) / (shifted - floor);
                space.count += 1;
                space.upper += 0.5 * shifted.ln();
                space.lower += 0.5 * (shifted.ln() - residual * residual * excess);
            }
            Ok(space)
        })
        .collect()
}

/// `count` independent vectors, uniformly distributed in direction in the complement of an orthonormal basis (`size x dimension`), of length 1.
///
/// # Errors
/// [`Error::Argument`] for sizes of 0, a basis that fills the space, or one with numbers that are not finite.
///
/// ```
/// use rand::SeedableRng;
/// let mut generator = rand::rngs::Xoshiro256PlusPlus::seed_from_u64(1);
/// let probe: Vec<f64> = livi::spectral::complement_probes(&mut generator, &[1.0, 0.0], 1, 2)?;
/// assert!(probe[0].abs() < 1e-15 && (probe[1].abs() - 1.0).abs() < 1e-15);
/// # Ok::<(), livi::Error>(())
/// ```
pub fn complement_probes<T: Real, R: Rng + ?Sized>(
    generator: &mut R,
    basis: &[T],
    count: usize,
    dimension: usize,
) -> Result<Vec<T>> {
    expect_positive("count", count)?;
    expect_positive("dimension", dimension)?;
    let size = basis.len() / dimension;
    expect_block("basis", basis, size, dimension)?;
    if size >= dimension {
        let problem = format!("has {size} vectors, expected fewer than the dimension {dimension}");
        return Err(Error::Argument { name: "basis".into(), problem });
    }
    let mut probes = vec![T::from_f64(0.0); count * dimension];
    let mut scratch = vec![0.0; orthogonalise_scratch(size)];
    for probe in probes.chunks_exact_mut(dimension) {
        fill_gaussian(generator, probe);
        let length = orthogonalise(basis, probe, &mut scratch);
        scale(1.0 / length, probe);
        scale(1.0 / norm(probe), probe);
    }
    Ok(probes)
}

#[cfg(test)]
mod tests {
    use super::super::test_maps::{dense_half_log, generator, matrix_with, normals};
    use super::super::{DenseMap, kernels::dot};
    use super::*;

    #[test]
    fn the_bracket_of_what_was_taken_out_holds_the_trace_over_its_vectors() {
        let values: Vec<f64> = (0..40).map(|i| 10.0 / (1.0 + 0.7 * i as f64)).collect();
        let matrix = matrix_with(&values, 50, 40, 3);
        for (steps, tolerance) in [(6, 0.3), (10, 0.1), (15, 1e-2), (40, 1e-3)] {
            let mut process = GolubKahan::new(50, 40, 1, steps).unwrap();
            let mut map = DenseMap::new(50, 40, matrix.clone()).unwrap();
            let spaces = dominant_spaces(&mut process, &mut map, 1, &normals(1, 40, 4), 0.2, tolerance, 5).unwrap();
            let truth: f64 = spaces[0].vectors.chunks_exact(40).map(|v| dense_half_log(&matrix, 50, 40, 0.2, v)).sum();
            let (lower, upper) = (spaces[0].lower - 1e-12, spaces[0].upper + 1e-12);
            assert!(spaces[0].count > 0 && lower <= truth && truth <= upper, "{steps}: {lower} {truth} {upper}");
        }
    }

    #[test]
    fn nothing_is_taken_out_before_it_has_converged() {
        let values: Vec<f64> = (0..40).map(|i| 10.0 - 0.1 * i as f64).collect();
        let mut map = DenseMap::new(50, 40, matrix_with(&values, 50, 40, 3)).unwrap();
        let mut process = GolubKahan::new(50, 40, 1, 4).unwrap();
        let spaces = dominant_spaces(&mut process, &mut map, 1, &normals(1, 40, 4), 0.2, 1e-3, 5).unwrap();
        assert_eq!((spaces[0].count, spaces[0].lower, spaces[0].upper), (0, 0.0, 0.0));
    }

    #[test]
    fn probes_of_the_complement_are_unit_vectors_orthogonal_to_the_basis() {
        let basis: Vec<f32> = super::super::orthonormal_probes(&mut generator(5), 3, 30).unwrap();
        let probes = complement_probes(&mut generator(6), &basis, 4, 30).unwrap();
        for probe in probes.chunks_exact(30) {
            assert!((dot(probe, probe) - 1.0).abs() < 1e-6);
            assert!(basis.chunks_exact(30).all(|member| dot(member, probe).abs() < 1e-6));
        }
    }

    #[test]
    fn a_basis_that_fills_the_space_is_refused() {
        let message = complement_probes(&mut generator(1), &[1.0_f64], 1, 1).unwrap_err().to_string();
        assert_eq!(message, "basis: has 1 vectors, expected fewer than the dimension 1");
    }
}
