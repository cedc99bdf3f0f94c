//! From nodes to values: views are resolved, and every value that needs a buffer gets an item that says how it is made.

use super::graph::{Graph, Kind, Node, Origin};
use super::step::{Action, BufferId, Convolution, Reduction, View};
use crate::op::{Binary, Conv2d, ConvPart, Unary};
use crate::{DType, Op, Var};
use std::collections::HashMap;

/// What an operand is.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// The same number everywhere, as `f64` bits.
    Constant(u64),
    /// A view of a value; its buffer is the number of the value's item.
    View(View),
}

/// Elementwise work on one point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Point {
    /// The operand, converted to the item's type.
    Copy,
    Unary(Unary),
    Binary(Binary),
    Select,
}

/// A product and how far it is summed.
#[derive(Clone, Debug)]
pub(super) struct Multiply {
    /// (batch, m, k).
    pub a: View,
    /// (batch, k, n).
    pub b: View,
    /// The products of the batch are summed.
    pub summed: bool,
    /// The value the products are added to.
    pub start: Option<View>,
}

/// How a value is made.
#[derive(Clone, Debug)]
pub(super) enum Work {
    /// It lies in a persistent buffer.
    Leaf(Var),
    /// Elementwise; operands have the value's shape.
    Point(Point, Vec<Source>),
    /// A reduction of the operand along the axes on which `to`, a view of the operand's shape onto the value, has stride 0.
    Reduce { reduction: Reduction, from: Source, to: View },
    /// A matrix product.
    Product(Multiply),
    /// Parts copied to views of the value; zeros first if they leave gaps.
    Assemble { parts: Vec<(Source, View)>, gaps: bool },
    /// Anything else, on buffers that are numbers of items.
    Action(Action),
}

/// A value and how it is made.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub work: Work,
    pub shape: Vec<usize>,
    pub dtype: DType,
    pub origin: Origin,
}

impl Item {
    pub(super) fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// All items, in an order in which they can be made.
#[derive(Debug, Default)]
pub(super) struct Program {
    pub items: Vec<Item>,
    /// Output variables whose buffers hold the items' values.
    pub homes: Vec<Option<Var>>,
    /// Input variables and the items whose values they take over.
    pub updates: Vec<(Var, usize)>,
}

impl Program {
    /// Which items outputs and updates need.
    pub(super) fn live(&self) -> Vec<bool> {
        let mut live: Vec<bool> = self.homes.iter().map(Option::is_some).collect();
        for (_, item) in &self.updates {
            live[*item] = true;
        }
        for id in (0..self.items.len()).rev() {
            if live[id] {
                for view in super::fuse::reads(&self.items[id]) {
                    live[view.buffer.0] = true;
                }
            }
        }
        live
    }
}

/// Lowers the live part of a graph.
pub(super) fn lower(graph: &Graph, outputs: &[Var], updates: &[Var]) -> Program {
    let live = graph.live();
    let sums = if graph.rewrite { super::product::batch_sums(graph, &live) } else { HashMap::new() };
    let mut taken: HashMap<usize, Multiply> = HashMap::new();
    let mut lowering = Lowering {
        program: Program::default(),
        sources: vec![None; graph.nodes.len()],
        constants: HashMap::new(),
        views: graph.rewrite,
    };
    let mut skip = vec![false; graph.nodes.len()];
    for (id, node) in graph.nodes.iter().enumerate() {
        if !live[id] || skip[id] {
            continue;
        }
        if let Some(sum) = sums.get(&id) {
            let (a, b) = (lowering.operand(graph, node.inputs[0]), lowering.operand(graph, node.inputs[1]));
            if let Some(multiply) = sum.multiply(&a, &b) {
                taken.insert(sum.sum, multiply);
                sum.reshape.into_iter().for_each(|reshape| skip[reshape] = true);
                continue;
            }
        }
        let source = match taken.remove(&id) {
            Some(multiply) => lowering.item(Work::Product(multiply), &node.shape, node),
            None => lowering.node(graph, node),
        };
        lowering.sources[id] = Some(source);
    }
    lowering.roots(graph, outputs, updates);
    lowering.program
}

struct Lowering {
    program: Program,
    sources: Vec<Option<Source>>,
    /// One-element buffers of constants that a step needs in memory.
    constants: HashMap<(u64, DType), usize>,
    /// Whether views and constants may stand for values.
    views: bool,
}

impl Lowering {
    fn push(&mut self, work: Work, shape: &[usize], dtype: DType, origin: Origin) -> usize {
        self.program.items.push(Item { work, shape: shape.to_vec(), dtype, origin });
        self.program.homes.push(None);
        self.program.items.len() - 1
    }

