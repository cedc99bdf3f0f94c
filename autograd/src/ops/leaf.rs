//! Leaves: inputs, constants, the identity matrix, noise. They have no operands, so no rules.
//!
//! A tensor has at least one element and no more than can be addressed: the first operation on an input, constant or identity with none or too many
//! reports it, and so does a plan for too many.

use super::check_shape;
use crate::op::Distribution;
use crate::{DType, Error, Op, Result, Tape, Var};
use std::panic::Location;

impl Tape {
    /// A buffer filled from outside: a parameter, data, a label tensor. Each call makes a new one.
    #[track_caller]
    pub fn input(&mut self, shape: &[usize], dtype: DType) -> Var {
        self.push(Op::Input, vec![], shape.to_vec(), dtype, Location::caller())
    }

    /// An input with a name for errors and plans.
    #[track_caller]
    pub fn named_input(&mut self, name: impl Into<String>, shape: &[usize], dtype: DType) -> Var {
        let var = self.input(shape, dtype);
        self.set_name(var, name);
        var
    }

    /// A tensor with the same value everywhere.
    #[track_caller]
    pub fn constant(&mut self, value: f64, shape: &[usize], dtype: DType) -> Var {
        self.push(Op::Constant(value.to_bits()), vec![], shape.to_vec(), dtype, Location::caller())
    }

    /// The identity matrix, shape (n, n).
    #[track_caller]
    pub fn identity(&mut self, n: usize, dtype: DType) -> Var {
        self.push(Op::Identity, vec![], vec![n, n], dtype, Location::caller())
    }

    /// Random numbers (Philox 4x32-10; Salmon et al. 2011).
    ///
    /// Every call opens a stream of its own; seed and step are the machine's. Runs with the same seed and step give the same numbers: new ones come
    /// when [`Machine::set_noise`](crate::Machine::set_noise) sets another step, which a run does not do by itself.
    ///
    /// # Errors
    /// [`Error::DType`] for integers; [`Error::Shape`] for a shape without elements, or with more than can be addressed.
    #[track_caller]
    pub fn noise(&mut self, distribution: Distribution, shape: &[usize], dtype: DType) -> Result<Var> {
        let location = Location::caller();
        if !dtype.is_float() {
            return Err(Error::DType { op: "noise", found: dtype, expected: "f32 or f64", location });
        }
        check_shape("noise", shape, location)?;
        let stream = self.next_stream();
        Ok(self.push(Op::Noise { distribution, stream }, vec![], shape.to_vec(), dtype, location))
    }
}
