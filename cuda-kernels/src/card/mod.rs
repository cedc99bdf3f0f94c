//! A card: one context, one stream and further ones for tasks beside its own, kernels by NVRTC, products by cuBLAS, convolutions by cuDNN, repeated
//! sequences as graphs.

mod clock;
mod compile;
mod convolution;
mod graph;
mod lane;
mod library;
mod module;
mod product;
mod sequence;
mod staging;

pub(crate) use compile::{ahead, ptx, version};
pub(crate) use convolution::version as dnn_version;
pub(crate) use library::{CUBLAS, CUDNN, NVRTC};
pub(crate) use product::version as blas_version;
pub(crate) use sequence::Sequence;

use crate::convolution::{Convolution, Stack, Way};
use crate::{Error, device::Result};
use compile::Target;
use cudarc::driver::{result, sys};
use lane::Lane;
use module::Modules;
use staging::Staging;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The version of CUDA that the driver must have, as the driver counts: 13.0.
const DRIVER: i32 = 13_000;
/// Tasks that run side by side: as many as keep a card busy with products that are too small for it.
const LANES: usize = 4;

/// A card with its stream. It lives as long as the program, so that nothing that is made on it outlives it.
#[derive(Debug)]
pub(crate) struct Card {
    name: String,
    work: Mutex<Work>,
    modules: Modules,
    /// The ways that cuDNN answered, by convolutions of one group without their addresses.
    ways: Mutex<HashMap<Convolution, Option<Way>>>,
    context: Context,
}

/// What is used by one thread at a time: commands reach the stream in the order in which they are asked for, and while a graph is captured nobody else
/// asks.
#[derive(Debug)]
struct Work {
    staging: Staging,
    /// The first is where everything is asked for; the others take tasks that run beside those of the first.
    lanes: [Lane; LANES],
}

/// A card's primary context.
#[derive(Debug)]
struct Context {
    device: sys::CUdevice,
    handle: sys::CUcontext,
}

// SAFETY: the driver's handles may be used from any thread that has made the context current.
unsafe impl Send for Context {}
// SAFETY: as above.
unsafe impl Sync for Context {}

fn failed(error: result::DriverError) -> Error {
    if error.0 == sys::CUresult::CUDA_ERROR_NO_DEVICE {
        return Error::NoDevice;
    }
    match error.error_string() {
        Ok(text) => Error::Driver(text.to_string_lossy().into_owned()),
        Err(_) => Error::Driver(format!("{error:?}")),
    }
}

