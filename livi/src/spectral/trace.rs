//! Hutchinson's estimate of a trace, and the mean of independent samples with its standard error.

use super::arguments::{expect_block, expect_length, expect_positive};
use super::kernels::{all_finite, dot};
use super::{LinearMap, Real};
use crate::{Error, Result};

/// Mean of independent samples and the standard error of that mean.
///
/// The standard error is the sample standard deviation (divisor n - 1) over `sqrt(n)`. One sample says nothing of its
/// spread: infinity.
///
/// # Errors
/// [`Error::Argument`] for no samples.
///
/// ```
/// let (mean, standard_error) = livi::spectral::mean_and_standard_error(&[1.0, 3.0])?;
/// assert_eq!((mean, standard_error), (2.0, 1.0));
/// # Ok::<(), livi::Error>(())
/// ```
pub fn mean_and_standard_error(samples: &[f64]) -> Result<(f64, f64)> {
    expect_positive("number of samples", samples.len())?;
    let count = samples.len() as f64;
    let mean = samples.iter().sum::<f64>() / count;
    if samples.len() == 1 {
        return Ok((mean, f64::INFINITY));
    }
    let squares: f64 = samples.iter().map(|sample| (sample - mean).powi(2)).sum();
    Ok((mean, (squares / (count - 1.0) / count).sqrt()))
}

/// The t that Student's distribution with so many degrees of freedom exceeds, on either side, with the probability `outside` in (0, 1).
///
/// The mean of n normal samples is off by so many of its own standard errors at most, but for that chance, with n - 1 degrees. By the finite sums of
/// Abramowitz and Stegun (1964), 26.7.3 and 26.7.4.
///
/// ```
/// assert!((livi::spectral::student_quantile(9, 0.05) - 2.262157).abs() < 1e-6);
/// ```
pub fn student_quantile(degrees: usize, outside: f64) -> f64 {
    // The probability between -t and t, for tan(angle) = t / sqrt(degrees).
    let inside = |angle: f64| {
        let (sine, cosine) = angle.sin_cos();
        let square = cosine * cosine;
        let odd = degrees % 2;
        let mut term = if odd == 1 { cosine } else { 1.0 };
        let mut sum = 0.0;
        for k in 1..=degrees / 2 {
            sum += term;
            let k = (2 * k) as f64;
            term *= square * if odd == 1 { k / (k + 1.0) } else { (k - 1.0) / k };
        }
        match odd {
            1 => std::f64::consts::FRAC_2_PI * (angle + sine * sum),
            _ => sine * sum,
        }
    };
    let (mut low, mut high) = (0.0, std::f64::consts::FRAC_PI_2);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        *(if inside(middle) < 1.0 - outside { &mut low } else { &mut high }) = middle;
    }
    low.tan() * (degrees as f64).sqrt()
}

/// An estimated trace.
#[derive(Debug, Clone, PartialEq)]
pub struct TraceEstimate {
    /// Mean over the probes.
    pub estimate: f64,
    /// Standard error of the mean; infinite for one probe.
    pub standard_error: f64,
    /// `d v^T F v / |v|^2` for each probe v.
    pub per_probe: Vec<f64>,
}

