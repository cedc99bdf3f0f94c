// Substitution in triangular systems of at most ROWS equations. Each thread keeps the right-hand side of a system in registers, which moves down by
// one element with every unknown that is found, so that the loop over unknowns needs no more code than its body and runs backward as it runs forward:
// only the coefficients are laid out in another order.

// Threads of a block at most.
#define THREADS 64
// Elements from one equation's coefficients to the next one's, which begin at multiples of 16 bytes.
#define PITCH (ROWS + 16 / sizeof(real))
// Columns of row-major vectors that are exchanged together.
#define STAGE 16

typedef real Coefficients[ROWS][PITCH];

// Coefficients of L x = b or, `back`, of L^T x = b in the order in which they are needed: that of unknown k + j in the equations left when k are found
// is at [k][j], at [k][0] the pivot's inverse. All threads of the block meet before and after.
inline __device__ void load(Coefficients& to, const real* factor, u64 f_row, u64 f_column, u32 n, bool back) {
    __syncthreads();
    const bool turned = f_row == 1;
#pragma unroll 8
    for (u32 at = threadIdx.x; at < n * ROWS; at += blockDim.x) {
        const u32 i = turned ? at % ROWS : at / ROWS, j = turned ? at / ROWS : at % ROWS;
        if (j <= i && i < n) to[back ? n - 1 - i : j][i - j] = factor[i * f_row + j * f_column];
    }
    __syncthreads();
    for (u32 k = threadIdx.x; k < n; k += blockDim.x) to[k][0] = (real)1 / to[k][0];
    __syncthreads();
}

// Finds n unknowns; each goes to `found`, with its number, when equation `number` is not needed any more.
template <typename Found> inline __device__ void eliminate(real (&x)[ROWS], const Coefficients& coefficients, u32 n, Found found) {
#pragma unroll 1
    for (u32 number = 0; number < n; ++number) {
        const real* equation = coefficients[number];
        const real value = x[0] * equation[0];
#pragma unroll
        for (u32 first = 0; first < ROWS; first += CHUNK) {
            if (number + first < n) {
#pragma unroll
                for (u32 k = first < 1 ? 1 : first; k < first + CHUNK && k < ROWS; ++k) x[k - 1] = FMA(-value, equation[k], x[k]);
            }
        }
        found(number, value);
    }
}

// out = L^-1 b (`forward`), then L^-T (`back`), for n <= ROWS rows and any number of columns, of which a block takes blockDim.x; `chunks` blocks a
// matrix. In place if `b` is `out`.
extern "C" __global__ void __launch_bounds__(THREADS)
substitute(const real* factor, u64 f_batch, u64 f_row, u64 f_column, const real* b, u64 b_batch, u64 b_row, u64 b_column,
           real* out, u64 o_batch, u64 o_row, u32 n, u32 columns, u32 chunks, u32 forward, u32 back) {
    __shared__ __align__(16) Coefficients coefficients;
    const u32 entry = blockIdx.x / chunks, column = blockIdx.x % chunks * blockDim.x + threadIdx.x;
    const bool live = column < columns;
    factor += entry * f_batch;
    b += entry * b_batch + column * b_column;
    out += entry * o_batch + column;
    real x[ROWS];
    if (forward) {
        load(coefficients, factor, f_row, f_column, n, false);
#pragma unroll
        for (u32 k = 0; k < ROWS; ++k) x[k] = live && k < n ? b[k * b_row] : (real)0;
        eliminate(x, coefficients, n, [&](u32 k, real value) {
            if (live) out[k * o_row] = value;
        });
        b = out;
        b_row = o_row;
    }
    if (back) {
        load(coefficients, factor, f_row, f_column, n, true);
#pragma unroll
        for (u32 k = 0; k < ROWS; ++k) x[k] = live && k < n ? b[(n - 1 - k) * b_row] : (real)0;
        eliminate(x, coefficients, n, [&](u32 k, real value) {
            if (live) out[(n - 1 - k) * o_row] = value;
        });
    }
}

