//! A card: one context, one stream, kernels by NVRTC, products by cuBLAS, repeated sequences as graphs.

mod compile;
mod graph;
mod product;
mod staging;

use compile::{Target, compile};

use crate::{Argument, Command, Error, Kernel, Launch, Task, device::Result};
use cudarc::driver::{result, sys};
use graph::Graph;
use product::Blas;
use staging::Staging;
use std::collections::{HashMap, HashSet};
use std::ffi::{CString, c_void};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Dynamic shared memory that every kernel may have without asking, in bytes.
const SHARED_BYTES: u32 = 48 * 1024;
/// Commands from which on a graph is worth its making.
const LEAST: usize = 3;

/// A card with its stream.
#[derive(Debug)]
pub(crate) struct Card {
    device: sys::CUdevice,
    context: sys::CUcontext,
    stream: sys::CUstream,
    name: String,
    architecture: String,
    blas: Mutex<Option<Blas>>,
    workspace: u64,
    staging: Mutex<Staging>,
    /// Loaded sources.
    modules: Mutex<HashMap<Arc<str>, Module>>,
}

// SAFETY: the driver's handles may be used from any thread that has made the context current, which every entry does; what is not safe to share lies
// behind locks.
unsafe impl Send for Card {}
// SAFETY: as above.
unsafe impl Sync for Card {}

#[derive(Debug)]
struct Module {
    module: sys::CUmodule,
}

