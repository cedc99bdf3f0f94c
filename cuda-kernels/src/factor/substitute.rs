//! Solutions with given factors, by halves: the unknowns of the first half are found, what they contribute to the second half is subtracted in one
//! product, then the second half's are found; backward the other way round.

use super::{Factors, SIZE, SUBSTITUTE, Strided, Task, count, number, transposed};
use crate::{Argument, Command};
use std::ops::Range;

/// Which systems are solved.
#[derive(Clone, Copy, PartialEq)]
enum Direction {
    /// L x = b.
    Forward,
    /// L^T x = b.
    Back,
    /// One after the other.
    Both,
}

/// Solutions on their way: contiguous (n, columns) matrices.
struct Solutions {
    factor: Strided,
    address: u64,
    columns: usize,
}

impl Factors {
    /// out = (L L^T)^-1 b for b of shape (batch, n, columns) and a contiguous result, which may take the place of a contiguous b. `scratch` gives
    /// memory.
    pub fn solve(
        &self,
        factor: Strided,
        b: Strided,
        out: u64,
        columns: usize,
        scratch: &mut dyn FnMut(usize) -> u64,
    ) -> Vec<Command> {
        if self.batch == 0 || self.n == 0 || columns == 0 {
            return Vec::new();
        }
        let target = self.contiguous(out, columns);
        if self.n <= SIZE {
            return vec![self.substitute(factor, b, target, columns, self.n, Direction::Both)];
        }
        let mut commands = Vec::new();
        let factor = self.operand(factor, scratch, &mut commands);
        if b.address != out || b.strides != target.strides {
            commands.push(self.copy(b, out, columns, false));
        }
        let solutions = Solutions { factor, address: out, columns };
        let blocks = 0..self.n.div_ceil(SIZE);
        self.forward(&solutions, blocks.clone(), &mut commands);
        self.back(&solutions, blocks, &mut commands);
        commands
    }

    fn forward(&self, solutions: &Solutions, blocks: Range<usize>, commands: &mut Vec<Command>) {
        if blocks.len() == 1 {
            commands.push(self.leaf(solutions, blocks.start, Direction::Forward));
            return;
        }
        let middle = blocks.start + blocks.len().div_ceil(2);
        self.forward(solutions, blocks.start..middle, commands);
        commands.push(self.subtract(solutions, blocks.start..middle, middle..blocks.end, Direction::Forward));
        self.forward(solutions, middle..blocks.end, commands);
    }

    fn back(&self, solutions: &Solutions, blocks: Range<usize>, commands: &mut Vec<Command>) {
        if blocks.len() == 1 {
            commands.push(self.leaf(solutions, blocks.start, Direction::Back));
            return;
        }
        let middle = blocks.start + blocks.len().div_ceil(2);
        self.back(solutions, middle..blocks.end, commands);
        commands.push(self.subtract(solutions, blocks.start..middle, middle..blocks.end, Direction::Back));
        self.back(solutions, blocks.start..middle, commands);
    }

    /// Rows of blocks of the matrix.
    pub(super) fn rows_of(&self, blocks: Range<usize>) -> Range<usize> {
        blocks.start * SIZE..self.n.min(blocks.end * SIZE)
    }

    /// What the unknowns of one half contribute to the other one, subtracted.
    fn subtract(
        &self,
        solutions: &Solutions,
        upper: Range<usize>,
        lower: Range<usize>,
        direction: Direction,
    ) -> Command {
        let (upper, lower) = (self.rows_of(upper), self.rows_of(lower));
        let columns = solutions.columns;
        let matrix = self.part(solutions.factor, lower.start, upper.start);
        let right = self.contiguous(solutions.address, columns);
        let rows = |rows: &Range<usize>| self.part(right, rows.start, 0);
        let (shape, matrix, found, left) = match direction {
            Direction::Forward => ([lower.len(), columns, upper.len()], matrix, rows(&upper), rows(&lower)),
            _ => ([upper.len(), columns, lower.len()], transposed(matrix), rows(&lower), rows(&upper)),
        };
        self.gemm(shape, matrix, found, left, [-1.0, 1.0])
    }

    /// The unknowns of one block.
    fn leaf(&self, solutions: &Solutions, block: usize, direction: Direction) -> Command {
        let Solutions { factor, address, columns } = *solutions;
        let rows = self.rows_of(block..block + 1);
        let diagonal = self.place(factor.address, rows.start * (factor.strides[1] + factor.strides[2]));
        let whole = self.contiguous(address, columns);
        let right = Strided { address: self.place(address, rows.start * columns), ..whole };
        self.substitute(Strided { address: diagonal, ..factor }, right, right, columns, rows.len(), direction)
    }

    fn substitute(
        &self,
        factor: Strided,
        b: Strided,
        out: Strided,
        columns: usize,
        rows: usize,
        direction: Direction,
    ) -> Command {
        let threads = if columns <= SIZE / 2 { SIZE / 2 } else { SIZE };
        let chunks = columns.div_ceil(threads);
        let ([f_batch, f_row, f_column], [b_batch, b_row, b_column]) =
            (factor.strides.map(number), b.strides.map(number));
        let flag = |other: Direction| count(usize::from(direction == other || direction == Direction::Both));
        let arguments = vec![
            Argument::Pointer(factor.address),
            f_batch,
            f_row,
            f_column,
            Argument::Pointer(b.address),
            b_batch,
            b_row,
            b_column,
            Argument::Pointer(out.address),
            number(out.strides[0]),
            number(out.strides[1]),
            count(rows),
            count(columns),
            count(chunks),
            flag(Direction::Forward),
            flag(Direction::Back),
        ];
        let (blocks, threads) = ([self.batch * chunks, 1], [threads, 1]);
        self.launch(Task { text: SUBSTITUTE, name: "substitute", blocks, threads }, arguments)
    }
}
