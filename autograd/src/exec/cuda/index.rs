//! Selections by index, and the identity.

use super::{Fallible, Lowering};
use crate::exec::view::{Site, Window};
use crate::plan::step::View;
use crate::{DType, Result};
use cuda_kernels::{Array, IndexVector, Item, Status};

fn item(dtype: DType) -> Item {
    match dtype {
        DType::F32 => Item::F32,
        DType::F64 => Item::F64,
        DType::U32 => Item::U32,
    }
}

/// Checks a rank-1 index, whose entries must be below `length`.
fn vector(site: &Site<'_>, view: &View, length: usize, lowering: &mut Lowering) -> Result<(IndexVector, Status)> {
    let window = site.window(view)?;
    site.expect_dtype(&window, DType::U32, "u32")?;
    let [count] = site.rank::<1>(&window, "the index tensor")?;
    let index = IndexVector { address: window.pointer as u64, stride: window.strides[0], count };
    lowering.may_fail(Fallible::Index { index: window, length });
    Ok((index, Status { status: lowering.status, report: lowering.report() }))
}

fn contiguous(site: &Site<'_>, out: &View) -> Result<Window> {
    let window = site.output(out, |_| false)?;
    if window.is_contiguous() { Ok(window) } else { Err(site.error("the result is not contiguous".into())) }
}

fn operands(site: &Site<'_>, source: &View, out: &View) -> Result<(Window, Window)> {
    let source = site.window(source)?;
    let target = contiguous(site, out)?;
    site.expect_dtype(&target, source.dtype, "the operand's own type")?;
    if source.overlaps(&target) {
        return Err(site.error("the result lies on top of the operand".into()));
    }
    Ok((source, target))
}

fn array(window: &Window) -> Array {
    Array { address: window.pointer as u64, strides: [window.strides[0], window.strides[1], window.strides[2]] }
}

/// Lowers a gather.
pub(super) fn gather(site: &Site<'_>, x: &View, index: &View, out: &View, lowering: &mut Lowering) -> Result<()> {
    let (source, target) = operands(site, x, out)?;
    let [outer, entries, inner] = site.rank::<3>(&source, "the gathered tensor")?;
    let (index, status) = vector(site, index, entries, lowering)?;
    site.expect_shape(&target, &[outer, index.count, inner], "the result")?;
    let (out, shape) = (target.pointer as u64, [outer, entries, inner]);
    lowering.commands.extend(cuda_kernels::gather(item(source.dtype), array(&source), index, out, shape, status));
    Ok(())
}

/// Lowers a scatter.
pub(super) fn scatter_add(
    site: &Site<'_>,
    u: &View,
    index: &View,
    out: &View,
    lowering: &mut Lowering,
) -> Result<()> {
    let (source, target) = operands(site, u, out)?;
    let [outer, _, inner] = site.rank::<3>(&source, "the scattered tensor")?;
    let [_, entries, _] = site.rank::<3>(&target, "the result")?;
    let (index, status) = vector(site, index, entries, lowering)?;
    site.expect_shape(&source, &[outer, index.count, inner], "the scattered tensor")?;
    site.expect_shape(&target, &[outer, entries, inner], "the result")?;
    let (out, shape) = (target.pointer as u64, [outer, entries, inner]);
    lowering.commands.extend(cuda_kernels::scatter_add(item(source.dtype), array(&source), index, out, shape, status));
    Ok(())
}

/// Lowers indicator vectors.
pub(super) fn one_hot(site: &Site<'_>, index: &View, out: &View, lowering: &mut Lowering) -> Result<()> {
    let target = contiguous(site, out)?;
    let [_, classes] = site.rank::<2>(&target, "the result")?;
    let (index, status) = vector(site, index, classes, lowering)?;
    site.expect_shape(&target, &[index.count, classes], "the result")?;
    let out = target.pointer as u64;
    lowering.commands.extend(cuda_kernels::one_hot(item(target.dtype), index, out, classes, status));
    Ok(())
}

/// Lowers flat indices.
pub(super) fn index_offset(
    site: &Site<'_>,
    index: &View,
    stride: u32,
    out: &View,
    lowering: &mut Lowering,
) -> Result<()> {
    let index = site.window(index)?;
    let target = contiguous(site, out)?;
    for window in [&index, &target] {
        site.expect_dtype(window, DType::U32, "u32")?;
    }
    let [rows, columns] = site.rank::<2>(&index, "the index tensor")?;
    site.expect_shape(&target, &[rows, columns], "the result")?;
    if index.overlaps(&target) && !index.same(&target) {
        return Err(site.error("the result lies on top of the operand".into()));
    }
    let strides = [index.strides[0], index.strides[1]];
    let (from, to) = (index.pointer as u64, target.pointer as u64);
    lowering.commands.extend(cuda_kernels::index_offset(from, strides, to, [rows, columns], stride));
    Ok(())
}

/// Lowers the identity matrix.
pub(super) fn identity(site: &Site<'_>, out: &View, lowering: &mut Lowering) -> Result<()> {
    let target = contiguous(site, out)?;
    let [n, _] = site.rank::<2>(&target, "the identity")?;
    site.expect_shape(&target, &[n, n], "the identity")?;
    lowering.commands.extend(cuda_kernels::identity(item(target.dtype), target.pointer as u64, n));
    Ok(())
}
