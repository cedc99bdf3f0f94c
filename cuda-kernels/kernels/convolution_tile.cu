// What the kernels of convolutions have in common: a block of threads computes one tile of a matrix product a^T b, slice after slice of its depth.
// While it works on one slice the next ones are on their way to shared memory, which has room for STAGES of them.
//
// In front stand REAL, TILE_M and TILE_N (rows and columns of a block's tile), THREADS of a block, SLICE (depth of a slice), STAGES, and
// - without TENSOR: THREAD_M and THREAD_N, the sums of a thread. They are held in pieces of one vector, so that neighbouring threads read
//   neighbouring vectors. More threads than sums need (TEAMS > 1) share the depth of each slice;
// - with TENSOR: WARP_M and WARP_N, the sums of a warp, made of 16 by 8 products on tensor cores. Columns are rounded to what these take, rows as well
//   with ROUND_ROWS or DEEP; otherwise they already are.
// Slices lie in shared memory depth after depth, STRIDE_M (or STRIDE_N) elements apart, but for rows on tensor cores: there, for every 8 depths and 16
// rows, the four numbers that a lane multiplies lie side by side (`fragment`). With DEEP both operands lie the other way round, all depths of a row or
// column together, STRIDE_K elements from one row or column to the next.

#define VECTOR ((u32)(16 / sizeof(REAL)))

struct alignas(16) Vector {
    REAL at[VECTOR];
};

extern __shared__ unsigned char shared_memory[];

#if defined(EMULATED) || (defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800)
#define AMPERE 0
#else
#define AMPERE 1
#endif

#if AMPERE
// Address for instructions on shared memory.
__device__ __forceinline__ u32 shared_address(const void* place) {
    u32 address;
    asm("{ .reg .u64 whole; cvta.to.shared.u64 whole, %1; cvt.u32.u64 %0, whole; }" : "=r"(address) : "l"(place));
    return address;
}
#endif

// Copies an element to shared memory, or zero. It has arrived after `arrived`.
__device__ __forceinline__ void copy(REAL* to, const REAL* from, bool exists) {
#if AMPERE
    const u32 bytes = exists ? sizeof(REAL) : 0;
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(shared_address(to)), "l"(from), "n"(sizeof(REAL)), "r"(bytes) : "memory");
#else
    *to = exists ? *from : (REAL)0;
#endif
}

// Copies neighbours to shared memory, or zeros.
__device__ __forceinline__ void copy(Vector* to, const Vector* from, bool exists) {
#if AMPERE
    const u32 bytes = exists ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from), "r"(bytes) : "memory");
#else
    *to = exists ? *from : Vector{};
#endif
}

// Ends what is copied for one slice.
__device__ __forceinline__ void sent() {
#if AMPERE
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// Waits until all slices but the last STAGES - 2 have arrived, and all threads are here.
__device__ __forceinline__ void arrived() {
#if AMPERE
    asm volatile("cp.async.wait_group %0;" ::"n"(STAGES - 2) : "memory");
#endif
    __syncthreads();
}

#if TENSOR

#define TEAMS 1
// A thread holds RUN neighbours in a row, HELD_M rows by HELD_N such runs.
#define RUN 2
#define HELD_M (WARP_M / 8)
#define HELD_N (WARP_N / 8)
#define WARPS_N (TILE_N / WARP_N)

// Place of a row and a depth of a slice: with g = lane / 4 and t = lane % 4 a lane has of 16 rows and 8 depths (g, t), (g + 8, t), (g, t + 4) and
// (g + 8, t + 4).
__device__ __forceinline__ u32 fragment(u32 row, u32 depth) {
    return depth / 8 * (8 * TILE_M) + row / 16 * 128 + (row % 8 * 4 + depth % 4) * 4 + row / 8 % 2 + depth / 4 % 2 * 2;
}

// d += a b for a warp: a 16 by 8, b 8 by 8. A lane has of a what `fragment` says, of b (t, g) and (t + 4, g), of d (g, 2 t), (g, 2 t + 1) and the same
// of row g + 8.
__device__ __forceinline__ void mma_tf32(float (&upper)[2], float (&lower)[2], const float (&a)[4], const float (&b)[2]) {
#if !AMPERE
    const u32 lane = threadIdx.x % 32;
#pragma unroll
    for (u32 k = 0; k < 8; k++) {
        const float first = __shfl_sync(0xFFFFFFFFu, a[k / 4 * 2], (int)(lane / 4 * 4 + k % 4));
        const float second = __shfl_sync(0xFFFFFFFFu, a[k / 4 * 2 + 1], (int)(lane / 4 * 4 + k % 4));
#pragma unroll
        for (u32 i = 0; i < 2; i++) {
            const float right = __shfl_sync(0xFFFFFFFFu, b[k / 4], (int)((lane % 4 * 2 + i) * 4 + k % 4));
            upper[i] += first * right;
            lower[i] += second * right;
        }
    }
#else
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(upper[0]), "+f"(upper[1]), "+f"(lower[0]), "+f"(lower[1])
                 : "r"(__float_as_uint(a[0])), "r"(__float_as_uint(a[1])), "r"(__float_as_uint(a[2])), "r"(__float_as_uint(a[3])),
                   "r"(__float_as_uint(b[0])), "r"(__float_as_uint(b[1])));
#endif
}

#else

#define THREADS_M (TILE_M / THREAD_M)
#define THREADS_N (TILE_N / THREAD_N)
#define TEAMS (THREADS / (THREADS_M * THREADS_N))
#define RUN VECTOR
#define HELD_M THREAD_M
#define HELD_N (THREAD_N / VECTOR)
// A warp covers LANES_M by LANES_N threads.
#define LANES_N (THREADS_N < 8 ? THREADS_N : THREADS_M < 4 ? 32 / THREADS_M : 8)
#define LANES_M (32 / LANES_N)

