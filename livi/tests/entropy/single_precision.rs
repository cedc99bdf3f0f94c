//! The exact entropy of samplers in f32 whose Jacobians are far from conformal, beside the same in f64.

use crate::cases::{Case, evaluate, half_log_det, record_in, singular_values, small};
use crate::gradients::relative_difference;
use autograd::DType;
use livi::activation::Activation;
use livi::entropy::record_exact;
use livi::sampler::MlpSampler;

const SIGMA: f64 = 1e-3;

/// Value and gradients (through the value, and of the surrogate) at weights and latent as f32 has them.
fn exact(case: &Case, dtype: DType) -> (f64, Vec<Vec<f64>>, Vec<Vec<f64>>) {
    let mut recording = record_in(dtype, case.sampler.as_ref());
    let exact = record_exact(&mut recording.tape, &recording.recorded, SIGMA).unwrap();
    for var in [exact.half_log_det, exact.surrogate] {
        assert_eq!(recording.tape.dtype(var), dtype, "{}", case.name);
    }
    let vars = recording.parameters.clone();
    let total = recording.tape.sum_all(exact.half_log_det).unwrap();
    let mut outputs = vec![total];
    outputs.extend(recording.tape.grad(total, &vars).unwrap());
    outputs.extend(recording.tape.grad(exact.surrogate, &vars).unwrap());
    let (parameters, latent) = case.rounded();
    let mut values = evaluate(&recording, &outputs, &parameters, &latent);
    let surrogate = values.split_off(1 + vars.len());
    let through = values.split_off(1);
    (values[0][0], through, surrogate)
}

/// Samplers whose latents do nearly the same in the first layer, so that all singular values but one are small. (Columns of different lengths would be
/// no test: a Gram matrix is precise to those of each pair.)
fn nearly_collinear() -> Vec<Case> {
    let mlp = |d, hidden: &[usize], m| MlpSampler::new(d, hidden, m, Activation::Tanh).unwrap();
    let mut cases = small();
    cases.push(Case::new("square mlp", mlp(10, &[20, 20], 10), 40));
    cases.push(Case::new("mlp with a last layer many times taller than wide", mlp(6, &[12], 12 * 30), 41));
    // Fewer hidden units than latents: some singular values are 0, others close to sigma.
    cases.retain(|case| case.name != "mlp with a bottleneck");
    for case in &mut cases {
        let columns = case.sampler.parameters()[0].shape[1];
        for row in case.parameters[0].chunks_exact_mut(columns) {
            let first = row[0];
            row.iter_mut().for_each(|weight| *weight = first + (*weight - first) / 100.0);
        }
    }
    cases
}

#[test]
fn values_and_gradients_in_f32_are_those_of_f64_where_singular_values_spread_widely() {
    for case in &nearly_collinear() {
        let (value, through, surrogate) = exact(case, DType::F32);
        let (wanted, gradients, _) = exact(case, DType::F64);
        assert!((value - wanted).abs() <= 2e-5 * wanted.abs().max(1.0), "{}: {value} {wanted}", case.name);
        for (what, found) in [("value", &through), ("surrogate", &surrogate)] {
            let error = relative_difference(found, &gradients);
            assert!(error <= 1e-4, "{} by the {what}: {error:.1e}", case.name);
        }
    }
}

#[test]
fn a_jacobian_without_full_rank_has_its_value_in_f32() {
    for hidden in [3, 6] {
        let sampler = MlpSampler::new(8, &[hidden], 200, Activation::Tanh).unwrap();
        let mut case = Case::new("mlp with a bottleneck", sampler, 42);
        case.parameters.iter_mut().flatten().for_each(|weight| *weight *= 4.0);
        let (parameters, latent) = case.rounded();
        let wanted = half_log_det(&singular_values(case.sampler.as_ref(), &parameters, &latent), SIGMA);
        let (value, through, surrogate) = exact(&case, DType::F32);
        assert!((value - wanted).abs() <= 1e-4 * wanted.abs(), "{value} {wanted}");
        assert!(through.iter().chain(&surrogate).flatten().all(|x| x.is_finite()));
    }
}
