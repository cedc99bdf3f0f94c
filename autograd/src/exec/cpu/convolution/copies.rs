//! Copies of channels in which what a tap of the filters meets lies at a fixed distance from what the first one meets, for every position alike.

use super::planes::Planes;
use super::{Geometry, Stack};
use crate::exec::cpu::scalar::Scalar;

/// What taps look at.
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    /// Rows and columns of a channel.
    pub(super) source: [usize; 2],
    /// Rows and columns of zeros before them.
    pub(super) first: [usize; 2],
    /// Rows and columns from the first of zeros to the last that a tap meets.
    pub(super) size: [usize; 2],
    /// Rows and columns from one position to the next.
    pub(super) stride: [usize; 2],
    /// Rows and columns that taps begin at.
    pub(super) taps: [usize; 2],
    /// Rows and columns of positions.
    pub(super) positions: [usize; 2],
    /// Products at each position with what is met in one channel.
    pub(super) products: usize,
}

impl View {
    /// What filters of so many rows and columns look at in images, for results or for the filters' gradient, with so many products at each result.
    pub(super) fn of_images<T>(
        images: &Stack<T>,
        filter: [usize; 2],
        results: &Stack<T>,
        geometry: Geometry,
        products: usize,
    ) -> Self {
        let [_, _, _, rows, columns] = images.shape;
        let [_, _, _, p, q] = results.shape;
        let Geometry { stride, padding } = geometry;
        let size = [(p - 1) * stride[0] + filter[0], (q - 1) * stride[1] + filter[1]];
        let (source, positions) = ([rows, columns], [p, q]);
        Self { source, first: padding, size, stride, taps: filter, positions, products }
    }
}

/// Most elements of a row with its margins that [`Gapless`] copies.
const MOST_PADDED: usize = 256;
/// Cycles of the copy of one row beside those of its pieces.
const ROW_CYCLES: usize = 4;

/// How the channels of an image are copied.
#[derive(Clone, Copy, Debug)]
pub(super) enum Copies {
    /// One copy with its margins, for rows of positions that fill registers: no register goes beyond a row.
    Rows {
        planes: Planes,
        /// Rows of the copy from one row of positions to the next.
        stride: usize,
    },
    /// Copies for short rows, which follow each other without a gap: registers hold the end of one row and the beginning of the next.
    Gapless(Gapless),
}

/// One copy for each column that taps begin at: the elements that a tap meets at all positions, row after row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gapless {
    /// Rows and columns of the channel, and those of zeros before them.
    source: [usize; 2],
    first: [usize; 2],
    /// Rows that taps look at, and of these the first ones of each step.
    rows: usize,
    copied_rows: usize,
    stride: [usize; 2],
    /// Columns that taps begin at.
    shifts: usize,
    /// Positions of a row.
    pitch: usize,
}

/// Neighbouring positions that fill a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// Rows of the first and of the last one.
    pub(super) rows: [usize; 2],
    /// Column of the first one.
    pub(super) column: usize,
    /// Where its first tap lies in the copies.
    pub(super) base: usize,
    /// How many there are.
    pub(super) count: usize,
}

impl Copies {
    /// Copies for what `view` says, with registers of `lanes` elements.
    pub(super) fn new(view: View, lanes: usize) -> Self {
        let View { source, first, size, stride, taps, positions: [lines, pitch], products } = view;
        let rows = size[0].next_multiple_of(stride[0]);
        let gapless =
            Gapless { source, first, rows, copied_rows: taps[0].min(stride[0]), stride, shifts: taps[1], pitch };
        // Two products of registers a cycle are saved, copies of short rows take some cycles each.
        let idle = lines * pitch.div_ceil(lanes) - (lines * pitch).div_ceil(lanes);
        let copied = taps[1] * rows * (ROW_CYCLES + pitch.div_ceil(PIECE));
        if idle * products / 2 > copied && stride[1] * gapless.padded() <= MOST_PADDED {
            return Self::Gapless(gapless);
        }
        let planes = Planes::new(source, first, size, stride[1]).seen_by(taps, stride[0]);
        Self::Rows { planes, stride: stride[0] }
    }