fn failed(error: result::DriverError) -> Error {
    if error.0 == sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY {
        let free = result::mem_get_info().map_or(0, |(free, _)| free);
        return Error::OutOfMemory { needed: 0, free };
    }
    let text = error.error_string().map(|text| text.to_string_lossy().into_owned());
    Error::Driver(text.unwrap_or_else(|_| format!("{error:?}")))
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Retains a device's context once for the life of the process: making it anew takes a quarter of a second.
fn keep_context(device: sys::CUdevice) -> Result<()> {
    static KEPT: Mutex<Vec<sys::CUdevice>> = Mutex::new(Vec::new());
    let mut kept = locked(&KEPT);
    if !kept.contains(&device) {
        // SAFETY: the device was found by the caller.
        unsafe { result::primary_ctx::retain(device) }.map_err(failed)?;
        kept.push(device);
    }
    Ok(())
}

impl Card {
    /// The card of that number.
    pub(crate) fn new(ordinal: usize) -> Result<Self> {
        let count = crate::device_count()?;
        if ordinal >= count {
            return Err(Error::Driver(format!("card {ordinal} was asked for, there are {count}, counted from 0")));
        }
        compile::require()?;
        let ordinal = ordinal as i32;
        result::init().map_err(failed)?;
        let device = result::device::get(ordinal).map_err(failed)?;
        let attribute = |which| {
            // SAFETY: the device was found above.
            unsafe { result::device::get_attribute(device, which) }.map_err(failed)
        };
        let major = attribute(sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
        let minor = attribute(sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
        let name = result::device::get_name(device).map_err(failed)?;
        keep_context(device)?;
        // SAFETY: the device exists; the context is released when the card is dropped.
        let context = unsafe { result::primary_ctx::retain(device) }.map_err(failed)?;
        // SAFETY: the context was just made.
        unsafe { result::ctx::set_current(context) }.map_err(failed)?;
        let stream = result::stream::create(result::stream::StreamKind::NonBlocking).map_err(failed)?;
        // SAFETY: freed when the card is dropped.
        let workspace = unsafe { result::malloc_sync(product::WORKSPACE) }.map_err(failed)?;
        // SAFETY: the card drops the handle before stream and workspace.
        let blas = unsafe { Blas::new(stream, workspace)? };
        Ok(Self {
            device,
            context,
            stream,
            name: format!("{name} (compute capability {major}.{minor})"),
            architecture: format!("sm_{major}{minor}"),
            blas: Mutex::new(Some(blas)),
            workspace,
            staging: Mutex::new(Staging::new().map_err(failed)?),
            modules: Mutex::default(),
        })
    }

    /// Makes the context current on the calling thread.
    fn bind(&self) -> Result<()> {
        // SAFETY: the context lives as long as the card.
        unsafe { result::ctx::set_current(self.context) }.map_err(failed)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn memory(&self) -> Result<(usize, usize)> {
        self.bind()?;
        result::mem_get_info().map_err(failed)
    }

    pub(crate) fn synchronize(&self) -> Result<()> {
        self.bind()?;
        // SAFETY: the stream lives as long as the card.
        unsafe { result::stream::synchronize(self.stream) }.map_err(failed)
    }

    /// # Safety
    /// As for `Device::write`.
    pub(crate) unsafe fn write(&self, to: u64, bytes: &[u8]) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.bind()?;
        // SAFETY: the caller's promise.
        unsafe { locked(&self.staging).write(to, bytes, self.stream) }.map_err(failed)
    }

    /// # Safety
    /// As for `Device::read`.
    pub(crate) unsafe fn read(&self, from: u64, bytes: &mut [u8]) -> Result<()> {
        self.bind()?;
        // SAFETY: the caller's promise; the stream is waited for while the slice is borrowed.
        unsafe {
            if !bytes.is_empty() {
                result::memcpy_dtoh_async(bytes, from, self.stream).map_err(failed)?;
            }
            result::stream::synchronize(self.stream).map_err(failed)
        }
    }

    /// # Safety
    /// As for `Device::copy`.
    pub(crate) unsafe fn copy(&self, from: u64, to: u64, bytes: usize) -> Result<()> {
        self.bind()?;
        if bytes == 0 {
            return Ok(());
        }
        // SAFETY: the caller's promise.
        unsafe { result::memcpy_dtod_async(to, from, bytes, self.stream) }.map_err(failed)
    }

    /// Compiles the kernels of commands and finds their functions.
    pub(crate) fn prepare(self: &Arc<Self>, tasks: Vec<Task>) -> Result<Sequence> {
        self.bind()?;
        let commands: Vec<Command> = tasks.into_iter().flat_map(|task| task.commands).collect();
        let kernels: Vec<&Kernel> = commands
            .iter()
            .filter_map(|command| match command {
                Command::Launch(launch) => Some(&launch.kernel),
                _ => None,
            })
            .collect();
        self.load(&kernels)?;
        let mut prepared = Vec::with_capacity(commands.len());
        for command in commands {
            let function = match &command {
                Command::Launch(launch) => Some(self.function(launch)?),
                _ => None,
            };
            prepared.push((command, function));
        }
        Ok(Sequence { commands: prepared, runs: 0, graph: None, _card: self.clone() })
    }

    /// Compiles sources that are not loaded yet, as many at a time as the machine has threads, and loads them.
    fn load(&self, kernels: &[&Kernel]) -> Result<()> {
        let mut modules = locked(&self.modules);
        let mut seen = HashSet::new();
        let missing: Vec<&Arc<str>> = kernels
            .iter()
            .map(|kernel| &kernel.source)
            .filter(|source| !modules.contains_key(*source) && seen.insert(*source))
            .collect();
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(missing.len());
        let compiled: Vec<Result<Vec<u8>>> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads)
                .map(|worker| {
                    let sources = missing.iter().skip(worker).step_by(threads);
                    let architecture = &self.architecture;
                    scope.spawn(move || -> Vec<Result<Vec<u8>>> {
                        sources.map(|source| compile(source, architecture, Target::Cubin)).collect()
                    })
                })
                .collect();
            let mut done: Vec<_> =
                workers.into_iter().map(|worker| worker.join().unwrap_or_default().into_iter()).collect();
            let lost = || Err(Error::Compile("a compiling thread was lost".into()));
            (0..missing.len()).map(|k| done[k % threads].next().unwrap_or_else(lost)).collect()
        });
        for (source, image) in missing.into_iter().zip(compiled) {
            let image = image?;
            // SAFETY: a whole image that NVRTC made for this architecture.
            let module = unsafe { result::module::load_data(image.as_ptr().cast()) }.map_err(failed)?;
            modules.insert(source.clone(), Module { module });
        }
        Ok(())
    }

    /// The function of a launch, allowed as much shared memory as the launch has.
    fn function(&self, launch: &Launch) -> Result<sys::CUfunction> {
        let modules = locked(&self.modules);
        let unknown = || Error::Compile(format!("the source has no kernel `{}`", launch.kernel.name));
        let module = modules.get(&launch.kernel.source).ok_or_else(unknown)?;
        let name = CString::new(&*launch.kernel.name).map_err(|_| unknown())?;
        // SAFETY: the module is loaded as long as the card lives.
        let function = unsafe { result::module::get_function(module.module, name) }.map_err(|_| unknown())?;
        if launch.shared_bytes > SHARED_BYTES {
            let most = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            // SAFETY: the function was just found.
            unsafe { result::function::set_function_attribute(function, most, launch.shared_bytes as i32) }
                .map_err(failed)?;
        }
        Ok(function)
    }

    /// # Safety
    /// As for `Device::run`.
    pub(crate) unsafe fn run(&self, sequence: &mut Sequence) -> Result<()> {
        self.bind()?;
        sequence.runs += 1;
        if let Some(graph) = &sequence.graph {
            // SAFETY: graph and stream live.
            return unsafe { graph.launch(self.stream) }.map_err(failed);
        }
        // The first run makes ready what libraries make ready when they are first called, which they must not do while a graph is captured.
        if sequence.runs < 2 || sequence.commands.len() < LEAST {
            // SAFETY: the caller's promise.
            return unsafe { self.issue_all(sequence) };
        }
        // SAFETY: the caller's promise; the graph repeats the same commands.
        unsafe {
            let graph = Graph::capture(self.stream, failed, || self.issue_all(sequence))?;
            graph.launch(self.stream).map_err(failed)?;
            sequence.graph = Some(graph);
        }
        Ok(())
    }

    unsafe fn issue_all(&self, sequence: &Sequence) -> Result<()> {
        for (command, function) in &sequence.commands {
            // SAFETY: the caller's promise.
            unsafe { self.issue(command, *function)? };
        }
        Ok(())
    }

    /// # Safety
    /// As for `Device::profile`.
    pub(crate) unsafe fn profile(&self, sequence: &Sequence) -> Result<Vec<f64>> {
        self.bind()?;
        let event = || result::event::create(sys::CUevent_flags::CU_EVENT_DEFAULT).map_err(failed);
        let events = (0..=sequence.commands.len()).map(|_| event()).collect::<Result<Vec<_>>>()?;
        let mut seconds = Vec::with_capacity(sequence.commands.len());
        // SAFETY: events and stream live; the rest is the caller's promise.
        unsafe {
            result::event::record(events[0], self.stream).map_err(failed)?;
            for ((command, function), event) in sequence.commands.iter().zip(&events[1..]) {
                self.issue(command, *function)?;
                result::event::record(*event, self.stream).map_err(failed)?;
            }
            result::stream::synchronize(self.stream).map_err(failed)?;
            for pair in events.windows(2) {
                seconds.push(f64::from(result::event::elapsed(pair[0], pair[1]).map_err(failed)?) * 1e-3);
            }
            for event in events {
                result::event::destroy(event).map_err(failed)?;
            }
        }
        Ok(seconds)
    }

    unsafe fn issue(&self, command: &Command, function: Option<sys::CUfunction>) -> Result<()> {
        // SAFETY: the caller's promise.
        unsafe {
            match command {
                Command::Launch(launch) => match function {
                    Some(function) => self.launch(launch, function),
                    None => Err(Error::Driver("a kernel was not compiled".into())),
                },
                Command::Gemm(gemm) => match &*locked(&self.blas) {
                    Some(blas) => blas.run(gemm),
                    None => Err(Error::Driver("cuBLAS was closed".into())),
                },
                Command::Zero { bytes: 0, .. } | Command::Copy { bytes: 0, .. } => Ok(()),
                Command::Zero { to, bytes } => result::memset_d8_async(*to, 0, *bytes, self.stream).map_err(failed),
                Command::Copy { from, to, bytes } => {
                    result::memcpy_dtod_async(*to, *from, *bytes, self.stream).map_err(failed)
                }
            }
        }
    }

    unsafe fn launch(&self, launch: &Launch, function: sys::CUfunction) -> Result<()> {
        let mut values = [0_u64; 64];
        let mut pointers = [std::ptr::null_mut::<c_void>(); 64];
        let count = launch.arguments.len();
        if count > values.len() {
            return Err(Error::Driver(format!("kernel {} has {count} arguments", launch.kernel.name)));
        }
        for (k, argument) in launch.arguments.iter().enumerate() {
            // Four bytes are the first ones of eight on the little-endian machines there are.
            values[k] = match *argument {
                Argument::Pointer(x) | Argument::U64(x) => x,
                Argument::F64(x) => x.to_bits(),
                Argument::U32(x) => u64::from(x),
                Argument::F32(x) => u64::from(x.to_bits()),
            };
            pointers[k] = (&raw mut values[k]).cast();
        }
        let ([gx, gy, gz], [bx, by, bz]) = (launch.grid, launch.block);
        // SAFETY: the caller's promise; the driver copies the arguments before it returns.
        unsafe {
            let parameters = &mut pointers[..count];
            result::launch_kernel(function, (gx, gy, gz), (bx, by, bz), launch.shared_bytes, self.stream, parameters)
        }
        .map_err(|error| match failed(error) {
            Error::Driver(text) => Error::Driver(format!("kernel {}: {text}", launch.kernel.name)),
            other => other,
        })
    }
}

