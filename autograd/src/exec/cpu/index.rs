//! Work that is steered by integer tensors, and the identity matrix.

use super::frame::{Frame, Kernel, Nothing};
use super::scalar::Scalar;
use crate::exec::view::{Site, Window};
use crate::plan::step::View;
use crate::{DType, Error, Result};
use std::panic::Location;

/// Elements moved above which a step is spread over threads.
const SPREAD: usize = 1 << 16;

/// A rank-1 index tensor, checked when it is used.
struct Indices {
    pointer: *const u32,
    stride: usize,
    count: usize,
    op: &'static str,
    location: &'static Location<'static>,
}

impl Indices {
    fn new(site: &Site<'_>, view: &View) -> Result<Self> {
        let window = site.window(view)?;
        site.expect_dtype(&window, DType::U32, "u32")?;
        let [count] = site.rank::<1>(&window, "the index tensor")?;
        Ok(Self {
            pointer: window.pointer.cast_const().cast(),
            stride: window.strides[0],
            count,
            op: site.step.op,
            location: site.step.location,
        })
    }

    fn get(&self, position: usize) -> usize {
        // SAFETY: callers stay below `count`, and the view was checked.
        unsafe { *self.pointer.add(position * self.stride) as usize }
    }

    /// An error that names the first index outside of `0..length`.
    fn check(&self, length: usize) -> Result<()> {
        match (0..self.count).find(|&position| self.get(position) >= length) {
            None => Ok(()),
            Some(position) => Err(Error::IndexOutOfRange {
                op: self.op,
                index: self.get(position) as u32,
                position,
                length,
                location: self.location,
            }),
        }
    }
}

/// What is done.
enum Task {
    Gather,
    ScatterAdd,
    OneHot,
}

/// Work over (outer, picked, inner) and (outer, entries, inner) arrays.
struct IndexKernel<T> {
    task: Task,
    indices: Indices,
    source: *const T,
    strides: [usize; 3],
    out: *mut T,
    outer: usize,
    entries: usize,
    inner: usize,
}

struct OffsetKernel {
    index: Window,
    out: *mut u32,
    stride: u32,
}

struct IdentityKernel<T> {
    out: *mut T,
    n: usize,
}

// SAFETY: addresses in blocks that the machine owns; a run has exclusive access to the machine and its tasks write disjoint elements.
unsafe impl<T> Send for IndexKernel<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for IndexKernel<T> {}
// SAFETY: as above.
unsafe impl Send for OffsetKernel {}
// SAFETY: as above.
unsafe impl Sync for OffsetKernel {}
// SAFETY: as above.
unsafe impl<T> Send for IdentityKernel<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for IdentityKernel<T> {}

/// The kernel of a run-time type.
macro_rules! typed {
    ($dtype:expr, $T:ident, $body:expr) => {
        match $dtype {
            DType::F32 => {
                type $T = f32;
                $body
            }
            DType::F64 => {
                type $T = f64;
                $body
            }
            DType::U32 => {
                type $T = u32;
                $body
            }
        }
    };
}

/// Compiles out\[i, j, l\] = x\[i, index\[j\], l\].
pub(crate) fn gather(site: &Site<'_>, x: &View, index: &View, out: &View) -> Result<Box<dyn Kernel>> {
    let (source, target, indices) = operands(site, x, index, out)?;
    let [outer, entries, inner] = site.rank::<3>(&source, "the gathered tensor")?;
    site.expect_shape(&target, &[outer, indices.count, inner], "the result")?;
    Ok(typed!(source.dtype, T, array::<T>(Task::Gather, indices, &source, &target, [outer, entries, inner])))
}

/// Compiles out = 0; out\[i, index\[j\], l\] += u\[i, j, l\].
pub(crate) fn scatter_add(site: &Site<'_>, u: &View, index: &View, out: &View) -> Result<Box<dyn Kernel>> {
    let (source, target, indices) = operands(site, u, index, out)?;
    let [outer, picked, inner] = site.rank::<3>(&source, "the scattered tensor")?;
    let [_, entries, _] = site.rank::<3>(&target, "the result")?;
    site.expect_shape(&source, &[outer, indices.count, inner], "the scattered tensor")?;
    site.expect_shape(&target, &[outer, entries, inner], "the result")?;
    debug_assert_eq!(picked, indices.count);
    Ok(typed!(source.dtype, T, array::<T>(Task::ScatterAdd, indices, &source, &target, [outer, entries, inner])))
}

/// Compiles indicator vectors.
pub(crate) fn one_hot(site: &Site<'_>, index: &View, out: &View) -> Result<Box<dyn Kernel>> {
    let indices = Indices::new(site, index)?;
    let target = contiguous(site, out)?;
    let [_, classes] = site.rank::<2>(&target, "the result")?;
    site.expect_shape(&target, &[indices.count, classes], "the result")?;
    let mut source = target.clone();
    source.strides = vec![0; 3];
    Ok(typed!(target.dtype, T, array::<T>(Task::OneHot, indices, &source, &target, [1, classes, 1])))
}

