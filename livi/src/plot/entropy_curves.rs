//! Predictive entropy in and out of distribution: a posterior that knows what it does not know is sure on the one and unsure
//! on the other.

use std::path::Path;

use super::axis::Axis;
use super::panel::{Heading, Key, Panel, Rectangle, palette};
use super::require_some;
use super::surface::{PICTURE_HEIGHT, PICTURE_WIDTH, Stroke, save_picture};
use crate::{Error, Result};

/// Bins of the distribution.
const BINS: usize = 40;

/// Predictive entropies of one set.
#[derive(Clone, Debug, PartialEq)]
pub struct EntropySet {
    /// Name of the set, for the legend.
    pub label: String,
    /// Entropy of each row, in nats.
    pub entropies: Vec<f64>,
}

/// Predictive entropies of the in-distribution set and of sets out of distribution.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EntropyCurves {
    /// Above the picture.
    pub title: String,
    /// Number of classes; entropies reach up to its logarithm.
    pub classes: usize,
    /// The sets; the first is the in-distribution one.
    pub sets: Vec<EntropySet>,
}

/// Draws the distribution of each set's entropies (a share of its rows in each bin), and beside it the share of rows up to each
/// entropy, into `stem.svg` and `stem.png`. The in-distribution set is drawn solid, the others dashed.
///
/// # Errors
/// [`Error::Argument`] when there is no set, a set is empty, there are fewer than two classes, or an entropy is not from 0 to
/// the logarithm of the number of classes; [`Error::Io`] when the files cannot be written.
///
/// # Examples
/// ```
/// use livi::plot::{EntropyCurves, EntropySet, plot_entropy_curves};
/// let folder = tempfile::tempdir().unwrap();
/// let stem = folder.path().join("entropy");
/// let set = |label: &str, entropies: &[f64]| EntropySet { label: label.into(), entropies: entropies.to_vec() };
/// let sets = vec![set("digits", &[0.0, 0.1]), set("letters", &[1.0, 2.0])];
/// plot_entropy_curves(&stem, &EntropyCurves { title: "Entropy".into(), classes: 10, sets }).unwrap();
/// assert!(std::fs::read_to_string(stem.with_extension("svg")).unwrap().contains("letters (2 rows)"));
/// ```
pub fn plot_entropy_curves(stem: impl AsRef<Path>, curves: &EntropyCurves) -> Result<()> {
    require_some("entropy curves: sets", curves.sets.len())?;
    if curves.classes < 2 {
        let problem = format!("is {}, expected at least 2", curves.classes);
        return Err(Error::Argument { name: "plot: entropy curves: classes".into(), problem });
    }
    let largest = (curves.classes as f64).ln();
    let mut sorted = Vec::with_capacity(curves.sets.len());
    for set in &curves.sets {
        require_some(&format!("entropy curves: {}", set.label), set.entropies.len())?;
        // Rounding may carry a uniform row a little beyond the logarithm.
        let inside = |entropy: &f64| *entropy >= 0.0 && *entropy <= largest + 1e-4;
        if let Some(row) = set.entropies.iter().position(|entropy| !inside(entropy)) {
            let problem = format!("row {row} is {}, expected 0 to {largest:.4}", set.entropies[row]);
            return Err(Error::Argument { name: format!("plot: entropy curves: {}", set.label), problem });
        }
        let mut entropies = set.entropies.clone();
        entropies.sort_by(f64::total_cmp);
        sorted.push(entropies);
    }
    let shares: Vec<Vec<f64>> = sorted.iter().map(|entropies| shares(entropies, largest)).collect();
    let highest = shares.iter().flatten().copied().fold(0.0, f64::max);

    let strokes: Vec<Stroke> = (0..curves.sets.len()).map(stroke_of).collect();
    let rows = |set: &EntropySet| format!("{} ({} rows)", set.label, set.entropies.len());
    let legend = curves.sets.iter().zip(&strokes).map(|(set, stroke)| (Key::Line(*stroke), rows(set))).collect();
    let heading = Heading { title: curves.title.clone(), legend };
    let beside = Heading { title: "cumulative".into(), legend: Vec::new() };
    let place = |left: f64, right: f64, top: f64| Rectangle {
        left: left * f64::from(PICTURE_WIDTH) + 16.0,
        top,
        right: right * f64::from(PICTURE_WIDTH) - 22.0,
        bottom: f64::from(PICTURE_HEIGHT) - 14.0,
    };
    save_picture(stem.as_ref(), |surface| {
        let entropy = || Axis::linear((0.0, largest), "predictive entropy (nats)");
        let share = Axis::linear((0.0, 1.05 * highest), "share of the rows in a bin");
        let panel = Panel::new(surface, place(0.0, 0.58, 14.0), &heading, entropy(), share)?;
        panel.draw_axes()?;
        for (shares, stroke) in shares.iter().zip(&strokes) {
            panel.line(outline(shares, largest), *stroke)?;
        }
        let share = Axis::linear((0.0, 1.0), "share of the rows up to an entropy");
        let panel = Panel::new(surface, place(0.58, 1.0, 14.0), &beside, entropy(), share)?;
        panel.draw_axes()?;
        for (entropies, stroke) in sorted.iter().zip(&strokes) {
            panel.line(cumulative(entropies, largest), *stroke)?;
        }
        Ok(())
    })
}

