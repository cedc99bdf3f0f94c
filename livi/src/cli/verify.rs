//! `livi verify`.

use super::changes::{self, Changes, configuration};
use super::device::DeviceArgs;
use super::memory::parse_bytes;
use super::output::{emit, emit_json};
use super::progress::say;
use super::whole_numbers::from_0;
use crate::config::Config;
use crate::data;
use crate::device::require_memory;
use crate::entropy::{FULL_DEPTH, Method, Settings, Target, sigma_problem};
use crate::model::Model;
use crate::pictures::standard_normal_latents;
use crate::posterior::Posterior;
use crate::run_folder::RunFolder;
use crate::sampler::{Sampler, initial_parameters, published};
use crate::train::{Saved, dtype_of, outputs};
use crate::verify::{Verification, verify_within};
use crate::{Error, Result};
use clap::Args;
use std::num::NonZeroUsize;

/// Compare all entropy methods on one sampler: value, gap to the exact one, own bracket, standard error, products, time.
///
/// For a preset or a configuration file it is the freshly initialised sampler, for a run folder the trained one. Exit code 1 when a lower bound
/// lies above the exact value, an upper bound below it, or a bracket misses it by more standard errors than those of a correct sampler do once in
/// 10,000 times. With more than 400 latents the exact value is computed only where
/// the methods contain it; otherwise bounds and brackets are checked against each other.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  livi verify toy\n  livi verify runs/toy-1 --sigma 0.1 --sigma 0.001\n  livi verify runs/uci-energy-1 --component 3\n  livi verify toy --methods exact,slq --latents 4 --json\n  livi verify --published mnist-lenet --memory 2G\n  livi verify --published cifar10 --device cuda"
)]
pub(super) struct VerifyArgs {
    /// Preset, configuration file or run folder
    #[arg(default_value = "toy")]
    source: String,
    /// Methods, separated by commas: exact, smallest, largest, slq, paper [default: all]
    #[arg(long, value_delimiter = ',', value_parser = method)]
    methods: Vec<Method>,
    /// Standard deviation of the noise on the weights, instead of the configuration's; may be given several times
    #[arg(long, num_args = 1.., value_parser = sigma)]
    sigma: Vec<f64>,
    /// Component of a run folder's mixture, counted from 0 [default: 0]
    #[arg(long, value_parser = from_0::<usize>)]
    component: Option<usize>,
    /// Latents to average over
    #[arg(long, default_value = "1")]
    latents: NonZeroUsize,
    /// Probes of slq
    #[arg(long, default_value_t = at_least(Settings::default().probes))]
    probes: NonZeroUsize,
    /// Steps of each Krylov space
    #[arg(long, default_value_t = at_least(Settings::default().steps))]
    steps: NonZeroUsize,
    /// Nats of standard error and half bracket at which slq stops taking probes
    #[arg(long, value_parser = sigma)]
    target: Option<f64>,
    /// Most singular values that slq takes out by name
    #[arg(long, default_value = "0", value_parser = from_0::<usize>)]
    deflate: usize,
    #[command(flatten)]
    pub(super) device: DeviceArgs,
    /// Most memory, for instance 4G; what does not fit is refused with the least that would do [default: on a card seven eighths of what is free]
    #[arg(long, value_parser = parse_bytes)]
    memory: Option<usize>,
    /// Freshly initialised sampler of a published experiment instead of a source
    #[arg(long, value_parser = published::NAMES, conflicts_with = "source")]
    published: Option<String>,
    /// Print one JSON object (one a line for several sigmas)
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    changes: Changes,
}

