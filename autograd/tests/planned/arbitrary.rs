//! Plans for leaves of any shape: a plan or an error, never a panic.

use super::harness::machine_with;
use autograd::{DType, Plan, Request, Tape};

#[test]
fn leaves_without_elements_or_beyond_memory_are_planned_or_rejected_without_panic() {
    for shape in [&[0_usize] as &[usize], &[2, 0], &[usize::MAX, 3], &[1 << 61]] {
        for kind in 0..3 {
            let mut tape = Tape::new();
            let leaf = match kind {
                0 => tape.input(shape, DType::F64),
                1 => tape.constant(1.0, shape, DType::F64),
                _ => tape.identity(shape[0], DType::F64),
            };
            if let Ok(plan) = Plan::new(&tape, &Request::outputs(&[leaf])) {
                // Loading may fail for want of memory; it may not panic.
                if plan.peak_bytes() < 1 << 20 {
                    let mut machine = machine_with(1);
                    machine.load(plan).and_then(|plan| machine.run(plan)).ok();
                }
            }
        }
    }
}
