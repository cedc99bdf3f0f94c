//! The transpose of convolutions in the filters: results times the images that they meet, summed over all pixels.
//!
//! The depth of the product, all pixels of a group, is split over as many blocks as keep a card busy; how many depends on shapes alone, and the sums of
//! the parts are added in their order.

use super::tile::{BY_TAPS, Tile, stages};
use super::{Arguments, Convolution, PIXELS, TILE, definitions, divisor, launch, offset};
use crate::{Command, Kernel};

const FILTER: &str = include_str!("../../kernels/convolution_filter.cu");
const SUM: &str = include_str!("../../kernels/convolution_sum.cu");

/// Instructions for an element that is gathered.
const GATHER: f64 = 6.0;
/// Cycles that a block takes to begin and end, and a launch.
const BLOCK: f64 = 3000.0;
/// Bytes that memory moves in a cycle of the multiprocessors.
const BYTES: f64 = 1800.0;
/// Bytes that the sums of parts may take.
const PART_BYTES: usize = 1 << 28;
/// Most parts.
const PARTS: usize = 512;

/// A tile with the parts that the depth is split into.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Plan {
    pub(super) tile: Tile,
    pub(super) parts: usize,
    /// Cycles that are expected.
    pub(super) cycles: f64,
}

/// Groups, rows and columns of the product.
fn product(convolution: &Convolution) -> [usize; 3] {
    let columns = convolution.channels * convolution.filter[0] * convolution.filter[1];
    if convolution.folded() {
        [1, convolution.groups * convolution.outputs, columns]
    } else {
        [convolution.groups, convolution.outputs, columns]
    }
}

/// Depth of a slice: as much as gives a loading thread work, and all teams.
fn slice(tile: &Tile) -> usize {
    if tile.teams() >= 4 { 32 } else { 16 }
}

/// Ways to compute the part, the one that takes the least time first.
pub(super) fn plans(convolution: &Convolution) -> Vec<Plan> {
    let [groups, rows, columns] = product(convolution);
    let depth = convolution.count * convolution.result[0] * convolution.result[1];
    let bytes = groups * rows * columns * convolution.real.size();
    let mut plans = Vec::new();
    for tile in BY_TAPS.of(convolution.real, convolution.tensor()) {
        let blocks = groups * rows.div_ceil(tile.m) * columns.div_ceil(tile.n);
        let most = depth.div_ceil(4 * slice(&tile)).min(PARTS).min((PART_BYTES / bytes).max(1));
        for parts in 1..=most {
            let one = depth.div_ceil(parts).next_multiple_of(slice(&tile));
            let cycles = BLOCK + one as f64 * tile.cycles(tile.m + tile.n, GATHER);
            let sum = if parts > 1 { BLOCK + 2.0 * (parts * bytes) as f64 / BYTES } else { 0.0 };
            plans.push(Plan { tile, parts, cycles: Tile::waves(blocks * parts, cycles) + sum });
        }
    }
    plans.sort_by(|a, b| a.cycles.total_cmp(&b.cycles));
    plans
}

