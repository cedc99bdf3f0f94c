//! Products with the folded and the unfolded Jacobian.

use crate::cases::{Case, dense_jacobian, fill, large, singular_values, small, uniform, with_map};
use autograd::{DType, Element, Machine, Tape, Var};
use livi::activation::Activation;
use livi::entropy::{JacobianPrograms, Spectrum};
use livi::sampler::{MatMulSampler, initial_parameters};
use livi::spectral::{LinearMap, Real};

fn largest_difference(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(x, y)| (x - y).abs()).fold(0.0, f64::max)
}

fn spectrum_difference<T: Real + Element>(case: &Case) -> f64 {
    let (parameters, latent) = case.rounded();
    let truth = singular_values(case.sampler.as_ref(), &parameters, &latent);
    let found = with_map::<T, _>(case.sampler.as_ref(), &parameters, &latent, 8, |map| Spectrum::compute(map).unwrap());
    largest_difference(&found.values, &truth) / truth[0]
}

#[test]
fn the_folded_map_has_the_singular_values_of_the_jacobian() {
    for case in small().iter().chain(&large()) {
        assert!(spectrum_difference::<f64>(case) < 1e-13, "{}: {}", case.name, spectrum_difference::<f64>(case));
        assert!(spectrum_difference::<f32>(case) < 1e-6, "{}: {}", case.name, spectrum_difference::<f32>(case));
    }
}

#[test]
fn the_folded_map_has_no_more_rows_than_the_jacobian_and_fewer_where_the_last_layer_widens() {
    let rows =
        |case: &Case| with_map::<f64, _>(case.sampler.as_ref(), &case.parameters, &case.latent, 1, |map| map.rows());
    for case in small() {
        assert!(rows(&case) <= case.m(), "{}", case.name);
    }
    let cases = small();
    let find = |name: &str| rows(cases.iter().find(|case| case.name == name).unwrap());
    assert_eq!(find("mlp"), 12);
    assert_eq!(find("mlp with a bottleneck"), 3);
    assert_eq!(find("mlp with more hidden units than weights"), 11);
    // Six whole rows fold to 5 x 6, their hidden size; the seventh stays a row of six.
    assert_eq!(find("mm cut to some rows and a part of one"), 30 + 6);
    assert_eq!(find("mm cut to less than a row"), 6);
}

#[test]
fn a_cut_sampler_is_the_whole_one_without_its_last_weights() {
    let whole = MatMulSampler::new([3, 2], [5, 6], 1, &[[8, 9]], Activation::Elu).unwrap();
    let parameters = initial_parameters(&whole, 5);
    let latent = uniform(6, 6);
    let all = dense_jacobian(&whole, &parameters, &latent);
    for m in [1, 8, 9, 10, 64, 72] {
        let cut = whole.clone().cut(m).unwrap();
        let kept = dense_jacobian(&cut, &parameters, &latent);
        assert!((&kept - all.subrows(0, m)).norm_max() < 1e-15, "{m}");
    }
}

#[test]
fn a_cut_that_keeps_nothing_or_more_than_there_is_or_spares_a_whole_matrix_is_refused() {
    let one = MatMulSampler::new([3, 2], [5, 6], 1, &[[8, 9]], Activation::Elu).unwrap();
    let two = MatMulSampler::new([3, 2], [5, 6], 1, &[[8, 9], [1, 4]], Activation::Elu).unwrap();
    let message = |sampler: &MatMulSampler, m| sampler.clone().cut(m).unwrap_err().to_string();
    assert_eq!(message(&one, 0), "sampler: 0 of 72 outputs cannot be kept, expected 1 to 72");
    assert_eq!(message(&one, 73), "sampler: 73 of 72 outputs cannot be kept, expected 1 to 72");
    assert_eq!(message(&two, 72), "sampler: 72 of 76 outputs cannot be kept, expected 73 to 76");
}

