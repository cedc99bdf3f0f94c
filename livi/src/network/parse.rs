//! Layers written as text, for configurations.

use super::layer::Shapes;
use super::{Layer, wide_block};
use crate::activation::Activation;
use crate::{Error, Result};
use std::str::FromStr;

/// What a layer's text may be, for errors.
const FORMS: &str = "`linear N`, `conv N`, `wide_block N`, `max_pool N`, `mean_pool N`, `mean`, `flatten`, `batch_norm`, an activation, \
                     each with settings such as `size=3`";

impl Layer {
    /// Reads layers for inputs of a shape, one text each: a word, for some a number, then settings `key=value`.
    ///
    /// | text | settings |
    /// | --- | --- |
    /// | `linear N` outputs | `bias=true`, `name=fc1` |
    /// | `conv N` channels | `size=3`, `stride=1`, `padding=0`, `bias=true`, `name=conv1` |
    /// | `wide_block N` channels | `stride=1`, `name=block1`, `activation=relu` |
    /// | `max_pool N`, `mean_pool N` windows of N x N | `stride=N`, `padding=0` |
    /// | `batch_norm` | `name=bn1` |
    /// | `mean`, `flatten`, `relu`, `elu`, `tanh`, `softplus`, `sigmoid`, `silu`, `leaky_relu` | |
    ///
    /// Layers without a name are called by kind and number: `conv1`, `conv2`, `fc1`, `block1`, `bn1`.
    ///
    /// ```
    /// use livi::network::{Layer, Network};
    /// let texts = ["conv 8 size=5", "relu", "max_pool 2", "flatten", "linear 10"].map(String::from);
    /// let net = Network::new(&[1, 28, 28], Layer::parse_all(&texts, &[1, 28, 28])?)?;
    /// assert_eq!(net.layout().entries()[2].name, "fc1.weight");
    /// assert_eq!(net.layout().entries()[2].shape, [10, 8 * 12 * 12]);
    /// # Ok::<(), livi::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Config`] for `network.layers`, naming the text, what was found and what was expected.
    pub fn parse_all(texts: &[String], input: &[usize]) -> Result<Vec<Self>> {
        let mut shapes = Shapes::new(input)?;
        let mut counts = [0; 4];
        let mut layers = Vec::with_capacity(texts.len());
        for (k, text) in texts.iter().enumerate() {
            let wrong = |problem: String| Error::Config {
                key: "network.layers".into(),
                problem: format!("entry {k}, `{text}`: {problem}"),
            };
            let layer = parse(text, shapes.shape[0], &mut counts).map_err(wrong)?;
            shapes.extend(std::slice::from_ref(&layer)).map_err(|error| wrong(error.to_string()))?;
            layers.push(layer);
        }
        Ok(layers)
    }
}

/// Reads one text; `channels` come in, `counts` are the convolutions, affine layers, blocks and normalisations so far.
fn parse(text: &str, channels: usize, counts: &mut [usize; 4]) -> std::result::Result<Layer, String> {
    let mut words = text.split_whitespace();
    let kind = words.next().ok_or_else(|| format!("it is empty, expected {FORMS}"))?;
    let mut settings = Settings { number: None, pairs: Vec::new() };
    for word in words {
        match word.split_once('=') {
            Some((key, value)) => settings.pairs.push((key.into(), value.into())),
            None if settings.number.is_none() && settings.pairs.is_empty() => settings.number = Some(read(kind, word)?),
            None => return Err(format!("`{word}`, expected a setting such as `stride=2`")),
        }
    }
    let mut named = |which: usize, prefix: &str, settings: &mut Settings| {
        counts[which] += 1;
        settings.take("name", format!("{prefix}{}", counts[which]))
    };
    let layer = match kind {
        "linear" => Layer::Linear {
            name: named(1, "fc", &mut settings)?,
            outputs: settings.number(kind)?,
            bias: settings.take("bias", true)?,
        },
        "conv" => Layer::Conv {
            name: named(0, "conv", &mut settings)?,
            channels: settings.number(kind)?,
            size: [settings.take("size", 3)?; 2],
            stride: [settings.take("stride", 1)?; 2],
            padding: [settings.take("padding", 0)?; 2],
            bias: settings.take("bias", true)?,
        },
        "wide_block" => {
            let name = named(2, "block", &mut settings)?;
            let activation = settings.take("activation", "relu".to_string())?;
            let activation = self::activation(&activation).ok_or_else(|| {
                format!("activation `{activation}`, expected one of {}", Activation::NAMES.join(", "))
            })?;
            wide_block(&name, channels, settings.number(kind)?, settings.take("stride", 1)?, activation)
        }
        "max_pool" | "mean_pool" => {
            let number: usize = settings.number(kind)?;
            let (size, stride) = ([number; 2], [settings.take("stride", number)?; 2]);
            let padding = [settings.take("padding", 0)?; 2];
            match kind {
                "max_pool" => Layer::MaxPool { size, stride, padding },
                _ => Layer::MeanPool { size, stride, padding },
            }
        }
        "batch_norm" => {
            without_number(kind, &settings)?;
            Layer::BatchNorm { name: named(3, "bn", &mut settings)? }
        }
        _ => {
            let plain = match kind {
                "mean" => Some(Layer::Mean),
                "flatten" => Some(Layer::Flatten),
                _ => activation(kind).map(Layer::Activation),
            };
            let layer = plain.ok_or_else(|| format!("there is no layer `{kind}`, expected {FORMS}"))?;
            without_number(kind, &settings)?;
            layer
        }
    };
    match settings.pairs.first() {
        Some((key, _)) => Err(format!("`{kind}` has no setting `{key}`")),
        None => Ok(layer),
    }
}

