//! Results of convolutions, and their transpose in the images: packed filters times what they meet.
//!
//! Of the layers of a wide residual network with filters of 3 by 3 on 32 by 32 images (128 of them in each of ten groups), with arithmetic intensity
//! counted in products for each element of the operands and the result that is moved once:
//!
//! | channels | rows, depth, pixels of a group | intensity | tile | blocks |
//! |---|---|---|---|---|
//! | 3 to 16 (images shared: 160 rows) | 160, 27, 131,072 | 26 | 32 x 256 | 2,560 |
//! | 16 to 64 | 64, 144, 131,072 | 115 | 64 x 256 | 5,120 |
//! | 64 to 64 | 64, 576, 131,072 | 288 | 64 x 256 | 5,120 |
//! | 64 to 128, stride 2 | 128, 576, 32,768 | 191 | 128 x 128 | 2,560 |
//! | 128 to 128 | 128, 1,152, 32,768 | 566 | 128 x 128 | 2,560 |
//! | 128 to 256, stride 2 | 256, 1,152, 8,192 | 367 | 128 x 128 | 1,280 |
//! | 256 to 256 | 256, 2,304, 8,192 | 1,010 | 128 x 128 | 1,280 |
//!
//! All are bound by arithmetic in single precision but for the first, and give each of 132 multiprocessors many times the two blocks it works on.

use super::tile::{BY_PIXELS, Tile, stages};
use super::{Arguments, Convolution, PIXELS, Part, Stack, TILE, definitions, launch, offset};
use crate::{Command, Kernel};

const PACK: &str =
    concat!(include_str!("../../kernels/convolution_rounded.cu"), include_str!("../../kernels/convolution_pack.cu"));
const CORRELATE: &str = include_str!("../../kernels/convolution_correlate.cu");

/// Bytes of shared memory that the table of taps may take.
const TABLE_BYTES: usize = 16 << 10;
/// Cycles of a product below which another launch costs more than to take the filters from where they lie, unless the product is deeper than
/// `DIRECT_DEPTH`.
const DIRECT: f64 = 100_000.0;
const DIRECT_DEPTH: usize = 512;
/// Instructions for an element that is gathered.
const GATHER: f64 = 5.0;

/// The product behind a part: rows by depth times depth by pixels.
#[derive(Clone, Copy, Debug)]
struct Product {
    /// What is gathered, with its channels, rows and columns.
    source: Stack,
    channels: usize,
    size: [usize; 2],
    /// What is written: rows of a group of it, rows and columns of a channel.
    to: u64,
    outputs: usize,
    pixels: [usize; 2],
    /// Axes of the filters that rows and channels stand for.
    axes: [usize; 2],
    /// Pixels whose distances are multiples of these meet the same taps.
    phases: [usize; 2],
    /// Groups of the product, all rows of one and groups of filters.
    groups: usize,
    all: usize,
    filters: usize,
}

impl Product {
    fn of(convolution: &Convolution) -> Self {
        let (groups, folded) = (convolution.groups, convolution.folded());
        let filters = if folded || convolution.filters.strides[0] == 0 { 1 } else { groups };
        match convolution.part {
            Part::Images => Self {
                source: convolution.results,
                channels: convolution.outputs,
                size: convolution.result,
                to: convolution.images.address,
                outputs: convolution.channels,
                pixels: convolution.image,
                axes: [2, 1],
                phases: convolution.stride,
                groups,
                all: convolution.channels,
                filters,
            },
            _ => Self {
                source: convolution.images,
                channels: convolution.channels,
                size: convolution.image,
                to: convolution.results.address,
                outputs: convolution.outputs,
                pixels: convolution.result,
                axes: [1, 2],
                phases: [1, 1],
                groups: if folded { 1 } else { groups },
                all: if folded { groups * convolution.outputs } else { convolution.outputs },
                filters,
            },
        }
    }

    /// Taps of a phase that has the most.
    fn taps(&self, filter: [usize; 2]) -> usize {
        filter[0].div_ceil(self.phases[0]) * filter[1].div_ceil(self.phases[1])
    }

    /// Pixels of one channel that are of a phase, the most there can be.
    fn area(&self) -> usize {
        self.pixels[0].div_ceil(self.phases[0]) * self.pixels[1].div_ceil(self.phases[1])
    }
}

/// A slice of the depth: channels, and taps of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slice {
    channels: usize,
    taps: usize,
    /// Depth, a multiple of what is multiplied at once.
    depth: usize,
}

