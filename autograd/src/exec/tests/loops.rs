//! Loops against plain loops.

use super::support::*;
use crate::op::{Binary, Unary};
use crate::plan::step::{Action, BufferId, Instruction, Loop, Operand, Reduction, Store, View};
use crate::{DType, Error};
use std::ops::Range;

fn evaluate(code: &[Instruction], loads: &[f64]) -> Vec<f64> {
    let mut registers: Vec<f64> = Vec::new();
    let truth = |c: bool| f64::from(u8::from(c));
    for instruction in code {
        let get = |operand: Operand| match operand {
            Operand::Load(k) => loads[k as usize],
            Operand::Register(k) => registers[k as usize],
            Operand::Constant(bits) => f64::from_bits(bits),
        };
        let value = match *instruction {
            Instruction::Unary(f, a) => unary(f, get(a)),
            Instruction::Binary(f, a, b) => {
                let (a, b) = (get(a), get(b));
                match f {
                    Binary::Add => a + b,
                    Binary::Sub => a - b,
                    Binary::Mul => a * b,
                    Binary::Div => a / b,
                    Binary::Max => a.max(b),
                    Binary::Min => a.min(b),
                    Binary::Greater => truth(a > b),
                    Binary::GreaterEqual => truth(a >= b),
                    Binary::Equal => truth(a == b),
                }
            }
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

fn unary(f: Unary, x: f64) -> f64 {
    match f {
        Unary::Neg => -x,
        Unary::Exp => x.exp(),
        Unary::Expm1 => x.exp_m1(),
        Unary::Ln => x.ln(),
        Unary::Log1p => x.ln_1p(),
        Unary::Sqrt => x.sqrt(),
        Unary::Reciprocal => 1.0 / x,
        Unary::Square => x * x,
        Unary::Tanh => x.tanh(),
        Unary::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Unary::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
        Unary::Sin => x.sin(),
        Unary::Cos => x.cos(),
        Unary::Abs => x.abs(),
        Unary::Sign => {
            if x == 0.0 {
                0.0
            } else {
                x.signum()
            }
        }
        Unary::Relu => x.max(0.0),
        Unary::Step => f64::from(u8::from(x > 0.0)),
        Unary::Elu => {
            if x > 0.0 {
                x
            } else {
                x.exp_m1()
            }
        }
    }
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

/// A sum of made-up values over some axes.
pub(super) fn reduce(shape: &[usize], axes: &[usize], dtype: DType, value: impl Fn(usize) -> f64) -> Vec<f64> {
    let mut bench = Bench::new();
    let count: usize = shape.iter().product();
    let x = bench.input((0..count).map(value).collect(), dtype);
    let mut kept = shape.to_vec();
    axes.iter().for_each(|&axis| kept[axis] = 1);
    let size = kept.iter().product();
    let out = bench.output(size, dtype);
    let mut to = dense(out, &kept, dtype);
    to.shape = shape.to_vec();
    axes.iter().for_each(|&axis| to.strides[axis] = 0);
    bench.step(Action::Loop(Loop {
        shape: shape.to_vec(),
        dtype,
        loads: vec![dense(x, shape, dtype)],
        code: Vec::new(),
        stores: vec![Store { value: Operand::Load(0), to, reduction: Some(Reduction::Sum) }],
    }));
    bench.values(out)
}

#[test]
fn single_precision_sums_of_a_million_terms_keep_six_digits() {
    // 0.1 is not representable: a naive running sum is wrong in the third digit here.
    let exact = 4_000_000.0 * f64::from(0.1_f32);
    let all = reduce(&[4_000_000], &[0], DType::F32, |_| f64::from(0.1_f32));
    assert!((all[0] / exact - 1.0).abs() < 1e-6, "all: {}", all[0]);
    let columns = reduce(&[1_000_000, 4], &[0], DType::F32, |_| f64::from(0.1_f32));
    for sum in columns {
        assert!((sum / (exact / 4.0) - 1.0).abs() < 1e-6, "column: {sum}");
    }
    let wide = reduce(&[2000, 2000], &[0], DType::F32, |_| f64::from(0.1_f32));
    assert!((wide[7] / (exact / 2000.0) - 1.0).abs() < 1e-6, "wide column: {}", wide[7]);
}

#[test]
fn sums_over_every_choice_of_axes_are_exact_for_integers() {
    let shape = [6, 70, 7, 33];
    let value = |i: usize| (i % 19) as f64 - 9.0;
    for mask in 1..16_usize {
        let axes: Vec<usize> = (0..4).filter(|k| mask >> k & 1 == 1).collect();
        let mut kept = shape.to_vec();
        axes.iter().for_each(|&axis| kept[axis] = 1);
        let mut right = vec![0.0; kept.iter().product()];
        let kept_strides = strides(&kept);
        for (i, point) in points(&shape).enumerate() {
            let at: usize = (0..4).filter(|k| !axes.contains(k)).map(|k| point[k] * kept_strides[k]).sum();
            right[at] += value(i);
        }
        assert_eq!(reduce(&shape, &axes, DType::F64, value), right, "axes {axes:?}");
    }
}

#[test]
fn a_loop_may_overwrite_what_it_loads() {
    let mut bench = Bench::new();
    let values = Random::new(3).reals(5000);
    let x = bench.input(values.clone(), DType::F64);
    let view = dense(x, &[5000], DType::F64);
    bench.step(Action::Loop(Loop {
        shape: vec![5000],
        dtype: DType::F64,
        loads: vec![view.clone()],
        code: vec![
            Instruction::Unary(Unary::Square, Operand::Load(0)),
            Instruction::Binary(Binary::Add, Operand::Register(0), Operand::Load(0)),
        ],
        stores: vec![Store { value: Operand::Register(1), to: view, reduction: None }],
    }));
    let right: Vec<f64> = values.iter().map(|x| x * x + x).collect();
    assert_eq!(bench.values(x), right);
}

#[test]
fn two_buffers_may_be_exchanged_and_summed_in_one_loop() {
    let mut bench = Bench::new();
    let mut random = Random::new(9);
    let (first, second) = (random.reals(3000), random.reals(3000));
    let x = bench.input(first.clone(), DType::F64);
    let y = bench.input(second.clone(), DType::F64);
    let total = bench.output(1, DType::F64);
    let (x_view, y_view) = (dense(x, &[3000], DType::F64), dense(y, &[3000], DType::F64));
    bench.step(Action::Loop(Loop {
        shape: vec![3000],
        dtype: DType::F64,
        loads: vec![x_view.clone(), y_view.clone()],
        code: Vec::new(),
        stores: vec![
            Store { value: Operand::Load(1), to: x_view, reduction: None },
            Store { value: Operand::Load(0), to: y_view, reduction: None },
            Store {
                value: Operand::Load(0),
                to: View { shape: vec![3000], strides: vec![0], ..dense(total, &[1], DType::F64) },
                reduction: Some(Reduction::Sum),
            },
        ],
    }));
    assert_eq!(bench.values(x), second);
    assert_eq!(bench.values(y), first);
    assert_close(&bench.values(total), &[first.iter().sum()], 1e-12, "sum of the old values");
}

#[test]
fn loads_and_stores_convert_between_types() {
    let mut bench = Bench::new();
    let labels = bench.input((0..700).map(f64::from).collect(), DType::U32);
    let halves = bench.input((0..700).map(|i| f64::from(i) + 0.5).collect(), DType::F64);
    let (singles, integers) = (bench.output(700, DType::F32), bench.output(700, DType::U32));
    bench.step(Action::Loop(Loop {
        shape: vec![700],
        dtype: DType::F64,
        loads: vec![dense(labels, &[700], DType::U32), dense(halves, &[700], DType::F64)],
        code: vec![Instruction::Binary(Binary::Add, Operand::Load(0), Operand::Load(1))],
        stores: vec![
            Store { value: Operand::Register(0), to: dense(singles, &[700], DType::F32), reduction: None },
            Store { value: Operand::Register(0), to: dense(integers, &[700], DType::U32), reduction: None },
        ],
    }));
    let right: Vec<f64> = (0..700).map(|i| 2.0 * f64::from(i) + 0.5).collect();
    assert_eq!(bench.values(singles), right);
    assert_eq!(bench.values(integers), right.iter().map(|x| x.floor()).collect::<Vec<_>>());
}

#[test]
fn maxima_and_minima_do_not_swallow_what_is_not_a_number() {
    let mut bench = Bench::new();
    let a = bench.input(vec![f64::NAN, 1.0, 2.0], DType::F64);
    let b = bench.input(vec![1.0, f64::NAN, 1.0], DType::F64);
    let outs = [bench.output(3, DType::F64), bench.output(3, DType::F64), bench.output(1, DType::F64)];
    let view = |id| dense(id, &[3], DType::F64);
    let store = |value, to, reduction| Store { value, to, reduction };
    let total = View { shape: vec![3], strides: vec![0], ..dense(outs[2], &[1], DType::F64) };
    bench.step(Action::Loop(Loop {
        shape: vec![3],
        dtype: DType::F64,
        loads: vec![view(a), view(b)],
        code: vec![
            Instruction::Binary(Binary::Max, Operand::Load(0), Operand::Load(1)),
            Instruction::Binary(Binary::Min, Operand::Load(0), Operand::Load(1)),
        ],
        stores: vec![
            store(Operand::Register(0), view(outs[0]), None),
            store(Operand::Register(1), view(outs[1]), None),
            store(Operand::Load(0), total, Some(Reduction::Max)),
        ],
    }));
    for out in [outs[0], outs[1]] {
        let values = bench.values(out);
        assert!(values[0].is_nan() && values[1].is_nan() && !values[2].is_nan(), "{values:?}");
    }
    assert!(bench.values(outs[2])[0].is_nan());
}

#[test]
fn a_view_that_leaves_its_buffer_is_refused() {
    let mut bench = Bench::new();
    let x = bench.input(vec![0.0; 10], DType::F64);
    let out = bench.output(10, DType::F64);
    let mut load = dense(x, &[10], DType::F64);
    load.offset = 1;
    bench.step(Action::Loop(Loop {
        shape: vec![10],
        dtype: DType::F64,
        loads: vec![load],
        code: Vec::new(),
        stores: vec![Store { value: Operand::Load(0), to: dense(out, &[10], DType::F64), reduction: None }],
    }));
    assert!(matches!(bench.machine(1), Err(Error::Shape { .. })));
}

#[test]
fn a_store_onto_itself_is_refused() {
    let mut bench = Bench::new();
    let out = bench.output(10, DType::F64);
    let mut to = dense(out, &[5, 2], DType::F64);
    to.strides = vec![1, 1];
    bench.step(Action::Loop(Loop {
        shape: vec![5, 2],
        dtype: DType::F64,
        loads: Vec::new(),
        code: Vec::new(),
        stores: vec![Store { value: Operand::Constant(0), to, reduction: None }],
    }));
    assert!(matches!(bench.machine(1), Err(Error::Shape { .. })));
}

#[test]
fn transposed_copies_are_exact_for_sides_that_tiles_divide_and_sides_that_they_do_not() {
    for [batch, rows, columns] in
        [[1, 64, 1024], [1, 1000, 130], [2, 127, 96], [3, 9, 640], [1, 1030, 1030], [1, 7, 4096]]
    {
        for dtype in [DType::F32, DType::F64] {
            let mut bench = Bench::new();
            let count = batch * rows * columns;
            let values: Vec<f64> = (0..count).map(|i| i as f64).collect();
            let x = bench.input(values.clone(), dtype);
            let y = bench.output(count, dtype);
            let load = permuted(&dense(x, &[batch, rows, columns], dtype), &[0, 2, 1]);
            let to = dense(y, &[batch, columns, rows], dtype);
            let right: Vec<f64> = points(&load.shape).map(|point| values[place(&load, &point)]).collect();
            bench.step(Action::Loop(Loop {
                shape: load.shape.clone(),
                dtype,
                loads: vec![load],
                code: Vec::new(),
                stores: vec![Store { value: Operand::Load(0), to, reduction: None }],
            }));
            assert_eq!(bench.values(y), right);
        }
    }
}

#[test]
fn integers_are_copied_selected_summed_and_wrap() {
    let mut bench = Bench::new();
    let values: Vec<f64> = (0..3000).map(|i| f64::from(i * 1_000_003_u32 % 4_000_000_007)).collect();
    let x = bench.input(values.clone(), DType::U32);
    let (copy, sum, max) = (bench.output(3000, DType::U32), bench.output(1, DType::U32), bench.output(1, DType::U32));
    let view = |buffer| dense(buffer, &[3000], DType::U32);
    let total = |buffer| View { strides: vec![0], ..view(buffer) };
    let store = |value, to, reduction| Store { value, to, reduction };
    bench.step(Action::Loop(Loop {
        shape: vec![3000],
        dtype: DType::U32,
        loads: vec![view(x)],
        code: vec![
            Instruction::Binary(Binary::Div, Operand::Load(0), Operand::Constant(7.0_f64.to_bits())),
            Instruction::Binary(Binary::Div, Operand::Load(0), Operand::Constant(0.0_f64.to_bits())),
            Instruction::Binary(Binary::Add, Operand::Register(0), Operand::Register(1)),
        ],
        stores: vec![
            store(Operand::Register(2), view(copy), None),
            store(Operand::Load(0), total(sum), Some(Reduction::Sum)),
            store(Operand::Load(0), total(max), Some(Reduction::Max)),
        ],
    }));
    assert_eq!(bench.values(copy), values.iter().map(|x| (x / 7.0).floor()).collect::<Vec<_>>());
    let wrapped = values.iter().fold(0_u32, |sum, &x| sum.wrapping_add(x as u32));
    assert_eq!(bench.values(sum), [f64::from(wrapped)]);
    assert_eq!(bench.values(max), [values.iter().copied().fold(0.0, f64::max)]);
}

#[test]
fn reals_become_integers_towards_zero_and_within_their_range() {
    let mut bench = Bench::new();
    let values = vec![-1.0, -0.5, 0.0, 0.99, 1.5, 4_294_967_040.0, 4_294_967_296.0, 1e20, f64::INFINITY, f64::NAN];
    let right = [0.0, 0.0, 0.0, 0.0, 1.0, 4_294_967_040.0, 4_294_967_295.0, 4_294_967_295.0, 4_294_967_295.0, 0.0];
    for dtype in [DType::F32, DType::F64] {
        let x = bench.input(values.clone(), dtype);
        let out = bench.output(10, DType::U32);
        bench.step(Action::Loop(Loop {
            shape: vec![10],
            dtype,
            loads: vec![dense(x, &[10], dtype)],
            code: Vec::new(),
            stores: vec![Store { value: Operand::Load(0), to: dense(out, &[10], DType::U32), reduction: None }],
        }));
        assert_eq!(bench.values(out), right);
    }
}

#[test]
fn functions_are_right_where_they_bend_and_where_they_end() {
    let functions = [
        Unary::Exp,
        Unary::Expm1,
        Unary::Ln,
        Unary::Log1p,
        Unary::Sqrt,
        Unary::Reciprocal,
        Unary::Tanh,
        Unary::Sigmoid,
        Unary::Softplus,
        Unary::Sin,
        Unary::Cos,
        Unary::Sign,
        Unary::Relu,
        Unary::Step,
        Unary::Elu,
    ];
    let values = vec![-1e3, -90.0, -3.0, -1.0, -0.5, -1e-5, -0.0, 0.0, 1e-5, 0.5, 1.0, 3.0, 90.0, 1e3, f64::NAN];
    for (dtype, tolerance) in [(DType::F32, 5e-7), (DType::F64, 1e-15)] {
        let mut bench = Bench::new();
        let x = bench.input(values.clone(), dtype);
        let count = values.len();
        let outs: Vec<BufferId> = functions.iter().map(|_| bench.output(count, dtype)).collect();
        let results = outs.iter().enumerate().map(|(k, &out)| Store {
            value: Operand::Register(k as u32),
            to: dense(out, &[count], dtype),
            reduction: None,
        });
        bench.step(Action::Loop(Loop {
            shape: vec![count],
            dtype,
            loads: vec![dense(x, &[count], dtype)],
            code: functions.iter().map(|&f| Instruction::Unary(f, Operand::Load(0))).collect(),
            stores: results.collect(),
        }));
        for (&f, &out) in functions.iter().zip(&outs) {
            for (&value, found) in values.iter().zip(bench.values(out)) {
                let (value, mut right) = if dtype == DType::F32 {
                    let value = f64::from(value as f32);
                    (value, f64::from(unary(f, value) as f32))
                } else {
                    (value, unary(f, value))
                };
                if value.is_nan() {
                    right = if matches!(f, Unary::Step | Unary::Sign) { 0.0 } else { f64::NAN };
                }
                // Subnormal numbers have fewer digits.
                let close = (found - right).abs() <= tolerance * right.abs() + 1e-44 || found == right;
                assert!(close || found.is_nan() && right.is_nan(), "{} of {value}: {found}, {right}", f.name());
            }
        }
    }
}
