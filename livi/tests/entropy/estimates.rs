//! Values and brackets against dense singular values.

use crate::cases::{Case, evaluate, half_log_det, large, record, singular_values, small, with_map};
use autograd::Element;
use livi::activation::Activation;
use livi::entropy::{Constants, Estimate, Method, Settings, combine, estimate, record_exact};
use livi::sampler::MlpSampler;
use livi::spectral::Real;
use rand::SeedableRng;
use rand::rngs::StdRng;

const SIGMAS: [f64; 4] = [1e-3, 0.03, 0.3, 2.0];

fn run<T: Real + Element>(case: &Case, method: Method, sigma: f64, settings: &Settings) -> Estimate {
    let (parameters, latent) = case.rounded();
    with_map::<T, _>(case.sampler.as_ref(), &parameters, &latent, 8, |map| {
        estimate(method, map, sigma, settings, &mut StdRng::seed_from_u64(3)).unwrap()
    })
}

fn values_only() -> Settings {
    Settings { directions: false, ..Settings::default() }
}

/// Checks the ends of every bracket, which allow for rounding themselves, against dense singular values.
fn check_brackets<T: Real + Element>(case: &Case) {
    let (parameters, latent) = case.rounded();
    let values = singular_values(case.sampler.as_ref(), &parameters, &latent);
    for sigma in SIGMAS {
        let exact = half_log_det(&values, sigma);
        // The truth itself is known to a few digits less than f64 has.
        let margin = 1e-11 * (1.0 + exact.abs());
        let place = || format!("{} at sigma {sigma}", case.name);
        let smallest = run::<T>(case, Method::Smallest, sigma, &values_only());
        assert!(smallest.lower.unwrap() <= exact + margin && smallest.upper.is_none(), "{}", place());
        let largest = run::<T>(case, Method::Largest, sigma, &values_only());
        assert!(largest.upper.unwrap() >= exact - margin && largest.lower.is_none(), "{}", place());
        let slq = run::<T>(case, Method::Slq, sigma, &values_only());
        let (lower, upper) = (slq.lower.unwrap(), slq.upper.unwrap());
        assert!(lower <= slq.half_log_det && slq.half_log_det <= upper, "{}", place());
        let allowed = if slq.standard_error > 0.0 { 3.0 * slq.standard_error } else { 0.0 };
        assert!(lower - allowed <= exact + margin && exact - margin <= upper + allowed, "{} {slq:?} {exact}", place());
        let paper = run::<T>(case, Method::Paper, sigma, &values_only());
        assert_eq!((paper.lower, paper.upper, paper.standard_error), (None, None, 0.0));
    }
}

#[test]
fn every_bracket_holds_for_small_samplers_in_both_precisions() {
    for case in &small() {
        check_brackets::<f64>(case);
        check_brackets::<f32>(case);
    }
}

#[test]
fn every_bracket_holds_for_samplers_of_up_to_400_latents_in_both_precisions() {
    for case in &large() {
        check_brackets::<f64>(case);
        check_brackets::<f32>(case);
    }
}

#[test]
fn the_one_value_bounds_are_those_of_the_extreme_dense_singular_values() {
    for case in &small() {
        let (parameters, latent) = case.rounded();
        let values = singular_values(case.sampler.as_ref(), &parameters, &latent);
        let bound = |s: f64| 0.5 * values.len() as f64 * (s * s + 0.01).ln();
        let smallest = run::<f64>(case, Method::Smallest, 0.1, &values_only()).half_log_det;
        let largest = run::<f64>(case, Method::Largest, 0.1, &values_only()).half_log_det;
        assert!((smallest - bound(values[values.len() - 1])).abs() < 1e-11, "{}", case.name);
        assert!((largest - bound(values[0])).abs() < 1e-11, "{}", case.name);
    }
}

#[test]
fn as_many_probes_as_latents_make_quadrature_exact_with_enough_steps() {
    for case in &small() {
        let (parameters, latent) = case.rounded();
        let values = singular_values(case.sampler.as_ref(), &parameters, &latent);
        let settings = Settings { probes: case.d(), steps: case.d(), ..values_only() };
        let found = run::<f64>(case, Method::Slq, 0.05, &settings);
        assert!((found.half_log_det - half_log_det(&values, 0.05)).abs() < 1e-10, "{}", case.name);
        assert_eq!(found.standard_error, 0.0);
    }
}

