//! Network outputs for many weight vectors and rows, in chunks of bounded memory.
//!
//! Batch normalisation needs statistics of each channel, and these belong to a weight vector: for each one they are taken anew on the reference
//! rows, a fixed part of the training rows that the run keeps, so that a prediction depends on nothing but its own row and the weights.

use crate::device::{is_card, require_memory};
use crate::network::Network;
use crate::{Error, Result};
use autograd::{DType, Device, Machine, Plan, PlanId, Request, Tape, Var};

/// Elements of a network's widest activation in one chunk on a processor, so that memory stays small whatever the data.
const CHUNK_ELEMENTS: usize = 1 << 20;
/// The same on a card, which has nothing to do while chunks come and go.
const CARD_CHUNK_ELEMENTS: usize = 1 << 24;
/// Rows in a chunk at most.
const MOST_ROWS: usize = 1024;

/// A network with what its outputs need besides weights and rows.
#[derive(Clone, Copy, Debug)]
pub struct Forward<'a> {
    /// The network.
    pub network: &'a Network,
    /// Number format.
    pub dtype: DType,
    /// Where it is computed.
    pub device: Device,
    /// Standardised rows for the statistics of batch normalisation, reference rows x inputs; not read by other networks.
    pub reference: &'a [f64],
}

/// A plan with its inputs and output.
struct Program {
    machine: Machine,
    plan: PlanId,
    theta: Var,
    reads_weights: bool,
    x: Var,
    statistics: Option<Var>,
    output: Var,
}

impl Program {
    /// The outputs for a chunk, with `held` rows on the machine to take chunks of: the second value is where these lie.
    fn outputs(forward: &Forward<'_>, samples: usize, rows: usize, held: usize) -> Result<(Self, Var)> {
        let (network, dtype) = (forward.network, forward.dtype);
        let mut tape = Tape::new();
        let theta = tape.named_input("theta", &[samples, network.layout().len()], dtype);
        let x = tape.named_input("x", &[rows, network.inputs()], dtype);
        let count = network.statistics();
        let statistics = (count > 0).then(|| tape.named_input("statistics", &[samples, count], dtype));
        let output = network.record_with(&mut tape, theta, x, statistics)?.values;
        let all = tape.named_input("rows", &[held, network.inputs()], dtype);
        let mut program = Self::load(forward.device, &tape, theta, x, statistics, output)?;
        // A plan that computes nothing, so that the machine holds the rows.
        program.machine.load(Plan::new(&tape, &Request::outputs(&[all]))?)?;
        Ok((program, all))
    }

    /// The statistics of the reference rows, (samples, statistics); `None` for a network without batch normalisation.
    fn statistics(forward: &Forward<'_>, samples: usize) -> Result<Option<Self>> {
        let (network, dtype) = (forward.network, forward.dtype);
        if network.statistics() == 0 {
            return Ok(None);
        }
        let rows = forward.reference.len() / network.inputs();
        if rows == 0 {
            let problem = "are missing, but the network has batch normalisation, whose statistics they give".into();
            return Err(Error::Argument { name: "reference rows".into(), problem });
        }
        let mut tape = Tape::new();
        let theta = tape.named_input("theta", &[samples, network.layout().len()], dtype);
        let x = tape.named_input("x", &[rows, network.inputs()], dtype);
        let recorded = network.record_with(&mut tape, theta, x, None)?;
        let output = recorded.statistics.unwrap_or(recorded.values);
        let mut program = Self::load(forward.device, &tape, theta, x, None, output)?;
        program.machine.write_f64(x, forward.reference)?;
        Ok(Some(program))
    }

    fn load(device: Device, tape: &Tape, theta: Var, x: Var, statistics: Option<Var>, output: Var) -> Result<Self> {
        let mut machine = Machine::on(device)?;
        let plan = Plan::new(tape, &Request::outputs(&[output]))?;
        let reads_weights = plan.inputs().contains(&theta);
        let plan = machine.load(plan)?;
        Ok(Self { machine, plan, theta, reads_weights, x, statistics, output })
    }

