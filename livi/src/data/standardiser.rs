//! Standardisation of inputs and targets by training statistics.

use serde::{Deserialize, Serialize};

use super::Table;
use crate::{Error, Result};

/// Per-column affine maps `(value - mean) / std` for inputs and targets.
///
/// Fit it on training rows only and apply it to every other row. Standard deviations are those of the
/// population (divided by the number of rows); a constant column gets 1, so it becomes 0 and stays finite.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standardiser {
    /// Means of the inputs, one a column.
    pub x_mean: Vec<f64>,
    /// Standard deviations of the inputs, one a column, all positive.
    pub x_std: Vec<f64>,
    /// Means of the targets, one a column.
    pub y_mean: Vec<f64>,
    /// Standard deviations of the targets, one a column, all positive.
    pub y_std: Vec<f64>,
}

impl Standardiser {
    /// Means and standard deviations of the rows of `training`.
    ///
    /// # Errors
    /// [`Error::Argument`] when a column's values are so large that their spread overflows.
    ///
    /// # Examples
    /// ```
    /// # use livi::data::{Standardiser, Table};
    /// let table = Table::new(vec![1.0, 3.0], vec![5.0, 5.0], 2, vec!["x".into()], vec!["y".into()]).unwrap();
    /// let standardiser = Standardiser::fit(&table).unwrap();
    /// assert_eq!((standardiser.x_mean[0], standardiser.x_std[0]), (2.0, 1.0));
    /// assert_eq!((standardiser.y_mean[0], standardiser.y_std[0]), (5.0, 1.0)); // a constant column
    /// assert_eq!(standardiser.apply(&table).unwrap().x, [-1.0, 1.0]);
    /// ```
    pub fn fit(training: &Table) -> Result<Self> {
        let (x_mean, x_std) = column_moments(&training.x, &training.input_names)?;
        let (y_mean, y_std) = column_moments(&training.y, &training.output_names)?;
        Ok(Self { x_mean, x_std, y_mean, y_std })
    }

    /// The maps that change nothing: means 0, standard deviations 1.
    pub fn identity(inputs: usize, outputs: usize) -> Self {
        Self {
            x_mean: vec![0.0; inputs],
            x_std: vec![1.0; inputs],
            y_mean: vec![0.0; outputs],
            y_std: vec![1.0; outputs],
        }
    }

    /// Checks what was read from a file: matching lengths, finite means, positive finite standard deviations.
    ///
    /// # Errors
    /// [`Error::Argument`] naming the field and index.
    pub fn validate(&self) -> Result<()> {
        check_moments("x", &self.x_mean, &self.x_std)?;
        check_moments("y", &self.y_mean, &self.y_std)
    }

    /// Standardised inputs, for `x` of shape `rows x inputs`.
    ///
    /// # Errors
    /// [`Error::Argument`] when the length of `x` is not a multiple of the number of inputs.
    pub fn apply_x(&self, x: &[f64]) -> Result<Vec<f64>> {
        map_columns("inputs", x, &self.x_mean, &self.x_std, |value, mean, std| (value - mean) / std)
    }

    /// Standardised targets, for `y` of shape `rows x outputs`.
    ///
    /// # Errors
    /// [`Error::Argument`] when the length of `y` is not a multiple of the number of outputs.
    pub fn apply_y(&self, y: &[f64]) -> Result<Vec<f64>> {
        map_columns("outputs", y, &self.y_mean, &self.y_std, |value, mean, std| (value - mean) / std)
    }

    /// Inputs in original units from standardised ones, shape `rows x inputs`.
    ///
    /// # Errors
    /// As for [`Self::apply_x`].
    pub fn invert_x(&self, x: &[f64]) -> Result<Vec<f64>> {
        map_columns("inputs", x, &self.x_mean, &self.x_std, |value, mean, std| value * std + mean)
    }

    /// Targets (or predictions of them) in original units from standardised ones, shape `rows x outputs`.
    ///
    /// # Errors
    /// As for [`Self::apply_y`].
    pub fn invert_y(&self, y: &[f64]) -> Result<Vec<f64>> {
        map_columns("outputs", y, &self.y_mean, &self.y_std, |value, mean, std| value * std + mean)
    }