    /// An item for a node; the source is the whole of it.
    fn item(&mut self, work: Work, shape: &[usize], node: &Node) -> Source {
        let id = self.push(work, shape, node.dtype, node.origin);
        Source::View(View::whole(BufferId(id), shape, node.dtype))
    }

    fn source(&self, id: usize) -> Source {
        self.sources[id].clone().expect("inputs are lowered before their users")
    }

    /// A node's value as a view; constants get a buffer of one element.
    fn operand(&mut self, graph: &Graph, id: usize) -> View {
        let node = &graph.nodes[id];
        match self.source(id) {
            Source::View(view) => view,
            Source::Constant(bits) => {
                let key = (bits, node.dtype);
                let item = match self.constants.get(&key) {
                    Some(&item) => item,
                    None => {
                        let work = Work::Point(Point::Copy, vec![Source::Constant(bits)]);
                        let item = self.push(work, &[], node.dtype, node.origin);
                        self.constants.insert(key, item);
                        item
                    }
                };
                View {
                    buffer: BufferId(item),
                    offset: 0,
                    shape: node.shape.clone(),
                    strides: vec![0; node.shape.len()],
                    dtype: node.dtype,
                }
            }
        }
    }

    /// A view in row-major order of a new buffer.
    fn copied(&mut self, view: View, origin: Origin) -> View {
        let (shape, dtype) = (view.shape.clone(), view.dtype);
        let id = self.push(Work::Point(Point::Copy, vec![Source::View(view)]), &shape, dtype, origin);
        View::whole(BufferId(id), &shape, dtype)
    }

    /// A view under another shape, copied if need be.
    fn reshaped(&mut self, view: View, shape: &[usize], origin: Origin) -> View {
        view.reshaped(shape).unwrap_or_else(|| {
            let mut copy = self.copied(view, origin);
            copy.strides = super::strided::row_major(shape);
            copy.shape = shape.to_vec();
            copy
        })
    }

    fn node(&mut self, graph: &Graph, node: &Node) -> Source {
        let op = match &node.kind {
            Kind::Leaf(var) => return self.item(Work::Leaf(*var), &node.shape, node),
            Kind::Assemble { starts } => return self.assembled(graph, node, starts),
            Kind::Cholesky | Kind::SolveFactor | Kind::InverseFactor | Kind::LogDetFactor => {
                return self.factorisation(graph, node);
            }
            Kind::Op(op) => op,
        };
        match op {
            Op::Constant(bits) if self.views => Source::Constant(*bits),
            Op::Constant(bits) => self.item(Work::Point(Point::Copy, vec![Source::Constant(*bits)]), &node.shape, node),
            Op::Unary(f) => self.point(Point::Unary(*f), node),
            Op::Binary(f) => self.point(Point::Binary(*f), node),
            Op::Select => self.point(Point::Select, node),
            Op::Convert => self.point(Point::Copy, node),
            Op::Expand | Op::Reshape | Op::Permute { .. } | Op::Slice { .. } | Op::Diag | Op::StopGradient => {
                let inner = self.operand(graph, node.inputs[0]);
                let view = match op {
                    Op::Expand => inner.expanded(&node.shape),
                    Op::Reshape => self.reshaped(inner, &node.shape, node.origin),
                    Op::Permute { axes } => inner.permuted(axes),
                    Op::Slice { start } => inner.sliced(start, &node.shape),
                    Op::Diag => inner.diagonal(),
                    _ => inner,
                };
                Source::View(if self.views { view } else { self.copied(view, node.origin) })
            }
            Op::Sum { axes } => self.reduction(Reduction::Sum, axes, graph, node),
            Op::Max { axes } => self.reduction(Reduction::Max, axes, graph, node),
            Op::MatMul => {
                let (a, b) = (self.operand(graph, node.inputs[0]), self.operand(graph, node.inputs[1]));
                let multiply = super::product::plain(&a, &b, self.views);
                self.item(Work::Product(multiply), &node.shape, node)
            }
            Op::Conv2d(conv) => self.convolution(*conv, graph, node),
            Op::DiagEmbed => {
                let id = self.program.items.len();
                let window = View::whole(BufferId(id), &node.shape, node.dtype).diagonal();
                let gaps = node.shape[node.shape.len() - 1] > 1;
                let part = self.source(node.inputs[0]);
                self.item(Work::Assemble { parts: vec![(part, window)], gaps }, &node.shape, node)
            }
            _ => self.indexed_or_filled(op, graph, node),
        }
    }

