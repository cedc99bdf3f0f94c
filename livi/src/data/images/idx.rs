//! The idx format of MNIST, Fashion-MNIST, KMNIST and others, plain or gzip-compressed.
//!
//! A magic number (two zero bytes, 8 for unsigned bytes, the number of axes), the extent of every axis as a big-endian 32-bit
//! integer, then the bytes, row-major (LeCun, Cortes, Burges: the MNIST database). Images have three axes (count, height,
//! width) or four (count, channels, height, width), labels one.

use std::path::{Path, PathBuf};

use super::Images;
use super::folder::Part;
use super::reading::{Source, file_error};
use crate::Result;

const LABELS: u32 = 0x0801;
const GREY_IMAGES: u32 = 0x0803;
const IMAGES_WITH_CHANNELS: u32 = 0x0804;

/// Reads images and their labels from two files.
///
/// The files name no classes: their number is the largest label plus one (see [`Images::with_classes`]).
///
/// # Errors
/// [`Error::Io`](crate::Error::Io) when a file cannot be read; [`Error::File`](crate::Error::File) when its magic number is
/// another, it ends early or goes on after its end (with the bytes found and expected), it is empty, or the counts of images
/// and labels differ.
///
/// # Examples
/// ```
/// let folder = tempfile::tempdir().unwrap();
/// let (images, labels) = (folder.path().join("images"), folder.path().join("labels"));
/// // Two images of 1 x 3 pixels.
/// std::fs::write(&images, [0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 3, 10, 20, 30, 40, 50, 60]).unwrap();
/// std::fs::write(&labels, [0, 0, 8, 1, 0, 0, 0, 2, 4, 1]).unwrap();
/// let set = livi::data::images::idx::read_pair(&images, &labels).unwrap();
/// assert_eq!((set.shape(), set.classes), ([1, 1, 3], 5));
/// assert_eq!(set.image(1), [40, 50, 60]);
/// ```
pub fn read_pair(images_path: &Path, labels_path: &Path) -> Result<Images> {
    let (axes, pixels) = read_array(images_path, &[GREY_IMAGES, IMAGES_WITH_CHANNELS])?;
    let (label_axes, labels) = read_array(labels_path, &[LABELS])?;
    let shape = match axes[..] {
        [_, channels, height, width] => [channels, height, width],
        [_, height, width] => [1, height, width],
        _ => [0; 3],
    };
    if label_axes[0] != axes[0] {
        let problem = format!("{} labels for the {} images of {}", label_axes[0], axes[0], images_path.display());
        return Err(file_error(labels_path, "header", problem));
    }
    let classes = 1 + usize::from(labels.iter().copied().max().unwrap_or(0));
    let labels = labels.into_iter().map(u32::from).collect();
    Images::new(shape, pixels, labels, classes, Vec::new(), images_path.display().to_string())
}

/// Reads the training or test part of a folder: `train-images-idx3-ubyte` and `train-labels-idx1-ubyte`, or the same with
/// `t10k`; each may end in `.gz`.
///
/// # Errors
/// [`Error::File`](crate::Error::File) when a file is not there, and as for [`read_pair`].
pub fn read_folder(folder: &Path, part: Part) -> Result<Images> {
    let (images, labels) = part_files(folder, part);
    read_pair(&found(folder, part, images)?, &found(folder, part, labels)?)
}

/// Whether the folder holds the images of this part.
pub(super) fn has_part(folder: &Path, part: Part) -> bool {
    part_files(folder, part).0.iter().any(|path| path.is_file())
}

/// Where the images and the labels of a part may be, plain and compressed.
fn part_files(folder: &Path, part: Part) -> ([PathBuf; 2], [PathBuf; 2]) {
    let prefix = match part {
        Part::Training => "train",
        Part::Test => "t10k",
    };
    let both = |name: String| [folder.join(&name), folder.join(format!("{name}.gz"))];
    (both(format!("{prefix}-images-idx3-ubyte")), both(format!("{prefix}-labels-idx1-ubyte")))
}

