//! What quadrature does to be accurate enough, and what the one-value bounds say before they have converged.

use crate::cases::{Case, half_log_det, large, singular_values, with_map};
use livi::activation::Activation;
use livi::entropy::{Estimate, Method, Settings, Target, estimate};
use livi::sampler::MlpSampler;
use rand::SeedableRng;
use rand::rngs::StdRng;

fn run(case: &Case, method: Method, sigma: f64, settings: &Settings) -> Estimate {
    with_map::<f64, _>(case.sampler.as_ref(), &case.parameters, &case.latent, 4, |map| {
        estimate(method, map, sigma, settings, &mut StdRng::seed_from_u64(3)).unwrap()
    })
}

fn exact(case: &Case, sigma: f64) -> f64 {
    half_log_det(&singular_values(case.sampler.as_ref(), &case.parameters, &case.latent), sigma)
}

fn quadrature() -> Settings {
    Settings { probes: 48, steps: 30, directions: false, ..Settings::default() }
}

#[test]
fn probes_are_added_until_the_target_is_met_and_no_further() {
    for case in &large() {
        let all = run(case, Method::Slq, 0.1, &quadrature());
        let error = |found: &Estimate| found.standard_error + 0.5 * (found.upper.unwrap() - found.lower.unwrap());
        for target in [Target::Nats(2.0 * error(&all)), Target::Relative(2.0 * error(&all) / all.half_log_det.abs())] {
            let settings = Settings { target: Some(target), ..quadrature() };
            let found = run(case, Method::Slq, 0.1, &settings);
            assert!(found.products < all.products, "{}", case.name);
            assert!(error(&found) < 2.1 * error(&all), "{}: {found:?}", case.name);
        }
    }
}

#[test]
fn a_target_out_of_reach_takes_all_probes() {
    let case = &large()[0];
    let settings = Settings { target: Some(Target::Nats(1e-9)), probes: 12, ..quadrature() };
    let all = run(case, Method::Slq, 0.1, &Settings { target: None, ..settings });
    let found = run(case, Method::Slq, 0.1, &settings);
    assert_eq!((found.products, found.half_log_det), (all.products, all.half_log_det));
}

#[test]
fn with_deflation_the_bracket_holds_and_the_spread_is_smaller() {
    for case in &large() {
        let sigma = 0.05;
        let truth = exact(case, sigma);
        let plain = run(case, Method::Slq, sigma, &quadrature());
        let deflated = run(case, Method::Slq, sigma, &Settings { deflate: 8, ..quadrature() });
        let margin = 4.0 * deflated.standard_error;
        let (lower, upper) = (deflated.lower.unwrap() - margin, deflated.upper.unwrap() + margin);
        assert!(lower <= truth && truth <= upper, "{}: {truth} {deflated:?}", case.name);
        assert!(deflated.standard_error < 1.1 * plain.standard_error, "{}: {plain:?} {deflated:?}", case.name);
    }
}

#[test]
fn a_target_that_is_not_positive_is_refused() {
    let case = &large()[0];
    let settings = Settings { target: Some(Target::Nats(0.0)), ..quadrature() };
    let message = with_map::<f64, _>(case.sampler.as_ref(), &case.parameters, &case.latent, 1, |map| {
        estimate(Method::Slq, map, 0.1, &settings, &mut StdRng::seed_from_u64(3)).unwrap_err().to_string()
    });
    assert!(message.starts_with("target: is 0"), "{message}");
}

#[test]
fn before_convergence_the_certified_ends_are_those_that_any_spectrum_leaves_possible() {
    let case = Case::new("wide", MlpSampler::new(420, &[450], 500, Activation::Tanh).unwrap(), 20);
    let values = singular_values(case.sampler.as_ref(), &case.parameters, &case.latent);
    let (d, sigma) = (420.0, 0.05_f64);
    for steps in [2, 5, 20, 40, 80] {
        let settings = Settings { steps, iterations: 0, tolerance: 1e-9, directions: false, ..Settings::default() };
        let smallest = run(&case, Method::Smallest, sigma, &settings);
        let bound = 0.5 * d * (values[419] * values[419] + sigma * sigma).ln();
        assert!(
            smallest.lower.unwrap() <= bound && smallest.half_log_det >= bound,
            "{steps}: {smallest:?} {bound} {:?}",
            &values[417..]
        );
        // In so few steps nothing but sigma is certain.
        assert!(steps > 20 || (smallest.lower.unwrap() - d * sigma.ln()).abs() < 1e-9, "{steps}");
        let truth = 0.5 * d * (values[0] * values[0] + sigma * sigma).ln();
        let largest = run(&case, Method::Largest, sigma, &settings);
        assert!(largest.upper.is_none_or(|upper| upper >= truth - 1e-9), "{steps}");
        assert_eq!(largest.upper.is_some(), steps >= 20, "{steps}");
    }
}