    /// Gives the network its weights, where the output depends on them: statistics of what comes before all weights do not.
    fn write_weights(&mut self, weights: &[f64]) -> Result<()> {
        match self.reads_weights {
            true => Ok(self.machine.write_f64(self.theta, weights)?),
            false => Ok(()),
        }
    }

    fn run(&mut self) -> Result<Vec<f64>> {
        self.machine.run(self.plan)?;
        Ok(self.machine.read_f64(self.output)?)
    }
}

/// The programs for chunks of one size.
struct Loaded {
    /// Weight samples and rows of a chunk.
    samples: usize,
    rows: usize,
    /// Rows on the machine, a multiple of those of a chunk.
    held: usize,
    outputs: Program,
    all: Var,
    normalisation: Option<Program>,
}

/// A network that is evaluated again and again: its programs are made once for all calls that work in chunks of the same size.
pub struct Evaluator<'a> {
    forward: Forward<'a>,
    loaded: Option<Loaded>,
}

impl Evaluator<'_> {
    /// As [`Forward::run`].
    ///
    /// # Errors
    /// As there.
    pub fn run(&mut self, theta: &[f64], samples: usize, x: &[f64], rows: usize) -> Result<Vec<f64>> {
        let forward = self.forward;
        let (m, inputs, columns) =
            (forward.network.layout().len(), forward.network.inputs(), forward.network.outputs());
        let numbers = samples.checked_mul(rows).and_then(|all| all.checked_mul(columns));
        require_memory(numbers, size_of::<f64>(), "ask for fewer weight samples, or for fewer rows at a time")?;
        require_shape("weight samples", theta.len(), samples, m)?;
        require_shape("inputs", x.len(), rows, inputs)?;
        let mut outputs = vec![0.0; samples * rows * columns];
        let Loaded { samples: sample_chunk, rows: row_chunk, held, outputs: program, all, normalisation } =
            self.loaded_for(samples, rows)?;
        let (sample_chunk, row_chunk) = (*sample_chunk, *row_chunk);
        let mut padded = x[..rows * inputs].to_vec();
        padded.resize(*held * inputs, 0.0);
        program.machine.write_f64(*all, &padded)?;
        drop(padded);
        for sample in (0..samples).step_by(sample_chunk) {
            let drawn = sample_chunk.min(samples - sample);
            let weights = chunk(&theta[sample * m..(sample + drawn) * m], m, sample_chunk);
            program.write_weights(&weights)?;
            if let (Some(normalisation), Some(var)) = (&mut *normalisation, program.statistics) {
                normalisation.write_weights(&weights)?;
                let statistics = normalisation.run()?;
                program.machine.write_f64(var, &statistics)?;
            }
            for first in (0..rows).step_by(row_chunk) {
                let count = row_chunk.min(rows - first);
                program.machine.copy(*all, first * inputs, program.x, 0, row_chunk * inputs)?;
                let values = program.run()?;
                for s in 0..drawn {
                    let from = s * row_chunk * columns;
                    let to = ((sample + s) * rows + first) * columns;
                    outputs[to..to + count * columns].copy_from_slice(&values[from..from + count * columns]);
                }
            }
        }
        Ok(outputs)
    }

    /// Programs in chunks for so many weight vectors and rows.
    fn loaded_for(&mut self, samples: usize, rows: usize) -> Result<&mut Loaded> {
        let forward = self.forward;
        let per_row = (forward.chunk_elements() / forward.network.widest()).max(1);
        let row_chunk = rows.min(per_row.min(MOST_ROWS)).max(1);
        let sample_chunk = samples.min((per_row / row_chunk).max(1)).max(1);
        let needed = rows.max(1).next_multiple_of(row_chunk);
        let fits =
            |loaded: &Loaded| (loaded.samples, loaded.rows) == (sample_chunk, row_chunk) && loaded.held >= needed;
        let fitting = self.loaded.take().filter(fits);
        Ok(self.loaded.insert(match fitting {
            Some(loaded) => loaded,
            None => {
                let (outputs, all) = Program::outputs(&forward, sample_chunk, row_chunk, needed)?;
                let normalisation = Program::statistics(&forward, sample_chunk)?;
                Loaded { samples: sample_chunk, rows: row_chunk, held: needed, outputs, all, normalisation }
            }
        }))
    }
}

