//! Linearised implicit variational inference for Bayesian neural networks.

pub mod activation;
pub mod atomic;
pub mod cli;
pub mod config;
pub mod data;
pub mod device;
pub mod draw;
pub mod entropy;
pub mod error;
pub mod evaluate;
pub mod export;
pub mod forward;
pub mod html_report;
pub mod likelihood;
pub mod metrics;
pub mod model;
pub mod network;
pub mod number;
pub mod pictures;
pub mod plot;
pub mod posterior;
pub mod predict;
pub mod prior;
pub mod profile;
pub mod report;
pub mod run_folder;
pub mod sampler;
pub mod scale;
pub mod spectral;
pub mod table;
pub mod train;
pub mod verify;

pub use error::{Error, Result};
