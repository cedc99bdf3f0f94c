//! The model that a configuration describes: network, likelihood, prior and sampler.

use crate::config::{Architecture, Config, HeadConfig, LikelihoodKind, NetworkConfig, PriorKind, SamplerKind};
use crate::network::{Layer, Layout, MOST_WEIGHTS, Network, volume};
use crate::prior::Prior;
use crate::sampler::{
    CorrelatedSampler, Head, MatMulSampler, MlpSampler, Parameter, Sampler, initial_parameters_around, initial_weights,
};
use crate::scale::log_scale_parameter;
use crate::{Error, Result};
use std::collections::HashSet;

/// Everything that does not change while training.
pub struct Model {
    /// The network whose weights are inferred.
    pub network: Network,
    /// The tensors that the sampler draws.
    pub drawn: Layout,
    /// The tensors that are point estimates; none of them for a network whose weights are all drawn.
    pub points: Layout,
    /// The sampler of the drawn tensors; its outputs are exactly their weights. `None` where nothing is drawn.
    pub sampler: Option<Box<dyn Sampler>>,
    /// The prior.
    pub prior: Prior,
    /// The likelihood's family.
    pub likelihood: LikelihoodKind,
    /// Standard deviation of the noise on the sampler's output.
    pub sigma: f64,
    /// Whether every weight has a learned scale ([`crate::scale`]).
    pub learned_scales: bool,
}

impl Model {
    /// The model for data with this many inputs and outputs (classes for a softmax likelihood).
    ///
    /// # Errors
    /// A configuration whose sizes do not fit together, named by key.
    pub fn new(config: &Config, inputs: usize, outputs: usize) -> Result<Self> {
        Self::of(config, network(&config.network, inputs, outputs)?, None)
    }

    /// The model with a network of one's own and, if given, a sampler of one's own, which must draw exactly the weights of the tensors that
    /// `network.stochastic` names; all else is the configuration's. Of its `[network]` nothing but `stochastic` and `start` counts then, of its
    /// `[sampler]` only `sigma`, `init_scale` and `learned_scales` where the sampler is given.
    ///
    /// # Errors
    /// Sizes that do not fit together.
    ///
    /// # Examples
    /// ```
    /// use livi::activation::Activation;
    /// use livi::config::Config;
    /// use livi::model::Model;
    /// use livi::network::{Layer, Network};
    /// use livi::sampler::MlpSampler;
    /// let layers = vec![Layer::linear("first", 6), Layer::Activation(Activation::Tanh), Layer::linear("head", 1)];
    /// let network = Network::new(&[2], layers)?;
    /// let sampler = MlpSampler::new(5, &[8], network.layout().len(), Activation::Elu)?;
    /// let model = Model::of(&Config::default(), network, Some(Box::new(sampler)))?;
    /// assert_eq!(model.parameter_count(), 5 * 8 + 8 + 8 * 25 + 25);
    /// # Ok::<(), livi::Error>(())
    /// ```
    pub fn of(config: &Config, network: Network, own: Option<Box<dyn Sampler>>) -> Result<Self> {
        let prior = match config.prior.kind {
            PriorKind::Isotropic => Prior::Isotropic { std: config.prior.std },
            PriorKind::FanIn => Prior::FanIn { std: config.prior.std },
        };
        if network.layout().is_empty() {
            return Err(Error::Config { key: "network".into(), problem: "has no weights to learn".into() });
        }
        let key = |error| match error {
            Error::Argument { problem, .. } => Error::Config { key: "network.stochastic".into(), problem },
            other => other,
        };
        let (drawn, points) = network.layout().partition(&config.network.stochastic).map_err(key)?;
        let sampler = match own {
            Some(own) => Some(own),
            None if drawn.is_empty() => None,
            None => Some(sampler(config, &drawn)?),
        };
        if let Some(sampler) = &sampler {
            require_fit(&**sampler, drawn.len())?;
        }
        let model = Self {
            network,
            drawn,
            points,
            sampler,
            prior,
            likelihood: config.likelihood.kind,
            sigma: config.sampler.sigma,
            learned_scales: config.sampler.learned_scales,
        };
        match model.parameter_count() {
            count if count > MOST_WEIGHTS => Err(Error::Config {
                key: "sampler".into(),
                problem: format!("has more than {MOST_WEIGHTS} weights, which no machine holds"),
            }),
            _ => Ok(model),
        }
    }