fn found(folder: &Path, part: Part, candidates: [PathBuf; 2]) -> Result<PathBuf> {
    if let Some(path) = candidates.iter().find(|path| path.is_file()) {
        return Ok(path.clone());
    }
    let name = candidates[0].file_name().unwrap_or_default().to_string_lossy().into_owned();
    Err(file_error(folder, part.to_string(), format!("holds no file `{name}` or `{name}.gz`")))
}

/// Axes and bytes of a file with one of these magic numbers.
fn read_array(path: &Path, magics: &[u32]) -> Result<(Vec<usize>, Vec<u8>)> {
    let mut source = Source::open(path)?;
    let magic = read_header(&mut source, 1, "magic number")?[0];
    if !magics.contains(&magic) {
        let expected: Vec<String> = magics.iter().map(|&magic| described(magic)).collect();
        let problem = format!("is {}, expected {}", described(magic), expected.join(" or "));
        return Err(source.problem("magic number", problem));
    }
    let axes = read_header(&mut source, (magic & 0xff) as usize, "extents")?;
    let expected = axes.iter().try_fold(1_u64, |product, &extent| product.checked_mul(u64::from(extent)));
    let written: Vec<String> = axes.iter().map(u32::to_string).collect();
    let written = written.join(" x ");
    let expected = match expected {
        None => return Err(source.problem("extents", format!("are {written}, more than any file can hold"))),
        Some(0) => return Err(source.problem("extents", format!("are {written}: the file holds no data"))),
        Some(expected) => expected,
    };
    let mut bytes = Vec::new();
    let count = source.read_up_to(expected, &mut bytes)?;
    if count < expected {
        let problem = format!("the file ends after {count} bytes of data, expected {expected} ({written})");
        return Err(source.problem("data", problem));
    }
    source.require_end("data", expected)?;
    Ok((axes.into_iter().map(|extent| extent as usize).collect(), bytes))
}

/// `count` big-endian integers.
fn read_header(source: &mut Source<'_>, count: usize, place: &str) -> Result<Vec<u32>> {
    let mut bytes = Vec::new();
    let expected = 4 * count as u64;
    let read = source.read_up_to(expected, &mut bytes)?;
    if read < expected {
        return Err(source.problem(place, format!("the file ends after {read} bytes, expected {expected}")));
    }
    Ok(bytes.chunks_exact(4).map(|word| u32::from_be_bytes([word[0], word[1], word[2], word[3]])).collect())
}

