//! Batched matrix products with epilogues.

use super::elementwise::{Entry, LoopElement, LoopKernel, build};
use super::frame::{Frame, Kernel, Nothing};
use super::scalar::{Cast, Scalar};
use super::vector::Vector;
use crate::exec::arrange::{fewer, has_rank_3, transposed};
use crate::exec::view::{Site, Window};
use crate::plan::step::{Epilogue, Product, View};
use crate::{DType, Result};
use faer::linalg::matmul::{matmul, triangular};
use faer::{Accum, MatMut, MatRef, Par};
use std::ops::Range;

/// Floating-point operations in single precision of one task at least.
const TASK: usize = 1 << 20;
/// Rows of a block are a multiple of this.
const ROWS: usize = 16;
/// Rows of a block where small ones cost nothing: many blocks are shared out evenly.
const SMALL: usize = 64;
/// Elements of a right operand that packs in no time.
const SMALL_OPERAND: usize = 1 << 14;
/// Inner elements of a segment at least, and how many segments an inner axis is cut into at most.
const DEPTH: usize = 256;
const SEGMENTS: usize = 8;
/// Most elements of a result that is made from segments: each leaves one.
const CUT: usize = 1 << 18;
/// Bytes of a block of the result that an epilogue works on while it is in cache.
const BLOCK_BYTES: usize = 1 << 20;

/// A (batch, rows, columns) matrix in memory.
#[derive(Clone, Copy, Debug)]
struct Matrix<T> {
    pointer: *mut T,
    batch: usize,
    row: usize,
    column: usize,
}

impl<T> Matrix<T> {
    fn new(window: &Window) -> Self {
        Self {
            pointer: window.pointer.cast(),
            batch: window.strides[0],
            row: window.strides[1],
            column: window.strides[2],
        }
    }

    fn at(&self, batch: usize, row: usize, column: usize) -> *mut T {
        self.pointer.wrapping_add(batch * self.batch + row * self.row + column * self.column)
    }
}

/// Products, ready to run.
struct ProductKernel<T> {
    batch: usize,
    m: usize,
    k: usize,
    n: usize,
    a: Matrix<T>,
    b: Matrix<T>,
    out: Matrix<T>,
    /// All products are summed into one result.
    summed: bool,
    accumulate: bool,
    /// Both operands are one matrix and its transpose: only the lower triangle is computed.
    symmetric: bool,
    /// Rows of a block.
    rows: usize,
    /// Blocks; the last one has what is left.
    blocks: usize,
    /// Batch entries of a task.
    entries: usize,
    /// Inner elements of a segment: all, unless one small result of a long inner axis is made from partial ones.
    depth: usize,
    spread: bool,
    epilogue: Option<Box<Finish<T>>>,
}

/// The epilogue for a full block and for the last one.
struct Finish<T> {
    full: LoopKernel<T>,
    last: LoopKernel<T>,
}

// SAFETY: addresses in blocks that the machine owns; a run has exclusive access to the machine and its tasks write disjoint rows or batch entries.
unsafe impl<T: Send> Send for ProductKernel<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for ProductKernel<T> {}

/// Types that matrices have.
pub(crate) trait Field: LoopElement + Vector + faer::traits::ComplexField
where
    f32: Cast<Self>,
    f64: Cast<Self>,
    u32: Cast<Self>,
{
}
impl Field for f32 {}
impl Field for f64 {}

/// Compiles a product.
pub(crate) fn compile(site: &Site<'_>, product: &Product) -> Result<Box<dyn Kernel>> {
    match product.out.dtype {
        DType::F32 => typed::<f32>(site, product),
        DType::F64 => typed::<f64>(site, product),
        DType::U32 => Err(site.error("a product of integers".into())),
    }
}

