//! What a checkpoint says about a model of a program's own: one that its configuration does not describe.

use crate::export::TensorFile;
use crate::model::Model;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Metadata key; checkpoints of a configuration's own model are without it.
const KEY: &str = "own_model";

/// Names and shapes by which a model is told from another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Signature {
    network: Vec<(String, Vec<usize>)>,
    parameters: Vec<(String, Vec<usize>)>,
}

impl Signature {
    pub fn of(model: &Model) -> Self {
        let parameters = model.parameters().into_iter().map(|parameter| (parameter.name, parameter.shape)).collect();
        Self { network: model.network.layout().names_and_shapes(), parameters }
    }

    /// The metadata of a checkpoint.
    pub fn metadata(&self) -> Result<BTreeMap<String, String>> {
        match serde_json::to_string(self) {
            Ok(text) => Ok(BTreeMap::from([(KEY.to_string(), text)])),
            Err(error) => Err(Error::Argument { name: KEY.into(), problem: error.to_string() }),
        }
    }

    /// Refuses a checkpoint of another model: `own` is that of the program's, `None` where it is the configuration's.
    pub fn require(own: Option<&Self>, tensors: &TensorFile) -> Result<()> {
        let wrong = |problem: &str| Err(tensors.problem(format!("metadata `{KEY}`"), problem));
        let stored: Option<Self> = match tensors.metadata().get(KEY).map(|text| serde_json::from_str(text)) {
            None => None,
            Some(Ok(stored)) => Some(stored),
            Some(Err(error)) => return wrong(&format!("cannot be read: {error}")),
        };
        match (own, stored) {
            (None, None) => Ok(()),
            (Some(own), Some(stored)) if *own == stored => Ok(()),
            (Some(own), Some(stored)) => {
                let pairs = |a: &[(String, Vec<usize>)], b: &[(String, Vec<usize>)]| {
                    (0..a.len().max(b.len()))
                        .find(|&k| a.get(k) != b.get(k))
                        .map(|k| (a.get(k).cloned(), b.get(k).cloned()))
                };
                let differing =
                    pairs(&stored.network, &own.network).or_else(|| pairs(&stored.parameters, &own.parameters));
                let text = |tensor: Option<(String, Vec<usize>)>| {
                    tensor.map_or("no more".into(), |(name, shape)| format!("`{name}` {shape:?}"))
                };
                let (was, is) = differing.unwrap_or_default();
                wrong(&format!(
                    "is of another model: where it has the tensor {}, the model given has {}",
                    text(was),
                    text(is)
                ))
            }
            (None, Some(_)) => {
                wrong("says that it was trained with a model of a program's own; open it with that model")
            }
            (Some(_), None) => {
                wrong("is missing: the run was trained with the model of its configuration; open it without another")
            }
        }
    }
}
