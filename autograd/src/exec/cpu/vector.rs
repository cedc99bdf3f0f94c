//! Vector registers of the element types.

use super::scalar::Scalar;
use pulp::{Simd, WithSimd};

/// Types with vector registers.
pub(crate) trait Vector: Scalar {
    /// A register.
    type Register<S: Simd>: Copy;
    /// The value in all lanes.
    fn splat<S: Simd>(simd: S, value: Self) -> Self::Register<S>;
    /// a + b.
    fn plus<S: Simd>(simd: S, a: Self::Register<S>, b: Self::Register<S>) -> Self::Register<S>;
    /// a - b.
    fn minus<S: Simd>(simd: S, a: Self::Register<S>, b: Self::Register<S>) -> Self::Register<S>;
    /// c + a b with one rounding.
    fn add_product<S: Simd>(
        simd: S,
        a: Self::Register<S>,
        b: Self::Register<S>,
        c: Self::Register<S>,
    ) -> Self::Register<S>;
    /// c - a b with one rounding.
    fn less_product<S: Simd>(
        simd: S,
        a: Self::Register<S>,
        b: Self::Register<S>,
        c: Self::Register<S>,
    ) -> Self::Register<S>;
    /// The first `count` of the elements at an address; zeros in the other lanes.
    ///
    /// # Safety
    /// So many elements can be read.
    unsafe fn read_first<S: Simd>(simd: S, from: *const Self, count: usize) -> Self::Register<S>;
    /// Sum of all lanes.
    fn sum<S: Simd>(simd: S, a: Self::Register<S>) -> Self;
}

macro_rules! vector {
    ($real:ident, $register:ident, $splat:ident, $plus:ident, $minus:ident, $add_product:ident, $less_product:ident, $sum:ident, $between:ident, $read:ident) => {
        impl Vector for $real {
            type Register<S: Simd> = S::$register;
            #[inline(always)]
            fn splat<S: Simd>(simd: S, value: Self) -> S::$register {
                simd.$splat(value)
            }
            #[inline(always)]
            fn plus<S: Simd>(simd: S, a: S::$register, b: S::$register) -> S::$register {
                simd.$plus(a, b)
            }
            #[inline(always)]
            fn minus<S: Simd>(simd: S, a: S::$register, b: S::$register) -> S::$register {
                simd.$minus(a, b)
            }
            #[inline(always)]
            fn add_product<S: Simd>(simd: S, a: S::$register, b: S::$register, c: S::$register) -> S::$register {
                simd.$add_product(a, b, c)
            }
            #[inline(always)]
            fn less_product<S: Simd>(simd: S, a: S::$register, b: S::$register, c: S::$register) -> S::$register {
                simd.$less_product(a, b, c)
            }
            #[inline(always)]
            unsafe fn read_first<S: Simd>(simd: S, from: *const Self, count: usize) -> S::$register {
                // SAFETY: the caller's promise.
                unsafe { simd.$read(simd.$between(0, count as _), from) }
            }
            #[inline(always)]
            fn sum<S: Simd>(simd: S, a: S::$register) -> Self {
                simd.$sum(a)
            }
        }
    };
}
vector!(
    f32,
    f32s,
    splat_f32s,
    add_f32s,
    sub_f32s,
    mul_add_f32s,
    negate_mul_add_f32s,
    reduce_sum_f32s,
    mask_between_m32s,
    mask_load_ptr_f32s
);
vector!(
    f64,
    f64s,
    splat_f64s,
    add_f64s,
    sub_f64s,
    mul_add_f64s,
    negate_mul_add_f64s,
    reduce_sum_f64s,
    mask_between_m64s,
    mask_load_ptr_f64s
);

/// Elements that one register holds.
pub(crate) const fn lanes<T: Vector, S: Simd>() -> usize {
    size_of::<T::Register<S>>() / size_of::<T>()
}

/// Asks an instruction set for its [`lanes`].
pub(crate) struct Lanes<T>(pub(crate) std::marker::PhantomData<T>);

impl<T: Vector> WithSimd for Lanes<T> {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> usize {
        lanes::<T, S>()
    }
}
