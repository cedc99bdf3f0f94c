//! Stochastic Lanczos quadrature of 1/2 log det(J^T J + sigma^2 I_d), with a bracket for each probe and an unbiased gradient.

use super::estimate::directions;
use super::spectrum::deterministic;
use super::{Estimate, JacobianMap, Settings};
use crate::Result;
use crate::spectral::{
    Bidiagonalisation, BracketMean, CgOptions, DominantSpace, LinearMap, ProbeBracket, ProbeKind, ProbeSolves, Real,
    SlqOptions, complement_probes, conjugate_gradients, dominant_spaces, fill_gaussian, fill_rademacher,
    orthonormal_probes, stochastic_lanczos_quadrature_by,
};
use autograd::Element;
use rand::rngs::StdRng;

/// Probes without which a spread is not trusted as a standard error.
pub(crate) const LEAST_PROBES: usize = 4;
/// Relative residual up to which a singular value is taken out by name.
const DEFLATION_TOLERANCE: f64 = 1e-3;

/// At each latent the middle of the bracket of Gauss-Radau (lower) and Gauss (upper) quadrature, both widened by what rounding of the products may
/// do, and for the gradient the probes v with their solutions w, A w = v.
///
/// The probes of all latents run together, as many of each as the map's block has room for.
pub(super) fn estimates<T: Real + Element>(
    map: &mut JacobianMap<'_, T>,
    sigma: f64,
    settings: &Settings,
    generator: &mut StdRng,
) -> Result<Vec<Estimate>> {
    let (d, samples) = (map.cols(), map.samples());
    let kind = match settings.target {
        None if settings.probes >= d && settings.deflate == 0 => ProbeKind::OrthogonalBasis,
        _ => ProbeKind::Independent,
    };
    let most = if kind == ProbeKind::OrthogonalBasis { d } else { settings.probes };
    let block = map.block().min(most);
    let steps = settings.steps;
    let spaces = match settings.deflate {
        0 => Vec::new(),
        _ if settings.directions => Vec::new(),
        at_most => {
            let mut starts = vec![T::from_f64(0.0); samples * d];
            fill_gaussian(generator, &mut starts);
            let mut workspace = map.process(samples, steps)?;
            dominant_spaces(&mut workspace, map, samples, &starts, sigma, DEFLATION_TOLERANCE, at_most.min(d - 1))?
        }
    };
    let probes = draw::<T>(generator, kind, most, samples, d, &spaces)?;
    let mut latents: Vec<Latent<'_, T>> = (0..samples).map(|s| Latent::new(kind, d, spaces.get(s))).collect();
    let resident = map.krylov(block, steps)?.map(|mut process| {
        let found = measure(&mut process, sigma, settings, &mut latents, &probes)?;
        Ok::<_, crate::Error>((found, process.products().total()))
    });
    let (used, solves) = match resident.transpose()? {
        Some((found, products)) => {
            map.count(products);
            found
        }
        None => {
            let mut process = map.process(block * samples, steps)?;
            let found = measure(&mut process.on(map)?, sigma, settings, &mut latents, &probes)?;
            map.keep(process);
            found
        }
    };
    let mut estimates = latents.iter().map(Latent::estimate).collect::<Result<Vec<_>>>()?;
    if let Some(mut solves) = solves {
        let probes = &probes[..used * samples * d];
        improve(map, sigma, settings, probes, &mut solves)?;
        for (index, residual) in solves.residuals.iter().enumerate() {
            let worst = &mut estimates[index % samples].residual;
            *worst = Some(worst.map_or(*residual, |worst| worst.max(*residual)));
        }
        let lengths: Vec<f64> = probes.chunks_exact(d).map(squared_norm).collect();
        let pairs = directions(d, probes, &solves.solutions, |k| d as f64 / (used as f64 * lengths[k]));
        for (index, pair) in pairs.into_iter().enumerate() {
            estimates[index % samples].directions.push(pair);
        }
    }
    Ok(estimates)
}

