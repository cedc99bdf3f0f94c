//! Tables from and to CSV files with a header line.
//!
//! Fields are separated by commas, may be quoted, and are stripped of surrounding spaces. Every cell that is
//! read must be a finite number. Errors name the line (from 1; the header is line 1) and the column by its name.

use std::borrow::Cow;
use std::fs;
use std::io::Cursor;
use std::path::Path;

use super::{Table, cell};
use crate::atomic::write_atomic_with;
use crate::{Error, Result};

/// Characters of a cell or a name that errors show.
const MOST_SHOWN: usize = 40;
/// Names that errors list.
const MOST_NAMES: usize = 20;

/// Reads a table: the columns named in `targets` are outputs, in that order, all others but those named in `ignored` are inputs, in the
/// order of the file. Ignored columns may hold anything.
///
/// # Errors
/// [`Error::Io`] when the file cannot be read; [`Error::File`] when it is empty, has no rows, a header with an
/// empty or repeated name, a row of another length, a quoted cell that is not closed, or a cell that is no finite
/// number; [`Error::File`] with the list of the columns there are when a target is missing; [`Error::Argument`] when
/// `targets` is empty or repeats a name, when a target is ignored, when no column is left for the inputs, or when `path` is a folder.
///
/// # Examples
/// ```
/// let folder = tempfile::tempdir().unwrap();
/// let path = folder.path().join("houses.csv");
/// std::fs::write(&path, "sold,area,price,rooms\nin May,50,200,2\nin June,80,310,3\n").unwrap();
/// let (targets, ignored) = (["price".to_string()], ["sold".to_string()]);
/// let table = livi::data::csv_table::read_table(&path, &targets, &ignored).unwrap();
/// assert_eq!(table.input_names, ["area", "rooms"]);
/// assert_eq!(table.x, [50.0, 2.0, 80.0, 3.0]);
/// assert_eq!(table.y, [200.0, 310.0]);
/// ```
pub fn read_table(path: &Path, targets: &[String], ignored: &[String]) -> Result<Table> {
    let refuse = |problem: String| Err(Error::Argument { name: "target".into(), problem });
    if targets.is_empty() {
        return refuse("no column is named, expected at least 1".into());
    }
    if let Some(repeated) = first_repeated(targets) {
        return refuse(format!("column `{repeated}` is named twice"));
    }
    if let Some(both) = targets.iter().find(|target| ignored.contains(target)) {
        return refuse(format!("column `{both}` is to be ignored as well, expected one of the two"));
    }
    let mut reader = CsvReader::open(path)?;
    let outputs = reader.places(targets, "target")?;
    let left_out = reader.places(ignored, "ignored")?;
    let taken = |column: &usize| outputs.contains(column) || left_out.contains(column);
    let inputs: Vec<usize> = (0..reader.header.len()).filter(|column| !taken(column)).collect();
    if inputs.is_empty() {
        let or_ignored = if left_out.is_empty() { "" } else { " or ignored" };
        return refuse(format!("every column of {} is a target{or_ignored}, no input is left", path.display()));
    }
    let (mut x, mut y, mut rows) = (Vec::new(), Vec::new(), 0);
    while let Some(row) = reader.next_row()? {
        for (columns, block) in [(&inputs, &mut x), (&outputs, &mut y)] {
            for &column in columns {
                block.push(row.number(column)?);
            }
        }
        rows += 1;
    }
    reader.require_rows(rows)?;
    let input_names = inputs.iter().map(|&column| reader.header[column].clone()).collect();
    Table::new(x, y, rows, input_names, targets.to_vec())
}

