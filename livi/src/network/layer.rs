//! Layers: what they are called, what shapes they make and which tensors they need.

use super::{Layout, volume, wrong};
use crate::Result;
use crate::activation::Activation;

/// One layer of a network.
#[derive(Clone, Debug, PartialEq)]
pub enum Layer {
    /// y = W x + b on flat values. Tensors `NAME.weight` (outputs, inputs) and `NAME.bias` (outputs).
    Linear {
        /// Name of the tensors.
        name: String,
        /// Number of outputs.
        outputs: usize,
        /// Whether there is a bias.
        bias: bool,
    },
    /// A convolution (a correlation, as usual). Tensors `NAME.weight` (channels, inputs, rows, columns) and `NAME.bias` (channels).
    Conv {
        /// Name of the tensors.
        name: String,
        /// Channels made.
        channels: usize,
        /// Rows and columns of the filters.
        size: [usize; 2],
        /// Steps of the filters.
        stride: [usize; 2],
        /// Rows and columns of zeros on each side.
        padding: [usize; 2],
        /// Whether there is a bias.
        bias: bool,
    },
    /// An elementwise function.
    Activation(Activation),
    /// Maxima over windows.
    MaxPool {
        /// Rows and columns of a window.
        size: [usize; 2],
        /// Steps of the windows.
        stride: [usize; 2],
        /// Rows and columns of margin on each side.
        padding: [usize; 2],
    },
    /// Means over windows; margins count as zeros.
    MeanPool {
        /// Rows and columns of a window.
        size: [usize; 2],
        /// Steps of the windows.
        stride: [usize; 2],
        /// Rows and columns of zeros on each side.
        padding: [usize; 2],
    },
    /// Mean over all rows and columns: one number a channel.
    Mean,
    /// One flat value, channels first.
    Flatten,
    /// Batch normalisation without affine weights (Ioffe and Szegedy 2015): each channel less its mean, over its standard deviation. It has no
    /// weights; its statistics are exported as `NAME.running_mean` and `NAME.running_var` (channels).
    BatchNorm {
        /// Name of the statistics.
        name: String,
    },
    /// a = before(x); main(a) + shortcut(a), or main(a) + x without a shortcut.
    Residual {
        /// Layers that both branches share.
        before: Vec<Layer>,
        /// The longer branch.
        main: Vec<Layer>,
        /// The shorter branch; without layers x itself.
        shortcut: Vec<Layer>,
    },
}

impl Layer {
    /// An affine layer with bias.
    pub fn linear(name: &str, outputs: usize) -> Self {
        Self::Linear { name: name.into(), outputs, bias: true }
    }

    /// A convolution with square filters, bias, stride 1 and no padding.
    pub fn conv(name: &str, channels: usize, size: usize) -> Self {
        Self::Conv { name: name.into(), channels, size: [size; 2], stride: [1, 1], padding: [0, 0], bias: true }
    }

    /// A convolution with square filters without bias.
    pub fn plain_conv(name: &str, channels: usize, size: usize, stride: usize, padding: usize) -> Self {
        let (size, stride, padding) = ([size; 2], [stride; 2], [padding; 2]);
        Self::Conv { name: name.into(), channels, size, stride, padding, bias: false }
    }

    /// Maxima over square windows side by side.
    pub fn max_pool(size: usize) -> Self {
        Self::MaxPool { size: [size; 2], stride: [size; 2], padding: [0, 0] }
    }

    /// Batch normalisation.
    pub fn batch_norm(name: &str) -> Self {
        Self::BatchNorm { name: name.into() }
    }

    /// What errors call it.
    fn kind(&self) -> &'static str {
        match self {
            Self::Linear { .. } => "linear",
            Self::Conv { .. } => "conv",
            Self::Activation(_) => "activation",
            Self::MaxPool { .. } => "max_pool",
            Self::MeanPool { .. } => "mean_pool",
            Self::Mean => "mean",
            Self::Flatten => "flatten",
            Self::BatchNorm { .. } => "batch_norm",
            Self::Residual { .. } => "residual",
        }
    }
}

/// Shapes and tensors found by walking through layers.
pub(super) struct Shapes {
    pub shape: Vec<usize>,
    pub layout: Layout,
    /// Name and channels of each batch normalisation, in order of evaluation.
    pub normalisations: Vec<(String, usize)>,
    pub widest: usize,
}

impl Shapes {
    pub fn new(input: &[usize]) -> Result<Self> {
        if !matches!(input.len(), 1 | 3) || input.contains(&0) {
            return Err(wrong(format!(
                "inputs of shape {input:?}, expected [features] or [channels, rows, columns], all of them positive"
            )));
        }
        let widest = volume(input);
        Ok(Self { shape: input.to_vec(), layout: Layout::default(), normalisations: Vec::new(), widest })
    }

