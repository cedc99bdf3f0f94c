//! Parts of convolutions.

use super::Lowering;
use crate::Result;
use crate::exec::view::Site;
use crate::plan::step::Convolution;

/// Lowers a part of a convolution.
pub(super) fn lower(site: &Site<'_>, _step: &Convolution, _lowering: &mut Lowering) -> Result<()> {
    Err(site.error("not on a GPU yet".into()))
}
