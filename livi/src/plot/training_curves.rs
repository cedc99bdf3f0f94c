//! The terms of the evidence lower bound over training.

use std::path::Path;

use plotters::style::RGBColor;

use super::axis::{Axis, brief, extent, widened};
use super::panel::{Heading, Key, Panel, Rectangle, palette};
use super::surface::{Drawn, PICTURE_HEIGHT, PICTURE_WIDTH, Stroke, Surface, save_picture};
use super::{require_length, require_some};
use crate::Result;

/// What was recorded over training; every vector has one value a recorded step.
#[derive(Clone, Debug, Default)]
pub struct TrainingCurves {
    /// Steps at which was recorded, increasing.
    pub steps: Vec<u64>,
    /// Evidence lower bound, in nats.
    pub elbo: Vec<f64>,
    /// Expected log-likelihood of the data, in nats.
    pub log_likelihood: Vec<f64>,
    /// Expected log-prior of the weights, in nats.
    pub log_prior: Vec<f64>,
    /// Entropy of the posterior, in nats.
    pub entropy: Vec<f64>,
    /// Names of the targets and standard deviations of their noise: of a single one in its own unit, of several in those of the standardised targets.
    /// Empty where there is no noise.
    pub noise_std: Vec<(String, Vec<f64>)>,
}

/// Colours of the noise of several targets; more of them take the same again.
const NOISE_COLOURS: [RGBColor; 6] =
    [palette::ORANGE, palette::BLUE, palette::GREEN, palette::VERMILLION, palette::PURPLE, palette::SKY];

/// One curve and how it is drawn.
struct Curve<'a> {
    title: &'a str,
    label: &'a str,
    values: &'a [f64],
    colour: RGBColor,
    /// Whether the axis shows all values, however far the first lie off.
    whole: bool,
}

/// Draws each term in a panel of its own into `stem.svg` and `stem.png`, and the noise in a fifth where given.
///
/// Long records are drawn faintly with their running mean on top. Where the first fifth lies so far off that the
/// rest would be a flat line, the axis shows the rest and a remark says where the curve begins.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) when nothing was recorded or lengths differ;
/// [`Error::Io`](crate::Error::Io) when the files cannot be written.
pub fn plot_training_curves(stem: impl AsRef<Path>, curves: &TrainingCurves) -> Result<()> {
    let count = curves.steps.len();
    require_some("training curves: steps", count)?;
    let terms = [
        Curve { title: "ELBO", label: "nats", values: &curves.elbo, colour: palette::BLUE, whole: false },
        Curve {
            title: "Expected log-likelihood",
            label: "nats",
            values: &curves.log_likelihood,
            colour: palette::GREEN,
            whole: false,
        },
        Curve {
            title: "Expected log-prior",
            label: "nats",
            values: &curves.log_prior,
            colour: palette::PURPLE,
            whole: false,
        },
        Curve { title: "Entropy", label: "nats", values: &curves.entropy, colour: palette::VERMILLION, whole: false },
    ];
    for curve in &terms {
        require_length(&format!("training curves: {}", curve.title), curve.values.len(), count)?;
    }
    for (name, values) in &curves.noise_std {
        require_length(&format!("training curves: noise of {name}"), values.len(), count)?;
    }
    let steps: Vec<f64> = curves.steps.iter().map(|&step| step as f64).collect();
    save_picture(stem.as_ref(), |surface| {
        let columns = if curves.noise_std.is_empty() { 2.0 } else { 3.0 };
        let (width, height) = (f64::from(PICTURE_WIDTH), f64::from(PICTURE_HEIGHT));
        let place = |column: f64, top: f64, bottom: f64| Rectangle {
            left: column * width / columns + 12.0,
            top: top * height + 12.0,
            right: (column + 1.0) * width / columns - 18.0,
            bottom: bottom * height - 8.0,
        };
        for (index, curve) in terms.iter().enumerate() {
            let (column, row) = ((index % 2) as f64, (index / 2) as f64);
            draw_curve(surface, place(column, 0.5 * row, 0.5 * row + 0.5), &steps, curve)?;
        }
        match &curves.noise_std[..] {
            [] => Ok(()),
            [(_, values)] => {
                let (title, label, colour) = ("Noise", "standard deviation", palette::ORANGE);
                let curve = Curve { title, label, values, colour, whole: true };
                draw_curve(surface, place(2.0, 0.0, 1.0), &steps, &curve)
            }
            several => draw_noise(surface, place(2.0, 0.0, 1.0), &steps, several),
        }
    })
}

