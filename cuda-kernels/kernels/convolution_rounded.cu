// Operands of tensor cores. In front stand REAL and TENSOR.

#if TENSOR
// Rounds to 10 bits of mantissa, halves away from zero.
__device__ __forceinline__ REAL rounded(REAL x) {
    union {
        float real;
        u32 bits;
    } both;
    both.real = x;
    both.bits = (both.bits + 0x1000u) & 0xFFFFE000u;
    return both.real;
}
#else
__device__ __forceinline__ REAL rounded(REAL x) {
    return x;
}
#endif
