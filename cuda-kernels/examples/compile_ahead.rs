//! Compiles the kernels in a folder for cards of one architecture, so that programs on a machine with such a card need not do it:
//!
//! ```text
//! XDG_CACHE_HOME=cache cargo run --release -p cuda-kernels --features cuda --example compile_ahead -- FOLDER sm_90
//! ```
//!
//! FOLDER is what `LIVI_KERNELS_DIR` named while programs ran on the emulated device. Needs NVRTC.

use cuda_kernels::{Kernel, compile_ahead};
use std::error::Error;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [folder, architecture] = words.as_slice() else {
        return Err("expected a folder with kernels (*.cu) and an architecture such as sm_90".into());
    };
    let entries = std::fs::read_dir(folder).map_err(|error| format!("{folder}: {error}"))?;
    let paths: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    let sources: Vec<PathBuf> =
        paths.into_iter().filter(|path| path.extension().is_some_and(|end| end == "cu")).collect();
    let next = AtomicUsize::new(0);
    let work = || -> Result<(), String> {
        while let Some(path) = sources.get(next.fetch_add(1, Ordering::Relaxed)) {
            let named = |problem: &dyn std::fmt::Display| format!("{}: {problem}", path.display());
            let source = std::fs::read_to_string(path).map_err(|error| named(&error))?;
            let kernel = Kernel { source: source.into(), name: "all".into() };
            compile_ahead(&kernel, architecture).map_err(|error| named(&error))?;
        }
        Ok(())
    };
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().map_err(|_| "a thread that compiled panicked".to_string())?)
    })?;
    println!("compiled for {architecture}: {} sources", sources.len());
    Ok(())
}
