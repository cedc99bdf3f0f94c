// What kernels of factors share. Set in front: DOUBLE (0 or 1), the element type; ROWS, the most rows that a thread keeps a vector of in registers, a
// multiple of 8 up to 64.

#if DOUBLE
typedef double real;
#define FMA __fma_rn
#define RSQRT rsqrt
#define LOG log
#else
typedef float real;
#define FMA __fmaf_rn
#define RSQRT rsqrtf
#define LOG logf
#endif

// Registers of a vector that are passed over together when none of them is in use.
#define CHUNK 16
