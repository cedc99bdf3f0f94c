//! Random numbers.

use crate::{Argument, Command, Kernel, Launch, Real};

const THREADS: usize = 256;

/// Distributions of random numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoiseKind {
    /// Standard normal.
    Normal,
    /// Uniform on [0, 1).
    Uniform,
    /// -1 or 1.
    Rademacher,
}

/// Fills `count` elements at `out` from a stream of random numbers, whose seed and step (low and high words, four `u32`) lie at `place`.
pub fn noise(kind: NoiseKind, real: Real, out: u64, count: usize, stream: u32, place: u64) -> Vec<Command> {
    if count == 0 {
        return Vec::new();
    }
    let double = real == Real::F64;
    let distribution = match kind {
        NoiseKind::Normal => 0,
        NoiseKind::Uniform => 1,
        NoiseKind::Rademacher => 2,
    };
    let source = format!(
        "#define DOUBLE {}\n#define DISTRIBUTION {distribution}\n{}",
        u8::from(double),
        include_str!("../kernels/noise.cu")
    );
    let per_block = if double && kind != NoiseKind::Rademacher { 2 } else { 4 };
    let blocks = count.div_ceil(per_block).div_ceil(THREADS);
    vec![Command::Launch(Launch {
        kernel: Kernel { source: source.into(), name: "noise".into() },
        grid: [blocks as u32, 1, 1],
        block: [THREADS as u32, 1, 1],
        shared_bytes: 0,
        arguments: vec![
            Argument::Pointer(out),
            Argument::U64(count as u64),
            Argument::U32(stream),
            Argument::Pointer(place),
        ],
    })]
}