    /// Standard deviations of targets in original units from standardised ones, shape `rows x outputs`
    /// (scaled, not shifted).
    ///
    /// # Errors
    /// As for [`Self::apply_y`].
    pub fn invert_y_std(&self, y_std: &[f64]) -> Result<Vec<f64>> {
        map_columns("outputs", y_std, &self.y_mean, &self.y_std, |value, _, std| value * std)
    }

    /// What to add to a row's log-density of standardised targets to get it in original units:
    /// minus the sum of `ln y_std` (change of variables).
    pub fn log_density_correction(&self) -> f64 {
        -self.y_std.iter().map(|std| std.ln()).sum::<f64>()
    }

    /// The table with inputs and targets standardised.
    ///
    /// # Errors
    /// [`Error::Argument`] when the number of input or output columns differs from this standardiser's.
    pub fn apply(&self, table: &Table) -> Result<Table> {
        for (what, found, expected) in
            [("inputs", table.inputs, self.x_mean.len()), ("outputs", table.outputs, self.y_mean.len())]
        {
            if found != expected {
                let problem = format!("the table has {found} columns, the standardiser was fitted to {expected}");
                return Err(Error::Argument { name: what.into(), problem });
            }
        }
        let (x, y) = (self.apply_x(&table.x)?, self.apply_y(&table.y)?);
        Table::new(x, y, table.rows, table.input_names.clone(), table.output_names.clone())
    }
}

/// Means and population standard deviations of the columns of a row-major block; 1 for a constant column.
fn column_moments(values: &[f64], names: &[String]) -> Result<(Vec<f64>, Vec<f64>)> {
    let columns = names.len();
    let mut means = Vec::with_capacity(columns);
    let mut stds = Vec::with_capacity(columns);
    for (column, name) in names.iter().enumerate() {
        let (mean, std) = mean_and_std(values.iter().skip(column).step_by(columns).copied());
        if !mean.is_finite() || !std.is_finite() {
            let problem = "its values are too large to be standardised; rescale the column".into();
            return Err(Error::Argument { name: format!("column `{name}`"), problem });
        }
        means.push(mean);
        stds.push(if std == 0.0 { 1.0 } else { std });
    }
    Ok((means, stds))
}

/// Mean and population standard deviation; `(first value, 0)` exactly when all values are equal.
///
/// Deviations are taken from the first value and scaled by the largest, so neither rounding of the mean nor
/// underflow or overflow of squares can make a constant column look spread out or the reverse.
pub(super) fn mean_and_std(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let Some(first) = values.clone().next() else {
        return (f64::NAN, f64::NAN);
    };
    let largest = values.clone().map(|value| (value - first).abs()).fold(0.0, f64::max);
    if largest == 0.0 {
        return (first, 0.0);
    }
    let (mut count, mut sum) = (0.0, 0.0);
    for value in values.clone() {
        count += 1.0;
        sum += (value - first) / largest;
    }
    let scaled_mean = sum / count;
    let squares: f64 = values.map(|value| ((value - first) / largest - scaled_mean).powi(2)).sum();
    (first + scaled_mean * largest, largest * (squares / count).sqrt())
}

fn map_columns(
    what: &str,
    values: &[f64],
    means: &[f64],
    stds: &[f64],
    map: impl Fn(f64, f64, f64) -> f64,
) -> Result<Vec<f64>> {
    let columns = means.len();
    if columns == 0 || !values.len().is_multiple_of(columns) {
        let problem = format!("{} numbers do not make rows of {columns} columns", values.len());
        return Err(Error::Argument { name: what.into(), problem });
    }
    let moments = means.iter().zip(stds).cycle();
    Ok(values.iter().zip(moments).map(|(&value, (&mean, &std))| map(value, mean, std)).collect())
}

