//! Batched matrix products with epilogues.
//!
//! The product goes to the library's (batched) matrix product, its operands as they lie wherever one of their axes has neighbours in memory; the
//! epilogue is a loop over the result.

use super::elementwise::lower_loop;
use super::{Lowering, real};
use crate::exec::arrange::{fewer, has_rank_3};
use crate::exec::view::{Site, Window};
use crate::op::Binary;
use crate::plan::step::{Epilogue, Instruction, Operand, Product, Reduction};
use crate::{DType, Result};
use cuda_kernels::{Command, Gemm, Matrix, Precision};

/// Products of a summed batch that are worth a launch each; longer batches are multiplied at once and summed afterwards.
const FEW: usize = 4;
/// Bytes that the products of a summed batch may take in scratch memory.
const PARTIAL_BYTES: usize = 1 << 28;

/// Lowers a product.
pub(super) fn lower(site: &Site<'_>, product: &Product, lowering: &mut Lowering) -> Result<()> {
    let dtype = product.out.dtype;
    let summed = product.out.strides.first() == Some(&0) && product.out.shape.first().is_some_and(|&batch| batch > 1);
    let (a, b) = (site.window(&product.a)?, site.window(&product.b)?);
    let out = site.output(&product.out, |axis| axis == 0 && summed)?;
    let [batch, m, k] = site.rank::<3>(&a, "the left operand")?;
    let [_, _, n] = site.rank::<3>(&b, "the right operand")?;
    site.expect_shape(&b, &[batch, k, n], "the right operand")?;
    site.expect_shape(&out, &[batch, m, n], "the product")?;
    real(site, dtype)?;
    for window in [&a, &b, &out] {
        site.expect_dtype(window, dtype, "the product's own type")?;
    }
    if out.overlaps(&a) || out.overlaps(&b) {
        return Err(site.error("the product lies on top of one of its operands".into()));
    }
    if batch * m * n == 0 {
        return Ok(());
    }
    multiply(site, product, (a, b, out.clone()), lowering)?;
    match &product.epilogue {
        None => Ok(()),
        Some(epilogue) => finish(site, epilogue, out, summed, lowering),
    }
}

/// The epilogue: a loop over the result.
fn finish(site: &Site<'_>, epilogue: &Epilogue, out: Window, summed: bool, lowering: &mut Lowering) -> Result<()> {
    let mut shape = out.shape.clone();
    if summed {
        shape[0] = 1;
    }
    let entry = |mut window: Window| -> Result<Window> {
        if summed && window.shape.len() == 3 {
            window.shape[0] = 1;
        }
        site.expect_shape(&window, &shape, "a view of the epilogue")?;
        Ok(window)
    };
    let dtype = out.dtype;
    let mut loads = vec![entry(out)?];
    for view in &epilogue.loads {
        loads.push(entry(site.window(view)?)?);
    }
    let mut stores = Vec::with_capacity(epilogue.stores.len());
    for (value, view) in &epilogue.stores {
        stores.push((*value, entry(site.output(view, |_| false)?)?, None));
    }
    lower_loop(site, dtype, &shape, &loads, &epilogue.code, &stores, lowering)
}

/// The product alone.
fn multiply(
    site: &Site<'_>,
    product: &Product,
    (a, b, out): (Window, Window, Window),
    lowering: &mut Lowering,
) -> Result<()> {
    let (batch, m, k, n) = (a.shape[0], a.shape[1], a.shape[2], b.shape[2]);
    let summed = batch > 1 && out.strides[0] == 0;
    let accumulate = product.accumulate;
    if k == 0 {
        let zero = (Operand::Constant(0), entries(out, 1, summed), None);
        if accumulate {
            return Ok(());
        }
        let shape = zero.1.shape.clone();
        return lower_loop(site, zero.1.dtype, &shape, &[], &[], &[zero], lowering);
    }
    // A batch that continues an axis of both its operands makes it longer.
    if summed && continues(&a, 2) && continues(&b, 1) {
        let (a, b) = (joined(a, 2), joined(b, 1));
        return single(site, a, b, entries(out, 1, true), accumulate, lowering);
    }
    if batch > 1 && !summed {
        if b.strides[0] == 0 && continues(&a, 1) && continues(&out, 1) {
            return single(site, joined(a, 1), entries(b, 1, true), joined(out, 1), accumulate, lowering);
        }
        if a.strides[0] == 0 && continues(&b, 2) && continues(&out, 2) {
            return single(site, entries(a, 1, true), joined(b, 2), joined(out, 2), accumulate, lowering);
        }
    }
    if has_rank_3(product)
        && let Some(fewer) = fewer(&Product { epilogue: None, ..product.clone() })
    {
        let windows = (site.window(&fewer.a)?, site.window(&fewer.b)?, site.window(&fewer.out)?);
        return multiply(site, &fewer, windows, lowering);
    }
    if !summed {
        return single(site, a, b, out, accumulate, lowering);
    }
    let bytes = batch * m * n * out.dtype.size();
    if batch <= FEW || bytes > PARTIAL_BYTES {
        for entry in 0..batch {
            let (a, b) = (entry_of(&a, entry), entry_of(&b, entry));
            single(site, a, b, entries(out.clone(), 1, true), accumulate || entry > 0, lowering)?;
        }
        return Ok(());
    }
    let partial = dense(lowering.scratch(bytes), &[batch, m, n], out.dtype);
    single(site, a, b, partial.clone(), false, lowering)?;
    let total = if accumulate {
        dense(lowering.scratch(bytes / batch), &[1, m, n], out.dtype)
    } else {
        entries(out.clone(), 1, true)
    };
    let mut repeated = total.clone();
    (repeated.shape[0], repeated.strides[0]) = (batch, 0);
    let sum = (Operand::Load(0), repeated, Some(Reduction::Sum));
    lower_loop(site, out.dtype, &[batch, m, n], &[partial], &[], &[sum], lowering)?;
    if accumulate { add(site, total, entries(out, 1, true), lowering) } else { Ok(()) }
}

