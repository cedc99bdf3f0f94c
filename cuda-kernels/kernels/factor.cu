// Lower Cholesky factors and what is computed from them, a block of at most SIZE rows at a time. Set in front: REAL, the element type.

#define SIZE 64
#define THREADS 256

// The lower triangle of `n` rows in shared memory becomes its factor. A pivot that is not positive is reported by the least of `report` plus its row,
// and taken for 1.
inline __device__ void factorise(REAL (*tile)[SIZE + 1], u32 n, u64* status, u64 report) {
    for (u32 c = 0; c < n; ++c) {
        __syncthreads();
        REAL pivot = tile[c][c];
        if (!(pivot > (REAL)0) || pivot * (REAL)0 != (REAL)0) {
            if (threadIdx.x == 0) atomicMin(status, report + c);
            pivot = (REAL)1;
        }
        const REAL root = sizeof(REAL) == 4 ? (REAL)sqrtf((float)pivot) : (REAL)sqrt((double)pivot);
        __syncthreads();
        for (u32 i = c + threadIdx.x; i < n; i += THREADS) tile[i][c] = i == c ? root : tile[i][c] / root;
        __syncthreads();
        const u32 rest = n - c - 1;
        for (u32 at = threadIdx.x; at < rest * rest; at += THREADS) {
            const u32 i = c + 1 + at / rest, j = c + 1 + at % rest;
            if (j <= i) tile[i][j] -= tile[i][c] * tile[j][c];
        }
    }
    __syncthreads();
}

// The inverse of the factor in the lower triangle: its strict lower triangle goes to the upper one, transposed, its diagonal to `diagonal`.
inline __device__ void invert(REAL (*tile)[SIZE + 1], REAL* diagonal, u32 n) {
    __syncthreads();
    const u32 j = threadIdx.x;
    if (j < n) {
        const REAL first = (REAL)1 / tile[j][j];
        diagonal[j] = first;
        for (u32 i = j + 1; i < n; ++i) {
            REAL sum = tile[i][j] * first;
            for (u32 k = j + 1; k < i; ++k) sum += tile[i][k] * tile[j][k];
            tile[j][i] = -sum / tile[i][i];
        }
    }
    __syncthreads();
}

inline __device__ void store_inverse(REAL (*tile)[SIZE + 1], const REAL* diagonal, u32 n, REAL* inverse) {
    for (u32 at = threadIdx.x; at < SIZE * SIZE; at += THREADS) {
        const u32 i = at / SIZE, j = at % SIZE;
        REAL value = (REAL)0;
        if (i < n && j < n) value = i == j ? diagonal[i] : j < i ? tile[j][i] : (REAL)0;
        inverse[at] = value;
    }
}

// Factors of matrices of n <= SIZE rows, of which the lower triangle is read; blockIdx.x counts them. The strict upper triangle of the results is zero.
// `inverse`, if it is not null, receives SIZE by SIZE inverses of the factors.
extern "C" __global__ void __launch_bounds__(THREADS)
cholesky_block(const REAL* a, u64 a_batch, u64 a_row, u64 a_column, REAL* factor, u64 f_batch, u64 f_row, REAL* inverse, u32 n,
               u64* status, u64 report, u64 report_batch) {
    __shared__ REAL tile[SIZE][SIZE + 1];
    __shared__ REAL diagonal[SIZE];
    const u64 entry = blockIdx.x;
    a += entry * a_batch;
    factor += entry * f_batch;
    for (u32 at = threadIdx.x; at < n * n; at += THREADS) {
        const u32 i = at / n, j = at % n;
        if (j <= i) tile[i][j] = a[i * a_row + j * a_column];
    }
    factorise(tile, n, status, report + entry * report_batch);
    for (u32 at = threadIdx.x; at < n * n; at += THREADS) {
        const u32 i = at / n, j = at % n;
        factor[i * f_row + j] = j <= i ? tile[i][j] : (REAL)0;
    }
    if (inverse) {
        invert(tile, diagonal, n);
        store_inverse(tile, diagonal, n, inverse + entry * SIZE * SIZE);
    }
}

// Inverses of the diagonal blocks of factors of n rows: SIZE by SIZE each, block blockIdx.y of matrix blockIdx.x.
extern "C" __global__ void __launch_bounds__(THREADS)
invert_blocks(const REAL* factor, u64 f_batch, u64 f_row, u64 f_column, REAL* inverse, u32 n) {
    __shared__ REAL tile[SIZE][SIZE + 1];
    __shared__ REAL diagonal[SIZE];
    const u64 first = (u64)blockIdx.y * SIZE;
    const u32 rows = n - first < SIZE ? (u32)(n - first) : SIZE;
    factor += blockIdx.x * f_batch + first * (f_row + f_column);
    for (u32 at = threadIdx.x; at < rows * rows; at += THREADS) {
        const u32 i = at / rows, j = at % rows;
        if (j <= i) tile[i][j] = factor[i * f_row + j * f_column];
    }
    invert(tile, diagonal, rows);
    store_inverse(tile, diagonal, rows, inverse + ((u64)blockIdx.x * gridDim.y + blockIdx.y) * SIZE * SIZE);
}

// Copies (batch, rows, columns) from a strided window to rows `t_row` apart. `lower`: of square matrices only the lower triangle; the rest is zero.
extern "C" __global__ void __launch_bounds__(THREADS)
copy_matrix(const REAL* from, u64 f_batch, u64 f_row, u64 f_column, REAL* to, u64 t_batch, u64 t_row, u64 rows, u64 columns, u32 lower) {
    const u64 at = (u64)blockIdx.y * THREADS + threadIdx.x;
    if (at >= rows * columns) return;
    const u64 i = at / columns, j = at % columns, entry = blockIdx.x;
    REAL value = (REAL)0;
    if (!lower || j <= i) value = from[entry * f_batch + i * f_row + j * f_column];
    to[entry * t_batch + i * t_row + j] = value;
}

// Copies of the identity matrix: (batch, n, n).
extern "C" __global__ void __launch_bounds__(THREADS) identities(REAL* to, u64 n) {
    const u64 at = (u64)blockIdx.y * THREADS + threadIdx.x;
    if (at < n * n) to[blockIdx.x * n * n + at] = at / n == at % n ? (REAL)1 : (REAL)0;
}

// The strict upper triangle of (batch, n, n) from the lower one, or zero.
extern "C" __global__ void __launch_bounds__(THREADS) mirror(REAL* x, u64 n, u32 zero) {
    const u64 at = (u64)blockIdx.y * THREADS + threadIdx.x;
    if (at >= n * n) return;
    const u64 i = at / n, j = at % n;
    REAL* matrix = x + blockIdx.x * n * n;
    if (j > i) matrix[at] = zero ? (REAL)0 : matrix[j * n + i];
}

// 2 sum log diag of factors of n rows, blockIdx.x counts them.
extern "C" __global__ void __launch_bounds__(THREADS)
log_det(const REAL* factor, u64 f_batch, u64 f_step, REAL* out, u64 o_step, u64 n) {
    __shared__ REAL sums[THREADS];
    REAL sum = (REAL)0;
    for (u64 i = threadIdx.x; i < n; i += THREADS) {
        const REAL x = factor[blockIdx.x * f_batch + i * f_step];
        sum += sizeof(REAL) == 4 ? (REAL)logf((float)x) : (REAL)log((double)x);
    }
    sums[threadIdx.x] = sum;
    for (u32 half = THREADS / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
    }
    if (threadIdx.x == 0) out[blockIdx.x * o_step] = (REAL)2 * sums[0];
}
