//! Inputs and targets side by side.

use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;
use rand::seq::SliceRandom;

use crate::{Error, Result};

/// Rows of inputs and outputs, both row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// Inputs, `rows x inputs`.
    pub x: Vec<f64>,
    /// Outputs (targets), `rows x outputs`.
    pub y: Vec<f64>,
    /// Number of rows.
    pub rows: usize,
    /// Number of input columns.
    pub inputs: usize,
    /// Number of output columns.
    pub outputs: usize,
    /// Names of the input columns, in the order of `x`.
    pub input_names: Vec<String>,
    /// Names of the output columns, in the order of `y`.
    pub output_names: Vec<String>,
}

impl Table {
    /// A table of `x` (`rows x input_names.len()`) and `y` (`rows x output_names.len()`).
    ///
    /// # Errors
    /// [`Error::Argument`] when there is no row, no input or no output column, when a length is not
    /// `rows x columns`, or when a number is NaN or infinite (named by row, counted from 0, and column).
    ///
    /// # Examples
    /// ```
    /// let names = |list: &[&str]| list.iter().map(|name| name.to_string()).collect::<Vec<_>>();
    /// let table = livi::data::Table::new(
    ///     vec![1.0, 2.0, 3.0, 4.0],
    ///     vec![10.0, 20.0],
    ///     2,
    ///     names(&["a", "b"]),
    ///     names(&["y"]),
    /// )
    /// .unwrap();
    /// assert_eq!(table.input_row(1), [3.0, 4.0]);
    /// assert_eq!(table.output_row(1), [20.0]);
    /// ```
    pub fn new(
        x: Vec<f64>,
        y: Vec<f64>,
        rows: usize,
        input_names: Vec<String>,
        output_names: Vec<String>,
    ) -> Result<Self> {
        if rows == 0 {
            return Err(argument("table", "has no rows, expected at least 1"));
        }
        check_block("inputs", &x, rows, &input_names)?;
        check_block("outputs", &y, rows, &output_names)?;
        Ok(Self { rows, inputs: input_names.len(), outputs: output_names.len(), x, y, input_names, output_names })
    }

    /// Inputs of one row. Panics when `row >= rows`.
    pub fn input_row(&self, row: usize) -> &[f64] {
        &self.x[row * self.inputs..(row + 1) * self.inputs]
    }

    /// Outputs of one row. Panics when `row >= rows`.
    pub fn output_row(&self, row: usize) -> &[f64] {
        &self.y[row * self.outputs..(row + 1) * self.outputs]
    }

    /// The given rows, in the given order; a row may be taken more than once.
    ///
    /// # Errors
    /// [`Error::Argument`] when `rows` is empty or an index is out of range.
    pub fn select(&self, rows: &[usize]) -> Result<Self> {
        if rows.is_empty() {
            return Err(argument("row selection", "is empty, expected at least 1 row"));
        }
        let mut x = Vec::with_capacity(rows.len() * self.inputs);
        let mut y = Vec::with_capacity(rows.len() * self.outputs);
        for &row in rows {
            if row >= self.rows {
                let problem = format!("row index {row} is out of range, expected 0 to {}", self.rows - 1);
                return Err(argument("row selection", problem));
            }
            x.extend_from_slice(self.input_row(row));
            y.extend_from_slice(self.output_row(row));
        }
        Ok(Self {
            x,
            y,
            rows: rows.len(),
            inputs: self.inputs,
            outputs: self.outputs,
            input_names: self.input_names.clone(),
            output_names: self.output_names.clone(),
        })
    }

    /// Splits into `(kept, held out)` parts, for instance training and validation, by [`split_rows`].
    ///
    /// # Errors
    /// As for [`split_rows`].
    pub fn split(&self, held_out_fraction: f64, seed: u64) -> Result<(Self, Self)> {
        let (kept, held_out) = split_rows(self.rows, held_out_fraction, seed)?;
        Ok((self.select(&kept)?, self.select(&held_out)?))
    }
}

/// Splits `0..rows` at random into `(kept, held out)`, each in ascending order.
///
/// `round(rows x held_out_fraction)` rows are held out, at least 1 and at most `rows - 1`. The same seed gives
/// the same split on every machine.
///
/// # Errors
/// [`Error::Argument`] when `rows` is below 2 or above 2^32, or the fraction does not lie strictly between 0 and 1.
///
/// # Examples
/// ```
/// let (kept, held_out) = livi::data::split_rows(10, 0.2, 7).unwrap();
/// assert_eq!((kept.len(), held_out.len()), (8, 2));
/// assert_eq!(livi::data::split_rows(10, 0.2, 7).unwrap().1, held_out);
/// ```
pub fn split_rows(rows: usize, held_out_fraction: f64, seed: u64) -> Result<(Vec<usize>, Vec<usize>)> {
    if !(held_out_fraction > 0.0 && held_out_fraction < 1.0) {
        let problem = format!("is {held_out_fraction}, expected a number between 0 and 1, both excluded");
        return Err(argument("held-out fraction", problem));
    }
    if rows < 2 || u32::try_from(rows).is_err() {
        return Err(argument("rows to split", format!("there is {rows}, expected a number from 2 to {}", u32::MAX)));
    }
    let held_out_rows = ((rows as f64 * held_out_fraction).round() as usize).clamp(1, rows - 1);
    let mut order: Vec<usize> = (0..rows).collect();
    order.shuffle(&mut Xoshiro256PlusPlus::seed_from_u64(seed));
    let mut kept = order.split_off(held_out_rows);
    kept.sort_unstable();
    order.sort_unstable();
    Ok((kept, order))
}

