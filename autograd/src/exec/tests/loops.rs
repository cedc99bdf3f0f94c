//! Random loops against plain ones.

use super::support::*;
use crate::DType;
use crate::op::{Binary, Unary};
use crate::plan::step::{Action, BufferId, Instruction, Loop, Operand, Reduction, Store, View};
use crate::plan::tests::naive::{binary, unary};
use std::ops::Range;

fn evaluate(code: &[Instruction], loads: &[f64]) -> Vec<f64> {
    let mut registers: Vec<f64> = Vec::new();
    for instruction in code {
        let get = |operand: Operand| match operand {
            Operand::Load(k) => loads[k as usize],
            Operand::Register(k) => registers[k as usize],
            Operand::Constant(bits) => f64::from_bits(bits),
        };
        let value = match *instruction {
            Instruction::Unary(f, a) => unary(f, get(a)),
            Instruction::Binary(f, a, b) => binary(f, get(a), get(b)),
            Instruction::Select(mask, a, b) => {
                if get(mask) != 0.0 {
                    get(a)
                } else {
                    get(b)
                }
            }
        };
        registers.push(value);
    }
    registers
}

/// What the loop should leave in each store's buffer; elements that it does not write stay 0.
pub(super) fn expected(body: &Loop, values: &[(BufferId, Vec<f64>)], sizes: &[(BufferId, usize)]) -> Vec<Vec<f64>> {
    let find = |id: BufferId| &values.iter().find(|(known, _)| *known == id).unwrap().1;
    let mut results: Vec<Vec<f64>> = sizes.iter().map(|(_, size)| vec![0.0; *size]).collect();
    let mut seen: Vec<Vec<bool>> = sizes.iter().map(|(_, size)| vec![false; *size]).collect();
    for point in points(&body.shape) {
        let loads: Vec<f64> = body.loads.iter().map(|view| find(view.buffer)[place(view, &point)]).collect();
        let registers = evaluate(&body.code, &loads);
        for (k, store) in body.stores.iter().enumerate() {
            let value = match store.value {
                Operand::Load(load) => loads[load as usize],
                Operand::Register(register) => registers[register as usize],
                Operand::Constant(bits) => f64::from_bits(bits),
            };
            let at = place(&store.to, &point);
            results[k][at] = match store.reduction {
                Some(_) if !seen[k][at] => value,
                Some(Reduction::Sum) => results[k][at] + value,
                Some(Reduction::Max) => results[k][at].max(value),
                None => value,
            };
            seen[k][at] = true;
        }
    }
    results
}

/// A view of the shape onto a new buffer: contiguous, broadcast, permuted or with gaps, as it happens.
fn random_view(
    bench: &mut Bench,
    random: &mut Random,
    shape: &[usize],
    dtype: DType,
    values: &mut Vec<(BufferId, Vec<f64>)>,
) -> View {
    let rank = shape.len();
    let mut order: Vec<usize> = (0..rank).collect();
    if random.below(4) == 0 {
        for k in (1..rank).rev() {
            order.swap(k, random.below(k + 1));
        }
    }
    let kind = random.below(4);
    let mut view_strides = vec![0; rank];
    let mut next = 1;
    for &axis in order.iter().rev() {
        if kind == 1 && random.below(2) == 0 {
            continue;
        }
        view_strides[axis] = next;
        next *= shape[axis] + usize::from(kind == 2) * random.below(3);
    }
    let offset = random.below(5);
    let data = random.reals(next + offset + 8);
    let buffer = bench.input(data.clone(), dtype);
    values.push((buffer, data));
    View { buffer, offset, shape: shape.to_vec(), strides: view_strides, dtype }
}

fn random_shape(random: &mut Random, limit: usize) -> Vec<usize> {
    loop {
        let rank = random.below(5);
        let shape: Vec<usize> =
            (0..rank).map(|_| random.pick(&[1, 2, 3, 5, 7, 8, 16, 31, 60, 105, 513, 1030, 4099])).collect();
        if shape.iter().product::<usize>() <= limit {
            return shape;
        }
    }
}

