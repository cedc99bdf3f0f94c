// Work that is steered by integer tensors, and the identity matrix. Set in front: T, the element type. An index that is out of range is reported by
// the least of `report` plus its position, and nothing is read for it.

// out[i, j, l] = x[i, index[j], l] over (outer, picked, inner); sx*, si: strides of x and of the index.
extern "C" __global__ void __launch_bounds__(256)
gather(const T* x, const u32* index, T* out, u64 count, u64 picked, u64 entries, u64 inner, u64 sx0, u64 sx1, u64 sx2, u64 si,
       u64* status, u64 report) {
    const u64 at = (u64)blockIdx.x * 256 + threadIdx.x;
    if (at >= count) return;
    const u64 l = at % inner, j = at / inner % picked, i = at / inner / picked;
    const u32 entry = index[j * si];
    if (entry >= entries) {
        atomicMin(status, report + j);
        return;
    }
    out[at] = x[i * sx0 + entry * sx1 + l * sx2];
}

// out[i, e, l] = sum over j with index[j] = e of u[i, j, l], in the order of j; over (outer, entries, inner), every thread one element.
extern "C" __global__ void __launch_bounds__(256)
scatter_add(const T* u, const u32* index, T* out, u64 count, u64 picked, u64 entries, u64 inner, u64 su0, u64 su1, u64 su2, u64 si,
            u64* status, u64 report) {
    __shared__ u32 chunk[256];
    const u64 at = (u64)blockIdx.x * 256 + threadIdx.x;
    const u64 l = at % inner, e = at / inner % entries, i = at / inner / entries;
    T sum = (T)0;
    for (u64 first = 0; first < picked; first += 256) {
        const u64 mine = first + threadIdx.x;
        __syncthreads();
        if (mine < picked) {
            const u32 entry = index[mine * si];
            if (entry >= entries) atomicMin(status, report + mine);
            chunk[threadIdx.x] = entry;
        }
        __syncthreads();
        const u32 length = picked - first < 256 ? (u32)(picked - first) : 256u;
        if (at < count)
            for (u32 k = 0; k < length; ++k)
                if (chunk[k] == e) sum = sum + u[i * su0 + (first + k) * su1 + l * su2];
    }
    if (at < count) out[at] = sum;
}

// out[j, c] = 1 where index[j] = c, else 0; over (count, classes).
extern "C" __global__ void __launch_bounds__(256)
one_hot(const u32* index, T* out, u64 count, u64 classes, u64 si, u64* status, u64 report) {
    const u64 at = (u64)blockIdx.x * 256 + threadIdx.x;
    if (at >= count) return;
    const u64 c = at % classes, j = at / classes;
    const u32 entry = index[j * si];
    if (entry >= classes) atomicMin(status, report + j);
    out[at] = entry == c ? (T)1 : (T)0;
}

// out[r, c] = index[r, c] + r stride; over (rows, columns).
extern "C" __global__ void __launch_bounds__(256)
index_offset(const u32* index, u32* out, u64 count, u64 columns, u64 s0, u64 s1, u32 stride) {
    const u64 at = (u64)blockIdx.x * 256 + threadIdx.x;
    if (at >= count) return;
    const u64 c = at % columns, r = at / columns;
    out[at] = index[r * s0 + c * s1] + (u32)r * stride;
}

// The identity matrix of n rows.
extern "C" __global__ void __launch_bounds__(256) identity(T* out, u64 count, u64 n) {
    const u64 at = (u64)blockIdx.x * 256 + threadIdx.x;
    if (at < count) out[at] = at / n == at % n ? (T)1 : (T)0;
}
