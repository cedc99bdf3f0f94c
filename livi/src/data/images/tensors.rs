//! Image sets in safetensors files: a tensor `x` of pixels and a tensor `y` of labels.
//!
//! `x` has shape `(N, C, H, W)` or `(N, H, W)` and type U8, or F32 with values in [0, 1], which are rounded to the nearest of the
//! 256 intensities. `y` has shape `(N)` and type U8, U32, I32 or I64. From PyTorch:
//! `safetensors.torch.save_file({"x": images, "y": labels}, "train.safetensors")`.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, Metadata, TensorInfo};

use super::folder::Part;
use super::reading::file_error;
use super::{Images, MOST_CLASSES};
use crate::atomic::io_error;
use crate::{Error, Result};

/// Longest header that the format allows.
const LONGEST_HEADER: u64 = 100_000_000;

/// Reads a whole file.
///
/// The file names no classes: their number is the largest label plus one (see [`Images::with_classes`]).
///
/// # Errors
/// [`Error::Io`] when it cannot be read; [`Error::File`] when it is truncated or of another format, a tensor is missing or of
/// another type or shape, the numbers of images and labels differ, a pixel is outside [0, 1] or a label negative.
///
/// # Examples
/// ```
/// use livi::data::images::tensors;
/// use livi::export::{NamedTensor, TensorData, write_tensors};
/// let folder = tempfile::tempdir().unwrap();
/// let path = folder.path().join("train.safetensors");
/// let x = NamedTensor::new("x", [2, 1, 2], TensorData::F32(vec![0.0, 0.2, 0.5, 1.0]));
/// let y = NamedTensor::new("y", [2], TensorData::I64(vec![1, 0]));
/// write_tensors(&path, &[x, y], &Default::default()).unwrap();
/// let images = tensors::read(&path).unwrap();
/// assert_eq!((images.shape(), images.pixels.as_slice()), ([1, 1, 2], &[0, 51, 128, 255][..]));
/// assert_eq!(tensors::read_rows(&path, 1..2).unwrap().labels, [0]);
/// ```
pub fn read(path: &Path) -> Result<Images> {
    TensorSource::open(path, true)?.read_all()
}

/// The same for images whose labels nobody needs: without a tensor `y` all are 0.
///
/// # Errors
/// As for [`read`].
pub fn read_images(path: &Path) -> Result<Images> {
    TensorSource::open(path, false)?.read_all()
}

/// Reads the images of a range of rows, and no others' pixels from the disk; the number of classes is that of the whole file.
///
/// # Errors
/// As for [`read`]; [`Error::Argument`] when the range is empty or reaches beyond the file's images.
pub fn read_rows(path: &Path, rows: Range<usize>) -> Result<Images> {
    TensorSource::open(path, true)?.read_rows(rows)
}

/// Reads `train.safetensors` or `test.safetensors` of a folder.
///
/// # Errors
/// As for [`read`].
pub fn read_folder(folder: &Path, part: Part) -> Result<Images> {
    read(&part_path(folder, part))
}

/// The file of a part.
pub(super) fn part_path(folder: &Path, part: Part) -> PathBuf {
    folder.join(match part {
        Part::Training => "train.safetensors",
        Part::Test => "test.safetensors",
    })
}

/// An open file whose header has been checked.
struct TensorSource<'a> {
    path: &'a Path,
    file: File,
    /// Where the tensors' bytes begin.
    begin: u64,
    x: TensorInfo,
    y: Option<TensorInfo>,
    shape: [usize; 3],
    count: usize,
}

