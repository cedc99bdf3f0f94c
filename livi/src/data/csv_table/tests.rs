use std::fs;

use super::*;

fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(|name| name.to_string()).collect()
}

fn with_file<T>(content: impl AsRef<[u8]>, action: impl FnOnce(&Path) -> T) -> T {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("table.csv");
    fs::write(&path, content).unwrap();
    action(&path)
}

fn message(content: impl AsRef<[u8]>, targets: &[&str]) -> String {
    let error = with_file(content, |path| read_table(path, &names(targets), &[]).unwrap_err());
    assert_eq!(error.exit_code(), 2);
    error.to_string()
}

fn assert_says(content: impl AsRef<[u8]>, targets: &[&str], expected: &str) {
    let found = message(content, targets);
    assert!(found.contains(expected), "{found}");
}

#[test]
fn targets_come_in_the_order_asked_for_and_inputs_in_the_order_of_the_file() {
    let table = with_file("d,b,c,a\n1,2,3,4\n5,6,7,8\n", |path| read_table(path, &names(&["a", "d"]), &[]).unwrap());
    assert_eq!((table.input_names, table.output_names), (names(&["b", "c"]), names(&["a", "d"])));
    assert_eq!((table.x, table.y), (vec![2.0, 3.0, 6.0, 7.0], vec![4.0, 1.0, 8.0, 5.0]));
}

#[test]
fn quotes_spaces_a_byte_order_mark_and_windows_line_ends_are_understood() {
    let content = "\u{feff}a ,\"b, wide\",y\r\n\" 1\", 2 ,3\r\n";
    let table = with_file(content, |path| read_table(path, &names(&["y"]), &[]).unwrap());
    assert_eq!((table.input_names, table.x, table.y), (names(&["a", "b, wide"]), vec![1.0, 2.0], vec![3.0]));
}

#[test]
fn a_cell_that_is_no_number_names_line_column_and_text() {
    assert_says("a,y\n1,2\n3,high\n", &["y"], "line 3, column `y`: found `high`, expected a number");
}

#[test]
fn lines_are_counted_across_blank_ones() {
    assert_says("a,y\n\n1,2\n\nx,4\n", &["y"], "line 5, column `a`: found `x`");
}

#[test]
fn lines_are_counted_right_with_windows_line_ends_and_line_breaks_inside_quotes() {
    assert_says("a,y\r\n1,2\r\nx,4\r\n", &["y"], "line 3, column `a`: found `x`");
    assert_says("\"a\nb\",y\n1,2\nx,4\n", &["y"], "line 4, column `a\nb`: found `x`");
    assert_says("a,y\r\n1,2\r\n3\r\n", &["y"], "line 3: 1 cells");
    assert_says(b"a,y\r\n1,2\r\n\xff,3\r\n", &["y"], "line 3: is not UTF-8");
}

#[test]
fn an_empty_cell_is_named() {
    assert_says("a,y\n,2\n", &["y"], "line 2, column `a`: the cell is empty");
}

#[test]
fn nan_and_infinity_are_refused() {
    for word in ["nan", "NaN", "inf", "-infinity", "1e400"] {
        assert_says(format!("a,y\n1,{word}\n"), &["y"], &format!("column `y`: found `{word}`, expected a finite"));
    }
}

#[test]
fn a_missing_target_lists_the_columns_there_are() {
    assert_says("a,b\n1,2\n", &["price"], "missing target column `price`; the columns are `a`, `b`");
}

#[test]
fn an_empty_file_is_an_error() {
    assert_says("", &["y"], "the file is empty");
}

#[test]
fn a_header_without_rows_is_an_error() {
    assert_says("a,y\n", &["y"], "no rows after the header");
}

#[test]
fn a_repeated_header_name_is_an_error() {
    assert_says("a,y,a\n1,2,3\n", &["y"], "names column `a` twice");
}

#[test]
fn columns_separated_by_anything_but_commas_are_an_error() {
    assert_says("a;y\n1;2\n", &["y"], "`a;y` with ';' in its name, expected columns separated by commas");
}

#[test]
fn a_header_without_a_name_is_an_error() {
    assert_says("a,,y\n1,2,3\n", &["y"], "column 2 has no name");
}

