//! Mistakes while recording are errors that name the operation, what was found and the caller's own line; nothing
//! panics.

mod fuzz;
mod messages;
#[path = "../reference/mod.rs"]
mod reference;
