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
                use $constants::*;
                let x = 2.0 * self.abs();
                let t = Real::expm1(if x > TANH_MAX { TANH_MAX } else { x });
                let d = t + 2.0;
                // What the sum lost: 2 - (d - t), or t - (d - 2) where t is the smaller.
                let lost = if t > 2.0 { 2.0 - (d - t) } else { t - (d - 2.0) };
                quotient(t, d, lost).copysign(self)
            }

            #[inline(always)]
            fn sigmoid(self) -> Self {
                use $constants::*;
                let e = Real::exp(-self.abs());
                let d = 1.0 + e;
                quotient(if self >= 0.0 { 1.0 } else { e }, d, e - (d - 1.0))
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
                (if quadrant & 2 == 2 { -s } else { s }, if (quadrant + 1) & 2 == 2 { -c } else { c })
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

        /// n / (d + lost) with one rounding.
        #[inline(always)]
        pub(super) fn quotient(n: $real, d: $real, lost: $real) -> $real {
            let inverse = 1.0 / d;
            let first = n * inverse;
            let rest = (-first).mul_add(d, n) - first * lost;
            rest.mul_add(inverse, first)
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
    /// Beyond, the hyperbolic tangent of half of it rounds to 1.
    pub(super) const TANH_MAX: f64 = 44.0;
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
    /// Beyond, the hyperbolic tangent of half of it rounds to 1.
    pub(super) const TANH_MAX: f32 = 20.0;
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

#[cfg(test)]
mod tests {
    use super::Real;

    /// Distance in units of the last place of the reference, which counts subnormals as equally spaced.
    fn ulps_f64(found: f64, right: f64) -> f64 {
        if found == right || (found.is_nan() && right.is_nan()) {
            return 0.0;
        }
        if !found.is_finite() || !right.is_finite() {
            // Overflow one unit early or late is an error of one unit.
            let limit = |x: f64| if x.is_infinite() { f64::MAX.copysign(x) } else { x };
            return ulps_f64(limit(found), limit(right)) + 1.0;
        }
        (found.to_bits() as i64 - right.to_bits() as i64).unsigned_abs() as f64
    }

    /// The same for single precision against a reference in double precision, in fractions of a unit.
    fn ulps_f32(found: f32, right: f64) -> f64 {
        let nearest = right as f32;
        if found == nearest || (found.is_nan() && right.is_nan()) {
            return 0.0;
        }
        if !found.is_finite() || !nearest.is_finite() {
            return if found.abs().max(nearest.abs()) >= f32::MAX && found.abs().min(nearest.abs()) >= f32::MAX {
                1.0
            } else {
                f64::INFINITY
            };
        }
        let unit = f64::from(f32::from_bits(nearest.abs().to_bits() + 1)) - f64::from(nearest.abs());
        (f64::from(found) - right).abs() / unit
    }

    /// Points over the whole range: geometric in magnitude with both signs, dense where functions bend, and the special ones.
    fn points() -> impl Iterator<Item = f64> {
        let geometric = (0..100_000).map(|i| {
            let exponent = -1070.0 + f64::from(i / 2) / 50_000.0 * 2090.0;
            let magnitude = exponent.floor().exp2() * (1.0 + exponent.fract());
            if i % 2 == 0 { magnitude } else { -magnitude }
        });
        let dense = (0..300_000).map(|i| (f64::from(i) + 0.37) / 300_000.0 * 80.0 - 40.0);
        let wide = (0..100_000).map(|i| (f64::from(i) + 0.21) / 100_000.0 * 1500.0 - 750.0);
        let unit = (0..200_000).map(|i| (f64::from(i) + 0.59) / 200_000.0 * 4.0 - 1.0);
        let special = [
            0.0,
            -0.0,
            1.0,
            -1.0,
            f64::MIN_POSITIVE,
            5e-324,
            -5e-324,
            f64::MAX,
            f64::MIN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::NAN,
            709.782_712_893_384,
            709.782_712_893_385,
            -745.133_219_101_941_1,
            -745.133_219_101_941_3,
            -708.4,
            f64::EPSILON,
            1.0 - f64::EPSILON / 2.0,
            1.0 + f64::EPSILON,
        ];
        geometric.chain(dense).chain(wide).chain(unit).chain(special)
    }

    /// A number as the unevaluated sum of two (Dekker 1971), good for some 30 digits: the truth for functions that the standard library has
    /// not, or not well enough.
    #[derive(Clone, Copy)]
    struct Twofold(f64, f64);

    impl Twofold {
        fn sum(a: f64, b: f64) -> Self {
            let s = a + b;
            let back = s - a;
            Self(s, (a - (s - back)) + (b - back))
        }

        fn add(self, other: Self) -> Self {
            let Self(s, e) = Self::sum(self.0, other.0);
            Self::sum(s, e + self.1 + other.1)
        }

        fn mul(self, other: Self) -> Self {
            let p = self.0 * other.0;
            Self::sum(p, self.0.mul_add(other.0, -p) + (self.0 * other.1 + self.1 * other.0))
        }

        fn div(self, other: Self) -> Self {
            let q = self.0 / other.0;
            let rest = self.add(other.mul(Self(-q, 0.0)));
            Self::sum(q, rest.0 / other.0)
        }

        /// e^x for |x| < 700.
        fn exp(x: f64) -> Self {
            let k = (x * std::f64::consts::LOG2_E).round();
            let ln_2 = Self(std::f64::consts::LN_2, 2.319_046_813_846_299_6e-17);
            let r = Self(x, 0.0).add(ln_2.mul(Self(-k, 0.0))).mul(Self(1.0 / 256.0, 0.0));
            let mut sum = Self(1.0, 0.0);
            for n in (1..16).rev() {
                sum = Self(1.0, 0.0).add(sum.mul(r).div(Self(f64::from(n), 0.0)));
            }
            for _ in 0..8 {
                sum = sum.mul(sum);
            }
            sum.mul(Self(k.exp2(), 0.0))
        }
    }

    fn true_tanh(x: f64) -> f64 {
        if x.abs() < 1e-7 {
            return x - x * x * x / 3.0;
        }
        if x.abs() > 300.0 || x.is_nan() {
            return x.tanh();
        }
        let e = Twofold::exp(2.0 * x);
        e.add(Twofold(-1.0, 0.0)).div(e.add(Twofold(1.0, 0.0))).0
    }

    fn true_sigmoid(x: f64) -> f64 {
        if x.abs() > 690.0 || x.is_nan() {
            return if x > 0.0 { 1.0 } else { x.exp() };
        }
        Twofold(1.0, 0.0).div(Twofold::exp(-x).add(Twofold(1.0, 0.0))).0
    }

    #[track_caller]
    fn check(name: &str, double: fn(f64) -> f64, single: fn(f32) -> f32, right: fn(f64) -> f64) {
        let (mut worst, mut at) = (0.0, 0.0);
        for x in points() {
            let error = ulps_f64(double(x), right(x));
            if error > worst {
                (worst, at) = (error, x);
            }
        }
        assert!(
            worst <= 2.0,
            "{name} in double precision: {worst} units at {at:e}: {:e} for {:e}",
            double(at),
            right(at)
        );
        let (mut worst, mut at) = (0.0, 0.0);
        for x in points() {
            let x = x as f32;
            let error = ulps_f32(single(x), right(f64::from(x)));
            if error > worst {
                (worst, at) = (error, x);
            }
        }
        assert!(worst <= 2.0, "{name} in single precision: {worst} units at {at:e}: {:e}", single(at));
    }

    #[test]
    fn exp_is_within_two_units_everywhere() {
        check("exp", Real::exp, Real::exp, f64::exp);
    }

    #[test]
    fn expm1_is_within_two_units_everywhere() {
        check("expm1", Real::expm1, Real::expm1, f64::exp_m1);
    }

    #[test]
    fn ln_is_within_two_units_everywhere() {
        check("ln", Real::ln, Real::ln, f64::ln);
    }

    #[test]
    fn log1p_is_within_two_units_everywhere() {
        check("log1p", Real::log1p, Real::log1p, f64::ln_1p);
    }

    #[test]
    fn tanh_is_within_two_units_everywhere() {
        check("tanh", Real::tanh, Real::tanh, true_tanh);
    }

    #[test]
    fn sigmoid_is_within_two_units_everywhere() {
        check("sigmoid", Real::sigmoid, Real::sigmoid, true_sigmoid);
    }

    #[test]
    fn softplus_is_within_two_units_everywhere() {
        check("softplus", Real::softplus, Real::softplus, |x| {
            if x > 0.0 { x + (-x).exp().ln_1p() } else { x.exp().ln_1p() }
        });
    }

    #[test]
    fn sine_and_cosine_of_turns_are_right_to_rounding() {
        for i in 0..=1_000_000 {
            let u = f64::from(i) / 1_000_000.0;
            let (sin, cos) = u.sin_cos_turn();
            let angle = u * std::f64::consts::TAU;
            assert!((sin - angle.sin()).abs() < 1e-15 && (cos - angle.cos()).abs() < 1e-15, "{u}");
            let v = u as f32;
            let (sin, cos) = v.sin_cos_turn();
            let angle = f64::from(v) * std::f64::consts::TAU;
            assert!(
                (f64::from(sin) - angle.sin()).abs() < 1.5e-7 && (f64::from(cos) - angle.cos()).abs() < 1.5e-7,
                "{v}"
            );
        }
    }
}
