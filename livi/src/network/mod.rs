//! Networks whose weights are drawn by a sampler, and the layout of those weights.
//!
//! A network is a list of [`Layer`]s; [`Network::mlp`], [`Network::lenet`] and [`Network::wide_resnet`] are such lists with the names that PyTorch
//! implementations give their tensors.

mod layer;
mod layout;
mod lenet;
mod mlp;
mod parse;
mod record;
mod wide_resnet;

pub use layer::Layer;
pub(crate) use layout::volume;
pub use layout::{Entry, Layout};
pub use record::{EPSILON, Outputs};
pub use wide_resnet::wide_block;

use crate::{Error, Result};

/// Weights that a network or a sampler may have at most.
pub(crate) const MOST_WEIGHTS: usize = 1 << 40;

/// Layers applied one after another to inputs of a fixed shape.
///
/// ```
/// use livi::activation::Activation;
/// use livi::network::{Layer, Network};
/// let net = Network::mlp(&[1, 7, 10, 1], Activation::Elu)?;
/// assert_eq!(net.layout().len(), 105);
/// assert_eq!(net.layout().entries()[2].name, "layer1.weight");
/// let own = Network::new(&[3, 8, 8], vec![Layer::conv("conv1", 5, 3), Layer::Mean, Layer::linear("fc", 2)])?;
/// assert_eq!((own.output(), own.layout().len()), (&[2][..], 5 * 3 * 9 + 5 + 2 * 5 + 2));
/// # Ok::<(), livi::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Network {
    input: Vec<usize>,
    layers: Vec<Layer>,
    layout: Layout,
    output: Vec<usize>,
    normalisations: Vec<(String, usize)>,
    widest: usize,
}

impl Network {
    /// A network of layers for inputs of this shape: \[features\], or \[channels, rows, columns\].
    ///
    /// # Errors
    /// A layer that does not fit what comes before it, named by its place; two tensors of one name; an axis of length 0.
    pub fn new(input: &[usize], layers: Vec<Layer>) -> Result<Self> {
        let mut shapes = layer::Shapes::new(input)?;
        shapes.extend(&layers)?;
        let layer::Shapes { shape: output, layout, normalisations, widest } = shapes;
        for (what, count) in [("weights", layout.len()), ("numbers between two layers", widest)] {
            if count > MOST_WEIGHTS {
                return Err(wrong(format!("more than {MOST_WEIGHTS} {what}, which no machine holds")));
            }
        }
        Ok(Self { input: input.to_vec(), layers, layout, output, normalisations, widest })
    }

    /// Names and places of the weights.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Shape of one input.
    pub fn input(&self) -> &[usize] {
        &self.input
    }

    /// Numbers of one input.
    pub fn inputs(&self) -> usize {
        self.input.iter().product()
    }

    /// Shape of one output.
    pub fn output(&self) -> &[usize] {
        &self.output
    }

    /// Numbers of one output.
    pub fn outputs(&self) -> usize {
        self.output.iter().product()
    }

    /// The layers.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// Means and variances that batch normalisation takes in all: two a channel and normalisation; 0 without any.
    pub fn statistics(&self) -> usize {
        self.normalisations.iter().map(|(_, channels)| 2 * channels).sum()
    }

    /// Name and channels of each batch normalisation, in order of evaluation: the order of the statistics ([`Outputs::statistics`]).
    ///
    /// ```
    /// use livi::activation::Activation;
    /// use livi::network::Network;
    /// let net = Network::wide_resnet(&[3, 32, 32], 10, 1, 10, Activation::Relu)?;
    /// assert_eq!(net.normalisations()[1], ("block1.0.bn2".to_string(), 16));
    /// assert_eq!(net.normalisations().last(), Some(&("bn1".to_string(), 64)));
    /// # Ok::<(), livi::Error>(())
    /// ```
    pub fn normalisations(&self) -> &[(String, usize)] {
        &self.normalisations
    }

    /// Numbers of one input's largest value between layers, input and output included.
    pub fn widest(&self) -> usize {
        self.widest
    }
}

fn wrong(problem: String) -> Error {
    Error::Argument { name: "network".into(), problem }
}