fn described(magic: u32) -> String {
    let what = match magic {
        LABELS => " (labels)",
        GREY_IMAGES => " (images)",
        IMAGES_WITH_CHANNELS => " (images with channels)",
        _ => "",
    };
    format!("{magic:#010x}{what}")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use super::*;

    fn file(axes: &[u32], data: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, 8, axes.len() as u8];
        axes.iter().for_each(|axis| bytes.extend(axis.to_be_bytes()));
        bytes.extend(data);
        bytes
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// What reading these two files gives.
    fn read(images: &[u8], labels: &[u8]) -> Result<Images> {
        let folder = tempfile::tempdir().unwrap();
        let (images_path, labels_path) = (folder.path().join("pictures"), folder.path().join("answers"));
        fs::write(&images_path, images).unwrap();
        fs::write(&labels_path, labels).unwrap();
        read_pair(&images_path, &labels_path)
    }

    fn pixels(count: usize) -> Vec<u8> {
        (0..count).map(|k| (k * 7 % 256) as u8).collect()
    }

    #[track_caller]
    fn refused(images: &[u8], labels: &[u8], parts: &[&str]) {
        let message = read(images, labels).unwrap_err().to_string();
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
    }

    #[test]
    fn three_axes_are_grey_images_and_four_have_channels() {
        let labels = file(&[2], &[1, 0]);
        let grey = read(&file(&[2, 3, 4], &pixels(24)), &labels).unwrap();
        assert_eq!((grey.shape(), grey.pixels), ([1, 3, 4], pixels(24)));
        let coloured = read(&file(&[2, 3, 2, 4], &pixels(48)), &labels).unwrap();
        assert_eq!((coloured.shape(), coloured.image(1).to_vec()), ([3, 2, 4], pixels(48)[24..].to_vec()));
    }

    #[test]
    fn a_compressed_file_gives_the_same_images() {
        let (images, labels) = (file(&[5, 8, 8], &pixels(320)), file(&[5], &[0, 1, 2, 3, 4]));
        assert_eq!(read(&gzip(&images), &gzip(&labels)).unwrap().pixels, read(&images, &labels).unwrap().pixels);
    }

    #[test]
    fn a_truncated_file_names_the_bytes_found_and_expected() {
        let images = file(&[2, 3, 4], &pixels(24));
        let labels = file(&[2], &[1, 0]);
        refused(&images[..images.len() - 5], &labels, &["pictures", "after 19 bytes", "expected 24 (2 x 3 x 4)"]);
        refused(&images, &labels[..9], &["answers", "after 1 bytes of data, expected 2"]);
        refused(&images[..10], &labels, &["pictures", "extents", "after 6 bytes, expected 12"]);
    }

    #[test]
    fn a_truncated_compressed_file_names_what_could_be_read() {
        let images = gzip(&file(&[2, 300, 4], &pixels(2400)));
        let labels = file(&[2], &[1, 0]);
        refused(&images[..images.len() / 2], &labels, &["pictures", "expected 2400 (2 x 300 x 4)"]);
    }

    #[test]
    fn a_damaged_compressed_file_is_refused() {
        let mut images = gzip(&file(&[2, 300, 4], &pixels(2400)));
        let middle = images.len() / 2;
        images[middle..middle + 8].fill(0xff);
        assert!(read(&images, &file(&[2], &[1, 0])).is_err());
    }

    #[test]
    fn a_wrong_magic_number_names_found_and_expected() {
        let (images, labels) = (file(&[1, 1, 1], &[0]), file(&[1], &[0]));
        refused(&labels, &labels, &["pictures", "is 0x00000801 (labels), expected 0x00000803 (images) or 0x00000804"]);
        refused(&images, b"PNG...", &["answers", "is 0x504e472e, expected 0x00000801 (labels)"]);
    }

    #[test]
    fn counts_that_disagree_name_both() {
        refused(
            &file(&[2, 1, 1], &[0, 0]),
            &file(&[3], &[0; 3]),
            &["answers", "3 labels for the 2 images of", "pictures"],
        );
    }

    #[test]
    fn bytes_after_the_end_are_refused() {
        refused(&file(&[1, 1, 2], &[0; 3]), &file(&[1], &[0]), &["pictures", "more bytes follow after the 2 expected"]);
    }

    #[test]
    fn an_empty_file_and_a_file_of_no_images_are_refused() {
        refused(&[], &file(&[1], &[0]), &["magic number", "after 0 bytes, expected 4"]);
        refused(&file(&[0, 28, 28], &[]), &file(&[0], &[]), &["0 x 28 x 28: the file holds no data"]);
    }

    #[test]
    fn a_header_that_announces_more_than_there_is_takes_no_memory_for_it() {
        refused(&file(&[u32::MAX, u32::MAX, 1], &[0; 9]), &file(&[1], &[0]), &["after 9 bytes"]);
        refused(&file(&[u32::MAX, u32::MAX, u32::MAX], &[]), &file(&[1], &[0]), &["more than any file can hold"]);
    }

    #[test]
    fn a_folder_gives_each_part_plain_or_compressed() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
        write("train-images-idx3-ubyte", &file(&[1, 1, 1], &[7]));
        write("train-labels-idx1-ubyte.gz", &gzip(&file(&[1], &[2])));
        write("t10k-images-idx3-ubyte.gz", &gzip(&file(&[1, 1, 1], &[8])));
        assert_eq!(read_folder(folder.path(), Part::Training).unwrap().pixels, [7]);
        let message = read_folder(folder.path(), Part::Test).unwrap_err().to_string();
        assert!(message.ends_with("test part: holds no file `t10k-labels-idx1-ubyte` or `t10k-labels-idx1-ubyte.gz`"));
    }
}
