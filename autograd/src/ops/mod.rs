//! The families of primitives: builders with their shape rules, and the jvp, transpose and batch rule of each.
//!
//! A rule pushes nodes; it never computes numbers. Reverse mode has no rules of its own: it is the transpose of the jvp.

mod broadcast;
mod convert;
mod convolution;
mod diagonal;
mod elementwise;
mod index;
mod leaf;
mod matmul;
mod pooling;
mod slice;
mod spd;
mod view;

use crate::{DType, Error, Node, Op, Result, Tape, Var};
use std::panic::Location;

impl Tape {
    /// An error unless the operands belong to this tape and have elements, no more than can be addressed.
    pub(crate) fn operands(&self, op: &'static str, vars: &[Var], location: &'static Location<'static>) -> Result<()> {
        self.own(vars).map_err(|_| Error::ForeignVar { location })?;
        vars.iter().try_for_each(|&v| check_shape(op, self.shape(v), location))
    }

    /// Pushes a node whose operands were checked, if its result can be addressed.
    fn record(
        &mut self,
        op: Op,
        inputs: Vec<Var>,
        shape: Vec<usize>,
        dtype: DType,
        location: &'static Location<'static>,
    ) -> Result<Var> {
        check_shape(op.name(), &shape, location)?;
        Ok(self.push(op, inputs, shape, dtype, location))
    }
}

/// Tangent of a node from the tangents of its inputs; `None` is zero.
pub(crate) fn jvp(tape: &mut Tape, y: Var, tangents: &[Option<Var>]) -> Result<Option<Var>> {
    let node = tape.node(y).clone();
    ascribed(tape, &node, |tape| jvp_rule(tape, &node, y, tangents))
}

fn jvp_rule(tape: &mut Tape, node: &Node, y: Var, tangents: &[Option<Var>]) -> Result<Option<Var>> {
    match &node.op {
        Op::Input | Op::Constant(_) | Op::Identity | Op::Noise { .. } | Op::StopGradient => Ok(None),
        Op::Unary(_) | Op::Binary(_) | Op::Select => elementwise::jvp(tape, node, y, tangents),
        Op::Expand | Op::Sum { .. } | Op::Max { .. } => {
            tangents[0].map(|t| broadcast::jvp(tape, node, y, t)).transpose()
        }
        Op::Reshape | Op::Permute { .. } => tangents[0].map(|t| view::jvp(tape, node, t)).transpose(),
        Op::Slice { .. } | Op::Pad { .. } | Op::Concat { .. } => slice::jvp(tape, node, tangents),
        Op::Gather { .. } | Op::ScatterAdd { .. } | Op::OneHot | Op::IndexOffset { .. } => {
            index::jvp(tape, node, tangents[0])
        }
        Op::MatMul => matmul::jvp(tape, node, tangents),
        Op::Conv2d(conv) => convolution::jvp(tape, node, *conv, tangents),
        Op::Diag | Op::DiagEmbed => tangents[0].map(|t| diagonal::apply(tape, node, t)).transpose(),
        Op::SolveSpd | Op::LogDetSpd => spd::jvp(tape, node, y, tangents),
        Op::Convert => tangents[0].map(|t| tape.convert(t, node.dtype)).transpose(),
    }
}

/// Cotangents of the inputs in which a node is linear, from the cotangent of its result.
pub(crate) fn transpose(tape: &mut Tape, y: Var, cotangent: Var, linear: &[bool]) -> Result<Vec<Option<Var>>> {
    let node = tape.node(y).clone();
    ascribed(tape, &node, |tape| transpose_rule(tape, &node, cotangent, linear))
}

fn transpose_rule(tape: &mut Tape, node: &Node, cotangent: Var, linear: &[bool]) -> Result<Vec<Option<Var>>> {
    let missing = Error::MissingRule {
        op: node.op.name(),
        rule: "transpose",
        reason: "it is not linear in the operand asked for",
        location: node.location,
    };
    match &node.op {
        Op::Unary(_) | Op::Binary(_) | Op::Select => {
            elementwise::transpose(tape, node, cotangent, linear)?.ok_or(missing)
        }
        Op::Expand | Op::Sum { .. } | Op::Max { .. } => {
            broadcast::transpose(tape, node, cotangent)?.map(|c| vec![Some(c)]).ok_or(missing)
        }
        Op::Reshape | Op::Permute { .. } => Ok(vec![Some(view::transpose(tape, node, cotangent)?)]),
        Op::Slice { .. } | Op::Pad { .. } | Op::Concat { .. } => slice::transpose(tape, node, cotangent, linear),
        Op::Gather { .. } | Op::ScatterAdd { .. } if !linear[1] => index::transpose(tape, node, cotangent),
        Op::MatMul => matmul::transpose(tape, node, cotangent, linear)?.ok_or(missing),
        Op::Conv2d(conv) => convolution::transpose(tape, node, *conv, cotangent, linear)?.ok_or(missing),
        Op::Diag | Op::DiagEmbed => Ok(vec![Some(diagonal::transpose(tape, node, cotangent)?)]),
        Op::SolveSpd | Op::LogDetSpd => spd::transpose(tape, node, cotangent, linear)?.ok_or(missing),
        Op::Convert => Ok(vec![Some(convert::transpose(tape, node, cotangent)?)]),
        _ => Err(missing),
    }
}

