//! The numbers that a step is told by, gathered where the machine computes: a card then hands over all of them at once, when the step is done.

use crate::Result;
use crate::train::program::Program;
use autograd::{Machine, Plan, Request, Var};

/// A number of a step.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reading {
    /// Expected log-likelihood.
    Likelihood,
    /// Expected log-prior.
    Prior,
    /// Norm of the gradient.
    GradientNorm,
    /// Half log-determinant of the exact entropy.
    HalfLogDet,
    /// What learned scales add to the entropy.
    ScaleEntropy,
    /// Logarithms of the noise standard deviations, one for each target. The last: as many numbers as there are targets.
    LogStd,
}

/// Buffers on the machine for the numbers of one step.
pub(super) struct Readings {
    /// The numbers by [`Reading`]; those that a program has not stay 0.
    terms: Var,
    /// Expected log-likelihoods of the chunks of weight samples, then their derivatives by the logarithms of the noise, chunk after chunk; without
    /// chunks `None`.
    chunks: Option<Var>,
    /// Chunks in a step.
    count: usize,
    /// Noise levels, [`Program::noise_levels`].
    levels: usize,
}

impl Readings {
    /// Buffers for a program with so many chunks of weight samples.
    ///
    /// # Errors
    /// Those of planning and of the machine.
    pub fn load(program: &mut Program, machine: &mut Machine, count: usize) -> Result<Self> {
        let levels = program.noise_levels();
        let tape = &mut program.tape;
        let dtype = tape.dtype(program.weights);
        let terms = tape.named_input("step.terms", &[Reading::LogStd as usize + levels], dtype);
        let chunks = program.chunks.map(|_| tape.named_input("step.chunks", &[count * (1 + levels)], dtype));
        for buffer in [Some(terms), chunks].into_iter().flatten() {
            let elements = tape.elements(buffer);
            // A plan that computes nothing, so that the machine holds the buffer.
            machine.load(Plan::new(tape, &Request::outputs(&[buffer]))?)?;
            machine.write_f64(buffer, &vec![0.0; elements])?;
        }
        Ok(Self { terms, chunks, count, levels })
    }

    /// Notes a scalar as it is now in the machine, of the noise all levels.
    ///
    /// # Errors
    /// A variable without a value.
    pub fn note(&self, machine: &mut Machine, reading: Reading, var: Var) -> Result<()> {
        let numbers = if matches!(reading, Reading::LogStd) { self.levels } else { 1 };
        Ok(machine.copy(var, 0, self.terms, reading as usize, numbers)?)
    }

    /// Notes a chunk's numbers as they are now in the machine.
    ///
    /// # Errors
    /// A variable without a value.
    pub fn note_chunk(&self, machine: &mut Machine, k: usize, likelihood: Var, noise: Option<Var>) -> Result<()> {
        let Some(chunks) = self.chunks else { return Ok(()) };
        machine.copy(likelihood, 0, chunks, k, 1)?;
        match noise {
            Some(noise) => Ok(machine.copy(noise, 0, chunks, self.count + k * self.levels, self.levels)?),
            None => Ok(()),
        }
    }

    /// All numbers noted, by [`Reading`]; the levels of the noise from [`Reading::LogStd`] on.
    ///
    /// # Errors
    /// Those of the machine: what the step failed at, if it did.
    pub fn terms(&self, machine: &Machine) -> Result<Vec<f64>> {
        Ok(machine.read_f64(self.terms)?)
    }

    /// Sums over the chunks: of their log-likelihoods, and of the derivatives by each level of the noise. Zero without chunks.
    ///
    /// # Errors
    /// As for [`Readings::terms`].
    pub fn chunk_sums(&self, machine: &Machine) -> Result<(f64, Vec<f64>)> {
        let Some(chunks) = self.chunks else { return Ok((0.0, vec![0.0; self.levels])) };
        let values = machine.read_f64(chunks)?;
        let (likelihoods, derivatives) = values.split_at(self.count);
        // From 0.0 on, not from the -0.0 of an empty sum.
        let likelihood = likelihoods.iter().fold(0.0, |sum, value| sum + value);
        let of_level =
            |level: usize| derivatives.iter().skip(level).step_by(self.levels).fold(0.0, |sum, value| sum + value);
        Ok((likelihood, (0..self.levels).map(of_level).collect()))
    }
}
