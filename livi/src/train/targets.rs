//! Targets as the likelihood takes them.

use crate::config::{Config, LikelihoodKind, Source};
use crate::data::{Dataset, Standardiser, Table, Training, csv_table};
use crate::{Error, Result};

/// Standardised inputs and the targets of a table: numbers for a Gaussian likelihood, indicator vectors for a softmax.
#[derive(Clone, Debug)]
pub struct Encoded {
    /// Inputs, rows x inputs.
    pub x: Vec<f64>,
    /// Targets, rows x outputs.
    pub y: Vec<f64>,
    /// Number of rows.
    pub rows: usize,
}

/// Network outputs needed for a data set's targets: its target columns, or the number of classes.
///
/// # Errors
/// For a softmax likelihood: more than one target column, or a label that is no whole number from 0; of a CSV file its line is named.
pub fn outputs(config: &Config, dataset: &Dataset) -> Result<usize> {
    if config.likelihood.kind == LikelihoodKind::Gaussian {
        return Ok(dataset.training.output_names().len());
    }
    let mut classes = 2;
    if let Training::Images(part) = &dataset.training {
        classes = classes.max(part.images.classes);
    }
    let tables = [dataset.training.table(), dataset.validation.as_ref(), dataset.test.as_ref()];
    for table in tables.into_iter().flatten() {
        require_one_column(table)?;
        for (row, &label) in table.y.iter().enumerate() {
            if !is_class(label) {
                let name = &table.output_names[0];
                if let (Source::Csv, Some(path)) = (config.data.source, &config.data.path) {
                    // The table's rows are some of the file's, in another order.
                    csv_table::require_column(path, name, is_class, CLASS)?;
                }
                let problem = format!("row {row} has {label}, expected {CLASS}");
                return Err(Error::Argument { name: name.clone(), problem });
            }
            classes = classes.max(label as usize + 1);
        }
    }
    Ok(classes)
}

fn require_one_column(table: &Table) -> Result<()> {
    if table.outputs == 1 {
        return Ok(());
    }
    let problem = format!("{} target columns; a softmax likelihood takes one column of class labels", table.outputs);
    Err(Error::Argument { name: "targets".into(), problem })
}

/// What a class label is.
const CLASS: &str = "a class, a whole number from 0 to 65535";

fn is_class(label: f64) -> bool {
    (0.0..=65_535.0).contains(&label) && label.fract() == 0.0
}

/// Classes that a remark lists.
const MOST_LISTED: usize = 8;

/// What deserves a second thought in data to train on: a single row, and classes that no training row is of.
pub fn remarks(config: &Config, dataset: &Dataset) -> Result<Vec<String>> {
    let mut remarks = Vec::new();
    if dataset.training.rows() == 1 {
        remarks.push("there is a single training row: whatever differs between rows cannot be learned".into());
    }
    if config.likelihood.kind == LikelihoodKind::Softmax {
        let classes = config.network.outputs.max(outputs(config, dataset)?);
        let mut seen = vec![false; classes];
        match &dataset.training {
            Training::Images(part) => part.images.labels.iter().for_each(|&label| seen[label as usize] = true),
            Training::Table(table) => table.y.iter().for_each(|&label| seen[label as usize] = true),
        }
        let absent: Vec<String> = (0..classes).filter(|&class| !seen[class]).map(|class| class.to_string()).collect();
        if !absent.is_empty() {
            let listed = absent[..absent.len().min(MOST_LISTED)].join(", ");
            let more = if absent.len() > MOST_LISTED { ", .." } else { "" };
            remarks.push(format!(
                "{} of {classes} classes have no training row: {listed}{more}; labels are whole numbers from 0 without gaps",
                absent.len()
            ));
        }
    }
    Ok(remarks)
}

/// Standardises a table's inputs and encodes its targets for `outputs` network outputs.
///
/// # Errors
/// Columns that do not fit the standardiser; for a softmax likelihood [`Error::Argument`] for other than one target column, or a label that is not
/// the number of an output.
pub fn encode(kind: LikelihoodKind, table: &Table, standardiser: &Standardiser, outputs: usize) -> Result<Encoded> {
    let scaled = standardiser.apply(table)?;
    let y = match kind {
        LikelihoodKind::Gaussian => scaled.y,
        LikelihoodKind::Softmax => {
            require_one_column(table)?;
            let mut y = vec![0.0; table.rows * outputs];
            for (row, &label) in table.y.iter().enumerate() {
                if !is_class(label) || label as usize >= outputs {
                    let problem =
                        format!("row {row} has {label}, expected a class, a whole number from 0 to below {outputs}");
                    return Err(Error::Argument { name: table.output_names[0].clone(), problem });
                }
                y[row * outputs + label as usize] = 1.0;
            }
            y
        }
    };
    Ok(Encoded { x: scaled.x, y, rows: table.rows })
}
