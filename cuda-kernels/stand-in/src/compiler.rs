//! `libnvrtc`: an image is a source behind a mark, and its length.

use crate::machine;
use cuda_kernels::Kernel;
use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char, c_int};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

/// Compute capability of the card.
pub const CAPABILITY: c_int = 90;
const SUCCESS: c_int = 0;
const INVALID_INPUT: c_int = 3;
const INVALID_PROGRAM: c_int = 4;
const INVALID_OPTION: c_int = 5;
const COMPILATION: c_int = 6;
const MARK: &[u8; 8] = b"stand-in";
const PRELUDE: &str = include_str!("../../kernels/prelude.cu");

struct Program {
    source: Arc<str>,
    log: CString,
    image: Vec<u8>,
}

fn programs() -> MutexGuard<'static, HashMap<usize, Program>> {
    static PROGRAMS: LazyLock<Mutex<HashMap<usize, Program>>> = LazyLock::new(Mutex::default);
    PROGRAMS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The source that an image was made from.
///
/// # Safety
/// At least as many bytes can be read as an image's beginning says.
pub unsafe fn source_of(image: *const u8) -> Option<Arc<str>> {
    // SAFETY: the caller's promise.
    unsafe {
        let mark = std::slice::from_raw_parts(image, MARK.len());
        if mark != MARK {
            return None;
        }
        let length = image.add(MARK.len()).cast::<u64>().read_unaligned();
        let text = std::slice::from_raw_parts(image.add(MARK.len() + 8), length as usize);
        std::str::from_utf8(text).ok().map(Arc::from)
    }
}

fn with(program: usize, work: impl FnOnce(&mut Program) -> c_int) -> c_int {
    programs().get_mut(&program).map_or(INVALID_PROGRAM, work)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvrtcVersion(major: *mut c_int, minor: *mut c_int) -> c_int {
    // No NVRTC has that version, so that nothing that was compiled here is taken for its.
    // SAFETY: as for the real one.
    unsafe {
        major.write(13);
        minor.write(99);
    }
    SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvrtcGetNumSupportedArchs(count: *mut c_int) -> c_int {
    // SAFETY: as for the real one.
    unsafe { count.write(1) };
    SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvrtcGetSupportedArchs(capabilities: *mut c_int) -> c_int {
    // SAFETY: as for the real one.
    unsafe { capabilities.write(CAPABILITY) };
    SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvrtcCreateProgram(
    program: *mut usize,
    source: *const c_char,
    _name: *const c_char,
    header_count: c_int,
    _headers: *const *const c_char,
    _names: *const *const c_char,
) -> c_int {
    // SAFETY: as for the real one.
    let source = unsafe { CStr::from_ptr(source) }.to_str();
    // The emulated device puts the prelude in front of every source.
    let source = source.ok().and_then(|text| text.strip_prefix(PRELUDE)?.strip_prefix('\n'));
    let Some(source) = source.filter(|_| header_count == 0) else { return INVALID_INPUT };
    let handle = machine().handle();
    programs().insert(handle, Program { source: source.into(), log: CString::default(), image: Vec::new() });
    // SAFETY: as for the real one.
    unsafe { program.write(handle) };
    SUCCESS
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvrtcDestroyProgram(program: *mut usize) -> c_int {
    // SAFETY: as for the real one.
    let handle = unsafe { program.read() };
    programs().remove(&handle).map_or(INVALID_PROGRAM, |_| SUCCESS)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvrtcCompileProgram(program: usize, count: c_int, options: *const *const c_char) -> c_int {
    // SAFETY: as for the real one.
    let options: Vec<&CStr> = (0..count as usize).map(|k| unsafe { CStr::from_ptr(*options.add(k)) }).collect();
    let wanted = ["sm", "compute"].map(|kind| format!("--gpu-architecture={kind}_{CAPABILITY}"));
    if !options.iter().any(|option| wanted.iter().any(|wanted| option.to_bytes() == wanted.as_bytes())) {
        return INVALID_OPTION;
    }
    let Some(source) = programs().get(&program).map(|program| program.source.clone()) else { return INVALID_PROGRAM };
    // Other programs are compiled meanwhile.
    let compiled = cuda_kernels::parameters(&Kernel { source: source.clone(), name: "".into() });
    with(program, |program| match compiled {
        Ok(_) => {
            program.image = [&MARK[..], &(source.len() as u64).to_le_bytes(), source.as_bytes()].concat();
            SUCCESS
        }
        Err(error) => {
            program.log = CString::new(error.to_string()).unwrap_or_default();
            COMPILATION
        }
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvrtcGetProgramLogSize(program: usize, bytes: *mut usize) -> c_int {
    with(program, |program| {
        // SAFETY: as for the real one.
        unsafe { bytes.write(program.log.as_bytes_with_nul().len()) };
        SUCCESS
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvrtcGetProgramLog(program: usize, log: *mut c_char) -> c_int {
    with(program, |program| {
        // SAFETY: as for the real one.
        unsafe { log.copy_from_nonoverlapping(program.log.as_ptr(), program.log.as_bytes_with_nul().len()) };
        SUCCESS
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvrtcGetCUBINSize(program: usize, bytes: *mut usize) -> c_int {
    with(program, |program| {
        // SAFETY: as for the real one.
        unsafe { bytes.write(program.image.len()) };
        SUCCESS
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nvrtcGetCUBIN(program: usize, image: *mut u8) -> c_int {
    with(program, |program| {
        // SAFETY: as for the real one.
        unsafe { image.copy_from_nonoverlapping(program.image.as_ptr(), program.image.len()) };
        SUCCESS
    })
}
