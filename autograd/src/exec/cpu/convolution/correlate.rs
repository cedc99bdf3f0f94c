//! Results of convolutions, and their transpose in the images: sums over taps for tiles of neighbouring elements.

use super::planes::Planes;
use super::{Geometry, SPREAD, Stack};
use crate::Result;
use crate::exec::cpu::frame::{Frame, Kernel};
use crate::exec::cpu::vector::{Vector, lanes};
use pulp::{Simd, WithSimd};

/// Registers of neighbouring elements in a tile.
const WIDTH: usize = 3;
/// Taps whose products are summed in registers before the sums go to memory: what they read stays in first-level cache.
const DEPTH: usize = 384;
/// Tasks of a group.
const TASKS: usize = 8;

/// A register of neighbouring elements of a channel.
#[derive(Clone, Copy, Debug)]
struct Span {
    /// Where its first tap lies in the copies.
    base: usize,
    /// Where it goes in the channel.
    to: usize,
    /// Elements; the other lanes hold nothing of use.
    count: usize,
}

/// Elements of a channel that the same taps make.
#[derive(Clone, Debug)]
struct Pass {
    /// For each tap its distance from `Span::base`.
    taps: Vec<usize>,
    /// For each tap its place in the filters, from that of the channel.
    weights: Vec<usize>,
    spans: Vec<Span>,
    /// Elements of the channel from one lane to the next.
    step: usize,
}

/// Channels of `out` as sums over taps in the channels of `source`.
pub(super) struct Correlation<T> {
    source: Stack<T>,
    planes: Planes,
    filters: *const T,
    /// Elements of the filters from one group, and one channel of `out`, to the next.
    group: usize,
    channel: usize,
    out: Stack<T>,
    passes: Vec<Pass>,
    /// Channels of `out` in a tile.
    block: usize,
    /// Images of a task.
    images: usize,
    lanes: usize,
    flops: usize,
}

// SAFETY: addresses in blocks that the machine owns; a run has exclusive access to the machine and its tasks write disjoint images.
unsafe impl<T: Send> Send for Correlation<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Correlation<T> {}

/// Results from images and filters.
pub(super) fn output<T: Vector>(
    images: Stack<T>,
    filters: Stack<T>,
    results: Stack<T>,
    geometry: Geometry,
    lanes: usize,
) -> Correlation<T> {
    let [_, _, channels, rows, columns] = images.shape;
    let [_, _, _, h, w] = filters.shape;
    let [_, _, _, p, q] = results.shape;
    let Geometry { stride, padding } = geometry;
    let size = [(p - 1) * stride[0] + h, (q - 1) * stride[1] + w];
    let planes = Planes::new([rows, columns], padding, size, stride[1]);
    let mut pass = Pass { taps: Vec::new(), weights: Vec::new(), spans: Vec::new(), step: 1 };
    let [_, _, by_channel, by_row, by_column] = filters.strides;
    for (c, u, v) in triples([channels, h, w]) {
        pass.taps.push(c * planes.plane() + planes.at(u, v));
        pass.weights.push(c * by_channel + u * by_row + v * by_column);
    }
    for row in 0..p {
        for column in (0..q).step_by(lanes) {
            let base = row * stride[0] * planes.row() + column;
            pass.spans.push(Span { base, to: row * q + column, count: lanes.min(q - column) });
        }
    }
    let (group, channel) = (filters.strides[0], filters.strides[1]);
    Correlation::new(images, planes, filters.pointer, [group, channel], results, vec![pass], lanes)
}