/// The slice that leaves the least of the depth empty and is not too short. Slices of several taps need a table.
fn slice(channels: usize, taps: usize, most: usize, multiple: usize, table: impl Fn(Slice) -> usize) -> Slice {
    let fitting = (1..=most.min(channels)).flat_map(|c| (1..=taps.min(most / c)).map(move |t| (c, t)));
    let slices =
        fitting.map(|(channels, taps)| Slice { channels, taps, depth: (channels * taps).next_multiple_of(multiple) });
    let cost = |slice: &Slice| {
        let table = if slice.taps > 1 { 1.1 } else { 1.0 };
        (channels.div_ceil(slice.channels) * taps.div_ceil(slice.taps)) as f64 * (slice.depth as f64 * table + 2.0)
    };
    slices
        .filter(|slice| slice.taps == 1 || table(*slice) <= TABLE_BYTES)
        .min_by(|a, b| cost(a).total_cmp(&cost(b)))
        .unwrap_or(Slice { channels: 1, taps: 1, depth: multiple })
}

/// How the part is computed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Plan {
    pub(super) tile: Tile,
    /// The filters are taken from where they lie, without a launch that packs them.
    pub(super) direct: bool,
    /// Cycles that are expected.
    pub(super) cycles: f64,
}

/// Ways to compute the part, the one that takes the least time first.
pub(super) fn plans(convolution: &Convolution) -> Vec<Plan> {
    let product = Product::of(convolution);
    let pixels = convolution.count * product.area();
    let phases = product.phases[0] * product.phases[1];
    let depth = product.channels * product.taps(convolution.filter);
    // Not all phases have as many taps.
    let average = (product.channels * convolution.filter[0] * convolution.filter[1]) as f64 / phases as f64;
    let plan = |tile: Tile| {
        let blocks = product.all.div_ceil(tile.m) * pixels.div_ceil(tile.n) * product.groups * phases;
        let cycles = Tile::waves(blocks, tile.cycles(tile.n, GATHER) + 0.5 * tile.m as f64 / 128.0) * average;
        Plan { tile, direct: cycles < DIRECT && depth <= DIRECT_DEPTH, cycles }
    };
    let tiles = BY_PIXELS.of(convolution.real, convolution.tensor());
    let mut plans: Vec<Plan> = tiles.into_iter().map(plan).collect();
    plans.sort_by(|a, b| a.cycles.total_cmp(&b.cycles));
    plans
}

