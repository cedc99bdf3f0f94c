//! Plans: what a tape becomes before it runs.
//!
//! A plan is made in passes, one file each: the needed part of the tape is collected (`graph`) and simplified (`simplify`, `windows`, `pooled`);
//! views are resolved and the rest becomes items (`lower`, `product`); items are fused (`fuse`), cheap ones repeated instead of stored (`recompute`),
//! and become steps (`emit`); values get storage (`place`), storage gets lifetimes (`liveness`) and offsets in one arena (`arena`). A paranoid plan
//! leaves out everything that is not needed for a right answer: each node is a step with a buffer of its own. It is the oracle for all others.
//!
//! A plan gives the bits of its paranoid twin, but for the order of sums in products (operands joined along a batch, results added to earlier
//! ones), for reductions fused with views, and for what `simplify` lists.

mod access;
mod arena;
mod cost;
mod dump;
mod emit;
mod fuse;
mod graph;
mod liveness;
mod lower;
mod place;
mod pooled;
mod product;
mod recompute;
mod simplify;
pub mod step;
mod strided;
mod windows;

#[cfg(test)]
pub(crate) mod tests;

pub use cost::{StepCost, StepKind};

use crate::{Error, Op, Result, Tape, Var};
use std::collections::{HashMap, HashSet};
use step::{Buffer, Place, Step};

/// What a plan is made for.
#[derive(Clone, Debug, Default)]
pub struct Request<'a> {
    /// Variables to be computed, each into its own persistent buffer.
    pub outputs: &'a [Var],
    /// Interior variables whose values already lie in persistent buffers (residuals of an earlier plan): nothing before them is computed.
    pub given: &'a [Var],
    /// Input variables and the values that take their place when the plan has run. All right-hand sides see the old values.
    /// An output that is an updated input is the same buffer, hence holds the new value.
    pub updates: &'a [(Var, Var)],
    /// Options.
    pub options: Options,
}

impl<'a> Request<'a> {
    /// Outputs alone, with default options.
    pub fn outputs(outputs: &'a [Var]) -> Self {
        Self { outputs, ..Self::default() }
    }
}

/// Options of a plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Most bytes allowed for the arena and the persistent buffers together.
    pub memory_limit: Option<usize>,
    /// No fusion, no work in place, no sharing of buffers, no algebraic simplification: the oracle.
    pub paranoid: bool,
}

/// A program ready to run: steps over buffers, with the memory they take.
///
/// ```
/// use autograd::{DType, Plan, Request, Tape};
/// let mut tape = Tape::new();
/// let x = tape.input(&[1000], DType::F32);
/// let y = tape.exp(x)?;
/// let z = tape.scale(y, 2.0)?;
/// let plan = Plan::new(&tape, &Request::outputs(&[z]))?;
/// assert_eq!(plan.steps().len(), 1); // one loop
/// assert_eq!(plan.peak_bytes(), 8000); // x and z; y lives in registers
/// # Ok::<(), autograd::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Plan {
    steps: Vec<Step>,
    buffers: Vec<Buffer>,
    inputs: Vec<Var>,
    outputs: Vec<Var>,
    names: HashMap<Var, String>,
    arena_bytes: usize,
    persistent_bytes: usize,
}

