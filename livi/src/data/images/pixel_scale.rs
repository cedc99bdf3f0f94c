//! Normalisation of pixels by the statistics of the training images.

use serde::{Deserialize, Serialize};

use super::Images;
use crate::{Error, Result};

/// Per-channel affine maps `(pixel / 255 - mean) / std`.
///
/// Fit it on training images only and pass every other image through the same one: validation, test and out-of-distribution
/// images alike.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PixelScale {
    /// Mean of `pixel / 255` in each channel.
    pub mean: Vec<f64>,
    /// Population standard deviation of `pixel / 255` in each channel; 1 for a constant channel.
    pub std: Vec<f64>,
}

impl PixelScale {
    /// Means and standard deviations over all pixels of `training`; sums are exact, so the order of images does not matter.
    ///
    /// # Examples
    /// ```
    /// use livi::data::images::{Images, PixelScale};
    /// let images = Images::new([1, 1, 2], vec![0, 255, 255, 0], vec![0, 0], 1, vec![], "made up").unwrap();
    /// let scale = PixelScale::fit(&images);
    /// assert_eq!((scale.mean[0], scale.std[0]), (0.5, 0.5));
    /// let mut normalised = [0.0; 2];
    /// scale.normalise(images.image(0), &mut normalised).unwrap();
    /// assert_eq!(normalised, [-1.0, 1.0]);
    /// ```
    pub fn fit(training: &Images) -> Self {
        let plane = training.height * training.width;
        let (mut mean, mut std) = (Vec::new(), Vec::new());
        for channel in 0..training.channels {
            let (mut sum, mut squares) = (0_u64, 0_u64);
            for pixels in training.pixels.chunks_exact(plane).skip(channel).step_by(training.channels) {
                for &pixel in pixels {
                    sum += u64::from(pixel);
                    squares += u64::from(pixel).pow(2);
                }
            }
            let count = (training.count * plane) as u128;
            let spread = count * u128::from(squares) - u128::from(sum).pow(2);
            mean.push(sum as f64 / (255.0 * count as f64));
            std.push(if spread == 0 { 1.0 } else { (spread as f64).sqrt() / (255.0 * count as f64) });
        }
        Self { mean, std }
    }

    /// Number of channels.
    pub fn channels(&self) -> usize {
        self.mean.len()
    }

    /// Checks what was read from a file: equal lengths of at least 1, finite means, positive finite standard deviations.
    ///
    /// # Errors
    /// [`Error::Argument`] naming the field and channel.
    pub fn validate(&self) -> Result<()> {
        let refuse = |name: String, problem: String| Err(Error::Argument { name, problem });
        if self.mean.is_empty() || self.mean.len() != self.std.len() {
            let problem = format!("has {} means and {} standard deviations", self.mean.len(), self.std.len());
            return refuse("pixel scale".into(), problem);
        }
        for (channel, (&mean, &std)) in self.mean.iter().zip(&self.std).enumerate() {
            if !mean.is_finite() {
                return refuse(format!("pixel scale: mean[{channel}]"), format!("is {mean}, expected a finite number"));
            }
            if !(std.is_finite() && std > 0.0) {
                return refuse(format!("pixel scale: std[{channel}]"), format!("is {std}, expected a positive number"));
            }
        }
        Ok(())
    }

    /// The values of all 256 intensities in each channel, for many images.
    pub fn table(&self) -> PixelTable {
        let of_channel =
            |(&mean, &std): (&f64, &f64)| std::array::from_fn(|pixel| ((pixel as f64 / 255.0 - mean) / std) as f32);
        PixelTable { channels: self.mean.iter().zip(&self.std).map(of_channel).collect() }
    }

    /// Writes a normalised image (`channels x height x width`) to `out`.
    ///
    /// # Errors
    /// As for [`PixelTable::normalise`].
    pub fn normalise(&self, image: &[u8], out: &mut [f32]) -> Result<()> {
        self.table().normalise(image, out)
    }
}

/// A [`PixelScale`] as a table of 256 values a channel.
#[derive(Debug, Clone, PartialEq)]
pub struct PixelTable {
    channels: Vec<[f32; 256]>,
}

