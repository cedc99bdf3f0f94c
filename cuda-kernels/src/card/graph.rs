//! Commands captured as a graph, which the card replays by itself.

use crate::{Error, device::Result};
use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys;

/// A graph, ready to launch.
#[derive(Debug)]
pub(super) struct Graph {
    executable: sys::CUgraphExec,
}

impl Graph {
    /// Captures what `issue` asks of a stream.
    ///
    /// # Safety
    /// The stream lives, and `issue` asks nothing that cannot be captured.
    pub(super) unsafe fn capture(
        stream: sys::CUstream,
        failed: fn(DriverError) -> Error,
        issue: impl FnOnce() -> Result<()>,
    ) -> Result<Self> {
        // SAFETY: the caller's promise.
        unsafe {
            let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
            result::stream::begin_capture(stream, mode).map_err(failed)?;
            let issued = issue();
            let graph = result::stream::end_capture(stream).map_err(failed);
            // What went wrong first is the reason of the rest.
            issued?;
            let graph = graph?;
            let executable = result::graph::instantiate(graph, sys::CUgraphInstantiate_flags(0)).map_err(failed);
            let _ = result::graph::destroy(graph);
            let graph = Self { executable: executable? };
            result::graph::upload(graph.executable, stream).map_err(failed)?;
            Ok(graph)
        }
    }

    /// Replays the commands.
    ///
    /// # Safety
    /// As for the commands themselves.
    pub(super) unsafe fn launch(&self, stream: sys::CUstream) -> std::result::Result<(), DriverError> {
        // SAFETY: the caller's promise.
        unsafe { result::graph::launch(self.executable, stream) }
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        // SAFETY: instantiated once and not destroyed before. There is nobody to tell of a failure.
        let _ = unsafe { result::graph::exec_destroy(self.executable) };
    }
}
