//! Calibration of class probabilities: are things said with confidence 0.8 true 8 times in 10?

use serde::Serialize;

use super::classification::most_probable;
use super::{ClassPredictions, argument};
use crate::Result;

/// Bins at most; there are no more images than that to fill them.
const MOST_BINS: usize = 1_000_000;
/// Number of confidence bins that is customary.
pub const DEFAULT_BINS: usize = 15;

/// One bin of a reliability diagram.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct ReliabilityBin {
    /// Number of predictions in the bin.
    pub count: usize,
    /// Their mean confidence; 0 for an empty bin.
    pub confidence: f64,
    /// The part of them that is right; 0 for an empty bin.
    pub accuracy: f64,
}

/// Expected and maximum calibration error with the bins they come from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CalibrationError {
    /// Mean over predictions of their bin's |accuracy - confidence| (ECE).
    pub expected: f64,
    /// Largest |accuracy - confidence| over the bins that hold a prediction (MCE).
    pub maximum: f64,
    /// The bins, from confidence 0 to 1, all of one width.
    pub bins: Vec<ReliabilityBin>,
}

impl ClassPredictions<'_> {
    /// Expected and maximum calibration error of the most probable class over `bins` equal-width bins of
    /// confidence (Naeini et al. 2015; Guo et al. 2017).
    ///
    /// Bin `b` of `B` holds confidences in `[b/B, (b+1)/B)`, the last one 1 too: every prediction is in a bin.
    ///
    /// # Errors
    /// [`crate::Error::Argument`] when `bins` is 0.
    ///
    /// # Examples
    /// ```
    /// use livi::metrics::ClassPredictions;
    /// // Sure of itself and right; 60 % sure and wrong.
    /// let predictions = ClassPredictions::new(&[1.0, 0.0, 0.4, 0.6], 2, &[0, 0]).unwrap();
    /// let error = predictions.calibration_error(10).unwrap();
    /// assert_eq!((error.expected, error.maximum), (0.3, 0.6));
    /// assert_eq!(error.bins[9].count, 1);
    /// ```
    pub fn calibration_error(&self, bins: usize) -> Result<CalibrationError> {
        let pairs = self.rows_with_labels().map(|(row, label)| {
            let (class, confidence) = most_probable(row);
            (confidence, class == label)
        });
        let bins = equal_width_bins(pairs, bins)?;
        let gaps = bins.iter().filter(|bin| bin.count > 0).map(ReliabilityBin::gap);
        Ok(CalibrationError { expected: weighted_gap(&bins), maximum: gaps.fold(0.0, f64::max), bins })
    }

    /// Static calibration error (Nixon et al. 2019): for every class, the expected calibration error of its
    /// probability over `bins` equal-width bins, with all rows binned; the mean over classes.
    ///
    /// # Errors
    /// [`crate::Error::Argument`] when `bins` is 0.
    pub fn static_calibration_error(&self, bins: usize) -> Result<f64> {
        let mut sum = 0.0;
        for class in 0..self.classes {
            sum += weighted_gap(&equal_width_bins(self.of_class(class), bins)?);
        }
        Ok(sum / self.classes as f64)
    }

    /// Adaptive calibration error (Nixon et al. 2019): for every class, rows sorted by the class's probability
    /// are cut into `ranges` ranges of equal count (up to 1); the mean over classes and ranges of
    /// |accuracy - confidence|. Rows of equal probability keep their order, so which of them end a range depends
    /// on the order of the rows.
    ///
    /// # Errors
    /// [`crate::Error::Argument`] when `ranges` is 0 or more than there are rows.
    pub fn adaptive_calibration_error(&self, ranges: usize) -> Result<f64> {
        let rows = self.rows();
        if ranges == 0 || ranges > rows {
            return Err(argument("ranges", format!("is {ranges}, expected 1 to {rows} (the number of rows)")));
        }
        let mut sum = 0.0;
        for class in 0..self.classes {
            let mut sorted: Vec<(f64, bool)> = self.of_class(class).collect();
            sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
            for range in 0..ranges {
                sum += mean_bin(&sorted[range * rows / ranges..(range + 1) * rows / ranges]).gap();
            }
        }
        Ok(sum / (self.classes * ranges) as f64)
    }

    /// The probability of `class` on every row, and whether it is the true one.
    fn of_class(&self, class: usize) -> impl Iterator<Item = (f64, bool)> {
        self.rows_with_labels().map(move |(row, label)| (row[class], label == class))
    }
}

