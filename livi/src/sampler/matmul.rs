//! The matrix-multiplication sampler (MM): layers X -> (W_l X + B_l) W_r + B_r (Uppal et al. 2023, section 4.2).

use super::{
    LastLayer, LastWeight, Parameter, Piece, Recorded, Sampler, matrix_and_remainder, require_few, require_parameters,
};
use crate::activation::Activation;
use crate::network::volume;
use crate::{Error, Result};
use autograd::{Tape, Var};

/// Number of rows and columns.
type Size = [usize; 2];

/// A stack of MM layers with an activation between them: input -> hidden -> .. -> hidden -> outputs.
///
/// The last hidden matrix may feed several last layers whose flattened outputs follow one another: so any number of weights can be made exactly.
#[derive(Clone, Debug)]
pub struct MatMulNetwork {
    prefix: String,
    sizes: Vec<Size>,
    outputs: Vec<Size>,
    /// Outputs that are kept, from the first.
    kept: usize,
    activation: Activation,
}

impl MatMulNetwork {
    /// Input size, hidden size, number of hidden-to-hidden layers, sizes of the outputs. `prefix` begins the parameters' names.
    ///
    /// # Errors
    /// A size of 0, or no output.
    pub fn new(
        prefix: &str,
        input: Size,
        hidden: Size,
        hidden_layers: usize,
        outputs: &[Size],
        activation: Activation,
    ) -> Result<Self> {
        let mut sizes = vec![input];
        sizes.extend(std::iter::repeat_n(hidden, hidden_layers + 1));
        if outputs.is_empty() || sizes.iter().chain(outputs).any(|s| s.contains(&0)) {
            let problem = format!("sizes {sizes:?} and outputs {outputs:?}; all must be positive");
            return Err(Error::Argument { name: "sampler".into(), problem });
        }
        let kept = outputs.iter().map(|size| volume(size)).fold(0, usize::saturating_add);
        require_few(sizes.iter().map(|size| volume(size)).chain([kept]))?;
        Ok(Self { prefix: prefix.into(), sizes, outputs: outputs.to_vec(), kept, activation })
    }

    /// The same network with the outputs after the first `kept` left out. The weights that make them stay among the parameters, but nothing
    /// depends on them.
    ///
    /// # Errors
    /// None or more outputs kept than there are, or so few that the last output matrix is not needed at all.
    pub fn cut(mut self, kept: usize) -> Result<Self> {
        let all: usize = self.outputs.iter().map(|s| s[0] * s[1]).sum();
        let last = self.outputs.last().map_or(0, |s| s[0] * s[1]);
        if kept > all || kept <= all - last {
            let problem = format!("{kept} of {all} outputs cannot be kept, expected {} to {all}", all - last + 1);
            return Err(Error::Argument { name: "sampler".into(), problem });
        }
        self.kept = kept;
        Ok(self)
    }

    /// Input (rows, columns).
    pub fn input(&self) -> Size {
        self.sizes[0]
    }

    /// Number of outputs.
    pub fn len(&self) -> usize {
        self.kept
    }

    /// Whether there is no output (never so for a valid network).
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Weights in order: left, left bias, right, right bias of each layer.
    pub fn parameters(&self) -> Vec<Parameter> {
        let last = self.sizes.len() - 1;
        let inner = self.sizes.windows(2).enumerate().map(|(k, w)| (format!("layers.{k}"), w[0], w[1]));
        let outer = self.outputs.iter().enumerate().map(|(k, &o)| {
            let name = if k == 0 { format!("layers.{last}") } else { format!("remainder.{}", k - 1) };
            (name, self.sizes[last], o)
        });
        inner.chain(outer).flat_map(|(name, i, o)| layer_parameters(&format!("{}{name}", self.prefix), i, o)).collect()
    }

    /// Positions of the right biases of the last layers.
    pub(super) fn output_biases(&self) -> impl Iterator<Item = usize> {
        let inner = self.sizes.len() - 1;
        (0..self.outputs.len()).map(move |k| 4 * (inner + k) + 3)
    }

