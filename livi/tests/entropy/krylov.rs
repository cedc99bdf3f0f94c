//! Quadrature whose Krylov vectors stay with the machine against quadrature whose vectors lie here.

use crate::cases::{Case, half_log_det, large, singular_values, small, uniform, with_krylov, with_map};
use crate::gradients::{SIGMA, exact_gradients, gradient_of, relative_difference};
use autograd::Element;
use livi::entropy::{Estimate, Method, Settings, estimate, estimates};
use livi::spectral::Real;
use rand::SeedableRng;
use rand::rngs::StdRng;

/// Estimates at S latents, with the vectors there or here.
fn run<T: Real + Element>(
    case: &Case,
    latents: &[f64],
    block: usize,
    sigma: f64,
    settings: &Settings,
    resident: bool,
) -> Vec<Estimate> {
    let (parameters, _) = case.rounded();
    let samples = latents.len() / case.d();
    let krylov = resident.then_some(settings.steps);
    with_krylov::<T, _>(case.sampler.as_ref(), &parameters, latents, samples, block, krylov, |map| {
        estimates(Method::Slq, map, sigma, settings, &mut StdRng::seed_from_u64(3)).unwrap()
    })
}

fn compare<T: Real + Element>(case: &Case, samples: usize, block: usize, settings: &Settings, tolerance: f64) {
    let latents: Vec<f64> = uniform(samples * case.d(), 8).iter().map(|&z| f64::from(z as f32)).collect();
    let there = run::<T>(case, &latents, block, 0.1, settings, true);
    let here = run::<T>(case, &latents, block, 0.1, settings, false);
    let name = case.name;
    assert_eq!(there.len(), samples);
    for (a, b) in there.iter().zip(&here) {
        let close = |x: f64, y: f64| (x - y).abs() <= tolerance * (1.0 + y.abs());
        assert!(close(a.half_log_det, b.half_log_det), "{name}: {a:?} {b:?}");
        assert!(close(a.lower.unwrap(), b.lower.unwrap()) && close(a.upper.unwrap(), b.upper.unwrap()), "{name}");
        assert!(a.standard_error == b.standard_error || close(a.standard_error, b.standard_error), "{name}");
        assert_eq!(a.directions.len(), b.directions.len());
        for (p, q) in a.directions.iter().zip(&b.directions) {
            assert_eq!((&p.v, p.factor), (&q.v, q.factor), "{name}");
            let scale = q.w.iter().map(|x| x.abs()).fold(1.0, f64::max);
            let difference = p.w.iter().zip(&q.w).map(|(x, y)| (x - y).abs()).fold(0.0, f64::max);
            assert!(difference <= 100.0 * tolerance * scale, "{name}: {difference}");
        }
    }
}

#[test]
fn values_brackets_and_solutions_are_those_of_vectors_here_at_one_latent_and_at_several() {
    for case in small().iter().chain(&large()) {
        for (samples, block, probes) in [(1, 4, 6), (3, 2, 2)] {
            let settings = Settings { probes, steps: 7, iterations: 0, ..Settings::default() };
            compare::<f64>(case, samples, block, &settings, 1e-9);
            compare::<f32>(case, samples, block, &settings, 1e-3);
        }
    }
}

#[test]
fn brackets_hold_the_exact_value_in_both_precisions() {
    for case in small().iter().chain(&large()) {
        let (parameters, latent) = case.rounded();
        let values = singular_values(case.sampler.as_ref(), &parameters, &latent);
        for sigma in [1e-3, 0.1, 2.0] {
            let exact = half_log_det(&values, sigma);
            let settings = Settings { directions: false, ..Settings::default() };
            let found = [
                run::<f64>(case, &latent, 8, sigma, &settings, true).remove(0),
                run::<f32>(case, &latent, 8, sigma, &settings, true).remove(0),
            ];
            for slq in found {
                let (lower, upper) = (slq.lower.unwrap(), slq.upper.unwrap());
                let allowed = if slq.standard_error > 0.0 { 3.0 * slq.standard_error } else { 0.0 };
                let margin = allowed + 1e-11 * (1.0 + exact.abs());
                assert!(lower - margin <= exact && exact <= upper + margin, "{}: {slq:?} {exact}", case.name);
            }
        }
    }
}

