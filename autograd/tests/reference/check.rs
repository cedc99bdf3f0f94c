//! Comparisons that say where two tensors differ, and finite differences of the interpreter.

use super::{Bindings, Value, evaluate_reals, interpreter::positions};
use autograd::{Tape, Var};

/// Panics unless all elements agree within `tolerance` times the size of the numbers (at least 1).
#[track_caller]
pub fn assert_close(what: &str, shape: &[usize], found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{what}: number of elements");
    let size = expected.iter().fold(1.0_f64, |size, x| size.max(x.abs()));
    for (at, (&x, &y)) in positions(shape).iter().zip(found.iter().zip(expected)) {
        let same = x == y || (x - y).abs() <= tolerance * size || x.is_nan() && y.is_nan();
        assert!(same, "{what}: element {at:?} of {shape:?} is {x:e}, expected {y:e} (difference {:e})", (x - y).abs());
    }
}

/// Derivatives of some outputs along `directions` of some inputs, by central differences of fourth order.
pub fn finite_difference(
    tape: &Tape,
    outputs: &[Var],
    bindings: &Bindings,
    directions: &[(Var, Vec<f64>)],
) -> Vec<Vec<f64>> {
    const STEP: f64 = 6e-4;
    let at = |scale: f64| {
        let mut moved = bindings.clone();
        for (var, direction) in directions {
            let values = moved[var].reals().iter().zip(direction).map(|(x, d)| x + scale * STEP * d).collect();
            moved.insert(*var, Value::Real(values));
        }
        evaluate_reals(tape, outputs, &moved)
    };
    let (near, far) = ((at(1.0), at(-1.0)), (at(2.0), at(-2.0)));
    (0..outputs.len())
        .map(|k| {
            (0..near.0[k].len())
                .map(|i| (8.0 * (near.0[k][i] - near.1[k][i]) - (far.0[k][i] - far.1[k][i])) / (12.0 * STEP))
                .collect()
        })
        .collect()
}

/// Gradient of a one-element output with respect to one input, element by element.
pub fn finite_gradient(tape: &Tape, output: Var, bindings: &Bindings, input: Var) -> Vec<f64> {
    let count = bindings[&input].len();
    (0..count)
        .map(|i| {
            let mut direction = vec![0.0; count];
            direction[i] = 1.0;
            finite_difference(tape, &[output], bindings, &[(input, direction)])[0][0]
        })
        .collect()
}
