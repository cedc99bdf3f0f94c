//! Stochastic Lanczos quadrature of 1/2 log det(J^T J + sigma^2 I_d), with a bracket for each probe and an unbiased gradient.

use super::estimate::directions;
use super::spectrum::deterministic;
use super::{Estimate, JacobianMap, Settings};
use crate::Result;
use crate::spectral::{
    CgOptions, LinearMap, ProbeKind, Real, SlqOptions, conjugate_gradients, fill_rademacher, orthonormal_probes,
    stochastic_lanczos_quadrature,
};
use autograd::Element;
use rand::rngs::StdRng;

/// The middle of the bracket of Gauss-Radau (lower) and Gauss (upper) quadrature, both widened by what rounding of the products may do, and
/// for the gradient the probes v with weight_k J w, A w = v.
pub(super) fn estimate<T: Real + Element>(
    map: &mut JacobianMap<'_, T>,
    sigma: f64,
    settings: &Settings,
    generator: &mut StdRng,
) -> Result<Estimate> {
    let d = map.cols();
    let (count, kind) =
        if settings.probes < d { (settings.probes, ProbeKind::Independent) } else { (d, ProbeKind::OrthogonalBasis) };
    let probes: Vec<T> = match kind {
        ProbeKind::Independent => {
            let mut probes = vec![T::from_f64(0.0); count * d];
            fill_rademacher(generator, &mut probes);
            probes
        }
        ProbeKind::OrthogonalBasis => orthonormal_probes(generator, d, d)?,
    };
    let options = SlqOptions { sigma, steps: settings.steps, block: map.block(), kind, solve: settings.directions };
    let report = stochastic_lanczos_quadrature(map, count, &probes, &options)?;
    let (lower, upper) = report.interval(0.0);
    let mut estimate = deterministic(0.5 * (report.lower + report.upper), Vec::new());
    estimate.lower = Some(lower);
    estimate.upper = Some(upper);
    estimate.standard_error = report.standard_error;
    if let Some(mut solves) = report.solves {
        for k in 0..count {
            // A residual that the Krylov coefficients do not predict is rounding of w: more iterations would not mend it.
            let unsolved = solves.residuals[k].min(solves.predicted_residuals[k]) > settings.tolerance;
            if unsolved && settings.iterations > 0 {
                let solution = &mut solves.solutions[k * d..(k + 1) * d];
                solves.residuals[k] =
                    improve(map, sigma, settings, &probes[k * d..(k + 1) * d], solution, solves.residuals[k])?;
            }
        }
        estimate.residual = solves.residuals.iter().copied().reduce(f64::max);
        estimate.directions = directions(map, &probes, &solves.solutions, |k, _| solves.weights[k])?;
    }
    Ok(estimate)
}

/// Improves a solution of A w = v by conjugate gradients on its residual, and returns the new relative residual. What does not get better stays.
fn improve<T: Real + Element>(
    map: &mut JacobianMap<'_, T>,
    sigma: f64,
    settings: &Settings,
    probe: &[T],
    solution: &mut [T],
    residual: f64,
) -> Result<f64> {
    let remainder = |map: &mut JacobianMap<'_, T>, solution: &[T]| -> Result<(Vec<T>, f64)> {
        let mut image = vec![T::from_f64(0.0); map.rows()];
        let mut back = vec![T::from_f64(0.0); map.cols()];
        map.apply(1, solution, &mut image)?;
        map.apply_transpose(1, &image, &mut back)?;
        let (mut squares, mut length) = (0.0, 0.0);
        for ((b, w), v) in back.iter_mut().zip(solution).zip(probe) {
            let left = v.to_f64() - b.to_f64() - sigma * sigma * w.to_f64();
            squares += left * left;
            length += v.to_f64() * v.to_f64();
            *b = T::from_f64(left);
        }
        Ok((back, (squares / length).sqrt()))
    };
    let (right_hand_side, found) = remainder(map, solution)?;
    if found <= settings.tolerance {
        return Ok(found);
    }
    let options =
        CgOptions { sigma, tolerance: (settings.tolerance / found).min(0.5), max_iterations: settings.iterations };
    let report = conjugate_gradients(map, 1, &right_hand_side, &options)?;
    let improved: Vec<T> =
        solution.iter().zip(&report.solutions).map(|(w, c)| T::from_f64(w.to_f64() + c.to_f64())).collect();
    let (_, after) = remainder(map, &improved)?;
    if after < residual {
        solution.copy_from_slice(&improved);
    }
    Ok(after.min(residual))
}
