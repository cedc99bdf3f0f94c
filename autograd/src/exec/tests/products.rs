//! Products against plain loops.

use super::support::*;
use crate::op::{Binary, Unary};
use crate::plan::step::{Action, Epilogue, Instruction, Operand, Product, View};
use crate::{DType, Error};

/// Operands may be transposed, shared by the batch, or both.
fn operand(
    bench: &mut Bench,
    random: &mut Random,
    [batch, rows, columns]: [usize; 3],
    dtype: DType,
) -> (View, Vec<f64>) {
    let shared = random.below(3) == 0;
    let stored = if shared { 1 } else { batch };
    let values = random.reals(stored * rows * columns);
    let buffer = bench.input(values.clone(), dtype);
    let mut view = if random.below(2) == 0 {
        permuted(&dense(buffer, &[stored, columns, rows], dtype), &[0, 2, 1])
    } else {
        dense(buffer, &[stored, rows, columns], dtype)
    };
    view.shape[0] = batch;
    if shared {
        view.strides[0] = 0;
    }
    (view, values)
}

/// Adds a product, and what it must leave.
fn add(bench: &mut Bench, seed: u64, [batch, m, k, n]: [usize; 4], dtype: DType) {
    let mut random = Random::new(seed);
    let (a, a_values) = operand(bench, &mut random, [batch, m, k], dtype);
    let (b, b_values) = operand(bench, &mut random, [batch, k, n], dtype);
    let summed = random.below(4) == 0;
    let accumulate = random.below(3) == 0;
    let results = if summed { 1 } else { batch };
    let start = random.reals(results * m * n);
    let buffer = bench.input(start.clone(), dtype);
    let mut out = dense(buffer, &[results, m, n], dtype);
    out.shape[0] = batch;
    if summed {
        out.strides[0] = 0;
    }
    let mut right = if accumulate { start } else { vec![0.0; results * m * n] };
    for e in 0..batch {
        for i in 0..m {
            for j in 0..n {
                let sum: f64 = (0..k).map(|l| a_values[place(&a, &[e, i, l])] * b_values[place(&b, &[e, l, j])]).sum();
                right[place(&out, &[e, i, j])] += sum;
            }
        }
    }
    let bias = random.reals(n);
    let mut activated = None;
    let mut epilogue = None;
    if random.below(2) == 0 {
        let bias_buffer = bench.input(bias.clone(), dtype);
        let target = bench.output(results * m * n, dtype);
        activated = Some(target);
        let bias_view = View { shape: vec![results, m, n], strides: vec![0, 0, 1], ..dense(bias_buffer, &[n], dtype) };
        epilogue = Some(Epilogue {
            loads: vec![bias_view],
            code: vec![
                Instruction::Binary(Binary::Add, Operand::Load(0), Operand::Load(1)),
                Instruction::Unary(Unary::Tanh, Operand::Register(0)),
            ],
            stores: vec![
                (Operand::Register(1), dense(target, &[results, m, n], dtype)),
                (Operand::Register(0), dense(buffer, &[results, m, n], dtype)),
            ],
        });
    }
    let with_bias = epilogue.is_some();
    bench.step(Action::Product(Product { a, b, out, accumulate, epilogue }));
    let tolerance = if dtype == DType::F32 { 3e-6 } else { 1e-14 } * (1.0 + (k * batch) as f64);
    if with_bias {
        for (i, value) in right.iter_mut().enumerate() {
            *value += bias[i % n];
        }
    }
    let what = format!("seed {seed}: {batch} products of {m}x{k} and {k}x{n}");
    if let Some(target) = activated {
        bench.expect(target, right.iter().map(|x| x.tanh()).collect(), tolerance, what.clone());
    }
    bench.expect(buffer, right, tolerance, what);
}

#[test]
fn products_of_random_shapes_agree_with_plain_loops() {
    let mut random = Random::new(99);
    for group in 0..6 {
        let mut bench = Bench::new();
        for seed in 50 * group..50 * (group + 1) {
            let mut side = || random.pick(&[1, 1, 2, 3, 5, 7, 10, 16, 17, 31, 50]);
            let sizes = [side().min(7), side(), side(), side()];
            add(&mut bench, seed, sizes, DType::F64);
            add(&mut bench, seed + 1000, sizes, DType::F32);
        }
        bench.check();
    }
}

