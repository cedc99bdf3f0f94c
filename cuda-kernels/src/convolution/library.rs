//! Parts of convolutions by cuDNN, which takes one group at a time and contiguous arrays.
//!
//! Where it may be quicker than our kernels: on tensor cores, with enough channels to fill them. In single precision a gradient of a wide residual network
//! by our kernels took no longer than PyTorch's by cuDNN on an H100, in TF32 it took longer.

use super::{Convolution, Stack};
#[cfg(feature = "cuda")]
use crate::Command;

/// Products of a group from which on cuDNN's own copies and launches, some microseconds, do not decide.
const LEAST: usize = 1 << 28;
/// Channels are multiples of it: what tensor cores read at once, 16 bytes.
const CHANNELS: usize = 4;
/// Bytes that arrays begin at multiples of.
const ALIGNMENT: usize = 16;

/// How cuDNN computes a part of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// Its number of the algorithm.
    pub algorithm: u32,
    /// Its number of the arithmetic.
    pub math: u32,
    /// Bytes of memory that it works in.
    pub bytes: usize,
}

/// A part of a convolution by cuDNN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Convolve {
    /// What is computed: one group, one that [`Convolution::is_for_cudnn`].
    pub convolution: Convolution,
    /// How.
    pub way: Way,
    /// Where it may work, aligned to 256 bytes.
    pub workspace: u64,
}

impl Convolution {
    /// Whether cuDNN can compute the part and may be quicker: arithmetic on tensor cores; numbers of channels that are multiples of 4; many products in a
    /// group; contiguous groups of less than 2^31 elements, whose addresses are multiples of 16.
    pub fn is_for_cudnn(&self) -> bool {
        let products = [self.count, self.outputs, self.channels, self.result[0], self.result[1]];
        let products = products.iter().chain(&self.filter).try_fold(1_usize, |all, &length| all.checked_mul(length));
        let arrays = self.shapes().into_iter().zip([self.images, self.filters, self.results]);
        self.tensor()
            && self.channels.is_multiple_of(CHANNELS)
            && self.outputs.is_multiple_of(CHANNELS)
            && products.is_none_or(|products| products >= LEAST)
            && self.stride.iter().chain(&self.padding).all(|&length| i32::try_from(length).is_ok())
            && arrays.into_iter().all(|(shape, stack)| is_contiguous(shape, stack) && self.is_aligned(stack))
    }

    /// The shapes of a group's images, filters and results.
    pub(crate) fn shapes(&self) -> [[usize; 4]; 3] {
        let ([h, w], [u, v], [p, q]) = (self.image, self.filter, self.result);
        [[self.count, self.channels, h, w], [self.outputs, self.channels, u, v], [self.count, self.outputs, p, q]]
    }

    /// One group.
    #[cfg(feature = "cuda")]
    pub(crate) fn group(&self, group: usize) -> Self {
        let of = |stack: Stack| Stack {
            address: stack.address + (group * stack.strides[0] * self.real.size()) as u64,
            ..stack
        };
        Self { groups: 1, images: of(self.images), filters: of(self.filters), results: of(self.results), ..*self }
    }

    /// The commands that have cuDNN compute the part: its groups one after another, in the same memory.
    #[cfg(feature = "cuda")]
    pub(crate) fn by_cudnn(&self, way: Way, scratch: &mut dyn FnMut(usize) -> u64) -> Vec<Command> {
        let workspace = scratch(way.bytes);
        let call = |group| Command::Convolve(Convolve { convolution: self.group(group), way, workspace });
        (0..self.groups).map(call).collect()
    }

    fn is_aligned(&self, stack: Stack) -> bool {
        let group = if self.groups > 1 { stack.strides[0] * self.real.size() } else { 0 };
        stack.address.is_multiple_of(ALIGNMENT as u64) && group.is_multiple_of(ALIGNMENT)
    }
}

/// Whether a group is contiguous, of a length that cuDNN's numbers hold.
fn is_contiguous(shape: [usize; 4], stack: Stack) -> bool {
    let mut next = 1_usize;
    for (&length, &stride) in shape.iter().zip(&stack.strides[1..]).rev() {
        if length > 1 && stride != next {
            return false;
        }
        next = next.saturating_mul(length);
    }
    i32::try_from(next).is_ok()
}
