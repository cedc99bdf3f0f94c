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

#[cfg(test)]
mod tests {
    use super::*;
    use autograd::{DType, Machine, Plan, Request};

    const SAMPLES: usize = 3;
    const ROWS: usize = 4;
    const LOG_STD: [f64; 2] = [-1.2, 0.7];

    fn number(k: usize) -> f64 {
        ((k * 37 + 11) % 29) as f64 / 29.0 - 0.5
    }

    /// The likelihood of two targets at given logarithms of the noise, and its derivatives by them.
    fn found(log_std: &[f64], shape: &[usize]) -> (f64, Vec<f64>) {
        let mut tape = Tape::new();
        let targets = LOG_STD.len();
        let outputs = tape.input(&[SAMPLES, ROWS, targets], DType::F64);
        let y = tape.input(&[ROWS, targets], DType::F64);
        let noise = tape.input(shape, DType::F64);
        let std = tape.exp(noise).unwrap();
        let likelihood = gaussian_log_likelihood(&mut tape, outputs, y, std).unwrap();
        let gradient = tape.grad(likelihood, &[noise]).unwrap()[0];
        let mut machine = Machine::cpu(1).unwrap();
        let plan = machine.load(Plan::new(&tape, &Request::outputs(&[likelihood, gradient])).unwrap()).unwrap();
        let numbers = |count: usize, first: usize| (first..first + count).map(number).collect::<Vec<f64>>();
        machine.write_f64(outputs, &numbers(SAMPLES * ROWS * targets, 0)).unwrap();
        machine.write_f64(y, &numbers(ROWS * targets, 5)).unwrap();
        machine.write_f64(noise, log_std).unwrap();
        machine.run(plan).unwrap();
        (machine.read_f64(likelihood).unwrap()[0], machine.read_f64(gradient).unwrap())
    }

    #[test]
    fn two_targets_have_the_densities_of_their_own_noise() {
        let (likelihood, _) = found(&LOG_STD, &[2]);
        let mut expected = 0.0;
        for sample in 0..SAMPLES {
            for row in 0..ROWS {
                for (target, log_std) in LOG_STD.iter().enumerate() {
                    let error = number(5 + row * 2 + target) - number((sample * ROWS + row) * 2 + target);
                    let std = log_std.exp();
                    let density = (-0.5 * (error / std).powi(2)).exp() / (std * (2.0 * PI).sqrt());
                    expected += density.ln() / SAMPLES as f64;
                }
            }
        }
        assert!((likelihood - expected).abs() < 1e-12 * expected.abs(), "{likelihood} {expected}");
    }

    #[test]
    fn each_target_moves_its_own_noise() {
        let (_, gradient) = found(&LOG_STD, &[2]);
        let h = 1e-5;
        for (target, derivative) in gradient.iter().enumerate() {
            let at = |shift: f64| {
                let mut log_std = LOG_STD;
                log_std[target] += shift;
                found(&log_std, &[2]).0
            };
            let difference = (at(h) - at(-h)) / (2.0 * h);
            assert!((derivative - difference).abs() < 1e-7 * difference.abs(), "{target}: {derivative} {difference}");
        }
    }

    #[test]
    fn a_scalar_is_the_noise_of_all_targets() {
        let (all, gradient) = found(&[0.3], &[]);
        let (each, apart) = found(&[0.3; 2], &[2]);
        assert!((all - each).abs() < 1e-13 * each.abs(), "{all} {each}");
        assert!((gradient[0] - apart.iter().sum::<f64>()).abs() < 1e-12 * gradient[0].abs(), "{gradient:?} {apart:?}");
    }
}
