//! Inputs that a run updates in place, and noise.

use super::generator::Program;
use super::harness::{PARANOID, bits, load, machine_with, write};
use crate::reference::check::assert_close;
use crate::reference::{Bindings, Value, evaluate_reals};
use autograd::{DType, Distribution, Options, Request, Tape, Var};

fn input(tape: &mut Tape, bindings: &mut Bindings, shape: &[usize], values: &[f64]) -> Var {
    let x = tape.input(shape, DType::F64);
    bindings.insert(x, Value::Real(values.to_vec()));
    x
}

/// Runs an updating plan some times and compares inputs and outputs with the interpreter after every run.
fn check(name: &str, tape: &Tape, outputs: &[Var], updates: &[(Var, Var)], bindings: &Bindings, runs: usize) {
    for options in [Options::default(), PARANOID] {
        let mut machine = machine_with(1);
        let (plan, inputs) = load(&mut machine, tape, &Request { outputs, updates, options, ..Request::default() });
        write(&mut machine, &inputs, bindings);
        let mut bindings = bindings.clone();
        for run in 0..runs {
            machine.run(plan).unwrap();
            let expected = evaluate_reals(tape, outputs, &bindings);
            let values: Vec<Var> = updates.iter().map(|u| u.1).collect();
            let new = evaluate_reals(tape, &values, &bindings);
            for (&y, expected) in outputs.iter().zip(&expected) {
                // An output that is itself an updated input holds its new value after the run.
                let updated = updates.iter().position(|u| u.0 == y);
                let expected = updated.map_or(expected, |k| &new[k]);
                let found = machine.read_f64(y).unwrap();
                assert_close(&format!("{name}: output in run {run}"), tape.shape(y), &found, expected, 1e-10);
            }
            for (&(x, _), new) in updates.iter().zip(new) {
                let found = machine.read_f64(x).unwrap();
                assert_close(&format!("{name}: update in run {run}"), tape.shape(x), &found, &new, 1e-10);
                bindings.insert(x, Value::Real(new));
            }
        }
    }
}

#[test]
fn gradient_descent_runs_in_place() {
    let (mut tape, mut bindings) = (Tape::new(), Bindings::new());
    let x = input(&mut tape, &mut bindings, &[2, 2], &[1.0, -2.0, 0.5, 3.0]);
    let a = input(&mut tape, &mut bindings, &[2, 2], &[0.9, 0.1, -0.4, 0.7]);
    let y = tape.matmul(a, x).unwrap();
    let y = tape.tanh(y).unwrap();
    let loss = tape.inner(y, y).unwrap();
    let gradient = tape.grad(loss, &[x]).unwrap()[0];
    let step = tape.scale(gradient, 0.1).unwrap();
    let new = tape.sub(x, step).unwrap();
    check("gradient descent", &tape, &[loss], &[(x, new)], &bindings, 5);
}

#[test]
fn all_updates_see_the_old_values() {
    let (mut tape, mut bindings) = (Tape::new(), Bindings::new());
    let x = input(&mut tape, &mut bindings, &[3], &[1.0, 2.0, 3.0]);
    let y = input(&mut tape, &mut bindings, &[3], &[-1.0, 0.5, 4.0]);
    let total = tape.add(x, y).unwrap();
    // An exchange, a rotation with a computed value, and outputs that read the updated inputs.
    check("exchange", &tape, &[], &[(x, y), (y, x)], &bindings, 3);
    check("exchange with an output", &tape, &[total], &[(x, y), (y, x)], &bindings, 3);
    let half = tape.scale(total, 0.5).unwrap();
    check("rotation", &tape, &[half], &[(x, y), (y, half)], &bindings, 4);
    check("to itself", &tape, &[total], &[(x, x), (y, half)], &bindings, 3);
}

#[test]
fn updates_through_views_of_the_updated_input_see_the_old_values() {
    let (mut tape, mut bindings) = (Tape::new(), Bindings::new());
    let x = input(&mut tape, &mut bindings, &[2, 2], &[1.0, 2.0, 3.0, 4.0]);
    let y = input(&mut tape, &mut bindings, &[2, 2], &[0.1, 0.2, 0.3, 0.4]);
    let turned = tape.transpose(x).unwrap();
    check("transpose in place", &tape, &[], &[(x, turned)], &bindings, 3);
    let sum = tape.add(x, turned).unwrap();
    check("symmetric part", &tape, &[turned], &[(x, sum)], &bindings, 3);
    let first = tape.slice(x, &[0, 0], &[1, 2]).unwrap();
    let second = tape.slice(x, &[1, 0], &[1, 2]).unwrap();
    let exchanged = tape.concat(&[second, first], 0).unwrap();
    check("rows exchanged", &tape, &[], &[(x, exchanged)], &bindings, 3);
    let squared = tape.matmul(x, x).unwrap();
    let small = tape.scale(squared, 0.1).unwrap();
    check("product with itself", &tape, &[], &[(x, small), (y, turned)], &bindings, 3);
}

