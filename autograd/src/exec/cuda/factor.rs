//! Cholesky factors and what is computed from them.

use super::Lowering;
use crate::Result;
use crate::exec::view::Site;
use crate::plan::step::View;

/// Lowers factorisations.
pub(super) fn cholesky(site: &Site<'_>, _a: &View, _factor: &View, _lowering: &mut Lowering) -> Result<()> {
    Err(site.error("not on a GPU yet".into()))
}

/// Lowers solutions.
pub(super) fn solve(site: &Site<'_>, _factor: &View, _b: &View, _out: &View, _lowering: &mut Lowering) -> Result<()> {
    Err(site.error("not on a GPU yet".into()))
}

/// Lowers inverses.
pub(super) fn inverse(site: &Site<'_>, _factor: &View, _out: &View, _lowering: &mut Lowering) -> Result<()> {
    Err(site.error("not on a GPU yet".into()))
}

/// Lowers log-determinants.
pub(super) fn log_det(site: &Site<'_>, _factor: &View, _out: &View, _lowering: &mut Lowering) -> Result<()> {
    Err(site.error("not on a GPU yet".into()))
}
