//! Inverses with given factors: M = L^-1, then A^-1 = M^T M. M by halves, from the diagonal blocks on: that of ((L1, 0), (K, L2)) is
//! ((M1, 0), (-M2 K M1, M2)).

use super::{Factors, SIZE, SUBSTITUTE, Strided, Task, WIDE, count, number, transposed};
use crate::{Argument, Command, Matrix};
use std::ops::Range;

impl Factors {
    /// out = (L L^T)^-1, both triangles of it, contiguous. `scratch` gives memory.
    pub fn inverse(&self, factor: Strided, out: u64, scratch: &mut dyn FnMut(usize) -> u64) -> Vec<Command> {
        let (batch, n) = (self.batch, self.n);
        if batch == 0 || n == 0 {
            return Vec::new();
        }
        if n <= SIZE {
            return vec![self.inverse_block(factor, out)];
        }
        let mut commands = Vec::new();
        let factor = self.operand(factor, scratch, &mut commands);
        let bytes = batch * n * n * self.real.size();
        let lower = self.contiguous(scratch(bytes), n);
        commands.push(Command::Zero { to: lower.address, bytes });
        commands.push(self.invert_diagonal(factor, lower.address));
        self.invert(factor, lower, out, 0..n.div_ceil(SIZE), &mut commands);
        // The lower triangle of M^T M, of which row i has what rows i, .. of M contribute.
        let target = self.contiguous(out, n);
        for first in (0..n).step_by(WIDE) {
            let last = n.min(first + WIDE);
            let left = transposed(self.part(lower, first, first));
            let shape = [last - first, last, n - first];
            let to = self.part(target, first, 0);
            commands.push(self.gemm(shape, left, self.part(lower, first, 0), to, [1.0, 0.0]));
        }
        commands.push(self.mirror(out));
        commands
    }

    /// The blocks of M below the diagonal of such blocks; products on the way are kept at `kept`, which has room for a matrix.
    fn invert(&self, factor: Strided, lower: Strided, kept: u64, blocks: Range<usize>, commands: &mut Vec<Command>) {
        if blocks.len() == 1 {
            return;
        }
        let middle = blocks.start + blocks.len().div_ceil(2);
        self.invert(factor, lower, kept, blocks.start..middle, commands);
        self.invert(factor, lower, kept, middle..blocks.end, commands);
        let (first, second) = (self.rows_of(blocks.start..middle), self.rows_of(middle..blocks.end));
        let (a, b) = (first.len(), second.len());
        let kept = Matrix { address: kept, batch_stride: self.n * self.n, leading: a, transposed: false };
        let between = self.part(factor, second.start, first.start);
        commands.push(self.gemm([b, a, a], between, self.part(lower, first.start, first.start), kept, [1.0, 0.0]));
        let (left, to) = (self.part(lower, second.start, second.start), self.part(lower, second.start, first.start));
        commands.push(self.gemm([b, a, b], left, kept, to, [-1.0, 0.0]));
    }

    fn inverse_block(&self, factor: Strided, out: u64) -> Command {
        let [batch, row, column] = factor.strides.map(number);
        let arguments =
            vec![Argument::Pointer(factor.address), batch, row, column, Argument::Pointer(out), count(self.n)];
        let threads = if self.n <= SIZE / 2 { SIZE / 2 } else { SIZE };
        let task = Task { text: SUBSTITUTE, name: "inverse_block", blocks: [self.batch, 1], threads: [threads, 1] };
        self.launch(task, arguments)
    }

    fn invert_diagonal(&self, factor: Strided, out: u64) -> Command {
        let [batch, row, column] = factor.strides.map(number);
        let blocks = self.n.div_ceil(SIZE);
        let arguments = vec![
            Argument::Pointer(factor.address),
            batch,
            row,
            column,
            Argument::Pointer(out),
            number(self.n),
            count(blocks),
        ];
        let (blocks, threads) = ([self.batch * blocks, 1], [SIZE, 1]);
        self.launch(Task { text: SUBSTITUTE, name: "invert_diagonal", blocks, threads }, arguments)
    }
}
