//! A CUDA device: plans lowered to commands over fixed addresses, compiled once and replayed as one graph.
//!
//! Everything that depends on shapes - kernels, grids, addresses, scratch memory - is settled when a plan is loaded. No result depends on the
//! order in which blocks of a grid run: the same plan gives the same bits.

mod convolution;
mod elementwise;
mod factor;
mod failure;
mod index;
mod noise;
mod order;
mod product;

use super::profile::quickest;
use crate::exec::view::Site;
use crate::plan::step::{Action, Buffer, Step};
use crate::{DType, Error, Result};
use cuda_kernels::{Command, Device, Memory, Precision, Real, Sequence, Task};
pub(crate) use failure::Fallible;
use order::Order;

/// Alignment of scratch memory, in bytes.
const ALIGNMENT: usize = 256;

/// Commands of the steps of one plan while they are made.
pub(crate) struct Lowering {
    /// The device that the commands are for.
    pub(crate) device: Device,
    /// What was made so far.
    pub(crate) commands: Vec<Command>,
    /// How products in single precision are computed.
    pub(crate) precision: Precision,
    /// Address of the report that fallible kernels write: one `u64`, all bits set while nothing failed; see [`Lowering::report`].
    pub(crate) status: u64,
    /// Address of the noise's coordinates: four `u32`, the seed's low and high half and the step's.
    pub(crate) noise: u64,
    /// Number of the step.
    pub(crate) step: usize,
    /// Steps that can fail.
    fallible: Vec<(usize, Fallible)>,
    scratch: u64,
    scratch_used: usize,
    scratch_bytes: usize,
}

impl Lowering {
    /// Scratch memory for the step, aligned to 256 bytes; what is in it is of no use to the next step.
    pub(crate) fn scratch(&mut self, bytes: usize) -> u64 {
        let address = self.scratch + self.scratch_used as u64;
        self.scratch_used += bytes.next_multiple_of(ALIGNMENT);
        self.scratch_bytes = self.scratch_bytes.max(self.scratch_used);
        address
    }

    /// Says that kernels of this step may report a failure, and what their places mean.
    pub(crate) fn may_fail(&mut self, fallible: Fallible) {
        self.fallible.push((self.step, fallible));
    }

    /// What a kernel of this step puts into the status by `atomicMin` when it fails, plus the place where it failed (below 2^40): the least of
    /// all, hence the first failing step's first place, is what the run reports.
    pub(crate) fn report(&self) -> u64 {
        (self.step as u64) << 40
    }
}

/// The kernels' name of an element type.
pub(crate) fn real(site: &Site<'_>, dtype: DType) -> Result<Real> {
    match dtype {
        DType::F32 => Ok(Real::F32),
        DType::F64 => Ok(Real::F64),
        DType::U32 => Err(Error::DType {
            op: site.step.op,
            found: dtype,
            expected: "a floating-point type",
            location: site.step.location,
        }),
    }
}

/// A card, or its emulation, with what all plans on it share.
pub(crate) struct Cuda {
    device: Device,
    precision: Precision,
    scratch: Memory,
    status: Memory,
    noise: Memory,
    /// The noise's seed and step as the device has them.
    coordinates: Option<(u64, u64)>,
}

/// Commands of one plan.
pub(crate) struct Program {
    sequence: Sequence,
    /// For each step, the number of its commands.
    counts: Vec<usize>,
    fallible: Vec<(usize, Fallible)>,
}

impl Program {
    /// Why the device runs the commands one by one instead of replaying them.
    pub(crate) fn refusal(&self) -> Option<String> {
        self.sequence.refusal().map(ToString::to_string)
    }
}

impl Cuda {
    /// A device with its shared memory.
    pub(crate) fn new(device: Device, precision: Precision) -> Result<Self> {
        let (scratch, status, noise) = (device.allocate(ALIGNMENT)?, device.allocate(8)?, device.allocate(16)?);
        // SAFETY: eight bytes were allocated.
        unsafe { device.write(status.address(), &u64::MAX.to_ne_bytes())? };
        Ok(Self { device, precision, scratch, status, noise, coordinates: None })
    }

    /// The device.
    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    /// Bytes of scratch memory.
    pub(crate) fn scratch_bytes(&self) -> usize {
        self.scratch.bytes()
    }

