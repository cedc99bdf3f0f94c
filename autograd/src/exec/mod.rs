//! Running plans.

mod arrange;
mod cpu;
mod cuda;
mod memory;
mod philox;
mod profile;
mod values;
mod view;

use crate::plan::step::{Action, Buffer, Place, Step, View};
use crate::{DType, Error, Plan, Result, Var};
use cpu::{Cpu, Program};
use memory::{ALIGNMENT, Block};
use std::collections::HashMap;
pub use values::Element;

/// A plan loaded on a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PlanId {
    index: usize,
}

/// A buffer held across runs.
struct Held {
    var: Var,
    /// Its name on the tape.
    name: String,
    dtype: DType,
    elements: usize,
    block: Block,
    /// Whether it ever received values.
    written: bool,
}

/// A loaded plan.
struct Loaded {
    steps: Vec<Step>,
    buffers: Vec<Buffer>,
    /// Held buffers that must have values before a run.
    reads: Vec<usize>,
    /// Held buffers that a run gives values to.
    writes: Vec<usize>,
    program: Program,
    /// How often it has run.
    runs: u64,
}

/// Memory and processors that run plans.
///
/// Inputs, parameters, outputs and residuals live in persistent buffers, one for each variable, shared by all plans that mention the variable; what
/// plans need in between lies in one arena, shared by all plans. A run allocates nothing but, with several threads, what rayon's queue
/// needs (one block for some sixty runs), and gives the same bits for any number of threads.
pub struct Machine {
    cpu: Cpu,
    arena: Block,
    held: Vec<Held>,
    positions: HashMap<Var, usize>,
    plans: Vec<Loaded>,
    seed: u64,
    step: u64,
}

impl std::fmt::Debug for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Machine")
            .field("plans", &self.plans.len())
            .field("held", &self.held.len())
            .field("arena_bytes", &self.arena.bytes())
            .finish_non_exhaustive()
    }
}

impl Machine {
    /// A machine that computes on this computer's processor with a number of threads of its own.
    ///
    /// # Errors
    /// [`Error::Argument`] for zero threads, or more than the system gives.
    pub fn cpu(threads: usize) -> Result<Self> {
        Ok(Self {
            cpu: Cpu::new(threads)?,
            arena: Block::zeroed(0),
            held: Vec::new(),
            positions: HashMap::new(),
            plans: Vec::new(),
            seed: 0,
            step: 0,
        })
    }

    /// Makes a plan ready to run: allocates the persistent buffers not held yet (zeroed), grows the arena, settles addresses and tasks.
    ///
    /// # Errors
    /// [`Error::Buffer`] if a variable is already held with another type or length; [`Error::Shape`] and [`Error::DType`] for steps that do not fit
    /// their buffers, which the planner does not make.
    pub fn load(&mut self, plan: Plan) -> Result<PlanId> {
        let id = self.load_steps(plan.steps().to_vec(), plan.buffers().to_vec(), plan.inputs())?;
        for held in &mut self.held {
            if let Some(name) = plan.name(held.var) {
                held.name = name.into();
            }
        }
        Ok(id)
    }

    /// Loads steps over buffers; `inputs` must have values before a run.
    fn load_steps(&mut self, steps: Vec<Step>, buffers: Vec<Buffer>, inputs: &[Var]) -> Result<PlanId> {
        let mut arena_bytes = 0;
        for buffer in &buffers {
            let bytes = bytes_of(buffer)?;
            match buffer.place {
                Place::Persistent(var) => self.hold(var, buffer.dtype, buffer.elements, bytes)?,
                Place::Arena { offset } => {
                    if offset % ALIGNMENT != 0 {
                        return Err(Error::Argument {
                            name: "plan",
                            problem: format!(
                                "a buffer begins at byte {offset} of the arena, not a multiple of {ALIGNMENT}"
                            ),
                        });
                    }
                    arena_bytes = arena_bytes.max(offset.saturating_add(bytes));
                }
            }
        }
        let reads = inputs.iter().map(|&var| self.position(var)).collect::<Result<_>>()?;
        let mut writes = Vec::new();
        for step in &steps {
            for_each_output(&step.action, |view| {
                if let Some(Buffer { place: Place::Persistent(var), .. }) = buffers.get(view.buffer.0) {
                    writes.extend(self.positions.get(var));
                }
            });
        }
        if arena_bytes > self.arena.bytes() {
            // The old one goes first: two at a time were never announced.
            self.arena = Block::zeroed(0);
            self.arena = Block::zeroed(arena_bytes);
            for index in 0..self.plans.len() {
                let program = self.compile(&self.plans[index].steps, &self.plans[index].buffers)?;
                self.plans[index].program = program;
            }
        }
        let program = self.compile(&steps, &buffers)?;
        self.cpu.prepare(&program);
        self.plans.push(Loaded { steps, buffers, reads, writes, program, runs: 0 });
        Ok(PlanId { index: self.plans.len() - 1 })
    }

