//! Learning rates over the steps of a run.

use crate::config::Schedule;

/// Factor of the learning rate at step k = 0 .. total: constant, or half a cosine from 1 to 0 (Loshchilov and Hutter 2017, without restarts).
///
/// ```
/// use livi::config::Schedule;
/// use livi::train::rate_factor;
/// assert_eq!(rate_factor(Schedule::Constant, 10, 100), 1.0);
/// assert!((rate_factor(Schedule::Cosine, 50, 100) - 0.5).abs() < 1e-12);
/// ```
pub fn rate_factor(schedule: Schedule, step: u64, total: u64) -> f64 {
    match schedule {
        Schedule::Constant => 1.0,
        Schedule::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * step as f64 / total.max(1) as f64).cos()),
    }
}

/// Weight of prior and entropy at step k = 0 .. total: rises linearly to 1 over the first part `warmup` of the run.
///
/// ```
/// use livi::train::complexity_weight;
/// assert_eq!(complexity_weight(0.0, 0, 100), 1.0);
/// assert_eq!(complexity_weight(0.5, 24, 100), 0.5);
/// assert_eq!(complexity_weight(0.5, 60, 100), 1.0);
/// ```
pub fn complexity_weight(warmup: f64, step: u64, total: u64) -> f64 {
    let length = warmup * total as f64;
    if length < 1.0 { 1.0 } else { ((step + 1) as f64 / length).min(1.0) }
}
