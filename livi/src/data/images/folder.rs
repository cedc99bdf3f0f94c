//! What kind of image set a folder holds, and reading its parts whatever the kind.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::reading::file_error;
use super::{Images, cifar, idx, tensors};
use crate::Result;

/// A part of a set, as its publishers divided it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// To be trained on.
    Training,
    /// To be reported on.
    Test,
}

impl Part {
    /// Both parts.
    pub const ALL: [Self; 2] = [Self::Training, Self::Test];
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Training => "training part",
            Self::Test => "test part",
        })
    }
}

/// Kind of the files in a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FolderKind {
    /// idx files, see [`idx`].
    Idx,
    /// Binary version of CIFAR-10, see [`cifar`].
    Cifar10,
    /// Binary version of CIFAR-100, see [`cifar`].
    Cifar100,
    /// Safetensors files, see [`tensors`].
    Safetensors,
}

impl FolderKind {
    /// The kind of image set that a folder holds, by the names of its files; `None` where there is no such set.
    pub fn of(folder: &Path) -> Option<Self> {
        [Self::Idx, Self::Cifar10, Self::Cifar100, Self::Safetensors]
            .into_iter()
            .find(|kind| Part::ALL.into_iter().any(|part| kind.has_part(folder, part)))
    }

    /// Whether a folder of this kind holds a part.
    pub fn has_part(self, folder: &Path, part: Part) -> bool {
        match self {
            Self::Idx => idx::has_part(folder, part),
            Self::Cifar10 => cifar::Version::Cifar10.has_part(folder, part),
            Self::Cifar100 => cifar::Version::Cifar100.has_part(folder, part),
            Self::Safetensors => tensors::part_path(folder, part).is_file(),
        }
    }

    /// Reads a part of a folder of this kind.
    ///
    /// # Errors
    /// Those of the kind: [`idx::read_folder`], [`cifar::read_folder`], [`tensors::read_folder`].
    pub fn read(self, folder: &Path, part: Part) -> Result<Images> {
        match self {
            Self::Idx => idx::read_folder(folder, part),
            Self::Cifar10 => cifar::read_folder(folder, cifar::Version::Cifar10, part),
            Self::Cifar100 => cifar::read_folder(folder, cifar::Version::Cifar100, part),
            Self::Safetensors => tensors::read_folder(folder, part),
        }
    }
}

/// Reads a part of the image set in a folder, whichever kind it is of.
///
/// # Errors
/// [`Error::File`](crate::Error::File) when the folder holds no image set, saying which files were looked for; otherwise those
/// of [`FolderKind::read`].
///
/// # Examples
/// ```
/// use livi::data::images::{Part, load_part};
/// let folder = tempfile::tempdir().unwrap();
/// let mut record = vec![7; 3073]; // label 7, then the pixels
/// record[1] = 255;
/// std::fs::write(folder.path().join("test_batch.bin"), record).unwrap();
/// let images = load_part(folder.path(), Part::Test).unwrap();
/// assert_eq!((images.labels[0], images.image(0)[0], images.classes), (7, 255, 10));
/// ```
pub fn load_part(folder: &Path, part: Part) -> Result<Images> {
    match FolderKind::of(folder) {
        Some(kind) => kind.read(folder, part),
        None => Err(file_error(
            folder,
            part.to_string(),
            "holds no image set, expected idx files (train-images-idx3-ubyte[.gz], ...), CIFAR batches (data_batch_1.bin, ... \
             or train.bin) or safetensors (train.safetensors, test.safetensors)",
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_folder_is_recognised_by_the_names_of_its_files() {
        let cases = [
            ("t10k-images-idx3-ubyte.gz", FolderKind::Idx),
            ("data_batch_1.bin", FolderKind::Cifar10),
            ("test.bin", FolderKind::Cifar100),
            ("train.safetensors", FolderKind::Safetensors),
        ];
        for (name, kind) in cases {
            let folder = tempfile::tempdir().unwrap();
            assert_eq!(FolderKind::of(folder.path()), None);
            fs::write(folder.path().join(name), "").unwrap();
            assert_eq!(FolderKind::of(folder.path()), Some(kind), "{name}");
        }
    }

    #[test]
    fn a_folder_without_images_says_what_was_looked_for() {
        let folder = tempfile::tempdir().unwrap();
        let message = load_part(folder.path(), Part::Training).unwrap_err().to_string();
        assert!(message.contains("training part: holds no image set, expected idx files"), "{message}");
    }
}