impl<'a> Forward<'a> {
    /// The same for many calls.
    pub fn evaluator(self) -> Evaluator<'a> {
        Evaluator { forward: self, loaded: None }
    }

    /// Outputs (samples x rows x outputs) of weight vectors (samples x m) for standardised inputs (rows x inputs).
    ///
    /// # Errors
    /// [`Error::Argument`] for as many numbers as these shapes do not have; missing reference rows for a network with batch normalisation; those of planning and running.
    pub fn run(&self, theta: &[f64], samples: usize, x: &[f64], rows: usize) -> Result<Vec<f64>> {
        self.evaluator().run(theta, samples, x, rows)
    }

    /// Elements of the widest activation in a chunk.
    fn chunk_elements(&self) -> usize {
        if is_card(self.device) { CARD_CHUNK_ELEMENTS } else { CHUNK_ELEMENTS }
    }

    /// Statistics (samples x [`Network::statistics`]) of batch normalisation for weight vectors (samples x m), with which [`Forward::run`] computes
    /// their outputs: for each normalisation in order of evaluation the means of its channels over the reference rows, then their variances
    /// (divided by the number of values, not by one less). Empty for a network without batch normalisation.
    ///
    /// # Errors
    /// Missing reference rows; those of planning and running.
    pub fn statistics(&self, theta: &[f64], samples: usize) -> Result<Vec<f64>> {
        let (m, count) = (self.network.layout().len(), self.network.statistics());
        require_shape("weight samples", theta.len(), samples, m)?;
        let rows = (self.reference.len() / self.network.inputs()).max(1);
        let sample_chunk = samples.min(self.chunk_elements() / (self.network.widest() * rows)).max(1);
        let Some(mut program) = Program::statistics(self, sample_chunk)? else { return Ok(Vec::new()) };
        let mut statistics = Vec::with_capacity(samples * count);
        for part in theta.chunks(sample_chunk * m) {
            program.write_weights(&chunk(part, m, sample_chunk))?;
            statistics.extend_from_slice(&program.run()?[..part.len() / m * count]);
        }
        Ok(statistics)
    }
}

/// Refuses as many numbers as are not `rows` times `columns`.
pub(crate) fn require_shape(name: &str, numbers: usize, rows: usize, columns: usize) -> Result<()> {
    if rows.checked_mul(columns) == Some(numbers) {
        return Ok(());
    }
    let problem = format!("{numbers} numbers, expected {rows} x {columns}");
    Err(Error::Argument { name: name.into(), problem })
}

