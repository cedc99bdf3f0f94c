//! Noise leaves.

use super::{Lowering, real};
use crate::Result;
use crate::exec::view::Site;
use crate::op::Distribution;
use crate::plan::step::View;
use cuda_kernels::{NoiseKind, noise};

/// Lowers a noise leaf.
pub(super) fn lower(
    site: &Site<'_>,
    distribution: Distribution,
    stream: u32,
    out: &View,
    lowering: &mut Lowering,
) -> Result<()> {
    let window = site.output(out, |_| false)?;
    if !window.is_contiguous() || !window.dtype.is_float() {
        return Err(site.error("noise must be contiguous floating-point numbers".into()));
    }
    let elements = window.elements();
    if elements > 1 << 33 {
        return Err(site.error(format!("{elements} random numbers in one leaf; the counter has room for 2^33")));
    }
    let kind = match distribution {
        Distribution::Normal => NoiseKind::Normal,
        Distribution::Uniform => NoiseKind::Uniform,
        Distribution::Rademacher => NoiseKind::Rademacher,
    };
    let out = window.pointer as u64;
    lowering.commands.extend(noise(kind, real(site, window.dtype)?, out, elements, stream, lowering.noise));
    Ok(())
}
