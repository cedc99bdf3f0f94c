//! Elementary functions without branches or calls, so that loops over them become vector code.
//!
//! The reductions are the standard ones (Muller, "Elementary Functions", 3rd edition, 2016, chapters 5 and 11): exp(x) = 2^k exp(r)
//! with |r| <= ln(2)/2; ln(x) = k ln(2) + ln(1+f) with 1+f in [sqrt(1/2), sqrt(2)) and ln(1+f) = 2 atanh(f / (2+f)). Truncated Taylor series are
//! enough on these intervals. Every step is an IEEE operation or a fused multiply-add, so all machines give the same bits.

/// Functions of one real type that loops call.
pub(crate) trait Real: Copy {
    /// e^x.
    fn exp(self) -> Self;
    /// e^x - 1, accurate near 0.
    fn expm1(self) -> Self;
    /// Natural logarithm.
    fn ln(self) -> Self;
    /// ln(1 + x), accurate near 0.
    fn log1p(self) -> Self;
    /// Hyperbolic tangent.
    fn tanh(self) -> Self;
    /// 1 / (1 + e^-x).
    fn sigmoid(self) -> Self;
    /// ln(1 + e^x).
    fn softplus(self) -> Self;
    /// (sin, cos) of 2 pi u for u in [0, 1].
    fn sin_cos_turn(self) -> (Self, Self);
}

/// `coefficients[0] + z (coefficients[1] + z (...))`.
macro_rules! horner {
    ($z:expr, $coefficients:expr) => {{
        let coefficients = $coefficients;
        let mut sum = coefficients[coefficients.len() - 1];
        let mut k = coefficients.len() - 1;
        while k > 0 {
            k -= 1;
            sum = sum.mul_add($z, coefficients[k]);
        }
        sum
    }};
}

macro_rules! real {
    ($real:ident, $constants:ident) => {
        impl Real for $real {
            #[inline(always)]
            fn exp(self) -> Self {
                use $constants::*;
                // Beyond these bounds the result is infinite or zero anyway; comparisons let NaN through.
                let x = if self > EXP_MAX { EXP_MAX } else { self };
                let x = if x < EXP_MIN { EXP_MIN } else { x };
                let (k, p) = reduced_expm1(x);
                // 2^k in two factors: k alone may leave the range of normal exponents.
                let half = (k * 0.5 + ROUNDER) - ROUNDER;
                (1.0 + p) * power_of_two(half) * power_of_two(k - half)
            }

            #[inline(always)]
            fn expm1(self) -> Self {
                use $constants::*;
                let x = if self > EXP_MAX { EXP_MAX } else { self };
                let x = if x < EXPM1_MIN { EXPM1_MIN } else { x };
                let (k, p) = reduced_expm1(x);
                // 2^k p + (2^k - 1), halved so that 2^k does not overflow.
                let h = power_of_two(k - 1.0);
                2.0 * h.mul_add(p, h - 0.5)
            }

            #[inline(always)]
            fn ln(self) -> Self {
                use $constants::*;
                let small = self < $real::MIN_POSITIVE;
                let x = if small { self * SUBNORMAL_SCALE } else { self };
                let y = scaled_ln(x, if small { SUBNORMAL_EXPONENT } else { 0.0 }, 0.0);
                let y = if self == $real::INFINITY { self } else { y };
                let y = if self == 0.0 { $real::NEG_INFINITY } else { y };
                if self >= 0.0 { y } else { $real::NAN }
            }

            #[inline(always)]
            fn log1p(self) -> Self {
                use $constants::*;
                let u = 1.0 + self;
                // The part of x lost in u, exactly (Knuth's two-sum).
                let back = u - 1.0;
                let lost = (1.0 - (u - back)) + (self - back);
                let y = scaled_ln(u, 0.0, lost / u);
                let y = if self == $real::INFINITY { self } else { y };
                let y = if self == -1.0 { $real::NEG_INFINITY } else { y };
                if self >= -1.0 { y } else { $real::NAN }
            }

            #[inline(always)]
            fn tanh(self) -> Self {
                let t = Real::expm1(-2.0 * self.abs());
                (-t / (2.0 + t)).copysign(self)
            }

            #[inline(always)]
            fn sigmoid(self) -> Self {
                let e = Real::exp(-self.abs());
                (if self >= 0.0 { 1.0 } else { e }) / (1.0 + e)
            }

            #[inline(always)]
            fn softplus(self) -> Self {
                (if self > 0.0 { self } else { 0.0 }) + Real::log1p(Real::exp(-self.abs()))
            }

            #[inline(always)]
            fn sin_cos_turn(self) -> (Self, Self) {
                use $constants::*;
                let shifted = self.mul_add(4.0, ROUNDER);
                let quadrant = shifted.to_bits();
                // Exact: u and the nearest quarter differ by at most 1/8.
                let angle = (self - (shifted - ROUNDER) * 0.25) * TURN;
                let z = angle * angle;
                let sine = angle + angle * (z * horner!(z, SIN));
                let cosine = 1.0 + z * horner!(z, COS);
                let swap = quadrant & 1 == 1;
                let s = if swap { cosine } else { sine };
                let c = if swap { sine } else { cosine };
                (
                    if quadrant & 2 == 2 { -s } else { s },
                    if (quadrant + 1) & 2 == 2 { -c } else { c },
                )
            }
        }
    };
}