/// Weight vectors filled up to `count`. What fills up must be finite for batch normalisation: the first vector again.
fn chunk(weights: &[f64], m: usize, count: usize) -> Vec<f64> {
    let mut chunk = weights.to_vec();
    while chunk.len() < count * m {
        chunk.extend_from_within(..m);
    }
    chunk
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::processor;
    use crate::network::Layer;

    fn numbers(count: usize, seed: usize) -> Vec<f64> {
        (0..count).map(|k| ((k * 7919 + seed * 31) % 1009) as f64 / 504.5 - 1.0).collect()
    }

    fn normalising() -> Network {
        let layers = vec![Layer::linear("a", 4), Layer::batch_norm("bn"), Layer::linear("b", 2)];
        Network::new(&[3], layers).unwrap()
    }

    #[test]
    fn a_prediction_does_not_depend_on_the_rows_beside_it() {
        let network = normalising();
        let (theta, reference, x) = (numbers(5 * network.layout().len(), 1), numbers(3 * 20, 2), numbers(3 * 1500, 3));
        let forward = Forward { network: &network, dtype: DType::F64, device: processor(), reference: &reference };
        let all = forward.run(&theta, 5, &x, 1500).unwrap();
        let last = forward.run(&theta, 5, &x[3 * 1499..], 1).unwrap();
        for s in 0..5 {
            let place = (s * 1500 + 1499) * 2;
            for (a, b) in all[place..place + 2].iter().zip(&last[s * 2..]) {
                assert!((a - b).abs() < 1e-12, "sample {s}");
            }
        }
    }

    #[test]
    fn statistics_are_those_of_the_reference_rows_for_each_weight_vector() {
        let network = normalising();
        let m = network.layout().len();
        let (theta, reference) = (numbers(2 * m, 4), numbers(3 * 11, 5));
        let forward = Forward { network: &network, dtype: DType::F64, device: processor(), reference: &reference };
        // On the reference rows themselves the hidden units have mean 0 and variance v / (v + 1e-5), so outputs have the bias as their mean.
        let found = forward.run(&theta, 2, &reference, 11).unwrap();
        for s in 0..2 {
            let bias = &theta[s * m + m - 2..(s + 1) * m];
            for column in 0..2 {
                let mean = (0..11).map(|row| found[(s * 11 + row) * 2 + column]).sum::<f64>() / 11.0;
                assert!((mean - bias[column]).abs() < 1e-12, "sample {s}, output {column}: {mean}, {bias:?}");
            }
        }
    }

    #[test]
    fn statistics_are_means_and_biased_variances_of_the_channels_for_each_weight_vector() {
        let network = normalising();
        let m = network.layout().len();
        // More vectors than one chunk has room for.
        let samples = 2 * CHUNK_ELEMENTS / (network.widest() * 10_000) + 3;
        let (theta, reference) = (numbers(samples * m, 4), numbers(3 * 10_000, 5));
        let forward = Forward { network: &network, dtype: DType::F64, device: processor(), reference: &reference };
        let found = forward.statistics(&theta, samples).unwrap();
        assert_eq!(found.len(), samples * 8);
        for s in [0, samples - 1] {
            let (weight, bias) = theta[s * m..s * m + 16].split_at(12);
            for channel in 0..4 {
                let hidden: Vec<f64> = reference
                    .chunks_exact(3)
                    .map(|x| bias[channel] + (0..3).map(|k| weight[3 * channel + k] * x[k]).sum::<f64>())
                    .collect();
                let mean = hidden.iter().sum::<f64>() / 1e4;
                let variance = hidden.iter().map(|h| (h - mean).powi(2)).sum::<f64>() / 1e4;
                let own = &found[8 * s..8 * (s + 1)];
                assert!((own[channel] - mean).abs() < 1e-12, "sample {s}, channel {channel}: {own:?}, {mean}");
                assert!((own[4 + channel] - variance).abs() < 1e-12, "sample {s}, channel {channel}: {own:?}");
            }
        }
        let plain = Network::new(&[3], vec![Layer::linear("a", 2)]).unwrap();
        let forward = Forward { network: &plain, ..forward };
        assert!(forward.statistics(&numbers(8, 1), 1).unwrap().is_empty());
    }

    #[test]
    fn what_comes_before_all_weights_is_normalised_too() {
        let layers = vec![Layer::batch_norm("bn"), Layer::linear("a", 2)];
        let network = Network::new(&[3], layers).unwrap();
        let (theta, reference) = (numbers(2 * network.layout().len(), 1), numbers(3 * 40, 2));
        let forward = Forward { network: &network, dtype: DType::F64, device: processor(), reference: &reference };
        let statistics = forward.statistics(&theta, 2).unwrap();
        assert_eq!(statistics[..6], statistics[6..]);
        let found = forward.run(&theta, 2, &reference, 40).unwrap();
        for s in 0..2 {
            for column in 0..2 {
                let mean = (0..40).map(|row| found[(s * 40 + row) * 2 + column]).sum::<f64>() / 40.0;
                assert!((mean - theta[s * 8 + 6 + column]).abs() < 1e-12, "sample {s}, output {column}");
            }
        }
    }

    #[test]
    fn without_reference_rows_batch_normalisation_is_refused() {
        let network = normalising();
        let forward = Forward { network: &network, dtype: DType::F64, device: processor(), reference: &[] };
        let error = forward.run(&numbers(network.layout().len(), 1), 1, &[0.0; 3], 1).unwrap_err();
        assert!(error.to_string().contains("reference rows"), "{error}");
    }
}
