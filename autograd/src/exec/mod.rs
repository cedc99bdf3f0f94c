//! Running plans.

mod arrange;
mod cpu;
mod cuda;
mod device;
mod memory;
mod philox;
mod profile;
mod values;
mod view;

use crate::plan::step::{Action, Buffer, Place, Step, View};
use crate::{DType, Error, Plan, Result, Var};
use cpu::Cpu;
use cuda::Cuda;
use cuda_kernels::Precision;
pub use device::{Device, MOST_THREADS};
use memory::{ALIGNMENT, Mirror, Storage};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
pub use values::Element;

/// A plan loaded on a machine; no other machine runs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PlanId {
    /// Number of the machine.
    machine: u64,
    index: usize,
}

/// A buffer held across runs.
struct Held {
    var: Var,
    /// Its name on the tape.
    name: String,
    dtype: DType,
    elements: usize,
    storage: Storage,
    /// What is known here of values on a device.
    mirror: Mirror,
    /// Whether it ever received values.
    written: bool,
}

/// What runs plans.
enum Processor {
    Cpu(Cpu),
    Cuda(Cuda),
}

/// A plan compiled for a processor.
enum Program {
    Cpu(cpu::Program),
    Cuda(cuda::Program),
    /// The memory that it ran in is gone, for good: later memory may be smaller.
    Lost,
}

impl Processor {
    /// The device, unless it is the processor of this computer.
    fn device(&self) -> Option<&cuda_kernels::Device> {
        match self {
            Self::Cpu(_) => None,
            Self::Cuda(cuda) => Some(cuda.device()),
        }
    }
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
    /// Which machine of this process it is.
    number: u64,
    processor: Processor,
    device: Device,
    arena: Storage,
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
    /// [`Error::Argument`] for zero threads, more than 1024, or more than the system gives.
    pub fn cpu(threads: usize) -> Result<Self> {
        Self::on(Device::Cpu { threads })
    }

