//! The lower bound from the smallest singular value: d/2 log(s_min^2 + sigma^2) (Uppal et al. 2023, section 3.2).
//!
//! Safe to maximise. A Ritz value is at least s_min, so before convergence the value itself is no lower bound; `lower` is the bound at the lower end
//! of the enclosure that the residual (or the rounding of a full decomposition) gives.

use super::estimate::directions;
use super::spectrum::{FULL_DEPTH, Spectrum, deterministic};
use super::{Estimate, JacobianMap, Settings};
use crate::Result;
use crate::spectral::{LinearMap, Real, SmallestOptions, bounds, fill_gaussian, krylov_smallest};
use autograd::Element;
use rand::rngs::StdRng;

/// An extreme singular value with its vector, its enclosure and the relative residual |J^T J v - s^2 v| / s_max^2.
pub(super) struct Extreme<T> {
    pub value: f64,
    pub vector: Vec<T>,
    pub enclosure: (f64, f64),
    pub residual: f64,
}

/// The bound, its certified end, and d s / (s^2 + sigma^2) J v / |J v| for the gradient.
pub(super) fn estimate<T: Real + Element>(
    map: &mut JacobianMap<'_, T>,
    sigma: f64,
    settings: &Settings,
    generator: &mut StdRng,
) -> Result<Estimate> {
    let d = map.cols();
    let found = if d <= FULL_DEPTH {
        from_spectrum(map, d - 1)?
    } else {
        let mut start = vec![T::from_f64(0.0); d];
        fill_gaussian(generator, &mut start);
        let options = SmallestOptions { tolerance: settings.tolerance, floor: sigma, max_iterations: settings.steps };
        let triplet = krylov_smallest(map, &start, &options, settings.restarts())?;
        // Relative to the scale on which the entropy tells singular values apart, as the tolerance is.
        let residual = triplet.residual / triplet.value.hypot(sigma).powi(2);
        Extreme { value: triplet.value, enclosure: triplet.smallest_enclosure(), vector: triplet.right, residual }
    };
    let value = bounds::lower_from_smallest_singular_value(found.value, d, sigma)?;
    let lower = bounds::lower_from_smallest_singular_value(found.enclosure.0, d, sigma)?;
    one_value(map, sigma, settings, value, found).map(|estimate| Estimate { lower: Some(lower), ..estimate })
}

/// Singular value `index` of the whole spectrum.
pub(super) fn from_spectrum<T: Real + Element>(map: &mut JacobianMap<'_, T>, index: usize) -> Result<Extreme<T>> {
    let spectrum = Spectrum::compute(map)?;
    let value = spectrum.values[index];
    let vector: Vec<T> = spectrum.vector(index);
    let enclosure = ((value - spectrum.rounding).max(0.0), value + spectrum.rounding);
    let mut image = vec![T::from_f64(0.0); map.rows()];
    let mut back = vec![T::from_f64(0.0); map.cols()];
    map.apply(1, &vector, &mut image)?;
    map.apply_transpose(1, &image, &mut back)?;
    let square = value * value;
    let defect = back.iter().zip(&vector).map(|(b, v)| (b.to_f64() - square * v.to_f64()).powi(2)).sum::<f64>();
    let scale = spectrum.values[0].powi(2);
    let residual = if scale > 0.0 { defect.sqrt() / scale } else { 0.0 };
    Ok(Extreme { value, vector, enclosure, residual })
}

/// The estimate d/2 log(s^2 + sigma^2) for s = |J v|: its gradient is that of d <J v, J_gamma v> / (s^2 + sigma^2).
pub(super) fn one_value<T: Real + Element>(
    map: &mut JacobianMap<'_, T>,
    sigma: f64,
    settings: &Settings,
    half_log_det: f64,
    found: Extreme<T>,
) -> Result<Estimate> {
    let mut pairs = Vec::new();
    if settings.directions {
        let factor = map.cols() as f64 / found.value.hypot(sigma).powi(2);
        pairs = directions(map, &found.vector, &found.vector, |_, _| factor)?;
    }
    Ok(Estimate { residual: Some(found.residual), ..deterministic(half_log_det, pairs) })
}
