//! Matrix products by cuBLAS.

use crate::{Error, Gemm, Matrix, Precision, Real, device::Result};
use cudarc::cublas::{result, sys};
use cudarc::driver::sys as driver;
use std::ffi::c_void;

/// Bytes that cuBLAS may work in: its own choice would depend on what else runs, and with it the order of sums.
pub(super) const WORKSPACE: usize = 32 << 20;
/// Matrices of one call.
const BATCH: usize = 65_535;

/// cuBLAS on a stream.
#[derive(Debug)]
pub(super) struct Blas {
    handle: sys::cublasHandle_t,
}

// SAFETY: the handle is used by one thread at a time, under its owner's lock.
unsafe impl Send for Blas {}

fn failed(error: result::CublasError) -> Error {
    Error::Driver(format!("cuBLAS: {error:?}"))
}

impl Blas {
    /// A handle that works on a stream of the current context, in that workspace.
    ///
    /// # Safety
    /// Stream and workspace outlive the handle.
    pub(super) unsafe fn new(stream: driver::CUstream, workspace: u64) -> Result<Self> {
        // SAFETY: only asks whether the library can be opened.
        if !unsafe { sys::is_culib_present() } {
            return Err(Error::NoLibrary {
                library: "cuBLAS (libcublas.so)",
                advice: "install the CUDA 13 toolkit, or `pip install nvidia-cublas` and put its lib folder on LD_LIBRARY_PATH",
            });
        }
        let handle = result::create_handle().map_err(failed)?;
        let blas = Self { handle };
        // SAFETY: the caller's promise.
        unsafe {
            result::set_stream(handle, stream.cast()).map_err(failed)?;
            sys::cublasSetWorkspace_v2(handle, workspace as *mut c_void, WORKSPACE).result().map_err(failed)?;
        }
        Ok(blas)
    }

    /// Multiplies.
    ///
    /// # Safety
    /// As for `Device::run`.
    pub(super) unsafe fn run(&self, gemm: &Gemm) -> Result<()> {
        for first in (0..gemm.batch).step_by(BATCH) {
            // SAFETY: the caller's promise.
            unsafe { self.part(gemm, first, BATCH.min(gemm.batch - first))? };
        }
        Ok(())
    }

    unsafe fn part(&self, gemm: &Gemm, first: usize, count: usize) -> Result<()> {
        let int = |n: usize| i32::try_from(n).map_err(|_| Error::Driver(format!("a matrix of {n} rows or columns")));
        let operation = |matrix: &Matrix| match matrix.transposed {
            false => sys::cublasOperation_t::CUBLAS_OP_N,
            true => sys::cublasOperation_t::CUBLAS_OP_T,
        };
        let size = gemm.real.size();
        let place = |matrix: &Matrix| (matrix.address + (first * matrix.batch_stride * size) as u64) as *mut c_void;
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
        // Row-major matrices are column-major ones transposed: c^T = b^T a^T.
        // SAFETY: the caller's promise; the factors live through the call.
        unsafe {
            result::gemm_strided_batched_ex(
                self.handle,
                operation(&gemm.b),
                operation(&gemm.a),
                int(gemm.n)?,
                int(gemm.m)?,
                int(gemm.k)?,
                factor(0),
                place(&gemm.b),
                data,
                int(gemm.b.leading)?,
                gemm.b.batch_stride as i64,
                place(&gemm.a),
                data,
                int(gemm.a.leading)?,
                gemm.a.batch_stride as i64,
                factor(1),
                place(&gemm.c),
                data,
                int(gemm.c.leading)?,
                gemm.c.batch_stride as i64,
                int(count)?,
                compute,
                sys::cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT,
            )
            .map_err(failed)
        }
    }
}

impl Drop for Blas {
    fn drop(&mut self) {
        // SAFETY: made by `create_handle` and not destroyed before. There is nobody to tell of a failure.
        let _ = unsafe { result::destroy_handle(self.handle) };
    }
}
