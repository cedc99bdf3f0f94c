//! Which rows a step sees: a new permutation each pass, derived from the seed, so that any step can be reproduced on its own.

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

/// Rows of each step.
#[derive(Clone, Debug)]
pub struct Batches {
    rows: usize,
    size: usize,
    seed: u64,
    pass: Option<u64>,
    order: Vec<u32>,
}

impl Batches {
    /// Batches of `size` out of `rows` rows. Passes follow one another without a gap: a batch may end one and begin the next.
    pub fn new(rows: usize, size: usize, seed: u64) -> Self {
        Self { rows, size, seed, pass: None, order: (0..rows as u32).collect() }
    }

    /// Starts anew with another seed.
    pub fn reseed(&mut self, seed: u64) {
        self.seed = seed;
        self.pass = None;
    }

    /// Fills `index` with the rows of a step (0, 1, ...); with none where there are no rows.
    pub fn fill(&mut self, step: u64, index: &mut Vec<u32>) {
        index.clear();
        if self.rows == 0 {
            return;
        }
        let begin = step * self.size as u64;
        for k in begin..begin + self.size as u64 {
            self.enter(k / self.rows as u64);
            index.push(self.order[(k % self.rows as u64) as usize]);
        }
    }

    fn enter(&mut self, pass: u64) {
        if self.pass == Some(pass) {
            return;
        }
        for (k, row) in self.order.iter_mut().enumerate() {
            *row = k as u32;
        }
        // A stream of its own for each pass.
        let mut rng = StdRng::seed_from_u64(self.seed ^ pass.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        self.order.shuffle(&mut rng);
        self.pass = Some(pass);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_seen_once_in_each_pass() {
        let mut batches = Batches::new(10, 3, 7);
        let (mut seen, mut index) = (Vec::new(), Vec::new());
        for step in 0..10 {
            batches.fill(step, &mut index);
            seen.extend_from_slice(&index);
        }
        for pass in seen.chunks(10) {
            let mut rows = pass.to_vec();
            rows.sort_unstable();
            assert_eq!(rows, (0..10).collect::<Vec<u32>>());
        }
        assert_ne!(seen[..10], seen[10..20]);
    }

    #[test]
    fn a_step_does_not_depend_on_the_steps_before_it() {
        let (mut a, mut b) = (Batches::new(11, 4, 1), Batches::new(11, 4, 1));
        let (mut from_start, mut alone) = (Vec::new(), Vec::new());
        for step in 0..=9 {
            a.fill(step, &mut from_start);
        }
        b.fill(9, &mut alone);
        assert_eq!(from_start, alone);
    }
}
