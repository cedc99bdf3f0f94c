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
//! | 64 to 128, stride 2 | 128, 576, 32,768 | 192 | 128 x 128 | 2,560 |
//! | 128 to 128 | 128, 1,152, 32,768 | 576 | 128 x 128 | 2,560 |
//! | 128 to 256, stride 2 | 256, 1,152, 8,192 | 384 | 128 x 128 | 1,280 |
//! | 256 to 256 | 256, 2,304, 8,192 | 1,130 | 128 x 128 | 1,280 |
//!
//! All are bound by arithmetic in single precision but for the first, and give each of 132 multiprocessors many times the two blocks it works on.

use super::tile::{DOUBLE, SINGLE, TENSOR, Tile, stages};
use super::{Arguments, Convolution, PIXELS, Part, Stack, TILE, definitions, launch, offset};
use crate::{Command, Kernel, Real};

const PACK: &str =
    concat!(include_str!("../../kernels/convolution_rounded.cu"), include_str!("../../kernels/convolution_pack.cu"));
const CORRELATE: &str = include_str!("../../kernels/convolution_correlate.cu");

/// Bytes of shared memory that the table of taps may take.
const TABLE_BYTES: usize = 16 << 10;
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

/// Tiles that the part may be computed in, the one that takes the least time first.
pub(super) fn tiles(convolution: &Convolution) -> Vec<Tile> {
    let product = Product::of(convolution);
    let mut tiles = match convolution.real {
        _ if convolution.tensor() => TENSOR.to_vec(),
        Real::F32 => SINGLE.to_vec(),
        Real::F64 => DOUBLE.to_vec(),
    };
    let pixels = convolution.count * product.area();
    let time = |tile: &Tile| {
        let phases = product.phases[0] * product.phases[1];
        let blocks = product.all.div_ceil(tile.m) * pixels.div_ceil(tile.n) * product.groups * phases;
        Tile::waves(blocks, tile.cycles(tile.n, GATHER) + 0.5 * tile.m as f64 / 128.0)
    };
    tiles.sort_by(|a, b| time(a).total_cmp(&time(b)));
    tiles
}

/// The commands, in the first of the tiles.
pub(super) fn commands(
    convolution: &Convolution,
    tiles: &[Tile],
    scratch: &mut dyn FnMut(usize) -> u64,
) -> Vec<Command> {
    let Some(tile) = tiles.first() else { return Vec::new() };
    let (product, real) = (Product::of(convolution), convolution.real);
    let ([rows, columns], taps) = (convolution.filter, product.taps(convolution.filter));
    let strides = product.source.strides;
    let span = (0..2).fold(convolution.count * strides[1] + (product.channels + 16) * strides[2], |span, k| {
        span + (product.size[k] + 2 * convolution.padding[k] + convolution.filter[k]) * strides[3 + k]
    });
    let entry = if offset(span) == "int" { 12 } else { 16 };
    let (most, multiple) = if tile.tensor() { (16, 8) } else { (16 * 4 / real.size(), 1) };
    let table = |slice: Slice| if slice.taps > 1 { taps.div_ceil(slice.taps) * slice.depth * entry } else { 0 };
    let slice = slice(product.channels, taps, most, multiple, table);
    // Rows of slices are padded for tensor cores, whose lanes read 4 depths at once.
    let margin = if tile.tensor() { 8 } else { 0 };
    let stage = slice.depth * (tile.m + tile.n + 2 * margin) * real.size();
    let stages = stages(stage);

    let row_tiles = product.all.div_ceil(tile.m);
    let slices = product.channels.div_ceil(slice.channels) * taps.div_ceil(slice.taps);
    let packed_group = row_tiles * slices * slice.depth * tile.m;
    let packed_phase = packed_group * product.filters;
    let phases = product.phases[0] * product.phases[1];
    let packed = scratch(packed_phase * phases * real.size());

    let by = convolution.filters.strides;
    let source = format!("#define REAL {}\n#define TENSOR {}\n{PACK}", real.name(), u32::from(tile.tensor()));
    let kernel = Kernel { source: source.into(), name: "convolution_pack".into() };
    let arguments = Arguments::default()
        .pointers(&[convolution.filters.address, packed])
        .distances(&[by[0], by[product.axes[0]], by[product.axes[1]], by[3], by[4]])
        .counts(&[product.filters, product.all, product.outputs, product.channels, rows, columns])
        .counts(&product.phases)
        .counts(&[tile.m, slice.depth, slice.channels, slice.taps])
        .distances(&[packed_phase, packed_group]);
    let blocks = phases * product.filters * row_tiles * product.channels.div_ceil(slice.channels);
    let shares = (taps.div_ceil(slice.taps) * slice.depth * tile.m).div_ceil(1024).min(256);
    let mut commands = vec![launch(kernel, [blocks as u32, shares as u32], 256, 0, arguments.0)];

    let transposed = convolution.part == Part::Images;
    let source = format!(
        "{}#define OFFSET {}\n#define TRANSPOSED {}\n#define SLICE {}\n#define SLICE_CHANNELS {}\n#define SLICE_TAPS {}\n\
         #define WHOLE_CHANNELS {}\n#define STAGES {stages}\n#define STRIDE_M {}\n#define STRIDE_N {}\n#define DEEP 0\n\
         #define ROUND_ROWS 0\n{TILE}{CORRELATE}",
        definitions(convolution, tile),
        offset(span),
        u32::from(transposed),
        slice.depth,
        slice.channels,
        slice.taps,
        u32::from(product.channels.is_multiple_of(slice.channels)),
        tile.m + margin,
        tile.n + margin,
    );
    let kernel = Kernel { source: source.into(), name: "convolution_correlate".into() };
    let run = tile.run(real);
    let plane = product.pixels[0] * product.pixels[1];
    let together = (PIXELS / product.area()).max(1);
    for first in (0..convolution.count).step_by(together) {
        let some = convolution.some(first, together.min(convolution.count - first));
        let product = Product::of(&some);
        let aligned = phases == 1 && plane.is_multiple_of(run) && product.to.is_multiple_of((run * real.size()) as u64);
        let pixel_tiles = (some.count * product.area()).div_ceil(tile.n);
        let arguments = Arguments::default()
            .pointers(&[packed, product.source.address, product.to])
            .counts(&[product.groups, pixel_tiles, some.count, product.channels])
            .counts(&product.size)
            .distances(&strides)
            .distances(&[packed_phase, if product.filters == 1 { 0 } else { packed_group }])
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