    /// Compiles steps against the buffers as they lie now.
    fn compile(&self, steps: &[Step], buffers: &[Buffer]) -> Result<Program> {
        let mut bases = Vec::with_capacity(buffers.len());
        for buffer in buffers {
            bases.push(match buffer.place {
                Place::Persistent(var) => self.held[self.position(var)?].block.pointer(),
                // SAFETY: `load_steps` made the arena long enough for all buffers.
                Place::Arena { offset } => unsafe { self.arena.pointer().add(offset) },
            });
        }
        // SAFETY: blocks are aligned to 64 bytes and never move; held ones live as long as the machine, and the arena is only replaced together with
        // all programs that point into it. Programs run through `&mut self` alone, while nobody can hold a slice from `read`.
        unsafe { Program::new(steps, buffers, &bases) }
    }

    /// Makes sure that a variable has a buffer.
    fn hold(&mut self, var: Var, dtype: DType, elements: usize, bytes: usize) -> Result<()> {
        match self.positions.get(&var) {
            Some(&position) => {
                let held = &self.held[position];
                if held.dtype != dtype || held.elements != elements {
                    return Err(Error::Buffer {
                        name: held.name.clone(),
                        problem: format!(
                            "held with {} elements of {}, the plan expects {elements} of {dtype}",
                            held.elements, held.dtype
                        ),
                    });
                }
            }
            None => {
                self.positions.insert(var, self.held.len());
                self.held.push(Held {
                    var,
                    name: name(var),
                    dtype,
                    elements,
                    block: Block::zeroed(bytes),
                    written: false,
                });
            }
        }
        Ok(())
    }

    fn position(&self, var: Var) -> Result<usize> {
        self.positions.get(&var).copied().ok_or_else(|| Error::Unbound {
            name: name(var),
            problem: "no plan loaded on the machine reads or makes it; load the plan first",
        })
    }

    /// Sets the seed and the step that noise leaves draw from: equal pairs give equal numbers.
    pub fn set_noise(&mut self, seed: u64, step: u64) {
        self.seed = seed;
        self.step = step;
    }

    /// Sets the work, in floating-point operations, from which on a plan is spread over the threads; counted are steps that can be spread, a byte
    /// moved as four operations. Below, waking the threads costs more than they save: such a plan runs on the calling thread, with the same
    /// results. 0 spreads whatever can be, infinity nothing.
    pub fn spread_from(&mut self, work: f64) {
        self.cpu.least_work = work;
    }

    /// Runs a plan.
    ///
    /// # Errors
    /// [`Error::Unbound`] if an input was never given values, [`Error::NotPositiveDefinite`] and [`Error::IndexOutOfRange`] from its steps,
    /// [`Error::Argument`] for a plan of another machine.
    pub fn run(&mut self, plan: PlanId) -> Result<()> {
        let loaded = self.loaded(plan)?;
        self.cpu.run(&loaded.program, self.seed, self.step)?;
        let loaded = &mut self.plans[plan.index];
        loaded.runs += 1;
        for &position in &loaded.writes {
            self.held[position].written = true;
        }
        Ok(())
    }

    /// A plan whose inputs all have values.
    fn loaded(&self, plan: PlanId) -> Result<&Loaded> {
        let Some(loaded) = self.plans.get(plan.index) else {
            return Err(foreign());
        };
        match loaded.reads.iter().find(|&&position| !self.held[position].written) {
            Some(&missing) => Err(Error::Unbound {
                name: self.held[missing].name.clone(),
                problem: "the plan reads it and it was never given values; write it first",
            }),
            None => Ok(loaded),
        }
    }

    /// Bytes of the arena.
    pub fn arena_bytes(&self) -> usize {
        self.arena.bytes()
    }

    /// Bytes of all persistent buffers.
    pub fn held_bytes(&self) -> usize {
        self.held.iter().map(|held| held.block.bytes()).sum()
    }

    /// Bytes of scratch memory, each thread's and what they share, which comes on top of the plans' own accounts.
    pub fn scratch_bytes(&self) -> usize {
        self.cpu.scratch_bytes()
    }
}

fn foreign() -> Error {
    Error::Argument { name: "plan", problem: "it was loaded on another machine".into() }
}

/// How errors call a variable that no loaded plan has a name for.
fn name(var: Var) -> String {
    format!("%{}", var.index())
}

fn bytes_of(buffer: &Buffer) -> Result<usize> {
    buffer.elements.checked_mul(buffer.dtype.size()).filter(|&bytes| isize::try_from(bytes).is_ok()).ok_or_else(|| {
        Error::Argument {
            name: "plan",
            problem: format!("a buffer of {} elements is larger than the address space", buffer.elements),
        }
    })
}

/// Calls `f` with every view that an action writes.
fn for_each_output(action: &Action, mut f: impl FnMut(&View)) {
    match action {
        Action::Loop(body) => body.stores.iter().for_each(|store| f(&store.to)),
        Action::Product(product) => {
            f(&product.out);
            if let Some(epilogue) = &product.epilogue {
                epilogue.stores.iter().for_each(|(_, view)| f(view));
            }
        }
        Action::Convolution(step) => f(step.out()),
        Action::Cholesky { factor, .. } => f(factor),
        Action::SolveFactor { out, .. }
        | Action::InverseFactor { out, .. }
        | Action::LogDetFactor { out, .. }
        | Action::Gather { out, .. }
        | Action::ScatterAdd { out, .. }
        | Action::OneHot { out, .. }
        | Action::IndexOffset { out, .. }
        | Action::Identity { out }
        | Action::Noise { out, .. } => f(out),
    }
}

#[cfg(test)]
mod tests;
