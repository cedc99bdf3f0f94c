//! The sections of a configuration, their defaults and what each setting means.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::choices::{
    Activation, Architecture, LikelihoodKind, PriorKind, ReportedPart, SamplerKind, Schedule, Source,
};
use crate::data::images::augment::Augmentation;
use crate::entropy::Method;

/// `[data]`: where rows come from and how they are divided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataConfig {
    /// Kind of source. Default `toy`; a configuration file must name it.
    pub source: Source,
    /// `csv`: the file. `uci`: the set's folder or a folder of sets; without it `$LIVI_DATA_DIR/uci`. `images`: the set's folder; without it
    /// `$LIVI_DATA_DIR/SET`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// `uci`, `images`: name of the set, for instance `concrete` or `mnist`. Not needed where `path` is the set's own folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub set: Option<String>,
    /// `uci`: index of the train/test split, from 0. Default 0.
    pub split: usize,
    /// `csv`: names of the target columns; all other columns but the ignored are inputs.
    pub target: Vec<String>,
    /// `csv`: names of columns that are neither inputs nor targets, for instance numbers or dates of rows; they may hold anything. Default none.
    pub ignore: Vec<String>,
    /// Part of the training rows held out for validation, in [0, 1); 0 holds out none. Default 0.
    pub validation_fraction: f64,
    /// `csv`: part of all rows held out for testing, in [0, 1); 0 holds out none. Default 0.1.
    pub test_fraction: f64,
    /// Seed of the random division into training, validation and (for `csv`) test rows, and of the noise of the
    /// `toy` set. Default 0.
    pub split_seed: u64,
    /// Part whose results are reported: `test`, or `validation` for choosing settings, where no table of test rows is made. Default `test`.
    pub report_on: ReportedPart,
    /// `images`: how training images are varied from batch to batch. Default: not at all.
    pub augmentation: Augmentation,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            source: Source::Toy,
            path: None,
            set: None,
            split: 0,
            target: Vec::new(),
            ignore: Vec::new(),
            validation_fraction: 0.0,
            test_fraction: 0.1,
            split_seed: 0,
            report_on: ReportedPart::Test,
            augmentation: Augmentation::default(),
        }
    }
}

/// `[network]`: the network whose weights are inferred.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkConfig {
    /// Architecture. Default `mlp`.
    pub architecture: Architecture,
    /// Shape of one input: empty for the data's own, flat; `[channels, rows, columns]` for architectures that take images. Default empty.
    pub input: Vec<usize>,
    /// Number of outputs (classes of a softmax likelihood); 0 for the data's own. Default 0.
    pub outputs: usize,
    /// `mlp`: widths of the hidden layers; empty for a linear model. Default `[50]`.
    pub hidden: Vec<usize>,
    /// Activation after each hidden layer. Default `relu`.
    pub activation: Activation,
    /// `wide_resnet`: depth, 10, 16, 22, .. Default 16.
    pub depth: usize,
    /// `wide_resnet`: channels are 16, 32 and 64 times this. Default 4.
    pub width: usize,
    /// Names of the tensors that the sampler draws, as patterns in which `*` stands for any number of characters, for instance `["fc3.*"]` for a last
    /// layer alone. All other tensors are trained as point estimates; with an empty list the whole network is (the maximum of the posterior, and with
    /// `training.components` a deep ensemble). Default `["*"]`.
    pub stochastic: Vec<String>,
    /// A safetensors file with trained weights to start from: each tensor of the network by its name, or in a file of weight samples the first of
    /// them. What the sampler adds to its output begins at the drawn tensors' values, point estimates at theirs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<PathBuf>,
    /// `layers`: the layers, one text each ([`crate::network::Layer::parse_all`]); the last must make as many outputs as there are.
    pub layers: Vec<String>,
}

impl Default for NetworkConfig {
    fn default() -> Self {
        Self {
            architecture: Architecture::Mlp,
            input: Vec::new(),
            outputs: 0,
            hidden: vec![50],
            activation: Activation::Relu,
            depth: 16,
            width: 4,
            layers: Vec::new(),
            stochastic: vec!["*".into()],
            start: None,
        }
    }
}

/// `[sampler]`: the map from latent noise to network weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SamplerConfig {
    /// Architecture. Default `mlp`.
    pub kind: SamplerKind,
    /// Latent size: `[d]` for `mlp`, `[rows, columns]` for `mm` and `cmmnn`. Default `[60]`.
    pub latent: Vec<usize>,
    /// `mlp`: widths of the hidden layers (empty for an affine sampler). `mm`: `[rows, columns]` of every hidden
    /// matrix. `cmmnn`: must be empty, heads have sizes of their own. Default `[105]`.
    pub hidden: Vec<usize>,
    /// `mm`: number of hidden matrices. Default 1.
    pub hidden_layers: usize,
    /// `mm`: `[rows, columns]` of the output matrix, whose numbers beyond the network's weights are cut off. Empty for nearly square ones that
    /// make exactly those weights. Empty for other kinds. Default empty.
    pub output: Vec<usize>,
    /// `cmmnn`: `[rows, columns]` of the trunk's layers. Empty for other kinds. Default empty.
    pub trunk: Vec<[usize; 2]>,
    /// Activation between layers. Default `elu`.
    pub activation: Activation,
    /// Standard deviation sigma of the noise added to the sampler's output, > 0. Default 0.01.
    pub sigma: f64,
    /// Multiplier of the sampler's initial weights, > 0: how far the first draws lie apart. Default 1.
    pub init_scale: f64,
    /// Whether every weight of the network has a learned scale: theta = s (g(z) + sigma eta), so that each weight has a spread of its own
    /// where no latent moves it. Default false.
    pub learned_scales: bool,
    /// `cmmnn`: the heads, which share out the last trunk layer's numbers among them and make the network's weights one after another; outputs that
    /// the last one makes beyond these are cut off. Empty for one head a layer of the network, sized to it. Empty for other kinds. Default empty.
    pub heads: Vec<HeadConfig>,
}

