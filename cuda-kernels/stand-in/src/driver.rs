//! `libcuda`.

use crate::stream::{Action, Event, Stream};
use crate::{Machine, Status, compiler, machine, memory, refused, status};
use cuda_kernels::{Argument, Command, Device, Kernel, Launch};
use std::cell::Cell;
use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::sync::{Arc, Mutex};

/// Dynamic shared memory of a block without asking, and with, in bytes.
const SHARED_BYTES: u32 = 48 * 1024;
const MOST_SHARED_BYTES: u32 = 227 * 1024;
const MAX_DYNAMIC_SHARED_SIZE_BYTES: c_int = 8;
const COMPUTE_CAPABILITY_MAJOR: c_int = 75;
const COMPUTE_CAPABILITY_MINOR: c_int = 76;
const NON_BLOCKING: c_uint = 1;
const DISABLE_TIMING: c_uint = 2;
const RECORD_EXTERNAL: c_uint = 1;
const THREAD_LOCAL: c_int = 1;
/// The context of the only card.
const CONTEXT: usize = 0xc0;

/// Loaded sources and their functions.
#[derive(Default)]
pub struct Modules {
    modules: HashMap<usize, Arc<str>>,
    functions: HashMap<usize, Function>,
}

struct Function {
    kernel: Kernel,
    /// Bytes of its parameters.
    parameters: Vec<usize>,
    /// Dynamic shared memory that it may have.
    shared_bytes: u32,
}

thread_local! {
    /// The context that is current.
    static CURRENT: Cell<usize> = const { Cell::new(0) };
}

fn answer(result: Result<(), Status>) -> Status {
    result.err().unwrap_or(status::SUCCESS)
}

/// The machine, for a thread whose context is current.
fn with(work: impl FnOnce(&mut Machine) -> Result<(), Status>) -> Status {
    if CURRENT.get() != CONTEXT {
        return refused(status::INVALID_CONTEXT, "no context is current on the thread");
    }
    let mut machine = machine();
    answer(machine.work.check().and_then(|()| work(&mut machine)))
}

/// Writes an answer to where the caller wants it.
unsafe fn put<T>(to: *mut T, value: T) -> Result<(), Status> {
    if to.is_null() {
        return Err(status::INVALID_VALUE);
    }
    // SAFETY: the caller's promise.
    unsafe { to.write(value) };
    Ok(())
}

/// A command as an action, prepared for the emulated device.
pub fn command(command: Command) -> Result<Action, Status> {
    let sequence = Device::emulated().and_then(|device| device.prepare(vec![command]));
    let sequence = sequence.map_err(|error| refused(status::INVALID_VALUE, &error.to_string()))?;
    Ok(Action::Command(Arc::new(Mutex::new(sequence))))
}

