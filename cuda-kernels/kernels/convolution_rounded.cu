// Operands of tensor cores. In front stand REAL and TENSOR.

#if TENSOR
// Rounds to 10 bits of mantissa, halves away from zero; what is not finite stays so.
__device__ __forceinline__ REAL rounded(REAL x) {
#if !defined(EMULATED) && defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    u32 bits;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
    return __uint_as_float(bits);
#else
    const u32 bits = __float_as_uint(x);
    return (bits & 0x7F800000u) == 0x7F800000u ? x : __uint_as_float((bits + 0x1000u) & 0xFFFFE000u);
#endif
}
#else
__device__ __forceinline__ REAL rounded(REAL x) {
    return x;
}
#endif
