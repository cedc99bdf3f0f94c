//! A look at data sets before they are used: what is there, and what is wrong with it.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::standardiser::mean_and_std;
use super::{Table, csv_table, uci};
use crate::{Error, Result};

/// What a data set is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DatasetKind {
    /// A UCI folder with splits.
    Uci,
    /// A CSV file with a header.
    Csv,
}

/// What a column is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ColumnRole {
    /// An input.
    Input,
    /// A target.
    Target,
    /// Not decided yet: a CSV file does not say which columns are targets.
    Any,
}

/// Statistics of a column.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ColumnSummary {
    /// Name in the header, or `column_K` (from 0) of a UCI set.
    pub name: String,
    /// What it is used for.
    pub role: ColumnRole,
    /// Mean over all rows.
    pub mean: f64,
    /// Population standard deviation over all rows.
    pub std: f64,
    /// Smallest value.
    pub min: f64,
    /// Largest value.
    pub max: f64,
}

/// What was found in a data set.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DatasetSummary {
    /// Name of the folder or file.
    pub name: String,
    /// The folder or file.
    pub path: PathBuf,
    /// What it is.
    pub kind: DatasetKind,
    /// Number of rows; 0 where they could not be read.
    pub rows: usize,
    /// Number of input columns (UCI); 0 for a CSV file, whose columns have no role yet.
    pub inputs: usize,
    /// The columns: inputs, then targets (UCI), or in the order of the file (CSV).
    pub columns: Vec<ColumnSummary>,
    /// Number of train/test splits; 0 for a CSV file.
    pub splits: usize,
    /// Errors that keep the set, or one of its splits, from being used; empty when all is well.
    pub problems: Vec<String>,
    /// Remarks that keep nothing from working: constant and equal columns, rows that no split uses.
    pub notes: Vec<String>,
}

impl DatasetSummary {
    /// The target columns.
    pub fn targets(&self) -> impl Iterator<Item = &ColumnSummary> {
        self.columns.iter().filter(|column| column.role == ColumnRole::Target)
    }
}

/// Looks at a UCI folder, a folder of UCI folders (and CSV files), or a CSV file.
///
/// Every split of every set is read. What is wrong inside a set is reported in its summary's `problems`, so
/// that one bad file does not hide another.
///
/// # Errors
/// [`Error::Io`] when `path` cannot be read at all; [`Error::Argument`] when it holds no data set.
///
/// # Examples
/// ```
/// let folder = tempfile::tempdir().unwrap();
/// std::fs::write(folder.path().join("houses.csv"), "area,price\n50,200\n70,300\n").unwrap();
/// let summaries = livi::data::check::check(folder.path()).unwrap();
/// assert_eq!((summaries[0].rows, summaries[0].columns[1].mean), (2, 250.0));
/// assert!(summaries[0].problems.is_empty());
/// ```
pub fn check(path: &Path) -> Result<Vec<DatasetSummary>> {
    let meta = fs::metadata(path).map_err(|source| Error::Io { path: path.into(), action: "read", source })?;
    if meta.is_file() {
        return Ok(vec![check_csv(path)]);
    }
    if uci::is_set(path) {
        return Ok(vec![check_uci(path)]);
    }
    let mut summaries: Vec<_> = uci::find_sets(path)?.iter().map(|folder| check_uci(folder)).collect();
    summaries.extend(find_csv_files(path)?.iter().map(|file| check_csv(file)));
    if summaries.is_empty() {
        let problem = "holds no data set, expected images (idx, CIFAR or safetensors files), a UCI folder (data.txt, \
                       index_features.txt, ...), a folder of such folders, or a CSV file";
        return Err(Error::Argument { name: path.display().to_string(), problem: problem.into() });
    }
    Ok(summaries)
}

fn find_csv_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let list = |source| Error::Io { path: folder.into(), action: "list", source };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(list)? {
        let path = entry.map_err(list)?.path();
        if path.is_file() && path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv")) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn check_uci(folder: &Path) -> DatasetSummary {
    let mut summary = empty_summary(folder, DatasetKind::Uci, uci::set_name(folder));
    let splits = uci::split_count(folder).unwrap_or_else(|error| {
        summary.problems.push(error.to_string());
        0
    });
    summary.splits = splits;
    match uci::read_data(folder) {
        Ok(table) => {
            describe(&mut summary, &table);
            check_splits(&mut summary, folder, &table);
        }
        Err(error) => summary.problems.push(error.to_string()),
    }
    summary
}

