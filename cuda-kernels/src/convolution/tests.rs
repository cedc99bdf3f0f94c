//! Every tile against plain loops, on sizes around its borders, and the grids of networks' layers.
//!
//! Where the variable `LIVI_TEST_DEVICE` names a card (`cuda` or `cuda:N`), it takes the place of the emulated device.

use super::{Convolution, Part, Stack, correlate, filter, tile};
use crate::{Command, Device, Memory, Precision, Real};

/// A device with what was allocated on it.
struct Bench {
    device: Device,
    memory: Vec<Memory>,
}

impl Bench {
    fn new() -> Self {
        let asked = std::env::var("LIVI_TEST_DEVICE").unwrap_or_default();
        let device = match asked.strip_prefix("cuda").map(|number| number.trim_start_matches(':')) {
            None => Device::emulated(),
            Some("") => Device::card(0),
            Some(number) => Device::card(number.parse().unwrap()),
        };
        Self { device: device.unwrap(), memory: Vec::new() }
    }

    fn allocate(&mut self, bytes: usize) -> u64 {
        self.memory.push(self.device.allocate(bytes).unwrap());
        self.memory[self.memory.len() - 1].address()
    }

    fn place(&mut self, values: &[f64], real: Real) -> u64 {
        let bytes: Vec<u8> = match real {
            Real::F32 => values.iter().flat_map(|&v| (v as f32).to_ne_bytes()).collect(),
            Real::F64 => values.iter().flat_map(|v| v.to_ne_bytes()).collect(),
        };
        let address = self.allocate(bytes.len());
        // SAFETY: as many bytes were allocated.
        unsafe { self.device.write(address, &bytes).unwrap() };
        address
    }

    fn read(&self, address: u64, count: usize, real: Real) -> Vec<f64> {
        let mut bytes = vec![0; count * real.size()];
        // SAFETY: the address is of memory with as many elements.
        unsafe { self.device.read(address, &mut bytes).unwrap() };
        bytes
            .chunks(real.size())
            .map(|bytes| match real {
                Real::F32 => f64::from(f32::from_ne_bytes(bytes.try_into().unwrap())),
                Real::F64 => f64::from_ne_bytes(bytes.try_into().unwrap()),
            })
            .collect()
    }
}

/// Small numbers that single precision and tensor cores take as they are, so that all sums are exact.
fn numbers(count: usize, seed: u64) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..count)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            ((state >> 33) % 15) as f64 - 7.0
        })
        .collect()
}

/// Groups, images, channels, outputs, size of images and filters, stride, padding.
#[derive(Clone, Copy, Debug)]
struct Sizes(usize, usize, usize, usize, [usize; 2], [usize; 2], [usize; 2], [usize; 2]);

/// How the part is computed, given the convolution.
type Commands<'a> = &'a dyn Fn(&Convolution, &mut dyn FnMut(usize) -> u64) -> Vec<Command>;

/// Commands, where they leave a part, and what it must be.
struct Case {
    name: String,
    commands: Vec<Command>,
    address: u64,
    right: Vec<f64>,
}

/// A part beside what plain loops say; images are shared by all groups where asked.
fn case(
    bench: &mut Bench,
    sizes: Sizes,
    part: Part,
    (real, precision): (Real, Precision),
    shared: bool,
    commands: Commands<'_>,
) -> Case {
    let Sizes(groups, count, channels, outputs, image, filter, stride, padding) = sizes;
    let result = [0, 1].map(|k| (image[k] + 2 * padding[k] - filter[k]) / stride[k] + 1);
    let shapes = [
        [groups, count, channels, image[0], image[1]],
        [groups, outputs, channels, filter[0], filter[1]],
        [groups, count, outputs, result[0], result[1]],
    ];
    let written = [Part::Images, Part::Filters, Part::Results].iter().position(|p| *p == part).unwrap();
    let mut values = Vec::new();
    let mut stacks = Vec::new();
    for (k, shape) in shapes.iter().enumerate() {
        let elements = shape.iter().product();
        values.push(if k == written { vec![0.0; elements] } else { numbers(elements, k as u64 + 3) });
        // What is written must be written whole.
        let before = if k == written { vec![f64::NAN; elements] } else { values[k].clone() };
        let mut strides = [0; 5];
        let mut next = 1;
        for axis in (0..5).rev() {
            (strides[axis], next) = (next, next * shape[axis]);
        }
        if k == 0 && shared {
            strides[0] = 0;
        }
        stacks.push(Stack { address: bench.place(&before, real), strides });
    }
    let at = |k: usize, index: [usize; 5]| -> usize { index.iter().zip(&stacks[k].strides).map(|(i, s)| i * s).sum() };
    let mut right = values[written].clone();
    for flat in 0..shapes[2].iter().product::<usize>() {
        let [_, n, o, p, q] = shapes[2];
        let [o, n, g] = [flat / (p * q) % o, flat / (p * q * o) % n, flat / (p * q * o * n)];
        let [p, q] = [flat / q % p, flat % q];
        for (c, u, v) in (0..channels * filter[0] * filter[1])
            .map(|k| (k / (filter[0] * filter[1]), k / filter[1] % filter[0], k % filter[1]))
        {
            let row = (p * stride[0] + u).wrapping_sub(padding[0]);
            let column = (q * stride[1] + v).wrapping_sub(padding[1]);
            if row < image[0] && column < image[1] {
                let places = [at(0, [g, n, c, row, column]), at(1, [g, o, c, u, v]), at(2, [g, n, o, p, q])];
                let others: f64 = (0..3).filter(|&k| k != written).map(|k| values[k][places[k]]).product();
                right[places[written]] += others;
            }
        }
    }
    let [images, filters, results] = [stacks[0], stacks[1], stacks[2]];
    let convolution = Convolution {
        real,
        precision,
        part,
        groups,
        count,
        channels,
        outputs,
        image,
        filter,
        result,
        stride,
        padding,
        images,
        filters,
        results,
    };
    Case {
        name: format!("{part:?}, {sizes:?}, {real:?}, {precision:?}, shared {shared}"),
        commands: commands(&convolution, &mut |bytes| bench.allocate(bytes)),
        address: stacks[written].address,
        right,
    }
}

