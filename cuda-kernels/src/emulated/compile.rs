//! Kernels compiled by the system's C++ compiler: the new sources of a sequence together, in a library that is kept by the hash of each of them.

use crate::{Error, Kernel, device::Result};
use libloading::Library;
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::ffi::{CStr, c_char};
use std::fmt::Write;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

const SHIM: &str = include_str!("shim.h");
/// Compiled once and linked into every library: it takes the compiler longer than most kernels.
const RUN: &str = include_str!("run.cpp");
const PRELUDE: &str = include_str!("../../kernels/prelude.cu");
/// Libraries hide all but what is called from here: what two of them call by the same name stays two things.
const OPTIONS: [&str; 8] =
    ["-std=c++17", "-O1", "-fPIC", "-shared", "-nostdlib", "-fvisibility=hidden", "-w", "-ffp-contract=off"];
/// What the libraries need of the system.
const LIBRARIES: [&str; 3] = ["-lm", "-lc", "-lgcc"];
/// Sources that are worth a compiler of their own.
const PART: usize = 8;
/// Characters of a compiler's messages that are passed on.
const MESSAGES: usize = 4000;
/// Bytes of the stacks of a block's threads, as `run.cpp` has it.
const STACKS: usize = 1024 * 128 * 1024;
/// Names a folder that receives a copy of every source that compiles.
const COPIES: &str = "LIVI_KERNELS_DIR";

/// A compiled source.
#[derive(Debug)]
pub(super) struct Compiled {
    library: Arc<Shared>,
    /// What its kernels' names in the library begin with.
    key: String,
    /// Threads of a block wait for each other.
    fibrous: bool,
    /// There is dynamic shared memory.
    shared: bool,
}

/// A library of many sources. They share memory that stands for a block's, so one kernel runs at a time.
#[derive(Debug)]
struct Shared {
    library: Library,
    turn: Mutex<()>,
}

/// A file's device and number on it.
type File = (u64, u64);

/// A kernel, as the shim has it.
#[repr(C)]
struct Entry {
    call: unsafe extern "C" fn(*mut *mut u8),
    count: u32,
    sizes: *const u32,
}

/// A launch, as `run.cpp` has it.
#[repr(C)]
struct Launch {
    kernel: *const Entry,
    values: *mut *mut u8,
    grid: [u32; 3],
    block: [u32; 3],
    shared_bytes: u32,
    shared: bool,
    fibrous: bool,
    stacks: *mut u8,
    run: u32,
}

type Run = unsafe extern "C" fn(*const Launch) -> *const c_char;

