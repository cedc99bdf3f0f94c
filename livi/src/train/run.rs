//! The loop around a [`Trainer`]: metrics, validation, checkpoints, interruption.
//!
//! What is written depends on the steps alone, never on the clock, so a run that was killed and resumed leaves the same metrics and the same
//! checkpoint as one that was not.

use super::saved::{FINISHED, describe, require_same_data};
use super::signature::Signature;
use super::targets::remarks;
use super::{Terms, Trainer};
use crate::config::Config;
use crate::data::Dataset;
use crate::entropy::Method;
use crate::export::{NamedTensor, TensorData};
use crate::posterior::Posterior;
use crate::run_folder::RunFolder;
use crate::{Error, Result};
use autograd::Device;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Whoever watches a run. Nothing it does changes the run.
pub trait Observer {
    /// Training is about to begin with settings that deserve a second thought.
    fn warned(&mut self, warning: &str) {
        let _ = warning;
    }

    /// Training begins (or continues) after `step` of `total` steps.
    fn started(&mut self, step: u64, total: u64) {
        let _ = (step, total);
    }

    /// A step is done.
    fn stepped(&mut self, terms: &Terms) {
        let _ = terms;
    }

    /// The validation rows were evaluated: mean log-likelihood a row, in units of the standardised targets.
    fn validated(&mut self, step: u64, log_likelihood: f64) {
        let _ = (step, log_likelihood);
    }

    /// The loop has ended, in whatever way.
    fn ended(&mut self) {}
}

/// An observer that does nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {}

/// Why training came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// All steps are done.
    AllSteps,
    /// The validation rows did not improve any more.
    EarlyStopping,
}

impl Reason {
    /// Name in checkpoints and results.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AllSteps => "all_steps",
            Self::EarlyStopping => "early_stopping",
        }
    }

    /// The reason of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::AllSteps, Self::EarlyStopping].into_iter().find(|reason| reason.name() == name)
    }
}

/// A completed training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ending {
    /// Steps done.
    pub steps: u64,
    /// Why it ended.
    pub reason: Reason,
    /// Step of the state kept, the best on the validation rows; `None` where the last state was kept.
    pub best_step: Option<u64>,
    /// Wall-clock seconds of the loop in this process; a resumed run counts from where it was resumed.
    pub seconds: f64,
}

/// What deserves a second thought in a configuration to train with.
pub fn warning(config: &Config) -> Option<&'static str> {
    (config.entropy.method == Method::Largest).then_some(
        "`entropy.method` is `largest`, an upper bound that is for diagnosis only: maximising it need not raise the entropy itself; expected `exact`, \
         `smallest`, `slq` or `paper` for training",
    )
}

/// Trains to the end, from the folder's checkpoint where it has one. A run that is complete already returns at once.
///
/// Every `log_every` steps, and at the last, the terms go to the metrics, every validation too; every `checkpoint_every` steps, at the end and
/// on interruption the state goes to the checkpoint.
///
/// # Errors
/// [`Error::Argument`] for a trainer of another configuration. [`Error::Interrupted`] after `stop` was set: the step was finished and its state
/// saved. [`Error::NotFinite`] naming the checkpoint that stands. [`Error::File`] for a checkpoint that does not fit the configuration or was made with other data, and errors of writing.
pub fn run(
    config: &Config,
    dataset: &Dataset,
    trainer: &mut Trainer,
    folder: &RunFolder,
    stop: &AtomicBool,
    observer: &mut dyn Observer,
) -> Result<Ending> {
    // How many weight samples go through the network together is the trainer's own choice where it had to be.
    let chunked = |config: &Config| {
        let mut config = config.clone();
        config.training.chunk = 0;
        config
    };
    if chunked(config) != chunked(trainer.config()) {
        let problem = "was made for another configuration than that of the run".into();
        return Err(Error::Argument { name: "trainer".into(), problem });
    }
    let mut saved = None;
    if let Some(checkpoint) = folder.load_checkpoint()? {
        require_same_data(&checkpoint, dataset)?;
        Signature::require(trainer.own_model(), &checkpoint.tensors)?;
        trainer.restore(checkpoint.step, &checkpoint.tensors)?;
        saved = Some(checkpoint.step);
        if let Some(reason) = checkpoint.tensors.metadata().get(FINISHED).and_then(|name| Reason::from_name(name)) {
            let best_step = trainer.best_step();
            return Ok(Ending { steps: checkpoint.step, reason, best_step, seconds: 0.0 });
        }
    }
    let begin = Instant::now();
    if let Some(warning) = warning(config) {
        observer.warned(warning);
    }
    remarks(config, dataset)?.iter().for_each(|remark| observer.warned(remark));
    observer.started(trainer.step_count(), trainer.total_steps());
    let tf32 = matches!(trainer.device(), Device::Cuda { tf32: true, .. });
    let mut description = describe(dataset, trainer.outputs())?;
    if let Some(own) = trainer.own_model() {
        description.extend(own.metadata()?);
    }
    let mut keeper = Keeper { folder, description, saved, tf32 };
    let reason = steps(config, trainer, &mut keeper, stop, observer);
    observer.ended();
    let (steps, best_step) = (trainer.step_count(), trainer.best_step());
    Ok(Ending { steps, reason: reason?, best_step, seconds: begin.elapsed().as_secs_f64() })
}

