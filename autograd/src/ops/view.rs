//! Views: the same elements under another shape or order of axes.

use super::{axes_text, check_shape};
use crate::{Error, Node, Op, Result, Tape, Var};
use std::panic::Location;

impl Tape {
    /// The same elements, in row-major order, under another shape.
    #[track_caller]
    pub fn reshape(&mut self, a: Var, shape: &[usize]) -> Result<Var> {
        let location = Location::caller();
        self.operands("reshape", &[a], location)?;
        if self.shape(a) == shape {
            return Ok(a);
        }
        check_shape("reshape", shape, location)?;
        let (from, to) = (self.elements(a), shape.iter().product::<usize>());
        if from != to {
            let problem = format!("{} has {from} elements, {} has {to}", axes_text(self.shape(a)), axes_text(shape));
            return Err(Error::Shape { op: "reshape", problem, location });
        }
        let dtype = self.dtype(a);
        self.record(Op::Reshape, vec![a], shape.to_vec(), dtype, location)
    }

    /// Reorders axes: axis k of the result is axis `axes[k]` of the argument.
    #[track_caller]
    pub fn permute(&mut self, a: Var, axes: &[usize]) -> Result<Var> {
        let location = Location::caller();
        self.operands("permute", &[a], location)?;
        let from = self.shape(a);
        let mut seen = vec![false; from.len()];
        let valid =
            axes.len() == from.len() && axes.iter().all(|&k| k < from.len() && !std::mem::replace(&mut seen[k], true));
        if !valid {
            let problem = format!("{} is no permutation of the axes of {}", axes_text(axes), axes_text(from));
            return Err(Error::Shape { op: "permute", problem, location });
        }
        if axes.iter().enumerate().all(|(k, &a)| k == a) {
            return Ok(a);
        }
        let shape = axes.iter().map(|&k| from[k]).collect();
        let dtype = self.dtype(a);
        self.record(Op::Permute { axes: axes.to_vec() }, vec![a], shape, dtype, location)
    }

    /// Exchanges the last two axes.
    #[track_caller]
    pub fn transpose(&mut self, a: Var) -> Result<Var> {
        let location = Location::caller();
        self.operands("transpose", &[a], location)?;
        let rank = self.shape(a).len();
        if rank < 2 {
            let problem = format!("{} has fewer than two axes", axes_text(self.shape(a)));
            return Err(Error::Shape { op: "transpose", problem, location });
        }
        let mut axes: Vec<usize> = (0..rank).collect();
        axes.swap(rank - 2, rank - 1);
        self.permute(a, &axes)
    }
}

pub(super) fn jvp(tape: &mut Tape, node: &Node, tangent: Var) -> Result<Var> {
    match &node.op {
        Op::Permute { axes } => tape.permute(tangent, axes),
        _ => tape.reshape(tangent, &node.shape),
    }
}

pub(super) fn transpose(tape: &mut Tape, node: &Node, cotangent: Var) -> Result<Var> {
    match &node.op {
        Op::Permute { axes } => {
            let mut inverse = vec![0; axes.len()];
            for (k, &a) in axes.iter().enumerate() {
                inverse[a] = k;
            }
            tape.permute(cotangent, &inverse)
        }
        _ => {
            let shape = tape.shape(node.inputs[0]).to_vec();
            tape.reshape(cotangent, &shape)
        }
    }
}

pub(super) fn batch(tape: &mut Tape, node: &Node, x: Var, size: usize) -> Result<Var> {
    match &node.op {
        Op::Permute { axes } => {
            let axes: Vec<usize> = std::iter::once(0).chain(axes.iter().map(|a| a + 1)).collect();
            tape.permute(x, &axes)
        }
        _ => {
            let shape: Vec<usize> = std::iter::once(size).chain(node.shape.iter().copied()).collect();
            tape.reshape(x, &shape)
        }
    }
}
