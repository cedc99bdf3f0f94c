//! `libcublas`.

use crate::stream::Action;
use crate::{Machine, Status, driver, machine, refused, status};
use cuda_kernels::{Command, Gemm, Matrix, Precision, Real};
use std::collections::HashMap;
use std::ffi::{c_int, c_longlong, c_void};

const SUCCESS: c_int = 0;
const NOT_INITIALIZED: c_int = 1;
const INVALID_VALUE: c_int = 7;
const EXECUTION_FAILED: c_int = 13;
const NOT_SUPPORTED: c_int = 15;
const TRANSPOSED: c_int = 1;
const REAL_32: c_int = 0;
const REAL_64: c_int = 1;
const COMPUTE_32: c_int = 68;
const COMPUTE_32_FAST_TF32: c_int = 77;
const COMPUTE_64: c_int = 70;

/// Handles of the library.
#[derive(Default)]
pub struct Handles(HashMap<usize, Handle>);

#[derive(Default)]
struct Handle {
    stream: usize,
    /// Where it may work; without, it allocates where it needs memory.
    workspace: Option<u64>,
}

/// An operand: where it is, columns after each other.
struct Operand {
    operation: c_int,
    address: u64,
    kind: c_int,
    leading: c_int,
    stride: c_longlong,
}

