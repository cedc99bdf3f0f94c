//! Noise leaves.

use super::frame::{Frame, Kernel, Nothing};
use super::math::Real;
use crate::exec::philox::philox;
use crate::exec::view::Site;
use crate::op::Distribution;
use crate::plan::step::View;
use crate::{DType, Result};
use pulp::{Simd, WithSimd};

/// Blocks of four words made together.
const BLOCKS: usize = 64;
/// Elements of one task.
const TASK: usize = 1 << 13;

struct NoiseKernel {
    distribution: Distribution,
    stream: u32,
    pointer: *mut u8,
    dtype: DType,
    elements: usize,
}

// SAFETY: an address in a block that the machine owns; a run has exclusive access to the machine and its tasks write disjoint elements.
unsafe impl Send for NoiseKernel {}
// SAFETY: as above.
unsafe impl Sync for NoiseKernel {}

/// Compiles a noise leaf.
pub(crate) fn compile(site: &Site<'_>, distribution: Distribution, stream: u32, out: &View) -> Result<Box<dyn Kernel>> {
    let window = site.output(out, |_| false)?;
    if !window.is_contiguous() || !window.dtype.is_float() {
        return Err(site.error("noise must be contiguous floating-point numbers".into()));
    }
    let elements = window.elements();
    if elements == 0 {
        return Ok(Box::new(Nothing));
    }
    if elements > 1 << 33 {
        return Err(site.error(format!("{elements} random numbers in one leaf; the counter has room for 2^33")));
    }
    Ok(Box::new(NoiseKernel { distribution, stream, pointer: window.pointer, dtype: window.dtype, elements }))
}

impl Kernel for NoiseKernel {
    fn run(&self, frame: &Frame<'_>) -> Result<()> {
        frame.for_each(self.elements.div_ceil(TASK), true, |task| {
            let first = task * TASK;
            let count = TASK.min(self.elements - first);
            let stream = Stream {
                key: [frame.seed as u32, (frame.seed >> 32) as u32],
                step: [frame.step as u32, (frame.step >> 32) as u32],
                stream: self.stream,
            };
            let distribution = self.distribution;
            // SAFETY: tasks have elements of their own inside of the checked view.
            unsafe {
                match self.dtype {
                    DType::F32 => {
                        let out = std::slice::from_raw_parts_mut(self.pointer.cast::<f32>().add(first), count);
                        frame.arch.dispatch(Fill { distribution, stream, first, out });
                    }
                    _ => {
                        let out = std::slice::from_raw_parts_mut(self.pointer.cast::<f64>().add(first), count);
                        frame.arch.dispatch(Fill { distribution, stream, first, out });
                    }
                }
            }
        });
        Ok(())
    }

    fn parallel(&self) -> bool {
        self.elements >= 2 * TASK
    }
}

/// Coordinates of a sequence of numbers.
#[derive(Clone, Copy)]
struct Stream {
    key: [u32; 2],
    step: [u32; 2],
    stream: u32,
}

impl Stream {
    /// Words of the blocks from `first` on: word w of block i stands at \[w\]\[i\].
    #[inline(always)]
    fn words(&self, first: u32) -> [[u32; BLOCKS]; 4] {
        let mut words = [[0; BLOCKS]; 4];
        for i in 0..BLOCKS {
            let counter = [first.wrapping_add(i as u32), self.step[0], self.step[1], self.stream];
            let block = philox(counter, self.key);
            for w in 0..4 {
                words[w][i] = block[w];
            }
        }
        words
    }
}

struct Fill<'a, T> {
    distribution: Distribution,
    stream: Stream,
    /// Number of the first element: a multiple of the elements made together.
    first: usize,
    out: &'a mut [T],
}

/// Copies the lanes' elements, element e of block i at \[e\]\[i\], to their places.
#[inline(always)]
fn interleave<T: Copy, const PER_BLOCK: usize>(out: &mut [T], values: &[[T; BLOCKS]; PER_BLOCK]) {
    let (blocks, rest) = out.as_chunks_mut::<PER_BLOCK>();
    let full = blocks.len();
    for (i, block) in blocks.iter_mut().enumerate() {
        for e in 0..PER_BLOCK {
            block[e] = values[e][i];
        }
    }
    for (e, out) in rest.iter_mut().enumerate() {
        *out = values[e][full];
    }
}

