//! The binary version of CIFAR-10 and CIFAR-100 (Krizhevsky 2009).
//!
//! A file is a row of records: one label byte (CIFAR-10) or a coarse and a fine label byte (CIFAR-100), then 3,072 bytes: the
//! red, green and blue planes of 32 x 32 pixels, row-major. Of CIFAR-100 the 100 fine labels are used.
//!
//! A copy whose test images are not all exact says so in `test_inexact_indices.txt`: one number a line, counted from 0. Those are left out.

use std::fs;
use std::path::{Path, PathBuf};

use super::Images;
use super::folder::Part;
use super::reading::{Source, file_error};
use crate::Result;
use crate::atomic::io_error;

/// Numbers of the test images that are not those published.
pub(super) const INEXACT: &str = "test_inexact_indices.txt";
/// Extents of an image.
const SHAPE: [usize; 3] = [3, 32, 32];
/// Bytes of an image.
const PIXELS: usize = 3072;

/// Which of the two sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// 10 classes, five training files and a test file.
    Cifar10,
    /// 100 classes in 20 superclasses, one file a part.
    Cifar100,
}

impl Version {
    /// Number of classes.
    pub fn classes(self) -> usize {
        match self {
            Self::Cifar10 => 10,
            Self::Cifar100 => 100,
        }
    }

    /// How many values each label byte of a record may have; the last is the class.
    fn label_ranges(self) -> &'static [usize] {
        match self {
            Self::Cifar10 => &[10],
            Self::Cifar100 => &[20, 100],
        }
    }

    fn part_names(self, part: Part) -> &'static [&'static str] {
        match (self, part) {
            (Self::Cifar10, Part::Training) => {
                &["data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"]
            }
            (Self::Cifar10, Part::Test) => &["test_batch.bin"],
            (Self::Cifar100, Part::Training) => &["train.bin"],
            (Self::Cifar100, Part::Test) => &["test.bin"],
        }
    }

    fn class_names_file(self) -> &'static str {
        match self {
            Self::Cifar10 => "batches.meta.txt",
            Self::Cifar100 => "fine_label_names.txt",
        }
    }

    /// Whether the folder holds the first file of this part.
    pub(super) fn has_part(self, folder: &Path, part: Part) -> bool {
        folder.join(self.part_names(part)[0]).is_file()
    }
}

/// Reads the training or test part of a folder, without the images that `test_inexact_indices.txt` names, and with class names from `batches.meta.txt` (CIFAR-10) or `fine_label_names.txt`
/// (CIFAR-100) where that file is there.
///
/// # Errors
/// [`Error::File`](crate::Error::File) when a file of the part is not there, the class names are not one a class or a number of
/// an image is none, and as for [`read_files`].
pub fn read_folder(folder: &Path, version: Version, part: Part) -> Result<Images> {
    let names = version.part_names(part);
    if let Some(missing) = names.iter().find(|name| !folder.join(name).is_file()) {
        return Err(file_error(
            folder,
            part.to_string(),
            format!("holds no file `{missing}`, expected {}", names.join(", ")),
        ));
    }
    let paths: Vec<PathBuf> = names.iter().map(|name| folder.join(name)).collect();
    let mut images = read_files(&paths, version)?;
    let inexact = folder.join(INEXACT);
    if part == Part::Test && inexact.is_file() {
        images = images.select(&exact(&inexact, images.count)?)?;
    }
    match read_class_names(&folder.join(version.class_names_file()), version.classes())? {
        Some(names) => images.with_classes(version.classes(), names),
        None => Ok(images),
    }
}