/// One head of a `cmmnn` sampler ([`crate::sampler::Head`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadConfig {
    /// `[rows, columns]` of its part of the trunk's output.
    pub input: [usize; 2],
    /// `[rows, columns]` of every hidden matrix.
    pub hidden: [usize; 2],
    /// `[rows, columns]` of its output.
    pub output: [usize; 2],
    /// Hidden-to-hidden layers: one less than hidden matrices.
    pub hidden_layers: usize,
}

impl Default for SamplerConfig {
    fn default() -> Self {
        Self {
            kind: SamplerKind::Mlp,
            latent: vec![60],
            hidden: vec![105],
            hidden_layers: 1,
            output: Vec::new(),
            trunk: Vec::new(),
            activation: Activation::Elu,
            sigma: 0.01,
            init_scale: 1.0,
            learned_scales: false,
            heads: Vec::new(),
        }
    }
}

/// `[likelihood]`: the distribution of targets given network outputs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LikelihoodConfig {
    /// Family. Default `gaussian`.
    pub kind: LikelihoodKind,
    /// `gaussian`: noise standard deviation of every target at the start, in units of the standardised targets, > 0. Default 1.
    pub initial_noise_std: f64,
    /// `gaussian`: whether the noise standard deviations are learned, one for each target. Default true.
    pub learn_noise: bool,
    /// `gaussian`: whether predictions take, in place of the noise of training, the one that fits the validation rows, given the mixture of all
    /// components once they are trained: the largest under which they are as likely as they can be, within a standard error. Of several targets each
    /// has the level that fits its own mixture, whatever the others'. Needs `data.validation_fraction`. Default false.
    pub noise_from_validation: bool,
}

impl Default for LikelihoodConfig {
    fn default() -> Self {
        Self { kind: LikelihoodKind::Gaussian, initial_noise_std: 1.0, learn_noise: true, noise_from_validation: false }
    }
}

/// `[prior]`: the zero-mean normal prior of the network's weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PriorConfig {
    /// Shape. Default `isotropic`.
    pub kind: PriorKind,
    /// Standard deviation (for `fan_in` before division by the square root of the fan-in), > 0. Default 1.
    pub std: f64,
}

impl Default for PriorConfig {
    fn default() -> Self {
        Self { kind: PriorKind::Isotropic, std: 1.0 }
    }
}

/// `[entropy]`: the entropy term of the objective.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EntropyConfig {
    /// Method. Default `exact`.
    pub method: Method,
    /// Latents of a step at which the entropy is estimated, the first of its `training.samples`; 0 for all of them. Fewer give a gradient that is as
    /// right on average, noisier and cheaper. Default 0.
    pub latents: usize,
    /// `slq`: random probes for each latent, at least 1. Default 1.
    pub probes: usize,
    /// `slq`, `smallest`, `largest`: Krylov steps, for each probe of `slq`, at least 1. Default 10.
    pub steps: usize,
    /// `paper`: iterations of the singular value solver, at least 1. The others: iterations at most beyond the Krylov steps, 0 for none; those of
    /// `slq` are of conjugate gradients, for the gradient alone, those of `smallest` and `largest` Krylov steps again. Default 30.
    pub iterations: usize,
    /// `smallest`, `largest`, `slq`: relative residual at which iterations stop, in (0, 1). Default 1e-6.
    pub tolerance: f64,
}

impl EntropyConfig {
    /// Latents of a step of so many weight samples at which the entropy is estimated.
    pub fn latents_of(&self, samples: usize) -> usize {
        if self.latents == 0 { samples } else { self.latents }
    }
}

impl Default for EntropyConfig {
    fn default() -> Self {
        Self { method: Method::Exact, latents: 0, probes: 1, steps: 10, iterations: 30, tolerance: 1e-6 }
    }
}

