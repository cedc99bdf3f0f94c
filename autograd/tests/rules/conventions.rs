//! What derivatives are where calculus leaves a choice: zeros, stops, ties, kinks, untaken branches.

use crate::reference::{Bindings, Value, evaluate_reals};
use autograd::{DType, Tape, Unary, Var};

fn vector(tape: &mut Tape, bindings: &mut Bindings, values: &[f64]) -> Var {
    let x = tape.input(&[values.len()], DType::F64);
    bindings.insert(x, Value::Real(values.to_vec()));
    x
}

fn gradient_of_sum(tape: &mut Tape, y: Var, x: Var, bindings: &Bindings) -> Vec<f64> {
    let total = tape.sum_all(y).unwrap();
    let gradient = tape.grad(total, &[x]).unwrap()[0];
    evaluate_reals(tape, &[gradient], bindings).remove(0)
}

#[test]
fn tangents_that_are_zero_everywhere_are_none() {
    let mut tape = Tape::new();
    let x = tape.input(&[3], DType::F64);
    let other = tape.input(&[3], DType::F64);
    let t = tape.input(&[3], DType::F64);
    let sign = tape.sign(x).unwrap();
    let step = tape.step(x).unwrap();
    let greater = tape.greater(x, other).unwrap();
    let at_least = tape.greater_equal(x, other).unwrap();
    let equal = tape.equal(x, other).unwrap();
    let stopped = tape.stop_gradient(x).unwrap();
    let independent = tape.exp(other).unwrap();
    let constant = tape.zeros_like(x);
    // Nothing downstream of a None is recorded either.
    let downstream = tape.mul(sign, other).unwrap();
    let all = [sign, step, greater, at_least, equal, stopped, independent, constant, downstream];
    let before = tape.len();
    assert_eq!(tape.jvp(&all, &[(x, t)]).unwrap(), vec![None; all.len()]);
    assert_eq!(tape.len(), before, "no node was pushed for tangents that are zero");
}

#[test]
fn zero_tangents_of_one_operand_push_no_work_for_it() {
    let mut tape = Tape::new();
    let x = tape.input(&[2, 2], DType::F64);
    let w = tape.input(&[2, 2], DType::F64);
    let t = tape.input(&[2, 2], DType::F64);
    let y = tape.matmul(w, x).unwrap();
    let before = tape.len();
    tape.jvp(&[y], &[(x, t)]).unwrap();
    let products = tape.nodes()[before..].iter().filter(|node| node.op.name() == "matmul").count();
    assert_eq!(products, 1);
}

#[test]
fn the_tangent_of_an_input_that_is_an_output_is_the_tangent_given() {
    let mut tape = Tape::new();
    let x = tape.input(&[2], DType::F64);
    let t = tape.input(&[2], DType::F64);
    assert_eq!(tape.jvp(&[x], &[(x, t)]).unwrap(), vec![Some(t)]);
}

#[test]
fn gradients_of_a_variable_asked_for_twice_are_given_twice() {
    let (mut tape, mut bindings) = (Tape::new(), Bindings::new());
    let x = vector(&mut tape, &mut bindings, &[1.0, 3.0]);
    let y = tape.square(x).unwrap();
    let total = tape.sum_all(y).unwrap();
    let gradients = tape.grad(total, &[x, x]).unwrap();
    assert_eq!(evaluate_reals(&tape, &gradients, &bindings), vec![vec![2.0, 6.0]; 2]);
}

#[test]
fn derivatives_with_respect_to_interior_variables_hold_them_independent() {
    // z = x y with y = x^2: dz/dx at fixed y is y, dz/dy at fixed x is x.
    let (mut tape, mut bindings) = (Tape::new(), Bindings::new());
    let x = vector(&mut tape, &mut bindings, &[3.0]);
    let y = tape.square(x).unwrap();
    let z = tape.mul(x, y).unwrap();
    let total = tape.sum_all(z).unwrap();
    let gradients = tape.grad(total, &[x, y]).unwrap();
    assert_eq!(evaluate_reals(&tape, &gradients, &bindings), vec![vec![9.0], vec![3.0]]);
}

#[test]
fn stop_gradient_stops_at_every_level_of_nesting() {
    // y = x stop(x^2): treated as x times a constant, so y' = x^2 and y'' = 2 x only through the value of the constant
    // - which is not differentiated either once it lies behind the stop.
    let (mut tape, mut bindings) = (Tape::new(), Bindings::new());
    let x = vector(&mut tape, &mut bindings, &[3.0]);
    let one = tape.constant(1.0, &[1], DType::F64);
    let square = tape.square(x).unwrap();
    let fixed = tape.stop_gradient(square).unwrap();
    let y = tape.mul(x, fixed).unwrap();
    let slope = tape.jvp(&[y], &[(x, one)]).unwrap()[0].unwrap();
    assert_eq!(evaluate_reals(&tape, &[slope], &bindings)[0], [9.0]);
    assert_eq!(tape.jvp(&[slope], &[(x, one)]).unwrap(), vec![None], "jvp of jvp");
    let total = tape.sum_all(y).unwrap();
    let gradient = tape.grad(total, &[x]).unwrap()[0];
    assert_eq!(evaluate_reals(&tape, &[gradient], &bindings)[0], [9.0]);
    assert_eq!(tape.jvp(&[gradient], &[(x, one)]).unwrap(), vec![None], "jvp of grad");
    // Under batch the stop stays.
    let many = tape.input(&[2, 1], DType::F64);
    bindings.insert(many, Value::Real(vec![3.0, 4.0]));
    let batched = tape.batch(&[y], &[(x, many)]).unwrap()[0];
    assert_eq!(gradient_of_sum(&mut tape, batched, many, &bindings), [9.0, 16.0], "grad of batch");
}

