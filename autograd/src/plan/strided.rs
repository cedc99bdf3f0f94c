//! Algebra of strided views: which reshapes, permutations and windows need no copy.

use super::step::{BufferId, View};
use crate::DType;

/// A run of axes that behaves as one: flat positions `low`, `2 low`, .. below `low * length` of the row-major order, `stride` elements apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// Row-major distance between neighbours within the view's shape.
    pub low: usize,
    /// Number of positions.
    pub length: usize,
    /// Elements between neighbours in the buffer.
    pub stride: usize,
}

impl Segment {
    fn high(&self) -> usize {
        self.low * self.length
    }
}

/// Row-major strides of a shape.
pub(super) fn row_major(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![0; shape.len()];
    let mut stride = 1;
    for (s, &n) in strides.iter_mut().zip(shape).rev() {
        *s = stride;
        stride *= n;
    }
    strides
}

impl View {
    /// The whole of a buffer in row-major order.
    pub(super) fn whole(buffer: BufferId, shape: &[usize], dtype: DType) -> Self {
        Self { buffer, offset: 0, shape: shape.to_vec(), strides: row_major(shape), dtype }
    }

    /// Number of points of the view, repeated ones counted again.
    pub(super) fn points(&self) -> usize {
        self.shape.iter().product()
    }

    /// Number of different elements the view reaches (exact unless axes overlap).
    pub(super) fn distinct(&self) -> usize {
        self.shape.iter().zip(&self.strides).map(|(&n, &s)| if s == 0 { 1 } else { n }).product()
    }

    /// The view as the fewest possible segments, innermost first. Empty for a single point and for none.
    pub(super) fn segments(&self) -> Vec<Segment> {
        if self.shape.contains(&0) {
            return Vec::new();
        }
        let mut segments: Vec<Segment> = Vec::new();
        let mut low = 1;
        for (&length, &stride) in self.shape.iter().zip(&self.strides).rev() {
            if length == 1 {
                continue;
            }
            match segments.last_mut() {
                Some(last) if stride == last.stride * last.length => last.length *= length,
                _ => segments.push(Segment { low, length, stride }),
            }
            low *= length;
        }
        segments
    }

    /// Whether the view is all `elements` elements of its buffer in row-major order.
    pub(super) fn is_whole(&self, elements: usize) -> bool {
        self.offset == 0
            && self.points() == elements
            && match self.segments().as_slice() {
                [] => true,
                [one] => one.stride == 1,
                _ => false,
            }
    }

    /// The same points on the given axes, each `(low, length)`; `None` where an axis straddles two segments.
    pub(super) fn on_axes(&self, axes: &[(usize, usize)]) -> Option<Self> {
        let segments = self.segments();
        let mut strides = Vec::with_capacity(axes.len());
        for &(low, length) in axes {
            strides.push(stride_within(&segments, low, length)?);
        }
        Some(Self {
            buffer: self.buffer,
            offset: self.offset,
            shape: axes.iter().map(|a| a.1).collect(),
            strides,
            dtype: self.dtype,
        })
    }

    /// The same points in the same order under another shape, if that needs no copy.
    pub(super) fn reshaped(&self, shape: &[usize]) -> Option<Self> {
        let axes: Vec<_> = row_major(shape).into_iter().zip(shape.iter().copied()).collect();
        let mut view = self.on_axes(&axes)?;
        view.shape = shape.to_vec();
        Some(view)
    }

    /// Axis k of the result is axis `axes[k]`.
    pub(super) fn permuted(&self, axes: &[usize]) -> Self {
        Self {
            shape: axes.iter().map(|&a| self.shape[a]).collect(),
            strides: axes.iter().map(|&a| self.strides[a]).collect(),
            ..self.clone()
        }
    }

    /// Axes of length 1 repeated up to `shape`.
    pub(super) fn expanded(&self, shape: &[usize]) -> Self {
        let strides =
            self.strides.iter().zip(&self.shape).zip(shape).map(|((&s, &from), &to)| if from == to { s } else { 0 });
        Self { strides: strides.collect(), shape: shape.to_vec(), ..self.clone() }
    }

    /// The box of the given shape that begins at `start`.
    pub(super) fn sliced(&self, start: &[usize], shape: &[usize]) -> Self {
        let offset = self.offset + start.iter().zip(&self.strides).map(|(i, s)| i * s).sum::<usize>();
        Self { offset, shape: shape.to_vec(), ..self.clone() }
    }

