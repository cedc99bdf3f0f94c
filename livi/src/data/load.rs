//! From the `[data]` section of a configuration to tables.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::images::augment::Augmentation;
use super::images::{Part, PixelScale, load_part};
use super::table::split_rows;
use super::{Standardiser, Table, Training, TrainingImages, csv_table, images, toy, uci};
use crate::config::{DataConfig, ReportedPart, Source};
use crate::{Error, Result};

/// Rows of the test table of the toy set.
const TOY_TEST_ROWS: usize = 1000;

/// The parts of a data set, in original units, and the standardisation fitted to the training part.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    /// Name for reports: `toy`, `concrete, split 3`, the CSV file's name.
    pub name: String,
    /// Rows to train on.
    pub training: Training,
    /// Rows to watch during training, where the configuration holds some out.
    pub validation: Option<Table>,
    /// Rows to report on: those held out for testing, or the validation rows where the configuration says so; `csv` with
    /// `test_fraction = 0` has none.
    pub test: Option<Table>,
    /// Statistics of `training` alone; for the toy set the fixed scaling of its inputs.
    pub standardiser: Standardiser,
}

/// Reads and divides the data that a configuration asks for.
///
/// UCI sets come from `path` (the set's own folder or a folder of sets) or, without it, from
/// `$LIVI_DATA_DIR/uci`. Validation rows are taken out of the training rows, never out of the test rows. With
/// `report_on = "validation"` the test rows are dropped before anything is fitted, and the validation rows stand in their place.
///
/// # Errors
/// [`Error::Config`] when the set or folder is not there, naming what is; otherwise the errors of
/// [`uci::UciSet::load`], [`csv_table::read_table`] and [`Table::split`].
///
/// # Examples
/// ```
/// let config = livi::config::Config::preset("toy").unwrap();
/// let dataset = livi::data::load(&config.data).unwrap();
/// assert_eq!(dataset.training.rows(), 70);
/// assert_eq!(dataset.standardiser.x_std, [1.28]);
/// ```
pub fn load(config: &DataConfig) -> Result<Dataset> {
    let seed = config.split_seed;
    let (name, rest, test, fixed) = match config.source {
        Source::Toy => {
            let test = toy::test_table(TOY_TEST_ROWS, seed)?;
            ("toy".to_string(), toy::training_table(seed)?, Some(test), Some(toy::standardiser()))
        }
        Source::Memory => {
            let problem = "is `memory`: a program had the data, nothing can be read again; rows to measure on come from a CSV file, by --input";
            return Err(Error::Config { key: "data.source".into(), problem: problem.into() });
        }
        Source::Uci => {
            let set = uci::UciSet::load(&uci_folder(config)?)?;
            let (training, test) = set.split(config.split)?;
            (format!("{}, split {}", set.name, config.split), training, Some(test), None)
        }
        Source::Images => {
            let folder = image_folder(config)?;
            let training = load_part(&folder, Part::Training)?;
            let test = load_part(&folder, Part::Test)?.with_classes(training.classes, training.class_names.clone())?;
            if test.shape() != training.shape() {
                let problem =
                    format!("of {:?}, training images of {:?}; expected one shape", test.shape(), training.shape());
                return Err(Error::File { path: folder, place: "test images".into(), problem });
            }
            let name = config.set.clone().unwrap_or_else(|| folder.display().to_string());
            let (rows, held) = match config.validation_fraction {
                0.0 => ((0..training.count).collect(), None),
                fraction => {
                    let (kept, held) = split_rows(training.count, fraction, seed)?;
                    (kept, Some(held))
                }
            };
            let kept = training.select(&rows)?;
            let scale = PixelScale::fit(&kept);
            let standardiser = images::standardiser(&scale, training.height * training.width);
            let validation = held.map(|held| training.select(&held)?.table()).transpose()?;
            let test = match config.report_on {
                ReportedPart::Test => Some(test.table()?),
                ReportedPart::Validation => validation.clone(),
            };
            let varied = config.augmentation != Augmentation::default();
            let augmentation = varied.then_some(config.augmentation);
            let training = Training::Images(TrainingImages { images: Arc::new(kept), scale, augmentation });
            return Ok(Dataset { name, training, validation, test, standardiser });
        }
        Source::Csv => {
            let path = config.path.as_deref().ok_or_else(|| missing("data.path", "expected a CSV file"))?;
            let table = csv_table::read_table(path, &config.target, &config.ignore)?;
            let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
            if config.test_fraction > 0.0 {
                let (training, test) = table.split(config.test_fraction, seed)?;
                (name, training, Some(test), None)
            } else {
                (name, table, None, None)
            }
        }
    };
    let (training, validation) = if config.validation_fraction > 0.0 {
        let (training, validation) = rest.split(config.validation_fraction, seed)?;
        (training, Some(validation))
    } else {
        (rest, None)
    };
    let test = match config.report_on {
        ReportedPart::Test => test,
        ReportedPart::Validation => validation.clone(),
    };
    let standardiser = match fixed {
        Some(fixed) => fixed,
        None => Standardiser::fit(&training)?,
    };
    Ok(Dataset { name, training: Training::Table(training), validation, test, standardiser })
}

