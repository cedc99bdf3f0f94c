//! Linearised implicit variational inference for Bayesian neural networks.
pub mod atomic;
pub mod data;
pub mod error;
pub mod export;
pub mod metrics;
pub mod plot;
pub mod run_folder;
pub mod config;
pub mod spectral;

pub use error::{Error, Result};