    /// Records the outputs of X (S, i0, i1): flat outputs (S, n), pieces, and the first pre-activation with the parameters of its layer.
    pub(super) fn record(&self, tape: &mut Tape, parameters: &[Var], x: Var) -> Result<(Var, Vec<Piece>, Var)> {
        require_parameters(parameters, 4 * (self.sizes.len() - 1 + self.outputs.len()))?;
        let samples = tape.shape(x)[0];
        let mut hidden = x;
        let mut entry = x;
        let inner = self.sizes.len() - 1;
        for k in 0..inner {
            let pre = layer(tape, &parameters[4 * k..4 * k + 4], hidden)?;
            if k == 0 {
                entry = pre;
            }
            hidden = self.activation.record(tape, pre)?;
        }
        let (mut parts, mut pieces) = (Vec::new(), Vec::new());
        let mut left_to_make = self.kept;
        for (k, &[rows, columns]) in self.outputs.iter().enumerate() {
            let own = &parameters[4 * (inner + k)..4 * (inner + k) + 4];
            let y = layer(tape, own, hidden)?;
            let flat = tape.reshape(y, &[samples, rows * columns])?;
            let taken = left_to_make.min(rows * columns);
            left_to_make -= taken;
            parts.push(if taken < rows * columns { tape.narrow(flat, 1, 0, taken)? } else { flat });
            for last in last_layers(tape, own[0], own[2], [rows, columns], taken)? {
                pieces.push(Piece { hidden, last });
            }
        }
        Ok((tape.concat(&parts, 1)?, pieces, entry))
    }
}

/// The layers that make the first `taken` of the outputs of W_l X W_r, row by row: all of it; or the whole rows and, apart from them, what is
/// left of one more. Either is a two-sided layer again and can be folded, which the cut one as a whole is not.
fn last_layers(tape: &mut Tape, left: Var, right: Var, size: Size, taken: usize) -> Result<Vec<LastLayer>> {
    let [rows, columns] = size;
    let (whole, rest) = (taken / columns, taken % columns);
    let mut layers = Vec::new();
    if whole == rows {
        layers.push(LastLayer::TwoSided { left: LastWeight::whole(left), right: LastWeight::whole(right) });
    } else if whole > 0 {
        let left = LastWeight::rows(tape, left, 0, whole)?;
        layers.push(LastLayer::TwoSided { left, right: LastWeight::whole(right) });
    }
    if rest > 0 {
        let left = LastWeight::rows(tape, left, whole, 1)?;
        let right = LastWeight::columns(tape, right, rest)?;
        layers.push(LastLayer::TwoSided { left, right });
    }
    Ok(layers)
}

/// Left, left bias, right, right bias: uniform within 1/sqrt(i0) on the left, 1/sqrt(o1) on the right, as published.
pub(super) fn layer_parameters(name: &str, input: Size, output: Size) -> [Parameter; 4] {
    let (left, right) = ((input[0] as f64).sqrt().recip(), (output[1] as f64).sqrt().recip());
    let parameter = |part: &str, rows, columns, bound| Parameter {
        name: format!("{name}.{part}"),
        shape: vec![rows, columns],
        bound,
    };
    [
        parameter("weight_l", output[0], input[0], left),
        parameter("bias_l", output[0], input[1], left),
        parameter("weight_r", input[1], output[1], right),
        parameter("bias_r", output[0], output[1], right),
    ]
}

/// W_l X W_r in the cheaper order, plus the one bias B_l W_r + B_r.
pub(super) fn layer(tape: &mut Tape, parameters: &[Var], x: Var) -> Result<Var> {
    let [left, left_bias, right, right_bias] = [parameters[0], parameters[1], parameters[2], parameters[3]];
    let product = two_sided(tape, left, x, right)?;
    let folded = tape.matmul(left_bias, right)?;
    let bias = tape.add(folded, right_bias)?;
    Ok(tape.add(product, bias)?)
}

