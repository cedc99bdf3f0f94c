//! Parts of tensors: slice <-> pad, concatenation.

use super::axes_text;
use crate::{Error, Node, Op, Result, Tape, Var};
use std::panic::Location;

impl Tape {
    /// The box that begins at `start` and has the given shape.
    #[track_caller]
    pub fn slice(&mut self, a: Var, start: &[usize], shape: &[usize]) -> Result<Var> {
        let location = Location::caller();
        self.operands("slice", &[a], location)?;
        let from = self.shape(a);
        self.check_box("slice", start, shape, from, location)?;
        if from == shape {
            return Ok(a);
        }
        let dtype = self.dtype(a);
        self.record(Op::Slice { start: start.to_vec() }, vec![a], shape.to_vec(), dtype, location)
    }

    /// `length` entries of one axis, from `start` on.
    #[track_caller]
    pub fn narrow(&mut self, a: Var, axis: usize, start: usize, length: usize) -> Result<Var> {
        let location = Location::caller();
        self.operands("narrow", &[a], location)?;
        let mut shape = self.shape(a).to_vec();
        if axis >= shape.len() {
            let problem = format!("{} has no axis {axis}", axes_text(&shape));
            return Err(Error::Shape { op: "narrow", problem, location });
        }
        let mut starts = vec![0; shape.len()];
        starts[axis] = start;
        shape[axis] = length;
        self.slice(a, &starts, &shape)
    }

    /// Zeros of the given shape with `a` placed at `start`.
    #[track_caller]
    pub fn pad(&mut self, a: Var, start: &[usize], shape: &[usize]) -> Result<Var> {
        let location = Location::caller();
        self.operands("pad", &[a], location)?;
        self.check_box("pad", start, self.shape(a), shape, location)?;
        if self.shape(a) == shape {
            return Ok(a);
        }
        let dtype = self.dtype(a);
        self.record(Op::Pad { start: start.to_vec() }, vec![a], shape.to_vec(), dtype, location)
    }

    /// Tensors one after another along an axis; the other axes must agree.
    #[track_caller]
    pub fn concat(&mut self, parts: &[Var], axis: usize) -> Result<Var> {
        let location = Location::caller();
        self.operands("concat", parts, location)?;
        let Some(&first) = parts.first() else {
            return Err(Error::Shape { op: "concat", problem: "nothing to concatenate".into(), location });
        };
        let mut shape = self.shape(first).to_vec();
        let mut length = 0_usize;
        for &part in parts {
            let other = self.shape(part);
            let fits = axis < shape.len()
                && other.len() == shape.len()
                && (0..shape.len()).all(|k| k == axis || other[k] == shape[k])
                && self.dtype(part) == self.dtype(first);
            if !fits {
                let problem = format!(
                    "{} {} does not continue {} {} along axis {axis}",
                    self.dtype(part),
                    axes_text(other),
                    self.dtype(first),
                    axes_text(&shape)
                );
                return Err(Error::Shape { op: "concat", problem, location });
            }
            length = other[axis].saturating_add(length);
        }
        if parts.len() == 1 {
            return Ok(first);
        }
        shape[axis] = length;
        let dtype = self.dtype(first);
        self.record(Op::Concat { axis }, parts.to_vec(), shape, dtype, location)
    }

    fn check_box(
        &self,
        op: &'static str,
        start: &[usize],
        part: &[usize],
        whole: &[usize],
        location: &'static Location<'static>,
    ) -> Result<()> {
        let fits = start.len() == whole.len()
            && part.len() == whole.len()
            && (0..whole.len())
                .all(|k| part[k] > 0 && start[k].checked_add(part[k]).is_some_and(|end| end <= whole[k]));
        if fits {
            return Ok(());
        }
        let problem = format!(
            "a part of shape {} at {} does not lie inside {}",
            axes_text(part),
            axes_text(start),
            axes_text(whole)
        );
        Err(Error::Shape { op, problem, location })
    }
}

pub(super) fn jvp(tape: &mut Tape, node: &Node, tangents: &[Option<Var>]) -> Result<Option<Var>> {
    match &node.op {
        Op::Slice { start } => tangents[0].map(|t| tape.slice(t, start, &node.shape)).transpose(),
        Op::Pad { start } => tangents[0].map(|t| tape.pad(t, start, &node.shape)).transpose(),
        Op::Concat { axis } => {
            if tangents.iter().all(Option::is_none) {
                return Ok(None);
            }
            let parts: Vec<Var> =
                node.inputs.iter().zip(tangents).map(|(&x, t)| t.unwrap_or_else(|| tape.zeros_like(x))).collect();
            tape.concat(&parts, *axis).map(Some)
        }
        _ => unreachable!("only slice, pad and concat come here"),
    }
}

pub(super) fn transpose(tape: &mut Tape, node: &Node, cotangent: Var, linear: &[bool]) -> Result<Vec<Option<Var>>> {
    let shape = tape.shape(node.inputs[0]).to_vec();
    match &node.op {
        Op::Slice { start } => Ok(vec![Some(tape.pad(cotangent, start, &shape)?)]),
        Op::Pad { start } => Ok(vec![Some(tape.slice(cotangent, start, &shape)?)]),
        Op::Concat { axis } => {
            let mut at = 0;
            let mut parts = Vec::with_capacity(node.inputs.len());
            for (&x, &linear) in node.inputs.iter().zip(linear) {
                let length = tape.shape(x)[*axis];
                parts.push(if linear { Some(tape.narrow(cotangent, *axis, at, length)?) } else { None });
                at += length;
            }
            Ok(parts)
        }
        _ => unreachable!("only slice, pad and concat come here"),
    }
}

pub(super) fn batch(tape: &mut Tape, node: &Node, inputs: &[Var], size: usize) -> Result<Var> {
    let with = |first: usize, rest: &[usize]| std::iter::once(first).chain(rest.iter().copied()).collect::<Vec<_>>();
    match &node.op {
        Op::Slice { start } => tape.slice(inputs[0], &with(0, start), &with(size, &node.shape)),
        Op::Pad { start } => tape.pad(inputs[0], &with(0, start), &with(size, &node.shape)),
        Op::Concat { axis } => tape.concat(inputs, axis + 1),
        _ => unreachable!("only slice, pad and concat come here"),
    }
}
