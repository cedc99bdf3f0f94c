//! Symmetric positive definite systems: solutions and log-determinants, closed under differentiation.
//!
//! Only the lower triangle is read when a plan runs; derivatives are those for symmetric arguments.

use super::axes_text;
use crate::{Error, Node, Op, Result, Tape, Var};
use std::panic::Location;

impl Tape {
    /// a^-1 b for symmetric positive definite matrices a (.., n, n) and b (.., n, k), by Cholesky.
    ///
    /// A matrix that is not positive definite is an error when the plan runs.
    #[track_caller]
    pub fn solve_spd(&mut self, a: Var, b: Var) -> Result<Var> {
        let location = Location::caller();
        self.operands("solve_spd", &[a, b], location)?;
        let (batch, n) = self.square_matrices("solve_spd", a, location)?;
        let shape = self.shape(b).to_vec();
        let rank = shape.len();
        let dtype = self.dtype(a);
        if rank != self.shape(a).len() || shape[..rank - 1] != self.shape(a)[..rank - 1] || self.dtype(b) != dtype {
            let problem = format!(
                "{} {} and right-hand sides {} {} do not fit",
                dtype,
                axes_text(self.shape(a)),
                self.dtype(b),
                axes_text(&shape)
            );
            return Err(Error::Shape { op: "solve_spd", problem, location });
        }
        let a = self.reshape(a, &[batch, n, n])?;
        let b = self.reshape(b, &[batch, n, shape[rank - 1]])?;
        let flat = self.shape(b).to_vec();
        let solution = self.record(Op::SolveSpd, vec![a, b], flat, dtype, location)?;
        self.reshape(solution, &shape)
    }

    /// Natural logarithms of the determinants of symmetric positive definite matrices: (.., n, n) gives (..).
    ///
    /// ```
    /// use autograd::{DType, Machine, Plan, Request, Tape};
    /// let mut tape = Tape::new();
    /// let a = tape.input(&[2, 2], DType::F64);
    /// let value = tape.log_det_spd(a)?;
    /// let gradient = tape.grad(value, &[a])?[0];
    /// let plan = Plan::new(&tape, &Request::outputs(&[value, gradient]))?;
    /// let mut machine = Machine::cpu(1)?;
    /// let plan = machine.load(plan)?;
    /// machine.write(a, &[2.0, 1.0, 1.0, 3.0])?;
    /// machine.run(plan)?;
    /// assert!((machine.read::<f64>(value)?[0] - 5.0_f64.ln()).abs() < 1e-14);
    /// assert!((machine.read::<f64>(gradient)?[0] - 0.6).abs() < 1e-14); // the inverse
    /// # Ok::<(), autograd::Error>(())
    /// ```
    #[track_caller]
    pub fn log_det_spd(&mut self, a: Var) -> Result<Var> {
        let location = Location::caller();
        self.operands("log_det_spd", &[a], location)?;
        let (batch, n) = self.square_matrices("log_det_spd", a, location)?;
        let shape = self.shape(a)[..self.shape(a).len() - 2].to_vec();
        let dtype = self.dtype(a);
        let a = self.reshape(a, &[batch, n, n])?;
        let value = self.record(Op::LogDetSpd, vec![a], vec![batch], dtype, location)?;
        self.reshape(value, &shape)
    }

    /// Inverses of symmetric positive definite matrices (.., n, n).
    #[track_caller]
    pub fn inverse_spd(&mut self, a: Var) -> Result<Var> {
        let location = Location::caller();
        self.operands("inverse_spd", &[a], location)?;
        let (_, n) = self.square_matrices("inverse_spd", a, location)?;
        let shape = self.shape(a).to_vec();
        let identity = self.identity(n, self.dtype(a));
        let identity = self.broadcast_at(identity, &shape, location)?;
        self.solve_spd(a, identity)
    }

    fn square_matrices(
        &self,
        op: &'static str,
        a: Var,
        location: &'static Location<'static>,
    ) -> Result<(usize, usize)> {
        let shape = self.shape(a);
        let rank = shape.len();
        if rank < 2 || shape[rank - 1] != shape[rank - 2] {
            let problem = format!("{} does not end in a square matrix", axes_text(shape));
            return Err(Error::Shape { op, problem, location });
        }
        if !self.dtype(a).is_float() {
            return Err(Error::DType { op, found: self.dtype(a), expected: "f32 or f64", location });
        }
        Ok((shape[..rank - 2].iter().product(), shape[rank - 1]))
    }
}

pub(super) fn jvp(tape: &mut Tape, node: &Node, y: Var, tangents: &[Option<Var>]) -> Result<Option<Var>> {
    let a = node.inputs[0];
    if let Op::LogDetSpd = node.op {
        // d log det A = tr(A^-1 dA).
        let Some(da) = tangents[0] else { return Ok(None) };
        let inverse = tape.inverse_spd(a)?;
        let product = tape.mul(inverse, da)?;
        let trace = tape.sum(product, &[1, 2])?;
        return tape.reshape(trace, &node.shape).map(Some);
    }
    // d(A^-1 b) = A^-1 (db - dA x).
    let moved = match tangents[0] {
        Some(da) => {
            let product = tape.matmul(da, y)?;
            Some(match tangents[1] {
                Some(db) => tape.sub(db, product)?,
                None => tape.neg(product)?,
            })
        }
        None => tangents[1],
    };
    moved.map(|right| tape.solve_spd(a, right)).transpose()
}

pub(super) fn transpose(
    tape: &mut Tape,
    node: &Node,
    cotangent: Var,
    linear: &[bool],
) -> Result<Option<Vec<Option<Var>>>> {
    match node.op {
        Op::SolveSpd if !linear[0] => Ok(Some(vec![None, Some(tape.solve_spd(node.inputs[0], cotangent)?)])),
        _ => Ok(None),
    }
}

pub(super) fn batch(tape: &mut Tape, node: &Node, inputs: &[(Var, bool)], size: usize) -> Result<Var> {
    let a = inputs[0].0;
    let n = tape.shape(node.inputs[0])[2];
    let batch = node.shape[0];
    if let Op::LogDetSpd = node.op {
        return tape.log_det_spd(a);
    }
    let (b, k) = (inputs[1].0, node.shape[2]);
    if inputs[0].1 {
        let b = if inputs[1].1 { b } else { tape.broadcast_to(b, &[size, batch, n, k])? };
        return tape.solve_spd(a, b);
    }
    // One factorisation, more right-hand sides.
    let columns = tape.permute(b, &[1, 2, 0, 3])?;
    let columns = tape.reshape(columns, &[batch, n, size * k])?;
    let solution = tape.solve_spd(a, columns)?;
    let split = tape.reshape(solution, &[batch, n, size, k])?;
    tape.permute(split, &[2, 0, 1, 3])
}
