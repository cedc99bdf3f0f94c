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
    /// A function of the table, named by its entry.
    fn neg(self) -> Self;
    /// See `neg`.
    fn exp(self) -> Self;
    /// See `neg`.
    fn expm1(self) -> Self;
    /// See `neg`.
    fn ln(self) -> Self;
    /// See `neg`.
    fn log1p(self) -> Self;
    /// See `neg`.
    fn sqrt(self) -> Self;
    /// See `neg`.
    fn reciprocal(self) -> Self;
    /// See `neg`.
    fn square(self) -> Self;
    /// See `neg`.
    fn tanh(self) -> Self;
    /// See `neg`.
    fn sigmoid(self) -> Self;
    /// See `neg`.
    fn softplus(self) -> Self;
    /// See `neg`.
    fn sin(self) -> Self;
    /// See `neg`.
    fn cos(self) -> Self;
    /// See `neg`.
    fn abs(self) -> Self;
    /// See `neg`.
    fn sign(self) -> Self;
    /// See `neg`.
    fn relu(self) -> Self;
    /// See `neg`.
    fn step(self) -> Self;
    /// See `neg`.
    fn elu(self) -> Self;

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

    /// 1 where self is larger.
    #[inline(always)]
    fn greater(self, other: Self) -> Self {
        Self::truth(self > other)
    }

    /// 1 where self is not smaller.
    #[inline(always)]
    fn greater_equal(self, other: Self) -> Self {
        Self::truth(self >= other)
    }

    /// 1 where the two are equal.
    #[inline(always)]
    fn equal(self, other: Self) -> Self {
        Self::truth(self == other)
    }
}

/// Matches a function of one argument to its method: `$each!(method)`.
macro_rules! each_unary {
    ($f:expr, $each:ident) => {
        match $f {
            Unary::Neg => $each!(neg),
            Unary::Exp => $each!(exp),
            Unary::Expm1 => $each!(expm1),
            Unary::Ln => $each!(ln),
            Unary::Log1p => $each!(log1p),
            Unary::Sqrt => $each!(sqrt),
            Unary::Reciprocal => $each!(reciprocal),
            Unary::Square => $each!(square),
            Unary::Tanh => $each!(tanh),
            Unary::Sigmoid => $each!(sigmoid),
            Unary::Softplus => $each!(softplus),
            Unary::Sin => $each!(sin),
            Unary::Cos => $each!(cos),
            Unary::Abs => $each!(abs),
            Unary::Sign => $each!(sign),
            Unary::Relu => $each!(relu),
            Unary::Step => $each!(step),
            Unary::Elu => $each!(elu),
        }
    };
}

/// Matches a function of two arguments to its method.
macro_rules! each_binary {
    ($f:expr, $each:ident) => {
        match $f {
            Binary::Add => $each!(add),
            Binary::Sub => $each!(sub),
            Binary::Mul => $each!(mul),
            Binary::Div => $each!(div),
            Binary::Max => $each!(maximum),
            Binary::Min => $each!(minimum),
            Binary::Greater => $each!(greater),
            Binary::GreaterEqual => $each!(greater_equal),
            Binary::Equal => $each!(equal),
        }
    };
}

pub(crate) use {each_binary, each_unary};

/// A function of the table at one point.
#[inline(never)]
pub(crate) fn unary<T: Scalar>(f: Unary, x: T) -> T {
    macro_rules! at {
        ($method:ident) => {
            T::$method(x)
        };
    }
    each_unary!(f, at)
}

/// A function of the table at one point.
#[inline(never)]
pub(crate) fn binary<T: Scalar>(f: Binary, x: T, y: T) -> T {
    macro_rules! at {
        ($method:ident) => {
            T::$method(x, y)
        };
    }
    each_binary!(f, at)
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
            fn neg(self) -> Self {
                -self
            }
            #[inline(always)]
            fn exp(self) -> Self {
                Real::exp(self)
            }
            #[inline(always)]
            fn expm1(self) -> Self {
                Real::expm1(self)
            }
            #[inline(always)]
            fn ln(self) -> Self {
                Real::ln(self)
            }
            #[inline(always)]
            fn log1p(self) -> Self {
                Real::log1p(self)
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                $real::sqrt(self)
            }
            #[inline(always)]
            fn reciprocal(self) -> Self {
                1.0 / self
            }
            #[inline(always)]
            fn square(self) -> Self {
                self * self
            }
            #[inline(always)]
            fn tanh(self) -> Self {
                Real::tanh(self)
            }
            #[inline(always)]
            fn sigmoid(self) -> Self {
                Real::sigmoid(self)
            }
            #[inline(always)]
            fn softplus(self) -> Self {
                Real::softplus(self)
            }
            #[inline(always)]
            fn sin(self) -> Self {
                $real::sin(self)
            }
            #[inline(always)]
            fn cos(self) -> Self {
                $real::cos(self)
            }
            #[inline(always)]
            fn abs(self) -> Self {
                $real::abs(self)
            }
            #[inline(always)]
            fn sign(self) -> Self {
                Self::truth(self > 0.0) - Self::truth(self < 0.0)
            }
            #[inline(always)]
            fn relu(self) -> Self {
                // Written so that what is not a number stays so.
                if self <= 0.0 { 0.0 } else { self }
            }
            #[inline(always)]
            fn step(self) -> Self {
                Self::truth(self > 0.0)
            }
            #[inline(always)]
            fn elu(self) -> Self {
                let e = Real::expm1(if self > 0.0 { 0.0 } else { self });
                if self > 0.0 { self } else { e }
            }
        }
    };
}

float!(f32, F32);
float!(f64, F64);

/// Functions that integers do not have: loops with them are refused when they are compiled.
macro_rules! same {
    ($($method:ident),*) => {
        $(#[inline(always)]
        fn $method(self) -> Self {
            self
        })*
    };
}

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
    same!(
        neg, exp, expm1, ln, log1p, sqrt, reciprocal, square, tanh, sigmoid, softplus, sin, cos, abs, sign, relu, step,
        elu
    );
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
