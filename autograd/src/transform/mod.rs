//! Programs from programs: linearisation (forward mode), transposition (reverse mode), batching. All push nodes on the same tape, so they nest in any
//! order.

mod batch;
mod derivative;
mod linearize;
mod reach;
mod transpose;

pub use linearize::Linear;
