//! The primitives: what a node of the tape computes.

/// Scalar functions of one argument. Derivatives stand in `ops/elementwise.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Unary {
    Neg,
    Exp,
    Expm1,
    Ln,
    Log1p,
    Sqrt,
    Reciprocal,
    Square,
    Tanh,
    Sigmoid,
    /// ln(1 + exp(x)), without overflow.
    Softplus,
    Sin,
    Cos,
    Abs,
    /// -1, 0 or 1.
    Sign,
    /// max(x, 0).
    Relu,
    /// 1 where x > 0, else 0.
    Step,
    /// x where x > 0, else exp(x) - 1.
    Elu,
}

/// Scalar functions of two arguments; comparisons give 1 or 0 in the operands' own type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    /// The larger; the first where equal.
    Max,
    /// The smaller; the first where equal.
    Min,
    Greater,
    GreaterEqual,
    Equal,
}

/// Distributions of noise leaves. The numbers stay the same from run to run until [`Machine::set_noise`](crate::Machine::set_noise) is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Distribution {
    /// Standard normal.
    Normal,
    /// Uniform on [0, 1).
    Uniform,
    /// -1 or 1 with equal probability.
    Rademacher,
}

/// One of the three parts of a convolution, computed from the other two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConvPart {
    /// Images (G, N, C, H, W).
    Input,
    /// Filters (G, O, C, h, w).
    Filter,
    /// Results (G, N, O, H', W').
    Output,
}

/// A convolution: which part is computed, and how the filters move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Conv2d {
    /// The part that is computed; the operands are the other two, in the order images, filters, results.
    pub part: ConvPart,
    /// Rows and columns from one position of the filters to the next.
    pub stride: [usize; 2],
    /// Rows and columns of zeros on each side of the images.
    pub padding: [usize; 2],
}

impl Conv2d {
    /// The part's name.
    pub const fn name(self) -> &'static str {
        match self.part {
            ConvPart::Input => "conv2d_input",
            ConvPart::Filter => "conv2d_filter",
            ConvPart::Output => "conv2d",
        }
    }
}

/// A primitive operation. Shapes of results are kept by the node.
///
/// `Expand`, `Sum` and `Max` keep the rank: reduced axes have length 1 afterwards.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// A buffer filled from outside; `parameters`, data, tangents waiting for a value.
    Input,
    /// Every element has the value whose `f64` bits these are.
    Constant(u64),
    /// The identity matrix, shape (n, n).
    Identity,
    /// Counter-based random numbers: seed and step come from the machine, `stream` tells leaves apart.
    Noise {
        /// Distribution drawn from.
        distribution: Distribution,
        /// Number of the stream; equal streams give equal numbers.
        stream: u32,
    },
    /// A scalar function of one argument.
    Unary(Unary),
    /// A scalar function of two arguments of equal shape.
    Binary(Binary),
    /// (mask, a, b): a where mask is not zero, else b. Equal shapes.
    Select,
    /// Repeats axes of length 1 up to the node's shape. Same rank.
    Expand,
    /// Sum over axes, which keep length 1. Axes ascending.
    Sum {
        /// Axes summed over.
        axes: Vec<usize>,
    },
    /// Maximum over axes, which keep length 1. Axes ascending.
    Max {
        /// Axes reduced.
        axes: Vec<usize>,
    },
    /// The same elements in row-major order under another shape.
    Reshape,
    /// Axis k of the result is axis `axes[k]` of the argument.
    Permute {
        /// The permutation.
        axes: Vec<usize>,
    },
    /// The box that begins at `start` and has the node's shape.
    Slice {
        /// First index on each axis.
        start: Vec<usize>,
    },
    /// Zeros of the node's shape with the argument placed at `start`.
    Pad {
        /// Where the argument's first element goes.
        start: Vec<usize>,
    },
    /// Arguments one after another along an axis.
    Concat {
        /// The axis.
        axis: usize,
    },
    /// (x, index): entries of x along `axis` chosen by a rank-1 index tensor.
    Gather {
        /// The axis.
        axis: usize,
    },
    /// (u, index): zeros of the node's shape, u's entries along `axis` added at the indices (rank 1).
    ScatterAdd {
        /// The axis.
        axis: usize,
    },
    /// Index tensor (any shape) to indicator vectors along a new last axis, in the node's type.
    OneHot,
    /// Index tensor (b, k) plus `stride` times its row: turns per-row indices into flat ones.
    IndexOffset {
        /// Added for each row.
        stride: u32,
    },
    /// (a, b) of shapes (Ba, m, k) and (Bb, k, n), Ba = Bb or one of them 1: batched matrix products.
    MatMul,
    /// Two parts of a convolution to the third. Axis 0 are groups, as many in both operands or 1 in one of them: a group has images, filters and
    /// results of its own.
    Conv2d(Conv2d),
    /// Diagonals of the last two axes: (.., n, n) -> (.., n).
    Diag,
    /// Diagonal matrices: (.., n) -> (.., n, n).
    DiagEmbed,
    /// (a, b): a^-1 b for symmetric positive definite a of shape (B, n, n), b of shape (B, n, k).
    SolveSpd,
    /// Log-determinants of symmetric positive definite matrices: (B, n, n) -> (B).
    LogDetSpd,
    /// The same numbers in the node's element type.
    Convert,
    /// The identity, with derivative zero.
    StopGradient,
}