/// Images from filters and results. Which taps an element of the images meets depends on its remainder modulo the stride: one pass for each.
pub(super) fn input<T: Vector>(
    images: Stack<T>,
    filters: Stack<T>,
    results: Stack<T>,
    geometry: Geometry,
    lanes: usize,
) -> Correlation<T> {
    let outputs = filters.shape[1];
    let phases =
        [0, 1].map(|k| phases(images.shape[3 + k], filters.shape[3 + k], geometry.stride[k], geometry.padding[k]));
    // Copies begin where the first tap of any phase looks, and end where the last does.
    let first = phases.each_ref().map(|list| list.iter().map(Phase::before).max().unwrap_or(0));
    let end = [0, 1].map(|k| {
        let most = phases[k].iter().map(|phase| phase.begin + phase.count as isize).max().unwrap_or(0);
        first[k] + results.shape[3 + k].max(most.max(0) as usize)
    });
    let planes = Planes::new([results.shape[3], results.shape[4]], first, end, 1);
    let [_, by_output, _, by_row, by_column] = filters.strides;
    let mut passes = Vec::new();
    for vertical in &phases[0] {
        for horizontal in &phases[1] {
            let mut pass = Pass { taps: Vec::new(), weights: Vec::new(), spans: Vec::new(), step: geometry.stride[1] };
            for (o, s, t) in triples([outputs, vertical.taps.len(), horizontal.taps.len()]) {
                let (row, column) = (vertical.begin - s as isize, horizontal.begin - t as isize);
                let [row, column] =
                    [(row, first[0]), (column, first[1])].map(|(at, first)| (at + first as isize) as usize);
                pass.taps.push(o * planes.plane() + planes.at(row, column));
                pass.weights.push(o * by_output + vertical.taps[s] * by_row + horizontal.taps[t] * by_column);
            }
            for row in 0..vertical.count {
                for column in (0..horizontal.count).step_by(lanes) {
                    let image_row = vertical.first + row * geometry.stride[0];
                    let image_column = horizontal.first + column * geometry.stride[1];
                    pass.spans.push(Span {
                        base: row * planes.row() + column,
                        to: image_row * images.shape[4] + image_column,
                        count: lanes.min(horizontal.count - column),
                    });
                }
            }
            passes.push(pass);
        }
    }
    let (group, channel) = (filters.strides[0], filters.strides[2]);
    Correlation::new(results, planes, filters.pointer, [group, channel], images, passes, lanes)
}

/// Positions of the images along one axis with the same remainder modulo the stride.
struct Phase {
    /// Taps that meet them.
    taps: Vec<usize>,
    /// The first position and how many there are.
    first: usize,
    count: usize,
    /// The result that the first tap meets at the first position; later taps meet earlier results.
    begin: isize,
}

impl Phase {
    /// Results before the first one that taps look at.
    fn before(&self) -> usize {
        (self.taps.len() as isize - 1 - self.begin).max(0) as usize
    }
}

fn phases(length: usize, filter: usize, stride: usize, padding: usize) -> Vec<Phase> {
    (0..stride)
        .filter_map(|phase| {
            // Position i meets tap u at result (i + padding - u) / stride.
            let first = (0..stride.min(length)).find(|i| (i + padding) % stride == phase)?;
            Some(Phase {
                taps: (phase..filter).step_by(stride).collect(),
                first,
                count: (length - first).div_ceil(stride),
                begin: (first + padding - phase) as isize / stride as isize,
            })
        })
        .collect()
}

/// All (i, j, k) below the lengths, row-major.
pub(super) fn triples(lengths: [usize; 3]) -> impl Iterator<Item = (usize, usize, usize)> {
    let [a, b, c] = lengths;
    (0..a * b * c).map(move |flat| (flat / (b * c), flat / c % b, flat % c))
}

/// Channels in a tile: those that take the fewest cycles, at two products a cycle of a latency of four.
fn block(channels: usize) -> usize {
    let cost = |block: &usize| channels.div_ceil(*block) * (block * WIDTH).max(8);
    (1..=4).rev().min_by_key(cost).unwrap_or(1)
}