/// Estimates `tr F` for a symmetric or other linear F on R^d, known by its products, as the mean of `d v^T F v / |v|^2`
/// over random probes v (`count x d`).
///
/// `function` writes `F v` for each row of its block into its output, as [`LinearMap::apply`] does. The estimate is
/// unbiased for Rademacher probes (Hutchinson 1989) and for Gaussian ones rescaled to one norm; over an orthogonal
/// basis it is the trace itself, and then the standard error measures nothing.
///
/// # Errors
/// [`Error::Argument`] for sizes of zero, a wrong length, a probe that is zero or not finite; [`Error::Numerical`] for
/// a product that is not finite; what `function` answers.
///
/// ```
/// use livi::spectral::hutchinson_trace;
/// let double = |_: usize, vectors: &[f64], out: &mut [f64]| {
///     out.iter_mut().zip(vectors).for_each(|(out, v)| *out = 2.0 * v);
///     Ok(())
/// };
/// let trace = hutchinson_trace(double, 2, 3, &[1.0, 1.0, 1.0, -1.0, 1.0, 1.0])?;
/// assert_eq!((trace.estimate, trace.standard_error), (6.0, 0.0));
/// # Ok::<(), livi::Error>(())
/// ```
pub fn hutchinson_trace<T: Real>(
    mut function: impl FnMut(usize, &[T], &mut [T]) -> Result<()>,
    count: usize,
    dimension: usize,
    probes: &[T],
) -> Result<TraceEstimate> {
    expect_positive("number of probes", count)?;
    expect_positive("dimension", dimension)?;
    expect_block("probes", probes, count, dimension)?;
    let mut images = vec![T::from_f64(0.0); probes.len()];
    function(count, probes, &mut images)?;
    if !all_finite(&images) {
        return Err(Error::Numerical {
            method: "Hutchinson trace estimate",
            problem: "the function's result is not finite".into(),
        });
    }
    let mut per_probe = Vec::with_capacity(count);
    for (index, (probe, image)) in probes.chunks_exact(dimension).zip(images.chunks_exact(dimension)).enumerate() {
        let square = dot(probe, probe);
        if square == 0.0 {
            return super::arguments::refuse("probes", format!("row {index} is zero"));
        }
        per_probe.push(dimension as f64 * (dot(probe, image) / square));
    }
    let (estimate, standard_error) = mean_and_standard_error(&per_probe)?;
    Ok(TraceEstimate { estimate, standard_error, per_probe })
}