impl ReliabilityBin {
    /// |accuracy - confidence|.
    pub fn gap(&self) -> f64 {
        (self.accuracy - self.confidence).abs()
    }
}

fn equal_width_bins(pairs: impl Iterator<Item = (f64, bool)>, bins: usize) -> Result<Vec<ReliabilityBin>> {
    if bins == 0 || bins > MOST_BINS {
        return Err(argument("bins", format!("is {bins}, expected a number from 1 to {MOST_BINS}")));
    }
    let mut members = vec![Vec::new(); bins];
    for (confidence, right) in pairs {
        members[((confidence * bins as f64) as usize).min(bins - 1)].push((confidence, right));
    }
    Ok(members.iter().map(|members| mean_bin(members)).collect())
}

fn mean_bin(members: &[(f64, bool)]) -> ReliabilityBin {
    if members.is_empty() {
        return ReliabilityBin::default();
    }
    let count = members.len();
    let confidence = members.iter().map(|member| member.0).sum::<f64>() / count as f64;
    let accuracy = members.iter().filter(|member| member.1).count() as f64 / count as f64;
    ReliabilityBin { count, confidence, accuracy }
}

/// Mean of the bins' gaps, weighted by their counts.
fn weighted_gap(bins: &[ReliabilityBin]) -> f64 {
    let count: usize = bins.iter().map(|bin| bin.count).sum();
    bins.iter().map(|bin| bin.count as f64 * bin.gap()).sum::<f64>() / count as f64
}

#[cfg(test)]
mod tests {
    use rand::rngs::Xoshiro256PlusPlus;
    use rand::{RngExt, SeedableRng};

    use super::*;

    /// Random probabilities of three classes, with labels drawn from them when `calibrated`, else all 0.
    fn random(rows: usize, calibrated: bool) -> (Vec<f64>, Vec<usize>) {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(5);
        let (mut probabilities, mut labels) = (Vec::new(), Vec::new());
        for _ in 0..rows {
            let raw: [f64; 3] = std::array::from_fn(|_| rng.random::<f64>().powi(3));
            let sum: f64 = raw.iter().sum();
            let row = raw.map(|value| value / sum);
            let draw: f64 = rng.random();
            let label = usize::from(draw > row[0]) + usize::from(draw > row[0] + row[1]);
            labels.push(if calibrated { label } else { 0 });
            probabilities.extend(row);
        }
        (probabilities, labels)
    }

    #[test]
    fn every_prediction_is_binned_the_extremes_included() {
        let probabilities = [1.0, 0.0, 0.5, 0.5, 0.0, 1.0];
        let predictions = ClassPredictions::new(&probabilities, 2, &[0, 0, 0]).unwrap();
        for bins in [1, 2, 3, 15, 100] {
            let found = predictions.calibration_error(bins).unwrap();
            assert_eq!(found.bins.iter().map(|bin| bin.count).sum::<usize>(), 3, "{bins}");
        }
        let one_class = ClassPredictions::new(&probabilities, 2, &[0, 0, 0]).unwrap();
        // Class 0 has probability 0 on the last row, where it is right: that row counts with gap 1.
        assert!((one_class.static_calibration_error(15).unwrap() - (0.5 + 1.0) / 3.0).abs() < 1e-15);
    }

    #[test]
    fn a_confidence_on_a_boundary_belongs_to_the_upper_bin() {
        let predictions = ClassPredictions::new(&[0.75, 0.25], 2, &[0]).unwrap();
        let counts: Vec<usize> = predictions.calibration_error(4).unwrap().bins.iter().map(|bin| bin.count).collect();
        assert_eq!(counts, [0, 0, 0, 1]);
    }

