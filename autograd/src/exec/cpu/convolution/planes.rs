//! Copies of channels with margins of zeros.

use crate::exec::cpu::scalar::Scalar;
use std::ops::Range;

/// How a channel is copied. Columns are sorted by their remainder modulo `phases`, the stride of the filters, so that neighbours of a result find
/// what they need in neighbouring places.
#[derive(Clone, Copy, Debug)]
pub(super) struct Planes {
    /// Rows of the channel and of zeros above it.
    source_rows: usize,
    top: usize,
    /// Columns of the channel and of zeros before it.
    source_columns: usize,
    left: usize,
    /// Rows of the copy.
    rows: usize,
    /// Rows that are copied: the first ones of each step.
    copied_rows: usize,
    row_step: usize,
    phases: usize,
    /// Phases that are copied.
    copied_phases: usize,
    /// Elements from one phase of a row to the next.
    phase: usize,
}

impl Planes {
    /// Copies of `source` (rows, columns) to `size` (rows, columns), from `first` on, with columns sorted into phases.
    pub(super) fn new(source: [usize; 2], first: [usize; 2], size: [usize; 2], phases: usize) -> Self {
        Self {
            source_rows: source[0],
            top: first[0],
            source_columns: source[1],
            left: first[1],
            rows: size[0],
            copied_rows: 1,
            row_step: 1,
            phases,
            copied_phases: phases,
            phase: size[1].div_ceil(phases),
        }
    }

    /// Copies only what filters of this size (rows, columns) look at with this vertical stride; anything may lie in the rest.
    pub(super) fn seen_by(self, filter: [usize; 2], stride: usize) -> Self {
        Self { copied_rows: filter[0], row_step: stride, copied_phases: filter[1].min(self.phases), ..self }
    }

    /// Elements from one row to the next.
    pub(super) fn row(&self) -> usize {
        self.phase * self.phases
    }

    /// Elements from one channel to the next.
    pub(super) fn plane(&self) -> usize {
        self.rows * self.row()
    }

    /// Where an element lies that belongs to row `row` and, at the stride's first step, to column `column`.
    pub(super) fn at(&self, row: usize, column: usize) -> usize {
        row * self.row() + column % self.phases * self.phase + column / self.phases
    }

    /// Copies one channel.
    ///
    /// # Safety
    /// `source` shows the channel with these strides; `to` has room for `plane()` elements that belong to the caller.
    pub(super) unsafe fn fill<T: Scalar>(&self, source: *const T, strides: [usize; 2], to: *mut T) {
        // SAFETY: the caller's promise.
        unsafe { self.fill_rows(source, strides, 0..self.rows, to) }
    }

    /// Copies what belongs to some rows of the copy of one channel, the first of them to `to`.
    ///
    /// # Safety
    /// As for `fill`, with room for these rows.
    pub(super) unsafe fn fill_rows<T: Scalar>(
        &self,
        source: *const T,
        strides: [usize; 2],
        rows: Range<usize>,
        to: *mut T,
    ) {
        let (width, start) = (self.row(), rows.start);
        let rows = rows.filter(|row| row % self.row_step < self.copied_rows);
        let inside = self.top..self.top + self.source_rows;
        if strides[1] == 1 && (self.phases == 1 || self.phases == 2 && self.copied_phases == 2) {
            // SAFETY: the caller's promise; only rows and columns of the channel are read.
            unsafe {
                for row in rows {
                    let to = std::slice::from_raw_parts_mut(to.add((row - start) * width), width);
                    if !inside.contains(&row) {
                        to.fill(T::ZERO);
                        continue;
                    }
                    let count = self.source_columns.min(width.saturating_sub(self.left));
                    let from = std::slice::from_raw_parts(source.add((row - self.top) * strides[0]), count);
                    if self.phases == 2 {
                        self.sort(from, to);
                        continue;
                    }
                    let (before, rest) = to.split_at_mut(self.left.min(width));
                    let (inside, after) = rest.split_at_mut(count);
                    before.fill(T::ZERO);
                    inside.copy_from_slice(from);
                    after.fill(T::ZERO);
                }
            }
            return;
        }
        for phase in 0..self.copied_phases {
            let first = self.left.saturating_sub(phase).div_ceil(self.phases).min(self.phase);
            let column = (first * self.phases + phase).saturating_sub(self.left);
            let count = self.source_columns.saturating_sub(column).div_ceil(self.phases).min(self.phase - first);
            let step = self.phases * strides[1];
            // SAFETY: as above.
            unsafe {
                for row in rows.clone() {
                    let to = to.add((row - start) * width + phase * self.phase);
                    let to = std::slice::from_raw_parts_mut(to, self.phase);
                    if !inside.contains(&row) {
                        to.fill(T::ZERO);
                        continue;
                    }
                    let from = source.wrapping_add((row - self.top) * strides[0] + column * strides[1]);
                    let (before, rest) = to.split_at_mut(first);
                    let (inside, after) = rest.split_at_mut(count);
                    before.fill(T::ZERO);
                    after.fill(T::ZERO);
                    match step {
                        // A known step lets whole registers be shuffled.
                        2 => inside.iter_mut().enumerate().for_each(|(k, to)| *to = *from.add(2 * k)),
                        _ => inside.iter_mut().enumerate().for_each(|(k, to)| *to = *from.add(step * k)),
                    }
                }
            }
        }
    }

    /// Sorts the columns of a row inside of its margins into two phases.
    fn sort<T: Scalar>(&self, from: &[T], to: &mut [T]) {
        to.fill(T::ZERO);
        let (even, odd) = to.split_at_mut(self.phase);
        // Whichever phase the first column is of, the next one is of the other.
        let (first, second) = match self.left % 2 {
            0 => (&mut even[self.left / 2..], &mut odd[self.left / 2..]),
            _ => (&mut odd[self.left / 2..], &mut even[self.left / 2 + 1..]),
        };
        let (pairs, last) = from.as_chunks::<2>();
        if cfg!(target_endian = "little") && size_of::<T>() == size_of::<u32>() {
            let (first, second) = (&mut first[..pairs.len()], &mut second[..pairs.len()]);
            let (first, second) = (first.as_mut_ptr().cast::<u32>(), second.as_mut_ptr().cast::<u32>());
            for k in 0..pairs.len() {
                // SAFETY: elements of the slices, as numbers of their size. A pair is one of twice that: registers are narrowed, not filled one by one.
                unsafe {
                    let pair = pairs.as_ptr().add(k).cast::<u64>().read_unaligned();
                    first.add(k).write(pair as u32);
                    second.add(k).write((pair >> u32::BITS) as u32);
                }
            }
        } else {
            for ([a, b], (first, second)) in pairs.iter().zip(first.iter_mut().zip(second)) {
                (*first, *second) = (*a, *b);
            }
        }
        if let ([last], Some(to)) = (last, first.get_mut(pairs.len())) {
            *to = *last;
        }
    }
}
