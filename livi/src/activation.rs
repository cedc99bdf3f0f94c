//! Activation functions of samplers and networks.

use autograd::{Result, Tape, Var};
use serde::{Deserialize, Serialize};

/// Slope of [`Activation::LeakyRelu`] below 0.
const LEAK: f64 = 0.01;

/// An elementwise nonlinearity.
///
/// ```
/// use livi::activation::Activation;
/// assert_eq!(serde_json::from_str::<Activation>("\"elu\"").unwrap(), Activation::Elu);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// max(x, 0).
    Relu,
    /// x where x > 0, else e^x - 1 (Clevert et al. 2016).
    Elu,
    /// Hyperbolic tangent.
    Tanh,
    /// ln(1 + e^x).
    Softplus,
    /// 1 / (1 + e^-x).
    Sigmoid,
    /// x / (1 + e^-x), also called swish (Elfwing et al. 2018).
    Silu,
    /// x where x > 0, else 0.01 x (Maas et al. 2013).
    LeakyRelu,
}

impl Activation {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Relu, Self::Elu, Self::Tanh, Self::Softplus, Self::Sigmoid, Self::Silu, Self::LeakyRelu];

    /// Names in configurations, in the order of the variants.
    pub const NAMES: &'static [&'static str] = &["relu", "elu", "tanh", "softplus", "sigmoid", "silu", "leaky_relu"];

    /// Name in configurations.
    pub const fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    /// Records the activation of every element.
    pub fn record(self, tape: &mut Tape, x: Var) -> Result<Var> {
        match self {
            Self::Relu => tape.relu(x),
            Self::Elu => tape.elu(x),
            Self::Tanh => tape.tanh(x),
            Self::Softplus => tape.softplus(x),
            Self::Sigmoid => tape.sigmoid(x),
            Self::Silu => {
                let gate = tape.sigmoid(x)?;
                tape.mul(x, gate)
            }
            Self::LeakyRelu => {
                let leak = tape.scale(x, LEAK)?;
                tape.maximum(x, leak)
            }
        }
    }

    /// Whether a larger x never has a smaller value, so that the largest of some values is the value of the largest.
    pub const fn never_falls(self) -> bool {
        !matches!(self, Self::Silu)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use autograd::{DType, Machine, Plan, Request};

    #[test]
    fn every_activation_has_its_values_and_slopes() {
        let points = [-30.0, -2.5, -0.4, 0.3, 1.7, 30.0_f64];
        for activation in Activation::ALL {
            let value = |x: f64| match activation {
                Activation::Relu => x.max(0.0),
                Activation::Elu => {
                    if x > 0.0 {
                        x
                    } else {
                        x.exp() - 1.0
                    }
                }
                Activation::Tanh => x.tanh(),
                Activation::Softplus => {
                    if x > 20.0 {
                        x
                    } else {
                        (1.0 + x.exp()).ln()
                    }
                }
                Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
                Activation::Silu => x / (1.0 + (-x).exp()),
                Activation::LeakyRelu => {
                    if x > 0.0 {
                        x
                    } else {
                        0.01 * x
                    }
                }
            };
            let mut tape = Tape::new();
            let x = tape.input(&[points.len()], DType::F64);
            let y = activation.record(&mut tape, x).unwrap();
            let total = tape.sum_all(y).unwrap();
            let slope = tape.grad(total, &[x]).unwrap()[0];
            let mut machine = Machine::cpu(1).unwrap();
            let plan = machine.load(Plan::new(&tape, &Request::outputs(&[y, slope])).unwrap()).unwrap();
            machine.write_f64(x, &points).unwrap();
            machine.run(plan).unwrap();
            let (found, slopes) = (machine.read_f64(y).unwrap(), machine.read_f64(slope).unwrap());
            for (k, &x) in points.iter().enumerate() {
                let name = activation.name();
                assert!((found[k] - value(x)).abs() <= 1e-12 * value(x).abs().max(1.0), "{name} at {x}: {}", found[k]);
                let difference = (value(x + 1e-6) - value(x - 1e-6)) / 2e-6;
                assert!((slopes[k] - difference).abs() < 1e-7, "{name} at {x}: {} {difference}", slopes[k]);
            }
            let rises = (-4000..4000).all(|k| value(f64::from(k) * 1e-3) <= value(f64::from(k + 1) * 1e-3));
            assert_eq!(rises, activation.never_falls(), "{}", activation.name());
        }
    }

    #[test]
    fn names_are_those_of_configurations() {
        for activation in Activation::ALL {
            assert_eq!(serde_json::to_value(activation).unwrap(), activation.name());
        }
    }
}