#[test]
fn as_many_probes_as_latents_bracket_the_exact_value_at_every_depth() {
    for case in &small() {
        let (parameters, latent) = case.rounded();
        let exact = half_log_det(&singular_values(case.sampler.as_ref(), &parameters, &latent), 0.05);
        for steps in 1..=case.d() {
            let settings = Settings { probes: case.d(), steps, ..values_only() };
            let found = run::<f64>(case, Method::Slq, 0.05, &settings);
            let margin = 1e-11 * (1.0 + exact.abs());
            let (lower, upper) = (found.lower.unwrap(), found.upper.unwrap());
            assert!(lower <= exact + margin && exact <= upper + margin, "{} {steps}", case.name);
        }
    }
}

#[test]
fn the_recorded_exact_value_the_whole_spectrum_and_dense_singular_values_agree() {
    for case in small().iter().chain(&large()) {
        for sigma in [0.03, 1.0] {
            let (parameters, latent) = case.rounded();
            let truth = half_log_det(&singular_values(case.sampler.as_ref(), &parameters, &latent), sigma);
            let spectrum = run::<f64>(case, Method::Exact, sigma, &values_only()).half_log_det;
            let mut recording = record(case.sampler.as_ref());
            let exact = record_exact(&mut recording.tape, &recording.recorded, sigma).unwrap();
            let recorded = evaluate(&recording, &[exact.half_log_det], &parameters, &latent)[0][0];
            let tolerance = 1e-10 * (1.0 + truth.abs());
            assert!((spectrum - truth).abs() < tolerance, "{}: {spectrum} {truth}", case.name);
            assert!((recorded - truth).abs() < tolerance, "{}: {recorded} {truth}", case.name);
        }
    }
}

#[test]
fn beyond_full_depth_the_krylov_bounds_keep_their_sides() {
    let case = Case::new("wide", MlpSampler::new(420, &[450], 500, Activation::Tanh).unwrap(), 20);
    let (parameters, latent) = case.rounded();
    let values = singular_values(case.sampler.as_ref(), &parameters, &latent);
    let sigma = 0.05;
    let exact = half_log_det(&values, sigma);
    let settings = Settings { steps: 60, iterations: 300, tolerance: 1e-3, ..values_only() };
    let smallest = run::<f64>(&case, Method::Smallest, sigma, &settings);
    assert!(smallest.lower.unwrap() <= exact && smallest.half_log_det <= exact);
    let largest = run::<f64>(&case, Method::Largest, sigma, &settings);
    assert!(largest.upper.unwrap() >= exact && largest.half_log_det >= exact);
    let bound = 210.0 * (values[0] * values[0] + sigma * sigma).ln();
    assert!(largest.half_log_det <= bound + 1e-9 && bound <= largest.upper.unwrap() + 1e-9);
}

#[test]
fn products_count_every_vector_once() {
    let case = &small()[1];
    let settings = Settings { probes: 3, steps: 4, ..values_only() };
    // Three probes of four steps, J' and its transpose each.
    assert_eq!(run::<f64>(case, Method::Slq, 0.1, &settings).products, 24);
    // Six unit vectors and a residual.
    assert_eq!(run::<f64>(case, Method::Smallest, 0.1, &settings).products, 8);
    assert_eq!(run::<f64>(case, Method::Exact, 0.1, &settings).products, 6);
}

#[test]
fn settings_and_sigma_out_of_range_are_refused_by_name() {
    let case = &small()[1];
    let refused = |sigma: f64, settings: Settings| {
        with_map::<f64, _>(case.sampler.as_ref(), &case.parameters, &case.latent, 1, |map| {
            estimate(Method::Slq, map, sigma, &settings, &mut StdRng::seed_from_u64(0)).unwrap_err().to_string()
        })
    };
    assert!(refused(0.0, Settings::default()).starts_with("sigma: is 0"));
    assert!(refused(f64::NAN, Settings::default()).starts_with("sigma: is NaN"));
    assert!(refused(1.0, Settings { probes: 0, ..Settings::default() }).starts_with("probes: is 0"));
    assert!(refused(1.0, Settings { steps: 0, ..Settings::default() }).starts_with("steps: is 0"));
    assert!(refused(1.0, Settings { tolerance: -1.0, ..Settings::default() }).starts_with("tolerance: is -1"));
    assert!(combine(Method::Slq, Constants::new(3, 2, 0.1), &[]).is_err());
}