fn random_code(random: &mut Random, loads: usize) -> Vec<Instruction> {
    let mut code: Vec<Instruction> = Vec::new();
    for k in 0..random.below(7) {
        let mut operand = || match random.below(5) {
            0 => Operand::Constant(random.real().to_bits()),
            1 | 2 if k > 0 => Operand::Register(random.below(k) as u32),
            _ => Operand::Load(random.below(loads) as u32),
        };
        let (a, b, c) = (operand(), operand(), operand());
        code.push(match random.below(8) {
            0 => Instruction::Unary(random.pick(&[Unary::Neg, Unary::Square, Unary::Relu, Unary::Tanh, Unary::Abs]), a),
            1 => Instruction::Select(a, b, c),
            2 => Instruction::Unary(
                random.pick(&[Unary::Sigmoid, Unary::Softplus, Unary::Elu, Unary::Sin, Unary::Cos]),
                a,
            ),
            _ => Instruction::Binary(
                random.pick(&[Binary::Add, Binary::Sub, Binary::Mul, Binary::Max, Binary::Min]),
                a,
                b,
            ),
        });
    }
    code
}

/// Adds a random loop of at most `limit` points, and what it must leave.
fn add_random(bench: &mut Bench, dtype: DType, seed: u64, reduce: bool, limit: usize) {
    let mut random = Random::new(seed);
    let shape = random_shape(&mut random, limit);
    let mut values = Vec::new();
    let loads: Vec<View> =
        (0..1 + random.below(3)).map(|_| random_view(bench, &mut random, &shape, dtype, &mut values)).collect();
    let code = random_code(&mut random, loads.len());
    let reduced: Vec<bool> = shape.iter().map(|_| reduce && random.below(2) == 0).collect();
    let mut stores = Vec::new();
    let mut sizes = Vec::new();
    for k in 0..1 + random.below(2) {
        let combine = reduce && (k == 0 || random.below(2) == 0);
        let mut strides = vec![0; shape.len()];
        let mut next = 1;
        let gap = usize::from(random.below(3) == 0);
        for axis in (0..shape.len()).rev() {
            if !(combine && reduced[axis]) {
                strides[axis] = next;
                next *= shape[axis] + gap;
            }
        }
        let buffer = bench.output(next + 3, dtype);
        sizes.push((buffer, next + 3));
        let value = match (code.len(), random.below(6)) {
            (0, _) | (_, 0) => Operand::Load(random.below(loads.len()) as u32),
            (_, 1) => Operand::Constant(0.75_f64.to_bits()),
            (count, 2) => Operand::Register(random.below(count) as u32),
            (count, _) => Operand::Register(count as u32 - 1),
        };
        let reduction = combine.then(|| random.pick(&[Reduction::Sum, Reduction::Sum, Reduction::Max]));
        stores.push(Store { value, to: View { buffer, offset: 2, shape: shape.clone(), strides, dtype }, reduction });
    }
    let body = Loop { shape: shape.clone(), dtype, loads, code, stores };
    let right = expected(&body, &values, &sizes);
    let described = format!("seed {seed}: {body:?}");
    bench.step(Action::Loop(body));
    let count: usize = shape.iter().product();
    let tolerance = if dtype == DType::F32 { 2e-5 } else { 1e-13 } * (1.0 + (count as f64).sqrt() / 50.0);
    for ((buffer, _), right) in sizes.into_iter().zip(right) {
        bench.expect(buffer, right, tolerance, described.clone());
    }
}

/// Loops of one plan.
const TOGETHER: u64 = 50;

fn check_random(dtype: DType, seeds: Range<u64>, reduce: bool) {
    for first in seeds.clone().step_by(TOGETHER as usize) {
        let mut bench = Bench::new();
        (first..seeds.end.min(first + TOGETHER)).for_each(|seed| add_random(&mut bench, dtype, seed, reduce, 20_000));
        bench.check();
    }
}

#[test]
fn elementwise_loops_agree_with_plain_loops_on_random_views() {
    check_random(DType::F64, 0..250, false);
    check_random(DType::F32, 1000..1250, false);
}

#[test]
fn reductions_agree_with_plain_loops_on_random_views() {
    check_random(DType::F64, 2000..2350, true);
    check_random(DType::F32, 3000..3350, true);
}

#[test]
fn large_loops_that_are_spread_over_threads_agree_with_plain_loops() {
    let mut bench = Bench::new();
    for seed in 0..12 {
        add_random(&mut bench, DType::F64, seed + 5000, seed % 2 == 0, 600_000);
        add_random(&mut bench, DType::F32, seed + 6000, seed % 2 == 0, 600_000);
    }
    bench.check();
}
