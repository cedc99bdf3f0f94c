//! Results of convolutions, and their transpose in the images: sums over taps for tiles of neighbouring elements.

use super::arranged::Arranged;
use super::copies::{Copies, View};
use super::tile::{Lines, MOST_BLOCK, Span, Tile, WIDTH};
use super::{Geometry, SPREAD, Stack};
use crate::Result;
use crate::exec::cpu::frame::{Frame, Kernel};
use crate::exec::cpu::vector::{Vector, lanes};
use pulp::{Simd, WithSimd};
use std::ops::Range;

/// Most taps whose products are summed in registers before the sums go to memory: what they read stays in first-level cache.
const DEPTH: usize = 384;
/// Tasks of a group.
const TASKS: usize = 8;

/// Elements of a channel that the same taps make, or some of them.
#[derive(Clone, Debug)]
struct Pass {
    /// For each tap its distance from `Span::base`; those of one row of the filters stand together.
    taps: Vec<usize>,
    /// For each tap its place in the filters, from that of the channel.
    weights: Vec<usize>,
    rows: Vec<Rows>,
    lines: Lines,
}

/// Rows of a channel that the same taps make: close to a margin not all of them meet anything but zeros.
#[derive(Clone, Debug)]
struct Rows {
    taps: Range<usize>,
    spans: Vec<Span>,
}

impl Pass {
    fn new(lines: Lines) -> Self {
        Self { taps: Vec::new(), weights: Vec::new(), rows: Vec::new(), lines }
    }

    /// Puts spans to those with the same taps.
    fn push(&mut self, taps: Range<usize>, span: Span) {
        match self.rows.iter_mut().find(|rows| rows.taps == taps) {
            Some(rows) => rows.spans.push(span),
            None => self.rows.push(Rows { taps, spans: vec![span] }),
        }
    }
}

/// Channels of `out` as sums over taps in the channels of `source`.
pub(super) struct Correlation<T> {
    source: Stack<T>,
    copies: Copies,
    filters: *const T,
    /// Elements of the filters from one group, and one channel of `out`, to the next.
    group: usize,
    channel: usize,
    /// The same filters for one block of channels after another: the channels side by side, tap after tap.
    packed: Arranged,
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
    let [_, _, channels, rows, _] = images.shape;
    let [_, _, _, h, w] = filters.shape;
    let [_, _, _, p, q] = results.shape;
    let Geometry { stride, padding } = geometry;
    let products = h * w * results.shape[2];
    let copies = Copies::new(View::of_images(&images, [h, w], &results, geometry, products), lanes);
    let mut pass = Pass::new(Lines { length: q, pitch: q, step: 1, next: q });
    let [_, _, by_channel, by_row, by_column] = filters.strides;
    for (u, c, v) in triples([h, channels, w]) {
        pass.taps.push(c * copies.plane() + copies.at(u, v));
        pass.weights.push(c * by_channel + u * by_row + v * by_column);
    }
    for run in copies.runs([p, q], lanes) {
        // Taps above the images in the last row, and below them in the first one, meet zeros alone.
        let [top, bottom] = run.rows.map(|row| row * stride[0]);
        let first = padding[0].saturating_sub(bottom).min(h);
        let end = (rows + padding[0]).saturating_sub(top).clamp(first, h);
        let span = Span { base: run.base, line: run.rows[0] * q, first: run.column, count: run.count };
        pass.push(first * channels * w..end * channels * w, span);
    }
    let (group, channel) = (filters.strides[0], filters.strides[1]);
    Correlation::new(images, copies, filters.pointer, [group, channel], results, vec![pass], lanes)
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
    let seen = |k: usize| phases[k].iter().map(|phase| phase.begin + first[k] as isize + 1).max().unwrap_or(0) as usize;
    let positions = phases.each_ref().map(|list| list.iter().map(|phase| phase.count).max().unwrap_or(0));
    let view = View {
        source: [results.shape[3], results.shape[4]],
        first,
        size: end,
        stride: [1, 1],
        taps: [seen(0), seen(1)],
        positions,
        products: filters.shape[2..].iter().product(),
    };
    let copies = Copies::new(view, lanes);
    let [_, by_output, _, by_row, by_column] = filters.strides;
    let mut passes = Vec::new();
    for vertical in &phases[0] {
        for horizontal in &phases[1] {
            let mut pass = Pass::new(Lines {
                length: horizontal.count,
                pitch: positions[1],
                step: geometry.stride[1],
                next: geometry.stride[0] * images.shape[4],
            });
            for (s, o, t) in triples([vertical.taps.len(), outputs, horizontal.taps.len()]) {
                let (row, column) = (vertical.begin - s as isize, horizontal.begin - t as isize);
                let [row, column] =
                    [(row, first[0]), (column, first[1])].map(|(at, first)| (at + first as isize) as usize);
                pass.taps.push(o * copies.plane() + copies.at(row, column));
                pass.weights.push(o * by_output + vertical.taps[s] * by_row + horizontal.taps[t] * by_column);
            }
            for run in copies.runs([vertical.count, horizontal.count], lanes) {
                // Tap s meets result begin + row - s.
                let [first, last] = run.rows.map(|row| (vertical.begin + row as isize + 1).max(0) as usize);
                let first = first.saturating_sub(results.shape[3]).min(vertical.taps.len());
                let end = last.clamp(first, vertical.taps.len());
                let one = outputs * horizontal.taps.len();
                let image_row = vertical.first + run.rows[0] * geometry.stride[0];
                let line = image_row * images.shape[4] + horizontal.first;
                let span = Span { base: run.base, line, first: run.column, count: run.count };
                pass.push(first * one..end * one, span);
            }
            passes.push(pass);
        }
    }
    let (group, channel) = (filters.strides[0], filters.strides[2]);
    Correlation::new(results, copies, filters.pointer, [group, channel], images, passes, lanes)
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
    (1..=MOST_BLOCK).rev().min_by_key(cost).unwrap_or(1)
}

