//! UCI regression sets in the folder format of Hernandez-Lobato and Adams (2015) and Gal and Ghahramani (2016).
//!
//! A set is a folder of whitespace-separated text files:
//!
//! | file | content |
//! |---|---|
//! | `data.txt` | one row of numbers a line, inputs and target together |
//! | `index_features.txt`, `index_target.txt` | columns of `data.txt` that are inputs, and the target(s) |
//! | `n_splits.txt` | number of train/test splits |
//! | `index_train_K.txt`, `index_test_K.txt` | rows of `data.txt` in the parts of split `K`, from 0 |
//!
//! Indices count from 0 and may be written as whole numbers or as floats (`3.000e+00`). Blank lines are
//! skipped.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Table, cell};
use crate::{Error, Result};

/// Folder inside of a set's that may hold its files.
const NESTED: &str = "data";

/// Rows of the two parts of one split, as indices into the set's table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// Training rows, in the file's order.
    pub train: Vec<usize>,
    /// Test rows, in the file's order; none of them is a training row.
    pub test: Vec<usize>,
}

/// A UCI set with all its splits.
#[derive(Debug, Clone, PartialEq)]
pub struct UciSet {
    /// Name of the folder.
    pub name: String,
    /// All rows; columns are named after their place in `data.txt`: `column_0`, `column_1`, ...
    pub table: Table,
    /// The train/test splits, all of them checked.
    pub splits: Vec<Split>,
}

impl UciSet {
    /// Reads a set and every one of its splits.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::File`] naming file and line (and column or index): a file that is missing, text
    /// that is no number, NaN or infinity, rows of different lengths, an index out of its range or listed
    /// twice, a row that is in both parts of a split, an empty part.
    pub fn load(folder: &Path) -> Result<Self> {
        let table = read_data(folder)?;
        let splits = (0..split_count(folder)?).map(|k| read_split(folder, k, table.rows)).collect::<Result<_>>()?;
        Ok(Self { name: set_name(folder), table, splits })
    }

    /// Training and test tables of split `k`.
    ///
    /// # Errors
    /// [`Error::Argument`] when there is no split `k`.
    pub fn split(&self, k: usize) -> Result<(Table, Table)> {
        let split = self.splits.get(k).ok_or_else(|| Error::Argument {
            name: "split".into(),
            problem: format!("{k} is out of range, `{}` has splits 0 to {}", self.name, self.splits.len() - 1),
        })?;
        Ok((self.table.select(&split.train)?, self.table.select(&split.test)?))
    }
}

/// Whether `folder` looks like a UCI set: it holds a `data.txt` or an `index_features.txt`.
pub fn is_set(folder: &Path) -> bool {
    folder.join("data.txt").is_file() || folder.join("index_features.txt").is_file()
}

/// Folders directly under `folder` that are UCI sets, or hold one in a folder `data` of theirs as the repository of Gal and Ghahramani (2016) has it, in
/// the order of their names.
///
/// # Errors
/// [`Error::Io`] when `folder` cannot be listed.
pub fn find_sets(folder: &Path) -> Result<Vec<PathBuf>> {
    let list = |source| Error::Io { path: folder.into(), action: "list", source };
    let mut sets = Vec::new();
    for entry in fs::read_dir(folder).map_err(list)? {
        let path = entry.map_err(list)?.path();
        let within = path.join(NESTED);
        if is_set(&path) {
            sets.push(path);
        } else if is_set(&within) {
            sets.push(within);
        }
    }
    sets.sort();
    Ok(sets)
}

/// Name of a set: the last component of its folder's path as it was given, or the one before where that is `data`.
pub(super) fn set_name(folder: &Path) -> String {
    let resolved = match folder.file_name() {
        Some(_) => folder.to_path_buf(),
        None => folder.canonicalize().unwrap_or_else(|_| folder.into()),
    };
    let own = resolved.file_name();
    let outer = resolved.parent().and_then(Path::file_name).filter(|_| own.is_some_and(|own| own == NESTED));
    outer.or(own).map_or_else(|| resolved.display().to_string(), |name| name.to_string_lossy().into_owned())
}

/// The table in `data.txt`, with inputs and targets as the two index files say.
pub(super) fn read_data(folder: &Path) -> Result<Table> {
    let path = folder.join("data.txt");
    let text = read_text(&path)?;
    let mut values = Vec::new();
    let mut shape = None;
    let mut rows = 0;
    for (line, content) in numbered_lines(&text) {
        let before = values.len();
        for (column, word) in content.split_whitespace().enumerate() {
            values.push(finite_number(word).map_err(|problem| Error::File {
                path: path.clone(),
                place: format!("line {line}, column {}", column + 1),
                problem,
            })?);
        }
        let found = values.len() - before;
        let (expected, first_line) = *shape.get_or_insert((found, line));
        if found != expected {
            let problem = format!("{found} numbers, expected {expected} as on line {first_line}");
            return Err(Error::File { path, place: format!("line {line}"), problem });
        }
        rows += 1;
    }
    let Some((columns, _)) = shape else {
        return Err(empty_file(path, "expected one row of numbers a line"));
    };
    let features = read_columns(&folder.join("index_features.txt"), columns)?;
    let target_path = folder.join("index_target.txt");
    let targets = read_columns(&target_path, columns)?;
    if let Some(&(column, line)) = targets.iter().find(|target| features.iter().any(|f| f.0 == target.0)) {
        let problem = format!("column {column} is a feature too (index_features.txt)");
        return Err(Error::File { path: target_path, place: format!("line {line}"), problem });
    }
    let take = |wanted: &[(usize, usize)]| -> Vec<f64> {
        values.chunks_exact(columns).flat_map(|row| wanted.iter().map(|&(column, _)| row[column])).collect()
    };
    let names = |wanted: &[(usize, usize)]| wanted.iter().map(|(column, _)| format!("column_{column}")).collect();
    Table::new(take(&features), take(&targets), rows, names(&features), names(&targets))
}