/// Reads the columns named in `input_names`, in that order, into a row-major block; returns it with the number
/// of rows. Other columns are ignored, whatever they hold.
///
/// # Errors
/// As for [`read_table`]; all the missing columns are listed together.
///
/// # Examples
/// ```
/// let folder = tempfile::tempdir().unwrap();
/// let path = folder.path().join("new.csv");
/// std::fs::write(&path, "rooms,note,area\n2,nice,50\n").unwrap();
/// let names = ["area".to_string(), "rooms".to_string()];
/// let (x, rows) = livi::data::csv_table::read_inputs(&path, &names).unwrap();
/// assert_eq!((x, rows), (vec![50.0, 2.0], 1));
/// ```
pub fn read_inputs(path: &Path, input_names: &[String]) -> Result<(Vec<f64>, usize)> {
    read_columns(path, input_names, "input")
}

/// The same for columns that errors call by another word than `input`.
pub(crate) fn read_columns(path: &Path, names: &[String], what: &str) -> Result<(Vec<f64>, usize)> {
    let mut reader = CsvReader::open(path)?;
    let columns = reader.places(names, what)?;
    let (mut x, mut rows) = (Vec::new(), 0);
    while let Some(row) = reader.next_row()? {
        for &column in &columns {
            x.push(row.number(column)?);
        }
        rows += 1;
    }
    reader.require_rows(rows)?;
    Ok((x, rows))
}

/// Refuses a file with a number in the column `name` for which `holds` is false, saying what is `expected` instead.
///
/// # Errors
/// [`Error::File`] with line and column; as for [`read_table`].
///
/// # Examples
/// ```
/// let folder = tempfile::tempdir().unwrap();
/// let path = folder.path().join("labels.csv");
/// std::fs::write(&path, "x,class\n3,0\n5,-1\n").unwrap();
/// let check = |holds: fn(f64) -> bool| livi::data::csv_table::require_column(&path, "class", holds, "a label");
/// check(|label| label >= -1.0).unwrap();
/// let message = check(|label| label >= 0.0).unwrap_err().to_string();
/// assert!(message.ends_with("labels.csv: line 3, column `class`: found `-1`, expected a label"));
/// ```
pub fn require_column(path: &Path, name: &str, holds: impl Fn(f64) -> bool, expected: &str) -> Result<()> {
    let mut reader = CsvReader::open(path)?;
    let columns = reader.places(&[name.into()], "target")?;
    while let Some(row) = reader.next_row()? {
        for &column in &columns {
            if !holds(row.number(column)?) {
                let found = shortened(&row.record[column]);
                return row.refuse(column, format!("found `{found}`, expected {expected}"));
            }
        }
    }
    Ok(())
}

/// Reads every column as numbers: the names, the row-major block and the number of rows.
///
/// # Errors
/// As for [`read_table`].
pub fn read_all(path: &Path) -> Result<(Vec<String>, Vec<f64>, usize)> {
    let header = CsvReader::open(path)?.header;
    let (values, rows) = read_inputs(path, &header)?;
    Ok((header, values, rows))
}

/// Writes named columns of equal length as a CSV file, in one step: whoever opens `path` sees the old content
/// or all of the new. Numbers are written so that reading them gives the same `f64` back.
///
/// # Errors
/// [`Error::Argument`] when there is no column or the lengths differ; [`Error::Io`] when the file cannot be
/// written; what was there then stands.
///
/// # Examples
/// ```
/// let folder = tempfile::tempdir().unwrap();
/// let path = folder.path().join("predictions.csv");
/// let columns = [("mean".to_string(), vec![1.5, -2.0]), ("std".to_string(), vec![0.1, 1e-9])];
/// livi::data::csv_table::write_columns(&path, &columns).unwrap();
/// assert_eq!(std::fs::read_to_string(&path).unwrap(), "mean,std\n1.5,0.1\n-2,1e-9\n");
/// ```
pub fn write_columns(path: &Path, columns: &[(String, Vec<f64>)]) -> Result<()> {
    let refuse = |problem: String| Err(Error::Argument { name: "columns to write".into(), problem });
    let Some((first_name, first)) = columns.first() else {
        return refuse("there is none, expected at least 1".into());
    };
    if let Some((name, values)) = columns.iter().find(|(_, values)| values.len() != first.len()) {
        let (found, expected) = (values.len(), first.len());
        return refuse(format!("`{name}` has {found} rows, `{first_name}` has {expected}"));
    }
    write_atomic_with(path, |file| {
        let mut writer = csv::Writer::from_writer(file);
        writer.write_record(columns.iter().map(|(name, _)| name))?;
        for row in 0..first.len() {
            writer.write_record(columns.iter().map(|(_, values)| number_text(values[row])))?;
        }
        writer.flush()
    })
}

