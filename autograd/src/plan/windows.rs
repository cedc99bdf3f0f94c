//! Simplification of views and of assembled values: slices of pads, sums of pads, chains of reshapes.

use super::graph::{Graph, Kind, Origin};
use crate::{DType, Op};

impl Graph {
    /// Simplifies `Expand`, `Reshape`, `Permute`, `Slice` and `Diag`.
    pub(super) fn view(&mut self, op: &Op, x: usize, shape: &[usize], dtype: DType, origin: Origin) -> Option<usize> {
        if let Some(c) = self.constant_value(x) {
            return Some(self.constant(c, shape, dtype, origin));
        }
        let inner = self.nodes[x].clone();
        match (op, &inner.kind) {
            (Op::Expand | Op::Reshape | Op::Slice { .. }, _) if inner.shape == shape => Some(x),
            (Op::Expand, Kind::Op(Op::Expand)) | (Op::Reshape, Kind::Op(Op::Reshape)) => {
                Some(self.op(op.clone(), &inner.inputs, shape, dtype, origin))
            }
            (Op::Slice { start }, Kind::Op(Op::Slice { start: first })) => {
                let start = start.iter().zip(first).map(|(a, b)| a + b).collect();
                Some(self.op(Op::Slice { start }, &inner.inputs, shape, dtype, origin))
            }
            (Op::Slice { start }, Kind::Assemble { starts }) => {
                self.slice_of_parts(start, shape, starts, &inner.inputs, dtype, origin)
            }
            (Op::Permute { axes }, _) if axes.iter().copied().eq(0..axes.len()) => Some(x),
            (Op::Permute { axes }, Kind::Op(Op::Permute { axes: first })) => {
                let axes = axes.iter().map(|&a| first[a]).collect();
                Some(self.op(Op::Permute { axes }, &inner.inputs, shape, dtype, origin))
            }
            (Op::Permute { .. }, Kind::Op(Op::Identity)) => Some(x),
            (Op::Permute { axes }, Kind::Op(Op::DiagEmbed)) if swaps_last_two(axes) => Some(x),
            (Op::Permute { axes }, _) => {
                // Only axes of length 1 move: the order of the elements stays.
                let long = axes.iter().filter(|&&a| inner.shape[a] != 1);
                long.is_sorted().then(|| self.op(Op::Reshape, &[x], shape, dtype, origin))
            }
            (Op::Diag, Kind::Op(Op::DiagEmbed)) => Some(inner.inputs[0]),
            (Op::Diag, Kind::Op(Op::Identity)) => Some(self.constant(1.0, shape, dtype, origin)),
            _ => None,
        }
    }

    /// A slice that lies within one part, or misses all of them.
    fn slice_of_parts(
        &mut self,
        start: &[usize],
        shape: &[usize],
        starts: &[Vec<usize>],
        parts: &[usize],
        dtype: DType,
        origin: Origin,
    ) -> Option<usize> {
        let mut missed = true;
        for (&part, at) in parts.iter().zip(starts) {
            let size = self.nodes[part].shape.clone();
            let within = (0..shape.len()).all(|k| start[k] >= at[k] && start[k] + shape[k] <= at[k] + size[k]);
            if within {
                let start = start.iter().zip(at).map(|(s, a)| s - a).collect();
                return Some(self.op(Op::Slice { start }, &[part], shape, dtype, origin));
            }
            missed &= !boxes_meet(start, shape, at, &size);
        }
        missed.then(|| self.constant(0.0, shape, dtype, origin))
    }

    /// Simplifies an assembled value: drops empty and zero parts, opens nested ones.
    pub(super) fn assemble(
        &mut self,
        starts: &[Vec<usize>],
        inputs: &[usize],
        shape: &[usize],
        dtype: DType,
        origin: Origin,
    ) -> Option<usize> {
        let volume: usize = inputs.iter().map(|&i| self.nodes[i].elements()).sum();
        let whole = volume == shape.iter().product();
        if whole
            && let Some(c) = inputs.first().and_then(|&i| self.constant_value(i))
            && inputs.iter().all(|&i| self.constant_value(i) == Some(c))
        {
            return Some(self.constant(c, shape, dtype, origin));
        }
        if let [one] = inputs
            && self.nodes[*one].shape == shape
        {
            return Some(*one);
        }
        let mut parts: Vec<(Vec<usize>, usize)> = Vec::new();
        for (start, &input) in starts.iter().zip(inputs) {
            let node = &self.nodes[input];
            if node.elements() == 0 || self.is_zero(input) {
                continue;
            }
            match &node.kind {
                Kind::Assemble { starts: nested } => {
                    for (inner, &part) in nested.iter().zip(&node.inputs) {
                        parts.push((start.iter().zip(inner).map(|(a, b)| a + b).collect(), part));
                    }
                }
                _ => parts.push((start.clone(), input)),
            }
        }
        if parts.is_empty() {
            return Some(self.constant(0.0, shape, dtype, origin));
        }
        if parts.len() == inputs.len() && parts.iter().map(|p| p.1).eq(inputs.iter().copied()) {
            return None;
        }
        let (starts, inputs): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
        Some(self.make(Kind::Assemble { starts }, &inputs, shape, dtype, origin))
    }

    /// The sum of two assembled values whose boxes are disjoint: one assembled value (the fan-in of transposed slices).
    pub(super) fn join(&mut self, a: usize, b: usize, shape: &[usize], dtype: DType, origin: Origin) -> Option<usize> {
        let (Kind::Assemble { starts: first }, Kind::Assemble { starts: second }) =
            (&self.nodes[a].kind, &self.nodes[b].kind)
        else {
            return None;
        };
        let size = |input: &usize| &self.nodes[*input].shape;
        for (at, input) in first.iter().zip(&self.nodes[a].inputs) {
            for (other_at, other) in second.iter().zip(&self.nodes[b].inputs) {
                if boxes_meet(at, size(input), other_at, size(other)) {
                    return None;
                }
            }
        }
        let starts = [first.as_slice(), second.as_slice()].concat();
        let inputs = [self.nodes[a].inputs.as_slice(), self.nodes[b].inputs.as_slice()].concat();
        Some(self.make(Kind::Assemble { starts }, &inputs, shape, dtype, origin))
    }
}

/// Whether two boxes share an element.
fn boxes_meet(start: &[usize], shape: &[usize], other: &[usize], other_shape: &[usize]) -> bool {
    (0..start.len()).all(|k| start[k] < other[k] + other_shape[k] && other[k] < start[k] + shape[k])
}

/// Whether a permutation only exchanges the last two axes.
fn swaps_last_two(axes: &[usize]) -> bool {
    let rank = axes.len();
    rank >= 2
        && axes[rank - 2] == rank - 1
        && axes[rank - 1] == rank - 2
        && axes[..rank - 2].iter().copied().eq(0..rank - 2)
}