    /// Elements from one channel to the next.
    pub(super) fn plane(&self) -> usize {
        match self {
            Self::Rows { planes, .. } => planes.plane(),
            Self::Gapless(copies) => copies.shifts * copies.shift(),
        }
    }

    /// Where a tap finds what it meets at the first position.
    pub(super) fn at(&self, row: usize, column: usize) -> usize {
        match self {
            Self::Rows { planes, .. } => planes.at(row, column),
            Self::Gapless(copies) => column * copies.shift() + copies.row(row),
        }
    }

    /// The positions of some rows and columns.
    pub(super) fn runs(&self, [rows, columns]: [usize; 2], lanes: usize) -> Vec<Run> {
        match self {
            Self::Rows { planes, stride } => {
                let of = |row: usize| {
                    (0..columns).step_by(lanes).map(move |column| Run {
                        rows: [row; 2],
                        column,
                        base: row * stride * planes.row() + column,
                        count: lanes.min(columns - column),
                    })
                };
                (0..rows).flat_map(of).collect()
            }
            Self::Gapless(Gapless { pitch, .. }) => {
                let end = if rows * columns == 0 { 0 } else { (rows - 1) * pitch + columns };
                let of = |base: usize| {
                    let count = lanes.min(end - base);
                    Run { rows: [base / pitch, (base + count - 1) / pitch], column: base % pitch, base, count }
                };
                (0..end).step_by(lanes).map(of).collect()
            }
        }
    }

    /// Positions, in a register's order, from one row to the next; `None` where registers do not go beyond a row.
    pub(super) fn pitch(&self) -> Option<usize> {
        match self {
            Self::Rows { .. } => None,
            Self::Gapless(copies) => Some(copies.pitch),
        }
    }

    /// Copies one channel.
    ///
    /// # Safety
    /// `source` shows the channel with these strides; `to` has room for `plane()` elements that belong to the caller.
    pub(super) unsafe fn fill<T: Scalar>(&self, source: *const T, strides: [usize; 2], to: *mut T) {
        // SAFETY: the caller's promise.
        unsafe {
            match self {
                Self::Rows { planes, .. } => planes.fill(source, strides, to),
                Self::Gapless(copies) => copies.fill(source, strides, to),
            }
        }
    }
}

impl Gapless {
    /// Elements from the copy for one column to that for the next.
    fn shift(&self) -> usize {
        self.rows * self.pitch
    }

    /// Elements of a row with its margins that taps of one remainder look at.
    fn padded(&self) -> usize {
        self.pitch + (self.shifts.max(1) - 1) / self.stride[1]
    }

    /// Where a row begins: those that one tap meets at all positions follow each other.
    fn row(&self, row: usize) -> usize {
        let stride = self.stride[0];
        (row % stride * (self.rows / stride) + row / stride) * self.pitch
    }

    /// # Safety
    /// As for `Copies::fill`.
    unsafe fn fill<T: Scalar>(&self, source: *const T, strides: [usize; 2], to: *mut T) {
        let ([rows, columns], [top, left]) = (self.source, self.first);
        let (step, length) = (self.stride[1], self.padded());
        // A row with its margins, its columns sorted by their remainder modulo the stride.
        let zeros = [T::ZERO; MOST_PADDED];
        let mut padded = zeros;
        for row in (0..self.rows).filter(|row| row % self.stride[0] < self.copied_rows) {
            let inside = row >= top && row < top + rows;
            for phase in 0..if inside { step.min(self.shifts) } else { 0 } {
                let begin = left.saturating_sub(phase).div_ceil(step).min(length);
                let column = (begin * step + phase).saturating_sub(left);
                let count = columns.saturating_sub(column).div_ceil(step).min(length - begin);
                let to = &mut padded[phase * length + begin..][..count];
                let (from, by) = (row.wrapping_sub(top) * strides[0] + column * strides[1], step * strides[1]);
                // SAFETY: the caller's promise; only rows and columns of the channel are read.
                unsafe {
                    match by {
                        _ if count == 0 => {}
                        1 => copy(std::slice::from_raw_parts(source.add(from), count), to),
                        // A known step lets whole registers be shuffled.
                        2 => to.iter_mut().enumerate().for_each(|(k, to)| *to = *source.add(from + 2 * k)),
                        by => to.iter_mut().enumerate().for_each(|(k, to)| *to = *source.add(from + by * k)),
                    }
                }
            }
            let (mut phase, mut at) = (0, 0);
            let mut to = to.wrapping_add(self.row(row));
            for _ in 0..self.shifts {
                // SAFETY: the caller's promise.
                let copied = unsafe { std::slice::from_raw_parts_mut(to, self.pitch) };
                match inside {
                    true => copy(&padded[phase * length + at..][..self.pitch], copied),
                    false => copy(&zeros[..self.pitch], copied),
                }
                to = to.wrapping_add(self.shift());
                phase += 1;
                if phase == step {
                    (phase, at) = (0, at + 1);
                }
            }
        }
    }
}