#[test]
fn large_products_agree_with_plain_loops() {
    for (seed, sizes) in [
        [1, 300, 200, 150],
        [1, 1000, 60, 33],
        [2, 257, 64, 129],
        [40, 60, 60, 60],
        [1, 1, 5000, 300],
        [1, 700, 900, 1],
        [3, 500, 1, 400],
        [1, 30, 20_000, 25],
        [1, 7, 90_001, 9],
        [300, 3, 40, 50],
        [300, 40, 5, 60],
        [200, 30, 20, 2],
    ]
    .into_iter()
    .enumerate()
    {
        let mut bench = Bench::new();
        for repeat in 0..6 {
            add(&mut bench, 2000 + 10 * seed as u64 + repeat, sizes, DType::F64);
            add(&mut bench, 3000 + 10 * seed as u64 + repeat, sizes, DType::F32);
        }
        bench.check();
    }
}

#[test]
fn products_along_a_long_inner_axis_agree_with_plain_loops() {
    for (seed, sizes) in
        [[1, 50, 4000, 40], [1, 3, 90_000, 17], [1, 130, 600, 90], [1, 1, 300_000, 15]].into_iter().enumerate()
    {
        let mut bench = Bench::new();
        for repeat in 0..4 {
            add(&mut bench, 4000 + 10 * seed as u64 + repeat, sizes, DType::F64);
            add(&mut bench, 5000 + 10 * seed as u64 + repeat, sizes, DType::F32);
        }
        bench.check();
    }
}

#[test]
fn long_batches_of_small_products_agree_with_plain_loops() {
    for (seed, sizes) in
        [[200, 3, 20, 10], [200, 20, 3, 10], [200, 10, 20, 1], [60, 1, 30, 40], [150, 1, 1, 9], [90, 2, 5, 3]]
            .into_iter()
            .enumerate()
    {
        // As many as make it likely that each operand is shared, and the batch summed, with and without an epilogue.
        let mut bench = Bench::new();
        for repeat in 0..40 {
            add(&mut bench, 6000 + 100 * seed as u64 + repeat, sizes, DType::F64);
        }
        bench.check();
    }
}

#[test]
fn sums_of_no_products_and_products_of_no_columns_are_zero() {
    for (batch, k) in [(1, 0), (5, 0)] {
        for summed in [false, true] {
            let mut bench = Bench::new();
            let (a, b) = (bench.input(Vec::new(), DType::F64), bench.input(Vec::new(), DType::F64));
            let out = bench.input(vec![7.0; batch * 6], DType::F64);
            let mut to = dense(out, &[batch, 2, 3], DType::F64);
            if summed {
                to.strides[0] = 0;
            }
            bench.step(Action::Product(Product {
                a: dense(a, &[batch, 2, k], DType::F64),
                b: dense(b, &[batch, k, 3], DType::F64),
                out: to,
                accumulate: false,
                epilogue: None,
            }));
            let written = if summed { 6 } else { 6 * batch };
            assert!(bench.values(out)[..written].iter().all(|&x| x == 0.0), "{batch} products, summed: {summed}");
        }
    }
}

#[test]
fn a_matrix_times_its_own_transpose_is_exactly_symmetric_and_right() {
    for (batch, n, k) in
        [(1, 2, 3), (1, 7, 7), (3, 33, 50), (1, 250, 190), (2, 401, 20), (1, 1, 5), (1, 60, 3000), (1, 33, 9001)]
    {
        for transposed in [false, true] {
            let mut bench = Bench::new();
            let values = Random::new(n as u64).reals(batch * n * k);
            let buffer = bench.input(values.clone(), DType::F64);
            let a = if transposed {
                permuted(&dense(buffer, &[batch, k, n], DType::F64), &[0, 2, 1])
            } else {
                dense(buffer, &[batch, n, k], DType::F64)
            };
            let b = permuted(&a, &[0, 2, 1]);
            let out = bench.output(batch * n * n, DType::F64);
            let to = dense(out, &[batch, n, n], DType::F64);
            let mut right = vec![0.0; batch * n * n];
            for e in 0..batch {
                for i in 0..n {
                    for j in 0..n {
                        right[place(&to, &[e, i, j])] =
                            (0..k).map(|l| values[place(&a, &[e, i, l])] * values[place(&a, &[e, j, l])]).sum();
                    }
                }
            }
            bench.step(Action::Product(Product { a, b, out: to.clone(), accumulate: false, epilogue: None }));
            let found = bench.values(out);
            assert_close(&found, &right, 1e-13 * k as f64, "Gram matrix");
            for e in 0..batch {
                for i in 0..n {
                    for j in 0..i {
                        assert_eq!(found[place(&to, &[e, i, j])], found[place(&to, &[e, j, i])]);
                    }
                }
            }
        }
    }
}

