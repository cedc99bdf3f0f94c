//! Samplers g: z -> theta, drawing all weights of a network at once (Uppal et al. 2023, section 4).
//!
//! Every sampler ends in linear maps, so its Jacobian is J = L D with D the Jacobian of the hidden units before them.
//! [`Recorded`] keeps these apart: the spectral work can then run on hidden-sized factors.

mod correlated;
mod matmul;
mod mlp;
pub mod published;
mod sizes;

pub use correlated::{CorrelatedSampler, Head, Part};
pub use matmul::{MatMulNetwork, MatMulSampler, two_sided};
pub use mlp::MlpSampler;
pub use sizes::{matrix_and_remainder, rows_by_share};

use crate::network::{Layout, MOST_WEIGHTS, volume};
use crate::{Error, Result};
use autograd::{Tape, Var};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// A tensor of a sampler's weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// Name, such as `layers.0.weight`.
    pub name: String,
    /// Shape, row-major.
    pub shape: Vec<usize>,
    /// Initial values are uniform on plus or minus this.
    pub bound: f64,
}

impl Parameter {
    /// Number of elements.
    pub fn elements(&self) -> usize {
        volume(&self.shape)
    }
}

/// Refuses as many parameters as a sampler does not have.
fn require_parameters(given: &[Var], expected: usize) -> Result<()> {
    if given.len() == expected {
        return Ok(());
    }
    let problem = format!("{} were given, expected {expected}", given.len());
    Err(Error::Argument { name: "parameters of the sampler".into(), problem })
}

/// Refuses sizes that no machine holds.
fn require_few(sizes: impl IntoIterator<Item = usize>) -> Result<()> {
    match sizes.into_iter().find(|&size| size > MOST_WEIGHTS) {
        None => Ok(()),
        Some(_) => {
            let problem = format!("more than {MOST_WEIGHTS} numbers in one of its layers, which no machine holds");
            Err(Error::Argument { name: "sampler".into(), problem })
        }
    }
}

/// The linear map that ends a part of a sampler; biases have no part in the Jacobian and are left out.
#[derive(Clone, Copy, Debug)]
pub enum LastLayer {
    /// h (S, i) to h L^T with L of shape (o, i).
    Dense {
        /// L.
        weight: Var,
    },
    /// X (S, i0, i1) to `left` X `right`, shapes (o0, i0) and (i1, o1).
    TwoSided {
        /// Left factor.
        left: LastWeight,
        /// Right factor.
        right: LastWeight,
    },
}

/// A weight of a last layer: a parameter, or those of its rows and first columns whose outputs belong to theta.
#[derive(Clone, Copy, Debug)]
pub struct LastWeight {
    /// The rows and columns in question, on the tape.
    pub value: Var,
    /// The whole parameter.
    pub parameter: Var,
    /// Row of the parameter that `value` begins with; its columns begin with the first.
    pub first_row: usize,
}

impl LastWeight {
    /// The whole parameter.
    pub fn whole(parameter: Var) -> Self {
        Self { value: parameter, parameter, first_row: 0 }
    }

    /// Consecutive rows of a parameter.
    ///
    /// # Errors
    /// Rows that it does not have.
    pub fn rows(tape: &mut Tape, parameter: Var, first_row: usize, count: usize) -> Result<Self> {
        Ok(Self { value: tape.narrow(parameter, 0, first_row, count)?, parameter, first_row })
    }

    /// The first columns of a parameter.
    ///
    /// # Errors
    /// More than it has.
    pub fn columns(tape: &mut Tape, parameter: Var, count: usize) -> Result<Self> {
        Ok(Self { value: tape.narrow(parameter, 1, 0, count)?, parameter, first_row: 0 })
    }
}

/// One part of theta: consecutive weights made by one last layer.
#[derive(Clone, Copy, Debug)]
pub struct Piece {
    /// Hidden units before the last layer: (S, i) or (S, i0, i1).
    pub hidden: Var,
    /// The last layer.
    pub last: LastLayer,
}

/// A sampler recorded on a tape for S latents.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Latents (S, d).
    pub latents: Var,
    /// Weight vectors g(z), shape (S, m).
    pub theta: Var,
    /// The parts of theta, in order.
    pub pieces: Vec<Piece>,
    /// The first pre-activation, shape (S, ..): affine in the latents.
    pub entry: Var,
    /// Its derivative: row k is the tangent of `entry` for the k-th latent, shape (d, 1, ..), the same for every S.
    pub entry_basis: Var,
}

impl Recorded {
    /// A sampler that does not begin with an affine map: its latents are its entry. What is saved by one that does is one product for each latent
    /// direction.
    ///
    /// # Errors
    /// Those of recording.
    pub fn from_latents(tape: &mut Tape, latents: Var, theta: Var, pieces: Vec<Piece>) -> Result<Self> {
        let d = tape.shape(latents).last().copied().unwrap_or(0);
        let basis = tape.identity(d, tape.dtype(latents));
        let entry_basis = tape.reshape(basis, &[d, 1, d])?;
        Ok(Self { latents, theta, pieces, entry: latents, entry_basis })
    }
}

