//! Memory of a machine: aligned blocks that never move while a plan is loaded.

use crate::{Error, Result};
use cuda_kernels::{Device, Memory};
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;
use std::sync::{Mutex, OnceLock, PoisonError};

/// Alignment of every block and of every buffer in the arena, in bytes: a cache line, and the widest vector register.
pub(crate) const ALIGNMENT: usize = 64;

/// Zero-initialised memory at a fixed address.
#[derive(Debug)]
pub(crate) struct Block {
    pointer: NonNull<u8>,
    layout: Layout,
    bytes: usize,
}

// SAFETY: a block owns its memory exclusively, like a `Box<[u8]>`; who may touch it when is decided by its holder.
unsafe impl Send for Block {}
// SAFETY: as above; shared references give out nothing but the address.
unsafe impl Sync for Block {}

impl Block {
    /// Allocates `bytes` bytes of zeros.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] if the system does not have them, or nobody could.
    pub(crate) fn zeroed(bytes: usize) -> Result<Self> {
        let missing = || Error::OutOfMemory { bytes };
        let padded = bytes.max(1).checked_next_multiple_of(ALIGNMENT).ok_or_else(missing)?;
        let layout = Layout::from_size_align(padded, ALIGNMENT).map_err(|_| missing())?;
        // SAFETY: the layout's size is at least one alignment, hence not zero.
        let pointer = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or_else(missing)?;
        Ok(Self { pointer, layout, bytes })
    }

    /// First byte.
    pub(crate) fn pointer(&self) -> *mut u8 {
        self.pointer.as_ptr()
    }

    /// Bytes asked for.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: allocated in `zeroed` with the same layout and not freed before.
        unsafe { dealloc(self.pointer.as_ptr(), self.layout) }
    }
}

/// Memory where the machine computes.
#[derive(Debug)]
pub(crate) enum Storage {
    /// The processor's own.
    Host(Block),
    /// A device's.
    Device(Memory),
}

impl Storage {
    /// Bytes of zeros on a device, or here if there is none.
    pub(crate) fn zeroed(device: Option<&Device>, bytes: usize) -> Result<Self> {
        Ok(match device {
            None => Self::Host(Block::zeroed(bytes)?),
            Some(device) => Self::Device(device.allocate(bytes)?),
        })
    }

    /// First byte; on a device an address that must not be followed here.
    pub(crate) fn pointer(&self) -> *mut u8 {
        match self {
            Self::Host(block) => block.pointer(),
            Self::Device(memory) => memory.address() as *mut u8,
        }
    }

    /// Bytes asked for.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Host(block) => block.bytes(),
            Self::Device(memory) => memory.bytes(),
        }
    }
}

/// The values of a buffer on a device as they were read last.
#[derive(Debug, Default)]
pub(crate) struct Mirror {
    values: OnceLock<Block>,
    /// Memory for the next reading.
    spare: Mutex<Option<Block>>,
}

impl Mirror {
    /// The values, read from the device if they are not known.
    pub(crate) fn get(&self, device: &Device, memory: &Memory) -> Result<&Block> {
        if let Some(known) = self.values.get() {
            return Ok(known);
        }
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).take();
        let block = spare.map_or_else(|| Block::zeroed(memory.bytes()), Ok)?;
        // SAFETY: the block is as long as the memory and nobody else knows it.
        unsafe {
            let bytes = std::slice::from_raw_parts_mut(block.pointer(), memory.bytes());
            device.read(memory.address(), bytes)?;
        }
        // Where two threads read at once, both read the same.
        Ok(self.values.get_or_init(|| block))
    }

    /// Forgets the values: the device has others now.
    pub(crate) fn forget(&mut self) {
        if let Some(block) = self.values.take() {
            *self.spare.get_mut().unwrap_or_else(PoisonError::into_inner) = Some(block);
        }
    }
}
