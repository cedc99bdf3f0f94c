// Counter-based random numbers: Philox 4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011), and standard
// normals from them (Box and Muller 1958). The bits are those of the processor's executor: every operation that rounds is written out, so that no
// compiler contracts two of them to one. Set in front: DOUBLE (0 or 1), DISTRIBUTION (0 normal, 1 uniform, 2 Rademacher).

#if DOUBLE
typedef double real;
typedef u64 bits;
#define FMA __fma_rn
#define MUL __dmul_rn
#define ADD __dadd_rn
#define DIV __ddiv_rn
#define SQRT __dsqrt_rn
#define BITS(x) ((u64)__double_as_longlong(x))
#define REAL(x) __longlong_as_double((long long)(x))
#define DIGITS 52
#define BIAS 1023
#define ROUNDER 6755399441055744.0
#define LN_2_HIGH __longlong_as_double(0x3fe62e42fee00000ll)
#define LN_2_LOW 1.9082149292705877e-10
#define TURN 6.283185307179586476925
#define ROOT_HALF 0x3fe6a09e667f3bcdull
#define ATANH {2.0 / 3.0, 2.0 / 5.0, 2.0 / 7.0, 2.0 / 9.0, 2.0 / 11.0, 2.0 / 13.0, 2.0 / 15.0, 2.0 / 17.0, 2.0 / 19.0, 2.0 / 21.0}
#define SIN {-1.0 / 6.0, 1.0 / 120.0, -1.0 / 5040.0, 1.0 / 362880.0, -1.0 / 39916800.0, 1.0 / 6227020800.0, -1.0 / 1307674368000.0, 1.0 / 355687428096000.0}
#define COS {-0.5, 1.0 / 24.0, -1.0 / 720.0, 1.0 / 40320.0, -1.0 / 3628800.0, 1.0 / 479001600.0, -1.0 / 87178291200.0, 1.0 / 20922789888000.0}
#define TERMS_ATANH 10
#define TERMS_SIN 8
#define TERMS_COS 8
#else
typedef float real;
typedef u32 bits;
#define FMA __fmaf_rn
#define MUL __fmul_rn
#define ADD __fadd_rn
#define DIV __fdiv_rn
#define SQRT __fsqrt_rn
#define BITS(x) __float_as_uint(x)
#define REAL(x) __uint_as_float(x)
#define DIGITS 23
#define BIAS 127
#define ROUNDER 12582912.0f
#define LN_2_HIGH __uint_as_float(0x3f317200u)
#define LN_2_LOW 1.4286068e-6f
#define TURN 6.283185307179586476925f
#define ROOT_HALF 0x3f3504f3u
#define ATANH {2.0f / 3.0f, 2.0f / 5.0f, 2.0f / 7.0f, 2.0f / 9.0f, 2.0f / 11.0f}
#define SIN {-1.0f / 6.0f, 1.0f / 120.0f, -1.0f / 5040.0f, 1.0f / 362880.0f}
#define COS {-0.5f, 1.0f / 24.0f, -1.0f / 720.0f, 1.0f / 40320.0f, -1.0f / 3628800.0f}
#define TERMS_ATANH 5
#define TERMS_SIN 4
#define TERMS_COS 5
#endif

struct Words {
    u32 at[4];
};

inline __device__ Words philox(u32 c0, u32 c1, u32 c2, u32 c3, u32 k0, u32 k1) {
#pragma unroll
    for (int round = 0; round < 10; ++round) {
        if (round > 0) {
            k0 += 0x9E3779B9u;
            k1 += 0xBB67AE85u;
        }
        const u32 high_a = __umulhi(0xD2511F53u, c0), low_a = 0xD2511F53u * c0;
        const u32 high_b = __umulhi(0xCD9E8D57u, c2), low_b = 0xCD9E8D57u * c2;
        c0 = high_b ^ c1 ^ k0;
        c1 = low_b;
        c2 = high_a ^ c3 ^ k1;
        c3 = low_a;
    }
    Words words = {{c0, c1, c2, c3}};
    return words;
}

template <int N> inline __device__ real horner(real z, const real (&coefficients)[N]) {
    real sum = coefficients[N - 1];
#pragma unroll
    for (int k = N - 1; k > 0; --k) sum = FMA(sum, z, coefficients[k - 1]);
    return sum;
}

