//! What a plan consists of: typed steps over buffers, for any device.

use crate::op::{Binary, Conv2d, ConvPart, Distribution, Unary};
use crate::{DType, Var};
use std::panic::Location;

/// Number of a buffer of the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BufferId(pub usize);

/// Where a buffer lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Held by the machine under the variable's name across runs and plans: inputs, parameters, outputs, residuals.
    Persistent(Var),
    /// In the arena, at this byte offset (a multiple of 64), while the plan runs.
    Arena {
        /// Byte offset.
        offset: usize,
    },
}

/// A contiguous buffer.
#[derive(Clone, Debug)]
pub struct Buffer {
    /// Element type.
    pub dtype: DType,
    /// Number of elements.
    pub elements: usize,
    /// Where it lives.
    pub place: Place,
}

/// A strided window onto a buffer. Element (i0, i1, ..) sits at `offset + sum i_k strides_k`; stride 0 repeats.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct View {
    /// The buffer.
    pub buffer: BufferId,
    /// First element.
    pub offset: usize,
    /// Lengths of the axes.
    pub shape: Vec<usize>,
    /// Elements between neighbours on each axis.
    pub strides: Vec<usize>,
    /// Element type (the buffer's own).
    pub dtype: DType,
}

/// A value inside a loop: a load, or the result of an earlier instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operand {
    /// `loads[k]` at the current element.
    Load(u32),
    /// The result of `code[k]` at the current element.
    Register(u32),
    /// A constant, as `f64` bits.
    Constant(u64),
}

/// A scalar instruction of a loop; instruction k defines register k.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Instruction {
    /// f(a).
    Unary(Unary, Operand),
    /// f(a, b).
    Binary(Binary, Operand, Operand),
    /// b where a is not zero, else c.
    Select(Operand, Operand, Operand),
}

/// How a reduction combines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reduction {
    /// Sum.
    Sum,
    /// Maximum.
    Max,
}

/// A result of a loop.
#[derive(Clone, Debug, PartialEq)]
pub struct Store {
    /// What is stored.
    pub value: Operand,
    /// Where: a view of the iteration space's shape. Reduced axes have stride 0.
    pub to: View,
    /// `None`: one element for each point. Otherwise all points that share an element are combined.
    pub reduction: Option<Reduction>,
}

/// One pass over an iteration space: loads, scalar instructions, stores (elementwise or reduced).
///
/// All loads, instructions and stores have the loop's `dtype`, but for loads and stores that convert (their views' own types).
#[derive(Clone, Debug)]
pub struct Loop {
    /// Iteration space, row-major.
    pub shape: Vec<usize>,
    /// Type computed in.
    pub dtype: DType,
    /// Views of the iteration space's shape.
    pub loads: Vec<View>,
    /// Straight-line code on the current element.
    pub code: Vec<Instruction>,
    /// Results. All reduced stores of one loop reduce the same axes.
    pub stores: Vec<Store>,
}

/// What happens to each element of a product before it is stored: out = f(product + bias).
#[derive(Clone, Debug, Default)]
pub struct Epilogue {
    /// Views of shape (batch, rows, columns) loaded beside the product (bias and the like).
    pub loads: Vec<View>,
    /// Code in which `Operand::Load(0)` is the product itself and `Operand::Load(k + 1)` is `loads[k]`.
    pub code: Vec<Instruction>,
    /// Values stored, with their views of shape (batch, rows, columns). Empty: the product itself goes to `Product::out`.
    pub stores: Vec<(Operand, View)>,
}

/// out\[b\] (+)= a\[b\] b\[b\] for b in the batch.
#[derive(Clone, Debug)]
pub struct Product {
    /// (batch, m, k); batch stride 0 where the operand is shared.
    pub a: View,
    /// (batch, k, n).
    pub b: View,
    /// (batch, m, n). Batch stride 0: the products of the whole batch are summed (in order).
    pub out: View,
    /// Add to what `out` holds instead of replacing it.
    pub accumulate: bool,
    /// Work on the result while it is in cache.
    pub epilogue: Option<Epilogue>,
}

/// One part of a convolution from the other two, all groups.
#[derive(Clone, Debug)]
pub struct Convolution {
    /// Which part is written, stride and padding.
    pub conv: Conv2d,
    /// (groups, N, C, H, W); group stride 0 where all groups have the same images.
    pub images: View,
    /// (groups, O, C, h, w); group stride 0 where all groups have the same filters.
    pub filters: View,
    /// (groups, N, O, H', W'); group stride 0 where all groups have the same results.
    pub results: View,
}

impl Convolution {
    /// The part that is written, contiguous.
    pub fn out(&self) -> &View {
        match self.conv.part {
            ConvPart::Input => &self.images,
            ConvPart::Filter => &self.filters,
            ConvPart::Output => &self.results,
        }
    }
}

/// What one step does.
#[derive(Clone, Debug)]
pub enum Action {
    /// Elementwise work, copies and reductions.
    Loop(Loop),
    /// Matrix products.
    Product(Product),
    /// A part of convolutions.
    Convolution(Convolution),
    /// Lower Cholesky factors: a (batch, n, n) to a dense (batch, n, n) factor; the strict upper part is zero.
    Cholesky {
        /// Matrices; only the lower triangle is read.
        a: View,
        /// Factors.
        factor: View,
    },
    /// out = (L L^T)^-1 b.
    SolveFactor {
        /// Factors (batch, n, n).
        factor: View,
        /// Right-hand sides (batch, n, k).
        b: View,
        /// Solutions (batch, n, k), contiguous.
        out: View,
    },
    /// out = (L L^T)^-1, both triangles.
    InverseFactor {
        /// Factors (batch, n, n).
        factor: View,
        /// Inverses (batch, n, n), contiguous.
        out: View,
    },
    /// out = 2 sum log diag L.
    LogDetFactor {
        /// Factors (batch, n, n).
        factor: View,
        /// Log-determinants (batch).
        out: View,
    },
    /// out\[i, j, l\] = x\[i, index\[j\], l\].
    Gather {
        /// (outer, entries, inner).
        x: View,
        /// (picked), u32.
        index: View,
        /// (outer, picked, inner), contiguous.
        out: View,
    },
    /// out = 0; out\[i, index\[j\], l\] += u\[i, j, l\], in the order of j.
    ScatterAdd {
        /// (outer, picked, inner).
        u: View,
        /// (picked), u32.
        index: View,
        /// (outer, entries, inner), contiguous.
        out: View,
    },
    /// out\[i, c\] = 1 where index\[i\] = c, else 0.
    OneHot {
        /// (count), u32.
        index: View,
        /// (count, classes), contiguous.
        out: View,
    },
    /// out\[r, c\] = index\[r, c\] + r stride, u32.
    IndexOffset {
        /// (rows, columns), u32.
        index: View,
        /// Added per row.
        stride: u32,
        /// (rows, columns), contiguous.
        out: View,
    },
    /// The identity matrix.
    Identity {
        /// (n, n), contiguous.
        out: View,
    },
    /// Counter-based random numbers.
    Noise {
        /// Distribution.
        distribution: Distribution,
        /// Stream number.
        stream: u32,
        /// Contiguous.
        out: View,
    },
}

/// One step of a plan.
#[derive(Clone, Debug)]
pub struct Step {
    /// What it does.
    pub action: Action,
    /// Name of the operation (the last one of a fused group), for errors and dumps.
    pub op: &'static str,
    /// Where that operation was recorded.
    pub location: &'static Location<'static>,
    /// Floating-point operations, counting a multiply-add as two.
    pub flops: f64,
    /// Bytes read and written, each operand once.
    pub bytes: f64,
}
