//! The CPU: plans compiled to kernels over addresses, run by rayon's threads and faer's products.
//!
//! Everything that depends on shapes only - tiles, tasks, scratch memory, addresses - is settled when a plan is loaded; a run walks over kernels
//! and allocates nothing. Work is cut by shape, never by the number of threads, so results are the same for any number.

mod convolution;
mod elementwise;
mod factor;
mod frame;
mod index;
mod math;
mod noise;
mod product;
mod scalar;
mod small_factor;
mod vector;

use super::device::MOST_THREADS;
use super::memory::Block;
use super::profile::quickest;
use crate::exec::view::Site;
use crate::plan::step::{Action, Buffer, Step};
use crate::{Error, Result};
use frame::{Frame, Kernel};
use pulp::Arch;
use rayon::ThreadPool;
use std::time::Instant;

/// Operations that take as long as moving a byte.
const FLOPS_PER_BYTE: f64 = 4.0;
/// Work below which waking threads costs more than they save.
const LEAST_WORK: f64 = 3e7;

/// Kernels of one plan.
pub(crate) struct Program {
    kernels: Vec<Box<dyn Kernel>>,
    /// Work of the steps that can be spread over threads.
    spread_work: f64,
    scratch_bytes: usize,
    partial_bytes: usize,
}

/// Threads and their scratch memory.
pub(crate) struct Cpu {
    arch: Arch,
    pool: Option<ThreadPool>,
    scratch: Vec<Block>,
    /// What the tasks of a step share.
    partials: Block,
    /// Work from which on a plan is spread over the threads.
    pub(crate) least_work: f64,
}

impl Program {
    /// Compiles steps against the addresses of their buffers.
    ///
    /// # Safety
    /// Each base must be the first byte of as much owned, 64-byte-aligned memory as its buffer needs, for as long as the program lives, and nobody
    /// else may use that memory while the program runs.
    pub(crate) unsafe fn new(steps: &[Step], buffers: &[Buffer], bases: &[*mut u8]) -> Result<Self> {
        let mut kernels = Vec::with_capacity(steps.len());
        let mut spread_work = 0.0;
        for step in steps {
            let kernel = compile(&Site { buffers, bases, step }, &step.action)?;
            if kernel.parallel() {
                spread_work += (step.flops + FLOPS_PER_BYTE * step.bytes).max(1.0);
            }
            kernels.push(kernel);
        }
        let most = |bytes: fn(&dyn Kernel) -> usize| kernels.iter().map(|kernel| bytes(&**kernel)).max().unwrap_or(0);
        Ok(Self {
            spread_work,
            scratch_bytes: most(|kernel| kernel.scratch_bytes()),
            partial_bytes: most(|kernel| kernel.partial_bytes()),
            kernels,
        })
    }
}

fn compile(site: &Site<'_>, action: &Action) -> Result<Box<dyn Kernel>> {
    match action {
        Action::Loop(body) => elementwise::compile(site, body),
        Action::Product(product) => product::compile(site, product),
        Action::Convolution(step) => convolution::compile(site, step),
        Action::Cholesky { a, factor } => factor::cholesky(site, a, factor),
        Action::SolveFactor { factor, b, out } => factor::solve(site, factor, b, out),
        Action::InverseFactor { factor, out } => factor::inverse(site, factor, out),
        Action::LogDetFactor { factor, out } => factor::log_det(site, factor, out),
        Action::Gather { x, index, out } => index::gather(site, x, index, out),
        Action::ScatterAdd { u, index, out } => index::scatter_add(site, u, index, out),
        Action::OneHot { index, out } => index::one_hot(site, index, out),
        Action::IndexOffset { index, stride, out } => index::index_offset(site, index, *stride, out),
        Action::Identity { out } => index::identity(site, out),
        Action::Noise { distribution, stream, out } => noise::compile(site, *distribution, *stream, out),
    }
}

impl Cpu {
    /// A processor with so many threads; one means the caller's own.
    pub(crate) fn new(threads: usize) -> Result<Self> {
        let pool = match threads {
            0 => {
                return Err(Error::Argument {
                    name: "threads",
                    problem: "0 was given; at least one thread is needed".into(),
                });
            }
            1 => None,
            // So many take seconds to start, many more for ever.
            _ if threads > MOST_THREADS => {
                return Err(Error::Argument {
                    name: "threads",
                    problem: format!("{threads} were given; there may be at most {MOST_THREADS}"),
                });
            }
            _ => {
                let pool = rayon::ThreadPoolBuilder::new()
                    .num_threads(threads)
                    .thread_name(|k| format!("autograd-{k}"))
                    .build()
                    .map_err(|error| Error::Argument { name: "threads", problem: error.to_string() })?;
                Some(pool)
            }
        };
        let scratch = (0..threads).map(|_| Block::zeroed(0)).collect::<Result<_>>()?;
        Ok(Self { arch: Arch::new(), pool, scratch, partials: Block::zeroed(0)?, least_work: LEAST_WORK })
    }

    /// Makes ready for a program: scratch memory, and the products' own buffers on every thread.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`]; programs that were prepared before still run.
    pub(crate) fn prepare(&mut self, program: &Program) -> Result<()> {
        for block in &mut self.scratch {
            if block.bytes() < program.scratch_bytes {
                *block = Block::zeroed(program.scratch_bytes)?;
            }
        }
        if self.partials.bytes() < program.partial_bytes {
            self.partials = Block::zeroed(program.partial_bytes)?;
        }
        match &self.pool {
            None => product::warm_up(),
            Some(pool) => {
                product::warm_up();
                pool.broadcast(|_| product::warm_up());
            }
        }
        Ok(())
    }

    /// Bytes of scratch memory, the threads' own and the shared one.
    pub(crate) fn scratch_bytes(&self) -> usize {
        self.scratch.iter().map(Block::bytes).sum::<usize>() + self.partials.bytes()
    }

    /// Runs a program that `prepare` saw.
    pub(crate) fn run(&self, program: &Program, seed: u64, step: u64) -> Result<()> {
        self.inside(program, seed, step, |frame| program.kernels.iter().try_for_each(|kernel| kernel.run(frame)))
    }

    /// Runs such a program so many times; the seconds that each kernel took in the quickest run.
    pub(crate) fn profile(&self, program: &Program, seed: u64, step: u64, runs: usize) -> Result<Vec<f64>> {
        let mut found = Vec::new();
        self.inside(program, seed, step, |frame| {
            found = quickest(program.kernels.len(), runs, |seconds| {
                program.kernels.iter().zip(seconds).try_for_each(|(kernel, seconds)| {
                    let start = Instant::now();
                    kernel.run(frame)?;
                    *seconds = start.elapsed().as_secs_f64();
                    Ok(())
                })
            })?;
            Ok(())
        })?;
        Ok(found)
    }

    /// Calls `run` on one of the threads that a program is spread over, or on the caller's own if there is not enough to spread.
    fn inside(
        &self,
        program: &Program,
        seed: u64,
        step: u64,
        run: impl FnOnce(&Frame<'_>) -> Result<()> + Send,
    ) -> Result<()> {
        let pool = self.pool.as_ref().filter(|_| program.spread_work > 0.0 && program.spread_work >= self.least_work);
        let (arch, pooled) = (self.arch, pool.is_some());
        let frame = Frame { arch, seed, step, pooled, scratch: &self.scratch, partials: &self.partials };
        match pool {
            Some(pool) => pool.install(|| run(&frame)),
            None => run(&frame),
        }
    }
}