/// The folder of the UCI set that the configuration names.
pub(crate) fn uci_folder(config: &DataConfig) -> Result<PathBuf> {
    match &config.path {
        Some(path) => set_folder(path, config.set.as_deref()),
        None => match data_folder() {
            Some(root) => set_folder(&root.join("uci"), config.set.as_deref()),
            None => Err(missing("data.path", "expected the folder of the UCI sets, here or as $LIVI_DATA_DIR/uci")),
        },
    }
}

/// The folder of the image set that the configuration names.
fn image_folder(config: &DataConfig) -> Result<PathBuf> {
    match (&config.path, &config.set, data_folder()) {
        (Some(path), ..) => Ok(path.clone()),
        (None, Some(set), Some(root)) => Ok(root.join(set)),
        _ => Err(missing(
            "data.path",
            "expected the folder of the image set, here or as $LIVI_DATA_DIR/SET; `livi data fetch SET --to DIR` downloads one",
        )),
    }
}

/// The folder that `LIVI_DATA_DIR` names; empty it names none.
fn data_folder() -> Option<PathBuf> {
    env::var_os("LIVI_DATA_DIR").filter(|root| !root.is_empty()).map(PathBuf::from)
}

/// `path` itself where it is the set, else the set's folder under it.
fn set_folder(path: &Path, set: Option<&str>) -> Result<PathBuf> {
    let is_the_set = |name: &str| uci::set_name(path) == name;
    if uci::is_set(path) && set.is_none_or(is_the_set) {
        return Ok(path.into());
    }
    let sets = uci::find_sets(path)?;
    if let Some(folder) = set.and_then(|name| sets.iter().find(|folder| uci::set_name(folder) == name)) {
        return Ok(folder.clone());
    }
    let names: Vec<String> = sets.iter().map(|folder| uci::set_name(folder)).collect();
    let there = if names.is_empty() { "no UCI set".into() } else { names.join(", ") };
    let wanted = set.map_or_else(|| "is not set".into(), |name| format!("`{name}` is not in {}", path.display()));
    Err(Error::Config { key: "data.set".into(), problem: format!("{wanted}; {} holds {there}", path.display()) })
}

