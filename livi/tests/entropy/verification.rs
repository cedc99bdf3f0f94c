//! `verify` on samplers of every kind.

use crate::cases::{Case, half_log_det, large, singular_values, small, uniform};
use autograd::DType;
use livi::Result;
use livi::activation::Activation;
use livi::device::processor;
use livi::entropy::{Constants, GramPrograms, Method, Settings};
use livi::sampler::MatMulSampler;
use livi::verify::{Verification, verify, verify_within};

fn run(case: &Case, latents: usize, sigma: f64, dtype: DType) -> Result<Verification> {
    let latents = uniform(latents * case.d(), 3);
    let settings = Settings::default();
    verify(case.sampler.as_ref(), &case.parameters, &latents, sigma, &Method::ALL, &settings, dtype, 1)
}

#[test]
fn every_claim_holds_on_small_samplers() {
    for case in &small() {
        for sigma in [1e-3, 0.05, 1.0] {
            for dtype in [DType::F64, DType::F32] {
                let found = run(case, 3, sigma, dtype).unwrap();
                assert!(found.violations().is_empty(), "{} {dtype}:\n{found}", case.name);
            }
        }
    }
}

#[test]
fn every_claim_holds_on_samplers_of_up_to_400_latents() {
    for case in &large() {
        for (sigma, dtype) in [(1e-2, DType::F64), (0.1, DType::F32)] {
            let found = run(case, 1, sigma, dtype).unwrap();
            assert!(found.violations().is_empty(), "{} {dtype}:\n{found}", case.name);
        }
    }
}

/// Three probes tell their own standard error badly: three of those are exceeded every tenth time.
#[test]
fn brackets_of_few_probes_raise_no_false_alarms() {
    let case = &large()[0];
    let settings = Settings { probes: 3, ..Settings::default() };
    let mut beyond_three = 0;
    for seed in 0..60 {
        let (parameters, latent) = (&case.parameters, &case.latent);
        let methods = [Method::Slq];
        let found =
            verify(case.sampler.as_ref(), parameters, latent, 0.1, &methods, &settings, DType::F64, seed).unwrap();
        assert!(found.violations().is_empty(), "seed {seed}:\n{found}");
        let row = found.methods.iter().find(|row| row.method == "slq").unwrap();
        let exact = found.exact().unwrap();
        let miss = (row.lower.unwrap() - exact).max(exact - row.upper.unwrap());
        beyond_three += usize::from(miss > 3.0 * row.standard_error);
    }
    assert!(beyond_three > 0, "the seeds test nothing");
}

#[test]
fn the_exact_row_and_the_spectrum_are_means_over_dense_truth() {
    for case in &small() {
        let found = run(case, 2, 0.1, DType::F64).unwrap();
        let latents = uniform(2 * case.d(), 3);
        let mut mean = Constants::new(case.m(), case.d(), 0.1).total();
        for (z, spectrum) in latents.chunks_exact(case.d()).zip(&found.singular_values) {
            let values = singular_values(case.sampler.as_ref(), &case.parameters, z);
            mean += 0.5 * half_log_det(&values, 0.1);
            let defect = values.iter().zip(spectrum).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(defect < 1e-12 && spectrum.len() == case.d(), "{}", case.name);
        }
        let exact = found.exact().unwrap();
        assert!((exact - mean).abs() < 1e-9, "{}: {exact} {mean}", case.name);
        assert_eq!((found.m, found.d, found.latents), (case.m(), case.d(), 2));
    }
}

#[test]
fn serialised_it_has_exactly_the_documented_fields() {
    let found = run(&small()[1], 1, 0.1, DType::F64).unwrap();
    let json = serde_json::to_value(&found).unwrap();
    let keys = |value: &serde_json::Value| {
        let mut keys: Vec<String> = value.as_object().unwrap().keys().cloned().collect();
        keys.sort();
        keys.join(" ")
    };
    assert_eq!(keys(&json), "constants d latents m methods sigma");
    let names: Vec<&str> =
        json["methods"].as_array().unwrap().iter().map(|row| row["method"].as_str().unwrap()).collect();
    assert_eq!(names, ["exact", "smallest", "largest", "slq", "paper", "interlacing", "frobenius"]);
    for row in json["methods"].as_array().unwrap() {
        assert_eq!(keys(row), "bytes lower method products residual seconds standard_error upper value");
        assert!(row["value"].is_f64());
    }
    assert_eq!(json["methods"][0]["value"].as_f64(), found.exact());
}

