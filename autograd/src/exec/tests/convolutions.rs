//! Parts of convolutions against plain loops.

use super::support::*;
use crate::op::{Conv2d, ConvPart};
use crate::plan::step::{Action, Convolution, View};
use crate::{DType, Error};

/// Groups, images, channels of images and results, size of images and filters, stride, padding.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    groups: usize,
    images: usize,
    channels: [usize; 2],
    image: [usize; 2],
    filter: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
}

impl Sizes {
    fn results(&self) -> [usize; 2] {
        [0, 1].map(|k| (self.image[k] + 2 * self.padding[k] - self.filter[k]) / self.stride[k] + 1)
    }

    fn shapes(&self) -> [Vec<usize>; 3] {
        let [c, o] = self.channels;
        let lead = [[self.images, c], [o, c], [self.images, o]];
        let last = [self.image, self.filter, self.results()];
        [0, 1, 2].map(|k| [&[self.groups], &lead[k][..], &last[k][..]].concat())
    }
}

/// A view of random numbers: contiguous, with rows and columns swapped in memory, or shared by all groups.
fn operand(bench: &mut Bench, random: &mut Random, shape: &[usize], dtype: DType) -> (View, Vec<f64>) {
    let count: usize = shape.iter().product();
    let values = random.reals(count);
    let buffer = bench.input(values.clone(), dtype);
    let view = match random.below(3) {
        0 => dense(buffer, shape, dtype),
        1 => {
            let stored: Vec<usize> = [&shape[..3], &[shape[4], shape[3]]].concat();
            permuted(&dense(buffer, &stored, dtype), &[0, 1, 2, 4, 3])
        }
        _ => {
            let mut view = dense(buffer, shape, dtype);
            view.strides[0] = 0;
            view
        }
    };
    (view, values)
}

/// Adds a part of a convolution, and what it must leave.
fn add(bench: &mut Bench, seed: u64, sizes: Sizes, part: ConvPart, dtype: DType) {
    let mut random = Random::new(seed);
    let shapes = sizes.shapes();
    let written = match part {
        ConvPart::Input => 0,
        ConvPart::Filter => 1,
        ConvPart::Output => 2,
    };
    let mut views = Vec::new();
    let mut values = Vec::new();
    for (k, shape) in shapes.iter().enumerate() {
        if k == written {
            let out = bench.output(shape.iter().product(), dtype);
            views.push(dense(out, shape, dtype));
            values.push(vec![0.0; shape.iter().product()]);
        } else {
            let (view, own) = operand(bench, &mut random, shape, dtype);
            views.push(view);
            values.push(own);
        }
    }
    let others: Vec<usize> = (0..3).filter(|k| *k != written).collect();
    let mut right = values[written].clone();
    let [channels, h, w] = [shapes[1][2], shapes[1][3], shapes[1][4]];
    for at in points(&shapes[2]) {
        let (g, n, o, i, j) = (at[0], at[1], at[2], at[3], at[4]);
        for tap in 0..channels * h * w {
            let (c, u, v) = (tap / (h * w), tap / w % h, tap % w);
            let row = (sizes.stride[0] * i + u).wrapping_sub(sizes.padding[0]);
            let column = (sizes.stride[1] * j + v).wrapping_sub(sizes.padding[1]);
            if row < sizes.image[0] && column < sizes.image[1] {
                let places = [[g, n, c, row, column], [g, o, c, u, v], [g, n, o, i, j]];
                let read = |k: usize| values[k][place(&views[k], &places[k])];
                right[place(&views[written], &places[written])] += read(others[0]) * read(others[1]);
            }
        }
    }
    let out = views[written].buffer;
    let [images, filters, results] = <[View; 3]>::try_from(views).unwrap();
    let conv = Conv2d { part, stride: sizes.stride, padding: sizes.padding };
    bench.step(Action::Convolution(Convolution { conv, images, filters, results }));
    let terms = match part {
        ConvPart::Output => shapes[1][2..].iter().product::<usize>(),
        ConvPart::Input => sizes.channels[1] * sizes.filter[0] * sizes.filter[1],
        ConvPart::Filter => sizes.images * shapes[2][3] * shapes[2][4],
    };
    let tolerance = if dtype == DType::F32 { 2e-7 } else { 3e-16 } * (terms as f64 + 2.0);
    bench.expect(out, right, tolerance, format!("{part:?} of {sizes:?} {dtype}"));
}

