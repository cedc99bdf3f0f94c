//! Recording a network for many weight vectors at once.

use super::{Layer, Network};
use crate::Result;
use autograd::{Tape, Var};

/// Added to variances by batch normalisation.
pub const EPSILON: f64 = 1e-5;

/// A recorded network.
#[derive(Clone, Copy, Debug)]
pub struct Outputs {
    /// Outputs, shape (S, N, ..).
    pub values: Var,
    /// Statistics of batch normalisation that were used, shape (S, T): for each normalisation in order of evaluation the means of its channels, then
    /// their variances (over images, rows and columns, divided by their number). `None` for a network without.
    pub statistics: Option<Var>,
}

impl Network {
    /// Records the outputs, shape (S, N, outputs ..), of S weight vectors `theta` (S, m) on N inputs `x`: (N, inputs), or (N, channels, rows, columns).
    /// Batch normalisation uses the statistics of these very inputs, each weight vector its own.
    ///
    /// # Errors
    /// Those of recording: inputs of another shape.
    pub fn record(&self, tape: &mut Tape, theta: Var, x: Var) -> Result<Var> {
        Ok(self.record_with(tape, theta, x, None)?.values)
    }

    /// The same with given statistics (S, T) of batch normalisation instead: those that [`Outputs::statistics`] gave on training inputs.
    ///
    /// # Errors
    /// As [`Network::record`].
    pub fn record_with(&self, tape: &mut Tape, theta: Var, x: Var, statistics: Option<Var>) -> Result<Outputs> {
        let samples = tape.shape(theta)[0];
        let rows = tape.shape(x)[0];
        let shape: Vec<usize> = [1, rows].iter().chain(&self.input).copied().collect();
        let x = tape.reshape(x, &shape)?;
        let mut walk = Walk { network: self, theta, samples, entry: 0, given: statistics, used: Vec::new(), at: 0 };
        let values = walk.layers(tape, &self.layers, x)?;
        let shape: Vec<usize> = [samples, rows].iter().chain(&self.output).copied().collect();
        let values = tape.broadcast_to(values, &shape)?;
        let statistics = if walk.used.is_empty() { None } else { Some(tape.concat(&walk.used, 1)?) };
        Ok(Outputs { values, statistics })
    }
}

/// Where a recording stands. Values have shape (S, N, ..), or (1, N, ..) before the first weights.
struct Walk<'a> {
    network: &'a Network,
    theta: Var,
    samples: usize,
    /// Next tensor of the layout.
    entry: usize,
    given: Option<Var>,
    used: Vec<Var>,
    /// Next statistic.
    at: usize,
}

