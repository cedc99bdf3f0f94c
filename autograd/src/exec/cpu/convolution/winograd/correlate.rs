//! Results of convolutions, and their transpose in the images.

use super::super::arranged::Arranged;
use super::super::planes::Planes;
use super::super::tile::{Lines, Span, Tile, WIDTH};
use super::super::{Geometry, SPREAD, Stack};
use super::{Chunk, FILTER, IN, Layout, OUT, PLACES, Taps, Tiling, transform};
use crate::Result;
use crate::exec::cpu::frame::{Frame, Kernel};
use crate::exec::cpu::vector::{Vector, lanes};
use pulp::{Simd, WithSimd};

/// Elements of the transformed tiles of a chunk at one of their places.
const CHUNK: usize = 1 << 14;

/// Channels of `out` as sums over the channels of `source`.
pub(in super::super) struct Correlation<T> {
    source: Stack<T>,
    planes: Planes,
    filters: *const T,
    /// Elements of the filters from one group, one channel of `out` and one of `source` to the next.
    strides: [usize; 3],
    taps: Taps,
    /// The same filters transformed: place after place, for one block of channels after another.
    transformed: Arranged,
    out: Stack<T>,
    /// Channels of `out` whose sums are computed together.
    block: usize,
    tiling: Tiling,
    /// Where transformed tiles lie, and their sums.
    tiles: Layout,
    sums: Layout,
    /// Where the tiles of each channel begin.
    channels: Vec<usize>,
    flops: usize,
}

// SAFETY: addresses in blocks that the machine owns; a run has exclusive access to the machine and its tasks write disjoint results.
unsafe impl<T: Send> Send for Correlation<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Correlation<T> {}

/// Results from images and filters.
pub(in super::super) fn output<T: Vector>(
    images: Stack<T>,
    filters: Stack<T>,
    results: Stack<T>,
    geometry: Geometry,
    lanes: usize,
) -> Correlation<T> {
    let [group, output, channel, row, column] = filters.strides;
    let strides = [group, output, channel];
    let taps = Taps::new([row, column], false);
    Correlation::new(images, geometry.padding, filters.pointer, strides, taps, results, lanes)
}

/// Images from filters and results: with the filters turned round, a convolution like any other.
pub(in super::super) fn input<T: Vector>(
    images: Stack<T>,
    filters: Stack<T>,
    results: Stack<T>,
    geometry: Geometry,
    lanes: usize,
) -> Correlation<T> {
    let [group, output, channel, row, column] = filters.strides;
    let strides = [group, channel, output];
    let margin = geometry.padding.map(|padding| FILTER - 1 - padding);
    let taps = Taps::new([row, column], true);
    Correlation::new(results, margin, filters.pointer, strides, taps, images, lanes)
}

impl<T: Vector> Correlation<T> {
    fn new(
        source: Stack<T>,
        margin: [usize; 2],
        filters: *const T,
        strides: [usize; 3],
        taps: Taps,
        out: Stack<T>,
        lanes: usize,
    ) -> Self {
        let [groups, images, outputs, rows, columns] = out.shape;
        let channels = source.shape[2];
        let tiling = Tiling::new(images, [rows, columns], CHUNK / channels.max(outputs), lanes);
        let planes = tiling.planes([source.shape[3], source.shape[4]], margin, IN);
        let flops = 2 * groups * images * tiling.rows * tiling.columns * PLACES * outputs * channels;
        let (tiles, sums) = (tiling.layout(channels), tiling.layout(outputs));
        let block = (4..=6).rev().min_by_key(|&block| outputs.next_multiple_of(block)).unwrap_or(6);
        let place = channels * outputs.next_multiple_of(block);
        let transformed = Arranged::new(groups, strides[0], PLACES * place);
        let channels = (0..channels).map(|channel| channel * tiles.channel).collect();
        Self { source, planes, filters, strides, taps, transformed, out, block, tiling, tiles, sums, channels, flops }
    }

    /// Blocks of channels of `out`.
    fn blocks(&self) -> usize {
        self.out.shape[2].div_ceil(self.block)
    }

    /// Elements of the transformed filters of a group at one place.
    fn place(&self) -> usize {
        self.channels.len() * self.blocks() * self.block
    }

    fn copies(&self) -> usize {
        self.tiling.copies(&self.planes, IN)
    }
}

impl<T: Vector> Kernel for Correlation<T> {
    fn run(&self, frame: &Frame<'_>) -> Result<()> {
        let blocks = self.blocks();
        frame.for_each(self.transformed.sets() * blocks, self.parallel(), |task| {
            let (group, block) = (task / blocks, task % blocks);
            frame.arch.dispatch(Transform { kernel: self, group, block, to: self.transformed.of(frame, group) });
        });
        let chunks = self.tiling.chunks();
        frame.for_each(self.out.shape[0] * chunks, self.parallel(), |task| {
            let group = task / chunks;
            let chunk = self.tiling.chunk(task % chunks);
            let (filters, scratch) = (self.transformed.of::<T>(frame, group), frame.scratch().cast());
            frame.arch.dispatch(Task { kernel: self, group, chunk, filters, scratch });
        });
        Ok(())
    }

    fn parallel(&self) -> bool {
        self.flops >= SPREAD && self.out.shape[0] * self.tiling.chunks() > 1
    }

    fn scratch_bytes(&self) -> usize {
        (self.copies() + self.tiles.elements() + self.sums.elements()) * size_of::<T>()
    }

    fn partial_bytes(&self) -> usize {
        self.transformed.bytes::<T>()
    }
}

