//! Images as inputs of a trained network.

use crate::data::images::{Images, Part, load_part, tensors};
use crate::train::Saved;
use crate::{Error, Result};
use std::path::Path;

/// Whether a path names images rather than a table: a folder or a safetensors file.
pub(super) fn are_images(path: &Path) -> bool {
    path.is_dir() || path.extension().is_some_and(|extension| extension == "safetensors")
}

/// The test images of a folder, or all of a safetensors file, of the shape that a run was trained on. A network of flat inputs takes all that have as
/// many pixels where the configuration names no shape.
///
/// # Errors
/// Files that cannot be read; images of another shape, for the flag `flag`.
pub(super) fn read_images(path: &Path, saved: &Saved, flag: &str) -> Result<Images> {
    let images = if path.is_dir() { load_part(path, Part::Test)? } else { tensors::read_images(path)? };
    let (network, configured) = (saved.posterior.model.network.input(), saved.config.network.input.as_slice());
    let shape = if network.len() == 1 && !configured.is_empty() { configured } else { network };
    let found = images.shape();
    if found == *shape || [found.iter().product::<usize>()] == *shape {
        return Ok(images);
    }
    let problem = format!("{}: images of {:?}, but the network takes {shape:?}", path.display(), images.shape());
    Err(Error::Argument { name: flag.into(), problem })
}
