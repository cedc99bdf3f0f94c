// What every kernel may use. Free of includes: compiled by NVRTC for cards and, behind a shim that stands in for CUDA, by the system's C++
// compiler for tests.

typedef unsigned int u32;
typedef unsigned long long u64;