    /// The diagonal of the last two axes.
    pub(super) fn diagonal(&self) -> Self {
        let rank = self.shape.len();
        let mut view = self.clone();
        let (row, column) = (self.strides[rank - 2], self.strides[rank - 1]);
        view.shape.truncate(rank - 1);
        view.strides.truncate(rank - 2);
        view.strides.push(row + column);
        view
    }

    /// What this view of a value reaches when the value itself lies at `place` (a view of the value's shape onto a larger buffer).
    ///
    /// `None` where an axis of the view would have to jump within the place.
    pub(super) fn through(&self, place: &Self) -> Option<Self> {
        let segments = place.segments();
        let mut reach = vec![0; segments.len()];
        let mut offset = place.offset;
        for (digit, segment) in reach.iter_mut().zip(&segments) {
            *digit = self.offset / segment.low % segment.length;
            offset += *digit * segment.stride;
        }
        let mut strides = Vec::with_capacity(self.strides.len());
        for (&length, &stride) in self.shape.iter().zip(&self.strides) {
            if length <= 1 || stride == 0 {
                strides.push(0);
                continue;
            }
            let k =
                segments.iter().position(|s| s.low <= stride && stride < s.high() && stride.is_multiple_of(s.low))?;
            let steps = stride / segments[k].low;
            reach[k] += (length - 1) * steps;
            strides.push(steps * segments[k].stride);
        }
        let carries = reach.iter().zip(&segments).any(|(&r, s)| r >= s.length);
        (!carries).then(|| Self {
            buffer: place.buffer,
            offset,
            shape: self.shape.clone(),
            strides,
            dtype: place.dtype,
        })
    }
}

/// Stride of an axis (row-major distance `low`, `length` points) over collapsed segments.
fn stride_within(segments: &[Segment], low: usize, length: usize) -> Option<usize> {
    if length <= 1 {
        return Some(0);
    }
    let segment = segments.iter().find(|s| s.low <= low && low < s.high())?;
    (low.is_multiple_of(segment.low) && low * length <= segment.high()).then(|| low / segment.low * segment.stride)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(shape: &[usize]) -> View {
        View::whole(BufferId(0), shape, DType::F64)
    }

    /// Positions reached, in row-major order of the view's shape.
    fn positions(view: &View) -> Vec<usize> {
        let strides = row_major(&view.shape);
        (0..view.points())
            .map(|p| {
                let digits = view.shape.iter().zip(&strides).map(|(&n, &s)| p / s % n);
                view.offset + digits.zip(&view.strides).map(|(d, s)| d * s).sum::<usize>()
            })
            .collect()
    }

    #[test]
    fn a_reshape_of_a_contiguous_view_needs_no_copy() {
        let view = whole(&[2, 3, 4]).reshaped(&[6, 2, 2]).unwrap();
        assert_eq!(positions(&view), (0..24).collect::<Vec<_>>());
    }

    #[test]
    fn a_reshape_that_merges_permuted_axes_needs_a_copy() {
        assert_eq!(whole(&[2, 3]).permuted(&[1, 0]).reshaped(&[6]), None);
    }

    #[test]
    fn splitting_an_axis_of_a_permuted_view_keeps_the_order_of_the_points() {
        let transposed = whole(&[4, 6]).permuted(&[1, 0]);
        let split = transposed.reshaped(&[2, 3, 2, 2]).unwrap();
        assert_eq!(positions(&split), positions(&transposed));
    }

    #[test]
    fn adjacent_repeated_axes_collapse_into_one_segment() {
        let view = whole(&[1, 1, 5]).expanded(&[3, 4, 5]);
        assert_eq!(
            view.segments(),
            [Segment { low: 1, length: 5, stride: 1 }, Segment { low: 5, length: 12, stride: 0 }]
        );
    }

    #[test]
    fn a_slice_of_a_value_placed_in_a_window_reaches_the_window_s_elements() {
        // A (2, 3) value at rows 1.. and columns 2.. of a (4, 6) buffer.
        let place = whole(&[4, 6]).sliced(&[1, 2], &[2, 3]);
        let slice = whole(&[2, 3]).sliced(&[0, 1], &[2, 2]);
        assert_eq!(positions(&slice.through(&place).unwrap()), [9, 10, 15, 16]);
    }

    #[test]
    fn a_flat_view_does_not_pass_through_a_window_with_gaps() {
        let place = whole(&[4, 6]).sliced(&[1, 2], &[2, 3]);
        assert_eq!(whole(&[6]).through(&place), None);
    }

    #[test]
    fn the_diagonal_steps_one_row_and_one_column() {
        assert_eq!(positions(&whole(&[2, 3, 3]).diagonal()), [0, 4, 8, 9, 13, 17]);
    }
}
