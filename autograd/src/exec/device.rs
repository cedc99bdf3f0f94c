//! Where plans run.

/// Where plans run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Device {
    /// This computer's processor, with so many threads.
    Cpu {
        /// Threads, at least one.
        threads: usize,
    },
    /// An NVIDIA card (feature `cuda`).
    Cuda {
        /// Its number.
        ordinal: usize,
        /// Products and convolutions in single precision run on tensor cores, with operands rounded to the 10 bits of mantissa of TF32.
        tf32: bool,
    },
    /// The processor in the place of a card: the same kernels and commands, for tests on machines without one (feature `emulated`).
    Emulated,
}