/// Runs processes from probes, as many at once as they have room for, until a target is met or all are used, and gives each latent its brackets. The
/// answer are the number of probes used for each, and solves, where directions are asked for.
fn measure<T: Real>(
    process: &mut dyn Bidiagonalisation<T>,
    sigma: f64,
    settings: &Settings,
    latents: &mut [Latent<'_, T>],
    probes: &[T],
) -> Result<(usize, Option<ProbeSolves<T>>)> {
    let (d, samples, capacity) = (process.bidiagonals().cols(), latents.len(), process.bidiagonals().capacity());
    let most = probes.len() / (samples * d);
    let options = SlqOptions {
        sigma,
        steps: settings.steps,
        block: capacity,
        // Whether they are a basis is known by the latents; interleaved with those of others it cannot be seen.
        kind: ProbeKind::Independent,
        solve: settings.directions,
    };
    let mut solves: Option<ProbeSolves<T>> = None;
    let mut used = 0;
    while used < most {
        let count = (capacity / samples).min(most - used);
        let own = &probes[used * samples * d..(used + count) * samples * d];
        let report = stochastic_lanczos_quadrature_by(process, count * samples, own, &options)?;
        for (index, bracket) in report.per_probe.into_iter().enumerate() {
            latents[index % samples].brackets.push(bracket);
        }
        match (&mut solves, report.solves) {
            (Some(all), Some(more)) => append(all, more),
            (all, more) => *all = more,
        }
        used += count;
        if let Some(target) = settings.target
            && used >= LEAST_PROBES
        {
            let errors = latents.iter().map(|latent| latent.error(target)).collect::<Result<Vec<f64>>>()?;
            if errors.iter().all(|&excess| excess <= 0.0) {
                break;
            }
        }
    }
    Ok((used, solves))
}

pub(super) fn squared_norm<T: Real>(vector: &[T]) -> f64 {
    vector.iter().map(|x| x.to_f64() * x.to_f64()).sum()
}

/// All probes: number k of latent s in row k S + s. They are drawn latent by latent.
fn draw<T: Real>(
    generator: &mut StdRng,
    kind: ProbeKind,
    count: usize,
    samples: usize,
    d: usize,
    spaces: &[DominantSpace<T>],
) -> Result<Vec<T>> {
    let mut probes = vec![T::from_f64(0.0); count * samples * d];
    for s in 0..samples {
        let own: Vec<T> = match (kind, spaces.get(s)) {
            (ProbeKind::OrthogonalBasis, _) => orthonormal_probes(generator, d, d)?,
            (ProbeKind::Independent, Some(space)) if space.count > 0 => {
                complement_probes(generator, &space.vectors, count, d)?
            }
            (ProbeKind::Independent, _) => {
                let mut own = vec![T::from_f64(0.0); count * d];
                fill_rademacher(generator, &mut own);
                own
            }
        };
        for (k, probe) in own.chunks_exact(d).enumerate() {
            let at = (k * samples + s) * d;
            probes[at..at + d].copy_from_slice(probe);
        }
    }
    Ok(probes)
}

/// What is known at one latent.
struct Latent<'a, T> {
    kind: ProbeKind,
    /// Part of the dimensions that probes are spread over.
    share: f64,
    space: Option<&'a DominantSpace<T>>,
    brackets: Vec<ProbeBracket>,
}

impl<'a, T> Latent<'a, T> {
    fn new(kind: ProbeKind, d: usize, space: Option<&'a DominantSpace<T>>) -> Self {
        let deflated = space.map_or(0, |space| space.count);
        Self { kind, share: (d - deflated) as f64 / d as f64, space, brackets: Vec::new() }
    }

    /// Value, bracket and standard error, without rounding.
    fn mean(&self) -> Result<(f64, f64, BracketMean)> {
        let mean = BracketMean::of(&self.brackets, self.kind)?;
        let (lower, upper) = self.space.map_or((0.0, 0.0), |space| (space.lower, space.upper));
        Ok((lower + self.share * mean.lower, upper + self.share * mean.upper, mean))
    }

    /// By how much standard error and half of the bracket exceed a target.
    fn error(&self, target: super::Target) -> Result<f64> {
        let (lower, upper, mean) = self.mean()?;
        Ok(self.share * mean.standard_error + 0.5 * (upper - lower) - target.nats(0.5 * (lower + upper)))
    }