/// Runs all cases as one sequence, whose kernels are compiled together.
fn agree(bench: &Bench, real: Real, cases: &[Case]) {
    let commands = cases.iter().flat_map(|case| case.commands.clone()).collect();
    let mut sequence = bench.device.prepare(commands).unwrap();
    // SAFETY: the memory lives in the bench, as long as the commands were told.
    unsafe { bench.device.run(&mut sequence).unwrap() };
    for Case { name, address, right, .. } in cases {
        for (k, (found, right)) in bench.read(*address, right.len(), real).iter().zip(right).enumerate() {
            assert_eq!(found, right, "element {k} of {name}");
        }
    }
}

fn correlations(real: Real, precision: Precision) {
    let (mut bench, mut cases) = (Bench::new(), Vec::new());
    for tile in tile::BY_PIXELS.of(real, precision == Precision::Tf32) {
        let around = tile.n + 9;
        // Each with images that groups share or do not, and filters taken from where they lie or packed.
        let sizes = [
            // Rows and pixels past a tile's end; channels that fill slices, or do not.
            (Sizes(2, 1, 16, tile.m + 3, [around, 1], [3, 1], [1, 1], [1, 0]), false, false),
            (Sizes(1, 3, 5, 7, [around / 3, 2], [3, 2], [2, 1], [1, 1]), false, false),
            (Sizes(2, 1, 17, 19, [9, 8], [2, 1], [2, 1], [0, 1]), false, true),
            // Several taps in a slice.
            (Sizes(3, 2, 2, tile.m / 3 + 1, [12, 12], [5, 5], [1, 1], [0, 2]), true, true),
        ];
        for (sizes, shared, direct) in sizes {
            for part in [Part::Results, Part::Images] {
                let shared = shared && part == Part::Results;
                let run = |c: &Convolution, scratch: &mut dyn FnMut(usize) -> u64| {
                    correlate::commands(c, &[correlate::Plan { tile, direct, cycles: 0.0 }], scratch)
                };
                cases.push(case(&mut bench, sizes, part, (real, precision), shared, &run));
            }
        }
    }
    agree(&bench, real, &cases);
}

#[test]
fn tiles_in_single_precision_agree_with_plain_loops() {
    correlations(Real::F32, Precision::Full);
}

#[test]
fn tiles_in_double_precision_agree_with_plain_loops() {
    correlations(Real::F64, Precision::Full);
}

#[test]
fn tiles_on_tensor_cores_agree_with_plain_loops() {
    correlations(Real::F32, Precision::Tf32);
}

fn filters(real: Real, precision: Precision) {
    let (mut bench, mut cases) = (Bench::new(), Vec::new());
    for tile in tile::BY_TAPS.of(real, precision == Precision::Tf32) {
        let sizes = [
            // Rows and columns past a tile's end, depth past a slice's.
            (Sizes(2, 3, tile.n / 9 + 1, tile.m + 3, [7, 9], [3, 3], [1, 1], [1, 1]), false),
            // Columns, and pixels of a channel, in aligned runs; images shared by groups.
            (Sizes(3, 2, tile.n + 4, tile.m / 3 + 1, [9, 4], [1, 1], [2, 1], [0, 0]), true),
        ];
        for (sizes, shared) in sizes {
            for parts in [1, 3] {
                let run = |c: &Convolution, scratch: &mut dyn FnMut(usize) -> u64| {
                    filter::commands(c, &[filter::Plan { tile, parts, cycles: 0.0 }], scratch)
                };
                cases.push(case(&mut bench, sizes, Part::Filters, (real, precision), shared, &run));
            }
        }
    }
    agree(&bench, real, &cases);
}

