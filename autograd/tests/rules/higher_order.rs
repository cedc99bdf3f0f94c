//! Second and third derivatives: compositions of the transforms agree with each other and with finite differences of
//! one order less.

use crate::reference::check::{assert_close, finite_difference, finite_gradient};
use crate::reference::table::Recorded;
use crate::reference::{Bindings, evaluate_reals, table, table_linear};
use autograd::{DType, Var};

const DIFFERENCES: f64 = 1e-7;
const ROUNDING: f64 = 1e-11;

/// A case's result weighted by a probe and passed through sin, so that linear primitives have curvature too; with
/// directions for all inputs.
struct Scalar {
    recorded: Recorded,
    bindings: Bindings,
    value: Var,
    inputs: Vec<Var>,
}

fn scalar(case: &table::Case, seed: u64) -> Scalar {
    let mut recorded = case.record(DType::F64);
    let mut bindings = recorded.bind(&case.values(seed));
    let output = recorded.output;
    let probe = recorded.probe(output, seed, &mut bindings);
    let small = recorded.tape.scale(output, 0.7).unwrap();
    let bent = recorded.tape.sin(small).unwrap();
    let value = recorded.tape.inner(bent, probe).unwrap();
    let inputs = recorded.smooth_inputs();
    Scalar { recorded, bindings, value, inputs }
}

impl Scalar {
    fn directions(&mut self, seed: u64) -> Vec<(Var, Var)> {
        let inputs = self.inputs.clone();
        inputs.iter().map(|&x| (x, self.recorded.probe(x, seed + x.index() as u64, &mut self.bindings))).collect()
    }

    fn numbers(&self, directions: &[(Var, Var)]) -> Vec<(Var, Vec<f64>)> {
        directions.iter().map(|(x, d)| (*x, self.bindings[d].reals().to_vec())).collect()
    }

    fn jvp(&mut self, value: Var, directions: &[(Var, Var)]) -> Var {
        let tangent = self.recorded.tape.jvp(&[value], directions).unwrap()[0];
        tangent.unwrap_or_else(|| self.recorded.tape.zeros_like(value))
    }

    fn grad(&mut self, value: Var) -> Vec<Var> {
        self.recorded.tape.grad(value, &self.inputs.clone()).unwrap()
    }

