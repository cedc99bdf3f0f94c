//! The published variant, kept for comparison: d log(mu + sigma^2) with mu from five Rayleigh-Ritz steps (Uppal et al. 2023, section 3.2 and the
//! accompanying code). Neither a bound nor an estimate of the entropy.

use super::estimate::directions;
use super::spectrum::deterministic;
use super::{Estimate, JacobianMap, Settings};
use crate::Result;
use crate::spectral::{LinearMap, Real, fill_gaussian, paper_half_log_det, paper_smallest};
use autograd::Element;
use rand::rngs::StdRng;

/// The value, and v with d / (mu + sigma^2) / mu, mu = |J v|, for its gradient at a fixed v.
pub(super) fn estimate<T: Real + Element>(
    map: &mut JacobianMap<'_, T>,
    sigma: f64,
    settings: &Settings,
    generator: &mut StdRng,
) -> Result<Estimate> {
    let d = map.cols();
    let mut start = vec![T::from_f64(0.0); d];
    fill_gaussian(generator, &mut start);
    let triplet = paper_smallest(map, &start)?;
    let mut pairs = Vec::new();
    if settings.directions {
        // |J v| is the value; where it is 0 it has no gradient.
        let length = triplet.value;
        let factor = if length > 0.0 { d as f64 / (length + sigma * sigma) / length } else { 0.0 };
        pairs = directions(d, &triplet.right, &triplet.right, |_| factor);
    }
    let square = triplet.value * triplet.value;
    let residual = (square > 0.0).then_some(triplet.residual / square);
    Ok(Estimate { residual, ..deterministic(paper_half_log_det(triplet.value, d, sigma)?, pairs) })
}
