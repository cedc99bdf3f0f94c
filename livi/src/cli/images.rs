//! Images as inputs of a trained network.

use crate::data::images::{Images, Part, load_part, tensors};
use crate::{Error, Result};
use std::path::Path;

/// Whether a path names images rather than a table: a folder or a safetensors file.
pub(super) fn are_images(path: &Path) -> bool {
    path.is_dir() || path.extension().is_some_and(|extension| extension == "safetensors")
}

/// The test images of a folder, or all of a safetensors file, of the shape that a network takes.
///
/// # Errors
/// Files that cannot be read; images of another shape, for the flag `flag`.
pub(super) fn read_images(path: &Path, shape: &[usize], flag: &str) -> Result<Images> {
    let images = if path.is_dir() { load_part(path, Part::Test)? } else { tensors::read(path)? };
    if images.shape() == *shape {
        return Ok(images);
    }
    let problem = format!("{}: images of {:?}, but the network takes {shape:?}", path.display(), images.shape());
    Err(Error::Argument { name: flag.into(), problem })
}
