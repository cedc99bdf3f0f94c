//! Cholesky factors and what is computed from them: blocks of at most 64 rows by kernels, the rest by matrix products.
//!
//! Right-looking, as in Golub and Van Loan, "Matrix computations", section 4.2.8; panels and substitutions go through the inverses of the diagonal
//! blocks, so that all of their work is products.

use crate::{Argument, Command, Gemm, Kernel, Launch, Matrix, Precision, Real, Status};

/// Rows of a block.
const SIZE: usize = 64;
const THREADS: usize = 256;

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

impl Factors {
    fn launch(&self, name: &str, blocks: usize, arguments: Vec<Argument>) -> Command {
        let source = format!("#define REAL {}\n{}", self.real.name(), include_str!("../kernels/factor.cu"));
        Command::Launch(Launch {
            kernel: Kernel { source: source.into(), name: name.into() },
            grid: [self.batch as u32, blocks as u32, 1],
            block: [THREADS as u32, 1, 1],
            shared_bytes: 0,
            arguments,
        })
    }

    fn copy(&self, from: Strided, to: Strided, [rows, columns]: [usize; 2], lower: bool) -> Command {
        let [f_batch, f_row, f_column] = from.strides.map(number);
        let arguments = vec![
            Argument::Pointer(from.address),
            f_batch,
            f_row,
            f_column,
            Argument::Pointer(to.address),
            number(to.strides[0]),
            number(to.strides[1]),
            number(rows),
            number(columns),
            Argument::U32(u32::from(lower)),
        ];
        self.launch("copy_matrix", (rows * columns).div_ceil(THREADS), arguments)
    }

    fn place(&self, address: u64, elements: usize) -> u64 {
        address + (elements * self.real.size()) as u64
    }

    fn gemm(&self, [m, n, k]: [usize; 3], a: Matrix, b: Matrix, c: Matrix, alpha: f64, beta: f64) -> Command {
        let (real, batch, precision) = (self.real, self.batch, Precision::Full);
        Command::Gemm(Gemm { real, precision, batch, m, n, k, a, b, c, alpha, beta })
    }

    /// A block of contiguous (batch, n, columns) matrices.
    fn block(&self, address: u64, row: usize, column: usize, columns: usize) -> Matrix {
        let address = self.place(address, row * columns + column);
        Matrix { address, batch_stride: self.n * columns, leading: columns, transposed: false }
    }

    /// Bytes of scratch memory that `cholesky` needs.
    pub fn cholesky_scratch(&self) -> usize {
        if self.n <= SIZE { 0 } else { self.batch * SIZE * (SIZE + self.n) * self.real.size() }
    }

    /// Lower factors of `a`, of which the lower triangle is read, to a contiguous `factor` with zeros above the diagonal. The place that is reported
    /// of a pivot that is not positive is the number of its matrix times n plus its row.
    pub fn cholesky(&self, a: Strided, factor: u64, scratch: u64, status: Status) -> Vec<Command> {
        let n = self.n;
        if self.batch == 0 || n == 0 {
            return Vec::new();
        }
        let block = |from: Strided, first: usize, rows: usize, inverse: u64| {
            let [a_batch, a_row, a_column] = from.strides.map(number);
            let arguments = vec![
                Argument::Pointer(from.address),
                a_batch,
                a_row,
                a_column,
                Argument::Pointer(self.place(factor, first * (n + 1))),
                number(n * n),
                number(n),
                Argument::Pointer(inverse),
                Argument::U32(rows as u32),
                Argument::Pointer(status.status),
                Argument::U64(status.report + first as u64),
                number(n),
            ];
            self.launch("cholesky_block", 1, arguments)
        };
        if n <= SIZE {
            return vec![block(a, 0, n, 0)];
        }
        let inverses = scratch;
        let panels = self.place(scratch, self.batch * SIZE * SIZE);
        let whole = Strided { address: factor, strides: [n * n, n, 1] };
        let mut commands = vec![self.copy(a, whole, [n, n], true)];
        for first in (0..n).step_by(SIZE) {
            let rows = SIZE.min(n - first);
            let diagonal = Strided { address: self.place(factor, first * (n + 1)), ..whole };
            commands.push(block(diagonal, first, rows, inverses));
            let next = first + rows;
            if next == n {
                break;
            }
            // The panel below times the inverse's transpose, then the rest less the panel's product with itself.
            let below = n - next;
            let panel = Strided { address: self.place(factor, next * n + first), ..whole };
            let copied = Strided { address: panels, strides: [SIZE * n, SIZE, 1] };
            commands.push(self.copy(panel, copied, [below, rows], false));
            let inverse = Matrix { address: inverses, batch_stride: SIZE * SIZE, leading: SIZE, transposed: true };
            let left = Matrix { address: panels, batch_stride: SIZE * n, leading: SIZE, transposed: false };
            let target = self.block(factor, next, first, n);
            commands.push(self.gemm([below, rows, rows], left, inverse, target, 1.0, 0.0));
            let turned = Matrix { transposed: true, ..target };
            commands.push(self.gemm([below, below, rows], target, turned, self.block(factor, next, next, n), -1.0, 1.0));
        }
        commands.push(self.mirror(factor, true));
        commands
    }

    fn mirror(&self, address: u64, zero: bool) -> Command {
        let arguments = vec![Argument::Pointer(address), number(self.n), Argument::U32(u32::from(zero))];
        self.launch("mirror", (self.n * self.n).div_ceil(THREADS), arguments)
    }

    fn blocks(&self) -> usize {
        self.n.div_ceil(SIZE)
    }

