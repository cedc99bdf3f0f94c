//! Windows of a pooling: a reduction over a few neighbours on two axes, and what its derivative repeats over them, become elementwise work on one
//! strided view for each place in the window. Such work fuses with what comes before and after, and needs no value of the images' size but what is
//! asked for.
//!
//! The order of sums and maxima stays that of the places.

use super::graph::{Graph, Kind, Origin};
use super::lower::Point;
use super::recompute::is_cheap;
use crate::op::Binary;
use crate::{DType, Op};

/// Most places in a window.
const PLACES: usize = 9;
/// Windows from which on views pay.
const WINDOWS: usize = 256;
/// Most elementwise operations between a reduction and what is viewed.
const DEPTH: usize = 4;

/// The places of a window: for each the first index on every axis.
struct Places {
    starts: Vec<Vec<usize>>,
    /// Shape of what all windows have at one place.
    shape: Vec<usize>,
}

impl Places {
    /// Those of a pooling: few elements along the axes, the last one among them, with another axis in between.
    fn new(shape: &[usize], axes: &[usize]) -> Option<Self> {
        let last = shape.iter().rposition(|&length| length != 1)?;
        let count: usize = axes.iter().map(|&axis| shape[axis]).product();
        let first = axes.iter().copied().find(|&axis| shape[axis] != 1)?;
        let split = (first..last).any(|axis| shape[axis] != 1 && !axes.contains(&axis));
        if !split || !axes.contains(&last) || !(2..=PLACES).contains(&count) {
            return None;
        }
        let mut one = shape.to_vec();
        axes.iter().for_each(|&axis| one[axis] = 1);
        if one.iter().product::<usize>() < WINDOWS {
            return None;
        }
        let starts = (0..count).map(|mut place| {
            let mut start = vec![0; shape.len()];
            for &axis in axes.iter().rev() {
                start[axis] = place % shape[axis];
                place /= shape[axis];
            }
            start
        });
        Some(Self { starts: starts.collect(), shape: one })
    }
}

impl Graph {
    /// A reduction over windows, place by place.
    pub(super) fn pooled(
        &mut self,
        f: Binary,
        axes: &[usize],
        x: usize,
        dtype: DType,
        origin: Origin,
    ) -> Option<usize> {
        let places = Places::new(&self.nodes[x].shape, axes)?;
        if !self.has_views(x, DEPTH) {
            return None;
        }
        let mut result = None;
        for start in &places.starts {
            let part = self.at_place(x, start, &places.shape);
            result = Some(match result {
                None => part,
                Some(before) => self.op(Op::Binary(f), &[before, part], &places.shape, dtype, origin),
            });
        }
        result
    }

    /// A comparison times something repeated over windows, place by place: what the derivative of a maximum is.
    pub(super) fn spread_over_windows(
        &mut self,
        inputs: [usize; 2],
        shape: &[usize],
        dtype: DType,
        origin: Origin,
    ) -> Option<usize> {
        let compares = |&input: &usize| self.nodes[input].kind == Kind::Op(Op::Binary(Binary::Equal));
        let repeated = |&input: &usize| self.nodes[input].kind == Kind::Op(Op::Expand);
        inputs.iter().find(|input| compares(input))?;
        let inner = &self.nodes[self.nodes[*inputs.iter().find(|input| repeated(input))?].inputs[0]].shape;
        let axes: Vec<usize> = (0..shape.len()).filter(|&k| inner[k] != shape[k]).collect();
        let places = Places::new(shape, &axes)?;
        if !inputs.iter().all(|&input| self.has_views(input, DEPTH)) {
            return None;
        }
        let mut parts = Vec::with_capacity(places.starts.len());
        for start in &places.starts {
            let operands = inputs.map(|input| self.at_place(input, start, &places.shape));
            parts.push(self.op(Op::Binary(Binary::Mul), &operands, &places.shape, dtype, origin));
        }
        Some(self.make(Kind::Assemble { starts: places.starts }, &parts, shape, dtype, origin))
    }

    /// Whether a part of the node costs no more than that part: a view, or a few cheap operations on views.
    fn has_views(&self, id: usize, depth: usize) -> bool {
        let node = &self.nodes[id];
        match point(&node.kind) {
            Some(point) => depth > 0 && is_cheap(point) && node.inputs.iter().all(|&id| self.has_views(id, depth - 1)),
            None => node.kind != Kind::Op(Op::Convert),
        }
    }

    /// The box of the given shape at `start` of a node.
    fn at_place(&mut self, id: usize, start: &[usize], shape: &[usize]) -> usize {
        let node = self.nodes[id].clone();
        match &node.kind {
            Kind::Op(op) if point(&node.kind).is_some() => {
                let inputs: Vec<usize> = node.inputs.iter().map(|&input| self.at_place(input, start, shape)).collect();
                self.op(op.clone(), &inputs, shape, node.dtype, node.origin)
            }
            Kind::Op(Op::Expand) => {
                let inner = self.nodes[node.inputs[0]].shape.clone();
                let (mut from, mut part) = (start.to_vec(), shape.to_vec());
                for k in (0..shape.len()).filter(|&k| inner[k] != node.shape[k]) {
                    (from[k], part[k]) = (0, 1);
                }
                let part = self.at_place(node.inputs[0], &from, &part);
                self.op(Op::Expand, &[part], shape, node.dtype, node.origin)
            }
            _ => self.op(Op::Slice { start: start.to_vec() }, &[id], shape, node.dtype, node.origin),
        }
    }
}

/// Elementwise work in the type of its operands.
fn point(kind: &Kind) -> Option<Point> {
    match kind {
        Kind::Op(Op::Unary(f)) => Some(Point::Unary(*f)),
        Kind::Op(Op::Binary(f)) => Some(Point::Binary(*f)),
        Kind::Op(Op::Select) => Some(Point::Select),
        _ => None,
    }
}