thread_local! {
    /// Stacks of the blocks that this thread runs; the system gives memory to those that are used.
    static STACK: RefCell<Vec<u128>> = const { RefCell::new(Vec::new()) };
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Compiled {
    fn entry(&self, name: &str) -> Result<*const Entry> {
        // SAFETY: the shim defines what has such a name with this type.
        let entry = unsafe { self.library.library.get::<*const Entry>(format!("{}_{name}", self.key).as_bytes()) };
        entry.map(|entry| *entry).map_err(|_| Error::Compile(format!("the source has no kernel `{name}`")))
    }

    /// Bytes of each argument of a kernel.
    pub(super) fn sizes(&self, name: &str) -> Result<Vec<u32>> {
        let entry = self.entry(name)?;
        // SAFETY: the library lives, and has as many sizes as it says.
        Ok(unsafe { std::slice::from_raw_parts((*entry).sizes, (*entry).count as usize) }.to_vec())
    }

    /// Runs a kernel. `run` says which order blocks, warps and threads take their turns in: 0 the natural one, 1 its reverse, others shuffled ones.
    ///
    /// # Safety
    /// The arguments are as many and as long as `sizes` says, and what they point to is as the kernel needs.
    pub(super) unsafe fn launch(&self, launch: &crate::Launch, arguments: &mut [*mut u8], run: u32) -> Result<()> {
        let crate::Launch { grid, block, shared_bytes, .. } = *launch;
        let name = &launch.kernel.name;
        let (kernel, values) = (self.entry(name)?, arguments.as_mut_ptr());
        // SAFETY: `run.cpp` defines the function with this type.
        let start = unsafe { self.library.library.get::<Run>(b"emulated_launch") };
        let start = start.map_err(|_| Error::Compile("a library of kernels runs none".into()))?;
        let message = STACK.with_borrow_mut(|stacks| {
            if self.fibrous && stacks.is_empty() {
                *stacks = vec![0; STACKS / size_of::<u128>()];
            }
            let (shared, fibrous, stacks) = (self.shared, self.fibrous, stacks.as_mut_ptr().cast());
            let _turn = locked(&self.library.turn);
            // SAFETY: what the launch points to lives through the call; the rest is the caller's promise.
            unsafe { start(&Launch { kernel, values, grid, block, shared_bytes, shared, fibrous, stacks, run }) }
        });
        if message.is_null() {
            return Ok(());
        }
        // SAFETY: messages are constants of the library.
        let message = unsafe { CStr::from_ptr(message) };
        Err(Error::Driver(format!("kernel {name}: {}", message.to_string_lossy())))
    }
}

/// The compiled sources of kernels.
pub(super) fn compile(kernels: &[&Kernel]) -> Result<HashMap<Arc<str>, Arc<Compiled>>> {
    static KNOWN: LazyLock<Mutex<HashMap<Arc<str>, Arc<Compiled>>>> = LazyLock::new(Mutex::default);
    let mut seen = HashSet::new();
    let sources = kernels.iter().map(|kernel| &kernel.source).filter(|&source| seen.insert(source));
    let mut found = HashMap::new();
    let mut new = Vec::new();
    for source in sources {
        match locked(&KNOWN).get(source) {
            Some(compiled) => drop(found.insert(source.clone(), compiled.clone())),
            None => new.push(source),
        }
    }
    if new.is_empty() {
        return Ok(found);
    }
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".into());
    let folder = std::env::temp_dir().join("livi-emulated-kernels");
    std::fs::create_dir_all(&folder).map_err(failed("the folder for kernels cannot be made"))?;
    let keyed: Vec<(&Arc<str>, String)> = new.into_iter().map(|source| (source, key(&compiler, source))).collect();
    let missing: Vec<&(&Arc<str>, String)> =
        keyed.iter().filter(|(_, key)| !folder.join(format!("{key}.so")).exists()).collect();
    if !missing.is_empty() {
        let object = object(&compiler, &folder)?;
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        std::thread::scope(|scope| {
            let parts = missing.chunks(missing.len().div_ceil(threads).max(PART));
            let (compiler, object, folder) = (&compiler, &object, &folder);
            let workers: Vec<_> =
                parts.map(|part| scope.spawn(move || build(compiler, part, object, folder))).collect();
            let lost = |_| Err(Error::Compile("a thread that compiled kernels panicked".into()));
            workers.into_iter().try_for_each(|worker| worker.join().unwrap_or_else(lost))
        })?;
    }
    let copies = std::env::var_os(COPIES).filter(|value| !value.is_empty()).map(PathBuf::from);
    for (source, key) in keyed {
        let compiled = Arc::new(load(source, key, &folder)?);
        if let Some(folder) = &copies {
            copy(source, folder)?;
        }
        found.insert(source.clone(), compiled.clone());
        locked(&KNOWN).insert(source.clone(), compiled);
    }
    Ok(found)
}

fn failed(what: &str) -> impl Fn(std::io::Error) -> Error + '_ {
    move |error| Error::Compile(format!("{what}: {error}"))
}

/// The name of all that is made from a source.
fn key(compiler: &str, source: &str) -> String {
    named((compiler, OPTIONS, LIBRARIES, SHIM, RUN, PRELUDE, source), source.len())
}

fn named(value: impl Hash, length: usize) -> String {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    format!("kernel_{:016x}_{length}", hasher.finish())
}

/// A name that no other thread of any program takes.
fn unique(key: &str) -> String {
    let thread: String = format!("{:?}", std::thread::current().id()).chars().filter(char::is_ascii_digit).collect();
    format!("{key}-{}-{thread}", std::process::id())
}

/// Writes a source to the folder of copies, whole or not at all.
fn copy(source: &str, folder: &Path) -> Result<()> {
    let name = named(source, source.len());
    let path = folder.join(format!("{name}.cu"));
    if path.exists() {
        return Ok(());
    }
    let partial = folder.join(unique(&name));
    let written = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&partial, source));
    let written = written.and_then(|()| std::fs::rename(&partial, &path));
    written.map_err(failed("a copy of a kernel cannot be written"))
}

/// Runs the compiler on a text.
fn translate(compiler: &str, text: &str, source: &Path, arguments: &[&Path]) -> Result<()> {
    std::fs::write(source, text).map_err(failed("kernels cannot be written"))?;
    let output = Command::new(compiler).args(OPTIONS).arg(source).args(arguments).args(LIBRARIES).output();
    let _ = std::fs::remove_file(source);
    let output = output.map_err(failed(&format!("the C++ compiler `{compiler}` does not start")))?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::Compile(String::from_utf8_lossy(&output.stderr).chars().take(MESSAGES).collect()))
}