/// The shortest text that reads back as the same number, with an exponent where digits would be mostly zeros.
fn number_text(value: f64) -> String {
    if value == 0.0 || (1e-5..1e16).contains(&value.abs()) { format!("{value}") } else { format!("{value:e}") }
}

/// A CSV file with a checked header, read row by row.
struct CsvReader<'a> {
    path: &'a Path,
    header: Vec<String>,
    reader: csv::Reader<Cursor<Vec<u8>>>,
    record: csv::StringRecord,
}

/// The row last read, for turning its cells into numbers.
struct Row<'a> {
    path: &'a Path,
    header: &'a [String],
    record: &'a csv::StringRecord,
    text: &'a [u8],
}

impl<'a> CsvReader<'a> {
    fn open(path: &'a Path) -> Result<Self> {
        if path.is_dir() {
            let problem = "is a folder, expected a CSV file".into();
            return Err(Error::Argument { name: path.display().to_string(), problem });
        }
        let text = fs::read(path).map_err(|source| Error::Io { path: path.into(), action: "read", source })?;
        if let Some(line) = unclosed_quote(&text) {
            let problem = "a quoted cell is not closed, expected a second \" after its end".into();
            return Err(Error::File { path: path.into(), place: format!("line {line}"), problem });
        }
        // `flexible`: lengths are checked here, with a message of our own.
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).flexible(true).from_reader(Cursor::new(text));
        let header = match reader.headers() {
            Ok(header) => header.iter().map(String::from).collect::<Vec<_>>(),
            Err(error) => return Err(read_error(path, reader.get_ref().get_ref(), error)),
        };
        let refuse = |problem: String| Err(Error::File { path: path.into(), place: "line 1".into(), problem });
        if header.is_empty() {
            return refuse("the file is empty, expected a header line of column names".into());
        }
        if let ([only], Some(separator)) = (&header[..], header[0].chars().find(|c| matches!(c, ';' | '\t'))) {
            return refuse(format!(
                "found one column `{}` with {separator:?} in its name, expected columns separated by commas",
                shortened(only)
            ));
        }
        if let Some(column) = header.iter().position(String::is_empty) {
            return refuse(format!("column {} has no name in the header", column + 1));
        }
        if let Some(repeated) = first_repeated(&header) {
            return refuse(format!("the header names column `{}` twice", shortened(repeated)));
        }
        Ok(Self { path, header, reader, record: csv::StringRecord::new() })
    }

    /// Places of the named columns; an error lists all that are missing and all that there are.
    fn places(&self, names: &[String], what: &str) -> Result<Vec<usize>> {
        let place = |name: &String| self.header.iter().position(|column| column == name);
        let missing: Vec<&String> = names.iter().filter(|name| place(name).is_none()).collect();
        if missing.is_empty() {
            return Ok(names.iter().filter_map(place).collect());
        }
        let problem = format!(
            "missing {what} column{} {}; the columns are {}",
            if missing.len() == 1 { "" } else { "s" },
            quoted_list(&missing),
            quoted_list(&self.header.iter().collect::<Vec<_>>()),
        );
        Err(Error::File { path: self.path.into(), place: "header (line 1)".into(), problem })
    }

    fn next_row(&mut self) -> Result<Option<Row<'_>>> {
        let read = self.reader.read_record(&mut self.record);
        let text = self.reader.get_ref().get_ref().as_slice();
        if !read.map_err(|error| read_error(self.path, text, error))? {
            return Ok(None);
        }
        let row = Row { path: self.path, header: &self.header, record: &self.record, text };
        if row.record.len() != row.header.len() {
            let (found, expected) = (row.record.len(), row.header.len());
            let header = row.header.iter().map(|name| shortened(name)).collect::<Vec<_>>().join(",");
            let problem = format!("{found} cells, expected {expected} as in the header ({header})");
            return Err(Error::File { path: self.path.into(), place: format!("line {}", row.line()), problem });
        }
        Ok(Some(row))
    }

    fn require_rows(&self, rows: usize) -> Result<()> {
        if rows > 0 {
            return Ok(());
        }
        let problem = "there are no rows after the header".into();
        Err(Error::File { path: self.path.into(), place: "line 2".into(), problem })
    }
}