/// out += x.
fn add(site: &Site<'_>, x: Window, out: Window, lowering: &mut Lowering) -> Result<()> {
    let code = [Instruction::Binary(Binary::Add, Operand::Load(0), Operand::Load(1))];
    let (shape, dtype) = (out.shape.clone(), out.dtype);
    let store = (Operand::Register(0), out.clone(), None);
    lower_loop(site, dtype, &shape, &[out, x], &code, &[store], lowering)
}

/// Products of a batch, each with a result of its own.
fn single(site: &Site<'_>, a: Window, b: Window, out: Window, accumulate: bool, lowering: &mut Lowering) -> Result<()> {
    let (batch, m, k, n) = (a.shape[0], a.shape[1], a.shape[2], b.shape[2]);
    let rows = matrix(&out);
    let c = match rows {
        Some(c) if c.leading > 0 => c,
        _ => {
            let result = dense(lowering.scratch(batch * m * n * out.dtype.size()), &[batch, m, n], out.dtype);
            single(site, a, b, result.clone(), false, lowering)?;
            if accumulate {
                return add(site, result, out, lowering);
            }
            return copy(site, result, out, lowering);
        }
    };
    let real = real(site, out.dtype)?;
    let (left, right) = (operand(site, a, lowering)?, operand(site, b, lowering)?);
    // The library writes row-major results: of a transposed one it is given the transposed product.
    let flip = |matrix: Matrix| Matrix { transposed: !matrix.transposed, ..matrix };
    let (m, n, a, b) = if c.transposed { (n, m, flip(right), flip(left)) } else { (m, n, left, right) };
    lowering.commands.push(Command::Gemm(Gemm {
        real,
        precision: if out.dtype == DType::F32 { lowering.precision } else { Precision::Full },
        batch,
        m,
        n,
        k,
        a,
        b,
        c: Matrix { transposed: false, ..c },
        alpha: 1.0,
        beta: if accumulate { 1.0 } else { 0.0 },
    }));
    Ok(())
}

/// An operand as the library takes it, copied to scratch memory if it must be.
fn operand(site: &Site<'_>, mut window: Window, lowering: &mut Lowering) -> Result<Matrix> {
    if let Some(matrix) = matrix(&window) {
        return Ok(matrix);
    }
    let shared = window.shape[0] == 1 || window.strides[0] == 0;
    if shared {
        window.shape[0] = 1;
    }
    let packed = dense(
        lowering.scratch(window.elements() * window.dtype.size()),
        &[window.shape[0], window.shape[1], window.shape[2]],
        window.dtype,
    );
    copy(site, window, packed.clone(), lowering)?;
    Ok(Matrix {
        address: packed.pointer as u64,
        batch_stride: if shared { 0 } else { packed.strides[0] },
        leading: packed.strides[1],
        transposed: false,
    })
}

/// A (batch, rows, columns) window as a batch of matrices, if one of the last two axes has neighbours and the other does not run into it.
fn matrix(window: &Window) -> Option<Matrix> {
    let [rows, columns] = [window.shape[1], window.shape[2]];
    let [down, across] = [window.strides[1], window.strides[2]];
    let (leading, transposed) = if (columns == 1 || across == 1) && (rows == 1 || down >= columns) {
        (if rows == 1 { columns } else { down }, false)
    } else if (rows == 1 || down == 1) && (columns == 1 || across >= rows) {
        (if columns == 1 { rows } else { across }, true)
    } else {
        return None;
    };
    let batch_stride = if window.shape[0] == 1 { 0 } else { window.strides[0] };
    Some(Matrix { address: window.pointer as u64, batch_stride, leading, transposed })
}

fn copy(site: &Site<'_>, from: Window, to: Window, lowering: &mut Lowering) -> Result<()> {
    let (shape, dtype) = (to.shape.clone(), to.dtype);
    lower_loop(site, dtype, &shape, &[from], &[], &[(Operand::Load(0), to, None)], lowering)
}

/// A contiguous window.
fn dense(address: u64, shape: &[usize; 3], dtype: DType) -> Window {
    let strides = vec![shape[1] * shape[2], shape[2], 1];
    Window { pointer: address as *mut u8, shape: shape.to_vec(), strides, dtype }
}

/// The first entries of a batch, if `cut`.
fn entries(mut window: Window, count: usize, cut: bool) -> Window {
    if cut {
        window.shape[0] = count;
    }
    window
}

/// One entry of a batch.
fn entry_of(window: &Window, entry: usize) -> Window {
    let pointer = window.pointer.wrapping_add(entry * window.strides[0] * window.dtype.size());
    Window { pointer, ..entries(window.clone(), 1, true) }
}

/// Whether the batch continues an axis: its entries lie where the axis would go on.
fn continues(window: &Window, axis: usize) -> bool {
    window.shape[axis] == 1 || window.strides[0] == window.shape[axis] * window.strides[axis]
}

/// The batch as the outer part of an axis that it continues.
fn joined(mut window: Window, axis: usize) -> Window {
    if window.shape[axis] == 1 {
        window.strides[axis] = window.strides[0];
    }
    window.shape[axis] *= window.shape[0];
    window.shape[0] = 1;
    window
}