fn check_block(what: &'static str, values: &[f64], rows: usize, names: &[String]) -> Result<()> {
    let columns = names.len();
    if columns == 0 {
        return Err(argument(what, "there is no column, expected at least 1"));
    }
    if rows.checked_mul(columns) != Some(values.len()) {
        let problem = format!("{} numbers for {rows} rows of {columns} columns", values.len());
        return Err(argument(what, problem));
    }
    if let Some(at) = values.iter().position(|value| !value.is_finite()) {
        let problem =
            format!("row {}, column `{}`: {} is not a finite number", at / columns, names[at % columns], values[at]);
        return Err(argument(what, problem));
    }
    Ok(())
}

fn argument(name: &str, problem: impl Into<String>) -> Error {
    Error::Argument { name: name.into(), problem: problem.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| name.to_string()).collect()
    }

    fn numbered(rows: usize) -> Table {
        let x = (0..2 * rows).map(|v| v as f64).collect();
        let y = (0..rows).map(|v| v as f64).collect();
        Table::new(x, y, rows, names(&["a", "b"]), names(&["y"])).unwrap()
    }

    #[test]
    fn a_nan_is_refused_with_its_row_and_column() {
        let error = Table::new(vec![0.0, 1.0, 2.0, f64::NAN], vec![0.0; 2], 2, names(&["a", "b"]), names(&["y"]));
        let message = error.unwrap_err().to_string();
        assert!(message.contains("row 1, column `b`"), "{message}");
    }

    #[test]
    fn a_length_that_is_not_rows_times_columns_is_refused() {
        let error = Table::new(vec![0.0; 5], vec![0.0; 2], 2, names(&["a", "b"]), names(&["y"])).unwrap_err();
        assert!(error.to_string().contains("5 numbers for 2 rows of 2 columns"), "{error}");
    }

    #[test]
    fn a_table_without_rows_is_refused() {
        let error = Table::new(vec![], vec![], 0, names(&["a"]), names(&["y"])).unwrap_err();
        assert!(error.to_string().contains("no rows"), "{error}");
    }

    #[test]
    fn selection_keeps_inputs_and_outputs_of_a_row_together() {
        let picked = numbered(5).select(&[4, 0]).unwrap();
        assert_eq!(picked.x, [8.0, 9.0, 0.0, 1.0]);
        assert_eq!(picked.y, [4.0, 0.0]);
    }

    #[test]
    fn selection_out_of_range_names_index_and_range() {
        let error = numbered(5).select(&[5]).unwrap_err();
        assert!(error.to_string().contains("row index 5 is out of range, expected 0 to 4"), "{error}");
    }

    #[test]
    fn a_split_is_a_partition_of_the_rows() {
        let (mut kept, held_out) = split_rows(103, 0.25, 3).unwrap();
        assert_eq!(held_out.len(), 26);
        kept.extend(held_out);
        kept.sort_unstable();
        assert_eq!(kept, (0..103).collect::<Vec<_>>());
    }

    #[test]
    fn different_seeds_give_different_splits() {
        assert_ne!(split_rows(100, 0.5, 1).unwrap(), split_rows(100, 0.5, 2).unwrap());
    }

    #[test]
    fn every_row_is_held_out_equally_often_over_seeds() {
        let mut count = [0_u32; 10];
        for seed in 0..4000 {
            for row in split_rows(10, 0.3, seed).unwrap().1 {
                count[row] += 1;
            }
        }
        // Binomial(4000, 0.3): mean 1200, standard deviation 29.
        assert!(count.iter().all(|&c| (c as f64 - 1200.0).abs() < 5.0 * 29.0), "{count:?}");
    }

    #[test]
    fn a_tiny_fraction_still_holds_out_one_row() {
        assert_eq!(split_rows(5, 1e-6, 0).unwrap().1.len(), 1);
        assert_eq!(split_rows(5, 1.0 - 1e-6, 0).unwrap().0.len(), 1);
    }

    #[test]
    fn fractions_outside_zero_to_one_are_refused() {
        for fraction in [0.0, 1.0, -0.1, 1.5, f64::NAN] {
            assert!(split_rows(5, fraction, 0).is_err(), "{fraction}");
        }
    }
}
