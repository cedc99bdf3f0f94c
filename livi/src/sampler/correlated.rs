//! The correlated matrix-multiplication sampler (CMMNN): a trunk shared by one MM network for each part of theta, so that layers share latents
//! and their weights are correlated (Uppal et al. 2023, section 4.2).

use super::matmul::{exact_outputs, layer, layer_basis, layer_parameters};
use super::{MatMulNetwork, Parameter, Recorded, Sampler, require_few, require_parameters, rows_by_share};
use crate::activation::Activation;
use crate::network::volume;
use crate::{Error, Result};
use autograd::{Tape, Var};

/// Sizes of one head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Slice of the trunk's output, as (rows, columns).
    pub input: [usize; 2],
    /// Hidden (rows, columns).
    pub hidden: [usize; 2],
    /// Output matrices, one after another in theta.
    pub outputs: Vec<[usize; 2]>,
    /// Hidden-to-hidden layers.
    pub hidden_layers: usize,
}

/// A part of theta with the hidden sizes of the head that makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Number of weights.
    pub outputs: usize,
    /// Hidden (rows, columns).
    pub hidden: [usize; 2],
    /// Hidden-to-hidden layers.
    pub hidden_layers: usize,
}

/// Noise matrix -> MM -> activation -> .. (trunk) -> consecutive slices -> one MM network each -> theta.
#[derive(Clone, Debug)]
pub struct CorrelatedSampler {
    noise: [usize; 2],
    trunk: Vec<[usize; 2]>,
    heads: Vec<MatMulNetwork>,
    activation: Activation,
}

impl CorrelatedSampler {
    /// A sampler with the given trunk outputs and heads.
    ///
    /// # Errors
    /// A size of 0, no trunk layer or head, or heads whose inputs do not add up to the trunk's output.
    pub fn new(noise: [usize; 2], trunk: &[[usize; 2]], heads: &[Head], activation: Activation) -> Result<Self> {
        let wrong = |problem: String| Error::Argument { name: "sampler".into(), problem };
        if noise.contains(&0) || trunk.iter().any(|t| t.contains(&0)) {
            return Err(wrong(format!("noise {noise:?} and trunk {trunk:?}; all sizes must be positive")));
        }
        require_few(trunk.iter().chain([&noise]).map(|size| volume(size)))?;
        let Some(end) = trunk.last() else {
            return Err(wrong("a correlated sampler needs at least one trunk layer".into()));
        };
        let taken = heads.iter().map(|head| volume(&head.input)).fold(0, usize::saturating_add);
        if heads.is_empty() || taken != volume(end) {
            return Err(wrong(format!(
                "the heads' inputs take {taken} numbers, the trunk ends with {} x {} = {}",
                end[0],
                end[1],
                end[0] * end[1]
            )));
        }
        let heads = heads
            .iter()
            .enumerate()
            .map(|(k, h)| {
                let prefix = format!("gens.{k}.");
                MatMulNetwork::new(&prefix, h.input, h.hidden, h.hidden_layers, &h.outputs, activation)
            })
            .collect::<Result<_>>()?;
        Ok(Self { noise, trunk: trunk.to_vec(), heads, activation })
    }

    /// Heads sized to parts of theta (for instance one for each layer of the network): slices of the trunk's rows in proportion to the square
    /// root of each part, outputs exactly the part's size, the same hidden layers for all.
    ///
    /// # Errors
    /// A size of 0, or more parts than rows in the trunk's last layer.
    pub fn sized(
        noise: [usize; 2],
        trunk: &[[usize; 2]],
        hidden: [usize; 2],
        hidden_layers: usize,
        parts: &[usize],
        activation: Activation,
    ) -> Result<Self> {
        let parts: Vec<Part> = parts.iter().map(|&outputs| Part { outputs, hidden, hidden_layers }).collect();
        Self::for_parts(noise, trunk, &parts, activation)
    }

