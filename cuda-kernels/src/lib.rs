//! The CUDA side of `autograd`: which GPUs there are, kernels, their typed launches, and the devices that run them.
//!
//! Knows nothing of tapes. The crate builds everywhere: without the feature `cuda`, and with it on machines that have no CUDA installed, because
//! the driver is looked for when a GPU is asked for and not before.
//!
//! ```
//! // A machine without a GPU gets an answer, not a panic.
//! match cuda_kernels::device_count() {
//!     Ok(count) => assert!(count > 0),
//!     Err(error) => assert!(!error.to_string().is_empty()),
//! }
//! ```

#[cfg(feature = "cuda")]
mod card;
mod check;
mod command;
pub mod convolution;
mod device;
#[cfg(feature = "emulated")]
mod emulated;
mod factor;
mod index;
#[cfg(any(test, feature = "cuda"))]
mod lanes;
mod math;
mod noise;
mod samples;
mod toolkit;

pub use command::{Argument, Command, Gemm, Kernel, Launch, Matrix, Precision, Real, Task};
pub use device::{Device, Memory, Sequence};
pub use factor::{Factors, Strided};
pub use index::{Array, IndexVector, Item, Status, gather, identity, index_offset, one_hot, scatter_add};
pub use math::{LOOPS, MATH, device_functions};
pub use noise::{NoiseKind, noise};
pub use samples::samples;
pub use toolkit::{Card, Library, Toolkit};

/// Why a device cannot be used, or what it failed at.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The program was built without GPU support.
    #[error("built without GPU support; build again with `--features cuda`")]
    NotBuilt,
    /// There is no NVIDIA driver.
    #[error("no NVIDIA driver was found (libcuda is missing); install the driver, version 580 or newer")]
    NoDriver,
    /// The driver answered with an error.
    #[error("the NVIDIA driver answered: {0}")]
    Driver(String),
    /// The driver sees no GPU.
    #[error("the NVIDIA driver sees no GPU; check `nvidia-smi` and CUDA_VISIBLE_DEVICES")]
    NoDevice,
    /// A library that came with no driver is missing.
    #[error("{library} was not found; {advice}")]
    NoLibrary {
        /// Its name.
        library: &'static str,
        /// How to install it.
        advice: &'static str,
    },
    /// The device has not that much memory left.
    #[error("the device has {free} bytes of memory free, {needed} are needed")]
    OutOfMemory {
        /// Bytes asked for.
        needed: usize,
        /// Bytes there are.
        free: usize,
    },
    /// A kernel that does not compile.
    #[error("a kernel does not compile: {0}")]
    Compile(String),
}

/// Number of GPUs, at least 1.
///
/// # Errors
/// [`Error`] says which part is missing; [`Error::NotBuilt`] without the feature `cuda`.
pub fn device_count() -> Result<usize, Error> {
    #[cfg(feature = "cuda")]
    return card::count();
    #[cfg(not(feature = "cuda"))]
    Err(Error::NotBuilt)
}

/// Bytes of each parameter of a kernel, as the emulated device compiles it; nothing where its source has no kernel of that name.
///
/// # Errors
/// [`Error::Compile`] with the compiler's messages, [`Error::NotBuilt`] without the feature `emulated`.
pub fn parameters(
    #[cfg_attr(not(feature = "emulated"), allow(unused_variables))] kernel: &Kernel,
) -> Result<Option<Vec<usize>>, Error> {
    #[cfg(feature = "emulated")]
    return emulated::parameters(kernel);
    #[cfg(not(feature = "emulated"))]
    Err(Error::NotBuilt)
}

/// A kernel in the portable assembly language of an architecture such as `compute_75`. Needs NVRTC but neither a driver nor a card.
///
/// # Errors
/// [`Error::Compile`] with the compiler's messages, [`Error::NoLibrary`] without NVRTC, [`Error::NotBuilt`] without the feature `cuda`.
pub fn ptx(
    #[cfg_attr(not(feature = "cuda"), allow(unused_variables))] kernel: &Kernel,
    #[cfg_attr(not(feature = "cuda"), allow(unused_variables))] architecture: &str,
) -> Result<String, Error> {
    #[cfg(feature = "cuda")]
    return card::ptx(&kernel.source, architecture);
    #[cfg(not(feature = "cuda"))]
    Err(Error::NotBuilt)
}

/// Compiles a kernel to machine code of an architecture such as `sm_90` and keeps it where the programs of such cards look for it: the folder
/// `livi/kernels` of the user's cache (`XDG_CACHE_HOME`). They find it if their NVRTC has the same version. Needs neither a driver nor a card.
///
/// # Errors
/// As for [`ptx`]; [`Error::Compile`] where it cannot be kept.
pub fn compile_ahead(
    #[cfg_attr(not(feature = "cuda"), allow(unused_variables))] kernel: &Kernel,
    #[cfg_attr(not(feature = "cuda"), allow(unused_variables))] architecture: &str,
) -> Result<(), Error> {
    #[cfg(feature = "cuda")]
    return card::ahead(&kernel.source, architecture);
    #[cfg(not(feature = "cuda"))]
    Err(Error::NotBuilt)
}
