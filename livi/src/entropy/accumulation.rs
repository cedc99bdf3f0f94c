//! The two ways to the smaller Gram matrix G of J', from products with unit vectors, and the choice between them.

use super::linearised::Linearised;
use crate::Result;
use autograd::{Tape, Var};

/// How the Gram matrix comes about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accumulation {
    /// Row by row from products with J' and its transpose.
    Products,
    /// From J', kept as numbers.
    Stored,
}

impl Accumulation {
    /// Unit vectors that have to be multiplied for one matrix.
    pub(super) fn unit_vectors(self, rows: usize, cols: usize) -> usize {
        match self {
            Self::Stored => cols,
            Self::Products => rows.min(cols),
        }
    }

    /// Length of the unit vectors.
    pub(super) fn length(self, rows: usize, cols: usize) -> usize {
        if self == Self::Products && rows < cols { rows } else { cols }
    }

    /// Products with single vectors for each unit vector.
    pub(super) fn products(self) -> u64 {
        match self {
            Self::Stored => 1,
            Self::Products => 2,
        }
    }

    /// What becomes of unit vectors (count, 1, length): rows of G, or columns of J'.
    ///
    /// # Errors
    /// Those of recording.
    pub(super) fn apply(self, tape: &mut Tape, linearised: &Linearised, vectors: Var) -> Result<Var> {
        match self {
            Self::Stored => linearised.apply(tape, vectors),
            Self::Products if linearised.rows < linearised.cols => {
                let backs = linearised.apply_transpose(tape, vectors)?;
                linearised.apply(tape, backs)
            }
            Self::Products => {
                let images = linearised.apply(tape, vectors)?;
                linearised.apply_transpose(tape, images)
            }
        }
    }
}

/// The programs that take least work within `memory` bytes (as much as they take without a limit), among those that `plan` makes for either way and a
/// number of vectors in one run: `block` at first, fewer where memory is short. `cost` are their bytes and floating-point operations.
///
/// # Errors
/// [`autograd::Error::Memory`] with the least that would do if even that is more than `memory`; those of `plan`.
pub(super) fn least_work<P>(
    memory: Option<usize>,
    block: impl Fn(Accumulation) -> usize,
    cost: impl Fn(&P) -> (usize, f64),
    mut plan: impl FnMut(Accumulation, usize) -> Result<P>,
) -> Result<P> {
    let limit = memory.unwrap_or(usize::MAX);
    let (mut best, mut least): (Option<(P, f64)>, _) = (None, usize::MAX);
    for accumulation in [Accumulation::Products, Accumulation::Stored] {
        let mut block = block(accumulation);
        loop {
            let found = plan(accumulation, block)?;
            let (bytes, flops) = cost(&found);
            least = least.min(bytes);
            if bytes <= limit {
                if best.as_ref().is_none_or(|(_, least)| flops < *least) {
                    best = Some((found, flops));
                }
                break;
            }
            if block == 1 {
                break;
            }
            block /= 2;
        }
    }
    best.map(|(programs, _)| programs).ok_or_else(|| {
        let advice = "allow the exact method that much, or use slq, which needs less";
        autograd::Error::Memory { needed: least, limit, advice }.into()
    })
}