impl PixelTable {
    /// Writes normalised images (`count x channels x height x width`, one image or several of `shape`) to `out`.
    ///
    /// # Errors
    /// [`Error::Argument`] when the lengths of `image` and `out` differ or are no multiple of the number of channels.
    pub fn normalise(&self, image: &[u8], out: &mut [f32]) -> Result<()> {
        let channels = self.channels.len();
        if out.len() != image.len() || channels == 0 || !image.len().is_multiple_of(channels) {
            let problem = format!(
                "has {} pixels for {} numbers, expected as many of each, a multiple of {channels} channels",
                image.len(),
                out.len()
            );
            return Err(Error::Argument { name: "image".into(), problem });
        }
        let plane = image.len() / channels;
        if plane == 0 {
            return Ok(());
        }
        for ((values, pixels), out) in
            self.channels.iter().zip(image.chunks_exact(plane)).zip(out.chunks_exact_mut(plane))
        {
            for (out, &pixel) in out.iter_mut().zip(pixels) {
                *out = values[usize::from(pixel)];
            }
        }
        Ok(())
    }

    /// The values of one channel, by intensity.
    pub(super) fn channel(&self, channel: usize) -> &[f32; 256] {
        &self.channels[channel]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two channels of unlike statistics, 2 x 3 pixels.
    fn two_channels(count: usize) -> Images {
        let pixels = (0..count * 12).map(|k| if k / 6 % 2 == 0 { (k * 37 % 251) as u8 } else { 200 + (k % 7) as u8 });
        Images::new([2, 2, 3], pixels.collect(), vec![0; count], 1, vec![], "").unwrap()
    }

    #[test]
    fn training_images_have_mean_nought_and_variance_one_in_each_channel_afterwards() {
        let images = two_channels(40);
        let table = PixelScale::fit(&images).table();
        let mut sums = [[0.0_f64; 2]; 2];
        let mut out = vec![0.0; 12];
        for index in 0..images.count {
            table.normalise(images.image(index), &mut out).unwrap();
            for (k, &value) in out.iter().enumerate() {
                sums[k / 6][0] += f64::from(value) / 240.0;
                sums[k / 6][1] += f64::from(value).powi(2) / 240.0;
            }
        }
        for [mean, square] in sums {
            assert!(mean.abs() < 1e-6 && (square - 1.0).abs() < 1e-6, "{sums:?}");
        }
    }

    #[test]
    fn the_statistics_are_those_of_two_passes_over_the_pixels() {
        let images = two_channels(11);
        let scale = PixelScale::fit(&images);
        for channel in 0..2 {
            let values: Vec<f64> =
                (0..11 * 12).filter(|k| k / 6 % 2 == channel).map(|k| f64::from(images.pixels[k]) / 255.0).collect();
            let mean = values.iter().sum::<f64>() / 66.0;
            let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 66.0;
            assert!((scale.mean[channel] - mean).abs() < 1e-14);
            assert!((scale.std[channel] - variance.sqrt()).abs() < 1e-14);
        }
    }

    #[test]
    fn other_images_pass_through_the_training_statistics() {
        let scale = PixelScale { mean: vec![0.25], std: vec![0.5] };
        let mut out = [0.0; 2];
        scale.normalise(&[0, 255], &mut out).unwrap();
        assert_eq!(out, [-0.5, 1.5]);
    }

    #[test]
    fn a_constant_channel_becomes_nought() {
        let images = Images::new([1, 1, 2], vec![9; 4], vec![0; 2], 1, vec![], "").unwrap();
        let scale = PixelScale::fit(&images);
        let mut out = [1.0; 2];
        scale.normalise(images.image(0), &mut out).unwrap();
        assert_eq!((scale.std[0], out), (1.0, [0.0; 2]));
    }

    #[test]
    fn it_survives_being_stored() {
        let scale = PixelScale::fit(&two_channels(5));
        let text = serde_json::to_string(&scale).unwrap();
        assert_eq!(serde_json::from_str::<PixelScale>(&text).unwrap(), scale);
    }

    #[test]
    fn stored_values_that_cannot_be_used_are_named() {
        let message = |mean: &[f64], std: &[f64]| {
            PixelScale { mean: mean.to_vec(), std: std.to_vec() }.validate().unwrap_err().to_string()
        };
        assert_eq!(message(&[0.0, f64::NAN], &[1.0, 1.0]), "pixel scale: mean[1]: is NaN, expected a finite number");
        assert_eq!(message(&[0.0], &[0.0]), "pixel scale: std[0]: is 0, expected a positive number");
        assert!(message(&[0.0], &[]).contains("1 means and 0 standard deviations"));
        assert!(message(&[], &[]).contains("0 means"));
    }

    #[test]
    fn lengths_that_differ_are_refused() {
        let table = PixelScale { mean: vec![0.0; 3], std: vec![1.0; 3] }.table();
        assert!(table.normalise(&[0; 6], &mut [0.0; 5]).is_err());
        assert!(table.normalise(&[0; 4], &mut [0.0; 4]).unwrap_err().to_string().contains("3 channels"));
    }
}
