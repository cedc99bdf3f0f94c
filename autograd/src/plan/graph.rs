//! The program a plan starts from: the part of the tape that is needed, hash-consed, ready to be rewritten.

use super::Request;
use crate::{DType, Op, Tape, Var};
use std::collections::HashMap;
use std::panic::Location;

/// What a node computes: a primitive of the tape, or one of the few that only plans know.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// A value that lies in a persistent buffer before the plan runs.
    Leaf(Var),
    /// A primitive.
    Op(Op),
    /// Arguments placed into disjoint boxes of the result that begin at the starts; zeros elsewhere. Pads and concatenations.
    Assemble {
        /// First index of each argument on each axis.
        starts: Vec<Vec<usize>>,
    },
    /// Lower Cholesky factors of (B, n, n).
    Cholesky,
    /// (factor, b): solutions from factors.
    SolveFactor,
    /// Inverses from factors.
    InverseFactor,
    /// Log-determinants from factors.
    LogDetFactor,
}

/// Where a node comes from, for errors and dumps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    /// Name of the recorded operation.
    pub op: &'static str,
    /// Where it was recorded.
    pub location: &'static Location<'static>,
}

/// One value of the program.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub kind: Kind,
    pub inputs: Vec<usize>,
    pub shape: Vec<usize>,
    pub dtype: DType,
    pub origin: Origin,
}

impl Node {
    /// Number of elements.
    pub(super) fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// A program: nodes after their inputs.
#[derive(Debug)]
pub(super) struct Graph {
    pub nodes: Vec<Node>,
    /// Whether rewriting and sharing are allowed.
    pub rewrite: bool,
    known: HashMap<(Kind, Vec<usize>, Vec<usize>, DType), usize>,
    /// Nodes of the outputs, in the order of the request.
    pub outputs: Vec<usize>,
    /// Nodes of the new values, in the order of the request.
    pub updates: Vec<usize>,
}

impl Graph {
    /// The part of the tape that outputs and updates need, cut at `given`, simplified unless the request is paranoid.
    pub(super) fn build(tape: &Tape, request: &Request) -> Self {
        let mut given = vec![false; tape.len()];
        for var in request.given {
            given[var.index()] = true;
        }
        let roots = || request.outputs.iter().copied().chain(request.updates.iter().map(|u| u.1));
        let mut needed = vec![false; tape.len()];
        for root in roots() {
            needed[root.index()] = true;
        }
        for index in (0..tape.len()).rev() {
            if needed[index] && !given[index] {
                for input in &tape.nodes()[index].inputs {
                    needed[input.index()] = true;
                }
            }
        }
        let mut graph = Self {
            nodes: Vec::new(),
            rewrite: !request.options.paranoid,
            known: HashMap::new(),
            outputs: Vec::new(),
            updates: Vec::new(),
        };
        let mut map = vec![usize::MAX; tape.len()];
        for index in (0..tape.len()).filter(|&i| needed[i]) {
            let node = &tape.nodes()[index];
            let origin = Origin { op: node.op.name(), location: node.location };
            map[index] = if given[index] || node.op == Op::Input {
                graph.push(Kind::Leaf(tape.var(index)), Vec::new(), node.shape.clone(), node.dtype, origin)
            } else {
                let inputs: Vec<usize> = node.inputs.iter().map(|v| map[v.index()]).collect();
                graph.record(&node.op, &inputs, &node.shape, node.dtype, origin)
            };
        }
        graph.outputs = request.outputs.iter().map(|v| map[v.index()]).collect();
        graph.updates = request.updates.iter().map(|u| map[u.1.index()]).collect();
        graph
    }

