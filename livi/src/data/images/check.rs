//! A look at image sets before they are used: what is there, and what is wrong with it.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::cifar::INEXACT;
use super::{FolderKind, Images, Part};
use crate::Result;
use crate::atomic::io_error;

/// What was found in one part of a set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PartSummary {
    /// Which part.
    pub part: Part,
    /// Number of images.
    pub count: usize,
    /// Channels, height and width of an image.
    pub shape: [usize; 3],
    /// Number of classes.
    pub classes: usize,
    /// Name of each class.
    pub class_names: Vec<String>,
    /// Number of images of each class.
    pub label_histogram: Vec<usize>,
}

/// What was found in a folder of images.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ImageSummary {
    /// Name of the folder.
    pub name: String,
    /// The folder.
    pub path: PathBuf,
    /// What its files are.
    pub kind: FolderKind,
    /// The parts that are there and could be read.
    pub parts: Vec<PartSummary>,
    /// Errors that keep the set, or one of its parts, from being used; empty when all is well.
    pub problems: Vec<String>,
    /// Remarks that keep nothing from working: a part that is not there, a class without images.
    pub notes: Vec<String>,
}

/// Looks at a folder of images, or at every such folder directly in `path`; gives nothing where there is none.
///
/// Every part is read whole. What is wrong inside a set is reported in its summary's `problems`.
///
/// # Errors
/// [`Error::Io`](crate::Error::Io) when the folder cannot be listed.
///
/// # Examples
/// ```
/// let folder = tempfile::tempdir().unwrap();
/// std::fs::write(folder.path().join("test_batch.bin"), vec![7; 2 * 3073]).unwrap();
/// let summaries = livi::data::images::check::check(folder.path()).unwrap();
/// assert_eq!(summaries[0].parts[0].label_histogram[7], 2);
/// assert!(summaries[0].problems.is_empty());
/// ```
pub fn check(path: &Path) -> Result<Vec<ImageSummary>> {
    if !path.is_dir() {
        return Ok(Vec::new());
    }
    if let Some(kind) = FolderKind::of(path) {
        return Ok(vec![check_folder(path, kind)]);
    }
    let mut folders = Vec::new();
    for entry in fs::read_dir(path).map_err(io_error(path, "list"))? {
        let folder = entry.map_err(io_error(path, "list"))?.path();
        if let Some(kind) = FolderKind::of(&folder) {
            folders.push((folder, kind));
        }
    }
    folders.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(folders.iter().map(|(folder, kind)| check_folder(folder, *kind)).collect())
}

fn check_folder(folder: &Path, kind: FolderKind) -> ImageSummary {
    let resolved = folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf());
    let name = resolved.file_name().unwrap_or(folder.as_os_str()).to_string_lossy().into_owned();
    let (mut parts, mut problems, mut notes) = (Vec::new(), Vec::new(), Vec::new());
    for part in Part::ALL {
        if !kind.has_part(folder, part) {
            notes.push(format!("the {part} is not there"));
            continue;
        }
        match kind.read(folder, part) {
            Ok(images) => parts.push(summary_of(part, &images)),
            Err(error) => problems.push(error.to_string()),
        }
    }
    if matches!(kind, FolderKind::Cifar10 | FolderKind::Cifar100) && folder.join(INEXACT).is_file() {
        notes.push(format!("test images that `{INEXACT}` names are left out"));
    }
    if let [training, test] = &parts[..] {
        compare(training, test, &mut problems, &mut notes);
    }
    for part in &parts {
        let empty: Vec<&str> = part
            .label_histogram
            .iter()
            .zip(&part.class_names)
            .filter(|(count, _)| **count == 0)
            .map(|(_, name)| name.as_str())
            .collect();
        if !empty.is_empty() {
            notes.push(format!("the {} has no image of class {}", part.part, empty.join(", ")));
        }
    }
    ImageSummary { name, path: folder.to_path_buf(), kind, parts, problems, notes }
}

