// Sums of parts that lie side by side, in their order. In front stands REAL.

extern "C" __global__ void __launch_bounds__(256) convolution_sum(const REAL* __restrict__ parts, REAL* __restrict__ out, u64 elements, u32 count) {
    const u64 at = (u64)blockIdx.x * 256 + threadIdx.x;
    if (at >= elements) {
        return;
    }
    REAL total = 0;
#pragma unroll 8
    for (u32 part = 0; part < count; part++) {
        total += parts[part * elements + at];
    }
    out[at] = total;
}
