//! What the posterior predicts: a band over one input, or predictions against observations.

use std::path::Path;

use super::axis::{Axis, extent, widened};
use super::panel::{Heading, Key, Panel, Rectangle, palette};
use super::surface::{PICTURE_HEIGHT, PICTURE_WIDTH, Stroke, save_picture};
use super::{require_length, require_some};
use crate::Result;

/// Margin around a single panel: the whole picture less a rim.
const PLACE: Rectangle =
    Rectangle { left: 16.0, top: 14.0, right: PICTURE_WIDTH as f64 - 24.0, bottom: PICTURE_HEIGHT as f64 - 14.0 };

/// Most points drawn in [`plot_predicted_against_observed`]; of more, every k-th is drawn and the picture says so.
const MOST_POINTS: usize = 500;

/// Values of one function on the grid of a [`PredictiveBand`], for instance of one weight sample's network.
pub type SampledFunction = Vec<f64>;

/// Predictive distribution over one input, in original units.
#[derive(Clone, Debug, Default)]
pub struct PredictiveBand {
    /// Above the picture.
    pub title: String,
    /// Label of the input, with its unit.
    pub x_label: String,
    /// Label of the target, with its unit.
    pub y_label: String,
    /// Increasing inputs of the grid.
    pub x: Vec<f64>,
    /// Predictive mean on the grid.
    pub mean: Vec<f64>,
    /// Standard deviation of the mean over weight samples, on the grid.
    pub epistemic_std: Vec<f64>,
    /// Standard deviation of the prediction, epistemic and noise together, on the grid.
    pub total_std: Vec<f64>,
    /// Training inputs.
    pub data_x: Vec<f64>,
    /// Training targets.
    pub data_y: Vec<f64>,
    /// The function that made the data, on the grid, where it is known.
    pub true_function: Option<Vec<f64>>,
    /// A few sampled functions on the grid; may be empty.
    pub sampled_functions: Vec<SampledFunction>,
}

/// Draws mean, epistemic and total band (two standard deviations each), data, samples and true function into
/// `stem.svg` and `stem.png`.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) when the grid is empty or lengths differ;
/// [`Error::Io`](crate::Error::Io) when the files cannot be written.
pub fn plot_predictive_band(stem: impl AsRef<Path>, band: &PredictiveBand) -> Result<()> {
    let count = band.x.len();
    require_some("predictive band: x", count)?;
    for (what, length) in [
        ("predictive band: mean", band.mean.len()),
        ("predictive band: epistemic_std", band.epistemic_std.len()),
        ("predictive band: total_std", band.total_std.len()),
        ("predictive band: true_function", band.true_function.as_ref().map_or(count, Vec::len)),
    ] {
        require_length(what, length, count)?;
    }
    for function in &band.sampled_functions {
        require_length("predictive band: sampled function", function.len(), count)?;
    }
    require_length("predictive band: data_y", band.data_y.len(), band.data_x.len())?;

    let around = |std: &[f64], factor: f64| -> Vec<f64> {
        band.mean.iter().zip(std).map(|(mean, std)| mean + factor * std).collect()
    };
    let (epistemic_low, epistemic_high) = (around(&band.epistemic_std, -2.0), around(&band.epistemic_std, 2.0));
    let (total_low, total_high) = (around(&band.total_std, -2.0), around(&band.total_std, 2.0));
    let bands = extent(total_low.iter().chain(&total_high).copied()).unwrap_or((-1.0, 1.0));
    // Far from the data a band may be so wide that nothing else could be seen: it is cut at two spans of the data.
    let y_range = match extent(band.data_y.iter().copied()) {
        Some(data) => {
            let span = widened(data, 0.0);
            let room = 2.0 * (span.1 - span.0);
            (bands.0.min(data.0).max(data.0 - room), bands.1.max(data.1).min(data.1 + room))
        }
        None => bands,
    };
    let x_range = extent(band.x.iter().copied()).unwrap_or((-1.0, 1.0));

    let epistemic = palette::tint(palette::BLUE, 0.38);
    let total = palette::tint(palette::BLUE, 0.14);
    let mean = Stroke::solid(palette::BLUE, 3.0);
    let sample = Stroke::solid(palette::tint(palette::BLUE, 0.75), 1.0);
    let truth = Stroke::dashed(palette::INK, 2.0, 9.0, 6.0);
    let mut legend = vec![
        (Key::Line(mean), "mean".to_string()),
        (Key::Area(epistemic), "epistemic \u{b1} 2 std".into()),
        (Key::Area(total), "total \u{b1} 2 std".into()),
    ];
    if !band.sampled_functions.is_empty() {
        legend.push((Key::Line(sample), "sampled functions".into()));
    }
    if band.true_function.is_some() {
        legend.push((Key::Line(truth), "true function".into()));
    }
    if !band.data_x.is_empty() {
        legend.push((Key::Disc(palette::VERMILLION), "data".into()));
    }
    let heading = Heading { title: band.title.clone(), legend };
    save_picture(stem.as_ref(), |surface| {
        let x_axis = Axis::linear(x_range, &band.x_label);
        let y_axis = Axis::linear(widened(y_range, 0.03), &band.y_label);
        let panel = Panel::new(surface, PLACE, &heading, x_axis, y_axis)?;
        panel.band(&band.x, &total_low, &total_high, total)?;
        panel.band(&band.x, &epistemic_low, &epistemic_high, epistemic)?;
        panel.draw_axes()?;
        let over_grid = |values: &[f64]| band.x.iter().copied().zip(values.to_vec()).collect::<Vec<_>>();
        for function in &band.sampled_functions {
            panel.line(over_grid(function), sample)?;
        }
        panel.line(over_grid(&band.mean), mean)?;
        if let Some(function) = &band.true_function {
            panel.line(over_grid(function), truth)?;
        }
        let radius = if band.data_x.len() > 300 { 2.5 } else { 4.0 };
        for (&x, &y) in band.data_x.iter().zip(&band.data_y) {
            panel.disc((x, y), radius, palette::VERMILLION)?;
        }
        Ok(())
    })
}

