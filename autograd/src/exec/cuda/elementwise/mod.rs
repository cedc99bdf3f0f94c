//! Loops: kernels generated from a loop's own code.
//!
//! A kernel's text has shapes, strides and constants written into it, and takes only addresses as arguments: divisions are by constants, and equal
//! loops share a kernel. Each result is combined in an order that the shapes alone decide.

mod arrange;
mod body;
mod layout;
mod pass;
mod reduce;
mod scalar;
#[cfg(test)]
mod tests;
mod text;
mod tiles;

use super::Lowering;
use crate::exec::view::{Site, Window};
use crate::plan::step::{Instruction, Loop, Operand, Reduction};
use crate::{DType, Result};
use body::Body;
use cuda_kernels::{Argument, Command, Kernel, Launch};
use layout::Space;

/// Lowers a loop.
pub(super) fn lower(site: &Site<'_>, body: &Loop, lowering: &mut Lowering) -> Result<()> {
    let mut loads = Vec::with_capacity(body.loads.len());
    for view in &body.loads {
        let window = site.window(view)?;
        site.expect_shape(&window, &body.shape, "a load")?;
        loads.push(window);
    }
    if body.shape.contains(&0) {
        return Ok(());
    }
    let mut stores = Vec::with_capacity(body.stores.len());
    for store in &body.stores {
        let reduced = store.reduction.is_some();
        let window = site.output(&store.to, |axis| reduced && store.to.strides[axis] == 0)?;
        site.expect_shape(&window, &body.shape, "a store")?;
        stores.push((store.value, window, store.reduction));
    }
    lower_loop(site, body.dtype, &body.shape, &loads, &body.code, &stores, lowering)
}

/// Lowers a loop over checked windows: of type `dtype` over `shape`, which all windows have. Axes of a store that is reduced have stride 0 in it.
pub(crate) fn lower_loop(
    site: &Site<'_>,
    dtype: DType,
    shape: &[usize],
    loads: &[Window],
    code: &[Instruction],
    stores: &[(Operand, Window, Option<Reduction>)],
    lowering: &mut Lowering,
) -> Result<()> {
    let body = Body::new(site, dtype, shape, loads, code, stores)?;
    if shape.contains(&0) || stores.is_empty() {
        return Ok(());
    }
    let space = Space::new(&body);
    if body.combines() {
        return reduce::lower(site, &body, &space, lowering);
    }
    if let Some(zero) = zeros(&body, &space) {
        lowering.commands.push(zero);
        return Ok(());
    }
    match layout::crossing(&body, &space) {
        Some((across, turned)) if body.points() >= TURNED && turned.len() <= tiles::most_turned(&body) => {
            tiles::lower(site, &body, &space, (across, &turned), lowering)
        }
        _ => pass::lower(site, &body, &space, lowering),
    }
}

/// Points from which on loads that run across the stores are turned; fewer of them stay in caches.
const TURNED: usize = 1 << 14;

/// A fill of neighbouring elements with zeros.
fn zeros(body: &Body, space: &Space) -> Option<Command> {
    let [store] = body.stores.as_slice() else { return None };
    let neighbours = match space.kept.as_slice() {
        [] => true,
        [axis] => axis.strides == [1],
        _ => false,
    };
    let zero = store.value == Operand::Constant(0);
    let bytes = body.points() * store.window.dtype.size();
    (zero && neighbours).then(|| Command::Zero { to: store.window.pointer as u64, bytes })
}

/// Adds the launch of a kernel on so many blocks of so many threads.
fn launch<'a>(
    site: &Site<'_>,
    lowering: &mut Lowering,
    kernel: Kernel,
    (blocks, threads): (usize, usize),
    views: impl Iterator<Item = &'a Window>,
) -> Result<()> {
    let blocks = i32::try_from(blocks).map_err(|_| site.error(format!("{blocks} blocks are more than a GPU takes")))?;
    lowering.commands.push(Command::Launch(Launch {
        kernel,
        grid: [blocks.unsigned_abs(), 1, 1],
        block: [threads as u32, 1, 1],
        shared_bytes: 0,
        arguments: views.map(|window| Argument::Pointer(window.pointer as u64)).collect(),
    }));
    Ok(())
}
