//! Activation functions of samplers and networks.

use autograd::{Result, Tape, Var};
use serde::{Deserialize, Serialize};

/// An elementwise nonlinearity.
///
/// ```
/// use livi::activation::Activation;
/// assert_eq!(serde_json::from_str::<Activation>("\"elu\"").unwrap(), Activation::Elu);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    /// max(x, 0).
    Relu,
    /// x where x > 0, else e^x - 1 (Clevert et al. 2016).
    Elu,
    /// Hyperbolic tangent.
    Tanh,
    /// ln(1 + e^x).
    Softplus,
}

impl Activation {
    /// Names in configurations, in the order of the variants.
    pub const NAMES: &'static [&'static str] = &["relu", "elu", "tanh", "softplus"];

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
        }
    }
}
