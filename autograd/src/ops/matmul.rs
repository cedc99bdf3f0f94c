//! Batched matrix products: bilinear, closed under transposition.

use super::axes_text;
use crate::{Error, Node, Op, Result, Tape, Var};
use std::panic::Location;

impl Tape {
    /// Matrix products over the last two axes: (.., m, k) and (.., k, n) give (.., m, n).
    ///
    /// Leading axes must be equal, or one operand has none (or only axes of length 1) and is shared.
    /// Transposed operands cost nothing: [`Tape::transpose`] is a view.
    ///
    /// ```
    /// use autograd::{DType, Tape};
    /// let mut tape = Tape::new();
    /// let w = tape.input(&[4, 3], DType::F32);
    /// let x = tape.input(&[10, 3, 2], DType::F32);
    /// let y = tape.matmul(w, x)?;
    /// assert_eq!(tape.shape(y), &[10, 4, 2]);
    /// # Ok::<(), autograd::Error>(())
    /// ```
    #[track_caller]
    pub fn matmul(&mut self, a: Var, b: Var) -> Result<Var> {
        let location = Location::caller();
        self.operands("matmul", &[a, b], location)?;
        let dtype = self.dtype(a);
        if !dtype.is_float() || self.dtype(b) != dtype {
            return Err(Error::DType {
                op: "matmul",
                found: self.dtype(b),
                expected: "two operands of one floating-point type",
                location,
            });
        }
        let (sa, sb) = (self.shape(a).to_vec(), self.shape(b).to_vec());
        let wrong = |why: &str| Error::Shape {
            op: "matmul",
            problem: format!("{} times {}: {why}", axes_text(&sa), axes_text(&sb)),
            location,
        };
        if sa.len() < 2 || sb.len() < 2 {
            return Err(wrong("operands need at least two axes"));
        }
        let (la, lb) = (&sa[..sa.len() - 2], &sb[..sb.len() - 2]);
        let (m, k, n) = (sa[sa.len() - 2], sa[sa.len() - 1], sb[sb.len() - 1]);
        if sb[sb.len() - 2] != k {
            return Err(wrong("the inner axes differ"));
        }
        let (ba, bb) = (la.iter().product::<usize>(), lb.iter().product::<usize>());
        let lead = if la == lb || bb == 1 && la.len() >= lb.len() {
            la
        } else if ba == 1 && lb.len() >= la.len() {
            lb
        } else {
            return Err(wrong("leading axes must be equal, or one operand has none"));
        };
        let a3 = self.reshape(a, &[ba, m, k])?;
        let b3 = self.reshape(b, &[bb, k, n])?;
        let product = self.record(Op::MatMul, vec![a3, b3], vec![ba.max(bb), m, n], dtype, location)?;
        let shape: Vec<usize> = lead.iter().copied().chain([m, n]).collect();
        self.reshape(product, &shape)
    }
}

pub(super) fn jvp(tape: &mut Tape, node: &Node, tangents: &[Option<Var>]) -> Result<Option<Var>> {
    let (a, b) = (node.inputs[0], node.inputs[1]);
    let left = tangents[0].map(|da| tape.matmul(da, b)).transpose()?;
    let right = tangents[1].map(|db| tape.matmul(a, db)).transpose()?;
    match (left, right) {
        (Some(left), Some(right)) => tape.add(left, right).map(Some),
        (left, right) => Ok(left.or(right)),
    }
}

pub(super) fn transpose(
    tape: &mut Tape,
    node: &Node,
    cotangent: Var,
    linear: &[bool],
) -> Result<Option<Vec<Option<Var>>>> {
    if linear[0] && linear[1] {
        return Ok(None);
    }
    let (a, b) = (node.inputs[0], node.inputs[1]);
    let (target, product) = if linear[0] {
        let bt = tape.transpose(b)?;
        (a, tape.matmul(cotangent, bt)?)
    } else {
        let at = tape.transpose(a)?;
        (b, tape.matmul(at, cotangent)?)
    };
    // A shared operand collects from the whole batch.
    let back = if tape.shape(target)[0] == 1 { tape.sum(product, &[0])? } else { product };
    Ok(Some(if linear[0] { vec![Some(back), None] } else { vec![None, Some(back)] }))
}

pub(super) fn batch(tape: &mut Tape, node: &Node, inputs: &[(Var, bool)], size: usize) -> Result<Var> {
    let (a, b) = (inputs[0].0, inputs[1].0);
    let (ba, bb) = (tape.shape(node.inputs[0])[0], tape.shape(node.inputs[1])[0]);
    let (batch, m, n) = (node.shape[0], node.shape[1], node.shape[2]);
    let k = tape.shape(node.inputs[0])[2];
    let product = match (inputs[0].1, inputs[1].1) {
        (true, false) if bb == 1 => {
            let a = tape.reshape(a, &[size * ba, m, k])?;
            tape.matmul(a, b)?
        }
        (false, true) if ba == 1 => {
            let b = tape.reshape(b, &[size * bb, k, n])?;
            tape.matmul(a, b)?
        }
        // The other operand differs along the old batch: the new axis joins the rows, so each old entry is one larger product.
        (true, false) => {
            let rows = tape.permute(a, &[1, 0, 2, 3])?;
            let rows = tape.reshape(rows, &[ba, size * m, k])?;
            let product = tape.matmul(rows, b)?;
            let split = tape.reshape(product, &[batch, size, m, n])?;
            return tape.permute(split, &[1, 0, 2, 3]);
        }
        (false, true) => {
            let columns = tape.permute(b, &[1, 2, 0, 3])?;
            let columns = tape.reshape(columns, &[bb, k, size * n])?;
            let product = tape.matmul(a, columns)?;
            let split = tape.reshape(product, &[batch, m, size, n])?;
            return tape.permute(split, &[2, 0, 1, 3]);
        }
        _ => {
            let a = tape.expand(a, &[size, batch, m, k])?;
            let b = tape.expand(b, &[size, batch, k, n])?;
            let a = tape.reshape(a, &[size * batch, m, k])?;
            let b = tape.reshape(b, &[size * batch, k, n])?;
            tape.matmul(a, b)?
        }
    };
    tape.reshape(product, &[size, batch, m, n])
}
