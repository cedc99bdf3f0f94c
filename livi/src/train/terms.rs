//! The terms of the objective at one step.

use serde::{Serialize, Serializer};

/// The terms of the evidence lower bound at one step, in nats, constants included.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Terms {
    /// Steps done.
    pub step: u64,
    /// Expected log-likelihood of the training set.
    pub likelihood: f64,
    /// Expected log-prior.
    pub prior: f64,
    /// Linearised entropy.
    pub entropy: f64,
    /// Their sum (weights of the objective not applied).
    pub elbo: f64,
    /// Noise standard deviations in units of the standardised targets, one for each; empty for a softmax likelihood. Serialised as a list, that of a
    /// single target as a number, none as null.
    #[serde(serialize_with = "number_or_list")]
    pub noise_std: Vec<f64>,
    /// Euclidean norm of the gradient before clipping.
    pub gradient_norm: f64,
    /// Learning rate of the sampler.
    pub learning_rate: f64,
}

/// None as null, one number as itself, several as a list.
fn number_or_list<S: Serializer>(numbers: &[f64], serializer: S) -> std::result::Result<S::Ok, S::Error> {
    match numbers {
        [] => serializer.serialize_none(),
        [number] => number.serialize(serializer),
        several => several.serialize(serializer),
    }
}
