//! Kernels compiled by NVRTC, kept in a folder by the hash of their text.

use super::library::NVRTC;
use crate::{Error, device::Result};
use cudarc::nvrtc::{result, sys};
use std::ffi::CString;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

const PRELUDE: &str = include_str!("../../kernels/prelude.cu");
const OPTIONS: [&str; 2] = ["--std=c++17", "-default-device"];
/// Bytes of the stack of a thread that compiles: NVRTC goes deeper than threads usually may.
const STACK: usize = 16 << 20;
/// Characters of a compiler's messages that are passed on.
const MESSAGES: usize = 4000;

/// What sources are compiled to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Target {
    /// Machine code of an architecture such as `sm_90`.
    Cubin(String),
    /// The portable assembly language of an architecture such as `compute_90`, ended by a zero byte.
    Ptx(String),
}

impl Target {
    /// What a card of that compute capability (90 for 9.0) can run: machine code, or, where it is newer than NVRTC, what the driver finishes.
    pub(crate) fn of(capability: i32) -> Result<Self> {
        let known = architectures()?;
        if known.contains(&capability) {
            return Ok(Self::Cubin(format!("sm_{capability}")));
        }
        match known.iter().filter(|&&known| known < capability).max() {
            Some(nearest) => Ok(Self::Ptx(format!("compute_{nearest}"))),
            None => {
                let (major, minor) = version()?;
                let tens = |capability: i32| format!("{}.{}", capability / 10, capability % 10);
                let least = known.iter().min().copied().unwrap_or_default();
                Err(Error::Driver(format!(
                    "the card has compute capability {}, NVRTC {major}.{minor} compiles for {} and newer",
                    tens(capability),
                    tens(least)
                )))
            }
        }
    }

    fn architecture(&self) -> &str {
        match self {
            Self::Cubin(name) | Self::Ptx(name) => name,
        }
    }
}

/// A compiled source.
#[derive(Debug)]
pub(crate) struct Image {
    /// What the driver loads.
    pub(crate) bytes: Vec<u8>,
    /// Where an earlier run had put it.
    pub(crate) kept: Option<PathBuf>,
}

/// NVRTC's version.
pub(crate) fn version() -> Result<(i32, i32)> {
    static VERSION: OnceLock<(i32, i32)> = OnceLock::new();
    NVRTC.require()?;
    if let Some(&version) = VERSION.get() {
        return Ok(version);
    }
    let (mut major, mut minor) = (0, 0);
    // SAFETY: two integers to be written.
    unsafe { sys::nvrtcVersion(&mut major, &mut minor).result() }.map_err(failed)?;
    Ok(*VERSION.get_or_init(|| (major, minor)))
}

/// Compute capabilities that NVRTC compiles for, 90 for 9.0.
fn architectures() -> Result<Vec<i32>> {
    NVRTC.require()?;
    let mut count = 0;
    // SAFETY: an integer to be written, then as many as it says.
    unsafe {
        sys::nvrtcGetNumSupportedArchs(&mut count).result().map_err(failed)?;
        let mut known = vec![0; usize::try_from(count).unwrap_or_default()];
        sys::nvrtcGetSupportedArchs(known.as_mut_ptr()).result().map_err(failed)?;
        Ok(known)
    }
}

fn failed(error: result::NvrtcError) -> Error {
    Error::Compile(format!("NVRTC answered {error:?}"))
}

/// Compiles a source, or finds what an earlier run compiled.
pub(crate) fn compile(source: &str, target: &Target) -> Result<Image> {
    let text = whole(source);
    let path = place(&text, target)?;
    if let Some(path) = &path
        && let Ok(bytes) = std::fs::read(path)
    {
        return Ok(Image { bytes, kept: Some(path.clone()) });
    }
    let bytes = translate(&text, target)?;
    if let Some(path) = path {
        // Kernels are compiled again next time where they cannot be kept.
        let _ = keep(&path, &bytes);
    }
    Ok(Image { bytes, kept: None })
}

