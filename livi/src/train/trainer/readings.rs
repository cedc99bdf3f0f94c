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
    /// Logarithm of the noise standard deviation.
    LogStd,
}

/// One of each.
const COUNT: usize = Reading::LogStd as usize + 1;

/// Buffers on the machine for the numbers of one step.
pub(super) struct Readings {
    /// One number for each [`Reading`]; those that a program has not stay 0.
    terms: Var,
    /// Expected log-likelihoods of the chunks of weight samples, then their derivatives by the logarithm of the noise; without chunks `None`.
    chunks: Option<Var>,
    /// Chunks in a step.
    count: usize,
}

impl Readings {
    /// Buffers for a program with so many chunks of weight samples.
    ///
    /// # Errors
    /// Those of planning and of the machine.
    pub fn load(program: &mut Program, machine: &mut Machine, count: usize) -> Result<Self> {
        let tape = &mut program.tape;
        let dtype = tape.dtype(program.weights);
        let terms = tape.named_input("step.terms", &[COUNT], dtype);
        let chunks = program.chunks.map(|_| tape.named_input("step.chunks", &[2 * count], dtype));
        for buffer in [Some(terms), chunks].into_iter().flatten() {
            let elements = tape.elements(buffer);
            // A plan that computes nothing, so that the machine holds the buffer.
            machine.load(Plan::new(tape, &Request::outputs(&[buffer]))?)?;
            machine.write_f64(buffer, &vec![0.0; elements])?;
        }
        Ok(Self { terms, chunks, count })
    }

    /// Notes a number as it is now in the machine.
    ///
    /// # Errors
    /// A variable without a value.
    pub fn note(&self, machine: &mut Machine, reading: Reading, var: Var) -> Result<()> {
        Ok(machine.copy(var, 0, self.terms, reading as usize, 1)?)
    }

    /// Notes a chunk's numbers as they are now in the machine.
    ///
    /// # Errors
    /// A variable without a value.
    pub fn note_chunk(&self, machine: &mut Machine, k: usize, likelihood: Var, noise: Option<Var>) -> Result<()> {
        let Some(chunks) = self.chunks else { return Ok(()) };
        machine.copy(likelihood, 0, chunks, k, 1)?;
        match noise {
            Some(noise) => Ok(machine.copy(noise, 0, chunks, self.count + k, 1)?),
            None => Ok(()),
        }
    }

    /// All numbers noted, by [`Reading`].
    ///
    /// # Errors
    /// Those of the machine: what the step failed at, if it did.
    pub fn terms(&self, machine: &Machine) -> Result<Vec<f64>> {
        Ok(machine.read_f64(self.terms)?)
    }

    /// Sums over the chunks: of their log-likelihoods, and of the derivatives. Zero without chunks.
    ///
    /// # Errors
    /// As for [`Readings::terms`].
    pub fn chunk_sums(&self, machine: &Machine) -> Result<(f64, f64)> {
        let Some(chunks) = self.chunks else { return Ok((0.0, 0.0)) };
        let values = machine.read_f64(chunks)?;
        // From 0.0 on, not from the -0.0 of an empty sum.
        let sum = |values: &[f64]| values.iter().fold(0.0, |sum, value| sum + value);
        Ok((sum(&values[..self.count]), sum(&values[self.count..])))
    }
}
