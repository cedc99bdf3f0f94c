//! Convolutions as products of matrices, for filters with strides and of a single tap: what taps look at in an image is unfolded to a matrix with a row
//! for each channel and tap, and a column for each position (Chellapilla, Puri and Simard, "High Performance Convolutional Neural Networks for Document
//! Processing", 2006).
//!
//! Such filters look at each element a few times only, so that unfolding costs little beside the products, which run at the rate of large matrices. Some
//! rows of positions are unfolded at a time, into memory that stays in cache.

use super::copies::copy;
use super::planes::Planes;
use super::{Geometry, SPREAD, Stack};
use crate::Result;
use crate::exec::cpu::frame::{Frame, Kernel};
use crate::exec::cpu::vector::Vector;
use crate::op::ConvPart;
use faer::linalg::matmul::matmul;
use faer::traits::ComplexField;
use faer::{Accum, MatMut, MatRef, Par};
use pulp::{Simd, WithSimd};
use std::ops::Range;

/// Channels on either side at least: with fewer, products are too thin.
const CHANNELS: usize = 16;
/// Bytes of what is unfolded at a time, or as many as a single row of positions needs.
const BYTES: usize = 3 << 18;
/// Tasks in all at least, as far as there are channels.
const TASKS: usize = 8;
/// Channels and taps of a task at least.
const COLUMNS: usize = 64;

/// A part of convolutions.
pub(super) struct Unfolded<T> {
    part: ConvPart,
    images: Stack<T>,
    filters: Stack<T>,
    results: Stack<T>,
    geometry: Geometry,
    /// How channels are copied with their margins before they are unfolded.
    planes: Planes,
    /// Channels of the images of a task, and rows of positions that are worked on together.
    channels: usize,
    rows: usize,
    flops: usize,
}

// SAFETY: addresses in blocks that the machine owns; a run has exclusive access to the machine and its tasks write disjoint memory.
unsafe impl<T: Send> Send for Unfolded<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Unfolded<T> {}

/// Where a matrix lies.
#[derive(Clone, Copy)]
struct Place<T> {
    pointer: *const T,
    row: usize,
    column: usize,
}

impl<T: ComplexField> Place<T> {
    /// # Safety
    /// As many rows and columns lie there, and nobody writes them.
    unsafe fn matrix<'a>(self, rows: usize, columns: usize) -> MatRef<'a, T> {
        // SAFETY: the caller's promise.
        unsafe { MatRef::from_raw_parts(self.pointer, rows, columns, self.row as isize, self.column as isize) }
    }
}

/// The distance between neighbours on two axes taken as one, if they follow each other.
fn joined(lengths: [usize; 2], strides: [usize; 2]) -> Option<usize> {
    match lengths {
        [_, 1] => Some(strides[0]),
        [1, _] => Some(strides[1]),
        _ => (strides[0] == lengths[1] * strides[1]).then_some(strides[1]),
    }
}

/// The distance between neighbours in the rows of a channel, if the rows follow each other.
fn last_two<T>(of: &Stack<T>) -> Option<usize> {
    joined([of.shape[3], of.shape[4]], [of.strides[3], of.strides[4]])
}

/// The distance between neighbouring channels and taps of filters, if they follow each other.
fn taps<T>(filters: &Stack<T>) -> Option<usize> {
    let [_, _, channels, h, w] = filters.shape;
    last_two(filters).and_then(|tap| joined([channels, h * w], [filters.strides[2], tap]))
}

impl<T: Vector + ComplexField> Unfolded<T> {
    /// The part, if it is better computed so than by sums over taps. The gradient in the images is where taps never meet the same element.
    pub(super) fn new(
        part: ConvPart,
        images: Stack<T>,
        filters: Stack<T>,
        results: Stack<T>,
        geometry: Geometry,
    ) -> Option<Self> {
        let [groups, n, channels, rows, columns] = images.shape;
        let [_, outputs, _, h, w] = filters.shape;
        let [_, _, _, p, q] = results.shape;
        let single = [h, w] == [1, 1];
        let suits = single || (geometry.stride != [1, 1] && part != ConvPart::Input);
        let matrices = taps(&filters).and(last_two(&results)).is_some();
        if !suits || !matrices || channels.min(outputs) < CHANNELS || n * p * q == 0 {
            return None;
        }
        let stride = geometry.stride;
        let size = [(p - 1) * stride[0] + h, (q - 1) * stride[1] + w];
        let planes = Planes::new([rows, columns], geometry.padding, size, stride[1]).seen_by([h, w], stride[0]);
        let channels = match part {
            ConvPart::Filter => channels.div_ceil(TASKS.div_ceil(groups)).max(COLUMNS.div_ceil(h * w)).min(channels),
            _ => channels,
        };
        let flops = 2 * groups * n * outputs * images.shape[2] * h * w * p * q;
        let all = Self { part, images, filters, results, geometry, planes, channels, rows: p, flops };
        let row = all.columns() * q * size_of::<T>();
        let rows = if all.in_place().is_some() { p } else { (BYTES / row).clamp(1, p) };
        Some(Self { rows, ..all })
    }

