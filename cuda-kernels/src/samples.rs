//! Kernels of every kind, for checks that compile them all.

use crate::convolution::{Convolution, Part, Stack};
use crate::{Array, Command, Factors, IndexVector, Item, Kernel, NoiseKind, Precision, Real, Status, Strided};
use std::collections::HashSet;

/// Every kernel of this crate, in each number format and precision it has, for sizes that make each of its variants. Those that are generated elsewhere
/// are not among them.
///
/// ```
/// let kernels = cuda_kernels::samples();
/// assert!(["gather", "noise", "cholesky_block"].iter().all(|name| kernels.iter().any(|kernel| *kernel.name == **name)));
/// ```
pub fn samples() -> Vec<Kernel> {
    let mut commands = Vec::new();
    indices(&mut commands);
    for real in [Real::F32, Real::F64] {
        for kind in [NoiseKind::Normal, NoiseKind::Uniform, NoiseKind::Rademacher] {
            commands.extend(crate::noise(kind, real, 0, 1000, 0, 0));
        }
        factors(real, &mut commands);
        convolutions(real, &mut commands);
    }
    let mut seen = HashSet::new();
    let kernels = commands.into_iter().filter_map(|command| match command {
        Command::Launch(launch) => Some(launch.kernel),
        _ => None,
    });
    kernels.filter(|kernel| seen.insert(kernel.clone())).collect()
}

fn indices(commands: &mut Vec<Command>) {
    let index = IndexVector { address: 0, stride: 1, count: 100 };
    let status = Status { status: 0, report: 0 };
    let array = Array { address: 0, strides: [1; 3] };
    for item in [Item::F32, Item::F64, Item::U32] {
        commands.extend(crate::gather(item, array, index, 0, [10; 3], status));
        commands.extend(crate::scatter_add(item, array, index, 0, [10; 3], status));
        commands.extend(crate::one_hot(item, index, 0, 10, status));
        commands.extend(crate::identity(item, 0, 10));
    }
    commands.extend(crate::index_offset(0, [1; 2], 0, [10; 2], 1));
}

fn factors(real: Real, commands: &mut Vec<Command>) {
    let status = Status { status: 0, report: 0 };
    let scratch = &mut |_| 0;
    for n in [1, 8, 16, 32, 48, 64, 100, 1000, 2000] {
        for strides in [[n * n, n, 1], [n * n, 1, n], [n * n * 4, 2 * n, 2]] {
            let (factors, matrix) = (Factors { real, batch: 3, n }, Strided { address: 0, strides });
            commands.extend(factors.cholesky(matrix, 0, status));
            commands.extend(factors.inverse(matrix, 0, scratch));
            commands.extend(factors.log_det(matrix, 0, 1));
            for columns in [1, 7, 300] {
                let right = Strided { address: 0, strides: [n * columns, columns, 1] };
                commands.extend(factors.solve(matrix, right, 0, columns, scratch));
            }
        }
    }
}

fn convolutions(real: Real, commands: &mut Vec<Command>) {
    let precisions: &[Precision] =
        if real == Real::F32 { &[Precision::Full, Precision::Tf32] } else { &[Precision::Full] };
    // (images, channels, outputs, side of an image, side of a filter, stride)
    let shapes = [
        (3, 1, 2, 5, 3, 1),
        (32, 3, 32, 32, 3, 1),
        (64, 64, 128, 16, 3, 2),
        (64, 128, 128, 8, 1, 1),
        (128, 16, 10, 28, 5, 1),
    ];
    for &precision in precisions {
        for (count, channels, outputs, side, filter, step) in shapes {
            for part in [Part::Images, Part::Filters, Part::Results] {
                for groups in [1, 5] {
                    let padding = [filter / 2; 2];
                    let result = [(side + 2 * padding[0] - filter) / step + 1; 2];
                    let stack = |shape: [usize; 5]| {
                        let mut strides = [1; 5];
                        for axis in (0..4).rev() {
                            strides[axis] = strides[axis + 1] * shape[axis + 1];
                        }
                        Stack { address: 0, strides }
                    };
                    let convolution = Convolution {
                        real,
                        precision,
                        part,
                        groups,
                        count,
                        channels,
                        outputs,
                        image: [side; 2],
                        filter: [filter; 2],
                        result,
                        stride: [step; 2],
                        padding,
                        images: stack([groups, count, channels, side, side]),
                        filters: stack([groups, outputs, channels, filter, filter]),
                        results: stack([groups, count, outputs, result[0], result[1]]),
                    };
                    commands.extend(convolution.commands(&mut |_| 0).into_iter().flatten());
                }
            }
        }
    }
}