/// Solid for the first set, dashed in ways of their own for the others.
fn stroke_of(index: usize) -> Stroke {
    let colours = [palette::BLUE, palette::VERMILLION, palette::GREEN, palette::PURPLE, palette::ORANGE, palette::SKY];
    let dashes = [(12.0, 5.0), (6.0, 4.0), (3.0, 3.0), (18.0, 5.0)];
    let colour = colours[index % colours.len()];
    match index.checked_sub(1) {
        None => Stroke::solid(colour, 2.6),
        Some(other) => {
            let (dash, gap) = dashes[other % dashes.len()];
            Stroke::dashed(colour, 2.4, dash, gap)
        }
    }
}

/// Share of the rows in each of [`BINS`] bins from 0 to `largest`; every row is in a bin.
fn shares(entropies: &[f64], largest: f64) -> Vec<f64> {
    let mut shares = vec![0.0; BINS];
    for entropy in entropies {
        let bin = (entropy / largest * BINS as f64) as usize;
        shares[bin.min(BINS - 1)] += 1.0 / entropies.len() as f64;
    }
    shares
}

/// The steps along the tops of the bins.
fn outline(shares: &[f64], largest: f64) -> Vec<(f64, f64)> {
    let edge = |bin: usize| bin as f64 / shares.len() as f64 * largest;
    let mut points = vec![(0.0, 0.0)];
    for (bin, &share) in shares.iter().enumerate() {
        points.extend([(edge(bin), share), (edge(bin + 1), share)]);
    }
    points.push((largest, 0.0));
    points
}

/// The empirical distribution function of sorted entropies, as steps from 0 to `largest`.
fn cumulative(sorted: &[f64], largest: f64) -> Vec<(f64, f64)> {
    let count = sorted.len() as f64;
    let mut points = vec![(0.0, 0.0)];
    for (index, &entropy) in sorted.iter().enumerate() {
        points.extend([(entropy, index as f64 / count), (entropy, (index + 1) as f64 / count)]);
    }
    points.push((largest, 1.0));
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_of_a_set_sum_to_one_the_largest_entropy_included() {
        let largest = 10.0_f64.ln();
        let shares = shares(&[0.0, 0.0, 1.0, largest, largest + 1e-6], largest);
        assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-15);
        assert!((shares[0] - 0.4).abs() < 1e-15 && (shares[BINS - 1] - 0.4).abs() < 1e-15);
    }

    #[test]
    fn the_cumulative_curve_rises_by_one_row_at_each_entropy() {
        let points = cumulative(&[0.5, 0.5, 2.0], 3.0);
        let at = |x: f64| points.iter().filter(|point| point.0 <= x).map(|point| point.1).fold(0.0, f64::max);
        assert_eq!([at(0.4), at(0.5), at(1.9), at(2.0), at(3.0)], [0.0, 2.0 / 3.0, 2.0 / 3.0, 1.0, 1.0]);
    }
}
