//! Image data sets for classification: bytes and labels in memory, their files, normalisation and batches.
//!
//! - [`idx`]: the files of MNIST and its relatives; [`cifar`]: the binary version of CIFAR-10 and CIFAR-100; [`tensors`]:
//!   safetensors files; [`folder`] tells which of them a folder holds.
//! - [`PixelScale`]: normalisation by training statistics; [`augment`]: random crops and flips; [`stream`]: batches made by
//!   a thread of their own.
//! - [`fetch`]: published sets from their homes; [`check`]: what a folder holds and what is wrong with it.
//!
//! An [`Images`] is checked when it is made, so what follows need not check again. Pixels stay bytes until a batch needs
//! them as numbers.

pub mod augment;
pub mod check;
pub mod cifar;
pub mod download;
pub mod fetch;
pub mod folder;
pub mod idx;
mod pixel_scale;
pub mod published;
mod reading;
pub mod stream;
pub mod tensors;

pub use folder::{FolderKind, Part, load_part};
pub use pixel_scale::{PixelScale, PixelTable};

use std::path::PathBuf;

use super::{Standardiser, Table};
use crate::{Error, Result};

/// Most classes that a set may have.
pub const MOST_CLASSES: usize = 1 << 16;

/// Images with a label each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Images {
    /// Number of images, at least 1.
    pub count: usize,
    /// Number of colour channels.
    pub channels: usize,
    /// Rows of pixels.
    pub height: usize,
    /// Columns of pixels.
    pub width: usize,
    /// Intensities 0 to 255, `count x channels x height x width`, row-major.
    pub pixels: Vec<u8>,
    /// Class of each image, from 0.
    pub labels: Vec<u32>,
    /// Number of classes; every label is less.
    pub classes: usize,
    /// Name of each class; `0`, `1`, ... where the files name none.
    pub class_names: Vec<String>,
    /// Where they come from: the files' path, for messages.
    pub source: String,
}

impl Images {
    /// Images of `shape` (channels, height, width) with labels below `classes`.
    ///
    /// `pixels` holds one image after another. `class_names` has a name for each class, or is empty: then the classes are
    /// called by their numbers. `source` names the file in messages.
    ///
    /// # Errors
    /// [`Error::File`] at `source` when there are no images, an extent is 0, lengths do not fit, or a label is not below
    /// `classes` (named by its index).
    ///
    /// # Examples
    /// ```
    /// use livi::data::images::Images;
    /// let images = Images::new([1, 2, 2], vec![0, 50, 100, 150, 1, 2, 3, 4], vec![1, 0], 2, vec![], "made up").unwrap();
    /// assert_eq!((images.count, images.image(1)), (2, &[1, 2, 3, 4][..]));
    /// assert_eq!(images.class_names, ["0", "1"]);
    /// ```
    pub fn new(
        shape: [usize; 3],
        pixels: Vec<u8>,
        labels: Vec<u32>,
        classes: usize,
        class_names: Vec<String>,
        source: impl Into<String>,
    ) -> Result<Self> {
        let [channels, height, width] = shape;
        let source = source.into();
        let count = labels.len();
        let size = channels.checked_mul(height).and_then(|size| size.checked_mul(width)).unwrap_or(0);
        if count == 0 || size == 0 {
            let problem =
                format!("{count} images of {channels} x {height} x {width} pixels, expected at least 1 of each");
            return Err(at(&source, "shape", problem));
        }
        if size.checked_mul(count) != Some(pixels.len()) {
            let problem = format!(
                "{} bytes of pixels for {count} labels and images of {channels} x {height} x {width}",
                pixels.len()
            );
            return Err(at(&source, "pixels", problem));
        }
        check_labels(&labels, classes, &source)?;
        let class_names = names_for(class_names, classes, &source)?;
        Ok(Self { count, channels, height, width, pixels, labels, classes, class_names, source })
    }

