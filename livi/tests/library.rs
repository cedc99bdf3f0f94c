//! The crate as a program uses it: models of its own, and what it may get wrong.

#[path = "library/data.rs"]
mod data;
#[path = "library/misuse.rs"]
mod misuse;
#[path = "library/own_model.rs"]
mod own_model;