impl Op {
    /// The operation's name in errors and plans.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Constant(_) => "constant",
            Self::Identity => "identity",
            Self::Noise { .. } => "noise",
            Self::Unary(f) => f.name(),
            Self::Binary(f) => f.name(),
            Self::Select => "select",
            Self::Expand => "expand",
            Self::Sum { .. } => "sum",
            Self::Max { .. } => "max",
            Self::Reshape => "reshape",
            Self::Permute { .. } => "permute",
            Self::Slice { .. } => "slice",
            Self::Pad { .. } => "pad",
            Self::Concat { .. } => "concat",
            Self::Gather { .. } => "gather",
            Self::ScatterAdd { .. } => "scatter_add",
            Self::OneHot => "one_hot",
            Self::IndexOffset { .. } => "index_offset",
            Self::MatMul => "matmul",
            Self::Conv2d(conv) => conv.name(),
            Self::Diag => "diag",
            Self::DiagEmbed => "diag_embed",
            Self::SolveSpd => "solve_spd",
            Self::LogDetSpd => "log_det_spd",
            Self::Convert => "convert",
            Self::StopGradient => "stop_gradient",
        }
    }
}

impl Unary {
    /// All of them, for tests and kernels generated from the table.
    pub const ALL: [Self; 18] = [
        Self::Neg,
        Self::Exp,
        Self::Expm1,
        Self::Ln,
        Self::Log1p,
        Self::Sqrt,
        Self::Reciprocal,
        Self::Square,
        Self::Tanh,
        Self::Sigmoid,
        Self::Softplus,
        Self::Sin,
        Self::Cos,
        Self::Abs,
        Self::Sign,
        Self::Relu,
        Self::Step,
        Self::Elu,
    ];

    /// The function's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Neg => "neg",
            Self::Exp => "exp",
            Self::Expm1 => "expm1",
            Self::Ln => "ln",
            Self::Log1p => "log1p",
            Self::Sqrt => "sqrt",
            Self::Reciprocal => "reciprocal",
            Self::Square => "square",
            Self::Tanh => "tanh",
            Self::Sigmoid => "sigmoid",
            Self::Softplus => "softplus",
            Self::Sin => "sin",
            Self::Cos => "cos",
            Self::Abs => "abs",
            Self::Sign => "sign",
            Self::Relu => "relu",
            Self::Step => "step",
            Self::Elu => "elu",
        }
    }
}

impl Binary {
    /// All of them, for tests and kernels generated from the table.
    pub const ALL: [Self; 9] = [
        Self::Add,
        Self::Sub,
        Self::Mul,
        Self::Div,
        Self::Max,
        Self::Min,
        Self::Greater,
        Self::GreaterEqual,
        Self::Equal,
    ];

    /// The function's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Sub => "sub",
            Self::Mul => "mul",
            Self::Div => "div",
            Self::Max => "maximum",
            Self::Min => "minimum",
            Self::Greater => "greater",
            Self::GreaterEqual => "greater_equal",
            Self::Equal => "equal",
        }
    }
}