#[test]
fn an_epilogue_works_on_symmetric_products() {
    let mut bench = Bench::new();
    let n = 400;
    let values = Random::new(5).reals(n * 90);
    let buffer = bench.input(values.clone(), DType::F64);
    let a = dense(buffer, &[1, n, 90], DType::F64);
    let b = permuted(&a, &[0, 2, 1]);
    let (out, squares) = (bench.output(n * n, DType::F64), bench.output(n * n, DType::F64));
    bench.step(Action::Product(Product {
        a,
        b,
        out: dense(out, &[1, n, n], DType::F64),
        accumulate: false,
        epilogue: Some(Epilogue {
            loads: Vec::new(),
            code: vec![Instruction::Unary(Unary::Square, Operand::Load(0))],
            stores: vec![(Operand::Register(0), dense(squares, &[1, n, n], DType::F64))],
        }),
    }));
    let right: Vec<f64> = bench.values(out).iter().map(|x| x * x).collect();
    assert_eq!(bench.values(squares), right);
}

#[test]
fn an_epilogue_may_overwrite_the_product_and_store_it_elsewhere() {
    let mut bench = Bench::new();
    let a = bench.input(Random::new(1).reals(40 * 30), DType::F64);
    let b = bench.input(Random::new(2).reals(30 * 20), DType::F64);
    let (out, copy) = (bench.output(800, DType::F64), bench.output(800, DType::F64));
    let view = |id| dense(id, &[1, 40, 20], DType::F64);
    bench.step(Action::Product(Product {
        a: dense(a, &[1, 40, 30], DType::F64),
        b: dense(b, &[1, 30, 20], DType::F64),
        out: view(out),
        accumulate: false,
        epilogue: Some(Epilogue {
            loads: Vec::new(),
            code: vec![Instruction::Unary(Unary::Square, Operand::Load(0))],
            stores: vec![(Operand::Register(0), view(out)), (Operand::Load(0), view(copy))],
        }),
    }));
    let right: Vec<f64> = bench.values(copy).iter().map(|x| x * x).collect();
    assert_eq!(bench.values(out), right);
}

#[test]
fn a_product_onto_its_operand_is_refused() {
    let mut bench = Bench::new();
    let x = bench.input(vec![1.0; 9], DType::F64);
    let view = dense(x, &[1, 3, 3], DType::F64);
    bench.step(Action::Product(Product {
        a: view.clone(),
        b: view.clone(),
        out: view,
        accumulate: false,
        epilogue: None,
    }));
    assert!(matches!(bench.machine(1), Err(Error::Shape { .. })));
}

/// Runs one product on one, two and three threads; `values` compares the bits.
fn same_bits([batch, m, k, n]: [usize; 4], dtype: DType, flip: [bool; 3], epilogue: bool) {
    let mut bench = Bench::new();
    let mut random = Random::new((m * 31 + k * 7 + n) as u64);
    let mut matrix = |bench: &mut Bench, rows: usize, columns: usize, flip: bool| {
        let buffer = bench.input(random.reals(batch * rows * columns), dtype);
        if flip {
            permuted(&dense(buffer, &[batch, columns, rows], dtype), &[0, 2, 1])
        } else {
            dense(buffer, &[batch, rows, columns], dtype)
        }
    };
    let a = matrix(&mut bench, m, k, flip[0]);
    let b = matrix(&mut bench, k, n, flip[1]);
    let out = matrix(&mut bench, m, n, flip[2]);
    let buffer = out.buffer;
    let epilogue = epilogue.then(|| Epilogue {
        loads: Vec::new(),
        code: vec![Instruction::Unary(Unary::Tanh, Operand::Load(0))],
        stores: vec![(Operand::Register(0), out.clone())],
    });
    bench.step(Action::Product(Product { a, b, out, accumulate: true, epilogue }));
    bench.values(buffer);
}

#[test]
fn cutting_large_products_into_blocks_does_not_change_a_bit() {
    for sizes in [
        [1, 1000, 600, 700],
        [1, 257, 1025, 513],
        [1, 3000, 1000, 1],
        [1, 1, 1000, 3000],
        [1, 1500, 1, 1700],
        [1, 300, 2000, 310],
        [1, 20, 700, 3001],
        [2, 769, 129, 97],
        [1, 4099, 33, 65],
    ] {
        for flips in 0..8 {
            let flip = [flips & 1 == 1, flips & 2 == 2, flips & 4 == 4];
            for dtype in [DType::F32, DType::F64] {
                same_bits(sizes, dtype, flip, false);
                if flips == 0 || flips == 7 {
                    same_bits(sizes, dtype, flip, true);
                }
            }
        }
    }
}