const PARTS: [ConvPart; 3] = [ConvPart::Input, ConvPart::Filter, ConvPart::Output];

/// Adds all parts, in both precisions.
fn add_all(bench: &mut Bench, seed: u64, sizes: Sizes) {
    for part in PARTS {
        for dtype in [DType::F32, DType::F64] {
            add(bench, seed, sizes, part, dtype);
        }
    }
}

#[test]
fn random_shapes_agree_with_plain_loops() {
    let mut random = Random::new(5);
    let mut bench = Bench::new();
    for round in 0..150 {
        let padding = [random.below(3), random.below(3)];
        let image = [1 + random.below(20), 1 + random.below(20)];
        let sizes = Sizes {
            groups: 1 + random.below(3),
            images: 1 + random.below(4),
            channels: [1 + random.below(5), 1 + random.below(9)],
            image,
            filter: [0, 1].map(|k| 1 + random.below((image[k] + 2 * padding[k]).min(6))),
            stride: [1 + random.below(3), 1 + random.below(3)],
            padding,
        };
        add_all(&mut bench, round, sizes);
        if round % 25 == 24 {
            bench.check();
            bench = Bench::new();
        }
    }
}

/// On a processor, these take another way than filters of other sizes.
#[test]
fn filters_of_3_by_3_between_many_channels_agree_with_plain_loops() {
    let mut random = Random::new(6);
    for round in 0..12 {
        let mut bench = Bench::new();
        let sizes = Sizes {
            groups: 1 + random.below(3),
            images: 1 + random.below(6),
            channels: [16 + random.below(9), 16 + random.below(9)],
            image: [3 + random.below(8), 3 + random.below(16)],
            filter: [3; 2],
            stride: [1; 2],
            padding: [random.below(3), random.below(3)],
        };
        add_all(&mut bench, round, sizes);
        bench.check();
    }
    // Images of which some rows at a time are worked on.
    let mut bench = Bench::new();
    let sizes = Sizes {
        groups: 1,
        images: 2,
        channels: [16, 16],
        image: [67, 65],
        filter: [3; 2],
        stride: [1; 2],
        padding: [1, 0],
    };
    for part in PARTS {
        add(&mut bench, 20, sizes, part, DType::F32);
    }
    bench.check();
}

/// On a processor, registers hold the end of one row and the beginning of the next here.
#[test]
fn short_rows_between_many_channels_agree_with_plain_loops() {
    let mut random = Random::new(7);
    for round in 0..16 {
        let mut bench = Bench::new();
        let padding = [random.below(3), random.below(3)];
        let image = [5 + random.below(9), 3 + random.below(17)];
        let sizes = Sizes {
            groups: 1 + random.below(2),
            images: 1 + random.below(4),
            channels: [6 + random.below(9), 16 + random.below(17)],
            image,
            filter: [0, 1].map(|k| 1 + random.below((image[k] + 2 * padding[k]).min(5))),
            stride: [1 + random.below(3), 1 + random.below(3)],
            padding,
        };
        add_all(&mut bench, round, sizes);
        bench.check();
    }
}

/// On a processor, these are products of matrices.
#[test]
fn strides_and_single_taps_between_many_channels_agree_with_plain_loops() {
    let mut random = Random::new(8);
    for round in 0..24 {
        let mut bench = Bench::new();
        let padding = [random.below(3), random.below(3)];
        let image = [4 + random.below(9), 3 + random.below(15)];
        let single = round % 2 == 0;
        let sizes = Sizes {
            groups: 1 + random.below(2),
            images: 1 + random.below(4),
            channels: [16 + random.below(9), 16 + random.below(17)],
            image,
            filter: if single { [1; 2] } else { [0, 1].map(|k| 1 + random.below((image[k] + 2 * padding[k]).min(4))) },
            stride: if round % 4 == 0 { [1; 2] } else { [1 + random.below(3), 1 + random.below(3)] },
            padding: if round % 3 == 0 { [0; 2] } else { padding },
        };
        add_all(&mut bench, round, sizes);
        bench.check();
    }
    // Images of which some rows at a time are worked on.
    let mut bench = Bench::new();
    for (filter, stride, padding, rows) in
        [([3, 3], [2, 2], [1, 0], 70), ([1, 1], [1, 1], [0, 0], 80), ([1, 1], [1, 2], [1, 0], 150)]
    {
        let sizes = Sizes { groups: 1, images: 1, channels: [42, 16], image: [rows, 71], filter, stride, padding };
        for part in PARTS {
            add(&mut bench, 20, sizes, part, DType::F32);
        }
    }
    bench.check();
}

