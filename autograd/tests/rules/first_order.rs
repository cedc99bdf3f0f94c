//! First derivatives of every primitive.

use crate::reference::check::{assert_close, finite_difference, finite_gradient};
use crate::reference::table::weights;
use crate::reference::{evaluate_reals, table};
use autograd::DType;

/// Step error and rounding of the differences, measured at about 1e-11 for numbers of size 1.
const DIFFERENCES: f64 = 1e-8;

#[test]
fn tangents_agree_with_finite_differences_for_every_primitive() {
    for case in table::all().iter().filter(|case| case.differentiable) {
        let mut recorded = case.record(DType::F64);
        let mut bindings = recorded.bind(&case.values(1));
        // One input at a time, and all of them together.
        let mut subsets: Vec<Vec<usize>> = recorded.smooth.iter().map(|&k| vec![k]).collect();
        subsets.push(recorded.smooth.clone());
        for subset in subsets {
            let pairs: Vec<_> = subset
                .iter()
                .map(|&k| {
                    let x = recorded.inputs[k];
                    (x, recorded.probe(x, k as u64, &mut bindings))
                })
                .collect();
            let directions: Vec<_> = pairs.iter().map(|(x, t)| (*x, bindings[t].reals().to_vec())).collect();
            let expected = &finite_difference(&recorded.tape, &[recorded.output], &bindings, &directions)[0];
            let tangent = recorded.tape.jvp(&[recorded.output], &pairs).unwrap()[0];
            let found = match tangent {
                Some(tangent) => evaluate_reals(&recorded.tape, &[tangent], &bindings).remove(0),
                None => vec![0.0; expected.len()],
            };
            let what = format!("{}: tangent along inputs {subset:?}", case.name);
            assert_close(&what, recorded.tape.shape(recorded.output), &found, expected, DIFFERENCES);
        }
    }
}

#[test]
fn gradients_of_probe_weighted_results_agree_with_finite_differences_for_every_primitive() {
    for case in table::all().iter().filter(|case| case.differentiable) {
        let mut recorded = case.record(DType::F64);
        let mut bindings = recorded.bind(&case.values(2));
        let output = recorded.output;
        let probe = recorded.probe(output, 5, &mut bindings);
        let value = recorded.tape.inner(output, probe).unwrap();
        let inputs = recorded.smooth_inputs();
        let gradients = recorded.tape.grad(value, &inputs).unwrap();
        let found = evaluate_reals(&recorded.tape, &gradients, &bindings);
        for (k, (&x, found)) in inputs.iter().zip(&found).enumerate() {
            let expected = finite_gradient(&recorded.tape, value, &bindings, x);
            let what = format!("{}: gradient of input {k}", case.name);
            assert_close(&what, recorded.tape.shape(x), found, &expected, DIFFERENCES);
        }
    }
}

#[test]
fn every_linearisation_and_its_transpose_are_adjoint() {
    for case in table::all() {
        let mut recorded = case.record(DType::F64);
        let mut bindings = recorded.bind(&case.values(3));
        let inputs = recorded.smooth_inputs();
        let linear = recorded.tape.linearize(&[recorded.output], &inputs).unwrap();
        for (k, &v) in linear.inputs.iter().enumerate() {
            let count = recorded.tape.elements(v);
            bindings.insert(v, crate::reference::Value::Real(weights(count, 11 + k as u64)));
        }
        let u = recorded.probe(recorded.output, 29, &mut bindings);
        let back = linear.transpose(&mut recorded.tape, &[u]).unwrap();
        let read = |var| evaluate_reals(&recorded.tape, &[var], &bindings).remove(0);
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
        let forward = linear.outputs[0].map_or(0.0, |lv| dot(&read(lv), &read(u)));
        let mut reverse = 0.0;
        let mut size = 1.0_f64;
        for (&v, back) in linear.inputs.iter().zip(&back) {
            if let Some(back) = *back {
                let term = dot(&read(v), &read(back));
                size = size.max(term.abs());
                reverse += term;
            }
        }
        assert!(
            (forward - reverse).abs() <= 1e-12 * size,
            "{}: <L v, u> = {forward:e} but <v, L^T u> = {reverse:e}",
            case.name
        );
    }
}

#[test]
fn a_linearisation_with_tangents_substituted_is_the_jvp() {
    for case in table::all() {
        let mut recorded = case.record(DType::F64);
        let mut bindings = recorded.bind(&case.values(4));
        let inputs = recorded.smooth_inputs();
        let linear = recorded.tape.linearize(&[recorded.output], &inputs).unwrap();
        let tangents: Vec<_> =
            inputs.iter().enumerate().map(|(k, &x)| recorded.probe(x, k as u64, &mut bindings)).collect();
        let pairs: Vec<_> = inputs.iter().copied().zip(tangents.iter().copied()).collect();
        let direct = recorded.tape.jvp(&[recorded.output], &pairs).unwrap()[0];
        assert_eq!(direct.is_some(), linear.outputs[0].is_some(), "{}", case.name);
        let (Some(direct), Some(program)) = (direct, linear.outputs[0]) else { continue };
        let replacements: Vec<_> = linear.inputs.iter().copied().zip(tangents).collect();
        let substituted = recorded.tape.substitute(&[program], &replacements).unwrap()[0];
        // Hash-consing makes them the very same node.
        assert_eq!(substituted, direct, "{}", case.name);
    }
}
