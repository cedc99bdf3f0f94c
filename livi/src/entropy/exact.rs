//! The exact linearised entropy: log-determinant of the smaller Gram matrix, with the sampler's last layers folded.
//!
//! J = L D with L the last layer and D the Jacobian of the hidden units, so J^T J = D^T (L^T L) D: the m x d Jacobian is never formed where
//! L^T L is smaller. For a matrix-multiplication layer L = W_r^T (x) W_l and L^T L = (W_r W_r^T) (x) (W_l^T W_l).
//!
//! A Gram matrix has the square of J's condition number: in f32 it would lose singular values below 3e-4 of the largest, and digits of the gradient long
//! before. From D and L on, everything up to products with the stopped inverse is therefore in f64 whatever the sampler's type, but for L^T L of an L that
//! is many times taller than wide.

use super::tangents::hidden_tangents;
use crate::Result;
use crate::sampler::{LastLayer, LastWeight, Piece, Recorded, two_sided};
use autograd::{DType, Tape, Var};

/// How many times taller than wide a weight is whose Gram matrix stays in the sampler's type. |J v|^2 = |L D v|^2 is then wrong by eps k^2 of itself, with
/// k the condition number of L with columns of length 1, whatever that of J: of a random one (sqrt(16) + 1) / (sqrt(16) - 1) at most.
const TALL: usize = 16;

/// Recorded values of the exact entropy.
#[derive(Clone, Copy, Debug)]
pub struct ExactEntropy {
    /// 1/2 log det(J J^T + sigma^2 I_m) - (m - d) log sigma = 1/2 sum_i log(s_i^2 + sigma^2), one for each latent, shape (S).
    pub half_log_det: Var,
    /// A scalar whose gradient (not value) is that of the sum of `half_log_det` over S: products with the stopped inverse, so that its
    /// gradient costs one pass and never differentiates the factorisation.
    pub surrogate: Var,
}

/// Records the exact entropy of a sampler. Differentiable both through `half_log_det` (to any order) and, cheaper, through `surrogate`.
///
/// # Errors
/// Those of recording. A plan fails when it runs if a Gram matrix is not positive definite to working precision.
pub fn record_exact(tape: &mut Tape, recorded: &Recorded, sigma: f64) -> Result<ExactEntropy> {
    let m = tape.shape(recorded.theta)[1];
    let d = tape.shape(recorded.latents)[1];
    let tangents = hidden_tangents(tape, recorded)?;
    if m < d {
        return record_wide(tape, recorded, &tangents, sigma);
    }
    let factors: Vec<Factor> = recorded
        .pieces
        .iter()
        .zip(&tangents)
        .map(|(piece, &tangent)| Factor::record(tape, piece, tangent))
        .collect::<Result<_>>()?;
    let mut gram = None;
    for factor in &factors {
        let right = tape.transpose(factor.right)?;
        let part = tape.matmul(factor.left, right)?;
        gram = Some(match gram {
            Some(sum) => tape.add(sum, part)?,
            None => part,
        });
    }
    let Some(gram) = gram else { unreachable!("a sampler has at least one piece") };
    let a = add_diagonal(tape, gram, sigma)?;
    let log_det = tape.log_det_spd(a)?;
    let half = tape.scale(log_det, 0.5)?;
    let half_log_det = tape.convert(half, tape.dtype(recorded.theta))?;
    let inverse = tape.inverse_spd(a)?;
    let inverse = tape.stop_gradient(inverse)?;
    let mut surrogate = None;
    for factor in &factors {
        let part = factor.surrogate(tape, inverse)?;
        surrogate = Some(match surrogate {
            Some(sum) => tape.add(sum, part)?,
            None => part,
        });
    }
    Ok(ExactEntropy { half_log_det, surrogate: surrogate.unwrap_or(half_log_det) })
}

/// a + sigma^2 I for a of shape (S, n, n).
fn add_diagonal(tape: &mut Tape, a: Var, sigma: f64) -> Result<Var> {
    let n = tape.shape(a)[2];
    let identity = tape.identity(n, tape.dtype(a));
    let diagonal = tape.scale(identity, sigma * sigma)?;
    Ok(tape.add(a, diagonal)?)
}

