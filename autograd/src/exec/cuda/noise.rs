//! Noise leaves.

use super::Lowering;
use crate::Result;
use crate::exec::view::Site;
use crate::op::Distribution;
use crate::plan::step::View;

/// Lowers a noise leaf.
pub(super) fn lower(
    site: &Site<'_>,
    _distribution: Distribution,
    _stream: u32,
    _out: &View,
    _lowering: &mut Lowering,
) -> Result<()> {
    Err(site.error("not on a GPU yet".into()))
}
