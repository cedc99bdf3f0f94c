//! Algebraic simplification: rules applied while the program is built, so that each rewritten node is itself rewritten again.
//!
//! Rules keep every bit of a finite result, but for these, which change the order or number of roundings: a sum over repeated entries becomes a
//! product with their number; a solve against the identity becomes an inverse; a product with the identity is dropped. Zeros are
//! structural: `0 x` is zero whatever x holds.

use super::graph::{Graph, Kind, Origin};
use crate::op::{Binary, Unary};
use crate::{DType, Op};

impl Graph {
    /// A node, simplified.
    pub(super) fn make(
        &mut self,
        kind: Kind,
        inputs: &[usize],
        shape: &[usize],
        dtype: DType,
        origin: Origin,
    ) -> usize {
        let simpler = match &kind {
            Kind::Op(op) => self.simplify(op, inputs, shape, dtype, origin),
            Kind::Assemble { starts } => self.assemble(starts, inputs, shape, dtype, origin),
            Kind::Cholesky | Kind::InverseFactor => self.of_repeated_matrices(&kind, inputs, shape, dtype, origin),
            _ => None,
        };
        simpler.unwrap_or_else(|| self.push(kind, inputs.to_vec(), shape.to_vec(), dtype, origin))
    }

    pub(super) fn op(&mut self, op: Op, inputs: &[usize], shape: &[usize], dtype: DType, origin: Origin) -> usize {
        self.make(Kind::Op(op), inputs, shape, dtype, origin)
    }

    fn simplify(&mut self, op: &Op, inputs: &[usize], shape: &[usize], dtype: DType, origin: Origin) -> Option<usize> {
        let x = inputs.first().copied().unwrap_or(usize::MAX);
        if matches!(op, Op::Unary(_) | Op::Binary(_) | Op::Select | Op::Convert) {
            if let Some(id) = self.elementwise(op, inputs, shape, dtype, origin) {
                return Some(id);
            }
            return self.of_repeated(op, inputs, shape, dtype, origin);
        }
        match op {
            Op::StopGradient => Some(x),
            Op::Expand | Op::Reshape | Op::Permute { .. } | Op::Slice { .. } | Op::Diag => {
                self.view(op, x, shape, dtype, origin)
            }
            Op::Sum { axes } => self.sum(axes, x, shape, dtype, origin),
            Op::Max { axes } => {
                if let Some(c) = self.constant_value(x) {
                    return Some(self.constant(c, shape, dtype, origin));
                }
                if let Some(inner) = self.without_repeats(axes, x) {
                    return Some(self.op(op.clone(), &[inner], shape, dtype, origin));
                }
                self.pooled(Binary::Max, axes, x, dtype, origin)
            }
            Op::Pad { start } => {
                let kind = Kind::Assemble { starts: vec![start.clone()] };
                Some(self.make(kind, inputs, shape, dtype, origin))
            }
            Op::Concat { axis } => {
                let kind = Kind::Assemble { starts: self.concat_starts(inputs, *axis) };
                Some(self.make(kind, inputs, shape, dtype, origin))
            }
            Op::Gather { .. } => self.constant_value(x).map(|c| self.constant(c, shape, dtype, origin)),
            Op::ScatterAdd { .. } | Op::DiagEmbed if self.is_zero(x) => Some(self.constant(0.0, shape, dtype, origin)),
            Op::MatMul => self.product(x, inputs[1], shape, dtype, origin),
            Op::SolveSpd if self.is_zero(inputs[1]) => Some(self.constant(0.0, shape, dtype, origin)),
            Op::SolveSpd => {
                let matrices = self.nodes[x].shape.clone();
                let factor = self.make(Kind::Cholesky, &[x], &matrices, dtype, origin);
                if self.is_identity(inputs[1]) {
                    return Some(self.make(Kind::InverseFactor, &[factor], shape, dtype, origin));
                }
                Some(self.make(Kind::SolveFactor, &[factor, inputs[1]], shape, dtype, origin))
            }
            Op::LogDetSpd => {
                let matrices = self.nodes[x].shape.clone();
                let factor = self.make(Kind::Cholesky, &[x], &matrices, dtype, origin);
                Some(self.make(Kind::LogDetFactor, &[factor], shape, dtype, origin))
            }
            _ => None,
        }
    }