/// More latents than weights: J J^T is the smaller Gram matrix. log det(J J^T + sigma^2 I_m) counts m of the d zero-padded singular values; the
/// other d - m each give log sigma.
fn record_wide(tape: &mut Tape, recorded: &Recorded, tangents: &[Var], sigma: f64) -> Result<ExactEntropy> {
    let (m, d) = (tape.shape(recorded.theta)[1], tape.shape(recorded.latents)[1]);
    let rows: Vec<Var> = recorded
        .pieces
        .iter()
        .zip(tangents)
        .map(|(piece, &tangent)| jacobian_rows(tape, piece, tangent))
        .collect::<Result<_>>()?;
    let rows = tape.concat(&rows, 2)?;
    let jacobian = tape.transpose(rows)?;
    let precise = tape.convert(jacobian, DType::F64)?;
    let transposed = tape.transpose(precise)?;
    let gram = tape.matmul(precise, transposed)?;
    let a = add_diagonal(tape, gram, sigma)?;
    let log_det = tape.log_det_spd(a)?;
    let half = tape.scale(log_det, 0.5)?;
    let half_log_det = tape.add_scalar(half, (d - m) as f64 * sigma.ln())?;
    let half_log_det = tape.convert(half_log_det, tape.dtype(jacobian))?;
    let inverse = tape.inverse_spd(a)?;
    let weights = tape.matmul(inverse, precise)?;
    let surrogate = fixed_inner(tape, weights, jacobian)?;
    Ok(ExactEntropy { half_log_det, surrogate })
}

/// J^T of one piece, shape (S, d, o), from hidden tangents (d, S, ..).
fn jacobian_rows(tape: &mut Tape, piece: &Piece, tangent: Var) -> Result<Var> {
    let product = match piece.last {
        LastLayer::Dense { weight } => {
            let transposed = tape.transpose(weight)?;
            tape.matmul(tangent, transposed)?
        }
        LastLayer::TwoSided { left, right } => two_sided(tape, left.value, tangent, right.value)?,
    };
    by_sample(tape, product)
}

/// (d, S, ..) to (S, d, flattened rest).
fn by_sample(tape: &mut Tape, tangent: Var) -> Result<Var> {
    let shape = tape.shape(tangent).to_vec();
    let flat = tape.reshape(tangent, &[shape[0], shape[1], shape[2..].iter().product()])?;
    Ok(tape.permute(flat, &[1, 0, 2])?)
}

/// W^T W in f64.
fn precise_gram(tape: &mut Tape, weight: Var) -> Result<Var> {
    let tall = tape.shape(weight)[0] >= TALL * tape.shape(weight)[1];
    let weight = if tall { weight } else { tape.convert(weight, DType::F64)? };
    let transposed = tape.transpose(weight)?;
    let gram = tape.matmul(transposed, weight)?;
    Ok(tape.convert(gram, DType::F64)?)
}

/// <stop(weights), x> in x's type.
fn fixed_inner(tape: &mut Tape, weights: Var, x: Var) -> Result<Var> {
    let weights = tape.stop_gradient(weights)?;
    let weights = tape.convert(weights, tape.dtype(x))?;
    Ok(tape.inner(weights, x)?)
}

/// One piece's share of the Gram matrix: `left` `right`^T, both (S, d, n) in f64.
struct Factor {
    left: Var,
    right: Var,
    /// What `left` was converted from.
    live: Var,
    fold: Fold,
}

/// How the last layer enters.
enum Fold {
    /// Not folded: left = right = J^T.
    None,
    /// left = T, right = T G with G = L^T L.
    Dense { weight: Var },
    /// left = T, right = G_l T G_r with G_l = W_l^T W_l, G_r = W_r W_r^T; the half products G_l T and T G_r, shape (d, S, i0, i1).
    TwoSided { left: Var, right: Var, left_half: Var, right_half: Var },
}

