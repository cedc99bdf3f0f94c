//! Every tile against plain loops, on sizes around its borders, and the layers of networks on a card.
//!
//! The variable `LIVI_TEST_DEVICE=cuda` takes the first card in the place of the emulated device.

use super::{Convolution, Part, Stack, correlate, filter, tile};
use crate::{Command, Device, Memory, Precision, Real};
use tile::Tile;

/// A device with what was allocated on it.
struct Bench {
    device: Device,
    memory: Vec<Memory>,
}

impl Bench {
    fn new() -> Self {
        let card = std::env::var("LIVI_TEST_DEVICE").is_ok_and(|device| device == "cuda");
        let device = if card { Device::card(0) } else { Device::emulated() };
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

/// Runs a part and compares it with plain loops; images are shared by all groups where asked.
fn check(sizes: Sizes, part: Part, real: Real, precision: Precision, shared: bool, commands: Commands<'_>) {
    let Sizes(groups, count, channels, outputs, image, filter, stride, padding) = sizes;
    let result = [0, 1].map(|k| (image[k] + 2 * padding[k] - filter[k]) / stride[k] + 1);
    let shapes = [
        [groups, count, channels, image[0], image[1]],
        [groups, outputs, channels, filter[0], filter[1]],
        [groups, count, outputs, result[0], result[1]],
    ];
    let written = [Part::Images, Part::Filters, Part::Results].iter().position(|p| *p == part).unwrap();
    let mut bench = Bench::new();
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
    let list = commands(&convolution, &mut |bytes| bench.allocate(bytes));
    let mut sequence = bench.device.prepare(list).unwrap();
    // SAFETY: the memory lives in the bench, as long as the commands were told.
    unsafe { bench.device.run(&mut sequence).unwrap() };
    bench.device.synchronize().unwrap();
    let found = bench.read(stacks[written].address, right.len(), real);
    for (k, (found, right)) in found.iter().zip(&right).enumerate() {
        assert_eq!(found, right, "element {k} of {part:?}, {sizes:?}, {real:?}, {precision:?}, shared {shared}");
    }
}

fn correlations(tiles: &[Tile], real: Real, precision: Precision) {
    for &tile in tiles {
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
                check(sizes, part, real, precision, shared, &run);
            }
        }
    }
}

#[test]
fn tiles_in_single_precision_agree_with_plain_loops() {
    correlations(&tile::SINGLE, Real::F32, Precision::Full);
}

#[test]
fn tiles_in_double_precision_agree_with_plain_loops() {
    correlations(&tile::DOUBLE, Real::F64, Precision::Full);
}

#[test]
fn tiles_on_tensor_cores_agree_with_plain_loops() {
    correlations(&tile::TENSOR, Real::F32, Precision::Tf32);
}

fn filters(tiles: &[Tile], real: Real, precision: Precision) {
    for &tile in tiles {
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
                check(sizes, Part::Filters, real, precision, shared, &run);
            }
        }
    }
}

#[test]
fn tiles_of_filters_in_single_precision_agree_with_plain_loops() {
    filters(&tile::SINGLE_DEEP, Real::F32, Precision::Full);
}

#[test]
fn tiles_of_filters_in_double_precision_agree_with_plain_loops() {
    filters(&tile::DOUBLE_DEEP, Real::F64, Precision::Full);
}

#[test]
fn tiles_of_filters_on_tensor_cores_agree_with_plain_loops() {
    filters(&tile::TENSOR_DEEP, Real::F32, Precision::Tf32);
}

/// A layer: images, channels, outputs, side of images and filters, stride, whether groups share images.
type Layer = (usize, usize, usize, usize, usize, usize, bool);

/// Layers of a wide residual network and of LeNet.
const LAYERS: [Layer; 12] = [
    (128, 3, 16, 32, 3, 1, true),
    (128, 16, 64, 32, 3, 1, false),
    (128, 16, 64, 32, 1, 1, false),
    (128, 64, 64, 32, 3, 1, false),
    (128, 64, 128, 32, 3, 2, false),
    (128, 64, 128, 32, 1, 2, false),
    (128, 128, 128, 16, 3, 1, false),
    (128, 128, 256, 16, 3, 2, false),
    (128, 128, 256, 16, 1, 2, false),
    (128, 256, 256, 8, 3, 1, false),
    (256, 1, 6, 28, 5, 1, true),
    (256, 6, 16, 14, 5, 1, false),
];

