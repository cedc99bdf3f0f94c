//! Streams, and tasks spread over them while a graph is captured.

use super::convolution::Dnn;
use super::failed;
use super::product::Blas;
use crate::{Error, device::Result};
use cudarc::driver::{result, sys};

/// A stream with cuBLAS on it, and with cuDNN once something asks for that. Each has a workspace of its own, of the same size, so that a product gives the
/// same bits on all.
#[derive(Debug)]
pub(super) struct Lane {
    // Dropped before the stream that it works on.
    pub(super) blas: Blas,
    dnn: Option<Dnn>,
    stream: Stream,
}

#[derive(Debug)]
struct Stream(sys::CUstream);

// SAFETY: the driver's handles may be used from any thread that has made the context current.
unsafe impl Send for Stream {}

/// A place in a stream that others wait for.
#[derive(Debug)]
pub(super) struct Mark(sys::CUevent);

impl Lane {
    /// A lane of the current context.
    pub(super) fn new() -> Result<Self> {
        let stream = Stream(result::stream::create(result::stream::StreamKind::NonBlocking).map_err(failed)?);
        // SAFETY: the handle is dropped before the stream.
        let blas = unsafe { Blas::new(stream.0)? };
        Ok(Self { blas, dnn: None, stream })
    }

    /// cuDNN on the lane, which is made ready when it is asked for first: not while a graph is captured.
    pub(super) fn with_dnn(&mut self) -> Result<&Dnn> {
        if self.dnn.is_none() {
            // SAFETY: the handle is dropped before the stream.
            self.dnn = Some(unsafe { Dnn::new(self.stream.0)? });
        }
        self.dnn()
    }

    /// cuDNN on the lane, made ready before.
    pub(super) fn dnn(&self) -> Result<&Dnn> {
        self.dnn.as_ref().ok_or_else(|| Error::Driver("cuDNN was not made ready".into()))
    }

    pub(super) fn stream(&self) -> sys::CUstream {
        self.stream.0
    }

    /// The place after all that the lane was asked for.
    pub(super) fn mark(&self) -> Result<Mark> {
        let mark = Mark(result::event::create(sys::CUevent_flags::CU_EVENT_DISABLE_TIMING).map_err(failed)?);
        // SAFETY: event and stream live.
        unsafe { result::event::record(mark.0, self.stream.0) }.map_err(failed)?;
        Ok(mark)
    }

    /// Lets what the lane is asked for next wait for a place of another.
    pub(super) fn wait(&self, mark: &Mark) -> Result<()> {
        let flags = sys::CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT;
        // SAFETY: event and stream live.
        unsafe { result::stream::wait_event(self.stream.0, mark.0, flags) }.map_err(failed)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: created once and not destroyed before. There is nobody to tell of a failure.
        let _ = unsafe { result::stream::destroy(self.0) };
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        // SAFETY: created once and not destroyed before. There is nobody to tell of a failure.
        let _ = unsafe { result::event::destroy(self.0) };
    }
}
