//! Single loops whose results are known: sums, conversions, overwriting, refusals, functions at their ends.

use super::support::*;
use crate::op::{Binary, Unary};
use crate::plan::step::{Action, BufferId, Instruction, Loop, Operand, Reduction, Store, View};
use crate::plan::tests::naive::unary;
use crate::{DType, Error};

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