impl Row<'_> {
    fn line(&self) -> usize {
        self.record.position().map_or(1, |position| line_of(self.text, position))
    }

    fn number(&self, column: usize) -> Result<f64> {
        let text = &self.record[column];
        let found = match text.is_empty() {
            true => Err("the cell is empty, expected a number".into()),
            false => cell::number(text, &shortened(text)),
        };
        found.or_else(|problem| self.refuse(column, problem))
    }

    fn refuse<T>(&self, column: usize, problem: String) -> Result<T> {
        let place = format!("line {}, column `{}`", self.line(), shortened(&self.header[column]));
        Err(Error::File { path: self.path.into(), place, problem })
    }
}

fn first_repeated(names: &[String]) -> Option<&String> {
    names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)).map(|(_, name)| name)
}

/// Names in quotes, of many the first ones.
fn quoted_list(names: &[&String]) -> String {
    let listed =
        names.iter().take(MOST_NAMES).map(|name| format!("`{}`", shortened(name))).collect::<Vec<_>>().join(", ");
    match names.len().checked_sub(MOST_NAMES) {
        None | Some(0) => listed,
        Some(more) => format!("{listed} and {more} more"),
    }
}

/// A text as errors show it: of a long one the beginning.
fn shortened(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(MOST_SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]).into(),
        None => text.into(),
    }
}

/// Line, from 1, of a quote that opens a cell and is not closed: the reader would take all that follows for one cell.
fn unclosed_quote(text: &[u8]) -> Option<usize> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let (mut cell_begins, mut opened) = (true, None);
    for (at, &byte) in text.iter().enumerate() {
        match (byte, opened) {
            // The second of two quotes inside a cell opens it again.
            (b'"', Some(_)) => (opened, cell_begins) = (None, true),
            (b'"', None) if cell_begins => opened = Some(at),
            (_, Some(_)) => {}
            (b',' | b'\r' | b'\n', None) => cell_begins = true,
            _ => cell_begins = false,
        }
    }
    opened.map(|at| 1 + text[..at].iter().filter(|&&byte| byte == b'\n').count())
}

/// Line, from 1, on which a record starts. The reader's own count is that of the blank lines (and the second half
/// of a Windows line end) before the record, so lines are counted up to the first byte that is none of them.
fn line_of(text: &[u8], position: &csv::Position) -> usize {
    let at = usize::try_from(position.byte()).map_or(text.len(), |byte| byte.min(text.len()));
    let start = at + text[at..].iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    1 + text[..start].iter().filter(|&&byte| byte == b'\n').count()
}

fn read_error(path: &Path, text: &[u8], error: csv::Error) -> Error {
    let line = error.position().map_or_else(|| "text".into(), |at| format!("line {}", line_of(text, at)));
    match error.into_kind() {
        csv::ErrorKind::Io(source) => Error::Io { path: path.into(), action: "read", source },
        csv::ErrorKind::Utf8 { err, .. } => {
            Error::File { path: path.into(), place: line, problem: format!("is not UTF-8 text: {err}") }
        }
        other => Error::File { path: path.into(), place: line, problem: format!("cannot be read as CSV: {other:?}") },
    }
}

#[cfg(test)]
mod tests;
