//! Tiles of a convolution: sums for a few channels at a few registers of neighbouring elements, which stay in registers.

use crate::exec::cpu::vector::{Vector, lanes};
use pulp::Simd;

/// Registers of neighbouring elements in a tile.
pub(super) const WIDTH: usize = 2;
/// Most channels in a tile: twelve sums, two registers of elements and one of a filter leave one of sixteen free, without which compilers store sums.
pub(super) const MOST_BLOCK: usize = 6;
/// Most elements of a register, those of 512 bits with numbers of 32.
const MOST_LANES: usize = 16;

/// A register of neighbouring elements of a channel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    /// Where its first tap lies in the copies.
    pub(super) base: usize,
    /// Where the line of its first element begins in the channel, and the element's number in the line.
    pub(super) line: usize,
    pub(super) first: usize,
    /// Elements; the other lanes hold nothing of use.
    pub(super) count: usize,
}

/// How the elements of spans lie in a channel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lines {
    /// Elements of a line that are there, and with those that are not.
    pub(super) length: usize,
    pub(super) pitch: usize,
    /// Elements of the channel from one element of a line, and from one line, to the next.
    pub(super) step: usize,
    pub(super) next: usize,
}

impl Lines {
    /// A single line, whatever its length.
    pub(super) const ONE: Self = Self { length: usize::MAX, pitch: usize::MAX, step: 1, next: 0 };
}

/// The sums of some taps for one block of channels at a few spans.
pub(super) struct Tile<'a, T> {
    /// Copies that bases and taps are places in.
    pub(super) copies: *const T,
    /// For each tap its distance from a span's base.
    pub(super) taps: &'a [usize],
    /// For each tap the block's filters side by side.
    pub(super) weights: *const T,
    /// First channel of the block, and the elements from it to the next.
    pub(super) out: *mut T,
    pub(super) channel: usize,
    /// Channels from the first one on.
    pub(super) channels: usize,
    /// Where elements of a channel lie.
    pub(super) lines: Lines,
    /// Whether the sums add to what is there.
    pub(super) adds: bool,
}

impl<T: Vector> Tile<'_, T> {
    /// Sums and stores.
    ///
    /// # Safety
    /// The spans' bases with the taps stay within the copies and their margin of two registers, `weights` shows as many filters, and the spans'
    /// elements of the channels belong to the caller alone.
    #[inline(always)]
    pub(super) unsafe fn run<S: Simd, const SPANS: usize, const BLOCK: usize>(&self, simd: S, spans: [Span; SPANS]) {
        // SAFETY: the caller's promise.
        unsafe {
            let mut sums = [[T::ZERO; MOST_LANES]; WIDTH * MOST_BLOCK];
            self.sums::<S, SPANS, BLOCK>(simd, spans, &mut sums);
            for b in 0..BLOCK.min(self.channels) {
                for s in 0..SPANS {
                    self.store::<S>(simd, &sums[b * SPANS + s], self.out.add(b * self.channel), spans[s]);
                }
            }
        }
    }

    /// The sums. While they grow they lie in registers: they leave them one by one, by loops of known length, as nothing whose place is asked for
    /// at run time can lie in one.
    #[inline(always)]
    unsafe fn sums<S: Simd, const SPANS: usize, const BLOCK: usize>(
        &self,
        simd: S,
        spans: [Span; SPANS],
        to: &mut [[T; MOST_LANES]; WIDTH * MOST_BLOCK],
    ) {
        let zero = T::splat(simd, T::ZERO);
        let mut sums = [[zero; BLOCK]; SPANS];
        let bases = spans.map(
            #[inline(always)]
            |span| self.copies.wrapping_add(span.base),
        );
        let mut weights = self.weights;
        // SAFETY: spans and taps were laid out within the copies and their margin, filters within the packed ones.
        unsafe {
            for &tap in self.taps {
                let mut values = [zero; SPANS];
                for s in 0..SPANS {
                    values[s] = bases[s].add(tap).cast::<T::Register<S>>().read_unaligned();
                }
                for b in 0..BLOCK {
                    let weight = T::splat(simd, *weights.add(b));
                    for s in 0..SPANS {
                        sums[s][b] = T::add_product(simd, values[s], weight, sums[s][b]);
                    }
                }
                weights = weights.add(BLOCK);
            }
            for b in 0..BLOCK {
                for s in 0..SPANS {
                    to[b * SPANS + s].as_mut_ptr().cast::<T::Register<S>>().write_unaligned(sums[s][b]);
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn store<S: Simd>(&self, simd: S, sum: &[T; MOST_LANES], channel: *mut T, span: Span) {
        let Lines { length, pitch, step, next } = self.lines;
        let one = T::splat(simd, T::ONE);
        let neighbours = step == 1 && (span.first + span.count <= length || (length == pitch && next == pitch));
        // SAFETY: the caller's promise: the span's elements, those of its lines that are there.
        unsafe {
            let mut line = channel.add(span.line);
            if span.count == lanes::<T, S>() && neighbours {
                let sum = sum.as_ptr().cast::<T::Register<S>>().read_unaligned();
                let to = line.add(span.first).cast::<T::Register<S>>();
                to.write_unaligned(if self.adds { T::add_product(simd, sum, one, to.read_unaligned()) } else { sum });
                return;
            }
            let (mut at, mut rest) = (span.first, &sum[..span.count]);
            while !rest.is_empty() {
                let (own, others) = rest.split_at(rest.len().min(pitch - at));
                let there = own.len().min(length.saturating_sub(at));
                let to = line.wrapping_add(at * step);
                for (k, &value) in own[..there].iter().enumerate() {
                    let to = to.add(k * step);
                    *to = if self.adds { (*to).add(value) } else { value };
                }
                (at, rest, line) = (0, others, line.wrapping_add(next));
            }
        }
    }
}