#[test]
fn as_many_probes_as_latents_give_the_exact_value_and_gradient() {
    for case in &small() {
        let sampler = case.sampler.as_ref();
        let settings = Settings { probes: case.d(), tolerance: 1e-12, ..Settings::default() };
        let krylov = Some(settings.steps);
        let found = with_krylov::<f64, _>(sampler, &case.parameters, &case.latent, 1, case.d(), krylov, |map| {
            estimate(Method::Slq, map, SIGMA, &settings, &mut StdRng::seed_from_u64(5)).unwrap()
        });
        let exact = half_log_det(&singular_values(sampler, &case.parameters, &case.latent), SIGMA);
        assert!((found.half_log_det - exact).abs() < 1e-10, "{}", case.name);
        let gradient = gradient_of(case, &found.directions);
        assert!(relative_difference(&gradient, &exact_gradients(case).0) < 1e-9, "{}", case.name);
    }
}

#[test]
fn too_few_steps_are_made_up_for_by_conjugate_gradients_here_too() {
    for case in &small() {
        let settings =
            Settings { probes: case.d(), steps: 2, iterations: 100, tolerance: 1e-11, ..Settings::default() };
        let found =
            with_krylov::<f64, _>(case.sampler.as_ref(), &case.parameters, &case.latent, 1, 3, Some(2), |map| {
                estimate(Method::Slq, map, SIGMA, &settings, &mut StdRng::seed_from_u64(5)).unwrap()
            });
        let gradient = gradient_of(case, &found.directions);
        assert!(relative_difference(&gradient, &exact_gradients(case).0) < 1e-8, "{}", case.name);
    }
}

#[test]
fn targets_and_deflation_work_with_vectors_there() {
    let cases = large();
    let case = cases.iter().find(|case| case.name == "mm with 400 latents").unwrap();
    let (parameters, latent) = case.rounded();
    let exact = half_log_det(&singular_values(case.sampler.as_ref(), &parameters, &latent), 0.03);
    let target = Some(livi::entropy::Target::Relative(0.02));
    let settings = Settings { probes: 200, target, deflate: 5, directions: false, ..Settings::default() };
    let found = run::<f64>(case, &latent, 8, 0.03, &settings, true).remove(0);
    let reached = found.standard_error + 0.5 * (found.upper.unwrap() - found.lower.unwrap());
    assert!(reached <= 0.021 * exact.abs(), "{found:?} {exact}");
    assert!((found.half_log_det - exact).abs() <= 4.0 * reached, "{found:?} {exact}");
}

#[test]
fn products_are_counted_and_no_plan_of_single_products_runs() {
    let case = &small()[1];
    let settings = Settings { probes: 3, steps: 4, directions: false, ..Settings::default() };
    with_krylov::<f64, _>(case.sampler.as_ref(), &case.parameters, &case.latent, 1, 3, Some(4), |map| {
        let found = estimate(Method::Slq, map, 0.1, &settings, &mut StdRng::seed_from_u64(5)).unwrap();
        assert_eq!((found.products, map.products(), map.runs()), (24, 24, 0));
    });
    // Programs of another number of steps are of no use.
    with_krylov::<f64, _>(case.sampler.as_ref(), &case.parameters, &case.latent, 1, 3, Some(5), |map| {
        let found = estimate(Method::Slq, map, 0.1, &settings, &mut StdRng::seed_from_u64(5)).unwrap();
        assert_eq!((found.products, map.runs()), (24, 8));
    });
    with_map::<f64, _>(case.sampler.as_ref(), &case.parameters, &case.latent, 3, |map| {
        let found = estimate(Method::Slq, map, 0.1, &settings, &mut StdRng::seed_from_u64(5)).unwrap();
        assert_eq!((found.products, map.runs()), (24, 8));
    });
}