    fn read(&self, vars: &[Var]) -> Vec<Vec<f64>> {
        evaluate_reals(&self.recorded.tape, vars, &self.bindings)
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

#[test]
fn tangents_of_gradients_agree_with_finite_differences_and_with_gradients_of_tangents() {
    for case in table::all().iter().filter(|case| case.differentiable) {
        let mut scalar = scalar(case, 6);
        let directions = scalar.directions(40);
        let gradient = scalar.grad(scalar.value);
        let forward_over_reverse: Vec<Var> = gradient.iter().map(|&g| scalar.jvp(g, &directions)).collect();
        let slope = scalar.jvp(scalar.value, &directions);
        let reverse_over_forward = scalar.grad(slope);
        let differences =
            finite_difference(&scalar.recorded.tape, &gradient, &scalar.bindings, &scalar.numbers(&directions));
        let first = scalar.read(&forward_over_reverse);
        let second = scalar.read(&reverse_over_forward);
        for k in 0..first.len() {
            let shape = scalar.recorded.tape.shape(scalar.inputs[k]);
            let what = format!("{}: input {k}", case.name);
            assert_close(&format!("{what}: jvp of grad"), shape, &first[k], &differences[k], DIFFERENCES);
            assert_close(&format!("{what}: grad of jvp"), shape, &second[k], &first[k], ROUNDING);
        }
    }
}

#[test]
fn hessian_vector_products_are_symmetric_for_every_primitive() {
    for case in table::all().iter().filter(|case| case.differentiable) {
        let mut scalar = scalar(case, 7);
        let (u, v) = (scalar.directions(50), scalar.directions(60));
        for k in 0..scalar.inputs.len() {
            let x = scalar.inputs[k];
            let hu = scalar.recorded.tape.hvp(scalar.value, x, u[k].1).unwrap();
            let hv = scalar.recorded.tape.hvp(scalar.value, x, v[k].1).unwrap();
            let read = scalar.read(&[hu, hv, u[k].1, v[k].1]);
            let (left, right) = (dot(&read[3], &read[0]), dot(&read[2], &read[1]));
            let size = dot(&read[0], &read[0]).sqrt().max(1.0);
            assert!(
                (left - right).abs() < 1e-11 * size,
                "{}: input {k}: v H u = {left:e}, u H v = {right:e}",
                case.name
            );
        }
    }
}

#[test]
fn gradients_of_gradient_norms_agree_with_finite_differences() {
    for case in table::all().iter().filter(|case| case.differentiable) {
        let mut scalar = scalar(case, 8);
        let gradient = scalar.grad(scalar.value);
        let tape = &mut scalar.recorded.tape;
        let mut norm = tape.constant(0.0, &[], DType::F64);
        for &g in &gradient {
            let term = tape.inner(g, g).unwrap();
            norm = tape.add(norm, term).unwrap();
        }
        let again = scalar.grad(norm);
        let found = scalar.read(&again);
        for (k, &x) in scalar.inputs.iter().enumerate() {
            let expected = finite_gradient(&scalar.recorded.tape, norm, &scalar.bindings, x);
            let what = format!("{}: grad of |grad|^2, input {k}", case.name);
            assert_close(&what, scalar.recorded.tape.shape(x), &found[k], &expected, DIFFERENCES);
        }
    }
}

#[test]
fn third_derivatives_of_the_composite_agree_in_every_nesting() {
    let mut scalar = scalar(&table_linear::composite(), 9);
    let (a, b, c) = (scalar.directions(70), scalar.directions(80), scalar.directions(90));
    let contract = |scalar: &Scalar, gradients: &[Var], directions: &[(Var, Var)]| {
        let numbers = scalar.numbers(directions);
        scalar.read(gradients).iter().zip(&numbers).map(|(g, (_, d))| dot(g, d)).sum::<f64>()
    };
    // jvp jvp jvp.
    let first = scalar.jvp(scalar.value, &a);
    let second = scalar.jvp(first, &b);
    let third = scalar.jvp(second, &c);
    let fff = scalar.read(&[third])[0][0];
    // grad jvp jvp.
    let gradient = scalar.grad(second);
    let rff = contract(&scalar, &gradient, &c);
    // jvp grad jvp.
    let gradient = scalar.grad(first);
    let tangents: Vec<Var> = gradient.iter().map(|&g| scalar.jvp(g, &b)).collect();
    let frf = contract(&scalar, &tangents, &c);
    // jvp jvp grad.
    let gradient = scalar.grad(scalar.value);
    let tangents: Vec<Var> = gradient.iter().map(|&g| scalar.jvp(g, &a)).collect();
    let tangents: Vec<Var> = tangents.iter().map(|&g| scalar.jvp(g, &b)).collect();
    let ffr = contract(&scalar, &tangents, &c);
    // grad <grad <grad, a>, b>: reverse three times.
    let along = |scalar: &mut Scalar, value: Var, directions: &[(Var, Var)]| {
        let gradient = scalar.grad(value);
        let tape = &mut scalar.recorded.tape;
        let mut total = tape.constant(0.0, &[], DType::F64);
        for (g, (_, d)) in gradient.into_iter().zip(directions) {
            let term = tape.inner(g, *d).unwrap();
            total = tape.add(total, term).unwrap();
        }
        total
    };
    let value = scalar.value;
    let slope = along(&mut scalar, value, &a);
    let curvature = along(&mut scalar, slope, &b);
    let gradient = scalar.grad(curvature);
    let rrr = contract(&scalar, &gradient, &c);
    let differences = finite_difference(&scalar.recorded.tape, &[second], &scalar.bindings, &scalar.numbers(&c))[0][0];
    assert_close("third derivative by jvp of jvp of jvp", &[1], &[fff], &[differences], DIFFERENCES);
    assert_close("other nestings", &[4], &[rff, frf, ffr, rrr], &[fff; 4], 1e-10);
}