fn without_number(kind: &str, settings: &Settings) -> std::result::Result<(), String> {
    match settings.number {
        Some(_) => Err(format!("`{kind}` takes no number")),
        None => Ok(()),
    }
}

fn activation(name: &str) -> Option<Activation> {
    Activation::ALL.into_iter().find(|activation| activation.name() == name)
}

fn read<T: FromStr>(key: &str, text: &str) -> std::result::Result<T, String> {
    text.parse().map_err(|_| {
        let expected = match std::any::type_name::<T>() {
            "usize" => "a whole number from 0",
            "bool" => "true or false",
            _ => "a text",
        };
        format!("`{text}` for {key}, expected {expected}")
    })
}

/// The number and settings of a text that were not used yet.
struct Settings {
    number: Option<usize>,
    pairs: Vec<(String, String)>,
}

impl Settings {
    fn number(&mut self, kind: &str) -> std::result::Result<usize, String> {
        self.number.take().ok_or_else(|| format!("`{kind}` needs a number, such as `{kind} 10`"))
    }

    fn take<T: FromStr>(&mut self, key: &str, default: T) -> std::result::Result<T, String> {
        match self.pairs.iter().position(|pair| pair.0 == key) {
            Some(at) => read(key, &self.pairs.remove(at).1),
            None => Ok(default),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Network;

    fn layers(texts: &[&str], input: &[usize]) -> Result<Network> {
        let texts: Vec<String> = texts.iter().map(|text| text.to_string()).collect();
        Network::new(input, Layer::parse_all(&texts, input)?)
    }

    #[test]
    fn lenet_in_words_is_lenet() {
        let words = [
            "conv 6 size=5",
            "relu",
            "max_pool 2",
            "conv 16 size=5",
            "relu",
            "max_pool 2",
            "flatten",
            "linear 120",
            "relu",
            "linear 84",
            "relu",
            "linear 10",
        ];
        let own = layers(&words, &[1, 28, 28]).unwrap();
        let known = Network::lenet(&[1, 28, 28], 10, Activation::Relu).unwrap();
        assert_eq!((own.layers(), own.layout()), (known.layers(), known.layout()));
    }

    #[test]
    fn a_wide_residual_network_in_words_has_its_weights() {
        let words = [
            "conv 16 padding=1 bias=false",
            "wide_block 16",
            "wide_block 32 stride=2",
            "wide_block 64 stride=2 name=last",
            "batch_norm",
            "relu",
            "mean",
            "linear 10",
        ];
        let own = layers(&words, &[3, 32, 32]).unwrap();
        let known = Network::wide_resnet(&[3, 32, 32], 10, 1, 10, Activation::Relu).unwrap();
        assert_eq!(own.layout().len(), known.layout().len());
        assert_eq!(own.layout().entries()[6].name, "last.conv1.weight");
        let names: Vec<&str> = own.normalisations().iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["block1.bn1", "block1.bn2", "block2.bn1", "block2.bn2", "last.bn1", "last.bn2", "bn1"]);
        assert_eq!(own.statistics(), 2 * (16 + 16 + 16 + 32 + 32 + 64 + 64));
    }

    #[test]
    fn normalisations_have_names_of_their_own() {
        let own = layers(&["batch_norm", "conv 2", "batch_norm name=second", "batch_norm"], &[1, 8, 8]).unwrap();
        let expected = [("bn1", 1), ("second", 2), ("bn3", 2)].map(|(name, channels)| (name.to_string(), channels));
        assert_eq!(own.normalisations(), expected);
        for words in [["batch_norm name=a", "batch_norm name=a"], ["conv 2 name=a", "batch_norm name=a"]] {
            let error = layers(&words, &[1, 8, 8]).unwrap_err().to_string();
            assert!(error.contains("there is a layer `a` already"), "{error}");
        }
        let error = layers(&["batch_norm name=a", "conv 2 name=a"], &[1, 8, 8]).unwrap_err().to_string();
        assert!(error.contains("there is a layer `a` already"), "{error}");
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (text, problem) in [
            ("dense 10", "there is no layer `dense`"),
            ("conv", "needs a number"),
            ("conv x", "`x` for conv, expected a whole number"),
            ("conv 3 colour=red", "no setting `colour`"),
            ("relu 3", "takes no number"),
            ("batch_norm 3", "takes no number"),
            ("linear 10", "flatten"),
            ("conv 3 size=40", "larger than 28 x 28"),
            ("conv 3 5", "expected a setting"),
            ("", "empty"),
        ] {
            let error = layers(&[text], &[1, 28, 28]).unwrap_err().to_string();
            assert!(error.contains(problem) && error.contains("network.layers"), "{text}: {error}");
        }
    }
}
