//! Page-locked memory through which values reach the card without waiting for it.

use super::{failed, failed_allocation};
use crate::device::Result;
use cudarc::driver::{result, sys};

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
    pub(super) fn new() -> Result<Self> {
        // SAFETY: freed when dropped.
        let pointer = unsafe { result::malloc_host(BYTES, 0) }.map_err(failed_allocation(BYTES))?;
        Ok(Self { pointer: pointer.cast(), next: 0 })
    }

    /// Copies bytes to the card. When it returns the slice may be changed again.
    ///
    /// # Safety
    /// The bytes at `to` belong to the card's memory, and the stream is of the current context and always the same.
    pub(super) unsafe fn write(&mut self, to: u64, bytes: &[u8], stream: sys::CUstream) -> Result<()> {
        // SAFETY: the caller's promise; what lies in the ring is not written again before the stream has read it.
        unsafe {
            if bytes.len() > BYTES {
                result::memcpy_htod_async(to, bytes, stream).map_err(failed)?;
                return result::stream::synchronize(stream).map_err(failed);
            }
            if self.next + bytes.len() > BYTES {
                result::stream::synchronize(stream).map_err(failed)?;
                self.next = 0;
            }
            let place = self.pointer.add(self.next);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), place, bytes.len());
            self.next = (self.next + bytes.len()).next_multiple_of(ALIGNMENT);
            let staged = std::slice::from_raw_parts(place, bytes.len());
            result::memcpy_htod_async(to, staged, stream).map_err(failed)
        }
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // SAFETY: allocated by `new`; the card has waited for its stream. There is nobody to tell of a failure.
        let _ = unsafe { result::free_host(self.pointer.cast()) };
    }
}