/// Compiles a source to machine code of an architecture such as `sm_90`, for later runs to find.
pub(crate) fn ahead(source: &str, architecture: &str) -> Result<()> {
    let (text, target) = (whole(source), Target::Cubin(architecture.into()));
    let Some(path) = place(&text, &target)? else {
        return Err(Error::Compile("there is no folder to keep a compiled kernel in".into()));
    };
    if path.is_file() {
        return Ok(());
    }
    keep(&path, &translate(&text, &target)?).map_err(|error| Error::Compile(format!("{}: {error}", path.display())))
}

/// Compiles a source for an architecture such as `compute_75` to the portable assembly language.
pub(crate) fn ptx(source: &str, architecture: &str) -> Result<String> {
    let mut bytes = translate(&whole(source), &Target::Ptx(architecture.into()))?;
    bytes.pop();
    String::from_utf8(bytes).map_err(|_| Error::Compile("NVRTC answered what is no text".into()))
}

/// A source with what all have in common.
fn whole(source: &str) -> String {
    format!("{PRELUDE}\n{source}")
}

/// Where a whole text is kept once it is compiled.
fn place(text: &str, target: &Target) -> Result<Option<PathBuf>> {
    let mut hasher = DefaultHasher::new();
    (version()?, target, OPTIONS, text).hash(&mut hasher);
    let name = format!("{}-{:016x}-{}", target.architecture(), hasher.finish(), text.len());
    Ok(folder().map(|folder| folder.join(name)))
}

/// Where compiled kernels are kept.
fn folder() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    let folder = cache.unwrap_or_else(std::env::temp_dir).join("livi").join("kernels");
    std::fs::create_dir_all(&folder).ok()?;
    Some(folder)
}

/// Writes a file whole or not at all.
fn keep(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let thread: String = format!("{:?}", std::thread::current().id()).chars().filter(char::is_ascii_digit).collect();
    let partial = path.with_extension(format!("{}-{thread}.part", std::process::id()));
    let written = std::fs::write(&partial, bytes).and_then(|()| std::fs::rename(&partial, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&partial);
    }
    written
}

struct Program(sys::nvrtcProgram);

impl Drop for Program {
    fn drop(&mut self) {
        // SAFETY: made by `create_program` and not destroyed before. There is nobody to tell of a failure.
        let _ = unsafe { result::destroy_program(self.0) };
    }
}

/// Compiles a whole text, on a thread of its own.
fn translate(text: &str, target: &Target) -> Result<Vec<u8>> {
    std::thread::scope(|scope| {
        let worker = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, || run(text, target));
        let worker =
            worker.map_err(|error| Error::Compile(format!("a thread that compiles does not start: {error}")))?;
        worker.join().unwrap_or_else(|_| Err(Error::Compile("a thread that compiled a kernel panicked".into())))
    })
}

fn run(text: &str, target: &Target) -> Result<Vec<u8>> {
    NVRTC.require()?;
    let text = CString::new(text).map_err(|_| Error::Compile("the source contains a zero byte".into()))?;
    let program = Program(result::create_program(&text, Some(c"kernel.cu")).map_err(failed)?);
    let mut options = vec![format!("--gpu-architecture={}", target.architecture())];
    options.extend(OPTIONS.map(String::from));
    // SAFETY: the program lives until the end of this function, and its text as long.
    unsafe {
        if let Err(error) = result::compile_program(program.0, &options) {
            let log = result::get_program_log(program.0).map_err(failed)?;
            let log: Vec<u8> = log.into_iter().map(|c| c as u8).take_while(|&c| c != 0).collect();
            let log = String::from_utf8_lossy(&log).trim().chars().take(MESSAGES).collect::<String>();
            return Err(if log.is_empty() { failed(error) } else { Error::Compile(log) });
        }
        match target {
            // Its zero byte is counted.
            Target::Ptx(_) => Ok(result::get_ptx(program.0).map_err(failed)?.into_iter().map(|c| c as u8).collect()),
            Target::Cubin(_) => {
                let mut bytes = 0;
                sys::nvrtcGetCUBINSize(program.0, &mut bytes).result().map_err(failed)?;
                let mut cubin = vec![0_u8; bytes];
                sys::nvrtcGetCUBIN(program.0, cubin.as_mut_ptr().cast()).result().map_err(failed)?;
                Ok(cubin)
            }
        }
    }
}
