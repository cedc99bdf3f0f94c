//! Shared pieces of the end-to-end and golden tests.

pub mod golden;