/// `[training]`: the optimisation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainingConfig {
    /// Optimiser steps in all, at least 1. Either this or `epochs`; setting one drops the other. Default 5000.
    // Field-level defaults (`None`), lest the other one's absence bring back the default number of steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
    /// Passes over the training rows, at least 1, instead of `steps`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epochs: Option<u64>,
    /// Rows a step; 0 for all rows. Default 0.
    pub batch_size: usize,
    /// Weight samples a step, at least 1. Default 3.
    pub samples: usize,
    /// Weight samples that the network works through at a time; divides `samples`. Fewer take less memory, and the gradient is the same but for rounding.
    /// 0 for all of them at once, or as many as `--memory` allows (a run notes the number). Default 0.
    pub chunk: usize,
    /// Samplers trained one after another from seeds of their own, at least 1; the posterior is their mixture in equal parts. Default 1.
    pub components: usize,
    /// Learning rate of the sampler, > 0. Default 1e-3.
    pub learning_rate: f64,
    /// Learning rate of the noise standard deviations (their logarithms), > 0. Default 1e-3.
    pub noise_learning_rate: f64,
    /// Whether Adam keeps the running maximum of its second moments (Reddi et al. 2018). Default true.
    pub amsgrad: bool,
    /// Learning rate over the run. Default `cosine`.
    pub schedule: Schedule,
    /// Part of the run, in [0, 1], over which the weight of prior and entropy rises linearly from 0 to its full value, so that the network first
    /// learns to fit (Sonderby et al. 2016); the learning rate of the noise standard deviation rises with it. The rest of the run maximises the full
    /// objective. Default 0.
    pub warmup: f64,
    /// Largest Euclidean norm of the gradient; a longer one is scaled down to it; 0 for no clipping. Default 0.
    pub clip_norm: f64,
    /// Temperature of the tempered posterior `p(theta | D)^(1/T)`, > 0; 1 is Bayes, below 1 is colder. It
    /// multiplies the entropy. Default 1.
    pub temperature: f64,
    /// Weight of the entropy in the objective, besides the temperature, >= 0. 1 is the evidence lower bound.
    /// Default 1.
    pub entropy_weight: f64,
    /// Weight of the log-prior in the objective, >= 0. 1 is the evidence lower bound. Default 1.
    pub prior_weight: f64,
    /// Steps between checkpoints, at least 1. Default 500.
    pub checkpoint_every: u64,
    /// Steps between lines of the metrics file, at least 1. Default 50.
    pub log_every: u64,
    /// When to stop before the last step.
    pub early_stopping: EarlyStoppingConfig,
}

impl Default for TrainingConfig {
    fn default() -> Self {
        Self {
            steps: Some(5000),
            epochs: None,
            batch_size: 0,
            samples: 3,
            chunk: 0,
            components: 1,
            learning_rate: 1e-3,
            noise_learning_rate: 1e-3,
            amsgrad: true,
            schedule: Schedule::Cosine,
            warmup: 0.0,
            clip_norm: 0.0,
            temperature: 1.0,
            entropy_weight: 1.0,
            prior_weight: 1.0,
            checkpoint_every: 500,
            log_every: 50,
            early_stopping: EarlyStoppingConfig::default(),
        }
    }
}

impl TrainingConfig {
    /// Weight samples in one chunk of a step with so many of them.
    pub fn chunk_of(&self, samples: usize) -> usize {
        if self.chunk == 0 { samples } else { self.chunk }
    }

    /// Rows in one step for a training part of `rows` rows: the batch size, or all rows where that is less.
    pub fn batch_rows(&self, rows: usize) -> usize {
        if self.batch_size == 0 { rows } else { self.batch_size.min(rows) }
    }

    /// Optimiser steps in all for a training part of `rows` rows; an epoch's last, incomplete batch counts.
    ///
    /// # Examples
    /// ```
    /// let mut config = livi::config::Config::default();
    /// config.set("training.epochs=3").unwrap();
    /// config.set("training.batch_size=32").unwrap();
    /// assert_eq!(config.training.total_steps(100), 3 * 4);
    /// ```
    pub fn total_steps(&self, rows: usize) -> u64 {
        match (self.steps, self.epochs) {
            (Some(steps), _) => steps,
            (None, epochs) => {
                let batches = rows.div_ceil(self.batch_rows(rows).max(1)) as u64;
                epochs.unwrap_or(0).saturating_mul(batches)
            }
        }
    }
}

/// `[training.early_stopping]`: stopping when the validation rows stop improving.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EarlyStoppingConfig {
    /// Evaluations without improvement before training stops; 0 trains to the end. Default 0.
    pub patience_evaluations: u64,
    /// Steps between evaluations on the validation rows, at least 1. Default 250.
    pub evaluate_every: u64,
}

impl Default for EarlyStoppingConfig {
    fn default() -> Self {
        Self { patience_evaluations: 0, evaluate_every: 250 }
    }
}

/// `[prediction]`: the mixture over weight samples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PredictionConfig {
    /// Weight samples in the mixture, at least 1. Default 200.
    pub samples: usize,
    /// Networks with batch normalisation: training rows on which its statistics are taken for each weight sample, at least 2. Default 256.
    pub reference_rows: usize,
    /// Quantiles reported, ascending, in (0, 1). Default `[0.025, 0.5, 0.975]`.
    pub quantiles: Vec<f64>,
}

impl Default for PredictionConfig {
    fn default() -> Self {
        Self { samples: 200, reference_rows: 256, quantiles: vec![0.025, 0.5, 0.975] }
    }
}