    /// The distance between neighbouring elements where images are matrices as they lie, with all rows of positions at a time.
    fn in_place(&self) -> Option<usize> {
        let single = self.filters.shape[3..] == [1, 1];
        let same = self.geometry.stride == [1, 1] && self.geometry.padding == [0, 0];
        if single && same { last_two(&self.images) } else { None }
    }

    /// Channels of the images in a task, and taps.
    fn columns(&self) -> usize {
        self.channels * self.filters.shape[3] * self.filters.shape[4]
    }

    /// Elements of what is unfolded.
    fn unfolded(&self) -> usize {
        self.columns() * self.rows * self.results.shape[4]
    }

    fn copied(&self) -> usize {
        ((self.rows - 1) * self.geometry.stride[0] + self.filters.shape[3]) * self.planes.row()
    }

    /// Blocks of channels.
    fn blocks(&self) -> usize {
        self.images.shape[2].div_ceil(self.channels)
    }

    /// Rows of positions that are worked on together, one after another.
    fn chunks(&self) -> impl Iterator<Item = Range<usize>> {
        let (all, rows) = (self.results.shape[3], self.rows);
        (0..all).step_by(rows).map(move |first| first..(first + rows).min(all))
    }

    /// What taps look at from some rows of positions, a row for each of these channels and taps.
    fn look(&self, frame: &Frame<'_>, group: usize, n: usize, channels: Range<usize>, rows: Range<usize>) -> Place<T> {
        if let Some(column) = self.in_place() {
            let pointer = self.images.channel(group, n, channels.start);
            return Place { pointer, row: self.images.strides[2], column };
        }
        let to = frame.scratch().cast();
        let row = rows.len() * self.results.shape[4];
        frame.arch.dispatch(Unfold { kernel: self, group, n, channels, rows, to });
        Place { pointer: to, row, column: 1 }
    }

    /// Some rows of positions of an image's results: a row for each channel.
    fn results(&self, group: usize, n: usize, rows: &Range<usize>) -> Place<T> {
        let pointer = self.results.channel(group, n, 0).wrapping_add(rows.start * self.results.strides[3]);
        // They follow each other, as was seen when the kernel was compiled.
        Place { pointer, row: self.results.strides[2], column: last_two(&self.results).unwrap_or(1) }
    }

    /// A group's filters: a row for each channel of the results, a column for each channel of the images and tap.
    fn filters(&self, group: usize) -> Place<T> {
        let column = taps(&self.filters).unwrap_or(1);
        Place { pointer: self.filters.channel(group, 0, 0), row: self.filters.strides[1], column }
    }

    /// Results of an image.
    fn output(&self, frame: &Frame<'_>, group: usize, n: usize) {
        let [_, _, outputs, _, q] = self.results.shape;
        for rows in self.chunks() {
            let (columns, positions) = (self.columns(), rows.len() * q);
            let looked = self.look(frame, group, n, 0..self.channels, rows.clone());
            let to = self.results(group, n, &rows);
            // SAFETY: the views were checked when the kernel was compiled, and what is unfolded lies in this thread's scratch memory; each task writes
            // results of its own.
            unsafe {
                let to = MatMut::from_raw_parts_mut(to.pointer.cast_mut(), outputs, positions, to.row as isize, 1);
                let (filters, looked) =
                    (self.filters(group).matrix(outputs, columns), looked.matrix(columns, positions));
                matmul(to, Accum::Replace, filters, looked, T::ONE, Par::Seq);
            }
        }
    }