impl<'a> TensorSource<'a> {
    /// `labelled` says whether the labels must be there.
    fn open(path: &'a Path, labelled: bool) -> Result<Self> {
        let mut file = File::open(path).map_err(io_error(path, "open"))?;
        let length = file.metadata().map_err(io_error(path, "read"))?.len();
        let (begin, header) = read_header(path, &mut file, length)?;
        let tensor = |name: &str| {
            let names = header.offset_keys().join(", ");
            let missing = || file_error(path, format!("tensor `{name}`"), format!("is missing; there are: {names}"));
            header.info(name).cloned().ok_or_else(missing)
        };
        let (x, y) = (tensor("x")?, if labelled { Some(tensor("y")?) } else { tensor("y").ok() });
        let shape = match x.shape[..] {
            [_, channels, height, width] => [channels, height, width],
            [_, height, width] => [1, height, width],
            _ => {
                let problem = format!("has shape {:?}, expected (N, C, H, W) or (N, H, W)", x.shape);
                return Err(file_error(path, "tensor `x`", problem));
            }
        };
        if !matches!(x.dtype, Dtype::U8 | Dtype::F32) {
            return Err(wrong_type(path, "x", x.dtype, "U8 or F32"));
        }
        let count = x.shape[0];
        if let Some(y) = &y {
            if !matches!(y.dtype, Dtype::U8 | Dtype::U32 | Dtype::I32 | Dtype::I64) {
                return Err(wrong_type(path, "y", y.dtype, "U8, U32, I32 or I64"));
            }
            if y.shape != [count] {
                let problem = format!("has shape {:?}, expected [{count}], one label for each image of `x`", y.shape);
                return Err(file_error(path, "tensor `y`", problem));
            }
        }
        if x.shape.contains(&0) {
            return Err(file_error(path, "tensor `x`", format!("has shape {:?}: it holds no pixels", x.shape)));
        }
        Ok(Self { path, file, begin, x, y, shape, count })
    }

    fn read_all(&mut self) -> Result<Images> {
        self.read_rows(0..self.count)
    }

    fn read_rows(&mut self, rows: Range<usize>) -> Result<Images> {
        if rows.is_empty() || rows.end > self.count {
            let problem = format!(
                "{}..{} is not a range of the {} images of {}",
                rows.start,
                rows.end,
                self.count,
                self.path.display()
            );
            return Err(Error::Argument { name: "rows".into(), problem });
        }
        let labels = self.labels()?;
        let classes = 1 + labels.iter().copied().max().unwrap_or(0) as usize;
        let pixels = self.pixels(&rows)?;
        let labels = labels[rows].to_vec();
        Images::new(self.shape, pixels, labels, classes, Vec::new(), self.path.display().to_string())
    }

    fn labels(&mut self) -> Result<Vec<u32>> {
        let Some(TensorInfo { dtype, data_offsets: (start, end), .. }) = self.y.clone() else {
            return Ok(vec![0; self.count]);
        };
        let bytes = self.read_bytes(start, end - start)?;
        let mut labels = Vec::with_capacity(self.count);
        for (index, word) in bytes.chunks_exact((end - start) / self.count).enumerate() {
            let found = match *word {
                [byte] => i64::from(byte),
                [a, b, c, d] if dtype == Dtype::U32 => i64::from(u32::from_le_bytes([a, b, c, d])),
                [a, b, c, d] => i64::from(i32::from_le_bytes([a, b, c, d])),
                [a, b, c, d, e, f, g, h] => i64::from_le_bytes([a, b, c, d, e, f, g, h]),
                _ => -1,
            };
            let label = u32::try_from(found).ok().filter(|&label| (label as usize) < MOST_CLASSES);
            let label = label.ok_or_else(|| {
                let problem = format!("is {found}, expected a class from 0 to {}", MOST_CLASSES - 1);
                file_error(self.path, format!("tensor `y`: label {index}"), problem)
            })?;
            labels.push(label);
        }
        Ok(labels)
    }

    fn pixels(&mut self, rows: &Range<usize>) -> Result<Vec<u8>> {
        let size = self.shape.iter().product::<usize>();
        let width = if self.x.dtype == Dtype::U8 { 1 } else { 4 };
        let start = self.x.data_offsets.0 + rows.start * size * width;
        let bytes = self.read_bytes(start, rows.len() * size * width)?;
        if width == 1 {
            return Ok(bytes);
        }
        let mut pixels = Vec::with_capacity(rows.len() * size);
        for (index, word) in bytes.chunks_exact(4).enumerate() {
            let value = f32::from_le_bytes([word[0], word[1], word[2], word[3]]);
            if !(0.0..=1.0).contains(&value) {
                let place = format!("tensor `x`: image {}, pixel {}", rows.start + index / size, index % size);
                let problem = format!("is {value}, expected 0 to 1 (raw pixels, before any normalisation)");
                return Err(file_error(self.path, place, problem));
            }
            pixels.push((255.0 * value).round() as u8);
        }
        Ok(pixels)
    }

