//! The scalar functions, written from their definitions in f64.

use autograd::{Binary, Unary};

/// f(x).
pub fn unary(function: Unary, x: f64) -> f64 {
    match function {
        Unary::Neg => -x,
        Unary::Exp => x.exp(),
        Unary::Expm1 => x.exp_m1(),
        Unary::Ln => x.ln(),
        Unary::Log1p => x.ln_1p(),
        Unary::Sqrt => x.sqrt(),
        Unary::Reciprocal => 1.0 / x,
        Unary::Square => x * x,
        Unary::Tanh => x.tanh(),
        Unary::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Unary::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
        Unary::Sin => x.sin(),
        Unary::Cos => x.cos(),
        Unary::Abs => x.abs(),
        Unary::Sign if x > 0.0 => 1.0,
        Unary::Sign if x < 0.0 => -1.0,
        Unary::Sign => 0.0,
        Unary::Relu if x > 0.0 => x,
        Unary::Relu => 0.0,
        Unary::Step => indicator(x > 0.0),
        Unary::Elu if x > 0.0 => x,
        Unary::Elu => x.exp_m1(),
    }
}

/// f(a, b).
pub fn binary(function: Binary, a: f64, b: f64) -> f64 {
    match function {
        Binary::Add => a + b,
        Binary::Sub => a - b,
        Binary::Mul => a * b,
        Binary::Div => a / b,
        Binary::Max if b > a => b,
        Binary::Max => a,
        Binary::Min if b < a => b,
        Binary::Min => a,
        Binary::Greater => indicator(a > b),
        Binary::GreaterEqual => indicator(a >= b),
        Binary::Equal => indicator(a == b),
    }
}

/// 1 if true, else 0.
pub fn indicator(holds: bool) -> f64 {
    if holds { 1.0 } else { 0.0 }
}
