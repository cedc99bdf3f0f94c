// Results of convolutions, and (with TRANSPOSED) their transpose in the images: for each group the product of the packed filters (m, k) with the
// elements of the source that they meet (k, pixel), which are gathered straight from the source, nothing is unfolded.
//
// Pixels of the written part whose distances are multiples of the filters' stride meet the same taps in the transposed case: they make a phase, and a
// tile has pixels of one phase alone. Otherwise there is a single phase. In either case pixel (y, x) of a phase meets with tap (i, j)
//     source row    y step + begin + direction i,
// and a column likewise; what lies outside of the source is zero.
//
// The depth k runs over blocks of SLICE_CHANNELS channels of the source and, for each, over taps, SLICE_TAPS of them in a slice: neighbouring taps
// meet the same elements, which first-level cache keeps. The packed filters are ordered so (see convolution_pack.cu), with zeros where channels or
// taps do not fill a slice. With DIRECT the filters are taken from where they lie instead: slower, but for a small product not as slow as another
// launch.
//
// In front stand, beside what convolution_tile.cu needs: OFFSET (a signed type for distances in elements within a group), TRANSPOSED, SLICE_CHANNELS,
// SLICE_TAPS, WHOLE_CHANNELS (channels fill their blocks), DIRECT, BLOCKS (that share a multiprocessor).
//
// Shared memory: STAGES slices of both operands, and where SLICE_TAPS > 1 a table of SLICE taps for each of the taps' slices.

// Threads that load one depth of b, depths loaded at once, and pixels of a thread.
#define LOADERS (TILE_N < THREADS ? TILE_N : THREADS)
#define ROWS (THREADS / LOADERS)
#define PIXELS (TILE_N / LOADERS)
#if DIRECT
// Depths of a slice of the filters that are loaded at once.
#define FILTER_ROWS (THREADS / TILE_M)
#if TENSOR
#define FILTER_PLACE(depth, row) fragment(row, depth)
#else
#define FILTER_PLACE(depth, row) ((depth) * STRIDE_M + (row))
#endif
#else
// Vectors of a slice of the packed filters, all and those of a thread.
#define PACKED (SLICE * TILE_M / VECTOR)
#define COPIES ((PACKED + THREADS - 1) / THREADS)
#endif
// Elements of a slice of both operands in shared memory.
#define STAGE (SLICE * (STRIDE_M + STRIDE_N))
// Direction of the taps.
#if TRANSPOSED
#define DIRECTION (-1)
#else
#define DIRECTION 1
#endif

// One axis of a phase.
struct Axis {
    // Pixels, the first one's place in the written part, taps, and what the first tap meets at the first pixel.
    u32 count, first, taps;
    int begin;