// ln(x) for a normal x in (0, 1].
inline __device__ real logarithm(real x) {
    const real atanh[TERMS_ATANH] = ATANH;
    const bits b = BITS(x);
    const bits e = (b + (((bits)(BIAS + 1) << DIGITS) - (bits)ROOT_HALF)) >> DIGITS;
    const real m = REAL(b - ((e - (bits)(BIAS + 1)) << DIGITS));
    const real offset = (real)((bits)1 << DIGITS);
    const real k = ADD(ADD(REAL(BITS(offset) | e), -(offset + (real)(BIAS + 1))), (real)0);
    const real f = ADD(m, (real)-1);
    const real s = DIV(f, ADD((real)2, f));
    const real z = MUL(s, s);
    const real p = MUL(z, horner(z, atanh));
    const real small = ADD(MUL(s, ADD(f, -p)), -FMA(k, LN_2_LOW, (real)0));
    return ADD(MUL(k, LN_2_HIGH), ADD(f, -small));
}

// Two independent standard normals from a uniform number in (0, 1] and one in [0, 1).
inline __device__ void box_muller(real u, real v, real* out) {
    const real sines[TERMS_SIN] = SIN, cosines[TERMS_COS] = COS;
    const real radius = SQRT(MUL((real)-2, logarithm(u)));
    const real shifted = FMA(v, (real)4, ROUNDER);
    const u32 quadrant = (u32)BITS(shifted);
    const real angle = MUL(ADD(v, -MUL(ADD(shifted, -ROUNDER), (real)0.25)), TURN);
    const real z = MUL(angle, angle);
    const real sine = ADD(angle, MUL(angle, MUL(z, horner(z, sines))));
    const real cosine = ADD((real)1, MUL(z, horner(z, cosines)));
    const bool swap = (quadrant & 1) == 1;
    const real s = swap ? cosine : sine, c = swap ? sine : cosine;
    out[0] = MUL(radius, ((quadrant + 1) & 2) == 2 ? -c : c);
    out[1] = MUL(radius, (quadrant & 2) == 2 ? -s : s);
}

inline __device__ float fraction(u32 word) { return __fmul_rn((float)(int)(word >> 8), 1.0f / 16777216.0f); }

inline __device__ double fraction(u32 high, u32 low) {
    const double high_part = (double)(int)(high >> 5), low_part = (double)(int)(low >> 6);
    return __dmul_rn(__dadd_rn(__dmul_rn(high_part, 67108864.0), low_part), 1.0 / 9007199254740992.0);
}

#define PER_BLOCK (DOUBLE && DISTRIBUTION != 2 ? 2 : 4)

// Elements PER_BLOCK * i, .. of the leaf from block i of the stream. `place`: the seed's low and high word and the step's.
extern "C" __global__ void __launch_bounds__(256) noise(real* out, u64 count, u32 stream, const u32* place) {
    const u64 block = (u64)blockIdx.x * 256 + threadIdx.x;
    const u64 first = block * PER_BLOCK;
    if (first >= count) return;
    const Words words = philox((u32)block, place[2], place[3], stream, place[0], place[1]);
    real values[4];
#if DISTRIBUTION == 2
#pragma unroll
    for (int w = 0; w < 4; ++w) values[w] = words.at[w] >> 31 == 1 ? (real)-1 : (real)1;
#elif DOUBLE
    const double u = fraction(words.at[0], words.at[1]), v = fraction(words.at[2], words.at[3]);
#if DISTRIBUTION == 0
    box_muller(ADD(1.0, -u), v, values);
#else
    values[0] = u;
    values[1] = v;
#endif
#elif DISTRIBUTION == 0
#pragma unroll
    for (int pair = 0; pair < 2; ++pair) {
        const u32 word = words.at[2 * pair];
        const float high = __fmul_rn((float)(int)(word >> 16), 65536.0f);
        const float u = __fmul_rn(__fadd_rn(__fadd_rn(high, (float)(int)(word & 0xffff)), 0.5f), 1.0f / 4294967296.0f);
        box_muller(u, fraction(words.at[2 * pair + 1]), values + 2 * pair);
    }
#else
#pragma unroll
    for (int w = 0; w < 4; ++w) values[w] = fraction(words.at[w]);
#endif
#pragma unroll
    for (int e = 0; e < PER_BLOCK; ++e)
        if (first + e < count) out[first + e] = values[e];
}
