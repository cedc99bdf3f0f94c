//! Shared pieces of the benchmarks.
//!
//! `peers.py` beside this crate's manifest runs `small_samplers`, `large_samplers` and `networks` in turn with the same work in PyTorch and JAX on the
//! processor, and writes a Markdown report with ratios; `python3 benches/peers.py --help` tells what is compared and how. `gpu/run` does so on a card,
//! after the tests that need one.

mod arguments;
mod fence;
mod memory;
mod record;

pub use arguments::Arguments;
pub use fence::{Fence, time_plan};
pub use memory::{Gauge, with_scratch};
pub use record::{Figures, Replay, Timing, time};