/// The number in `n_splits.txt`.
pub(super) fn split_count(folder: &Path) -> Result<usize> {
    let path = folder.join("n_splits.txt");
    let text = read_text(&path)?;
    let words: Vec<_> = words_with_lines(&text).collect();
    let &[(line, word)] = words.as_slice() else {
        let problem = format!("{} words, expected the number of splits alone", words.len());
        return Err(Error::File { path, place: "line 1".into(), problem });
    };
    // A set of more splits than this is a damaged file, not a set.
    match index(word) {
        Ok(count) if (1..=100_000).contains(&count) => Ok(count),
        _ => {
            let problem = format!("found `{word}`, expected the number of splits, 1 to 100000");
            Err(Error::File { path, place: format!("line {line}"), problem })
        }
    }
}

/// Split `k` of a set of `rows` rows.
pub(super) fn read_split(folder: &Path, k: usize, rows: usize) -> Result<Split> {
    let train = read_part(folder, &format!("index_train_{k}.txt"), rows)?;
    let test_name = format!("index_test_{k}.txt");
    let test = read_part(folder, &test_name, rows)?;
    let mut in_train = vec![false; rows];
    for &(row, _) in &train {
        in_train[row] = true;
    }
    if let Some(&(row, line)) = test.iter().find(|(row, _)| in_train[*row]) {
        let problem = format!("row {row} is a training row too (index_train_{k}.txt)");
        return Err(Error::File { path: folder.join(test_name), place: format!("line {line}"), problem });
    }
    let rows_of = |part: Vec<(usize, usize)>| part.into_iter().map(|(row, _)| row).collect();
    Ok(Split { train: rows_of(train), test: rows_of(test) })
}

fn read_part(folder: &Path, name: &str, rows: usize) -> Result<Vec<(usize, usize)>> {
    let path = folder.join(name);
    if !path.exists() {
        let problem = match split_count(folder) {
            Ok(1) => "is missing, but n_splits.txt promises 1 split".into(),
            Ok(splits) => format!("is missing, but n_splits.txt promises {splits} splits"),
            Err(_) => "is missing, expected indices of rows".into(),
        };
        return Err(Error::File { path, place: "file".into(), problem });
    }
    read_indices(&path, rows, "row")
}

fn read_columns(path: &Path, columns: usize) -> Result<Vec<(usize, usize)>> {
    read_indices(path, columns, "column")
}

/// Distinct indices below `limit` with the line each stands on; at least one.
fn read_indices(path: &Path, limit: usize, what: &str) -> Result<Vec<(usize, usize)>> {
    let text = read_text(path)?;
    let mut indices = Vec::new();
    let mut line_of = vec![0_usize; limit];
    for (line, word) in words_with_lines(&text) {
        let refuse = |problem| Err(Error::File { path: path.into(), place: format!("line {line}"), problem });
        let value = match index(word) {
            Ok(value) => value,
            Err(problem) => return refuse(problem),
        };
        if value >= limit {
            return refuse(format!("{what} index {value} is out of range, expected 0 to {}", limit - 1));
        }
        if line_of[value] != 0 {
            return refuse(format!("{what} index {value} is listed twice, first on line {}", line_of[value]));
        }
        line_of[value] = line;
        indices.push((value, line));
    }
    if indices.is_empty() {
        return Err(empty_file(path.into(), &format!("expected {what} indices")));
    }
    Ok(indices)
}

fn finite_number(word: &str) -> std::result::Result<f64, String> {
    match word.contains([',', ';']) {
        true => Err(format!("found `{word}`, expected numbers separated by blanks")),
        false => cell::number(word, word),
    }
}

/// A 0-based index written as a whole number or as a float without fraction.
fn index(word: &str) -> std::result::Result<usize, String> {
    const EXACT: f64 = 9_007_199_254_740_992.0; // 2^53: floats below it are exact whole numbers
    if let Ok(value) = word.parse::<usize>() {
        return Ok(value);
    }
    match word.parse::<f64>() {
        Ok(value) if (0.0..EXACT).contains(&value) && value.fract() == 0.0 => Ok(value as usize),
        _ => Err(format!("found `{word}`, expected an index (a whole number from 0)")),
    }
}

fn read_text(path: &Path) -> Result<String> {
    let bytes = fs::read(path).map_err(|source| Error::Io { path: path.into(), action: "read", source })?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
        Error::File { path: path.into(), place: format!("line {line}"), problem: "is no text in UTF-8".into() }
    })?;
    let text = text.strip_prefix('\u{feff}').map_or_else(|| text.clone(), String::from);
    // Line ends of old Macs; those of Windows end in a line feed.
    Ok(if text.contains('\r') && !text.contains('\n') { text.replace('\r', "\n") } else { text })
}

/// Lines that are not blank, with their numbers from 1.
fn numbered_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(at, line)| (at + 1, line)).filter(|(_, line)| !line.trim().is_empty())
}

fn words_with_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    numbered_lines(text).flat_map(|(line, content)| content.split_whitespace().map(move |word| (line, word)))
}

fn empty_file(path: PathBuf, expected: &str) -> Error {
    Error::File { path, place: "line 1".into(), problem: format!("the file is empty, {expected}") }
}

#[cfg(test)]
mod tests;
