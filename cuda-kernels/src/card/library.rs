//! Libraries that do not come with the driver: where they are looked for, and what to install.

use crate::{Error, device::Result};
use libloading::Library;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// A library of the CUDA toolkit.
#[derive(Debug)]
pub(crate) struct Needed {
    /// Its name.
    pub(crate) name: &'static str,
    /// Beginnings of the names of its files, those that the last one needs before it.
    files: &'static [&'static str],
    /// How to install it.
    pub(crate) advice: &'static str,
    /// Whether the loader finds it.
    present: fn() -> bool,
}

/// The compiler of kernels.
pub(crate) static NVRTC: Needed = Needed {
    name: "NVRTC (libnvrtc)",
    files: &["libnvrtc-builtins.so.", "libnvrtc.so."],
    advice: "install the CUDA toolkit 13, or `pip install nvidia-cuda-nvrtc==13.0.88` and put its folder nvidia/cu13/lib on LD_LIBRARY_PATH",
    // SAFETY: opens the library, which runs its initialisers, as in any program that links it.
    present: || unsafe { cudarc::nvrtc::sys::is_culib_present() },
};

/// Matrix products.
pub(crate) static CUBLAS: Needed = Needed {
    name: "cuBLAS (libcublas)",
    files: &["libcublasLt.so.", "libcublas.so."],
    advice: "install the CUDA toolkit 13, or `pip install nvidia-cublas==13.*` and put its folder nvidia/cu13/lib on LD_LIBRARY_PATH",
    // SAFETY: as above.
    present: || unsafe { cudarc::cublas::sys::is_culib_present() },
};

/// Convolutions on tensor cores. It finds its parts beside itself.
pub(crate) static CUDNN: Needed = Needed {
    name: "cuDNN (libcudnn)",
    files: &["libcudnn.so."],
    advice: "convolutions with --tf32 run in our own kernels; to have cuDNN's, `pip install nvidia-cudnn-cu13` and put its folder nvidia/cudnn/lib on LD_LIBRARY_PATH",
    present: super::convolution::present,
};

impl Needed {
    /// An error unless the library is there. It is asked of the loader first; then the usual folders of toolkits and of Python's packages are searched,
    /// and what they hold is opened, so that the loader finds it from then on.
    pub(crate) fn require(&'static self) -> Result<()> {
        static FOUND: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
        let mut found = super::locked(&FOUND);
        if found.contains(self.name) || (self.present)() || self.open() {
            found.insert(self.name);
            return Ok(());
        }
        Err(Error::NoLibrary { library: self.name, advice: self.advice })
    }

    /// Opens the files of the first folder that has them all.
    fn open(&self) -> bool {
        folders().iter().any(|folder| {
            let paths: Option<Vec<PathBuf>> = self.files.iter().map(|start| file(folder, start)).collect();
            let Some(paths) = paths else { return false };
            for path in paths {
                // SAFETY: as for `present`.
                match unsafe { Library::new(path) } {
                    // It stays open until the program ends.
                    Ok(library) => std::mem::forget(library),
                    Err(_) => return false,
                }
            }
            (self.present)()
        })
    }
}

/// The file of a folder whose name begins so and has the shortest, that is the least specific, version.
fn file(folder: &Path, start: &str) -> Option<PathBuf> {
    let names = std::fs::read_dir(folder).ok()?.flatten().map(|entry| entry.file_name());
    let names = names.filter(|name| name.to_str().is_some_and(|name| name.starts_with(start)));
    names.min_by_key(|name| (name.len(), name.clone())).map(|name| folder.join(name))
}

/// Folders that toolkits and Python's packages are installed to, as far as they are there.
fn folders() -> Vec<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let mut folders = Vec::new();
    let toolkits = ["CUDA_HOME", "CUDA_PATH", "CUDA_ROOT"].into_iter().filter_map(set);
    for toolkit in toolkits.chain(["/usr/local/cuda", "/usr/local/cuda-13", "/opt/cuda"].map(PathBuf::from)) {
        folders.push(toolkit.join("lib64"));
    }
    for environment in ["VIRTUAL_ENV", "CONDA_PREFIX"].into_iter().filter_map(set) {
        let library = environment.join("lib");
        for entry in std::fs::read_dir(&library).into_iter().flatten().flatten() {
            if entry.file_name().to_str().is_some_and(|name| name.starts_with("python3")) {
                let packages = entry.path().join("site-packages/nvidia");
                folders.extend(["cu13/lib", "cudnn/lib"].map(|folder| packages.join(folder)));
            }
        }
        folders.push(library);
    }
    folders.retain(|folder| folder.is_dir());
    folders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_specific_version_of_a_file_is_chosen() {
        let folder = std::env::temp_dir().join(format!("livi-libraries-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        for name in ["libcublas.so.13.0.2.14", "libcublas.so.13", "libcublasLt.so.13", "libcublas.a"] {
            std::fs::write(folder.join(name), "").unwrap();
        }
        assert_eq!(file(&folder, "libcublas.so."), Some(folder.join("libcublas.so.13")));
        assert_eq!(file(&folder, "libcublasLt.so."), Some(folder.join("libcublasLt.so.13")));
        assert_eq!(file(&folder, "libnvrtc.so."), None);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
