//! Kernels compiled by the system's C++ compiler into libraries, kept by the hash of their text.

use crate::{Error, Kernel, device::Result};
use libloading::Library;
use std::cell::OnceCell;
use std::collections::{HashMap, HashSet};
use std::ffi::{CStr, c_char};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

const SHIM: &str = include_str!("shim.h");
const PRELUDE: &str = include_str!("../../kernels/prelude.cu");
/// Libraries hide all but what is called from here: what two of them call by the same name stays two things.
const OPTIONS: [&str; 7] = ["-std=c++17", "-O1", "-fPIC", "-shared", "-fvisibility=hidden", "-w", "-ffp-contract=off"];
/// Characters of a compiler's messages that are passed on.
const MESSAGES: usize = 4000;
/// Bytes of the stacks of a block's threads, as the shim has it.
const STACKS: usize = 1024 * 128 * 1024;

/// A compiled source. Its kernels share memory that stands for a block's, so one runs at a time.
#[derive(Debug)]
pub(super) struct Compiled {
    library: Library,
    /// Threads of a block wait for each other.
    fibrous: bool,
    /// There is dynamic shared memory.
    shared: bool,
    turn: Mutex<()>,
}

/// A launch, as the shim has it.
#[repr(C)]
struct Launch {
    values: *mut *mut u8,
    grid: [u32; 3],
    block: [u32; 3],
    shared_bytes: u32,
    shared: bool,
    fibrous: bool,
    stacks: *mut u8,
}

type Sizes = unsafe extern "C" fn(*mut u32) -> u32;
type Run = unsafe extern "C" fn(*const Launch) -> *const c_char;

thread_local! {
    /// Stacks of the blocks that this thread runs; the system gives memory to those that are used.
    static STACK: OnceCell<super::Memory> = const { OnceCell::new() };
}

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
    pub(super) unsafe fn launch(&self, launch: &crate::Launch, arguments: &mut [*mut u8]) -> Result<()> {
        let name = &launch.kernel.name;
        // SAFETY: the shim defines the function with this type.
        let run = unsafe { self.library.get::<Run>(format!("emulated_launch_{name}").as_bytes()) };
        let run = run.map_err(|_| Error::Compile(format!("the source has no kernel `{name}`")))?;
        let values = arguments.as_mut_ptr();
        let run_with = |stacks: *mut u8| {
            let (fibrous, shared) = (self.fibrous, self.shared);
            let crate::Launch { grid, block, shared_bytes, .. } = *launch;
            let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
            // SAFETY: what the launch points to lives through the call; the rest is the caller's promise.
            unsafe { run(&Launch { values, grid, block, shared_bytes, shared, fibrous, stacks }) }
        };
        let message = match self.fibrous {
            false => run_with(std::ptr::null_mut()),
            true => STACK.with(|stack| -> Result<*const c_char> {
                if stack.get().is_none() {
                    let _ = stack.set(super::Memory::zeroed(STACKS)?);
                }
                Ok(run_with(stack.get().map_or(std::ptr::null_mut(), |stack| stack.address() as *mut u8)))
            })?,
        };
        if message.is_null() {
            return Ok(());
        }
        // SAFETY: messages are constants of the library.
        let message = unsafe { CStr::from_ptr(message) };
        Err(Error::Driver(format!("kernel {name}: {}", message.to_string_lossy())))
    }
}