#[test]
fn one_value_may_update_two_inputs_and_be_an_output() {
    let (mut tape, mut bindings) = (Tape::new(), Bindings::new());
    let x = input(&mut tape, &mut bindings, &[2], &[0.3, 0.6]);
    let y = input(&mut tape, &mut bindings, &[2], &[1.0, 2.0]);
    let sum = tape.add(x, y).unwrap();
    let new = tape.sin(sum).unwrap();
    check("one value twice", &tape, &[new], &[(x, new), (y, new)], &bindings, 3);
}

#[test]
fn constants_and_other_inputs_may_be_new_values() {
    let (mut tape, mut bindings) = (Tape::new(), Bindings::new());
    let x = input(&mut tape, &mut bindings, &[2], &[0.3, 0.6]);
    let y = input(&mut tape, &mut bindings, &[2], &[1.0, 2.0]);
    let seven = tape.constant(7.0, &[2], DType::F64);
    check("constant", &tape, &[y], &[(x, seven)], &bindings, 2);
    check("other input", &tape, &[x], &[(x, y)], &bindings, 2);
}

#[test]
fn random_programs_update_their_inputs() {
    for seed in 600..630 {
        let mut program = Program::new(seed, 60, DType::F64);
        let outputs = program.some(3);
        let mut updates = Vec::new();
        for &x in &program.inputs {
            let fits = |y: &&Var| program.tape.shape(**y) == program.tape.shape(x);
            if let Some(&y) = program.vars.iter().rev().find(fits) {
                updates.push((x, y));
            }
        }
        check(&format!("random program {seed}"), &program.tape, &outputs, &updates, &program.bindings, 1);
    }
}

#[test]
fn noise_is_the_same_in_all_plans_of_a_step_and_new_in_the_next() {
    for distribution in [Distribution::Normal, Distribution::Uniform, Distribution::Rademacher] {
        let mut tape = Tape::new();
        let mut bindings = Bindings::new();
        let x = input(&mut tape, &mut bindings, &[4, 33], &[1.5; 132]);
        let noise = tape.noise(distribution, &[4, 33], DType::F64).unwrap();
        let other = tape.noise(distribution, &[4, 33], DType::F64).unwrap();
        let product = tape.mul(x, noise).unwrap();
        let y = tape.sum(product, &[1]).unwrap();
        let gradient = {
            let total = tape.inner(y, y).unwrap();
            tape.grad(total, &[x]).unwrap()[0]
        };
        let mut draws = Vec::new();
        for (threads, options) in [(1, Options::default()), (2, Options::default()), (1, PARANOID)] {
            let mut machine = machine_with(threads);
            machine.spread_from(0.0);
            let (raw, _) =
                load(&mut machine, &tape, &Request { outputs: &[noise, other], options, ..Request::default() });
            let (used, reads) =
                load(&mut machine, &tape, &Request { outputs: &[y, gradient], options, ..Request::default() });
            write(&mut machine, &reads, &bindings);
            for step in 0..2 {
                machine.set_noise(42, step);
                machine.run(raw).unwrap();
                machine.run(used).unwrap();
                let values = machine.read_f64(noise).unwrap();
                assert_ne!(values, machine.read_f64(other).unwrap(), "two streams");
                bindings.insert(noise, Value::Real(values.clone()));
                let expected = evaluate_reals(&tape, &[y, gradient], &bindings);
                for (k, &output) in [y, gradient].iter().enumerate() {
                    let found = machine.read_f64(output).unwrap();
                    assert_close("what is made from noise", tape.shape(output), &found, &expected[k], 1e-13);
                }
                draws.push(bits(&values));
            }
        }
        assert_ne!(draws[0], draws[1], "two steps");
        assert_eq!(draws[0..2], draws[2..4], "two threads");
        assert_eq!(draws[0..2], draws[4..6], "paranoid");
    }
}