/// The error of an allocation of so many bytes.
fn failed_allocation(needed: usize) -> impl Fn(result::DriverError) -> Error {
    move |error| match result::mem_get_info() {
        Ok((free, _)) if error.0 == sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY || free < needed => {
            Error::OutOfMemory { needed, free }
        }
        _ => failed(error),
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The version of CUDA that the driver has, 13000 for 13.0.
pub(crate) fn driver_version() -> Result<i32> {
    // SAFETY: only asks whether the driver's library can be opened, then for an integer.
    unsafe {
        if !sys::is_culib_present() {
            return Err(Error::NoDriver);
        }
        let mut version = 0;
        sys::cuDriverGetVersion(&mut version).result().map_err(failed)?;
        Ok(version)
    }
}

/// Number of cards, at least 1.
pub(crate) fn count() -> Result<usize> {
    let version = driver_version()?;
    if version < DRIVER {
        let (major, minor) = (version / 1000, version % 1000 / 10);
        return Err(Error::Driver(format!(
            "it is made for CUDA {major}.{minor}, which is too old; install the driver, version 580 or newer"
        )));
    }
    result::init().map_err(failed)?;
    match result::device::get_count().map_err(failed)? {
        count if count > 0 => Ok(count as usize),
        _ => Err(Error::NoDevice),
    }
}

/// What the driver says of a card.
#[derive(Debug)]
pub(crate) struct Properties {
    device: sys::CUdevice,
    /// Its name.
    pub(crate) name: String,
    /// Its compute capability, 90 for 9.0.
    pub(crate) capability: i32,
    /// Bytes of its memory.
    pub(crate) bytes: usize,
}

/// The properties of the card of that number.
pub(crate) fn properties(ordinal: usize) -> Result<Properties> {
    let count = count()?;
    if ordinal >= count {
        return Err(Error::Driver(format!("card {ordinal} was asked for, there are {count}, counted from 0")));
    }
    let device = result::device::get(ordinal as i32).map_err(failed)?;
    let attribute = |which| {
        // SAFETY: the device was just found.
        unsafe { result::device::get_attribute(device, which) }.map_err(failed)
    };
    let major = attribute(sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
    let minor = attribute(sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
    Ok(Properties {
        device,
        name: result::device::get_name(device).map_err(failed)?,
        capability: 10 * major + minor,
        // SAFETY: as above.
        bytes: unsafe { result::device::total_mem(device) }.map_err(failed)?,
    })
}

impl Card {
    /// The card of that number. It is made once and shared by all who ask for it: context and libraries take seconds.
    pub(crate) fn shared(ordinal: usize) -> Result<&'static Self> {
        static CARDS: Mutex<BTreeMap<usize, &'static Card>> = Mutex::new(BTreeMap::new());
        let mut cards = locked(&CARDS);
        if let Some(&card) = cards.get(&ordinal) {
            return Ok(card);
        }
        let card: &'static Self = Box::leak(Box::new(Self::new(ordinal)?));
        cards.insert(ordinal, card);
        Ok(card)
    }

    fn new(ordinal: usize) -> Result<Self> {
        let properties = properties(ordinal)?;
        NVRTC.require()?;
        CUBLAS.require()?;
        let target = Target::of(properties.capability)?;
        let context = Context::retain(properties.device)?;
        context.bind()?;
        let staging = Staging::new()?;
        let work = Mutex::new(Work { staging, lanes: [Lane::new()?, Lane::new()?, Lane::new()?, Lane::new()?] });
        Ok(Self { name: properties.name, work, modules: Modules::new(target), ways: Mutex::default(), context })
    }

    /// How cuDNN computes the part of a convolution that [`Convolution::is_for_cudnn`]; `None` where it cannot, where it is not there, and where the
    /// environment variable `LIVI_CUDNN` is 0.
    pub(crate) fn way(&self, convolution: &Convolution) -> Option<Way> {
        if std::env::var_os("LIVI_CUDNN").is_some_and(|value| value == "0") {
            return None;
        }
        let nowhere = Stack { address: 0, strides: [0; 5] };
        let key = Convolution { groups: 1, images: nowhere, filters: nowhere, results: nowhere, ..*convolution };
        if let Some(&way) = locked(&self.ways).get(&key) {
            return way;
        }
        let way = self.work().and_then(|mut work| work.lanes[0].with_dnn()?.way(convolution)).ok().flatten();
        locked(&self.ways).insert(key, way);
        way
    }

    /// Makes the context current on the calling thread.
    fn bind(&self) -> Result<()> {
        self.context.bind()
    }

    /// What reaches the stream, with the context current.
    fn work(&self) -> Result<MutexGuard<'_, Work>> {
        self.bind()?;
        Ok(locked(&self.work))
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn memory(&self) -> Result<(usize, usize)> {
        self.bind()?;
        result::mem_get_info().map_err(failed)
    }

    pub(crate) fn synchronize(&self) -> Result<()> {
        self.work()?.synchronize()
    }

    /// # Safety
    /// As for `Device::write`.
    pub(crate) unsafe fn write(&self, to: u64, bytes: &[u8]) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let mut work = self.work()?;
        let stream = work.stream();
        // SAFETY: the caller's promise.
        unsafe { work.staging.write(to, bytes, stream) }
    }

    /// # Safety
    /// As for `Device::read`.
    pub(crate) unsafe fn read(&self, from: u64, bytes: &mut [u8]) -> Result<()> {
        let work = self.work()?;
        if !bytes.is_empty() {
            // SAFETY: the caller's promise; the stream is waited for while the slice is borrowed.
            unsafe { result::memcpy_dtoh_async(bytes, from, work.stream()) }.map_err(failed)?;
        }
        work.synchronize()
    }

    /// # Safety
    /// As for `Device::copy`.
    pub(crate) unsafe fn copy(&self, from: u64, to: u64, bytes: usize) -> Result<()> {
        if bytes == 0 {
            return Ok(());
        }
        let work = self.work()?;
        // SAFETY: the caller's promise.
        unsafe { result::memcpy_dtod_async(to, from, bytes, work.stream()) }.map_err(failed)
    }
}

impl Work {
    fn stream(&self) -> sys::CUstream {
        self.lanes[0].stream()
    }

    /// Waits until everything asked is done.
    fn synchronize(&self) -> Result<()> {
        // SAFETY: the stream lives.
        unsafe { result::stream::synchronize(self.stream()) }.map_err(failed)
    }
}

impl Context {
    fn retain(device: sys::CUdevice) -> Result<Self> {
        // SAFETY: the device was found; released when dropped.
        let handle = unsafe { result::primary_ctx::retain(device) }.map_err(failed)?;
        Ok(Self { device, handle })
    }

    fn bind(&self) -> Result<()> {
        // SAFETY: the context is retained.
        unsafe { result::ctx::set_current(self.handle) }.map_err(failed)
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: retained once and not released before. There is nobody to tell of a failure.
        let _ = unsafe { result::primary_ctx::release(self.device) };
    }
}

/// Memory of a card.
#[derive(Debug)]
pub(crate) struct Memory {
    card: &'static Card,
    address: u64,
    bytes: usize,
}

impl Memory {
    pub(crate) fn zeroed(card: &'static Card, bytes: usize) -> Result<Self> {
        let work = card.work()?;
        // SAFETY: freed when the memory is dropped.
        let address = unsafe { result::malloc_sync(bytes.max(1)) }.map_err(failed_allocation(bytes))?;
        let memory = Self { card, address, bytes };
        // SAFETY: as many bytes were allocated.
        let zeroed = unsafe { result::memset_d8_async(address, 0, bytes.max(1), work.stream()) }.map_err(failed);
        // Dropped memory takes the lock.
        drop(work);
        zeroed?;
        Ok(memory)
    }

    pub(crate) fn address(&self) -> u64 {
        self.address
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // What runs on the stream may still use it. There is nobody to tell of a failure.
        let _ = self.card.synchronize();
        // SAFETY: allocated by `zeroed` and not freed before.
        let _ = unsafe { result::free_sync(self.address) };
    }
}