    /// A primitive of the tape: rewritten where allowed, and always split into what executors know.
    fn record(&mut self, op: &Op, inputs: &[usize], shape: &[usize], dtype: DType, origin: Origin) -> usize {
        if let Some(value) = self.empty_result(op, inputs, shape) {
            return self.constant(value, shape, dtype, origin);
        }
        if self.rewrite {
            return self.make(Kind::Op(op.clone()), inputs, shape, dtype, origin);
        }
        let matrices = |graph: &Self| graph.nodes[inputs[0]].shape.clone();
        match op {
            Op::SolveSpd => {
                let factor = self.push(Kind::Cholesky, vec![inputs[0]], matrices(self), dtype, origin);
                self.push(Kind::SolveFactor, vec![factor, inputs[1]], shape.to_vec(), dtype, origin)
            }
            Op::LogDetSpd => {
                let factor = self.push(Kind::Cholesky, vec![inputs[0]], matrices(self), dtype, origin);
                self.push(Kind::LogDetFactor, vec![factor], shape.to_vec(), dtype, origin)
            }
            Op::Pad { start } => {
                let kind = Kind::Assemble { starts: vec![start.clone()] };
                self.push(kind, inputs.to_vec(), shape.to_vec(), dtype, origin)
            }
            Op::Concat { axis } => {
                let kind = Kind::Assemble { starts: self.concat_starts(inputs, *axis) };
                self.push(kind, inputs.to_vec(), shape.to_vec(), dtype, origin)
            }
            op => self.push(Kind::Op(op.clone()), inputs.to_vec(), shape.to_vec(), dtype, origin),
        }
    }

    /// Where the arguments of a concatenation begin.
    pub(super) fn concat_starts(&self, inputs: &[usize], axis: usize) -> Vec<Vec<usize>> {
        let mut at = 0;
        inputs
            .iter()
            .map(|&input| {
                let shape = &self.nodes[input].shape;
                let mut start = vec![0; shape.len()];
                start[axis] = at;
                at += shape[axis];
                start
            })
            .collect()
    }

    /// The constant that a node equals because it, or what it reduces, has no elements.
    fn empty_result(&self, op: &Op, inputs: &[usize], shape: &[usize]) -> Option<f64> {
        let empty = |input: usize| self.nodes[input].elements() == 0;
        match op {
            Op::Constant(_) => None,
            _ if shape.contains(&0) => Some(0.0),
            Op::Max { .. } if empty(inputs[0]) => Some(f64::NEG_INFINITY),
            Op::Sum { .. } | Op::MatMul | Op::Pad { .. } | Op::ScatterAdd { .. } | Op::LogDetSpd
                if empty(inputs[0]) =>
            {
                Some(0.0)
            }
            _ => None,
        }
    }

    /// A constant of the given shape.
    pub(super) fn constant(&mut self, value: f64, shape: &[usize], dtype: DType, origin: Origin) -> usize {
        let kind = Kind::Op(Op::Constant(value.to_bits()));
        self.push(kind, Vec::new(), shape.to_vec(), dtype, origin)
    }

    /// The value of a constant node.
    pub(super) fn constant_value(&self, id: usize) -> Option<f64> {
        match self.nodes[id].kind {
            Kind::Op(Op::Constant(bits)) => Some(f64::from_bits(bits)),
            _ => None,
        }
    }

    /// Appends a node as it is, or finds the equal one.
    pub(super) fn push(
        &mut self,
        kind: Kind,
        inputs: Vec<usize>,
        shape: Vec<usize>,
        dtype: DType,
        origin: Origin,
    ) -> usize {
        let id = self.nodes.len();
        if self.rewrite {
            let key = (kind.clone(), inputs.clone(), shape.clone(), dtype);
            if let Some(&known) = self.known.get(&key) {
                return known;
            }
            self.known.insert(key, id);
        }
        self.nodes.push(Node { kind, inputs, shape, dtype, origin });
        id
    }

    /// The node that is equal to this one, if there is one.
    pub(super) fn existing(&self, kind: Kind, inputs: &[usize], shape: &[usize], dtype: DType) -> Option<usize> {
        self.known.get(&(kind, inputs.to_vec(), shape.to_vec(), dtype)).copied()
    }

    /// Which nodes outputs and updates need.
    pub(super) fn live(&self) -> Vec<bool> {
        let mut live = vec![false; self.nodes.len()];
        for &root in self.outputs.iter().chain(&self.updates) {
            live[root] = true;
        }
        for id in (0..self.nodes.len()).rev() {
            if live[id] {
                for &input in &self.nodes[id].inputs {
                    live[input] = true;
                }
            }
        }
        live
    }
}