/// The part of ten groups, which lies at these addresses, with its products.
fn layer(layer: Layer, part: Part, precision: Precision, [images, filters, results]: [u64; 3]) -> (Convolution, usize) {
    let (count, channels, outputs, side, size, stride, shared) = layer;
    // LeNet's second layer has no margin.
    let padding = if channels == 6 { 0 } else { size / 2 };
    let result = (side + 2 * padding - size) / stride + 1;
    let stack = |address, [n, c, h, w]: [usize; 4], shared: bool| Stack {
        address,
        strides: [if shared { 0 } else { n * c * h * w }, c * h * w, h * w, w, 1],
    };
    let convolution = Convolution {
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
        images: stack(images, [count, channels, side, side], shared && part != Part::Images),
        filters: stack(filters, [outputs, channels, size, size], false),
        results: stack(results, [count, outputs, result, result], false),
    };
    (convolution, 10 * count * outputs * result * result * channels * size * size)
}

const WAYS: [(Part, Precision); 6] = [
    (Part::Results, Precision::Full),
    (Part::Images, Precision::Full),
    (Part::Filters, Precision::Full),
    (Part::Results, Precision::Tf32),
    (Part::Images, Precision::Tf32),
    (Part::Filters, Precision::Tf32),
];

/// What commands are expected to take, and how.
fn expected(convolution: &Convolution) -> (f64, String) {
    match convolution.part {
        Part::Filters => {
            let plan = filter::plans(convolution)[0];
            (plan.cycles, format!("{} x {} in {} parts", plan.tile.m, plan.tile.n, plan.parts))
        }
        _ => {
            let plan = correlate::plans(convolution)[0];
            (plan.cycles, format!("{} x {}{}", plan.tile.m, plan.tile.n, if plan.direct { ", direct" } else { "" }))
        }
    }
}

#[test]
fn layers_keep_all_multiprocessors_busy() {
    for shape in LAYERS {
        for (part, precision) in WAYS {
            let (convolution, products) = layer(shape, part, precision, [0; 3]);
            let commands = convolution.commands(&mut |_| 0).unwrap();
            let blocks = commands.iter().map(|command| match command {
                Command::Launch(launch)
                    if &*launch.kernel.name != "convolution_pack" && &*launch.kernel.name != "convolution_sum" =>
                {
                    launch.grid[0]
                }
                _ => 0,
            });
            let blocks = blocks.max().unwrap_or(0);
            let (cycles, way) = expected(&convolution);
            let rate = products as f64 / cycles / (128 * tile::PROCESSORS) as f64;
            println!(
                "{shape:?} {part:?} {precision:?}: {way}, {blocks} blocks, {cycles:.0} cycles, {rate:.2} of the peak"
            );
            assert!(2 * blocks >= 3 * tile::PROCESSORS as u32, "{convolution:?}: {blocks} blocks");
        }
    }
}

/// Prints what every tile takes on a card, the chosen one first.
#[test]
#[ignore = "needs a CUDA device"]
fn layers_on_a_card() {
    const ELEMENTS: usize = 10 * 128 * 64 * 32 * 32;
    let mut bench = Bench { device: Device::card(0).unwrap(), memory: Vec::new() };
    let values = numbers(ELEMENTS, 1);
    let places = [0; 3].map(|_| bench.place(&values, Real::F32));
    let scratch = bench.allocate(1 << 30);
    println!("{}", bench.device.name());
    for shape in LAYERS {
        for (part, precision) in WAYS {
            let (convolution, products) = layer(shape, part, precision, places);
            let mut used = 0;
            let mut take = |bytes: usize| {
                used += bytes.next_multiple_of(256);
                scratch + (used - bytes.next_multiple_of(256)) as u64
            };
            let mut ways: Vec<(Tile, Vec<Command>)> = Vec::new();
            match part {
                Part::Filters => {
                    for plan in filter::plans(&convolution) {
                        if ways.iter().all(|(tile, _)| *tile != plan.tile) {
                            ways.push((plan.tile, filter::commands(&convolution, &[plan], &mut take)));
                        }
                    }
                }
                _ => {
                    for plan in correlate::plans(&convolution) {
                        ways.push((plan.tile, correlate::commands(&convolution, &[plan], &mut take)));
                    }
                }
            }
            let mut line = format!("{shape:?} {part:?} {precision:?}:");
            for (number, (tile, commands)) in ways.into_iter().enumerate().take(5) {
                let mut sequence = bench.device.prepare(commands).unwrap();
                let mut least = f64::INFINITY;
                let mut launches = Vec::new();
                for _ in 0..4 {
                    // SAFETY: all parts fit the elements that were allocated, and all scratch memory of one part the memory set apart for it.
                    let seconds = unsafe { bench.device.profile(&mut sequence).unwrap() };
                    if seconds.iter().sum::<f64>() < least {
                        least = seconds.iter().sum();
                        launches = seconds;
                    }
                }
                if number == 0 {
                    let launches: Vec<String> = launches.iter().map(|s| format!("{:.1}", s * 1e6)).collect();
                    line += &format!(" {} us,", launches.join(" + "));
                }
                line += &format!(" {}x{} {:.1}", tile.m, tile.n, 2.0 * products as f64 / least / 1e12);
            }
            println!("{line} TFLOP/s");
        }
    }
}
