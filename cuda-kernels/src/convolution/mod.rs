//! Parts of convolutions: for each group the product of two matrices, of which one is gathered from images as it is needed (an implicit product:
//! nothing is unfolded).
//!
//! Results, and the images' gradient, come from `convolution_correlate.cu` (`correlate`), the filters' gradient from `convolution_filter.cu`
//! (`filter`). Kernels know tiles and the element type; shapes and strides are arguments, so that a network's layers share few kernels. Some parts may be
//! computed by cuDNN in their place (`library`).

mod correlate;
mod filter;
mod library;
#[cfg(all(test, feature = "emulated"))]
mod tests;
mod tile;

pub use library::{Convolve, Way};

use crate::{Argument, Command, Kernel, Launch, Precision, Real};
use tile::Tile;

/// (groups, n, channels, rows, columns) on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stack {
    /// Address of the first element.
    pub address: u64,
    /// Elements between neighbours on each axis.
    pub strides: [usize; 5],
}

/// The part of convolutions that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// Images from filters and results: the gradient in the images.
    Images,
    /// Filters from images and results: the gradient in the filters.
    Filters,
    /// Results from images and filters.
    Results,
}

/// One part of convolutions from the other two, for all groups. The part that is written is contiguous, no length is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Convolution {
    /// Element type.
    pub real: Real,
    /// How single precision is computed.
    pub precision: Precision,
    /// What is written.
    pub part: Part,
    /// Groups.
    pub groups: usize,
    /// Images of a group.
    pub count: usize,
    /// Channels of an image.
    pub channels: usize,
    /// Channels of a result.
    pub outputs: usize,
    /// Rows and columns of an image.
    pub image: [usize; 2],
    /// Rows and columns of a filter.
    pub filter: [usize; 2],
    /// Rows and columns of a result.
    pub result: [usize; 2],
    /// Rows and columns from one position of the filters to the next.
    pub stride: [usize; 2],
    /// Rows and columns of zeros on each side of the images.
    pub padding: [usize; 2],
    /// (groups, count, channels, ..image); group stride 0 where groups share what is read.
    pub images: Stack,
    /// (groups, outputs, channels, ..filter).
    pub filters: Stack,
    /// (groups, count, outputs, ..result).
    pub results: Stack,
}

/// Most pixels of a launch, and rows or columns of a product: numbers of pixels, rounded up to whole tiles, fit 31 bits.
const PIXELS: usize = 1 << 30;

const TILE: &str =
    concat!(include_str!("../../kernels/convolution_rounded.cu"), include_str!("../../kernels/convolution_tile.cu"));

impl Convolution {
    /// The commands that launch our kernels, with scratch memory from `scratch` (bytes to an address aligned to 256); `None` where a channel, or the number
    /// of channels and taps, passes 2^30.
    pub fn commands(&self, scratch: &mut dyn FnMut(usize) -> u64) -> Option<Vec<Command>> {
        let per_image = self.result[0].checked_mul(self.result[1])?.max(self.image[0].checked_mul(self.image[1])?);
        let taps = self.filter[0].checked_mul(self.filter[1])?;
        let wide = taps.checked_mul(self.channels.max(self.outputs))?.max(self.groups.checked_mul(self.outputs)?);
        if per_image > PIXELS || wide > PIXELS {
            return None;
        }
        Some(match self.part {
            Part::Filters => filter::commands(self, &filter::plans(self), scratch),
            Part::Images | Part::Results => correlate::commands(self, &correlate::plans(self), scratch),
        })
    }

    /// Whether products run on tensor cores.
    fn tensor(&self) -> bool {
        self.real == Real::F32 && self.precision == Precision::Tf32
    }

    /// Whether all groups meet the same images, so that their filters may be taken for those of one group with more outputs.
    fn folded(&self) -> bool {
        self.part != Part::Images && self.groups > 1 && self.images.strides[0] == 0
    }

    /// The convolution of some of the images, from `first` on.
    fn some(&self, first: usize, count: usize) -> Self {
        let from = |stack: Stack| Stack {
            address: stack.address + (first * stack.strides[1] * self.real.size()) as u64,
            ..stack
        };
        Self { count, images: from(self.images), results: from(self.results), ..*self }
    }
}

/// The type of distances within a group whose farthest element is `span` elements away.
fn offset(span: usize) -> &'static str {
    if span < 1 << 31 { "int" } else { "long long" }
}

/// The type's and the tile's definitions for a kernel's text.
fn definitions(convolution: &Convolution, tile: &Tile) -> String {
    format!("#define REAL {}\n{}", convolution.real.name(), tile.definitions())
}

/// A launch of blocks along x.
fn launch(kernel: Kernel, blocks: [u32; 2], threads: u32, shared_bytes: usize, arguments: Vec<Argument>) -> Command {
    Command::Launch(Launch {
        kernel,
        grid: [blocks[0], blocks[1], 1],
        block: [threads, 1, 1],
        shared_bytes: shared_bytes as u32,
        arguments,
    })
}

/// Arguments one after another.
#[derive(Default)]
struct Arguments(Vec<Argument>);

impl Arguments {
    fn pointers(mut self, addresses: &[u64]) -> Self {
        self.0.extend(addresses.iter().map(|&address| Argument::Pointer(address)));
        self
    }

    /// Of type `u32`.
    fn counts(mut self, values: &[usize]) -> Self {
        self.0.extend(values.iter().map(|&value| Argument::U32(value as u32)));
        self
    }

    /// Of type `u64`.
    fn distances(mut self, values: &[usize]) -> Self {
        self.0.extend(values.iter().map(|&value| Argument::U64(value as u64)));
        self
    }
}

/// A number to divide by, for kernels: x / d is the upper half of x `reciprocal`, shifted to the right, for x below 2^31 (Granlund and Montgomery,
/// "Division by invariant integers using multiplication", 1994). A reciprocal of 0 stands for division by 1.
fn divisor(d: usize) -> [usize; 3] {
    if d == 1 {
        return [1, 0, 0];
    }
    let bits = usize::BITS - (d - 1).leading_zeros();
    let reciprocal = (1u64 << (31 + bits)).div_ceil(d as u64);
    [d, reciprocal as usize, bits as usize - 1]
}

#[cfg(test)]
mod divisor_tests {
    #[test]
    fn reciprocals_divide_exactly() {
        for d in (1..2000).chain([4095, 4096, 65_537, (1 << 30) - 1, 1 << 30]) {
            let [_, reciprocal, shift] = super::divisor(d);
            assert!(reciprocal < 1 << 32);
            for near in [0, d, 7 * d, (1 << 30) / d * d, (1 << 31) / d * d] {
                for x in near.saturating_sub(2)..(near + 3).min(1 << 31) {
                    let found = if reciprocal == 0 { x } else { ((x * reciprocal) >> 32) >> shift };
                    assert_eq!(found, x / d, "{x} / {d}");
                }
            }
        }
    }
}
