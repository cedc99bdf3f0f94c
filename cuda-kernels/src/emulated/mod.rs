//! The processor in the place of a card, for tests on machines without one: the kernels' own sources behind a shim, products by faer.

mod compile;
mod product;

use crate::{Argument, Command, Error, Kernel, Launch, Task, device::Result};
use compile::Compiled;
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::cell::Cell;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Instant;

const ALIGNMENT: usize = 256;
/// Dynamic shared memory of a block, as much as an H100 has, in bytes.
const SHARED_BYTES: u32 = 227 * 1024;

/// Zeroed memory whose address stands for one on a device.
#[derive(Debug)]
pub(crate) struct Memory {
    pointer: *mut u8,
    bytes: usize,
}

// SAFETY: the memory is owned; who may touch it when is decided by its holder.
unsafe impl Send for Memory {}
// SAFETY: as above; shared references give out nothing but the address.
unsafe impl Sync for Memory {}

impl Memory {
    pub(crate) fn zeroed(bytes: usize) -> Result<Self> {
        let layout = Self::layout(bytes)?;
        // SAFETY: the layout is not empty.
        let pointer = unsafe { alloc_zeroed(layout) };
        if pointer.is_null() { Err(Error::OutOfMemory { needed: bytes, free: 0 }) } else { Ok(Self { pointer, bytes }) }
    }

    fn layout(bytes: usize) -> Result<Layout> {
        Layout::from_size_align(bytes.max(1), ALIGNMENT).map_err(|_| Error::OutOfMemory { needed: bytes, free: 0 })
    }

    pub(crate) fn address(&self) -> u64 {
        self.pointer as u64
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if let Ok(layout) = Self::layout(self.bytes) {
            // SAFETY: allocated with the same layout and not freed before.
            unsafe { dealloc(self.pointer, layout) }
        }
    }
}

/// Commands with their compiled kernels.
#[derive(Debug)]
pub(crate) struct Sequence {
    commands: Vec<(Command, Option<Arc<Compiled>>)>,
    /// Numbers of the commands in the order in which they run.
    order: Vec<usize>,
}

/// Compiles the kernels of tasks and checks that the launches fit them.
pub(crate) fn prepare(tasks: Vec<Task>) -> Result<Sequence> {
    let order = order(&tasks)?;
    let commands: Vec<Command> = tasks.into_iter().flat_map(|task| task.commands).collect();
    let kernels: Vec<&Kernel> = commands
        .iter()
        .filter_map(|command| match command {
            Command::Launch(launch) => Some(&launch.kernel),
            _ => None,
        })
        .collect();
    let compiled = compile::compile(&kernels)?;
    let mut prepared = Vec::with_capacity(commands.len());
    for command in commands {
        let compiled = match &command {
            Command::Launch(launch) => compiled.get(&launch.kernel.source).cloned(),
            _ => None,
        };
        if let (Command::Launch(launch), Some(compiled)) = (&command, &compiled) {
            check(launch, compiled)?;
        }
        prepared.push((command, compiled));
    }
    Ok(Sequence { commands: prepared, order })
}

/// Bytes of each parameter of a kernel; nothing where its source has none of that name.
pub(crate) fn parameters(kernel: &Kernel) -> Result<Option<Vec<usize>>> {
    let compiled = compile::compile(&[kernel])?;
    let sizes = compiled.get(&kernel.source).and_then(|compiled| compiled.sizes(&kernel.name).ok());
    Ok(sizes.map(|sizes| sizes.into_iter().map(|size| size as usize).collect()))
}

