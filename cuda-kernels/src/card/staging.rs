//! Page-locked memory through which values reach the card without waiting for it.

use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys;

/// Bytes of page-locked memory.
const BYTES: usize = 32 << 20;
const ALIGNMENT: usize = 256;

/// A ring of page-locked memory: values are copied into it, and from there to the card when the stream comes to it.
#[derive(Debug)]
pub(super) struct Staging {
    pointer: *mut u8,
    /// First byte not in use since the stream was waited for.
    next: usize,
}

// SAFETY: the memory is owned and used under its owner's lock.
unsafe impl Send for Staging {}

impl Staging {
    /// Page-locked memory of the current context.
    pub(super) fn new() -> Result<Self, DriverError> {
        // SAFETY: freed by `free`.
        let pointer = unsafe { result::malloc_host(BYTES, 0)? };
        Ok(Self { pointer: pointer.cast(), next: 0 })
    }

    /// Copies bytes to the card. When it returns the slice may be changed again.
    ///
    /// # Safety
    /// The bytes at `to` belong to the card's memory, and the stream is of the current context.
    pub(super) unsafe fn write(&mut self, to: u64, bytes: &[u8], stream: sys::CUstream) -> Result<(), DriverError> {
        // SAFETY: the caller's promise; what lies in the ring is not written again before the stream has read it.
        unsafe {
            if bytes.len() > BYTES {
                result::memcpy_htod_async(to, bytes, stream)?;
                return result::stream::synchronize(stream);
            }
            if self.next + bytes.len() > BYTES {
                result::stream::synchronize(stream)?;
                self.next = 0;
            }
            let place = self.pointer.add(self.next);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), place, bytes.len());
            self.next = (self.next + bytes.len()).next_multiple_of(ALIGNMENT);
            result::memcpy_htod_async(to, std::slice::from_raw_parts(place, bytes.len()), stream)
        }
    }

    /// Gives the memory back.
    ///
    /// # Safety
    /// The stream has been waited for, and nothing is written afterwards.
    pub(super) unsafe fn free(&mut self) {
        // SAFETY: allocated by `new`.
        let _ = unsafe { result::free_host(self.pointer.cast()) };
    }
}