/// Records a sampler for latents of shape (S, d), and refuses what does not have the shapes that [`Recorded`] promises.
///
/// # Errors
/// [`Error::Argument`] naming the part and both shapes; those of the sampler.
pub fn record(sampler: &dyn Sampler, tape: &mut Tape, parameters: &[Var], latents: Var) -> Result<Recorded> {
    let (found, d) = (tape.shape(latents).to_vec(), sampler.latents());
    let samples = match *found {
        [samples, columns] if columns == d => samples,
        _ => {
            let problem = format!("have shape {found:?}, expected [S, {d}]");
            return Err(Error::Argument { name: "latents of the sampler".into(), problem });
        }
    };
    let recorded = sampler.record(tape, parameters, latents)?;
    let require = |name: &str, found: &[usize], expected: &[usize]| {
        if found == expected {
            return Ok(());
        }
        let problem = format!("has shape {found:?}, expected {expected:?}");
        Err(Error::Argument { name: format!("{name} of the recorded sampler"), problem })
    };
    require("theta", tape.shape(recorded.theta), &[samples, sampler.outputs()])?;
    require("latents", tape.shape(recorded.latents), &[samples, d])?;
    let entry = tape.shape(recorded.entry);
    require("entry", entry, &[&[samples], entry.get(1..).unwrap_or(&[])].concat())?;
    require("entry_basis", tape.shape(recorded.entry_basis), &[&[d, 1], &entry[1..]].concat())?;
    let mut made = 0;
    for piece in &recorded.pieces {
        let (inside, outputs) = match piece.last {
            LastLayer::Dense { weight } => {
                let [outputs, inputs] = matrix(tape, weight)?;
                (vec![samples, inputs], outputs)
            }
            LastLayer::TwoSided { left, right } => {
                let ([rows, inner_rows], [inner_columns, columns]) =
                    (matrix(tape, left.value)?, matrix(tape, right.value)?);
                (vec![samples, inner_rows, inner_columns], rows * columns)
            }
        };
        require("hidden", tape.shape(piece.hidden), &inside)?;
        made += outputs;
    }
    require("the output of all pieces", &[made], &[sampler.outputs()])?;
    Ok(recorded)
}

/// Rows and columns of a last layer's weight.
fn matrix(tape: &Tape, weight: Var) -> Result<[usize; 2]> {
    <[usize; 2]>::try_from(tape.shape(weight)).map_err(|_| Error::Argument {
        name: "last layer of the recorded sampler".into(),
        problem: format!("has a weight of shape {:?}, expected a matrix", tape.shape(weight)),
    })
}

/// A neural sampler of weight vectors.
pub trait Sampler: Send + Sync {
    /// Number of latents d.
    fn latents(&self) -> usize;
    /// Number of weights m drawn.
    fn outputs(&self) -> usize;
    /// The sampler's own weights, in the order in which `record` takes them.
    fn parameters(&self) -> Vec<Parameter>;
    /// Positions of the parameters that are added to theta. Their elements, one after another, are those of theta; where outputs are cut off, the
    /// last few belong to none.
    fn output_biases(&self) -> Vec<usize>;
    /// Records g(z) for latents of shape (S, d).
    ///
    /// # Errors
    /// [`Error::Argument`] for as many parameters as the sampler does not have; those of recording.
    fn record(&self, tape: &mut Tape, parameters: &[Var], latents: Var) -> Result<Recorded>;
}

/// Initial values of all parameters, uniform within each bound, in order.
pub fn initial_parameters(sampler: &dyn Sampler, seed: u64) -> Vec<Vec<f64>> {
    let mut rng = StdRng::seed_from_u64(seed);
    let uniform = |p: &Parameter| (0..p.elements()).map(|_| p.bound * signed_unit(&mut rng)).collect();
    sampler.parameters().iter().map(uniform).collect()
}

/// The same times `scale`, but the biases that are added to theta are `centre`, one number for each output: usually an ordinary initialisation of the
/// network itself. Training then starts around a network that can learn, not around one whose weights are all nearly zero.
pub fn initial_parameters_around(sampler: &dyn Sampler, centre: &[f64], scale: f64, seed: u64) -> Vec<Vec<f64>> {
    let mut values = initial_parameters(sampler, seed);
    values.iter_mut().flatten().for_each(|value| *value *= scale);
    let mut centre = centre.iter();
    for k in sampler.output_biases() {
        values[k].iter_mut().zip(&mut centre).for_each(|(value, &weight)| *value = weight);
    }
    values
}

/// An ordinary initialisation of the tensors of a layout: weights uniform within 1/sqrt(fan-in), biases zero.
pub fn initial_weights(layout: &Layout, seed: u64) -> Vec<f64> {
    let mut rng = StdRng::seed_from_u64(seed ^ 0x006e_6574_776f_726b);
    let bounds = layout.entries().iter().flat_map(|entry| {
        let bound = if entry.is_bias() { 0.0 } else { (entry.fan_in as f64).sqrt().recip() };
        std::iter::repeat_n(bound, entry.range.len())
    });
    bounds.map(|bound| bound * signed_unit(&mut rng)).collect()
}

/// Uniform on [-1, 1).
fn signed_unit(rng: &mut StdRng) -> f64 {
    2.0 * rng.random::<f64>() - 1.0
}