#[test]
fn ties_of_maximum_and_minimum_go_to_the_first_operand() {
    let (mut tape, mut bindings) = (Tape::new(), Bindings::new());
    let a = vector(&mut tape, &mut bindings, &[1.0, 2.0, 3.0]);
    let b = vector(&mut tape, &mut bindings, &[1.0, 5.0, 0.0]);
    let larger = tape.maximum(a, b).unwrap();
    let smaller = tape.minimum(a, b).unwrap();
    assert_eq!(gradient_of_sum(&mut tape, larger, a, &bindings), [1.0, 0.0, 1.0]);
    assert_eq!(gradient_of_sum(&mut tape, larger, b, &bindings), [0.0, 1.0, 0.0]);
    assert_eq!(gradient_of_sum(&mut tape, smaller, a, &bindings), [1.0, 1.0, 0.0]);
    assert_eq!(gradient_of_sum(&mut tape, smaller, b, &bindings), [0.0, 0.0, 1.0]);
}

#[test]
fn equal_maxima_share_the_derivative_of_max_evenly() {
    let (mut tape, mut bindings) = (Tape::new(), Bindings::new());
    let x = vector(&mut tape, &mut bindings, &[4.0, 1.0, 4.0, 4.0, 2.0, 4.0]);
    let top = tape.max(x, &[0]).unwrap();
    assert_eq!(gradient_of_sum(&mut tape, top, x, &bindings), [0.25, 0.0, 0.25, 0.25, 0.0, 0.25]);
}

#[test]
fn derivatives_at_kinks_are_as_documented() {
    let (mut tape, mut bindings) = (Tape::new(), Bindings::new());
    let x = vector(&mut tape, &mut bindings, &[0.0]);
    for (function, slope) in
        [(Unary::Abs, 0.0), (Unary::Relu, 0.0), (Unary::Elu, 1.0), (Unary::Sign, 0.0), (Unary::Step, 0.0)]
    {
        let y = tape.unary(function, x).unwrap();
        assert_eq!(gradient_of_sum(&mut tape, y, x, &bindings), [slope], "{}", function.name());
    }
}

#[test]
fn an_untaken_branch_of_select_does_not_spoil_tangents() {
    // ln and 1/x of numbers that are not positive, behind a mask: the tangent rule selects, it does not multiply by
    // zero.
    let (mut tape, mut bindings) = (Tape::new(), Bindings::new());
    let x = vector(&mut tape, &mut bindings, &[0.0, -1.0, 4.0]);
    let t = vector(&mut tape, &mut bindings, &[1.0, 1.0, 1.0]);
    let mask = tape.step(x).unwrap();
    let logarithm = tape.ln(x).unwrap();
    let inverse = tape.reciprocal(x).unwrap();
    let branch = tape.add(logarithm, inverse).unwrap();
    let y = tape.select(mask, branch, x).unwrap();
    let tangent = tape.jvp(&[y], &[(x, t)]).unwrap()[0].unwrap();
    assert_eq!(evaluate_reals(&tape, &[tangent], &bindings)[0], [1.0, 1.0, 0.25 - 0.0625]);
}

#[test]
fn an_untaken_branch_with_safe_arguments_has_finite_gradients_of_all_orders() {
    // Reverse mode multiplies by the branch's own slope, so the argument of the branch is selected as well.
    let (mut tape, mut bindings) = (Tape::new(), Bindings::new());
    let x = vector(&mut tape, &mut bindings, &[0.0, -1.0, 4.0]);
    let mask = tape.step(x).unwrap();
    let one = tape.constant(1.0, &[3], DType::F64);
    let safe = tape.select(mask, x, one).unwrap();
    let root = tape.sqrt(safe).unwrap();
    let y = tape.select(mask, root, x).unwrap();
    assert_eq!(gradient_of_sum(&mut tape, y, x, &bindings), [1.0, 1.0, 0.25]);
    let total = tape.sum_all(y).unwrap();
    let second = tape.hvp(total, x, one).unwrap();
    assert_eq!(evaluate_reals(&tape, &[second], &bindings)[0], [0.0, 0.0, -0.25 / 8.0]);
}

#[test]
fn softplus_and_sigmoid_have_finite_derivatives_far_out() {
    let (mut tape, mut bindings) = (Tape::new(), Bindings::new());
    let x = vector(&mut tape, &mut bindings, &[-1000.0, 1000.0]);
    let y = tape.softplus(x).unwrap();
    assert_eq!(gradient_of_sum(&mut tape, y, x, &bindings), [0.0, 1.0]);
    let total = tape.sum_all(y).unwrap();
    let one = tape.constant(1.0, &[2], DType::F64);
    let second = tape.hvp(total, x, one).unwrap();
    assert_eq!(evaluate_reals(&tape, &[second], &bindings)[0], [0.0, 0.0]);
}
