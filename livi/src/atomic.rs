//! Writing files so that a reader, a crash or `kill -9` never meets half a file.
//!
//! A file is written under a temporary name in its own folder, flushed to the disk and then renamed over the
//! old one. Whoever opens the path sees the old content or the new one, whole. A process killed in between
//! leaves a temporary file behind; its name starts with [`TEMPORARY_PREFIX`], and
//! [`remove_stale_temporaries`] clears such files away.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::{Error, Result};

/// Start of the name of every temporary file written by this crate.
pub const TEMPORARY_PREFIX: &str = ".livi-tmp-";

/// Turns an operating system's error into [`Error::Io`] for `path`; `action` is a verb phrase such as `read`.
pub(crate) fn io_error(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_path_buf();
    move |source| Error::Io { path, action, source }
}

/// Writes `bytes` to `path`, replacing what was there in one step.
///
/// The bytes are on the disk (`fsync`) before the new name is visible.
///
/// # Errors
/// [`Error::Io`] when the folder does not exist or cannot be written; the old file then stands untouched.
///
/// # Examples
/// ```
/// let folder = tempfile::tempdir().unwrap();
/// let path = folder.path().join("report.md");
/// livi::atomic::write_atomic(&path, b"first").unwrap();
/// livi::atomic::write_atomic(&path, b"second").unwrap();
/// assert_eq!(std::fs::read(&path).unwrap(), b"second");
/// assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
/// ```
pub fn write_atomic(path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> Result<()> {
    write_atomic_with(path, |file| file.write_all(bytes.as_ref()))
}

/// As [`write_atomic`], for content that is produced piece by piece and should not be held in memory whole.
///
/// `write` gets a buffered writer onto the temporary file. When it fails, the old file stands.
///
/// # Errors
/// [`Error::Io`], as for [`write_atomic`].
pub fn write_atomic_with(
    path: impl AsRef<Path>,
    write: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>,
) -> Result<()> {
    let path = &target_of(path.as_ref());
    if fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir()) {
        // A device or a pipe has nothing that could be replaced.
        let file = OpenOptions::new().write(true).open(path).map_err(io_error(path, "open"))?;
        let mut buffered = BufWriter::with_capacity(1 << 18, &file);
        return write(&mut buffered).and_then(|()| buffered.flush()).map_err(io_error(path, "write"));
    }
    let temporary = temporary_beside(path)?;
    let mut buffered = BufWriter::with_capacity(1 << 18, temporary.as_file());
    write(&mut buffered).and_then(|()| buffered.flush()).map_err(io_error(path, "write"))?;
    drop(buffered);
    publish(temporary, path)
}

/// What a path leads to: links stay, and what they name is written.
fn target_of(path: &Path) -> PathBuf {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() => fs::canonicalize(path).unwrap_or_else(|_| path.into()),
        _ => path.into(),
    }
}

/// An empty temporary file in the folder of `path`, removed again when dropped.
fn temporary_beside(path: &Path) -> Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(TEMPORARY_PREFIX);
    // A temporary file is private by default; the published file should have the usual permissions, which
    // are these less the process's umask.
    #[cfg(unix)]
    let builder = builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder_of(path)).map_err(io_error(path, "create"))
}

/// Flushes `temporary` to the disk and renames it to `path`.
fn publish(temporary: NamedTempFile, path: &Path) -> Result<()> {
    temporary.as_file().sync_all().map_err(io_error(path, "flush to disk"))?;
    temporary.persist(path).map_err(|error| io_error(path, "rename")(error.error))?;
    sync_folder(folder_of(path))
}

/// Removes the temporary files that killed processes left in `folder`; returns how many there were.
///
/// Call it only where no other process can be writing, for instance under the lock of a run folder.
///
/// # Errors
/// [`Error::Io`] when the folder cannot be listed or a file cannot be removed.
pub fn remove_stale_temporaries(folder: &Path) -> Result<usize> {
    let mut removed = 0;
    for entry in fs::read_dir(folder).map_err(io_error(folder, "list"))? {
        let entry = entry.map_err(io_error(folder, "list"))?;
        if entry.file_name().to_string_lossy().starts_with(TEMPORARY_PREFIX) {
            fs::remove_file(entry.path()).map_err(io_error(&entry.path(), "remove"))?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// The folder that holds `path`; `.` for a bare file name.
fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Flushes a folder's entries to the disk, so that a rename survives a power failure.
#[cfg(unix)]
fn sync_folder(folder: &Path) -> Result<()> {
    File::open(folder).and_then(|file| file.sync_all()).map_err(io_error(folder, "flush to disk"))
}

/// Elsewhere folders cannot be opened as files; the rename alone must do.
#[cfg(not(unix))]
fn sync_folder(_folder: &Path) -> Result<()> {
    Ok(())
}

/// `path` with `extension` appended to its last component (`a/b.c` and `svg` give `a/b.c.svg`).
pub(crate) fn with_appended_extension(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(".");
    name.push(extension);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_no_temporary() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        write_atomic(&path, "old").unwrap();
        let error = write_atomic_with(&path, |file| {
            file.write_all(b"half of the new")?;
            Err(io::Error::other("disk full"))
        })
        .unwrap_err();
        assert!(error.to_string().contains("disk full"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn links_stay_and_what_is_no_file_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        fs::write(&real, "old").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        write_atomic(&link, "new").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&real).unwrap(), "new");
        let socket = folder.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let error = write_atomic(&socket, "x").unwrap_err().to_string();
        assert!(error.contains("socket: cannot open") && !fs::metadata(&socket).unwrap().is_file(), "{error}");
    }

    #[test]
    fn a_missing_folder_is_named_in_the_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("absent").join("file");
        let message = write_atomic(&path, "x").unwrap_err().to_string();
        assert!(message.contains("absent"), "{message}");
    }

    #[test]
    fn only_stale_temporaries_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(format!("{TEMPORARY_PREFIX}abc")), "half").unwrap();
        fs::write(folder.path().join("kept"), "whole").unwrap();
        assert_eq!(remove_stale_temporaries(folder.path()).unwrap(), 1);
        assert!(folder.path().join("kept").exists());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn a_written_file_has_the_permissions_of_an_ordinary_new_file() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ordinary"), "x").unwrap();
        write_atomic(folder.path().join("atomic"), "x").unwrap();
        let mode = |name: &str| fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode("atomic"), mode("ordinary"));
    }
}