    fn read_bytes(&mut self, offset: usize, count: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.file.seek(SeekFrom::Start(self.begin + offset as u64)).map_err(io_error(self.path, "read"))?;
        self.file.read_exact(&mut bytes).map_err(io_error(self.path, "read"))?;
        Ok(bytes)
    }
}

/// Where the tensors' bytes begin, and what the header says about them; the file's length fits it.
fn read_header(path: &Path, file: &mut File, length: u64) -> Result<(u64, Metadata)> {
    let foreign = |problem: String| file_error(path, "header", problem);
    let mut size = [0; 8];
    if length < 8 {
        return Err(foreign(format!("the file has {length} bytes, expected a safetensors file")));
    }
    file.read_exact(&mut size).map_err(io_error(path, "read"))?;
    let size = u64::from_le_bytes(size);
    if size > LONGEST_HEADER || 8 + size > length {
        let problem = format!("of {size} bytes in a file of {length}: truncated, or not a safetensors file");
        return Err(foreign(problem));
    }
    let mut text = vec![0; size as usize];
    file.read_exact(&mut text).map_err(io_error(path, "read"))?;
    let header: Metadata =
        serde_json::from_slice(&text).map_err(|error| foreign(format!("cannot be read: {error}")))?;
    let begin = 8 + size;
    let expected = begin + header.data_len() as u64;
    if length != expected {
        return Err(foreign(format!("the file has {length} bytes, expected {expected}")));
    }
    Ok((begin, header))
}

