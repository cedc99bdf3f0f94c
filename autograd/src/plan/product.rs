//! Products: which sums over a batch they take in, and which batches become longer matrices.

use super::graph::{Graph, Kind};
use super::lower::{Multiply, Point, Program, Source, Work};
use super::step::View;
use crate::Op;
use crate::op::Binary;
use std::collections::HashMap;

/// A sum over batch axes of a product that nothing else uses.
#[derive(Clone, Copy, Debug)]
pub(super) struct BatchSum {
    /// Node of the sum.
    pub sum: usize,
    /// Node between the two that splits the batch axis.
    pub reshape: Option<usize>,
    /// Batch that stays.
    kept: usize,
    /// Length summed over, inside the batch that stays.
    summed: usize,
}

/// Sums that a product might take in, by the product's node.
pub(super) fn batch_sums(graph: &Graph, live: &[bool]) -> HashMap<usize, BatchSum> {
    let mut uses = vec![0usize; graph.nodes.len()];
    for (node, _) in graph.nodes.iter().zip(live).filter(|(_, live)| **live) {
        for &input in &node.inputs {
            uses[input] += 1;
        }
    }
    for &root in graph.outputs.iter().chain(&graph.updates) {
        uses[root] += 1;
    }
    let mut found = HashMap::new();
    for (sum, node) in graph.nodes.iter().enumerate().filter(|(id, _)| live[*id]) {
        let Kind::Op(Op::Sum { axes }) = &node.kind else { continue };
        let argument = node.inputs[0];
        let shape = &graph.nodes[argument].shape;
        let reshape = (graph.nodes[argument].kind == Kind::Op(Op::Reshape)).then_some(argument);
        let product = reshape.map_or(argument, |id| graph.nodes[id].inputs[0]);
        if uses[argument] != 1 || uses[product] != 1 || graph.nodes[product].kind != Kind::Op(Op::MatMul) {
            continue;
        }
        // The summed axes must be adjacent and end exactly where the matrices begin.
        let matrix: usize = graph.nodes[product].shape[1..].iter().product();
        let (first, last) = (axes[0], axes[axes.len() - 1]);
        let adjacent = (first..=last).all(|k| axes.contains(&k) || shape[k] == 1);
        if adjacent && shape[last + 1..].iter().product::<usize>() == matrix {
            let summed = axes.iter().map(|&k| shape[k]).product();
            found.insert(product, BatchSum { sum, reshape, kept: shape[..first].iter().product(), summed });
        }
    }
    found
}

impl BatchSum {
    /// The product with the sum taken in: along a longer inner axis if the operands allow it, else over the whole batch, if it all is summed.
    pub(super) fn multiply(&self, a: &View, b: &View) -> Option<Multiply> {
        let batch = self.kept * self.summed;
        let a = a.expanded(&[batch, a.shape[1], a.shape[2]]);
        let b = b.expanded(&[batch, b.shape[1], b.shape[2]]);
        match (self.joined(&a, 2), self.joined(&b, 1)) {
            (Some(a), Some(b)) => Some(Multiply { a, b, summed: false, start: None }),
            _ => (self.kept == 1).then_some(Multiply { a, b, summed: true, start: None }),
        }
    }

    /// The operand with the summed part of its batch in front of its inner axis.
    fn joined(&self, view: &View, inner: usize) -> Option<View> {
        let (length, stride) = (view.shape[inner], view.strides[inner]);
        if length != 1 && view.strides[0] != stride * length {
            return None;
        }
        let mut joined = view.clone();
        joined.shape[0] = self.kept;
        joined.shape[inner] = length * self.summed;
        joined.strides[0] = view.strides[0] * self.summed;
        joined.strides[inner] = if length == 1 { view.strides[0] } else { stride };
        Some(joined)
    }
}

/// A product as recorded; a batch that shares its right operand becomes the rows of one product.
pub(super) fn plain(a: &View, b: &View, collapse: bool) -> Multiply {
    let batch = a.shape[0].max(b.shape[0]);
    let mut a = a.expanded(&[batch, a.shape[1], a.shape[2]]);
    let mut b = b.expanded(&[batch, b.shape[1], b.shape[2]]);
    let shared = b.strides[0] == 0;
    let rows_join = a.shape[1] == 1 || a.strides[0] == a.strides[1] * a.shape[1];
    if collapse && batch > 1 && shared && rows_join {
        if a.shape[1] == 1 {
            a.strides[1] = a.strides[0];
        }
        a.shape[1] *= batch;
        a.shape[0] = 1;
        a.strides[0] = 0;
        b.shape[0] = 1;
    }
    Multiply { a, b, summed: false, start: None }
}

/// Turns sums of products into products that add to a value nobody else needs.
///
/// A product summed over its batch adds to whatever it is added to. Others only add to products: any other sum is better made in the epilogue.
pub(super) fn accumulate(program: &mut Program) {
    let mut uses = vec![0usize; program.items.len()];
    let mut by_register = vec![false; program.items.len()];
    for item in &program.items {
        for view in super::fuse::reads(item) {
            uses[view.buffer.0] += 1;
            by_register[view.buffer.0] |= super::fuse::is_register(&program.items, item, view);
        }
    }
    for (_, item) in &program.updates {
        uses[*item] += 1;
    }
    let only_here = |program: &Program, view: &View| {
        let id = view.buffer.0;
        uses[id] == 1 && program.homes[id].is_none() && view.is_whole(program.items[id].elements())
    };
    // Forwards: which sums could, as (product, start). Whatever ends a chain of products counts as a product.
    let mut chain: Vec<Option<(usize, View)>> = vec![None; program.items.len()];
    for id in 0..program.items.len() {
        let Work::Point(Point::Binary(Binary::Add), sources) = &program.items[id].work else { continue };
        let [Source::View(left), Source::View(right)] = sources.as_slice() else { continue };
        chain[id] = [(left, right), (right, left)].into_iter().find_map(|(product, start)| {
            let Work::Product(multiply) = &program.items[product.buffer.0].work else { return None };
            let before = &program.items[start.buffer.0].work;
            let adds_to_products = matches!(before, Work::Product(_)) || chain[start.buffer.0].is_some();
            let possible = (multiply.summed || adds_to_products)
                && !matches!(before, Work::Leaf(_))
                && only_here(program, product)
                && only_here(program, start);
            possible.then(|| (product.buffer.0, start.clone()))
        });
    }
    // Backwards: which do. A sum that an elementwise step could take from a register stays elementwise, unless it is the start of another.
    let mut starts = vec![false; program.items.len()];
    for id in (0..program.items.len()).rev() {
        let Some((product, start)) = chain[id].take() else { continue };
        let Work::Product(multiply) = &program.items[product].work else { continue };
        if multiply.summed || starts[id] || !by_register[id] {
            starts[start.buffer.0] = true;
            program.items[id].work = Work::Product(Multiply { start: Some(start), ..multiply.clone() });
        }
    }
}
