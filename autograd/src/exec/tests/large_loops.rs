//! Loops large enough for packs, segments and shared results, against plain loops.

use super::loop_cases::reduce;
use super::loops::expected;
use super::support::*;
use crate::DType;
use crate::op::{Binary, Unary};
use crate::plan::step::{Action, BufferId, Instruction, Loop, Operand, Reduction, Store, View};

/// Adds a loop, and what a plain one leaves in each store's buffer.
fn add_loop(bench: &mut Bench, body: Loop, inputs: &[(BufferId, Vec<f64>)], tolerance: f64) {
    let sizes: Vec<(BufferId, usize)> =
        body.stores.iter().map(|store| (store.to.buffer, bench.buffers[store.to.buffer.0].elements)).collect();
    let right = expected(&body, inputs, &sizes);
    let described = format!("{body:?}");
    bench.step(Action::Loop(body));
    for ((buffer, _), right) in sizes.into_iter().zip(right) {
        bench.expect(buffer, right, tolerance, described.clone());
    }
}

#[test]
fn many_elements_are_right_at_every_alignment_and_for_lengths_that_packs_do_not_divide() {
    let mut bench = Bench::new();
    for (dtype, length, offset) in [
        (DType::F32, 1 << 17, 0),
        (DType::F32, (1 << 17) + 1, 0),
        (DType::F32, (1 << 17) + 3, 4),
        (DType::F32, 1 << 17, 1),
        (DType::F32, 1 << 17, 2),
        (DType::F64, (1 << 17) + 1, 2),
        (DType::F64, 1 << 17, 1),
        (DType::F32, (1 << 21) + 5, 0),
    ] {
        let mut random = Random::new(length as u64 + offset as u64);
        let (first, second) = (random.reals(length + offset), random.reals(length + 1));
        let (x, y) = (bench.input(first.clone(), dtype), bench.input(second.clone(), dtype));
        let out = bench.output(length + 8, dtype);
        let view = |buffer, offset| View { buffer, offset, shape: vec![length], strides: vec![1], dtype };
        let body = Loop {
            shape: vec![length],
            dtype,
            loads: vec![view(x, offset), view(y, 0), view(y, 1), View { strides: vec![0], ..view(y, 1) }],
            code: vec![
                Instruction::Binary(Binary::Sub, Operand::Load(0), Operand::Load(1)),
                Instruction::Binary(Binary::Mul, Operand::Register(0), Operand::Load(2)),
                Instruction::Binary(Binary::Add, Operand::Register(1), Operand::Load(3)),
            ],
            stores: vec![Store { value: Operand::Register(2), to: view(out, 4), reduction: None }],
        };
        add_loop(&mut bench, body, &[(x, first), (y, second)], 1e-6);
    }
    bench.check();
}

#[test]
fn a_bias_is_added_to_every_row_of_a_batch() {
    let mut bench = Bench::new();
    for [batch, rows, columns] in [[8, 64, 300], [5, 7, 2001], [40, 60, 30]] {
        for dtype in [DType::F32, DType::F64] {
            let mut random = Random::new(columns as u64);
            let shape = [batch, rows, columns];
            let (values, biases, scales) =
                (random.reals(batch * rows * columns), random.reals(columns), random.reals(batch * rows));
            let (x, bias, scale) = (
                bench.input(values.clone(), dtype),
                bench.input(biases.clone(), dtype),
                bench.input(scales.clone(), dtype),
            );
            let out = bench.output(batch * rows * columns, dtype);
            let body = Loop {
                shape: shape.to_vec(),
                dtype,
                loads: vec![
                    dense(x, &shape, dtype),
                    View { strides: vec![0, 0, 1], ..dense(bias, &shape, dtype) },
                    View { strides: vec![rows, 1, 0], ..dense(scale, &shape, dtype) },
                ],
                code: vec![
                    Instruction::Binary(Binary::Add, Operand::Load(0), Operand::Load(1)),
                    Instruction::Binary(Binary::Mul, Operand::Register(0), Operand::Load(2)),
                    Instruction::Unary(Unary::Relu, Operand::Register(1)),
                ],
                stores: vec![Store { value: Operand::Register(2), to: dense(out, &shape, dtype), reduction: None }],
            };
            add_loop(&mut bench, body, &[(x, values), (bias, biases), (scale, scales)], 1e-6);
        }
    }
    bench.check();
}

