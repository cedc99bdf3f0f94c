//! Matrix products by cuBLAS.

use super::library::CUBLAS;
use crate::check::lines;
use crate::{Error, Gemm, Matrix, Precision, Real, device::Result};
use cudarc::cublas::{result, sys};
use cudarc::driver;
use std::ffi::c_void;

/// Bytes that cuBLAS may work in: its own choice would depend on what else runs, and with it the order of sums.
const WORKSPACE: usize = 32 << 20;
/// Matrices of one call.
const BATCH: usize = 65_535;

/// cuBLAS on a stream.
#[derive(Debug)]
pub(super) struct Blas {
    handle: sys::cublasHandle_t,
    workspace: u64,
}

// SAFETY: the handle is used by one thread at a time, under its owner's lock.
unsafe impl Send for Blas {}

fn failed(error: result::CublasError) -> Error {
    Error::Driver(format!("cuBLAS: {error:?}"))
}

/// cuBLAS's version, as in `13.0.2`.
pub(crate) fn version() -> Result<String> {
    use sys::libraryPropertyType_t::{MAJOR_VERSION, MINOR_VERSION, PATCH_LEVEL};
    CUBLAS.require()?;
    let part = |part| {
        let mut value = 0;
        // SAFETY: an integer to be written.
        unsafe { sys::cublasGetProperty(part, &mut value) }.result().map_err(failed)?;
        Ok(value)
    };
    Ok(format!("{}.{}.{}", part(MAJOR_VERSION)?, part(MINOR_VERSION)?, part(PATCH_LEVEL)?))
}

impl Blas {
    /// A handle that works on a stream of the current context.
    ///
    /// # Safety
    /// The stream outlives the handle.
    pub(super) unsafe fn new(stream: driver::sys::CUstream) -> Result<Self> {
        CUBLAS.require()?;
        let handle = result::create_handle().map_err(failed)?;
        let mut blas = Self { handle, workspace: 0 };
        // SAFETY: freed when the handle is dropped, after it; the stream lives by the caller's promise.
        unsafe {
            blas.workspace = driver::result::malloc_sync(WORKSPACE).map_err(super::failed_allocation(WORKSPACE))?;
            // Setting the stream forgets the workspace, so that goes first.
            result::set_stream(handle, stream.cast()).map_err(failed)?;
            sys::cublasSetWorkspace_v2(handle, blas.workspace as *mut c_void, WORKSPACE).result().map_err(failed)?;
            // Operands are rounded where a product asks for it, not elsewhere.
            sys::cublasSetMathMode(handle, sys::cublasMath_t::CUBLAS_DEFAULT_MATH).result().map_err(failed)?;
        }
        Ok(blas)
    }

    /// Multiplies.
    ///
    /// # Safety
    /// As for `Device::run`.
    pub(super) unsafe fn run(&self, gemm: &Gemm) -> Result<()> {
        for call in calls(gemm) {
            // SAFETY: the caller's promise.
            unsafe { self.call(&call, gemm)? };
        }
        Ok(())
    }

    unsafe fn call(&self, call: &Call, gemm: &Gemm) -> Result<()> {
        let operation = |transposed| match transposed {
            false => sys::cublasOperation_t::CUBLAS_OP_N,
            true => sys::cublasOperation_t::CUBLAS_OP_T,
        };
        let (data, compute) = match (gemm.real, gemm.precision) {
            (Real::F32, Precision::Full) => {
                (sys::cudaDataType_t::CUDA_R_32F, sys::cublasComputeType_t::CUBLAS_COMPUTE_32F)
            }
            (Real::F32, Precision::Tf32) => {
                (sys::cudaDataType_t::CUDA_R_32F, sys::cublasComputeType_t::CUBLAS_COMPUTE_32F_FAST_TF32)
            }
            (Real::F64, _) => (sys::cudaDataType_t::CUDA_R_64F, sys::cublasComputeType_t::CUBLAS_COMPUTE_64F),
        };
        let factors32 = [gemm.alpha as f32, gemm.beta as f32];
        let factors64 = [gemm.alpha, gemm.beta];
        let factor = |k: usize| -> *const c_void {
            match gemm.real {
                Real::F32 => (&raw const factors32[k]).cast(),
                Real::F64 => (&raw const factors64[k]).cast(),
            }
        };
        let int = |n: usize| i32::try_from(n).map_err(|_| Error::Driver(format!("a matrix of {n} rows or columns")));
        let place = |matrix: &Matrix| matrix.address as *mut c_void;
        let Call { m, n, k, batch, a, b, c } = call;
        let algorithm = sys::cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT;
        let handle = self.handle;
        // SAFETY: the caller's promise; the factors live through the call.
        unsafe {
            // Of a single product, cuBLAS also splits the sums among multiprocessors.
            if *batch == 1 {
                result::gemm_ex(
                    handle,
                    operation(a.transposed),
                    operation(b.transposed),
                    int(*m)?,
                    int(*n)?,
                    int(*k)?,
                    factor(0),
                    place(a),
                    data,
                    int(a.leading)?,
                    place(b),
                    data,
                    int(b.leading)?,
                    factor(1),
                    place(c),
                    data,
                    int(c.leading)?,
                    compute,
                    algorithm,
                )
            } else {
                result::gemm_strided_batched_ex(
                    handle,
                    operation(a.transposed),
                    operation(b.transposed),
                    int(*m)?,
                    int(*n)?,
                    int(*k)?,
                    factor(0),
                    place(a),
                    data,
                    int(a.leading)?,
                    a.batch_stride as i64,
                    place(b),
                    data,
                    int(b.leading)?,
                    b.batch_stride as i64,
                    factor(1),
                    place(c),
                    data,
                    int(c.leading)?,
                    c.batch_stride as i64,
                    int(*batch)?,
                    compute,
                    algorithm,
                )
            }
            .map_err(failed)
        }
    }
}

