//! The `livi` command line.
fn main() {}
