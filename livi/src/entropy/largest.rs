//! The upper bound from the largest singular value: d/2 log(s_max^2 + sigma^2). A diagnostic: maximising it is unsafe.
//!
//! A Ritz value is at most s_max, so before convergence the value itself is no upper bound; `upper` is the bound at the upper end of an enclosure:
//! that of the rounding of a full decomposition, of the residual of a triplet that has converged, and otherwise the end that any spectrum leaves
//! possible; none where the Krylov space was too small for that.

use super::smallest::{Extreme, from_spectrum, one_value, rounding};
use super::spectrum::FULL_DEPTH;
use super::{Estimate, JacobianMap, Settings};
use crate::Result;
use crate::spectral::{LinearMap, Real, bounds, fill_gaussian, krylov_largest_in};
use autograd::Element;
use rand::rngs::StdRng;

/// The bound at each latent, its certified end, and v with d / (s^2 + sigma^2) for the gradient.
pub(super) fn estimates<T: Real + Element>(
    map: &mut JacobianMap<'_, T>,
    sigma: f64,
    settings: &Settings,
    generator: &mut StdRng,
) -> Result<Vec<Estimate>> {
    let d = map.cols();
    let found = if d <= FULL_DEPTH {
        vec![from_spectrum(map, 0)?]
    } else {
        let samples = map.samples();
        let mut starts = vec![T::from_f64(0.0); samples * d];
        fill_gaussian(generator, &mut starts);
        let (tolerance, restarts) = (settings.tolerance, settings.restarts());
        let mut process = map.process(samples, settings.steps)?;
        let triplets = krylov_largest_in(&mut process, map, samples, &starts, tolerance, restarts)?;
        map.keep(process);
        triplets
            .into_iter()
            .map(|triplet| {
                let square = triplet.value * triplet.value;
                let residual = if square > 0.0 { triplet.residual / square } else { 0.0 };
                let (lower, upper) = triplet.honest_largest_enclosure();
                let enclosure = (lower, upper + rounding::<T>(&triplet));
                Extreme { value: triplet.value, enclosure, vector: triplet.right, residual }
            })
            .collect()
    };
    let bound = |value: f64| bounds::upper_from_largest_singular_value(value, d, sigma);
    let values = found.iter().map(|found| bound(found.value)).collect::<Result<Vec<_>>>()?;
    let known = |found: &Extreme<T>| found.enclosure.1.is_finite().then_some(found.enclosure.1);
    let ends = found.iter().map(|found| known(found).map(bound).transpose()).collect::<Result<Vec<_>>>()?;
    let mut estimates = one_value(d, sigma, settings, &values, &found);
    for (estimate, upper) in estimates.iter_mut().zip(ends) {
        estimate.upper = upper;
    }
    Ok(estimates)
}
