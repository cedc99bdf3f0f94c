//! Kernels compiled by the system's C++ compiler into libraries, kept by the hash of their text.

use crate::{Error, Kernel, device::Result};
use libloading::Library;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

const SHIM: &str = include_str!("shim.h");
const PRELUDE: &str = include_str!("../../kernels/prelude.cu");
const OPTIONS: [&str; 6] = ["-std=c++17", "-O1", "-fPIC", "-shared", "-w", "-ffp-contract=off"];

/// A compiled source. Its kernels share memory that stands for a block's, so one runs at a time.
#[derive(Debug)]
pub(super) struct Compiled {
    library: Library,
    /// Kernels wait for each other: their threads take turns.
    fibrous: bool,
    turn: Mutex<()>,
}

type Sizes = unsafe extern "C" fn(*mut u32) -> u32;
type Launch = unsafe extern "C" fn(*mut *mut u8, *const u32, *const u32, bool) -> *const std::ffi::c_char;

impl Compiled {
    /// Bytes of each argument of a kernel.
    pub(super) fn sizes(&self, name: &str) -> Result<Vec<u32>> {
        // SAFETY: the shim defines the function with this type.
        let sizes = unsafe { self.library.get::<Sizes>(format!("emulated_sizes_{name}").as_bytes()) };
        let sizes = sizes.map_err(|_| Error::Compile(format!("the source has no kernel `{name}`")))?;
        let mut bytes = vec![0; 256];
        // SAFETY: no kernel has 256 arguments.
        let count = unsafe { sizes(bytes.as_mut_ptr()) };
        bytes.truncate(count as usize);
        Ok(bytes)
    }

    /// Runs a kernel.
    ///
    /// # Safety
    /// The arguments are as many and as long as `sizes` says, and what they point to is as the kernel needs.
    pub(super) unsafe fn launch(
        &self,
        name: &str,
        arguments: &mut [*mut u8],
        grid: [u32; 3],
        block: [u32; 3],
    ) -> Result<()> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the shim defines the function with this type; the rest is the caller's promise.
        let message = unsafe {
            let launch = self.library.get::<Launch>(format!("emulated_launch_{name}").as_bytes());
            let launch = launch.map_err(|_| Error::Compile(format!("the source has no kernel `{name}`")))?;
            launch(arguments.as_mut_ptr(), grid.as_ptr(), block.as_ptr(), self.fibrous)
        };
        if message.is_null() {
            return Ok(());
        }
        // SAFETY: messages are constants of the library.
        let message = unsafe { std::ffi::CStr::from_ptr(message) };
        Err(Error::Driver(format!("kernel {name}: {}", message.to_string_lossy())))
    }
}

/// The library of a kernel's source.
pub(super) fn compile(kernel: &Kernel) -> Result<Arc<Compiled>> {
    static KNOWN: OnceLock<Mutex<HashMap<Arc<str>, Arc<Compiled>>>> = OnceLock::new();
    let known = KNOWN.get_or_init(Mutex::default);
    if let Some(compiled) = known.lock().unwrap_or_else(PoisonError::into_inner).get(&kernel.source) {
        return Ok(compiled.clone());
    }
    let compiled = Arc::new(build(&kernel.source)?);
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(known.entry(kernel.source.clone()).or_insert(compiled).clone())
}

fn build(source: &str) -> Result<Compiled> {
    let mut text = format!("{SHIM}\n{PRELUDE}\n{}\n", source.replace("extern __shared__", "extern"));
    for name in kernels(source) {
        text.push_str(&format!("EMULATE({name})\n"));
    }
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".into());
    let mut hasher = DefaultHasher::new();
    (&compiler, OPTIONS, &text).hash(&mut hasher);
    let folder = std::env::temp_dir().join("livi-emulated-kernels");
    let stem = format!("{:016x}-{}", hasher.finish(), text.len());
    let library = folder.join(format!("{stem}.so"));
    if !library.exists() {
        write(&compiler, &text, &folder, &stem, &library)?;
    }
    // SAFETY: the library was compiled above, or by another run of the same program, and has no initialisers.
    let library = unsafe { Library::new(&library) };
    let library = library.map_err(|error| Error::Compile(format!("the compiled kernel does not load: {error}")))?;
    let fibrous = source.contains("__syncthreads") || source.contains("__shfl") || source.contains("__syncwarp");
    Ok(Compiled { library, fibrous, turn: Mutex::new(()) })
}

/// Compiles a text; the library appears whole or not at all.
fn write(compiler: &str, text: &str, folder: &PathBuf, stem: &str, library: &PathBuf) -> Result<()> {
    let failed = |what: &str, error: std::io::Error| Error::Compile(format!("{what}: {error}"));
    std::fs::create_dir_all(folder).map_err(|error| failed("the folder for kernels cannot be made", error))?;
    let unique = format!("{stem}-{}-{:?}", std::process::id(), std::thread::current().id());
    let unique: String = unique.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
    let source = folder.join(format!("{unique}.cpp"));
    let partial = folder.join(format!("{unique}.part"));
    std::fs::write(&source, text).map_err(|error| failed("a kernel's source cannot be written", error))?;
    let output = Command::new(compiler).args(OPTIONS).arg("-o").arg(&partial).arg(&source).output();
    let output = output.map_err(|error| failed(&format!("the C++ compiler `{compiler}` does not start"), error))?;
    if !output.status.success() {
        return Err(Error::Compile(String::from_utf8_lossy(&output.stderr).chars().take(4000).collect()));
    }
    let _ = std::fs::remove_file(&source);
    std::fs::rename(&partial, library).map_err(|error| failed("a compiled kernel cannot be moved", error))
}

/// Names of the functions that a source marks as kernels.
fn kernels(source: &str) -> Vec<String> {
    let mut names = Vec::new();
    for after in source.split("__global__").skip(1) {
        let mut rest = after.trim_start();
        loop {
            if let Some(after) = rest.strip_prefix("void") {
                rest = after.trim_start();
            } else if let Some(after) = rest.strip_prefix("__launch_bounds__") {
                rest = after.split_once(')').map_or("", |(_, rest)| rest).trim_start();
            } else {
                break;
            }
        }
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        names.push(rest[..end].to_string());
    }
    names
}
