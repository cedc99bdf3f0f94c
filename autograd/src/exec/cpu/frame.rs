//! What a kernel sees while it runs: threads, scratch memory and the noise's seed.

use crate::Result;
use crate::exec::memory::Block;
use pulp::Arch;
use rayon::prelude::*;

/// One step, ready to run.
pub(crate) trait Kernel: Send + Sync {
    /// Runs it.
    fn run(&self, frame: &Frame<'_>) -> Result<()>;

    /// Whether it has independent pieces of work large enough to be spread over threads.
    fn parallel(&self) -> bool {
        false
    }

    /// Bytes of scratch memory that each thread needs.
    fn scratch_bytes(&self) -> usize {
        0
    }

    /// Bytes of the memory that its tasks share: results of parts, before they are combined.
    fn partial_bytes(&self) -> usize {
        0
    }
}

/// A step without elements.
pub(crate) struct Nothing;

impl Kernel for Nothing {
    fn run(&self, _: &Frame<'_>) -> Result<()> {
        Ok(())
    }
}

/// State of one run.
pub(crate) struct Frame<'a> {
    /// Instruction sets found on this machine.
    pub(crate) arch: Arch,
    /// Seed of the noise.
    pub(crate) seed: u64,
    /// Step of the noise.
    pub(crate) step: u64,
    /// Whether the run happens inside of the machine's own thread pool.
    pub(crate) pooled: bool,
    /// One scratch block for each thread.
    pub(crate) scratch: &'a [Block],
    /// Memory that the tasks of a step share; what is in it is of no use to the next step.
    pub(crate) partials: &'a Block,
}

impl Frame<'_> {
    /// Scratch memory of the calling thread.
    ///
    /// Exclusive until the caller returns: tasks never wait for other tasks, so a thread works on one at a time.
    pub(crate) fn scratch(&self) -> *mut u8 {
        let thread = if self.pooled { rayon::current_thread_index().unwrap_or(0) } else { 0 };
        self.scratch[thread].pointer()
    }

    /// Runs tasks 0..count in any order, over the threads if `spread`.
    pub(crate) fn for_each(&self, count: usize, spread: bool, task: impl Fn(usize) + Send + Sync) {
        if spread && self.pooled && count > 1 {
            (0..count).into_par_iter().with_max_len(1).for_each(task);
        } else {
            (0..count).for_each(task);
        }
    }
}
