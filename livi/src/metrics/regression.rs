//! Error, likelihood and interval measures of regression.

use serde::{Deserialize, Serialize};

use super::{PredictiveMixture, argument, require_finite, require_length, require_not_empty};
use crate::Result;

/// Root of the mean squared difference of two slices of one length.
///
/// # Errors
/// [`crate::Error::Argument`] when the lengths differ, are 0, or a number is not finite.
///
/// # Examples
/// ```
/// let rmse = livi::metrics::regression::rmse(&[1.0, 2.0], &[4.0, 6.0]).unwrap();
/// assert_eq!(rmse, 12.5_f64.sqrt());
/// ```
pub fn rmse(predictions: &[f64], targets: &[f64]) -> Result<f64> {
    require_not_empty("targets", targets)?;
    require_length("predictions", predictions.len(), targets.len())?;
    require_finite("predictions", predictions)?;
    require_finite("targets", targets)?;
    let squares: f64 = predictions.iter().zip(targets).map(|(found, target)| (found - target).powi(2)).sum();
    Ok((squares / targets.len() as f64).sqrt())
}

/// Part of the targets inside their intervals, ends included, in [0, 1].
///
/// # Errors
/// [`crate::Error::Argument`] when lengths differ or are 0, a number is not finite, or an upper end lies below its lower one.
///
/// # Examples
/// ```
/// let coverage = livi::metrics::regression::coverage(&[0.0, 0.0], &[1.0, 1.0], &[1.0, 2.0]).unwrap();
/// assert_eq!(coverage, 0.5);
/// ```
pub fn coverage(lower: &[f64], upper: &[f64], targets: &[f64]) -> Result<f64> {
    require_not_empty("targets", targets)?;
    require_length("lower ends", lower.len(), targets.len())?;
    require_intervals(lower, upper)?;
    require_finite("targets", targets)?;
    let inside = lower.iter().zip(upper).zip(targets).filter(|((low, high), target)| (low..=high).contains(&target));
    Ok(inside.count() as f64 / targets.len() as f64)
}

/// Mean width of the intervals: less is sharper. It says something only beside the coverage.
///
/// # Errors
/// [`crate::Error::Argument`] when lengths differ or are 0, a number is not finite, or an upper end lies below its lower one.
pub fn sharpness(lower: &[f64], upper: &[f64]) -> Result<f64> {
    require_not_empty("lower ends", lower)?;
    require_intervals(lower, upper)?;
    Ok(lower.iter().zip(upper).map(|(low, high)| high - low).sum::<f64>() / lower.len() as f64)
}

/// Refuses ends that do not belong together: other lengths, numbers that are not finite, upper ends below lower ones.
fn require_intervals(lower: &[f64], upper: &[f64]) -> Result<()> {
    require_length("upper ends", upper.len(), lower.len())?;
    require_finite("lower ends", lower)?;
    require_finite("upper ends", upper)?;
    match lower.iter().zip(upper).position(|(low, high)| low > high) {
        None => Ok(()),
        Some(at) => {
            let problem = format!("index {at} is {}, below the lower end {}", upper[at], lower[at]);
            Err(argument("upper ends", problem))
        }
    }
}

/// A mean over runs or splits with its standard error.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MeanWithError {
    /// The mean.
    pub mean: f64,
    /// Sample standard deviation (divided by `count - 1`) over the root of `count`; none for one value.
    pub standard_error: Option<f64>,
    /// Number of values.
    pub count: usize,
}

impl MeanWithError {
    /// Mean and standard error of `values`.
    ///
    /// # Errors
    /// [`crate::Error::Argument`] when there is no value or one is not finite.
    ///
    /// # Examples
    /// ```
    /// let summary = livi::metrics::MeanWithError::of(&[1.0, 2.0, 3.0]).unwrap();
    /// assert_eq!((summary.mean, summary.standard_error), (2.0, Some((1.0_f64 / 3.0).sqrt())));
    /// ```
    pub fn of(values: &[f64]) -> Result<Self> {
        require_not_empty("values to average", values)?;
        require_finite("values to average", values)?;
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let standard_error = (values.len() > 1).then(|| (squares / (count - 1.0) / count).sqrt());
        Ok(Self { mean, standard_error, count: values.len() })
    }
}

