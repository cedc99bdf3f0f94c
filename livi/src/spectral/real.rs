//! The scalar of the vectors.

use std::fmt::Debug;

/// Scalar of the vectors a [`LinearMap`](super::LinearMap) works on: `f32` or `f64`.
///
/// Only vectors are stored in this type. Inner products, norms and every Krylov scalar are `f64`.
///
/// ```
/// use livi::spectral::Real;
/// assert_eq!(f32::from_f64(0.5).to_f64(), 0.5);
/// assert_eq!(<f64 as Real>::UNIT_ROUNDOFF, f64::EPSILON / 2.0);
/// ```
pub trait Real: Copy + Default + PartialEq + PartialOrd + Debug + Send + Sync + 'static {
    /// Largest relative error of rounding a number to this type.
    const UNIT_ROUNDOFF: f64;

    /// The number as `f64`, without error.
    fn to_f64(self) -> f64;

    /// The nearest number of this type.
    fn from_f64(value: f64) -> Self;

    /// Whether the number is neither infinite nor NaN.
    fn is_finite(self) -> bool;
}

impl Real for f32 {
    const UNIT_ROUNDOFF: f64 = f32::EPSILON as f64 / 2.0;

    #[inline(always)]
    fn to_f64(self) -> f64 {
        f64::from(self)
    }

    #[inline(always)]
    fn from_f64(value: f64) -> Self {
        value as f32
    }

    #[inline(always)]
    fn is_finite(self) -> bool {
        f32::is_finite(self)
    }
}

impl Real for f64 {
    const UNIT_ROUNDOFF: f64 = f64::EPSILON / 2.0;

    #[inline(always)]
    fn to_f64(self) -> f64 {
        self
    }

    #[inline(always)]
    fn from_f64(value: f64) -> Self {
        value
    }

    #[inline(always)]
    fn is_finite(self) -> bool {
        f64::is_finite(self)
    }
}
