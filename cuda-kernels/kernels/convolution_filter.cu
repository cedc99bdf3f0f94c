// The transpose of convolutions in the filters: for each group the product of the results (m, pixel) with the elements of the images that each tap n of
// each channel meets (n, pixel). The depth, all pixels of all images, is long where the product is small: it is split over blocks, whose sums lie side
// by side until convolution_sum.cu adds them.
//
// Both operands have their pixels next to each other in memory: PACE lanes load neighbouring pixels of one row, and rows of slices in shared memory are
// padded so that the transposed stores meet all banks.
//
// In front stand, beside what convolution_tile.cu needs: OFFSET (a signed type for distances in elements within a group), BLOCKS (that share a
// multiprocessor), with DEEP also VECTORS (a channel of results lies in one piece, of aligned vectors).
//
// Shared memory: STAGES slices of both operands, or the sums of a team if these take more.

#define PACE 8
#define ROWS (THREADS / PACE)
// First row of a that a thread loads of a slice, and rows that are loaded at once.
#if DEEP && VECTORS
#define FIRST_M (threadIdx.x / (SLICE / VECTOR))
#define ROWS_M (THREADS / (SLICE / VECTOR))
#else
#define FIRST_M (threadIdx.x / PACE)
#define ROWS_M ROWS
#endif
// Rows of a, columns of b and pixels that a thread loads of a slice.
#define LOADS_M ((TILE_M + ROWS_M - 1) / ROWS_M)
#define LOADS_N ((TILE_N + ROWS - 1) / ROWS)
#define PIXELS (SLICE / PACE)
#if DEEP
#define SIZE_M (TILE_M * STRIDE_K)
#define SIZE_N (TILE_N * STRIDE_K)
#define AT(row, depth, stride) ((row) * STRIDE_K + (depth))
#else
#define SIZE_M (SLICE * STRIDE_M)
#define SIZE_N (SLICE * STRIDE_N)
#define AT(row, depth, stride) ((depth) * (stride) + (row))
#endif

