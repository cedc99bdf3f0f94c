//! Commands captured as a graph, which the card replays by itself.

use super::failed;
use crate::device::Result;
use cudarc::driver::{result, sys};

/// A graph, ready to launch.
#[derive(Debug)]
pub(super) struct Graph {
    executable: sys::CUgraphExec,
}

/// A graph as it was captured.
struct Captured(sys::CUgraph);

impl Graph {
    /// Captures what `issue` asks of a stream.
    ///
    /// # Safety
    /// The stream lives, and nobody else asks anything of it meanwhile.
    pub(super) unsafe fn capture(stream: sys::CUstream, issue: impl FnOnce() -> Result<()>) -> Result<Self> {
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: the caller's promise; a captured graph is destroyed when it is dropped, after it was instantiated.
        unsafe {
            result::stream::begin_capture(stream, mode).map_err(failed)?;
            let issued = issue();
            // The capture ends also where a command was refused, which is then the reason of all else.
            let captured = result::stream::end_capture(stream).map(Captured).map_err(failed);
            issued?;
            let captured = captured?;
            let flags = sys::CUgraphInstantiate_flags(0);
            let graph = Self { executable: result::graph::instantiate(captured.0, flags).map_err(failed)? };
            result::graph::upload(graph.executable, stream).map_err(failed)?;
            Ok(graph)
        }
    }

    /// Replays the commands.
    ///
    /// # Safety
    /// As for the commands themselves.
    pub(super) unsafe fn launch(&self, stream: sys::CUstream) -> Result<()> {
        // SAFETY: the caller's promise.
        unsafe { result::graph::launch(self.executable, stream) }.map_err(failed)
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        // SAFETY: instantiated once and not destroyed before. There is nobody to tell of a failure.
        let _ = unsafe { result::graph::exec_destroy(self.executable) };
    }
}

impl Drop for Captured {
    fn drop(&mut self) {
        // SAFETY: captured once and not destroyed before. There is nobody to tell of a failure.
        let _ = unsafe { result::graph::destroy(self.0) };
    }
}
