//! The Monte-Carlo bracket of the true entropy.

use faer::Mat;
use livi::activation::Activation;
use livi::device::processor;
use livi::entropy::{Constants, entropy_bracket};
use livi::sampler::{MlpSampler, initial_parameters};

/// Entropy of N(b, L L^T + sigma^2 I), by the determinant of the covariance.
fn affine_entropy(weight: &[f64], m: usize, d: usize, sigma: f64) -> f64 {
    let entry = |i: usize, j: usize| {
        let product: f64 = (0..d).map(|k| weight[i * d + k] * weight[j * d + k]).sum();
        product + if i == j { sigma * sigma } else { 0.0 }
    };
    Constants::new(m, m, 1.0).gaussian + 0.5 * Mat::from_fn(m, m, entry).determinant().ln()
}

#[test]
fn the_bracket_contains_the_entropy_of_a_normal_distribution() {
    for (d, m, sigma) in [(1, 3, 0.3), (2, 4, 0.5), (2, 1, 0.4)] {
        let sampler = MlpSampler::new(d, &[], m, Activation::Elu).unwrap();
        let parameters = initial_parameters(&sampler, 4);
        let exact = affine_entropy(&parameters[0], m, d, sigma);
        let found = entropy_bracket(&sampler, &parameters, sigma, 1500, &[400], 5, processor()).unwrap()[0];
        let (lower, upper) = found.widened(3.0);
        assert!(lower < exact && exact < upper, "{d} {m}: {lower} {exact} {upper}");
        assert!(upper - lower < 0.3, "{d} {m}: {found:?}");
    }
}

#[test]
fn the_bracket_tightens_as_the_mixture_grows() {
    let sampler = MlpSampler::new(2, &[8], 5, Activation::Tanh).unwrap();
    let parameters = initial_parameters(&sampler, 6);
    let found = entropy_bracket(&sampler, &parameters, 0.1, 300, &[10, 100, 1000], 7, processor()).unwrap();
    let widths: Vec<f64> = found.iter().map(|b| b.upper - b.lower).collect();
    assert!(widths[0] > 2.0 * widths[1] && widths[1] > 2.0 * widths[2] && widths[2] > 0.0, "{widths:?}");
}

#[test]
fn brackets_of_different_sizes_and_seeds_overlap() {
    let sampler = MlpSampler::new(2, &[8], 5, Activation::Tanh).unwrap();
    let parameters = initial_parameters(&sampler, 6);
    let few = entropy_bracket(&sampler, &parameters, 0.1, 300, &[10], 8, processor()).unwrap()[0].widened(3.0);
    let many = entropy_bracket(&sampler, &parameters, 0.1, 300, &[1000], 9, processor()).unwrap()[0].widened(3.0);
    assert!(few.0 < many.1 && many.0 < few.1);
    assert!(few.0 < many.0 && many.1 < few.1);
}

#[test]
fn arguments_out_of_range_are_refused_by_name() {
    let sampler = MlpSampler::new(1, &[], 1, Activation::Elu).unwrap();
    let refused = |sigma, draws, components: &[usize]| {
        entropy_bracket(&sampler, &[vec![1.0], vec![0.0]], sigma, draws, components, 0, processor())
            .unwrap_err()
            .to_string()
    };
    assert!(refused(-1.0, 10, &[1]).starts_with("sigma: "));
    assert!(refused(1.0, 1, &[1]).starts_with("draws: "));
    assert!(refused(1.0, 10, &[]).starts_with("components: "));
    assert!(refused(1.0, 10, &[3, 2]).starts_with("components: "));
    let short = entropy_bracket(&sampler, &[vec![1.0]], 1.0, 10, &[1], 0, processor()).unwrap_err();
    assert_eq!(short.to_string(), "sampler weights: there are 1, expected 2");
}
