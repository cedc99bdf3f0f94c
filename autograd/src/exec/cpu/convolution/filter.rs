//! The transpose of convolutions in the filters: for each tap the sum over all results of what it meets.

use super::copies::{Copies, Run, View};
use super::correlate::triples;
use super::{Geometry, SPREAD, Stack};
use crate::Result;
use crate::exec::cpu::frame::{Frame, Kernel};
use crate::exec::cpu::vector::{Vector, lanes};
use pulp::{Simd, WithSimd};

/// Results of a channel that are summed lane by lane before the lanes are: from so many on that takes no time worth mentioning.
const RESULTS: usize = 512;
/// Tasks in all at least, as far as there are channels.
const TASKS: usize = 8;
/// Tiles to choose from: channels of the results and taps, whose sums leave room in sixteen registers for one of each channel and one that taps meet.
const TILES: [[usize; 2]; 2] = [[3, 4], [2, 6]];

/// Filters from images and results.
pub(super) struct FilterKernel<T> {
    images: Stack<T>,
    results: Stack<T>,
    out: Stack<T>,
    copies: Copies,
    /// Distance of each tap in the copies of the images, filled up to whole tiles.
    taps: Vec<usize>,
    /// Where the first tap of each register of results lies.
    bases: Vec<usize>,
    /// Registers of a line (a row of results, or all rows), and the elements of its last one.
    line: usize,
    last: usize,
    tile: [usize; 2],
    /// Images that are worked on together.
    together: usize,
    /// Channels of the results of a task.
    channels: usize,
    lanes: usize,
    flops: usize,
}

// SAFETY: addresses in blocks that the machine owns; a run has exclusive access to the machine and its tasks write disjoint filters.
unsafe impl<T: Send> Send for FilterKernel<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for FilterKernel<T> {}

impl<T: Vector> FilterKernel<T> {
    pub(super) fn new(
        images: Stack<T>,
        filters: Stack<T>,
        results: Stack<T>,
        geometry: Geometry,
        lanes: usize,
    ) -> Self {
        let [groups, n, channels, _, _] = images.shape;
        let [_, outputs, _, h, w] = filters.shape;
        let [_, _, _, p, q] = results.shape;
        let count = channels * h * w;
        let cost = |tile: &[usize; 2]| outputs.next_multiple_of(tile[0]) * count.next_multiple_of(tile[1]);
        let tile = TILES.into_iter().min_by_key(cost).unwrap_or(TILES[0]);
        let own = outputs.div_ceil(TASKS.div_ceil(groups)).next_multiple_of(tile[0]).min(outputs);
        let copies = Copies::new(View::of_images(&images, [h, w], &results, geometry, h * w * own), lanes);
        let mut taps: Vec<usize> =
            triples([channels, h, w]).map(|(c, u, v)| c * copies.plane() + copies.at(u, v)).collect();
        taps.resize(count.next_multiple_of(tile[1]), 0);
        let runs = copies.runs([p, q], lanes);
        let bases: Vec<usize> = runs.iter().map(|run| run.base).collect();
        let line = if copies.pitch().is_some() { runs.len() } else { q.div_ceil(lanes) };
        Self {
            images,
            results,
            out: filters,
            copies,
            taps,
            tile,
            together: RESULTS.div_ceil(bases.len() * lanes).min(n).max(1),
            channels: own,
            line,
            last: runs.last().map_or(lanes, |run: &Run| run.count),
            lanes,
            flops: 2 * groups * n * outputs * count * bases.len() * lanes,
            bases,
        }
    }

    /// Elements of the copies of one image, with room for a register that begins at the last one.
    fn copied(&self) -> usize {
        self.images.shape[2] * self.copies.plane() + 2 * self.lanes
    }

    /// Elements of the copy of one channel of results.
    fn channel(&self) -> usize {
        self.bases.len() * self.lanes
    }

    fn tasks(&self) -> usize {
        self.results.shape[2].div_ceil(self.channels)
    }
}

impl<T: Vector> Kernel for FilterKernel<T> {
    fn run(&self, frame: &Frame<'_>) -> Result<()> {
        let tasks = self.tasks();
        frame.for_each(self.out.shape[0] * tasks, self.parallel(), |task| {
            let first = task % tasks * self.channels;
            let channels = first..(first + self.channels).min(self.results.shape[2]);
            let scratch = frame.scratch().cast();
            frame.arch.dispatch(Task { kernel: self, group: task / tasks, channels, scratch });
        });
        Ok(())
    }

    fn parallel(&self) -> bool {
        self.flops >= SPREAD && self.out.shape[0] * self.tasks() > 1
    }

    fn scratch_bytes(&self) -> usize {
        self.together * (self.copied() + self.channels * self.channel()) * size_of::<T>()
    }
}

/// The filters of some channels of the results of a group.
struct Task<'a, T> {
    kernel: &'a FilterKernel<T>,
    group: usize,
    channels: std::ops::Range<usize>,
    scratch: *mut T,
}

impl<T: Vector> WithSimd for Task<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // SAFETY: the kernel was compiled from checked views for registers of this width; the scratch memory is this thread's own and large enough.
        unsafe {
            match self.kernel.tile {
                [3, _] => self.run::<S, 3, 4>(simd),
                _ => self.run::<S, 2, 6>(simd),
            }
        }
    }
}