impl Walk<'_> {
    fn layers(&mut self, tape: &mut Tape, layers: &[Layer], mut h: Var) -> Result<Var> {
        let mut rest = layers;
        while let Some((layer, after)) = rest.split_first() {
            rest = after;
            h = match (layer, after) {
                // Maxima commute with what is added to the whole channel and with functions that never fall: on fewer numbers it costs less.
                (
                    Layer::Conv { .. },
                    [Layer::Activation(activation), Layer::MaxPool { size, stride, padding }, later @ ..],
                ) if activation.never_falls() => {
                    rest = later;
                    let product = self.product(tape, layer, h)?;
                    let pooled = tape.max_pool2d(product, *size, *stride, *padding)?;
                    let biased = self.bias(tape, layer, pooled)?;
                    activation.record(tape, biased)?
                }
                _ => self.layer(tape, layer, h)?,
            };
        }
        Ok(h)
    }

    fn layer(&mut self, tape: &mut Tape, layer: &Layer, h: Var) -> Result<Var> {
        let shape = tape.shape(h).to_vec();
        Ok(match layer {
            Layer::Linear { .. } | Layer::Conv { .. } => {
                let product = self.product(tape, layer, h)?;
                self.bias(tape, layer, product)?
            }
            Layer::Activation(activation) => activation.record(tape, h)?,
            Layer::MaxPool { size, stride, padding } => tape.max_pool2d(h, *size, *stride, *padding)?,
            Layer::MeanPool { size, stride, padding } => tape.mean_pool2d(h, *size, *stride, *padding)?,
            Layer::Mean => {
                let sum = tape.sum(h, &[3, 4])?;
                let mean = tape.scale(sum, 1.0 / (shape[3] * shape[4]) as f64)?;
                tape.reshape(mean, &shape[..3])?
            }
            Layer::Flatten => {
                let flat = shape[2..].iter().product();
                tape.reshape(h, &[shape[0], shape[1], flat])?
            }
            Layer::BatchNorm { .. } => self.normalised(tape, h)?,
            Layer::Residual { before, main, shortcut } => {
                let shared = self.layers(tape, before, h)?;
                let long = self.layers(tape, main, shared)?;
                let short = if shortcut.is_empty() { h } else { self.layers(tape, shortcut, shared)? };
                tape.add(long, short)?
            }
        })
    }

    /// A layer's product with its weight.
    fn product(&mut self, tape: &mut Tape, layer: &Layer, h: Var) -> Result<Var> {
        let weight = self.tensor(tape)?;
        Ok(match layer {
            Layer::Conv { stride, padding, .. } => tape.conv2d(h, weight, *stride, *padding)?,
            _ => {
                let weight = tape.transpose(weight)?;
                tape.matmul(h, weight)?
            }
        })
    }

    /// A layer's bias added to its product, if it has one.
    fn bias(&mut self, tape: &mut Tape, layer: &Layer, product: Var) -> Result<Var> {
        let (Layer::Linear { bias, .. } | Layer::Conv { bias, .. }) = layer else { return Ok(product) };
        if !bias {
            return Ok(product);
        }
        let bias = self.tensor(tape)?;
        let mut shape = vec![1; tape.shape(product).len()];
        (shape[0], shape[2]) = (self.samples, tape.shape(product)[2]);
        let bias = tape.reshape(bias, &shape)?;
        Ok(tape.add(product, bias)?)
    }

    /// The next tensor of all weight vectors, (S, shape ..).
    fn tensor(&mut self, tape: &mut Tape) -> Result<Var> {
        let entry = &self.network.layout.entries()[self.entry];
        self.entry += 1;
        let part = tape.narrow(self.theta, 1, entry.range.start, entry.range.len())?;
        let shape: Vec<usize> = std::iter::once(self.samples).chain(entry.shape.iter().copied()).collect();
        Ok(tape.reshape(part, &shape)?)
    }

    /// (h - mean) / sqrt(variance + EPSILON) for each channel.
    fn normalised(&mut self, tape: &mut Tape, h: Var) -> Result<Var> {
        let shape = tape.shape(h).to_vec();
        let channels = shape[2];
        let axes: Vec<usize> = (0..shape.len()).filter(|k| !matches!(k, 0 | 2)).collect();
        let mut reduced = shape.clone();
        axes.iter().for_each(|&axis| reduced[axis] = 1);
        let (mean, variance) = match self.given {
            Some(given) => {
                let mut wide = reduced.clone();
                wide[0] = self.samples;
                let mut next = |tape: &mut Tape| -> Result<Var> {
                    let part = tape.narrow(given, 1, self.at, channels)?;
                    self.at += channels;
                    Ok(tape.reshape(part, &wide)?)
                };
                (next(tape)?, next(tape)?)
            }
            None => {
                let count = 1.0 / axes.iter().map(|&axis| shape[axis]).product::<usize>() as f64;
                let sum = tape.sum(h, &axes)?;
                let mean = tape.scale(sum, count)?;
                let centred = tape.sub(h, mean)?;
                let square = tape.square(centred)?;
                let sum = tape.sum(square, &axes)?;
                (mean, tape.scale(sum, count)?)
            }
        };
        for statistic in [mean, variance] {
            let statistic = tape.reshape(statistic, &[tape.elements(statistic) / channels, channels])?;
            self.used.push(tape.broadcast_to(statistic, &[self.samples, channels])?);
        }
        let centred = tape.sub(h, mean)?;
        let shifted = tape.add_scalar(variance, EPSILON)?;
        let std = tape.sqrt(shifted)?;
        let scale = tape.reciprocal(std)?;
        Ok(tape.mul(centred, scale)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activation::Activation;
    use autograd::{DType, Machine, Plan, Request};

    /// Outputs of a network of such layers on two images of 7 x 7.
    fn outputs(layers: &[&str]) -> Vec<f64> {
        let texts: Vec<String> = layers.iter().map(|text| text.to_string()).collect();
        let input = [2, 7, 7];
        let network = Network::new(&input, Layer::parse_all(&texts, &input).unwrap()).unwrap();
        let mut tape = Tape::new();
        let theta = tape.input(&[1, network.layout().len()], DType::F64);
        let x = tape.input(&[2, 2, 7, 7], DType::F64);
        let y = network.record(&mut tape, theta, x).unwrap();
        let mut machine = Machine::cpu(1).unwrap();
        let plan = machine.load(Plan::new(&tape, &Request::outputs(&[y])).unwrap()).unwrap();
        for var in [theta, x] {
            let values: Vec<f64> = (0..tape.elements(var)).map(|k| ((k * 37 + 11) % 29) as f64 / 8.0 - 1.7).collect();
            machine.write_f64(var, &values).unwrap();
        }
        machine.run(plan).unwrap();
        machine.read_f64(y).unwrap()
    }

    #[test]
    fn maxima_of_every_activation_are_taken_of_its_values() {
        for activation in Activation::ALL.map(Activation::name) {
            let found = outputs(&["conv 3", activation, "max_pool 2", "flatten"]);
            // A layer that changes nothing stands between the two.
            let plain = outputs(&["conv 3", activation, "mean_pool 1", "max_pool 2", "flatten"]);
            assert!(found.iter().zip(&plain).all(|(a, b)| (a - b).abs() < 1e-12), "{activation}: {found:?} {plain:?}");
            assert!(found.iter().any(|x| *x != found[0]), "{activation}");
        }
    }
}
