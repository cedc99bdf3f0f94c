//! A device that runs commands: a card, or its emulation on the processor for tests.

use crate::{Command, Error};

/// Result of everything a device does.
pub(crate) type Result<T> = std::result::Result<T, Error>;

/// A device with its stream: everything asked of it runs in order.
#[derive(Clone, Debug)]
pub struct Device {}

/// Memory of a device, zeroed when allocated, freed when dropped.
#[derive(Debug)]
pub struct Memory {}

/// Commands whose kernels are compiled and loaded, ready to run again and again.
#[derive(Debug)]
pub struct Sequence {}

impl Device {
    /// The card of that number.
    ///
    /// # Errors
    /// [`Error`] says what is missing, among them [`Error::NotBuilt`] in a program built without the feature `cuda`.
    pub fn card(_ordinal: usize) -> Result<Self> {
        Err(Error::NotBuilt)
    }

    /// The processor in the place of a card: the same kernels, compiled by the system's C++ compiler (`CXX`, else `c++`).
    ///
    /// # Errors
    /// [`Error::NotBuilt`] in a program built without the feature `emulated`.
    pub fn emulated() -> Result<Self> {
        Err(Error::NotBuilt)
    }

    /// What the device calls itself.
    pub fn name(&self) -> &str {
        ""
    }

    /// Bytes of memory that are free, and all there are.
    ///
    /// # Errors
    /// [`Error::Driver`].
    pub fn memory(&self) -> Result<(usize, usize)> {
        Err(Error::NotBuilt)
    }

    /// Allocates zeroed memory, aligned to 256 bytes.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn allocate(&self, _bytes: usize) -> Result<Memory> {
        Err(Error::NotBuilt)
    }

    /// Copies bytes to the device. When it returns the slice may be changed again.
    ///
    /// # Errors
    /// [`Error::Driver`].
    ///
    /// # Safety
    /// The bytes at `to` belong to memory of this device that the caller may write.
    pub unsafe fn write(&self, _to: u64, _bytes: &[u8]) -> Result<()> {
        Err(Error::NotBuilt)
    }

    /// Copies bytes from the device once everything asked of it before is done.
    ///
    /// # Errors
    /// [`Error::Driver`], also for a kernel that failed before.
    ///
    /// # Safety
    /// The bytes at `from` belong to memory of this device.
    pub unsafe fn read(&self, _from: u64, _bytes: &mut [u8]) -> Result<()> {
        Err(Error::NotBuilt)
    }

    /// Copies bytes on the device; returns before it is done.
    ///
    /// # Errors
    /// [`Error::Driver`].
    ///
    /// # Safety
    /// Both ranges belong to memory of this device and do not overlap; the caller may write those at `to`.
    pub unsafe fn copy(&self, _from: u64, _to: u64, _bytes: usize) -> Result<()> {
        Err(Error::NotBuilt)
    }

    /// Compiles the kernels of commands and makes all ready.
    ///
    /// # Errors
    /// [`Error::Compile`] with the compiler's messages.
    pub fn prepare(&self, _commands: Vec<Command>) -> Result<Sequence> {
        Err(Error::NotBuilt)
    }

    /// Runs commands; returns before they are done. From the second run on, a card replays them as one graph.
    ///
    /// # Errors
    /// [`Error::Driver`].
    ///
    /// # Safety
    /// All addresses in the commands are of memory that lives, belongs to this device and is as long as the commands need.
    pub unsafe fn run(&self, _sequence: &mut Sequence) -> Result<()> {
        Err(Error::NotBuilt)
    }

    /// Runs a single list of commands and waits; the seconds each command took, by the device's own clock.
    ///
    /// # Errors
    /// [`Error::Driver`].
    ///
    /// # Safety
    /// As for [`Device::run`].
    pub unsafe fn profile(&self, _sequence: &mut Sequence) -> Result<Vec<f64>> {
        Err(Error::NotBuilt)
    }

    /// Waits until everything asked is done.
    ///
    /// # Errors
    /// [`Error::Driver`] for what failed.
    pub fn synchronize(&self) -> Result<()> {
        Err(Error::NotBuilt)
    }
}

impl Memory {
    /// First byte, on the device.
    pub fn address(&self) -> u64 {
        0
    }

    /// Bytes asked for.
    pub fn bytes(&self) -> usize {
        0
    }
}
