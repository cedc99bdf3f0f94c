//! Cholesky factors and what is computed from them: blocks of at most 64 rows by kernels, the rest by matrix products.
//!
//! Matrices of up to 64 rows take one launch. Larger ones go block by block ([`cholesky`], [`substitute`], [`inverse`]); only in an inverse are blocks
//! inverted, elsewhere they are substituted, so that small pivots cost no digits.

mod cholesky;
mod inverse;
mod substitute;

use crate::{Argument, Command, Gemm, Kernel, Launch, Matrix, Precision, Real};

/// Rows of a block.
const SIZE: usize = 64;
/// Sides of the tiles that copies are made of, and the rows of threads on them.
const TILE: [usize; 2] = [32, 8];
/// Columns that a product brings up to date together where those above the diagonal are not needed.
const WIDE: usize = 1024;

const REAL: &str = include_str!("../../kernels/factor_real.cu");
const BLOCK: &str = include_str!("../../kernels/factor_block.cu");
const SUBSTITUTE: &str = include_str!("../../kernels/factor_substitute.cu");
const WHOLE: &str = include_str!("../../kernels/factor_whole.cu");

/// A batch of strided matrices.
#[derive(Clone, Copy, Debug)]
pub struct Strided {
    /// Address of the first element.
    pub address: u64,
    /// Elements between neighbours in the batch, down and across.
    pub strides: [usize; 3],
}

/// What all commands of one step share.
#[derive(Clone, Copy, Debug)]
pub struct Factors {
    /// Element type.
    pub real: Real,
    /// Matrices.
    pub batch: usize,
    /// Rows and columns of a matrix.
    pub n: usize,
}

/// A launch to be made.
struct Task {
    text: &'static str,
    name: &'static str,
    blocks: [usize; 2],
    threads: [usize; 2],
}

impl Factors {
    /// out = 2 sum log diag L, elements `stride` apart.
    pub fn log_det(&self, factor: Strided, out: u64, stride: usize) -> Vec<Command> {
        if self.batch == 0 {
            return Vec::new();
        }
        let arguments = vec![
            Argument::Pointer(factor.address),
            number(factor.strides[0]),
            number(factor.strides[1] + factor.strides[2]),
            Argument::Pointer(out),
            number(stride),
            count(self.batch),
            count(self.n),
        ];
        let task = Task { text: WHOLE, name: "log_det", blocks: [self.batch.div_ceil(4), 1], threads: [128, 1] };
        vec![self.launch(task, arguments)]
    }

    /// The most rows that kernels for matrices of so many rows make room for.
    fn room(rows: usize) -> usize {
        [8, 16, 32, 48].into_iter().find(|&room| rows <= room).unwrap_or(SIZE)
    }

    fn launch(&self, task: Task, arguments: Vec<Argument>) -> Command {
        let double = u8::from(self.real == Real::F64);
        let room = if task.text == WHOLE { SIZE } else { Self::room(self.n) };
        let source = format!("#define DOUBLE {double}\n#define ROWS {room}\n{REAL}\n{}", task.text);
        let ([x, y], [across, down]) = (task.blocks, task.threads);
        Command::Launch(Launch {
            kernel: Kernel { source: source.into(), name: task.name.into() },
            grid: [x as u32, y as u32, 1],
            block: [across as u32, down as u32, 1],
            shared_bytes: 0,
            arguments,
        })
    }

    /// (n, columns) matrices written to other places; `lower`: the lower triangles of square ones.
    fn copy(&self, from: Strided, to: u64, columns: usize, lower: bool) -> Command {
        let [batch, row, column] = from.strides.map(number);
        let arguments = vec![
            Argument::Pointer(from.address),
            batch,
            row,
            column,
            Argument::Pointer(to),
            number(self.n * columns),
            number(columns),
            count(self.n),
            count(columns),
            count(columns.div_ceil(TILE[0])),
            count(usize::from(lower)),
        ];
        self.launch(self.tiles("copy_matrix", columns), arguments)
    }

    /// The lower triangles of contiguous matrices, mirrored.
    fn mirror(&self, address: u64) -> Command {
        let arguments = vec![Argument::Pointer(address), number(self.n), count(self.n.div_ceil(TILE[0]))];
        self.launch(self.tiles("mirror", self.n), arguments)
    }

    fn tiles(&self, name: &'static str, columns: usize) -> Task {
        let blocks = [self.batch * columns.div_ceil(TILE[0]), self.n.div_ceil(TILE[0])];
        Task { text: WHOLE, name, blocks, threads: TILE }
    }

    fn place(&self, address: u64, elements: usize) -> u64 {
        address + (elements * self.real.size()) as u64
    }

    /// Part of (n, n) matrices from a row and column on, as an operand.
    fn part(&self, of: Strided, row: usize, column: usize) -> Matrix {
        let [batch_stride, down, across] = of.strides;
        let address = self.place(of.address, row * down + column * across);
        let transposed = across != 1;
        Matrix { address, batch_stride, leading: if transposed { across } else { down }, transposed }
    }

    fn gemm(&self, [m, n, k]: [usize; 3], a: Matrix, b: Matrix, c: Matrix, [alpha, beta]: [f64; 2]) -> Command {
        let (real, batch, precision) = (self.real, self.batch, Precision::Full);
        Command::Gemm(Gemm { real, precision, batch, m, n, k, a, b, c, alpha, beta })
    }

    /// Contiguous (n, columns) matrices.
    fn contiguous(&self, address: u64, columns: usize) -> Strided {
        Strided { address, strides: [self.n * columns, columns, 1] }
    }

    /// Factors as products take them, copied to scratch memory if they must be.
    fn operand(&self, factor: Strided, scratch: &mut dyn FnMut(usize) -> u64, commands: &mut Vec<Command>) -> Strided {
        let [_, down, across] = factor.strides;
        if (across == 1 && down >= self.n) || (down == 1 && across >= self.n) {
            return factor;
        }
        let copied = self.contiguous(scratch(self.batch * self.n * self.n * self.real.size()), self.n);
        commands.push(self.copy(factor, copied.address, self.n, true));
        copied
    }
}

/// The operand as it lies in memory the other way round.
fn transposed(matrix: Matrix) -> Matrix {
    Matrix { transposed: !matrix.transposed, ..matrix }
}

fn number(n: usize) -> Argument {
    Argument::U64(n as u64)
}

fn count(n: usize) -> Argument {
    Argument::U32(n as u32)
}