/// The libraries of kernels' sources, those that are new compiled as many at a time as the machine has threads.
pub(super) fn compile(kernels: &[&Kernel]) -> Result<HashMap<Arc<str>, Arc<Compiled>>> {
    static KNOWN: OnceLock<Mutex<HashMap<Arc<str>, Arc<Compiled>>>> = OnceLock::new();
    let known = || KNOWN.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    let mut found = HashMap::new();
    let mut seen = HashSet::new();
    let mut missing: Vec<&Arc<str>> = Vec::new();
    for source in kernels.iter().map(|kernel| &kernel.source).filter(|source| seen.insert(*source)) {
        match known().get(source) {
            Some(compiled) => drop(found.insert(source.clone(), compiled.clone())),
            None => missing.push(source),
        }
    }
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(missing.len());
    let built: Vec<Result<Vec<(Arc<str>, Compiled)>>> = std::thread::scope(|scope| {
        let build = |source: &Arc<str>| -> Result<(Arc<str>, Compiled)> { Ok((source.clone(), build(source)?)) };
        let workers: Vec<_> = (0..threads)
            .map(|first| {
                let part = missing.iter().copied().skip(first).step_by(threads);
                scope.spawn(move || part.map(build).collect())
            })
            .collect();
        let lost = |_| Err(Error::Compile("a thread that compiled kernels panicked".into()));
        workers.into_iter().map(|worker| worker.join().unwrap_or_else(lost)).collect()
    });
    for part in built {
        for (source, compiled) in part? {
            // Of two that were compiled at the same time, the first stays.
            let compiled = known().entry(source.clone()).or_insert_with(|| Arc::new(compiled)).clone();
            found.insert(source, compiled);
        }
    }
    Ok(found)
}

fn build(source: &str) -> Result<Compiled> {
    // Dynamic shared memory is an array of the shim.
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
    let fibrous = ["__syncthreads", "__shfl", "__syncwarp"].iter().any(|name| source.contains(name));
    Ok(Compiled { library, fibrous, shared: source.contains("shared_memory"), turn: Mutex::new(()) })
}

/// Compiles a text; the library appears whole or not at all.
fn write(compiler: &str, text: &str, folder: &Path, stem: &str, library: &Path) -> Result<()> {
    let failed = |what: &str, error: std::io::Error| Error::Compile(format!("{what}: {error}"));
    std::fs::create_dir_all(folder).map_err(|error| failed("the folder for kernels cannot be made", error))?;
    let thread: String = format!("{:?}", std::thread::current().id()).chars().filter(char::is_ascii_digit).collect();
    let unique = format!("{stem}-{}-{thread}", std::process::id());
    let source = folder.join(format!("{unique}.cpp"));
    let partial = folder.join(format!("{unique}.part"));
    std::fs::write(&source, text).map_err(|error| failed("a kernel's source cannot be written", error))?;
    let output = Command::new(compiler).args(OPTIONS).arg("-o").arg(&partial).arg(&source).output();
    let _ = std::fs::remove_file(&source);
    let output = output.map_err(|error| failed(&format!("the C++ compiler `{compiler}` does not start"), error))?;
    if !output.status.success() {
        return Err(Error::Compile(String::from_utf8_lossy(&output.stderr).chars().take(MESSAGES).collect()));
    }
    std::fs::rename(&partial, library).map_err(|error| failed("a compiled kernel cannot be moved", error))
}

/// Names of the functions that a source marks as kernels.
fn kernels(source: &str) -> Vec<String> {
    let lines = source.lines().map(|line| line.split_once("//").map_or(line, |(code, _)| code));
    let code = lines.collect::<Vec<_>>().join("\n");
    let mut names = Vec::new();
    for after in code.split("__global__").skip(1) {
        let mut rest = after.trim_start();
        loop {
            if let Some(after) = rest.strip_prefix("void") {
                rest = after.trim_start();
            } else if let Some(after) = rest.strip_prefix("__launch_bounds__") {
                rest = after_parentheses(after).trim_start();
            } else {
                break;
            }
        }
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        names.push(rest[..end].to_string());
    }
    names
}

/// What follows the first pair of parentheses.
fn after_parentheses(text: &str) -> &str {
    let mut depth = 0;
    for (place, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' if depth == 1 => return &text[place + 1..],
            ')' => depth -= 1,
            _ => {}
        }
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_found_by_their_mark() {
        let source = "// A __global__ void comment.\n\
            extern \"C\" __global__ void one(float* x) {}\n\
            extern \"C\" __global__ void __launch_bounds__(THREADS * (2 + 1), 2)\ntwo(float* x) {}\n\
            extern \"C\" __global__ __launch_bounds__(32) void NAME(int x) {}\n";
        assert_eq!(kernels(source), ["one", "two", "NAME"]);
    }
}