/// Reads the records of these files, one file after another. A file may hold any number of whole records.
///
/// # Errors
/// [`Error::Io`](crate::Error::Io) when a file cannot be read; [`Error::File`](crate::Error::File) when it is empty, does not end
/// with a whole record (with the bytes found and expected), or a label is out of range (with the record's index).
///
/// # Examples
/// ```
/// use livi::data::images::cifar::{Version, read_files};
/// let folder = tempfile::tempdir().unwrap();
/// let path = folder.path().join("some.bin");
/// let mut bytes = vec![0; 2 * 3074]; // two records of CIFAR-100
/// (bytes[0], bytes[1], bytes[3074 + 1], bytes[3074 + 2]) = (3, 42, 99, 255);
/// std::fs::write(&path, bytes).unwrap();
/// let images = read_files(&[path], Version::Cifar100).unwrap();
/// assert_eq!((images.labels, images.pixels[3072]), (vec![42, 99], 255));
/// ```
pub fn read_files(paths: &[PathBuf], version: Version) -> Result<Images> {
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for path in paths {
        read_file(path, version, &mut pixels, &mut labels)?;
    }
    let source = match paths {
        [only] => only.display().to_string(),
        _ => paths.first().and_then(|path| path.parent()).unwrap_or(Path::new("")).display().to_string(),
    };
    Images::new(SHAPE, pixels, labels, version.classes(), Vec::new(), source)
}

fn read_file(path: &Path, version: Version, pixels: &mut Vec<u8>, labels: &mut Vec<u32>) -> Result<()> {
    let mut source = Source::open(path)?;
    let ranges = version.label_ranges();
    let size = (ranges.len() + PIXELS) as u64;
    let mut record = Vec::new();
    let mut index = 0_u64;
    loop {
        record.clear();
        let read = source.read_up_to(size, &mut record)?;
        if read == 0 && index > 0 {
            return Ok(());
        }
        if read < size {
            let found = index * size + read;
            let problem =
                format!("the file ends after {found} bytes, expected {} (records of {size} bytes)", (index + 1) * size);
            return Err(source.problem(&format!("record {index}"), problem));
        }
        for (byte, range) in record.iter().zip(ranges) {
            if usize::from(*byte) >= *range {
                let what = if *range == version.classes() { "label" } else { "coarse label" };
                let problem = format!("{what} is {byte}, expected 0 to {} ({range} classes)", range - 1);
                return Err(source.problem(&format!("record {index}"), problem));
            }
        }
        labels.push(u32::from(record[ranges.len() - 1]));
        pixels.extend_from_slice(&record[ranges.len()..]);
        index += 1;
    }
}

/// The numbers of so many images that are not in the file.
fn exact(path: &Path, count: usize) -> Result<Vec<usize>> {
    let text = fs::read_to_string(path).map_err(io_error(path, "read"))?;
    let mut is_exact = vec![true; count];
    for (k, line) in text.lines().map(str::trim).enumerate().filter(|(_, line)| !line.is_empty()) {
        let known = line.parse::<usize>().ok().and_then(|index| is_exact.get_mut(index));
        let problem = || format!("`{line}` is no image's number, expected 0 to {}", count - 1);
        *known.ok_or_else(|| file_error(path, format!("line {}", k + 1), problem()))? = false;
    }
    Ok((0..count).filter(|&index| is_exact[index]).collect())
}