    fn point(&mut self, point: Point, node: &Node) -> Source {
        let operands = node.inputs.iter().map(|&id| self.source(id)).collect();
        self.item(Work::Point(point, operands), &node.shape, node)
    }

    fn reduction(&mut self, reduction: Reduction, axes: &[usize], graph: &Graph, node: &Node) -> Source {
        let from = self.source(node.inputs[0]);
        let mut to = View::whole(BufferId(self.program.items.len()), &node.shape, node.dtype);
        for &axis in axes {
            to.strides[axis] = 0;
        }
        to.shape.clone_from(&graph.nodes[node.inputs[0]].shape);
        self.item(Work::Reduce { reduction, from, to }, &node.shape, node)
    }

    fn assembled(&mut self, graph: &Graph, node: &Node, starts: &[Vec<usize>]) -> Source {
        let whole = View::whole(BufferId(self.program.items.len()), &node.shape, node.dtype);
        let mut volume = 0;
        let mut parts = Vec::with_capacity(starts.len());
        for (&input, start) in node.inputs.iter().zip(starts) {
            let part = &graph.nodes[input];
            if part.elements() > 0 {
                volume += part.elements();
                parts.push((self.source(input), whole.sliced(start, &part.shape)));
            }
        }
        self.item(Work::Assemble { parts, gaps: volume < node.elements() }, &node.shape, node)
    }

    fn convolution(&mut self, conv: Conv2d, graph: &Graph, node: &Node) -> Source {
        let (a, b) = (self.operand(graph, node.inputs[0]), self.operand(graph, node.inputs[1]));
        let out = View::whole(BufferId(self.program.items.len()), &node.shape, node.dtype);
        let grouped = |view: View| {
            let shape: Vec<usize> = node.shape[..1].iter().chain(&view.shape[1..]).copied().collect();
            view.expanded(&shape)
        };
        let [images, filters, results] = match conv.part {
            ConvPart::Input => [out, grouped(a), grouped(b)],
            ConvPart::Filter => [grouped(a), out, grouped(b)],
            ConvPart::Output => [grouped(a), grouped(b), out],
        };
        let action = Action::Convolution(Convolution { conv, images, filters, results });
        self.item(Work::Action(action), &node.shape, node)
    }

    fn factorisation(&mut self, graph: &Graph, node: &Node) -> Source {
        let first = self.operand(graph, node.inputs[0]);
        let second = node.inputs.get(1).map(|&id| self.operand(graph, id));
        let out = View::whole(BufferId(self.program.items.len()), &node.shape, node.dtype);
        let action = match (&node.kind, second) {
            (Kind::Cholesky, _) => Action::Cholesky { a: first, factor: out },
            (Kind::SolveFactor, Some(b)) => Action::SolveFactor { factor: first, b, out },
            (Kind::InverseFactor, _) => Action::InverseFactor { factor: first, out },
            _ => Action::LogDetFactor { factor: first, out },
        };
        self.item(Work::Action(action), &node.shape, node)
    }