impl Plan {
    /// Plans the part of a tape that a request needs.
    ///
    /// # Errors
    /// [`Error::ForeignVar`] for variables of another tape; [`Error::Argument`] for updates of what is no input, of one input twice, or by a
    /// value of another shape or type; [`Error::Memory`] if the plan needs more than the limit.
    #[track_caller]
    pub fn new(tape: &Tape, request: &Request) -> Result<Self> {
        tape.own(request.outputs)?;
        tape.own(request.given)?;
        check_updates(tape, request)?;
        check_sizes(tape, request)?;
        let fast = !request.options.paranoid;
        let graph = graph::Graph::build(tape, request);
        let updated: Vec<Var> = request.updates.iter().map(|u| u.0).collect();
        let mut program = lower::lower(&graph, request.outputs, &updated);
        drop(graph);
        if fast {
            product::accumulate(&mut program);
        }
        let live = program.live();
        let mut groups = fuse::groups(&program, &live, fast);
        let mut stored = emit::stored(&program, &groups);
        if fast {
            recompute::recompute(&mut program, &mut groups, &mut stored);
        }
        let emitted = emit::emit(&program, &groups, &stored);
        let leaves = updated.iter().map(|&var| (var, (tape.elements(var), tape.dtype(var)))).collect();
        let placed = place::place(&program, emitted, &leaves, fast);
        let slots = liveness::slots(&placed.steps, &placed.storages, fast);
        let (offsets, arena_bytes) = arena::assign(&slots, fast);
        let mut plan = Self {
            steps: placed.steps,
            buffers: Vec::new(),
            inputs: Vec::new(),
            outputs: distinct(request.outputs),
            names: HashMap::new(),
            arena_bytes,
            persistent_bytes: 0,
        };
        plan.make_buffers(&placed.storages, &slots, &offsets);
        plan.hold_unused(tape, &updated);
        plan.persistent_bytes = plan.count_persistent_bytes();
        plan.names = plan.persistent().map(|var| (var, tape.name(var))).collect();
        match request.options.memory_limit {
            Some(limit) if plan.peak_bytes() > limit => Err(Error::Memory {
                needed: plan.peak_bytes(),
                limit,
                advice: "raise the limit, or use smaller batches or fewer samples at a time",
            }),
            _ => Ok(plan),
        }
    }

    /// Numbers the storages that steps use, gives them their places and the steps their numbers.
    fn make_buffers(&mut self, storages: &[place::Storage], slots: &[liveness::Slot], offsets: &[usize]) {
        let mut offset_of = vec![0; storages.len()];
        for (slot, &offset) in slots.iter().zip(offsets) {
            for &storage in &slot.storages {
                offset_of[storage] = offset;
            }
        }
        let mut number = vec![usize::MAX; storages.len()];
        let mut read = HashSet::new();
        let Self { steps, buffers, .. } = self;
        for step in steps.iter_mut() {
            for (view, written) in step.action.views() {
                let storage = &storages[view.buffer.0];
                if number[view.buffer.0] == usize::MAX {
                    number[view.buffer.0] = buffers.len();
                    let place = match storage.var {
                        Some(var) => Place::Persistent(var),
                        None => Place::Arena { offset: offset_of[view.buffer.0] },
                    };
                    buffers.push(Buffer { dtype: storage.dtype, elements: storage.elements, place });
                    // Read before it is written: it must hold a value when the plan starts.
                    if let (Some(var), false) = (storage.var, written) {
                        read.insert(var);
                    }
                }
            }
            step.action.try_map(|view| {
                let buffer = step::BufferId(number[view.buffer.0]);
                Some(step::View { buffer, ..view.clone() })
            });
        }
        self.inputs = self.persistent().filter(|var| read.contains(var)).collect();
    }

    /// Buffers for what no step touches: outputs that are inputs or given values, and inputs that are updated by themselves.
    fn hold_unused(&mut self, tape: &Tape, updated: &[Var]) {
        let mut held: HashSet<Var> = self.persistent().collect();
        for &var in self.outputs.iter().chain(updated) {
            if held.insert(var) {
                let (dtype, elements) = (tape.dtype(var), tape.elements(var));
                self.buffers.push(Buffer { dtype, elements, place: Place::Persistent(var) });
                self.inputs.push(var);
            }
        }
    }

    fn count_persistent_bytes(&self) -> usize {
        let persistent = self.buffers.iter().filter(|b| matches!(b.place, Place::Persistent(_)));
        persistent.map(|b| b.elements * b.dtype.size()).fold(0, usize::saturating_add)
    }

    fn persistent(&self) -> impl Iterator<Item = Var> {
        self.buffers.iter().filter_map(|buffer| match buffer.place {
            Place::Persistent(var) => Some(var),
            Place::Arena { .. } => None,
        })
    }

    /// The steps, in the order in which they run.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The buffers that the steps' views name.
    pub fn buffers(&self) -> &[Buffer] {
        &self.buffers
    }

    /// The name of a variable that has a persistent buffer.
    pub(crate) fn name(&self, var: Var) -> Option<&str> {
        self.names.get(&var).map(String::as_str)
    }

    /// Variables whose persistent buffers must hold values before the plan runs: inputs and given variables that are read.
    pub fn inputs(&self) -> &[Var] {
        &self.inputs
    }

    /// Variables whose persistent buffers hold values when the plan has run, as requested.
    pub fn outputs(&self) -> &[Var] {
        &self.outputs
    }