fn with(work: impl FnOnce(&mut Machine) -> Result<(), c_int>) -> c_int {
    work(&mut machine()).err().unwrap_or(SUCCESS)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cublasCreate_v2(handle: *mut usize) -> c_int {
    with(|machine| {
        let number = machine.handle();
        machine.blas.0.insert(number, Handle::default());
        // SAFETY: as for the real one.
        unsafe { handle.write(number) };
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cublasDestroy_v2(handle: usize) -> c_int {
    with(|machine| machine.blas.0.remove(&handle).map(drop).ok_or(NOT_INITIALIZED))
}

#[unsafe(no_mangle)]
extern "C" fn cublasSetStream_v2(handle: usize, stream: usize) -> c_int {
    with(|machine| {
        *machine.blas.0.get_mut(&handle).ok_or(NOT_INITIALIZED)? = Handle { stream, workspace: None };
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cublasSetWorkspace_v2(handle: usize, workspace: u64, bytes: usize) -> c_int {
    with(|machine| {
        machine.memory.check("a workspace", workspace, bytes).map_err(|_| INVALID_VALUE)?;
        if !workspace.is_multiple_of(256) {
            return Err(INVALID_VALUE);
        }
        machine.blas.0.get_mut(&handle).ok_or(NOT_INITIALIZED)?.workspace = Some(workspace);
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cublasSetMathMode(handle: usize, _mode: c_int) -> c_int {
    with(|machine| machine.blas.0.get(&handle).map(drop).ok_or(NOT_INITIALIZED))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cublasGetProperty(part: c_int, value: *mut c_int) -> c_int {
    // SAFETY: as for the real one.
    unsafe { value.write(if part == 0 { 13 } else { 0 }) };
    SUCCESS
}

/// The batch of row-major matrices that an operand is; an error where it is not in memory.
fn matrix(
    machine: &Machine,
    name: &str,
    operand: &Operand,
    (rows, columns): (usize, usize),
    batch: usize,
    size: usize,
) -> Result<Matrix, Status> {
    let stored_rows = if operand.operation == TRANSPOSED { columns } else { rows };
    let stored_columns = if operand.operation == TRANSPOSED { rows } else { columns };
    let leading = usize::try_from(operand.leading).unwrap_or(0);
    let stride = usize::try_from(operand.stride).map_err(|_| status::INVALID_VALUE)?;
    if leading < stored_rows.max(1) || !operand.address.is_multiple_of(size as u64) {
        let problem = format!("the columns of {name}, {stored_rows} elements, lie {leading} apart");
        return Err(refused(status::INVALID_VALUE, &problem));
    }
    if stored_rows > 0 && stored_columns > 0 {
        let elements = (batch - 1) * stride + (stored_columns - 1) * leading + stored_rows;
        machine.memory.check(&format!("operand {name} of a product"), operand.address, elements * size)?;
    }
    let transposed = operand.operation != TRANSPOSED;
    Ok(Matrix { address: operand.address, batch_stride: stride, leading, transposed })
}

unsafe fn multiply(
    handle: usize,
    (m, n, k, batch): (c_int, c_int, c_int, c_int),
    (alpha, beta): (*const c_void, *const c_void),
    [a, b, c]: [Operand; 3],
    compute: c_int,
) -> c_int {
    with(|machine| {
        let found = machine.blas.0.get(&handle).ok_or(NOT_INITIALIZED)?;
        let (stream, workspace) = (found.stream, found.workspace);
        let size = |n: c_int| usize::try_from(n).map_err(|_| INVALID_VALUE);
        let (m, n, k, batch) = (size(m)?, size(n)?, size(k)?, size(batch)?);
        let (real, precision) = match (a.kind, compute) {
            (REAL_32, COMPUTE_32) => (Real::F32, Precision::Full),
            (REAL_32, COMPUTE_32_FAST_TF32) => (Real::F32, Precision::Tf32),
            (REAL_64, COMPUTE_64) => (Real::F64, Precision::Full),
            _ => return Err(NOT_SUPPORTED),
        };
        if [&b, &c].iter().any(|operand| operand.kind != a.kind) {
            return Err(NOT_SUPPORTED);
        }
        if workspace.is_none() {
            refused(status::CAPTURE_UNSUPPORTED, "a product without a workspace, for which memory is allocated");
            return Err(EXECUTION_FAILED);
        }
        if [m, n, batch].contains(&0) {
            return Ok(());
        }
        // SAFETY: as for the real one.
        let factor = |value: *const c_void| unsafe {
            match real {
                Real::F32 => f64::from(value.cast::<f32>().read()),
                Real::F64 => value.cast::<f64>().read(),
            }
        };
        let (alpha, beta) = (factor(alpha), factor(beta));
        let invalid = |_| INVALID_VALUE;
        let a = matrix(machine, "a", &a, (m, k), batch, real.size()).map_err(invalid)?;
        let b = matrix(machine, "b", &b, (k, n), batch, real.size()).map_err(invalid)?;
        let c = matrix(machine, "c", &c, (m, n), batch, real.size()).map_err(invalid)?;
        let gemm = Gemm { real, precision, batch, m, n, k, a, b, c, alpha, beta };
        let action: Result<Action, Status> = driver::command(Command::Gemm(gemm));
        action.and_then(|action| machine.ask(stream, action)).map_err(|_| EXECUTION_FAILED)
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cublasGemmEx(
    handle: usize,
    a_operation: c_int,
    b_operation: c_int,
    m: c_int,
    n: c_int,
    k: c_int,
    alpha: *const c_void,
    a: u64,
    a_kind: c_int,
    a_leading: c_int,
    b: u64,
    b_kind: c_int,
    b_leading: c_int,
    beta: *const c_void,
    c: u64,
    c_kind: c_int,
    c_leading: c_int,
    compute: c_int,
    _algorithm: c_int,
) -> c_int {
    let a = Operand { operation: a_operation, address: a, kind: a_kind, leading: a_leading, stride: 0 };
    let b = Operand { operation: b_operation, address: b, kind: b_kind, leading: b_leading, stride: 0 };
    let c = Operand { operation: 0, address: c, kind: c_kind, leading: c_leading, stride: 0 };
    // SAFETY: as for the real one.
    unsafe { multiply(handle, (m, n, k, 1), (alpha, beta), [a, b, c], compute) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cublasGemmStridedBatchedEx(
    handle: usize,
    a_operation: c_int,
    b_operation: c_int,
    m: c_int,
    n: c_int,
    k: c_int,
    alpha: *const c_void,
    a: u64,
    a_kind: c_int,
    a_leading: c_int,
    a_stride: c_longlong,
    b: u64,
    b_kind: c_int,
    b_leading: c_int,
    b_stride: c_longlong,
    beta: *const c_void,
    c: u64,
    c_kind: c_int,
    c_leading: c_int,
    c_stride: c_longlong,
    batch: c_int,
    compute: c_int,
    _algorithm: c_int,
) -> c_int {
    let a = Operand { operation: a_operation, address: a, kind: a_kind, leading: a_leading, stride: a_stride };
    let b = Operand { operation: b_operation, address: b, kind: b_kind, leading: b_leading, stride: b_stride };
    let c = Operand { operation: 0, address: c, kind: c_kind, leading: c_leading, stride: c_stride };
    // SAFETY: as for the real one.
    unsafe { multiply(handle, (m, n, k, batch), (alpha, beta), [a, b, c], compute) }
}
