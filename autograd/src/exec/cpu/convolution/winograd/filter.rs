//! The transpose of convolutions in the filters.

use super::super::planes::Planes;
use super::super::{Geometry, SPREAD, Stack};
use super::{Chunk, FILTER, IN, Layout, OUT, PLACES, Tiling, transform};
use crate::Result;
use crate::exec::cpu::frame::{Frame, Kernel};
use crate::exec::cpu::vector::{Vector, lanes};
use faer::linalg::matmul::matmul;
use faer::traits::ComplexField;
use faer::{Accum, MatMut, MatRef, Par};
use pulp::{Simd, WithSimd};
use std::ops::Range;

/// Elements of the transformed tiles of a chunk at one of their places, those of the images and of the results together.
const CHUNK: usize = 1 << 16;
/// Channels that a task transforms.
const CHANNELS: usize = 8;
/// Rows of a product that a task computes.
const ROWS: usize = 64;

/// Filters from images and results.
pub(in super::super) struct FilterKernel<T> {
    /// Images and results, and how their tiles are copied and lie when they are transformed.
    images: Operand<T>,
    results: Operand<T>,
    out: Stack<T>,
    tiling: Tiling,
    flops: usize,
}

/// What is transformed tile by tile.
#[derive(Clone, Copy)]
struct Operand<T> {
    stack: Stack<T>,
    planes: Planes,
    layout: Layout,
    /// Rows and columns that a tile looks at.
    reach: usize,
}

// SAFETY: addresses in blocks that the machine owns; a run has exclusive access to the machine and its tasks write disjoint memory.
unsafe impl<T: Send> Send for FilterKernel<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for FilterKernel<T> {}

impl<T: Vector> Operand<T> {
    fn new(stack: Stack<T>, tiling: &Tiling, margin: [usize; 2], reach: usize) -> Self {
        let planes = tiling.planes([stack.shape[3], stack.shape[4]], margin, reach);
        Self { stack, planes, layout: tiling.layout(stack.shape[2]), reach }
    }

    fn channels(&self) -> usize {
        self.stack.shape[2]
    }
}

impl<T: Vector> FilterKernel<T> {
    pub(in super::super) fn new(
        images: Stack<T>,
        filters: Stack<T>,
        results: Stack<T>,
        geometry: Geometry,
        lanes: usize,
    ) -> Self {
        let [groups, n, channels, ..] = images.shape;
        let [_, _, outputs, rows, columns] = results.shape;
        let tiling = Tiling::new(n, [rows, columns], CHUNK / (channels + outputs), lanes);
        let flops = 2 * groups * n * tiling.rows * tiling.columns * PLACES * outputs * channels;
        let images = Operand::new(images, &tiling, geometry.padding, IN);
        let results = Operand::new(results, &tiling, [0; 2], OUT);
        Self { images, results, out: filters, tiling, flops }
    }

    fn copies(&self) -> usize {
        let [images, results] = [&self.images, &self.results].map(|of| self.tiling.copies(&of.planes, of.reach));
        images.max(results)
    }

    /// Elements of the sums at one place, with room for a register that begins at the last one.
    fn sums(&self) -> usize {
        self.images.channels() * self.results.channels() + self.tiling.lanes
    }

    /// Transformed tiles of the images and of the results, and their sums, in the memory that tasks share.
    fn shared(&self, frame: &Frame<'_>) -> [*mut T; 3] {
        let images: *mut T = frame.partials.pointer().cast();
        let results = images.wrapping_add(self.images.layout.elements());
        [images, results, results.wrapping_add(self.results.layout.elements())]
    }
}

impl<T: Vector + ComplexField> Kernel for FilterKernel<T> {
    fn run(&self, frame: &Frame<'_>) -> Result<()> {
        let spread = self.parallel();
        let blocks = [&self.images, &self.results].map(|of| of.channels().div_ceil(CHANNELS));
        let parts = self.results.channels().div_ceil(ROWS);
        for group in 0..self.out.shape[0] {
            for number in 0..self.tiling.chunks() {
                let chunk = self.tiling.chunk(number);
                frame.for_each(blocks[0] + blocks[1], spread, |task| {
                    let scratch = frame.scratch().cast();
                    let [images, results, _] = self.shared(frame);
                    let (operand, to, block) = match task.checked_sub(blocks[0]) {
                        None => (&self.images, images, task),
                        Some(block) => (&self.results, results, block),
                    };
                    let channels = block * CHANNELS..((block + 1) * CHANNELS).min(operand.channels());
                    let (tiling, chunk) = (&self.tiling, &chunk);
                    frame.arch.dispatch(Transform { operand, tiling, group, chunk, channels, to, scratch });
                });
                frame.for_each(PLACES * parts, spread, |task| {
                    let rows = task % parts * ROWS..((task % parts + 1) * ROWS).min(self.results.channels());
                    self.multiply(task / parts, rows, self.tiling.tiles(&chunk), number > 0, self.shared(frame));
                });
            }
            frame.for_each(self.results.channels(), spread, |output| {
                let [_, _, sums] = self.shared(frame);
                frame.arch.dispatch(TransformBack { kernel: self, group, output, sums });
            });
        }
        Ok(())
    }

