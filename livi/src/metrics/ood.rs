//! Telling out-of-distribution inputs from in-distribution ones by a score.
//!
//! In-distribution rows are the positives, and a higher score means "more in-distribution": use the largest
//! class probability, or minus the predictive entropy.

use super::{argument, require_not_empty};
use crate::Result;

/// Area under the receiver operating characteristic: the probability that a random in-distribution row scores
/// higher than a random out-of-distribution row, ties counting one half. 1 is perfect, 0.5 is chance.
///
/// # Errors
/// [`crate::Error::Argument`] when a slice is empty or holds NaN.
///
/// # Examples
/// ```
/// // Of the four pairs, three are in order and one is a tie.
/// assert_eq!(livi::metrics::ood::auroc(&[0.9, 0.8], &[0.8, 0.1]).unwrap(), 3.5 / 4.0);
/// ```
pub fn auroc(in_distribution: &[f64], out_of_distribution: &[f64]) -> Result<f64> {
    check(in_distribution, out_of_distribution)?;
    let mut scores: Vec<(f64, bool)> = in_distribution.iter().map(|&score| (score, true)).collect();
    scores.extend(out_of_distribution.iter().map(|&score| (score, false)));
    // `partial_cmp` so that 0 and -0 tie; there is no NaN.
    scores.sort_by(|a, b| a.0.partial_cmp(&b.0).unwrap_or(std::cmp::Ordering::Equal));
    // Pairs won by positives, in halves, so that ties stay whole numbers.
    let (mut half_pairs, mut negatives_below) = (0_u128, 0_u128);
    for tied in scores.chunk_by(|a, b| a.0 == b.0) {
        let positives = tied.iter().filter(|score| score.1).count() as u128;
        let negatives = tied.len() as u128 - positives;
        half_pairs += positives * (2 * negatives_below + negatives);
        negatives_below += negatives;
    }
    let pairs = in_distribution.len() as f64 * out_of_distribution.len() as f64;
    Ok(half_pairs as f64 / (2.0 * pairs))
}

/// False positive rate at a true positive rate: the part of the out-of-distribution rows that pass the highest
/// threshold (score at or above it) which at least `true_positive_rate` of the in-distribution rows pass.
///
/// # Errors
/// [`crate::Error::Argument`] when a slice is empty or holds NaN, or the rate is not in (0, 1].
///
/// # Examples
/// ```
/// use livi::metrics::ood::false_positive_rate;
/// let inside: Vec<f64> = (1..=20).map(f64::from).collect();
/// // 19 of 20 score at least 2; of the others, 2 and 30 do.
/// assert_eq!(false_positive_rate(&inside, &[1.0, 2.0, 30.0, -5.0], 0.95).unwrap(), 0.5);
/// ```
pub fn false_positive_rate(
    in_distribution: &[f64],
    out_of_distribution: &[f64],
    true_positive_rate: f64,
) -> Result<f64> {
    check(in_distribution, out_of_distribution)?;
    if !(true_positive_rate > 0.0 && true_positive_rate <= 1.0) {
        let problem = format!("is {true_positive_rate}, expected a number above 0 and at most 1");
        return Err(argument("true positive rate", problem));
    }
    let mut sorted = in_distribution.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    // The least count whose rate is high enough; compared as rates, since 0.95 x 20 may round to above 19.
    let count = sorted.len();
    let estimate = (true_positive_rate * count as f64).round() as usize;
    let enough = |passing: usize| passing as f64 / count as f64 >= true_positive_rate;
    let passing = (estimate.saturating_sub(1).max(1)..=count).find(|&passing| enough(passing)).unwrap_or(count);
    let threshold = sorted[passing - 1];
    let false_positives = out_of_distribution.iter().filter(|&&score| score >= threshold).count();
    Ok(false_positives as f64 / out_of_distribution.len() as f64)
}

fn check(in_distribution: &[f64], out_of_distribution: &[f64]) -> Result<()> {
    let both = [("in-distribution scores", in_distribution), ("out-of-distribution scores", out_of_distribution)];
    for (name, scores) in both {
        require_not_empty(name, scores)?;
        if let Some(at) = scores.iter().position(|score| score.is_nan()) {
            return Err(argument(name, format!("index {at} is NaN")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rand::rngs::Xoshiro256PlusPlus;
    use rand::{RngExt, SeedableRng};

    use super::*;

    /// Scores out of ten values, so that many tie.
    fn scores(count: usize, shift: u32, seed: u64) -> Vec<f64> {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        (0..count).map(|_| f64::from(rng.random_range(0..10) + shift)).collect()
    }

    #[test]
    fn auroc_is_the_share_of_ordered_pairs_with_ties_as_halves() {
        let (inside, outside) = (scores(83, 2, 1), scores(57, 0, 2));
        let mut won = 0.0;
        for a in &inside {
            for b in &outside {
                won += if a > b { 1.0 } else { 0.5 * f64::from(a == b) };
            }
        }
        assert!((auroc(&inside, &outside).unwrap() - won / (83.0 * 57.0)).abs() < 1e-15);
    }

    #[test]
    fn auroc_is_one_zero_and_one_half_in_the_plain_cases() {
        assert_eq!(auroc(&[2.0, 3.0], &[0.0, 1.0]).unwrap(), 1.0);
        assert_eq!(auroc(&[0.0, 1.0], &[2.0, 3.0]).unwrap(), 0.0);
        assert_eq!(auroc(&[1.0; 5], &[1.0; 3]).unwrap(), 0.5);
        assert_eq!(auroc(&[0.0], &[-0.0]).unwrap(), 0.5);
    }

    #[test]
    fn exchanging_the_two_sets_mirrors_auroc() {
        let (inside, outside) = (scores(40, 1, 3), scores(60, 0, 4));
        let sum = auroc(&inside, &outside).unwrap() + auroc(&outside, &inside).unwrap();
        assert!((sum - 1.0).abs() < 1e-15);
    }

    #[test]
    fn false_positive_rate_is_that_of_the_best_threshold_found_by_trying_all() {
        for (count, seed) in [(20, 5), (37, 6), (100, 7), (1, 8)] {
            let (inside, outside) = (scores(count, 3, seed), scores(50, 0, seed + 100));
            for rate in [0.5, 0.9, 0.95, 1.0] {
                let share = |scores: &[f64], threshold: f64| {
                    scores.iter().filter(|&&score| score >= threshold).count() as f64 / scores.len() as f64
                };
                let allowed = inside.iter().filter(|&&threshold| share(&inside, threshold) >= rate);
                let best = allowed.map(|&threshold| share(&outside, threshold)).fold(1.0, f64::min);
                assert_eq!(false_positive_rate(&inside, &outside, rate).unwrap(), best, "{count} {rate}");
            }
        }
    }

    #[test]
    fn empty_slices_nan_and_rates_out_of_range_are_refused() {
        assert!(auroc(&[], &[1.0]).is_err() && auroc(&[1.0], &[]).is_err());
        assert!(auroc(&[f64::NAN], &[1.0]).unwrap_err().to_string().contains("index 0 is NaN"));
        for rate in [0.0, 1.1, f64::NAN] {
            assert!(false_positive_rate(&[1.0], &[1.0], rate).is_err());
        }
    }
}
