//! The settings that are one word out of a list.

use std::fmt;

use serde::{Deserialize, Serialize};

pub use crate::activation::Activation;

/// Declares an enum whose variants have names in configuration files.
macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $text)] $variant,)+
        }

        impl $name {
            /// Names in configuration files, in the order of the variants.
            pub const NAMES: &'static [&'static str] = &[$($text),+];

            /// Name in configuration files.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

choice! {
    /// Number format of training and prediction; data and metrics are `f64` always.
    Dtype {
        /// 32-bit floating point.
        F32 = "f32",
        /// 64-bit floating point.
        F64 = "f64",
    }
}

choice! {
    /// Where the data come from.
    Source {
        /// The embedded toy regression ([`crate::data::toy`]).
        Toy = "toy",
        /// A UCI folder with its splits ([`crate::data::uci`]).
        Uci = "uci",
        /// A CSV file with a header ([`crate::data::csv_table`]).
        Csv = "csv",
        /// A folder of images with classes ([`crate::data::images`]).
        Images = "images",
        /// Nowhere: a program that uses this library has them ([`crate::data::Dataset`]).
        Memory = "memory",
    }
}

choice! {
    /// The rows that results are reported on.
    ReportedPart {
        /// The rows held out for testing.
        Test = "test",
        /// The validation rows; the test rows stay unseen.
        Validation = "validation",
    }
}

choice! {
    /// Architecture of the network whose weights are inferred ([`crate::network`]).
    Architecture {
        /// Affine layers with an activation between them.
        Mlp = "mlp",
        /// LeNet, for images.
        LeNet = "lenet",
        /// A wide residual network, for images.
        WideResNet = "wide_resnet",
        /// The layers listed in the configuration.
        Layers = "layers",
    }
}

choice! {
    /// Architecture of the sampler of network weights (Uppal et al. 2023, section on the generator's architecture).
    SamplerKind {
        /// Multilayer perceptron on a latent vector.
        Mlp = "mlp",
        /// Matrix-multiplication network on a latent matrix.
        MatMul = "mm",
        /// Correlated matrix-multiplication network: a common trunk, one head for each slice of the weights.
        Correlated = "cmmnn",
    }
}

choice! {
    /// Distribution of the targets given the network's output.
    LikelihoodKind {
        /// Normal with one homoscedastic standard deviation.
        Gaussian = "gaussian",
        /// Categorical with softmax probabilities.
        Softmax = "softmax",
    }
}

choice! {
    /// Shape of the zero-mean normal prior of the network's weights.
    PriorKind {
        /// The same standard deviation for every weight.
        Isotropic = "isotropic",
        /// A layer's weights have `std / sqrt(fan-in)`, its biases `std`.
        FanIn = "fan_in",
    }
}

choice! {
    /// Learning rate over the steps of a run.
    Schedule {
        /// The same at every step.
        Constant = "constant",
        /// From the full rate to 0 along half a cosine.
        Cosine = "cosine",
    }
}
