//! The state of training as tensors of a checkpoint, and back, bit for bit.

use super::{BATCH_STREAM, Best, Trainer};
use crate::Result;
use crate::config::Dtype;
use crate::export::{NamedTensor, TensorData, TensorFile};
use crate::train::component::{BEST_WEIGHTS, Component};
use crate::train::noise_levels;
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
            tensors.extend(best.component.best_tensors(best.score));
            let counters = vec![best.step, best.waited];
            tensors.push(NamedTensor::new("best.step_and_waited", vec![2], TensorData::U64(counters)));
        }
        if let Some(std) = &self.fitted_noise {
            tensors.push(NamedTensor::new(FITTED_NOISE, vec![std.len()], TensorData::F64(std.clone())));
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
    /// Tensors that are missing or have other shapes or types, named with the file; of several targets one noise level for all, as earlier versions
    /// learned it.
    pub fn restore(&mut self, step: u64, tensors: &TensorFile) -> Result<()> {
        let levels = self.program.noise_levels();
        noise_levels::require_own(tensors, levels)?;
        for (name, var) in self.program.state() {
            let shape = noise_levels::stored_shape(tensors, &name, self.program.tape.shape(var))?;
            match self.config.dtype {
                Dtype::F32 => self.machine.write(var, tensors.f32(&name, shape)?)?,
                Dtype::F64 => self.machine.write(var, tensors.f64(&name, shape)?)?,
            }
        }
        let count = self.program.tape.elements(self.program.weights);
        (self.finished, self.begun) = Component::read_finished(tensors, count, levels)?;
        self.feed.begin(self.seed() ^ BATCH_STREAM);
        self.fed = None;
        self.best = None;
        if tensors.names().any(|name| name == BEST_WEIGHTS) {
            let (component, score) = Component::read_best(tensors, count, levels)?;
            let counters = tensors.u64("best.step_and_waited", &[2])?;
            self.best = Some(Best { score, step: counters[0], waited: counters[1], component });
        }
        self.step = step;
        Ok(())
    }
}
