//! Repetition and reduction: expand <-> sum, and the maximum.

use super::{axes_text, check_axes, check_shape};
use crate::{Error, Node, Op, Result, Tape, Var};
use std::panic::Location;

impl Tape {
    /// Repeats axes of length 1 up to a shape of the same rank.
    #[track_caller]
    pub fn expand(&mut self, a: Var, shape: &[usize]) -> Result<Var> {
        let location = Location::caller();
        self.operands("expand", &[a], location)?;
        let from = self.shape(a);
        if from.len() != shape.len() || from.iter().zip(shape).any(|(&f, &t)| f != t && f != 1) {
            let problem =
                format!("{} does not expand to {}: only axes of length 1 repeat", axes_text(from), axes_text(shape));
            return Err(Error::Shape { op: "expand", problem, location });
        }
        if from == shape {
            return Ok(a);
        }
        let dtype = self.dtype(a);
        self.record(Op::Expand, vec![a], shape.to_vec(), dtype, location)
    }

    /// Repeats to a shape, matching trailing axes: missing leading axes are added.
    #[track_caller]
    pub fn broadcast_to(&mut self, a: Var, shape: &[usize]) -> Result<Var> {
        let location = Location::caller();
        self.operands("broadcast_to", &[a], location)?;
        check_shape("broadcast_to", shape, location)?;
        self.broadcast_at(a, shape, location)
    }

    pub(crate) fn broadcast_at(
        &mut self,
        a: Var,
        shape: &[usize],
        location: &'static Location<'static>,
    ) -> Result<Var> {
        let from = self.shape(a).to_vec();
        if from == shape {
            return Ok(a);
        }
        let dtype = self.dtype(a);
        let fits =
            from.len() <= shape.len() && from.iter().rev().zip(shape.iter().rev()).all(|(&f, &t)| f == t || f == 1);
        if !fits {
            let problem = format!("{} does not broadcast to {}", axes_text(&from), axes_text(shape));
            return Err(Error::Shape { op: "broadcast_to", problem, location });
        }
        let mut padded = vec![1; shape.len() - from.len()];
        padded.extend_from_slice(&from);
        let a = if padded == from { a } else { self.record(Op::Reshape, vec![a], padded.clone(), dtype, location)? };
        if padded == shape {
            return Ok(a);
        }
        self.record(Op::Expand, vec![a], shape.to_vec(), dtype, location)
    }

    /// Sum over axes, which stay with length 1.
    #[track_caller]
    pub fn sum(&mut self, a: Var, axes: &[usize]) -> Result<Var> {
        self.reduce("sum", a, axes, |axes| Op::Sum { axes }, Location::caller())
    }

    /// Maximum over axes, which stay with length 1. Its derivative is shared evenly between equal maxima.
    #[track_caller]
    pub fn max(&mut self, a: Var, axes: &[usize]) -> Result<Var> {
        self.reduce("max", a, axes, |axes| Op::Max { axes }, Location::caller())
    }

    /// Sum of all elements, a scalar.
    ///
    /// ```
    /// use autograd::{DType, Tape};
    /// let mut tape = Tape::new();
    /// let x = tape.input(&[2, 3], DType::F32);
    /// let total = tape.sum_all(x)?;
    /// assert_eq!(tape.shape(total), &[] as &[usize]);
    /// # Ok::<(), autograd::Error>(())
    /// ```
    #[track_caller]
    pub fn sum_all(&mut self, a: Var) -> Result<Var> {
        self.own(&[a])?;
        let axes: Vec<usize> = (0..self.shape(a).len()).collect();
        let kept = self.sum(a, &axes)?;
        self.reshape(kept, &[])
    }

    /// Mean of all elements, a scalar.
    #[track_caller]
    pub fn mean_all(&mut self, a: Var) -> Result<Var> {
        let total = self.sum_all(a)?;
        self.scale(total, 1.0 / self.elements(a).max(1) as f64)
    }

    /// Sum of the products of all elements, a scalar: <a, b>.
    #[track_caller]
    pub fn inner(&mut self, a: Var, b: Var) -> Result<Var> {
        let product = self.mul(a, b)?;
        self.sum_all(product)
    }

    fn reduce(
        &mut self,
        op: &'static str,
        a: Var,
        axes: &[usize],
        make: impl FnOnce(Vec<usize>) -> Op,
        location: &'static Location<'static>,
    ) -> Result<Var> {
        self.operands(op, &[a], location)?;
        let mut shape = self.shape(a).to_vec();
        let dtype = self.dtype(a);
        if !dtype.is_float() {
            return Err(Error::DType { op, found: dtype, expected: "f32 or f64", location });
        }
        let mut axes = axes.to_vec();
        axes.sort_unstable();
        check_axes(op, &shape, &axes, location)?;
        if axes.is_empty() {
            return Ok(a);
        }
        for &axis in &axes {
            shape[axis] = 1;
        }
        self.record(make(axes), vec![a], shape, dtype, location)
    }
}

pub(super) fn jvp(tape: &mut Tape, node: &Node, y: Var, tangent: Var) -> Result<Var> {
    let x = node.inputs[0];
    match &node.op {
        Op::Expand => tape.expand(tangent, &node.shape),
        Op::Sum { axes } => tape.sum(tangent, axes),
        Op::Max { axes } => {
            let shape = tape.shape(x).to_vec();
            let top = tape.expand(y, &shape)?;
            let mask = tape.equal(x, top)?;
            let count = tape.sum(mask, axes)?;
            let picked = tape.mul(mask, tangent)?;
            let total = tape.sum(picked, axes)?;
            tape.div(total, count)
        }
        _ => unreachable!("only the reductions come here"),
    }
}

pub(super) fn transpose(tape: &mut Tape, node: &Node, cotangent: Var) -> Result<Option<Var>> {
    let from = tape.shape(node.inputs[0]).to_vec();
    match &node.op {
        Op::Expand => {
            let axes: Vec<usize> = (0..from.len()).filter(|&k| from[k] != node.shape[k]).collect();
            tape.sum(cotangent, &axes).map(Some)
        }
        Op::Sum { .. } => tape.expand(cotangent, &from).map(Some),
        _ => Ok(None),
    }
}

pub(super) fn batch(tape: &mut Tape, node: &Node, x: Var, size: usize) -> Result<Var> {
    let shift = |axes: &[usize]| axes.iter().map(|a| a + 1).collect::<Vec<_>>();
    match &node.op {
        Op::Expand => {
            let shape: Vec<usize> = std::iter::once(size).chain(node.shape.iter().copied()).collect();
            tape.expand(x, &shape)
        }
        Op::Sum { axes } => tape.sum(x, &shift(axes)),
        Op::Max { axes } => tape.max(x, &shift(axes)),
        _ => unreachable!("only the reductions come here"),
    }
}
