//! Selection by index tensors: gather <-> scatter-add, indicator vectors.

use super::axes_text;
use crate::{DType, Error, Node, Op, Result, Tape, Var};
use std::panic::Location;

impl Tape {
    /// Entries of `x` along an axis, chosen by a rank-1 tensor of indices (u32). Indices are checked when the plan runs.
    #[track_caller]
    pub fn gather(&mut self, x: Var, index: Var, axis: usize) -> Result<Var> {
        let location = Location::caller();
        let mut shape = self.check_index("gather", x, index, axis, location)?;
        shape[axis] = self.elements(index);
        let dtype = self.dtype(x);
        self.record(Op::Gather { axis }, vec![x, index], shape, dtype, location)
    }

    /// Zeros with `length` entries along an axis, to which the entries of `u` are added at the indices.
    #[track_caller]
    pub fn scatter_add(&mut self, u: Var, index: Var, axis: usize, length: usize) -> Result<Var> {
        let location = Location::caller();
        let mut shape = self.check_index("scatter_add", u, index, axis, location)?;
        if shape[axis] != self.elements(index) {
            let problem = format!(
                "{} entries along axis {axis} of {}, but {} indices",
                shape[axis],
                axes_text(&shape),
                self.elements(index)
            );
            return Err(Error::Shape { op: "scatter_add", problem, location });
        }
        shape[axis] = length;
        let dtype = self.dtype(u);
        self.record(Op::ScatterAdd { axis }, vec![u, index], shape, dtype, location)
    }

    /// Indicator vectors along a new last axis: 1 at the index, 0 elsewhere.
    #[track_caller]
    pub fn one_hot(&mut self, index: Var, classes: usize, dtype: DType) -> Result<Var> {
        let location = Location::caller();
        self.operands("one_hot", &[index], location)?;
        if self.dtype(index) != DType::U32 {
            return Err(Error::DType { op: "one_hot", found: self.dtype(index), expected: "u32", location });
        }
        if !dtype.is_float() {
            return Err(Error::DType { op: "one_hot", found: dtype, expected: "f32 or f64", location });
        }
        let mut shape = self.shape(index).to_vec();
        shape.push(classes);
        self.record(Op::OneHot, vec![index], shape, dtype, location)
    }

    /// Adds `stride` times its row number to every index of a tensor (rows, columns).
    #[track_caller]
    pub fn index_offset(&mut self, index: Var, stride: u32) -> Result<Var> {
        let location = Location::caller();
        self.operands("index_offset", &[index], location)?;
        let shape = self.shape(index).to_vec();
        if self.dtype(index) != DType::U32 {
            return Err(Error::DType { op: "index_offset", found: self.dtype(index), expected: "u32", location });
        }
        if shape.len() != 2 {
            let problem = format!("{} is not of the form (rows, columns)", axes_text(&shape));
            return Err(Error::Shape { op: "index_offset", problem, location });
        }
        self.record(Op::IndexOffset { stride }, vec![index], shape, DType::U32, location)
    }

    fn check_index(
        &self,
        op: &'static str,
        x: Var,
        index: Var,
        axis: usize,
        location: &'static Location<'static>,
    ) -> Result<Vec<usize>> {
        self.operands(op, &[x, index], location)?;
        if self.dtype(index) != DType::U32 {
            return Err(Error::DType { op, found: self.dtype(index), expected: "u32", location });
        }
        if !self.dtype(x).is_float() {
            return Err(Error::DType { op, found: self.dtype(x), expected: "f32 or f64", location });
        }
        let shape = self.shape(x).to_vec();
        if axis >= shape.len() || self.shape(index).len() != 1 {
            let problem = format!(
                "axis {axis} of {} by indices of shape {} (one axis expected)",
                axes_text(&shape),
                axes_text(self.shape(index))
            );
            return Err(Error::Shape { op, problem, location });
        }
        Ok(shape)
    }

