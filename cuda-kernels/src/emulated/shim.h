// Stands in for CUDA when the system's C++ compiler compiles kernels: what they see of a card. What runs their blocks and threads is in run.cpp.
#define EMULATED 1
// No headers: they would take longer to compile than most kernels.
typedef decltype(sizeof 0) size_t;
extern "C" {
float expf(float), expm1f(float), logf(float), log1pf(float), sqrtf(float), sinf(float), cosf(float), tanhf(float), fabsf(float);
float fmaf(float, float, float);
double exp(double), expm1(double), log(double), log1p(double), sqrt(double), sin(double), cos(double), tanh(double), fabs(double);
double fma(double, double, double);
void* memcpy(void*, const void*, size_t);
void* memset(void*, int, size_t);
}

#define __global__
#define __device__
#define __host__
#define __constant__ static const
#define __shared__ static
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))

struct dim3 {
    unsigned x, y, z;
};
struct alignas(8) float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(16) double2 { double x, y; };
struct alignas(8) uint2 { unsigned x, y; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
static inline float2 make_float2(float x, float y) { return {x, y}; }
static inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
static inline double2 make_double2(double x, double y) { return {x, y}; }
static inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
static inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

#pragma GCC visibility push(hidden)
extern dim3 threadIdx, blockIdx, blockDim, gridDim;
// Dynamic shared memory, as much as any card has, and a margin that nothing may write.
extern unsigned char shared_memory[256 * 1024];

namespace emulated {

enum State { READY, AT_BARRIER, AT_SHUFFLE, DONE };
const unsigned WARP = 32, MOST = 1024;

// The thread whose turn it is.
extern unsigned current;
// What the lanes of each warp exchange; two of each, since a lane may write the next value before its neighbour has read the last one.
extern unsigned long long exchanged[2][MOST];
extern unsigned turns[MOST];

// Ends this thread's turn.
void yield(State state);

template <typename T>
static T exchange(T value, unsigned source) {
    static_assert(sizeof(T) <= 8, "a shuffle moves at most 8 bytes");
    unsigned self = current, turn = turns[self]++ & 1;
    memcpy(&exchanged[turn][self], &value, sizeof(T));
    yield(AT_SHUFFLE);
    T result;
    memcpy(&result, &exchanged[turn][self / WARP * WARP + source], sizeof(T));
    return result;
}

// A kernel: what calls it with values taken from memory, and how long each is.
struct Kernel {
    void (*call)(void**);
    unsigned count;
    const unsigned* sizes;
};

template <typename... A>
struct Call {
    Call(void (*f)(A...), A... values) { f(values...); }
};
template <typename T>
static inline T next(void**& values) { return *(T*)*values++; }

template <auto f>
struct Callable;
template <typename... A, void (*f)(A...)>
struct Callable<f> {
    // Values in braces are taken from left to right.
    static void call(void** values) { Call<A...>{f, next<A>(values)...}; }
    static constexpr unsigned sizes[] = {sizeof(A)..., 0};
    static constexpr Kernel kernel = {call, sizeof...(A), sizes};
};

}  // namespace emulated
#pragma GCC visibility pop

static inline void __syncthreads() { emulated::yield(emulated::AT_BARRIER); }
static inline void __syncwarp(unsigned = 0xffffffffu) { emulated::exchange(0, emulated::current % 32); }
template <typename T>
static inline T __shfl_sync(unsigned, T value, int source, int = 32) { return emulated::exchange(value, source & 31); }
template <typename T>
static inline T __shfl_xor_sync(unsigned, T value, int mask, int = 32) { return emulated::exchange(value, (emulated::current % 32) ^ mask); }
template <typename T>
static inline T __shfl_down_sync(unsigned, T value, unsigned by, int = 32) {
    unsigned lane = emulated::current % 32;
    return emulated::exchange(value, lane + by < 32 ? lane + by : lane);
}
template <typename T>
static inline T __shfl_up_sync(unsigned, T value, unsigned by, int = 32) {
    unsigned lane = emulated::current % 32;
    return emulated::exchange(value, lane >= by ? lane - by : lane);
}
template <typename T>
static inline T atomicMin(T* place, T value) {
    T old = *place;
    if (value < old) *place = value;
    return old;
}
template <typename T>
static inline T atomicMax(T* place, T value) {
    T old = *place;
    if (value > old) *place = value;
    return old;
}
static inline unsigned atomicAdd(unsigned* place, unsigned value) { unsigned old = *place; *place += value; return old; }
static inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)(((unsigned long long)a * b) >> 32); }
static inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) { return (unsigned long long)(((unsigned __int128)a * b) >> 64); }
static inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline float __fadd_rn(float a, float b) { return a + b; }
static inline float __fsub_rn(float a, float b) { return a - b; }
static inline float __fdiv_rn(float a, float b) { return a / b; }
static inline float __fsqrt_rn(float a) { return sqrtf(a); }
static inline double __fma_rn(double a, double b, double c) { return fma(a, b, c); }
static inline double __dmul_rn(double a, double b) { return a * b; }
static inline double __dadd_rn(double a, double b) { return a + b; }
static inline double __dsub_rn(double a, double b) { return a - b; }
static inline double __ddiv_rn(double a, double b) { return a / b; }
static inline double __dsqrt_rn(double a) { return sqrt(a); }
static inline float rsqrtf(float a) { return 1.0f / sqrtf(a); }
static inline double rsqrt(double a) { return 1.0 / sqrt(a); }
static inline float __int_as_float(int a) { float b; memcpy(&b, &a, 4); return b; }
static inline int __float_as_int(float a) { int b; memcpy(&b, &a, 4); return b; }
static inline float __uint_as_float(unsigned a) { float b; memcpy(&b, &a, 4); return b; }
static inline unsigned __float_as_uint(float a) { unsigned b; memcpy(&b, &a, 4); return b; }
static inline double __longlong_as_double(long long a) { double b; memcpy(&b, &a, 8); return b; }
static inline long long __double_as_longlong(double a) { long long b; memcpy(&b, &a, 8); return b; }
static inline double __hiloint2double(int high, int low) { return __longlong_as_double(((long long)high << 32) | (unsigned)low); }
static inline unsigned __float2uint_rz(float a) { return !(a > 0.0f) ? 0u : a >= 4294967296.0f ? 0xffffffffu : (unsigned)a; }
static inline unsigned __double2uint_rz(double a) { return !(a > 0.0) ? 0u : a >= 4294967295.0 ? 0xffffffffu : (unsigned)a; }
template <typename T>
static inline T __ldg(const T* place) { return *place; }
static inline int __popc(unsigned a) { return __builtin_popcount(a); }
static inline int __clz(int a) { return a ? __builtin_clz((unsigned)a) : 32; }
template <typename T>
static inline T min(T a, T b) { return b < a ? b : a; }
template <typename T>
static inline T max(T a, T b) { return a < b ? b : a; }

// Makes a kernel of the source with that key callable from outside; its name may be a macro.
#define EMULATE(key, name) EMULATE_NAMED(key, name)
#define EMULATE_NAMED(key, name) \
    extern "C" __attribute__((visibility("default"))) const emulated::Kernel key##_##name = emulated::Callable<&name>::kernel;