    /// An image, from filters of a single tap.
    fn input(&self, frame: &Frame<'_>, group: usize, n: usize) {
        let [_, _, channels, height, width] = self.images.shape;
        let [_, _, outputs, _, q] = self.results.shape;
        let (image, in_place) = (self.images.channel(group, n, 0), self.in_place().is_some());
        let Geometry { stride, padding } = self.geometry;
        // SAFETY: the views were checked when the kernel was compiled, products lie in this thread's scratch memory, and each task writes an image of its
        // own, which is contiguous.
        unsafe {
            if !in_place {
                std::slice::from_raw_parts_mut(image, channels * height * width).fill(T::ZERO);
            }
            for rows in self.chunks() {
                let positions = rows.len() * q;
                let (to, row): (*mut T, usize) = match in_place {
                    true => (image, height * width),
                    false => (frame.scratch().cast(), positions),
                };
                let products = MatMut::from_raw_parts_mut(to, channels, positions, row as isize, 1);
                let filters = self.filters(group).matrix(outputs, channels).transpose();
                let results = self.results(group, n, &rows).matrix(outputs, positions);
                matmul(products, Accum::Replace, filters, results, T::ONE, Par::Seq);
                if in_place {
                    continue;
                }
                for (channel, row) in (0..channels).flat_map(|channel| rows.clone().map(move |row| (channel, row))) {
                    let from = to.add(channel * positions + (row - rows.start) * q);
                    let Some(row) = (row * stride[0]).checked_sub(padding[0]).filter(|&row| row < height) else {
                        continue;
                    };
                    let line = image.add((channel * height + row) * width);
                    let first = padding[1].div_ceil(stride[1]);
                    let end = (width + padding[1]).div_ceil(stride[1]).min(q);
                    for at in first..end {
                        *line.add(at * stride[1] - padding[1]) = *from.add(at);
                    }
                }
            }
        }
    }

    /// A group's filters of some channels of the images.
    fn filter(&self, frame: &Frame<'_>, group: usize, block: usize) {
        let [_, n, inputs, ..] = self.images.shape;
        let [_, outputs, _, h, w] = self.filters.shape;
        let channels = block * self.channels..((block + 1) * self.channels).min(inputs);
        let columns = channels.len() * h * w;
        let to = self.filters.channel(group, 0, channels.start);
        for image in 0..n {
            for rows in self.chunks() {
                let positions = rows.len() * self.results.shape[4];
                let looked = self.look(frame, group, image, channels.clone(), rows.clone());
                let accum = if image + rows.start > 0 { Accum::Add } else { Accum::Replace };
                // SAFETY: as for results; filters are contiguous.
                unsafe {
                    let to = MatMut::from_raw_parts_mut(to, outputs, columns, (inputs * h * w) as isize, 1);
                    let results = self.results(group, image, &rows).matrix(outputs, positions);
                    matmul(to, accum, results, looked.matrix(columns, positions).transpose(), T::ONE, Par::Seq);
                }
            }
        }
    }
}

impl<T: Vector + ComplexField> Kernel for Unfolded<T> {
    fn run(&self, frame: &Frame<'_>) -> Result<()> {
        let [groups, n, ..] = self.images.shape;
        let parts = if self.part == ConvPart::Filter { self.blocks() } else { n };
        frame.for_each(groups * parts, self.parallel(), |task| {
            let (group, part) = (task / parts, task % parts);
            match self.part {
                ConvPart::Output => self.output(frame, group, part),
                ConvPart::Input => self.input(frame, group, part),
                ConvPart::Filter => self.filter(frame, group, part),
            }
        });
        Ok(())
    }

    fn parallel(&self) -> bool {
        self.flops >= SPREAD
    }

    fn scratch_bytes(&self) -> usize {
        if self.in_place().is_some() { 0 } else { (self.unfolded() + self.copied()) * size_of::<T>() }
    }
}

/// Unfolds some channels of an image for some rows of positions.
struct Unfold<'a, T> {
    kernel: &'a Unfolded<T>,
    group: usize,
    n: usize,
    channels: Range<usize>,
    rows: Range<usize>,
    to: *mut T,
}

impl<T: Vector + ComplexField> WithSimd for Unfold<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Unfolded { images, filters, results, geometry, planes, .. } = self.kernel;
        let ([_, _, _, h, w], q, step) = (filters.shape, results.shape[4], geometry.stride[0]);
        let seen = self.rows.start * step..(self.rows.end - 1) * step + h;
        let copies = self.to.wrapping_add(self.kernel.unfolded());
        let mut to = self.to;
        for channel in self.channels {
            let from = images.channel(self.group, self.n, channel);
            // SAFETY: the kernel was compiled from checked views; the scratch memory is this thread's own and large enough.
            unsafe {
                planes.fill_rows(from, [images.strides[3], images.strides[4]], seen.clone(), copies);
                for (u, v) in (0..h).flat_map(|u| (0..w).map(move |v| (u, v))) {
                    for row in 0..self.rows.len() {
                        let from = copies.add(planes.at(row * step + u, v));
                        copy(std::slice::from_raw_parts(from, q), std::slice::from_raw_parts_mut(to, q));
                        to = to.add(q);
                    }
                }
            }
        }
    }
}
