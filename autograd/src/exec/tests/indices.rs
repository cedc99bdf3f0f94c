//! Index steps against their definitions.

use super::support::*;
use crate::plan::step::Action;
use crate::{DType, Error};

const INDEX: [usize; 5] = [3, 0, 3, 1, 3];

#[test]
fn gather_picks_and_scatter_add_adds_back_in_order() {
    for dtype in [DType::F32, DType::F64] {
        for [outer, entries, inner] in [[1, 4, 1], [3, 5, 7], [2, 4, 300], [200, 4, 100]] {
            let mut bench = Bench::new();
            let x = Random::new(8).reals(outer * entries * inner);
            let source = bench.input(x.clone(), dtype);
            let index = bench.input(INDEX.iter().map(|&i| i as f64).collect(), DType::U32);
            let picked = bench.output(outer * 5 * inner, dtype);
            let sums = bench.output(outer * entries * inner, dtype);
            let index_view = dense(index, &[5], DType::U32);
            bench.step(Action::Gather {
                x: dense(source, &[outer, entries, inner], dtype),
                index: index_view.clone(),
                out: dense(picked, &[outer, 5, inner], dtype),
            });
            bench.step(Action::ScatterAdd {
                u: dense(picked, &[outer, 5, inner], dtype),
                index: index_view,
                out: dense(sums, &[outer, entries, inner], dtype),
            });
            let mut right_picked = vec![0.0; outer * 5 * inner];
            let mut right_sums = vec![0.0; outer * entries * inner];
            for i in 0..outer {
                for (j, &entry) in INDEX.iter().enumerate() {
                    for l in 0..inner {
                        let value = x[(i * entries + entry) * inner + l];
                        right_picked[(i * 5 + j) * inner + l] = value;
                        right_sums[(i * entries + entry) * inner + l] += value;
                    }
                }
            }
            assert_eq!(bench.values(picked), right_picked);
            assert_close(&bench.values(sums), &right_sums, 1e-6, "scatter");
        }
    }
}

#[test]
fn one_hot_marks_the_class() {
    let mut bench = Bench::new();
    let index = bench.input(vec![2.0, 0.0], DType::U32);
    let out = bench.output(6, DType::F32);
    bench.step(Action::OneHot { index: dense(index, &[2], DType::U32), out: dense(out, &[2, 3], DType::F32) });
    assert_eq!(bench.values(out), [0.0, 0.0, 1.0, 1.0, 0.0, 0.0]);
}

#[test]
fn index_offset_adds_a_stride_for_each_row() {
    let mut bench = Bench::new();
    let index = bench.input(vec![2.0, 0.0, 1.0, 1.0], DType::U32);
    let out = bench.output(4, DType::U32);
    bench.step(Action::IndexOffset {
        index: dense(index, &[2, 2], DType::U32),
        stride: 10,
        out: dense(out, &[2, 2], DType::U32),
    });
    assert_eq!(bench.values(out), [2.0, 0.0, 11.0, 11.0]);
}

#[test]
fn the_identity_has_ones_on_the_diagonal() {
    let mut bench = Bench::new();
    let out = bench.output(9, DType::F64);
    bench.step(Action::Identity { out: dense(out, &[3, 3], DType::F64) });
    assert_eq!(bench.values(out), [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
}

#[test]
fn an_index_out_of_range_is_named_with_its_position() {
    let mut bench = Bench::new();
    let index = bench.input(vec![0.0, 2.0, 3.0], DType::U32);
    let out = bench.output(9, DType::F64);
    bench.step(Action::OneHot { index: dense(index, &[3], DType::U32), out: dense(out, &[3, 3], DType::F64) });
    match bench.machine(1) {
        Err(Error::IndexOutOfRange { index, position, length, .. }) => assert_eq!((index, position, length), (3, 2, 3)),
        other => panic!("{other:?}"),
    }
}
