//! How far training is, in words: speed, time left and the terms of the evidence lower bound.

use crate::train::Terms;

/// Rows that a step takes, and what they are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Batch {
    /// Rows of a batch.
    pub rows: usize,
    /// `images` or `rows`.
    pub unit: &'static str,
}

/// Speed and time left: `3.1 steps/s  793 images/s  1 h 02 min left`.
///
/// `rate` is in steps a second; rows a second are told of batches only, since a step on all rows says nothing with them.
pub(super) fn speed(rate: f64, batch: Option<Batch>, steps_left: u64) -> String {
    let mut text = format!("{} steps/s", two_digits(rate));
    if let Some(Batch { rows, unit }) = batch {
        text.push_str(&format!("  {} {unit}/s", two_digits(rate * rows as f64)));
    }
    text.push_str(&format!("  {} left", duration(steps_left as f64 / rate)));
    text
}

/// The terms in nats and what they add up to, the noise and the last score on the validation rows where there are such.
pub(super) fn terms(terms: &Terms, validation: Option<f64>) -> String {
    let Terms { elbo, likelihood, prior, entropy, .. } = terms;
    let mut text = format!("ELBO {elbo:.1} = likelihood {likelihood:.1} + prior {prior:.1} + entropy {entropy:.1}");
    match &terms.noise_std[..] {
        [] => {}
        [noise] => text.push_str(&format!("  noise std {noise:.4} (standardised)")),
        // There may be many targets.
        several => {
            let least = several.iter().copied().fold(f64::INFINITY, f64::min);
            let largest = several.iter().copied().fold(0.0, f64::max);
            text.push_str(&format!("  noise std {least:.4} to {largest:.4} (standardised)"));
        }
    }
    if let Some(score) = validation {
        text.push_str(&format!("  validation {score:.4}"));
    }
    text
}

/// A quantity that is not negative: two significant digits below ten, whole numbers from there on.
fn two_digits(value: f64) -> String {
    if value >= 9.95 || value <= 0.0 || !value.is_finite() {
        return format!("{value:.0}");
    }
    let decimals = (1.0 - value.log10().floor()) as usize;
    format!("{value:.decimals$}")
}

/// Seconds in the two largest units that count: `8 s`, `12 min 05 s`, `1 h 02 min`, `3 d 04 h`. Unknown where there is no finite number.
fn duration(seconds: f64) -> String {
    // Longer than any run, and what a speed of next to nothing gives.
    const MOST_DAYS: u64 = 9999;
    if !(0.0..(MOST_DAYS * 86_400) as f64).contains(&seconds) {
        return "unknown time".into();
    }
    let whole = seconds.round() as u64;
    let (days, hours, minutes) = (whole / 86_400, whole / 3600 % 24, whole / 60 % 60);
    match whole {
        0..60 => format!("{whole} s"),
        60..3600 => format!("{minutes} min {:02} s", whole % 60),
        3600..86_400 => format!("{hours} h {minutes:02} min"),
        _ => format!("{days} d {hours:02} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: Terms = Terms {
        step: 320,
        likelihood: -1234.56,
        prior: -100.04,
        entropy: 34.6,
        elbo: -1300.0,
        noise_std: Vec::new(),
        gradient_norm: 1.0,
        learning_rate: 1e-3,
    };

    #[test]
    fn a_line_of_training_on_images() {
        let images = Some(Batch { rows: 256, unit: "images" });
        assert_eq!(speed(3.0977, images, 11_532), "3.1 steps/s  793 images/s  1 h 02 min left");
        let expected = "ELBO -1300.0 = likelihood -1234.6 + prior -100.0 + entropy 34.6";
        assert_eq!(terms(&TERMS, None), expected);
    }

    #[test]
    fn a_line_of_training_on_all_rows_of_a_table() {
        assert_eq!(speed(8123.4, None, 81_234), "8123 steps/s  10 s left");
        let found = terms(&Terms { noise_std: vec![0.12345], ..TERMS }, Some(-0.98765));
        assert!(found.ends_with("entropy 34.6  noise std 0.1235 (standardised)  validation -0.9877"), "{found}");
    }

    #[test]
    fn of_several_targets_the_least_and_the_largest_noise_are_told() {
        let found = terms(&Terms { noise_std: vec![0.5, 0.12345, 0.25], ..TERMS }, None);
        assert!(found.ends_with("entropy 34.6  noise std 0.1235 to 0.5000 (standardised)"), "{found}");
    }

    #[test]
    fn the_terms_shown_add_up_to_the_bound_shown() {
        let text = terms(&TERMS, None);
        let numbers: Vec<f64> = text.split(' ').filter_map(|word| word.parse().ok()).collect();
        let [elbo, parts @ ..] = &numbers[..] else { panic!("{text}") };
        assert!((elbo - parts.iter().sum::<f64>()).abs() < 0.15, "{text}");
    }

    #[test]
    fn slow_speeds_keep_two_digits() {
        let shown = [12.0, 9.96, 9.94, 3.12, 0.312, 0.0312].map(two_digits);
        assert_eq!(shown, ["12", "10", "9.9", "3.1", "0.31", "0.031"]);
        assert_eq!([0.0, f64::INFINITY].map(two_digits), ["0", "inf"]);
    }

    #[test]
    fn times_have_the_two_units_that_count() {
        let shown = [0.2, 59.4, 59.6, 725.0, 3599.6, 3720.0, 86_399.0, 273_600.0].map(duration);
        let expected =
            ["0 s", "59 s", "1 min 00 s", "12 min 05 s", "1 h 00 min", "1 h 02 min", "23 h 59 min", "3 d 04 h"];
        assert_eq!(shown, expected);
        assert_eq!([f64::INFINITY, f64::NAN, 1e15].map(duration), ["unknown time"; 3]);
    }
}