/// Transforms the filters of a block of channels to where tiles take them from: place after place, the channels of the block side by side.
struct Transform<'a, T> {
    kernel: &'a Correlation<T>,
    group: usize,
    block: usize,
    to: *mut T,
}

impl<T: Vector> WithSimd for Transform<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        match self.kernel.block {
            4 => self.run::<4>(),
            5 => self.run::<5>(),
            _ => self.run::<6>(),
        }
    }
}

impl<T: Vector> Transform<'_, T> {
    #[inline(always)]
    fn run<const BLOCK: usize>(self) {
        let kernel = self.kernel;
        let [group, own, other] = kernel.strides;
        let (first, channels) = (self.block * BLOCK, kernel.channels.len());
        let count = BLOCK.min(kernel.out.shape[2] - first);
        for channel in 0..channels {
            let from = kernel.filters.wrapping_add(self.group * group + first * own + channel * other);
            // SAFETY: the kernel was compiled from checked views; `partial_bytes` makes room for the transformed filters, of which each task writes
            // a block of its own.
            unsafe {
                let values = transform::filters::<T, BLOCK>(from, own, count, kernel.taps);
                let to = self.to.add((self.block * channels + channel) * BLOCK);
                for (k, values) in values.iter().enumerate() {
                    to.add(k * kernel.place()).cast::<[T; BLOCK]>().write_unaligned(*values);
                }
            }
        }
    }
}

/// Some tiles of a group.
struct Task<'a, T> {
    kernel: &'a Correlation<T>,
    group: usize,
    chunk: Chunk,
    filters: *const T,
    scratch: *mut T,
}

impl<T: Vector> WithSimd for Task<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let kernel = self.kernel;
        debug_assert_eq!(kernel.tiling.lanes, lanes::<T, S>());
        let tiles = self.scratch.wrapping_add(kernel.copies());
        let sums = tiles.wrapping_add(kernel.tiles.elements());
        // SAFETY: the kernel was compiled from checked views for registers of this width; the scratch memory is this thread's own and large enough.
        unsafe {
            self.transform(simd, tiles);
            for place in 0..PLACES {
                let filters = self.filters.add(place * kernel.place());
                let (tiles, sums) = (tiles.add(place * kernel.tiles.place), sums.add(place * kernel.sums.place));
                match kernel.block {
                    4 => self.multiply::<S, 4>(simd, filters, tiles, sums),
                    5 => self.multiply::<S, 5>(simd, filters, tiles, sums),
                    _ => self.multiply::<S, 6>(simd, filters, tiles, sums),
                }
            }
            self.transform_back(simd, sums);
        }
    }
}

impl<T: Vector> Task<'_, T> {
    /// Transforms the tiles of all channels.
    #[inline(always)]
    unsafe fn transform<S: Simd>(&self, simd: S, to: *mut T) {
        let Correlation { source, planes, tiling, tiles, .. } = self.kernel;
        let shape = [self.chunk.rows.len(), tiling.columns];
        let (first, end) = (self.chunk.rows.start * OUT, (self.chunk.rows.end - 1) * OUT + IN);
        // SAFETY: the caller's promise. Channels and images are in order: what is written behind the last tile of a row is written again.
        unsafe {
            for channel in 0..source.shape[2] {
                for (k, image) in self.chunk.images.clone().enumerate() {
                    let from = source.channel(self.group, image, channel);
                    planes.fill_rows(from, [source.strides[3], source.strides[4]], first..end, self.scratch);
                    let to = to.add(channel * tiles.channel + k * shape[0] * shape[1]);
                    transform::images::<T, S>(simd, planes, self.scratch, shape, to, *tiles);
                }
            }
        }
    }

    /// The sums over channels at one place of all tiles.
    #[inline(always)]
    unsafe fn multiply<S: Simd, const BLOCK: usize>(&self, simd: S, filters: *const T, tiles: *const T, sums: *mut T) {
        let Correlation { out, tiling, channels, sums: layout, .. } = self.kernel;
        for first in (0..tiling.tiles(&self.chunk)).step_by(WIDTH * tiling.lanes) {
            for own in (0..out.shape[2]).step_by(BLOCK) {
                let tile = Tile {
                    copies: tiles,
                    taps: channels,
                    weights: filters.wrapping_add(own * channels.len()),
                    out: sums.wrapping_add(own * layout.channel),
                    channel: layout.channel,
                    channels: out.shape[2] - own,
                    lines: Lines::ONE,
                    adds: false,
                };
                let spans =
                    [first, first + tiling.lanes].map(|at| Span { base: at, line: 0, first: at, count: tiling.lanes });
                // SAFETY: the caller's promise; both layouts have room for whole registers.
                unsafe { tile.run::<S, WIDTH, BLOCK>(simd, spans) };
            }
        }
    }

    /// Transforms the sums to results.
    #[inline(always)]
    unsafe fn transform_back<S: Simd>(&self, simd: S, from: *const T) {
        let Correlation { out, tiling, sums, .. } = self.kernel;
        let shape = [self.chunk.rows.len(), tiling.columns];
        let first = self.chunk.rows.start * OUT;
        let size = [out.shape[3] - first, out.shape[4]];
        for channel in 0..out.shape[2] {
            for (k, image) in self.chunk.images.clone().enumerate() {
                let from = from.wrapping_add(channel * sums.channel + k * shape[0] * shape[1]);
                let to = out.channel(self.group, image, channel).wrapping_add(first * out.shape[4]);
                // SAFETY: the caller's promise; results are contiguous.
                unsafe { transform::sums::<T, S>(simd, from, *sums, shape, to, size) };
            }
        }
    }
}