fn check_splits(summary: &mut DatasetSummary, folder: &Path, table: &Table) {
    let rows = table.rows;
    let varying: Vec<bool> = summary.columns.iter().map(|column| column.std != 0.0).collect();
    for k in 0..summary.splits {
        match uci::read_split(folder, k, rows) {
            Ok(split) => {
                let unused = rows - split.train.len() - split.test.len();
                if unused > 0 {
                    summary.notes.push(format!("split {k} uses {} of {rows} rows", rows - unused));
                }
                if let [_] = split.train.as_slice() {
                    summary.notes.push(format!("split {k} has a single training row"));
                    continue;
                }
                // Of a column that is the same in all training rows nothing is learned, whatever it is in the others.
                for (column, _) in varying.iter().enumerate().filter(|(_, varying)| **varying) {
                    let value = |row: usize| match column.checked_sub(table.inputs) {
                        None => table.x[row * table.inputs + column],
                        Some(target) => table.y[row * table.outputs + target],
                    };
                    if split.train.iter().all(|&row| value(row) == value(split.train[0])) {
                        let name = &summary.columns[column].name;
                        summary.notes.push(format!("column `{name}` is constant in the training rows of split {k}"));
                    }
                }
            }
            Err(error) => summary.problems.push(error.to_string()),
        }
    }
}

fn check_csv(path: &Path) -> DatasetSummary {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let mut summary = empty_summary(path, DatasetKind::Csv, name);
    match csv_table::read_all(path) {
        Ok((header, values, rows)) => {
            summary.rows = rows;
            if header.iter().all(|name| name.parse::<f64>().is_ok()) {
                summary
                    .notes
                    .push("the first line names the columns, and here consists of numbers: is it a row?".into());
            }
            describe_columns(&mut summary, ColumnRole::Any, &values, &header);
            note_equal_columns(&mut summary, &[(&values, header.len())]);
        }
        Err(error) => summary.problems.push(error.to_string()),
    }
    summary
}

fn describe(summary: &mut DatasetSummary, table: &Table) {
    summary.rows = table.rows;
    summary.inputs = table.inputs;
    describe_columns(summary, ColumnRole::Input, &table.x, &table.input_names);
    describe_columns(summary, ColumnRole::Target, &table.y, &table.output_names);
    note_equal_columns(summary, &[(&table.x, table.inputs), (&table.y, table.outputs)]);
}

/// Notes columns with the same numbers in all rows, unless they are constant. `parts` are rows of so many columns each, in the summary's order.
fn note_equal_columns(summary: &mut DatasetSummary, parts: &[(&[f64], usize)]) {
    let columns = parts.iter().flat_map(|&(values, width)| {
        (0..width).map(move |column| values.iter().skip(column).step_by(width).map(|value| value.to_bits()))
    });
    let mut first_with: HashMap<Vec<u64>, usize> = HashMap::new();
    for (at, column) in columns.enumerate() {
        let first = *first_with.entry(column.collect()).or_insert(at);
        if first != at && summary.columns[at].std != 0.0 {
            let [name, other] = [at, first].map(|at| &summary.columns[at].name);
            summary.notes.push(format!("column `{name}` equals column `{other}` in all rows"));
        }
    }
}

fn describe_columns(summary: &mut DatasetSummary, role: ColumnRole, values: &[f64], names: &[String]) {
    for (column, name) in names.iter().enumerate() {
        let column = values.iter().skip(column).step_by(names.len()).copied();
        let (mean, std) = mean_and_std(column.clone());
        if std == 0.0 {
            summary.notes.push(format!("column `{name}` is constant ({mean})"));
        }
        let (min, max) = (column.clone().fold(f64::INFINITY, f64::min), column.fold(f64::NEG_INFINITY, f64::max));
        summary.columns.push(ColumnSummary { name: name.clone(), role, mean, std, min, max });
    }
}