// x / divisor for x below 2^31, by a reciprocal: see `Divisor` in convolution/mod.rs.
__device__ __forceinline__ u32 quotient(u32 x, u32 reciprocal, u32 shift) {
    return reciprocal == 0 ? x : __umulhi(x, reciprocal) >> shift;
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) convolution_filter(
    const REAL* __restrict__ results, const REAL* __restrict__ images, REAL* __restrict__ out,
    // Groups, parts of the depth, pixels of a part (a multiple of SLICE) and all.
    u32 groups, u32 parts, u32 depth, u32 pixels,
    // Pixels and columns of a channel of results, with the reciprocals that divide by them.
    u32 area, u32 area_reciprocal, u32 area_shift, u32 width, u32 width_reciprocal, u32 width_shift,
    // Elements of the results from one group, image, channel, row, column to the next.
    u64 results_group, u64 results_image, u64 results_channel, u64 results_row, u64 results_column,
    // Rows and columns of the images; elements from one group, image, channel, row, column to the next.
    u32 rows, u32 columns, u64 images_group, u64 images_image, u64 images_channel, u64 images_row, u64 images_column,
    // Rows of the product and those of a group, columns of the product, whether runs of them are aligned.
    u32 all, u32 outputs, u32 across, u32 aligned,
    u32 filter_rows, u32 filter_columns, u32 stride_y, u32 stride_x, u32 padding_y, u32 padding_x) {
    REAL* const shared = (REAL*)shared_memory;

    const u32 tiles_m = (all + TILE_M - 1) / TILE_M, tiles_n = (across + TILE_N - 1) / TILE_N;
    u32 rest = blockIdx.x;
    const u32 tile_n = rest % tiles_n;
    rest /= tiles_n;
    const u32 tile_m = rest % tiles_m;
    rest /= tiles_m;
    const u32 part = rest % parts, group = rest / parts;
    results += group * results_group;
    images += group * images_group;

    // What this thread loads. Rows and columns past the end are in no result: they load what the last ones do.
    const u32 lane = threadIdx.x % PACE, own = threadIdx.x / PACE;
    OFFSET at_m[LOADS_M], at_n[LOADS_N];
    int tap_row[LOADS_N], tap_column[LOADS_N];
#pragma unroll
    for (u32 i = 0; i < LOADS_M; i++) {
        u32 m = tile_m * TILE_M + FIRST_M + i * ROWS_M;
        m = m < all ? m : all - 1;
        at_m[i] = (OFFSET)(m / outputs) * (OFFSET)results_group + (OFFSET)(m % outputs) * (OFFSET)results_channel;
    }
#pragma unroll
    for (u32 i = 0; i < LOADS_N; i++) {
        u32 n = tile_n * TILE_N + own + i * ROWS;
        n = n < across ? n : across - 1;
        const u32 tap = n % (filter_rows * filter_columns), channel = n / (filter_rows * filter_columns);
        tap_row[i] = (int)(tap / filter_columns);
        tap_column[i] = (int)(tap % filter_columns);
        at_n[i] = (OFFSET)channel * (OFFSET)images_channel + tap_row[i] * (OFFSET)images_row + tap_column[i] * (OFFSET)images_column;
    }
    const u32 first = part * depth, end = pixels - first < depth ? pixels : first + depth;
    const u32 slices = (end - first + SLICE - 1) / SLICE;

    const auto load = [&](u32 slice, u32 stage) {
        REAL* const a = shared + stage * (SIZE_M + SIZE_N);
        REAL* const b = a + SIZE_M;
#if DEEP && VECTORS
        const u32 run = threadIdx.x % (SLICE / VECTOR) * VECTOR, leader = first + slice * SLICE + run;
        const u32 leading = quotient(leader, area_reciprocal, area_shift);
        const OFFSET start = (OFFSET)leading * (OFFSET)results_image + (OFFSET)(leader - leading * area);
#pragma unroll
        for (u32 i = 0; i < LOADS_M; i++) {
            if (TILE_M % ROWS_M == 0 || FIRST_M + i * ROWS_M < TILE_M) {
                copy((Vector*)(a + AT(FIRST_M + i * ROWS_M, run, STRIDE_M)), (const Vector*)(results + (start + at_m[i])), leader < end);
            }
        }
#endif
#pragma unroll
        for (u32 p = 0; p < PIXELS; p++) {
            const u32 depth = p * PACE + lane, pixel = first + slice * SLICE + depth;
            const bool exists = pixel < end;
            const u32 image = quotient(pixel, area_reciprocal, area_shift), within = pixel - image * area;
            const u32 row = quotient(within, width_reciprocal, width_shift), column = within - row * width;
            // A pixel past the end meets nothing.
            const int y = exists ? (int)(row * stride_y) - (int)padding_y : -(1 << 30), x = (int)(column * stride_x) - (int)padding_x;
            const OFFSET met = (OFFSET)image * (OFFSET)images_image + y * (OFFSET)images_row + x * (OFFSET)images_column;
#if !DEEP || !VECTORS
            const OFFSET result = (OFFSET)image * (OFFSET)results_image + (OFFSET)row * (OFFSET)results_row + (OFFSET)column * (OFFSET)results_column;
#pragma unroll
            for (u32 i = 0; i < LOADS_M; i++) {
                if (TILE_M % ROWS == 0 || own + i * ROWS < TILE_M) {
                    copy(a + AT(own + i * ROWS, depth, STRIDE_M), results + (result + at_m[i]), exists);
                }
            }
#endif
#pragma unroll
            for (u32 i = 0; i < LOADS_N; i++) {
                if (TILE_N % ROWS == 0 || own + i * ROWS < TILE_N) {
                    const bool meets = (u32)(y + tap_row[i]) < rows && (u32)(x + tap_column[i]) < columns;
                    copy(b + AT(own + i * ROWS, depth, STRIDE_N), images + (met + at_n[i]), meets);
                }
            }
        }
    };

    const Share share;
    REAL sums[HELD_M][HELD_N][RUN] = {};
#pragma unroll
    for (u32 slice = 0; slice < STAGES - 1; slice++) {
        if (slice < slices) {
            load(slice, slice);
        }
        sent();
    }
    u32 stage = 0, next = STAGES - 1;
    for (u32 slice = 0; slice < slices; slice++) {
        arrived();
        if (slice + STAGES - 1 < slices) {
            load(slice + STAGES - 1, next);
        }
        sent();
        next = next + 1 < STAGES ? next + 1 : 0;
        const REAL* const a = shared + stage * (SIZE_M + SIZE_N);
        multiply(a, a + SIZE_M, sums, share);
        stage = stage + 1 < STAGES ? stage + 1 : 0;
    }

#if TEAMS > 1
    // The first team adds the sums of the others, one after another.
    __syncthreads();
    Vector* const exchange = (Vector*)shared;
    const u32 member = threadIdx.x % (THREADS / TEAMS);
    for (u32 team = 1; team < TEAMS; team++) {
        if (share.team == team) {
#pragma unroll
            for (u32 i = 0; i < HELD_M; i++) {
#pragma unroll
                for (u32 j = 0; j < HELD_N; j++) {
                    Vector run;
#pragma unroll
                    for (u32 r = 0; r < RUN; r++) {
                        run.at[r] = sums[i][j][r];
                    }
                    exchange[(i * HELD_N + j) * (THREADS / TEAMS) + member] = run;
                }
            }
        }
        __syncthreads();
        if (share.team == 0) {
#pragma unroll
            for (u32 i = 0; i < HELD_M; i++) {
#pragma unroll
                for (u32 j = 0; j < HELD_N; j++) {
                    const Vector run = exchange[(i * HELD_N + j) * (THREADS / TEAMS) + member];
#pragma unroll
                    for (u32 r = 0; r < RUN; r++) {
                        sums[i][j][r] += run.at[r];
                    }
                }
            }
        }
        __syncthreads();
    }
    if (share.team > 0) {
        return;
    }
#endif

    out += ((u64)part * groups + group) * all * across;
#pragma unroll
    for (u32 i = 0; i < HELD_M; i++) {
        const u32 m = tile_m * TILE_M + share.row(i);
        if (m < all) {
            REAL* const to = out + (u64)m * across;
#pragma unroll
            for (u32 j = 0; j < HELD_N; j++) {
                const u32 n = tile_n * TILE_N + share.column(j);
                if (aligned) {
                    if (n < across) {
                        Run run;
#pragma unroll
                        for (u32 r = 0; r < RUN; r++) {
                            run.at[r] = sums[i][j][r];
                        }
                        *(Run*)(to + n) = run;
                    }
                } else {
#pragma unroll
                    for (u32 r = 0; r < RUN; r++) {
                        if (n + r < across) {
                            to[n + r] = sums[i][j][r];
                        }
                    }
                }
            }
        }
    }
}
