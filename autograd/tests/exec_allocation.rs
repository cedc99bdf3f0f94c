//! A run allocates nothing.

use autograd::{DType, Distribution, Machine, Plan, PlanId, Request, Tape, Var};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The system's allocator with a counter.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is handed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is the same.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A program with every kind of step: loops, sums, products of several sizes, factorisations, index steps, noise.
fn program() -> autograd::Result<(Tape, Vec<Var>, Vec<Var>)> {
    let mut tape = Tape::new();
    let x = tape.input(&[300, 200], DType::F64);
    let w = tape.input(&[200, 150], DType::F64);
    let index = tape.input(&[4], DType::U32);
    let product = tape.matmul(x, w)?;
    let hidden = tape.tanh(product)?;
    let columns = tape.sum(hidden, &[0])?;
    let transposed = tape.transpose(hidden)?;
    let gram = tape.matmul(transposed, hidden)?;
    let identity = tape.identity(150, DType::F64);
    let ridge = tape.scale(identity, 1000.0)?;
    let gram = tape.add(gram, ridge)?;
    let gram = tape.reshape(gram, &[1, 150, 150])?;
    let log_det = tape.log_det_spd(gram)?;
    let right = tape.reshape(transposed, &[1, 150, 300])?;
    let solution = tape.solve_spd(gram, right)?;
    let picked = tape.gather(hidden, index, 0)?;
    let spread = tape.scatter_add(picked, index, 0, 5)?;
    let hot = tape.one_hot(index, 5, DType::F64)?;
    let small = tape.matmul(hot, spread)?;
    let noise = tape.noise(Distribution::Normal, &[300, 150], DType::F64)?;
    let noisy = tape.mul(noise, hidden)?;
    let scale = tape.input(&[], DType::F64);
    let noisy = tape.mul(noisy, scale)?;
    Ok((tape, vec![scale, x, w, index], vec![log_det, columns, solution, small, noisy]))
}

/// A machine with the program, and its scalars: one input, one output.
fn loaded(threads: usize) -> autograd::Result<(Machine, PlanId, [Var; 2])> {
    let (tape, inputs, outputs) = program()?;
    let mut machine = Machine::cpu(threads)?;
    machine.spread_from(0.0);
    let plan = machine.load(Plan::new(&tape, &Request::outputs(&outputs))?)?;
    for &input in &inputs {
        let values: Vec<f64> = (0..tape.elements(input)).map(|i| (i % 5) as f64).collect();
        machine.write_f64(input, &values)?;
    }
    Ok((machine, plan, [inputs[0], outputs[0]]))
}

// One test: the counter belongs to the whole process.
#[test]
fn a_run_between_scalars_written_and_read_allocates_nothing_but_a_queue_block_of_the_thread_pool_now_and_then() {
    for (threads, allowed) in [(1, 0), (2, 3)] {
        let (mut machine, plan, [scale, log_det]) = loaded(threads).unwrap();
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        for step in 0..100 {
            machine.set_noise(1, step);
            machine.write_scalar(scale, step as f64).unwrap();
            machine.run(plan).unwrap();
            assert!(machine.read_scalar(log_det).unwrap().is_finite());
        }
        let count = ALLOCATIONS.load(Ordering::Relaxed) - before;
        assert!(count <= allowed, "{count} allocations in 100 runs on {threads} threads");
    }
}
