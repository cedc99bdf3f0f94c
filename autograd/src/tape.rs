//! The tape: a program in static single assignment form, recorded node by node.

use crate::{DType, Error, Op, Result};
use std::collections::HashMap;
use std::panic::Location;
use std::sync::atomic::{AtomicU32, Ordering};

/// A value of a tape: the result of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Var {
    index: u32,
    tape: u32,
}

impl Var {
    /// Position of the node on its tape.
    pub const fn index(self) -> usize {
        self.index as usize
    }
}

/// One step of the program.
#[derive(Clone, Debug)]
pub struct Node {
    /// What is computed.
    pub op: Op,
    /// From which earlier nodes.
    pub inputs: Vec<Var>,
    /// Shape of the result, row-major; the empty shape is a scalar.
    pub shape: Vec<usize>,
    /// Element type of the result.
    pub dtype: DType,
    /// Where it was recorded.
    pub location: &'static Location<'static>,
}

/// A recorded program. Methods push nodes; nothing is computed until a plan runs.
///
/// Equal operations on equal operands are recorded once (hash-consing), so recording an expression twice costs nothing.
///
/// ```
/// use autograd::{DType, Tape};
/// let mut tape = Tape::new();
/// let x = tape.input(&[3], DType::F64);
/// let a = tape.exp(x)?;
/// let b = tape.exp(x)?;
/// assert_eq!(a, b);
/// # Ok::<(), autograd::Error>(())
/// ```
#[derive(Debug)]
pub struct Tape {
    id: u32,
    nodes: Vec<Node>,
    known: HashMap<(Op, Vec<Var>, Vec<usize>, DType), Var>,
    names: HashMap<Var, String>,
    streams: u32,
}

impl Default for Tape {
    fn default() -> Self {
        Self::new()
    }
}

impl Tape {
    /// An empty tape.
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            nodes: Vec::new(),
            known: HashMap::new(),
            names: HashMap::new(),
            streams: 0,
        }
    }

    /// Number of nodes recorded so far.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether nothing was recorded yet.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// All nodes in the order of recording: inputs of a node always come before it.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The node behind a variable.
    ///
    /// # Panics
    /// If the variable belongs to another tape (every recording method answers that with an error instead).
    #[track_caller]
    pub fn node(&self, var: Var) -> &Node {
        assert_eq!(var.tape, self.id, "variable of another tape");
        &self.nodes[var.index()]
    }

    /// Shape of a variable.
    ///
    /// # Panics
    /// If the variable belongs to another tape.
    #[track_caller]
    pub fn shape(&self, var: Var) -> &[usize] {
        &self.node(var).shape
    }

    /// Number of elements of a variable; [`usize::MAX`] for an input or a constant of more than can be counted, which every operation on it and
    /// every plan refuses.
    ///
    /// # Panics
    /// If the variable belongs to another tape.
    #[track_caller]
    pub fn elements(&self, var: Var) -> usize {
        self.node(var).shape.iter().fold(1, |count: usize, &axis| count.saturating_mul(axis))
    }

    /// Element type of a variable.
    ///
    /// # Panics
    /// If the variable belongs to another tape.
    #[track_caller]
    pub fn dtype(&self, var: Var) -> DType {
        self.node(var).dtype
    }

    /// The variable of the node at a position.
    pub(crate) fn var(&self, index: usize) -> Var {
        Var { index: index as u32, tape: self.id }
    }

    /// Gives a variable a name for errors and plans.
    pub fn set_name(&mut self, var: Var, name: impl Into<String>) {
        self.names.insert(var, name.into());
    }

    /// The variable's name, or its number.
    pub fn name(&self, var: Var) -> String {
        self.names.get(&var).cloned().unwrap_or_else(|| format!("%{}", var.index))
    }

    /// An error unless the variables belong to this tape.
    #[track_caller]
    pub(crate) fn own(&self, vars: &[Var]) -> Result<()> {
        if vars.iter().all(|v| v.tape == self.id && v.index() < self.nodes.len()) {
            Ok(())
        } else {
            Err(Error::ForeignVar { location: Location::caller() })
        }
    }

    /// The next free stream number for noise.
    pub(crate) fn next_stream(&mut self) -> u32 {
        self.streams += 1;
        self.streams - 1
    }

    /// Ascribes all nodes from a position on to a line of the caller's: what a rule pushes belongs to the node it was made from.
    pub(crate) fn ascribe(&mut self, from: usize, location: &'static Location<'static>) {
        for node in &mut self.nodes[from..] {
            node.location = location;
        }
    }

    /// Records a node whose shape and type were checked by the caller, or finds the equal one recorded before.
    pub(crate) fn push(
        &mut self,
        op: Op,
        inputs: Vec<Var>,
        shape: Vec<usize>,
        dtype: DType,
        location: &'static Location<'static>,
    ) -> Var {
        let fresh = matches!(op, Op::Input);
        let key = (op, inputs, shape, dtype);
        if !fresh && let Some(&var) = self.known.get(&key) {
            return var;
        }
        let var = self.var(self.nodes.len());
        self.nodes.push(Node { op: key.0.clone(), inputs: key.1.clone(), shape: key.2.clone(), dtype, location });
        if !fresh {
            self.known.insert(key, var);
        }
        var
    }
}
