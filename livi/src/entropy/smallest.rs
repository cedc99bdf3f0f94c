//! The lower bound from the smallest singular value: d/2 log(s_min^2 + sigma^2) (Uppal et al. 2023, section 3.2).
//!
//! Safe to maximise. A Ritz value is at least s_min, so before convergence the value itself is no lower bound; `lower` is the bound at the lower end
//! of an enclosure: that of the rounding of a full decomposition, of the residual of a triplet that has converged, and otherwise the end that any
//! spectrum leaves possible, which is mostly 0, so that the bound is d log sigma.

use super::estimate::directions;
use super::spectrum::{FULL_DEPTH, Spectrum, deterministic};
use super::{Estimate, JacobianMap, Settings};
use crate::Result;
use crate::spectral::{LinearMap, Real, SingularTriplet, SmallestOptions, bounds, fill_gaussian, krylov_smallest_in};
use autograd::Element;
use rand::rngs::StdRng;

/// An extreme singular value with its vector, its enclosure and the relative residual |J^T J v - s^2 v| / s_max^2.
pub(super) struct Extreme<T> {
    pub value: f64,
    pub vector: Vec<T>,
    pub enclosure: (f64, f64),
    pub residual: f64,
}

/// The bound at each latent, its certified end, and v with d / (s^2 + sigma^2) for the gradient.
pub(super) fn estimates<T: Real + Element>(
    map: &mut JacobianMap<'_, T>,
    sigma: f64,
    settings: &Settings,
    generator: &mut StdRng,
) -> Result<Vec<Estimate>> {
    let d = map.cols();
    let found = if d <= FULL_DEPTH {
        vec![from_spectrum(map, d - 1)?]
    } else {
        let samples = map.samples();
        let mut starts = vec![T::from_f64(0.0); samples * d];
        fill_gaussian(generator, &mut starts);
        let options = SmallestOptions { tolerance: settings.tolerance, floor: sigma, max_iterations: settings.steps };
        let mut process = map.process(samples, settings.steps)?;
        let triplets = krylov_smallest_in(&mut process, map, samples, &starts, &options, settings.restarts())?;
        map.keep(process);
        triplets
            .into_iter()
            .map(|triplet| {
                // Relative to the scale on which the entropy tells singular values apart, as the tolerance is.
                let residual = triplet.residual / triplet.value.hypot(sigma).powi(2);
                let (lower, upper) = triplet.honest_smallest_enclosure();
                let enclosure = ((lower - rounding::<T>(&triplet)).max(0.0), upper);
                Extreme { value: triplet.value, enclosure, vector: triplet.right, residual }
            })
            .collect()
    };
    let bound = |value: f64| bounds::lower_from_smallest_singular_value(value, d, sigma);
    let values = found.iter().map(|found| bound(found.value)).collect::<Result<Vec<_>>>()?;
    let ends = found.iter().map(|found| bound(found.enclosure.0)).collect::<Result<Vec<_>>>()?;
    let mut estimates = one_value(d, sigma, settings, &values, &found);
    for (estimate, lower) in estimates.iter_mut().zip(ends) {
        estimate.lower = Some(lower);
    }
    Ok(estimates)
}

/// How far rounding of the products may have moved a singular value: 8 units of roundoff of the largest that was seen.
pub(super) fn rounding<T: Real>(triplet: &SingularTriplet<T>) -> f64 {
    8.0 * T::UNIT_ROUNDOFF * triplet.largest_seen
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

/// The estimates d/2 log(s^2 + sigma^2), given as `half_log_dets`, for s = |J v|: the gradient of each is that of d <J v, J_gamma v> / (s^2 +
/// sigma^2).
pub(super) fn one_value<T: Real>(
    d: usize,
    sigma: f64,
    settings: &Settings,
    half_log_dets: &[f64],
    found: &[Extreme<T>],
) -> Vec<Estimate> {
    let estimate = |(found, &half_log_det): (&Extreme<T>, &f64)| {
        let own = match settings.directions {
            true => directions(d, &found.vector, &found.vector, |_| d as f64 / found.value.hypot(sigma).powi(2)),
            false => Vec::new(),
        };
        Estimate { residual: Some(found.residual), ..deterministic(half_log_det, own) }
    };
    found.iter().zip(half_log_dets).map(estimate).collect()
}