fn draw_curve(surface: &dyn Surface, place: Rectangle, steps: &[f64], curve: &Curve<'_>) -> Drawn {
    let (range, beginning_is_outside) = if curve.whole {
        (extent(curve.values.iter().copied()).unwrap_or((0.0, 1.0)), false)
    } else {
        visible_range(curve.values)
    };
    let heading = Heading { title: curve.title.into(), legend: Vec::new() };
    let y_axis = Axis::linear(widened(range, 0.05), curve.label);
    let panel = Panel::new(surface, place, &heading, step_axis(steps), y_axis)?;
    panel.draw_axes()?;
    let points = |values: &[f64]| steps.iter().copied().zip(values.to_vec()).collect::<Vec<_>>();
    let strong = Stroke::solid(curve.colour, 2.4);
    if curve.values.len() < 200 {
        panel.line(points(curve.values), strong)?;
    } else {
        panel.line(points(curve.values), Stroke::solid(palette::tint(curve.colour, 0.35), 1.2))?;
        panel.line(points(&running_mean(curve.values, curve.values.len() / 100)), strong)?;
    }
    if beginning_is_outside {
        panel.remark(&format!("begins at {}", brief(curve.values[0])))?;
    }
    Ok(())
}

/// The noise of several targets in one panel; as many as there are colours are named.
fn draw_noise(surface: &dyn Surface, place: Rectangle, steps: &[f64], noise: &[(String, Vec<f64>)]) -> Drawn {
    let range = extent(noise.iter().flat_map(|(_, values)| values.iter().copied())).unwrap_or((0.0, 1.0));
    let strokes = NOISE_COLOURS.iter().cycle().map(|&colour| Stroke::solid(colour, 2.0));
    let named = noise.iter().zip(strokes.clone()).take(NOISE_COLOURS.len());
    let legend = named.map(|((name, _), stroke)| (Key::Line(stroke), name.clone())).collect();
    let heading = Heading { title: "Noise".into(), legend };
    let y_axis = Axis::linear(widened(range, 0.05), "standard deviation (standardised)");
    let panel = Panel::new(surface, place, &heading, step_axis(steps), y_axis)?;
    panel.draw_axes()?;
    for ((_, values), stroke) in noise.iter().zip(strokes) {
        panel.line(steps.iter().copied().zip(values.iter().copied()), stroke)?;
    }
    Ok(())
}

fn step_axis(steps: &[f64]) -> Axis {
    let last = steps[steps.len() - 1];
    let first = if steps[0] < 0.05 * last { 0.0 } else { steps[0] };
    Axis::linear((first, last), "step")
}

/// Range of the values to show, and whether it leaves out a part of the first fifth.
fn visible_range(values: &[f64]) -> ((f64, f64), bool) {
    let whole = extent(values.iter().copied()).unwrap_or((-1.0, 1.0));
    let Some(late) = extent(values[values.len() / 5..].iter().copied()) else { return (whole, false) };
    if late.1 > late.0 && whole.1 - whole.0 > 5.0 * (late.1 - late.0) {
        (widened(late, 0.25), true)
    } else {
        (whole, false)
    }
}

/// Mean over `half` values on either side; not a number (drawn as nothing) where fewer are there.
fn running_mean(values: &[f64], half: usize) -> Vec<f64> {
    (0..values.len())
        .map(|index| match values.get(index.wrapping_sub(half)..=index + half) {
            Some(window) => window.iter().sum::<f64>() / window.len() as f64,
            None => f64::NAN,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_mean_keeps_a_straight_line() {
        let line: Vec<f64> = (0..50).map(|i| 3.0 - 0.5 * f64::from(i)).collect();
        let means = running_mean(&line, 7);
        for index in 7..43 {
            assert!((means[index] - line[index]).abs() < 1e-12, "{} {}", means[index], line[index]);
        }
        assert!(means[..7].iter().chain(&means[43..]).all(|mean| mean.is_nan()), "{means:?}");
    }

    #[test]
    fn a_far_beginning_is_left_out_of_the_range_and_reported() {
        let mut values: Vec<f64> = (0..100).map(|i| f64::from(i % 10)).collect();
        assert_eq!(visible_range(&values), ((0.0, 9.0), false));
        values[0] = -1e6;
        let ((low, high), outside) = visible_range(&values);
        assert!(outside && low > -10.0 && high < 20.0, "{low} {high}");
    }
}
