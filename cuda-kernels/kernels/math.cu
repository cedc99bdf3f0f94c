// Scalar functions of generated loops. A paragraph begins with its name and defines one function for all types that have it.

// add: x + y, never joined with a product into one rounding: a loop has the same bits whatever else is computed beside it.
inline __device__ float math_add(float x, float y) { return __fadd_rn(x, y); }
inline __device__ double math_add(double x, double y) { return __dadd_rn(x, y); }
inline __device__ u32 math_add(u32 x, u32 y) { return x + y; }

// sub: x - y, likewise.
inline __device__ float math_sub(float x, float y) { return __fsub_rn(x, y); }
inline __device__ double math_sub(double x, double y) { return __dsub_rn(x, y); }
inline __device__ u32 math_sub(u32 x, u32 y) { return x - y; }

// mul: x y, never joined with a sum into one rounding: x y - x y is 0.
inline __device__ float math_mul(float x, float y) { return __fmul_rn(x, y); }
inline __device__ double math_mul(double x, double y) { return __dmul_rn(x, y); }
inline __device__ u32 math_mul(u32 x, u32 y) { return x * y; }

// div: x / y; of integers 0 where y is 0.
inline __device__ float math_div(float x, float y) { return x / y; }
inline __device__ double math_div(double x, double y) { return x / y; }
inline __device__ u32 math_div(u32 x, u32 y) { return y == 0u ? 0u : x / y; }

// max: the larger, the first where equal; not a number if either is not.
template <typename T> inline __device__ T math_max(T x, T y) { return x >= y || x != x ? x : y; }

// min: the smaller, the first where equal; not a number if either is not.
template <typename T> inline __device__ T math_min(T x, T y) { return x <= y || x != x ? x : y; }

// exp: e^x.
inline __device__ float math_exp(float x) { return expf(x); }
inline __device__ double math_exp(double x) { return exp(x); }

// expm1: e^x - 1, accurate near 0.
inline __device__ float math_expm1(float x) { return expm1f(x); }
inline __device__ double math_expm1(double x) { return expm1(x); }

// ln: natural logarithm.
inline __device__ float math_ln(float x) { return logf(x); }
inline __device__ double math_ln(double x) { return log(x); }

// log1p: ln(1 + x), accurate near 0.
inline __device__ float math_log1p(float x) { return log1pf(x); }
inline __device__ double math_log1p(double x) { return log1p(x); }

// sqrt: square root, correctly rounded.
inline __device__ float math_sqrt(float x) { return sqrtf(x); }
inline __device__ double math_sqrt(double x) { return sqrt(x); }

// tanh: hyperbolic tangent.
inline __device__ float math_tanh(float x) { return tanhf(x); }
inline __device__ double math_tanh(double x) { return tanh(x); }

// sigmoid: 1 / (1 + e^-x), without overflow.
inline __device__ float math_sigmoid(float x) {
    const float e = expf(-fabsf(x));
    return (x >= 0.0f ? 1.0f : e) / __fadd_rn(1.0f, e);
}
inline __device__ double math_sigmoid(double x) {
    const double e = exp(-fabs(x));
    return (x >= 0.0 ? 1.0 : e) / __dadd_rn(1.0, e);
}

// softplus: ln(1 + e^x), without overflow.
inline __device__ float math_softplus(float x) { return __fadd_rn(x > 0.0f ? x : 0.0f, log1pf(expf(-fabsf(x)))); }
inline __device__ double math_softplus(double x) { return __dadd_rn(x > 0.0 ? x : 0.0, log1p(exp(-fabs(x)))); }

// sin: sine.
inline __device__ float math_sin(float x) { return sinf(x); }
inline __device__ double math_sin(double x) { return sin(x); }

// cos: cosine.
inline __device__ float math_cos(float x) { return cosf(x); }
inline __device__ double math_cos(double x) { return cos(x); }

// abs: magnitude.
inline __device__ float math_abs(float x) { return fabsf(x); }
inline __device__ double math_abs(double x) { return fabs(x); }

// sign: -1, 0 or 1; 0 of what is not a number.
template <typename T> inline __device__ T math_sign(T x) { return (T)(x > (T)0) - (T)(x < (T)0); }

// relu: max(x, 0); what is not a number stays so.
template <typename T> inline __device__ T math_relu(T x) { return x <= (T)0 ? (T)0 : x; }

// step: 1 where x > 0, else 0.
template <typename T> inline __device__ T math_step(T x) { return (T)(x > (T)0); }

// elu: x where x > 0, else e^x - 1.
inline __device__ float math_elu(float x) { return x > 0.0f ? x : expm1f(x); }
inline __device__ double math_elu(double x) { return x > 0.0 ? x : expm1(x); }

// float_bits: the number that has these bits.
inline __device__ float float_bits(u32 bits) { return __uint_as_float(bits); }

// double_bits: the number that has these bits.
inline __device__ double double_bits(u64 bits) { return __longlong_as_double((long long)bits); }
