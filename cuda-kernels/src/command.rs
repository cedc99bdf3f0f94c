//! What a device is asked to do: launches, products, convolutions and copies over fixed addresses, as plain data.
//!
//! A list of tasks says everything that a run does, so that it can be compiled, captured as a graph, checked and printed before it runs.

use crate::convolution::Convolve;
use std::sync::Arc;

/// Floating-point types of kernels and products.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Real {
    /// Single precision.
    F32,
    /// Double precision.
    F64,
}

impl Real {
    /// Bytes of an element.
    pub const fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }

    /// The type's name in CUDA C++.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "float",
            Self::F64 => "double",
        }
    }
}

/// How products in single precision are computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// In single precision throughout.
    #[default]
    Full,
    /// Operands rounded to 10 bits of mantissa (TF32), sums in single precision: many times faster on tensor cores.
    Tf32,
}

/// A kernel: a function of a source text.
///
/// The source is CUDA C++ without includes; the device puts `kernels/prelude.cu` in front of it. The function is
/// `extern "C" __global__ void name(..)`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Kernel {
    /// CUDA C++.
    pub source: Arc<str>,
    /// The function's name.
    pub name: Arc<str>,
}

/// An argument of a launch, passed by value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Argument {
    /// An address on the device.
    Pointer(u64),
    /// `unsigned int`.
    U32(u32),
    /// `unsigned long long`.
    U64(u64),
    /// `float`.
    F32(f32),
    /// `double`.
    F64(f64),
}

/// A kernel with its grid and arguments.
#[derive(Clone, Debug, PartialEq)]
pub struct Launch {
    /// The kernel.
    pub kernel: Kernel,
    /// Blocks along x, y and z; none of them 0, y and z below 65,536.
    pub grid: [u32; 3],
    /// Threads of a block along x, y and z; at most 1,024 together.
    pub block: [u32; 3],
    /// Bytes of dynamic shared memory.
    pub shared_bytes: u32,
    /// The arguments, in the function's order.
    pub arguments: Vec<Argument>,
}

/// A batch of row-major matrices on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Matrix {
    /// Address of the first element.
    pub address: u64,
    /// Elements from one matrix of the batch to the next; 0 where all are the same.
    pub batch_stride: usize,
    /// Elements from one row to the next (of the matrix as it lies in memory).
    pub leading: usize,
    /// The matrix lies in memory transposed: element (i, j) is at `j leading + i` instead of `i leading + j`.
    pub transposed: bool,
}

/// c = alpha a b + beta c for every matrix of a batch: a is m by k, b k by n, c m by n.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gemm {
    /// Element type.
    pub real: Real,
    /// How single precision is computed.
    pub precision: Precision,
    /// Matrices.
    pub batch: usize,
    /// Rows of a and c.
    pub m: usize,
    /// Columns of b and c.
    pub n: usize,
    /// Columns of a, rows of b.
    pub k: usize,
    /// Left operand.
    pub a: Matrix,
    /// Right operand.
    pub b: Matrix,
    /// Result; not read where `beta` is 0. Its batch stride is not 0 unless `batch` is 1.
    pub c: Matrix,
    /// Factor of the product.
    pub alpha: f64,
    /// Factor of what `c` held.
    pub beta: f64,
}

/// Commands that run in order, each after the one before has finished, and what must be done before the first.
///
/// Tasks of a list that do not wait for each other, not even by way of others, may run at the same time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Task {
    /// What is done.
    pub commands: Vec<Command>,
    /// Numbers of the earlier tasks of the list that must be done before, in ascending order.
    pub after: Vec<usize>,
}

/// One thing that a device does.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Runs a kernel.
    Launch(Launch),
    /// Multiplies matrices.
    Gemm(Gemm),
    /// Computes a part of a convolution by cuDNN.
    Convolve(Convolve),
    /// Fills memory with zero bytes.
    Zero {
        /// First byte.
        to: u64,
        /// How many.
        bytes: usize,
    },
    /// Copies memory on the device; the ranges do not overlap.
    Copy {
        /// First byte read.
        from: u64,
        /// First byte written.
        to: u64,
        /// How many.
        bytes: usize,
    },
}