    /// All that is learned about the weights: the sampler's own weights, the logarithms of the scales where they are learned, and the point
    /// estimates in one vector.
    pub fn parameters(&self) -> Vec<Parameter> {
        let mut parameters = Vec::new();
        if let Some(sampler) = &self.sampler {
            parameters.extend(sampler.parameters());
            if self.learned_scales {
                parameters.push(log_scale_parameter(sampler.outputs()));
            }
        }
        if !self.points.is_empty() {
            parameters.push(Parameter { name: "points".into(), shape: vec![self.points.len()], bound: 0.0 });
        }
        parameters
    }

    /// Number of elements of all parameters together.
    pub fn parameter_count(&self) -> usize {
        self.parameters().iter().map(Parameter::elements).fold(0, usize::saturating_add)
    }

    /// Noise levels of the likelihood: one for each target; none for a softmax likelihood.
    pub fn noise_levels(&self) -> usize {
        match self.likelihood {
            LikelihoodKind::Gaussian => self.network.outputs(),
            LikelihoodKind::Softmax => 0,
        }
    }

    /// Initial values of the parameters in one vector: those [around](Model::initial_around) an ordinary initialisation of the network.
    pub fn initial(&self, init_scale: f64, seed: u64) -> Vec<f64> {
        self.around(&initial_weights(self.network.layout(), seed), init_scale, seed)
    }

    /// Initial values of the parameters around given weights of the whole network, for instance trained ones, in the order of its layout: what the
    /// sampler adds to its output takes the drawn tensors' values, point estimates take theirs, scales are 1.
    ///
    /// # Errors
    /// [`Error::Argument`] for another number of weights.
    pub fn initial_around(&self, weights: &[f64], init_scale: f64, seed: u64) -> Result<Vec<f64>> {
        if weights.len() != self.network.layout().len() {
            let problem = format!("are {} numbers, expected {}", weights.len(), self.network.layout().len());
            return Err(Error::Argument { name: "initial weights".into(), problem });
        }
        Ok(self.around(weights, init_scale, seed))
    }

    fn around(&self, weights: &[f64], init_scale: f64, seed: u64) -> Vec<f64> {
        let of = |part: &Layout| -> Vec<f64> {
            let names: HashSet<&str> = part.entries().iter().map(|entry| entry.name.as_str()).collect();
            let entries = self.network.layout().entries().iter().filter(|entry| names.contains(entry.name.as_str()));
            entries.flat_map(|entry| &weights[entry.range.clone()]).copied().collect()
        };
        let mut values = match &self.sampler {
            Some(sampler) => initial_parameters_around(&**sampler, &of(&self.drawn), init_scale, seed).concat(),
            None => Vec::new(),
        };
        values.resize(self.parameter_count() - self.points.len(), 0.0);
        values.extend(of(&self.points));
        values
    }

    /// The parameters' vector cut into tensors: the sampler's, and apart from them the logarithms of the scales (none where they are not learned).
    pub fn tensors(&self, values: &[f64]) -> (Vec<Vec<f64>>, Vec<f64>) {
        let Some(sampler) = &self.sampler else { return (Vec::new(), Vec::new()) };
        let mut rest = values;
        let mut take = |count: usize| {
            let (part, after) = rest.split_at(count.min(rest.len()));
            rest = after;
            part.to_vec()
        };
        let tensors = sampler.parameters().iter().map(|parameter| take(parameter.elements())).collect();
        (tensors, take(if self.learned_scales { sampler.outputs() } else { 0 }))
    }
}

/// Refuses a sampler that does not draw `m` weights or adds to them what it has not.
fn require_fit(sampler: &dyn Sampler, m: usize) -> Result<()> {
    let wrong = |problem: String| Err(Error::Argument { name: "sampler".into(), problem });
    if sampler.outputs() != m {
        return wrong(format!("makes {} weights, but {m} are to be drawn", sampler.outputs()));
    }
    if sampler.latents() == 0 {
        return wrong("has no latents, expected at least 1".into());
    }
    let parameters = sampler.parameters();
    match sampler.output_biases().into_iter().find(|&bias| bias >= parameters.len()) {
        Some(bias) => wrong(format!("names parameter {bias} as added to its output, but has {}", parameters.len())),
        None => Ok(()),
    }
}

