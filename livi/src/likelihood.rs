//! Log-likelihoods of targets given network outputs, averaged over weight samples.

use crate::Result;
use autograd::{Tape, Var};
use std::f64::consts::PI;

/// Mean over S weight samples of sum_n log N(y_n; f_n, std^2), a scalar in nats.
///
/// `outputs` (S, N, o), `targets` (N, o), `std` a scalar: one homoscedastic standard deviation, learned or fixed.
pub fn gaussian_log_likelihood(tape: &mut Tape, outputs: Var, targets: Var, std: Var) -> Result<Var> {
    let shape = tape.shape(outputs).to_vec();
    let count = (shape[1] * shape[2]) as f64;
    let error = tape.sub(targets, outputs)?;
    let square = tape.square(error)?;
    let total = tape.sum_all(square)?;
    let mean = tape.scale(total, -0.5 / shape[0] as f64)?;
    let variance = tape.square(std)?;
    let misfit = tape.div(mean, variance)?;
    let log_std = tape.ln(std)?;
    let normaliser = tape.add_scalar(log_std, 0.5 * (2.0 * PI).ln())?;
    let normaliser = tape.scale(normaliser, count)?;
    Ok(tape.sub(misfit, normaliser)?)
}

/// Mean over S weight samples of sum_n sum_c y_nc log softmax(f_n)_c, a scalar in nats.
///
/// `logits` (S, N, classes), `targets` (N, classes): indicator vectors or class probabilities. The largest logit is taken off first, so nothing
/// overflows.
pub fn softmax_log_likelihood(tape: &mut Tape, logits: Var, targets: Var) -> Result<Var> {
    let samples = tape.shape(logits)[0] as f64;
    let top = tape.max(logits, &[2])?;
    let top = tape.stop_gradient(top)?;
    let shifted = tape.sub(logits, top)?;
    let exponentials = tape.exp(shifted)?;
    let partition = tape.sum(exponentials, &[2])?;
    let log_partition = tape.ln(partition)?;
    let log_probabilities = tape.sub(shifted, log_partition)?;
    let total = tape.inner(log_probabilities, targets)?;
    Ok(tape.scale(total, 1.0 / samples)?)
}
