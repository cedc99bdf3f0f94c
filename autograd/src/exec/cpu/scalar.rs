//! The element types as Rust types: arithmetic of the loops, conversions.

use super::math::Real;
use crate::DType;
use crate::op::{Binary, Unary};

/// A type that loops compute in.
pub(crate) trait Scalar: Copy + Send + Sync + PartialOrd + 'static {
    /// The run-time tag.
    const DTYPE: DType;
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// The neutral element of the maximum.
    const LOWEST: Self;

    /// The nearest value.
    fn from_f64(x: f64) -> Self;
    /// Sum.
    fn add(self, other: Self) -> Self;
    /// Difference.
    fn sub(self, other: Self) -> Self;
    /// Product.
    fn mul(self, other: Self) -> Self;
    /// Quotient.
    fn div(self, other: Self) -> Self;
    /// A function of the table; loops match on the function outside, so it is a constant here.
    fn unary(f: Unary, x: Self) -> Self;

    /// The larger, the first where equal; not a number if either is not.
    #[inline(always)]
    fn maximum(self, other: Self) -> Self {
        // The second comparison is true for a `self` that is not a number.
        #[allow(clippy::eq_op)]
        if self >= other || self != self { self } else { other }
    }

    /// The smaller, the first where equal; not a number if either is not.
    #[inline(always)]
    fn minimum(self, other: Self) -> Self {
        #[allow(clippy::eq_op)]
        if self <= other || self != self { self } else { other }
    }

    /// 1 or 0.
    #[inline(always)]
    fn truth(condition: bool) -> Self {
        if condition { Self::ONE } else { Self::ZERO }
    }

    /// A function of the table; see `unary`.
    #[inline(always)]
    fn binary(f: Binary, x: Self, y: Self) -> Self {
        match f {
            Binary::Add => x.add(y),
            Binary::Sub => x.sub(y),
            Binary::Mul => x.mul(y),
            Binary::Div => x.div(y),
            Binary::Max => x.maximum(y),
            Binary::Min => x.minimum(y),
            Binary::Greater => Self::truth(x > y),
            Binary::GreaterEqual => Self::truth(x >= y),
            Binary::Equal => Self::truth(x == y),
        }
    }
}

macro_rules! float {
    ($real:ident, $dtype:ident) => {
        impl Scalar for $real {
            const DTYPE: DType = DType::$dtype;
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const LOWEST: Self = $real::NEG_INFINITY;

            #[inline(always)]
            fn from_f64(x: f64) -> Self {
                x as $real
            }
            #[inline(always)]
            fn add(self, other: Self) -> Self {
                self + other
            }
            #[inline(always)]
            fn sub(self, other: Self) -> Self {
                self - other
            }
            #[inline(always)]
            fn mul(self, other: Self) -> Self {
                self * other
            }
            #[inline(always)]
            fn div(self, other: Self) -> Self {
                self / other
            }
            #[inline(always)]
            fn unary(f: Unary, x: Self) -> Self {
                match f {
                    Unary::Neg => -x,
                    Unary::Exp => Real::exp(x),
                    Unary::Expm1 => Real::expm1(x),
                    Unary::Ln => Real::ln(x),
                    Unary::Log1p => Real::log1p(x),
                    Unary::Sqrt => x.sqrt(),
                    Unary::Reciprocal => 1.0 / x,
                    Unary::Square => x * x,
                    Unary::Tanh => Real::tanh(x),
                    Unary::Sigmoid => Real::sigmoid(x),
                    Unary::Softplus => Real::softplus(x),
                    Unary::Sin => x.sin(),
                    Unary::Cos => x.cos(),
                    Unary::Abs => x.abs(),
                    Unary::Sign => Self::truth(x > 0.0) - Self::truth(x < 0.0),
                    // Written so that what is not a number stays so.
                    Unary::Relu => {
                        if x <= 0.0 {
                            0.0
                        } else {
                            x
                        }
                    }
                    Unary::Step => Self::truth(x > 0.0),
                    Unary::Elu => {
                        let e = Real::expm1(if x > 0.0 { 0.0 } else { x });
                        if x > 0.0 { x } else { e }
                    }
                }
            }
        }
    };
}

float!(f32, F32);
float!(f64, F64);

impl Scalar for u32 {
    const DTYPE: DType = DType::U32;
    const ZERO: Self = 0;
    const ONE: Self = 1;
    const LOWEST: Self = 0;

    #[inline(always)]
    fn from_f64(x: f64) -> Self {
        x as u32
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.wrapping_add(other)
    }
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self.wrapping_sub(other)
    }
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        self.wrapping_mul(other)
    }
    #[inline(always)]
    fn div(self, other: Self) -> Self {
        self.checked_div(other).unwrap_or(0)
    }
    /// Loops with scalar functions of integers are refused when they are compiled.
    #[inline(always)]
    fn unary(_: Unary, x: Self) -> Self {
        x
    }
}

/// Conversion between element types, as `as` does it.
pub(crate) trait Cast<T> {
    /// The converted value.
    fn cast(self) -> T;
}

macro_rules! cast {
    ($($from:ident => $($to:ident),*;)*) => {
        $($(impl Cast<$to> for $from {
            #[inline(always)]
            #[allow(clippy::unnecessary_cast)]
            fn cast(self) -> $to {
                self as $to
            }
        })*)*
    };
}

cast! {
    f32 => f32, f64, u32;
    f64 => f32, f64, u32;
    u32 => f32, f64, u32;
}