    fn parallel(&self) -> bool {
        self.flops >= SPREAD
    }

    fn scratch_bytes(&self) -> usize {
        self.copies() * size_of::<T>()
    }

    fn partial_bytes(&self) -> usize {
        let elements = self.images.layout.elements() + self.results.layout.elements() + PLACES * self.sums();
        elements * size_of::<T>()
    }
}

impl<T: Vector + ComplexField> FilterKernel<T> {
    /// Sums over a chunk's tiles at one place, for some channels of the results.
    fn multiply(
        &self,
        place: usize,
        rows: Range<usize>,
        tiles: usize,
        add: bool,
        [images_at, results_at, sums_at]: [*mut T; 3],
    ) {
        let channels = self.images.channels();
        let [images, results] = [&self.images.layout, &self.results.layout];
        let accum = if add { Accum::Add } else { Accum::Replace };
        // SAFETY: `partial_bytes` makes room for the tiles and the sums; each task writes rows of its own.
        unsafe {
            let from = images_at.add(place * images.place).cast_const();
            let right = MatRef::from_raw_parts(from, tiles, channels, 1, images.channel as isize);
            let from = results_at.add(place * results.place + rows.start * results.channel).cast_const();
            let left = MatRef::from_raw_parts(from, rows.len(), tiles, results.channel as isize, 1);
            let to = sums_at.add(place * self.sums() + rows.start * channels);
            let sums = MatMut::from_raw_parts_mut(to, rows.len(), channels, channels as isize, 1);
            matmul(sums, accum, left, right, T::ONE, Par::Seq);
        }
    }
}

/// Transforms the tiles of some channels.
struct Transform<'a, T> {
    operand: &'a Operand<T>,
    tiling: &'a Tiling,
    group: usize,
    chunk: &'a Chunk,
    channels: Range<usize>,
    to: *mut T,
    scratch: *mut T,
}

impl<T: Vector> WithSimd for Transform<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        debug_assert_eq!(self.tiling.lanes, lanes::<T, S>());
        let Operand { stack, planes, layout, reach } = self.operand;
        let shape = [self.chunk.rows.len(), self.tiling.columns];
        let rows = self.chunk.rows.start * OUT..(self.chunk.rows.end - 1) * OUT + reach;
        for channel in self.channels.clone() {
            for (k, image) in self.chunk.images.clone().enumerate() {
                let from = stack.channel(self.group, image, channel);
                // SAFETY: the kernel was compiled from checked views for registers of this width; the scratch memory is this thread's own and large
                // enough, `partial_bytes` makes room for the tiles, and each task writes channels of its own, images in order.
                unsafe {
                    planes.fill_rows(from, [stack.strides[3], stack.strides[4]], rows.clone(), self.scratch);
                    let to = self.to.add(channel * layout.channel + k * shape[0] * shape[1]);
                    match *reach {
                        IN => transform::images::<T, S>(simd, planes, self.scratch, shape, to, *layout),
                        _ => transform::results::<T, S>(simd, planes, self.scratch, shape, to, *layout),
                    }
                }
            }
        }
    }
}

/// Transforms the sums of one channel of the results to filters.
struct TransformBack<'a, T> {
    kernel: &'a FilterKernel<T>,
    group: usize,
    output: usize,
    sums: *const T,
}

impl<T: Vector + ComplexField> WithSimd for TransformBack<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        const TAPS: usize = FILTER * FILTER;
        let kernel = self.kernel;
        let (channels, lanes) = (kernel.images.channels(), kernel.tiling.lanes);
        for first in (0..channels).step_by(lanes) {
            // SAFETY: the kernel was compiled from checked views for registers of this width; the sums have room for a register behind the last one, and
            // each task writes filters of its own, which are contiguous.
            unsafe {
                let from = self.sums.add(self.output * channels + first);
                let values = transform::filter_sums::<T, S>(simd, from, kernel.sums());
                let to = kernel.out.channel(self.group, self.output, first);
                for k in 0..lanes.min(channels - first) {
                    for (tap, value) in values.iter().enumerate() {
                        *to.add(k * TAPS + tap) = *std::ptr::from_ref(value).cast::<T>().add(k);
                    }
                }
            }
        }
    }
}