/// One name a line; `None` where there is no such file.
fn read_class_names(path: &Path, classes: usize) -> Result<Option<Vec<String>>> {
    if !path.is_file() {
        return Ok(None);
    }
    let text = fs::read_to_string(path).map_err(io_error(path, "read"))?;
    let names: Vec<String> = text.lines().map(str::trim).filter(|name| !name.is_empty()).map(Into::into).collect();
    if names.len() != classes {
        return Err(file_error(
            path,
            "class names",
            format!("there are {}, expected {classes}, one a line", names.len()),
        ));
    }
    Ok(Some(names))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records with these label bytes; every pixel is the record's index.
    fn records(labels: &[&[u8]]) -> Vec<u8> {
        let record = |(index, labels): (usize, &&[u8])| [labels.to_vec(), vec![index as u8; PIXELS]].concat();
        labels.iter().enumerate().flat_map(record).collect()
    }

    fn refused(bytes: &[u8], version: Version) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("batch.bin");
        fs::write(&path, bytes).unwrap();
        read_files(&[path], version).unwrap_err().to_string()
    }

    #[test]
    fn the_five_training_files_are_read_in_their_order() {
        let folder = tempfile::tempdir().unwrap();
        for (k, name) in Version::Cifar10.part_names(Part::Training).iter().enumerate() {
            fs::write(folder.path().join(name), records(&[&[k as u8], &[9]])).unwrap();
        }
        let images = read_folder(folder.path(), Version::Cifar10, Part::Training).unwrap();
        assert_eq!(images.labels, [0, 9, 1, 9, 2, 9, 3, 9, 4, 9]);
        assert_eq!((images.shape(), images.class_names[3].as_str()), ([3, 32, 32], "3"));
    }

    #[test]
    fn test_images_that_are_not_exact_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "test_batch.bin",
            "data_batch_1.bin",
            "data_batch_2.bin",
            "data_batch_3.bin",
            "data_batch_4.bin",
            "data_batch_5.bin",
        ] {
            fs::write(folder.path().join(name), records(&[&[4], &[5], &[6], &[7]])).unwrap();
        }
        let read = |part| read_folder(folder.path(), Version::Cifar10, part);
        fs::write(folder.path().join(INEXACT), "2\n\n0\n").unwrap();
        let images = read(Part::Test).unwrap();
        assert_eq!((images.labels.as_slice(), images.image(0)[0], images.image(1)[7]), (&[5, 7][..], 1, 3));
        assert_eq!(read(Part::Training).unwrap().labels.len(), 20);
        for (text, wanted) in
            [("1\n4\n", "line 2: `4` is no image's number, expected 0 to 3"), ("one", "line 1: `one`")]
        {
            fs::write(folder.path().join(INEXACT), text).unwrap();
            let message = read(Part::Test).unwrap_err().to_string();
            assert!(message.contains(wanted) && message.contains(INEXACT), "{message}");
        }
    }

    #[test]
    fn class_names_come_from_the_file_beside() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("test.bin"), records(&[&[19, 99]])).unwrap();
        let names: String = (0..100).map(|k| format!("thing_{k}\n")).collect();
        fs::write(folder.path().join("fine_label_names.txt"), names + "\n").unwrap();
        let images = read_folder(folder.path(), Version::Cifar100, Part::Test).unwrap();
        assert_eq!(images.class_names[images.labels[0] as usize], "thing_99");
        fs::write(folder.path().join("fine_label_names.txt"), "apple\n").unwrap();
        let message = read_folder(folder.path(), Version::Cifar100, Part::Test).unwrap_err().to_string();
        assert!(message.contains("class names: there are 1, expected 100"), "{message}");
    }

    #[test]
    fn a_missing_batch_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("data_batch_1.bin"), records(&[&[0]])).unwrap();
        let message = read_folder(folder.path(), Version::Cifar10, Part::Training).unwrap_err().to_string();
        assert!(message.contains("training part: holds no file `data_batch_2.bin`"), "{message}");
    }

    #[test]
    fn a_truncated_file_names_the_bytes_found_and_expected() {
        let bytes = records(&[&[1], &[2]]);
        let message = refused(&bytes[..6000], Version::Cifar10);
        assert!(message.ends_with("record 1: the file ends after 6000 bytes, expected 6146 (records of 3073 bytes)"));
        // Bytes after the last record are the beginning of one that is cut off.
        let message = refused(&[bytes, vec![0; 4]].concat(), Version::Cifar10);
        assert!(message.contains("record 2: the file ends after 6150 bytes, expected 9219"), "{message}");
    }

    #[test]
    fn an_empty_file_is_refused() {
        assert!(refused(&[], Version::Cifar10).contains("after 0 bytes, expected 3073"));
    }

    #[test]
    fn a_label_out_of_range_names_record_label_and_classes() {
        let message = refused(&records(&[&[9], &[10]]), Version::Cifar10);
        assert!(message.ends_with("batch.bin: record 1: label is 10, expected 0 to 9 (10 classes)"), "{message}");
        let message = refused(&records(&[&[20, 0]]), Version::Cifar100);
        assert!(message.ends_with("record 0: coarse label is 20, expected 0 to 19 (20 classes)"), "{message}");
    }

    #[test]
    fn a_file_of_the_other_version_is_refused() {
        assert!(refused(&records(&[&[3, 50], &[4, 60]]), Version::Cifar10).contains("record"));
    }
}
