//! Jacobians, by columns or by rows.

use crate::reference::check::{assert_close, finite_difference};
use crate::reference::{Value, evaluate_reals, table};
use autograd::{DType, Tape};

#[test]
fn jacobians_of_every_primitive_agree_with_finite_differences() {
    let (mut by_columns, mut by_rows) = (0, 0);
    for case in table::all().iter().filter(|case| case.differentiable) {
        let mut recorded = case.record(DType::F64);
        let bindings = recorded.bind(&case.values(10));
        for &k in &recorded.smooth.clone() {
            let (x, y) = (recorded.inputs[k], recorded.output);
            let (d, m) = (recorded.tape.elements(x), recorded.tape.elements(y));
            if d <= m {
                by_columns += 1
            } else {
                by_rows += 1
            }
            let jacobian = recorded.tape.jacobian(y, x).unwrap();
            let shape = [recorded.tape.shape(y), recorded.tape.shape(x)].concat();
            assert_eq!(recorded.tape.shape(jacobian), &shape, "{}", case.name);
            let found = evaluate_reals(&recorded.tape, &[jacobian], &bindings).remove(0);
            for column in 0..d {
                let mut direction = vec![0.0; d];
                direction[column] = 1.0;
                let expected = finite_difference(&recorded.tape, &[y], &bindings, &[(x, direction)]).remove(0);
                let found: Vec<f64> = (0..m).map(|row| found[row * d + column]).collect();
                let what = format!("{}: column {column} of the Jacobian in input {k}", case.name);
                assert_close(&what, &[m], &found, &expected, 1e-8);
            }
        }
    }
    assert!(by_columns > 20 && by_rows > 20, "both modes must be seen: {by_columns} by columns, {by_rows} by rows");
}

#[test]
fn columns_and_rows_give_the_same_jacobian() {
    // f: R^3 -> R^3 is taken by columns; the same f with an output repeated less is taken by rows.
    let mut tape = Tape::new();
    let x = tape.input(&[3], DType::F64);
    let sine = tape.sin(x).unwrap();
    let total = tape.sum(x, &[0]).unwrap();
    let y = tape.mul(sine, total).unwrap();
    let part = tape.slice(y, &[1], &[2]).unwrap();
    let columns = tape.jacobian(y, x).unwrap();
    let rows = tape.jacobian(part, x).unwrap();
    let bindings = [(x, Value::Real(vec![0.4, -1.1, 0.9]))].into_iter().collect();
    let read = evaluate_reals(&tape, &[columns, rows], &bindings);
    assert_close("rows 1 and 2", &[2, 3], &read[1], &read[0][3..], 1e-15);
}

#[test]
fn the_hessian_is_the_jacobian_of_the_gradient() {
    // f(x) = x0^2 x1 + sin(x1): H = [[2 x1, 2 x0], [2 x0, -sin x1]].
    let mut tape = Tape::new();
    let x = tape.input(&[2], DType::F64);
    let x0 = tape.slice(x, &[0], &[1]).unwrap();
    let x1 = tape.slice(x, &[1], &[1]).unwrap();
    let square = tape.square(x0).unwrap();
    let product = tape.mul(square, x1).unwrap();
    let sine = tape.sin(x1).unwrap();
    let value = tape.add(product, sine).unwrap();
    let gradient = tape.grad(value, &[x]).unwrap()[0];
    let hessian = tape.jacobian(gradient, x).unwrap();
    let bindings = [(x, Value::Real(vec![1.5, 0.5]))].into_iter().collect();
    let found = evaluate_reals(&tape, &[hessian], &bindings).remove(0);
    assert_close("Hessian", &[2, 2], &found, &[1.0, 3.0, 3.0, -(0.5_f64.sin())], 1e-15);
}

#[test]
fn a_jacobian_of_something_independent_is_zero() {
    let mut tape = Tape::new();
    let x = tape.input(&[2], DType::F64);
    let y = tape.input(&[3], DType::F64);
    let jacobian = tape.jacobian(y, x).unwrap();
    assert_eq!(tape.shape(jacobian), &[3, 2]);
    assert_eq!(evaluate_reals(&tape, &[jacobian], &Default::default())[0], vec![0.0; 6]);
}