/// Two independent standard normals from a uniform number in (0, 1\] and one in \[0, 1) (Box and Muller 1958).
#[inline(always)]
fn box_muller_f32(u: f32, v: f32) -> [f32; 2] {
    let radius = (-2.0 * Real::ln(u)).sqrt();
    let (sin, cos) = v.sin_cos_turn();
    [radius * cos, radius * sin]
}

#[inline(always)]
fn box_muller_f64(u: f64, v: f64) -> [f64; 2] {
    let radius = (-2.0 * Real::ln(u)).sqrt();
    let (sin, cos) = v.sin_cos_turn();
    [radius * cos, radius * sin]
}

/// -1 or 1 by the highest bit.
#[inline(always)]
fn sign(word: u32) -> f32 {
    if word >> 31 == 1 { -1.0 } else { 1.0 }
}

/// The word as a number in \[0, 1), exactly representable.
#[inline(always)]
fn fraction_f32(word: u32) -> f32 {
    (word >> 8) as i32 as f32 * (1.0 / 16_777_216.0)
}

/// The 53 highest bits of two words as a number in \[0, 1).
#[inline(always)]
fn fraction_f64(high: u32, low: u32) -> f64 {
    // Halves that convert exactly as signed integers, for want of unsigned conversions in older vector instruction sets.
    let high_part = (high >> 5) as i32 as f64;
    let low_part = (low >> 6) as i32 as f64;
    (high_part * 67_108_864.0 + low_part) * (1.0 / 9_007_199_254_740_992.0)
}

impl WithSimd for Fill<'_, f32> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let mut block = (self.first / 4) as u32;
        for out in self.out.chunks_mut(4 * BLOCKS) {
            let words = self.stream.words(block);
            block = block.wrapping_add(BLOCKS as u32);
            let mut values = [[0.0; BLOCKS]; 4];
            match self.distribution {
                Distribution::Normal => {
                    for pair in 0..2 {
                        for i in 0..BLOCKS {
                            // All 32 bits, so that the tail reaches 6.7 standard deviations: (0, 1].
                            let word = words[2 * pair][i];
                            let high = (word >> 16) as i32 as f32 * 65536.0;
                            let u = (high + (word & 0xffff) as i32 as f32 + 0.5) * (1.0 / 4_294_967_296.0);
                            let [a, b] = box_muller_f32(u, fraction_f32(words[2 * pair + 1][i]));
                            values[2 * pair][i] = a;
                            values[2 * pair + 1][i] = b;
                        }
                    }
                }
                Distribution::Uniform => {
                    for w in 0..4 {
                        for i in 0..BLOCKS {
                            values[w][i] = fraction_f32(words[w][i]);
                        }
                    }
                }
                Distribution::Rademacher => {
                    for w in 0..4 {
                        for i in 0..BLOCKS {
                            values[w][i] = sign(words[w][i]);
                        }
                    }
                }
            }
            interleave(out, &values);
        }
    }
}

impl WithSimd for Fill<'_, f64> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        if self.distribution == Distribution::Rademacher {
            let mut block = (self.first / 4) as u32;
            for out in self.out.chunks_mut(4 * BLOCKS) {
                let words = self.stream.words(block);
                block = block.wrapping_add(BLOCKS as u32);
                let mut values = [[0.0; BLOCKS]; 4];
                for w in 0..4 {
                    for i in 0..BLOCKS {
                        values[w][i] = f64::from(sign(words[w][i]));
                    }
                }
                interleave(out, &values);
            }
            return;
        }
        let mut block = (self.first / 2) as u32;
        for out in self.out.chunks_mut(2 * BLOCKS) {
            let words = self.stream.words(block);
            block = block.wrapping_add(BLOCKS as u32);
            let mut values = [[0.0; BLOCKS]; 2];
            for i in 0..BLOCKS {
                let u = fraction_f64(words[0][i], words[1][i]);
                let v = fraction_f64(words[2][i], words[3][i]);
                let pair = match self.distribution {
                    Distribution::Normal => box_muller_f64(1.0 - u, v),
                    _ => [u, v],
                };
                values[0][i] = pair[0];
                values[1][i] = pair[1];
            }
            interleave(out, &values);
        }
    }
}