/// The object file that runs blocks and threads, which appears whole or not at all.
fn object(compiler: &str, folder: &Path) -> Result<PathBuf> {
    let name = key(compiler, "");
    let object = folder.join(format!("{name}.o"));
    if !object.exists() {
        let [source, partial] = ["cpp", "part"].map(|ending| folder.join(format!("{}.{ending}", unique(&name))));
        translate(compiler, &format!("{SHIM}\n{RUN}"), &source, &["-c".as_ref(), "-o".as_ref(), &partial])?;
        std::fs::rename(&partial, &object).map_err(failed("compiled kernels cannot be renamed"))?;
    }
    Ok(object)
}

/// Compiles sources into a library, which appears whole or not at all under the name of each of them.
fn build(compiler: &str, sources: &[&(&Arc<str>, String)], object: &Path, folder: &Path) -> Result<()> {
    let mut text = format!("{SHIM}\n{PRELUDE}\n");
    for (source, key) in sources {
        append(source, key, &mut text);
    }
    let Some(unique) = sources.first().map(|(_, key)| unique(key)) else { return Ok(()) };
    let [source, library] = ["cpp", "part"].map(|ending| folder.join(format!("{unique}.{ending}")));
    translate(compiler, &text, &source, &[object, "-o".as_ref(), &library])?;
    for (_, key) in sources {
        match std::fs::hard_link(&library, folder.join(format!("{key}.so"))) {
            // Another program was faster.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            linked => linked.map_err(failed("compiled kernels cannot be named"))?,
        }
    }
    std::fs::remove_file(&library).map_err(failed("compiled kernels cannot be renamed"))
}

/// Adds a source as C++, in a namespace of its own.
fn append(source: &str, key: &str, text: &mut String) {
    // Dynamic shared memory is an array of the shim.
    let code = source.replace("extern \"C\"", "static");
    let code = code.replace("extern __shared__ unsigned char shared_memory[]", "using ::shared_memory");
    let _ = writeln!(text, "namespace {key} {{\n{code}\n");
    for name in kernels(source) {
        let _ = writeln!(text, "EMULATE({key}, {name})");
    }
    let _ = writeln!(text, "}}");
    for name in macros(source) {
        let _ = writeln!(text, "#undef {name}");
    }
}

/// Opens the library that has a source.
fn load(source: &str, key: String, folder: &Path) -> Result<Compiled> {
    // Files of different names may be the same library, which then has the same memory.
    static OPEN: LazyLock<Mutex<HashMap<File, Arc<Shared>>>> = LazyLock::new(Mutex::default);
    let path = folder.join(format!("{key}.so"));
    let file = std::fs::metadata(&path).map_err(failed("a compiled kernel is gone"))?;
    let mut open = locked(&OPEN);
    let library = match open.get(&(file.dev(), file.ino())) {
        Some(library) => library.clone(),
        None => {
            // SAFETY: the library was compiled by `build` of this or another program, and has no initialisers.
            let library = unsafe { Library::new(&path) };
            let library = library.map_err(|error| Error::Compile(format!("compiled kernels do not load: {error}")))?;
            let library = Arc::new(Shared { library, turn: Mutex::default() });
            open.insert((file.dev(), file.ino()), library.clone());
            library
        }
    };
    let fibrous = ["__syncthreads", "__shfl", "__syncwarp"].iter().any(|name| source.contains(name));
    Ok(Compiled { library, key, fibrous, shared: source.contains("shared_memory") })
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
        names.push(name(rest).to_string());
    }
    names
}

/// Names of the macros that a source defines.
fn macros(source: &str) -> impl Iterator<Item = &str> {
    let directives = source.lines().filter_map(|line| line.trim_start().strip_prefix('#'));
    directives.filter_map(|directive| directive.trim_start().strip_prefix("define")).map(|rest| name(rest.trim_start()))
}

/// The name that a text begins with.
fn name(text: &str) -> &str {
    &text[..text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len())]
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

    #[test]
    fn macros_are_found_with_and_without_parameters() {
        let source = "#define T float\n  # define SQUARE(x) ((x) * (x))\n#undef T\nfloat define = 1;\n#define LAST";
        assert_eq!(macros(source).collect::<Vec<_>>(), ["T", "SQUARE", "LAST"]);
    }
}
