//! Samplers of the sizes used in the published experiments (Uppal et al. 2023, section 5 and appendix), for comparison.
//!
//! Their output matrices hold a few more numbers than the network has weights; the surplus is cut off after the last layer. Samplers for use are
//! better made with exactly as many outputs as there are weights ([`MatMulSampler::sized`], [`CorrelatedSampler::for_parts`]).

use super::{CorrelatedSampler, Head, MatMulSampler, Sampler};
use crate::activation::Activation;
use crate::{Error, Result};

/// Names that [`by_name`] knows.
pub const NAMES: [&str; 4] = ["mnist-mlp", "mnist-lenet", "cifar10", "cifar100"];

/// Standard deviation of the noise on the weights in the experiments on images.
pub const SIGMA: f64 = 1e-3;

/// Noise matrix of the samplers for CIFAR.
pub const NOISE: [usize; 2] = [95, 95];

/// Trunk of the samplers for CIFAR.
pub const TRUNK: [[usize; 2]; 2] = [[250, 500], [983, 250]];

/// Input; hidden; output; hidden-to-hidden layers.
type HeadSizes = ([usize; 2], [usize; 2], [usize; 2], usize);

/// The 15 heads for WRN-16-4.
const HEADS: [HeadSizes; 15] = [
    ([25, 10], [50, 40], [150, 150], 1),
    ([25, 20], [100, 70], [200, 150], 1),
    ([50, 40], [100, 100], [240, 200], 1),
    ([80, 50], [150, 100], [300, 300], 1),
    ([80, 75], [200, 100], [400, 250], 2),
    ([100, 80], [200, 100], [400, 250], 2),
    ([120, 100], [200, 100], [400, 300], 2),
    ([200, 100], [200, 200], [500, 400], 2),
    ([200, 100], [200, 200], [500, 400], 2),
    ([200, 125], [210, 200], [500, 500], 2),
    ([200, 125], [210, 200], [500, 500], 2),
    ([200, 125], [225, 200], [500, 500], 2),
    ([200, 150], [225, 200], [640, 500], 1),
    ([200, 160], [250, 200], [700, 500], 1),
    ([200, 180], [250, 200], [700, 600], 1),
];

/// The sampler of one of [`NAMES`].
///
/// # Errors
/// Another name.
///
/// ```
/// use livi::sampler::published;
/// assert_eq!(published::by_name("cifar10")?.outputs(), 2_745_274);
/// # Ok::<(), livi::Error>(())
/// ```
pub fn by_name(name: &str) -> Result<Box<dyn Sampler>> {
    Ok(match name {
        "mnist-mlp" => Box::new(mnist_mlp()?),
        "mnist-lenet" => Box::new(mnist_lenet()?),
        "cifar10" => Box::new(cifar10()?),
        "cifar100" => Box::new(cifar100()?),
        _ => {
            let problem = format!("there is no published sampler `{name}`; there are {}", NAMES.join(", "));
            return Err(Error::Argument { name: "sampler".into(), problem });
        }
    })
}

/// MNIST, 784-400-400-10: 40 x 40 latents, hidden 420 x 420 three times, 957 x 500 outputs cut to 478,410 weights.
///
/// # Errors
/// None, but for those of [`MatMulSampler::new`].
pub fn mnist_mlp() -> Result<MatMulSampler> {
    MatMulSampler::new([40, 40], [420, 420], 2, &[[957, 500]], Activation::Elu)?.cut(478_410)
}

/// MNIST, LeNet: 65 x 65 latents, hidden 250 x 250 twice, 350 x 127 outputs cut to 44,426 weights.
///
/// # Errors
/// None, but for those of [`MatMulSampler::new`].
pub fn mnist_lenet() -> Result<MatMulSampler> {
    MatMulSampler::new([65, 65], [250, 250], 1, &[[350, 127]], Activation::Elu)?.cut(44_426)
}

/// CIFAR-10, WRN-16-4 without batch-norm weights: 95 x 95 noise, trunk 250 x 500 and 983 x 250, 15 heads, cut to 2,745,274 weights.
///
/// # Errors
/// None, but for those of [`CorrelatedSampler::new`].
pub fn cifar10() -> Result<CorrelatedSampler> {
    correlated(&cifar10_heads(), 2_745_274)
}

/// The heads of [`cifar10`].
///
/// ```
/// let heads = livi::sampler::published::cifar10_heads();
/// assert_eq!((heads[14].input, heads[14].hidden, heads[14].outputs[0]), ([200, 180], [250, 200], [700, 600]));
/// ```
pub fn cifar10_heads() -> Vec<Head> {
    scaled_heads(1.0, 1.0)
}

/// CIFAR-100, WRN-28-10 without batch-norm weights: 36,518,932 weights.
///
/// Published are the noise, the number of heads and of sampler weights, 66,413,125, alone. This is the trunk of CIFAR-10 with heads whose sides are
/// scaled, output by 3.644 and hidden by 1.542, to the number of weights and nearly that of sampler weights (66,444,217).
///
/// # Errors
/// None, but for those of [`CorrelatedSampler::new`].
pub fn cifar100() -> Result<CorrelatedSampler> {
    correlated(&cifar100_heads(), 36_518_932)
}

/// The heads of [`cifar100`].
pub fn cifar100_heads() -> Vec<Head> {
    scaled_heads(1.542, 3.644)
}

/// The heads for WRN-16-4 with the sides of their hidden and output matrices scaled.
fn scaled_heads(hidden_scale: f64, output_scale: f64) -> Vec<Head> {
    let scaled = |sides: [usize; 2], scale: f64| sides.map(|side| (side as f64 * scale).round() as usize);
    let head = |&(input, hidden, output, hidden_layers): &HeadSizes| Head {
        input,
        hidden: scaled(hidden, hidden_scale),
        outputs: vec![scaled(output, output_scale)],
        hidden_layers,
    };
    HEADS.iter().map(head).collect()
}

/// The common noise and trunk with these heads.
fn correlated(heads: &[Head], m: usize) -> Result<CorrelatedSampler> {
    CorrelatedSampler::new(NOISE, &TRUNK, heads, Activation::Elu)?.cut(m)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Outputs, latents and sampler weights.
    fn sizes(name: &str) -> (usize, usize, usize) {
        let sampler = by_name(name).unwrap();
        let weights = sampler.parameters().iter().map(|parameter| parameter.elements()).sum();
        (sampler.outputs(), sampler.latents(), weights)
    }

    #[test]
    fn numbers_of_weights_latents_and_sampler_weights_are_the_published_ones() {
        assert_eq!(sizes("mnist-mlp"), (478_410, 1_600, 3_130_380));
        assert_eq!(sizes("mnist-lenet"), (44_426, 4_225, 612_450));
        assert_eq!(sizes("cifar10"), (2_745_274, 9_025, 11_835_200));
        let (outputs, latents, weights) = sizes("cifar100");
        assert_eq!((outputs, latents), (36_518_932, 9_025));
        assert!((weights as f64 / 66_413_125.0 - 1.0).abs() < 1e-3, "{weights}");
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let message = by_name("imagenet").err().unwrap().to_string();
        assert!(message.contains("`imagenet`") && message.contains("mnist-mlp, mnist-lenet"), "{message}");
    }
}
