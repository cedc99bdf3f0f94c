// Runs the blocks and threads of kernels, which see shim.h: every thread of a block is a fiber, blocks run one after another.
#if !defined(__x86_64__)
#include <ucontext.h>
#endif
extern "C" int sched_yield();

dim3 threadIdx, blockIdx, blockDim, gridDim;
alignas(256) unsigned char shared_memory[256 * 1024];

namespace emulated {

unsigned current, turns[MOST];
unsigned long long exchanged[2][MOST];

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
static unsigned threads;
static unsigned char* stacks;
static void (*entry)(void**);
static void** arguments;
static const char* failure;

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
void yield(State state) {
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
void yield(State state) {
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
