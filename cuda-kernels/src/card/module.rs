//! Compiled sources, loaded to a card, and their functions.

use super::compile::{self, Image, Target};
use super::{failed, locked};
use crate::{Argument, Error, Kernel, Launch, device::Result};
use cudarc::driver::{result, sys};
use std::collections::{HashMap, HashSet};
use std::ffi::CString;
use std::sync::{Arc, Mutex};

/// Dynamic shared memory that every kernel may have without asking, in bytes.
const SHARED_BYTES: u32 = 48 * 1024;

/// Loaded sources.
#[derive(Debug)]
pub(super) struct Modules {
    target: Target,
    loaded: Mutex<HashMap<Arc<str>, Module>>,
}

#[derive(Debug)]
struct Module {
    handle: sys::CUmodule,
    functions: HashMap<Arc<str>, Function>,
}

#[derive(Debug)]
struct Function {
    handle: sys::CUfunction,
    /// Bytes of its parameters, where the driver tells.
    parameters: Option<Vec<usize>>,
    /// Dynamic shared memory that it may have, in bytes.
    shared_bytes: u32,
}

// SAFETY: the driver's handles may be used from any thread that has made the context current.
unsafe impl Send for Module {}

impl Modules {
    pub(super) fn new(target: Target) -> Self {
        Self { target, loaded: Mutex::default() }
    }

    /// Compiles and loads the kernels' sources that are not loaded yet, as many at a time as the machine has threads.
    pub(super) fn load(&self, kernels: &[&Kernel]) -> Result<()> {
        let mut seen = HashSet::new();
        let sources = kernels.iter().map(|kernel| &kernel.source).filter(|&source| seen.insert(source));
        let missing: Vec<&Arc<str>> = {
            let loaded = locked(&self.loaded);
            sources.filter(|&source| !loaded.contains_key(source)).collect()
        };
        let images = self.compile(&missing);
        let mut loaded = locked(&self.loaded);
        for (source, image) in missing.into_iter().zip(images) {
            let image = image?;
            // Another thread may have been faster.
            if !loaded.contains_key(source) {
                loaded.insert(source.clone(), self.module(source, image)?);
            }
        }
        Ok(())
    }

    fn compile(&self, sources: &[&Arc<str>]) -> Vec<Result<Image>> {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(sources.len());
        let target = &self.target;
        std::thread::scope(|scope| {
            // Every thread takes each `threads`-th source.
            let workers: Vec<_> = (0..threads)
                .map(|first| {
                    let part = sources.iter().skip(first).step_by(threads);
                    scope.spawn(move || part.map(|source| compile::compile(source, target)).collect::<Vec<_>>())
                })
                .collect();
            let mut parts: Vec<_> =
                workers.into_iter().map(|worker| worker.join().unwrap_or_default().into_iter()).collect();
            let lost = || Err(Error::Compile("a thread that compiled kernels panicked".into()));
            (0..sources.len()).map(|k| parts[k % threads].next().unwrap_or_else(lost)).collect()
        })
    }

    fn module(&self, source: &str, image: Image) -> Result<Module> {
        // SAFETY: a whole image that NVRTC made, or a file whose name says so; the driver checks it.
        let load = |image: &Image| unsafe { result::module::load_data(image.bytes.as_ptr().cast()) }.map_err(failed);
        let handle = match (load(&image), &image.kept) {
            // A spoiled file: away with it.
            (Err(_), Some(path)) if std::fs::remove_file(path).is_ok() => {
                load(&compile::compile(source, &self.target)?)?
            }
            (handle, _) => handle?,
        };
        Ok(Module { handle, functions: HashMap::new() })
    }

    /// The function of a launch whose source is loaded, allowed as much shared memory as the launch has.
    pub(super) fn function(&self, launch: &Launch) -> Result<sys::CUfunction> {
        let Kernel { source, name } = &launch.kernel;
        let wrong = |problem: String| Error::Driver(format!("kernel {name}: {problem}"));
        let mut loaded = locked(&self.loaded);
        let module = loaded.get_mut(source).ok_or_else(|| wrong("its source is not loaded".into()))?;
        if !module.functions.contains_key(name) {
            module.functions.insert(name.clone(), Function::find(module.handle, name)?);
        }
        let Some(function) = module.functions.get_mut(name) else {
            return Err(wrong("it is not in its source".into()));
        };
        let given: Vec<usize> = launch.arguments.iter().map(size).collect();
        if let Some(expected) = &function.parameters
            && given != *expected
        {
            return Err(wrong(format!("arguments of {given:?} bytes were given where {expected:?} are needed")));
        }
        if launch.shared_bytes > function.shared_bytes {
            let most = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            // SAFETY: the function is loaded.
            unsafe { result::function::set_function_attribute(function.handle, most, launch.shared_bytes as i32) }
                .map_err(|_| {
                    wrong(format!("the card has no {} bytes of shared memory a block", launch.shared_bytes))
                })?;
            function.shared_bytes = launch.shared_bytes;
        }
        Ok(function.handle)
    }
}

impl Function {
    fn find(module: sys::CUmodule, name: &str) -> Result<Self> {
        let unknown = || Error::Compile(format!("the source has no kernel `{name}`"));
        let symbol = CString::new(name).map_err(|_| unknown())?;
        // SAFETY: the module is loaded.
        let handle = unsafe { result::module::get_function(module, symbol) }.map_err(|error| match error.0 {
            sys::CUresult::CUDA_ERROR_NOT_FOUND => unknown(),
            _ => failed(error),
        })?;
        Ok(Self { handle, parameters: Self::parameters(handle), shared_bytes: SHARED_BYTES })
    }

    /// Bytes of the parameters of a function that was found.
    fn parameters(handle: sys::CUfunction) -> Option<Vec<usize>> {
        let mut parameters = Vec::new();
        loop {
            let (mut offset, mut bytes) = (0, 0);
            // SAFETY: the function lives; two numbers to be written.
            let found = unsafe { sys::cuFuncGetParamInfo(handle, parameters.len(), &mut offset, &mut bytes) };
            match found {
                sys::CUresult::CUDA_SUCCESS => parameters.push(bytes),
                // There is no parameter of that number.
                sys::CUresult::CUDA_ERROR_INVALID_VALUE => return Some(parameters),
                _ => return None,
            }
        }
    }
}

/// Bytes of an argument.
fn size(argument: &Argument) -> usize {
    match argument {
        Argument::U32(_) | Argument::F32(_) => 4,
        Argument::Pointer(_) | Argument::U64(_) | Argument::F64(_) => 8,
    }
}
