//! Elementwise maps: the table of scalar functions and their derivatives, arithmetic, comparisons, selection.

use super::{axes_text, broadcast_shape, check_shape};
use crate::op::{Binary, Unary};
use crate::{Error, Node, Op, Result, Tape, Var};
use std::panic::Location;

macro_rules! unary_builders {
    ($($(#[$doc:meta])* $name:ident => $function:ident;)*) => {
        impl Tape {
            $($(#[$doc])*
            #[track_caller]
            pub fn $name(&mut self, a: Var) -> Result<Var> {
                self.unary(Unary::$function, a)
            })*
        }
    };
}

unary_builders! {
    /// -a.
    neg => Neg;
    /// e^a.
    exp => Exp;
    /// e^a - 1, accurate near 0.
    expm1 => Expm1;
    /// Natural logarithm.
    ln => Ln;
    /// ln(1 + a), accurate near 0.
    log1p => Log1p;
    /// Square root.
    sqrt => Sqrt;
    /// 1 / a.
    reciprocal => Reciprocal;
    /// a^2.
    square => Square;
    /// Hyperbolic tangent.
    tanh => Tanh;
    /// 1 / (1 + e^-a).
    sigmoid => Sigmoid;
    /// ln(1 + e^a), without overflow.
    softplus => Softplus;
    /// Sine.
    sin => Sin;
    /// Cosine.
    cos => Cos;
    /// Absolute value; derivative 0 at 0.
    abs => Abs;
    /// -1, 0 or 1; derivative 0.
    sign => Sign;
    /// max(a, 0); derivative 0 at 0.
    relu => Relu;
    /// 1 where a > 0, else 0; derivative 0.
    step => Step;
    /// a where a > 0, else e^a - 1 (Clevert et al. 2016); derivative 1 at 0.
    elu => Elu;
}

macro_rules! binary_builders {
    ($($(#[$doc:meta])* $name:ident => $function:ident;)*) => {
        impl Tape {
            $($(#[$doc])*
            ///
            /// Operands of different shapes are broadcast: trailing axes are matched, axes of length 1 repeat.
            #[track_caller]
            pub fn $name(&mut self, a: Var, b: Var) -> Result<Var> {
                self.binary(Binary::$function, a, b)
            })*
        }
    };
}

binary_builders! {
    /// a + b.
    add => Add;
    /// a - b.
    sub => Sub;
    /// a b, element by element.
    mul => Mul;
    /// a / b.
    div => Div;
    /// The larger of a and b; the derivative goes to a where equal.
    maximum => Max;
    /// The smaller of a and b; the derivative goes to a where equal.
    minimum => Min;
    /// 1 where a > b, else 0.
    greater => Greater;
    /// 1 where a >= b, else 0.
    greater_equal => GreaterEqual;
    /// 1 where a = b, else 0.
    equal => Equal;
}

impl Tape {
    /// A scalar function of every element.
    #[track_caller]
    pub fn unary(&mut self, function: Unary, a: Var) -> Result<Var> {
        let location = Location::caller();
        self.operands(function.name(), &[a], location)?;
        let (shape, dtype) = (self.shape(a).to_vec(), self.dtype(a));
        if !dtype.is_float() {
            return Err(Error::DType { op: function.name(), found: dtype, expected: "f32 or f64", location });
        }
        self.record(Op::Unary(function), vec![a], shape, dtype, location)
    }

    /// A scalar function of pairs of elements, after broadcasting.
    #[track_caller]
    pub fn binary(&mut self, function: Binary, a: Var, b: Var) -> Result<Var> {
        let location = Location::caller();
        let operands = self.broadcast(function.name(), &[a, b], location)?;
        let (shape, dtype) = (self.shape(operands[0]).to_vec(), self.dtype(a));
        self.record(Op::Binary(function), operands, shape, dtype, location)
    }

    /// a where the mask is not zero, else b. Broadcasts all three.
    #[track_caller]
    pub fn select(&mut self, mask: Var, a: Var, b: Var) -> Result<Var> {
        let location = Location::caller();
        let operands = self.broadcast("select", &[mask, a, b], location)?;
        let (shape, dtype) = (self.shape(operands[0]).to_vec(), self.dtype(a));
        self.record(Op::Select, operands, shape, dtype, location)
    }

    /// factor a.
    #[track_caller]
    pub fn scale(&mut self, a: Var, factor: f64) -> Result<Var> {
        self.own(&[a])?;
        let factor = self.constant(factor, &[], self.dtype(a));
        self.mul(a, factor)
    }

    /// a + term, for a number.
    #[track_caller]
    pub fn add_scalar(&mut self, a: Var, term: f64) -> Result<Var> {
        self.own(&[a])?;
        let term = self.constant(term, &[], self.dtype(a));
        self.add(a, term)
    }

    /// Zeros of the shape and type of a variable.
    ///
    /// # Panics
    /// If the variable belongs to another tape.
    #[track_caller]
    pub fn zeros_like(&mut self, a: Var) -> Var {
        let (shape, dtype) = (self.shape(a).to_vec(), self.dtype(a));
        self.constant(0.0, &shape, dtype)
    }

    fn broadcast(&mut self, op: &'static str, vars: &[Var], location: &'static Location<'static>) -> Result<Vec<Var>> {
        self.operands(op, vars, location)?;
        let dtype = self.dtype(vars[0]);
        let mut shape = self.shape(vars[0]).to_vec();
        for &v in vars {
            if self.dtype(v) != dtype || !dtype.is_float() {
                let found = self.dtype(v);
                let expected = if dtype.is_float() { "the first operand's type" } else { "f32 or f64" };
                return Err(Error::DType { op, found, expected, location });
            }
            shape = broadcast_shape(&shape, self.shape(v)).ok_or_else(|| Error::Shape {
                op,
                problem: format!(
                    "shapes {} do not broadcast: trailing axes must be equal or 1",
                    vars.iter().map(|&v| axes_text(self.shape(v))).collect::<Vec<_>>().join(" and ")
                ),
                location,
            })?;
        }
        check_shape(op, &shape, location)?;
        vars.iter().map(|&v| self.broadcast_at(v, &shape, location)).collect()
    }
}

/// Derivative of a scalar function times the tangent: dy = f'(x) dx. `None` where it is zero everywhere.
fn unary_jvp(tape: &mut Tape, function: Unary, x: Var, y: Var, dx: Var) -> Result<Option<Var>> {
    let factor = match function {
        Unary::Neg => return tape.neg(dx).map(Some),
        Unary::Sign | Unary::Step => return Ok(None),
        Unary::Ln => return tape.div(dx, x).map(Some),
        Unary::Exp => y,
        Unary::Expm1 => tape.add_scalar(y, 1.0)?,
        Unary::Log1p => {
            let denominator = tape.add_scalar(x, 1.0)?;
            return tape.div(dx, denominator).map(Some);
        }
        Unary::Sqrt => {
            let half = tape.scale(dx, 0.5)?;
            return tape.div(half, y).map(Some);
        }
        Unary::Reciprocal => {
            let square = tape.square(y)?;
            tape.neg(square)?
        }
        Unary::Square => tape.scale(x, 2.0)?,
        Unary::Tanh => {
            let square = tape.square(y)?;
            let minus = tape.neg(square)?;
            tape.add_scalar(minus, 1.0)?
        }
        Unary::Sigmoid => {
            let minus = tape.neg(y)?;
            let complement = tape.add_scalar(minus, 1.0)?;
            tape.mul(y, complement)?
        }
        Unary::Softplus => tape.sigmoid(x)?,
        Unary::Sin => tape.cos(x)?,
        Unary::Cos => {
            let sine = tape.sin(x)?;
            tape.neg(sine)?
        }
        Unary::Abs => tape.sign(x)?,
        Unary::Relu => tape.step(x)?,
        // From the value itself, so that no second exponential is needed: e^x = elu(x) + 1 for x <= 0.
        Unary::Elu => {
            let zero = tape.constant(0.0, &[], tape.dtype(y));
            let negative_part = tape.minimum(y, zero)?;
            tape.add_scalar(negative_part, 1.0)?
        }
    };
    tape.mul(dx, factor).map(Some)
}

pub(super) fn jvp(tape: &mut Tape, node: &Node, y: Var, tangents: &[Option<Var>]) -> Result<Option<Var>> {
    let inputs = &node.inputs;
    match node.op {
        Op::Unary(function) => match tangents[0] {
            Some(dx) => unary_jvp(tape, function, inputs[0], y, dx),
            None => Ok(None),
        },
        Op::Binary(function) => binary_jvp(tape, function, inputs[0], inputs[1], y, tangents[0], tangents[1]),
        _ => {
            // Select: the mask is a comparison, its tangent has no effect.
            if tangents[1].is_none() && tangents[2].is_none() {
                return Ok(None);
            }
            let zero = tape.zeros_like(y);
            tape.select(inputs[0], tangents[1].unwrap_or(zero), tangents[2].unwrap_or(zero)).map(Some)
        }
    }
}

fn binary_jvp(
    tape: &mut Tape,
    function: Binary,
    a: Var,
    b: Var,
    y: Var,
    da: Option<Var>,
    db: Option<Var>,
) -> Result<Option<Var>> {
    let (left, right) = match function {
        Binary::Greater | Binary::GreaterEqual | Binary::Equal => (None, None),
        Binary::Add => (da, db),
        Binary::Sub => match (da, db) {
            (Some(da), Some(db)) => return tape.sub(da, db).map(Some),
            (da, db) => (da, db.map(|d| tape.neg(d)).transpose()?),
        },
        Binary::Mul => (da.map(|d| tape.mul(d, b)).transpose()?, db.map(|d| tape.mul(a, d)).transpose()?),
        Binary::Div => {
            let right = match db {
                Some(db) => {
                    let slope = tape.div(y, b)?;
                    let part = tape.mul(slope, db)?;
                    Some(tape.neg(part)?)
                }
                None => None,
            };
            (da.map(|d| tape.div(d, b)).transpose()?, right)
        }
        Binary::Max | Binary::Min => {
            if da.is_none() && db.is_none() {
                return Ok(None);
            }
            let mask = match function {
                Binary::Max => tape.greater_equal(a, b)?,
                _ => tape.greater_equal(b, a)?,
            };
            let zero = tape.zeros_like(y);
            return tape.select(mask, da.unwrap_or(zero), db.unwrap_or(zero)).map(Some);
        }
    };
    match (left, right) {
        (Some(left), Some(right)) => tape.add(left, right).map(Some),
        (left, right) => Ok(left.or(right)),
    }
}

/// Transposes of the maps that are linear in the marked operands; `None` if this one is not.
pub(super) fn transpose(
    tape: &mut Tape,
    node: &Node,
    cotangent: Var,
    linear: &[bool],
) -> Result<Option<Vec<Option<Var>>>> {
    let inputs = &node.inputs;
    let pair = |a: Option<Var>, b: Option<Var>| Ok(Some(vec![a, b]));
    match node.op {
        Op::Unary(Unary::Neg) => Ok(Some(vec![Some(tape.neg(cotangent)?)])),
        Op::Binary(Binary::Add) => pair(linear[0].then_some(cotangent), linear[1].then_some(cotangent)),
        Op::Binary(Binary::Sub) => {
            let right = if linear[1] { Some(tape.neg(cotangent)?) } else { None };
            pair(linear[0].then_some(cotangent), right)
        }
        Op::Binary(Binary::Mul) if linear[0] != linear[1] => {
            if linear[0] {
                let left = tape.mul(cotangent, inputs[1])?;
                pair(Some(left), None)
            } else {
                let right = tape.mul(inputs[0], cotangent)?;
                pair(None, Some(right))
            }
        }
        Op::Binary(Binary::Div) if linear[0] && !linear[1] => {
            let left = tape.div(cotangent, inputs[1])?;
            pair(Some(left), None)
        }
        Op::Select if !linear[0] => {
            let zero = tape.zeros_like(cotangent);
            let a = if linear[1] { Some(tape.select(inputs[0], cotangent, zero)?) } else { None };
            let b = if linear[2] { Some(tape.select(inputs[0], zero, cotangent)?) } else { None };
            Ok(Some(vec![None, a, b]))
        }
        _ => Ok(None),
    }
}

/// The same map on operands that all carry the batch axis in front.
pub(super) fn batch(tape: &mut Tape, node: &Node, inputs: &[Var]) -> Result<Var> {
    match node.op {
        Op::Unary(function) => tape.unary(function, inputs[0]),
        Op::Binary(function) => tape.binary(function, inputs[0], inputs[1]),
        _ => tape.select(inputs[0], inputs[1], inputs[2]),
    }
}