fn wrong_type(path: &Path, name: &str, found: Dtype, expected: &str) -> Error {
    file_error(path, format!("tensor `{name}`"), format!("has element type {found}, expected {expected}"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use safetensors::tensor::TensorView;

    use super::*;

    /// A file of these tensors: name, type, shape, bytes.
    fn file(tensors: &[(&str, Dtype, &[usize], Vec<u8>)]) -> Vec<u8> {
        let view = |(name, dtype, shape, bytes): &'_ (&str, Dtype, &[usize], Vec<u8>)| {
            (name.to_string(), *dtype, shape.to_vec(), bytes.clone())
        };
        let owned: Vec<_> = tensors.iter().map(view).collect();
        let views = owned
            .iter()
            .map(|(name, dtype, shape, bytes)| (name, TensorView::new(*dtype, shape.clone(), bytes).unwrap()));
        safetensors::serialize(views, None).unwrap()
    }

    fn with_file<T>(bytes: &[u8], look: impl Fn(&Path) -> T) -> T {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("train.safetensors");
        fs::write(&path, bytes).unwrap();
        look(&path)
    }

    #[track_caller]
    fn refused(bytes: &[u8], part: &str) {
        let message = with_file(bytes, read).unwrap_err().to_string();
        assert!(message.contains("train.safetensors") && message.contains(part), "{message}");
    }

    fn bytes_of_f32(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    #[test]
    fn labels_may_be_absent_where_nobody_needs_them() {
        let bytes = file(&[("x", Dtype::U8, &[4, 3, 2, 2], (0..48).collect())]);
        refused(&bytes, "tensor `y`: is missing");
        let images = with_file(&bytes, |path| read_images(path).unwrap());
        assert_eq!((images.labels, images.pixels), (vec![0; 4], (0..48).collect::<Vec<u8>>()));
        assert_eq!(with_file(&four(), |path| read_images(path).unwrap()).labels, [0, 2, 1, 2]);
        let short = file(&[("x", Dtype::U8, &[1, 1, 1, 1], vec![7]), ("y", Dtype::U8, &[2], vec![0, 1])]);
        assert!(with_file(&short, |path| read_images(path).is_err()));
    }

    /// Four colour images of 2 x 2 pixels with labels 0, 2, 1, 2.
    fn four() -> Vec<u8> {
        file(&[("x", Dtype::U8, &[4, 3, 2, 2], (0..48).collect()), ("y", Dtype::U8, &[4], vec![0, 2, 1, 2])])
    }

    #[test]
    fn bytes_are_taken_as_they_are() {
        let images = with_file(&four(), read).unwrap();
        assert_eq!((images.shape(), images.classes, images.count), ([3, 2, 2], 3, 4));
        assert_eq!(images.pixels, (0..48).collect::<Vec<u8>>());
    }

    #[test]
    fn every_integer_type_of_labels_gives_the_same() {
        let x = ("x", Dtype::U8, &[2, 1, 1][..], vec![1, 2]);
        let labels = [
            (Dtype::U8, vec![7, 3]),
            (Dtype::U32, vec![7, 0, 0, 0, 3, 0, 0, 0]),
            (Dtype::I32, vec![7, 0, 0, 0, 3, 0, 0, 0]),
            (Dtype::I64, vec![7, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0]),
        ];
        for (dtype, bytes) in labels {
            let images = with_file(&file(&[x.clone(), ("y", dtype, &[2], bytes)]), read).unwrap();
            assert_eq!((images.labels, images.classes), (vec![7, 3], 8), "{dtype:?}");
        }
    }

    #[test]
    fn all_intensities_survive_division_by_255() {
        let values: Vec<f32> = (0..=255_u8).map(|pixel| f32::from(pixel) / 255.0).collect();
        let bytes = file(&[("x", Dtype::F32, &[1, 16, 16], bytes_of_f32(&values)), ("y", Dtype::U8, &[1], vec![0])]);
        assert_eq!(with_file(&bytes, read).unwrap().pixels, (0..=255).collect::<Vec<u8>>());
    }

    #[test]
    fn a_pixel_outside_the_unit_interval_is_named_with_its_value() {
        for value in [1.5, -0.1, f32::NAN] {
            let x = bytes_of_f32(&[0.0, 1.0, 0.5, value]);
            let bytes = file(&[("x", Dtype::F32, &[2, 1, 2], x), ("y", Dtype::U8, &[2], vec![0, 0])]);
            refused(&bytes, &format!("tensor `x`: image 1, pixel 1: is {value}, expected 0 to 1"));
        }
    }

    #[test]
    fn a_range_of_rows_is_that_part_of_the_whole_with_all_classes() {
        let both = |path: &Path| (read(path).unwrap(), read_rows(path, 2..3).unwrap());
        let (whole, part) = with_file(&four(), both);
        assert_eq!(part, whole.select(&[2]).unwrap());
        assert_eq!(part.classes, 3);
    }

    #[test]
    fn a_range_beyond_the_file_or_empty_is_refused() {
        for rows in [2..5, 1..1, 7..9] {
            let message = with_file(&four(), |path| read_rows(path, rows.clone())).unwrap_err().to_string();
            assert!(message.contains("is not a range of the 4 images"), "{message}");
        }
    }

    #[test]
    fn a_truncated_file_names_its_length_and_the_expected_one() {
        let bytes = four();
        let problem = format!("the file has {} bytes, expected {}", bytes.len() - 3, bytes.len());
        refused(&bytes[..bytes.len() - 3], &problem);
        refused(&bytes[..30], "truncated, or not a safetensors file");
        refused(&[], "the file has 0 bytes");
    }

    #[test]
    fn missing_tensors_and_wrong_types_and_shapes_are_named() {
        let x = ("x", Dtype::U8, &[2, 1, 1][..], vec![1, 2]);
        refused(&file(std::slice::from_ref(&x)), "tensor `y`: is missing; there are: x");
        refused(&file(&[x.clone(), ("y", Dtype::F32, &[2], vec![0; 8])]), "has element type F32, expected U8, U32");
        refused(&file(&[x.clone(), ("y", Dtype::U8, &[3], vec![0; 3])]), "tensor `y`: has shape [3], expected [2]");
        refused(&file(&[("x", Dtype::U8, &[2, 2], vec![0; 4]), ("y", Dtype::U8, &[2], vec![0; 2])]), "(N, C, H, W)");
        refused(
            &file(&[("x", Dtype::F64, &[1, 1, 1], vec![0; 8]), ("y", Dtype::U8, &[1], vec![0])]),
            "expected U8 or F32",
        );
        refused(&file(&[("x", Dtype::U8, &[0, 1, 1], vec![]), ("y", Dtype::U8, &[0], vec![])]), "holds no pixels");
    }

    #[test]
    fn a_label_that_is_no_class_is_named_with_its_index() {
        for label in [-1, 65_536, i64::MAX] {
            let y = [label.to_le_bytes(), 0_i64.to_le_bytes()].concat();
            let bytes = file(&[("x", Dtype::U8, &[2, 1, 1], vec![1, 2]), ("y", Dtype::I64, &[2], y)]);
            refused(&bytes, &format!("tensor `y`: label 0: is {label}, expected a class from 0 to 65535"));
        }
    }
}
