//! Every kernel compiles for every architecture that is supported, and none keeps registers in memory. Needs no card:
//!
//! ```text
//! python3 -m venv nvrtc && nvrtc/bin/pip install nvidia-cuda-nvrtc==13.0.88 nvidia-cuda-nvcc==13.0.88
//! VIRTUAL_ENV=$PWD/nvrtc LIVI_PTXAS=$(find nvrtc -name ptxas) cargo test -p cuda-kernels --features cuda --test compile_check -- --include-ignored
//! ```
#![cfg(feature = "cuda")]

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;

const ARCHITECTURES: [u32; 3] = [75, 80, 90];

/// What the assembler says of a text, kernel by kernel.
fn assemble(ptxas: &Path, text: &str, architecture: u32, number: usize) -> String {
    let file = std::env::temp_dir().join(format!("livi-{}-{architecture}-{number}.ptx", std::process::id()));
    std::fs::write(&file, text).unwrap();
    let output = Command::new(ptxas)
        .args(["-v", &format!("-arch=sm_{architecture}"), "-o", "/dev/null"])
        .arg(&file)
        .output()
        .unwrap_or_else(|error| panic!("{} does not start: {error}", ptxas.display()));
    std::fs::remove_file(&file).unwrap();
    let messages = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{messages}");
    messages
}

/// Kernels that keep registers in memory, from messages such as `Function properties for NAME` with `0 bytes stack frame, 0 bytes spill stores, 0 bytes
/// spill loads` in the next line.
fn spilling(messages: &str) -> Vec<String> {
    let lines: Vec<&str> = messages.lines().collect();
    let pairs = lines.windows(2).filter(|pair| pair[0].contains("Function properties for"));
    pairs
        .filter(|pair| !pair[1].contains(" 0 bytes spill stores, 0 bytes spill loads"))
        .map(|pair| format!("{}: {}", pair[0].rsplit(' ').next().unwrap_or_default(), pair[1].trim()))
        .collect()
}

#[test]
#[ignore = "needs NVRTC, and ptxas at LIVI_PTXAS"]
fn all_kernels_compile_and_none_spills() {
    let ptxas = PathBuf::from(std::env::var_os("LIVI_PTXAS").expect("LIVI_PTXAS names the assembler"));
    let kernels = cuda_kernels::samples();
    let (mut sources, mut checked, mut problems) = (HashSet::new(), 0, Vec::new());
    for kernel in kernels.iter().filter(|kernel| sources.insert(kernel.source.clone())) {
        for architecture in ARCHITECTURES {
            let text = cuda_kernels::ptx(kernel, &format!("compute_{architecture}"))
                .unwrap_or_else(|error| panic!("kernel {} for sm_{architecture}: {error}", kernel.name));
            let messages = assemble(&ptxas, &text, architecture, checked);
            assert!(messages.contains("Function properties for"), "{messages}");
            problems.extend(spilling(&messages).into_iter().map(|problem| format!("sm_{architecture} {problem}")));
            checked += 1;
        }
    }
    println!("{} kernels, {checked} compilations", kernels.len());
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn spills_are_noticed() {
    let messages = "ptxas info    : Function properties for good\n    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n\
        ptxas info    : Function properties for bad\n    16 bytes stack frame, 24 bytes spill stores, 8 bytes spill loads\n";
    assert_eq!(spilling(messages), ["bad: 16 bytes stack frame, 24 bytes spill stores, 8 bytes spill loads"]);
}

#[test]
fn a_kernel_without_nvrtc_is_an_error_and_with_it_is_text() {
    let kernel = |source: &str| cuda_kernels::Kernel { source: source.into(), name: "f".into() };
    match cuda_kernels::ptx(&kernel("extern \"C\" __global__ void f(u64* x) { *x = 1; }"), "compute_75") {
        Ok(text) => assert!(text.contains(".entry f(") && text.contains(".target sm_75")),
        Err(error) => assert!(matches!(error, cuda_kernels::Error::NoLibrary { .. }), "{error}"),
    }
    let error = cuda_kernels::ptx(&kernel("nonsense"), "compute_75").unwrap_err().to_string();
    assert!(error.contains("nonsense") || error.contains("NVRTC"), "{error}");
}
