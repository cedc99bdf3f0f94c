//! The singular values of the sampler's Jacobian and what the entropy's bounds make of them.

use std::path::Path;

use super::axis::{Axis, brief, extent, minus};
use super::panel::{Heading, Key, Panel, Rectangle, palette};
use super::surface::{PICTURE_HEIGHT, PICTURE_WIDTH, Stroke, save_picture};
use super::{require_length, require_some};
use crate::{Error, Result};

/// Value of a method for the entropy's data-dependent part, to be drawn as a level.
#[derive(Clone, Debug, PartialEq)]
pub struct EntropyLevel {
    /// Name of the method and the side it is on, for instance `smallest (lower bound)`.
    pub label: String,
    /// Its value for 1/2 sum_i log(s_i^2 + sigma^2) over the d singular values, in nats, without further constants.
    pub half_log_det: f64,
}

/// Spectra of the Jacobian J = dg/dz at one or more latents.
#[derive(Clone, Debug, Default)]
pub struct Spectrum {
    /// Above the picture.
    pub title: String,
    /// The d singular values at each latent, in any order.
    pub singular_values: Vec<Vec<f64>>,
    /// Standard deviation sigma of the weights around the sampler's output.
    pub sigma: f64,
    /// Bounds and estimates, averaged over the latents.
    pub levels: Vec<EntropyLevel>,
}

/// The level exp(v / d) of a method with value v = 1/2 sum_i log(s_i^2 + sigma^2): the one value of
/// sqrt(s^2 + sigma^2) that, taken d times, has the same entropy.
///
/// For the bound by the smallest (largest) singular value it is sqrt(s_min^2 + sigma^2) (with s_max), for the exact
/// value the geometric mean.
///
/// # Examples
/// ```
/// let (s, sigma) = ([3.0_f64, 0.3], 0.4_f64);
/// let value: f64 = s.iter().map(|s| 0.5 * (s * s + sigma * sigma).ln()).sum();
/// let level = livi::plot::spectrum::level(value, 2);
/// assert!((level * level - (9.16_f64 * 0.25).sqrt()).abs() < 1e-12);
/// ```
pub fn level(half_log_det: f64, d: usize) -> f64 {
    (half_log_det / d as f64).exp()
}

/// Draws singular values in decreasing order, sqrt(s^2 + sigma^2), sigma, and the level of every method, on a
/// logarithmic axis, into `stem.svg` and `stem.png`.
///
/// # Errors
/// [`Error::Argument`] when there are no singular values, latents differ in their number, a value is negative or not
/// finite, or sigma is not positive; [`Error::Io`] when the files cannot be written.
pub fn plot_spectrum(stem: impl AsRef<Path>, spectrum: &Spectrum) -> Result<()> {
    let d = spectrum.singular_values.first().map_or(0, Vec::len);
    require_some("spectrum: singular_values", d)?;
    let sigma = spectrum.sigma;
    if !(sigma > 0.0 && sigma.is_finite()) {
        return Err(Error::Argument { name: "sigma".into(), problem: format!("is {sigma}, expected more than 0") });
    }
    let mut sorted = spectrum.singular_values.clone();
    for values in &mut sorted {
        require_length("spectrum: singular_values at a latent", values.len(), d)?;
        if let Some(value) = values.iter().find(|value| !(**value >= 0.0 && value.is_finite())) {
            let problem = format!("is {value}, expected a finite number of at least 0");
            return Err(Error::Argument { name: "singular value".into(), problem });
        }
        values.sort_by(|a, b| b.total_cmp(a));
    }
    let levels: Vec<(f64, &EntropyLevel)> =
        spectrum.levels.iter().map(|entry| (level(entry.half_log_det, d), entry)).collect();

    // Singular values that are zero but for rounding would stretch the axis over empty decades.
    let floor = 1e-2 * sigma;
    let below = sorted.iter().flatten().filter(|value| **value < floor).count();
    let drawn = sorted.iter().flatten().copied().filter(|value| *value >= floor);
    let drawn = drawn.chain([sigma]).chain(levels.iter().map(|(level, _)| *level));
    let (low, high) = extent(drawn.filter(|value| *value > 0.0)).unwrap_or((0.5 * sigma, 2.0 * sigma));

    let colours = [palette::VERMILLION, palette::GREEN, palette::PURPLE, palette::ORANGE, palette::INK, palette::SKY];
    let dashes = [(14.0, 5.0), (7.0, 4.0), (3.0, 3.0)];
    let regularised = Stroke::solid(palette::SKY, 2.0);
    let sigma_line = Stroke::solid(palette::GREY, 2.0);
    let mut legend = vec![
        (Key::Disc(palette::BLUE), "singular values s".to_string()),
        (Key::Line(regularised), "\u{221a}(s\u{b2} + \u{3c3}\u{b2})".into()),
        (Key::Line(sigma_line), format!("\u{3c3} = {}", brief(sigma))),
    ];
    let part = "\u{bd} \u{3a3} log(s\u{b2} + \u{3c3}\u{b2})";
    let mut lines = Vec::new();
    for (index, (level, entry)) in levels.iter().enumerate() {
        let (dash, gap) = dashes[index % dashes.len()];
        let stroke = Stroke::dashed(colours[index % colours.len()], 2.4, dash, gap);
        legend.push((
            Key::Line(stroke),
            format!("{}: {part} = {} nats", entry.label, minus(format!("{:.2}", entry.half_log_det))),
        ));
        lines.push((*level, stroke));
    }
    let heading = Heading { title: spectrum.title.clone(), legend };
    let place = Rectangle {
        left: 16.0,
        top: 14.0,
        right: f64::from(PICTURE_WIDTH) - 24.0,
        bottom: f64::from(PICTURE_HEIGHT) - 14.0,
    };
    save_picture(stem.as_ref(), |surface| {
        let last = d as f64;
        let x_axis = Axis::linear((1.0 - 0.02 * last, last + 0.02 * last), "index, in decreasing order");
        let y_axis = Axis::logarithmic((low / 1.3, high * 1.3), "singular value s of J");
        let panel = Panel::new(surface, place, &heading, x_axis, y_axis)?;
        panel.draw_axes()?;
        let across = [1.0 - 0.02 * last, last + 0.02 * last];
        panel.line(across.map(|x| (x, sigma)), sigma_line)?;
        let radius = if d > 400 { 1.5 } else { 3.0 };
        for values in &sorted {
            let indexed = || values.iter().enumerate().map(|(index, value)| ((index + 1) as f64, *value));
            panel.line(indexed().map(|(x, s)| (x, s.hypot(sigma))), regularised)?;
            for point in indexed().filter(|(_, s)| *s >= floor) {
                panel.disc(point, radius, palette::BLUE)?;
            }
        }
        for (level, stroke) in &lines {
            panel.line(across.map(|x| (x, *level)), *stroke)?;
        }
        if below > 0 {
            panel.remark(&format!("{below} singular values below \u{3c3}/100 not shown"))?;
        }
        Ok(())
    })
}
