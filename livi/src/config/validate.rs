//! Ranges of the settings and how they must agree with each other.

use super::choices::{Architecture, LikelihoodKind, ReportedPart, SamplerKind, Source};
use super::{
    Config, DataConfig, EntropyConfig, FORMAT_VERSION, LikelihoodConfig, NetworkConfig, PredictionConfig, PriorConfig,
    SamplerConfig, TrainingConfig,
};
use crate::data::images::augment::Augmentation;
use crate::entropy::{Method, sigma_problem};
use crate::{Error, Result};

pub(super) fn validate(config: &Config) -> Result<()> {
    let version = config.format_version;
    require(version == FORMAT_VERSION, "format_version", || {
        format!("is {version}, this program reads version {FORMAT_VERSION}")
    })?;
    // Whole numbers of TOML are signed.
    for (key, seed) in [("seed", config.seed), ("data.split_seed", config.data.split_seed)] {
        require(i64::try_from(seed).is_ok(), key, || format!("is {seed}, expected at most {}", i64::MAX))?;
    }
    data(&config.data)?;
    network(&config.network)?;
    sampler(&config.sampler)?;
    likelihood(&config.likelihood)?;
    prior(&config.prior)?;
    entropy(&config.entropy)?;
    training(&config.training, &config.entropy)?;
    prediction(&config.prediction)?;
    let samples = config.training.samples;
    require(samples == 1 || !config.network.stochastic.is_empty(), "training.samples", || {
        format!("is {samples}, but `network.stochastic` is empty: weight samples are all the same, expected 1")
    })?;
    let patience = config.training.early_stopping.patience_evaluations;
    require(
        patience == 0 || config.data.validation_fraction > 0.0 || config.data.source == Source::Memory,
        "training.early_stopping.patience_evaluations",
        || format!("is {patience}, but `data.validation_fraction` is 0: there are no validation rows to watch"),
    )?;
    let fitted = config.likelihood.noise_from_validation;
    require(!fitted || config.likelihood.kind == LikelihoodKind::Gaussian, "likelihood.noise_from_validation", || {
        "is for a `gaussian` likelihood only".into()
    })?;
    require(
        !fitted || config.data.validation_fraction > 0.0 || config.data.source == Source::Memory,
        "likelihood.noise_from_validation",
        || "is true, but `data.validation_fraction` is 0: there are no validation rows to fit the noise to".into(),
    )?;
    require(
        config.likelihood.kind == LikelihoodKind::Gaussian
            || matches!(config.data.source, Source::Csv | Source::Images | Source::Memory),
        "likelihood.kind",
        || format!("is `softmax`, but the targets of source `{}` are numbers, not classes", config.data.source),
    )?;
    require(
        config.likelihood.kind == LikelihoodKind::Softmax || config.data.source != Source::Images,
        "likelihood.kind",
        || "is `gaussian`, but the targets of source `images` are classes, expected `softmax`".into(),
    )
}

fn data(data: &DataConfig) -> Result<()> {
    require(data.report_on == ReportedPart::Test || data.validation_fraction > 0.0, "data.report_on", || {
        "is `validation`, but `data.validation_fraction` is 0: there are no validation rows".into()
    })?;
    part("data.validation_fraction", data.validation_fraction)?;
    part("data.test_fraction", data.test_fraction)?;
    let source = data.source;
    let only = |given: bool, wanted: Source, key: &str| {
        require(!given || source == wanted, key, || format!("is for source `{wanted}` only, the source is `{source}`"))
    };
    require(data.set.is_none() || matches!(source, Source::Uci | Source::Images), "data.set", || {
        format!("is for sources `uci` and `images` only, the source is `{source}`")
    })?;
    only(!data.target.is_empty(), Source::Csv, "data.target")?;
    only(!data.ignore.is_empty(), Source::Csv, "data.ignore")?;
    let default = DataConfig::default();
    only(data.split != default.split, Source::Uci, "data.split")?;
    only(data.test_fraction != default.test_fraction, Source::Csv, "data.test_fraction")?;
    require(data.path.is_none() || !matches!(source, Source::Toy | Source::Memory), "data.path", || {
        format!("is not for source `{source}`")
    })?;
    let varied = data.augmentation != Augmentation::default();
    require(!varied || source == Source::Images, "data.augmentation", || {
        format!("is for source `images` only, the source is `{source}`")
    })?;
    match source {
        Source::Toy | Source::Memory => Ok(()),
        Source::Uci => require(data.set.is_some() || data.path.is_some(), "data.set", || {
            "is not set, expected the name of a UCI set (or `data.path` with its folder)".into()
        }),
        Source::Images => require(data.set.is_some() || data.path.is_some(), "data.set", || {
            "is not set, expected the name of an image set (or `data.path` with its folder)".into()
        }),
        Source::Csv => {
            require(data.path.is_some(), "data.path", || "is not set, expected a CSV file".into())?;
            require(!data.target.is_empty(), "data.target", || "is empty, expected at least one column name".into())
        }
    }
}

