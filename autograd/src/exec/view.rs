//! Views of a plan turned into addresses, once, when the plan is loaded.

use crate::plan::step::{Buffer, Step, View};
use crate::{DType, Error, Result};

/// A view whose every element was proven to lie inside of its buffer.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    /// Address of the first element.
    pub(crate) pointer: *mut u8,
    /// Lengths of the axes.
    pub(crate) shape: Vec<usize>,
    /// Elements between neighbours.
    pub(crate) strides: Vec<usize>,
    /// Element type.
    pub(crate) dtype: DType,
}

// SAFETY: a window is an address with a description; the kernels that dereference it state why they may.
unsafe impl Send for Window {}
// SAFETY: as above.
unsafe impl Sync for Window {}

/// What a step is compiled against: the plan's buffers and where they lie.
pub(crate) struct Site<'a> {
    /// Buffers of the plan.
    pub(crate) buffers: &'a [Buffer],
    /// Their first bytes, each aligned to 64 and followed by the buffer's whole length of owned memory.
    pub(crate) bases: &'a [*mut u8],
    /// The step, for errors.
    pub(crate) step: &'a Step,
}

impl Site<'_> {
    /// An error that names the step.
    pub(crate) fn error(&self, problem: String) -> Error {
        Error::Shape { op: self.step.op, problem, location: self.step.location }
    }

    /// Checks a view against its buffer and finds its address.
    pub(crate) fn window(&self, view: &View) -> Result<Window> {
        let Some(buffer) = self.buffers.get(view.buffer.0) else {
            return Err(self.error(format!("buffer {} does not exist in the plan", view.buffer.0)));
        };
        if buffer.dtype != view.dtype {
            return Err(self.error(format!("a view of {} lies on a buffer of {}", view.dtype, buffer.dtype)));
        }
        if view.shape.len() != view.strides.len() {
            return Err(self.error(format!("{} lengths with {} strides", view.shape.len(), view.strides.len())));
        }
        let last = view.shape.iter().zip(&view.strides).try_fold(view.offset, |last, (&length, &stride)| {
            last.checked_add(length.saturating_sub(1).checked_mul(stride)?)
        });
        let empty = view.shape.contains(&0);
        if !empty && last.is_none_or(|last| last >= buffer.elements) {
            return Err(self.error(format!(
                "a view of shape {:?}, strides {:?} at {} leaves its buffer of {} elements",
                view.shape, view.strides, view.offset, buffer.elements
            )));
        }
        let offset = if empty { 0 } else { view.offset * view.dtype.size() };
        Ok(Window {
            pointer: self.bases[view.buffer.0].wrapping_add(offset),
            shape: view.shape.clone(),
            strides: view.strides.clone(),
            dtype: view.dtype,
        })
    }

    /// `window` for a view that is written: no two of its points may share an element, axes in `shared` excepted.
    pub(crate) fn output(&self, view: &View, shared: impl Fn(usize) -> bool) -> Result<Window> {
        let window = self.window(view)?;
        let mut axes: Vec<(usize, usize)> = (0..view.shape.len())
            .filter(|&k| view.shape[k] > 1 && !shared(k))
            .map(|k| (view.strides[k], view.shape[k]))
            .collect();
        axes.sort_unstable();
        let mut reach = 0;
        for (stride, length) in axes {
            if stride <= reach {
                return Err(self.error(format!(
                    "a view of shape {:?}, strides {:?} is written and overlaps itself",
                    view.shape, view.strides
                )));
            }
            reach += stride * (length - 1);
        }
        Ok(window)
    }

    /// An error unless the window has the given type.
    pub(crate) fn expect_dtype(&self, window: &Window, dtype: DType, expected: &'static str) -> Result<()> {
        if window.dtype == dtype {
            Ok(())
        } else {
            Err(Error::DType { op: self.step.op, found: window.dtype, expected, location: self.step.location })
        }
    }

    /// An error unless the window has the given shape.
    pub(crate) fn expect_shape(&self, window: &Window, shape: &[usize], role: &str) -> Result<()> {
        if window.shape == shape {
            Ok(())
        } else {
            Err(self.error(format!("{role} has shape {:?} where {shape:?} is needed", window.shape)))
        }
    }

    /// The window's shape as `N` lengths.
    pub(crate) fn rank<const N: usize>(&self, window: &Window, role: &str) -> Result<[usize; N]> {
        <[usize; N]>::try_from(window.shape.as_slice())
            .map_err(|_| self.error(format!("{role} has shape {:?} where rank {N} is needed", window.shape)))
    }
}

impl Window {
    /// Number of points.
    pub(crate) fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether the elements lie one after another in row-major order.
    pub(crate) fn is_contiguous(&self) -> bool {
        let mut expected = 1;
        for (&length, &stride) in self.shape.iter().zip(&self.strides).rev() {
            if length != 1 && stride != expected {
                return false;
            }
            expected *= length;
        }
        true
    }

    /// First and one-past-last address.
    pub(crate) fn span(&self) -> (usize, usize) {
        let last: usize = self.shape.iter().zip(&self.strides).map(|(l, s)| l.saturating_sub(1) * s).sum();
        let first = self.pointer as usize;
        (first, first + (last + 1) * self.dtype.size())
    }

    /// Whether the two windows may share memory. Windows of one kind that lie between each other's elements do not.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        let (a, b) = (self.span(), other.span());
        a.0 < b.1 && b.0 < a.1 && !self.interleaves(other)
    }

    /// Whether the windows have the same shape and strides and surely no element in common.
    fn interleaves(&self, other: &Self) -> bool {
        /// Whether steps along axes of (stride, length), the widest first, can add up to the distance.
        fn meet(distance: isize, axes: &[(isize, isize)]) -> bool {
            let [(stride, length), ref rest @ ..] = *axes else { return distance == 0 };
            let reach: isize = rest.iter().map(|(stride, length)| stride * (length - 1)).sum();
            let least = (distance - reach).div_euclid(stride).max(1 - length);
            let most = (distance + reach).div_euclid(stride).min(length - 1);
            // Where axes do not nest there are many ways; they are taken to meet.
            most - least > 3 || (least..=most).any(|steps| meet(distance - steps * stride, rest))
        }
        let size = self.dtype.size() as isize;
        let bytes = (other.pointer as isize).wrapping_sub(self.pointer as isize);
        let axes_of = |window: &Self| {
            let axes = window.shape.iter().zip(&window.strides);
            let mut axes: Vec<(isize, isize)> = axes
                .filter(|(length, stride)| **length > 1 && **stride > 0)
                .map(|(&length, &stride)| (stride as isize, length as isize))
                .collect();
            axes.sort_unstable_by(|a, b| b.cmp(a));
            axes
        };
        let axes = axes_of(self);
        self.dtype == other.dtype && bytes % size == 0 && axes == axes_of(other) && !meet(bytes / size, &axes)
    }

    /// Whether the two windows show the same elements at the same points.
    pub(crate) fn same(&self, other: &Self) -> bool {
        self.pointer == other.pointer
            && self.dtype == other.dtype
            && self.shape == other.shape
            && (0..self.shape.len()).all(|k| self.shape[k] <= 1 || self.strides[k] == other.strides[k])
    }
}