#[test]
fn the_layers_of_networks_agree_with_plain_loops() {
    let layer = |groups, images, channels, side, filter, stride, padding| Sizes {
        groups,
        images,
        channels,
        image: [side; 2],
        filter: [filter; 2],
        stride: [stride; 2],
        padding: [padding; 2],
    };
    let layers = [
        layer(3, 5, [1, 6], 28, 5, 1, 0),
        layer(2, 9, [6, 16], 12, 5, 1, 0),
        layer(1, 2, [64, 32], 16, 3, 1, 1),
        layer(2, 2, [16, 24], 16, 3, 2, 1),
        layer(1, 3, [20, 16], 8, 1, 2, 0),
    ];
    let mut bench = Bench::new();
    for (seed, sizes) in layers.into_iter().enumerate() {
        for part in PARTS {
            add(&mut bench, seed as u64, sizes, part, DType::F32);
        }
        add(&mut bench, seed as u64, sizes, ConvPart::Input, DType::F64);
    }
    bench.check();
}

#[test]
fn sizes_past_the_ends_of_tiles_agree_with_plain_loops() {
    let sizes = |groups, images, channels, image, filter, stride, padding| Sizes {
        groups,
        images,
        channels,
        image,
        filter,
        stride,
        padding,
    };
    let all = [
        sizes(2, 3, [17, 33], [9, 7], [3, 3], [1, 1], [1, 1]),
        sizes(1, 2, [34, 65], [8, 8], [3, 2], [2, 2], [1, 0]),
        sizes(3, 40, [1, 5], [12, 11], [5, 5], [1, 1], [2, 0]),
        sizes(2, 9, [48, 16], [6, 4], [1, 1], [2, 1], [0, 0]),
    ];
    let mut bench = Bench::new();
    for (seed, sizes) in all.into_iter().enumerate() {
        for part in PARTS {
            // Seeds lead to operands that lie dense, transposed or shared.
            for seed in [seed as u64 + 20, seed as u64 + 30] {
                add(&mut bench, seed, sizes, part, DType::F32);
            }
        }
    }
    bench.check();
}

#[test]
fn a_result_on_top_of_an_operand_is_refused() {
    let mut bench = Bench::new();
    let images = bench.input(vec![1.0; 9], DType::F64);
    let filters = bench.input(vec![1.0; 1], DType::F64);
    let view = dense(images, &[1, 1, 1, 3, 3], DType::F64);
    let conv = Conv2d { part: ConvPart::Output, stride: [1, 1], padding: [0, 0] };
    let step = Convolution {
        conv,
        images: view.clone(),
        filters: dense(filters, &[1, 1, 1, 1, 1], DType::F64),
        results: view,
    };
    bench.step(Action::Convolution(step));
    let error = bench.machine(1).unwrap_err();
    assert!(matches!(&error, Error::Shape { problem, .. } if problem.contains("on top")), "{error}");
}

#[test]
fn what_lies_behind_a_row_of_results_never_reaches_the_filters() {
    let mut bench = Bench::new();
    let mut values = vec![1.0; 12];
    // The last column meets the second tap alone, though a register of the first one's elements reads on.
    values[5] = f64::INFINITY;
    let images = bench.input(values, DType::F32);
    let results = bench.input(vec![1.0; 10], DType::F32);
    let filters = bench.output(2, DType::F32);
    let step = Convolution {
        conv: Conv2d { part: ConvPart::Filter, stride: [1, 1], padding: [0, 0] },
        images: dense(images, &[1, 1, 1, 2, 6], DType::F32),
        filters: dense(filters, &[1, 1, 1, 1, 2], DType::F32),
        results: dense(results, &[1, 1, 1, 2, 5], DType::F32),
    };
    bench.step(Action::Convolution(step));
    assert_eq!(bench.values(filters), [10.0, f64::INFINITY]);
}