    /// The same with hidden layers of its own for each head.
    ///
    /// # Errors
    /// As [`CorrelatedSampler::sized`].
    ///
    /// ```
    /// use livi::activation::Activation;
    /// use livi::sampler::{CorrelatedSampler, Part, Sampler};
    /// let parts = [
    ///     Part { outputs: 100, hidden: [8, 8], hidden_layers: 1 },
    ///     Part { outputs: 31, hidden: [4, 5], hidden_layers: 0 },
    /// ];
    /// let sampler = CorrelatedSampler::for_parts([3, 3], &[[6, 5]], &parts, Activation::Elu)?;
    /// assert_eq!(sampler.outputs(), 131);
    /// # Ok::<(), livi::Error>(())
    /// ```
    pub fn for_parts(noise: [usize; 2], trunk: &[[usize; 2]], parts: &[Part], activation: Activation) -> Result<Self> {
        let end = trunk.last().copied().unwrap_or([0, 0]);
        let sizes: Vec<usize> = parts.iter().map(|part| part.outputs).collect();
        let rows = rows_by_share(end[0], &sizes).ok_or_else(|| Error::Argument {
            name: "sampler.trunk".into(),
            problem: format!(
                "the last trunk layer has {} rows; at least {} are needed, one a head",
                end[0],
                parts.len()
            ),
        })?;
        let heads: Vec<Head> = rows
            .iter()
            .zip(parts)
            .map(|(&r, part)| Head {
                input: [r, end[1]],
                hidden: part.hidden,
                outputs: exact_outputs(part.outputs),
                hidden_layers: part.hidden_layers,
            })
            .collect();
        Self::new(noise, trunk, &heads, activation)
    }

    /// The same sampler with the weights after the first m left out: surplus outputs of the last head are in neither prior, entropy nor likelihood.
    ///
    /// # Errors
    /// m beyond the outputs, or so small that the last head (or its last output matrix) is not needed at all.
    pub fn cut(mut self, m: usize) -> Result<Self> {
        let all = self.outputs();
        if let Some(last) = self.heads.pop() {
            let before = all - last.len();
            let kept = m.checked_sub(before).ok_or_else(|| Error::Argument {
                name: "sampler".into(),
                problem: format!(
                    "the network has {m} weights, the heads (sampler.heads) make {all}, the last of them those after {before}: expected heads that \
                     are all needed, or `sampler.heads=[]` for one of fitting size for each layer"
                ),
            })?;
            self.heads.push(last.cut(kept)?);
        }
        Ok(self)
    }
}

impl Sampler for CorrelatedSampler {
    fn latents(&self) -> usize {
        self.noise[0] * self.noise[1]
    }

    fn outputs(&self) -> usize {
        self.heads.iter().map(MatMulNetwork::len).sum()
    }

    fn parameters(&self) -> Vec<Parameter> {
        let inputs = std::iter::once(&self.noise).chain(&self.trunk);
        let trunk = inputs.zip(&self.trunk).enumerate();
        trunk
            .flat_map(|(k, (&i, &o))| layer_parameters(&format!("trunk.{k}"), i, o))
            .chain(self.heads.iter().flat_map(MatMulNetwork::parameters))
            .collect()
    }

    fn output_biases(&self) -> Vec<usize> {
        let mut first = 4 * self.trunk.len();
        let mut biases = Vec::new();
        for head in &self.heads {
            biases.extend(head.output_biases().map(|k| first + k));
            first += head.parameters().len();
        }
        biases
    }

    fn record(&self, tape: &mut Tape, parameters: &[Var], latents: Var) -> Result<Recorded> {
        let heads = self.heads.iter().map(|head| head.parameters().len());
        require_parameters(parameters, 4 * self.trunk.len() + heads.sum::<usize>())?;
        let samples = tape.shape(latents)[0];
        let mut x = tape.reshape(latents, &[samples, self.noise[0], self.noise[1]])?;
        let mut entry = x;
        for k in 0..self.trunk.len() {
            let pre = layer(tape, &parameters[4 * k..4 * k + 4], x)?;
            if k == 0 {
                entry = pre;
            }
            x = self.activation.record(tape, pre)?;
        }
        let entry_basis = layer_basis(tape, parameters[0], parameters[2])?;
        let flat = tape.reshape(x, &[samples, tape.elements(x) / samples])?;
        let (mut at, mut next) = (0, 4 * self.trunk.len());
        let (mut parts, mut pieces) = (Vec::new(), Vec::new());
        for head in &self.heads {
            let [rows, columns] = head.input();
            let slice = tape.narrow(flat, 1, at, rows * columns)?;
            let slice = tape.reshape(slice, &[samples, rows, columns])?;
            at += rows * columns;
            let count = head.parameters().len();
            let (part, own, _) = head.record(tape, &parameters[next..next + count], slice)?;
            next += count;
            parts.push(part);
            pieces.extend(own);
        }
        let theta = tape.concat(&parts, 1)?;
        Ok(Recorded { latents, theta, pieces, entry, entry_basis })
    }
}
