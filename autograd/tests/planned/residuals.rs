//! Plans cut at values that an earlier plan left behind.

use super::generator::Program;
use super::harness::{PARANOID, load, machine_with, write};
use crate::reference::check::assert_close;
use crate::reference::{Bindings, Value, evaluate_reals};
use autograd::{DType, Options, Request, Tape, Var};

#[test]
fn a_plan_cut_at_residuals_agrees_with_the_whole_for_random_programs() {
    for seed in 500..530 {
        let mut program = Program::new(seed, 60, DType::F64);
        let outputs = program.some(3);
        let cuts: Vec<Var> = program.some(5).into_iter().filter(|v| !outputs.contains(v)).collect();
        let expected = evaluate_reals(&program.tape, &outputs, &program.bindings);
        for options in [Options::default(), PARANOID] {
            let mut machine = machine_with(1);
            let (first, inputs) =
                load(&mut machine, &program.tape, &Request { outputs: &cuts, options, ..Request::default() });
            let request = Request { outputs: &outputs, given: &cuts, options, ..Request::default() };
            let (second, more) = load(&mut machine, &program.tape, &request);
            let leaves = |vars: &[Var]| vars.iter().copied().filter(|v| !cuts.contains(v)).collect::<Vec<_>>();
            write(&mut machine, &leaves(&inputs), &program.bindings);
            write(&mut machine, &leaves(&more), &program.bindings);
            machine.run(first).unwrap();
            for _ in 0..2 {
                machine.run(second).unwrap();
                for (k, &y) in outputs.iter().enumerate() {
                    let found = machine.read_f64(y).unwrap();
                    let what = format!("random program {seed}, output {k} after a cut at {cuts:?}");
                    assert_close(&what, program.tape.shape(y), &found, &expected[k], 1e-11);
                }
            }
        }
    }
}

/// y = tanh(W x), with its linearisation, cut at y.
struct Layer {
    tape: Tape,
    bindings: Bindings,
    w: Var,
    y: Var,
    tangent: Var,
    pushed: Var,
    cotangent: Var,
    pulled: Var,
}

fn layer() -> Layer {
    let mut tape = Tape::new();
    let w = tape.input(&[3, 2], DType::F64);
    let x = tape.input(&[2, 4], DType::F64);
    let product = tape.matmul(w, x).unwrap();
    let y = tape.tanh(product).unwrap();
    let linear = tape.linearize(&[y], &[w]).unwrap();
    let cotangent = tape.input(&[3, 4], DType::F64);
    let pulled = linear.transpose(&mut tape, &[cotangent]).unwrap()[0].unwrap();
    let (tangent, pushed) = (linear.inputs[0], linear.outputs[0].unwrap());
    let numbers = |count: usize, seed: f64| Value::Real((0..count).map(|k| (seed + 0.7 * k as f64).sin()).collect());
    let bindings =
        [(w, numbers(6, 0.1)), (x, numbers(8, 0.2)), (tangent, numbers(6, 0.3)), (cotangent, numbers(12, 0.4))];
    Layer { tape, bindings: bindings.into_iter().collect(), w, y, tangent, pushed, cotangent, pulled }
}

#[test]
fn products_with_a_jacobian_and_its_transpose_run_from_residuals() {
    let layer = layer();
    let mut machine = machine_with(1);
    let (forward, inputs) = load(&mut machine, &layer.tape, &Request::outputs(&[layer.y]));
    write(&mut machine, &inputs, &layer.bindings);
    machine.run(forward).unwrap();
    for (output, input) in [(layer.pushed, layer.tangent), (layer.pulled, layer.cotangent)] {
        let request = Request { outputs: &[output], given: &[layer.y], ..Request::default() };
        let (plan, reads) = load(&mut machine, &layer.tape, &request);
        assert!(reads.contains(&layer.y), "the residual is read");
        assert!(!reads.contains(&layer.w), "nothing before the cut is computed");
        write(&mut machine, &[input], &layer.bindings);
        machine.run(plan).unwrap();
        let expected = evaluate_reals(&layer.tape, &[output], &layer.bindings).remove(0);
        assert_close("product", layer.tape.shape(output), &machine.read_f64(output).unwrap(), &expected, 1e-14);
    }
}

#[test]
fn what_is_given_is_believed() {
    // The residual is overwritten from outside: what follows uses the new value.
    let layer = layer();
    let mut machine = machine_with(1);
    let request = Request { outputs: &[layer.pushed], given: &[layer.y], ..Request::default() };
    let (plan, reads) = load(&mut machine, &layer.tape, &request);
    let mut bindings = layer.bindings.clone();
    bindings.insert(layer.y, Value::Real(vec![0.5; 12]));
    write(&mut machine, &reads, &bindings);
    machine.run(plan).unwrap();
    let expected = evaluate_reals(&layer.tape, &[layer.pushed], &bindings).remove(0);
    assert_close("product", &[3, 4], &machine.read_f64(layer.pushed).unwrap(), &expected, 1e-14);
}

#[test]
fn an_output_that_is_given_and_an_output_that_is_an_input_keep_their_values() {
    let layer = layer();
    for options in [Options::default(), PARANOID] {
        let mut machine = machine_with(1);
        let outputs = [layer.y, layer.w, layer.pushed];
        let request = Request { outputs: &outputs, given: &[layer.y], options, ..Request::default() };
        let (plan, reads) = load(&mut machine, &layer.tape, &request);
        let mut bindings = layer.bindings.clone();
        bindings.insert(layer.y, Value::Real(vec![0.25; 12]));
        write(&mut machine, &reads, &bindings);
        machine.run(plan).unwrap();
        let expected = evaluate_reals(&layer.tape, &[layer.pushed], &bindings).remove(0);
        assert_close("product", &[3, 4], &machine.read_f64(layer.pushed).unwrap(), &expected, 1e-14);
        if reads.contains(&layer.y) {
            assert_eq!(machine.read_f64(layer.y).unwrap(), vec![0.25; 12]);
        }
    }
}