    // Of the axis with `length` pixels, filters of `filter` taps, and a phase of it.
    __device__ __forceinline__ Axis(u32 phase, u32 length, u32 filter, u32 stride, u32 padding) {
#if TRANSPOSED
        // Pixel i meets tap u at (i + padding - u) / stride.
        first = (phase + stride - padding % stride) % stride;
        count = first < length ? (length - first + stride - 1) / stride : 0;
        taps = phase < filter ? (filter - phase + stride - 1) / stride : 0;
        begin = ((int)(first + padding) - (int)phase) / (int)stride;
#else
        first = 0;
        count = length;
        taps = filter;
        begin = -(int)padding;
#endif
    }
};

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) convolution_correlate(
    const REAL* __restrict__ filters, const REAL* __restrict__ source, REAL* __restrict__ out,
    // Groups, tiles of pixels (of the largest phase), images.
    u32 groups, u32 tiles, u32 images,
    // Source: channels, rows, columns; elements from one group, image, channel, row, column to the next.
    u32 channels, u32 rows, u32 columns,
    u64 source_group, u64 source_image, u64 source_channel, u64 source_row, u64 source_column,
    // Filters: elements from one phase (of packed ones), and group, to the next; otherwise from one row of the product, channel of the source, row and
    // column to the next.
    u64 filter_phase, u64 filter_group, u64 filter_output, u64 filter_channel, u64 filter_row, u64 filter_column,
    // Written part: rows of the product and those of a group, elements of a group, rows and columns of a channel, whether runs of pixels are aligned.
    u32 all, u32 outputs, u64 out_group, u32 out_rows, u32 out_columns, u32 aligned,
    u32 filter_rows, u32 filter_columns, u32 stride_y, u32 stride_x, u32 padding_y, u32 padding_x) {
    REAL* const shared = (REAL*)shared_memory;

    const u32 row_tiles = (all + TILE_M - 1) / TILE_M;
    u32 rest = blockIdx.x;
    const u32 row_tile = rest % row_tiles;
    rest /= row_tiles;
    const u32 tile = rest % tiles;
    rest /= tiles;
    const u32 group = rest % groups;
#if TRANSPOSED
    const u32 phase = rest / groups;
    const Axis down(phase / stride_x, out_rows, filter_rows, stride_y, padding_y);
    const Axis across(phase % stride_x, out_columns, filter_columns, stride_x, padding_x);
#else
    const Axis down(0, out_rows, filter_rows, stride_y, padding_y);
    const Axis across(0, out_columns, filter_columns, stride_x, padding_x);
#endif
    const u32 area = down.count * across.count, pixels = images * area;
    if (tile * TILE_N >= pixels) {
        return;
    }
    source += group * source_group;
    const u32 tap_slices = (down.taps * across.taps + SLICE_TAPS - 1) / SLICE_TAPS;
    const u32 slices = (channels + SLICE_CHANNELS - 1) / SLICE_CHANNELS * tap_slices;
#if DIRECT
    // The filters' row that this thread loads; rows past the end are in no result.
    u32 own = row_tile * TILE_M + threadIdx.x % TILE_M;
    own = own < all ? own : all - 1;
    const u32 filter_depth = threadIdx.x / TILE_M;
    filters += (group + own / outputs) * filter_group + own % outputs * filter_output;
#if TRANSPOSED
    filters += phase / stride_x * filter_row + phase % stride_x * filter_column;
    filter_row *= stride_y;
    filter_column *= stride_x;
#endif
#else
#if TRANSPOSED
    filters += phase * filter_phase;
#endif
    filters += group * filter_group + (u64)row_tile * slices * (SLICE * TILE_M);
#endif

    // Where the first tap finds the pixels that this thread loads.
    OFFSET base[PIXELS];
    int y[PIXELS], x[PIXELS];
#pragma unroll
    for (u32 p = 0; p < PIXELS; p++) {
        u32 pixel = tile * TILE_N + threadIdx.x % LOADERS + p * LOADERS;
        // Pixels past the end are in no result: they load what the last one does.
        pixel = pixel < pixels ? pixel : pixels - 1;
        const u32 image = pixel / area, within = pixel % area;
        const u32 row = within / across.count, column = within % across.count;
#if TRANSPOSED
        y[p] = (int)row + down.begin;
        x[p] = (int)column + across.begin;
#else
        y[p] = (int)(row * stride_y) + down.begin;
        x[p] = (int)(column * stride_x) + across.begin;
#endif
        base[p] = (OFFSET)image * (OFFSET)source_image + y[p] * (OFFSET)source_row + x[p] * (OFFSET)source_column;
    }
    const u32 first_depth = threadIdx.x / LOADERS;

#if SLICE_TAPS > 1
    struct Tap {
        OFFSET offset;
#if DIRECT
        OFFSET filter;
#endif
        int down, across;
    };
    Tap* const table = (Tap*)(shared + STAGES * STAGE);
    for (u32 entry = threadIdx.x; entry < tap_slices * SLICE; entry += THREADS) {
        const u32 depth = entry % SLICE, tap = entry / SLICE * SLICE_TAPS + depth / SLICE_CHANNELS;
        const bool exists = depth < SLICE_CHANNELS * SLICE_TAPS && tap < down.taps * across.taps;
        const int i = exists ? DIRECTION * (int)(tap / across.taps) : 0, j = exists ? DIRECTION * (int)(tap % across.taps) : 0;
        Tap own;
        own.offset = i * (OFFSET)source_row + j * (OFFSET)source_column + (OFFSET)(depth % SLICE_CHANNELS) * (OFFSET)source_channel;
        // A tap that does not exist meets nothing.
        own.down = exists ? i : -(1 << 30);
        own.across = j;
#if DIRECT
        own.filter = DIRECTION * (i * (OFFSET)filter_row + j * (OFFSET)filter_column) + (OFFSET)(depth % SLICE_CHANNELS) * (OFFSET)filter_channel;
#endif
        table[entry] = own;
    }
    __syncthreads();
#endif

    // The slice that is loaded next.
    u32 channel = 0;
#if SLICE_TAPS > 1
    u32 tap_slice = 0;
#else
    u32 tap_row = 0, tap_column = 0;
#endif
    const auto load = [&](u32 stage) {
        REAL* const a = shared + stage * STAGE;
        REAL* const b = a + SLICE * STRIDE_M + first_depth * STRIDE_N + threadIdx.x % LOADERS;
#if !DIRECT
#pragma unroll
        for (u32 c = 0; c < COPIES; c++) {
            const u32 at = threadIdx.x + c * THREADS;
            if (PACKED % THREADS == 0 || at < PACKED) {
                copy((Vector*)(a + at / (TILE_M / VECTOR) * STRIDE_M) + at % (TILE_M / VECTOR), (const Vector*)filters + at, true);
            }
        }
        filters += SLICE * TILE_M;
#endif
#if SLICE_TAPS > 1
#if DIRECT
#pragma unroll
        for (u32 d = 0; d < SLICE; d += FILTER_ROWS) {
            const u32 depth = filter_depth + d;
            if (SLICE % FILTER_ROWS == 0 || depth < SLICE) {
                const Tap tap = table[tap_slice * SLICE + depth];
                const bool exists = tap.down > -(1 << 29) && (WHOLE_CHANNELS || channel + depth % SLICE_CHANNELS < channels);
                copy(a + FILTER_PLACE(depth, threadIdx.x % TILE_M), filters + (channel * filter_channel + tap.filter), exists);
            }
        }
#endif
        const OFFSET plane = (OFFSET)channel * (OFFSET)source_channel;
        const Tap* const taps = table + tap_slice * SLICE + first_depth;
#pragma unroll
        for (u32 d = 0; d < SLICE; d += ROWS) {
            const u32 depth = first_depth + d;
            if (SLICE % ROWS == 0 || depth < SLICE) {
                const Tap tap = taps[d];
                const bool exists = WHOLE_CHANNELS || channel + depth % SLICE_CHANNELS < channels;
#pragma unroll
                for (u32 p = 0; p < PIXELS; p++) {
                    const bool meets = exists && (u32)(y[p] + tap.down) < rows && (u32)(x[p] + tap.across) < columns;
                    copy(b + d * STRIDE_N + p * LOADERS, source + (base[p] + plane + tap.offset), meets);
                }
            }
        }
        tap_slice++;
        if (tap_slice == tap_slices) {
            tap_slice = 0;
            channel += SLICE_CHANNELS;
        }
#else
#if DIRECT
        const REAL* const row = filters + (tap_row * filter_row + tap_column * filter_column + (channel + filter_depth) * filter_channel);
#pragma unroll
        for (u32 d = 0; d < SLICE; d += FILTER_ROWS) {
            const u32 depth = filter_depth + d;
            if (SLICE % FILTER_ROWS == 0 || depth < SLICE) {
                const bool exists = depth < SLICE_CHANNELS && (WHOLE_CHANNELS || channel + depth < channels);
                copy(a + FILTER_PLACE(depth, threadIdx.x % TILE_M), row + d * filter_channel, exists);
            }
        }
#endif
        const int i = DIRECTION * (int)tap_row, j = DIRECTION * (int)tap_column;
        const OFFSET offset = i * (OFFSET)source_row + j * (OFFSET)source_column + (OFFSET)(channel + first_depth) * (OFFSET)source_channel;
#pragma unroll
        for (u32 p = 0; p < PIXELS; p++) {
            const bool meets = (u32)(y[p] + i) < rows && (u32)(x[p] + j) < columns;
            const REAL* const from = source + (base[p] + offset);
#pragma unroll
            for (u32 d = 0; d < SLICE; d += ROWS) {
                const u32 depth = first_depth + d;
                if (SLICE % ROWS == 0 || depth < SLICE) {
                    const bool exists = meets && depth < SLICE_CHANNELS && (WHOLE_CHANNELS || channel + depth < channels);
                    copy(b + d * STRIDE_N + p * LOADERS, from + d * source_channel, exists);
                }
            }
        }
        tap_column++;
        if (tap_column == across.taps) {
            tap_column = 0;
            tap_row++;
            if (tap_row == down.taps) {
                tap_row = 0;
                channel += SLICE_CHANNELS;
            }
        }
#endif
    };

    const Share share;
    REAL sums[HELD_M][HELD_N][RUN] = {};
#pragma unroll
    for (u32 slice = 0; slice < STAGES - 1; slice++) {
        if (slice < slices) {
            load(slice);
        }
        sent();
    }
    u32 stage = 0, next = STAGES - 1;
    for (u32 slice = 0; slice < slices; slice++) {
        arrived();
        if (slice + STAGES - 1 < slices) {
            load(next);
        }
        sent();
        next = next + 1 < STAGES ? next + 1 : 0;
        multiply(shared + stage * STAGE, shared + stage * STAGE + SLICE * STRIDE_M, sums, share);
        stage = stage + 1 < STAGES ? stage + 1 : 0;
    }

    // Where this thread's pixels are written.
    const u64 plane = (u64)out_rows * out_columns;
    const u32 first_pixel = tile * TILE_N;
    u64 places[HELD_N][RUN];
#pragma unroll
    for (u32 j = 0; j < HELD_N; j++) {
#pragma unroll
        for (u32 r = 0; r < RUN; r++) {
            const u32 pixel = first_pixel + share.column(j) + r, image = pixel / area, within = pixel % area;
#if TRANSPOSED
            const u32 row = down.first + within / across.count * stride_y, column = across.first + within % across.count * stride_x;
            places[j][r] = image * (outputs * plane) + row * out_columns + column;
#else
            places[j][r] = image * (outputs * plane) + within;
#endif
        }
    }
#pragma unroll
    for (u32 i = 0; i < HELD_M; i++) {
        const u32 m = row_tile * TILE_M + share.row(i);
        if (m < all) {
            const u32 further = all > outputs ? m / outputs : 0;
            REAL* const to = out + (group + further) * out_group + (m - further * outputs) * plane;
#pragma unroll
            for (u32 j = 0; j < HELD_N; j++) {
                const u32 pixel = first_pixel + share.column(j);
                if (aligned) {
                    if (pixel < pixels) {
                        Run run;
#pragma unroll
                        for (u32 r = 0; r < RUN; r++) {
                            run.at[r] = sums[i][j][r];
                        }
                        *(Run*)(to + places[j][0]) = run;
                    }
                } else {
#pragma unroll
                    for (u32 r = 0; r < RUN; r++) {
                        if (pixel + r < pixels) {
                            to[places[j][r]] = sums[i][j][r];
                        }
                    }
                }
            }
        }
    }
}