fn check_moments(what: &str, means: &[f64], stds: &[f64]) -> Result<()> {
    let refuse = |field: &str, problem: String| Err(Error::Argument { name: format!("{what}_{field}"), problem });
    if means.is_empty() || means.len() != stds.len() {
        return refuse("std", format!("{} values for {} means, expected as many, at least 1", stds.len(), means.len()));
    }
    if let Some(at) = means.iter().position(|mean| !mean.is_finite()) {
        return refuse("mean", format!("index {at} is {}, expected a finite number", means[at]));
    }
    if let Some(at) = stds.iter().position(|std| !(std.is_finite() && *std > 0.0)) {
        return refuse("std", format!("index {at} is {}, expected a positive finite number", stds[at]));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(x: Vec<f64>, y: Vec<f64>) -> Table {
        let rows = y.len();
        let names = (0..x.len() / rows).map(|column| format!("x{column}")).collect();
        Table::new(x, y, rows, names, vec!["y".into()]).unwrap()
    }

    #[test]
    fn standardised_training_columns_have_mean_zero_and_std_one() {
        let training = table(vec![1.0, -7.0, 4.0, 2.0, 10.0, 0.5], vec![3.0, 8.0, -1.0]);
        let applied = Standardiser::fit(&training).unwrap().apply(&training).unwrap();
        for column in 0..2 {
            let (mean, std) = mean_and_std(applied.x.iter().skip(column).step_by(2).copied());
            assert!(mean.abs() < 1e-15 && (std - 1.0).abs() < 1e-15, "column {column}: {mean} {std}");
        }
    }

    #[test]
    fn moments_agree_with_a_hand_computed_case() {
        // 2, 4, 4, 4, 5, 5, 7, 9: mean 5, population standard deviation 2.
        let (mean, std) = mean_and_std([2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0].into_iter());
        assert_eq!((mean, std), (5.0, 2.0));
    }

    #[test]
    fn a_constant_column_whose_mean_rounds_still_gets_std_one() {
        let training = table(vec![0.1; 7], vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let standardiser = Standardiser::fit(&training).unwrap();
        assert_eq!((standardiser.x_mean[0], standardiser.x_std[0]), (0.1, 1.0));
        assert_eq!(standardiser.apply(&training).unwrap().x, [0.0; 7]);
    }

    #[test]
    fn tiny_spreads_do_not_underflow_to_constant() {
        let (_, std) = mean_and_std([0.0, 2e-200].into_iter());
        assert_eq!(std, 1e-200);
    }

    #[test]
    fn a_spread_that_overflows_is_an_error() {
        let training = table(vec![-1.7e308, 1.7e308], vec![0.0, 1.0]);
        let message = Standardiser::fit(&training).unwrap_err().to_string();
        assert!(message.contains("column `x0`"), "{message}");
    }

    #[test]
    fn inversion_undoes_application() {
        let training = table(vec![1.0, -7.0, 4.0, 2.0, 10.0, 0.5], vec![3.0, 8.0, -1.0]);
        let standardiser = Standardiser::fit(&training).unwrap();
        let x = standardiser.invert_x(&standardiser.apply_x(&training.x).unwrap()).unwrap();
        let y = standardiser.invert_y(&standardiser.apply_y(&training.y).unwrap()).unwrap();
        for (found, expected) in x.iter().chain(&y).zip(training.x.iter().chain(&training.y)) {
            assert!((found - expected).abs() < 1e-14, "{found} {expected}");
        }
    }

    #[test]
    fn log_density_correction_is_the_change_of_variables() {
        let standardiser = Standardiser { y_mean: vec![3.0], y_std: vec![2.5], ..Standardiser::identity(1, 1) };
        // Density of N(3, 2.5^2) at 4 against that of N(0, 1) at (4 - 3) / 2.5.
        let log_normal = |value: f64, mean: f64, std: f64| {
            -0.5 * ((value - mean) / std).powi(2) - std.ln() - 0.5 * (2.0 * std::f64::consts::PI).ln()
        };
        let standardised = standardiser.apply_y(&[4.0]).unwrap()[0];
        let found = log_normal(standardised, 0.0, 1.0) + standardiser.log_density_correction();
        assert!((found - log_normal(4.0, 3.0, 2.5)).abs() < 1e-15);
    }

    #[test]
    fn a_zero_standard_deviation_from_a_file_is_refused_by_name() {
        let standardiser = Standardiser { x_std: vec![1.0, 0.0], ..Standardiser::identity(2, 1) };
        let message = standardiser.validate().unwrap_err().to_string();
        assert!(message.contains("x_std: index 1 is 0"), "{message}");
    }

    #[test]
    fn a_table_with_other_columns_is_refused() {
        let standardiser = Standardiser::identity(3, 1);
        let message = standardiser.apply(&table(vec![0.0; 4], vec![0.0; 2])).unwrap_err().to_string();
        assert!(message.contains("has 2 columns") && message.contains("fitted to 3"), "{message}");
    }
}
