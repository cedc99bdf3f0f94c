//! Random programs with their gradients, tangents and batches.

use super::generator::Program;
use super::harness::{check, seeds};
use crate::reference::{Bindings, Random, Value, evaluate_reals};
use autograd::{DType, Tape, Var};

/// Adds derivatives of a scalar made from some values, tangents of those values and batches over an input.
pub fn extended(program: &mut Program, seed: u64) -> Vec<Var> {
    let mut random = Random::new(seed ^ 0xabcd);
    let mut outputs = program.some(6);
    let inputs = program.inputs.clone();
    let tape = &mut program.tape;
    let mut total = tape.constant(0.0, &[], tape.dtype(inputs[0]));
    for &y in &outputs {
        let bent = tape.tanh(y).unwrap();
        let mean = tape.mean_all(bent).unwrap();
        total = tape.add(total, mean).unwrap();
    }
    let mut pairs = Vec::new();
    for &x in &inputs {
        let shape = tape.shape(x).to_vec();
        let direction = tape.input(&shape, tape.dtype(x));
        let values = (0..tape.elements(x)).map(|_| random.unit() - 0.5).collect();
        program.bindings.insert(direction, Value::Real(values));
        pairs.push((x, direction));
    }
    let tangents = tape.jvp(&outputs, &pairs).unwrap();
    let gradient = tape.grad(total, &inputs).unwrap();
    let curvature = tape.jvp(&gradient, &pairs).unwrap();
    let x = inputs[random.below(inputs.len())];
    let shape = [&[3], tape.shape(x)].concat();
    let many = tape.input(&shape, tape.dtype(x));
    // All entries close to the value itself, so that no kink is crossed.
    let values = program.bindings[&x].reals().to_vec();
    let spread = (0..3).flat_map(|k| values.iter().map(move |v| v + 1e-5 * f64::from(k))).collect();
    program.bindings.insert(many, Value::Real(spread));
    let batched = tape.batch(&[total, gradient[0]], &[(x, many)]).unwrap();
    outputs.extend(tangents.into_iter().flatten());
    outputs.extend(curvature.into_iter().flatten());
    outputs.extend(gradient);
    outputs.extend(batched);
    outputs
}

/// How far the outputs move when every input moves by one part in 10^6: the program's own sensitivity, per unit.
pub fn sensitivity(tape: &Tape, outputs: &[Var], bindings: &Bindings) -> f64 {
    let moved: Bindings = bindings
        .iter()
        .map(|(var, value)| {
            let value = match value {
                Value::Real(values) => Value::Real(
                    values.iter().enumerate().map(|(k, x)| x * (1.0 + 1e-6 * [1.0, -0.7, 0.4][k % 3])).collect(),
                ),
                other => other.clone(),
            };
            (*var, value)
        })
        .collect();
    let (here, there) = (evaluate_reals(tape, outputs, bindings), evaluate_reals(tape, outputs, &moved));
    let ratios = here.iter().zip(&there).map(|(x, y)| {
        let size = x.iter().fold(1.0_f64, |size, v| size.max(v.abs()));
        x.iter().zip(y).fold(0.0_f64, |most, (p, q)| most.max((p - q).abs())) / (1e-6 * size)
    });
    ratios.fold(1.0, f64::max)
}

#[test]
fn random_programs_in_f64_agree_with_the_interpreter() {
    for seed in seeds(0, 60) {
        let mut program = Program::new(seed, 40 + 5 * (seed as usize % 20), DType::F64);
        let outputs = extended(&mut program, seed);
        let tolerance = 1e-13 * sensitivity(&program.tape, &outputs, &program.bindings).max(10.0);
        check(&format!("random program {seed}"), &program.tape, &outputs, &program.bindings, tolerance);
    }
}

#[test]
fn random_programs_in_f32_agree_with_the_interpreter() {
    for seed in seeds(200, 40) {
        let mut program = Program::new(seed, 40 + 5 * (seed as usize % 12), DType::F32);
        let outputs = extended(&mut program, seed);
        let tolerance = 5e-6 * sensitivity(&program.tape, &outputs, &program.bindings).max(10.0);
        check(&format!("random program {seed} in f32"), &program.tape, &outputs, &program.bindings, tolerance);
    }
}

#[test]
fn large_random_programs_agree_with_the_interpreter() {
    for seed in seeds(300, 4) {
        let mut program = Program::new(seed, 400, DType::F64);
        let outputs = extended(&mut program, seed);
        let tolerance = 1e-13 * sensitivity(&program.tape, &outputs, &program.bindings).max(10.0);
        check(&format!("large random program {seed}"), &program.tape, &outputs, &program.bindings, tolerance);
    }
}

#[test]
fn all_values_of_a_random_program_can_be_outputs_at_once() {
    for seed in seeds(400, 10) {
        let program = Program::new(seed, 80, DType::F64);
        let outputs = &program.vars[program.inputs.len()..];
        check(&format!("random program {seed}"), &program.tape, outputs, &program.bindings, 1e-11);
    }
}