/// `left` X `right` for X (.., i0, i1), in the order that costs fewer multiplications.
pub fn two_sided(tape: &mut Tape, left: Var, x: Var, right: Var) -> Result<Var> {
    let (o0, i0) = (tape.shape(left)[0], tape.shape(left)[1]);
    let (i1, o1) = (tape.shape(right)[0], tape.shape(right)[1]);
    if o0 * i1 * (i0 + o1) <= i0 * o1 * (i1 + o0) {
        let y = tape.matmul(left, x)?;
        Ok(tape.matmul(y, right)?)
    } else {
        let y = tape.matmul(x, right)?;
        Ok(tape.matmul(left, y)?)
    }
}

/// Tangents of the first layer's output for each latent: row (a, b) is the outer product of W_l's column a and W_r's row b.
pub(super) fn layer_basis(tape: &mut Tape, left: Var, right: Var) -> Result<Var> {
    let (o0, i0) = (tape.shape(left)[0], tape.shape(left)[1]);
    let (i1, o1) = (tape.shape(right)[0], tape.shape(right)[1]);
    let columns = tape.transpose(left)?;
    let columns = tape.reshape(columns, &[i0, 1, o0, 1])?;
    let rows = tape.reshape(right, &[1, i1, 1, o1])?;
    let outer = tape.mul(columns, rows)?;
    Ok(tape.reshape(outer, &[i0 * i1, 1, o0, o1])?)
}

/// A sampler made of one MM network.
#[derive(Clone, Debug)]
pub struct MatMulSampler {
    network: MatMulNetwork,
}

impl MatMulSampler {
    /// Latent matrix, hidden matrix, number of hidden-to-hidden layers, output matrices.
    ///
    /// # Errors
    /// A size of 0.
    pub fn new(
        latent: Size,
        hidden: Size,
        hidden_layers: usize,
        outputs: &[Size],
        activation: Activation,
    ) -> Result<Self> {
        Ok(Self { network: MatMulNetwork::new("", latent, hidden, hidden_layers, outputs, activation)? })
    }

    /// The same sampler with the weights after the first m left out: surplus outputs are in neither prior, entropy nor likelihood.
    ///
    /// # Errors
    /// As [`MatMulNetwork::cut`].
    ///
    /// ```
    /// use livi::activation::Activation;
    /// use livi::sampler::{MatMulSampler, Sampler};
    /// let sampler = MatMulSampler::new([2, 2], [3, 3], 1, &[[4, 5]], Activation::Elu)?.cut(17)?;
    /// assert_eq!(sampler.outputs(), 17);
    /// # Ok::<(), livi::Error>(())
    /// ```
    pub fn cut(self, m: usize) -> Result<Self> {
        Ok(Self { network: self.network.cut(m)? })
    }

    /// As [`MatMulSampler::new`] with exactly m outputs: one nearly square matrix and, where m does not divide well, a row with the rest.
    ///
    /// # Errors
    /// A size of 0.
    pub fn sized(latent: Size, hidden: Size, hidden_layers: usize, m: usize, activation: Activation) -> Result<Self> {
        Self::new(latent, hidden, hidden_layers, &exact_outputs(m), activation)
    }
}

/// Output matrices that hold exactly m numbers.
pub(super) fn exact_outputs(m: usize) -> Vec<Size> {
    match matrix_and_remainder(m) {
        (rows, columns, 0) => vec![[rows, columns]],
        (rows, columns, rest) => vec![[rows, columns], [1, rest]],
    }
}

impl Sampler for MatMulSampler {
    fn latents(&self) -> usize {
        self.network.input().iter().product()
    }

    fn outputs(&self) -> usize {
        self.network.len()
    }

    fn parameters(&self) -> Vec<Parameter> {
        self.network.parameters()
    }

    fn output_biases(&self) -> Vec<usize> {
        self.network.output_biases().collect()
    }

    fn record(&self, tape: &mut Tape, parameters: &[Var], latents: Var) -> Result<Recorded> {
        let [rows, columns] = self.network.input();
        let x = tape.reshape(latents, &[tape.shape(latents)[0], rows, columns])?;
        let (theta, pieces, entry) = self.network.record(tape, parameters, x)?;
        let entry_basis = layer_basis(tape, parameters[0], parameters[2])?;
        Ok(Recorded { latents, theta, pieces, entry, entry_basis })
    }
}