fn operands(site: &Site<'_>, source: &View, index: &View, out: &View) -> Result<(Window, Window, Indices)> {
    let source = site.window(source)?;
    let target = contiguous(site, out)?;
    site.expect_dtype(&target, source.dtype, "the operand's own type")?;
    if source.overlaps(&target) {
        return Err(site.error("the result lies on top of the operand".into()));
    }
    Ok((source, target, Indices::new(site, index)?))
}

fn contiguous(site: &Site<'_>, out: &View) -> Result<Window> {
    let window = site.output(out, |_| false)?;
    if window.is_contiguous() { Ok(window) } else { Err(site.error("the result is not contiguous".into())) }
}

fn array<T: Scalar>(
    task: Task,
    indices: Indices,
    source: &Window,
    target: &Window,
    [outer, entries, inner]: [usize; 3],
) -> Box<dyn Kernel> {
    if target.elements() == 0 {
        return Box::new(Nothing);
    }
    Box::new(IndexKernel::<T> {
        task,
        indices,
        source: source.pointer.cast_const().cast(),
        strides: [source.strides[0], source.strides[1], source.strides[2]],
        out: target.pointer.cast(),
        outer,
        entries,
        inner,
    })
}

impl<T: Scalar> IndexKernel<T> {
    /// # Safety
    /// (i, j, l) must be inside of the source.
    unsafe fn source(&self, i: usize, j: usize, l: usize) -> T {
        // SAFETY: the caller's promise.
        unsafe { *self.source.add(i * self.strides[0] + j * self.strides[1] + l * self.strides[2]) }
    }
}

impl<T: Scalar> Kernel for IndexKernel<T> {
    fn run(&self, frame: &Frame<'_>) -> Result<()> {
        self.indices.check(self.entries)?;
        let (picked, entries, inner) = (self.indices.count, self.entries, self.inner);
        frame.for_each(self.outer, self.parallel(), |i| {
            // SAFETY: the views were checked when the step was compiled, the indices just now; each i has a part of the result of its own.
            unsafe {
                match self.task {
                    Task::Gather => {
                        for j in 0..picked {
                            let entry = self.indices.get(j);
                            let to = self.out.add((i * picked + j) * inner);
                            for l in 0..inner {
                                *to.add(l) = self.source(i, entry, l);
                            }
                        }
                    }
                    Task::ScatterAdd => {
                        let out = self.out.add(i * entries * inner);
                        std::slice::from_raw_parts_mut(out, entries * inner).fill(T::ZERO);
                        for j in 0..picked {
                            let to = out.add(self.indices.get(j) * inner);
                            for l in 0..inner {
                                *to.add(l) = (*to.add(l)).add(self.source(i, j, l));
                            }
                        }
                    }
                    Task::OneHot => {
                        std::slice::from_raw_parts_mut(self.out, picked * entries).fill(T::ZERO);
                        for j in 0..picked {
                            *self.out.add(j * entries + self.indices.get(j)) = T::ONE;
                        }
                    }
                }
            }
        });
        Ok(())
    }

    fn parallel(&self) -> bool {
        self.outer > 1 && self.outer * self.inner * self.indices.count.max(self.entries) >= SPREAD
    }
}

/// Compiles out\[r, c\] = index\[r, c\] + r stride.
pub(crate) fn index_offset(site: &Site<'_>, index: &View, stride: u32, out: &View) -> Result<Box<dyn Kernel>> {
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
    Ok(Box::new(OffsetKernel { index, out: target.pointer.cast(), stride }))
}

impl Kernel for OffsetKernel {
    fn run(&self, _: &Frame<'_>) -> Result<()> {
        let (rows, columns) = (self.index.shape[0], self.index.shape[1]);
        let index = self.index.pointer.cast_const().cast::<u32>();
        for row in 0..rows {
            let shift = self.stride.wrapping_mul(row as u32);
            for column in 0..columns {
                let from = row * self.index.strides[0] + column * self.index.strides[1];
                // SAFETY: both views were checked; they are apart or the same.
                unsafe { *self.out.add(row * columns + column) = (*index.add(from)).wrapping_add(shift) };
            }
        }
        Ok(())
    }
}

/// Compiles the identity matrix.
pub(crate) fn identity(site: &Site<'_>, out: &View) -> Result<Box<dyn Kernel>> {
    let target = contiguous(site, out)?;
    let [n, _] = site.rank::<2>(&target, "the identity")?;
    site.expect_shape(&target, &[n, n], "the identity")?;
    Ok(typed!(target.dtype, T, Box::new(IdentityKernel::<T> { out: target.pointer.cast(), n })))
}

impl<T: Scalar> Kernel for IdentityKernel<T> {
    fn run(&self, _: &Frame<'_>) -> Result<()> {
        // SAFETY: the view was checked, and nobody else touches it meanwhile.
        let out = unsafe { std::slice::from_raw_parts_mut(self.out, self.n * self.n) };
        out.fill(T::ZERO);
        for i in 0..self.n {
            out[i * self.n + i] = T::ONE;
        }
        Ok(())
    }
}