    /// Extents of one image: channels, height, width.
    pub fn shape(&self) -> [usize; 3] {
        [self.channels, self.height, self.width]
    }

    /// Bytes of one image.
    pub fn image_size(&self) -> usize {
        self.channels * self.height * self.width
    }

    /// The pixels of one image, `channels x height x width`; `index` is below `count`.
    pub fn image(&self, index: usize) -> &[u8] {
        &self.pixels[index * self.image_size()..(index + 1) * self.image_size()]
    }

    /// The images of `rows`, in that order; a row may come more than once.
    ///
    /// # Errors
    /// [`Error::Argument`] when `rows` is empty or holds an index that is out of range.
    ///
    /// # Examples
    /// ```
    /// use livi::data::images::Images;
    /// let images = Images::new([1, 1, 1], vec![10, 20, 30], vec![0, 1, 0], 2, vec![], "made up").unwrap();
    /// assert_eq!(images.select(&[2, 0]).unwrap().pixels, [30, 10]);
    /// ```
    pub fn select(&self, rows: &[usize]) -> Result<Self> {
        if rows.is_empty() {
            return Err(Error::Argument { name: "rows".into(), problem: "is empty, expected at least 1 image".into() });
        }
        let (mut pixels, mut labels) =
            (Vec::with_capacity(rows.len() * self.image_size()), Vec::with_capacity(rows.len()));
        for &row in rows {
            if row >= self.count {
                let problem = format!("index {row} is out of range, expected 0 to {}", self.count - 1);
                return Err(Error::Argument { name: "rows".into(), problem });
            }
            pixels.extend_from_slice(self.image(row));
            labels.push(self.labels[row]);
        }
        let (class_names, source) = (self.class_names.clone(), self.source.clone());
        Ok(Self { count: rows.len(), pixels, labels, class_names, source, ..*self })
    }

    /// The same images with another number of classes: files without class names tell no more than their largest label, so a
    /// test set takes the training set's.
    ///
    /// # Errors
    /// [`Error::File`] when a label is not below `classes`, or the number of names is neither 0 nor `classes`.
    pub fn with_classes(mut self, classes: usize, class_names: Vec<String>) -> Result<Self> {
        check_labels(&self.labels, classes, &self.source)?;
        self.class_names = names_for(class_names, classes, &self.source)?;
        self.classes = classes;
        Ok(self)
    }

    /// The same as a table: intensities from 0 to 1 in columns `pixel_0`, `pixel_1`, .. (channels, rows, columns), labels in the column `class`.
    ///
    /// # Errors
    /// None in practice: a checked set makes a checked table.
    pub fn table(&self) -> Result<Table> {
        let names = (0..self.image_size()).map(|k| format!("pixel_{k}")).collect();
        let x = self.pixels.iter().map(|&pixel| f64::from(pixel) / 255.0).collect();
        let y = self.labels.iter().map(|&label| f64::from(label)).collect();
        Table::new(x, y, self.count, names, vec!["class".into()])
    }

    /// Number of images of each class.
    pub fn label_histogram(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes];
        for &label in &self.labels {
            counts[label as usize] += 1;
        }
        counts
    }
}

fn check_labels(labels: &[u32], classes: usize, source: &str) -> Result<()> {
    match labels.iter().position(|&label| label as usize >= classes) {
        None => Ok(()),
        Some(index) => {
            let problem = match classes {
                0 => format!("is {}, and there are no classes", labels[index]),
                _ => format!("is {}, expected 0 to {} ({classes} classes)", labels[index], classes - 1),
            };
            Err(at(source, &format!("label {index}"), problem))
        }
    }
}

/// `names`, or the classes' numbers where there are none.
fn names_for(names: Vec<String>, classes: usize, source: &str) -> Result<Vec<String>> {
    match names.len() {
        _ if classes > MOST_CLASSES => {
            Err(at(source, "classes", format!("there are {classes}, expected at most {MOST_CLASSES}")))
        }
        0 => Ok((0..classes).map(|class| class.to_string()).collect()),
        given if given == classes => Ok(names),
        given => Err(at(source, "class names", format!("there are {given}, expected {classes}, one a class"))),
    }
}

