//! Where a plan adds numbers in the order in which its paranoid twin does, told from the tape alone.
//!
//! Two plans of one program differ in nothing but the order of sums and the signs of zeros:
//! - Elementwise functions, comparisons, conversions, selections, maxima, views, copies, gathers, pads and concatenations give the same
//!   bits wherever they run. A register holds what a buffer of its type would hold; nothing is contracted; rewriting (a - -b = a + b,
//!   x / 2^k = x 2^-k, constants folded in f64 and rounded once) is exact. Only x + 0 = x and 0 x = 0 may change the sign of a zero.
//! - A scatter adds picked entries one after another, a factorisation copies the matrix first and a solution its right-hand sides: no fusion
//!   or view changes their order. Solving against the identity, however, becomes an inverse.
//! - A sum over at most one tile (4096 bytes) runs over its argument row by row, whatever is fused into the loop; beyond that the tiles are
//!   cut along the axes that all views of the loop have in common. Repeated entries are not added but multiplied by their number. On a card no sum
//!   of a loop counts as kept: all that the loop does decides how its threads share the terms.
//! - A product of two contiguous operands without a shared batch is the same call of the same routine, unless its result is added to another,
//!   summed over the batch or made in a window of a larger buffer. A shared right operand turns the batch into rows, a transposed operand
//!   is read in place, and either may choose another routine with another order.
//!
//! [`Order::is_kept`] errs on the safe side: it may deny that the order is kept where it is.

use super::harness::on_a_card;
use autograd::{Binary, ConvPart, DType, Op, Tape, Unary, Var};

/// Bytes of one tile of a loop.
const TILE_BYTES: usize = 4096;

/// What is known about the values of a tape that some outputs need.
pub struct Order<'a> {
    tape: &'a Tape,
    /// Needed users of each variable, by number.
    users: Vec<Vec<usize>>,
    /// By number of the variable: whether simplification might make it zero everywhere.
    vanishes: Vec<bool>,
    /// Whether simplification might make it a constant or a repetition of fewer values.
    repeats: Vec<bool>,
    /// Whether every sum it depends on keeps its order.
    kept: Vec<bool>,
    /// Terms that all sums it depends on add to one element, together.
    terms: Vec<usize>,
}

impl<'a> Order<'a> {
    /// Looks through what `outputs` need; plans of other outputs may order their sums otherwise.
    pub fn new(tape: &'a Tape, outputs: &[Var]) -> Self {
        let n = tape.len();
        let mut needed = vec![false; n];
        outputs.iter().flat_map(|y| cone(tape, y.index())).for_each(|k| needed[k] = true);
        let mut users = vec![Vec::new(); n];
        for k in (0..n).filter(|&k| needed[k]) {
            tape.nodes()[k].inputs.iter().for_each(|x| users[x.index()].push(k));
        }
        let unknown = vec![false; n];
        let mut order =
            Self { tape, users, vanishes: unknown.clone(), repeats: unknown, kept: vec![true; n], terms: vec![0; n] };
        for k in (0..n).filter(|&k| needed[k]) {
            order.vanishes[k] = order.might_vanish(k);
            order.repeats[k] = order.might_repeat(k);
        }
        for k in (0..n).filter(|&k| needed[k]) {
            let below = cone(tape, k);
            order.kept[k] = below.iter().all(|&node| order.node_is_kept(node));
            order.terms[k] = below.iter().map(|&node| terms(tape, node)).sum();
        }
        order
    }

    /// Whether the plan must give an output the bits of its paranoid twin.
    pub fn is_kept(&self, output: Var) -> bool {
        self.kept[output.index()]
    }

    /// Terms added on the way to one element of an output: so many roundings another order may change, give or take.
    pub fn terms(&self, output: Var) -> usize {
        self.terms[output.index()]
    }

