//! The upper bound from the largest singular value: d/2 log(s_max^2 + sigma^2). A diagnostic: maximising it is unsafe.
//!
//! A Ritz value is at most s_max, so before convergence the value itself is no upper bound; `upper` is the bound at the upper end of the enclosure
//! that the residual (or the rounding of a full decomposition) gives.

use super::smallest::{Extreme, from_spectrum, one_value};
use super::spectrum::FULL_DEPTH;
use super::{Estimate, JacobianMap, Settings};
use crate::Result;
use crate::spectral::{LinearMap, Real, bounds, fill_gaussian, krylov_largest};
use autograd::Element;
use rand::rngs::StdRng;

/// The bound, its certified end, and d s / (s^2 + sigma^2) J v / |J v| for the gradient.
pub(super) fn estimate<T: Real + Element>(
    map: &mut JacobianMap<'_, T>,
    sigma: f64,
    settings: &Settings,
    generator: &mut StdRng,
) -> Result<Estimate> {
    let d = map.cols();
    let found = if d <= FULL_DEPTH {
        from_spectrum(map, 0)?
    } else {
        let mut start = vec![T::from_f64(0.0); d];
        fill_gaussian(generator, &mut start);
        let triplet = krylov_largest(map, &start, settings.tolerance, settings.steps, settings.restarts())?;
        let square = triplet.value * triplet.value;
        let residual = if square > 0.0 { triplet.residual / square } else { 0.0 };
        Extreme { value: triplet.value, enclosure: triplet.largest_enclosure(), vector: triplet.right, residual }
    };
    let value = bounds::upper_from_largest_singular_value(found.value, d, sigma)?;
    let upper = bounds::upper_from_largest_singular_value(found.enclosure.1, d, sigma)?;
    one_value(map, sigma, settings, value, found).map(|estimate| Estimate { upper: Some(upper), ..estimate })
}
