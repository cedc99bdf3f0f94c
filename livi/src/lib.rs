//! Linearised implicit variational inference for Bayesian neural networks (Uppal et al. 2023, arXiv:2310.06643): a neural sampler draws all weights
//! of a network at once, and is trained by a lower bound on the evidence whose entropy is that of the linearised sampler.
//!
//! The command line ([`cli`]) does everything from files. From a program it goes from a [`data::Dataset`] and a [`config::Config`] by way of a
//! [`train::Trainer`] to a [`posterior::Posterior`], which draws weights and predicts:
//!
//! ```
//! use livi::config::Config;
//! use livi::data::{Dataset, Standardiser, Table, Training};
//! use livi::train::{Silent, Trainer};
//!
//! // Rows of one input and one target, in their own units.
//! let x: Vec<f64> = (0..40).map(|k| f64::from(k) / 10.0).collect();
//! let y: Vec<f64> = x.iter().map(|x| 100.0 + 20.0 * x.sin()).collect();
//! let training = Table::new(x, y, 40, vec!["time".into()], vec!["height".into()])?;
//! let standardiser = Standardiser::fit(&training)?;
//! let name = "heights".to_string();
//! let dataset = Dataset { name, training: Training::Table(training), validation: None, test: None, standardiser };
//!
//! let mut config = Config::default();
//! for setting in ["data.source=memory", "network.hidden=[8]", "sampler.latent=[10]", "sampler.hidden=[16]", "training.steps=300"] {
//!     config.set(setting)?;
//! }
//! let posterior = Trainer::new(&config, &dataset, 1, None)?.fit(&mut Silent)?;
//!
//! // Two new rows: one among those of the training, one far away.
//! let (rows, samples, seed) = (2, 100, 7);
//! let mixture = posterior.predict(&[2.0, 12.0], rows, samples, seed)?.mixture()?;
//! let (mean, epistemic, noise) = (mixture.mean(), mixture.epistemic_std(), mixture.aleatoric_std());
//! assert!((mean[0] - (100.0 + 20.0 * 2.0_f64.sin())).abs() < 3.0 * (epistemic[0] + noise[0]));
//! assert!(epistemic[1] > epistemic[0]);
//! # Ok::<(), livi::Error>(())
//! ```
//!
//! [`train::run`] does the same in a [`run_folder`], with checkpoints and resuming; [`train::Saved`] reads the posterior back. Networks and samplers
//! of one's own go in by [`model::Model::of`] and [`train::Trainer::with_model`].
//! [`posterior::Posterior::export`] writes weight samples for other programs, [`evaluate`] and [`metrics`] measure predictions, [`verify`](mod@verify) compares all ways to
//! the [`entropy`] of a sampler.

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
mod listing;
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

/// The README's program is compiled and run as a test.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
