//! The noise levels of regression, fitted to the mixture over weight samples on rows that it was not trained on.
//!
//! What training learns is the noise under which one draw of the weights explains its own training rows: it holds the spread of the posterior, which
//! the mixture adds once more, and where a network fits its training rows almost exactly it comes out too small. As a temperature does for classes
//! ([`super::temperature`]), one number for each target mends both.
//!
//! Each target's level is fitted to the mixture of that target alone, 1/S sum_s N(y; f_s, std^2): the one that its intervals and quantiles are taken
//! from. Under the joint mixture of all targets the levels would depend on each other, since a row's targets share the weight sample; with each
//! target's own the fit is one-dimensional, the rule of one standard error has its meaning, and a target that fits badly moves no other's level.

use rayon::prelude::*;

use super::{argument, require_finite, require_length};
use crate::Result;

/// Logarithms of the least and largest standard deviation that is tried, in the units of the targets.
const RANGE: (f64, f64) = (-16.0, 8.0);
/// Distance of the first points tried, in the logarithm.
const STEP: f64 = 0.1;
/// Distance of the points looked at above the best, in the logarithm.
const CAUTIOUS_STEP: f64 = 0.01;
/// Golden sections of the interval around the best of them.
const SECTIONS: usize = 45;

/// A noise level fitted to rows, as standard deviations within exp(-16) to exp(8).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FittedNoise {
    /// The one under which the rows are likeliest.
    pub likeliest: f64,
    /// The largest under which their log-likelihood is less by no more than one standard error of the difference, row by row: the rule of one standard
    /// error (Breiman et al. 1984). Too little noise costs far more than too much, and few rows do not tell the two apart.
    pub cautious: f64,
}

/// Fits the noise level of each output to targets (rows x outputs) given the network outputs of weight samples (samples x rows x outputs), both
/// standardised. The log-likelihood of output o in a row is log 1/S sum_s N(y_o; f_so, std_o^2).
///
/// # Errors
/// [`crate::Error::Argument`] when lengths do not fit or are 0, or a number is not finite.
///
/// # Examples
/// ```
/// // One weight sample: the root of the mean squared error.
/// let fitted = livi::metrics::noise::fit(&[0.0, 0.0, 0.0, 0.0], 1, &[0.3, -0.3, 0.1, -0.1], 1)?[0];
/// assert!((fitted.likeliest - 0.05_f64.sqrt()).abs() < 1e-8);
/// assert!(fitted.cautious > 1.2 * fitted.likeliest);
/// # Ok::<(), livi::Error>(())
/// ```
pub fn fit(outputs: &[f64], samples: usize, targets: &[f64], columns: usize) -> Result<Vec<FittedNoise>> {
    if samples == 0 || columns == 0 || targets.is_empty() || !targets.len().is_multiple_of(columns) {
        let problem =
            format!("{} targets, {columns} outputs, {samples} samples: expected at least one of each", targets.len());
        return Err(argument("rows to fit the noise to", problem));
    }
    require_length("predicted means", outputs.len(), samples.saturating_mul(targets.len()))?;
    require_finite("predicted means", outputs)?;
    require_finite("targets", targets)?;
    let rows = targets.len() / columns;
    let of_column = |column: usize| {
        // Squared distances of each row's target to the samples' outputs, rows x samples.
        let distance = |at: usize| {
            let (entry, sample) = (at / samples * columns + column, at % samples);
            (outputs[sample * targets.len() + entry] - targets[entry]).powi(2)
        };
        let squares: Vec<f64> = (0..rows * samples).into_par_iter().map(distance).collect();
        fit_one(&squares, samples)
    };
    Ok((0..columns).map(of_column).collect())
}

/// Fits the noise level of one output to squared distances, rows x samples.
fn fit_one(squares: &[f64], samples: usize) -> FittedNoise {
    let rows = squares.len() / samples;
    // Log-likelihoods of the rows, a constant left out.
    let each = |log_std: f64| -> Vec<f64> {
        let scale = 0.5 * (-2.0 * log_std).exp();
        let of_row = |squares: &[f64]| {
            let least = squares.iter().copied().fold(f64::INFINITY, f64::min);
            squares.iter().map(|square| (scale * (least - square)).exp()).sum::<f64>().ln() - scale * least
        };
        squares.par_chunks_exact(samples).map(|row| of_row(row) - log_std).collect()
    };
    // Summed in order: the sum does not depend on the number of threads.
    let objective = |log_std: f64| each(log_std).iter().sum::<f64>() / rows as f64;
    let points = ((RANGE.1 - RANGE.0) / STEP).round() as usize;
    let at = |point: usize| RANGE.0 + STEP * point as f64;
    let (mut best, mut value) = (0, f64::NEG_INFINITY);
    for point in 0..=points {
        let found = objective(at(point));
        if found > value {
            (best, value) = (point, found);
        }
    }
    let likeliest = golden_section(objective, at(best.saturating_sub(1)), at((best + 1).min(points)));
    let there = each(likeliest);
    let within = |log_std: f64| {
        let losses: Vec<f64> = there.iter().zip(each(log_std)).map(|(best, log)| best - log).collect();
        let mean = losses.iter().sum::<f64>() / rows as f64;
        let variance = losses.iter().map(|loss| (loss - mean).powi(2)).sum::<f64>() / (rows.max(2) - 1) as f64;
        mean <= (variance / rows as f64).sqrt()
    };
    let further = (1..).map(|k| likeliest + CAUTIOUS_STEP * f64::from(k));
    let cautious = further.take_while(|&log_std| log_std <= RANGE.1 && within(log_std)).last().unwrap_or(likeliest);
    FittedNoise { likeliest: likeliest.exp(), cautious: cautious.exp() }
}

