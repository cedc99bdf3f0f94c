use super::*;

/// A set of four rows `a b target` and two splits, with some files replaced (`None` removes one).
fn set_with(changes: &[(&str, Option<&str>)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let files = [
        ("data.txt", " 1.0  2e0\t10\n3 4 20\n\n5 6 30\n7 8 40\n"),
        ("index_features.txt", "0\n1\n"),
        ("index_target.txt", "2\n"),
        ("n_splits.txt", "2\n"),
        ("index_train_0.txt", "0\n1\n3\n"),
        ("index_test_0.txt", "2\n"),
        ("index_train_1.txt", "3.000000000000000000e+00\n2.0\n"),
        ("index_test_1.txt", "0.0\n1\n"),
    ];
    for (name, content) in files {
        fs::write(folder.path().join(name), content).unwrap();
    }
    for (name, content) in changes {
        match content {
            Some(content) => fs::write(folder.path().join(name), content).unwrap(),
            None => fs::remove_file(folder.path().join(name)).unwrap(),
        }
    }
    folder
}

fn message_with(changes: &[(&str, Option<&str>)]) -> String {
    let error = UciSet::load(set_with(changes).path()).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    error.to_string()
}

fn assert_says(changes: &[(&str, Option<&str>)], file: &str, rest: &str) {
    let message = message_with(changes);
    assert!(message.contains(file) && message.contains(rest), "{message}");
}

#[test]
fn a_good_set_is_read_whole_with_blank_lines_skipped_and_indices_as_floats() {
    let folder = set_with(&[]);
    let set = UciSet::load(folder.path()).unwrap();
    assert_eq!(set.table.x, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
    assert_eq!(set.table.y, [10.0, 20.0, 30.0, 40.0]);
    assert_eq!(set.table.output_names, ["column_2"]);
    assert_eq!(set.splits[1], Split { train: vec![3, 2], test: vec![0, 1] });
    assert_eq!(set.name, folder.path().file_name().unwrap().to_str().unwrap());
}

#[test]
fn a_split_gives_the_tables_of_its_rows() {
    let (train, test) = UciSet::load(set_with(&[]).path()).unwrap().split(1).unwrap();
    assert_eq!((train.x, train.y), (vec![7.0, 8.0, 5.0, 6.0], vec![40.0, 30.0]));
    assert_eq!((test.rows, test.y), (2, vec![10.0, 20.0]));
}

#[test]
fn a_split_that_does_not_exist_names_the_range() {
    let message = UciSet::load(set_with(&[]).path()).unwrap().split(2).unwrap_err().to_string();
    assert!(message.contains("2 is out of range") && message.contains("0 to 1"), "{message}");
}

#[test]
fn nan_in_the_data_names_line_and_column() {
    assert_says(&[("data.txt", Some("1 2 3\n4 nan 6\n"))], "data.txt", "line 2, column 2: found `nan`");
}

#[test]
fn infinity_in_the_data_names_line_and_column() {
    assert_says(&[("data.txt", Some("1 2 3\n4 5 1e999\n"))], "data.txt", "line 2, column 3: found `1e999`");
}

#[test]
fn text_in_the_data_names_line_and_column() {
    assert_says(
        &[("data.txt", Some("1 2 3\n\n4x 5 6\n"))],
        "data.txt",
        "line 3, column 1: found `4x`, expected a number",
    );
    assert_says(&[("data.txt", Some("1,2,3\n"))], "data.txt", "found `1,2,3`, expected numbers separated by blanks");
}

#[test]
fn ragged_rows_name_the_line_and_both_lengths() {
    assert_says(&[("data.txt", Some("1 2 3\n4 5\n"))], "data.txt", "line 2: 2 numbers, expected 3 as on line 1");
}

#[test]
fn empty_data_is_an_error() {
    assert_says(&[("data.txt", Some("\n \n"))], "data.txt", "the file is empty");
}

#[test]
fn a_split_index_out_of_range_names_file_line_index_and_range() {
    let rest = "line 2: row index 4 is out of range, expected 0 to 3";
    assert_says(&[("index_test_0.txt", Some("2\n4\n"))], "index_test_0.txt", rest);
}

#[test]
fn a_negative_or_fractional_index_is_refused() {
    for word in ["-1", "1.5", "nan", "x"] {
        let content = format!("0\n{word}\n");
        let rest = format!("line 2: found `{word}`, expected an index");
        assert_says(&[("index_train_0.txt", Some(&content))], "index_train_0.txt", &rest);
    }
}

#[test]
fn a_row_in_both_parts_of_a_split_is_refused() {
    let rest = "line 2: row 3 is a training row too (index_train_0.txt)";
    assert_says(&[("index_test_0.txt", Some("2\n3\n"))], "index_test_0.txt", rest);
}

#[test]
fn a_row_listed_twice_is_refused_with_both_lines() {
    let rest = "line 3: row index 0 is listed twice, first on line 1";
    assert_says(&[("index_train_0.txt", Some("0\n1\n0\n"))], "index_train_0.txt", rest);
}

#[test]
fn a_missing_split_file_is_named_with_the_promise() {
    assert_says(&[("index_test_1.txt", None)], "index_test_1.txt", "n_splits.txt promises 2 splits");
}

#[test]
fn a_missing_data_file_is_named() {
    assert_says(&[("data.txt", None)], "data.txt", "cannot read");
}

#[test]
fn an_empty_test_part_is_an_error() {
    assert_says(&[("index_test_0.txt", Some(""))], "index_test_0.txt", "the file is empty, expected row indices");
}

#[test]
fn a_target_that_is_a_feature_too_is_refused() {
    assert_says(&[("index_target.txt", Some("1\n"))], "index_target.txt", "column 1 is a feature too");
}

#[test]
fn a_feature_column_out_of_range_names_the_range() {
    let rest = "column index 3 is out of range, expected 0 to 2";
    assert_says(&[("index_features.txt", Some("0 3"))], "index_features.txt", rest);
}

#[test]
fn a_number_of_splits_that_is_none_is_refused() {
    for content in ["0", "many", "-2"] {
        assert_says(&[("n_splits.txt", Some(content))], "n_splits.txt", "expected the number of splits");
    }
}

#[test]
fn sets_are_found_under_a_folder_in_the_order_of_their_names() {
    let root = tempfile::tempdir().unwrap();
    for name in ["wine", "boston", "not-a-set"] {
        fs::create_dir(root.path().join(name)).unwrap();
    }
    for name in ["wine", "boston"] {
        fs::write(root.path().join(name).join("data.txt"), "1 2\n").unwrap();
    }
    assert_eq!(find_sets(root.path()).unwrap(), [root.path().join("boston"), root.path().join("wine")]);
}

#[test]
fn marks_and_line_ends_of_other_systems_are_no_numbers() {
    let plain = UciSet::load(set_with(&[]).path()).unwrap().table;
    for data in ["\u{feff}1 2 10\r\n3 4 20\r\n5 6 30\r\n7 8 40\r\n", "1 2 10\r3 4 20\r5 6 30\r7 8 40\r"] {
        assert_eq!(UciSet::load(set_with(&[("data.txt", Some(data))]).path()).unwrap().table, plain, "{data:?}");
    }
    let folder = set_with(&[]);
    fs::write(folder.path().join("data.txt"), b"1 2 10\n3 \xff 20\n").unwrap();
    let message = UciSet::load(folder.path()).unwrap_err().to_string();
    assert!(message.contains("data.txt: line 2: is no text in UTF-8"), "{message}");
}

#[test]
fn a_set_may_lie_in_a_folder_of_its_own_and_is_called_as_it_was_asked_for() {
    let root = tempfile::tempdir().unwrap();
    let files = set_with(&[]);
    let inner = root.path().join("yacht").join("data");
    fs::create_dir_all(&inner).unwrap();
    for entry in fs::read_dir(files.path()).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, inner.join(path.file_name().unwrap())).unwrap();
    }
    let link = root.path().join("boat");
    #[cfg(unix)]
    std::os::unix::fs::symlink(&inner, &link).unwrap();
    #[cfg(not(unix))]
    fs::create_dir(&link).unwrap();
    let found = find_sets(root.path()).unwrap();
    assert!(found.contains(&inner));
    assert_eq!(UciSet::load(&inner).unwrap().name, "yacht");
    if cfg!(unix) {
        assert_eq!(found, [link.clone(), inner]);
        assert_eq!(UciSet::load(&link).unwrap().name, "boat");
    }
}
