//! Rules of all primitives against finite differences, adjoint identities and loops, in the interpreter: no plan, no
//! executor.

mod batching;
mod conventions;
mod first_order;
mod higher_order;
mod jacobian;
mod pooling;
#[path = "../reference/mod.rs"]
mod reference;
mod spd;
