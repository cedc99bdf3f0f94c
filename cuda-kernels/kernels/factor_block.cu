// Lower Cholesky factors of small matrices and of the diagonal blocks of large ones. Each thread keeps a row in registers that moves down by one
// element with every column that is eliminated (right-looking; Golub and Van Loan, "Matrix Computations", 4th edition, section 4.2.5), so that the
// loop over columns needs no more code than its body.

#if ROWS <= 8
#define LANES 8
#elif ROWS <= 16
#define LANES 16
#elif ROWS <= 32
#define LANES 32
#else
#define LANES 64
#endif

// Matrices of a block. Those of up to 32 rows stay within a warp.
#if LANES == 64
#define MATRICES 1
#define MEET() __syncthreads()
#else
#define MATRICES (128 / LANES)
#define MEET() __syncwarp()
#endif

// Square root of a positive number and the root's inverse, to rounding.
inline __device__ void roots(real x, real& root, real& inverse) {
    inverse = RSQRT(x);
    root = x;
    // Infinity stays what it is, and its inverse is zero.
    if (x - x == (real)0) {
        inverse = FMA((real)0.5 * inverse, FMA(-(x * inverse), inverse, (real)1), inverse);
        const real first = x * inverse;
        root = FMA((real)0.5 * inverse, FMA(-first, first, x), first);
    }
}

// Factors of `batch` matrices of n <= ROWS rows, of which the lower triangle is read; they may be written in place. The strict upper triangle of the
// results is zero. A pivot that is not positive is reported by the least of `report` + `report_batch` times its matrix + its row.
extern "C" __global__ void __launch_bounds__(LANES * MATRICES)
cholesky_block(const real* a, u64 a_batch, u64 a_row, u64 a_column, real* factor, u64 f_batch, u64 f_row, u32 batch, u32 n,
               u64* status, u64 report, u64 report_batch) {
    __shared__ real tiles[MATRICES][ROWS][ROWS + 1];
    // The column that is eliminated, from its pivot on, and the next one.
    __shared__ __align__(16) real columns[MATRICES][2][LANES];
    const u32 group = threadIdx.x / LANES, lane = threadIdx.x % LANES;
    const u32 number = blockIdx.x * MATRICES + group;
    const bool live = number < batch;
    const u32 entry = live ? number : batch - 1;
    a += entry * a_batch;
    real(*tile)[ROWS + 1] = tiles[group];

    if (a_row == 1) {
#pragma unroll 8
        for (u32 c = 0; c < n; ++c)
            if (lane >= c && lane < n) tile[lane][c] = a[lane + c * a_column];
    } else {
#pragma unroll 8
        for (u32 r = 0; r < n; ++r)
            if (lane <= r) tile[r][lane] = a[r * a_row + lane * a_column];
    }
    MEET();
    real row[ROWS];
#pragma unroll
    for (u32 k = 0; k < ROWS; ++k) row[k] = lane < n && k <= lane ? tile[lane < ROWS ? lane : 0][k] : (real)0;
    columns[group][0][lane] = row[0];
#pragma unroll 1
    for (u32 c = 0; c < n; ++c) {
        // row[k] is at column c + k. What is beyond the diagonal or the last column is not used.
        const real* column = columns[group][c & 1];
        real* next = columns[group][(c & 1) ^ 1];
        MEET();
        const real pivot = column[0];
        // Not a number is not positive either.
        if (lane == c && live && !(pivot > (real)0)) atomicMin(status, report + entry * report_batch + c);
        real root, inverse;
        roots(pivot, root, inverse);
        const real own = row[0] * inverse, multiple = own * inverse;
        if (lane >= c && lane < n) tile[lane][c] = lane == c ? root : own;
        row[0] = FMA(-multiple, column[1], row[1]);
        if (lane > c) next[lane - c - 1] = row[0];
#pragma unroll
        for (u32 first = 0; first < ROWS; first += CHUNK) {
            if (c + first < n) {
#pragma unroll
                for (u32 k = first < 2 ? 2 : first; k < first + CHUNK && k < ROWS; ++k) row[k - 1] = FMA(-multiple, column[k], row[k]);
            }
        }
    }
    MEET();
    factor += entry * f_batch;
#pragma unroll 8
    for (u32 r = 0; r < n; ++r)
        if (live && lane < n) factor[r * f_row + lane] = lane <= r ? tile[r][lane] : (real)0;
}
