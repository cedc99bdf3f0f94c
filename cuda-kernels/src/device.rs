//! A device that runs commands: a card, or its emulation on the processor for tests.

// Built without either there is no device, and nothing is done with what it is given.
#![cfg_attr(not(any(feature = "cuda", feature = "emulated")), allow(unused_variables))]

#[cfg(feature = "cuda")]
use crate::card;
use crate::convolution::Convolution;
#[cfg(feature = "emulated")]
use crate::emulated;
use crate::{Command, Error, Task, check};

/// Result of everything a device does.
pub(crate) type Result<T> = std::result::Result<T, Error>;

/// A device with its stream: everything asked of it runs in order.
#[derive(Clone, Debug)]
pub struct Device {
    backend: Backend,
}

/// What the program was built with.
#[derive(Clone, Debug)]
enum Backend {
    #[cfg(feature = "cuda")]
    Card(&'static card::Card),
    #[cfg(feature = "emulated")]
    Emulated,
}

/// Memory of a device, zeroed when allocated, freed when dropped.
#[derive(Debug)]
pub struct Memory {
    backend: MemoryBackend,
}

#[derive(Debug)]
enum MemoryBackend {
    #[cfg(feature = "cuda")]
    Card(card::Memory),
    #[cfg(feature = "emulated")]
    Emulated(emulated::Memory),
}

/// Commands whose kernels are compiled and loaded, ready to run again and again.
#[derive(Debug)]
pub struct Sequence {
    backend: SequenceBackend,
}

#[derive(Debug)]
enum SequenceBackend {
    #[cfg(feature = "cuda")]
    Card(card::Sequence),
    #[cfg(feature = "emulated")]
    Emulated(emulated::Sequence),
}

impl Device {
    /// The card of that number. All devices of one number are the same card with the same stream, which is made ready once in the life of the program.
    ///
    /// # Errors
    /// [`Error`] says what is missing, among them [`Error::NotBuilt`] in a program built without the feature `cuda`.
    pub fn card(#[cfg_attr(not(feature = "cuda"), allow(unused_variables))] ordinal: usize) -> Result<Self> {
        #[cfg(feature = "cuda")]
        return Ok(Self { backend: Backend::Card(card::Card::shared(ordinal)?) });
        #[cfg(not(feature = "cuda"))]
        Err(Error::NotBuilt)
    }

    /// The processor in the place of a card: the same kernels, compiled by the system's C++ compiler (`CXX`, else `c++`). Where the environment variable
    /// `LIVI_KERNELS_DIR` names a folder, it also receives the source of every kernel that compiles, for checks with other compilers.
    ///
    /// # Errors
    /// [`Error::NotBuilt`] in a program built without the feature `emulated`.
    pub fn emulated() -> Result<Self> {
        #[cfg(feature = "emulated")]
        return Ok(Self { backend: Backend::Emulated });
        #[cfg(not(feature = "emulated"))]
        Err(Error::NotBuilt)
    }

    /// What the device calls itself.
    pub fn name(&self) -> &str {
        match self.backend {
            #[cfg(feature = "cuda")]
            Backend::Card(card) => card.name(),
            #[cfg(feature = "emulated")]
            Backend::Emulated => "emulated",
        }
    }

    /// Bytes of memory that are free, and all there are.
    ///
    /// # Errors
    /// [`Error::Driver`].
    pub fn memory(&self) -> Result<(usize, usize)> {
        match self.backend {
            #[cfg(feature = "cuda")]
            Backend::Card(card) => card.memory(),
            #[cfg(feature = "emulated")]
            Backend::Emulated => Ok((usize::MAX, usize::MAX)),
        }
    }

    /// Allocates zeroed memory, aligned to 256 bytes.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn allocate(&self, bytes: usize) -> Result<Memory> {
        match self.backend {
            #[cfg(feature = "cuda")]
            Backend::Card(card) => Ok(Memory { backend: MemoryBackend::Card(card::Memory::zeroed(card, bytes)?) }),
            #[cfg(feature = "emulated")]
            Backend::Emulated => Ok(Memory { backend: MemoryBackend::Emulated(emulated::Memory::zeroed(bytes)?) }),
        }
    }