    pub(super) fn is_zero(&self, id: usize) -> bool {
        self.constant_value(id) == Some(0.0)
    }

    /// Whether every matrix of a node is the identity.
    fn is_identity(&self, id: usize) -> bool {
        let node = &self.nodes[id];
        match node.kind {
            Kind::Op(Op::Identity) => true,
            Kind::Op(Op::Expand | Op::Reshape) => {
                let inner = &self.nodes[node.inputs[0]].shape;
                inner.len() >= 2
                    && node.shape.len() >= 2
                    && inner[inner.len() - 2..] == node.shape[node.shape.len() - 2..]
                    && self.is_identity(node.inputs[0])
            }
            _ => false,
        }
    }

    fn sum(&mut self, axes: &[usize], x: usize, shape: &[usize], dtype: DType, origin: Origin) -> Option<usize> {
        let long: Vec<usize> = axes.iter().copied().filter(|&a| self.nodes[x].shape[a] != 1).collect();
        if long.is_empty() {
            return Some(x);
        }
        if let Some(c) = self.constant_value(x) {
            let count: usize = long.iter().map(|&a| self.nodes[x].shape[a]).product();
            return Some(self.constant(rounded(dtype, c * count as f64), shape, dtype, origin));
        }
        if let Some(inner) = self.without_repeats(&long, x) {
            let repeated = self.nodes[x].elements() / self.nodes[inner].elements();
            let sum = self.op(Op::Sum { axes: long }, &[inner], shape, dtype, origin);
            let count = self.constant(repeated as f64, shape, dtype, origin);
            return Some(self.op(Op::Binary(Binary::Mul), &[sum, count], shape, dtype, origin));
        }
        if long.len() < axes.len() {
            return Some(self.op(Op::Sum { axes: long }, &[x], shape, dtype, origin));
        }
        self.pooled(Binary::Add, axes, x, dtype, origin)
    }

    /// The argument of an `Expand` with only those repeats left that are not along `axes`; `None` if there are none along them.
    fn without_repeats(&mut self, axes: &[usize], x: usize) -> Option<usize> {
        let node = self.nodes[x].clone();
        if node.kind != Kind::Op(Op::Expand) {
            return None;
        }
        let inner = self.nodes[node.inputs[0]].shape.clone();
        let mut shape = node.shape.clone();
        for &axis in axes {
            shape[axis] = inner[axis];
        }
        (shape != node.shape).then(|| self.op(Op::Expand, &node.inputs, &shape, node.dtype, node.origin))
    }

    fn product(&mut self, a: usize, b: usize, shape: &[usize], dtype: DType, origin: Origin) -> Option<usize> {
        if self.is_zero(a) || self.is_zero(b) {
            return Some(self.constant(0.0, shape, dtype, origin));
        }
        let other = match (self.is_identity(a), self.is_identity(b)) {
            (_, true) => a,
            (true, _) => b,
            _ => return None,
        };
        let same = self.nodes[other].shape == shape;
        Some(if same { other } else { self.op(Op::Expand, &[other], shape, dtype, origin) })
    }

    /// Factorisations of one matrix repeated along the batch are done once.
    fn of_repeated_matrices(
        &mut self,
        kind: &Kind,
        inputs: &[usize],
        shape: &[usize],
        dtype: DType,
        origin: Origin,
    ) -> Option<usize> {
        let node = self.nodes[inputs[0]].clone();
        if node.kind != Kind::Op(Op::Expand) {
            return None;
        }
        let inner = self.nodes[node.inputs[0]].shape.clone();
        if inner[1..] != shape[1..] {
            return None;
        }
        let once = self.make(kind.clone(), &node.inputs, &inner, dtype, origin);
        Some(self.op(Op::Expand, &[once], shape, dtype, origin))
    }