impl<T: Vector> Task<'_, T> {
    #[inline(always)]
    unsafe fn run<S: Simd, const CHANNELS: usize, const TAPS: usize>(self, simd: S) {
        let kernel = self.kernel;
        debug_assert_eq!(kernel.lanes, lanes::<T, S>());
        let [_, n, inputs, ..] = kernel.images.shape;
        let own = self.channels.len();
        let count = kernel.out.shape[2..].iter().product::<usize>();
        let results = self.scratch.wrapping_add(kernel.together * kernel.copied());
        // SAFETY: the caller's promise.
        unsafe {
            for c in self.channels.clone() {
                std::slice::from_raw_parts_mut(kernel.out.channel(self.group, c, 0), count).fill(T::ZERO);
            }
            for first in (0..n).step_by(kernel.together) {
                let together = kernel.together.min(n - first);
                for k in 0..together {
                    let copies = self.scratch.add(k * kernel.copied());
                    for c in 0..inputs {
                        let strides = [kernel.images.strides[3], kernel.images.strides[4]];
                        let from = kernel.images.channel(self.group, first + k, c);
                        kernel.copies.fill(from, strides, copies.add(c * kernel.copies.plane()));
                    }
                    copies.add(inputs * kernel.copies.plane()).write_bytes(0, 2 * kernel.lanes);
                    for (j, c) in self.channels.clone().enumerate() {
                        self.copy_results(first + k, c, results.add((k * own + j) * kernel.channel()));
                    }
                }
                for (block, taps) in kernel.taps.chunks_exact(TAPS).enumerate() {
                    let taps: [usize; TAPS] = std::array::from_fn(|t| taps[t]);
                    for j in (0..own).step_by(CHANNELS) {
                        let rows: [usize; CHANNELS] = std::array::from_fn(|c| (j + c).min(own - 1) * kernel.channel());
                        let sums = self.tile(simd, results, together, taps, rows);
                        for c in 0..CHANNELS.min(own - j) {
                            let to = kernel.out.channel(self.group, self.channels.start + j + c, 0);
                            for t in 0..TAPS.min(count - block * TAPS) {
                                let to = to.add(block * TAPS + t);
                                *to = (*to).add(T::sum(simd, sums[c][t]));
                            }
                        }
                    }
                }
            }
        }
    }

    /// Sums, lane by lane, of products of a few channels of results with what a few taps meet.
    #[inline(always)]
    unsafe fn tile<S: Simd, const CHANNELS: usize, const TAPS: usize>(
        &self,
        simd: S,
        results: *const T,
        together: usize,
        taps: [usize; TAPS],
        rows: [usize; CHANNELS],
    ) -> [[T::Register<S>; TAPS]; CHANNELS] {
        let kernel = self.kernel;
        let zero = T::splat(simd, T::ZERO);
        let mut sums = [[zero; TAPS]; CHANNELS];
        // SAFETY: registers and taps were laid out within the copies and their margin.
        unsafe {
            for k in 0..together {
                let copies = self.scratch.add(k * kernel.copied());
                let mut results = results.add(k * self.channels.len() * kernel.channel());
                if kernel.last == kernel.lanes {
                    for &base in &kernel.bases {
                        self.add::<S, CHANNELS, TAPS, false>(simd, results, copies.add(base), taps, rows, &mut sums);
                        results = results.add(kernel.lanes);
                    }
                    continue;
                }
                for bases in kernel.bases.chunks_exact(kernel.line) {
                    for &base in &bases[..kernel.line - 1] {
                        self.add::<S, CHANNELS, TAPS, false>(simd, results, copies.add(base), taps, rows, &mut sums);
                        results = results.add(kernel.lanes);
                    }
                    let base = bases[kernel.line - 1];
                    self.add::<S, CHANNELS, TAPS, true>(simd, results, copies.add(base), taps, rows, &mut sums);
                    results = results.add(kernel.lanes);
                }
            }
        }
        sums
    }

    /// Adds the products of one register of results of each channel. In the last one of a row that is not full only what belongs to the row is
    /// read: what lies behind it may be no number, which the zeros that it meets would not hide.
    #[inline(always)]
    unsafe fn add<S: Simd, const CHANNELS: usize, const TAPS: usize, const LAST: bool>(
        &self,
        simd: S,
        results: *const T,
        copies: *const T,
        taps: [usize; TAPS],
        rows: [usize; CHANNELS],
        sums: &mut [[T::Register<S>; TAPS]; CHANNELS],
    ) {
        let mut values = [T::splat(simd, T::ZERO); CHANNELS];
        // SAFETY: registers and taps were laid out within the copies and their margin.
        unsafe {
            for c in 0..CHANNELS {
                values[c] = results.add(rows[c]).cast::<T::Register<S>>().read_unaligned();
            }
            for t in 0..TAPS {
                let met = copies.add(taps[t]);
                let met = match LAST {
                    true => T::read_first(simd, met, self.kernel.last),
                    false => met.cast::<T::Register<S>>().read_unaligned(),
                };
                for c in 0..CHANNELS {
                    sums[c][t] = T::add_product(simd, values[c], met, sums[c][t]);
                }
            }
        }
    }

    /// Copies a channel of results, each line filled up to whole registers with zeros.
    #[inline(always)]
    unsafe fn copy_results(&self, image: usize, channel: usize, mut to: *mut T) {
        let kernel = self.kernel;
        let from = kernel.results.channel(self.group, image, channel);
        let [_, _, _, rows, columns] = kernel.results.shape;
        let [_, _, _, by_row, by_column] = kernel.results.strides;
        let width = match kernel.copies.pitch() {
            Some(pitch) => pitch,
            None => columns.next_multiple_of(kernel.lanes),
        };
        // SAFETY: the caller's promise.
        unsafe {
            let end = to.add(kernel.channel());
            for row in 0..rows {
                for column in 0..columns {
                    *to.add(column) = *from.add(row * by_row + column * by_column);
                }
                std::slice::from_raw_parts_mut(to.add(columns), width - columns).fill(T::ZERO);
                to = to.add(width);
            }
            std::slice::from_raw_parts_mut(to, end.offset_from(to) as usize).fill(T::ZERO);
        }
    }
}