    /// Moves an axis to another place, keeping the order of the rest.
    pub(crate) fn move_axis(&mut self, a: Var, from: usize, to: usize) -> Result<Var> {
        let mut axes: Vec<usize> = (0..self.shape(a).len()).collect();
        let axis = axes.remove(from);
        axes.insert(to, axis);
        self.permute(a, &axes)
    }
}

pub(super) fn jvp(tape: &mut Tape, node: &Node, tangent: Option<Var>) -> Result<Option<Var>> {
    let Some(t) = tangent else { return Ok(None) };
    match node.op {
        Op::Gather { axis } => tape.gather(t, node.inputs[1], axis).map(Some),
        Op::ScatterAdd { axis } => tape.scatter_add(t, node.inputs[1], axis, node.shape[axis]).map(Some),
        _ => Ok(None),
    }
}

pub(super) fn transpose(tape: &mut Tape, node: &Node, cotangent: Var) -> Result<Vec<Option<Var>>> {
    let index = node.inputs[1];
    let back = match node.op {
        Op::Gather { axis } => {
            let length = tape.shape(node.inputs[0])[axis];
            tape.scatter_add(cotangent, index, axis, length)?
        }
        Op::ScatterAdd { axis } => tape.gather(cotangent, index, axis)?,
        _ => unreachable!("only gather and scatter_add come here"),
    };
    Ok(vec![Some(back), None])
}

pub(super) fn batch(tape: &mut Tape, node: &Node, inputs: &[(Var, bool)], size: usize) -> Result<Var> {
    match node.op {
        Op::OneHot => tape.one_hot(inputs[0].0, node.shape[node.shape.len() - 1], node.dtype),
        Op::IndexOffset { stride } => {
            let (rows, columns) = (node.shape[0], node.shape[1]);
            let by_row = tape.permute(inputs[0].0, &[1, 0, 2])?;
            let flat = tape.reshape(by_row, &[rows, size * columns])?;
            let moved = tape.index_offset(flat, stride)?;
            let split = tape.reshape(moved, &[rows, size, columns])?;
            tape.permute(split, &[1, 0, 2])
        }
        Op::Gather { axis } if !inputs[1].1 => tape.gather(inputs[0].0, inputs[1].0, axis + 1),
        Op::ScatterAdd { axis } if !inputs[1].1 => {
            tape.scatter_add(inputs[0].0, inputs[1].0, axis + 1, node.shape[axis])
        }
        Op::Gather { axis } | Op::ScatterAdd { axis } => {
            // One index row a batch entry: lay the batch and the axis out as one axis and shift the indices.
            let from_length = tape.shape(node.inputs[0])[axis];
            let x = if inputs[0].1 {
                inputs[0].0
            } else {
                let shape: Vec<usize> = std::iter::once(size).chain(tape.shape(inputs[0].0).iter().copied()).collect();
                tape.broadcast_to(inputs[0].0, &shape)?
            };
            let x = tape.move_axis(x, axis + 1, 1)?;
            let rest: Vec<usize> = tape.shape(x)[2..].to_vec();
            let joined = |first: &[usize]| first.iter().chain(&rest).copied().collect::<Vec<_>>();
            let flat = tape.reshape(x, &joined(&[size * from_length]))?;
            let picked = tape.shape(inputs[1].0)[1];
            let gathering = matches!(node.op, Op::Gather { .. });
            let stride = if gathering { from_length } else { node.shape[axis] };
            if stride.checked_mul(size).is_none_or(|n| u32::try_from(n).is_err()) {
                let problem = format!("{size} axes of length {stride} side by side are more than an index can count");
                return Err(Error::Shape { op: node.op.name(), problem, location: node.location });
            }
            let index = tape.index_offset(inputs[1].0, stride as u32)?;
            let index = tape.reshape(index, &[size * picked])?;
            let (result, length) = if gathering {
                (tape.gather(flat, index, 0)?, picked)
            } else {
                (tape.scatter_add(flat, index, 0, size * stride)?, stride)
            };
            let split = tape.reshape(result, &joined(&[size, length]))?;
            tape.move_axis(split, 1, axis + 1)
        }
        _ => unreachable!("only index operations come here"),
    }
}
