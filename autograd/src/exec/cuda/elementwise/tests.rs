//! The kernels' texts.