/// The commands, as the first of the plans says.
pub(super) fn commands(
    convolution: &Convolution,
    plans: &[Plan],
    scratch: &mut dyn FnMut(usize) -> u64,
) -> Vec<Command> {
    let Some(Plan { tile, parts, .. }) = plans.first() else { return Vec::new() };
    let real = convolution.real;
    let [groups, rows, columns] = product(convolution);
    let slice = slice(tile);
    let (size_m, size_n, strides) = if tile.tensor() {
        (tile.m * (slice + 4), tile.n * (slice + 4), [0, 0, slice + 4])
    } else {
        // Eight lanes store neighbouring depths, four lanes neighbouring rows: 4 more than a multiple of 32 keeps them in different banks.
        let [m, n] = [tile.m, tile.n].map(|rows| rows.next_multiple_of(32) + 4);
        (slice * m, slice * n, [m, n, 0])
    };
    let stage = (size_m + size_n) * real.size();
    let stages = stages(stage);
    let exchange = if tile.teams() > 1 { tile.m * tile.n * real.size() } else { 0 };
    let results_group = if convolution.folded() { convolution.results.strides[0] } else { 0 };
    let (by_image, by_result) = (convolution.images.strides, convolution.results.strides);
    let reach =
        |by: &[usize; 5], lengths: [usize; 4]| -> usize { lengths.iter().zip(&by[1..]).map(|(l, s)| l * s).sum() };
    let [h, w] = [0, 1].map(|k| convolution.image[k] + 2 * convolution.padding[k] + convolution.filter[k]);
    let [p, q] = convolution.result;
    let span = reach(&by_image, [convolution.count, convolution.channels, h, w])
        .max(reach(&by_result, [convolution.count, convolution.outputs, p, q]) + convolution.groups * results_group);

    // A vector of neighbouring pixels is of one channel.
    let vector = 16 / real.size();
    let vectors = tile.tensor()
        && (q == 1 || by_result[4] == 1)
        && (p == 1 || by_result[3] == q)
        && (p * q).is_multiple_of(vector)
        && convolution.results.address.is_multiple_of(16)
        && by_result[..3].iter().all(|stride| stride.is_multiple_of(vector));
    let source = format!(
        "{}#define OFFSET {}\n#define SLICE {slice}\n#define STAGES {stages}\n#define STRIDE_M {}\n#define STRIDE_N {}\n#define STRIDE_K {}\n\
         #define DEEP {}\n#define VECTORS {}\n#define ROUND_ROWS 1\n{TILE}{FILTER}",
        definitions(convolution, tile),
        offset(span),
        strides[0],
        strides[1],
        strides[2],
        u32::from(tile.tensor()),
        u32::from(vectors),
    );
    let kernel = Kernel { source: source.into(), name: "convolution_filter".into() };
    let area = p * q;
    let together = (PIXELS / area).max(1).min(convolution.count);
    // Images of a launch, and its parts.
    let launches: Vec<(usize, usize, usize, usize)> = (0..convolution.count)
        .step_by(together)
        .map(|first| {
            let count = together.min(convolution.count - first);
            let depth = (count * area).div_ceil(*parts).next_multiple_of(slice);
            (first, count, depth, (count * area).div_ceil(depth))
        })
        .collect();
    let parts: usize = launches.iter().map(|launch| launch.3).sum();
    let elements = groups * rows * columns;
    let to = if parts > 1 { scratch(parts * elements * real.size()) } else { convolution.filters.address };
    let mut done = 0;
    let mut commands = Vec::new();
    for (first, count, depth, parts) in launches {
        let some = convolution.some(first, count);
        let out = to + (done * elements * real.size()) as u64;
        let run = tile.run(real);
        let aligned = columns.is_multiple_of(run) && out.is_multiple_of((run * real.size()) as u64);
        let arguments = Arguments::default()
            .pointers(&[some.results.address, some.images.address, out])
            .counts(&[groups, parts, depth, count * area])
            .counts(&divisor(area))
            .counts(&divisor(q))
            .distances(&by_result)
            .counts(&some.image)
            .distances(&by_image)
            .counts(&[rows, some.outputs, columns, usize::from(aligned)])
            .counts(&some.filter)
            .counts(&some.stride)
            .counts(&some.padding);
        let blocks = groups * parts * rows.div_ceil(tile.m) * columns.div_ceil(tile.n);
        let shared = (stages * stage).max(exchange);
        commands.push(launch(kernel.clone(), [blocks as u32, 1], tile.threads as u32, shared, arguments.0));
        done += parts;
    }
    if parts > 1 {
        let source = format!("#define REAL {}\n{SUM}", real.name());
        let kernel = Kernel { source: source.into(), name: "convolution_sum".into() };
        let arguments =
            Arguments::default().pointers(&[to, convolution.filters.address]).distances(&[elements]).counts(&[parts]);
        commands.push(launch(kernel, [elements.div_ceil(256) as u32, 1], 256, 0, arguments.0));
    }
    commands
}
