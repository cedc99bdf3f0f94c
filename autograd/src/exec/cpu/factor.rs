//! Cholesky factors of batches of matrices, and what is computed with them.

use super::frame::{Frame, Kernel, Nothing};
use super::product::Field;
use super::scalar::{Cast, Scalar};
use super::small_factor::{self, Factor, Inverse, LogDiagonal, Square};
use crate::exec::view::{Site, Window};
use crate::plan::step::View;
use crate::{DType, Error, Result};
use faer::dyn_stack::{MemStack, StackReq};
use faer::linalg::cholesky::llt;
use faer::{MatMut, MatRef, Par, Spec};
use std::mem::MaybeUninit;
use std::panic::Location;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Floating-point operations above which a batch is spread over threads.
const SPREAD: usize = 1 << 20;
/// Right-hand sides that one task solves for.
const COLUMNS: usize = 64;

/// A batch of matrices in memory.
#[derive(Clone, Copy)]
struct Batch<T> {
    pointer: *mut T,
    batch: usize,
    row: usize,
    column: usize,
}

// SAFETY: addresses in blocks that the machine owns; a run has exclusive access to the machine and its tasks write disjoint matrices or columns.
unsafe impl<T: Send> Send for Batch<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Batch<T> {}

impl<T> Batch<T> {
    fn new(window: &Window) -> Self {
        Self {
            pointer: window.pointer.cast(),
            batch: window.strides[0],
            row: window.strides[1],
            column: window.strides[2],
        }
    }

    /// # Safety
    /// The position must lie inside of the window.
    unsafe fn at(&self, entry: usize, row: usize, column: usize) -> *mut T {
        // SAFETY: the caller's promise.
        unsafe { self.pointer.add(entry * self.batch + row * self.row + column * self.column) }
    }

    /// # Safety
    /// The entry must lie inside of the window.
    unsafe fn square(&self, entry: usize) -> Square<T> {
        // SAFETY: the caller's promise.
        Square { pointer: unsafe { self.at(entry, 0, 0) }, row: self.row, column: self.column }
    }

    /// # Safety
    /// (rows, columns) must be inside of the window, and nobody may write to it meanwhile.
    unsafe fn matrix<'a>(&self, entry: usize, rows: usize, columns: usize) -> MatRef<'a, T> {
        // SAFETY: the caller's promise.
        unsafe { MatRef::from_raw_parts(self.at(entry, 0, 0), rows, columns, self.row as isize, self.column as isize) }
    }
}

/// What is computed.
enum Task<T> {
    /// The matrices' factors.
    Cholesky,
    /// Solutions for right-hand sides.
    Solve { b: Batch<T>, columns: usize },
    /// Inverses.
    Inverse,
    /// One number for each factor.
    LogDet,
}

struct FactorKernel<T> {
    task: Task<T>,
    /// Matrices or factors.
    input: Batch<T>,
    out: Batch<T>,
    batch: usize,
    n: usize,
    spread: bool,
    scratch: usize,
    op: &'static str,
    location: &'static Location<'static>,
}

/// Compiles the factorisation of `a` into `factor`.
pub(crate) fn cholesky(site: &Site<'_>, a: &View, factor: &View) -> Result<Box<dyn Kernel>> {
    match factor.dtype {
        DType::F64 => typed::<f64>(site, Request::Cholesky, &[a], factor),
        _ => typed::<f32>(site, Request::Cholesky, &[a], factor),
    }
}

/// Compiles the solution of systems with given factors.
pub(crate) fn solve(site: &Site<'_>, factor: &View, b: &View, out: &View) -> Result<Box<dyn Kernel>> {
    match out.dtype {
        DType::F64 => typed::<f64>(site, Request::Solve, &[factor, b], out),
        _ => typed::<f32>(site, Request::Solve, &[factor, b], out),
    }
}

/// Compiles inverses from factors.
pub(crate) fn inverse(site: &Site<'_>, factor: &View, out: &View) -> Result<Box<dyn Kernel>> {
    match out.dtype {
        DType::F64 => typed::<f64>(site, Request::Inverse, &[factor], out),
        _ => typed::<f32>(site, Request::Inverse, &[factor], out),
    }
}

