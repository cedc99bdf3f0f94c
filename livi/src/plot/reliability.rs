//! The reliability diagram: how often predictions of a confidence are right, and how many there are.

use std::path::Path;

use super::axis::Axis;
use super::panel::{Heading, Key, Panel, Rectangle, palette};
use super::require_some;
use super::surface::{PICTURE_HEIGHT, PICTURE_WIDTH, Stroke, save_picture};
use crate::Result;
use crate::metrics::CalibrationError;

/// Part of the picture's height for the accuracies; the counts get the rest.
const ACCURACY_SHARE: f64 = 0.66;
/// Half of the width of what marks a gap, as a part of the bin.
const GAP: f64 = 0.2;

/// Draws accuracy against confidence, bin by bin, with the gap between the two marked, above the number of predictions in each
/// bin, into `stem.svg` and `stem.png`. Where bars end on the diagonal the predictions are calibrated.
///
/// # Errors
/// [`Error::Argument`](crate::Error::Argument) when there are no bins; [`Error::Io`](crate::Error::Io) when the files cannot be
/// written.
///
/// # Examples
/// ```
/// use livi::{metrics::ClassPredictions, plot::plot_reliability};
/// let folder = tempfile::tempdir().unwrap();
/// let stem = folder.path().join("reliability");
/// let error = ClassPredictions::new(&[0.9, 0.1, 0.4, 0.6], 2, &[0, 0]).unwrap().calibration_error(10).unwrap();
/// plot_reliability(&stem, "two predictions", &error).unwrap();
/// assert!(std::fs::read_to_string(stem.with_extension("svg")).unwrap().contains("two predictions"));
/// ```
pub fn plot_reliability(stem: impl AsRef<Path>, title: &str, error: &CalibrationError) -> Result<()> {
    require_some("reliability: bins", error.bins.len())?;
    let width = 1.0 / error.bins.len() as f64;
    let filled: Vec<_> = error.bins.iter().enumerate().filter(|(_, bin)| bin.count > 0).collect();
    let total: usize = error.bins.iter().map(|bin| bin.count).sum();
    let most = error.bins.iter().map(|bin| bin.count).max().unwrap_or(0);
    let bar = palette::tint(palette::BLUE, 0.55);
    let gap = palette::tint(palette::VERMILLION, 0.6);
    let diagonal = Stroke::dashed(palette::INK, 2.0, 8.0, 5.0);
    let (expected, maximum) = (error.expected, error.maximum);
    let gap_text = format!("gap to the mean confidence: {expected:.4} expected, {maximum:.4} at most");
    let heading = Heading {
        title: title.into(),
        legend: vec![
            (Key::Area(bar), "accuracy".into()),
            (Key::Disc(palette::BLUE), "accuracy at the mean confidence".into()),
            (Key::Area(gap), gap_text),
            (Key::Line(diagonal), "calibrated".into()),
        ],
    };
    let place = |top: f64, bottom: f64| Rectangle {
        left: 16.0,
        top: top * f64::from(PICTURE_HEIGHT) + 14.0,
        right: f64::from(PICTURE_WIDTH) - 24.0,
        bottom: bottom * f64::from(PICTURE_HEIGHT) - 8.0,
    };
    save_picture(stem.as_ref(), |surface| {
        let confidence = || Axis::linear((0.0, 1.0), "confidence");
        let accuracy = Axis::linear((0.0, 1.0), "accuracy");
        let panel = Panel::new(surface, place(0.0, ACCURACY_SHARE), &heading, confidence(), accuracy)?;
        for (index, bin) in &filled {
            let inset = 0.06 * width;
            let x = [*index as f64 * width + inset, (*index + 1) as f64 * width - inset];
            panel.band(&x, &[0.0; 2], &[bin.accuracy; 2], bar)?;
            // Narrower than the bar, whose end it would hide where accuracy exceeds confidence.
            let middle = 0.5 * (x[0] + x[1]);
            let (low, high) = (bin.accuracy.min(bin.confidence), bin.accuracy.max(bin.confidence));
            panel.band(&[middle - GAP * width, middle + GAP * width], &[low; 2], &[high; 2], gap)?;
        }
        panel.draw_axes()?;
        panel.line([(0.0, 0.0), (1.0, 1.0)], diagonal)?;
        for (_, bin) in &filled {
            panel.disc((bin.confidence, bin.accuracy), 4.0, palette::BLUE)?;
        }
        let count = Axis::linear((0.0, 1.05 * most.max(1) as f64), format!("{total} predictions"));
        let panel = Panel::new(surface, place(ACCURACY_SHARE, 1.0), &Heading::default(), confidence(), count)?;
        for (index, bin) in &filled {
            let inset = 0.06 * width;
            let x = [*index as f64 * width + inset, (*index + 1) as f64 * width - inset];
            panel.band(&x, &[0.0; 2], &[bin.count as f64; 2], bar)?;
        }
        panel.draw_axes()
    })
}
