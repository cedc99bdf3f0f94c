//! Estimates at several latents together against those at one after another.

use crate::cases::{Case, large, small, uniform, with_map, with_maps};
use livi::activation::Activation;
use livi::entropy::{Estimate, Method, Settings, estimate, estimates, takes_several};
use livi::sampler::MatMulSampler;
use livi::spectral::LinearMap;
use rand::SeedableRng;
use rand::rngs::StdRng;

const SAMPLES: usize = 3;

/// A sampler with more latents than a whole spectrum is computed for.
fn beyond_full_depth() -> Case {
    Case::new("mm", MatMulSampler::sized([21, 20], [22, 23], 0, 600, Activation::Elu).unwrap(), 40)
}

fn one_after_another(case: &Case, method: Method, settings: &Settings, latents: &[f64]) -> Vec<Estimate> {
    let mut generator = StdRng::seed_from_u64(5);
    let sampler = case.sampler.as_ref();
    latents
        .chunks_exact(case.d())
        .map(|z| {
            with_map::<f64, _>(sampler, &case.parameters, z, 2, |map| {
                estimate(method, map, 0.1, settings, &mut generator).unwrap()
            })
        })
        .collect()
}

fn check(case: &Case, method: Method, settings: &Settings) {
    let latents = uniform(SAMPLES * case.d(), 8);
    let separate = one_after_another(case, method, settings, &latents);
    let together = with_maps::<f64, _>(case.sampler.as_ref(), &case.parameters, &latents, SAMPLES, 2, |map| {
        estimates(method, map, 0.1, settings, &mut StdRng::seed_from_u64(5)).unwrap()
    });
    assert_eq!(together.len(), SAMPLES);
    for (a, b) in together.iter().zip(&separate) {
        let close = |x: f64, y: f64| (x - y).abs() < 1e-8 * (1.0 + y.abs());
        assert!(close(a.half_log_det, b.half_log_det), "{}: {a:?} {b:?}", case.name);
        assert!(close(a.lower.unwrap_or(0.0), b.lower.unwrap_or(0.0)), "{}", case.name);
        assert!(close(a.upper.unwrap_or(0.0), b.upper.unwrap_or(0.0)), "{}", case.name);
        assert_eq!(a.directions.len(), b.directions.len());
        for (p, q) in a.directions.iter().zip(&b.directions) {
            let scale = q.w.iter().map(|x| x.abs()).fold(1.0, f64::max);
            assert!(p.w.iter().zip(&q.w).all(|(x, y)| (x - y).abs() < 1e-6 * scale), "{}", case.name);
            assert!(close(p.factor, q.factor), "{}", case.name);
        }
    }
}

#[test]
fn quadrature_at_several_latents_is_that_at_one_after_another() {
    let settings = Settings { probes: 5, steps: 6, iterations: 100, tolerance: 1e-10, ..Settings::default() };
    for case in small().iter().chain(&large()[2..3]) {
        check(case, Method::Slq, &settings);
    }
}

#[test]
fn extreme_singular_values_at_several_latents_are_those_at_one_after_another() {
    let case = beyond_full_depth();
    let settings = Settings { steps: 30, iterations: 60, tolerance: 1e-2, ..Settings::default() };
    check(&case, Method::Largest, &settings);
    check(&case, Method::Smallest, &Settings { iterations: 0, ..settings });
}

/// Processes share their memory, which says nothing of what ran in it before.
#[test]
fn estimates_do_not_depend_on_those_before_them() {
    let case = beyond_full_depth();
    let latents = uniform(SAMPLES * case.d(), 8);
    let settings = Settings { steps: 5, iterations: 0, tolerance: 1e-2, ..Settings::default() };
    let kinds = [
        (Method::Smallest, settings),
        (Method::Slq, Settings { probes: 1, ..settings }),
        (Method::Largest, Settings { steps: 9, ..settings }),
    ];
    with_maps::<f64, _>(case.sampler.as_ref(), &case.parameters, &latents, SAMPLES, 2, |map| {
        let mut run = |kind: usize, seed: u64| {
            let (method, settings) = &kinds[kind];
            let found = estimates(*method, map, 0.1, settings, &mut StdRng::seed_from_u64(seed)).unwrap();
            let numbers = |x: &Estimate| {
                let directions = x.directions.iter().flat_map(|d| d.v.iter().chain(&d.w).chain([&d.factor]).copied());
                let values = [Some(x.half_log_det), x.lower, x.upper, x.residual].into_iter().flatten();
                values.chain(directions).map(f64::to_bits).collect::<Vec<_>>()
            };
            found.iter().flat_map(numbers).collect::<Vec<_>>()
        };
        let first = [0, 1, 2].map(|kind| run(kind, 5));
        // Each after itself with other numbers, and after each of the others.
        for (kind, before) in (0..3).flat_map(|kind| (0..3).map(move |before| (kind, before))) {
            run(before, 6);
            assert!(run(kind, 5) == first[kind], "{:?} after {:?}", kinds[kind].0, kinds[before].0);
        }
    });
}

#[test]
fn all_probes_of_all_latents_take_one_run_a_step() {
    let case = &small()[1];
    let latents = uniform(SAMPLES * case.d(), 8);
    let settings = Settings { probes: 2, steps: 4, directions: false, ..Settings::default() };
    with_maps::<f64, _>(case.sampler.as_ref(), &case.parameters, &latents, SAMPLES, 2, |map| {
        let found = estimates(Method::Slq, map, 0.1, &settings, &mut StdRng::seed_from_u64(5)).unwrap();
        // Four steps of two products with two probes of three latents.
        assert_eq!(map.products(), 4 * 2 * 2 * 3);
        assert!(found.iter().all(|estimate| estimate.products == 4 * 2 * 2));
        assert_eq!(map.runs(), 8);
    });
}

#[test]
fn methods_that_take_one_latent_at_a_time_refuse_several() {
    let case = &small()[1];
    let latents = uniform(SAMPLES * case.d(), 8);
    with_maps::<f64, _>(case.sampler.as_ref(), &case.parameters, &latents, SAMPLES, 2, |map| {
        for method in Method::ALL {
            let found = estimates(method, map, 0.1, &Settings::default(), &mut StdRng::seed_from_u64(5));
            assert_eq!(found.is_ok(), takes_several(method, case.d()), "{method:?}");
        }
        let mut generator = StdRng::seed_from_u64(5);
        assert!(estimate(Method::Slq, map, 0.1, &Settings::default(), &mut generator).is_err());
        let mut out = vec![0.0; 4 * map.rows()];
        let message = map.apply(4, &uniform(4 * case.d(), 1), &mut out).unwrap_err().to_string();
        assert_eq!(message, "vectors: 4 vectors, expected a multiple of the 3 latents");
    });
}