macro_rules! reductions {
    ($real:ident, $bits:ident) => {
        pub(super) const BIAS: $bits = ($real::MAX_EXP - 1) as $bits;
        pub(super) const DIGITS: u32 = $real::MANTISSA_DIGITS - 1;
        /// Adding 1.5 2^DIGITS rounds to an integer and leaves it in the low bits.
        pub(super) const ROUNDER: $real = 1.5 * (1u64 << DIGITS) as $real;
        pub(super) const SUBNORMAL_EXPONENT: $real = -((DIGITS + 2) as $real);
        pub(super) const SUBNORMAL_SCALE: $real = (1u64 << (DIGITS + 2)) as $real;
        pub(super) const TURN: $real = std::$real::consts::TAU;

        /// 2^k for an integer k with 2^k normal.
        #[inline(always)]
        pub(super) fn power_of_two(k: $real) -> $real {
            $real::from_bits((k + ROUNDER).to_bits().wrapping_add(BIAS) << DIGITS)
        }

        /// (k, e^r - 1) with x = k ln 2 + r.
        #[inline(always)]
        pub(super) fn reduced_expm1(x: $real) -> ($real, $real) {
            let k = x.mul_add(std::$real::consts::LOG2_E, ROUNDER) - ROUNDER;
            let r = (-k).mul_add(LN_2_HIGH, x);
            let tail = k * LN_2_LOW;
            let s = r - tail;
            // What rounding r - tail lost; it matters where k is small and the result is not dominated by 2^k.
            let lost = (r - s) - tail;
            let q = horner!(s, EXP);
            (k, s + (s * s).mul_add(q, lost))
        }

        /// ln(x) + (exponent) ln 2 + correction, for a positive normal x.
        #[inline(always)]
        pub(super) fn scaled_ln(x: $real, exponent: $real, correction: $real) -> $real {
            const ROOT_HALF: $bits = (std::$real::consts::FRAC_1_SQRT_2).to_bits();
            // x = 2^k m with m in [sqrt(1/2), sqrt(2)), by integer arithmetic on the exponent field; `e` is k + BIAS + 1.
            let bits = x.to_bits();
            let e = bits.wrapping_add(((BIAS + 1) << DIGITS) - ROOT_HALF) >> DIGITS;
            let m = $real::from_bits(bits.wrapping_sub(e.wrapping_sub(BIAS + 1) << DIGITS));
            const OFFSET: $real = (1u64 << DIGITS) as $real;
            let k = $real::from_bits(OFFSET.to_bits() | e) - (OFFSET + (BIAS + 1) as $real) + exponent;
            let f = m - 1.0;
            let s = f / (2.0 + f);
            let z = s * s;
            let p = z * horner!(z, ATANH);
            // 2 atanh(s) = f - s (f - p): the rounding error of s is damped by f - p.
            let small = s * (f - p) - k.mul_add(LN_2_LOW, correction);
            k * LN_2_HIGH + (f - small)
        }
    };
}


