//! Starting the program, and small inputs for it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use tempfile::TempDir;

/// Settings of a model so small that thousands of steps take a second.
pub const SMALL: [&str; 8] = [
    "--set",
    "network.hidden=[4]",
    "--set",
    "sampler.latent=[4]",
    "--set",
    "sampler.hidden=[8]",
    "--set",
    "prediction.samples=20",
];

/// What a finished process left.
pub struct Finished {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Finished {
    /// Asserts success and returns standard output.
    #[track_caller]
    pub fn succeeded(self) -> String {
        assert_eq!(self.code, Some(0), "stderr: {}", self.stderr);
        self.stdout
    }

    /// Asserts the exit code for bad input, and that the message is an error line holding all the given parts.
    #[track_caller]
    pub fn refused(&self, parts: &[&str]) {
        assert_eq!(self.code, Some(2), "stdout: {} stderr: {}", self.stdout, self.stderr);
        assert!(self.stderr.starts_with("error: "), "{}", self.stderr);
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        for part in parts {
            assert!(self.stderr.contains(part), "`{part}` is not in: {}", self.stderr);
        }
    }
}

/// The program, to be started in `folder` with nothing of this machine's data in its environment.
pub fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_livi"));
    command.args(arguments).current_dir(folder).env_remove("LIVI_DATA_DIR").stdin(Stdio::null());
    command
}

/// Runs the program to its end.
pub fn livi(folder: &Path, arguments: &[&str]) -> Finished {
    let output = command(folder, arguments).output().unwrap();
    Finished {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Arguments one after another.
pub fn joined<'a>(parts: &[&[&'a str]]) -> Vec<&'a str> {
    parts.concat()
}

/// A CSV file with inputs `a`, `b` and target `y` = a - b / 2 + a small wave.
pub fn write_csv(folder: &Path, name: &str, rows: usize) {
    let lines: String = (0..rows)
        .map(|row| {
            let (a, b) = ((row * 37 % 101) as f64 / 50.0 - 1.0, (row * 53 % 89) as f64 / 40.0 - 1.0);
            format!("{a},{b},{}\n", a - 0.5 * b + 0.2 * (row as f64).sin())
        })
        .collect();
    fs::write(folder.join(name), format!("a,b,y\n{lines}")).unwrap();
}

/// A UCI folder of six rows with one split.
pub fn write_uci_set(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    let files = [
        ("data.txt", "1 2\n3 4\n5 6\n7 7\n9 11\n11 12\n"),
        ("index_features.txt", "0"),
        ("index_target.txt", "1"),
        ("n_splits.txt", "1"),
        ("index_train_0.txt", "0 1 2 3"),
        ("index_test_0.txt", "4 5"),
    ];
    for (name, content) in files {
        fs::write(folder.join(name), content).unwrap();
    }
}

/// A folder with `data.csv` (60 rows) and `run`, a completed run on it; shared by the tests, which must not change it.
pub fn trained() -> &'static Path {
    static TRAINED: OnceLock<TempDir> = OnceLock::new();
    let made = TRAINED.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        write_csv(folder.path(), "data.csv", 60);
        fs::write(
            folder.path().join("model.toml"),
            "[data]\nsource = \"csv\"\npath = \"data.csv\"\ntarget = [\"y\"]\ntest_fraction = 0.2\n[training]\nsteps = 200\n",
        )
        .unwrap();
        livi(folder.path(), &joined(&[&["train", "model.toml", "--out", "run"], &SMALL])).succeeded();
        folder
    });
    made.path()
}

/// A copy of [`trained`]'s folder, to be damaged.
pub fn copy_of_trained() -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    copy_folder(trained(), copy.path());
    copy
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// All files under a folder with their content.
pub fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else {
            let content = fs::read(&path).unwrap();
            found.insert(path, content);
        }
    }
    found
}
