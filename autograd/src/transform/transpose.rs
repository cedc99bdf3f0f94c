//! Reverse mode: the transpose of a linear program, walked from its outputs to its inputs.

use super::Linear;
use super::reach::between;
use crate::{Error, Result, Tape, Var, ops};
use std::panic::Location;

impl Linear {
    /// Cotangents of the inputs for cotangents of the outputs: J^T u. `None` is zero.
    ///
    /// # Errors
    /// A cotangent whose shape is not that of its output; an operation that is not linear in its operand; a tape that is not the program's own, or a
    /// cotangent of another one.
    #[track_caller]
    pub fn transpose(&self, tape: &mut Tape, cotangents: &[Var]) -> Result<Vec<Option<Var>>> {
        let location = Location::caller();
        let wrong = |problem: String| Error::Shape { op: "transpose", problem, location };
        if cotangents.len() != self.outputs.len() {
            return Err(wrong(format!("{} cotangents for {} outputs", cotangents.len(), self.outputs.len())));
        }
        let program = self.inputs.iter().chain(self.outputs.iter().flatten());
        program.chain(cotangents).try_for_each(|&var| tape.own(&[var])).map_err(|_| Error::ForeignVar { location })?;
        let live: Vec<(Var, Var)> =
            self.outputs.iter().zip(cotangents).filter_map(|(y, &c)| y.map(|y| (y, c))).collect();
        let outputs: Vec<Var> = live.iter().map(|p| p.0).collect();
        let active = between(tape, &self.inputs, &outputs);
        let mut cotangent: Vec<Option<Var>> = vec![None; active.len()];
        let add = |tape: &mut Tape, slot: &mut [Option<Var>], at: Var, value: Var| -> Result<()> {
            let Some(entry) = slot.get_mut(at.index()) else { return Ok(()) };
            *entry = Some(match *entry {
                Some(sum) => {
                    let (before, origin) = (tape.len(), tape.node(at).location);
                    let sum = tape.add(sum, value)?;
                    tape.ascribe(before, origin);
                    sum
                }
                None => value,
            });
            Ok(())
        };
        for (y, c) in live {
            if tape.shape(y) != tape.shape(c) || tape.dtype(y) != tape.dtype(c) {
                return Err(wrong(format!(
                    "a cotangent {} {} for an output {} {}",
                    tape.dtype(c),
                    ops::axes_text(tape.shape(c)),
                    tape.dtype(y),
                    ops::axes_text(tape.shape(y))
                )));
            }
            add(tape, &mut cotangent, y, c)?;
        }
        for i in (0..active.len()).rev() {
            let y = tape.var(i);
            let Some(c) = cotangent[i] else { continue };
            if !active[i] || self.inputs.contains(&y) {
                continue;
            }
            let inputs = tape.nodes()[i].inputs.clone();
            let linear: Vec<bool> = inputs.iter().map(|v| active[v.index()]).collect();
            for ((&input, &linear), back) in inputs.iter().zip(&linear).zip(ops::transpose(tape, y, c, &linear)?) {
                if let (true, Some(back)) = (linear, back) {
                    add(tape, &mut cotangent, input, back)?;
                }
            }
        }
        Ok(self.inputs.iter().map(|x| cotangent.get(x.index()).copied().flatten()).collect())
    }
}