fn missing(key: &str, expected: &str) -> Error {
    Error::Config { key: key.into(), problem: format!("is not set, {expected}") }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn config(source: Source, path: &Path) -> DataConfig {
        DataConfig { source, path: Some(path.into()), ..DataConfig::default() }
    }

    fn csv_file(rows: usize) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let lines: String = (0..rows).map(|row| format!("{row},{}\n", 10 * row)).collect();
        fs::write(folder.path().join("t.csv"), format!("a,y\n{lines}")).unwrap();
        folder
    }

    fn uci_sets() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for set in ["one", "two"] {
            let folder = root.path().join(set);
            fs::create_dir(&folder).unwrap();
            let files = [
                ("data.txt", "1 2\n3 4\n5 6\n"),
                ("index_features.txt", "0"),
                ("index_target.txt", "1"),
                ("n_splits.txt", "1"),
                ("index_train_0.txt", "0 1"),
                ("index_test_0.txt", "2"),
            ];
            for (name, content) in files {
                fs::write(folder.join(name), content).unwrap();
            }
        }
        root
    }

    #[test]
    fn the_parts_of_a_csv_file_are_disjoint_and_together_all_rows() {
        let folder = csv_file(50);
        let config = DataConfig {
            target: vec!["y".into()],
            test_fraction: 0.2,
            validation_fraction: 0.25,
            ..config(Source::Csv, &folder.path().join("t.csv"))
        };
        let dataset = load(&config).unwrap();
        let (validation, test) = (dataset.validation.unwrap(), dataset.test.unwrap());
        assert_eq!((dataset.training.rows(), validation.rows, test.rows), (30, 10, 10));
        let mut all: Vec<f64> = [dataset.training.table().unwrap().x.clone(), validation.x, test.x].concat();
        all.sort_by(f64::total_cmp);
        assert_eq!(all, (0..50).map(f64::from).collect::<Vec<_>>());
    }

    #[test]
    fn validation_rows_stand_in_for_the_test_rows_and_these_are_not_seen() {
        let folder = csv_file(50);
        let config = DataConfig {
            target: vec!["y".into()],
            test_fraction: 0.2,
            validation_fraction: 0.25,
            ..config(Source::Csv, &folder.path().join("t.csv"))
        };
        let tested = load(&config).unwrap();
        let watched = load(&DataConfig { report_on: ReportedPart::Validation, ..config }).unwrap();
        assert_eq!((&watched.training, &watched.validation), (&tested.training, &tested.validation));
        assert_eq!(watched.test, watched.validation);
        let unseen = tested.test.unwrap();
        for table in [watched.training.table().cloned(), watched.validation, watched.test].iter().flatten() {
            assert!(table.x.iter().all(|x| !unseen.x.contains(x)));
        }
    }

    #[test]
    fn standardisation_uses_the_training_part_alone() {
        let folder = csv_file(20);
        let config = DataConfig {
            target: vec!["y".into()],
            validation_fraction: 0.5,
            ..config(Source::Csv, &folder.path().join("t.csv"))
        };
        let dataset = load(&config).unwrap();
        let training = dataset.training.table().unwrap();
        let mean = training.x.iter().sum::<f64>() / training.rows as f64;
        assert!((dataset.standardiser.x_mean[0] - mean).abs() < 1e-12);
        assert_eq!(dataset.standardiser, Standardiser::fit(training).unwrap());
    }

    #[test]
    fn a_csv_file_without_test_fraction_has_no_test_part() {
        let folder = csv_file(5);
        let config = DataConfig {
            target: vec!["y".into()],
            test_fraction: 0.0,
            ..config(Source::Csv, &folder.path().join("t.csv"))
        };
        let dataset = load(&config).unwrap();
        assert_eq!((dataset.training.rows(), dataset.test, dataset.name.as_str()), (5, None, "t.csv"));
    }

    #[test]
    fn a_set_is_found_by_name_under_its_folder_or_as_the_folder_itself() {
        let root = uci_sets();
        let by_name = DataConfig { set: Some("two".into()), ..config(Source::Uci, root.path()) };
        let itself = config(Source::Uci, &root.path().join("two"));
        assert_eq!(load(&by_name).unwrap(), load(&itself).unwrap());
        assert_eq!(load(&by_name).unwrap().test.unwrap().y, [6.0]);
    }

    #[test]
    fn a_set_that_is_not_there_lists_those_that_are() {
        let root = uci_sets();
        let config = DataConfig { set: Some("three".into()), ..config(Source::Uci, root.path()) };
        let message = load(&config).unwrap_err().to_string();
        assert!(message.contains("`three` is not in") && message.contains("one, two"), "{message}");
    }

    #[test]
    fn a_split_out_of_range_is_an_error() {
        let root = uci_sets();
        let config = DataConfig { split: 1, ..config(Source::Uci, &root.path().join("one")) };
        assert!(load(&config).unwrap_err().to_string().contains("1 is out of range"));
    }
}
