//! The whole table with its derivatives and batches, in both types.

use super::harness::check;
use crate::reference::table::{Case, Recorded};
use crate::reference::{Bindings, Value, table};
use autograd::{DType, Var};

/// Rounding errors relative to the size of the numbers; all programs of the table are short and well conditioned.
fn tolerance(case: &Case, dtype: DType) -> f64 {
    match dtype {
        DType::F64 if !case.rounds => 1e-12,
        _ => 1e-5,
    }
}

/// The case, with its values and with tangents, gradients and Hessian-vector products of everything.
pub fn with_derivatives(case: &Case, dtype: DType, seed: u64) -> (Recorded, Bindings, Vec<Var>) {
    let mut recorded = case.record(dtype);
    let mut bindings = recorded.bind(&case.values(seed));
    let y = recorded.output;
    let mut outputs = vec![y];
    let inputs = recorded.smooth_inputs();
    let pairs: Vec<_> = inputs.iter().map(|&x| (x, recorded.probe(x, seed, &mut bindings))).collect();
    outputs.extend(recorded.tape.jvp(&[y], &pairs).unwrap()[0]);
    let probe = recorded.probe(y, seed + 1, &mut bindings);
    let bent = recorded.tape.sin(y).unwrap();
    let value = recorded.tape.inner(bent, probe).unwrap();
    let gradient = recorded.tape.grad(value, &inputs).unwrap();
    outputs.extend(recorded.tape.jvp(&gradient, &pairs).unwrap().into_iter().flatten());
    outputs.extend(gradient);
    (recorded, bindings, outputs)
}

#[test]
fn plans_of_every_primitive_and_its_derivatives_agree_with_the_interpreter() {
    for dtype in [DType::F64, DType::F32] {
        for case in table::all() {
            let (recorded, bindings, outputs) = with_derivatives(&case, dtype, 100);
            let name = format!("{} in {dtype}", case.name);
            // Each output alone, where fusion may go furthest, and all of them at once.
            for k in 0..outputs.len() {
                check(
                    &format!("{name}, only {k}"),
                    &recorded.tape,
                    &outputs[k..=k],
                    &bindings,
                    tolerance(&case, dtype),
                );
            }
            check(&name, &recorded.tape, &outputs, &bindings, tolerance(&case, dtype));
        }
    }
}

#[test]
fn plans_of_batched_primitives_agree_with_the_interpreter() {
    for dtype in [DType::F64, DType::F32] {
        for case in table::all() {
            let (mut recorded, mut bindings, outputs) = with_derivatives(&case, dtype, 110);
            // Every second input batched, and all of them.
            for chosen in [(0..case.inputs.len()).step_by(2).collect::<Vec<_>>(), (0..case.inputs.len()).collect()] {
                let sets: Vec<Vec<Value>> = (0..3).map(|entry| case.values(120 + entry)).collect();
                let mut pairs = Vec::new();
                for k in chosen {
                    let x = recorded.inputs[k];
                    let shape = [&[3], recorded.tape.shape(x)].concat();
                    let many = recorded.tape.input(&shape, recorded.tape.dtype(x));
                    let value = match &sets[0][k] {
                        Value::Real(_) => Value::Real(sets.iter().flat_map(|set| set[k].reals().to_vec()).collect()),
                        Value::Index(_) => {
                            Value::Index(sets.iter().flat_map(|set| set[k].indices().to_vec()).collect())
                        }
                    };
                    bindings.insert(many, value);
                    pairs.push((x, many));
                }
                let batched = recorded.tape.batch(&outputs, &pairs).unwrap();
                let name = format!("batch of {} in {dtype}", case.name);
                check(&name, &recorded.tape, &batched, &bindings, tolerance(&case, dtype));
            }
        }
    }
}

#[test]
fn jacobians_of_every_primitive_agree_with_the_interpreter() {
    for case in table::all() {
        let mut recorded = case.record(DType::F64);
        let bindings = recorded.bind(&case.values(130));
        let jacobians: Vec<Var> =
            recorded.smooth_inputs().iter().map(|&x| recorded.tape.jacobian(recorded.output, x).unwrap()).collect();
        let name = format!("Jacobian of {}", case.name);
        check(&name, &recorded.tape, &jacobians, &bindings, tolerance(&case, DType::F64));
    }
}