fn network(network: &NetworkConfig) -> Result<()> {
    sizes("network.hidden", &network.hidden)?;
    sizes("network.input", &network.input)?;
    let architecture = network.architecture;
    let images = matches!(architecture, Architecture::LeNet | Architecture::WideResNet);
    let axes = network.input.len();
    require(if images { axes == 3 } else { matches!(axes, 0 | 1 | 3) }, "network.input", || {
        let expected = if images { "[channels, rows, columns]" } else { "[], [features] or [channels, rows, columns]" };
        format!("is {:?}, architecture `{architecture}` expects {expected}", network.input)
    })?;
    let default = NetworkConfig::default();
    for (key, found, default) in
        [("network.depth", network.depth, default.depth), ("network.width", network.width, default.width)]
    {
        require(found == default || architecture == Architecture::WideResNet, key, || {
            format!(
                "is for architecture `wide_resnet` only, the architecture is `{architecture}`; leave it out or at {default}"
            )
        })?;
    }
    require(
        network.layers.is_empty() == (architecture != Architecture::Layers),
        "network.layers",
        || match architecture {
            Architecture::Layers => {
                "is empty, architecture `layers` expects at least one, such as \"linear 10\"".into()
            }
            _ => format!("is for architecture `layers` only, the architecture is `{architecture}`; set it to []"),
        },
    )
}

fn sampler(sampler: &SamplerConfig) -> Result<()> {
    if let Some(problem) = sigma_problem(sampler.sigma) {
        return Err(Error::Config { key: "sampler.sigma".into(), problem });
    }
    positive("sampler.init_scale", sampler.init_scale)?;
    sizes("sampler.latent", &sampler.latent)?;
    sizes("sampler.hidden", &sampler.hidden)?;
    sizes("sampler.output", &sampler.output)?;
    for pair in &sampler.trunk {
        sizes("sampler.trunk", pair)?;
    }
    let kind = sampler.kind;
    let entries = |key: &str, found: usize, expected: usize, meaning: &str| {
        require(found == expected, key, || format!("has {found} entries, kind `{kind}` expects {expected}: {meaning}"))
    };
    require(sampler.trunk.is_empty() == (kind != SamplerKind::Correlated), "sampler.trunk", || match kind {
        SamplerKind::Correlated => "is empty, kind `cmmnn` expects at least one pair [rows, columns]".into(),
        _ => format!("is for kind `cmmnn` only, the kind is `{kind}`; set it to []"),
    })?;
    require(sampler.output.is_empty() || kind == SamplerKind::MatMul, "sampler.output", || {
        format!("is for kind `mm` only, the kind is `{kind}`; set it to []")
    })?;
    require(sampler.heads.is_empty() || kind == SamplerKind::Correlated, "sampler.heads", || {
        format!("is for kind `cmmnn` only, the kind is `{kind}`; set it to []")
    })?;
    let layers = SamplerConfig::default().hidden_layers;
    require(sampler.hidden_layers == layers || kind == SamplerKind::MatMul, "sampler.hidden_layers", || {
        format!("is for kind `mm` only, the kind is `{kind}`; leave it out or at {layers}")
    })?;
    let heads = || sampler.heads.iter().flat_map(|head| [head.input, head.hidden, head.output]);
    require(heads().all(|size| !size.contains(&0)), "sampler.heads", || {
        format!("has the sizes {:?}, expected sizes of at least 1", heads().collect::<Vec<_>>())
    })?;
    match kind {
        SamplerKind::Mlp => entries("sampler.latent", sampler.latent.len(), 1, "[d]"),
        SamplerKind::MatMul => {
            entries("sampler.latent", sampler.latent.len(), 2, "[rows, columns]")?;
            require(sampler.hidden_layers > 0, "sampler.hidden_layers", || "is 0, expected at least 1".into())?;
            entries("sampler.hidden", sampler.hidden.len(), 2, "[rows, columns]")?;
            match sampler.output.len() {
                0 => Ok(()),
                found => entries("sampler.output", found, 2, "[rows, columns], or [] for sizes that fit the network"),
            }
        }
        SamplerKind::Correlated => {
            entries("sampler.latent", sampler.latent.len(), 2, "[rows, columns]")?;
            entries("sampler.hidden", sampler.hidden.len(), 0, "its heads have sizes of their own, set it to []")
        }
    }
}