    /// Elementwise work on nothing but repeated values and constants is done once and repeated.
    fn of_repeated(
        &mut self,
        op: &Op,
        inputs: &[usize],
        shape: &[usize],
        dtype: DType,
        origin: Origin,
    ) -> Option<usize> {
        let mut small = vec![1; shape.len()];
        for &input in inputs {
            let node = &self.nodes[input];
            match node.kind {
                Kind::Op(Op::Constant(_)) => {}
                Kind::Op(Op::Expand) => {
                    for (s, &n) in small.iter_mut().zip(&self.nodes[node.inputs[0]].shape) {
                        *s = (*s).max(n);
                    }
                }
                _ => return None,
            }
        }
        if small == shape {
            return None;
        }
        let operands: Vec<usize> = inputs
            .iter()
            .map(|&input| {
                let node = self.nodes[input].clone();
                match self.constant_value(input) {
                    Some(c) => self.constant(c, &small, node.dtype, node.origin),
                    None => self.op(Op::Expand, &node.inputs, &small, node.dtype, node.origin),
                }
            })
            .collect();
        let once = self.op(op.clone(), &operands, &small, dtype, origin);
        Some(self.op(Op::Expand, &[once], shape, dtype, origin))
    }

    fn elementwise(
        &mut self,
        op: &Op,
        inputs: &[usize],
        shape: &[usize],
        dtype: DType,
        origin: Origin,
    ) -> Option<usize> {
        let x = inputs[0];
        match *op {
            Op::Convert if self.nodes[x].dtype == dtype => Some(x),
            Op::Convert => self.constant_value(x).map(|c| self.constant(converted(dtype, c), shape, dtype, origin)),
            Op::Unary(f) => {
                if f == Unary::Neg
                    && let Some(inner) = self.negated(x)
                {
                    return Some(inner);
                }
                if f == Unary::Step
                    && let Some(positive) = self.existing(Kind::Op(Op::Unary(Unary::Relu)), &[x], shape, dtype)
                {
                    // The same mask from what is kept anyway.
                    return Some(self.op(op.clone(), &[positive], shape, dtype, origin));
                }
                let value = fold_unary(f, self.constant_value(x)?)?;
                dtype.is_float().then(|| self.constant(rounded(dtype, value), shape, dtype, origin))
            }
            Op::Binary(f) => {
                let simpler = self.binary(f, x, inputs[1], shape, dtype, origin);
                if simpler.is_some() || f != Binary::Mul {
                    return simpler;
                }
                self.spread_over_windows([x, inputs[1]], shape, dtype, origin)
            }
            Op::Select => {
                let (a, b) = (inputs[1], inputs[2]);
                match self.constant_value(x) {
                    Some(0.0) => Some(b),
                    Some(_) => Some(a),
                    None => (a == b).then_some(a),
                }
            }
            _ => None,
        }
    }

    /// y where the node is -y.
    fn negated(&self, id: usize) -> Option<usize> {
        let node = &self.nodes[id];
        (node.kind == Kind::Op(Op::Unary(Unary::Neg))).then(|| node.inputs[0])
    }