    pub fn extend(&mut self, layers: &[Layer]) -> Result<()> {
        for (k, layer) in layers.iter().enumerate() {
            let place = |problem: String| wrong(format!("layer {k} ({}): {problem}", layer.kind()));
            self.layer(layer).map_err(|problem| match problem {
                Problem::Here(problem) => place(problem),
                Problem::Inside(error) => place(error.to_string()),
            })?;
            self.widest = self.widest.max(volume(&self.shape));
        }
        Ok(())
    }

    fn layer(&mut self, layer: &Layer) -> std::result::Result<(), Problem> {
        match layer {
            Layer::Linear { name, outputs, bias } => {
                let [inputs] = *self.shape else {
                    return Err(
                        format!("it gets values of shape {:?}, put `flatten` or `mean` before it", self.shape).into()
                    );
                };
                if *outputs == 0 {
                    return Err("0 outputs, expected at least 1".to_string().into());
                }
                self.tensor(name, "weight", &[*outputs, inputs], inputs)?;
                if *bias {
                    self.tensor(name, "bias", &[*outputs], 1)?;
                }
                self.shape = vec![*outputs];
            }
            Layer::Conv { name, channels, size, stride, padding, bias } => {
                let [inputs, ..] = self.image()?;
                if *channels == 0 {
                    return Err("0 channels, expected at least 1".to_string().into());
                }
                let [rows, columns] = self.windows(*size, *stride, *padding)?;
                self.tensor(
                    name,
                    "weight",
                    &[*channels, inputs, size[0], size[1]],
                    volume(&[inputs, size[0], size[1]]),
                )?;
                if *bias {
                    self.tensor(name, "bias", &[*channels], 1)?;
                }
                self.shape = vec![*channels, rows, columns];
            }
            Layer::MaxPool { size, stride, padding } | Layer::MeanPool { size, stride, padding } => {
                if (0..2).any(|k| padding[k] > size[k] / 2) {
                    return Err(format!("padding {padding:?} is more than half the windows {size:?}").into());
                }
                let [channels, ..] = self.image()?;
                let [rows, columns] = self.windows(*size, *stride, *padding)?;
                self.shape = vec![channels, rows, columns];
            }
            Layer::Mean => self.shape = vec![self.image()?[0]],
            Layer::Flatten => self.shape = vec![volume(&self.shape)],
            Layer::BatchNorm { name } => {
                let weights = self.layout.entries().iter().any(|entry| entry.layer() == name);
                if weights || self.normalisations.iter().any(|(known, _)| known == name) {
                    return Err(format!("there is a layer `{name}` already").into());
                }
                self.normalisations.push((name.clone(), self.shape[0]));
            }
            Layer::Activation(_) => {}
            Layer::Residual { before, main, shortcut } => {
                let input = self.shape.clone();
                self.extend(before)?;
                let shared = self.shape.clone();
                self.extend(main)?;
                let found = std::mem::replace(&mut self.shape, shared);
                self.extend(shortcut)?;
                let other = if shortcut.is_empty() { input } else { self.shape.clone() };
                if other != found {
                    return Err(format!("the branches give {found:?} and {other:?}, expected equal shapes").into());
                }
                self.shape = found;
            }
        }
        Ok(())
    }

    /// Channels, rows and columns.
    fn image(&self) -> std::result::Result<[usize; 3], String> {
        <[usize; 3]>::try_from(self.shape.as_slice())
            .map_err(|_| format!("it gets values of shape {:?}, expected [channels, rows, columns]", self.shape))
    }

    fn windows(
        &self,
        size: [usize; 2],
        stride: [usize; 2],
        padding: [usize; 2],
    ) -> std::result::Result<[usize; 2], String> {
        let [_, rows, columns] = self.image()?;
        if size.contains(&0) || stride.contains(&0) {
            return Err(format!("size {size:?}, stride {stride:?}, expected positive numbers"));
        }
        let mut found = [0; 2];
        for (k, length) in [rows, columns].into_iter().enumerate() {
            found[k] = match length.saturating_add(padding[k].saturating_mul(2)).checked_sub(size[k]) {
                Some(rest) => rest / stride[k] + 1,
                None => {
                    return Err(format!(
                        "windows of {size:?} are larger than {rows} x {columns} padded by {padding:?}"
                    ));
                }
            };
        }
        Ok(found)
    }

    fn tensor(&mut self, name: &str, kind: &str, shape: &[usize], fan_in: usize) -> std::result::Result<(), String> {
        if self.normalisations.iter().any(|(known, _)| known == name) {
            return Err(format!("there is a layer `{name}` already"));
        }
        let name = format!("{name}.{kind}");
        if self.layout.entries().iter().any(|entry| entry.name == name) {
            return Err(format!("there is a tensor `{name}` already"));
        }
        self.layout.push(name, shape, fan_in);
        Ok(())
    }
}

/// What is wrong with a layer, or with one inside of it.
enum Problem {
    Here(String),
    Inside(crate::Error),
}

impl From<String> for Problem {
    fn from(problem: String) -> Self {
        Self::Here(problem)
    }
}

impl From<crate::Error> for Problem {
    fn from(error: crate::Error) -> Self {
        Self::Inside(error)
    }
}
