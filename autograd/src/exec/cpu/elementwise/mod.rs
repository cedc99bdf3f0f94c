//! Loops: elementwise code and reductions over strided views.
//!
//! Code is interpreted a tile at a time: one instruction works on a whole tile in first-level cache before the next one starts, so that the cost of
//! interpretation vanishes and every instruction is a plain loop that the compiler turns into vector code. The whole pass is compiled for the
//! instruction sets that `pulp` knows and the best one is chosen at run time.

mod compile;
mod fold;
mod kernel;
mod layout;
mod pass;
mod transfer;

pub(crate) use compile::{Entry, build, compile};
pub(crate) use kernel::{Element as LoopElement, LoopKernel};
