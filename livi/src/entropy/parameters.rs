//! A sampler's weights on a tape and a machine of their own.

use crate::sampler::Sampler;
use crate::{Error, Result};
use autograd::{DType, Machine, Tape, Var};

/// Inputs for all weights, named as the sampler names them.
pub(crate) fn declare(tape: &mut Tape, sampler: &dyn Sampler, dtype: DType) -> Vec<Var> {
    sampler.parameters().iter().map(|p| tape.named_input(p.name.clone(), &p.shape, dtype)).collect()
}

fn other_number(found: usize, expected: usize) -> Error {
    Error::Argument { name: "sampler weights".into(), problem: format!("there are {found}, expected {expected}") }
}

/// Refuses values whose number or lengths do not fit the sampler, or that are not finite.
pub(crate) fn check(sampler: &dyn Sampler, values: &[Vec<f64>]) -> Result<()> {
    let parameters = sampler.parameters();
    let refuse = |name: String, problem: String| Err(Error::Argument { name, problem });
    if parameters.len() != values.len() {
        return Err(other_number(values.len(), parameters.len()));
    }
    for (parameter, values) in parameters.iter().zip(values) {
        let expected: usize = parameter.shape.iter().product();
        if values.len() != expected {
            let problem = format!("has {} numbers, expected {expected} (shape {:?})", values.len(), parameter.shape);
            return refuse(parameter.name.clone(), problem);
        }
        if let Some(k) = values.iter().position(|v| !v.is_finite()) {
            return refuse(parameter.name.clone(), format!("number {k} is {}, expected a finite one", values[k]));
        }
    }
    Ok(())
}

/// Writes the weights that the machine's plans read; others (such as biases that have no part in a Jacobian) have no buffer there.
///
/// # Errors
/// As many tensors as there are not.
pub(crate) fn write(machine: &mut Machine, vars: &[Var], values: &[Vec<f64>]) -> Result<()> {
    if vars.len() != values.len() {
        return Err(other_number(values.len(), vars.len()));
    }
    for (&var, values) in vars.iter().zip(values) {
        match machine.write_f64(var, values) {
            Ok(()) | Err(autograd::Error::Unbound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
