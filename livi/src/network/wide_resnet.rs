//! Wide residual networks (Zagoruyko and Komodakis 2016) with batch normalisation before each convolution and without affine weights.

use super::{Layer, Network, wrong};
use crate::Result;
use crate::activation::Activation;

/// A wide residual block: normalisation and activation before each of two 3 x 3 convolutions, the first one with the stride; where channels or
/// stride change, the shortcut is a 1 x 1 convolution of the activated input. Tensors `NAME.conv1`, `NAME.conv2`, `NAME.shortcut`, normalisations
/// `NAME.bn1` and `NAME.bn2` before the convolutions.
pub fn wide_block(name: &str, inputs: usize, channels: usize, stride: usize, activation: Activation) -> Layer {
    let activation = || Layer::Activation(activation);
    let tensor = |part: &str| if name.is_empty() { part.to_string() } else { format!("{name}.{part}") };
    let main = vec![
        Layer::plain_conv(&tensor("conv1"), channels, 3, stride, 1),
        Layer::batch_norm(&tensor("bn2")),
        activation(),
        Layer::plain_conv(&tensor("conv2"), channels, 3, 1, 1),
    ];
    let changes = inputs != channels || stride != 1;
    let shortcut =
        if changes { vec![Layer::plain_conv(&tensor("shortcut"), channels, 1, stride, 0)] } else { Vec::new() };
    Layer::Residual { before: vec![Layer::batch_norm(&tensor("bn1")), activation()], main, shortcut }
}

impl Network {
    /// WideResNet-`depth`-`width`: a convolution of 16 channels, three groups of (depth - 4) / 6 blocks of 16, 32 and 64 times `width` channels, the
    /// later groups beginning with stride 2, then normalisation, activation, the mean over rows and columns and an affine layer.
    /// Tensors `conv1`, `block1.0.conv1` .., `fc`, normalisations `block1.0.bn1` .., `bn1`.
    ///
    /// ```
    /// use livi::activation::Activation;
    /// use livi::network::Network;
    /// let net = Network::wide_resnet(&[3, 32, 32], 16, 4, 10, Activation::Relu)?;
    /// assert_eq!(net.layout().len(), 2_745_274);
    /// # Ok::<(), livi::Error>(())
    /// ```
    ///
    /// # Errors
    /// A depth that is not 6 n + 4 with n of at least 1, a width of 0, inputs that are no images.
    pub fn wide_resnet(
        input: &[usize],
        depth: usize,
        width: usize,
        outputs: usize,
        activation: Activation,
    ) -> Result<Self> {
        if depth < 10 || !(depth - 4).is_multiple_of(6) || width == 0 {
            return Err(wrong(format!(
                "a wide residual network of depth {depth} and width {width}; expected a depth of 10, 16, 22, .. (6 n + 4) and a width of at least 1"
            )));
        }
        let mut layers = vec![Layer::plain_conv("conv1", 16, 3, 1, 1)];
        let mut channels = 16;
        for group in 0..3 {
            let own = (16 << group) * width;
            for k in 0..(depth - 4) / 6 {
                let stride = if group > 0 && k == 0 { 2 } else { 1 };
                layers.push(wide_block(&format!("block{}.{k}", group + 1), channels, own, stride, activation));
                channels = own;
            }
        }
        let end = [Layer::batch_norm("bn1"), Layer::Activation(activation), Layer::Mean, Layer::linear("fc", outputs)];
        layers.extend(end);
        Self::new(input, layers)
    }
}
