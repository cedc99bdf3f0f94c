// Stands in for CUDA when the system's C++ compiler compiles kernels: every thread of a block is a fiber, blocks run one after another.
#define EMULATED 1
// No headers where it can be helped: they would take longer to compile than most kernels.
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

typedef decltype(sizeof 0) size_t;
extern "C" {
float expf(float), expm1f(float), logf(float), log1pf(float), sqrtf(float), sinf(float), cosf(float), tanhf(float), fabsf(float);
float fmaf(float, float, float);
double exp(double), expm1(double), log(double), log1p(double), sqrt(double), sin(double), cos(double), tanh(double), fabs(double);
double fma(double, double, double);
void* memcpy(void*, const void*, size_t);
void* memset(void*, int, size_t);
int sched_yield();
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

static dim3 threadIdx, blockIdx, blockDim, gridDim;
// Dynamic shared memory, as much as any card has, and a margin that nothing may write.
alignas(256) static unsigned char shared_memory[256 * 1024];

namespace emulated {

enum State { READY, AT_BARRIER, AT_SHUFFLE, DONE };

const unsigned WARP = 32, MOST = 1024;
// Bytes of each thread's stack, and of the mark at its end that nothing may write.
const size_t STACK = 128 * 1024, MARK = 64;
// Bytes after a block's dynamic shared memory that nothing may write.
const size_t MARGIN = 4096;
// Shared memory holds nothing at the beginning of a block: bytes that are not a number as floating-point, and a large one as integers.
const unsigned char NOTHING = 0xff;

struct Fiber {
    State state;
#if defined(__x86_64__)
    void* pointer;
#else
    ucontext_t context;
#endif
};

typedef unsigned long long Count;

// The order in which n blocks, warps or threads take their turns: of a card's nothing is known. In run 0 it is the natural one, in run 1 its reverse,
// in others a shuffled one.
struct Order {
    Count first, step, n;
    Order(unsigned run, Count n) : first(0), step(1), n(n) {
        if (n < 2 || run == 0) return;
        if (run == 1) {
            first = step = n - 1;
            return;
        }
        // Steps that have no divisor in common with n lead everywhere.
        first = run * 0x9e3779b97f4a7c15ull % n;
        step = run * 0xd1b54a32d192ed03ull % n;
        while (divisor(step, n) != 1) step = (step + 1) % n;
    }
    static Count divisor(Count a, Count b) { return b == 0 ? a : divisor(b, a % b); }
    Count after(Count k) const { return k + step < n ? k + step : k + step - n; }
};

static Fiber fibers[MOST];
static unsigned current, threads;
static unsigned char* stacks;
static void (*entry)(void**);
static void** arguments;
static const char* failure;
// What the lanes of each warp exchange; two of each, since a lane may write the next value before its neighbour has read the last one.
static unsigned long long exchanged[2][MOST];
static unsigned turns[MOST];

static void place(unsigned thread) {
    threadIdx.x = thread % blockDim.x;
    threadIdx.y = thread / blockDim.x % blockDim.y;
    threadIdx.z = thread / (blockDim.x * blockDim.y);
}

#if defined(__x86_64__)
static void* scheduler;
extern "C" void emulated_switch(void** from, void* to) __attribute__((visibility("hidden")));
asm(R"(
.text
.p2align 4
.hidden emulated_switch
.globl emulated_switch
emulated_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
)");
static void yield(State state) {
    Fiber& fiber = fibers[current];
    fiber.state = state;
    emulated_switch(&fiber.pointer, scheduler);
}
static void body() {
    entry(arguments);
    yield(DONE);
    __builtin_trap();
}
static void begin(Fiber& fiber, unsigned char* memory) {
    void** stack = (void**)(memory + STACK);
    // The place of a return address: functions begin 8 bytes off a multiple of 16.
    *--stack = nullptr;
    *--stack = (void*)&body;
    for (int k = 0; k < 6; k++) *--stack = nullptr;
    fiber.pointer = stack;
}
static void resume(Fiber& fiber) { emulated_switch(&scheduler, fiber.pointer); }
#else
static ucontext_t scheduler;
static void yield(State state) {
    Fiber& fiber = fibers[current];
    fiber.state = state;
    swapcontext(&fiber.context, &scheduler);
}
static void body() {
    entry(arguments);
    yield(DONE);
}
static void begin(Fiber& fiber, unsigned char* memory) {
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = memory;
    fiber.context.uc_stack.ss_size = STACK;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, body, 0);
}
static void resume(Fiber& fiber) { swapcontext(&scheduler, &fiber.context); }
#endif

// Runs the threads of one block until all are done.
static void run_block(unsigned run) {
    const Order warps(run, (threads + WARP - 1) / WARP);
    for (unsigned t = 0; t < threads; t++) {
        fibers[t].state = READY;
        turns[t] = 0;
        begin(fibers[t], stacks + t * STACK);
    }
    for (;;) {
        Count warp = warps.first;
        for (unsigned w = 0; w < warps.n; w++, warp = warps.after(warp)) {
            unsigned first = (unsigned)warp * WARP, last = first + WARP < threads ? first + WARP : threads;
            const Order lanes(run, last - first);
            for (;;) {
                unsigned shuffling = 0;
                Count lane = lanes.first;
                for (unsigned l = 0; l < lanes.n; l++, lane = lanes.after(lane)) {
                    unsigned t = first + (unsigned)lane;
                    if (fibers[t].state == READY) {
                        current = t;
                        place(t);
                        resume(fibers[t]);
                    }
                    shuffling += fibers[t].state == AT_SHUFFLE;
                }
                if (shuffling == 0) break;
                if (shuffling != WARP) {
                    failure = "the threads of a warp did not all reach a shuffle";
                    return;
                }
                for (unsigned t = first; t < last; t++) fibers[t].state = READY;
            }
        }
        unsigned waiting = 0, done = 0;
        for (unsigned t = 0; t < threads; t++) {
            waiting += fibers[t].state == AT_BARRIER;
            done += fibers[t].state == DONE;
        }
        if (done == threads) return;
        if (waiting != threads) {
            failure = "the threads of a block did not all reach a barrier";
            return;
        }
        for (unsigned t = 0; t < threads; t++) fibers[t].state = READY;
    }
}

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

static bool all_nothing(const unsigned char* bytes, size_t count) {
    unsigned char found = NOTHING;
    for (size_t k = 0; k < count; k++) found &= bytes[k];
    return found == NOTHING;
}

// A description of a launch.
struct Launch {
    const Kernel* kernel;
    void** values;
    unsigned grid[3], block[3], shared_bytes;
    // The kernel uses dynamic shared memory.
    bool shared;
    // Threads wait for each other.
    bool fibrous;
    // Memory for the stacks of as many threads as a block can have.
    unsigned char* stacks;
    // Which order blocks, warps and threads take their turns in.
    unsigned run;
};

static const char* run(const Launch& launch) {
    entry = launch.kernel->call;
    arguments = launch.values;
    gridDim = {launch.grid[0], launch.grid[1], launch.grid[2]};
    blockDim = {launch.block[0], launch.block[1], launch.block[2]};
    threads = blockDim.x * blockDim.y * blockDim.z;
    stacks = launch.stacks;
    failure = nullptr;
    if (launch.fibrous)
        for (unsigned t = 0; t < threads; t++) memset(stacks + t * STACK, NOTHING, MARK);
    const Order blocks(launch.run, (Count)gridDim.x * gridDim.y * gridDim.z), alone(launch.run, threads);
    Count block = blocks.first;
    for (Count k = 0; k < blocks.n; k++, block = blocks.after(block)) {
        const Count rest = block / gridDim.x;
        blockIdx = {(unsigned)(block % gridDim.x), (unsigned)(rest % gridDim.y), (unsigned)(rest / gridDim.y)};
        if (launch.shared) memset(shared_memory, NOTHING, launch.shared_bytes + MARGIN);
        if (launch.fibrous) {
            run_block(launch.run);
        } else {
            Count thread = alone.first;
            for (unsigned t = 0; t < threads; t++, thread = alone.after(thread)) {
                place((unsigned)thread);
                entry(arguments);
            }
        }
        if (failure) return failure;
        if (launch.shared && !all_nothing(shared_memory + launch.shared_bytes, MARGIN))
            return "more dynamic shared memory was written than the launch has";
    }
    if (launch.fibrous)
        for (unsigned t = 0; t < threads; t++)
            if (!all_nothing(stacks + t * STACK, MARK)) return "a thread's stack overflowed";
    return nullptr;
}

}  // namespace emulated

// One kernel of the library at a time, whoever else of the program has opened it.
extern "C" __attribute__((visibility("default"))) const char* emulated_launch(const emulated::Launch* launch) {
    static bool taken;
    while (__atomic_test_and_set(&taken, __ATOMIC_ACQUIRE)) sched_yield();
    const char* failure = emulated::run(*launch);
    __atomic_clear(&taken, __ATOMIC_RELEASE);
    return failure;
}

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