/// Predictions for data of many inputs, in original units.
#[derive(Clone, Debug, Default)]
pub struct PredictedAgainstObserved {
    /// Above the picture.
    pub title: String,
    /// Name of the target, with its unit.
    pub target: String,
    /// Observed targets.
    pub observed: Vec<f64>,
    /// Predictive mean of each.
    pub mean: Vec<f64>,
    /// Epistemic standard deviation of each.
    pub epistemic_std: Vec<f64>,
    /// Total predictive standard deviation of each.
    pub total_std: Vec<f64>,
}

/// Draws predictive means with error bars (two standard deviations) against the observed targets, and the diagonal,
/// into `stem.svg` and `stem.png`.
///
/// # Errors
/// As [`plot_predictive_band`].
pub fn plot_predicted_against_observed(stem: impl AsRef<Path>, points: &PredictedAgainstObserved) -> Result<()> {
    let count = points.observed.len();
    require_some("predicted against observed: observed", count)?;
    for (what, length) in [
        ("predicted against observed: mean", points.mean.len()),
        ("predicted against observed: epistemic_std", points.epistemic_std.len()),
        ("predicted against observed: total_std", points.total_std.len()),
    ] {
        require_length(what, length, count)?;
    }
    let stride = count.div_ceil(MOST_POINTS);
    let drawn: Vec<usize> = (0..count).step_by(stride).collect();
    let observed = extent(points.observed.iter().copied()).unwrap_or((-1.0, 1.0));
    let bars = extent(
        drawn
            .iter()
            .flat_map(|&i| [points.mean[i] - 2.0 * points.total_std[i], points.mean[i] + 2.0 * points.total_std[i]]),
    );
    // A single runaway prediction must not squeeze all others: it is cut at one span of the observations.
    let span = widened(observed, 0.0);
    let room = span.1 - span.0;
    let bars = bars.unwrap_or(observed);
    let y_range = (bars.0.max(observed.0 - room).min(observed.0), bars.1.min(observed.1 + room).max(observed.1));

    let bar = if drawn.len() > 200 { 0.6 } else { 1.0 };
    let total = Stroke::solid(palette::tint(palette::BLUE, 0.28), 1.6 * bar);
    let epistemic = Stroke::solid(palette::tint(palette::BLUE, 0.7), 3.0 * bar);
    let diagonal = Stroke::dashed(palette::INK, 1.6, 9.0, 6.0);
    let mean_label = match stride {
        1 => "mean".to_string(),
        _ => format!("mean ({} of {count} points)", drawn.len()),
    };
    let heading = Heading {
        title: points.title.clone(),
        legend: vec![
            (Key::Disc(palette::VERMILLION), mean_label),
            (Key::Line(epistemic), "epistemic \u{b1} 2 std".into()),
            (Key::Line(total), "total \u{b1} 2 std".into()),
            (Key::Line(diagonal), "predicted = observed".into()),
        ],
    };
    save_picture(stem.as_ref(), |surface| {
        let x_axis = Axis::linear(widened(observed, 0.03), format!("observed {}", points.target));
        let y_axis = Axis::linear(widened(y_range, 0.03), format!("predicted {}", points.target));
        let ends = (x_axis.range.0.min(y_axis.range.0), x_axis.range.1.max(y_axis.range.1));
        let panel = Panel::new(surface, PLACE, &heading, x_axis, y_axis)?;
        panel.draw_axes()?;
        for (std, stroke) in [(&points.total_std, total), (&points.epistemic_std, epistemic)] {
            for &i in &drawn {
                let (x, mean, half) = (points.observed[i], points.mean[i], 2.0 * std[i]);
                panel.line([(x, mean - half), (x, mean + half)], stroke)?;
            }
        }
        let radius = if drawn.len() > 200 { 2.4 } else { 4.0 };
        for &i in &drawn {
            panel.disc((points.observed[i], points.mean[i]), radius, palette::VERMILLION)?;
        }
        panel.line([(ends.0, ends.0), (ends.1, ends.1)], diagonal)
    })
}