/// What keeps a test part from being used with a training part.
fn compare(training: &PartSummary, test: &PartSummary, problems: &mut Vec<String>, notes: &mut Vec<String>) {
    if training.shape != test.shape {
        let problem = format!("training images are {}, test images {}", extents(training.shape), extents(test.shape));
        problems.push(problem);
    }
    if test.classes > training.classes {
        problems.push(format!("the test part has {} classes, the training part {}", test.classes, training.classes));
    } else if test.classes < training.classes {
        notes.push(format!("the test part has labels of {} classes only", test.classes));
    }
}

fn summary_of(part: Part, images: &Images) -> PartSummary {
    PartSummary {
        part,
        count: images.count,
        shape: images.shape(),
        classes: images.classes,
        class_names: images.class_names.clone(),
        label_histogram: images.label_histogram(),
    }
}

/// Channels, height and width in words.
pub(crate) fn extents([channels, height, width]: [usize; 3]) -> String {
    format!("{channels} x {height} x {width}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::{NamedTensor, TensorData, write_tensors};

    /// A safetensors part with these labels and images of 1 x 2 x `width` pixels.
    fn part(folder: &Path, name: &str, labels: &[i64], width: usize) {
        let x = NamedTensor::new("x", [labels.len(), 2, width], TensorData::F32(vec![0.5; labels.len() * 2 * width]));
        let y = NamedTensor::new("y", [labels.len()], TensorData::I64(labels.to_vec()));
        fs::create_dir_all(folder).unwrap();
        write_tensors(folder.join(name), &[x, y], &Default::default()).unwrap();
    }

    #[test]
    fn a_good_set_is_summarised_without_problems() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("letters");
        part(&folder, "train.safetensors", &[0, 2, 1, 2], 3);
        part(&folder, "test.safetensors", &[2, 0, 1], 3);
        let summary = &check(&folder).unwrap()[0];
        assert_eq!((summary.name.as_str(), summary.kind), ("letters", FolderKind::Safetensors));
        assert_eq!((summary.parts[0].count, summary.parts[0].shape), (4, [1, 2, 3]));
        assert_eq!(summary.parts[0].label_histogram, [1, 1, 2]);
        assert!(summary.problems.is_empty() && summary.notes.is_empty());
    }

    #[test]
    fn parts_that_do_not_fit_one_another_are_a_problem() {
        let root = tempfile::tempdir().unwrap();
        part(root.path(), "train.safetensors", &[0, 1], 3);
        part(root.path(), "test.safetensors", &[0, 1, 2], 4);
        let problems = &check(root.path()).unwrap()[0].problems;
        assert_eq!(problems[0], "training images are 1 x 2 x 3, test images 1 x 2 x 4");
        assert_eq!(problems[1], "the test part has 3 classes, the training part 2");
    }

    #[test]
    fn a_part_and_a_class_that_are_not_there_are_notes() {
        let root = tempfile::tempdir().unwrap();
        part(root.path(), "test.safetensors", &[0, 2], 3);
        let summary = &check(root.path()).unwrap()[0];
        assert_eq!(summary.notes, ["the training part is not there", "the test part has no image of class 1"]);
        assert!(summary.problems.is_empty());
    }

    #[test]
    fn a_folder_of_sets_gives_one_summary_each_and_a_damaged_set_does_not_hide_another() {
        let root = tempfile::tempdir().unwrap();
        part(&root.path().join("b"), "train.safetensors", &[0, 1], 3);
        fs::create_dir(root.path().join("a")).unwrap();
        fs::write(root.path().join("a/test_batch.bin"), "short").unwrap();
        fs::create_dir(root.path().join("empty")).unwrap();
        let summaries = check(root.path()).unwrap();
        assert_eq!(summaries.iter().map(|summary| summary.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert!(summaries[0].problems[0].contains("after 5 bytes, expected 3073"), "{:?}", summaries[0].problems);
        assert!(summaries[1].problems.is_empty());
    }

    #[test]
    fn where_there_are_no_images_there_is_no_summary() {
        let root = tempfile::tempdir().unwrap();
        assert!(check(root.path()).unwrap().is_empty());
        assert!(check(&root.path().join("absent")).unwrap().is_empty());
    }
}
