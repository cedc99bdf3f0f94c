//! `livi data` on image sets.

use super::support::livi;
use std::fs;
use std::path::Path;

/// Records of CIFAR-10 with these labels.
fn write_batch(folder: &Path, name: &str, labels: &[u8]) {
    let records = labels.iter().flat_map(|&label| [vec![label], vec![100; 3072]].concat());
    fs::write(folder.join(name), records.collect::<Vec<u8>>()).unwrap();
}

#[test]
fn data_check_prints_count_shape_and_the_images_of_each_class() {
    let folder = tempfile::tempdir().unwrap();
    write_batch(folder.path(), "test_batch.bin", &[3, 1, 3, 3]);
    let text = livi(folder.path(), &["data", "check", "."]).succeeded();
    assert!(text.contains("test part: 4 images of 3 x 32 x 32, 10 classes"), "{text}");
    assert!(text.lines().any(|line| line.split_whitespace().eq(["3", "3"])), "{text}");
    assert!(text.contains("note: the training part is not there"), "{text}");
}

#[test]
fn data_check_gives_the_same_as_json() {
    let folder = tempfile::tempdir().unwrap();
    write_batch(folder.path(), "test_batch.bin", &[3, 1, 3, 3]);
    let text = livi(folder.path(), &["data", "check", ".", "--json"]).succeeded();
    let found: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(found[0]["kind"], "cifar10");
    assert_eq!(found[0]["parts"][0]["shape"], serde_json::json!([3, 32, 32]));
    assert_eq!(found[0]["parts"][0]["label_histogram"], serde_json::json!([0, 1, 0, 3, 0, 0, 0, 0, 0, 0]));
}

#[test]
fn a_damaged_image_file_is_refused_by_data_check() {
    let folder = tempfile::tempdir().unwrap();
    write_batch(folder.path(), "test_batch.bin", &[3, 11]);
    livi(folder.path(), &["data", "check", "."]).refused(&["test_batch.bin", "record 1", "label is 11", "0 to 9"]);
}

#[test]
fn a_set_that_cannot_be_fetched_lists_those_that_can() {
    let folder = tempfile::tempdir().unwrap();
    livi(folder.path(), &["data", "fetch", "imagenet", "--to", "x"]).refused(&[
        "imagenet",
        "fashion-mnist",
        "cifar100",
    ]);
    assert!(!folder.path().join("x").exists());
}
