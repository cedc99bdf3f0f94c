//! LeNet (LeCun et al. 1998) as the experiments on MNIST use it.

use super::{Layer, Network};
use crate::Result;
use crate::activation::Activation;

impl Network {
    /// Convolutions of 6 and 16 channels by 5 x 5, each followed by an activation and maxima over 2 x 2, then affine layers of 120, 84 and `outputs`.
    /// Tensors `conv1`, `conv2`, `fc1`, `fc2`, `fc3`.
    ///
    /// ```
    /// use livi::activation::Activation;
    /// use livi::network::Network;
    /// assert_eq!(Network::lenet(&[1, 28, 28], 10, Activation::Relu)?.layout().len(), 44_426);
    /// # Ok::<(), livi::Error>(())
    /// ```
    ///
    /// # Errors
    /// Inputs that are no images or too small, no outputs.
    pub fn lenet(input: &[usize], outputs: usize, activation: Activation) -> Result<Self> {
        let activation = || Layer::Activation(activation);
        let layers = vec![
            Layer::conv("conv1", 6, 5),
            activation(),
            Layer::max_pool(2),
            Layer::conv("conv2", 16, 5),
            activation(),
            Layer::max_pool(2),
            Layer::Flatten,
            Layer::linear("fc1", 120),
            activation(),
            Layer::linear("fc2", 84),
            activation(),
            Layer::linear("fc3", outputs),
        ];
        Self::new(input, layers)
    }
}
