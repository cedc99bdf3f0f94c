//! The Monte-Carlo predictive distribution of regression: a mixture of normals over weight samples.

use rayon::prelude::*;

use super::{argument, normal, require_finite, require_length};
use crate::Result;

/// For every row `n` and output `o` the mixture `1/S sum_s N(means[s, n, o], noise_std[o]^2)` over the `S` weight
/// samples; jointly over a row's outputs, which share the weight sample, a mixture of products.
#[derive(Debug, Clone, PartialEq)]
pub struct PredictiveMixture {
    means: Vec<f64>,
    noise_std: Vec<f64>,
    samples: usize,
    rows: usize,
}

impl PredictiveMixture {
    /// A mixture from network outputs `means` (`samples x rows x outputs`, row-major) and the standard deviation
    /// of the noise of each output, all in one unit per output.
    ///
    /// # Errors
    /// [`crate::Error::Argument`] when `means` has another length or is empty, a mean is not finite, or a standard
    /// deviation is not positive and finite.
    ///
    /// # Examples
    /// ```
    /// // Two weight samples, one row, one output: means 1 and 3, noise 0.5.
    /// let mixture = livi::metrics::PredictiveMixture::new(vec![1.0, 3.0], 2, 1, vec![0.5]).unwrap();
    /// assert_eq!(mixture.mean(), [2.0]);
    /// assert_eq!(mixture.epistemic_std(), [1.0]);
    /// assert_eq!(mixture.total_std(), [1.25_f64.sqrt()]);
    /// assert!((mixture.quantiles(&[0.5]).unwrap()[0] - 2.0).abs() < 1e-12);
    /// ```
    pub fn new(means: Vec<f64>, samples: usize, rows: usize, noise_std: Vec<f64>) -> Result<Self> {
        for (name, size) in [("weight samples", samples), ("rows", rows), ("outputs", noise_std.len())] {
            if size == 0 {
                return Err(argument(name, "there is none, expected at least 1"));
            }
        }
        require_length("predicted means", means.len(), samples * rows * noise_std.len())?;
        require_finite("predicted means", &means)?;
        if let Some(at) = noise_std.iter().position(|std| !(std.is_finite() && *std > 0.0)) {
            let problem = format!("output {at} has {}, expected a positive finite number", noise_std[at]);
            return Err(argument("noise standard deviation", problem));
        }
        Ok(Self { means, noise_std, samples, rows })
    }

    /// Number of weight samples.
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of outputs.
    pub fn outputs(&self) -> usize {
        self.noise_std.len()
    }

    /// Standard deviation of the noise (the aleatoric part of the spread), one an output, the same for all rows.
    pub fn aleatoric_std(&self) -> &[f64] {
        &self.noise_std
    }

    /// Predictive means, `rows x outputs`.
    pub fn mean(&self) -> Vec<f64> {
        let mut mean = vec![0.0; self.entries()];
        for sample in self.means.chunks_exact(self.entries()) {
            mean.iter_mut().zip(sample).for_each(|(sum, value)| *sum += value);
        }
        mean.iter_mut().for_each(|sum| *sum /= self.samples as f64);
        mean
    }

    /// Standard deviations of the means over weight samples (divided by their number: the mixture's own spread,
    /// not an estimate of another's), `rows x outputs`.
    pub fn epistemic_std(&self) -> Vec<f64> {
        let mean = self.mean();
        let mut squares = vec![0.0; self.entries()];
        for sample in self.means.chunks_exact(self.entries()) {
            for ((sum, value), mean) in squares.iter_mut().zip(sample).zip(&mean) {
                *sum += (value - mean).powi(2);
            }
        }
        squares.iter().map(|sum| (sum / self.samples as f64).sqrt()).collect()
    }

    /// Standard deviations of the mixture by the law of total variance, `rows x outputs`:
    /// `total^2 = epistemic^2 + aleatoric^2`.
    pub fn total_std(&self) -> Vec<f64> {
        let noise = self.noise_std.iter().cycle();
        self.epistemic_std().iter().zip(noise).map(|(epistemic, noise)| epistemic.hypot(*noise)).collect()
    }