impl<T: Vector> Correlation<T> {
    fn new(
        source: Stack<T>,
        planes: Planes,
        filters: *const T,
        [group, channel]: [usize; 2],
        out: Stack<T>,
        passes: Vec<Pass>,
        lanes: usize,
    ) -> Self {
        let products: usize = passes.iter().map(|pass| pass.taps.len() * pass.spans.len() * lanes).sum();
        let image = 2 * products * out.shape[2];
        let images = out.shape[1].div_ceil(TASKS).max((SPREAD / 2).div_ceil(image.max(1))).min(out.shape[1]);
        let flops = image * out.shape[0] * out.shape[1];
        let block = block(out.shape[2]);
        Self { source, planes, filters, group, channel, out, passes, block, images, lanes, flops }
    }

    fn taps(&self) -> usize {
        self.passes.iter().map(|pass| pass.taps.len()).sum()
    }

    /// Elements of the packed filters.
    fn packed(&self) -> usize {
        self.taps() * self.out.shape[2].next_multiple_of(self.block)
    }

    /// Elements of the copies, with room for a register that begins at the last one.
    fn copies(&self) -> usize {
        self.source.shape[2] * self.planes.plane() + 2 * self.lanes
    }

    fn tasks(&self) -> usize {
        self.out.shape[1].div_ceil(self.images)
    }
}

impl<T: Vector> Kernel for Correlation<T> {
    fn run(&self, frame: &Frame<'_>) -> Result<()> {
        let tasks = self.tasks();
        frame.for_each(self.out.shape[0] * tasks, self.parallel(), |task| {
            let first = task % tasks * self.images;
            let images = first..(first + self.images).min(self.out.shape[1]);
            let scratch = frame.scratch().cast();
            frame.arch.dispatch(Task { kernel: self, group: task / tasks, images, scratch });
        });
        Ok(())
    }

    fn parallel(&self) -> bool {
        self.flops >= SPREAD && self.out.shape[0] * self.tasks() > 1
    }

    fn scratch_bytes(&self) -> usize {
        (self.packed() + self.copies()) * size_of::<T>()
    }
}

/// Some images of a group.
struct Task<'a, T> {
    kernel: &'a Correlation<T>,
    group: usize,
    images: std::ops::Range<usize>,
    scratch: *mut T,
}

impl<T: Vector> WithSimd for Task<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // SAFETY: the kernel was compiled from checked views for registers of this width; the scratch memory is this thread's own and large enough.
        unsafe {
            match self.kernel.block {
                1 => self.run::<S, 1>(simd),
                2 => self.run::<S, 2>(simd),
                3 => self.run::<S, 3>(simd),
                _ => self.run::<S, 4>(simd),
            }
        }
    }
}

