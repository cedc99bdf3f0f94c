//! Adam and AMSGrad as part of the training program: parameters and moments are updated in place by the plan itself.

use crate::Result;
use autograd::{DType, Tape, Var};

/// Decay of the first moment (Kingma and Ba 2015, algorithm 1).
pub const FIRST_DECAY: f64 = 0.9;
const SECOND_DECAY: f64 = 0.999;
const EPSILON: f64 = 1e-8;

/// Numbers of one step that the host writes: bias corrections of the moments (Kingma and Ba 2015, algorithm 1).
#[derive(Clone, Copy, Debug)]
pub(super) struct Corrections {
    /// 1 / sqrt(1 - beta2^t), scalar input.
    second: Var,
}

impl Corrections {
    pub(super) fn record(tape: &mut Tape, dtype: DType) -> Self {
        Self { second: tape.named_input("optimiser.second_correction", &[], dtype) }
    }

    /// The variable and its value at step t = 1, 2, ...
    pub(super) fn value(&self, t: u64) -> (Var, f64) {
        (self.second, (1.0 - SECOND_DECAY.powf(t as f64)).sqrt().recip())
    }
}

/// The first moment's bias correction, which multiplies the learning rate at step t = 1, 2, ...
pub(super) fn first_correction(t: u64) -> f64 {
    (1.0 - FIRST_DECAY.powf(t as f64)).recip()
}

/// One tensor with its moments and learning rate.
#[derive(Clone, Debug)]
pub(super) struct Adam {
    /// The tensor, an input updated in place.
    pub parameter: Var,
    /// First and second moments; with AMSGrad also the running maximum of the second.
    pub moments: Vec<Var>,
    /// Learning rate over 1 - beta1^t, scalar input.
    pub rate: Var,
}

impl Adam {
    pub(super) fn record(tape: &mut Tape, parameter: Var, amsgrad: bool) -> Self {
        let (shape, dtype, name) = (tape.shape(parameter).to_vec(), tape.dtype(parameter), tape.name(parameter));
        let parts: &[&str] = if amsgrad { &["first", "second", "largest"] } else { &["first", "second"] };
        let moments = parts.iter().map(|p| tape.named_input(format!("{name}.{p}_moment"), &shape, dtype)).collect();
        let rate = tape.named_input(format!("{name}.rate"), &[], dtype);
        Self { parameter, moments, rate }
    }

    /// Pairs of buffers and their new values for a descent step along `gradient`.
    pub(super) fn step(&self, tape: &mut Tape, gradient: Var, corrections: Corrections) -> Result<Vec<(Var, Var)>> {
        let first = mix(tape, self.moments[0], gradient, FIRST_DECAY)?;
        let square = tape.square(gradient)?;
        let second = mix(tape, self.moments[1], square, SECOND_DECAY)?;
        let mut updates = vec![(self.moments[0], first), (self.moments[1], second)];
        let mut scale = second;
        if let Some(&largest) = self.moments.get(2) {
            scale = tape.maximum(largest, second)?;
            updates.push((largest, scale));
        }
        let root = tape.sqrt(scale)?;
        let root = tape.mul(root, corrections.second)?;
        let root = tape.add_scalar(root, EPSILON)?;
        let direction = tape.div(first, root)?;
        let change = tape.mul(direction, self.rate)?;
        updates.push((self.parameter, tape.sub(self.parameter, change)?));
        Ok(updates)
    }
}

/// decay a + (1 - decay) b.
fn mix(tape: &mut Tape, a: Var, b: Var, decay: f64) -> Result<Var> {
    let a = tape.scale(a, decay)?;
    let b = tape.scale(b, 1.0 - decay)?;
    Ok(tape.add(a, b)?)
}