    /// Log-density of the targets (`rows x outputs`), one a row: the log of the mean over weight samples of
    /// `prod_o N(y_o; mean_o, noise_std_o^2)`, by log-sum-exp.
    ///
    /// # Errors
    /// [`crate::Error::Argument`] when `targets` has another length or holds a number that is not finite.
    ///
    /// # Examples
    /// ```
    /// let mixture = livi::metrics::PredictiveMixture::new(vec![-1.0, 1.0], 2, 1, vec![1.0]).unwrap();
    /// // Both parts give N(0; 1, 1).
    /// let expected = livi::metrics::normal::log_density(0.0, 1.0, 1.0);
    /// assert!((mixture.log_likelihoods(&[0.0]).unwrap()[0] - expected).abs() < 1e-15);
    /// ```
    pub fn log_likelihoods(&self, targets: &[f64]) -> Result<Vec<f64>> {
        require_length("targets", targets.len(), self.entries())?;
        require_finite("targets", targets)?;
        let outputs = self.outputs();
        let row_log_likelihood = |row: usize| {
            let part = row * outputs..(row + 1) * outputs;
            let log_density = |sample: &[f64]| -> f64 {
                let entries = sample[part.clone()].iter().zip(&targets[part.clone()]).zip(&self.noise_std);
                entries.map(|((mean, target), std)| normal::log_density(*target, *mean, *std)).sum()
            };
            log_mean_exp(self.means.chunks_exact(self.entries()).map(log_density))
        };
        Ok((0..self.rows).map(row_log_likelihood).collect())
    }

    /// Probability that output `output` of row `row` is at most `value`.
    ///
    /// # Panics
    /// When `row` or `output` is out of range.
    pub fn cdf(&self, row: usize, output: usize, value: f64) -> f64 {
        let std = self.noise_std[output];
        let sum: f64 = self.components(row, output).map(|mean| normal::cdf((value - mean) / std)).sum();
        sum / self.samples as f64
    }

    /// Quantiles of the mixture at `levels`, `rows x outputs x levels`, to about the rounding of an `f64`.
    ///
    /// # Errors
    /// [`crate::Error::Argument`] when a level does not lie strictly between 0 and 1.
    pub fn quantiles(&self, levels: &[f64]) -> Result<Vec<f64>> {
        if let Some(level) = levels.iter().find(|&&level| !(level > 0.0 && level < 1.0)) {
            let problem = format!("{level} is out of range, expected a number between 0 and 1, both excluded");
            return Err(argument("quantile level", problem));
        }
        let normal_quantiles: Vec<f64> = levels.iter().map(|&level| normal::quantile(level)).collect();
        let of_entry = |entry: usize| {
            let (row, output) = (entry / self.outputs(), entry % self.outputs());
            let components: Vec<f64> = self.components(row, output).collect();
            let solve = |at: usize| quantile(&components, self.noise_std[output], levels[at], normal_quantiles[at]);
            (0..levels.len()).map(solve).collect::<Vec<_>>()
        };
        // Entries are independent and collected in order: the result does not depend on the number of threads.
        Ok((0..self.entries()).into_par_iter().flat_map_iter(of_entry).collect())
    }

    /// The central interval that holds `probability`: quantiles at `(1 - probability) / 2` and
    /// `(1 + probability) / 2`, as lower and upper ends, each `rows x outputs`.
    ///
    /// # Errors
    /// [`crate::Error::Argument`] when `probability` does not lie strictly between 0 and 1.
    ///
    /// # Examples
    /// ```
    /// let mixture = livi::metrics::PredictiveMixture::new(vec![10.0], 1, 1, vec![2.0]).unwrap();
    /// let (lower, upper) = mixture.central_interval(0.95).unwrap();
    /// assert!((lower[0] - (10.0 - 2.0 * 1.959_963_984_540_054)).abs() < 1e-12);
    /// assert!((upper[0] - (10.0 + 2.0 * 1.959_963_984_540_054)).abs() < 1e-12);
    /// ```
    pub fn central_interval(&self, probability: f64) -> Result<(Vec<f64>, Vec<f64>)> {
        let tail = 0.5 * (1.0 - probability);
        let both = self.quantiles(&[tail, 1.0 - tail])?;
        Ok((both.iter().copied().step_by(2).collect(), both.iter().copied().skip(1).step_by(2).collect()))
    }