/// The network for rows of so many inputs and outputs.
fn network(config: &NetworkConfig, inputs: usize, outputs: usize) -> Result<Network> {
    let wrong = |key: &str, problem: String| Error::Config { key: format!("network.{key}"), problem };
    let input = if config.input.is_empty() { vec![inputs] } else { config.input.clone() };
    if input.iter().product::<usize>() != inputs {
        let problem = format!("is {input:?}, but the data have {inputs} numbers a row");
        return Err(wrong("input", problem));
    }
    if config.outputs != 0 && config.outputs != outputs {
        return Err(wrong("outputs", format!("is {}, but the data need {outputs}", config.outputs)));
    }
    let activation = config.activation;
    let network = match config.architecture {
        Architecture::Mlp => {
            let hidden = config.hidden.iter().copied();
            let widths: Vec<usize> = std::iter::once(inputs).chain(hidden).chain([outputs]).collect();
            Network::mlp(&widths, activation)
        }
        Architecture::LeNet => Network::lenet(&input, outputs, activation),
        Architecture::WideResNet => Network::wide_resnet(&input, config.depth, config.width, outputs, activation),
        Architecture::Layers => Network::new(&input, Layer::parse_all(&config.layers, &input)?),
    }?;
    if network.outputs() != outputs {
        let problem = format!("make {} outputs, but the data need {outputs}", network.outputs());
        return Err(wrong("layers", problem));
    }
    Ok(network)
}

/// The sampler of the tensors of a layout.
fn sampler(config: &Config, drawn: &Layout) -> Result<Box<dyn Sampler>> {
    let own = &config.sampler;
    let m = drawn.len();
    let pair = |key: &str, value: &[usize]| match *value {
        [rows, columns] => Ok([rows, columns]),
        _ => Err(Error::Config {
            key: format!("sampler.{key}"),
            problem: format!("found {value:?}, expected [rows, columns] for a {} sampler", own.kind.name()),
        }),
    };
    Ok(match own.kind {
        SamplerKind::Mlp => {
            let [latents] = *own.latent else {
                let problem = format!("found {:?}, expected one number [d] for an mlp sampler", own.latent);
                return Err(Error::Config { key: "sampler.latent".into(), problem });
            };
            Box::new(MlpSampler::new(latents, &own.hidden, m, own.activation)?)
        }
        SamplerKind::MatMul => {
            let (latent, hidden) = (pair("latent", &own.latent)?, pair("hidden", &own.hidden)?);
            let between = own.hidden_layers.saturating_sub(1);
            if own.output.is_empty() {
                return Ok(Box::new(MatMulSampler::sized(latent, hidden, between, m, own.activation)?));
            }
            let output = pair("output", &own.output)?;
            let made = volume(&output);
            if made < m {
                let problem = format!("makes {made} weights, but {m} are to be drawn; set it to [] for sizes that fit");
                return Err(Error::Config { key: "sampler.output".into(), problem });
            }
            Box::new(MatMulSampler::new(latent, hidden, between, &[output], own.activation)?.cut(m)?)
        }
        SamplerKind::Correlated => {
            let noise = pair("latent", &own.latent)?;
            if !own.heads.is_empty() {
                let made = own.heads.iter().map(|head| volume(&head.output)).fold(0, usize::saturating_add);
                if made < m {
                    let problem = format!("make {made} weights, but {m} are to be drawn");
                    return Err(Error::Config { key: "sampler.heads".into(), problem });
                }
                let heads: Vec<Head> = own.heads.iter().map(head).collect();
                return Ok(Box::new(CorrelatedSampler::new(noise, &own.trunk, &heads, own.activation)?.cut(m)?));
            }
            // One head for each layer of the network: its weight and bias together.
            let layers = drawn.entries().chunk_by(|a, b| a.layer() == b.layer());
            let parts: Vec<usize> = layers.map(|layer| layer.iter().map(|e| e.range.len()).sum()).collect();
            let hidden = own.trunk.last().copied().unwrap_or([0, 0]);
            Box::new(CorrelatedSampler::sized(noise, &own.trunk, hidden, 0, &parts, own.activation)?)
        }
    })
}

fn head(config: &HeadConfig) -> Head {
    let HeadConfig { input, hidden, output, hidden_layers } = *config;
    Head { input, hidden, outputs: vec![output], hidden_layers }
}