pub(super) fn run(args: &VerifyArgs) -> Result<()> {
    let config = configuration(&args.source, &args.changes)?.config;
    let device = args.device.resolve(config.dtype)?;
    let Subject { sampler, parameters, log_scale, sigma } = subject(args, &config)?;
    let methods = if args.methods.is_empty() { Method::ALL.to_vec() } else { args.methods.clone() };
    let sigmas = if args.sigma.is_empty() { vec![sigma] } else { args.sigma.clone() };
    require_memory(args.latents.get().checked_mul(sampler.latents()), size_of::<f64>(), "ask for fewer latents")?;
    let latents = standard_normal_latents(&*sampler, args.latents.get(), config.seed);
    let (probes, steps, deflate) = (args.probes.get(), args.steps.get(), args.deflate);
    let target = args.target.map(Target::Nats);
    let settings = Settings { probes, steps, deflate, target, directions: false, ..Settings::default() };
    let (dtype, seed, memory) = (dtype_of(config.dtype), config.seed, args.memory);
    // Small samplers are done before one could read what is being done.
    let large = sampler.latents() > FULL_DEPTH;
    let mut progress = |line: &str| {
        if large {
            say(line);
        }
    };
    let mut violations = Vec::new();
    for sigma in sigmas {
        let found = verify_within(
            &*sampler,
            &parameters,
            &latents,
            sigma,
            &methods,
            &settings,
            dtype,
            seed,
            device,
            memory,
            &mut progress,
        )?;
        let found = found.scaled(log_scale.iter().sum());
        violations.extend(found.violations().into_iter().map(|text| format!("sigma {sigma}: {text}")));
        show(&found, args)?;
    }
    if violations.is_empty() {
        return Ok(());
    }
    Err(Error::Numerical { method: "verify", problem: violations.join("; ") })
}

/// What is verified.
struct Subject {
    sampler: Box<dyn Sampler>,
    parameters: Vec<Vec<f64>>,
    log_scale: Vec<f64>,
    sigma: f64,
}

fn subject(args: &VerifyArgs, config: &Config) -> Result<Subject> {
    if let Some(name) = &args.published {
        let sampler = published::by_name(name)?;
        let parameters = initial_parameters(&*sampler, config.seed);
        return Ok(Subject { sampler, parameters, log_scale: Vec::new(), sigma: published::SIGMA });
    }
    let (model, parameters) = model(args, config)?;
    let (parameters, log_scale) = model.tensors(&parameters);
    let Some(sampler) = model.sampler else {
        let problem = "is empty: without a sampler there is no entropy to verify".into();
        return Err(Error::Config { key: "network.stochastic".into(), problem });
    };
    Ok(Subject { sampler, parameters, log_scale, sigma: model.sigma })
}

fn show(found: &Verification, args: &VerifyArgs) -> Result<()> {
    match (args.json, args.sigma.len() > 1) {
        (false, _) => emit(&format!("{found}\n")),
        (true, false) => emit_json(found),
        (true, true) => {
            let line = serde_json::to_string(found)
                .map_err(|error| Error::Argument { name: "--json".into(), problem: error.to_string() })?;
            emit(&format!("{line}\n"))
        }
    }
}

/// The model with its parameters: those of a run folder's component, else initial ones.
fn model(args: &VerifyArgs, config: &Config) -> Result<(Model, Vec<f64>)> {
    if let Some(path) = changes::folder(&args.source) {
        if !args.changes.set.is_empty() {
            let problem =
                "does not go with a run folder: its sampler is trained; use --sigma, --seed or --dtype".into();
            return Err(Error::Argument { name: "--set".into(), problem });
        }
        let saved = Saved::open(&RunFolder::open(path)?)?;
        let Posterior { model, mut components, .. } = saved.posterior;
        let component = args.component.unwrap_or(0);
        if component >= components.len() {
            let problem = format!("is {component}, but the run has {}, counted from 0", components.len());
            return Err(Error::Argument { name: "--component".into(), problem });
        }
        return Ok((model, components.swap_remove(component)));
    }
    if args.component.is_some() {
        let problem = "is for run folders: the sampler of a preset or a configuration file is not trained yet".into();
        return Err(Error::Argument { name: "--component".into(), problem });
    }
    let network = &config.network;
    let (inputs, columns) = if network.input.is_empty() || network.outputs == 0 {
        let dataset = data::load(&config.data)?;
        (dataset.training.inputs(), outputs(config, &dataset)?)
    } else {
        (network.input.iter().product(), network.outputs)
    };
    let model = Model::new(config, inputs, columns)?;
    let parameters = model.initial(config.sampler.init_scale, config.seed);
    Ok((model, parameters))
}

fn at_least(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).unwrap_or(NonZeroUsize::MIN)
}

fn method(text: &str) -> std::result::Result<Method, String> {
    Method::ALL.into_iter().find(|method| method.name() == text).ok_or_else(|| {
        let names: Vec<&str> = Method::ALL.iter().map(|method| method.name()).collect();
        format!("there is no such method, expected one of {}", names.join(", "))
    })
}

fn sigma(text: &str) -> std::result::Result<f64, String> {
    let value = text.parse::<f64>().unwrap_or(f64::NAN);
    sigma_problem(value).map_or(Ok(value), Err)
}