impl Drop for Card {
    fn drop(&mut self) {
        if self.bind().is_err() {
            return;
        }
        // SAFETY: everything was made by this card and is dropped once; there is nobody to tell of a failure.
        unsafe {
            let _ = result::stream::synchronize(self.stream);
            *locked(&self.blas) = None;
            locked(&self.staging).free();
            for (_, module) in locked(&self.modules).drain() {
                let _ = result::module::unload(module.module);
            }
            let _ = result::free_sync(self.workspace);
            let _ = result::stream::destroy(self.stream);
            let _ = result::primary_ctx::release(self.device);
        }
    }
}

/// Memory of a card.
#[derive(Debug)]
pub(crate) struct Memory {
    card: Arc<Card>,
    address: u64,
    bytes: usize,
}

impl Memory {
    pub(crate) fn zeroed(card: &Arc<Card>, bytes: usize) -> Result<Self> {
        card.bind()?;
        // SAFETY: freed when the memory is dropped.
        let address = unsafe { result::malloc_sync(bytes.max(1)) }.map_err(|error| match failed(error) {
            Error::OutOfMemory { free, .. } => Error::OutOfMemory { needed: bytes, free },
            other => other,
        })?;
        let memory = Self { card: card.clone(), address, bytes };
        // SAFETY: as many bytes were allocated.
        unsafe { result::memset_d8_async(address, 0, bytes.max(1), card.stream) }.map_err(failed)?;
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
        if self.card.bind().is_ok() {
            // SAFETY: allocated by `zeroed` and not freed before; what runs on the stream may still use it, so it is waited for.
            unsafe {
                let _ = result::stream::synchronize(self.card.stream);
                let _ = result::free_sync(self.address);
            }
        }
    }
}

/// Commands with their functions, and their graph once they ran twice.
#[derive(Debug)]
pub(crate) struct Sequence {
    commands: Vec<(Command, Option<sys::CUfunction>)>,
    runs: u64,
    // Dropped before the card that it belongs to.
    graph: Option<Graph>,
    _card: Arc<Card>,
}

// SAFETY: functions are the driver's handles, valid on every thread as long as the card lives.
unsafe impl Send for Sequence {}
// SAFETY: as above.
unsafe impl Sync for Sequence {}