    /// Bytes of the arena.
    pub fn arena_bytes(&self) -> usize {
        self.arena_bytes
    }

    /// Bytes of all persistent buffers the plan touches.
    pub fn persistent_bytes(&self) -> usize {
        self.persistent_bytes
    }

    /// Bytes of arena and persistent buffers together: what the plan takes while it runs.
    pub fn peak_bytes(&self) -> usize {
        self.arena_bytes.saturating_add(self.persistent_bytes)
    }

    /// Bytes that several plans of one tape take when they are loaded on one machine: the largest arena, and each persistent buffer once.
    ///
    /// ```
    /// use autograd::{DType, Plan, Request, Tape};
    /// let mut tape = Tape::new();
    /// let x = tape.input(&[1000], DType::F64);
    /// let (square, exponential) = (tape.square(x)?, tape.exp(x)?);
    /// let plan = |output| Plan::new(&tape, &Request::outputs(&[output]));
    /// let plans = [plan(square)?, plan(exponential)?];
    /// // Neither needs an arena, and both read x.
    /// assert_eq!(Plan::peak_bytes_together(&plans), 3 * 8000);
    /// # Ok::<(), autograd::Error>(())
    /// ```
    pub fn peak_bytes_together<'a>(plans: impl IntoIterator<Item = &'a Self>) -> usize {
        let (mut arena, mut persistent, mut seen) = (0, 0_usize, HashSet::new());
        for plan in plans {
            arena = arena.max(plan.arena_bytes);
            for buffer in &plan.buffers {
                if let Place::Persistent(var) = buffer.place
                    && seen.insert(var)
                {
                    persistent = persistent.saturating_add(buffer.elements * buffer.dtype.size());
                }
            }
        }
        persistent.saturating_add(arena)
    }

    /// Floating-point operations of one run, a multiply-add counted as two and any scalar function as one.
    pub fn flops(&self) -> f64 {
        self.steps.iter().map(|step| step.flops).sum()
    }
}

fn distinct(vars: &[Var]) -> Vec<Var> {
    let mut seen = HashSet::new();
    vars.iter().copied().filter(|&var| seen.insert(var)).collect()
}

/// An error if an output, or what it is computed from, could not be addressed.
fn check_sizes(tape: &Tape, request: &Request) -> Result<()> {
    const LIMIT: usize = isize::MAX as usize;
    let leaf = |op: &Op| matches!(op, Op::Input | Op::Constant(_) | Op::Identity | Op::Noise { .. });
    let bytes = |shape: &[usize], size: usize| {
        let empty = shape.contains(&0);
        if empty { Some(0) } else { shape.iter().try_fold(size, |bytes, &n| bytes.checked_mul(n)) }
    };
    let roots = request.outputs.iter().copied().chain(request.updates.iter().map(|u| u.1));
    // Recording refuses all else that is too large, so the leaves and the roots are what there is to check.
    let needed = (0..tape.len()).map(|k| tape.var(k)).filter(|&var| leaf(&tape.node(var).op)).chain(roots);
    for var in needed {
        let needed = bytes(tape.shape(var), tape.dtype(var).size());
        if needed.is_none_or(|needed| needed > LIMIT) {
            let advice = "no machine can address that many; check the shapes";
            return Err(Error::Memory { needed: needed.unwrap_or(usize::MAX), limit: LIMIT, advice });
        }
    }
    Ok(())
}

#[track_caller]
fn check_updates(tape: &Tape, request: &Request) -> Result<()> {
    let mut seen = HashSet::new();
    for &(input, value) in request.updates {
        tape.own(&[input, value])?;
        let problem = if tape.node(input).op != Op::Input {
            format!("{} is not an input; only inputs can be updated", tape.name(input))
        } else if !seen.insert(input) {
            format!("{} is updated twice", tape.name(input))
        } else if tape.shape(input) != tape.shape(value) || tape.dtype(input) != tape.dtype(value) {
            format!(
                "{} has shape {:?} and type {}, its new value {:?} and {}",
                tape.name(input),
                tape.shape(input),
                tape.dtype(input),
                tape.shape(value),
                tape.dtype(value)
            )
        } else {
            continue;
        };
        return Err(Error::Argument { name: "updates", problem });
    }
    Ok(())
}
