//! Downloading a file of known length and checksum, so that a broken download is resumed and never used.
//!
//! What arrives goes to `NAME.part` beside the target. A connection that is cut is taken up again where it ended (HTTP Range),
//! within a call and in a later one; a server that cannot do so sends the file from its beginning. Only a part of the right
//! length and SHA-256 gets the target's name, in one step. One of the right length and another checksum is kept apart as
//! `NAME.part.bad`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};
use ureq::Agent;
use ureq::http::{Response, header};

use super::reading::file_error;
use crate::atomic::{io_error, with_appended_extension};
use crate::{Error, Result};

/// Connections tried at one address while each of them brings something.
const MOST_CONNECTIONS: usize = 50;
/// Bytes read at a time.
const BLOCK: usize = 1 << 16;

/// Told how a download goes.
pub trait DownloadObserver {
    /// A file of `total` bytes is begun, or gone on with after `have` bytes.
    fn started(&mut self, _name: &str, _have: u64, _total: u64) {}
    /// So many bytes are there.
    fn received(&mut self, _have: u64) {}
    /// The file is whole, or given up.
    fn ended(&mut self) {}
}

/// An observer that does nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unobserved;

impl DownloadObserver for Unobserved {}

/// What a download is expected to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected<'a> {
    /// Length.
    pub bytes: u64,
    /// SHA-256 in hexadecimal digits.
    pub sha256: &'a str,
}

/// An HTTP client with patience for slow servers but not for silent ones: 30 s to connect, 60 s between two pieces.
pub fn client() -> Agent {
    client_with(Agent::config_builder())
}

fn client_with(builder: ureq::config::ConfigBuilder<ureq::typestate::AgentScope>) -> Agent {
    let silence = Some(Duration::from_secs(60));
    builder
        .http_status_as_error(false)
        .timeout_connect(Some(Duration::from_secs(30)))
        .timeout_recv_response(silence)
        .timeout_per_read(silence)
        .user_agent(concat!("livi/", env!("CARGO_PKG_VERSION")))
        .build()
        .into()
}

/// Downloads a file from the first of `urls` that has it to `target`; returns the address it came from.
///
/// # Errors
/// [`Error::Download`] when no address gave the whole file, with every address and what happened there; what arrived stands as
/// `NAME.part`, and the next call goes on from it. [`Error::File`] when the checksum is another; [`Error::Io`] when a file cannot
/// be written.
pub fn download(
    client: &Agent,
    urls: &[String],
    target: &Path,
    expected: Expected<'_>,
    observer: &mut dyn DownloadObserver,
) -> Result<String> {
    let name = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut part = Part::of(target)?;
    observer.started(&name, part.have, expected.bytes);
    let mut problems = Vec::new();
    let mut origin = None;
    for url in urls {
        match fetch_from(client, url, &mut part, expected.bytes, observer) {
            Ok(()) => {
                origin = Some(url.clone());
                break;
            }
            Err(Failure::Local(error)) => {
                observer.ended();
                return Err(error);
            }
            Err(Failure::Remote(problem)) => problems.push(format!("{url}: {problem}")),
        }
    }
    observer.ended();
    let Some(origin) = origin else {
        return Err(Error::Download { file: target.to_path_buf(), problem: problems.join("; ") });
    };
    require_checksum(&part.path, expected.sha256)?;
    File::open(&part.path).and_then(|file| file.sync_all()).map_err(io_error(&part.path, "flush to disk"))?;
    fs::rename(&part.path, target).map_err(io_error(target, "rename"))?;
    Ok(origin)
}