#[unsafe(no_mangle)]
extern "C" fn cuInit(_flags: c_uint) -> Status {
    status::SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDriverGetVersion(version: *mut c_int) -> Status {
    // SAFETY: as for the real one.
    answer(unsafe { put(version, 13_000) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuGetErrorString(error: Status, text: *mut *const c_char) -> Status {
    // SAFETY: as for the real one.
    answer(unsafe { put(text, status::text(error).as_ptr()) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDeviceGetCount(count: *mut c_int) -> Status {
    // SAFETY: as for the real one.
    answer(unsafe { put(count, 1) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDeviceGet(device: *mut c_int, ordinal: c_int) -> Status {
    if ordinal != 0 {
        return status::INVALID_DEVICE;
    }
    // SAFETY: as for the real one.
    answer(unsafe { put(device, 0) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDeviceGetName(name: *mut c_char, length: c_int, _device: c_int) -> Status {
    const NAME: &CStr = c"stand-in";
    if (length as usize) < NAME.to_bytes_with_nul().len() {
        return status::INVALID_VALUE;
    }
    // SAFETY: as for the real one.
    unsafe { name.copy_from_nonoverlapping(NAME.as_ptr(), NAME.to_bytes_with_nul().len()) };
    status::SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDeviceGetAttribute(value: *mut c_int, attribute: c_int, _device: c_int) -> Status {
    let found = match attribute {
        COMPUTE_CAPABILITY_MAJOR => compiler::CAPABILITY / 10,
        COMPUTE_CAPABILITY_MINOR => compiler::CAPABILITY % 10,
        _ => return refused(status::INVALID_VALUE, "an attribute that is not known here was asked for"),
    };
    // SAFETY: as for the real one.
    answer(unsafe { put(value, found) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDeviceTotalMem_v2(bytes: *mut usize, _device: c_int) -> Status {
    // SAFETY: as for the real one.
    answer(unsafe { put(bytes, memory::BYTES) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuDevicePrimaryCtxRetain(context: *mut *mut c_void, _device: c_int) -> Status {
    // SAFETY: as for the real one.
    answer(unsafe { put(context, CONTEXT as *mut c_void) })
}

#[unsafe(no_mangle)]
extern "C" fn cuDevicePrimaryCtxRelease_v2(_device: c_int) -> Status {
    status::SUCCESS
}

#[unsafe(no_mangle)]
extern "C" fn cuCtxSetCurrent(context: *mut c_void) -> Status {
    if ![0, CONTEXT].contains(&(context as usize)) {
        return status::INVALID_CONTEXT;
    }
    CURRENT.set(context as usize);
    status::SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuMemGetInfo_v2(free: *mut usize, total: *mut usize) -> Status {
    // SAFETY: as for the real one.
    with(|machine| unsafe { put(free, machine.memory.free_bytes()).and(put(total, memory::BYTES)) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuMemAlloc_v2(address: *mut u64, bytes: usize) -> Status {
    with(|machine| {
        machine.captures.check_thread("memory is allocated")?;
        let found = machine.memory.allocate_on_card(bytes)?;
        // SAFETY: as for the real one.
        unsafe { put(address, found as u64) }
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemFree_v2(address: u64) -> Status {
    with(|machine| {
        machine.captures.check_thread("memory is freed")?;
        machine.work.finish_all()?;
        machine.memory.free_on_card(address as usize)
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuMemHostAlloc(pointer: *mut *mut c_void, bytes: usize, _flags: c_uint) -> Status {
    with(|machine| {
        machine.captures.check_thread("memory is allocated")?;
        let found = machine.memory.allocate_on_host(bytes)?;
        // SAFETY: as for the real one.
        unsafe { put(pointer, found as *mut c_void) }
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemFreeHost(pointer: *mut c_void) -> Status {
    with(|machine| {
        machine.captures.check_thread("memory is freed")?;
        machine.work.finish_all()?;
        machine.memory.free_on_host(pointer as usize)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemcpyHtoDAsync_v2(to: u64, from: *const c_void, bytes: usize, stream: *mut c_void) -> Status {
    with(|machine| {
        machine.memory.check("a copy to the card", to, bytes)?;
        machine.ask(stream as usize, Action::Upload { from: from as usize, to, bytes })
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemcpyDtoHAsync_v2(to: *mut c_void, from: u64, bytes: usize, stream: *mut c_void) -> Status {
    with(|machine| {
        machine.memory.check("a copy from the card", from, bytes)?;
        machine.ask(stream as usize, Action::Download { from, to: to as usize, bytes })
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemcpyDtoDAsync_v2(to: u64, from: u64, bytes: usize, stream: *mut c_void) -> Status {
    with(|machine| {
        machine.memory.check("a copy from the card", from, bytes)?;
        machine.memory.check("a copy to the card", to, bytes)?;
        if from.abs_diff(to) < bytes as u64 {
            return Err(refused(status::INVALID_VALUE, "what is copied overlaps"));
        }
        machine.ask(stream as usize, command(Command::Copy { from, to, bytes })?)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemsetD8Async(to: u64, byte: u8, bytes: usize, stream: *mut c_void) -> Status {
    with(|machine| {
        machine.memory.check("what is filled", to, bytes)?;
        if byte != 0 {
            return Err(refused(status::INVALID_VALUE, "memory is filled with other bytes than zeros"));
        }
        machine.ask(stream as usize, command(Command::Zero { to, bytes })?)
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuModuleLoadData(module: *mut *mut c_void, image: *const c_void) -> Status {
    with(|machine| {
        machine.captures.check_thread("a module is loaded")?;
        // SAFETY: as for the real one.
        let source = unsafe { compiler::source_of(image.cast()) };
        let source = source.ok_or_else(|| refused(status::INVALID_IMAGE, "what is loaded is no image"))?;
        let handle = machine.handle();
        machine.modules.modules.insert(handle, source);
        // SAFETY: as for the real one.
        unsafe { put(module, handle as *mut c_void) }
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuModuleGetFunction(
    function: *mut *mut c_void,
    module: *mut c_void,
    name: *const c_char,
) -> Status {
    with(|machine| {
        let source = machine.modules.modules.get(&(module as usize)).ok_or(status::INVALID_HANDLE)?.clone();
        // SAFETY: as for the real one.
        let name = unsafe { CStr::from_ptr(name) }.to_str().map_err(|_| status::NOT_FOUND)?;
        let kernel = Kernel { source, name: name.into() };
        let parameters = cuda_kernels::parameters(&kernel);
        let parameters = parameters.map_err(|error| refused(status::INVALID_IMAGE, &error.to_string()))?;
        let parameters = parameters.ok_or(status::NOT_FOUND)?;
        let handle = machine.handle();
        machine.modules.functions.insert(handle, Function { kernel, parameters, shared_bytes: SHARED_BYTES });
        // SAFETY: as for the real one.
        unsafe { put(function, handle as *mut c_void) }
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuFuncGetParamInfo(
    function: *mut c_void,
    index: usize,
    offset: *mut usize,
    bytes: *mut usize,
) -> Status {
    with(|machine| {
        let function = machine.modules.functions.get(&(function as usize)).ok_or(status::INVALID_HANDLE)?;
        let length = *function.parameters.get(index).ok_or(status::INVALID_VALUE)?;
        let before = function.parameters[..index].iter().fold(0, |end: usize, &n| end.next_multiple_of(n) + n);
        // SAFETY: as for the real one.
        unsafe { put(offset, before.next_multiple_of(length)).and(put(bytes, length)) }
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuFuncSetAttribute(function: *mut c_void, attribute: c_int, value: c_int) -> Status {
    with(|machine| {
        let function = machine.modules.functions.get_mut(&(function as usize)).ok_or(status::INVALID_HANDLE)?;
        match u32::try_from(value) {
            Ok(bytes) if attribute == MAX_DYNAMIC_SHARED_SIZE_BYTES && bytes <= MOST_SHARED_BYTES => {
                function.shared_bytes = bytes;
                Ok(())
            }
            _ => Err(status::INVALID_VALUE),
        }
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuLaunchKernel(
    function: *mut c_void,
    grid_x: c_uint,
    grid_y: c_uint,
    grid_z: c_uint,
    block_x: c_uint,
    block_y: c_uint,
    block_z: c_uint,
    shared_bytes: c_uint,
    stream: *mut c_void,
    values: *mut *mut c_void,
    _extra: *mut *mut c_void,
) -> Status {
    with(|machine| {
        let function = machine.modules.functions.get(&(function as usize)).ok_or(status::INVALID_HANDLE)?;
        if shared_bytes > function.shared_bytes {
            return Err(refused(status::INVALID_VALUE, "more shared memory than the function was allowed"));
        }
        let mut arguments = Vec::with_capacity(function.parameters.len());
        for (k, &bytes) in function.parameters.iter().enumerate() {
            // SAFETY: as for the real one.
            unsafe {
                let value = *values.add(k);
                arguments.push(match bytes {
                    4 => Argument::U32(value.cast::<u32>().read()),
                    8 => Argument::U64(value.cast::<u64>().read()),
                    _ => return Err(refused(status::INVALID_VALUE, "a parameter is neither 4 nor 8 bytes long")),
                });
            }
        }
        let (grid, block) = ([grid_x, grid_y, grid_z], [block_x, block_y, block_z]);
        let launch = Launch { kernel: function.kernel.clone(), grid, block, shared_bytes, arguments };
        machine.ask(stream as usize, command(Command::Launch(launch))?)
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuStreamCreate(stream: *mut *mut c_void, flags: c_uint) -> Status {
    with(|machine| {
        if flags != NON_BLOCKING {
            return Err(refused(status::INVALID_VALUE, "a stream that waits for the legacy one"));
        }
        let handle = machine.handle();
        machine.work.streams.insert(handle, Stream::default());
        // SAFETY: as for the real one.
        unsafe { put(stream, handle as *mut c_void) }
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamDestroy_v2(stream: *mut c_void) -> Status {
    with(|machine| machine.work.streams.remove(&(stream as usize)).map(drop).ok_or(status::INVALID_HANDLE))
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamSynchronize(stream: *mut c_void) -> Status {
    with(|machine| {
        machine.captures.check_thread("a stream is waited for")?;
        let stream = machine.work.stream(stream as usize)?;
        if stream.capture.is_some() {
            return Err(refused(status::CAPTURE_UNSUPPORTED, "a captured stream is waited for"));
        }
        let tail = stream.tail.clone();
        machine.work.finish(&tail)?;
        machine.memory.check_margins()
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamWaitEvent(stream: *mut c_void, event: *mut c_void, _flags: c_uint) -> Status {
    with(|machine| machine.wait(stream as usize, event as usize))
}

#[unsafe(no_mangle)]
extern "C" fn cuStreamBeginCapture_v2(stream: *mut c_void, mode: c_int) -> Status {
    with(|machine| {
        if mode != THREAD_LOCAL {
            return Err(refused(status::INVALID_VALUE, "a capture that other threads disturb"));
        }
        machine.begin_capture(stream as usize)
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuStreamEndCapture(stream: *mut c_void, graph: *mut *mut c_void) -> Status {
    with(|machine| {
        let found = machine.end_capture(stream as usize)?;
        // SAFETY: as for the real one.
        unsafe { put(graph, found as *mut c_void) }
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuGraphInstantiateWithFlags(executable: *mut *mut c_void, graph: *mut c_void, _: u64) -> Status {
    with(|machine| {
        let nodes = machine.captures.graphs.get(&(graph as usize)).ok_or(status::INVALID_HANDLE)?.clone();
        let handle = machine.handle();
        machine.captures.executables.insert(handle, nodes);
        // SAFETY: as for the real one.
        unsafe { put(executable, handle as *mut c_void) }
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuGraphDestroy(graph: *mut c_void) -> Status {
    with(|machine| machine.captures.graphs.remove(&(graph as usize)).map(drop).ok_or(status::INVALID_HANDLE))
}

#[unsafe(no_mangle)]
extern "C" fn cuGraphExecDestroy(executable: *mut c_void) -> Status {
    with(|machine| machine.captures.executables.remove(&(executable as usize)).map(drop).ok_or(status::INVALID_HANDLE))
}

#[unsafe(no_mangle)]
extern "C" fn cuGraphUpload(executable: *mut c_void, stream: *mut c_void) -> Status {
    with(|machine| {
        machine.captures.executables.get(&(executable as usize)).ok_or(status::INVALID_HANDLE)?;
        machine.work.stream(stream as usize).map(drop)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuGraphLaunch(executable: *mut c_void, stream: *mut c_void) -> Status {
    with(|machine| {
        let nodes = machine.captures.executables.get(&(executable as usize)).ok_or(status::INVALID_HANDLE)?.clone();
        if machine.work.stream(stream as usize)?.capture.is_some() {
            return Err(refused(status::CAPTURE_UNSUPPORTED, "a graph is captured into another"));
        }
        machine.ask(stream as usize, Action::Graph(nodes))
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuEventCreate(event: *mut *mut c_void, flags: c_uint) -> Status {
    with(|machine| {
        let handle = machine.handle();
        machine.work.events.insert(handle, Event { timed: flags & DISABLE_TIMING == 0, ..Event::default() });
        // SAFETY: as for the real one.
        unsafe { put(event, handle as *mut c_void) }
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuEventDestroy_v2(event: *mut c_void) -> Status {
    with(|machine| machine.work.events.remove(&(event as usize)).map(drop).ok_or(status::INVALID_HANDLE))
}

#[unsafe(no_mangle)]
extern "C" fn cuEventRecord(event: *mut c_void, stream: *mut c_void) -> Status {
    cuEventRecordWithFlags(event, stream, 0)
}

#[unsafe(no_mangle)]
extern "C" fn cuEventRecordWithFlags(event: *mut c_void, stream: *mut c_void, flags: c_uint) -> Status {
    with(|machine| machine.record(event as usize, stream as usize, flags & RECORD_EXTERNAL != 0))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cuEventElapsedTime_v2(milliseconds: *mut f32, first: *mut c_void, last: *mut c_void) -> Status {
    with(|machine| {
        let mut time = |event: *mut c_void| {
            let event = machine.work.event(event as usize)?;
            if !event.timed {
                return Err(refused(status::INVALID_HANDLE, "the time of an event without one is asked for"));
            }
            event.time.ok_or(status::NOT_READY)
        };
        let (first, last) = (time(first)?, time(last)?);
        let seconds = last.saturating_duration_since(first).as_secs_f32();
        // SAFETY: as for the real one.
        unsafe { put(milliseconds, 1e3 * seconds) }
    })
}
