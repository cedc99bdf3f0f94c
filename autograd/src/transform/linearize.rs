//! Forward mode: one walk from inputs to outputs, pushing tangents.

use super::reach::between;
use crate::{Error, Result, Tape, Var, ops};
use std::panic::Location;

/// The derivative of some outputs with respect to some inputs at the recorded point, as a linear program on the same tape.
///
/// Its tangent inputs are [`Op::Input`](crate::Op::Input) nodes waiting for a value; everything else it uses is shared with the primal program.
#[derive(Clone, Debug)]
pub struct Linear {
    /// Tangents of the inputs, to be filled or substituted.
    pub inputs: Vec<Var>,
    /// Tangents of the outputs; `None` where the output does not depend on the inputs.
    pub outputs: Vec<Option<Var>>,
}

impl Tape {
    /// Tangents of outputs for given tangents of inputs: J v. `None` is zero.
    ///
    /// Each pair is a variable and its tangent, of the same shape and type; tangents of one variable given in several pairs add up.
    ///
    /// ```
    /// use autograd::{DType, Machine, Plan, Request, Tape};
    /// let mut tape = Tape::new();
    /// let x = tape.input(&[], DType::F64);
    /// let y = tape.square(x)?;
    /// let one = tape.constant(1.0, &[], DType::F64);
    /// let slope = tape.jvp(&[y], &[(x, one)])?[0].unwrap();
    /// let curvature = tape.jvp(&[slope], &[(x, one)])?[0].unwrap();
    /// let plan = Plan::new(&tape, &Request::outputs(&[slope, curvature]))?;
    /// let mut machine = Machine::cpu(1)?;
    /// let plan = machine.load(plan)?;
    /// machine.write(x, &[3.0])?;
    /// machine.run(plan)?;
    /// assert_eq!(machine.read::<f64>(slope)?, &[6.0]);
    /// assert_eq!(machine.read::<f64>(curvature)?, &[2.0]);
    /// # Ok::<(), autograd::Error>(())
    /// ```
    #[track_caller]
    pub fn jvp(&mut self, outputs: &[Var], tangents: &[(Var, Var)]) -> Result<Vec<Option<Var>>> {
        let location = Location::caller();
        let inputs: Vec<Var> = tangents.iter().map(|t| t.0).collect();
        self.own(outputs).and(self.own(&inputs)).map_err(|_| Error::ForeignVar { location })?;
        for &(x, t) in tangents {
            self.own(&[t]).map_err(|_| Error::ForeignVar { location })?;
            if self.shape(x) != self.shape(t) || self.dtype(x) != self.dtype(t) {
                let problem = format!(
                    "the tangent of a {} {} cannot be a {} {}",
                    self.dtype(x),
                    ops::axes_text(self.shape(x)),
                    self.dtype(t),
                    ops::axes_text(self.shape(t))
                );
                return Err(Error::Shape { op: "jvp", problem, location });
            }
            if !self.dtype(x).is_float() {
                return Err(Error::DType { op: "jvp", found: self.dtype(x), expected: "f32 or f64", location });
            }
        }
        let active = between(self, &inputs, outputs);
        let mut tangent: Vec<Option<Var>> =
            vec![None; active.len().max(inputs.iter().map(|x| x.index() + 1).max().unwrap_or(0))];
        for &(x, t) in tangents {
            tangent[x.index()] = Some(match tangent[x.index()] {
                Some(sum) => self.add(sum, t)?,
                None => t,
            });
        }
        for i in 0..active.len() {
            if !active[i] || tangent[i].is_some() {
                continue;
            }
            let from: Vec<Option<Var>> = self.nodes()[i].inputs.iter().map(|v| tangent[v.index()]).collect();
            if from.iter().any(Option::is_some) {
                tangent[i] = ops::jvp(self, self.var(i), &from)?;
            }
        }
        Ok(outputs.iter().map(|y| tangent.get(y.index()).copied().flatten()).collect())
    }

    /// The derivative as a linear program with tangent inputs of its own.
    #[track_caller]
    pub fn linearize(&mut self, outputs: &[Var], inputs: &[Var]) -> Result<Linear> {
        let location = Location::caller();
        self.own(inputs).map_err(|_| Error::ForeignVar { location })?;
        let mut pairs = Vec::with_capacity(inputs.len());
        for &x in inputs {
            if !self.dtype(x).is_float() {
                return Err(Error::DType { op: "linearize", found: self.dtype(x), expected: "f32 or f64", location });
            }
            let (shape, dtype) = (self.shape(x).to_vec(), self.dtype(x));
            let name = format!("d{}", self.name(x));
            pairs.push((x, self.named_input(name, &shape, dtype)));
        }
        let outputs = self.jvp(outputs, &pairs)?;
        Ok(Linear { inputs: pairs.into_iter().map(|p| p.1).collect(), outputs })
    }
}