impl<T: Vector> Task<'_, T> {
    #[inline(always)]
    unsafe fn run<S: Simd, const BLOCK: usize>(self, simd: S) {
        let kernel = self.kernel;
        debug_assert_eq!(kernel.lanes, lanes::<T, S>());
        let channels = kernel.out.shape[2];
        let (packed, copies) = (self.scratch, self.scratch.wrapping_add(kernel.packed()));
        // SAFETY: the caller's promise.
        unsafe {
            self.pack::<BLOCK>(packed);
            copies.add(kernel.copies() - 2 * kernel.lanes).write_bytes(0, 2 * kernel.lanes);
            for image in self.images.clone() {
                for c in 0..kernel.source.shape[2] {
                    let strides = [kernel.source.strides[3], kernel.source.strides[4]];
                    let from = kernel.source.channel(self.group, image, c);
                    kernel.planes.fill(from, strides, copies.add(c * kernel.planes.plane()));
                }
                let mut weights = packed;
                for pass in &kernel.passes {
                    let depth = pass.taps.len();
                    for first in (0..depth.max(1)).step_by(DEPTH) {
                        let taps = &pass.taps[first..(first + DEPTH).min(depth)];
                        for spans in pass.spans.chunks(WIDTH) {
                            for c in (0..channels).step_by(BLOCK) {
                                let tile = Tile {
                                    copies,
                                    taps,
                                    weights: weights.add(c * depth + first * BLOCK),
                                    out: kernel.out.channel(self.group, image, c),
                                    channel: kernel.out.strides[2],
                                    channels: channels - c,
                                    step: pass.step,
                                    adds: first > 0,
                                };
                                match spans {
                                    [a, b, c] => tile.run::<S, 3, BLOCK>(simd, [*a, *b, *c]),
                                    [a, b] => tile.run::<S, 2, BLOCK>(simd, [*a, *b]),
                                    [a] => tile.run::<S, 1, BLOCK>(simd, [*a]),
                                    _ => {}
                                }
                            }
                        }
                    }
                    weights = weights.add(depth * channels.next_multiple_of(BLOCK));
                }
            }
        }
    }

    /// Copies the group's filters to where a tile takes them from: the channels of a block side by side, tap after tap.
    #[inline(always)]
    unsafe fn pack<const BLOCK: usize>(&self, mut to: *mut T) {
        let kernel = self.kernel;
        let channels = kernel.out.shape[2];
        // SAFETY: the caller's promise.
        unsafe {
            let filters = kernel.filters.add(self.group * kernel.group);
            for pass in &kernel.passes {
                for first in (0..channels).step_by(BLOCK) {
                    for &tap in &pass.weights {
                        for c in first..first + BLOCK {
                            *to = if c < channels { *filters.add(c * kernel.channel + tap) } else { T::ZERO };
                            to = to.add(1);
                        }
                    }
                }
            }
        }
    }
}

/// The sums of some taps for one block of channels at a few spans.
struct Tile<'a, T> {
    copies: *const T,
    taps: &'a [usize],
    weights: *const T,
    /// First channel of the block, and the elements from it to the next.
    out: *mut T,
    channel: usize,
    /// Channels from the first one on.
    channels: usize,
    step: usize,
    /// Whether the sums add to what is there.
    adds: bool,
}

impl<T: Vector> Tile<'_, T> {
    #[inline(always)]
    unsafe fn run<S: Simd, const SPANS: usize, const BLOCK: usize>(&self, simd: S, spans: [Span; SPANS]) {
        let zero = T::splat(simd, T::ZERO);
        let mut sums = [[zero; BLOCK]; SPANS];
        let bases = spans.map(
            #[inline(always)]
            |span| self.copies.wrapping_add(span.base),
        );
        let mut weights = self.weights;
        // SAFETY: spans and taps were laid out within the copies and their margin, filters within the packed ones.
        unsafe {
            for &tap in self.taps {
                let mut values = [zero; SPANS];
                for s in 0..SPANS {
                    values[s] = bases[s].add(tap).cast::<T::Register<S>>().read_unaligned();
                }
                for b in 0..BLOCK {
                    let weight = T::splat(simd, *weights.add(b));
                    for s in 0..SPANS {
                        sums[s][b] = T::add_product(simd, values[s], weight, sums[s][b]);
                    }
                }
                weights = weights.add(BLOCK);
            }
            for b in 0..BLOCK {
                if b < self.channels {
                    for s in 0..SPANS {
                        self.store(simd, sums[s][b], self.out.add(b * self.channel + spans[s].to), spans[s].count);
                    }
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn store<S: Simd>(&self, simd: S, sum: T::Register<S>, to: *mut T, count: usize) {
        let one = T::splat(simd, T::ONE);
        // SAFETY: the caller's promise: `count` elements `step` apart.
        unsafe {
            if count == lanes::<T, S>() && self.step == 1 {
                let to = to.cast::<T::Register<S>>();
                let sum = if self.adds { T::add_product(simd, sum, one, to.read_unaligned()) } else { sum };
                to.write_unaligned(sum);
            } else {
                let values = (&raw const sum).cast::<T>();
                for k in 0..count {
                    let (to, value) = (to.add(k * self.step), *values.add(k));
                    *to = if self.adds { (*to).add(value) } else { value };
                }
            }
        }
    }
}
