//! Networks whose weights are drawn by a sampler, and the layout of those weights.

mod layout;
mod mlp;

pub use layout::{Entry, Layout};
pub use mlp::Mlp;
