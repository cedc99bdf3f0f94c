// Copies, mirror images and log-determinants of matrices of any size.

#define TILE 32
#define DEEP 8

// Copies (rows, columns) matrices to rows `t_row` apart, TILE by TILE elements a block, `across` blocks along a row. `lower`: the lower triangles of
// square ones only.
extern "C" __global__ void __launch_bounds__(TILE * DEEP)
copy_matrix(const real* from, u64 f_batch, u64 f_row, u64 f_column, real* to, u64 t_batch, u64 t_row, u32 rows, u32 columns, u32 across, u32 lower) {
    __shared__ real tile[TILE][TILE + 1];
    const u32 entry = blockIdx.x / across, i = blockIdx.y * TILE, j = blockIdx.x % across * TILE;
    const u32 x = threadIdx.x, y = threadIdx.y;
    if (lower && j > i) return;
    from += entry * f_batch + i * f_row + j * f_column;
    to += entry * t_batch + i * t_row + j;
    // Neighbours of a warp are neighbours in memory, when they are read and when they are written.
    const bool turned = f_row == 1;
#pragma unroll
    for (u32 k = 0; k < TILE; k += DEEP) {
        const u32 r = turned ? x : y + k, c = turned ? y + k : x;
        if (i + r < rows && j + c < columns) tile[r][c] = from[r * f_row + c * f_column];
    }
    __syncthreads();
#pragma unroll
    for (u32 k = 0; k < TILE; k += DEEP) {
        const u32 r = y + k;
        if (i + r < rows && j + x < columns && (!lower || j + x <= i + r)) to[r * t_row + x] = tile[r][x];
    }
}

// Contiguous (n, n) matrices receive the mirror image of their lower triangle above the diagonal. Blocks as for `copy_matrix`.
extern "C" __global__ void __launch_bounds__(TILE * DEEP) mirror(real* matrix, u64 n, u32 across) {
    __shared__ real tile[TILE][TILE + 1];
    const u64 i = blockIdx.y * TILE, j = blockIdx.x % across * TILE;
    const u32 x = threadIdx.x, y = threadIdx.y;
    if (j > i) return;
    matrix += blockIdx.x / across * n * n;
#pragma unroll
    for (u32 k = 0; k < TILE; k += DEEP)
        if (i + y + k < n && j + x < n) tile[y + k][x] = matrix[(i + y + k) * n + j + x];
    __syncthreads();
#pragma unroll
    for (u32 k = 0; k < TILE; k += DEEP)
        if (j + y + k < n && i + x < n && j + y + k < i + x) matrix[(j + y + k) * n + i + x] = tile[x][y + k];
}

// out = 2 sum log diag of factors of n rows, whose diagonal elements are `f_step` apart; a warp each, four a block.
extern "C" __global__ void __launch_bounds__(128) log_det(const real* factor, u64 f_batch, u64 f_step, real* out, u64 o_step, u32 batch, u32 n) {
    const u32 lane = threadIdx.x % 32, number = blockIdx.x * 4 + threadIdx.x / 32;
    const u32 entry = number < batch ? number : batch - 1;
    factor += entry * f_batch;
    real sum = (real)0;
#pragma unroll 8
    for (u32 i = lane; i < n; i += 32) sum += LOG(factor[i * f_step]);
#pragma unroll
    for (u32 half = 16; half > 0; half /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, half);
    if (lane == 0 && number < batch) out[entry * o_step] = (real)2 * sum;
}
