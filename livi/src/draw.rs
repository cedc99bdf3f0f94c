//! Draws of all of a network's weights on a tape: tensors made by the sampler and tensors that are point estimates, put together in the network's order.
//!
//! With some tensors as point estimates the network is partially stochastic (Sharma et al. 2023); with all of them it is an ordinary network, trained
//! to the maximum of the posterior.

use crate::model::Model;
use crate::network::Entry;
use crate::sampler::{Parameter, Recorded, record};
use crate::scale::{Scales, record_draw};
use crate::{Error, Result};
use autograd::{Distribution, Tape, Var};
use std::collections::HashSet;

/// Weights of S networks on a tape.
#[derive(Clone, Debug)]
pub struct Draw {
    /// All weights (S, m).
    pub theta: Var,
    /// The part that the sampler draws; `None` where every tensor is a point estimate.
    pub sampled: Option<Sampled>,
    /// The point estimates (p), in the order of the network's layout; `None` where the sampler draws everything.
    pub points: Option<Var>,
    /// All tensors that are learned, parts of the parameters' vector, in the order of [`Model::parameters`].
    pub tensors: Vec<Var>,
}

/// The sampler's part of a draw.
#[derive(Clone, Debug)]
pub struct Sampled {
    /// The sampler's tensors.
    pub parameters: Vec<Var>,
    /// Latents (S, d), drawn by the machine.
    pub latents: Var,
    /// The sampler at these latents.
    pub recorded: Recorded,
    /// Scales of the drawn weights, where they are learned.
    pub scales: Option<Scales>,
}

impl Draw {
    /// Records a draw of `samples` networks with the parameters of a model in one vector, of [`Model::parameter_count`] numbers.
    ///
    /// # Errors
    /// Those of recording: sizes that do not fit.
    pub fn record(tape: &mut Tape, model: &Model, weights: Var, samples: usize) -> Result<Self> {
        let dtype = tape.dtype(weights);
        let tensors = split(tape, weights, &model.parameters())?;
        let mut rest = tensors.as_slice();
        let mut drawn = None;
        let mut sampled = None;
        if let Some(sampler) = &model.sampler {
            let (parameters, after) = rest.split_at(sampler.parameters().len());
            rest = after;
            let mut scales = None;
            if let (true, [log_scale, after @ ..]) = (model.learned_scales, rest) {
                scales = Some(Scales::record(tape, *log_scale)?);
                rest = after;
            }
            let latents = tape.noise(Distribution::Normal, &[samples, sampler.latents()], dtype)?;
            let eta = tape.noise(Distribution::Normal, &[samples, sampler.outputs()], dtype)?;
            let recorded = record(&**sampler, tape, parameters, latents)?;
            drawn = Some(record_draw(tape, recorded.theta, eta, model.sigma, scales)?);
            sampled = Some(Sampled { parameters: parameters.to_vec(), latents, recorded, scales });
        }
        let points = rest.first().copied();
        let theta = assemble(tape, model, drawn, points, samples)?;
        Ok(Self { theta, sampled, points, tensors })
    }
}

/// All weights (S, m) out of the drawn ones (S, drawn) and the point estimates (p).
fn assemble(tape: &mut Tape, model: &Model, drawn: Option<Var>, points: Option<Var>, samples: usize) -> Result<Var> {
    let points = match points {
        None => None,
        Some(points) => {
            let count = tape.elements(points);
            let row = tape.reshape(points, &[1, count])?;
            Some(tape.broadcast_to(row, &[samples, count])?)
        }
    };
    let (drawn, points) = match (drawn, points) {
        (Some(drawn), Some(points)) => (drawn, points),
        (Some(all), None) | (None, Some(all)) => return Ok(all),
        (None, None) => {
            return Err(Error::Argument { name: "network".into(), problem: "has no weights".into() });
        }
    };
    // Neighbours of one kind are neighbours in the vector of that kind too.
    let mut parts = Vec::new();
    let mut taken = [0, 0];
    let entries = model.network.layout().entries();
    let drawn_names: HashSet<&str> = model.drawn.entries().iter().map(|entry| entry.name.as_str()).collect();
    let kind = |entry: &Entry| usize::from(drawn_names.contains(entry.name.as_str()));
    for run in entries.chunk_by(|a, b| kind(a) == kind(b)) {
        let (kind, length) = (kind(&run[0]), run.iter().map(|entry| entry.range.len()).sum());
        parts.push(tape.narrow([points, drawn][kind], 1, taken[kind], length)?);
        taken[kind] += length;
    }
    Ok(tape.concat(&parts, 1)?)
}

/// Tensors as parts of one vector.
fn split(tape: &mut Tape, weights: Var, parameters: &[Parameter]) -> Result<Vec<Var>> {
    let mut at = 0;
    let mut parts = Vec::with_capacity(parameters.len());
    for parameter in parameters {
        let part = tape.narrow(weights, 0, at, parameter.elements())?;
        parts.push(tape.reshape(part, &parameter.shape)?);
        at += parameter.elements();
    }
    Ok(parts)
}
