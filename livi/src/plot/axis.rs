//! An axis: its range, its ticks and their labels.

/// An axis of a panel.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    /// Smallest and largest value; positive on a logarithmic axis.
    pub range: (f64, f64),
    pub logarithmic: bool,
    /// With the unit.
    pub label: String,
}

impl Axis {
    /// A linear axis over exactly this range, widened when it is a single value.
    pub(super) fn linear(range: (f64, f64), label: impl Into<String>) -> Self {
        Self { range: widened(range, 0.0), logarithmic: false, label: label.into() }
    }

    /// A logarithmic axis; the range must be positive.
    pub(super) fn logarithmic(range: (f64, f64), label: impl Into<String>) -> Self {
        let range = if range.1 > range.0 { range } else { (range.0 / 2.0, range.0 * 2.0) };
        Self { range, logarithmic: true, label: label.into() }
    }

    /// Place of `value` along the axis: 0 at its beginning, 1 at its end, beyond outside.
    pub(super) fn fraction(&self, value: f64) -> f64 {
        let (low, high) = self.range;
        if self.logarithmic { (value / low).ln() / (high / low).ln() } else { (value - low) / (high - low) }
    }

    /// Positions and labels of about `wanted` ticks at round values inside the range.
    pub(super) fn ticks(&self, wanted: usize) -> Vec<(f64, String)> {
        if self.logarithmic { self.logarithmic_ticks(wanted) } else { self.linear_ticks(wanted) }
    }

    fn linear_ticks(&self, wanted: usize) -> Vec<(f64, String)> {
        let (low, high) = self.range;
        let step = round_step((high - low) / wanted.max(1) as f64);
        let first = (low / step - 1e-9).ceil() as i64;
        let last = (high / step + 1e-9).floor() as i64;
        let largest = low.abs().max(high.abs());
        (first..=last)
            .map(|index| index as f64 * step)
            .map(|value| (value, linear_label(value, step, largest)))
            .collect()
    }

    fn logarithmic_ticks(&self, wanted: usize) -> Vec<(f64, String)> {
        let (low, high) = self.range;
        let decades = (low.log10().floor() as i32)..=(high.log10().ceil() as i32);
        let span = (high / low).log10();
        // Few decades get ticks inside them, many get every second, third, ... one.
        let inside: &[f64] = if span < 1.5 {
            &[1.0, 2.0, 3.0, 5.0, 7.0]
        } else if span < 3.0 {
            &[1.0, 3.0]
        } else {
            &[1.0]
        };
        let stride = (span / wanted.max(1) as f64).ceil().max(1.0) as i32;
        decades
            .filter(|exponent| exponent.rem_euclid(stride) == 0)
            .flat_map(|exponent| inside.iter().map(move |&digit| (digit, exponent)))
            .map(|(digit, exponent)| (digit * 10_f64.powi(exponent), logarithmic_label(digit, exponent)))
            .filter(|(value, _)| *value >= low * (1.0 - 1e-9) && *value <= high * (1.0 + 1e-9))
            .collect()
    }
}

/// `range` with `margin` of its span added on both sides; a single value gets some room.
pub(super) fn widened((low, high): (f64, f64), margin: f64) -> (f64, f64) {
    let span = high - low;
    if span > 1e-12 * low.abs().max(high.abs()) && span > 0.0 {
        return (low - margin * span, high + margin * span);
    }
    let room = (0.1 * low.abs()).max(1e-3);
    (low - room, high + room)
}

/// Smallest and largest of the finite values; `None` when there are none.
pub(super) fn extent(values: impl IntoIterator<Item = f64>) -> Option<(f64, f64)> {
    values.into_iter().filter(|value| value.is_finite()).fold(None, |range, value| match range {
        None => Some((value, value)),
        Some((low, high)) => Some((low.min(value), high.max(value))),
    })
}

/// The least of 1, 2, 2.5, 5 times a power of ten that is at least `step`.
fn round_step(step: f64) -> f64 {
    let power = 10_f64.powf(step.log10().floor());
    let digits = [1.0, 2.0, 2.5, 5.0];
    let digit = digits.into_iter().find(|digit| digit * power >= step * (1.0 - 1e-9));
    digit.unwrap_or(10.0) * power
}