fn likelihood(likelihood: &LikelihoodConfig) -> Result<()> {
    positive("likelihood.initial_noise_std", likelihood.initial_noise_std)
}

fn prior(prior: &PriorConfig) -> Result<()> {
    positive("prior.std", prior.std)
}

fn entropy(entropy: &EntropyConfig) -> Result<()> {
    at_least_1("entropy.probes", entropy.probes as u64)?;
    at_least_1("entropy.steps", entropy.steps as u64)?;
    require(entropy.iterations > 0 || entropy.method != Method::Paper, "entropy.iterations", || {
        format!("is 0, method `{}` expects at least 1", entropy.method.name())
    })?;
    let tolerance = entropy.tolerance;
    require(tolerance > 0.0 && tolerance < 1.0, "entropy.tolerance", || {
        format!("is {tolerance}, expected a number between 0 and 1, both excluded")
    })
}

fn training(training: &TrainingConfig, entropy: &EntropyConfig) -> Result<()> {
    match (training.steps, training.epochs) {
        (Some(steps), None) => at_least_1("training.steps", steps)?,
        (None, Some(epochs)) => at_least_1("training.epochs", epochs)?,
        (Some(_), Some(_)) => {
            require(false, "training.epochs", || "is set besides `training.steps`, expected one of them".into())?
        }
        (None, None) => {
            require(false, "training.steps", || "is not set, nor is `training.epochs`, expected one of them".into())?
        }
    }
    at_least_1("training.samples", training.samples as u64)?;
    let (samples, chunk) = (training.samples, training.chunk);
    require(chunk == 0 || samples.is_multiple_of(chunk), "training.chunk", || {
        format!("is {chunk}, expected a divisor of `training.samples`, {samples}")
    })?;
    require(entropy.latents <= training.samples, "entropy.latents", || {
        format!("is {}, expected at most `training.samples`, {}", entropy.latents, training.samples)
    })?;
    at_least_1("training.components", training.components as u64)?;
    positive("training.learning_rate", training.learning_rate)?;
    positive("training.noise_learning_rate", training.noise_learning_rate)?;
    not_negative("training.clip_norm", training.clip_norm)?;
    part("training.warmup", training.warmup)?;
    positive("training.temperature", training.temperature)?;
    not_negative("training.entropy_weight", training.entropy_weight)?;
    not_negative("training.prior_weight", training.prior_weight)?;
    at_least_1("training.checkpoint_every", training.checkpoint_every)?;
    at_least_1("training.log_every", training.log_every)?;
    at_least_1("training.early_stopping.evaluate_every", training.early_stopping.evaluate_every)
}

fn prediction(prediction: &PredictionConfig) -> Result<()> {
    at_least_1("prediction.samples", prediction.samples as u64)?;
    let rows = prediction.reference_rows;
    require(rows >= 2, "prediction.reference_rows", || format!("is {rows}, expected at least 2"))?;
    quantiles(&prediction.quantiles).map_err(|problem| Error::Config { key: "prediction.quantiles".into(), problem })
}

/// What is wrong with levels of quantiles: they rise strictly between 0 and 1.
pub(crate) fn quantiles(levels: &[f64]) -> std::result::Result<(), String> {
    let inside = levels.iter().all(|&level| level > 0.0 && level < 1.0);
    let ascending = levels.windows(2).all(|pair| pair[0] < pair[1]);
    if !levels.is_empty() && inside && ascending {
        return Ok(());
    }
    Err(format!("is {levels:?}, expected ascending numbers between 0 and 1, both excluded"))
}

fn require(holds: bool, key: &str, problem: impl FnOnce() -> String) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::Config { key: key.into(), problem: problem() }) }
}

fn positive(key: &str, value: f64) -> Result<()> {
    require(value > 0.0 && value.is_finite(), key, || format!("is {value}, expected a finite number above 0"))
}

fn not_negative(key: &str, value: f64) -> Result<()> {
    require(value >= 0.0 && value.is_finite(), key, || format!("is {value}, expected a finite number, 0 or above"))
}

fn part(key: &str, value: f64) -> Result<()> {
    require((0.0..1.0).contains(&value), key, || format!("is {value}, expected a number from 0 to below 1"))
}

fn at_least_1(key: &str, value: u64) -> Result<()> {
    require(value >= 1, key, || format!("is {value}, expected at least 1"))
}

fn sizes(key: &str, sizes: &[usize]) -> Result<()> {
    require(sizes.iter().all(|&size| size > 0), key, || format!("is {sizes:?}, expected sizes of at least 1"))
}