fn at(source: &str, place: &str, problem: String) -> Error {
    Error::File { path: PathBuf::from(source), place: place.into(), problem }
}

/// The standardisation of tables of images: every pixel by its channel's statistics, classes as they are.
pub fn standardiser(scale: &PixelScale, pixels: usize) -> Standardiser {
    let spread = |values: &[f64]| values.iter().flat_map(|&value| std::iter::repeat_n(value, pixels)).collect();
    Standardiser { x_mean: spread(&scale.mean), x_std: spread(&scale.std), y_mean: vec![0.0], y_std: vec![1.0] }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(shape: [usize; 3], pixels: usize, labels: &[u32], classes: usize, names: &[&str]) -> String {
        let names = names.iter().map(|name| name.to_string()).collect();
        Images::new(shape, vec![0; pixels], labels.to_vec(), classes, names, "some/file").unwrap_err().to_string()
    }

    #[test]
    fn a_label_out_of_range_names_file_index_label_and_classes() {
        let found = message([1, 1, 1], 3, &[0, 1, 10], 10, &[]);
        assert_eq!(found, "some/file: label 2: is 10, expected 0 to 9 (10 classes)");
    }

    #[test]
    fn lengths_that_do_not_fit_are_refused_with_their_numbers() {
        assert!(
            message([1, 2, 2], 7, &[0, 0], 1, &[]).contains("7 bytes of pixels for 2 labels and images of 1 x 2 x 2")
        );
        assert!(message([1, 1, 1], 2, &[0, 0], 2, &["a"]).contains("class names: there are 1, expected 2"));
    }

    #[test]
    fn no_images_and_empty_images_are_refused() {
        assert!(message([1, 2, 2], 0, &[], 1, &[]).contains("0 images"));
        assert!(message([1, 0, 2], 0, &[0], 1, &[]).contains("1 x 0 x 2"));
        assert!(message([usize::MAX, 2, 2], 0, &[0], 1, &[]).contains("expected at least 1"));
    }

    #[test]
    fn a_selection_keeps_pixels_and_labels_together() {
        let pixels: Vec<u8> = (0..24).collect();
        let images = Images::new([2, 1, 2], pixels, (0..6).collect(), 6, vec![], "").unwrap();
        let picked = images.select(&[5, 0, 5]).unwrap();
        assert_eq!((picked.count, picked.shape(), picked.labels.as_slice()), (3, [2, 1, 2], &[5, 0, 5][..]));
        assert_eq!(picked.pixels, [20, 21, 22, 23, 0, 1, 2, 3, 20, 21, 22, 23]);
    }

    #[test]
    fn a_selection_out_of_range_names_index_and_range() {
        let images = Images::new([1, 1, 1], vec![0; 4], vec![0; 4], 1, vec![], "").unwrap();
        assert_eq!(images.select(&[1, 4]).unwrap_err().to_string(), "rows: index 4 is out of range, expected 0 to 3");
        assert!(images.select(&[]).is_err());
    }

    #[test]
    fn a_test_set_takes_more_classes_but_not_fewer() {
        let images = Images::new([1, 1, 1], vec![0; 2], vec![0, 2], 3, vec![], "test").unwrap();
        let raised = images.clone().with_classes(5, vec![]).unwrap();
        assert_eq!((raised.classes, raised.class_names[4].as_str()), (5, "4"));
        assert!(images.with_classes(2, vec![]).unwrap_err().to_string().contains("test: label 1: is 2"));
    }

    #[test]
    fn the_histogram_counts_every_image_once() {
        let images = Images::new([1, 1, 1], vec![0; 5], vec![3, 0, 3, 1, 3], 4, vec![], "").unwrap();
        assert_eq!(images.label_histogram(), [1, 1, 0, 3]);
    }
}
