//! Batched matrix products with epilogues.

use super::Lowering;
use crate::Result;
use crate::exec::view::Site;
use crate::plan::step::Product;

/// Lowers a product.
pub(super) fn lower(site: &Site<'_>, _product: &Product, _lowering: &mut Lowering) -> Result<()> {
    Err(site.error("not on a GPU yet".into()))
}
