//! Loops: kernels generated from a loop's own code.

use super::Lowering;
use crate::Result;
use crate::exec::view::Site;
use crate::plan::step::Loop;

/// Lowers a loop.
pub(super) fn lower(site: &Site<'_>, _body: &Loop, _lowering: &mut Lowering) -> Result<()> {
    Err(site.error("not on a GPU yet".into()))
}