/// The usual measures of a predictive mixture on one set of targets, in the targets' units. Several outputs are pooled: they should have one unit and
/// about one size, else each is to be measured alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RegressionMetrics {
    /// Number of rows.
    pub rows: usize,
    /// Root mean squared error of the predictive mean over rows and outputs.
    pub rmse: f64,
    /// Mean over rows of the mixture's log-density of the targets, in nats.
    pub log_likelihood: f64,
    /// Probability that the central intervals below should hold.
    pub interval_probability: f64,
    /// Part of the targets inside their central intervals.
    pub coverage: f64,
    /// Mean width of the central intervals.
    pub sharpness: f64,
    /// Mean over rows and outputs of the epistemic standard deviation.
    pub mean_epistemic_std: f64,
    /// Mean over outputs of the aleatoric standard deviation.
    pub mean_aleatoric_std: f64,
}

impl RegressionMetrics {
    /// Measures `mixture` on `targets` (`rows x outputs`), with central intervals of `interval_probability`.
    ///
    /// # Errors
    /// [`crate::Error::Argument`] when the shapes differ or the probability is not between 0 and 1.
    pub fn of(mixture: &PredictiveMixture, targets: &[f64], interval_probability: f64) -> Result<Self> {
        let log_likelihoods = mixture.log_likelihoods(targets)?;
        if log_likelihoods.iter().any(|value| !value.is_finite()) {
            return Err(argument("targets", "are so far from the predictions that their density vanishes"));
        }
        let (lower, upper) = mixture.central_interval(interval_probability)?;
        let average = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        Ok(Self {
            rows: mixture.rows(),
            rmse: rmse(&mixture.mean(), targets)?,
            log_likelihood: average(&log_likelihoods),
            interval_probability,
            coverage: coverage(&lower, &upper, targets)?,
            sharpness: sharpness(&lower, &upper)?,
            mean_epistemic_std: average(&mixture.epistemic_std()),
            mean_aleatoric_std: average(mixture.aleatoric_std()),
        })
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::Xoshiro256PlusPlus;
    use rand::{RngExt, SeedableRng};
    use rand_distr::StandardNormal;

    use super::*;

    #[test]
    fn measures_of_one_normal_are_its_closed_forms() {
        let targets = [1.0, -2.0, 0.5, 30.0];
        let mixture = PredictiveMixture::new(vec![0.0; 4], 1, 4, vec![2.0]).unwrap();
        let metrics = RegressionMetrics::of(&mixture, &targets, 0.95).unwrap();
        let mean_square = (1.0 + 4.0 + 0.25 + 900.0) / 4.0;
        let log_likelihood = -0.5 * (2.0 * std::f64::consts::PI * 4.0).ln() - mean_square / 8.0;
        assert!((metrics.rmse - f64::sqrt(mean_square)).abs() < 1e-14);
        assert!((metrics.log_likelihood - log_likelihood).abs() < 1e-12);
        assert!((metrics.sharpness - 4.0 * 1.959_963_984_540_054).abs() < 1e-12);
        assert_eq!(metrics.coverage, 0.75);
        assert_eq!((metrics.mean_epistemic_std, metrics.mean_aleatoric_std), (0.0, 2.0));
    }

    #[test]
    fn targets_drawn_from_the_mixture_are_covered_as_often_as_promised() {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(11);
        let (samples, rows, noise) = (20, 4000, 0.4);
        let means: Vec<f64> = (0..samples * rows).map(|_| rng.sample(StandardNormal)).collect();
        let targets: Vec<f64> = (0..rows)
            .map(|row| means[rng.random_range(0..samples) * rows + row] + noise * rng.sample::<f64, _>(StandardNormal))
            .collect();
        let mixture = PredictiveMixture::new(means, samples, rows, vec![noise]).unwrap();
        for probability in [0.5, 0.9, 0.95] {
            let (lower, upper) = mixture.central_interval(probability).unwrap();
            let found = coverage(&lower, &upper, &targets).unwrap();
            let deviation = (probability * (1.0 - probability) / rows as f64).sqrt();
            assert!((found - probability).abs() < 4.0 * deviation, "{probability}: {found}");
        }
    }

    #[test]
    fn the_ends_of_an_interval_belong_to_it() {
        assert_eq!(coverage(&[0.0, 0.0, 0.0], &[1.0, 1.0, 1.0], &[0.0, 1.0, 1.5]).unwrap(), 2.0 / 3.0);
    }

    #[test]
    fn one_value_has_no_standard_error() {
        assert_eq!(MeanWithError::of(&[3.0]).unwrap().standard_error, None);
    }

    #[test]
    fn lengths_that_differ_name_both() {
        let message = rmse(&[1.0], &[1.0, 2.0]).unwrap_err().to_string();
        assert!(message.contains("predictions: has length 1, expected 2"), "{message}");
    }

    #[test]
    fn nothing_to_average_is_an_error() {
        assert!(rmse(&[], &[]).is_err() && MeanWithError::of(&[]).is_err() && sharpness(&[], &[]).is_err());
    }
}