    /// Copies bytes to the device. When it returns the slice may be changed again.
    ///
    /// # Errors
    /// [`Error::Driver`].
    ///
    /// # Safety
    /// The bytes at `to` belong to memory of this device that the caller may write.
    pub unsafe fn write(&self, to: u64, bytes: &[u8]) -> Result<()> {
        // SAFETY: the caller's promise.
        match self.backend {
            #[cfg(feature = "cuda")]
            Backend::Card(card) => unsafe { card.write(to, bytes) },
            #[cfg(feature = "emulated")]
            Backend::Emulated => {
                unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to as *mut u8, bytes.len()) };
                Ok(())
            }
        }
    }

    /// Copies bytes from the device once everything asked of it before is done.
    ///
    /// # Errors
    /// [`Error::Driver`], also for a kernel that failed before.
    ///
    /// # Safety
    /// The bytes at `from` belong to memory of this device.
    pub unsafe fn read(&self, from: u64, bytes: &mut [u8]) -> Result<()> {
        // SAFETY: the caller's promise.
        match self.backend {
            #[cfg(feature = "cuda")]
            Backend::Card(card) => unsafe { card.read(from, bytes) },
            #[cfg(feature = "emulated")]
            Backend::Emulated => {
                unsafe { std::ptr::copy_nonoverlapping(from as *const u8, bytes.as_mut_ptr(), bytes.len()) };
                Ok(())
            }
        }
    }

    /// Copies bytes on the device; returns before it is done.
    ///
    /// # Errors
    /// [`Error::Driver`].
    ///
    /// # Safety
    /// Both ranges belong to memory of this device and do not overlap; the caller may write those at `to`.
    pub unsafe fn copy(&self, from: u64, to: u64, bytes: usize) -> Result<()> {
        // SAFETY: the caller's promise.
        match self.backend {
            #[cfg(feature = "cuda")]
            Backend::Card(card) => unsafe { card.copy(from, to, bytes) },
            #[cfg(feature = "emulated")]
            Backend::Emulated => {
                unsafe { std::ptr::copy_nonoverlapping(from as *const u8, to as *mut u8, bytes) };
                Ok(())
            }
        }
    }

    /// The commands of a part of convolutions, with scratch memory from `scratch` (bytes to an address aligned to 256): by cuDNN where the device has it
    /// and [`Convolution::is_for_cudnn`], unless the environment variable `LIVI_CUDNN` is 0; else by our kernels. `None` as for
    /// [`Convolution::commands`].
    pub fn convolution(
        &self,
        convolution: &Convolution,
        scratch: &mut dyn FnMut(usize) -> u64,
    ) -> Option<Vec<Command>> {
        match self.backend {
            #[cfg(feature = "cuda")]
            Backend::Card(card) if convolution.is_for_cudnn() => match card.way(convolution) {
                Some(way) => Some(convolution.by_cudnn(way, scratch)),
                None => convolution.commands(scratch),
            },
            _ => convolution.commands(scratch),
        }
    }

    /// Compiles the kernels of commands, each of which waits for the one before, and makes all ready.
    ///
    /// # Errors
    /// As for [`Device::prepare_tasks`].
    pub fn prepare(&self, commands: Vec<Command>) -> Result<Sequence> {
        self.prepare_tasks(vec![Task { commands, after: Vec::new() }])
    }

    /// Compiles the kernels of tasks and makes all ready. Tasks that do not wait for each other run side by side on a card.
    ///
    /// # Errors
    /// [`Error::Compile`] with the compiler's messages; [`Error::Driver`] for launches and products that no card takes.
    pub fn prepare_tasks(&self, tasks: Vec<Task>) -> Result<Sequence> {
        tasks.iter().try_for_each(|task| check::check(&task.commands))?;
        match self.backend {
            #[cfg(feature = "cuda")]
            Backend::Card(card) => Ok(Sequence { backend: SequenceBackend::Card(card::Sequence::new(card, tasks)?) }),
            #[cfg(feature = "emulated")]
            Backend::Emulated => Ok(Sequence { backend: SequenceBackend::Emulated(emulated::prepare(tasks)?) }),
        }
    }

    /// Runs tasks; returns before they are done. From the second run on, a card replays them as one graph.
    ///
    /// # Errors
    /// [`Error::Driver`].
    ///
    /// # Safety
    /// All addresses in the commands are of memory that lives, belongs to this device and is as long as the commands need.
    pub unsafe fn run(&self, sequence: &mut Sequence) -> Result<()> {
        // SAFETY: the caller's promise.
        match (&self.backend, &mut sequence.backend) {
            #[cfg(feature = "cuda")]
            (Backend::Card(card), SequenceBackend::Card(sequence)) if sequence.is_of(card) => unsafe { sequence.run() },
            #[cfg(feature = "emulated")]
            (Backend::Emulated, SequenceBackend::Emulated(sequence)) => unsafe { sequence.run().map(drop) },
            #[allow(unreachable_patterns)]
            _ => Err(Error::Driver("the commands were prepared for another device".into())),
        }
    }

    /// Runs all commands one after another and waits; the seconds each took, by the device's own clock.
    ///
    /// # Errors
    /// [`Error::Driver`].
    ///
    /// # Safety
    /// As for [`Device::run`].
    pub unsafe fn profile(&self, sequence: &mut Sequence) -> Result<Vec<f64>> {
        // SAFETY: the caller's promise.
        match (&self.backend, &mut sequence.backend) {
            #[cfg(feature = "cuda")]
            (Backend::Card(card), SequenceBackend::Card(sequence)) if sequence.is_of(card) => unsafe {
                sequence.profile()
            },
            #[cfg(feature = "emulated")]
            (Backend::Emulated, SequenceBackend::Emulated(sequence)) => unsafe { sequence.run() },
            #[allow(unreachable_patterns)]
            _ => Err(Error::Driver("the commands were prepared for another device".into())),
        }
    }

    /// Waits until everything asked is done.
    ///
    /// # Errors
    /// [`Error::Driver`] for what failed.
    pub fn synchronize(&self) -> Result<()> {
        match self.backend {
            #[cfg(feature = "cuda")]
            Backend::Card(card) => card.synchronize(),
            #[cfg(feature = "emulated")]
            Backend::Emulated => Ok(()),
        }
    }
}

