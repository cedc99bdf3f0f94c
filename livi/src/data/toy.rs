//! The toy regression with a gap: one input, one target, 70 points.
//!
//! `y = x + 0.8 sin(2 pi x) + 0.8 sin(4 pi x) + 0.3 eps`, with 38 inputs evenly spaced on [-1.28, -0.61] and 32
//! on [0.61, 1.28] (Uppal et al. 2023, toy regression experiment). Nothing is observed between the two
//! intervals: there a good posterior is uncertain. The data are generated from a seed and need no file.

use std::f64::consts::PI;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use rand_distr::StandardNormal;

use super::{Standardiser, Table};
use crate::Result;

/// Standard deviation of the noise on the targets.
pub const NOISE_STD: f64 = 0.3;

/// Intervals that hold training inputs, with the number of inputs in each.
pub const INTERVALS: [(f64, f64, usize); 2] = [(-1.28, -0.61, 38), (0.61, 1.28, 32)];

/// Inputs are divided by this before they reach the network.
pub const INPUT_SCALE: f64 = 1.28;

/// The noiseless function, `x + 0.8 sin(2 pi x) + 0.8 sin(4 pi x)`.
///
/// # Examples
/// ```
/// assert!((livi::data::toy::truth(0.125) - (0.125 + 0.8 * 0.5_f64.sqrt() + 0.8)).abs() < 1e-15);
/// ```
pub fn truth(x: f64) -> f64 {
    x + 0.8 * (2.0 * PI * x).sin() + 0.8 * (4.0 * PI * x).sin()
}

/// The 70 training points, input `x` and target `y` in natural units; the seed decides the noise.
///
/// # Errors
/// None in practice; the signature is that of every table's source.
///
/// # Examples
/// ```
/// let table = livi::data::toy::training_table(0).unwrap();
/// assert_eq!((table.rows, table.inputs, table.outputs), (70, 1, 1));
/// assert_eq!((table.x[0], table.x[69]), (-1.28, 1.28));
/// ```
pub fn training_table(seed: u64) -> Result<Table> {
    let inputs = INTERVALS.iter().flat_map(|&(low, high, count)| {
        (0..count).map(move |i| if i + 1 == count { high } else { low + (high - low) * i as f64 / (count - 1) as f64 })
    });
    noisy_table(inputs.collect(), &mut Xoshiro256PlusPlus::seed_from_u64(seed))
}

/// `rows` fresh points with inputs uniform on the training intervals (as many in each as its share of the
/// training points, on average) and noise independent of [`training_table`]'s for the same seed.
///
/// # Errors
/// [`crate::Error::Argument`] when `rows` is 0.
pub fn test_table(rows: usize, seed: u64) -> Result<Table> {
    // The complement starts another stream than the one of the training noise.
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(!seed);
    let total: usize = INTERVALS.iter().map(|interval| interval.2).sum();
    let inputs = (0..rows)
        .map(|_| {
            let (low, high, _) = INTERVALS[usize::from(rng.random_range(0..total) >= INTERVALS[0].2)];
            low + (high - low) * rng.random::<f64>()
        })
        .collect();
    noisy_table(inputs, &mut rng)
}

/// The input scaling of the toy problem: `x / 1.28`, targets as they are.
pub fn standardiser() -> Standardiser {
    Standardiser { x_std: vec![INPUT_SCALE], ..Standardiser::identity(1, 1) }
}

fn noisy_table(x: Vec<f64>, rng: &mut Xoshiro256PlusPlus) -> Result<Table> {
    let y = x.iter().map(|&x| truth(x) + NOISE_STD * rng.sample::<f64, _>(StandardNormal)).collect();
    let rows = x.len();
    Table::new(x, y, rows, vec!["x".into()], vec!["y".into()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_evenly_spaced_and_leave_the_gap_empty() {
        let x = training_table(5).unwrap().x;
        for (part, spacing) in [(&x[..38], 0.67 / 37.0), (&x[38..], 0.67 / 31.0)] {
            assert!(part.windows(2).all(|pair| (pair[1] - pair[0] - spacing).abs() < 1e-12));
        }
        assert_eq!((x[37], x[38]), (-0.61, 0.61));
    }

    #[test]
    fn noise_of_test_points_has_mean_zero_and_std_0_3() {
        let table = test_table(20_000, 1).unwrap();
        let noise: Vec<f64> = table.x.iter().zip(&table.y).map(|(&x, &y)| y - truth(x)).collect();
        let mean = noise.iter().sum::<f64>() / 20_000.0;
        let std = (noise.iter().map(|e| e * e).sum::<f64>() / 20_000.0).sqrt();
        // Standard errors: 0.3 / sqrt(20000) = 0.0021 and 0.3 / sqrt(40000) = 0.0015.
        assert!(mean.abs() < 4.0 * 0.0021, "{mean}");
        assert!((std - 0.3).abs() < 4.0 * 0.0015, "{std}");
    }

    #[test]
    fn test_inputs_stay_inside_the_training_intervals() {
        let table = test_table(1000, 2).unwrap();
        assert!(table.x.iter().all(|x| (0.61..=1.28).contains(&x.abs())));
    }

    #[test]
    fn the_same_seed_gives_the_same_points_and_another_seed_does_not() {
        assert_eq!(training_table(3).unwrap(), training_table(3).unwrap());
        assert_ne!(training_table(3).unwrap().y, training_table(4).unwrap().y);
    }

    #[test]
    fn scaled_inputs_lie_within_one() {
        let table = standardiser().apply(&training_table(0).unwrap()).unwrap();
        assert_eq!((table.x[0], table.x[69]), (-1.0, 1.0));
    }
}