fn typed<T: Field>(site: &Site<'_>, product: &Product) -> Result<Box<dyn Kernel>>
where
    f32: Cast<T>,
    f64: Cast<T>,
    u32: Cast<T>,
{
    let (a, b) = (site.window(&product.a)?, site.window(&product.b)?);
    let summed = product.out.strides.first() == Some(&0) && product.out.shape.first().is_some_and(|&batch| batch > 1);
    let out = site.output(&product.out, |axis| axis == 0 && summed)?;
    let [batch, m, k] = site.rank::<3>(&a, "the left operand")?;
    let [_, _, n] = site.rank::<3>(&b, "the right operand")?;
    site.expect_shape(&b, &[batch, k, n], "the right operand")?;
    site.expect_shape(&out, &[batch, m, n], "the product")?;
    for window in [&a, &b, &out] {
        site.expect_dtype(window, T::DTYPE, "the product's own type")?;
    }
    if out.overlaps(&a) || out.overlaps(&b) {
        return Err(site.error("the product lies on top of one of its operands".into()));
    }
    if batch * m * n == 0 {
        return Ok(Box::new(Nothing));
    }
    if let Some(fewer) = fewer(product) {
        return typed::<T>(site, &fewer);
    }
    let flops = 2 * m * n * k.max(1);
    // Double precision takes twice the time.
    let task = TASK / (size_of::<T>() / size_of::<f32>()).max(1);
    // Blocks are cut from rows. Best they are the longer side, and best their elements are neighbours in the result: then each block needs only its own
    // part of the operand that the product's library packs.
    let packs_anew = product.epilogue.is_none() && 2 * n >= m && out.strides[2] == 1 && out.strides[1] > 1;
    if (n > 2 * m || packs_anew) && flops >= 4 * task && has_rank_3(product) {
        return typed::<T>(site, &transposed(product));
    }
    let symmetric = m == n
        && m > 1
        && !product.accumulate
        && a.pointer == b.pointer
        && (batch == 1 || a.strides[0] == b.strides[0])
        && a.strides[1] == b.strides[2]
        && (k == 1 || a.strides[2] == b.strides[1]);

    let has_epilogue = product.epilogue.is_some();
    // A small result of a long inner axis: blocks of rows would each pack all of the right operand, segments of the axis pack their own part of both.
    let cut = batch == 1 && k >= 4 * m.max(n) && flops >= 8 * task && m * n <= CUT;
    // As many blocks as keep a few threads equally busy, of a batch together.
    let least = if summed { 4 } else { 4_usize.div_ceil(batch) };
    // Of a small right operand little is packed for each block, and of more of them a thread that comes late takes fewer.
    let long = if k * n <= SMALL_OPERAND { 128 } else { 512 };
    let few = if m / long > least { (m / long).next_multiple_of(4).min(64) } else { least };
    let rows = if cut || (flops < 4 * task && !has_epilogue) {
        m
    } else {
        let by_work = task.div_ceil((2 * n * k.max(1)).max(1));
        let by_size = match (has_epilogue, symmetric) {
            (_, true) => SMALL,
            (true, false) => m.div_ceil(few).min(BLOCK_BYTES / (n * size_of::<T>())),
            (false, false) if out.strides[1] == 1 => m / (m / SMALL).clamp(least, 64),
            (false, false) => m.div_ceil(few),
        };
        // To the nearest multiple, so that as many blocks as were meant are about as long as each other.
        ((by_work.max(by_size) + ROWS / 2) / ROWS * ROWS).clamp(ROWS, m.max(ROWS)).min(m)
    };
    // A small rest goes to the block before it.
    let blocks = if m > rows && m % rows < rows.div_ceil(2) { m / rows } else { m.div_ceil(rows) };
    let entries = if summed || blocks > 1 { 1 } else { task.div_ceil(flops).min(batch) };
    let epilogue = match &product.epilogue {
        None => None,
        Some(epilogue) => {
            let last = m - (blocks - 1) * rows;
            Some(Box::new(Finish {
                full: finish(site, product, epilogue, rows, summed)?,
                last: finish(site, product, epilogue, last, summed)?,
            }))
        }
    };
    let depth = if cut { k.div_ceil(SEGMENTS).max(DEPTH).next_multiple_of(64).min(k) } else { k };
    Ok(Box::new(ProductKernel::<T> {
        batch,
        m,
        k,
        n,
        a: Matrix::new(&a),
        b: Matrix::new(&b),
        out: Matrix::new(&out),
        summed,
        accumulate: product.accumulate,
        symmetric,
        rows,
        blocks,
        entries,
        depth,
        spread: flops * batch >= 2 * task && (blocks > 1 || depth < k || (!summed && batch > entries)),
        epilogue,
    }))
}

/// Compiles the epilogue for blocks of so many rows.
fn finish<T: Field>(
    site: &Site<'_>,
    product: &Product,
    epilogue: &Epilogue,
    rows: usize,
    summed: bool,
) -> Result<LoopKernel<T>>
where
    f32: Cast<T>,
    f64: Cast<T>,
    u32: Cast<T>,
{
    let [_, m, n] = <[usize; 3]>::try_from(product.out.shape.as_slice()).unwrap_or([1, 1, 1]);
    let batch = if summed { 1 } else { product.out.shape[0] };
    let entry = |view: &View, written: bool| -> Result<Entry> {
        let mut whole = if written { site.output(view, |_| false)? } else { site.window(view)? };
        if summed {
            whole.shape[0] = 1;
        }
        site.expect_shape(&whole, &[batch, m, n], "a view of the epilogue")?;
        let mut window = whole.clone();
        window.shape = vec![rows, n];
        window.strides = whole.strides[1..].to_vec();
        let outer = [if batch == 1 { 0 } else { whole.strides[0] }, whole.strides[1]];
        Ok(Entry { window, whole, outer })
    };
    let mut loads = vec![entry(&product.out, false)?];
    for view in &epilogue.loads {
        loads.push(entry(view, false)?);
    }
    let mut stores = Vec::with_capacity(epilogue.stores.len());
    for (value, view) in &epilogue.stores {
        stores.push((*value, entry(view, true)?, None));
    }
    build(site, &[rows, n], loads, &epilogue.code, stores)
}

impl<T: Field> Kernel for ProductKernel<T>
where
    f32: Cast<T>,
    f64: Cast<T>,
    u32: Cast<T>,
{
    fn run(&self, frame: &Frame<'_>) -> Result<()> {
        let blocks = self.blocks;
        if self.depth < self.k {
            self.segments(frame);
            return Ok(());
        }
        if blocks > 1 && !frame.pooled && !self.symmetric && (self.epilogue.is_none() || self.k >= self.rows) {
            // One thread gains nothing by blocks, each of which packs the right operand anew; the bits are the same.
            for entry in 0..if self.summed { 1 } else { self.batch } {
                self.products(entry, 0, self.m);
                for block in 0..blocks {
                    self.finish(frame, entry, block);
                }
            }
            return Ok(());
        }
        let groups = if self.summed { 1 } else { self.batch.div_ceil(self.entries) };
        frame.for_each(groups * blocks, self.spread, |task| {
            let (group, block) = (task / blocks, task % blocks);
            let first = group * self.entries;
            let last = if self.summed { 1 } else { (first + self.entries).min(self.batch) };
            for entry in first..last {
                self.block(frame, entry, block);
            }
        });
        if self.symmetric && blocks > 1 {
            frame.for_each(if self.summed { 1 } else { self.batch }, self.spread, |entry| self.mirror(entry));
            if self.epilogue.is_some() {
                for entry in 0..if self.summed { 1 } else { self.batch } {
                    for block in 0..blocks {
                        self.finish(frame, entry, block);
                    }
                }
            }
        }
        Ok(())
    }

    fn parallel(&self) -> bool {
        self.spread
    }

    fn scratch_bytes(&self) -> usize {
        self.epilogue.as_ref().map_or(0, |epilogue| epilogue.full.scratch_bytes().max(epilogue.last.scratch_bytes()))
    }

    fn partial_bytes(&self) -> usize {
        // Of the segments after the first.
        if self.depth < self.k { (self.k.div_ceil(self.depth) - 1) * self.m * self.n * size_of::<T>() } else { 0 }
    }
}

impl<T: Field> ProductKernel<T>
where
    f32: Cast<T>,
    f64: Cast<T>,
    u32: Cast<T>,
{
    /// Computes a block of rows of one result.
    fn block(&self, frame: &Frame<'_>, entry: usize, block: usize) {
        let first = block * self.rows;
        let rows = if block + 1 == self.blocks { self.m - first } else { self.rows };
        self.products(entry, first, rows);
        if self.symmetric && self.blocks > 1 {
            return;
        }
        if self.symmetric {
            self.mirror(entry);
        }
        self.finish(frame, entry, block);
    }

    /// Runs the epilogue on a block of rows.
    fn finish(&self, frame: &Frame<'_>, entry: usize, block: usize) {
        if let Some(epilogue) = &self.epilogue {
            let first = block * self.rows;
            let kernel = if block + 1 == self.blocks { &epilogue.last } else { &epilogue.full };
            kernel.run_shifted(frame, [entry, first]);
        }
    }

    /// Computes a single result from those of segments of the inner axis, added in their order.
    fn segments(&self, frame: &Frame<'_>) {
        let (m, n) = (self.m, self.n);
        let partial = |segment: usize| Matrix {
            pointer: frame.partials.pointer().cast::<T>().wrapping_add((segment - 1) * m * n),
            batch: 0,
            row: n,
            column: 1,
        };
        let count = self.k.div_ceil(self.depth);
        frame.for_each(count, self.spread, |segment| {
            let first = segment * self.depth;
            let depth = first..(first + self.depth).min(self.k);
            if segment == 0 {
                self.multiply(&self.out, 0, 0..m, depth, self.accumulate);
            } else {
                self.multiply(&partial(segment), 0, 0..m, depth, false);
            }
        });
        let rows = m.div_ceil(count);
        frame.for_each(m.div_ceil(rows), self.spread, |block| {
            for row in block * rows..((block + 1) * rows).min(m) {
                let width = if self.symmetric { row + 1 } else { n };
                for segment in 1..count {
                    // SAFETY: inside of the checked view and of the `partial_bytes` bytes; all segments have left their results, and each task adds up
                    // rows of its own.
                    unsafe {
                        let from = std::slice::from_raw_parts(partial(segment).at(0, row, 0), width);
                        if self.out.column == 1 {
                            let to = std::slice::from_raw_parts_mut(self.out.at(0, row, 0), width);
                            to.iter_mut().zip(from).for_each(|(to, &from)| *to = Scalar::add(*to, from));
                        } else {
                            for (column, &from) in from.iter().enumerate() {
                                let to = self.out.at(0, row, column);
                                *to = Scalar::add(*to, from);
                            }
                        }
                    }
                }
            }
        });
        if self.symmetric {
            self.mirror(0);
        }
        self.finish(frame, 0, 0);
    }

    /// Computes rows of one result: one product, or all of them added up in order.
    fn products(&self, entry: usize, first: usize, rows: usize) {
        let products = if self.summed { 0..self.batch } else { entry..entry + 1 };
        for (position, product) in products.enumerate() {
            let add = self.accumulate || position > 0;
            self.multiply(&self.out, product, first..first + rows, 0..self.k, add);
        }
    }

    /// Computes some rows of a product, of a symmetric one only the lower triangle.
    fn multiply(&self, out: &Matrix<T>, entry: usize, rows: Range<usize>, depth: Range<usize>, add: bool) {
        let accum = if add { Accum::Add } else { Accum::Replace };
        let (row, column) = (out.row as isize, out.column as isize);
        let part = |first: usize, columns: usize| {
            // SAFETY: the views were checked when the kernel was compiled; the result overlaps neither operand nor what another task writes.
            unsafe {
                let to = MatMut::from_raw_parts_mut(out.at(entry, rows.start, first), rows.len(), columns, row, column);
                let a = self.a.at(entry, rows.start, depth.start).cast_const();
                let b = self.b.at(entry, depth.start, first).cast_const();
                (
                    to,
                    MatRef::from_raw_parts(a, rows.len(), depth.len(), self.a.row as isize, self.a.column as isize),
                    MatRef::from_raw_parts(b, depth.len(), columns, self.b.row as isize, self.b.column as isize),
                )
            }
        };
        let full = if self.symmetric { rows.start } else { self.n };
        if full > 0 {
            let (to, a, b) = part(0, full);
            matmul(to, accum, a, b, T::ONE, Par::Seq);
        }
        if self.symmetric {
            use triangular::BlockStructure::{Rectangular, TriangularLower};
            let (to, a, b) = part(rows.start, rows.len());
            triangular::matmul(to, TriangularLower, accum, a, Rectangular, b, Rectangular, T::ONE, Par::Seq);
        }
    }

    /// Copies the lower triangle of a result to the upper one, by blocks that stay in cache.
    fn mirror(&self, entry: usize) {
        const SIDE: usize = 32;
        for top in (0..self.m).step_by(SIDE) {
            for left in (0..=top).step_by(SIDE) {
                for row in top..(top + SIDE).min(self.m) {
                    for column in left..(left + SIDE).min(row) {
                        // SAFETY: both lie inside of the checked view; one task mirrors an entry.
                        unsafe { *self.out.at(entry, column, row) = *self.out.at(entry, row, column) };
                    }
                }
            }
        }
    }
}

/// Multiplies matrices just large enough that the product's library allocates the calling thread's packing buffers, once and for all.
pub(crate) fn warm_up() {
    const N: usize = 32;
    let (a, b) = ([0.0_f64; N * N], [0.0_f32; N * N]);
    let (mut c, mut d) = (a, b);
    matmul(
        MatMut::from_row_major_slice_mut(&mut c, N, N),
        Accum::Replace,
        MatRef::from_row_major_slice(&a, N, N),
        MatRef::from_row_major_slice(&a, N, N),
        1.0,
        Par::Seq,
    );
    matmul(
        MatMut::from_row_major_slice_mut(&mut d, N, N),
        Accum::Replace,
        MatRef::from_row_major_slice(&b, N, N),
        MatRef::from_row_major_slice(&b, N, N),
        1.0,
        Par::Seq,
    );
}