impl Trainer {
    /// Trains to the end in memory, all components and with early stopping where the configuration asks for it. [`run`] does the same in a run
    /// folder, with checkpoints.
    ///
    /// # Errors
    /// Those of [`Trainer::advance`] and of prediction.
    pub fn fit(mut self, observer: &mut dyn Observer) -> Result<Posterior> {
        if let Some(warning) = warning(self.config()) {
            observer.warned(warning);
        }
        observer.started(self.step_count(), self.total_steps());
        let mut done = self.component_done() && !self.next_component()?;
        while !done {
            match advance(&mut self, observer) {
                Ok(advanced) => done = advanced.reason.is_some(),
                Err(error) => {
                    observer.ended();
                    return Err(error);
                }
            }
        }
        observer.ended();
        self.into_posterior()
    }
}

/// What a step came to.
struct Advanced {
    terms: Terms,
    /// Mean log-likelihood of the validation rows, where they were evaluated.
    score: Option<f64>,
    /// Why training is over, where it is.
    reason: Option<Reason>,
}

/// One step with all that belongs to it: validation, and the next component after the last step of one.
fn advance(trainer: &mut Trainer, observer: &mut dyn Observer) -> Result<Advanced> {
    let terms = trainer.advance()?;
    observer.stepped(&terms);
    let score = if trainer.evaluation_due() { trainer.evaluate()? } else { None };
    if let Some((log_likelihood, _)) = score {
        observer.validated(terms.step, log_likelihood);
    }
    let ended = match score {
        Some((_, true)) => Some(Reason::EarlyStopping),
        _ if trainer.component_done() => Some(Reason::AllSteps),
        _ => None,
    };
    let reason = match ended {
        Some(_) if trainer.next_component()? => None,
        ended => ended,
    };
    Ok(Advanced { terms, score: score.map(|(log_likelihood, _)| log_likelihood), reason })
}

fn steps(
    config: &Config,
    trainer: &mut Trainer,
    keeper: &mut Keeper<'_>,
    stop: &AtomicBool,
    observer: &mut dyn Observer,
) -> Result<Reason> {
    let (log_every, checkpoint_every) = (config.training.log_every, config.training.checkpoint_every);
    loop {
        if trainer.component_done() {
            // A checkpoint of the last step of all that is not marked as finished: training was interrupted there.
            trainer.posterior()?;
            keeper.save(trainer, Some(Reason::AllSteps))?;
            return Ok(Reason::AllSteps);
        }
        let Advanced { terms, score, reason } = advance(trainer, observer).map_err(|error| keeper.advise(error))?;
        if reason.is_some() || terms.step.is_multiple_of(log_every) {
            keeper.folder.append_metrics(&terms)?;
        }
        if let Some(log_likelihood) = score {
            let record = json!({ "step": terms.step, "validation_log_likelihood": log_likelihood });
            keeper.folder.append_metrics(&record)?;
        }
        if reason.is_some() {
            trainer.posterior()?;
        }
        let interrupted = stop.load(Ordering::SeqCst);
        if reason.is_some() || interrupted || terms.step.is_multiple_of(checkpoint_every) {
            keeper.save(trainer, reason)?;
        }
        match reason {
            Some(reason) => return Ok(reason),
            None if interrupted => return Err(Error::Interrupted { step: terms.step }),
            None => {}
        }
    }
}

/// Saves checkpoints and knows the last.
struct Keeper<'a> {
    folder: &'a RunFolder,
    description: BTreeMap<String, String>,
    saved: Option<u64>,
    /// Whether products are rounded to TF32.
    tf32: bool,
}

impl Keeper<'_> {
    fn save(&mut self, trainer: &Trainer, reason: Option<Reason>) -> Result<()> {
        let (tensors, mut metadata) = trainer.state()?;
        // An update can overflow after finite terms; such a state must not replace a good one.
        for tensor in &tensors {
            if let Some(value) = first_not_finite(tensor) {
                let term = format!("the updated tensor `{}`", tensor.name);
                let error = Error::NotFinite { step: trainer.step_count(), term, value, advice: String::new() };
                return Err(self.advise(error));
            }
        }
        metadata.extend(self.description.clone());
        metadata.extend(reason.map(|reason| (FINISHED.to_string(), reason.name().to_string())));
        self.folder.save_checkpoint(trainer.step_count(), &tensors, &metadata)?;
        self.saved = Some(trainer.step_count());
        Ok(())
    }

    /// Tells in an error about numbers which checkpoint stands.
    fn advise(&self, error: Error) -> Error {
        let path = self.folder.path().display();
        match error {
            Error::NotFinite { step, term, value, .. } => {
                let stands = match self.saved {
                    Some(saved) => format!("the last good checkpoint, after step {saved}, is kept in {path}"),
                    None => format!("no checkpoint had been saved in {path} yet"),
                };
                let products = if self.tf32 { "without --tf32, " } else { "" };
                let advice = format!(
                    "{stands}; train anew {products}with a smaller training.learning_rate, with training.clip_norm, a larger sampler.sigma or \
                     --dtype f64"
                );
                Error::NotFinite { step, term, value, advice }
            }
            other => other,
        }
    }
}

fn first_not_finite(tensor: &NamedTensor) -> Option<f64> {
    match &tensor.data {
        TensorData::F32(values) => values.iter().find(|v| !v.is_finite()).map(|&v| f64::from(v)),
        TensorData::F64(values) => values.iter().find(|v| !v.is_finite()).copied(),
        TensorData::I64(_) | TensorData::U64(_) => None,
    }
}