    /// Elements of the inverses of all diagonal blocks.
    fn inverse_elements(&self) -> usize {
        self.batch * self.blocks() * SIZE * SIZE
    }

    fn invert_blocks(&self, factor: Strided, inverses: u64) -> Command {
        let [f_batch, f_row, f_column] = factor.strides.map(number);
        let arguments = vec![
            Argument::Pointer(factor.address),
            f_batch,
            f_row,
            f_column,
            Argument::Pointer(inverses),
            Argument::U32(self.n as u32),
        ];
        self.launch("invert_blocks", self.blocks(), arguments)
    }

    /// x = L^-1 x, or L^-T x, in place, for contiguous factors (batch, n, n) and x (batch, n, columns); `rest` holds 64 rows of x.
    fn substitute(&self, factor: u64, inverses: u64, x: u64, columns: usize, rest: u64, upper: bool) -> Vec<Command> {
        let (n, blocks) = (self.n, self.blocks());
        let mut commands = Vec::new();
        let mut order: Vec<usize> = (0..blocks).collect();
        if upper {
            order.reverse();
        }
        for block in order {
            let first = block * SIZE;
            let rows = SIZE.min(n - first);
            let here = self.block(x, first, 0, columns);
            // What the rows solved already have of these: L[here, before] x, or L[after, here]^T x.
            if upper && first + rows < n {
                let (after, count) = (first + rows, n - first - rows);
                let left = Matrix { transposed: true, ..self.block(factor, after, first, n) };
                commands.push(self.gemm([rows, columns, count], left, self.block(x, after, 0, columns), here, -1.0, 1.0));
            } else if !upper && first > 0 {
                let left = self.block(factor, first, 0, n);
                commands.push(self.gemm([rows, columns, first], left, self.block(x, 0, 0, columns), here, -1.0, 1.0));
            }
            let from = Strided { address: here.address, strides: [n * columns, columns, 1] };
            let to = Strided { address: rest, strides: [SIZE * columns, columns, 1] };
            commands.push(self.copy(from, to, [rows, columns], false));
            let inverse = Matrix {
                address: self.place(inverses, block * SIZE * SIZE),
                batch_stride: blocks * SIZE * SIZE,
                leading: SIZE,
                transposed: upper,
            };
            let right = Matrix { address: rest, batch_stride: SIZE * columns, leading: columns, transposed: false };
            commands.push(self.gemm([rows, columns, rows], inverse, right, here, 1.0, 0.0));
        }
        commands
    }

    /// Bytes of scratch memory that `solve` needs.
    pub fn solve_scratch(&self, columns: usize) -> usize {
        (self.batch * (self.n * self.n + SIZE * columns) + self.inverse_elements()) * self.real.size()
    }

    /// out = (L L^T)^-1 b for b of shape (batch, n, columns) and a contiguous result.
    pub fn solve(&self, factor: Strided, b: Strided, out: u64, columns: usize, scratch: u64) -> Vec<Command> {
        if self.batch == 0 || self.n == 0 || columns == 0 {
            return Vec::new();
        }
        let n = self.n;
        let inverses = scratch;
        let rest = self.place(inverses, self.inverse_elements());
        let (dense, mut commands) = self.dense(factor, self.place(rest, self.batch * SIZE * columns));
        commands.push(self.invert_blocks(factor, inverses));
        let to = Strided { address: out, strides: [n * columns, columns, 1] };
        commands.push(self.copy(b, to, [n, columns], false));
        commands.extend(self.substitute(dense, inverses, out, columns, rest, false));
        commands.extend(self.substitute(dense, inverses, out, columns, rest, true));
        commands
    }

    /// The factors contiguous, copied if they are not.
    fn dense(&self, factor: Strided, scratch: u64) -> (u64, Vec<Command>) {
        let n = self.n;
        let strides = [n * n, n, 1];
        let contiguous = (self.batch == 1 || factor.strides[0] == strides[0]) && factor.strides[1..] == strides[1..];
        if contiguous || n <= SIZE {
            // A single block needs no more than its inverse.
            return (factor.address, Vec::new());
        }
        (scratch, vec![self.copy(factor, Strided { address: scratch, strides }, [n, n], false)])
    }

    /// Bytes of scratch memory that `inverse` needs.
    pub fn inverse_scratch(&self) -> usize {
        self.solve_scratch(self.n) + self.batch * self.n * self.n * self.real.size()
    }

    /// out = (L L^T)^-1, both triangles, contiguous.
    pub fn inverse(&self, factor: Strided, out: u64, scratch: u64) -> Vec<Command> {
        if self.batch == 0 || self.n == 0 {
            return Vec::new();
        }
        let n = self.n;
        let inverses = scratch;
        let rest = self.place(inverses, self.inverse_elements());
        let lower = self.place(rest, self.batch * SIZE * n);
        let (dense, mut commands) = self.dense(factor, self.place(lower, self.batch * n * n));
        commands.push(self.invert_blocks(factor, inverses));
        let arguments = vec![Argument::Pointer(lower), number(n)];
        commands.push(self.launch("identities", (n * n).div_ceil(THREADS), arguments));
        commands.extend(self.substitute(dense, inverses, lower, n, rest, false));
        let right = self.block(lower, 0, 0, n);
        let left = Matrix { transposed: true, ..right };
        commands.push(self.gemm([n, n, n], left, right, self.block(out, 0, 0, n), 1.0, 0.0));
        commands.push(self.mirror(out, false));
        commands
    }

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
            number(self.n),
        ];
        vec![self.launch("log_det", 1, arguments)]
    }
}

fn number(n: usize) -> Argument {
    Argument::U64(n as u64)
}
