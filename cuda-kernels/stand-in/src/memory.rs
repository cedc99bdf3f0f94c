//! Memory of the card and page-locked memory, with margins that nothing may write.

use crate::{Status, refused, status};
use std::alloc::{Layout, alloc, dealloc};
use std::collections::BTreeMap;

/// Bytes of the card's memory.
pub const BYTES: usize = 16 << 30;
/// Bytes before and after an allocation that nothing may write.
const MARGIN: usize = 256;
const MARK: u8 = 0xa5;
/// What allocated memory holds: no number as floating-point.
const NOTHING: u8 = 0xff;

/// Allocations by their addresses.
#[derive(Default)]
pub struct Memory {
    card: BTreeMap<usize, usize>,
    host: BTreeMap<usize, usize>,
}

fn layout(bytes: usize) -> Option<Layout> {
    Layout::from_size_align(bytes.checked_add(2 * MARGIN)?, MARGIN).ok()
}

fn margins(address: usize, bytes: usize) -> [*mut u8; 2] {
    [(address - MARGIN) as *mut u8, (address + bytes) as *mut u8]
}

impl Memory {
    fn allocate(bytes: usize) -> Option<usize> {
        // SAFETY: the layout is not empty; what is written lies in it.
        unsafe {
            let start = alloc(layout(bytes)?);
            if start.is_null() {
                return None;
            }
            let address = start as usize + MARGIN;
            std::ptr::write_bytes(address as *mut u8, NOTHING, bytes);
            margins(address, bytes).into_iter().for_each(|margin| std::ptr::write_bytes(margin, MARK, MARGIN));
            Some(address)
        }
    }

    /// Frees what is in a list of allocations.
    fn free(list: &mut BTreeMap<usize, usize>, address: usize) -> Result<(), Status> {
        match list.remove(&address).and_then(layout) {
            // SAFETY: allocated by `allocate` with that layout, and taken out of the list of allocations.
            Some(layout) => unsafe { dealloc((address - MARGIN) as *mut u8, layout) },
            None => return Err(refused(status::INVALID_VALUE, "memory was freed that is not allocated")),
        }
        Ok(())
    }

    fn written(address: usize, bytes: usize) -> bool {
        margins(address, bytes).into_iter().any(|margin| {
            // SAFETY: the allocation lives, and its margins with it.
            unsafe { std::slice::from_raw_parts(margin, MARGIN) }.iter().any(|&byte| byte != MARK)
        })
    }

    /// Memory of the card.
    pub fn allocate_on_card(&mut self, bytes: usize) -> Result<usize, Status> {
        if bytes == 0 {
            return Err(refused(status::INVALID_VALUE, "no bytes were allocated"));
        }
        if bytes > self.free_bytes() {
            return Err(status::OUT_OF_MEMORY);
        }
        let address = Self::allocate(bytes).ok_or(status::OUT_OF_MEMORY)?;
        self.card.insert(address, bytes);
        Ok(address)
    }

    /// Page-locked memory.
    pub fn allocate_on_host(&mut self, bytes: usize) -> Result<usize, Status> {
        let address = Self::allocate(bytes).ok_or(status::OUT_OF_MEMORY)?;
        self.host.insert(address, bytes);
        Ok(address)
    }

    pub fn free_on_card(&mut self, address: usize) -> Result<(), Status> {
        self.check_margins()?;
        Self::free(&mut self.card, address)
    }

    pub fn free_on_host(&mut self, address: usize) -> Result<(), Status> {
        self.check_margins()?;
        Self::free(&mut self.host, address)
    }

    pub fn free_bytes(&self) -> usize {
        BYTES - self.card.values().sum::<usize>()
    }

    /// An error unless a range lies in one allocation of the card.
    pub fn check(&self, what: &str, address: u64, bytes: usize) -> Result<(), Status> {
        let address = address as usize;
        let found = self.card.range(..=address).next_back();
        match found {
            Some((&start, &length)) if address + bytes <= start + length => Ok(()),
            _ => Err(refused(status::ILLEGAL_ADDRESS, &format!("{what} of {bytes} bytes is not in allocated memory"))),
        }
    }

    /// An error where something wrote beside an allocation.
    pub fn check_margins(&self) -> Result<(), Status> {
        match self.card.iter().chain(&self.host).find(|&(&address, &bytes)| Self::written(address, bytes)) {
            Some((_, bytes)) => {
                Err(refused(status::ILLEGAL_ADDRESS, &format!("something wrote beside an allocation of {bytes} bytes")))
            }
            None => Ok(()),
        }
    }
}