impl<T: Vector> Correlation<T> {
    fn new(
        source: Stack<T>,
        copies: Copies,
        filters: *const T,
        [group, channel]: [usize; 2],
        out: Stack<T>,
        passes: Vec<Pass>,
        lanes: usize,
    ) -> Self {
        let rows = passes.iter().flat_map(|pass| &pass.rows);
        let products: usize = rows.map(|rows| rows.taps.len() * rows.spans.len() * lanes).sum();
        let image = 2 * products * out.shape[2];
        let images = out.shape[1].div_ceil(TASKS).max((SPREAD / 2).div_ceil(image.max(1))).min(out.shape[1]);
        let flops = image * out.shape[0] * out.shape[1];
        let block = block(out.shape[2]);
        let taps: usize = passes.iter().map(|pass| pass.taps.len()).sum();
        let packed = Arranged::new(out.shape[0], group, taps * out.shape[2].next_multiple_of(block));
        Self { source, copies, filters, group, channel, packed, out, passes, block, images, lanes, flops }
    }

    /// Elements of the copies, with room for a register that begins at the last one.
    fn copied(&self) -> usize {
        self.source.shape[2] * self.copies.plane() + 2 * self.lanes
    }

    fn tasks(&self) -> usize {
        self.out.shape[1].div_ceil(self.images)
    }

    /// Packs the filters of a group for one block of channels.
    ///
    /// # Safety
    /// `to` is where the group's packed filters lie, and nobody else uses those of the block.
    unsafe fn pack(&self, group: usize, block: usize, mut to: *mut T) {
        let (channels, size) = (self.out.shape[2], self.block);
        // SAFETY: the caller's promise; only filters of the group are read.
        unsafe {
            let filters = self.filters.add(group * self.group);
            for pass in &self.passes {
                let mut at = to.add(block * size * pass.taps.len());
                for &tap in &pass.weights {
                    for c in block * size..(block + 1) * size {
                        *at = if c < channels { *filters.add(c * self.channel + tap) } else { T::ZERO };
                        at = at.add(1);
                    }
                }
                to = to.add(pass.taps.len() * channels.next_multiple_of(size));
            }
        }
    }
}

impl<T: Vector> Kernel for Correlation<T> {
    fn run(&self, frame: &Frame<'_>) -> Result<()> {
        let blocks = self.out.shape[2].div_ceil(self.block);
        frame.for_each(self.packed.sets() * blocks, self.parallel(), |task| {
            // SAFETY: `partial_bytes` makes room for the packed filters; each task writes a block of its own.
            unsafe { self.pack(task / blocks, task % blocks, self.packed.of(frame, task / blocks)) };
        });
        let tasks = self.tasks();
        frame.for_each(self.out.shape[0] * tasks, self.parallel(), |task| {
            let first = task % tasks * self.images;
            let images = first..(first + self.images).min(self.out.shape[1]);
            let scratch = frame.scratch().cast();
            let group = task / tasks;
            frame.arch.dispatch(Task { kernel: self, group, images, packed: self.packed.of(frame, group), scratch });
        });
        Ok(())
    }

    fn parallel(&self) -> bool {
        self.flops >= SPREAD && self.out.shape[0] * self.tasks() > 1
    }

    fn scratch_bytes(&self) -> usize {
        self.copied() * size_of::<T>()
    }

    fn partial_bytes(&self) -> usize {
        self.packed.bytes::<T>()
    }
}

/// Some images of a group.
struct Task<'a, T> {
    kernel: &'a Correlation<T>,
    group: usize,
    images: Range<usize>,
    packed: *const T,
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
                4 => self.run::<S, 4>(simd),
                5 => self.run::<S, 5>(simd),
                _ => self.run::<S, 6>(simd),
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
        let copies = self.scratch;
        // SAFETY: the caller's promise.
        unsafe {
            copies.add(kernel.copied() - 2 * kernel.lanes).write_bytes(0, 2 * kernel.lanes);
            for image in self.images.clone() {
                for c in 0..kernel.source.shape[2] {
                    let strides = [kernel.source.strides[3], kernel.source.strides[4]];
                    let from = kernel.source.channel(self.group, image, c);
                    kernel.copies.fill(from, strides, copies.add(c * kernel.copies.plane()));
                }
                let mut weights = self.packed;
                for pass in &kernel.passes {
                    let depth = pass.taps.len();
                    for rows in &pass.rows {
                        let count = rows.taps.len();
                        let most = count.div_ceil(count.div_ceil(DEPTH).max(1)).max(1);
                        for first in (0..count.max(1)).step_by(most) {
                            let taps = rows.taps.start + first..rows.taps.start + (first + most).min(count);
                            for spans in rows.spans.chunks(WIDTH) {
                                for c in (0..channels).step_by(BLOCK) {
                                    let tile = Tile {
                                        copies,
                                        taps: &pass.taps[taps.clone()],
                                        weights: weights.add(c * depth + taps.start * BLOCK),
                                        out: kernel.out.channel(self.group, image, c),
                                        channel: kernel.out.strides[2],
                                        channels: channels - c,
                                        lines: pass.lines,
                                        adds: first > 0,
                                    };
                                    match spans {
                                        [a, b] => tile.run::<S, 2, BLOCK>(simd, [*a, *b]),
                                        [a] => tile.run::<S, 1, BLOCK>(simd, [*a]),
                                        _ => {}
                                    }
                                }
                            }
                        }
                    }
                    weights = weights.add(depth * channels.next_multiple_of(BLOCK));
                }
            }
        }
    }
}
