//! The memory that training announces is the memory it takes.
//!
//! Counted are the machine's blocks: the only allocations of this program that ask for zeroed memory aligned to 64 bytes. They are the arena and
//! the persistent buffers, which `Trainer::peak_bytes` announces, and each thread's scratch memory, which it leaves out; a second thread adds
//! nothing but its scratch, so the difference of two counts tells how much that is. Not counted is what is no block: data set, tape and plan, the
//! threads' stacks, and the packing buffers of matrix products.

use livi::config::Config;
use livi::train::Trainer;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The system's allocator with a count of blocks.
struct Counting;

/// Bytes of all blocks alive, and the most there ever were since the count was last reset.
static ALIVE: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);
/// Addresses of the blocks alive; others ask for the same alignment too, but not for zeros.
static BLOCKS: [AtomicUsize; 1024] = [const { AtomicUsize::new(0) }; 1024];

/// Alignment of the machine's blocks.
const ALIGNMENT: usize = 64;

/// Exchanges one address for another in the list of blocks; whether it was there.
fn exchange(from: usize, to: usize) -> bool {
    BLOCKS.iter().any(|block| block.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed).is_ok())
}

// SAFETY: everything is handed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is the same.
        let pointer = unsafe { System.alloc_zeroed(layout) };
        if layout.align() == ALIGNMENT {
            let alive = ALIVE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
            MOST.fetch_max(alive, Ordering::Relaxed);
            if !exchange(0, pointer as usize) {
                std::process::abort();
            }
        }
        pointer
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        if layout.align() == ALIGNMENT && exchange(pointer as usize, 0) {
            ALIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        }
        // SAFETY: the caller's promise is the same.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes of blocks at their most while a preset is planned and trained for some steps, and bytes announced.
fn taken_and_announced(preset: &str, threads: usize) -> livi::Result<(usize, usize)> {
    let config = Config::preset(preset)?;
    let dataset = livi::data::load(&config.data)?;
    let before = ALIVE.load(Ordering::Relaxed);
    MOST.store(before, Ordering::Relaxed);
    let mut trainer = Trainer::new(&config, &dataset, threads, None)?;
    for _ in 0..5 {
        trainer.advance()?;
    }
    Ok((MOST.load(Ordering::Relaxed) - before, trainer.peak_bytes()))
}

// One test: the counters belong to the whole process.
#[test]
fn training_takes_the_memory_it_announces_within_two_percent() {
    for preset in ["toy", "toy-slq", "toy-paper"] {
        let (one, announced) = taken_and_announced(preset, 1).unwrap();
        let (two, announced_for_two) = taken_and_announced(preset, 2).unwrap();
        assert_eq!(announced, announced_for_two, "{preset}: the plans do not depend on the number of threads");
        let scratch = two - one;
        let taken = one - scratch;
        // What may differ: blocks are padded to 64 bytes, and the parts of long sums share one more.
        assert!(
            taken.abs_diff(announced) * 50 <= announced,
            "{preset}: {announced} bytes announced, {taken} taken, beside {scratch} of scratch memory for each thread"
        );
    }
}
