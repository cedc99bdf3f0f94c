//! Batching (vmap): a program on many values of an input at once, and plain substitution.

use super::reach::between;
use crate::{Error, Result, Tape, Var, ops};
use std::panic::Location;

/// A variable can be replaced by one other only.
fn distinct(op: &'static str, replacements: &[(Var, Var)], location: &'static Location<'static>) -> Result<()> {
    for (k, (x, _)) in replacements.iter().enumerate() {
        if replacements[..k].iter().any(|(earlier, _)| earlier == x) {
            return Err(Error::Shape {
                op,
                problem: format!("replacement {k} is for a variable that already has one"),
                location,
            });
        }
    }
    Ok(())
}

impl Tape {
    /// Outputs for a whole batch of values of some inputs: each pair is an input and its values along a new leading axis.
    ///
    /// The results carry that axis in front as well; outputs that do not depend on the inputs are repeated.
    /// Products of a batch with a shared matrix become one product. Noise is no input: all members of the batch share its numbers, unless a variable
    /// that holds noise is itself one of the inputs.
    ///
    /// ```
    /// use autograd::{DType, Tape};
    /// let mut tape = Tape::new();
    /// let w = tape.input(&[4, 3], DType::F32);
    /// let x = tape.input(&[3, 1], DType::F32);
    /// let y = tape.matmul(w, x)?;
    /// let many = tape.input(&[100, 3, 1], DType::F32);
    /// let ys = tape.batch(&[y], &[(x, many)])?[0];
    /// assert_eq!(tape.shape(ys), &[100, 4, 1]);
    /// # Ok::<(), autograd::Error>(())
    /// ```
    #[track_caller]
    pub fn batch(&mut self, outputs: &[Var], inputs: &[(Var, Var)]) -> Result<Vec<Var>> {
        let location = Location::caller();
        distinct("batch", inputs, location)?;
        let mut size = None;
        for &(x, many) in inputs {
            self.operands("batch", &[x, many], location)?;
            let shape = self.shape(many);
            let fits = shape.len() == self.shape(x).len() + 1
                && shape[1..] == *self.shape(x)
                && self.dtype(x) == self.dtype(many)
                && size.is_none_or(|s| s == shape[0]);
            if !fits {
                let problem = format!(
                    "values of shape {} for an input of shape {}: one leading axis of a common length is needed",
                    ops::axes_text(shape),
                    ops::axes_text(self.shape(x))
                );
                return Err(Error::Shape { op: "batch", problem, location });
            }
            size = Some(shape[0]);
        }
        let Some(size) = size else {
            return Err(Error::Shape { op: "batch", problem: "no input to batch over".into(), location });
        };
        let replaced =
            self.replay(outputs, inputs, location, |tape, y, operands| ops::batch(tape, y, operands, size))?;
        outputs
            .iter()
            .zip(replaced)
            .map(|(&y, new)| match new {
                Some(new) => Ok(new),
                None => {
                    let shape: Vec<usize> = std::iter::once(size).chain(self.shape(y).iter().copied()).collect();
                    self.broadcast_at(y, &shape, location)
                }
            })
            .collect()
    }

    /// Outputs with some variables replaced by others of the same shape and type.
    #[track_caller]
    pub fn substitute(&mut self, outputs: &[Var], replacements: &[(Var, Var)]) -> Result<Vec<Var>> {
        let location = Location::caller();
        distinct("substitute", replacements, location)?;
        for &(x, new) in replacements {
            self.own(&[x, new]).map_err(|_| Error::ForeignVar { location })?;
            if self.shape(x) != self.shape(new) || self.dtype(x) != self.dtype(new) {
                let problem =
                    format!("{} cannot stand for {}", ops::axes_text(self.shape(new)), ops::axes_text(self.shape(x)));
                return Err(Error::Shape { op: "substitute", problem, location });
            }
        }
        let replaced = self.replay(outputs, replacements, location, |tape, y, operands| {
            let node = tape.node(y).clone();
            Ok(tape.push(node.op, operands.iter().map(|o| o.0).collect(), node.shape, node.dtype, node.location))
        })?;
        Ok(outputs.iter().zip(replaced).map(|(&y, new)| new.unwrap_or(y)).collect())
    }

    fn replay(
        &mut self,
        outputs: &[Var],
        replacements: &[(Var, Var)],
        location: &'static Location<'static>,
        mut rule: impl FnMut(&mut Tape, Var, &[(Var, bool)]) -> Result<Var>,
    ) -> Result<Vec<Option<Var>>> {
        self.own(outputs).map_err(|_| Error::ForeignVar { location })?;
        let sources: Vec<Var> = replacements.iter().map(|r| r.0).collect();
        let active = between(self, &sources, outputs);
        let mut new: Vec<Option<Var>> = vec![None; active.len()];
        for &(x, value) in replacements {
            if let Some(slot) = new.get_mut(x.index()) {
                *slot = Some(value);
            }
        }
        for i in 0..active.len() {
            if !active[i] || new[i].is_some() {
                continue;
            }
            let operands: Vec<(Var, bool)> =
                self.nodes()[i].inputs.iter().map(|v| new[v.index()].map_or((*v, false), |n| (n, true))).collect();
            if operands.iter().any(|o| o.1) {
                new[i] = Some(rule(self, self.var(i), &operands)?);
            }
        }
        Ok(outputs.iter().map(|y| new.get(y.index()).copied().flatten()).collect())
    }
}
