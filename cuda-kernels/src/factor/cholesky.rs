//! Factorisation, right-looking (Golub and Van Loan, "Matrix Computations", 4th edition, section 4.2.5) on two levels: a block of 64 columns updates
//! only the columns of its own panel, a panel of 512 all others at once, so that most of the work is in products that are deep.

use super::{BLOCK, Factors, SIZE, SUBSTITUTE, Strided, Task, WIDE, count, number, transposed};
use crate::{Argument, Command, Status};
use std::ops::Range;

/// Rows of the largest matrix whose columns are all of one panel.
const FLAT: usize = 1024;
/// Columns of a panel of larger ones.
const PANEL: usize = 512;

impl Factors {
    /// Lower factors of `a`, of which the lower triangle is read, to a contiguous `factor` with zeros above the diagonal. The place that is reported
    /// of a pivot that is not positive is the number of its matrix times n plus its row.
    pub fn cholesky(&self, a: Strided, factor: u64, status: Status) -> Vec<Command> {
        let n = self.n;
        if self.batch == 0 || n == 0 {
            return Vec::new();
        }
        if n <= SIZE {
            return vec![self.diagonal_block(a, factor, 0..n, status)];
        }
        let whole = self.contiguous(factor, n);
        let width = if n <= FLAT { n.next_multiple_of(SIZE) } else { PANEL };
        let mut commands = vec![self.copy(a, factor, n, true)];
        for first in (0..n).step_by(SIZE) {
            let next = n.min(first + SIZE);
            let here = Strided { address: self.place(factor, first * (n + 1)), ..whole };
            commands.push(self.diagonal_block(here, here.address, first..next, status));
            if next == n {
                break;
            }
            commands.push(self.below(here.address, n - next));
            let start = first / width * width;
            let end = n.min(start + width);
            if next < end {
                commands.push(self.update(whole, next..end, first..next));
                continue;
            }
            for column in (end..n).step_by(WIDE) {
                commands.push(self.update(whole, column..n.min(column + WIDE), start..end));
            }
        }
        commands
    }

    /// Factors of the diagonal blocks of such rows.
    fn diagonal_block(&self, a: Strided, factor: u64, rows: Range<usize>, status: Status) -> Command {
        let room = Self::room(self.n);
        let lanes = room.next_power_of_two();
        let matrices = if lanes == SIZE { 1 } else { 128 / lanes };
        let [a_batch, a_row, a_column] = a.strides.map(number);
        let arguments = vec![
            Argument::Pointer(a.address),
            a_batch,
            a_row,
            a_column,
            Argument::Pointer(factor),
            number(self.n * self.n),
            number(self.n),
            count(self.batch),
            count(rows.len()),
            Argument::Pointer(status.status),
            Argument::U64(status.report + rows.start as u64),
            number(self.n),
        ];
        let (blocks, threads) = ([self.batch.div_ceil(matrices), 1], [matrices * lanes, 1]);
        self.launch(Task { text: BLOCK, name: "cholesky_block", blocks, threads }, arguments)
    }

    /// What is below a factored diagonal block, by substitution.
    fn below(&self, diagonal: u64, rows: usize) -> Command {
        let chunks = rows.div_ceil(SIZE);
        let arguments =
            vec![Argument::Pointer(diagonal), number(self.n * self.n), number(self.n), count(rows), count(chunks)];
        let (blocks, threads) = ([self.batch * chunks, 1], [SIZE, 1]);
        self.launch(Task { text: SUBSTITUTE, name: "panel", blocks, threads }, arguments)
    }

    /// Such columns, from their first one's diagonal element down, less what finished columns contribute to them.
    fn update(&self, factor: Strided, columns: Range<usize>, finished: Range<usize>) -> Command {
        let left = self.part(factor, columns.start, finished.start);
        let target = self.part(factor, columns.start, columns.start);
        let shape = [self.n - columns.start, columns.len(), finished.len()];
        self.gemm(shape, left, transposed(left), target, [-1.0, 1.0])
    }
}
