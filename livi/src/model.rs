//! The model that a configuration describes: network, likelihood, prior and sampler.

use crate::config::{Architecture, Config, HeadConfig, LikelihoodKind, NetworkConfig, PriorKind, SamplerKind};
use crate::network::{Layer, Network};
use crate::prior::Prior;
use crate::sampler::{
    CorrelatedSampler, Head, MatMulSampler, MlpSampler, Parameter, Sampler, initial_parameters_around,
};
use crate::scale::log_scale_parameter;
use crate::{Error, Result};

/// Everything that does not change while training.
pub struct Model {
    /// The network whose weights are inferred.
    pub network: Network,
    /// The sampler of its weights; its outputs are exactly the network's weights.
    pub sampler: Box<dyn Sampler>,
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
        let network = network(&config.network, inputs, outputs)?;
        let prior = match config.prior.kind {
            PriorKind::Isotropic => Prior::Isotropic { std: config.prior.std },
            PriorKind::FanIn => Prior::FanIn { std: config.prior.std },
        };
        let sampler = sampler(config, &network)?;
        Ok(Self {
            network,
            sampler,
            prior,
            likelihood: config.likelihood.kind,
            sigma: config.sampler.sigma,
            learned_scales: config.sampler.learned_scales,
        })
    }

    /// All that is learned about the weights: the sampler's own weights, then the logarithms of the scales where they are learned.
    pub fn parameters(&self) -> Vec<Parameter> {
        let mut parameters = self.sampler.parameters();
        if self.learned_scales {
            parameters.push(log_scale_parameter(self.sampler.outputs()));
        }
        parameters
    }

    /// Number of elements of all parameters together.
    pub fn parameter_count(&self) -> usize {
        self.parameters().iter().map(Parameter::elements).sum()
    }

    /// Initial values of the parameters in one vector: [`initial_parameters_around`] an ordinary initialisation of the network, all scales 1.
    pub fn initial(&self, init_scale: f64, seed: u64) -> Vec<f64> {
        let mut values = initial_parameters_around(&*self.sampler, self.network.layout(), init_scale, seed).concat();
        values.resize(self.parameter_count(), 0.0);
        values
    }

    /// The parameters' vector cut into tensors: the sampler's, and apart from them the logarithms of the scales (none where they are not learned).
    pub fn tensors(&self, values: &[f64]) -> (Vec<Vec<f64>>, Vec<f64>) {
        let mut rest = values;
        let mut tensors = Vec::new();
        for parameter in self.sampler.parameters() {
            let (part, after) = rest.split_at(parameter.elements().min(rest.len()));
            tensors.push(part.to_vec());
            rest = after;
        }
        (tensors, rest.to_vec())
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

fn sampler(config: &Config, network: &Network) -> Result<Box<dyn Sampler>> {
    let own = &config.sampler;
    let m = network.layout().len();
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
            Box::new(MatMulSampler::sized(latent, hidden, between, m, own.activation)?)
        }
        SamplerKind::Correlated => {
            let noise = pair("latent", &own.latent)?;
            if !own.heads.is_empty() {
                let made: usize = own.heads.iter().map(|head| head.output[0] * head.output[1]).sum();
                if made < m {
                    let problem = format!("make {made} weights, but the network has {m}");
                    return Err(Error::Config { key: "sampler.heads".into(), problem });
                }
                let heads: Vec<Head> = own.heads.iter().map(head).collect();
                return Ok(Box::new(CorrelatedSampler::new(noise, &own.trunk, &heads, own.activation)?.cut(m)?));
            }
            // One head for each layer of the network: its weight and bias together.
            let layers = network.layout().entries().chunk_by(|a, b| a.layer() == b.layer());
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
