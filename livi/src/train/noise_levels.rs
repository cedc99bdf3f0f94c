//! Noise levels in checkpoints: one for each target. Earlier versions had one for all targets, in tensors without that axis; those of a single target
//! are read all the same.

use crate::Result;
use crate::export::TensorFile;

/// Tensor of the logarithms of the noise standard deviations.
pub(super) const LOG_STD: &str = "noise.log_std";

/// Refuses a checkpoint with one noise level for several targets.
///
/// # Errors
/// [`crate::Error::File`] that says so.
pub(super) fn require_own(tensors: &TensorFile, levels: usize) -> Result<()> {
    if levels > 1 && tensors.names().any(|name| name == LOG_STD) && tensors.get(LOG_STD)?.shape.is_empty() {
        let problem = format!(
            "is one noise level for all {levels} targets, as earlier versions learned it; this version has one for each target: train anew in \
             another folder"
        );
        return Err(tensors.problem(format!("tensor `{LOG_STD}`"), problem));
    }
    Ok(())
}

/// The shape in which a tensor of this shape lies in a checkpoint: a single noise level of an earlier version has no axis for it.
///
/// # Errors
/// [`crate::Error::File`] when the tensor is missing.
pub(super) fn stored_shape<'a>(tensors: &TensorFile, name: &str, shape: &'a [usize]) -> Result<&'a [usize]> {
    let stored = &tensors.get(name)?.shape;
    match shape.split_last() {
        Some((1, others)) if stored == others => Ok(others),
        _ => Ok(shape),
    }
}

/// Double-precision numbers of shape (others, levels); none where there is no noise.
///
/// # Errors
/// Those of [`TensorFile::f64`].
pub(super) fn read(tensors: &TensorFile, name: &str, others: &[usize], levels: usize) -> Result<Vec<f64>> {
    if levels == 0 {
        return Ok(Vec::new());
    }
    let shape = [others, &[levels]].concat();
    Ok(tensors.f64(name, stored_shape(tensors, name, &shape)?)?.to_vec())
}