mod double {
    pub(super) const EXP_MAX: f64 = 710.0;
    pub(super) const EXP_MIN: f64 = -746.0;
    pub(super) const EXPM1_MIN: f64 = -40.0;
    /// ln 2 without its last 21 bits, so that its products with exponents are exact.
    pub(super) const LN_2_HIGH: f64 = f64::from_bits(0x3fe6_2e42_fee0_0000);
    pub(super) const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    /// 1/n! for n = 2, 3, ..
    pub(super) const EXP: [f64; 13] = [
        0.5,
        1.0 / 6.0,
        1.0 / 24.0,
        1.0 / 120.0,
        1.0 / 720.0,
        1.0 / 5040.0,
        1.0 / 40320.0,
        1.0 / 362880.0,
        1.0 / 3628800.0,
        1.0 / 39916800.0,
        1.0 / 479001600.0,
        1.0 / 6227020800.0,
        1.0 / 87178291200.0,
    ];
    /// 2/(2n+1) for n = 1, 2, ..
    pub(super) const ATANH: [f64; 10] = [
        2.0 / 3.0,
        2.0 / 5.0,
        2.0 / 7.0,
        2.0 / 9.0,
        2.0 / 11.0,
        2.0 / 13.0,
        2.0 / 15.0,
        2.0 / 17.0,
        2.0 / 19.0,
        2.0 / 21.0,
    ];
    /// (-1)^n / (2n+1)! for n = 1, 2, ..
    pub(super) const SIN: [f64; 8] = [
        -1.0 / 6.0,
        1.0 / 120.0,
        -1.0 / 5040.0,
        1.0 / 362880.0,
        -1.0 / 39916800.0,
        1.0 / 6227020800.0,
        -1.0 / 1307674368000.0,
        1.0 / 355687428096000.0,
    ];
    /// (-1)^n / (2n)! for n = 1, 2, ..
    pub(super) const COS: [f64; 8] = [
        -0.5,
        1.0 / 24.0,
        -1.0 / 720.0,
        1.0 / 40320.0,
        -1.0 / 3628800.0,
        1.0 / 479001600.0,
        -1.0 / 87178291200.0,
        1.0 / 20922789888000.0,
    ];
    reductions!(f64, u64);
}


mod single {
    pub(super) const EXP_MAX: f32 = 89.0;
    pub(super) const EXP_MIN: f32 = -104.5;
    pub(super) const EXPM1_MIN: f32 = -20.0;
    /// ln 2 without its last 9 bits, so that its products with exponents are exact.
    pub(super) const LN_2_HIGH: f32 = f32::from_bits(0x3f31_7200);
    pub(super) const LN_2_LOW: f32 = 1.428_606_8e-6;
    /// 1/n! for n = 2, 3, ..
    pub(super) const EXP: [f32; 6] = [0.5, 1.0 / 6.0, 1.0 / 24.0, 1.0 / 120.0, 1.0 / 720.0, 1.0 / 5040.0];
    /// 2/(2n+1) for n = 1, 2, ..
    pub(super) const ATANH: [f32; 5] = [2.0 / 3.0, 2.0 / 5.0, 2.0 / 7.0, 2.0 / 9.0, 2.0 / 11.0];
    /// (-1)^n / (2n+1)! for n = 1, 2, ..
    pub(super) const SIN: [f32; 4] = [-1.0 / 6.0, 1.0 / 120.0, -1.0 / 5040.0, 1.0 / 362880.0];
    /// (-1)^n / (2n)! for n = 1, 2, ..
    pub(super) const COS: [f32; 5] = [-0.5, 1.0 / 24.0, -1.0 / 720.0, 1.0 / 40320.0, -1.0 / 3628800.0];
    reductions!(f32, u32);
}

real!(f64, double);
real!(f32, single);