impl Drop for Blas {
    fn drop(&mut self) {
        // SAFETY: made by `new` and not destroyed before. There is nobody to tell of a failure.
        unsafe {
            let _ = result::destroy_handle(self.handle);
            if self.workspace != 0 {
                let _ = driver::result::free_sync(self.workspace);
            }
        }
    }
}

/// A product as cuBLAS sees it, whose matrices are column-major.
#[derive(Debug)]
struct Call {
    m: usize,
    n: usize,
    k: usize,
    batch: usize,
    a: Matrix,
    b: Matrix,
    c: Matrix,
}

/// The calls that make a product. Row-major matrices are column-major ones transposed, so what is computed is c^T = b^T a^T, with each operand as it
/// lies; where c lies transposed, it is c = a b with each operand the other way round.
fn calls(gemm: &Gemm) -> impl Iterator<Item = Call> {
    let Gemm { m, n, k, batch, .. } = *gemm;
    let stored = |matrix: &Matrix, rows: usize, columns: usize| {
        let (down, across) = lines(matrix, rows, columns);
        // Of one line it does not matter how far the next would be, but cuBLAS looks at the distance.
        let leading = if down > 1 { matrix.leading } else { across };
        Matrix { leading: leading.max(1), ..*matrix }
    };
    let (a, b, c) = (stored(&gemm.a, m, k), stored(&gemm.b, k, n), stored(&gemm.c, m, n));
    let size = gemm.real.size();
    (0..if m * n == 0 { 0 } else { batch }).step_by(BATCH).map(move |first| {
        let from = |matrix: Matrix| {
            let address = matrix.address + (first * matrix.batch_stride * size) as u64;
            Matrix { address, ..matrix }
        };
        let turned = |matrix: Matrix| Matrix { transposed: !matrix.transposed, ..matrix };
        let (a, b, c, batch) = (from(a), from(b), from(c), BATCH.min(batch - first));
        if c.transposed {
            Call { m, n, k, batch, a: turned(a), b: turned(b), c }
        } else {
            Call { m: n, n: m, k, batch, a: b, b: a, c }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where cuBLAS finds element (i, j) of an operand.
    fn place(matrix: &Matrix, entry: usize, i: usize, j: usize) -> usize {
        let (i, j) = if matrix.transposed { (j, i) } else { (i, j) };
        matrix.address as usize / 8 + entry * matrix.batch_stride + j * matrix.leading + i
    }

    /// Where element (i, j) is said to be.
    fn meant(matrix: &Matrix, entry: usize, i: usize, j: usize) -> usize {
        let (i, j) = if matrix.transposed { (j, i) } else { (i, j) };
        matrix.address as usize / 8 + entry * matrix.batch_stride + i * matrix.leading + j
    }

    #[test]
    fn cublas_reads_and_writes_the_elements_that_are_meant() {
        let batch = BATCH + 2;
        for case in 0..8 {
            let matrix = |address, leading, bit: usize| Matrix {
                address,
                batch_stride: 100,
                leading,
                transposed: case >> bit & 1 > 0,
            };
            let (m, n, k) = (3, 4, 5);
            let (a, b, c) = (matrix(0, 7, 0), matrix(1 << 30, 8, 1), matrix(1 << 31, 9, 2));
            let (real, precision, alpha, beta) = (Real::F64, Precision::Full, 1.0, 0.0);
            let gemm = Gemm { real, precision, batch, m, n, k, a, b, c, alpha, beta };
            let mut first = 0;
            for call in calls(&gemm) {
                for entry in [0, call.batch - 1] {
                    for (i, j, l) in (0..m * n * k).map(|f| (f / (n * k), f / k % n, f % k)) {
                        // What cuBLAS multiplies for the element that it puts where (i, j) is meant to be.
                        let (row, column) = if c.transposed { (i, j) } else { (j, i) };
                        assert_eq!(
                            place(&Matrix { transposed: false, ..call.c }, entry, row, column),
                            meant(&c, first + entry, i, j)
                        );
                        let found = [place(&call.a, entry, row, l), place(&call.b, entry, l, column)];
                        let mut meant = [meant(&a, first + entry, i, l), meant(&b, first + entry, l, j)];
                        if !c.transposed {
                            meant.reverse();
                        }
                        assert_eq!(found, meant, "case {case}");
                    }
                }
                first += call.batch;
            }
            assert_eq!(first, batch);
        }
    }

    #[test]
    fn a_single_line_is_as_long_as_it_must_be() {
        let matrix = Matrix { address: 0, batch_stride: 0, leading: 0, transposed: false };
        let (real, precision, alpha, beta) = (Real::F32, Precision::Full, 1.0, 0.0);
        let gemm = Gemm { real, precision, batch: 1, m: 1, n: 6, k: 1, a: matrix, b: matrix, c: matrix, alpha, beta };
        let call = calls(&gemm).next().unwrap();
        assert_eq!((call.a.leading, call.b.leading, call.c.leading), (6, 1, 6));
        assert!(calls(&Gemm { n: 0, ..gemm }).next().is_none());
    }
}