#[test]
fn a_row_of_another_length_names_the_line_and_both_lengths() {
    assert_says("a,y\n1,2\n1,2,3\n", &["y"], "line 3: 3 cells, expected 2");
    assert_says("a,y\n1\n", &["y"], "line 2: 1 cells, expected 2");
}

#[test]
fn text_that_is_not_utf8_names_the_line() {
    assert_says(b"a,y\n1,2\n\xff,3\n", &["y"], "line 3: is not UTF-8");
}

#[test]
fn a_quote_that_is_not_closed_names_its_line_and_not_the_rest_of_the_file() {
    let rows = "1,2\n".repeat(100);
    assert_says(format!("\"a,y\n{rows}"), &["y"], "line 1: a quoted cell is not closed");
    assert_says(format!("\u{feff}\"a,y\n{rows}"), &["y"], "line 1: a quoted cell is not closed");
    for row in ["3,\"4", "\"3,4", "\"say \"\"3\"\",4", "3,\""] {
        let found = message(format!("a,y\r\n1,2\r\n{row}\r\n{rows}"), &["y"]);
        assert!(found.contains("line 3: a quoted cell is not closed") && found.len() < 200, "{found}");
    }
}

#[test]
fn quotes_that_are_closed_or_inside_a_cell_are_no_error() {
    let content = "\"a \"\"b\"\"\",\"y\n\",c\"\n\"1\",\"\"2,3\n";
    let table = with_file(content, |path| read_table(path, &names(&["y"]), &[]).unwrap());
    assert_eq!((table.input_names, table.x, table.y), (names(&["a \"b\"", "c\""]), vec![1.0, 3.0], vec![2.0]));
}

#[test]
fn of_a_long_cell_the_beginning_is_quoted() {
    let long = "ä".repeat(1000);
    let shown = format!("found `{}...`, expected a number", "ä".repeat(40));
    assert_says(format!("a,y\n1,{long}\n"), &["y"], &shown);
    let found = message(format!("{long},b\n1,2\n"), &["y"]);
    assert!(found.len() < 300 && found.contains("...`, `b`"), "{found}");
}

#[test]
fn a_target_named_twice_is_refused() {
    assert_says("a,y\n1,2\n", &["y", "y"], "column `y` is named twice");
}

#[test]
fn a_file_of_targets_alone_is_refused() {
    assert_says("a,y\n1,2\n", &["a", "y"], "no input is left");
}

#[test]
fn a_missing_file_is_named() {
    let error = read_table(Path::new("/nowhere/table.csv"), &names(&["y"]), &[]).unwrap_err().to_string();
    assert!(error.contains("/nowhere/table.csv: cannot read"), "{error}");
}

#[test]
fn a_folder_is_no_table() {
    let folder = tempfile::tempdir().unwrap();
    let error = read_table(folder.path(), &names(&["y"]), &[]).unwrap_err();
    assert!(error.to_string().ends_with("is a folder, expected a CSV file"), "{error}");
    assert_eq!(error.exit_code(), 2);
}

#[test]
fn inputs_are_read_by_name_in_the_order_asked_for_and_other_columns_ignored() {
    let read = with_file("b,text,a\n1,x,2\n3,,4\n", |path| read_inputs(path, &names(&["a", "b"])).unwrap());
    assert_eq!(read, (vec![2.0, 1.0, 4.0, 3.0], 2));
}

#[test]
fn all_missing_inputs_are_listed() {
    let error = with_file("b\n1\n", |path| read_inputs(path, &names(&["a", "b", "c"])).unwrap_err()).to_string();
    assert!(error.contains("missing input columns `a`, `c`; the columns are `b`"), "{error}");
}

#[test]
fn written_numbers_read_back_bit_for_bit() {
    let values = vec![0.1, -0.0, 1.0 / 3.0, 1e-300, -1.797e308, 5e-324, 123_456_789.0, 1e16];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.csv");
    write_columns(&path, &[("v".to_string(), values.clone())]).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let read: Vec<f64> = text.lines().skip(1).map(|line| line.parse().unwrap()).collect();
    let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&read), bits(&values));
}

#[test]
fn columns_of_different_lengths_are_refused_and_the_old_file_stands() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.csv");
    fs::write(&path, "old").unwrap();
    let error = write_columns(&path, &[("a".into(), vec![1.0]), ("b".into(), vec![])]).unwrap_err();
    assert!(error.to_string().contains("`b` has 0 rows, `a` has 1"), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "old");
}
