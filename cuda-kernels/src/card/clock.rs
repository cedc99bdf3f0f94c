//! The card's own clock.

use super::failed;
use crate::device::Result;
use cudarc::driver::{result, sys};

/// Marks of a stream, each with the time at which the card came to it.
#[derive(Debug)]
pub(super) struct Clock {
    marks: Vec<sys::CUevent>,
}

impl Clock {
    /// That many marks, in the current context.
    pub(super) fn new(count: usize) -> Result<Self> {
        let mut clock = Self { marks: Vec::with_capacity(count) };
        for _ in 0..count {
            clock.marks.push(result::event::create(sys::CUevent_flags::CU_EVENT_DEFAULT).map_err(failed)?);
        }
        Ok(clock)
    }

    /// Lets a stream pass a mark; in a graph, each time it is replayed.
    ///
    /// # Safety
    /// The stream lives.
    pub(super) unsafe fn pass(&self, mark: usize, stream: sys::CUstream, captured: bool) -> Result<()> {
        let flags = match captured {
            true => sys::CUevent_record_flags::CU_EVENT_RECORD_EXTERNAL,
            false => sys::CUevent_record_flags::CU_EVENT_RECORD_DEFAULT,
        };
        // SAFETY: the mark and, by the caller's promise, the stream live.
        let recorded = unsafe { sys::cuEventRecordWithFlags(self.marks[mark], stream, flags as u32) };
        recorded.result().map_err(failed)
    }

    /// Seconds from each mark to the next, once the stream has passed the last.
    pub(super) fn seconds(&self) -> Result<Vec<f64>> {
        // SAFETY: the marks live.
        let elapsed = |pair: &[sys::CUevent]| unsafe { result::event::elapsed(pair[0], pair[1]) }.map_err(failed);
        self.marks.windows(2).map(|pair| Ok(f64::from(elapsed(pair)?) * 1e-3)).collect()
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        for &mark in &self.marks {
            // SAFETY: created once and not destroyed before. There is nobody to tell of a failure.
            let _ = unsafe { result::event::destroy(mark) };
        }
    }
}