/// SHA-256 of a file, in hexadecimal digits.
///
/// # Errors
/// [`Error::Io`] when it cannot be read.
///
/// # Examples
/// ```
/// let folder = tempfile::tempdir().unwrap();
/// let path = folder.path().join("abc");
/// std::fs::write(&path, "abc").unwrap();
/// let sum = livi::data::images::download::sha256_of(&path).unwrap();
/// assert!(sum.starts_with("ba7816bf8f01cfea414140de5dae2223")); // FIPS 180-2, example B.1
/// ```
pub fn sha256_of(path: &Path) -> Result<String> {
    let mut file = File::open(path).map_err(io_error(path, "open"))?;
    let (mut sum, mut block) = (Sha256::new(), vec![0; BLOCK]);
    loop {
        match file.read(&mut block) {
            Ok(0) => break,
            Ok(count) => sum.update(&block[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(io_error(path, "read")(error)),
        }
    }
    Ok(sum.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The file of what has arrived.
struct Part {
    path: PathBuf,
    have: u64,
}

impl Part {
    fn of(target: &Path) -> Result<Self> {
        let path = with_appended_extension(target, "part");
        let have = match fs::metadata(&path) {
            Ok(found) => found.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(io_error(&path, "read")(error)),
        };
        Ok(Self { path, have })
    }

    /// Opens it to append; from its beginning when `afresh`.
    fn open(&mut self, afresh: bool) -> Result<File> {
        let opened = if afresh {
            File::create(&self.path)
        } else {
            OpenOptions::new().append(true).create(true).open(&self.path)
        };
        if afresh {
            self.have = 0;
        }
        opened.map_err(io_error(&self.path, "open"))
    }
}

/// Why an address did not give the file.
enum Failure {
    /// Something here: no other address helps.
    Local(Error),
    /// Something there, in words.
    Remote(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Local(error)
    }
}

/// Fills the part from one address, in as many connections as it takes while each brings something.
fn fetch_from(
    client: &Agent,
    url: &str,
    part: &mut Part,
    bytes: u64,
    observer: &mut dyn DownloadObserver,
) -> std::result::Result<(), Failure> {
    if part.have > bytes {
        part.open(true)?;
    }
    for _ in 0..MOST_CONNECTIONS {
        if part.have == bytes {
            return Ok(());
        }
        let (received, ending) = connect_once(client, url, part, bytes, observer)?;
        if part.have == bytes {
            return Ok(());
        }
        if received == 0 {
            return Err(Failure::Remote(format!("{ending} after {} of {bytes} bytes", part.have)));
        }
    }
    Err(Failure::Remote(format!("the connection was cut {MOST_CONNECTIONS} times")))
}

/// One connection: bytes received and, where it did not bring the rest, how it ended.
fn connect_once(
    client: &Agent,
    url: &str,
    part: &mut Part,
    bytes: u64,
    observer: &mut dyn DownloadObserver,
) -> std::result::Result<(u64, String), Failure> {
    let mut request = client.get(url);
    if part.have > 0 {
        request = request.header(header::RANGE, format!("bytes={}-", part.have));
    }
    let mut response = request.call().map_err(|error| Failure::Remote(format!("no answer ({error})")))?;
    let afresh = begins_afresh(&response, part.have, bytes).map_err(Failure::Remote)?;
    let mut file = part.open(afresh)?;
    let mut reader = response.body_mut().as_reader();
    let (mut received, mut block) = (0, vec![0; BLOCK]);
    loop {
        let count = match reader.read(&mut block) {
            Ok(0) => return Ok((received, "the connection ended".into())),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Ok((received, format!("the connection was cut ({error})"))),
        };
        if part.have + count as u64 > bytes {
            // Not the file that is wanted; what is there of it is of no use to another address.
            part.open(true)?;
            return Err(Failure::Remote(format!("the server sends more than the {bytes} bytes of the file")));
        }
        file.write_all(&block[..count]).map_err(io_error(&part.path, "write"))?;
        part.have += count as u64;
        received += count as u64;
        observer.received(part.have);
    }
}

/// Whether the answer holds the file from its beginning, rather than from byte `have` on; in words what else it is.
fn begins_afresh<B>(response: &Response<B>, have: u64, bytes: u64) -> std::result::Result<bool, String> {
    let field = |name: header::HeaderName| response.headers().get(name).and_then(|value| value.to_str().ok());
    match response.status().as_u16() {
        200 => match field(header::CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok()) {
            Some(length) if length != bytes => {
                Err(format!("the file there has {length} bytes, expected {bytes}: it is another one"))
            }
            _ => Ok(true),
        },
        206 => {
            let range = field(header::CONTENT_RANGE).unwrap_or_default();
            let wanted = format!("bytes {have}-{}/{bytes}", bytes.saturating_sub(1));
            if range == wanted {
                Ok(false)
            } else {
                Err(format!("the server sends the range `{range}`, expected `{wanted}`: it has another file"))
            }
        }
        _ => Err(format!("the server answers {}", response.status())),
    }
}

/// Keeps a part with another checksum apart.
fn require_checksum(part: &Path, expected: &str) -> Result<()> {
    let found = sha256_of(part)?;
    if found == expected {
        return Ok(());
    }
    let bad = with_appended_extension(part, "bad");
    fs::rename(part, &bad).map_err(io_error(part, "rename"))?;
    let problem = format!(
        "is {found}, expected {expected}; what was received is kept here and not used; fetch again, or get the file by hand"
    );
    Err(file_error(&bad, "SHA-256", problem))
}

#[cfg(test)]
mod tests;
