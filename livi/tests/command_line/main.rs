//! The program as its users run it: every test starts the built binary.

mod bad_input;
mod devices;
mod help;
mod image_sets;
mod images;
mod kill_and_resume;
mod memory;
mod mixtures;
mod outputs;
mod profile;
mod stochastic;
mod support;
mod targets;
mod training;