/// The commands, as the first of the plans says.
pub(super) fn commands(
    convolution: &Convolution,
    plans: &[Plan],
    scratch: &mut dyn FnMut(usize) -> u64,
) -> Vec<Command> {
    let Some(&Plan { tile, direct, .. }) = plans.first() else { return Vec::new() };
    let (product, real) = (Product::of(convolution), convolution.real);
    let taps = product.taps(convolution.filter);
    let (strides, by) = (product.source.strides, convolution.filters.strides);
    let [by_output, by_channel] = product.axes.map(|axis| by[axis]);
    let margin = |k: usize| 2 * convolution.padding[k] + convolution.filter[k];
    let reach = [convolution.count, product.channels + 16, product.size[0] + margin(0), product.size[1] + margin(1)];
    let span: usize = reach.iter().zip(&strides[1..]).map(|(length, stride)| length * stride).sum();
    // Distances in the filters count from one of their rows.
    let reach = [product.channels + 16, convolution.filter[0], convolution.filter[1]];
    let filter_span: usize = reach.iter().zip([by_channel, by[3], by[4]]).map(|(length, stride)| length * stride).sum();
    let offset = offset(if direct { span.max(filter_span) } else { span });
    let entry = (if direct { 2 } else { 1 }) * (if offset == "int" { 4 } else { 8 }) + 8;
    let (most, multiple) = if tile.tensor() { (16, 8) } else { (16 * 4 / real.size(), 1) };
    let table = |slice: Slice| if slice.taps > 1 { taps.div_ceil(slice.taps) * slice.depth * entry } else { 0 };
    let slice = slice(product.channels, taps, most, multiple, table);
    // Lanes of tensor cores read 4 depths of 8 pixels at once: 8 more than a multiple of 32 keeps them in different banks.
    let stride = if tile.tensor() { tile.n + 8 } else { tile.n };
    let stage = slice.depth * (tile.m + stride) * real.size();
    let stages = stages(stage);
    let row_tiles = product.all.div_ceil(tile.m);
    let mut commands = Vec::new();
    // Address of the filters, and elements from one phase and one group to the next.
    let (filters, phase, group) = if direct {
        (convolution.filters.address, 0, by[0])
    } else {
        let (command, packed) = pack(convolution, &product, &tile, slice, scratch);
        commands.push(command);
        packed
    };

    let source = format!(
        "{}#define OFFSET {offset}\n#define TRANSPOSED {}\n#define DIRECT {}\n#define SLICE {}\n#define SLICE_CHANNELS {}\n\
         #define SLICE_TAPS {}\n#define WHOLE_CHANNELS {}\n#define STAGES {stages}\n#define STRIDE_M {}\n#define STRIDE_N {}\n\
         #define DEEP 0\n#define ROUND_ROWS {}\n{TILE}{CORRELATE}",
        definitions(convolution, &tile),
        u32::from(convolution.part == Part::Images),
        u32::from(direct),
        slice.depth,
        slice.channels,
        slice.taps,
        u32::from(product.channels.is_multiple_of(slice.channels)),
        tile.m,
        stride,
        u32::from(direct),
    );
    let kernel = Kernel { source: source.into(), name: "convolution_correlate".into() };
    let run = tile.run(real);
    let plane = product.pixels[0] * product.pixels[1];
    let phases = product.phases[0] * product.phases[1];
    let together = (PIXELS / product.area()).max(1);
    for first in (0..convolution.count).step_by(together) {
        let some = convolution.some(first, together.min(convolution.count - first));
        let product = Product::of(&some);
        let aligned = phases == 1 && plane.is_multiple_of(run) && product.to.is_multiple_of((run * real.size()) as u64);
        let pixel_tiles = (some.count * product.area()).div_ceil(tile.n);
        let arguments = Arguments::default()
            .pointers(&[filters, product.source.address, product.to])
            .counts(&[product.groups, pixel_tiles, some.count, product.channels])
            .counts(&product.size)
            .distances(&strides)
            .distances(&[phase, group, by_output, by_channel, by[3], by[4]])
            .counts(&[product.all, product.outputs])
            .distances(&[convolution.count * product.outputs * plane])
            .counts(&product.pixels)
            .counts(&[usize::from(aligned)])
            .counts(&some.filter)
            .counts(&some.stride)
            .counts(&some.padding);
        let blocks = row_tiles * pixel_tiles * product.groups * phases;
        let shared = stages * stage + table(slice);
        commands.push(launch(kernel.clone(), [blocks as u32, 1], tile.threads as u32, shared, arguments.0));
    }
    commands
}

/// Packs the filters for a tile's slices: their address, and elements from one phase and one group to the next.
fn pack(
    convolution: &Convolution,
    product: &Product,
    tile: &Tile,
    slice: Slice,
    scratch: &mut dyn FnMut(usize) -> u64,
) -> (Command, (u64, usize, usize)) {
    let (real, by, taps) = (convolution.real, convolution.filters.strides, product.taps(convolution.filter));
    let (row_tiles, tap_slices) = (product.all.div_ceil(tile.m), taps.div_ceil(slice.taps));
    let channel_blocks = product.channels.div_ceil(slice.channels);
    let group = row_tiles * channel_blocks * tap_slices * slice.depth * tile.m;
    let phase = group * product.filters;
    let phases = product.phases[0] * product.phases[1];
    let packed = scratch(phase * phases * real.size());
    let source = format!("#define REAL {}\n#define TENSOR {}\n{PACK}", real.name(), u32::from(tile.tensor()));
    let kernel = Kernel { source: source.into(), name: "convolution_pack".into() };
    let arguments = Arguments::default()
        .pointers(&[convolution.filters.address, packed])
        .distances(&[by[0], by[product.axes[0]], by[product.axes[1]], by[3], by[4]])
        .counts(&[product.filters, product.all, product.outputs, product.channels])
        .counts(&convolution.filter)
        .counts(&product.phases)
        .counts(&[tile.m, slice.depth, slice.channels, slice.taps])
        .distances(&[phase, group]);
    let blocks = phases * product.filters * row_tiles * channel_blocks;
    let shares = (tap_slices * slice.depth * tile.m).div_ceil(1024).min(256);
    let command = launch(kernel, [blocks as u32, shares as u32], 256, 0, arguments.0);
    (command, (packed, phase, if product.filters == 1 { 0 } else { group }))
}