    /// Gathers and their like, in the normal forms of the steps, and leaves that a step fills.
    fn indexed_or_filled(&mut self, op: &Op, graph: &Graph, node: &Node) -> Source {
        let three = |shape: &[usize], axis: usize| {
            [shape[..axis].iter().product(), shape[axis], shape[axis + 1..].iter().product()]
        };
        let shape_of = |k: usize| graph.nodes[node.inputs[k]].shape.as_slice();
        let mut normal = |k: usize, shape: &[usize]| {
            let view = self.operand(graph, node.inputs[k]);
            self.reshaped(view, shape, node.origin)
        };
        // Operands first: copies they need become items before this one.
        let operands: Vec<View> = match op {
            Op::Gather { axis } | Op::ScatterAdd { axis } => {
                vec![normal(0, &three(shape_of(0), *axis)), normal(1, shape_of(1))]
            }
            Op::OneHot => vec![normal(0, &[shape_of(0).iter().product()])],
            Op::IndexOffset { .. } => vec![normal(0, shape_of(0))],
            _ => Vec::new(),
        };
        let whole = |shape: &[usize]| View::whole(BufferId(self.program.items.len()), shape, node.dtype);
        let mut operands = operands.into_iter();
        let action = match (op, operands.next(), operands.next()) {
            (Op::Gather { axis }, Some(x), Some(index)) => {
                Action::Gather { x, index, out: whole(&three(&node.shape, *axis)) }
            }
            (Op::ScatterAdd { axis }, Some(u), Some(index)) => {
                Action::ScatterAdd { u, index, out: whole(&three(&node.shape, *axis)) }
            }
            (Op::OneHot, Some(index), _) => {
                let classes = node.shape[node.shape.len() - 1];
                Action::OneHot { out: whole(&[index.points(), classes]), index }
            }
            (Op::IndexOffset { stride }, Some(index), _) => {
                Action::IndexOffset { index, stride: *stride, out: whole(&node.shape) }
            }
            (Op::Noise { distribution, stream }, ..) => {
                Action::Noise { distribution: *distribution, stream: *stream, out: whole(&node.shape) }
            }
            // What is left of the primitives: `Input`, `Pad` and the like never come here.
            _ => Action::Identity { out: whole(&node.shape) },
        };
        self.item(Work::Action(action), &node.shape, node)
    }

    /// Gives outputs their homes and updates their values.
    fn roots(&mut self, graph: &Graph, outputs: &[Var], updates: &[Var]) {
        for (&var, &id) in outputs.iter().zip(&graph.outputs) {
            let node = &graph.nodes[id];
            if node.kind == Kind::Leaf(var) || self.program.homes.contains(&Some(var)) {
                continue;
            }
            let item = match self.computed(id) {
                Some(item) if self.program.homes[item].is_none() => item,
                _ => {
                    let work = Work::Point(Point::Copy, vec![self.source(id)]);
                    self.push(work, &node.shape, node.dtype, node.origin)
                }
            };
            self.program.homes[item] = Some(var);
        }
        for (&var, &id) in updates.iter().zip(&graph.updates) {
            let node = &graph.nodes[id];
            if node.kind == Kind::Leaf(var) {
                continue;
            }
            let item = self.computed(id).unwrap_or_else(|| {
                let work = Work::Point(Point::Copy, vec![self.source(id)]);
                self.push(work, &node.shape, node.dtype, node.origin)
            });
            self.program.updates.push((var, item));
        }
    }

    /// The item whose whole value a node is, unless it is a leaf.
    fn computed(&self, id: usize) -> Option<usize> {
        let Some(Source::View(view)) = &self.sources[id] else { return None };
        let item = &self.program.items[view.buffer.0];
        (!matches!(item.work, Work::Leaf(_)) && view.is_whole(item.elements())).then_some(view.buffer.0)
    }
}