// out = (L L^T)^-1 for contiguous results of n <= ROWS rows, one a block of at least n threads. The lower triangle is computed, the upper one its
// mirror image. Without the 1, assemblers that would have more blocks of it at once keep registers in memory for that.
extern "C" __global__ void __launch_bounds__(THREADS, 1)
inverse_block(const real* factor, u64 f_batch, u64 f_row, u64 f_column, real* out, u32 n) {
    __shared__ __align__(16) Coefficients coefficients;
    const u32 column = threadIdx.x;
    factor += blockIdx.x * f_batch;
    out += (u64)blockIdx.x * n * n;
    // Unknowns take the place of the equation that they came from.
    const auto keep = [&](u32 k, real value) {
        __syncthreads();
        if (column < n) coefficients[k][column] = value;
    };
    real x[ROWS];
    load(coefficients, factor, f_row, f_column, n, false);
#pragma unroll
    for (u32 k = 0; k < ROWS; ++k) x[k] = k == column ? (real)1 : (real)0;
    eliminate(x, coefficients, n, keep);
    __syncthreads();
#pragma unroll
    for (u32 k = 0; k < ROWS; ++k) x[k] = column < n && k < n ? coefficients[n - 1 - k][column] : (real)0;
    load(coefficients, factor, f_row, f_column, n, true);
    eliminate(x, coefficients, n, keep);
    __syncthreads();
#pragma unroll 4
    for (u32 at = threadIdx.x; at < n * ROWS; at += blockDim.x) {
        const u32 i = at / ROWS, j = at % ROWS;
        if (j < n) out[i * n + j] = j <= i ? coefficients[n - 1 - i][j] : coefficients[n - 1 - j][i];
    }
}

// L^-1 of the diagonal blocks of factors of n rows, at the same places of contiguous (n, n) matrices; `blocks` of ROWS rows a matrix, a block of
// threads each.
extern "C" __global__ void __launch_bounds__(THREADS)
invert_diagonal(const real* factor, u64 f_batch, u64 f_row, u64 f_column, real* out, u64 n, u32 blocks) {
    __shared__ __align__(16) Coefficients coefficients;
    const u32 entry = blockIdx.x / blocks, column = threadIdx.x;
    const u64 first = (u64)(blockIdx.x % blocks) * ROWS;
    const u32 rows = n - first < ROWS ? (u32)(n - first) : ROWS;
    out += entry * n * n + first * n + first + column;
    real x[ROWS];
    load(coefficients, factor + entry * f_batch + first * (f_row + f_column), f_row, f_column, rows, false);
#pragma unroll
    for (u32 k = 0; k < ROWS; ++k) x[k] = k == column ? (real)1 : (real)0;
    eliminate(x, coefficients, rows, [&](u32 k, real value) {
        if (column < rows) out[k * n] = value;
    });
}

// The rows below a diagonal block L of ROWS rows, at `factor`: X with X L^T = A in the place of A; `below` rows of them, THREADS a block, `chunks`
// blocks a matrix. The mirror image of these rows above the diagonal becomes zero.
extern "C" __global__ void __launch_bounds__(THREADS)
panel(real* factor, u64 f_batch, u64 leading, u32 below, u32 chunks) {
    __shared__ __align__(16) Coefficients coefficients;
    __shared__ real stage[THREADS][STAGE + 1];
    const u32 entry = blockIdx.x / chunks, first = blockIdx.x % chunks * THREADS;
    const u32 row = threadIdx.x, rows = below - first < THREADS ? below - first : THREADS;
    factor += entry * f_batch;
    real* a = factor + (ROWS + first) * leading;
    real x[ROWS];
    load(coefficients, factor, leading, 1, ROWS, false);
#pragma unroll
    for (u32 from = 0; from < ROWS; from += STAGE) {
#pragma unroll
        for (u32 at = threadIdx.x; at < THREADS * STAGE; at += THREADS)
            if (at / STAGE < rows) stage[at / STAGE][at % STAGE] = a[at / STAGE * leading + from + at % STAGE];
        __syncthreads();
#pragma unroll
        for (u32 k = 0; k < STAGE; ++k) x[from + k] = row < rows ? stage[row][k] : (real)0;
        __syncthreads();
    }
    eliminate(x, coefficients, ROWS, [&](u32 k, real value) {
        stage[row][k % STAGE] = value;
        if (k % STAGE == STAGE - 1) {
            __syncthreads();
#pragma unroll
            for (u32 at = threadIdx.x; at < THREADS * STAGE; at += THREADS)
                if (at / STAGE < rows) a[at / STAGE * leading + k - (STAGE - 1) + at % STAGE] = stage[at / STAGE][at % STAGE];
            __syncthreads();
        }
    });
    if (row < rows) {
#pragma unroll 8
        for (u32 r = 0; r < ROWS; ++r) factor[r * leading + ROWS + first + row] = (real)0;
    }
}