/// The node applied along a new leading axis of length `size`; each input comes with whether it carries that axis.
pub(crate) fn batch(tape: &mut Tape, y: Var, inputs: &[(Var, bool)], size: usize) -> Result<Var> {
    let node = tape.node(y).clone();
    ascribed(tape, &node, |tape| batch_rule(tape, &node, inputs, size))
}

fn batch_rule(tape: &mut Tape, node: &Node, inputs: &[(Var, bool)], size: usize) -> Result<Var> {
    match &node.op {
        Op::Unary(_) | Op::Binary(_) | Op::Select => {
            let all = inputs.iter().map(|&input| with_axis(tape, input, size)).collect::<Result<Vec<_>>>()?;
            elementwise::batch(tape, node, &all)
        }
        Op::Expand | Op::Sum { .. } | Op::Max { .. } => broadcast::batch(tape, node, inputs[0].0, size),
        Op::Reshape | Op::Permute { .. } => view::batch(tape, node, inputs[0].0, size),
        Op::Slice { .. } | Op::Pad { .. } | Op::Concat { .. } => {
            let all = inputs.iter().map(|&input| with_axis(tape, input, size)).collect::<Result<Vec<_>>>()?;
            slice::batch(tape, node, &all, size)
        }
        Op::Gather { .. } | Op::ScatterAdd { .. } | Op::OneHot | Op::IndexOffset { .. } => {
            index::batch(tape, node, inputs, size)
        }
        Op::MatMul => matmul::batch(tape, node, inputs, size),
        Op::Conv2d(conv) => convolution::batch(tape, node, *conv, inputs, size),
        Op::Diag | Op::DiagEmbed => diagonal::apply(tape, node, inputs[0].0),
        Op::SolveSpd | Op::LogDetSpd => spd::batch(tape, node, inputs, size),
        Op::Convert => tape.convert(inputs[0].0, node.dtype),
        Op::StopGradient => tape.stop_gradient(inputs[0].0),
        Op::Input | Op::Constant(_) | Op::Identity | Op::Noise { .. } => unreachable!("leaves have no inputs to batch"),
    }
}

/// Applies a rule of a node; what it pushes is ascribed to the line that recorded the node, so that plans and errors name that.
fn ascribed<T>(tape: &mut Tape, node: &Node, rule: impl FnOnce(&mut Tape) -> Result<T>) -> Result<T> {
    let before = tape.len();
    let result = rule(tape);
    tape.ascribe(before, node.location);
    result
}

/// The operand with the batch axis in front: as it is, or repeated.
fn with_axis(tape: &mut Tape, (var, batched): (Var, bool), size: usize) -> Result<Var> {
    if batched {
        return Ok(var);
    }
    let shape: Vec<usize> = std::iter::once(size).chain(tape.shape(var).iter().copied()).collect();
    tape.broadcast_to(var, &shape)
}

/// `(2, 3)`, for errors.
pub(crate) fn axes_text(axes: &[usize]) -> String {
    format!("({})", axes.iter().map(usize::to_string).collect::<Vec<_>>().join(", "))
}

/// A tensor has at least one element, and its bytes can be counted.
fn check_shape(op: &'static str, shape: &[usize], location: &'static Location<'static>) -> Result<()> {
    let why = if shape.contains(&0) {
        "has an axis of length 0"
    } else if shape
        .iter()
        .try_fold(size_of::<f64>(), |n, &axis| n.checked_mul(axis))
        .is_none_or(|n| n > isize::MAX as usize)
    {
        "has more elements than can be addressed"
    } else {
        return Ok(());
    };
    Err(Error::Shape { op, problem: format!("shape {} {why}", axes_text(shape)), location })
}

/// The common shape of two, matching trailing axes.
fn broadcast_shape(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let at = |shape: &[usize], k: usize| (k + shape.len()).checked_sub(rank).map_or(1, |i| shape[i]);
    (0..rank)
        .map(|k| match (at(a, k), at(b, k)) {
            (x, y) if x == y => Some(x),
            (1, y) => Some(y),
            (x, 1) => Some(x),
            _ => None,
        })
        .collect()
}

/// Axes must be ascending, distinct and within the rank.
fn check_axes(op: &'static str, shape: &[usize], axes: &[usize], location: &'static Location<'static>) -> Result<()> {
    if axes.windows(2).all(|w| w[0] < w[1]) && axes.iter().all(|&a| a < shape.len()) {
        return Ok(());
    }
    let problem = format!("axes {} are not distinct axes of {}", axes_text(axes), axes_text(shape));
    Err(Error::Shape { op, problem, location })
}