    fn node_is_kept(&self, node: usize) -> bool {
        let (tape, inputs) = (self.tape, &self.tape.nodes()[node].inputs);
        match &tape.nodes()[node].op {
            Op::Sum { .. } => {
                let size = if tape.dtype(inputs[0]) == DType::F32 { 4 } else { 8 };
                !on_a_card() && !self.repeats[inputs[0].index()] && tape.elements(inputs[0]) * size <= TILE_BYTES
            }
            Op::MatMul => {
                let (a, b) = (self.leaf(inputs[0]), self.leaf(inputs[1]));
                let whole = a.is_some() && b.is_some() && a != b;
                whole && tape.shape(inputs[0])[0] == tape.shape(inputs[1])[0] && self.used_by_points(node)
            }
            Op::SolveSpd => !cone(tape, inputs[1].index()).iter().any(|&k| tape.nodes()[k].op == Op::Identity),
            _ => true,
        }
    }

    /// The input that a value is, under whatever shape.
    fn leaf(&self, var: Var) -> Option<Var> {
        match self.tape.node(var).op {
            Op::Input => Some(var),
            Op::Reshape => self.leaf(self.tape.node(var).inputs[0]),
            _ => None,
        }
    }

    /// Whether nothing but elementwise functions reads a value, under whatever shape, and none of them adds it to another.
    fn used_by_points(&self, node: usize) -> bool {
        self.users[node].iter().all(|&user| match self.tape.nodes()[user].op {
            Op::Reshape => self.used_by_points(user),
            Op::Unary(f) => f != Unary::Neg,
            Op::Binary(f) => !matches!(f, Binary::Add | Binary::Sub),
            _ => false,
        })
    }

    fn might_vanish(&self, k: usize) -> bool {
        let node = &self.tape.nodes()[k];
        let mut inputs = node.inputs.iter().map(|x| self.vanishes[x.index()]);
        match &node.op {
            Op::Constant(bits) => f64::from_bits(*bits) == 0.0,
            Op::Binary(Binary::Add | Binary::Sub) => inputs.all(|vanishes| vanishes),
            Op::Slice { .. } => matches!(self.tape.node(node.inputs[0]).op, Op::Pad { .. }) || inputs.any(|v| v),
            _ => inputs.any(|vanishes| vanishes),
        }
    }

    fn might_repeat(&self, k: usize) -> bool {
        let node = &self.tape.nodes()[k];
        let repeats = |x: &Var| self.repeats[x.index()];
        let vanishes = |x: &Var| self.vanishes[x.index()];
        match &node.op {
            Op::Constant(_) | Op::Expand | Op::Diag => true,
            Op::Input | Op::Identity | Op::Noise { .. } | Op::OneHot | Op::IndexOffset { .. } => false,
            Op::Binary(Binary::Add | Binary::Sub) => {
                node.inputs.iter().all(|x| repeats(x) || vanishes(x)) && node.inputs.iter().any(repeats)
            }
            Op::Binary(_) => self.vanishes[k] || node.inputs.iter().all(repeats),
            Op::MatMul => {
                self.vanishes[k] || cone(self.tape, k).iter().any(|&below| self.tape.nodes()[below].op == Op::Identity)
            }
            _ => self.vanishes[k] || node.inputs.iter().any(repeats),
        }
    }
}

/// All that a value depends on, itself included.
fn cone(tape: &Tape, from: usize) -> Vec<usize> {
    let mut seen = vec![false; from + 1];
    seen[from] = true;
    for k in (0..=from).rev() {
        if seen[k] {
            tape.nodes()[k].inputs.iter().for_each(|x| seen[x.index()] = true);
        }
    }
    (0..=from).filter(|&k| seen[k]).collect()
}

/// Terms that a node adds to one element.
fn terms(tape: &Tape, k: usize) -> usize {
    let node = &tape.nodes()[k];
    let shape = |input: usize| tape.shape(node.inputs[input]);
    match &node.op {
        Op::Sum { axes } => axes.iter().map(|&axis| shape(0)[axis]).product(),
        Op::MatMul => shape(0)[2],
        Op::Conv2d(conv) => match conv.part {
            ConvPart::Input => shape(0)[1] * shape(0)[3] * shape(0)[4],
            ConvPart::Filter => shape(1)[1] * shape(1)[3] * shape(1)[4],
            ConvPart::Output => shape(1)[2] * shape(1)[3] * shape(1)[4],
        },
        Op::ScatterAdd { axis } => shape(0)[*axis],
        // A factorisation and two substitutions.
        Op::SolveSpd | Op::LogDetSpd => 3 * shape(0)[1],
        _ => 0,
    }
}