#[test]
fn only_the_methods_asked_for_are_run_and_up_to_400_latents_the_exact_one_always() {
    let case = &small()[1];
    let settings = Settings::default();
    let methods = [Method::Paper, Method::Smallest];
    let found =
        verify(case.sampler.as_ref(), &case.parameters, &case.latent, 0.1, &methods, &settings, DType::F64, 1).unwrap();
    let names: Vec<&str> = found.methods.iter().map(|row| row.method).collect();
    assert_eq!(names, ["exact", "paper", "smallest", "interlacing", "frobenius"]);
}

#[test]
fn the_same_seed_gives_the_same_values_whatever_methods_run_beside() {
    let case = &small()[6];
    let settings = Settings { probes: 3, ..Settings::default() };
    let value = |methods: &[Method]| {
        let found =
            verify(case.sampler.as_ref(), &case.parameters, &case.latent, 0.1, methods, &settings, DType::F64, 1);
        found.unwrap().methods.iter().find(|row| row.method == "slq").unwrap().value
    };
    assert_eq!(value(&[Method::Slq]), value(&Method::ALL));
}

#[test]
fn the_true_entropy_is_bracketed_for_small_networks_and_agrees_with_the_linearisation_of_an_affine_one() {
    let cases = small();
    let affine = cases.iter().find(|case| case.name == "affine").unwrap();
    let found = run(affine, 1, 0.5, DType::F64).unwrap();
    let (lower, upper) = found.true_entropy.unwrap().widened(3.0);
    let exact = found.exact().unwrap();
    assert!(lower <= exact && exact <= upper, "{lower} {exact} {upper}");
    let big = run(&large()[1], 1, 0.5, DType::F64).unwrap();
    assert_eq!(big.true_entropy, None);
}

#[test]
fn a_claim_that_fails_is_named_with_both_numbers_in_sentence_and_table() {
    let mut found = run(&small()[1], 1, 0.1, DType::F64).unwrap();
    let exact = found.exact().unwrap();
    let row = found.methods.iter_mut().find(|row| row.method == "smallest").unwrap();
    row.value = exact + 1.0;
    row.holds = false;
    let violations = found.violations();
    assert_eq!(violations, [format!("smallest: the lower bound {} lies above the exact {exact}", exact + 1.0)]);
    assert!(found.to_string().contains("VIOLATED: smallest: the lower bound"));
}

#[test]
fn beyond_full_depth_every_claim_holds_without_the_spectrum_and_progress_is_told() {
    let sampler = MatMulSampler::new([21, 20], [22, 23], 0, &[[28, 22]], Activation::Elu).unwrap().cut(607).unwrap();
    let case = Case::new("mm with 420 latents", sampler, 41);
    let (latents, mut lines) = (uniform(2 * case.d(), 3), Vec::new());
    for (sigma, dtype) in [(1e-2, DType::F64), (0.1, DType::F32)] {
        let settings = Settings::default();
        let (methods, memory) = (&Method::ALL, Some(100 << 20));
        let sampler = case.sampler.as_ref();
        let mut say = |line: &str| lines.push(line.to_string());
        let parameters = &case.parameters;
        let found = verify_within(
            sampler,
            parameters,
            &latents,
            sigma,
            methods,
            &settings,
            dtype,
            1,
            processor(),
            memory,
            &mut say,
        )
        .unwrap();
        assert!(found.violations().is_empty(), "{dtype}:\n{found}");
        assert!(found.singular_values.is_empty() && found.rounding > 0.0);
        let mut mean = Constants::new(case.m(), case.d(), sigma).total();
        let rounded = |x: f64| if dtype == DType::F32 { f64::from(x as f32) } else { x };
        let parameters: Vec<Vec<f64>> = parameters.iter().map(|p| p.iter().map(|&x| rounded(x)).collect()).collect();
        for z in latents.chunks_exact(case.d()) {
            let z: Vec<f64> = z.iter().map(|&x| rounded(x)).collect();
            mean += 0.5 * half_log_det(&singular_values(sampler, &parameters, &z), sigma);
        }
        let exact = found.exact().unwrap();
        assert!((exact - mean).abs() < 1e-8 * mean.abs(), "{exact} {mean}");
        assert!(found.methods.iter().all(|row| row.bytes > 0 && row.bytes < 100 << 20));
    }
    assert!(lines[0].starts_with("exact: ") && lines.contains(&"slq".to_string()), "{lines:?}");
}

/// 420 latents, in f64.
fn beyond_full_depth(methods: &[Method]) -> Verification {
    let sampler = MatMulSampler::sized([21, 20], [22, 23], 0, 607, Activation::Elu).unwrap();
    let Case { sampler, parameters, latent, .. } = Case::new("mm with 420 latents", sampler, 41);
    verify(sampler.as_ref(), &parameters, &latent, 0.1, methods, &Settings::default(), DType::F64, 1).unwrap()
}

