//! Log-likelihoods of targets given network outputs, averaged over weight samples.

use crate::Result;
use autograd::{Tape, Var};
use std::f64::consts::PI;

/// Mean over S weight samples of sum_n sum_t log N(y_nt; f_nt, std_t^2), a scalar in nats.
///
/// `outputs` (S, N, o), `targets` (N, o), `std` (o): a standard deviation for each target, the same in all rows, learned or fixed. A scalar `std` is that
/// of all targets.
pub fn gaussian_log_likelihood(tape: &mut Tape, outputs: Var, targets: Var, std: Var) -> Result<Var> {
    let shape = tape.shape(outputs).to_vec();
    let error = tape.sub(targets, outputs)?;
    let square = tape.square(error)?;
    let total = tape.sum(square, &[0, 1])?;
    let total = tape.reshape(total, &[shape[2]])?;
    let mean = tape.scale(total, -0.5 / shape[0] as f64)?;
    let variance = tape.square(std)?;
    let misfit = tape.div(mean, variance)?;
    let log_std = tape.ln(std)?;
    let normaliser = tape.add_scalar(log_std, 0.5 * (2.0 * PI).ln())?;
    let normaliser = tape.scale(normaliser, shape[1] as f64)?;
    let of_targets = tape.sub(misfit, normaliser)?;
    Ok(tape.sum_all(of_targets)?)
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