    fn estimate(&self) -> Result<Estimate> {
        let (lower, upper, mean) = self.mean()?;
        let rounding = self.share * mean.rounding;
        Ok(Estimate {
            lower: Some(lower - rounding),
            upper: Some(upper + rounding),
            standard_error: self.share * mean.standard_error,
            ..deterministic(0.5 * (lower + upper), Vec::new())
        })
    }
}

fn append<T>(all: &mut ProbeSolves<T>, more: ProbeSolves<T>) {
    all.solutions.extend(more.solutions);
    all.weights.extend(more.weights);
    all.residuals.extend(more.residuals);
    all.predicted_residuals.extend(more.predicted_residuals);
}

/// Improves the solutions of A w = v whose residuals exceed the tolerance by conjugate gradients on them, all latents of a probe in lockstep. What
/// does not get better stays.
fn improve<T: Real + Element>(
    map: &mut JacobianMap<'_, T>,
    sigma: f64,
    settings: &Settings,
    probes: &[T],
    solves: &mut ProbeSolves<T>,
) -> Result<()> {
    let (d, samples, tolerance) = (map.cols(), map.samples(), settings.tolerance);
    for first in (0..solves.residuals.len()).step_by(samples) {
        // A residual that the Krylov coefficients do not predict is rounding of w: more iterations would not mend it.
        let unsolved: Vec<bool> = (first..first + samples)
            .map(|k| solves.residuals[k].min(solves.predicted_residuals[k]) > tolerance)
            .collect();
        if settings.iterations == 0 || !unsolved.contains(&true) {
            continue;
        }
        let range = first * d..(first + samples) * d;
        let probes = &probes[range.clone()];
        let solutions = &mut solves.solutions[range];
        let (mut right_hand_sides, found) = remainders(map, sigma, probes, solutions)?;
        let open: Vec<bool> = unsolved.iter().zip(&found).map(|(&open, &found)| open && found > tolerance).collect();
        for (s, open) in open.iter().enumerate() {
            if !open {
                right_hand_sides[s * d..(s + 1) * d].fill(T::from_f64(0.0));
            }
        }
        let worst = found.iter().zip(&open).filter(|(_, open)| **open).map(|(found, _)| *found).fold(0.0, f64::max);
        let mut improved = solutions.to_vec();
        if worst > 0.0 {
            let options =
                CgOptions { sigma, tolerance: (tolerance / worst).min(0.5), max_iterations: settings.iterations };
            let report = conjugate_gradients(map, samples, &right_hand_sides, &options)?;
            for (w, c) in improved.iter_mut().zip(&report.solutions) {
                *w = T::from_f64(w.to_f64() + c.to_f64());
            }
        }
        let (_, after) = remainders(map, sigma, probes, &improved)?;
        for s in (0..samples).filter(|&s| unsolved[s]) {
            if after[s] < solves.residuals[first + s] {
                solutions[s * d..(s + 1) * d].copy_from_slice(&improved[s * d..(s + 1) * d]);
                solves.residuals[first + s] = after[s];
            }
        }
    }
    Ok(())
}

/// v - A w for one probe of every latent, and its length relative to that of v.
fn remainders<T: Real + Element>(
    map: &mut JacobianMap<'_, T>,
    sigma: f64,
    probes: &[T],
    solutions: &[T],
) -> Result<(Vec<T>, Vec<f64>)> {
    let (d, samples) = (map.cols(), map.samples());
    let mut images = vec![T::from_f64(0.0); samples * map.rows()];
    let mut backs = vec![T::from_f64(0.0); samples * d];
    map.apply(samples, solutions, &mut images)?;
    map.apply_transpose(samples, &images, &mut backs)?;
    for ((b, w), v) in backs.iter_mut().zip(solutions).zip(probes) {
        *b = T::from_f64(v.to_f64() - b.to_f64() - sigma * sigma * w.to_f64());
    }
    let relative = |(left, probe): (&[T], &[T])| (squared_norm(left) / squared_norm(probe)).sqrt();
    let found = backs.chunks_exact(d).zip(probes.chunks_exact(d)).map(relative).collect();
    Ok((backs, found))
}