    /// Rows times outputs.
    fn entries(&self) -> usize {
        self.rows * self.outputs()
    }

    /// Means of the components of one entry, over weight samples.
    fn components(&self, row: usize, output: usize) -> impl Iterator<Item = f64> + Clone {
        assert!(row < self.rows && output < self.outputs(), "row {row}, output {output} is out of range");
        self.means.iter().skip(row * self.outputs() + output).step_by(self.entries()).copied()
    }
}

/// Quantile of an equal-weight mixture of normals; `normal_quantile` is the standard normal one at `level`.
fn quantile(means: &[f64], std: f64, level: f64, normal_quantile: f64) -> f64 {
    let (sign, tail) = normal::nearer_tail(level);
    // In the upper half the mirrored mixture is solved in its lower tail, where no digits cancel.
    let mirrored = |value: f64| sign * value;
    let shift = std * mirrored(normal_quantile);
    let least = means.iter().copied().map(mirrored).fold(f64::INFINITY, f64::min);
    let largest = means.iter().copied().map(mirrored).fold(f64::NEG_INFINITY, f64::max);
    let count = means.len() as f64;
    let mean = means.iter().sum::<f64>() / count;
    let spread = (means.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt();
    let start = mirrored(mean) + spread.hypot(std) * mirrored(normal_quantile);
    // Every component's own quantile lies between those of the outermost two, so theirs bracket the mixture's.
    let found = normal::find_quantile(tail, least + shift, largest + shift, start, std, |y| {
        let (mut value, mut derivative) = (0.0, 0.0);
        for &mean in means {
            let z = (y - mirrored(mean)) / std;
            value += normal::cdf(z);
            derivative += normal::density(z);
        }
        (value / count, derivative / (count * std))
    });
    mirrored(found)
}

/// `ln(1/S sum exp(value))` without overflow or underflow.
fn log_mean_exp(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let largest = values.clone().fold(f64::NEG_INFINITY, f64::max);
    if largest == f64::NEG_INFINITY {
        return largest;
    }
    let (mut count, mut sum) = (0.0, 0.0);
    for value in values {
        count += 1.0;
        sum += (value - largest).exp();
    }
    largest + f64::ln(sum / count)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three weight samples, two rows, two outputs.
    fn example() -> PredictiveMixture {
        let means = vec![0.0, 10.0, 1.0, 20.0, 3.0, 11.0, -4.0, 20.5, 0.3, 12.0, 1.5, 18.0];
        PredictiveMixture::new(means, 3, 2, vec![0.5, 2.0]).unwrap()
    }

    #[test]
    fn mean_and_spreads_are_those_of_each_entry_over_samples() {
        let mixture = example();
        let entry = [20.0, 20.5, 18.0_f64];
        let mean = entry.iter().sum::<f64>() / 3.0;
        let variance = entry.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 3.0;
        assert!((mixture.mean()[3] - mean).abs() < 1e-14);
        assert!((mixture.epistemic_std()[3] - variance.sqrt()).abs() < 1e-14);
        assert!((mixture.total_std()[3] - (variance + 4.0).sqrt()).abs() < 1e-14);
    }

    #[test]
    fn the_total_variance_is_the_integral_over_the_mixture_density() {
        let mixture = example();
        // Second moment about the mean by differences of the cdf on a fine grid (midpoint rule).
        let (mean, h) = (mixture.mean()[2], 1e-3);
        let (mut variance, mut below) = (0.0, 0.0);
        for i in 0..20_000 {
            let high = -10.0 + (i + 1) as f64 * h;
            let mass = mixture.cdf(1, 0, high) - below;
            below += mass;
            variance += mass * (high - 0.5 * h - mean).powi(2);
        }
        assert!((variance.sqrt() - mixture.total_std()[2]).abs() < 1e-6, "{}", variance.sqrt());
    }

    #[test]
    fn log_likelihood_equals_the_direct_sum_of_products_of_densities() {
        let mixture = example();
        let targets = [0.4, 11.0, -1.0, 19.0];
        let density = |y: f64, mean: f64, std: f64| {
            (-0.5 * ((y - mean) / std).powi(2)).exp() / (std * (2.0 * std::f64::consts::PI).sqrt())
        };
        let found = mixture.log_likelihoods(&targets).unwrap();
        for row in 0..2 {
            let sum: f64 = (0..3)
                .map(|sample| {
                    let mean = &mixture.means[4 * sample + 2 * row..];
                    density(targets[2 * row], mean[0], 0.5) * density(targets[2 * row + 1], mean[1], 2.0)
                })
                .sum();
            assert!((found[row] - (sum / 3.0).ln()).abs() < 1e-12, "row {row}");
        }
    }

    #[test]
    fn a_target_a_thousand_deviations_away_has_a_finite_log_likelihood() {
        let mixture = PredictiveMixture::new(vec![0.0, 0.0], 2, 1, vec![1.0]).unwrap();
        let found = mixture.log_likelihoods(&[1000.0]).unwrap()[0];
        assert!((found - normal::log_density(1000.0, 0.0, 1.0)).abs() < 1e-9);
    }

    #[test]
    fn the_cdf_at_a_quantile_is_its_level() {
        let mixture = example();
        let levels = [1e-9, 0.025, 0.3, 0.5, 0.75, 0.975, 0.999_999];
        let quantiles = mixture.quantiles(&levels).unwrap();
        for entry in 0..4 {
            for (at, level) in levels.iter().enumerate() {
                let back = mixture.cdf(entry / 2, entry % 2, quantiles[entry * levels.len() + at]);
                assert!((back - level).abs() < 1e-13 * level.max(1e-3), "entry {entry}, level {level}: {back}");
            }
        }
    }

    #[test]
    fn quantiles_agree_with_plain_bisection_where_components_are_far_apart() {
        // Between the components the cdf is flat at 1/2: Newton's steps alone would shoot out.
        let mixture = PredictiveMixture::new(vec![-100.0, 100.0], 2, 1, vec![1.0]).unwrap();
        for level in [0.1, 0.49, 0.5 - 1e-9, 0.500_001, 0.9] {
            let (mut low, mut high) = (-200.0, 200.0);
            for _ in 0..200 {
                let middle = 0.5 * (low + high);
                if mixture.cdf(0, 0, middle) < level { low = middle } else { high = middle }
            }
            let found = mixture.quantiles(&[level]).unwrap()[0];
            // At 1/2 - 1e-9 the density is about 3e-9, so rounding of the cdf moves the quantile by 1e-7.
            assert!((found - low).abs() < 1e-6, "{level}: {found} {low}");
        }
    }

    #[test]
    fn quantiles_of_a_mirrored_mixture_are_mirrored() {
        let plain = PredictiveMixture::new(vec![0.0, 1.0, 5.0], 3, 1, vec![0.7]).unwrap();
        let mirrored = PredictiveMixture::new(vec![-0.0, -1.0, -5.0], 3, 1, vec![0.7]).unwrap();
        let (lower, upper) = plain.central_interval(0.9).unwrap();
        let (mirrored_lower, mirrored_upper) = mirrored.central_interval(0.9).unwrap();
        assert!((lower[0] + mirrored_upper[0]).abs() < 1e-14 && (upper[0] + mirrored_lower[0]).abs() < 1e-14);
    }

    #[test]
    fn equal_components_give_the_quantiles_of_one_normal() {
        let mixture = PredictiveMixture::new(vec![7.0; 50], 50, 1, vec![3.0]).unwrap();
        let found = mixture.quantiles(&[0.841_344_746_068_542_9]).unwrap()[0];
        assert!((found - 10.0).abs() < 1e-12, "{found}");
    }

    #[test]
    fn wrong_shapes_and_values_are_refused() {
        assert!(PredictiveMixture::new(vec![0.0; 5], 2, 3, vec![1.0]).is_err());
        assert!(PredictiveMixture::new(vec![], 0, 3, vec![1.0]).is_err());
        assert!(PredictiveMixture::new(vec![f64::NAN], 1, 1, vec![1.0]).is_err());
        assert!(PredictiveMixture::new(vec![0.0], 1, 1, vec![0.0]).is_err());
        assert!(example().log_likelihoods(&[0.0; 3]).is_err());
        assert!(example().quantiles(&[1.0]).is_err());
        assert!(example().central_interval(f64::NAN).is_err());
    }
}
