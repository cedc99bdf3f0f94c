//! Memory of a machine: aligned blocks that never move while a plan is loaded.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;

/// Alignment of every block and of every buffer in the arena, in bytes: a cache line, and the widest vector register.
pub(crate) const ALIGNMENT: usize = 64;

/// Zero-initialised memory at a fixed address.
#[derive(Debug)]
pub(crate) struct Block {
    pointer: NonNull<u8>,
    bytes: usize,
}

// SAFETY: a block owns its memory exclusively, like a `Box<[u8]>`; who may touch it when is decided by its holder.
unsafe impl Send for Block {}
// SAFETY: as above; shared references give out nothing but the address.
unsafe impl Sync for Block {}

impl Block {
    /// Allocates `bytes` bytes of zeros.
    pub(crate) fn zeroed(bytes: usize) -> Self {
        let layout = Self::layout(bytes);
        // SAFETY: the layout's size is at least one alignment, hence not zero.
        let pointer = unsafe { alloc_zeroed(layout) };
        let Some(pointer) = NonNull::new(pointer) else { handle_alloc_error(layout) };
        Self { pointer, bytes }
    }

    /// First byte.
    pub(crate) fn pointer(&self) -> *mut u8 {
        self.pointer.as_ptr()
    }

    /// Bytes asked for.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    fn layout(bytes: usize) -> Layout {
        let padded = bytes.max(1).next_multiple_of(ALIGNMENT);
        match Layout::from_size_align(padded, ALIGNMENT) {
            Ok(layout) => layout,
            // Only sizes beyond isize::MAX get here, which no allocator serves.
            Err(_) => handle_alloc_error(Layout::new::<u8>()),
        }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: allocated in `zeroed` with the same layout and not freed before.
        unsafe { dealloc(self.pointer.as_ptr(), Self::layout(self.bytes)) }
    }
}