    /// Makes the scratch memory that long. All programs must be made anew.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<()> {
        // The old one goes first: two at a time were never announced.
        self.scratch = self.device.allocate(0)?;
        self.scratch = self.device.allocate(bytes)?;
        Ok(())
    }

    /// The commands of each step, and which steps it has to wait for.
    fn lowered(&self, steps: &[Step], buffers: &[Buffer], bases: &[*mut u8]) -> Result<(Lowering, Vec<Task>)> {
        let mut lowering = Lowering {
            device: self.device.clone(),
            commands: Vec::new(),
            precision: self.precision,
            status: self.status.address(),
            noise: self.noise.address(),
            step: 0,
            fallible: Vec::new(),
            scratch: self.scratch.address(),
            scratch_used: 0,
            scratch_bytes: 0,
        };
        let (mut tasks, mut order) = (Vec::with_capacity(steps.len()), Order::default());
        for (number, step) in steps.iter().enumerate() {
            (lowering.step, lowering.scratch_used) = (number, 0);
            let site = Site { buffers, bases, step };
            lower(&site, &step.action, &mut lowering)?;
            let (mut reads, mut writes) = (Vec::new(), Vec::new());
            for (view, written) in step.action.views() {
                let window = site.window(view)?;
                if window.elements() > 0 {
                    if written { &mut writes } else { &mut reads }.push(window.span());
                }
            }
            let scratch = lowering.scratch as usize;
            writes.push((scratch, scratch + lowering.scratch_used));
            tasks.push(Task { commands: std::mem::take(&mut lowering.commands), after: order.next(&reads, &writes) });
        }
        Ok((lowering, tasks))
    }

    /// Bytes of scratch memory that steps need.
    pub(crate) fn scratch_needed(&self, steps: &[Step], buffers: &[Buffer], bases: &[*mut u8]) -> Result<usize> {
        Ok(self.lowered(steps, buffers, bases)?.0.scratch_bytes)
    }

    /// Compiles steps against the device addresses of their buffers.
    pub(crate) fn compile(&self, steps: &[Step], buffers: &[Buffer], bases: &[*mut u8]) -> Result<Program> {
        let (lowering, tasks) = self.lowered(steps, buffers, bases)?;
        let counts = tasks.iter().map(|task| task.commands.len()).collect();
        Ok(Program { sequence: self.device.prepare_tasks(tasks)?, counts, fallible: lowering.fallible })
    }

    /// Tells the device where its noise comes from.
    fn place_noise(&mut self, seed: u64, step: u64) -> Result<()> {
        if self.coordinates != Some((seed, step)) {
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&seed.to_le_bytes());
            bytes[8..].copy_from_slice(&step.to_le_bytes());
            // SAFETY: sixteen bytes were allocated.
            unsafe { self.device.write(self.noise.address(), &bytes)? };
            self.coordinates = Some((seed, step));
        }
        Ok(())
    }

    /// Runs a program compiled for the scratch memory as it is; returns before it is done, unless steps can fail.
    ///
    /// # Safety
    /// The buffers that the program was compiled for still have their addresses.
    pub(crate) unsafe fn run(&mut self, program: &mut Program, steps: &[Step], seed: u64, step: u64) -> Result<()> {
        self.place_noise(seed, step)?;
        // SAFETY: the caller's promise; every view was checked against its buffer.
        unsafe { self.device.run(&mut program.sequence)? };
        self.check(program, steps)
    }

    /// The seconds that each step of a program took in the quickest of so many runs.
    ///
    /// # Safety
    /// As for [`Cuda::run`].
    pub(crate) unsafe fn profile(
        &mut self,
        program: &mut Program,
        steps: &[Step],
        (seed, step): (u64, u64),
        runs: usize,
    ) -> Result<Vec<f64>> {
        self.place_noise(seed, step)?;
        quickest(program.counts.len(), runs, |seconds| {
            // SAFETY: the caller's promise.
            let mut found = unsafe { self.device.profile(&mut program.sequence)? }.into_iter();
            for (seconds, &count) in seconds.iter_mut().zip(&program.counts) {
                *seconds = found.by_ref().take(count).sum();
            }
            self.check(program, steps)
        })
    }

    /// An error if a step reported one.
    fn check(&mut self, program: &Program, steps: &[Step]) -> Result<()> {
        if program.fallible.is_empty() {
            return Ok(());
        }
        let mut bytes = [0; 8];
        // SAFETY: eight bytes were allocated.
        unsafe { self.device.read(self.status.address(), &mut bytes)? };
        let status = u64::from_ne_bytes(bytes);
        if status == u64::MAX {
            return Ok(());
        }
        // SAFETY: as above.
        unsafe { self.device.write(self.status.address(), &u64::MAX.to_ne_bytes())? };
        let (number, place) = ((status >> 40) as usize, status & ((1 << 40) - 1));
        match program.fallible.iter().find(|(step, _)| *step == number) {
            Some((_, fallible)) => Err(fallible.error(&steps[number], place, &self.device)?),
            None => Err(Error::Argument { name: "plan", problem: format!("step {number} reported a failure") }),
        }
    }
}

fn lower(site: &Site<'_>, action: &Action, lowering: &mut Lowering) -> Result<()> {
    match action {
        Action::Loop(body) => elementwise::lower(site, body, lowering),
        Action::Product(step) => product::lower(site, step, lowering),
        Action::Convolution(step) => convolution::lower(site, step, lowering),
        Action::Cholesky { a, factor } => factor::cholesky(site, a, factor, lowering),
        Action::SolveFactor { factor, b, out } => factor::solve(site, factor, b, out, lowering),
        Action::InverseFactor { factor, out } => factor::inverse(site, factor, out, lowering),
        Action::LogDetFactor { factor, out } => factor::log_det(site, factor, out, lowering),
        Action::Gather { x, index, out } => index::gather(site, x, index, out, lowering),
        Action::ScatterAdd { u, index, out } => index::scatter_add(site, u, index, out, lowering),
        Action::OneHot { index, out } => index::one_hot(site, index, out, lowering),
        Action::IndexOffset { index, stride, out } => index::index_offset(site, index, *stride, out, lowering),
        Action::Identity { out } => index::identity(site, out, lowering),
        Action::Noise { distribution, stream, out } => noise::lower(site, *distribution, *stream, out, lowering),
    }
}
