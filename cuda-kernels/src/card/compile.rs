//! Kernels compiled by NVRTC, kept in a folder by the hash of their text.

use crate::{Error, device::Result};
use cudarc::nvrtc::{result, sys};
use std::ffi::CString;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;

const PRELUDE: &str = include_str!("../../kernels/prelude.cu");

/// What a source is compiled to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Machine code.
    Cubin,
    /// The portable assembly language.
    Ptx,
}

/// An error unless NVRTC is there.
pub(crate) fn require() -> Result<()> {
    // SAFETY: only asks whether the library can be opened.
    if unsafe { sys::is_culib_present() } {
        Ok(())
    } else {
        Err(Error::NoLibrary {
            library: "NVRTC (libnvrtc.so)",
            advice: "install the CUDA 13 toolkit, or `pip install nvidia-cuda-nvrtc==13.0.88` and put its lib folder on LD_LIBRARY_PATH",
        })
    }
}

/// NVRTC's version.
pub(crate) fn version() -> Result<(i32, i32)> {
    require()?;
    let (mut major, mut minor) = (0, 0);
    // SAFETY: two integers to be written.
    unsafe { sys::nvrtcVersion(&mut major, &mut minor).result() }.map_err(failed)?;
    Ok((major, minor))
}

fn failed(error: result::NvrtcError) -> Error {
    Error::Compile(format!("NVRTC answered {error:?}"))
}

/// Compiles a source for an architecture such as `sm_90`, or finds what an earlier run compiled.
pub(crate) fn compile(source: &str, architecture: &str, target: Target) -> Result<Vec<u8>> {
    let text = format!("{PRELUDE}\n{source}");
    let mut hasher = DefaultHasher::new();
    (version()?, architecture, target == Target::Cubin, &text).hash(&mut hasher);
    let cached = folder().map(|folder| folder.join(format!("{architecture}-{:016x}-{}", hasher.finish(), text.len())));
    if let Some(bytes) = cached.as_ref().and_then(|path| std::fs::read(path).ok()) {
        return Ok(bytes);
    }
    let bytes = run(&text, architecture, target)?;
    if let Some(path) = cached {
        // Kernels are compiled again next time where they cannot be kept.
        let _ = keep(&path, &bytes);
    }
    Ok(bytes)
}

fn folder() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")))?;
    let folder = base.join("livi").join("kernels");
    std::fs::create_dir_all(&folder).ok()?;
    Some(folder)
}

/// Writes a file whole or not at all.
fn keep(path: &PathBuf, bytes: &[u8]) -> std::io::Result<()> {
    let thread: String = format!("{:?}", std::thread::current().id()).chars().filter(char::is_ascii_digit).collect();
    let partial = path.with_extension(format!("{}-{thread}.part", std::process::id()));
    std::fs::write(&partial, bytes)?;
    std::fs::rename(&partial, path)
}

struct Program(sys::nvrtcProgram);

impl Drop for Program {
    fn drop(&mut self) {
        // SAFETY: made by `create_program` and not destroyed before. There is nobody to tell of a failure.
        let _ = unsafe { result::destroy_program(self.0) };
    }
}

fn run(text: &str, architecture: &str, target: Target) -> Result<Vec<u8>> {
    let text = CString::new(text).map_err(|_| Error::Compile("the source contains a zero byte".into()))?;
    let program = Program(result::create_program(&text, Some(c"kernel.cu")).map_err(failed)?);
    let options = [format!("--gpu-architecture={architecture}"), "--std=c++17".into(), "-default-device".into()];
    // SAFETY: the program lives until the end of this function, and its text as long.
    unsafe {
        if result::compile_program(program.0, &options).is_err() {
            let log = result::get_program_log(program.0).map_err(failed)?;
            let log: Vec<u8> = log.into_iter().map(|c| c as u8).take_while(|&c| c != 0).collect();
            return Err(Error::Compile(String::from_utf8_lossy(&log).chars().take(4000).collect()));
        }
        if target == Target::Ptx {
            let text = result::get_ptx(program.0).map_err(failed)?;
            return Ok(text.into_iter().map(|c| c as u8).take_while(|&c| c != 0).collect());
        }
        let mut bytes = 0;
        sys::nvrtcGetCUBINSize(program.0, &mut bytes).result().map_err(failed)?;
        let mut cubin = vec![0_u8; bytes];
        sys::nvrtcGetCUBIN(program.0, cubin.as_mut_ptr().cast()).result().map_err(failed)?;
        Ok(cubin)
    }
}
