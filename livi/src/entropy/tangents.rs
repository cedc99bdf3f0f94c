//! Tangents of a sampler's hidden units for every latent direction at once.

use crate::Result;
use crate::sampler::Recorded;
use autograd::{Tape, Var};

/// Derivatives of each piece's hidden units, of shape (d, S, ..): the columns of D, where J = L D.
///
/// The first layer is affine in the latents, so its tangents are its weights and no product is spent on them.
pub fn hidden_tangents(tape: &mut Tape, recorded: &Recorded) -> Result<Vec<Var>> {
    let hidden: Vec<Var> = recorded.pieces.iter().map(|p| p.hidden).collect();
    let linear = tape.linearize(&hidden, &[recorded.entry])?;
    let d = tape.shape(recorded.latents)[1];
    let shape: Vec<usize> = std::iter::once(d).chain(tape.shape(recorded.entry).iter().copied()).collect();
    let basis = tape.broadcast_to(recorded.entry_basis, &shape)?;
    let outputs: Vec<Var> =
        linear.outputs.iter().zip(&hidden).map(|(tangent, &h)| tangent.unwrap_or_else(|| tape.zeros_like(h))).collect();
    Ok(tape.batch(&outputs, &[(linear.inputs[0], basis)])?)
}
