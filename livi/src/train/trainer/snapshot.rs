//! The state of training as tensors of a checkpoint, and back, bit for bit.

use super::{BATCH_STREAM, Best, Trainer};
use crate::Result;
use crate::config::Dtype;
use crate::export::{NamedTensor, TensorData, TensorFile};
use crate::train::component::Component;
use crate::train::saved::{FITTED_NOISE, REFERENCE};
use std::collections::BTreeMap;

impl Trainer {
    /// The complete state: tensors and metadata from which [`Trainer::restore`] continues bit for bit.
    ///
    /// # Errors
    /// None in practice; reading the machine's buffers.
    pub fn state(&self) -> Result<(Vec<NamedTensor>, BTreeMap<String, String>)> {
        let mut tensors = Vec::new();
        for (name, var) in self.program.state() {
            let data = match self.config.dtype {
                Dtype::F32 => TensorData::F32(self.machine.read::<f32>(var)?.to_vec()),
                Dtype::F64 => TensorData::F64(self.machine.read::<f64>(var)?.to_vec()),
            };
            tensors.push(NamedTensor::new(name, self.program.tape.shape(var).to_vec(), data));
        }
        if let Some(best) = &self.best {
            let weights = best.component.weights.clone();
            tensors.push(NamedTensor::new("best.weights", vec![weights.len()], TensorData::F64(weights)));
            let numbers = vec![best.score, best.component.log_std];
            tensors.push(NamedTensor::new("best.score_and_log_std", vec![2], TensorData::F64(numbers)));
            let counters = vec![best.step, best.waited];
            tensors.push(NamedTensor::new("best.step_and_waited", vec![2], TensorData::U64(counters)));
        }
        if let Some(std) = self.fitted_noise {
            tensors.push(NamedTensor::new(FITTED_NOISE, vec![1], TensorData::F64(vec![std])));
        }
        if !self.posterior.reference.is_empty() {
            let inputs = self.posterior.model.network.inputs();
            let shape = vec![self.posterior.reference.len() / inputs, inputs];
            tensors.push(NamedTensor::new(REFERENCE, shape, TensorData::F64(self.posterior.reference.clone())));
        }
        tensors.extend(Component::finished_tensors(&self.finished, self.begun));
        Ok((tensors, BTreeMap::new()))
    }

    /// Continues from a saved state.
    ///
    /// # Errors
    /// Tensors that are missing or have other shapes or types, named with the file.
    pub fn restore(&mut self, step: u64, tensors: &TensorFile) -> Result<()> {
        for (name, var) in self.program.state() {
            let shape = self.program.tape.shape(var);
            match self.config.dtype {
                Dtype::F32 => self.machine.write(var, tensors.f32(&name, shape)?)?,
                Dtype::F64 => self.machine.write(var, tensors.f64(&name, shape)?)?,
            }
        }
        let count = self.program.tape.elements(self.program.weights);
        (self.finished, self.begun) = Component::read_finished(tensors, count)?;
        self.feed.begin(self.seed() ^ BATCH_STREAM);
        self.fed = None;
        self.best = None;
        if tensors.names().any(|n| n == "best.weights") {
            let numbers = tensors.f64("best.score_and_log_std", &[2])?;
            let counters = tensors.u64("best.step_and_waited", &[2])?;
            self.best = Some(Best {
                score: numbers[0],
                step: counters[0],
                waited: counters[1],
                component: Component { weights: tensors.f64("best.weights", &[count])?.to_vec(), log_std: numbers[1] },
            });
        }
        self.step = step;
        Ok(())
    }
}
