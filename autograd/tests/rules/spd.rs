//! Derivatives of positive definite systems in the matrix itself, along symmetric perturbations, against closed forms
//! and differences.

use crate::reference::check::{assert_close, finite_difference};
use crate::reference::{Bindings, Value, evaluate_reals};
use autograd::{DType, Tape, Var};

const N: usize = 3;

/// A well-conditioned symmetric positive definite matrix and three symmetric directions.
fn matrices() -> [Vec<f64>; 4] {
    [
        vec![4.0, 1.0, -0.5, 1.0, 3.0, 0.7, -0.5, 0.7, 5.0],
        vec![0.3, -0.8, 0.2, -0.8, 0.5, 1.1, 0.2, 1.1, -0.4],
        vec![-0.6, 0.1, 0.9, 0.1, 0.7, -0.3, 0.9, -0.3, 0.2],
        vec![0.8, 0.4, -0.7, 0.4, -0.2, 0.6, -0.7, 0.6, 0.9],
    ]
}

struct Setting {
    tape: Tape,
    bindings: Bindings,
    a: Var,
    directions: [Var; 3],
}

fn setting() -> Setting {
    let (mut tape, mut bindings) = (Tape::new(), Bindings::new());
    let mut inputs = matrices().map(|values| {
        let x = tape.input(&[N, N], DType::F64);
        bindings.insert(x, Value::Real(values));
        x
    });
    inputs.rotate_left(1);
    let [b, c, d, a] = inputs;
    Setting { tape, bindings, a, directions: [b, c, d] }
}

impl Setting {
    /// The first three derivatives along the three directions, each against finite differences of the one before.
    fn check_to_third_order(&mut self, what: &str, value: Var) {
        let mut order = value;
        for (k, &direction) in self.directions.clone().iter().enumerate() {
            let next = self.tape.jvp(&[order], &[(self.a, direction)]).unwrap()[0].unwrap();
            let numbers = self.bindings[&direction].reals().to_vec();
            let expected = finite_difference(&self.tape, &[order], &self.bindings, &[(self.a, numbers)]).remove(0);
            let found = evaluate_reals(&self.tape, &[next], &self.bindings).remove(0);
            let shape = self.tape.shape(value).to_vec();
            assert_close(&format!("{what}: derivative {}", k + 1), &shape, &found, &expected, 1e-9);
            order = next;
        }
        // Reverse over forward over forward agrees along the third direction.
        let second = {
            let first = self.tape.jvp(&[value], &[(self.a, self.directions[0])]).unwrap()[0].unwrap();
            self.tape.jvp(&[first], &[(self.a, self.directions[1])]).unwrap()[0].unwrap()
        };
        let total = self.tape.sum_all(second).unwrap();
        let gradient = self.tape.grad(total, &[self.a]).unwrap()[0];
        let along = self.tape.inner(gradient, self.directions[2]).unwrap();
        let third = self.tape.sum_all(order).unwrap();
        let read = evaluate_reals(&self.tape, &[along, third], &self.bindings);
        assert_close(&format!("{what}: reverse mode"), &[1], &read[0], &read[1], 1e-12);
    }
}

#[test]
fn derivatives_of_log_det_agree_to_third_order() {
    let mut setting = setting();
    let value = setting.tape.log_det_spd(setting.a).unwrap();
    setting.check_to_third_order("log_det_spd", value);
}

#[test]
fn derivatives_of_solutions_agree_to_third_order() {
    let mut setting = setting();
    let b = setting.tape.input(&[N, 2], DType::F64);
    setting.bindings.insert(b, Value::Real(vec![1.0, -0.4, 0.3, 2.0, -1.5, 0.8]));
    let value = setting.tape.solve_spd(setting.a, b).unwrap();
    setting.check_to_third_order("solve_spd", value);
}

#[test]
fn derivatives_of_inverses_agree_to_third_order() {
    let mut setting = setting();
    let value = setting.tape.inverse_spd(setting.a).unwrap();
    setting.check_to_third_order("inverse_spd", value);
}

#[test]
fn the_gradient_of_log_det_is_the_inverse() {
    let mut setting = setting();
    let value = setting.tape.log_det_spd(setting.a).unwrap();
    let gradient = setting.tape.grad(value, &[setting.a]).unwrap()[0];
    let product = setting.tape.matmul(setting.a, gradient).unwrap();
    let identity = setting.tape.identity(N, DType::F64);
    let read = evaluate_reals(&setting.tape, &[product, identity], &setting.bindings);
    assert_close("A times the gradient", &[N, N], &read[0], &read[1], 1e-14);
}

#[test]
fn the_gradient_of_a_quadratic_form_is_minus_the_outer_product_of_the_solution() {
    // f(A) = b^T A^-1 b: df/dA = -x x^T with x = A^-1 b.
    let mut setting = setting();
    let tape = &mut setting.tape;
    let b = tape.input(&[N, 1], DType::F64);
    setting.bindings.insert(b, Value::Real(vec![1.0, -2.0, 0.5]));
    let x = tape.solve_spd(setting.a, b).unwrap();
    let value = tape.inner(b, x).unwrap();
    let gradient = tape.grad(value, &[setting.a]).unwrap()[0];
    let transposed = tape.transpose(x).unwrap();
    let outer = tape.matmul(x, transposed).unwrap();
    let expected = tape.neg(outer).unwrap();
    let read = evaluate_reals(tape, &[gradient, expected], &setting.bindings);
    assert_close("gradient", &[N, N], &read[0], &read[1], 1e-15);
}

#[test]
fn one_factorisation_serves_a_whole_batch_of_right_hand_sides() {
    let mut tape = Tape::new();
    let a = tape.input(&[N, N], DType::F64);
    let b = tape.input(&[N, 1], DType::F64);
    let many = tape.input(&[7, N, 1], DType::F64);
    let x = tape.solve_spd(a, b).unwrap();
    let before = tape.len();
    tape.batch(&[x], &[(b, many)]).unwrap();
    let solves: Vec<_> = tape.nodes()[before..].iter().filter(|node| node.op.name() == "solve_spd").collect();
    assert_eq!(solves.len(), 1);
    assert_eq!(solves[0].shape, [1, N, 7]);
}