impl Factor {
    fn record(tape: &mut Tape, piece: &Piece, tangent: Var) -> Result<Self> {
        let precise = |tape: &mut Tape, x: Var| tape.convert(x, DType::F64);
        match piece.last {
            LastLayer::Dense { weight } if tape.shape(weight)[0] > tape.shape(weight)[1] => {
                let gram = precise_gram(tape, weight)?;
                let t = precise(tape, tangent)?;
                let product = tape.matmul(t, gram)?;
                let (left, right) = (by_sample(tape, t)?, by_sample(tape, product)?);
                Ok(Self { left, right, live: by_sample(tape, tangent)?, fold: Fold::Dense { weight } })
            }
            LastLayer::TwoSided { left: LastWeight { value: left, .. }, right: LastWeight { value: right, .. } }
                if tape.shape(left)[0] * tape.shape(right)[1] > tape.shape(left)[1] * tape.shape(right)[0] =>
            {
                let left_gram = precise_gram(tape, left)?;
                let right_transposed = tape.transpose(right)?;
                let right_gram = precise_gram(tape, right_transposed)?;
                let t = precise(tape, tangent)?;
                let right_half = tape.matmul(t, right_gram)?;
                let left_half = tape.matmul(left_gram, t)?;
                let whole = tape.matmul(left_gram, right_half)?;
                let fold = Fold::TwoSided { left, right, left_half, right_half };
                let live = by_sample(tape, tangent)?;
                Ok(Self { left: by_sample(tape, t)?, right: by_sample(tape, whole)?, live, fold })
            }
            _ => {
                let live = jacobian_rows(tape, piece, tangent)?;
                let rows = precise(tape, live)?;
                Ok(Self { left: rows, right: rows, live, fold: Fold::None })
            }
        }
    }

    /// A^-1 T in the sampler's type: of what is solved no more digits are needed, of A^-1 itself there are.
    fn solved(&self, tape: &mut Tape, inverse: Var) -> Result<Var> {
        let solved = tape.matmul(inverse, self.left)?;
        Ok(tape.convert(solved, tape.dtype(self.live))?)
    }

    /// A scalar whose gradient is that of 1/2 <A^-1, left right^T> with A^-1 (S, d, d) held fixed.
    ///
    /// Everything a gradient would compute twice because it does not know A^-1 and G to be symmetric is computed once and stopped.
    fn surrogate(&self, tape: &mut Tape, inverse: Var) -> Result<Var> {
        let weights = tape.matmul(inverse, self.right)?;
        let through_tangents = fixed_inner(tape, weights, self.live)?;
        match self.fold {
            Fold::None => Ok(through_tangents),
            Fold::Dense { weight } => {
                // d/dL: L (sum_S T^T A^-1 T), one product of the size of L.
                let solved = self.solved(tape, inverse)?;
                let shape = tape.shape(solved).to_vec();
                let rows = [shape[0] * shape[1], shape[2]];
                let solved = tape.reshape(solved, &rows)?;
                let tangents = tape.reshape(self.live, &rows)?;
                let solved = tape.transpose(solved)?;
                let core = tape.matmul(solved, tangents)?;
                weighted(tape, through_tangents, &[(weight, core, Side::Right)])
            }
            Fold::TwoSided { left, right, left_half, right_half } => {
                // d/dW_l: W_l sum X (T G_r)^T and d/dW_r: sum (G_l T)^T X W_r with X = A^-1 T.
                let solved = self.solved(tape, inverse)?;
                let solved = tape.permute(solved, &[1, 0, 2])?;
                let shape = tape.shape(left_half).to_vec();
                let (count, i0, i1) = (shape[0] * shape[1], shape[2], shape[3]);
                let solved = tape.reshape(solved, &[count, i0, i1])?;
                let half = |tape: &mut Tape, half: Var| {
                    let half = tape.convert(half, tape.dtype(solved))?;
                    tape.reshape(half, &[count, i0, i1])
                };
                let (left_half, right_half) = (half(tape, left_half)?, half(tape, right_half)?);
                let right_transposed = tape.transpose(right_half)?;
                let left_core = tape.matmul(solved, right_transposed)?;
                let left_core = tape.sum(left_core, &[0])?;
                let left_core = tape.reshape(left_core, &[i0, i0])?;
                let left_transposed = tape.transpose(left_half)?;
                let right_core = tape.matmul(left_transposed, solved)?;
                let right_core = tape.sum(right_core, &[0])?;
                let right_core = tape.reshape(right_core, &[i1, i1])?;
                weighted(tape, through_tangents, &[(left, left_core, Side::Right), (right, right_core, Side::Left)])
            }
        }
    }
}

/// On which side of the weight its core is multiplied.
#[derive(Clone, Copy)]
enum Side {
    Left,
    Right,
}

/// `total` + sum <stop(weight core), weight>.
fn weighted(tape: &mut Tape, total: Var, terms: &[(Var, Var, Side)]) -> Result<Var> {
    let mut total = total;
    for &(weight, core, side) in terms {
        let product = match side {
            Side::Right => tape.matmul(weight, core)?,
            Side::Left => tape.matmul(core, weight)?,
        };
        let term = fixed_inner(tape, product, weight)?;
        total = tape.add(total, term)?;
    }
    Ok(total)
}
