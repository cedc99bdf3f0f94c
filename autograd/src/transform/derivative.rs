//! What is built from linearisation, transposition and batching: gradients, Jacobians, Hessian-vector products.

use crate::{Error, Result, Tape, Var, ops};
use std::panic::Location;

impl Tape {
    /// Cotangents of inputs for cotangents of outputs: J^T u. Zeros where an output does not depend on an input.
    #[track_caller]
    pub fn vjp(&mut self, outputs: &[Var], cotangents: &[Var], inputs: &[Var]) -> Result<Vec<Var>> {
        let linear = self.linearize(outputs, inputs)?;
        let back = linear.transpose(self, cotangents)?;
        let mut gradients = Vec::with_capacity(inputs.len());
        for (&x, cotangent) in inputs.iter().zip(back) {
            gradients.push(match cotangent {
                Some(cotangent) => cotangent,
                None => self.zeros_like(x),
            });
        }
        Ok(gradients)
    }

    /// Gradients of a scalar (any variable with one element) with respect to inputs.
    ///
    /// ```
    /// use autograd::{DType, Machine, Plan, Request, Tape};
    /// let mut tape = Tape::new();
    /// let x = tape.input(&[3], DType::F64);
    /// let sine = tape.sin(x)?;
    /// let total = tape.sum_all(sine)?;
    /// let gradient = tape.grad(total, &[x])?[0];
    /// let plan = Plan::new(&tape, &Request::outputs(&[gradient]))?;
    /// let mut machine = Machine::cpu(1)?;
    /// let plan = machine.load(plan)?;
    /// machine.write(x, &[0.0, 1.0, 2.0])?;
    /// machine.run(plan)?;
    /// assert!((machine.read::<f64>(gradient)?[1] - 1.0_f64.cos()).abs() < 1e-15);
    /// # Ok::<(), autograd::Error>(())
    /// ```
    #[track_caller]
    pub fn grad(&mut self, value: Var, inputs: &[Var]) -> Result<Vec<Var>> {
        let location = Location::caller();
        self.operands("grad", &[value], location)?;
        if self.elements(value) != 1 {
            let problem = format!("a gradient needs one number, not {}", ops::axes_text(self.shape(value)));
            return Err(Error::Shape { op: "grad", problem, location });
        }
        let (shape, dtype) = (self.shape(value).to_vec(), self.dtype(value));
        let one = self.constant(1.0, &shape, dtype);
        self.vjp(&[value], &[one], inputs)
    }

    /// The Jacobian of an output with respect to an input, of shape (output's axes, input's axes): by columns (batched forward mode)
    /// or by rows (batched reverse mode), whichever are fewer.
    #[track_caller]
    pub fn jacobian(&mut self, output: Var, input: Var) -> Result<Var> {
        self.operands("jacobian", &[output, input], Location::caller())?;
        let (m, d) = (self.elements(output), self.elements(input));
        let (out_shape, in_shape) = (self.shape(output).to_vec(), self.shape(input).to_vec());
        let shape: Vec<usize> = out_shape.iter().chain(&in_shape).copied().collect();
        let dtype = self.dtype(output);
        let linear = self.linearize(&[output], &[input])?;
        let Some(tangent) = linear.outputs[0] else { return Ok(self.constant(0.0, &shape, dtype)) };
        let joined =
            |first: usize, rest: &[usize]| std::iter::once(first).chain(rest.iter().copied()).collect::<Vec<_>>();
        if d <= m {
            let basis = self.identity(d, self.dtype(input));
            let basis = self.reshape(basis, &joined(d, &in_shape))?;
            let columns = self.batch(&[tangent], &[(linear.inputs[0], basis)])?[0];
            let columns = self.reshape(columns, &[d, m])?;
            let rows = self.transpose(columns)?;
            self.reshape(rows, &shape)
        } else {
            let cotangent = self.input(&out_shape, dtype);
            let Some(back) = linear.transpose(self, &[cotangent])?[0] else {
                return Ok(self.constant(0.0, &shape, dtype));
            };
            let basis = self.identity(m, dtype);
            let basis = self.reshape(basis, &joined(m, &out_shape))?;
            let rows = self.batch(&[back], &[(cotangent, basis)])?[0];
            self.reshape(rows, &shape)
        }
    }

    /// Hessian-vector product of a scalar: the tangent of its gradient along `direction`.
    #[track_caller]
    pub fn hvp(&mut self, value: Var, input: Var, direction: Var) -> Result<Var> {
        let gradient = self.grad(value, &[input])?[0];
        let product = self.jvp(&[gradient], &[(input, direction)])?[0];
        Ok(match product {
            Some(product) => product,
            None => self.zeros_like(input),
        })
    }
}
