//! Random probe vectors.

use rand::Rng;
use rand_distr::{Distribution, StandardNormal};

use super::Real;
use super::arguments::{expect_positive, refuse};
use super::kernels::{norm, orthogonalise, orthogonalise_scratch, scale};
use crate::Result;
use crate::device::require_memory;

/// Fills `out` with independent signs, +1 or -1 with equal probability.
///
/// A row of d of them has the squared norm d and `E[v v^T] = I` (Hutchinson 1989, "A stochastic estimator of the trace
/// of the influence matrix for Laplacian smoothing splines").
///
/// ```
/// use rand::SeedableRng;
/// let mut generator = rand::rngs::Xoshiro256PlusPlus::seed_from_u64(1);
/// let mut probes = [0.0_f32; 100];
/// livi::spectral::fill_rademacher(&mut generator, &mut probes);
/// assert!(probes.iter().all(|entry| entry.abs() == 1.0));
/// ```
pub fn fill_rademacher<T: Real, R: Rng + ?Sized>(generator: &mut R, out: &mut [T]) {
    for chunk in out.chunks_mut(64) {
        let mut bits = generator.next_u64();
        for entry in chunk {
            *entry = T::from_f64(if bits & 1 == 1 { 1.0 } else { -1.0 });
            bits >>= 1;
        }
    }
}

/// Fills `out` with independent standard normal numbers.
///
/// ```
/// use rand::SeedableRng;
/// let mut generator = rand::rngs::Xoshiro256PlusPlus::seed_from_u64(1);
/// let mut probes = vec![0.0_f64; 10_000];
/// livi::spectral::fill_gaussian(&mut generator, &mut probes);
/// let mean_square = probes.iter().map(|entry| entry * entry).sum::<f64>() / 1e4;
/// assert!((mean_square - 1.0).abs() < 0.07);
/// ```
pub fn fill_gaussian<T: Real, R: Rng + ?Sized>(generator: &mut R, out: &mut [T]) {
    for entry in out {
        *entry = T::from_f64(StandardNormal.sample(generator));
    }
}

/// `count` orthonormal vectors of R^`dimension` in a uniformly distributed position (`count x dimension`).
///
/// With `count = dimension` they are a basis, over which a quadratic form sums to the trace without Monte-Carlo error.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) when a size is zero or `count` exceeds `dimension`.
///
/// ```
/// use rand::SeedableRng;
/// let mut generator = rand::rngs::Xoshiro256PlusPlus::seed_from_u64(1);
/// let basis: Vec<f64> = livi::spectral::orthonormal_probes(&mut generator, 2, 2)?;
/// assert!((basis[0] * basis[2] + basis[1] * basis[3]).abs() < 1e-15);
/// assert!((basis[0].hypot(basis[1]) - 1.0).abs() < 1e-15);
/// # Ok::<(), livi::Error>(())
/// ```
pub fn orthonormal_probes<T: Real, R: Rng + ?Sized>(
    generator: &mut R,
    count: usize,
    dimension: usize,
) -> Result<Vec<T>> {
    expect_positive("count", count)?;
    expect_positive("dimension", dimension)?;
    if count > dimension {
        return refuse("count", format!("is {count}, R^{dimension} has no more than {dimension} orthogonal vectors"));
    }
    require_memory(count.checked_mul(dimension), size_of::<T>(), "ask for fewer probes")?;
    let mut probes = vec![T::from_f64(0.0); count * dimension];
    let mut scratch = vec![0.0; orthogonalise_scratch(count)];
    for index in 0..count {
        let (basis, rest) = probes.split_at_mut(index * dimension);
        let vector = &mut rest[..dimension];
        loop {
            fill_gaussian(generator, vector);
            scale(1.0 / norm(vector), vector);
            let length = orthogonalise(basis, vector, &mut scratch);
            // What is left must not be mostly rounding; the chance of a second draw is about the bound itself.
            if length > 1e3 * T::UNIT_ROUNDOFF {
                scale(1.0 / length, vector);
                let length = orthogonalise(basis, vector, &mut scratch);
                scale(1.0 / length, vector);
                break;
            }
        }
    }
    Ok(probes)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::Xoshiro256PlusPlus;

    use super::super::kernels::dot;
    use super::*;

    #[test]
    fn signs_are_balanced_and_uncorrelated_between_neighbours() {
        let mut signs = vec![0.0_f64; 100_000];
        fill_rademacher(&mut Xoshiro256PlusPlus::seed_from_u64(3), &mut signs);
        let mean = signs.iter().sum::<f64>() / 1e5;
        let correlation = signs.windows(2).map(|pair| pair[0] * pair[1]).sum::<f64>() / 1e5;
        // Four standard deviations of the mean of 1e5 signs.
        assert!(mean.abs() < 4.0 / 1e5_f64.sqrt() && correlation.abs() < 4.0 / 1e5_f64.sqrt());
    }

    #[test]
    fn the_same_seed_gives_the_same_probes() {
        let draw = || {
            let mut out = [0.0_f32; 130];
            fill_rademacher(&mut Xoshiro256PlusPlus::seed_from_u64(9), &mut out);
            out
        };
        assert_eq!(draw(), draw());
    }

    fn largest_gram_defect<T: Real>(dimension: usize) -> f64 {
        let mut generator = Xoshiro256PlusPlus::seed_from_u64(5);
        let basis: Vec<T> = orthonormal_probes(&mut generator, dimension, dimension).unwrap();
        let mut largest = 0.0_f64;
        for (i, x) in basis.chunks_exact(dimension).enumerate() {
            for (j, y) in basis.chunks_exact(dimension).enumerate() {
                largest = largest.max((dot(x, y) - f64::from(i == j)).abs());
            }
        }
        largest
    }

    #[test]
    fn orthonormal_probes_of_full_number_are_a_basis_to_rounding() {
        assert!(largest_gram_defect::<f64>(60) < 1e-14);
        assert!(largest_gram_defect::<f32>(60) < 1e-6);
    }

    #[test]
    fn more_orthogonal_probes_than_dimensions_are_refused() {
        let mut generator = Xoshiro256PlusPlus::seed_from_u64(5);
        assert!(orthonormal_probes::<f64, _>(&mut generator, 3, 2).is_err());
    }
}