#[test]
fn a_product_with_the_map_and_its_transpose_is_one_with_the_dense_gram_matrix_for_every_number_of_vectors() {
    for case in small() {
        let d = case.d();
        let dense = dense_jacobian(case.sampler.as_ref(), &case.parameters, &case.latent);
        let gram = dense.transpose() * &dense;
        with_map::<f64, _>(case.sampler.as_ref(), &case.parameters, &case.latent, 3, |map| {
            for count in [1, 2, 3, 4, 5, 7] {
                let vectors = uniform(count * d, count as u64);
                let (mut images, mut backs) = (vec![0.0; count * map.rows()], vec![0.0; count * d]);
                map.apply(count, &vectors, &mut images).unwrap();
                map.apply_transpose(count, &images, &mut backs).unwrap();
                for (vector, back) in vectors.chunks_exact(d).zip(backs.chunks_exact(d)) {
                    for i in 0..d {
                        let truth: f64 = (0..d).map(|j| gram[(i, j)] * vector[j]).sum();
                        assert!((back[i] - truth).abs() < 1e-12, "{} {count}", case.name);
                    }
                }
            }
            assert_eq!(map.products(), 44);
        });
    }
}

#[test]
fn the_transposed_product_is_the_adjoint_of_the_folded_one() {
    for case in small() {
        with_map::<f64, _>(case.sampler.as_ref(), &case.parameters, &case.latent, 4, |map| {
            let (rows, d, count) = (map.rows(), case.d(), 6);
            let (v, u) = (uniform(count * d, 1), uniform(count * rows, 2));
            let (mut image, mut back) = (vec![0.0; count * rows], vec![0.0; count * d]);
            map.apply(count, &v, &mut image).unwrap();
            map.apply_transpose(count, &u, &mut back).unwrap();
            for k in 0..count {
                let dot = |a: &[f64], b: &[f64], n| (k * n..(k + 1) * n).map(|i| a[i] * b[i]).sum::<f64>();
                assert!((dot(&image, &u, rows) - dot(&v, &back, d)).abs() < 1e-12, "{}", case.name);
            }
        });
    }
}

#[test]
fn new_latents_and_new_weights_take_effect_without_new_plans() {
    for case in small() {
        let sampler = case.sampler.as_ref();
        let mut tape = Tape::new();
        let vars: Vec<Var> = sampler.parameters().iter().map(|p| tape.input(&p.shape, DType::F64)).collect();
        let programs = JacobianPrograms::record(&mut tape, sampler, &vars, DType::F64, 2).unwrap();
        let mut machine = Machine::cpu(2).unwrap();
        let jacobian = programs.load(&mut machine).unwrap();
        for round in 0..2 {
            let parameters: Vec<Vec<f64>> =
                case.parameters.iter().map(|p| p.iter().map(|x| x * (1.0 + f64::from(round))).collect()).collect();
            fill(&mut machine, &vars, &parameters);
            jacobian.fold(&mut machine).unwrap();
            for seed in 0..2 {
                let latent = uniform(case.d(), seed);
                jacobian.linearise(&mut machine, &latent).unwrap();
                let found = Spectrum::compute(&mut jacobian.map::<f64>(&mut machine)).unwrap();
                let truth = singular_values(sampler, &parameters, &latent);
                assert!(largest_difference(&found.values, &truth) < 1e-12 * truth[0], "{}", case.name);
            }
        }
    }
}

#[test]
fn slices_and_latents_of_a_wrong_length_are_refused() {
    let case = &small()[1];
    with_map::<f64, _>(case.sampler.as_ref(), &case.parameters, &case.latent, 2, |map| {
        let error = map.apply(2, &[0.0; 11], &mut [0.0; 24]).unwrap_err();
        assert_eq!(error.to_string(), "vectors: has 11 numbers, expected 2 x 6");
    });
    let mut tape = Tape::new();
    let vars: Vec<Var> = case.sampler.parameters().iter().map(|p| tape.input(&p.shape, DType::F64)).collect();
    assert!(JacobianPrograms::record(&mut tape, case.sampler.as_ref(), &vars, DType::F64, 0).is_err());
    let programs = JacobianPrograms::record(&mut tape, case.sampler.as_ref(), &vars, DType::F64, 1).unwrap();
    let mut machine = Machine::cpu(1).unwrap();
    let jacobian = programs.load(&mut machine).unwrap();
    let error = jacobian.linearise(&mut machine, &[0.0; 3]).unwrap_err();
    assert_eq!((error.to_string().as_str(), error.exit_code()), ("latent: has 3 numbers, expected 6", 2));
}
