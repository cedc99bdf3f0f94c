//! Selections by index, and the identity.

use super::Lowering;
use crate::Result;
use crate::exec::view::Site;
use crate::plan::step::View;

/// Lowers a gather.
pub(super) fn gather(site: &Site<'_>, _x: &View, _index: &View, _out: &View, _lowering: &mut Lowering) -> Result<()> {
    Err(site.error("not on a GPU yet".into()))
}

/// Lowers a scatter.
pub(super) fn scatter_add(
    site: &Site<'_>,
    _u: &View,
    _index: &View,
    _out: &View,
    _lowering: &mut Lowering,
) -> Result<()> {
    Err(site.error("not on a GPU yet".into()))
}

/// Lowers indicator vectors.
pub(super) fn one_hot(site: &Site<'_>, _index: &View, _out: &View, _lowering: &mut Lowering) -> Result<()> {
    Err(site.error("not on a GPU yet".into()))
}

/// Lowers flat indices.
pub(super) fn index_offset(
    site: &Site<'_>,
    _index: &View,
    _stride: u32,
    _out: &View,
    _lowering: &mut Lowering,
) -> Result<()> {
    Err(site.error("not on a GPU yet".into()))
}

/// Lowers the identity matrix.
pub(super) fn identity(site: &Site<'_>, _out: &View, _lowering: &mut Lowering) -> Result<()> {
    Err(site.error("not on a GPU yet".into()))
}
