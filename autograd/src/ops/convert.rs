//! Conversion of element types, and the identity that stops derivatives.

use crate::{DType, Error, Node, Op, Result, Tape, Var};
use std::panic::Location;

impl Tape {
    /// The same numbers in another floating-point type. Derivatives pass through in the other direction.
    #[track_caller]
    pub fn convert(&mut self, a: Var, dtype: DType) -> Result<Var> {
        let location = Location::caller();
        self.operands("convert", &[a], location)?;
        if self.dtype(a) == dtype {
            return Ok(a);
        }
        for found in [dtype, self.dtype(a)] {
            if !found.is_float() {
                return Err(Error::DType { op: "convert", found, expected: "f32 or f64", location });
            }
        }
        let shape = self.shape(a).to_vec();
        self.record(Op::Convert, vec![a], shape, dtype, location)
    }

    /// The same numbers, with derivative zero.
    #[track_caller]
    pub fn stop_gradient(&mut self, a: Var) -> Result<Var> {
        let location = Location::caller();
        self.operands("stop_gradient", &[a], location)?;
        let (shape, dtype) = (self.shape(a).to_vec(), self.dtype(a));
        self.record(Op::StopGradient, vec![a], shape, dtype, location)
    }
}

pub(super) fn transpose(tape: &mut Tape, node: &Node, cotangent: Var) -> Result<Var> {
    let dtype: DType = tape.dtype(node.inputs[0]);
    tape.convert(cotangent, dtype)
}