    /// A machine that computes on a device.
    ///
    /// # Errors
    /// [`Error::Argument`] for zero threads, more than 1024, or more than the system gives; [`Error::Device`] says what a card lacks.
    pub fn on(device: Device) -> Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let processor = match device {
            Device::Cpu { threads } => Processor::Cpu(Cpu::new(threads)?),
            Device::Cuda { ordinal, tf32 } => {
                let precision = if tf32 { Precision::Tf32 } else { Precision::Full };
                Processor::Cuda(Cuda::new(cuda_kernels::Device::card(ordinal)?, precision)?)
            }
            Device::Emulated => Processor::Cuda(Cuda::new(cuda_kernels::Device::emulated()?, Precision::Full)?),
        };
        Ok(Self {
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            arena: Storage::zeroed(processor.device(), 0)?,
            processor,
            device,
            held: Vec::new(),
            positions: HashMap::new(),
            plans: Vec::new(),
            seed: 0,
            step: 0,
        })
    }

    /// Where the machine computes.
    pub fn device(&self) -> Device {
        self.device
    }

    /// Bytes of a card's memory that are free; `None` on a processor, where the system decides.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn memory_free(&self) -> Result<Option<usize>> {
        match self.processor.device() {
            None => Ok(None),
            Some(device) => Ok(Some(device.memory()?.0)),
        }
    }

    /// Makes a plan ready to run: allocates the persistent buffers not held yet (zeroed), grows the arena, settles addresses and tasks.
    ///
    /// # Errors
    /// [`Error::Buffer`] if a variable is already held with another type or length; [`Error::Shape`] and [`Error::DType`] for steps that do not fit
    /// their buffers, which the planner does not make; [`Error::OutOfMemory`] if the system does not have the memory, and [`Error::Device`] from a
    /// card, for instance if its own does not suffice. Where what plans share (the arena, a card's scratch memory) could not grow, the plans loaded
    /// before cannot run any more.
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
            self.relocate(|machine| {
                // The old one goes first: two at a time were never announced.
                machine.arena = Storage::zeroed(machine.processor.device(), 0)?;
                machine.arena = Storage::zeroed(machine.processor.device(), arena_bytes)?;
                Ok(())
            })?;
        }
        if let Processor::Cuda(cuda) = &self.processor {
            let bases = bases(&self.held, &self.positions, &self.arena, &buffers)?;
            let needed = cuda.scratch_needed(&steps, &buffers, &bases)?;
            if needed > cuda.scratch_bytes() {
                self.relocate(|machine| match &mut machine.processor {
                    Processor::Cuda(cuda) => cuda.grow(needed),
                    Processor::Cpu(_) => Ok(()),
                })?;
            }
        }
        let program = self.compile(&steps, &buffers)?;
        if let (Processor::Cpu(cpu), Program::Cpu(program)) = (&mut self.processor, &program) {
            cpu.prepare(program)?;
        }
        self.plans.push(Loaded { steps, buffers, reads, writes, program, runs: 0 });
        Ok(PlanId { machine: self.number, index: self.plans.len() - 1 })
    }

    /// Moves memory that plans work in, and compiles them against it again. Where that fails all are lost: none may run in memory that is gone.
    fn relocate(&mut self, relocate: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let done = relocate(self).and_then(|()| self.compile_again());
        if done.is_err() {
            self.plans.iter_mut().for_each(|plan| plan.program = Program::Lost);
        }
        done
    }

    /// Compiles all plans against the memory as it lies now, but for lost ones: it may be smaller than they need.
    fn compile_again(&mut self) -> Result<()> {
        for index in 0..self.plans.len() {
            if matches!(self.plans[index].program, Program::Lost) {
                continue;
            }
            self.plans[index].program = self.compile(&self.plans[index].steps, &self.plans[index].buffers)?;
        }
        Ok(())
    }

    /// Compiles steps against the buffers as they lie now.
    fn compile(&self, steps: &[Step], buffers: &[Buffer]) -> Result<Program> {
        let bases = bases(&self.held, &self.positions, &self.arena, buffers)?;
        match &self.processor {
            // SAFETY: blocks are aligned to 64 bytes and never move; held ones live as long as the machine, and the arena is only replaced together
            // with all programs that point into it. Programs run through `&mut self` alone, while nobody can hold a slice from `read`.
            Processor::Cpu(_) => Ok(Program::Cpu(unsafe { cpu::Program::new(steps, buffers, &bases)? })),
            Processor::Cuda(cuda) => Ok(Program::Cuda(cuda.compile(steps, buffers, &bases)?)),
        }
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
                let storage = Storage::zeroed(self.processor.device(), bytes)?;
                self.positions.insert(var, self.held.len());
                self.held.push(Held {
                    var,
                    name: name(var),
                    dtype,
                    elements,
                    storage,
                    mirror: Mirror::default(),
                    written: false,
                });
            }
        }
        Ok(())
    }

    fn position(&self, var: Var) -> Result<usize> {
        position(&self.positions, var)
    }

    /// Sets the seed and the step that noise leaves draw from: equal pairs give equal numbers. Both stay until they are set again (0 and 0 at first),
    /// so every [`run`](Machine::run) repeats the numbers of the one before unless a new step is set in between.
    pub fn set_noise(&mut self, seed: u64, step: u64) {
        self.seed = seed;
        self.step = step;
    }

    /// Sets the work, in floating-point operations, from which on a plan is spread over the threads; counted are steps that can be spread, a byte
    /// moved as four operations. Below, waking the threads costs more than they save: such a plan runs on the calling thread, with the same
    /// results. 0 spreads whatever can be, infinity nothing. A card takes no notice.
    pub fn spread_from(&mut self, work: f64) {
        if let Processor::Cpu(cpu) = &mut self.processor {
            cpu.least_work = work;
        }
    }

    /// Runs a plan. Noise is that of the seed and the step set last: runs repeat the same numbers until [`Machine::set_noise`] sets others.
    ///
    /// # Errors
    /// [`Error::Unbound`] if an input was never given values, [`Error::NotPositiveDefinite`] and [`Error::IndexOutOfRange`] from its steps,
    /// [`Error::Argument`] for a plan of another machine, or one that lost its memory to a load that failed.
    pub fn run(&mut self, plan: PlanId) -> Result<()> {
        self.check_loaded(plan)?;
        let loaded = &mut self.plans[plan.index];
        for &position in &loaded.writes {
            self.held[position].mirror.forget();
        }
        match (&mut self.processor, &mut loaded.program) {
            (Processor::Cpu(cpu), Program::Cpu(program)) => cpu.run(program, self.seed, self.step)?,
            (Processor::Cuda(cuda), Program::Cuda(program)) => {
                // SAFETY: memory never moves but together with all programs that point to it, as said in `compile`.
                unsafe { cuda.run(program, &loaded.steps, self.seed, self.step)? }
            }
            _ => return Err(lost()),
        }
        loaded.runs += 1;
        for &position in &loaded.writes {
            self.held[position].written = true;
        }
        Ok(())
    }

    /// A plan of this machine.
    fn loaded(&self, plan: PlanId) -> Result<&Loaded> {
        self.plans.get(plan.index).filter(|_| plan.machine == self.number).ok_or_else(|| Error::Argument {
            name: "plan",
            problem: "it was loaded on another machine; a plan runs on the machine that loaded it".into(),
        })
    }

    /// An error unless the plan is of this machine and all its inputs have values.
    fn check_loaded(&self, plan: PlanId) -> Result<()> {
        match self.loaded(plan)?.reads.iter().find(|&&position| !self.held[position].written) {
            Some(&missing) => Err(Error::Unbound {
                name: self.held[missing].name.clone(),
                problem: "the plan reads it and it was never given values; write it first",
            }),
            None => Ok(()),
        }
    }

    /// Bytes of the arena.
    pub fn arena_bytes(&self) -> usize {
        self.arena.bytes()
    }

    /// Bytes of all persistent buffers.
    pub fn held_bytes(&self) -> usize {
        self.held.iter().map(|held| held.storage.bytes()).sum()
    }

    /// Bytes of scratch memory, each thread's and what they share, which comes on top of the plans' own accounts.
    pub fn scratch_bytes(&self) -> usize {
        match &self.processor {
            Processor::Cpu(cpu) => cpu.scratch_bytes(),
            Processor::Cuda(cuda) => cuda.scratch_bytes(),
        }
    }
}

/// Where the buffers of a plan lie.
fn bases(held: &[Held], positions: &HashMap<Var, usize>, arena: &Storage, buffers: &[Buffer]) -> Result<Vec<*mut u8>> {
    let base = |buffer: &Buffer| match buffer.place {
        Place::Persistent(var) => Ok(held[position(positions, var)?].storage.pointer()),
        Place::Arena { offset } => Ok(arena.pointer().wrapping_add(offset)),
    };
    buffers.iter().map(base).collect()
}

fn position(positions: &HashMap<Var, usize>, var: Var) -> Result<usize> {
    positions.get(&var).copied().ok_or_else(|| Error::Unbound {
        name: name(var),
        problem: "no plan loaded on the machine reads or makes it; load the plan first (a loaded one may not need it)",
    })
}

fn lost() -> Error {
    Error::Argument {
        name: "plan",
        problem: "it lost its memory when memory for a later plan was not to be had; load it again".into(),
    }
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
