//! CUDA C++ kernels and their typed launches.
