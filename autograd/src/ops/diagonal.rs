//! Diagonals of matrices: diag <-> diag_embed.

use super::axes_text;
use crate::{Error, Node, Op, Result, Tape, Var};
use std::panic::Location;

impl Tape {
    /// Diagonals of square matrices: (.., n, n) gives (.., n).
    #[track_caller]
    pub fn diag(&mut self, a: Var) -> Result<Var> {
        let location = Location::caller();
        self.operands("diag", &[a], location)?;
        let mut shape = self.shape(a).to_vec();
        let rank = shape.len();
        if rank < 2 || shape[rank - 1] != shape[rank - 2] {
            let problem = format!("{} does not end in a square matrix", axes_text(&shape));
            return Err(Error::Shape { op: "diag", problem, location });
        }
        shape.pop();
        let dtype = self.dtype(a);
        self.record(Op::Diag, vec![a], shape, dtype, location)
    }

    /// Diagonal matrices: (.., n) gives (.., n, n).
    #[track_caller]
    pub fn diag_embed(&mut self, a: Var) -> Result<Var> {
        let location = Location::caller();
        self.operands("diag_embed", &[a], location)?;
        let mut shape = self.shape(a).to_vec();
        let Some(&n) = shape.last() else {
            return Err(Error::Shape {
                op: "diag_embed",
                problem: "a scalar has no axis to put on a diagonal".into(),
                location,
            });
        };
        shape.push(n);
        let dtype = self.dtype(a);
        self.record(Op::DiagEmbed, vec![a], shape, dtype, location)
    }
}

/// Both are linear, and the same operation on batched operands.
pub(super) fn apply(tape: &mut Tape, node: &Node, x: Var) -> Result<Var> {
    match node.op {
        Op::Diag => tape.diag(x),
        _ => tape.diag_embed(x),
    }
}

pub(super) fn transpose(tape: &mut Tape, node: &Node, cotangent: Var) -> Result<Var> {
    match node.op {
        Op::Diag => tape.diag_embed(cotangent),
        _ => tape.diag(cotangent),
    }
}