fn empty_summary(path: &Path, kind: DatasetKind, name: String) -> DatasetSummary {
    DatasetSummary {
        name,
        path: path.into(),
        kind,
        rows: 0,
        inputs: 0,
        columns: Vec::new(),
        splits: 0,
        problems: Vec::new(),
        notes: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uci_set(folder: &Path, changes: &[(&str, &str)]) {
        fs::create_dir_all(folder).unwrap();
        let files = [
            ("data.txt", "1 2 7\n3 4 7\n5 9 7\n"),
            ("index_features.txt", "0 2"),
            ("index_target.txt", "1"),
            ("n_splits.txt", "2"),
            ("index_train_0.txt", "0 1"),
            ("index_test_0.txt", "2"),
            ("index_train_1.txt", "0"),
            ("index_test_1.txt", "2"),
        ];
        for (name, content) in files.iter().chain(changes) {
            fs::write(folder.join(name), content).unwrap();
        }
    }

    #[test]
    fn a_good_set_is_summarised_with_remarks_but_without_problems() {
        let root = tempfile::tempdir().unwrap();
        uci_set(&root.path().join("set"), &[]);
        let summaries = check(&root.path().join("set")).unwrap();
        let summary = &summaries[0];
        assert_eq!((summary.name.as_str(), summary.rows, summary.inputs, summary.splits), ("set", 3, 2, 2));
        let target = summary.targets().next().unwrap();
        assert_eq!((target.name.as_str(), target.mean, target.min, target.max), ("column_1", 5.0, 2.0, 9.0));
        assert!((target.std - (26.0_f64 / 3.0).sqrt()).abs() < 1e-14);
        assert!(summary.problems.is_empty());
        let rows = ["split 1 uses 2 of 3 rows", "split 1 has a single training row"];
        assert_eq!(summary.notes, [&["column `column_2` is constant (7)"], rows.as_slice()].concat());
    }

    #[test]
    fn columns_that_are_equal_or_constant_where_one_trains_are_remarked_upon() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("set");
        let training = [("index_train_0.txt", "0 1"), ("index_test_0.txt", "2"), ("index_train_1.txt", "1")];
        let data = [("data.txt", "1 2 1\n1 4 1\n5 9 5\n")];
        uci_set(&folder, &[training.as_slice(), &data].concat());
        let notes = &check(&folder).unwrap()[0].notes;
        let constant = |column| format!("column `column_{column}` is constant in the training rows of split 0");
        let equal = "column `column_2` equals column `column_0` in all rows".to_string();
        let rows = ["split 1 uses 2 of 3 rows", "split 1 has a single training row"].map(String::from);
        assert_eq!(notes, &[&[equal, constant(0), constant(2)], rows.as_slice()].concat());
        fs::write(root.path().join("equal.csv"), "a,b,c,d\n1,2,1,3\n2,2,2,3\n").unwrap();
        let notes = &check(&root.path().join("equal.csv")).unwrap()[0].notes;
        let constant = |name, value| format!("column `{name}` is constant ({value})");
        assert_eq!(notes, &[constant("b", 2), constant("d", 3), "column `c` equals column `a` in all rows".into()]);
    }

    #[test]
    fn every_bad_split_is_reported_not_only_the_first() {
        let root = tempfile::tempdir().unwrap();
        uci_set(&root.path().join("set"), &[("index_train_0.txt", "5"), ("index_test_1.txt", "0")]);
        let problems = &check(&root.path().join("set")).unwrap()[0].problems;
        assert_eq!(problems.len(), 2);
        assert!(problems[0].contains("index_train_0.txt") && problems[0].contains("out of range"));
        assert!(problems[1].contains("index_test_1.txt") && problems[1].contains("training row too"));
    }

    #[test]
    fn a_folder_of_sets_and_csv_files_gives_one_summary_each() {
        let root = tempfile::tempdir().unwrap();
        uci_set(&root.path().join("b"), &[]);
        uci_set(&root.path().join("a"), &[("data.txt", "nan 1 2\n")]);
        fs::write(root.path().join("c.csv"), "u,v\n1,x\n").unwrap();
        let summaries = check(root.path()).unwrap();
        let names: Vec<&str> = summaries.iter().map(|summary| summary.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c.csv"]);
        assert!(summaries[0].problems[0].contains("found `nan`"));
        assert!(summaries[2].problems[0].contains("line 2, column `v`"));
    }

    #[test]
    fn a_header_of_numbers_is_remarked_upon() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("bare.csv"), "1.5,2\n3,4\n5,7\n").unwrap();
        fs::write(root.path().join("named.csv"), "1.5,y\n3,4\n5,7\n").unwrap();
        let summaries = check(root.path()).unwrap();
        assert!(summaries[0].notes[0].contains("consists of numbers") && summaries[0].problems.is_empty());
        assert!(summaries[1].notes.is_empty());
    }

    #[test]
    fn a_folder_without_data_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        let error = check(root.path()).unwrap_err();
        assert!(error.to_string().contains("holds no data set"), "{error}");
        assert_eq!(error.exit_code(), 2);
    }

    #[test]
    fn a_path_that_does_not_exist_is_an_error() {
        assert!(matches!(check(Path::new("/nowhere/at/all")), Err(Error::Io { .. })));
    }
}
