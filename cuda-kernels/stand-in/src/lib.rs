//! Stands in for `libcuda`, `libnvrtc`, `libcublas` and `libcudnn`: the functions of them that cuda-kernels calls, with kernels and products by its
//! emulated device.
//!
//! What a card would do at some time later is done as late as it can be: when somebody waits for it, in an order as unlike that of the calls as streams,
//! events and graphs allow. A missing wait, memory used again too early or a forgotten join therefore shows in the numbers. What NVIDIA's libraries
//! refuse is refused here, and what they let pass and should not be done (addresses outside of allocations, a product in a capture without a workspace)
//! too, with a line on the standard error stream.
//!
//! ```text
//! cargo build --release -p cuda-stand-in
//! mkdir stand-in && for name in cuda nvrtc cublas cudnn; do ln -s ../target/release/libcuda_stand_in.so stand-in/lib$name.so; done
//! LD_LIBRARY_PATH=stand-in cargo test --release -p cuda-kernels --features cuda,emulated --test devices -- --include-ignored
//! ```

mod blas;
mod capture;
mod compiler;
mod dnn;
mod driver;
mod memory;
mod stream;

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

/// What a function of the driver answers.
type Status = i32;

/// The driver's errors by their numbers.
mod status {
    use super::Status;

    pub const SUCCESS: Status = 0;
    pub const INVALID_VALUE: Status = 1;
    pub const OUT_OF_MEMORY: Status = 2;
    pub const INVALID_DEVICE: Status = 101;
    pub const INVALID_IMAGE: Status = 200;
    pub const INVALID_CONTEXT: Status = 201;
    pub const INVALID_HANDLE: Status = 400;
    pub const NOT_FOUND: Status = 500;
    pub const NOT_READY: Status = 600;
    pub const ILLEGAL_ADDRESS: Status = 700;
    pub const LAUNCH_FAILED: Status = 719;
    pub const CAPTURE_UNSUPPORTED: Status = 900;
    pub const CAPTURE_INVALIDATED: Status = 901;
    pub const CAPTURE_MERGE: Status = 902;
    pub const CAPTURE_UNMATCHED: Status = 903;
    pub const CAPTURE_UNJOINED: Status = 904;
    pub const CAPTURE_ISOLATION: Status = 905;
    pub const CAPTURED_EVENT: Status = 907;
    pub const CAPTURE_WRONG_THREAD: Status = 908;

    /// What an error is called.
    pub fn text(status: Status) -> &'static std::ffi::CStr {
        match status {
            SUCCESS => c"no error",
            INVALID_VALUE => c"invalid argument",
            OUT_OF_MEMORY => c"out of memory",
            INVALID_DEVICE => c"invalid device ordinal",
            INVALID_IMAGE => c"device kernel image is invalid",
            INVALID_CONTEXT => c"invalid device context",
            INVALID_HANDLE => c"invalid resource handle",
            NOT_FOUND => c"named symbol not found",
            NOT_READY => c"device not ready",
            ILLEGAL_ADDRESS => c"an illegal memory access was encountered",
            LAUNCH_FAILED => c"unspecified launch failure",
            CAPTURE_UNSUPPORTED => c"operation not permitted when stream is capturing",
            CAPTURE_INVALIDATED => c"operation failed due to a previous error during capture",
            CAPTURE_MERGE => c"operation would result in a merge of separate capture sequences",
            CAPTURE_UNMATCHED => c"capture was not ended in the same stream as it began",
            CAPTURE_UNJOINED => c"capturing stream has unjoined work",
            CAPTURE_ISOLATION => c"dependency created on uncaptured work in another stream",
            CAPTURED_EVENT => c"operation not permitted on an event last recorded in a capturing stream",
            CAPTURE_WRONG_THREAD => c"attempt to terminate a thread-local capture sequence from another thread",
            _ => c"unknown error",
        }
    }
}

/// Says what was refused, and why.
fn refused(status: Status, why: &str) -> Status {
    eprintln!("stand-in: {why} ({})", status::text(status).to_string_lossy());
    status
}

/// Everything that there is on the card.
#[derive(Default)]
struct Machine {
    memory: memory::Memory,
    work: stream::Work,
    captures: capture::Captures,
    modules: driver::Modules,
    blas: blas::Handles,
    dnn: dnn::Handles,
    /// The last number that was given to anything.
    handles: usize,
}

impl Machine {
    /// A number for a thing that is new.
    fn handle(&mut self) -> usize {
        self.handles += 1;
        // Looks like an address of its own, and is none.
        self.handles << 8
    }
}

fn machine() -> MutexGuard<'static, Machine> {
    static MACHINE: LazyLock<Mutex<Machine>> = LazyLock::new(Mutex::default);
    MACHINE.lock().unwrap_or_else(PoisonError::into_inner)
}
