//! Cholesky factors and what is computed from them.

use super::{Fallible, Lowering, real};
use crate::Result;
use crate::exec::view::{Site, Window};
use crate::plan::step::View;
use cuda_kernels::{Factors, Status, Strided};

fn strided(window: &Window) -> Strided {
    let shared = if window.shape[0] == 1 { 0 } else { window.strides[0] };
    Strided { address: window.pointer as u64, strides: [shared, window.strides[1], window.strides[2]] }
}

/// A batch of square matrices, all of one type.
fn square(site: &Site<'_>, window: &Window, role: &str) -> Result<Factors> {
    let [batch, n, _] = site.rank::<3>(window, role)?;
    site.expect_shape(window, &[batch, n, n], role)?;
    Ok(Factors { real: real(site, window.dtype)?, batch, n })
}

fn contiguous(site: &Site<'_>, out: &View, shape: &[usize], like: &Window) -> Result<u64> {
    let window = site.output(out, |_| false)?;
    site.expect_shape(&window, shape, "the result")?;
    site.expect_dtype(&window, like.dtype, "the operand's own type")?;
    if !window.is_contiguous() {
        return Err(site.error("the result is not contiguous".into()));
    }
    if window.overlaps(like) {
        return Err(site.error("the result lies on top of the operand".into()));
    }
    Ok(window.pointer as u64)
}

/// Lowers factorisations.
pub(super) fn cholesky(site: &Site<'_>, a: &View, factor: &View, lowering: &mut Lowering) -> Result<()> {
    let a = site.window(a)?;
    let factors = square(site, &a, "the matrix")?;
    let target = contiguous(site, factor, &[factors.batch, factors.n, factors.n], &a)?;
    let status = Status { status: lowering.status, report: lowering.report() };
    lowering.may_fail(Fallible::Pivot { n: factors.n });
    lowering.commands.extend(factors.cholesky(strided(&a), target, status));
    Ok(())
}

/// Lowers solutions.
pub(super) fn solve(site: &Site<'_>, factor: &View, b: &View, out: &View, lowering: &mut Lowering) -> Result<()> {
    let (factor, b) = (site.window(factor)?, site.window(b)?);
    let factors = square(site, &factor, "the factor")?;
    let [_, _, columns] = site.rank::<3>(&b, "the right-hand side")?;
    let shape = [factors.batch, factors.n, columns];
    site.expect_shape(&b, &shape, "the right-hand side")?;
    site.expect_dtype(&b, factor.dtype, "the factor's own type")?;
    let target = contiguous(site, out, &shape, &factor)?;
    if site.window(out)?.overlaps(&b) && !site.window(out)?.same(&b) {
        return Err(site.error("the result lies on top of the right-hand side".into()));
    }
    let scratch = &mut |bytes| lowering.scratch(bytes);
    let commands = factors.solve(strided(&factor), strided(&b), target, columns, scratch);
    lowering.commands.extend(commands);
    Ok(())
}

/// Lowers inverses.
pub(super) fn inverse(site: &Site<'_>, factor: &View, out: &View, lowering: &mut Lowering) -> Result<()> {
    let factor = site.window(factor)?;
    let factors = square(site, &factor, "the factor")?;
    let target = contiguous(site, out, &[factors.batch, factors.n, factors.n], &factor)?;
    let commands = factors.inverse(strided(&factor), target, &mut |bytes| lowering.scratch(bytes));
    lowering.commands.extend(commands);
    Ok(())
}

/// Lowers log-determinants.
pub(super) fn log_det(site: &Site<'_>, factor: &View, out: &View, lowering: &mut Lowering) -> Result<()> {
    let factor = site.window(factor)?;
    let factors = square(site, &factor, "the factor")?;
    let target = site.output(out, |_| false)?;
    site.expect_shape(&target, &[factors.batch], "the result")?;
    site.expect_dtype(&target, factor.dtype, "the factor's own type")?;
    lowering.commands.extend(factors.log_det(strided(&factor), target.pointer as u64, target.strides[0]));
    Ok(())
}
