// The transpose of convolutions in the filters: for each group the product of the results (m, pixel) with the elements of the images that each tap n of
// each channel meets (n, pixel). The depth, all pixels of all images, is long where the product is small: it is split over blocks, whose sums lie side
// by side until convolution_sum.cu adds them.
//
// Both operands have their pixels next to each other in memory: PACE lanes load neighbouring pixels of one row, and rows of slices in shared memory are
// padded so that the transposed stores meet all banks.
//
// In front stand, beside what convolution_tile.cu needs: OFFSET (a signed type for distances in elements within a group), BLOCKS (that share a
// multiprocessor).

#define PACE 8
#define ROWS (THREADS / PACE)
// Rows of a, columns of b and pixels that a thread loads of a slice.
#define LOADS_M ((TILE_M + ROWS - 1) / ROWS)
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
// Two slices of both, and room for the sums of a team.
#define SHARED (2 * (SIZE_M + SIZE_N) > (TEAMS > 1 ? TILE_M * TILE_N : 0) ? 2 * (SIZE_M + SIZE_N) : TILE_M * TILE_N)

// x / divisor for x below 2^31, by a reciprocal: see `Divisor` in convolution/mod.rs.
__device__ __forceinline__ u32 quotient(u32 x, u32 reciprocal, u32 shift) {
    return reciprocal == 0 ? x : __umulhi(x, reciprocal) >> shift;
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) filter(
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
    __shared__ Vector shared[SHARED / VECTOR];
    REAL* const shared_a = (REAL*)shared;
    REAL* const shared_b = shared_a + 2 * SIZE_M;

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
        u32 m = tile_m * TILE_M + own + i * ROWS;
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
    REAL loaded_a[LOADS_M][PIXELS], loaded_b[LOADS_N][PIXELS];

    const auto load = [&](u32 start) {
#pragma unroll
        for (u32 p = 0; p < PIXELS; p++) {
            const u32 pixel = start + p * PACE + lane;
            const bool exists = pixel < end;
            const u32 image = quotient(pixel, area_reciprocal, area_shift), within = pixel - image * area;
            const u32 row = quotient(within, width_reciprocal, width_shift), column = within - row * width;
            const OFFSET result = (OFFSET)image * (OFFSET)results_image + (OFFSET)row * (OFFSET)results_row + (OFFSET)column * (OFFSET)results_column;
            // A pixel past the end meets nothing.
            const int y = exists ? (int)(row * stride_y) - (int)padding_y : -(1 << 30), x = (int)(column * stride_x) - (int)padding_x;
            const OFFSET met = (OFFSET)image * (OFFSET)images_image + y * (OFFSET)images_row + x * (OFFSET)images_column;
#pragma unroll
            for (u32 i = 0; i < LOADS_M; i++) {
                if (TILE_M % ROWS == 0 || own + i * ROWS < TILE_M) {
                    loaded_a[i][p] = exists ? rounded(results[result + at_m[i]]) : (REAL)0;
                }
            }
#pragma unroll
            for (u32 i = 0; i < LOADS_N; i++) {
                if (TILE_N % ROWS == 0 || own + i * ROWS < TILE_N) {
                    const bool meets = (u32)(y + tap_row[i]) < rows && (u32)(x + tap_column[i]) < columns;
                    loaded_b[i][p] = meets ? rounded(images[met + at_n[i]]) : (REAL)0;
                }
            }
        }
    };
    const auto place = [&](u32 half) {
        REAL* const a = shared_a + half * SIZE_M;
        REAL* const b = shared_b + half * SIZE_N;
#pragma unroll
        for (u32 p = 0; p < PIXELS; p++) {
#pragma unroll
            for (u32 i = 0; i < LOADS_M; i++) {
                if (TILE_M % ROWS == 0 || own + i * ROWS < TILE_M) {
                    a[AT(own + i * ROWS, p * PACE + lane, STRIDE_M)] = loaded_a[i][p];
                }
            }
#pragma unroll
            for (u32 i = 0; i < LOADS_N; i++) {
                if (TILE_N % ROWS == 0 || own + i * ROWS < TILE_N) {
                    b[AT(own + i * ROWS, p * PACE + lane, STRIDE_N)] = loaded_b[i][p];
                }
            }
        }
    };

    const Share share;
    REAL sums[HELD_M][HELD_N][RUN] = {};
    load(first);
    place(0);
    __syncthreads();
    u32 half = 0;
    for (u32 start = first; start < end; start += SLICE) {
        const bool more = end - start > SLICE;
        if (more) {
            load(start + SLICE);
        }
        multiply(shared_a + half * SIZE_M, shared_b + half * SIZE_N, sums, share);
        half = 1 - half;
        if (more) {
            place(half);
        }
        __syncthreads();
    }

#if TEAMS > 1
    // The first team adds the sums of the others, one after another.
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
                    shared[(i * HELD_N + j) * (THREADS / TEAMS) + member] = run;
                }
            }
        }
        __syncthreads();
        if (share.team == 0) {
#pragma unroll
            for (u32 i = 0; i < HELD_M; i++) {
#pragma unroll
                for (u32 j = 0; j < HELD_N; j++) {
                    const Vector run = shared[(i * HELD_N + j) * (THREADS / TEAMS) + member];
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