/// The order of commands that is as unlike that of the list as tasks allow: of those that wait for nothing any more the last one comes first.
fn order(tasks: &[Task]) -> Result<Vec<usize>> {
    let mut followers = vec![Vec::new(); tasks.len()];
    let mut first = Vec::with_capacity(tasks.len());
    let mut commands = 0;
    for (number, task) in tasks.iter().enumerate() {
        if let Some(other) = task.after.iter().find(|&&other| other >= number) {
            return Err(Error::Driver(format!("task {number} waits for task {other}, which comes after it")));
        }
        task.after.iter().for_each(|&other| followers[other].push(number));
        first.push(commands);
        commands += task.commands.len();
    }
    let mut waits: Vec<usize> = tasks.iter().map(|task| task.after.len()).collect();
    let mut ready: BinaryHeap<usize> = (0..tasks.len()).filter(|&number| waits[number] == 0).collect();
    let mut order = Vec::with_capacity(commands);
    while let Some(number) = ready.pop() {
        order.extend(first[number]..first[number] + tasks[number].commands.len());
        for &follower in &followers[number] {
            waits[follower] -= 1;
            if waits[follower] == 0 {
                ready.push(follower);
            }
        }
    }
    Ok(order)
}

fn size(argument: &Argument) -> u32 {
    match argument {
        Argument::U32(_) | Argument::F32(_) => 4,
        Argument::Pointer(_) | Argument::U64(_) | Argument::F64(_) => 8,
    }
}

/// An error for a launch that does not fit its kernel.
fn check(launch: &Launch, compiled: &Compiled) -> Result<()> {
    let wrong = |problem: String| Err(Error::Driver(format!("kernel {}: {problem}", launch.kernel.name)));
    if launch.shared_bytes > SHARED_BYTES {
        return wrong(format!("the card has no {} bytes of shared memory a block", launch.shared_bytes));
    }
    let expected = compiled.sizes(&launch.kernel.name)?;
    let given: Vec<u32> = launch.arguments.iter().map(size).collect();
    if expected != given {
        return wrong(format!("arguments of {given:?} bytes were given where {expected:?} are needed"));
    }
    Ok(())
}

thread_local! {
    /// Runs of sequences on this thread. In each, blocks, warps and threads take their turns in another order: what is the same every time does not
    /// depend on it.
    static RUNS: Cell<u32> = const { Cell::new(0) };
}

impl Sequence {
    /// Runs the commands; the seconds each took.
    ///
    /// # Safety
    /// As for `Device::run`.
    pub(crate) unsafe fn run(&self) -> Result<Vec<f64>> {
        let number = RUNS.get();
        RUNS.set(number.wrapping_add(1));
        let mut seconds = vec![0.0; self.commands.len()];
        for &place in &self.order {
            let (command, compiled) = &self.commands[place];
            let start = Instant::now();
            // SAFETY: the caller's promise; launches were checked against their kernels.
            unsafe {
                match (command, compiled) {
                    (Command::Launch(launch), Some(compiled)) => run(launch, compiled, number)?,
                    (Command::Launch(_), None) => return Err(Error::Driver("a kernel was not compiled".into())),
                    (Command::Gemm(gemm), _) => product::run(gemm),
                    (Command::Convolve(_), _) => return Err(Error::Driver("there is no cuDNN".into())),
                    (Command::Zero { to, bytes }, _) => std::ptr::write_bytes(*to as *mut u8, 0, *bytes),
                    (Command::Copy { from, to, bytes }, _) => {
                        std::ptr::copy_nonoverlapping(*from as *const u8, *to as *mut u8, *bytes);
                    }
                }
            }
            seconds[place] = start.elapsed().as_secs_f64();
        }
        Ok(seconds)
    }
}

unsafe fn run(launch: &Launch, compiled: &Compiled, number: u32) -> Result<()> {
    let mut values: Vec<[u8; 8]> = launch
        .arguments
        .iter()
        .map(|argument| match argument {
            Argument::Pointer(x) | Argument::U64(x) => x.to_ne_bytes(),
            Argument::F64(x) => x.to_ne_bytes(),
            Argument::U32(x) => u64::from(*x).to_ne_bytes(),
            Argument::F32(x) => u64::from(x.to_bits()).to_ne_bytes(),
        })
        .collect();
    let mut pointers: Vec<*mut u8> = values.iter_mut().map(|value| value.as_mut_ptr()).collect();
    // SAFETY: the sizes were checked; the rest is the caller's promise. (Four bytes are the first ones on the little-endian machines there are.)
    unsafe { compiled.launch(launch, &mut pointers, number) }
}