    #[test]
    fn errors_of_a_hand_computed_case() {
        // Confidences 0.9 (right), 0.8 (wrong), 0.6 (right), 0.55 (wrong); two bins: all in the upper one.
        let probabilities = [0.9, 0.1, 0.8, 0.2, 0.4, 0.6, 0.55, 0.45];
        let predictions = ClassPredictions::new(&probabilities, 2, &[0, 1, 1, 1]).unwrap();
        let two = predictions.calibration_error(2).unwrap();
        assert!((two.expected - (0.5_f64 - 2.85 / 4.0).abs()).abs() < 1e-15);
        assert_eq!(two.maximum, two.expected);
        // Five bins: [0.8, 1] holds two (mean 0.85, accuracy 0.5), [0.6, 0.8) one, [0.4, 0.6) one.
        let five = predictions.calibration_error(5).unwrap();
        assert!((five.expected - (2.0 * 0.35 + 0.4 + 0.55) / 4.0).abs() < 1e-15);
        assert!((five.maximum - 0.55).abs() < 1e-15);
    }

    #[test]
    fn adaptive_error_of_a_hand_computed_case() {
        let probabilities = [0.9, 0.1, 0.2, 0.8, 0.4, 0.6, 0.7, 0.3];
        let predictions = ClassPredictions::new(&probabilities, 2, &[0, 0, 1, 1]).unwrap();
        // Class 0 sorted: 0.2 (true), 0.4 | 0.7, 0.9 (true): gaps |0.5 - 0.3|, |0.5 - 0.8|; class 1 mirrors it.
        let found = predictions.adaptive_calibration_error(2).unwrap();
        assert!((found - (0.2 + 0.3) / 2.0).abs() < 1e-15, "{found}");
    }

    #[test]
    fn expected_error_equals_its_definition_summed_bin_by_bin() {
        let (probabilities, labels) = random(500, false);
        let predictions = ClassPredictions::new(&probabilities, 3, &labels).unwrap();
        let (mut expected, mut maximum) = (0.0, 0.0_f64);
        for bin in 0..15 {
            let (low, high) = (bin as f64 / 15.0, (bin + 1) as f64 / 15.0);
            let (mut count, mut confidence, mut right) = (0.0, 0.0, 0.0);
            for (row, &label) in probabilities.chunks(3).zip(&labels) {
                let largest = row.iter().copied().fold(0.0, f64::max);
                if largest >= low && largest < high {
                    count += 1.0;
                    confidence += largest;
                    right += f64::from(row[label] == largest);
                }
            }
            if count > 0.0 {
                expected += f64::abs(right - confidence) / 500.0;
                maximum = maximum.max(f64::abs(right - confidence) / count);
            }
        }
        let found = predictions.calibration_error(DEFAULT_BINS).unwrap();
        assert!((found.expected - expected).abs() < 1e-13 && (found.maximum - maximum).abs() < 1e-13);
    }

    #[test]
    fn labels_drawn_from_the_probabilities_are_calibrated() {
        let (probabilities, labels) = random(40_000, true);
        let predictions = ClassPredictions::new(&probabilities, 3, &labels).unwrap();
        // With about 2,700 rows a bin the noise of a bin's accuracy is about 0.01.
        assert!(predictions.calibration_error(15).unwrap().expected < 0.012);
        assert!(predictions.static_calibration_error(15).unwrap() < 0.012);
        assert!(predictions.adaptive_calibration_error(15).unwrap() < 0.012);
    }

    #[test]
    fn one_bin_gives_the_gap_of_the_averages_for_all_three() {
        let (probabilities, labels) = random(300, false);
        let predictions = ClassPredictions::new(&probabilities, 3, &labels).unwrap();
        let mut gap = 0.0;
        for class in 0..3 {
            let mean: f64 = probabilities.iter().skip(class).step_by(3).sum::<f64>() / 300.0;
            gap += (mean - f64::from(class == 0)).abs() / 3.0;
        }
        assert!((predictions.static_calibration_error(1).unwrap() - gap).abs() < 1e-13);
        assert!((predictions.adaptive_calibration_error(1).unwrap() - gap).abs() < 1e-13);
    }

    #[test]
    fn numbers_of_bins_out_of_range_are_refused() {
        let predictions = ClassPredictions::new(&[0.5, 0.5], 2, &[0]).unwrap();
        assert!(predictions.calibration_error(0).is_err() && predictions.static_calibration_error(0).is_err());
        assert!(predictions.adaptive_calibration_error(0).is_err());
        assert!(predictions.adaptive_calibration_error(2).is_err());
    }
}