/// Elements that are moved at once: rows are too short for calls of the system's functions.
const PIECE: usize = 8;

/// Copies a short row.
#[inline(always)]
pub(super) fn copy<T: Scalar>(from: &[T], to: &mut [T]) {
    let length = to.len().min(from.len());
    let Some(last) = length.checked_sub(PIECE) else {
        for (to, from) in to.iter_mut().zip(from) {
            *to = *from;
        }
        return;
    };
    // The last piece may lie over the end of the one before it.
    for begin in (0..last).step_by(PIECE).chain([last]) {
        if let (Some(to), Some(from)) = (to[begin..].first_chunk_mut::<PIECE>(), from[begin..].first_chunk()) {
            *to = *from;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a tap meets at a position, looked up in the channel.
    fn meant(channel: &[f32], source: [usize; 2], first: [usize; 2], row: usize, column: usize) -> f32 {
        let inside = |k: usize, at: usize| at.checked_sub(first[k]).filter(|&at| at < source[k]);
        inside(0, row).zip(inside(1, column)).map_or(0.0, |(row, column)| channel[row * source[1] + column])
    }

    #[test]
    fn every_tap_finds_what_it_meets_at_every_position() {
        let mut gapless = 0;
        for case in 0..600_usize {
            let digit = |place: usize, base: usize| case / place % base;
            let (stride, taps) = ([1 + digit(1, 3), 1 + digit(3, 2)], [1 + digit(6, 5), 1 + digit(30, 4)]);
            let (first, source) = ([digit(2, 3), digit(5, 4)], [5 + digit(120, 5), 4 + digit(7, 9)]);
            let positions = [0, 1].map(|k| (source[k] + 2 * first[k]).saturating_sub(taps[k]) / stride[k] + 1);
            let size = [0, 1].map(|k| (positions[k] - 1) * stride[k] + taps[k]);
            let lanes = [4, 8, 16][case % 3];
            let products = [1, 1000][case / 60 % 2];
            let copies = Copies::new(View { source, first, size, stride, taps, positions, products }, lanes);
            gapless += usize::from(copies.pitch().is_some());
            let channel: Vec<f32> = (1..=source[0] * source[1]).map(|k| k as f32).collect();
            let mut copied = vec![f32::NAN; copies.plane()];
            // SAFETY: the channel and the room for its copies.
            unsafe { copies.fill(channel.as_ptr(), [source[1], 1], copied.as_mut_ptr()) };
            let mut seen = vec![0; positions[0] * positions[1]];
            for run in copies.runs(positions, lanes) {
                for k in 0..run.count {
                    let at = run.column + k;
                    let pitch = copies.pitch().unwrap_or(usize::MAX);
                    let (row, column) = (run.rows[0] + at / pitch, at % pitch);
                    assert!(row <= run.rows[1]);
                    seen[row * positions[1] + column] += 1;
                    for (u, v) in (0..taps[0] * taps[1]).map(|tap| (tap / taps[1], tap % taps[1])) {
                        let met = [row * stride[0] + u, column * stride[1] + v];
                        let found = copied[run.base + k + copies.at(u, v)];
                        assert_eq!(found, meant(&channel, source, first, met[0], met[1]), "case {case}");
                    }
                }
            }
            assert!(seen.iter().all(|&times| times == 1), "case {case}");
        }
        assert!((100..500).contains(&gapless), "{gapless} of 600 without gaps");
    }
}