impl Sequence {
    /// Whether the next run replays a graph.
    pub fn is_graph(&self) -> bool {
        match self.backend {
            #[cfg(feature = "cuda")]
            SequenceBackend::Card(ref sequence) => sequence.is_graph(),
            #[cfg(feature = "emulated")]
            SequenceBackend::Emulated(_) => false,
        }
    }

    /// Why a card runs the commands one by one though they are enough for a graph: what it answered when they were captured.
    pub fn refusal(&self) -> Option<&Error> {
        match self.backend {
            #[cfg(feature = "cuda")]
            SequenceBackend::Card(ref sequence) => sequence.refusal(),
            #[cfg(feature = "emulated")]
            SequenceBackend::Emulated(_) => None,
        }
    }
}

impl Memory {
    /// First byte, on the device.
    pub fn address(&self) -> u64 {
        match self.backend {
            #[cfg(feature = "cuda")]
            MemoryBackend::Card(ref memory) => memory.address(),
            #[cfg(feature = "emulated")]
            MemoryBackend::Emulated(ref memory) => memory.address(),
        }
    }

    /// Bytes asked for.
    pub fn bytes(&self) -> usize {
        match self.backend {
            #[cfg(feature = "cuda")]
            MemoryBackend::Card(ref memory) => memory.bytes(),
            #[cfg(feature = "emulated")]
            MemoryBackend::Emulated(ref memory) => memory.bytes(),
        }
    }
}