/// The sum and the maximum of a product over some axes, its values stored as well: all in one loop.
fn add_mixed(bench: &mut Bench, shape: &[usize], axes: &[usize], dtype: DType, order: &[usize]) {
    let count: usize = shape.iter().product();
    let mut random = Random::new(count as u64 + axes.len() as u64);
    let (first, second) = (random.reals(count), random.reals(count));
    let (x, y) = (bench.input(first.clone(), dtype), bench.input(second.clone(), dtype));
    let mut kept = shape.to_vec();
    axes.iter().for_each(|&axis| kept[axis] = 1);
    let results = kept.iter().product();
    let (product, sum, max) =
        (bench.output(count, dtype), bench.output(results, dtype), bench.output(results, DType::F64));
    let inner: Vec<usize> = order.iter().map(|&k| shape[k]).collect();
    let mut back = vec![0; order.len()];
    order.iter().enumerate().for_each(|(k, &axis)| back[axis] = k);
    let reduced = |buffer, dtype| {
        let mut to = dense(buffer, &kept, dtype);
        to.shape = shape.to_vec();
        axes.iter().for_each(|&axis| to.strides[axis] = 0);
        to
    };
    let body = Loop {
        shape: shape.to_vec(),
        dtype,
        loads: vec![permuted(&dense(x, &inner, dtype), &back), permuted(&dense(y, &inner, dtype), &back)],
        code: vec![Instruction::Binary(Binary::Mul, Operand::Load(0), Operand::Load(1))],
        stores: vec![
            Store { value: Operand::Register(0), to: permuted(&dense(product, &inner, dtype), &back), reduction: None },
            Store { value: Operand::Register(0), to: reduced(sum, dtype), reduction: Some(Reduction::Sum) },
            Store { value: Operand::Register(0), to: reduced(max, DType::F64), reduction: Some(Reduction::Max) },
        ],
    };
    let tolerance = if dtype == DType::F32 { 1e-6 } else { 1e-14 } * (count as f64).sqrt().max(1.0);
    add_loop(bench, body, &[(x, first), (y, second)], tolerance);
}

#[test]
fn products_are_stored_summed_and_maximized_in_one_loop_for_all_sorts_of_reductions() {
    for dtype in [DType::F32, DType::F64] {
        let mut bench = Bench::new();
        // Long rows, few and many; short rows; rows of odd lengths.
        for shape in [[1, 300_000], [3, 100_003], [40, 5000], [700, 400], [3000, 100], [20_000, 10], [9000, 3]] {
            add_mixed(&mut bench, &shape, &[1], dtype, &[0, 1]);
        }
        // Long columns, few and many; short columns.
        for shape in [[100_000, 3], [40_000, 7], [5000, 40], [3000, 129], [100, 3000], [10, 20_000], [3, 9000]] {
            add_mixed(&mut bench, &shape, &[0], dtype, &[0, 1]);
        }
        // Axes between, around and across memory.
        add_mixed(&mut bench, &[50, 40, 60], &[1], dtype, &[0, 1, 2]);
        add_mixed(&mut bench, &[50, 40, 60], &[0, 2], dtype, &[0, 1, 2]);
        add_mixed(&mut bench, &[64, 12, 8, 8], &[0, 2, 3], dtype, &[0, 1, 2, 3]);
        add_mixed(&mut bench, &[50, 40, 60], &[2], dtype, &[2, 0, 1]);
        add_mixed(&mut bench, &[500, 300], &[0], dtype, &[1, 0]);
        add_mixed(&mut bench, &[200_000], &[0], dtype, &[0]);
        bench.check();
    }
}

#[test]
fn sums_of_what_is_not_finite_are_not_finite() {
    for (rows, columns) in [(2, 40_000), (40_000, 2), (3000, 4)] {
        let by_rows = columns > rows;
        let mut values = vec![1.0; rows * columns];
        // In the first result an infinity, in the second infinities of both signs.
        let step = if by_rows { 1 } else { columns };
        let second = if by_rows { columns } else { 1 };
        values[7 * step] = f64::INFINITY;
        values[second + 11 * step] = f64::INFINITY;
        values[second + 900 * step] = f64::NEG_INFINITY;
        for dtype in [DType::F32, DType::F64] {
            let sums = reduce(&[rows, columns], &[usize::from(by_rows)], dtype, |i| values[i]);
            assert!(sums[0] == f64::INFINITY && sums[1].is_nan(), "{sums:?}");
            assert!(sums[2..].iter().all(|sum| sum.is_finite()));
        }
    }
}
