// Filters in the order in which convolution_correlate.cu takes them: for each phase, group and tile of rows, slice after slice, and in a slice for
// each depth the rows of the tile side by side (with TENSOR in the order that convolution_tile.cu describes). What does not exist is zero.
//
// A block packs all taps of one block of channels, one tile, group and phase; blocks along y share that work. In front stand REAL and TENSOR.

extern "C" __global__ void __launch_bounds__(256) convolution_pack(
    const REAL* __restrict__ filters, REAL* __restrict__ packed,
    // Elements from one group, row of the product, and channel of the source, to the next, and along rows and columns of the filters.
    u64 group_stride, u64 output_stride, u64 channel_stride, u64 row_stride, u64 column_stride,
    // Groups, rows of the product and those of a group, channels, filters' size, phases along rows and columns.
    u32 groups, u32 all, u32 outputs, u32 channels, u32 filter_rows, u32 filter_columns, u32 phases_y, u32 phases_x,
    // Rows of a tile; depth, channels and taps of a slice; elements from one phase, and one group, to the next.
    u32 tile, u32 slice, u32 slice_channels, u32 slice_taps, u64 packed_phase, u64 packed_group) {
    const u32 blocks = (channels + slice_channels - 1) / slice_channels, tiles = (all + tile - 1) / tile;
    u32 rest = blockIdx.x;
    const u32 block = rest % blocks;
    rest /= blocks;
    const u32 row_tile = rest % tiles;
    rest /= tiles;
    const u32 group = rest % groups, phase = rest / groups;
    const u32 up = phase / phases_x, left = phase % phases_x;
    const u32 taps_y = up < filter_rows ? (filter_rows - up + phases_y - 1) / phases_y : 0;
    const u32 taps_x = left < filter_columns ? (filter_columns - left + phases_x - 1) / phases_x : 0;
    const u32 taps = taps_y * taps_x, tap_slices = (taps + slice_taps - 1) / slice_taps, count = tap_slices * slice * tile;
    packed += phase * packed_phase + group * packed_group + ((u64)row_tile * blocks + block) * count;
    for (u32 at = blockIdx.y * 256 + threadIdx.x; at < count; at += 256 * gridDim.y) {
#if TENSOR
        const u32 within = at % (8 * tile), lane = within / 4 % 32;
        const u32 m = row_tile * tile + within / 128 * 16 + within % 2 * 8 + lane / 4;
        const u32 depth = at / (8 * tile) % (slice / 8) * 8 + within / 2 % 2 * 4 + lane % 4;
#else
        const u32 m = row_tile * tile + at % tile, depth = at / tile % slice;
#endif
        const u32 tap = at / (tile * slice) * slice_taps + depth / slice_channels, channel = block * slice_channels + depth % slice_channels;
        REAL value = 0;
        if (m < all && depth < slice_channels * slice_taps && tap < taps && channel < channels) {
            const u32 row = up + tap / taps_x * phases_y, column = left + tap % taps_x * phases_x;
            value = filters[(group + m / outputs) * group_stride + m % outputs * output_stride + channel * channel_stride + row * row_stride
                            + column * column_stride];
        }
        packed[at] = rounded(value);
    }
}