#[test]
fn an_infinite_element_reaches_only_the_results_that_meet_it() {
    let mut bench = Bench::new();
    let mut values = vec![1.0; 2 * 5 * 11];
    values[11 + 10] = f64::INFINITY;
    let images = bench.input(values, DType::F32);
    let filters = bench.input(vec![1.0; 7 * 2 * 9], DType::F32);
    let results = bench.output(7 * 5 * 11, DType::F32);
    let step = Convolution {
        conv: Conv2d { part: ConvPart::Output, stride: [1, 1], padding: [1, 1] },
        images: dense(images, &[1, 1, 2, 5, 11], DType::F32),
        filters: dense(filters, &[1, 7, 2, 3, 3], DType::F32),
        results: dense(results, &[1, 1, 7, 5, 11], DType::F32),
    };
    bench.step(Action::Convolution(step));
    for (k, value) in bench.values(results).into_iter().enumerate() {
        let (row, column) = (k / 11 % 5, k % 11);
        assert_eq!(value.is_finite(), row > 2 || column < 9, "row {row}, column {column}: {value}");
    }
}

/// Layers that are large enough for cuDNN, which works in scratch memory there: factors of groups, images and channels come out of the sums, and what is
/// left is the number of taps, or of positions, that meet anything.
#[test]
#[ignore = "needs a CUDA device"]
fn large_layers_in_tf32_agree_with_their_closed_form() {
    let (groups, images, channels, outputs, side) = (3, 24, 48, 40, 26);
    let shapes = [
        [groups, images, channels, side, side],
        [groups, outputs, channels, 3, 3],
        [groups, images, outputs, side, side],
    ];
    // Small powers of two, whose sums are exact, but for algorithms that make other numbers of them first. Wrong numbers of taps are far off.
    let power = |k: usize| f64::from(1 << (k % 3));
    let ones = |shape: [usize; 5]| points(&shape).map(|at| power(at[0]) * power(at[1])).collect::<Vec<f64>>();
    let conv = |part| Conv2d { part, stride: [1, 1], padding: [1, 1] };
    // Taps of a filter that meet a position of the side, and positions that meet a tap.
    let taps = |at: usize| if at == 0 || at == side - 1 { 2.0 } else { 3.0 };
    let positions = |tap: usize| if tap == 1 { side as f64 } else { side as f64 - 1.0 };
    let total = |count: usize| (0..count).map(power).sum::<f64>();
    let squares = |count: usize| (0..count).map(|k| power(k) * power(k)).sum::<f64>();
    let mut bench = Bench::new();
    for (own, part) in PARTS.into_iter().enumerate() {
        let mut views = Vec::new();
        for (k, shape) in shapes.into_iter().enumerate() {
            let buffer = match k == own {
                true => bench.output(shape.iter().product(), DType::F32),
                false => bench.input(ones(shape), DType::F32),
            };
            views.push(dense(buffer, &shape, DType::F32));
        }
        let right = points(&shapes[own]).map(|at| {
            let [g, _, o, i, j] = [at[0], at[1], at[2], at[3], at[4]];
            let of_groups = power(g) * power(g);
            match part {
                // Images hold the factors of groups and images, filters those of groups and results.
                ConvPart::Output => of_groups * power(at[1]) * power(o) * channels as f64 * taps(i) * taps(j),
                ConvPart::Input => of_groups * power(at[1]) * total(outputs) * taps(i) * taps(j),
                ConvPart::Filter => of_groups * squares(images) * positions(i) * positions(j),
            }
        });
        let (out, right) = (views[own].buffer, right.collect());
        let [images, filters, results] = <[View; 3]>::try_from(views).unwrap();
        bench.step(Action::Convolution(Convolution { conv: conv(part), images, filters, results }));
        bench.expect(out, right, 0.01, format!("{part:?}"));
    }
    bench.in_tf32();
    bench.check();
}