/// Compiles log-determinants from factors.
pub(crate) fn log_det(site: &Site<'_>, factor: &View, out: &View) -> Result<Box<dyn Kernel>> {
    match out.dtype {
        DType::F64 => typed::<f64>(site, Request::LogDet, &[factor], out),
        _ => typed::<f32>(site, Request::LogDet, &[factor], out),
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Request {
    Cholesky,
    Solve,
    Inverse,
    LogDet,
}

fn typed<T: Field + faer::traits::RealField>(
    site: &Site<'_>,
    request: Request,
    inputs: &[&View],
    out: &View,
) -> Result<Box<dyn Kernel>>
where
    f32: Cast<T>,
    f64: Cast<T>,
    u32: Cast<T>,
{
    let input = site.window(inputs[0])?;
    let mut target = site.output(out, |_| false)?;
    let [batch, n, _] = site.rank::<3>(&input, "the matrix")?;
    site.expect_shape(&input, &[batch, n, n], "the matrix")?;
    for window in [&input, &target] {
        site.expect_dtype(window, T::DTYPE, "a floating-point type, the same for all operands,")?;
    }
    if input.overlaps(&target) {
        return Err(site.error("the result lies on top of the matrix".into()));
    }
    if !target.is_contiguous() {
        return Err(site.error("the result is not contiguous".into()));
    }
    let mut columns = n;
    let task = match request {
        Request::Cholesky => {
            site.expect_shape(&target, &[batch, n, n], "the factor")?;
            Task::Cholesky
        }
        Request::Inverse => {
            site.expect_shape(&target, &[batch, n, n], "the inverse")?;
            Task::Inverse
        }
        Request::LogDet => {
            site.expect_shape(&target, &[batch], "the log-determinant")?;
            target.shape = vec![batch, 1, 1];
            target.strides = vec![1, 1, 1];
            Task::LogDet
        }
        Request::Solve => {
            let b = site.window(inputs[1])?;
            let [_, _, k] = site.rank::<3>(&b, "the right-hand side")?;
            site.expect_shape(&b, &[batch, n, k], "the right-hand side")?;
            site.expect_shape(&target, &[batch, n, k], "the solution")?;
            site.expect_dtype(&b, T::DTYPE, "the matrix's own type")?;
            if b.overlaps(&target) && !b.same(&target) {
                return Err(site.error("the solution lies on top of the right-hand side".into()));
            }
            columns = k;
            Task::Solve { b: Batch::new(&b), columns: k }
        }
    };
    if batch * n * columns == 0 {
        return Ok(Box::new(Nothing));
    }
    let (flops, pieces) = match request {
        Request::Cholesky => (n * n * n / 3, 1),
        Request::Solve => (2 * n * n * columns, columns.div_ceil(COLUMNS)),
        Request::Inverse => (n * n * n, 1),
        Request::LogDet => (20 * n, 1),
    };
    let small = n <= small_factor::LARGEST;
    let requirement = match request {
        Request::Cholesky | Request::Inverse if small => StackReq::new::<u8>(small_factor::scratch_bytes::<T>(n)),
        Request::Cholesky => llt::factor::cholesky_in_place_scratch::<T>(n, Par::Seq, Spec::default()),
        Request::Inverse => llt::inverse::inverse_scratch::<T>(n, Par::Seq),
        Request::Solve | Request::LogDet => StackReq::EMPTY,
    };
    Ok(Box::new(FactorKernel::<T> {
        task,
        input: Batch::new(&input),
        out: Batch::new(&target),
        batch,
        n,
        spread: flops * batch >= SPREAD && batch * pieces > 1,
        // Room to find the alignment that the stack asks for.
        scratch: requirement.unaligned_bytes_required(),
        op: site.step.op,
        location: site.step.location,
    }))
}

impl<T: Field + faer::traits::RealField> Kernel for FactorKernel<T>
where
    f32: Cast<T>,
    f64: Cast<T>,
    u32: Cast<T>,
{
    fn run(&self, frame: &Frame<'_>) -> Result<()> {
        match &self.task {
            Task::Cholesky => {
                // The first matrix of the batch that fails, whatever order the tasks run in: (entry, pivot) in one number.
                let failure = AtomicUsize::new(usize::MAX);
                frame.for_each(self.batch, self.spread, |entry| {
                    if let Err(pivot) = self.factor(frame, entry) {
                        failure.fetch_min(entry * self.n + pivot, Ordering::Relaxed);
                    }
                });
                match failure.into_inner() {
                    usize::MAX => Ok(()),
                    code => Err(Error::NotPositiveDefinite {
                        op: self.op,
                        index: code / self.n,
                        pivot: code % self.n,
                        location: self.location,
                    }),
                }
            }
            &Task::Solve { ref b, columns } => {
                let pieces = columns.div_ceil(COLUMNS);
                frame.for_each(self.batch * pieces, self.spread, |task| {
                    let (entry, first) = (task / pieces, task % pieces * COLUMNS);
                    self.solve(b, entry, first, COLUMNS.min(columns - first));
                });
                Ok(())
            }
            Task::Inverse => {
                frame.for_each(self.batch, self.spread, |entry| self.invert(frame, entry));
                Ok(())
            }
            Task::LogDet => {
                for entry in 0..self.batch {
                    // SAFETY: inside of the checked views.
                    unsafe {
                        let sum = frame.arch.dispatch(LogDiagonal { factor: self.input.square(entry), n: self.n });
                        *self.out.at(entry, 0, 0) = Scalar::add(sum, sum);
                    }
                }
                Ok(())
            }
        }
    }

    fn parallel(&self) -> bool {
        self.spread
    }

    fn scratch_bytes(&self) -> usize {
        self.scratch
    }
}

impl<T: Field + faer::traits::RealField> FactorKernel<T>
where
    f32: Cast<T>,
    f64: Cast<T>,
    u32: Cast<T>,
{
    /// # Safety
    /// The calling thread's scratch memory must not be in use.
    unsafe fn stack<'a>(&self, frame: &Frame<'a>) -> &'a mut MemStack {
        // SAFETY: `scratch_bytes` bytes of this thread's own.
        let bytes = unsafe { std::slice::from_raw_parts_mut(frame.scratch().cast::<MaybeUninit<u8>>(), self.scratch) };
        MemStack::new(bytes)
    }

    fn factor(&self, frame: &Frame<'_>, entry: usize) -> std::result::Result<(), usize> {
        let n = self.n;
        // SAFETY: the views were checked; each task has a matrix of its own; the input does not overlap the result. The scratch memory is this
        // thread's own and as large as `scratch_bytes` says.
        unsafe {
            if n <= small_factor::LARGEST {
                let (matrix, out) = (self.input.square(entry), self.out.square(entry));
                return frame.arch.dispatch(Factor { matrix, out, n, scratch: frame.scratch().cast() });
            }
            let out = self.out.at(entry, 0, 0);
            // faer works along columns: the factor is made column-major, then transposed.
            for row in 0..n {
                for column in 0..=row {
                    *out.add(column * n + row) = *self.input.at(entry, row, column);
                }
            }
            let matrix = MatMut::from_raw_parts_mut(out, n, n, 1, n as isize);
            let result = llt::factor::cholesky_in_place(
                matrix,
                Default::default(),
                Par::Seq,
                self.stack(frame),
                Spec::default(),
            );
            for row in 0..n {
                for column in 0..row {
                    *out.add(row * n + column) = *out.add(column * n + row);
                    *out.add(column * n + row) = T::ZERO;
                }
            }
            match result {
                Ok(_) => Ok(()),
                Err(llt::factor::LltError::NonPositivePivot { index }) => Err(index),
            }
        }
    }

    fn solve(&self, b: &Batch<T>, entry: usize, first: usize, columns: usize) {
        let n = self.n;
        // SAFETY: as in `factor`; tasks have columns of their own.
        unsafe {
            let out = self.out.at(entry, 0, first);
            for row in 0..n {
                for column in 0..columns {
                    *out.add(row * self.out.row + column) = *b.at(entry, row, first + column);
                }
            }
            let right = MatMut::from_raw_parts_mut(out, n, columns, self.out.row as isize, 1);
            llt::solve::solve_in_place(self.input.matrix(entry, n, n), right, Par::Seq, MemStack::new(&mut []));
        }
    }

    fn invert(&self, frame: &Frame<'_>, entry: usize) {
        let n = self.n;
        // SAFETY: as in `factor`.
        unsafe {
            if n <= small_factor::LARGEST {
                let (factor, out) = (self.input.square(entry), self.out.square(entry));
                return frame.arch.dispatch(Inverse { factor, out, n, scratch: frame.scratch().cast() });
            }
            let out = self.out.at(entry, 0, 0);
            // The lower triangle, written column-major: the upper one of the row-major result.
            let matrix = MatMut::from_raw_parts_mut(out, n, n, 1, n as isize);
            llt::inverse::inverse(matrix, self.input.matrix(entry, n, n), Par::Seq, self.stack(frame));
            for row in 0..n {
                for column in 0..row {
                    *out.add(row * n + column) = *out.add(column * n + row);
                }
            }
        }
    }
}
