//! Augmentation of training images: random crops out of a padded image, and random horizontal flips.
//!
//! What happens to an image depends on the seed, the step and its position in the batch alone: a generator of its own
//! (ChaCha12, keyed by the three) draws two offsets and the flip. Threads and earlier steps change nothing.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};

use super::PixelTable;

/// Keys the generator apart from others with the same seed.
const PURPOSE: u64 = 0x6372_6f70_666c_6970;

/// How training images are varied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Augmentation {
    /// Black pixels put around the image on each side before it is cropped to its size at a random place; 0 for no crop. 4 is
    /// usual for CIFAR.
    pub padding: usize,
    /// Whether every other image, at random, is mirrored left to right.
    pub flip: bool,
}

/// What happens to one image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variation {
    /// First row of the crop in the padded image, from 0 to twice the padding.
    pub top: usize,
    /// First column of the crop in the padded image, from 0 to twice the padding.
    pub left: usize,
    /// Whether the crop is mirrored.
    pub flipped: bool,
}

impl Augmentation {
    /// The variation of the image at `position` of the batch of `step`: offsets uniform over all places, flips with
    /// probability 1/2.
    ///
    /// # Examples
    /// ```
    /// use livi::data::images::augment::Augmentation;
    /// let augmentation = Augmentation { padding: 4, flip: true };
    /// let variation = augmentation.draw(7, 100, 3);
    /// assert_eq!(variation, augmentation.draw(7, 100, 3));
    /// assert!(variation.top <= 8 && variation.left <= 8);
    /// ```
    pub fn draw(&self, seed: u64, step: u64, position: usize) -> Variation {
        let mut key = [0; 32];
        for (bytes, word) in key.chunks_exact_mut(8).zip([seed, step, position as u64, PURPOSE]) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        let mut rng = StdRng::from_seed(key);
        let (top, left) = (rng.random_range(0..=2 * self.padding), rng.random_range(0..=2 * self.padding));
        Variation { top, left, flipped: self.flip && rng.random() }
    }
}

impl Variation {
    /// Writes a varied and normalised image of `shape` (channels, height, width) to `out`, both `channels x height x width`.
    ///
    /// A pixel of the padding has intensity 0 before normalisation.
    pub(super) fn apply(
        self,
        image: &[u8],
        [channels, height, width]: [usize; 3],
        padding: usize,
        table: &PixelTable,
        out: &mut [f32],
    ) {
        // Rows and columns of the crop that lie in the image: place `k` of the crop shows `k + offset - padding`.
        let inside = |offset: usize, extent: usize| {
            (padding.saturating_sub(offset).min(extent), (extent + padding).saturating_sub(offset).min(extent))
        };
        let (rows, columns) = (inside(self.top, height), inside(self.left, width));
        let plane = height * width;
        for channel in 0..channels {
            let values = table.channel(channel);
            let pixels = &image[channel * plane..(channel + 1) * plane];
            for row in 0..height {
                let out = &mut out[channel * plane + row * width..][..width];
                out.fill(values[0]);
                if row >= rows.0 && row < rows.1 {
                    let source = &pixels[(row + self.top - padding) * width..][..width];
                    for column in columns.0..columns.1 {
                        out[column] = values[usize::from(source[column + self.left - padding])];
                    }
                }
                if self.flipped {
                    out.reverse();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::PixelScale;
    use super::*;

    /// A table that gives a pixel's intensity back.
    fn plain(channels: usize) -> PixelTable {
        PixelScale { mean: vec![0.0; channels], std: vec![1.0 / 255.0; channels] }.table()
    }

    /// The definition: pad, cut out, mirror.
    fn by_definition(image: &[u8], [channels, height, width]: [usize; 3], padding: usize, v: Variation) -> Vec<f32> {
        let (tall, wide) = (height + 2 * padding, width + 2 * padding);
        let mut out = Vec::new();
        for channel in 0..channels {
            let mut padded = vec![0_u8; tall * wide];
            for row in 0..height {
                for column in 0..width {
                    padded[(row + padding) * wide + column + padding] =
                        image[(channel * height + row) * width + column];
                }
            }
            for row in 0..height {
                for column in 0..width {
                    let column = if v.flipped { width - 1 - column } else { column };
                    out.push(f32::from(padded[(row + v.top) * wide + column + v.left]));
                }
            }
        }
        out
    }

    #[test]
    fn every_crop_and_flip_is_that_of_the_padded_image() {
        let shape = [2, 3, 4];
        let image: Vec<u8> = (1..=24).collect();
        // A padding wider than the image can push it out of sight entirely.
        for padding in [0, 1, 2, 5] {
            for top in 0..=2 * padding {
                for left in 0..=2 * padding {
                    for flipped in [false, true] {
                        let variation = Variation { top, left, flipped };
                        let mut out = vec![-1.0; 24];
                        variation.apply(&image, shape, padding, &plain(2), &mut out);
                        let expected = by_definition(&image, shape, padding, variation);
                        let close = out.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-4);
                        assert!(close, "{padding} {variation:?}: {out:?}, expected {expected:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn padding_is_black_and_not_the_mean() {
        let table = PixelScale { mean: vec![0.5], std: vec![0.25] }.table();
        let mut out = [0.0; 1];
        Variation { top: 0, left: 1, flipped: false }.apply(&[255], [1, 1, 1], 1, &table, &mut out);
        assert_eq!(out, [-2.0]);
    }

    #[test]
    fn offsets_are_uniform_and_independent_of_the_flip() {
        let augmentation = Augmentation { padding: 1, flip: true };
        let mut counts = [0_u32; 18];
        for step in 0..300 {
            for position in 0..60 {
                let found = augmentation.draw(5, step, position);
                counts[(found.top * 3 + found.left) * 2 + usize::from(found.flipped)] += 1;
            }
        }
        // Binomial(18000, 1/18): mean 1000, standard deviation 31.
        assert!(counts.iter().all(|&count| count.abs_diff(1000) < 5 * 31), "{counts:?}");
    }

    #[test]
    fn seed_step_and_position_each_change_the_draws() {
        let draws = |seed: u64, step: u64, shift: usize| -> Vec<Variation> {
            (0..20).map(|k| Augmentation { padding: 4, flip: true }.draw(seed, step, k + shift)).collect()
        };
        let all = [draws(1, 1, 0), draws(2, 1, 0), draws(1, 2, 0), draws(1, 1, 100)];
        for a in 0..4 {
            for b in 0..a {
                assert_ne!(all[a], all[b]);
            }
        }
    }

    #[test]
    fn nothing_is_varied_when_nothing_is_asked_for() {
        let still = Augmentation { padding: 0, flip: false };
        assert!((0..50).all(|k| still.draw(1, 0, k) == Variation { top: 0, left: 0, flipped: false }));
    }
}