/// Squared Frobenius norm of J, the trace of `J^T J`, by products with the unit vectors of R^d, `block` at a time:
/// exact up to rounding, d products.
///
/// # Errors
/// [`Error::Argument`] for sizes of zero; [`Error::Numerical`] for a product that is not finite; what the map answers.
///
/// ```
/// use livi::spectral::{DenseMap, frobenius_squared};
/// let mut map = DenseMap::new(2, 2, vec![1.0_f32, 2.0, 3.0, 4.0])?;
/// assert_eq!(frobenius_squared(&mut map, 2)?, 30.0);
/// # Ok::<(), livi::Error>(())
/// ```
pub fn frobenius_squared<T: Real, M: LinearMap<T> + ?Sized>(map: &mut M, block: usize) -> Result<f64> {
    let mut map = super::Counted::new(map)?;
    expect_positive("block", block)?;
    let (rows, cols) = (map.rows(), map.cols());
    let block = block.min(cols);
    let mut vectors = vec![T::from_f64(0.0); block * cols];
    let mut images = vec![T::from_f64(0.0); block * rows];
    expect_length("block", vectors.len(), block, cols)?;
    let mut sum = 0.0;
    for start in (0..cols).step_by(block) {
        let count = block.min(cols - start);
        vectors.fill(T::from_f64(0.0));
        for index in 0..count {
            vectors[index * cols + start + index] = T::from_f64(1.0);
        }
        map.apply(count, &vectors[..count * cols], &mut images[..count * rows])?;
        sum += images[..count * rows].chunks_exact(rows).map(|image| dot(image, image)).sum::<f64>();
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::Xoshiro256PlusPlus;

    use super::super::{DenseMap, fill_gaussian, fill_rademacher, orthonormal_probes};
    use super::*;

    const DIMENSION: usize = 12;

    /// A matrix that is not symmetric, with its trace.
    fn example() -> (DenseMap<f64>, f64) {
        let matrix: Vec<f64> = (0..DIMENSION * DIMENSION).map(|i| ((i * 31 % 17) as f64 - 8.0) / 5.0).collect();
        let trace = (0..DIMENSION).map(|i| matrix[i * (DIMENSION + 1)]).sum();
        (DenseMap::new(DIMENSION, DIMENSION, matrix).unwrap(), trace)
    }

    fn estimate(count: usize, probes: &[f64]) -> TraceEstimate {
        let (mut map, _) = example();
        hutchinson_trace(|count, v, out| map.apply(count, v, out), count, DIMENSION, probes).unwrap()
    }

    #[test]
    fn an_orthogonal_basis_gives_the_trace_itself() {
        let mut generator = Xoshiro256PlusPlus::seed_from_u64(1);
        let basis = orthonormal_probes(&mut generator, DIMENSION, DIMENSION).unwrap();
        assert!((estimate(DIMENSION, &basis).estimate - example().1).abs() < 1e-12);
    }

    #[test]
    fn the_estimate_lies_within_four_standard_errors_for_signs_and_for_normal_probes() {
        let mut generator = Xoshiro256PlusPlus::seed_from_u64(2);
        let mut probes = vec![0.0; 2000 * DIMENSION];
        fill_rademacher(&mut generator, &mut probes);
        let signs = estimate(2000, &probes);
        assert!((signs.estimate - example().1).abs() < 4.0 * signs.standard_error);
        fill_gaussian(&mut generator, &mut probes);
        let normal = estimate(2000, &probes);
        assert!((normal.estimate - example().1).abs() < 4.0 * normal.standard_error);
    }

    #[test]
    fn the_standard_error_matches_the_spread_of_repeated_estimates() {
        let mut generator = Xoshiro256PlusPlus::seed_from_u64(4);
        let (mut estimates, mut variance) = (Vec::new(), 0.0);
        for _ in 0..400 {
            let mut probes = vec![0.0; 30 * DIMENSION];
            fill_rademacher(&mut generator, &mut probes);
            let one = estimate(30, &probes);
            estimates.push(one.estimate);
            variance += one.standard_error.powi(2) / 400.0;
        }
        // The standard error of the mean times sqrt(400) is the spread of one estimate, known to about 1 / sqrt(800) =
        // 4 percent.
        let spread = mean_and_standard_error(&estimates).unwrap().1 * 20.0;
        assert!((spread / variance.sqrt() - 1.0).abs() < 0.15, "{spread} {}", variance.sqrt());
    }

    #[test]
    fn one_sample_has_an_infinite_standard_error() {
        assert_eq!(mean_and_standard_error(&[5.0]).unwrap(), (5.0, f64::INFINITY));
    }

    #[test]
    fn the_frobenius_norm_does_not_depend_on_the_block() {
        let exact: f64 = example().0.matrix().iter().map(|entry| entry * entry).sum();
        for block in [1, 5, 12, 100] {
            assert!((frobenius_squared(&mut example().0, block).unwrap() - exact).abs() < 1e-12 * exact);
        }
    }

    #[test]
    fn a_zero_probe_is_refused_by_its_row() {
        let message = hutchinson_trace(|_, _, _| Ok(()), 2, 1, &[1.0, 0.0]).unwrap_err().to_string();
        assert_eq!(message, "probes: row 1 is zero");
    }

    #[test]
    fn quantiles_of_student_are_those_of_tables_and_become_normal() {
        for (degrees, outside, wanted) in [
            (1, 0.05, 12.706_204_736),
            (2, 0.05, 4.302_652_730),
            (3, 0.01, 5.840_909_310),
            (4, 0.001, 8.610_301_58),
            (9, 0.001, 4.780_912_586),
            (30, 0.05, 2.042_272_456),
            (1_000_000, 0.05, 1.959_966),
        ] {
            let found = student_quantile(degrees, outside);
            assert!((found - wanted).abs() < 2e-6 * wanted, "{degrees}, {outside}: {found}");
        }
        // One degree is Cauchy's distribution.
        let cauchy = 1.0 / (0.5 * std::f64::consts::PI * 1e-4).tan();
        assert!((student_quantile(1, 1e-4) / cauchy - 1.0).abs() < 1e-9);
    }
}
