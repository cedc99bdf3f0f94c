//! Every kernel compiles for every architecture that is supported, and none keeps registers in memory. Needs no card:
//!
//! ```text
//! python3 -m venv nvrtc && nvrtc/bin/pip install nvidia-cuda-nvrtc==13.0.88 nvidia-cuda-nvcc==13.0.88
//! export VIRTUAL_ENV=$PWD/nvrtc LIVI_PTXAS=$(find $PWD/nvrtc -name ptxas)
//! cargo test --release -p cuda-kernels --features cuda --test compile_check -- --include-ignored --nocapture
//! ```
//!
//! Where `LIVI_KERNELS_DIR` names a folder, the kernels in it are compiled as well: the emulated device writes there what it is given.
#![cfg(feature = "cuda")]

use cuda_kernels::Kernel;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Architectures, and for each the one whose text it takes: texts that ask for theirs tell 7.5 from what came after it.
const ARCHITECTURES: [(u32, u32); 3] = [(75, 75), (80, 80), (90, 80)];

/// One kernel of each of this crate's sources.
fn own() -> Vec<Kernel> {
    let mut seen = HashSet::new();
    cuda_kernels::samples().into_iter().filter(|kernel| seen.insert(kernel.source.clone())).collect()
}

/// The sources in a folder, named by their files.
fn kept(folder: &Path) -> Vec<Kernel> {
    let files = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths = files.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|end| end == "cu"));
    let kernels: Vec<Kernel> = paths
        .map(|path| Kernel {
            source: std::fs::read_to_string(&path).unwrap().into(),
            name: path.file_stem().unwrap_or_default().to_string_lossy().into(),
        })
        .collect();
    assert!(!kernels.is_empty(), "there are no kernels in {}", folder.display());
    kernels
}

/// Sources that are compiled together: a compiler takes longer to start than for a kernel.
const TOGETHER: usize = 64;

/// Kernels in lots that are compiled together, those that ask for their architecture apart from the others.
fn lots<'a>(kernels: &[&'a Kernel]) -> Vec<Vec<&'a Kernel>> {
    let (asking, others): (Vec<&Kernel>, Vec<&Kernel>) =
        kernels.iter().partition(|kernel| kernel.source.contains("__CUDA_ARCH__"));
    // The first are large.
    let lots = asking.chunks(TOGETHER / 8).chain(others.chunks(TOGETHER));
    lots.map(<[&Kernel]>::to_vec).collect()
}

/// One source of several, each in a namespace of its own that its messages name.
fn joined(kernels: &[&Kernel]) -> String {
    let mut text = String::new();
    for (number, kernel) in kernels.iter().enumerate() {
        let name: String = kernel.name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        let code = kernel.source.replace("extern \"C\"", "");
        text.push_str(&format!("namespace of_{name}_{number} {{\n{code}\n}}\n"));
        let definitions = kernel.source.lines().filter_map(|line| line.trim_start().strip_prefix("#define "));
        for definition in definitions {
            let end = definition.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(definition.len());
            text.push_str(&format!("#undef {}\n", &definition[..end]));
        }
    }
    text
}

/// What is wrong with kernels, if anything.
fn problems(ptxas: &Path, kernels: &[&Kernel], number: usize) -> Vec<String> {
    let asks = kernels.iter().any(|kernel| kernel.source.contains("__CUDA_ARCH__"));
    let together = Kernel { source: joined(kernels).into(), name: "joined".into() };
    let file = std::env::temp_dir().join(format!("livi-{}-{number}.ptx", std::process::id()));
    let (mut written, mut found) = (0, Vec::new());
    for (architecture, text) in ARCHITECTURES {
        let text = if asks { text } else { ARCHITECTURES[0].1 };
        if text != written {
            match cuda_kernels::ptx(&together, &format!("compute_{text}")) {
                Ok(ptx) => std::fs::write(&file, ptx).unwrap(),
                Err(error) => return vec![error.to_string()],
            }
            written = text;
        }
        let output = Command::new(ptxas)
            .args(["-v", &format!("-arch=sm_{architecture}"), "-o", "/dev/null"])
            .arg(&file)
            .output()
            .unwrap_or_else(|error| panic!("{} does not start: {error}", ptxas.display()));
        let messages = String::from_utf8_lossy(&output.stderr);
        let whole = output.status.success()
            && messages.matches("Function properties for").count() >= kernels.len()
            && messages.matches("Compiling entry function").count() >= kernels.len();
        let problems = if whole { spilling(&messages) } else { vec![messages.into_owned()] };
        found.extend(problems.into_iter().map(|problem| format!("sm_{architecture}: {problem}")));
    }
    std::fs::remove_file(&file).unwrap();
    found
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
    let (own, folder) = (own(), std::env::var_os("LIVI_KERNELS_DIR").filter(|folder| !folder.is_empty()));
    let kept = folder.map_or(Vec::new(), |folder| kept(Path::new(&folder)));
    // The emulated device was given this crate's own kernels too.
    let known: HashSet<&str> = own.iter().map(|kernel| &*kernel.source).collect();
    let others: Vec<&Kernel> = kept.iter().filter(|kernel| !known.contains(&*kernel.source)).collect();
    let kernels: Vec<&Kernel> = own.iter().chain(others.iter().copied()).collect();
    let lots = lots(&kernels);
    let (next, found) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(lot) = lots.get(number) else { break };
                    let problems = problems(&ptxas, lot, number);
                    found.lock().unwrap().extend(problems);
                }
            });
        }
    });
    let architectures = ARCHITECTURES.map(|(architecture, _)| architecture);
    println!("compiled: {} sources of this crate and {} others, for {architectures:?}", own.len(), others.len());
    let found = found.into_inner().unwrap();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn joined_sources_keep_their_names_and_definitions_apart() {
    let kernel = |t: &str| {
        let source = format!("#define T {t}\nextern \"C\" __global__ void f(T* x) {{ *x = 1; }}");
        Kernel { source: source.into(), name: "a-b".into() }
    };
    let (first, second) = (kernel("float"), kernel("double"));
    let text = joined(&[&first, &second]);
    assert!(text.contains("namespace of_a_b_0 {\n#define T float") && text.contains("namespace of_a_b_1 {"), "{text}");
    assert!(text.matches("#undef T\n").count() == 2 && !text.contains("extern"), "{text}");
}

#[test]
fn spills_are_noticed() {
    let messages = "ptxas info    : Function properties for good\n    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n\
        ptxas info    : Function properties for bad\n    16 bytes stack frame, 24 bytes spill stores, 8 bytes spill loads\n";
    assert_eq!(spilling(messages), ["bad: 16 bytes stack frame, 24 bytes spill stores, 8 bytes spill loads"]);
}

#[test]
fn a_kernel_without_nvrtc_is_an_error_and_with_it_is_text() {
    let kernel = |source: &str| Kernel { source: source.into(), name: "f".into() };
    match cuda_kernels::ptx(&kernel("extern \"C\" __global__ void f(u64* x) { *x = 1; }"), "compute_75") {
        Ok(text) => assert!(text.contains(".entry f(") && text.contains(".target sm_75")),
        Err(error) => assert!(matches!(error, cuda_kernels::Error::NoLibrary { .. }), "{error}"),
    }
    let error = cuda_kernels::ptx(&kernel("nonsense"), "compute_75").unwrap_err().to_string();
    assert!(error.contains("nonsense") || error.contains("NVRTC"), "{error}");
}
