//! Which steps of a plan have to wait for which: those that touch the same memory, unless both only read it. A card may run all others side by side.

use std::collections::BTreeMap;

/// Memory, from the first byte to one past the last.
pub(super) type Span = (usize, usize);

/// What was done to a piece of memory last.
#[derive(Clone, Debug, Default)]
struct Piece {
    end: usize,
    writer: Option<usize>,
    /// Steps that read it since.
    readers: Vec<usize>,
}

/// Pieces of memory by their first byte; those that nobody has touched are not among them.
#[derive(Debug, Default)]
pub(super) struct Order {
    pieces: BTreeMap<usize, Piece>,
    steps: usize,
}

impl Order {
    /// The earlier steps that the next one has to wait for, in ascending order.
    pub(super) fn next(&mut self, reads: &[Span], writes: &[Span]) -> Vec<usize> {
        let step = self.steps;
        self.steps += 1;
        let mut after = Vec::new();
        for &span in reads {
            self.read(span, step, &mut after);
        }
        for &span in writes {
            self.write(span, step, &mut after);
        }
        after.sort_unstable();
        after.dedup();
        after.retain(|&other| other != step);
        after
    }

    fn read(&mut self, (first, end): Span, step: usize, after: &mut Vec<usize>) {
        self.cut(first);
        self.cut(end);
        let mut untouched = Vec::new();
        let mut reached = first;
        for (&start, piece) in self.pieces.range_mut(first..end) {
            if reached < start {
                untouched.push((reached, start));
            }
            after.extend(piece.writer);
            piece.readers.push(step);
            reached = piece.end;
        }
        if reached < end {
            untouched.push((reached, end));
        }
        for (start, end) in untouched {
            self.pieces.insert(start, Piece { end, writer: None, readers: vec![step] });
        }
    }

    fn write(&mut self, (first, end): Span, step: usize, after: &mut Vec<usize>) {
        if first >= end {
            return;
        }
        self.cut(first);
        self.cut(end);
        let covered: Vec<usize> = self.pieces.range(first..end).map(|(&start, _)| start).collect();
        for start in covered {
            if let Some(piece) = self.pieces.remove(&start) {
                after.extend(piece.writer);
                after.extend(piece.readers);
            }
        }
        self.pieces.insert(first, Piece { end, writer: Some(step), readers: Vec::new() });
    }

    /// Makes two pieces of one that reaches over that byte.
    fn cut(&mut self, at: usize) {
        if let Some((_, piece)) = self.pieces.range_mut(..at).next_back()
            && piece.end > at
        {
            let rest = piece.clone();
            piece.end = at;
            self.pieces.insert(at, rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads and writes of some steps, in bytes that are few enough to meet often.
    fn random(seed: u64) -> Vec<(Vec<Span>, Vec<Span>)> {
        let mut state = seed;
        let mut below = |n: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 33) % n) as usize
        };
        let mut spans = |most: u64| -> Vec<Span> {
            (0..below(most))
                .map(|_| {
                    let first = below(40);
                    (first, first + below(12))
                })
                .collect()
        };
        (0..60).map(|_| (spans(4), spans(3))).collect()
    }

    fn meet(a: &[Span], b: &[Span]) -> bool {
        a.iter().any(|a| b.iter().any(|b| a.0.max(b.0) < a.1.min(b.1)))
    }

    #[test]
    fn steps_wait_for_all_that_touch_their_memory_and_for_no_others() {
        for seed in 0..200 {
            let steps = random(seed);
            let mut order = Order::default();
            // All that a step waits for, also by way of others.
            let mut before: Vec<Vec<bool>> = Vec::new();
            for (number, (reads, writes)) in steps.iter().enumerate() {
                let after = order.next(reads, writes);
                let mut waits = vec![false; number];
                for &other in &after {
                    waits[other] = true;
                    (0..other).for_each(|k| waits[k] |= before[other][k]);
                }
                for (other, (other_reads, other_writes)) in steps[..number].iter().enumerate() {
                    let conflict = meet(writes, other_writes) || meet(writes, other_reads) || meet(reads, other_writes);
                    assert!(!conflict || waits[other], "seed {seed}: step {number} runs beside step {other}");
                    assert!(conflict || !after.contains(&other), "seed {seed}: step {number} waits for step {other}");
                }
                before.push(waits);
            }
        }
    }

    #[test]
    fn readers_of_the_same_memory_run_side_by_side() {
        let mut order = Order::default();
        assert!(order.next(&[], &[(0, 8)]).is_empty());
        assert_eq!(order.next(&[(0, 4)], &[(8, 12)]), [0]);
        assert_eq!(order.next(&[(0, 8)], &[(12, 16)]), [0]);
        assert_eq!(order.next(&[(8, 16)], &[(0, 8)]), [0, 1, 2]);
    }
}
