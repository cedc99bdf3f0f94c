//! Tensors large enough for tiles, blocked products and several threads to come into play.

use super::harness::{bits, check, run};
use crate::reference::table::weights;
use crate::reference::{Bindings, Random, Value, table_linear};
use autograd::{DType, Options, Tape, Var};

struct Large {
    tape: Tape,
    bindings: Bindings,
    dtype: DType,
}

impl Large {
    fn new(dtype: DType) -> Self {
        Self { tape: Tape::new(), bindings: Bindings::new(), dtype }
    }

    /// An input with distinct values, scaled.
    fn input(&mut self, shape: &[usize], scale: f64) -> Var {
        let x = self.tape.input(shape, self.dtype);
        let values = weights(shape.iter().product(), x.index() as u64);
        self.bindings.insert(x, Value::Real(values.iter().map(|v| v * scale).collect()));
        x
    }

    fn index(&mut self, length: usize, bound: usize) -> Var {
        let index = self.tape.input(&[length], DType::U32);
        let mut random = Random::new(length as u64);
        self.bindings.insert(index, Value::Index((0..length).map(|_| random.below(bound) as u32).collect()));
        index
    }

    /// Checks against the interpreter, and one, two and three threads against each other.
    fn check(&self, name: &str, outputs: &[Var]) {
        let tolerance = if self.dtype == DType::F64 { 1e-12 } else { 1e-4 };
        let name = format!("{name} in {}", self.dtype);
        check(&name, &self.tape, outputs, &self.bindings, tolerance);
        let [one, three] = [1, 3].map(|threads| run(&self.tape, outputs, &self.bindings, Options::default(), threads));
        for (k, (one, three)) in one.iter().zip(&three).enumerate() {
            assert_eq!(bits(one), bits(three), "{name}: output {k}, three threads against one");
        }
    }
}

const TYPES: [DType; 2] = [DType::F64, DType::F32];

#[test]
fn a_network_with_its_gradient_and_hessian_vector_product() {
    for dtype in TYPES {
        let mut large = Large::new(dtype);
        let x = large.input(&[257, 33], 1.0);
        let (w, b) = (large.input(&[33, 130], 0.2), large.input(&[130], 0.3));
        let (v, y) = (large.input(&[130, 1], 0.1), large.input(&[257, 1], 1.0));
        let direction = large.input(&[33, 130], 1.0);
        let tape = &mut large.tape;
        let hidden = tape.matmul(x, w).unwrap();
        let hidden = tape.add(hidden, b).unwrap();
        let hidden = tape.elu(hidden).unwrap();
        let output = tape.matmul(hidden, v).unwrap();
        let residual = tape.sub(output, y).unwrap();
        let square = tape.square(residual).unwrap();
        let loss = tape.mean_all(square).unwrap();
        let mut outputs = tape.grad(loss, &[w, b, v, x]).unwrap();
        outputs.push(tape.hvp(loss, w, direction).unwrap());
        outputs.push(loss);
        large.check("network", &outputs);
    }
}

#[test]
fn reductions_over_long_and_over_short_axes() {
    for dtype in TYPES {
        for shape in [[3, 20_011], [20_011, 3], [151, 149]] {
            let mut large = Large::new(dtype);
            let x = large.input(&shape, 1.0);
            let tape = &mut large.tape;
            let wave = tape.sin(x).unwrap();
            let mut outputs = Vec::new();
            for axes in [&[0_usize] as &[usize], &[1], &[0, 1]] {
                let sum = tape.sum(wave, axes).unwrap();
                let count = tape.elements(x) / tape.elements(sum);
                outputs.push(tape.scale(sum, 1.0 / count as f64).unwrap());
                outputs.push(tape.max(wave, axes).unwrap());
            }
            let turned = tape.transpose(wave).unwrap();
            outputs.push(tape.exp(turned).unwrap());
            large.check(&format!("reductions of {shape:?}"), &outputs);
        }
    }
}

#[test]
fn many_small_products_and_few_large_ones() {
    for dtype in TYPES {
        let mut large = Large::new(dtype);
        let (a, b) = (large.input(&[211, 5, 7], 0.5), large.input(&[211, 7, 3], 0.5));
        let (c, d) = (large.input(&[90, 201], 0.1), large.input(&[201, 77], 0.1));
        let tape = &mut large.tape;
        let small = tape.matmul(a, b).unwrap();
        let big = tape.matmul(c, d).unwrap();
        let dt = tape.transpose(d).unwrap();
        let back = tape.matmul(big, dt).unwrap();
        let total = tape.inner(small, small).unwrap();
        let mut outputs = tape.grad(total, &[a, b]).unwrap();
        outputs.extend([small, big, back]);
        large.check("products", &outputs);
    }
}

#[test]
fn batches_of_positive_definite_systems() {
    for dtype in TYPES {
        let mut large = Large::new(dtype);
        let (s, b) = (large.input(&[40, 11, 11], 0.4), large.input(&[40, 11, 3], 1.0));
        let wide = large.input(&[60, 60], 0.3);
        let tape = &mut large.tape;
        let a = table_linear::spd(tape, s).unwrap();
        let x = tape.solve_spd(a, b).unwrap();
        let log_det = tape.log_det_spd(a).unwrap();
        let total = tape.sum_all(log_det).unwrap();
        let more = tape.inner(x, x).unwrap();
        let total = tape.add(total, more).unwrap();
        let mut outputs = tape.grad(total, &[s, b]).unwrap();
        let one = table_linear::spd(tape, wide).unwrap();
        let value = tape.log_det_spd(one).unwrap();
        outputs.extend([x, log_det, value, tape.grad(value, &[wide]).unwrap()[0]]);
        large.check("positive definite systems", &outputs);
    }
}

#[test]
fn long_gathers_and_scatters() {
    for dtype in TYPES {
        let mut large = Large::new(dtype);
        let x = large.input(&[1003, 9], 1.0);
        let index = large.index(5000, 1003);
        let tape = &mut large.tape;
        let picked = tape.gather(x, index, 0).unwrap();
        let wave = tape.cos(picked).unwrap();
        let spread = tape.scatter_add(wave, index, 0, 1003).unwrap();
        let total = tape.inner(wave, wave).unwrap();
        let gradient = tape.grad(total, &[x]).unwrap()[0];
        large.check("gather and scatter", &[picked, spread, gradient]);
    }
}