    fn binary(
        &mut self,
        f: Binary,
        a: usize,
        b: usize,
        shape: &[usize],
        dtype: DType,
        origin: Origin,
    ) -> Option<usize> {
        let (ca, cb) = (self.constant_value(a), self.constant_value(b));
        if let (Some(x), Some(y)) = (ca, cb)
            && dtype.is_float()
        {
            let value = rounded(dtype, fold_binary(f, rounded(dtype, x), rounded(dtype, y)));
            return Some(self.constant(value, shape, dtype, origin));
        }
        let neg = |graph: &mut Self, x| Some(graph.op(Op::Unary(Unary::Neg), &[x], shape, dtype, origin));
        let again = |graph: &mut Self, f, x, y| Some(graph.op(Op::Binary(f), &[x, y], shape, dtype, origin));
        match f {
            Binary::Add if ca == Some(0.0) => Some(b),
            Binary::Add | Binary::Sub if cb == Some(0.0) => Some(a),
            Binary::Sub if ca == Some(0.0) && dtype.is_float() => neg(self, b),
            Binary::Add => {
                if let Some(y) = self.negated(b) {
                    return again(self, Binary::Sub, a, y);
                }
                if let Some(x) = self.negated(a) {
                    return again(self, Binary::Sub, b, x);
                }
                self.join(a, b, shape, dtype, origin)
            }
            Binary::Sub => self.negated(b).and_then(|y| again(self, Binary::Add, a, y)),
            Binary::Mul if ca == Some(0.0) || cb == Some(0.0) => Some(self.constant(0.0, shape, dtype, origin)),
            Binary::Mul if ca == Some(1.0) => Some(b),
            Binary::Mul | Binary::Div if cb == Some(1.0) => Some(a),
            Binary::Div if ca == Some(0.0) && dtype.is_float() => Some(self.constant(0.0, shape, dtype, origin)),
            Binary::Mul if ca == Some(-1.0) => neg(self, b),
            Binary::Mul | Binary::Div if cb == Some(-1.0) => neg(self, a),
            // Constants to the right, powers of two folded: both exact.
            Binary::Mul if ca.is_some() => again(self, Binary::Mul, b, a),
            Binary::Div if cb.is_some_and(is_power_of_two) => {
                let inverse = self.constant(1.0 / cb?, shape, dtype, origin);
                again(self, Binary::Mul, a, inverse)
            }
            Binary::Mul => {
                let (outer, node) = (cb?, &self.nodes[a]);
                if let Some(x) = self.negated(a) {
                    let constant = self.constant(-outer, shape, dtype, origin);
                    return again(self, Binary::Mul, x, constant);
                }
                if node.kind != Kind::Op(Op::Binary(Binary::Mul)) {
                    return None;
                }
                let x = node.inputs[0];
                let inner = self.constant_value(node.inputs[1])?;
                if !is_power_of_two(outer) && !is_power_of_two(inner) {
                    return None;
                }
                let constant = self.constant(rounded(dtype, inner) * outer, shape, dtype, origin);
                again(self, Binary::Mul, x, constant)
            }
            Binary::Max | Binary::Min if a == b => Some(a),
            _ => None,
        }
    }
}

/// A constant as the element type holds it.
fn rounded(dtype: DType, value: f64) -> f64 {
    if dtype == DType::F32 { f64::from(value as f32) } else { value }
}

/// A constant after conversion.
fn converted(dtype: DType, value: f64) -> f64 {
    if dtype == DType::U32 { f64::from(value as u32) } else { rounded(dtype, value) }
}

fn is_power_of_two(value: f64) -> bool {
    let exponent = (value.to_bits() >> 52) & 0x7ff;
    // Far from overflow and underflow in either precision.
    value.to_bits() << 12 == 0 && (1023 - 64..=1023 + 64).contains(&exponent)
}

/// Functions whose rounded value does not depend on who computes it.
fn fold_unary(f: Unary, x: f64) -> Option<f64> {
    Some(match f {
        Unary::Neg => -x,
        Unary::Sqrt => x.sqrt(),
        Unary::Reciprocal => 1.0 / x,
        Unary::Square => x * x,
        Unary::Abs => x.abs(),
        Unary::Relu => x.max(0.0),
        Unary::Step => f64::from(x > 0.0),
        Unary::Exp if x == 0.0 => 1.0,
        Unary::Ln if x == 1.0 => 0.0,
        _ => return None,
    })
}

fn fold_binary(f: Binary, x: f64, y: f64) -> f64 {
    match f {
        Binary::Add => x + y,
        Binary::Sub => x - y,
        Binary::Mul => x * y,
        Binary::Div => x / y,
        Binary::Max => {
            if y > x {
                y
            } else {
                x
            }
        }
        Binary::Min => {
            if y < x {
                y
            } else {
                x
            }
        }
        Binary::Greater => f64::from(x > y),
        Binary::GreaterEqual => f64::from(x >= y),
        Binary::Equal => f64::from(x == y),
    }
}
