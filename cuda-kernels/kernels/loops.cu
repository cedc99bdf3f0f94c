// How generated loops reach memory and combine values. Paragraphs as in `math.cu`; later ones use the earlier ones.

// pack: neighbouring elements, which travel to and from memory as one.
template <typename T, int N> struct alignas(sizeof(T) * N) Pack {
    T at[N];
};

// convert: the same number in another type: rounded to nearest, to integers towards zero and into their range, 0 where it is not a number.
template <typename T, typename S> struct Convert {
    static inline __device__ T of(S x) { return (T)x; }
};
template <typename S> struct Convert<u32, S> {
    static inline __device__ u32 of(S x) { return !(x > (S)0) ? 0u : x >= (S)4294967296.0 ? 4294967295u : (u32)x; }
};
template <> struct Convert<u32, u32> {
    static inline __device__ u32 of(u32 x) { return x; }
};

// load: N neighbours, aligned as a pack.
template <typename T, int N, typename S> inline __device__ void load(Pack<T, N>& to, const S* from) {
    const Pack<S, N> pack = *(const Pack<S, N>*)from;
#pragma unroll
    for (int i = 0; i < N; ++i) to.at[i] = Convert<T, S>::of(pack.at[i]);
}

// load_apart: the first `count` of N elements `step` apart; 0 in the place of others.
template <typename T, int N, typename S>
inline __device__ void load_apart(Pack<T, N>& to, const S* from, u64 step, int count = N) {
#pragma unroll
    for (int i = 0; i < N; ++i) to.at[i] = i < count ? Convert<T, S>::of(from[i * step]) : (T)0;
}

// store: N neighbours, aligned as a pack.
template <typename T, int N, typename S> inline __device__ void store(S* to, const Pack<T, N>& from) {
    Pack<S, N> pack;
#pragma unroll
    for (int i = 0; i < N; ++i) pack.at[i] = Convert<S, T>::of(from.at[i]);
    *(Pack<S, N>*)to = pack;
}

// store_apart: the first `count` of N elements `step` apart.
template <typename T, int N, typename S>
inline __device__ void store_apart(S* to, const Pack<T, N>& from, u64 step, int count = N) {
#pragma unroll
    for (int i = 0; i < N; ++i) {
        if (i < count) to[i * step] = Convert<S, T>::of(from.at[i]);
    }
}

// fold_sum: the sum of a pack, in pairs.
template <typename T, int N> inline __device__ T fold_sum(Pack<T, N> x) {
#pragma unroll
    for (int half = N / 2; half > 0; half /= 2) {
#pragma unroll
        for (int i = 0; i < half; ++i) x.at[i] = math_add(x.at[i], x.at[i + half]);
    }
    return x.at[0];
}

// fold_max: the maximum of a pack.
template <typename T, int N> inline __device__ T fold_max(Pack<T, N> x) {
#pragma unroll
    for (int i = 1; i < N; ++i) x.at[0] = math_max(x.at[0], x.at[i]);
    return x.at[0];
}

// add_to: sum + lost grows by a term, with hardly any rounding error (Knuth's two-sum); `lost` is not a number once the sum is not finite.
template <typename T> inline __device__ void add_to(T& sum, T& lost, T term) {
    const T next = math_add(sum, term);
    const T back = math_sub(next, sum);
    lost = math_add(lost, math_add(math_sub(sum, math_sub(next, back)), math_sub(term, back)));
    sum = next;
}

// total: sum + lost.
template <typename T> inline __device__ T total(T sum, T lost) { return lost == lost ? math_add(sum, lost) : sum; }
