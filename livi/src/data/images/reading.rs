//! Reading binary files, compressed or not, with errors that say how much was found and how much expected.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use crate::atomic::io_error;
use crate::{Error, Result};

/// First bytes of a gzip stream (RFC 1952).
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// A file that is read from its beginning, decompressed when it is a gzip stream.
pub(super) struct Source<'a> {
    path: &'a Path,
    reader: Box<dyn Read>,
    compressed: bool,
}

impl<'a> Source<'a> {
    /// Opens a file; its first bytes, not its name, tell whether it is compressed.
    pub(super) fn open(path: &'a Path) -> Result<Self> {
        let file = File::open(path).map_err(io_error(path, "open"))?;
        let mut reader = BufReader::with_capacity(1 << 18, file);
        let compressed = reader.fill_buf().map_err(io_error(path, "read"))?.starts_with(&GZIP_MAGIC);
        let reader: Box<dyn Read> = if compressed { Box::new(MultiGzDecoder::new(reader)) } else { Box::new(reader) };
        Ok(Self { path, reader, compressed })
    }

    /// Appends up to `limit` bytes to `bytes` and returns how many there were; fewer mean that the file ends.
    ///
    /// Memory grows with what is there, not with what a damaged header announces.
    pub(super) fn read_up_to(&mut self, limit: u64, bytes: &mut Vec<u8>) -> Result<u64> {
        let before = bytes.len();
        let read = self.reader.by_ref().take(limit).read_to_end(bytes);
        match read {
            Ok(count) => Ok(count as u64),
            // A gzip stream that is cut off ends; what came out of it so far stands in `bytes`.
            Err(error) if self.compressed && error.kind() == io::ErrorKind::UnexpectedEof => {
                Ok((bytes.len() - before) as u64)
            }
            Err(error) if self.compressed && error.kind() == io::ErrorKind::InvalidInput => {
                Err(self.problem("gzip stream", format!("is damaged ({error})")))
            }
            Err(error) => Err(io_error(self.path, "read")(error)),
        }
    }

    /// An error when anything is left to read.
    pub(super) fn require_end(&mut self, place: &str, expected: u64) -> Result<()> {
        let mut rest = Vec::new();
        if self.read_up_to(1, &mut rest)? == 0 {
            return Ok(());
        }
        Err(self.problem(place, format!("more bytes follow after the {expected} expected")))
    }

    /// An [`Error::File`] about this file.
    pub(super) fn problem(&self, place: &str, problem: String) -> Error {
        file_error(self.path, place, problem)
    }
}

/// An [`Error::File`].
pub(super) fn file_error(path: &Path, place: impl Into<String>, problem: impl Into<String>) -> Error {
    Error::File { path: path.to_path_buf(), place: place.into(), problem: problem.into() }
}
