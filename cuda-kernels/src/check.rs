//! What commands must keep to on every device, so that the emulated one refuses what a card would.

use crate::convolution::Convolve;
use crate::{Command, Error, Gemm, Launch, Matrix, device::Result};

/// Blocks along y or z of a grid are below that.
const BLOCKS: u32 = 65_536;
/// Threads of a block.
const THREADS: u64 = 1024;
/// Threads of a block along z.
const DEPTH: u32 = 64;
/// Arguments of a launch: 4,096 bytes of them.
const ARGUMENTS: usize = 512;

/// An error for commands that no card takes.
pub(crate) fn check(commands: &[Command]) -> Result<()> {
    commands.iter().try_for_each(|command| match command {
        Command::Launch(launch) => check_launch(launch),
        Command::Gemm(gemm) => check_product(gemm),
        Command::Convolve(convolve) => check_convolution(convolve),
        Command::Zero { .. } | Command::Copy { .. } => Ok(()),
    })
}

fn check_launch(launch: &Launch) -> Result<()> {
    let wrong = |problem: String| Err(Error::Driver(format!("kernel {}: {problem}", launch.kernel.name)));
    let threads = launch.block.iter().fold(1, |threads: u64, &length| threads.saturating_mul(u64::from(length)));
    if threads == 0 || threads > THREADS || launch.block[2] > DEPTH {
        return wrong(format!("a block of {:?} threads", launch.block));
    }
    let [x, y, z] = launch.grid;
    if x == 0 || y == 0 || z == 0 || x > i32::MAX as u32 || y >= BLOCKS || z >= BLOCKS {
        return wrong(format!("a grid of {:?} blocks", launch.grid));
    }
    if launch.arguments.len() > ARGUMENTS {
        return wrong(format!("{} arguments", launch.arguments.len()));
    }
    Ok(())
}

fn check_product(gemm: &Gemm) -> Result<()> {
    let &Gemm { batch, m, n, k, .. } = gemm;
    if [batch, m, n].contains(&0) {
        return Ok(());
    }
    let wrong = |problem: String| Err(Error::Driver(format!("a product of {batch} times {m} x {k} x {n}: {problem}")));
    for (name, matrix, rows, columns) in [("a", &gemm.a, m, k), ("b", &gemm.b, k, n), ("c", &gemm.c, m, n)] {
        let (down, across) = lines(matrix, rows, columns);
        if down > 1 && matrix.leading < across {
            return wrong(format!("the rows of {name} overlap, {} elements apart", matrix.leading));
        }
        let leading = if down > 1 { matrix.leading } else { across };
        if [rows, columns, leading].iter().any(|&size| i32::try_from(size).is_err()) {
            return wrong(format!("{name} has 2^31 rows, columns or elements to a row, or more"));
        }
    }
    if batch > 1 && gemm.c.batch_stride == 0 {
        return wrong("all results lie in the same place".into());
    }
    Ok(())
}

fn check_convolution(convolve: &Convolve) -> Result<()> {
    if convolve.convolution.is_for_cudnn() {
        return Ok(());
    }
    Err(Error::Driver(format!("cuDNN is not asked for {:?}", convolve.convolution)))
}

/// How many lines a matrix has in memory, and elements in each.
pub(crate) fn lines(matrix: &Matrix, rows: usize, columns: usize) -> (usize, usize) {
    if matrix.transposed { (columns, rows) } else { (rows, columns) }
}