#endif

// Neighbours that a thread holds.
struct alignas(RUN * sizeof(REAL)) Run {
    REAL at[RUN];
};

// Where a thread's sums lie in the tile.
struct Share {
    u32 team, m, n;

    __device__ __forceinline__ Share() {
        const u32 warp = threadIdx.x / 32, lane = threadIdx.x % 32;
#if TENSOR
        team = 0;
        m = warp / WARPS_N * WARP_M + lane / 4;
        n = warp % WARPS_N * WARP_N + lane % 4 * 2;
#else
        const u32 across = THREADS_N / LANES_N, own = warp % (across * (THREADS_M / LANES_M));
        team = threadIdx.x / (THREADS_M * THREADS_N);
        m = (own / across * LANES_M + lane / LANES_N) * VECTOR;
        n = (own % across * LANES_N + lane % LANES_N) * VECTOR;
#endif
    }

    // Row of the sums [i][..][..].
    __device__ __forceinline__ u32 row(u32 i) const {
#if TENSOR
        return m + i * 8;
#else
        return m + i / VECTOR * (THREADS_M * VECTOR) + i % VECTOR;
#endif
    }

    // First column of the sums [..][j][..].
    __device__ __forceinline__ u32 column(u32 j) const {
#if TENSOR
        return n + j * 8;
#else
        return n + j * (THREADS_N * VECTOR);
#endif
    }
};

#if TENSOR && DEEP
// Four blocks of 8 rows by 4 depths, 16 rows and 8 depths together: of each a lane takes row lane / 4 and depth lane % 4. The second block has the next
// rows if ROWS_FIRST, else the next depths.
template <bool ROWS_FIRST>
__device__ __forceinline__ void take(float (&to)[4], const float* from) {
#if AMPERE
    const u32 lane = threadIdx.x % 32, block = lane / 8;
    const u32 row = (ROWS_FIRST ? block % 2 : block / 2) * 8 + lane % 8, depth = (ROWS_FIRST ? block / 2 : block % 2) * 4;
    u32 bits[4];
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(bits[0]), "=r"(bits[1]), "=r"(bits[2]), "=r"(bits[3])
                 : "r"(shared_address(from + row * STRIDE_K + depth))
                 : "memory");
#pragma unroll
    for (u32 q = 0; q < 4; q++) {
        to[q] = rounded(__uint_as_float(bits[q]));
    }
#else
#pragma unroll
    for (u32 q = 0; q < 4; q++) {
        const u32 row = (ROWS_FIRST ? q % 2 : q / 2) * 8 + threadIdx.x % 32 / 4, depth = (ROWS_FIRST ? q / 2 : q % 2) * 4;
        to[q] = rounded(from[row * STRIDE_K + depth + threadIdx.x % 4]);
    }
#endif
}
#endif

// sums += a^T b for a slice in shared memory.
__device__ __forceinline__ void multiply(const REAL* a, const REAL* b, REAL (&sums)[HELD_M][HELD_N][RUN], const Share& share) {
#if TENSOR
    // The warp's first row and column.
    const u32 lane = threadIdx.x % 32, m = share.m - lane / 4, n = share.n - lane % 4 * 2;
#pragma unroll
    for (u32 k = 0; k < SLICE; k += 8) {
        float right[HELD_N][2];
#if DEEP
#pragma unroll
        for (u32 j = 0; j < HELD_N; j += 2) {
            float both[4];
            take<false>(both, b + (n + 8 * j) * STRIDE_K + k);
            right[j][0] = both[0];
            right[j][1] = both[1];
            right[j + 1][0] = both[2];
            right[j + 1][1] = both[3];
        }
#else
#pragma unroll
        for (u32 j = 0; j < HELD_N; j++) {
            right[j][0] = rounded(b[(k + lane % 4) * STRIDE_N + n + 8 * j + lane / 4]);
            right[j][1] = rounded(b[(k + 4 + lane % 4) * STRIDE_N + n + 8 * j + lane / 4]);
        }
#endif
#pragma unroll
        for (u32 i = 0; i < HELD_M; i += 2) {
            float left[4];
#if DEEP
            take<true>(left, a + (m + 8 * i) * STRIDE_K + k);
#else
            const Vector four = *(const Vector*)(a + k * TILE_M + (m + 8 * i) * 8 + lane * 4);
#pragma unroll
            for (u32 q = 0; q < 4; q++) {
#if ROUND_ROWS
                left[q] = rounded(four.at[q]);
#else
                left[q] = four.at[q];
#endif
            }
#endif
#pragma unroll
            for (u32 j = 0; j < HELD_N; j++) {
                mma_tf32(sums[i][j], sums[i + 1][j], left, right[j]);
            }
        }
    }
#else
#pragma unroll
    for (u32 first = 0; first < SLICE; first += TEAMS) {
        const u32 k = first + share.team;
        Vector left[THREAD_M / VECTOR], right[HELD_N];
#pragma unroll
        for (u32 i = 0; i < THREAD_M / VECTOR; i++) {
            left[i] = *(const Vector*)(a + k * STRIDE_M + share.row(i * VECTOR));
        }
#pragma unroll
        for (u32 j = 0; j < HELD_N; j++) {
            right[j] = *(const Vector*)(b + k * STRIDE_N + share.column(j));
        }
#pragma unroll
        for (u32 i = 0; i < HELD_M; i++) {
#pragma unroll
            for (u32 j = 0; j < HELD_N; j++) {
#pragma unroll
                for (u32 r = 0; r < RUN; r++) {
                    sums[i][j][r] += left[i / VECTOR].at[i % VECTOR] * right[j].at[r];
                }
            }
        }
    }
#endif
}