fn linear_label(value: f64, step: f64, largest: f64) -> String {
    if value.abs() < 1e-9 * step {
        return "0".into();
    }
    // Decimals of the step itself: one more than its power of ten for steps like 0.25.
    let power = (step.log10() + 1e-9).floor();
    let lead = step / 10_f64.powf(power);
    let decimals = if (lead - lead.round()).abs() > 1e-6 { 1.0 - power } else { -power };
    if largest >= 1e5 || step < 1e-4 {
        let digits = (value.abs().log10().floor() + decimals).max(0.0) as usize;
        return minus(format!("{value:.digits$e}"));
    }
    let decimals = decimals.max(0.0) as usize;
    minus(format!("{value:.decimals$}"))
}

fn logarithmic_label(digit: f64, exponent: i32) -> String {
    match exponent {
        -3..=-1 => format!("{:.*}", exponent.unsigned_abs() as usize, digit * 10_f64.powi(exponent)),
        0..=3 => format!("{}", digit * 10_f64.powi(exponent)),
        _ => minus(format!("{digit}e{exponent}")),
    }
}

/// A number in a few digits, in powers of ten where it is large or small.
pub(super) fn brief(value: f64) -> String {
    if value == 0.0 || !(1e-3..1e5).contains(&value.abs()) {
        return minus(format!("{value:.2e}").replace(".00e", "e"));
    }
    let decimals = (3.0 - value.abs().log10().floor()).max(0.0) as usize;
    let text = format!("{value:.decimals$}");
    let text = if decimals > 0 { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    minus(text.into())
}

/// The typographic minus sign, as wide as a digit.
pub(super) fn minus(text: String) -> String {
    text.replace('-', "\u{2212}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis, wanted: usize) -> Vec<String> {
        axis.ticks(wanted).into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn linear_ticks_are_round_and_inside_the_range() {
        assert_eq!(labels(&Axis::linear((-1.1, 1.1), ""), 5), ["\u{2212}1.0", "\u{2212}0.5", "0", "0.5", "1.0"]);
        assert_eq!(labels(&Axis::linear((0.0, 7500.0), ""), 5), ["0", "2000", "4000", "6000"]);
        assert_eq!(labels(&Axis::linear((0.0, 7500.0), ""), 3), ["0", "2500", "5000", "7500"]);
        assert_eq!(labels(&Axis::linear((0.0, 0.75), ""), 3), ["0", "0.25", "0.50", "0.75"]);
    }

    #[test]
    fn large_values_are_labelled_in_powers_of_ten() {
        assert_eq!(labels(&Axis::linear((-250_000.0, 0.0), ""), 3), ["\u{2212}2e5", "\u{2212}1e5", "0"]);
    }

    #[test]
    fn logarithmic_ticks_are_decades_or_lie_inside_them() {
        assert_eq!(labels(&Axis::logarithmic((1e-4, 10.0), ""), 8), ["1e\u{2212}4", "0.001", "0.01", "0.1", "1", "10"]);
        assert_eq!(labels(&Axis::logarithmic((0.9, 8.0), ""), 8), ["1", "2", "3", "5", "7"]);
    }

    #[test]
    fn a_fraction_runs_from_nought_to_one_on_both_scales() {
        assert_eq!(Axis::linear((2.0, 4.0), "").fraction(2.5), 0.25);
        assert!((Axis::logarithmic((1e-2, 1e2), "").fraction(0.1) - 0.25).abs() < 1e-12);
    }

    #[test]
    fn a_single_value_gets_an_axis_with_room_around_it() {
        let axis = Axis::linear((3.0, 3.0), "");
        assert!(axis.range.0 < 3.0 && axis.range.1 > 3.0);
    }

    #[test]
    fn brief_numbers_keep_four_digits_and_no_empty_decimals() {
        let texts = [0.009, 3.0, -4000.0, 0.89973, -299_990.0, 1e-5].map(brief);
        assert_eq!(texts, ["0.009", "3", "\u{2212}4000", "0.8997", "\u{2212}3e5", "1e\u{2212}5"]);
    }

    #[test]
    fn the_extent_leaves_out_what_is_not_finite() {
        assert_eq!(extent([f64::NAN, 2.0, f64::INFINITY, -1.0]), Some((-1.0, 2.0)));
        assert_eq!(extent([f64::NAN]), None);
    }
}
