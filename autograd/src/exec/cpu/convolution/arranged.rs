//! Filters in the order in which tiles take them: made by every run before all else, in memory that its threads share.

use crate::exec::cpu::frame::Frame;

/// The filters of all groups that have some of their own, one after another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arranged {
    sets: usize,
    elements: usize,
}

impl Arranged {
    /// Of so many groups whose filters lie `stride` elements apart (0 where all have the same), with so many elements each.
    pub(super) fn new(groups: usize, stride: usize, elements: usize) -> Self {
        Self { sets: if stride == 0 { 1 } else { groups }, elements }
    }

    /// Groups whose filters differ.
    pub(super) fn sets(&self) -> usize {
        self.sets
    }

    /// Where the filters of a group lie.
    pub(super) fn of<T>(&self, frame: &Frame<'_>, group: usize) -> *mut T {
        frame.partials.pointer().cast::<T>().wrapping_add(group.min(self.sets - 1) * self.elements)
    }

    /// Bytes of all of them.
    pub(super) fn bytes<T>(&self) -> usize {
        self.sets * self.elements * size_of::<T>()
    }
}