#[test]
fn beyond_full_depth_the_exact_value_is_computed_only_if_asked_for_and_the_others_stay_the_same() {
    let all = beyond_full_depth(&Method::ALL);
    let found = beyond_full_depth(&[Method::Smallest, Method::Largest, Method::Slq]);
    assert_eq!(found.exact(), None);
    let values = |found: &Verification, names: &[&str]| -> Vec<f64> {
        let rows = found.methods.iter().filter(|row| names.contains(&row.method));
        rows.map(|row| row.value).collect()
    };
    let names = ["smallest", "largest", "slq", "interlacing"];
    assert_eq!(values(&found, &names), values(&all, &names));
    assert_eq!(found.methods.len(), names.len());
    assert!(found.methods.iter().all(|row| row.gap.is_none()));
}

#[test]
fn without_an_exact_value_bounds_are_checked_against_each_other() {
    let mut found = beyond_full_depth(&[Method::Largest]);
    assert!(found.violations().is_empty() && found.to_string().contains("no exact value asked for"), "{found}");
    let upper = found.methods[0].upper.unwrap();
    let row = found.methods.iter_mut().find(|row| row.method == "interlacing").unwrap();
    (row.value, row.holds) = (upper + 1.0, false);
    assert_eq!(
        found.violations(),
        [format!("interlacing: the lower bound {} lies above the upper bound {upper}", upper + 1.0)]
    );
}

#[test]
fn too_little_memory_is_refused_before_anything_runs() {
    let sampler = MatMulSampler::sized([21, 20], [22, 23], 0, 607, Activation::Elu).unwrap();
    let case = Case::new("mm with 420 latents", sampler, 41);
    let latent = &case.latent;
    let (sampler, parameters, settings) = (case.sampler.as_ref(), &case.parameters, Settings::default());
    let (methods, memory) = (&[Method::Exact], Some(1 << 19));
    let error = verify_within(
        sampler,
        parameters,
        latent,
        0.1,
        methods,
        &settings,
        DType::F32,
        1,
        processor(),
        memory,
        &mut |_| panic!("nothing runs"),
    )
    .unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains("524288 are allowed"), "{error}");
}

#[test]
fn krylov_spaces_that_do_not_fit_are_refused_before_the_exact_value_is_computed() {
    let sampler = MatMulSampler::sized([21, 20], [22, 23], 0, 607, Activation::Elu).unwrap();
    let case = Case::new("mm with 420 latents", sampler, 41);
    let (sampler, parameters) = (case.sampler.as_ref(), &case.parameters);
    let settings = Settings { steps: 300, ..Settings::default() };
    let memory = Some(1 << 20);
    assert!(GramPrograms::record(sampler, memory).is_ok());
    let methods = &[Method::Slq];
    let (latent, dtype) = (&case.latent, DType::F64);
    let error =
        verify_within(sampler, parameters, latent, 0.1, methods, &settings, dtype, 1, processor(), memory, &mut |_| {
            panic!("nothing runs")
        })
        .unwrap_err();
    assert!(error.to_string().contains("take fewer steps"), "{error}");
}

#[test]
fn bad_input_is_refused_by_name_with_exit_code_2() {
    let case = &small()[1];
    let sampler = case.sampler.as_ref();
    let settings = Settings::default();
    let refused = |parameters: &[Vec<f64>], latents: &[f64], sigma: f64, dtype: DType| {
        let error = verify(sampler, parameters, latents, sigma, &Method::ALL, &settings, dtype, 1).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        error.to_string()
    };
    assert!(refused(&case.parameters, &case.latent, 0.0, DType::F64).starts_with("sigma: "));
    assert!(refused(&case.parameters, &[], 0.1, DType::F64).starts_with("latents: 0 numbers"));
    assert!(refused(&case.parameters, &[0.0; 7], 0.1, DType::F64).starts_with("latents: 7 numbers"));
    assert!(refused(&case.parameters, &[f64::NAN; 6], 0.1, DType::F64).starts_with("latents: "));
    assert!(refused(&case.parameters, &case.latent, 0.1, DType::U32).starts_with("dtype: "));
    assert!(refused(&case.parameters[1..], &case.latent, 0.1, DType::F64).starts_with("sampler weights: "));
    let mut broken = case.parameters.clone();
    broken[0][3] = f64::INFINITY;
    assert!(refused(&broken, &case.latent, 0.1, DType::F64).starts_with("layers.0.weight: number 3 is inf"));
}