#[test]
fn tiles_of_filters_in_single_precision_agree_with_plain_loops() {
    filters(Real::F32, Precision::Full);
}

#[test]
fn tiles_of_filters_in_double_precision_agree_with_plain_loops() {
    filters(Real::F64, Precision::Full);
}

#[test]
fn tiles_of_filters_on_tensor_cores_agree_with_plain_loops() {
    filters(Real::F32, Precision::Tf32);
}

/// Images, channels, outputs, side of images and filters, stride, padding, whether groups share images.
type Layer = (usize, usize, usize, usize, usize, usize, usize, bool);

/// Layers of a wide residual network and of LeNet.
const LAYERS: [Layer; 12] = [
    (128, 3, 16, 32, 3, 1, 1, true),
    (128, 16, 64, 32, 3, 1, 1, false),
    (128, 16, 64, 32, 1, 1, 0, false),
    (128, 64, 64, 32, 3, 1, 1, false),
    (128, 64, 128, 32, 3, 2, 1, false),
    (128, 64, 128, 32, 1, 2, 0, false),
    (128, 128, 128, 16, 3, 1, 1, false),
    (128, 128, 256, 16, 3, 2, 1, false),
    (128, 128, 256, 16, 1, 2, 0, false),
    (128, 256, 256, 8, 3, 1, 1, false),
    (256, 1, 6, 28, 5, 1, 2, true),
    (256, 6, 16, 14, 5, 1, 0, false),
];

/// A part of a layer's convolutions, ten groups of them, in single precision and at no address.
fn of_layer(
    (count, channels, outputs, side, size, stride, padding, shared): Layer,
    part: Part,
    precision: Precision,
) -> Convolution {
    let result = (side + 2 * padding - size) / stride + 1;
    let stack = |[n, c, h, w]: [usize; 4], shared: bool| Stack {
        address: 0,
        strides: [if shared { 0 } else { n * c * h * w }, c * h * w, h * w, w, 1],
    };
    Convolution {
        real: Real::F32,
        precision,
        part,
        groups: 10,
        count,
        channels,
        outputs,
        image: [side; 2],
        filter: [size; 2],
        result: [result; 2],
        stride: [stride; 2],
        padding: [padding; 2],
        images: stack([count, channels, side, side], shared && part != Part::Images),
        filters: stack([outputs, channels, size, size], false),
        results: stack([count, outputs, result, result], false),
    }
}

#[test]
fn layers_keep_all_multiprocessors_busy() {
    for layer in LAYERS {
        for part in [Part::Results, Part::Images, Part::Filters] {
            for precision in [Precision::Full, Precision::Tf32] {
                let convolution = of_layer(layer, part, precision);
                let commands = convolution.commands(&mut |_| 0).unwrap();
                let blocks = commands.iter().map(|command| match command {
                    Command::Launch(launch)
                        if !["convolution_pack", "convolution_sum"].contains(&&*launch.kernel.name) =>
                    {
                        launch.grid[0]
                    }
                    _ => 0,
                });
                let blocks = blocks.max().unwrap_or(0);
                assert!(2 * blocks >= 3 * tile::PROCESSORS as u32, "{convolution:?}: {blocks} blocks");
            }
        }
    }
}

#[test]
fn cudnn_is_asked_for_large_contiguous_layers_on_tensor_cores() {
    // Of a wide residual network all but the first and some that only sum channels, of LeNet none.
    let asked = LAYERS.map(|layer| of_layer(layer, Part::Filters, Precision::Tf32).is_for_cudnn());
    assert_eq!(asked, [false, true, false, true, true, true, true, true, true, true, false, false]);
    assert!(LAYERS.iter().all(|layer| !of_layer(*layer, Part::Filters, Precision::Full).is_for_cudnn()));
    let good = of_layer(LAYERS[3], Part::Results, Precision::Tf32);
    let changed = |change: fn(&mut Convolution)| {
        let mut convolution = good;
        change(&mut convolution);
        convolution.is_for_cudnn()
    };
    assert!(changed(|_| {}) && changed(|c| c.images.strides[0] = 0) && changed(|c| c.filters.address = 4096));
    // Rows apart from each other, transposed filters, images of all groups between each other, addresses that are not aligned.
    assert!(!changed(|c| c.images.strides[3] = 40));
    assert!(!changed(|c| c.filters.strides.swap(3, 4)));
    assert!(!changed(|c| c.results.strides.swap(0, 1)));
    assert!(!changed(|c| c.results.address = 8));
    assert!(!changed(|c| c.images.strides[0] += 1));
    assert!(!changed(|c| c.real = Real::F64));
    // Axes of length 1 may have any stride; numbers of elements must fit.
    let mut narrow = of_layer(LAYERS[5], Part::Images, Precision::Tf32);
    (narrow.filters.strides[3], narrow.filters.strides[4]) = (7, 9);
    assert!(narrow.is_for_cudnn());
    assert!(!changed(|c| c.count = 1 << 20));
}