/// The place of a maximum between two points.
fn golden_section(objective: impl Fn(f64) -> f64, mut low: f64, mut high: f64) -> f64 {
    let part = 0.5 * (5.0_f64.sqrt() - 1.0);
    let (mut left, mut right) = (high - part * (high - low), low + part * (high - low));
    let (mut at_left, mut at_right) = (objective(left), objective(right));
    for _ in 0..SECTIONS {
        if at_left > at_right {
            (high, right, at_right) = (right, left, at_left);
            left = high - part * (high - low);
            at_left = objective(left);
        } else {
            (low, left, at_left) = (left, right, at_right);
            right = low + part * (high - low);
            at_right = objective(right);
        }
    }
    0.5 * (low + high)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::PredictiveMixture;

    /// Outputs of three samples for four rows of two targets.
    fn case() -> (Vec<f64>, Vec<f64>) {
        let number = |k: usize| ((k * 37 + 11) % 29) as f64 / 29.0 - 0.5;
        ((0..24).map(number).collect(), (0..8).map(|k| 1.3 * number(k + 5)).collect())
    }

    #[test]
    fn no_noise_on_a_fine_grid_makes_the_rows_of_a_target_likelier() {
        let (outputs, targets) = case();
        let fitted = fit(&outputs, 3, &targets, 2).unwrap();
        assert_eq!(fitted.len(), 2);
        for (column, level) in fitted.iter().enumerate() {
            let own = |all: &[f64]| -> Vec<f64> { all.iter().skip(column).step_by(2).copied().collect() };
            let likelihood = |std: f64| -> f64 {
                let mixture = PredictiveMixture::new(own(&outputs), 3, 4, vec![std]).unwrap();
                mixture.log_likelihoods(&own(&targets)).unwrap().iter().sum()
            };
            let best = level.likeliest;
            for k in -400..=400 {
                let std = best * (f64::from(k) * 0.01).exp();
                assert!(likelihood(std) <= likelihood(best) + 1e-12, "target {column}: {std} is better than {best}");
            }
        }
    }

    #[test]
    fn a_target_has_the_level_that_it_has_alone_whatever_the_others_units() {
        let (outputs, targets) = case();
        let together = fit(&outputs, 3, &targets, 2).unwrap();
        let scaled = |all: &[f64]| -> Vec<f64> {
            all.iter().enumerate().map(|(k, value)| if k % 2 == 0 { *value } else { 64.0 * value }).collect()
        };
        let apart = fit(&scaled(&outputs), 3, &scaled(&targets), 2).unwrap();
        assert_eq!(apart[0], together[0]);
        assert!((apart[1].likeliest / together[1].likeliest / 64.0 - 1.0).abs() < 1e-6, "{apart:?} {together:?}");
    }

    #[test]
    fn the_spread_of_the_samples_is_not_counted_twice() {
        // Samples that scatter as the targets do: almost no noise is left to explain what one sample alone needs noise for.
        let targets = [0.0; 50];
        let alone = fit(&[0.5; 50], 1, &targets, 1).unwrap()[0].likeliest;
        assert!((alone - 0.5).abs() < 1e-8, "{alone}");
        let samples: Vec<f64> = (0..101 * 50).map(|k| (k / 50) as f64 * 0.02 - 1.0).collect();
        let mixture = fit(&samples, 101, &targets, 1).unwrap()[0].likeliest;
        assert!(mixture < 0.05, "{mixture}");
    }

    #[test]
    fn rows_that_do_not_fit_are_refused_and_perfect_ones_meet_the_least() {
        let (outputs, targets) = case();
        for (samples, columns) in [(0, 2), (3, 0), (3, 3), (2, 2)] {
            assert!(fit(&outputs, samples, &targets, columns).is_err(), "{samples} {columns}");
        }
        assert!(fit(&[f64::NAN], 1, &[0.0], 1).is_err() && fit(&[], 1, &[], 1).is_err());
        let least = fit(&[1.0, 2.0], 1, &[1.0, 2.0], 1).unwrap()[0].cautious;
        assert!(least > 0.0 && least < 2e-7, "{least}");
    }

    #[test]
    fn caution_is_that_of_one_standard_error_and_falls_with_the_number_of_rows() {
        // Errors of one normal distribution: the deviance of a factor e^t is t + (e^(-2 t) - 1)/2 a row, its spread about 2 t / sqrt(2 rows).
        let quantiles = |rows: usize| -> Vec<f64> {
            (0..rows).map(|k| crate::metrics::normal::quantile((k as f64 + 0.5) / rows as f64)).collect()
        };
        let ratio = |rows: usize| {
            let fitted = fit(&vec![0.0; rows], 1, &quantiles(rows), 1).unwrap()[0];
            (fitted.cautious / fitted.likeliest).ln()
        };
        for rows in [30_usize, 300, 3000] {
            let expected = (2.0 / rows as f64).sqrt();
            let found = ratio(rows);
            assert!((found / expected - 1.0).abs() < 0.4, "{rows} rows: {found}, about {expected}");
        }
    }
}
