//! Fetching a published set into a folder: download, check, unpack.

use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use serde::Serialize;

use super::download::{DownloadObserver, Expected, client, download, sha256_of};
use super::published::{Member, PublishedFile, PublishedSet};
use super::reading::file_error;
use crate::Result;
use crate::atomic::{io_error, write_atomic_with};

/// Where a file came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum Origin {
    /// It was in the folder before.
    AlreadyThere,
    /// It was downloaded from this address, or unpacked from what was.
    Downloaded {
        /// The address.
        url: String,
    },
}

/// A file of a set that is now in the folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FetchedFile {
    /// Name in the folder.
    pub name: String,
    /// Length.
    pub bytes: u64,
    /// Where it came from.
    #[serde(flatten)]
    pub origin: Origin,
}

/// What was fetched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fetched {
    /// Name of the set.
    pub set: String,
    /// The folder that holds the files.
    pub folder: PathBuf,
    /// The files of the set.
    pub files: Vec<FetchedFile>,
}

/// Brings the files of a published set into `folder`, which is made where it is not there. Files that are there already are
/// checked and kept; an archive is unpacked and removed.
///
/// # Errors
/// Those of [`download`]; [`Error::File`](crate::Error::File) when a file of the set's name is there with another content, or the
/// archive does not hold what it should; [`Error::Io`](crate::Error::Io) when the folder cannot be written.
pub fn fetch(set: &PublishedSet, folder: &Path, observer: &mut dyn DownloadObserver) -> Result<Fetched> {
    fs::create_dir_all(folder).map_err(io_error(folder, "create"))?;
    let mut files = Vec::new();
    if set.members.is_empty() {
        for file in set.files {
            let origin = bring(set, file, folder, observer)?;
            files.push(FetchedFile { name: file.name.into(), bytes: file.bytes, origin });
        }
    } else {
        let there = set.members.iter().all(|member| is_there(member, folder));
        for file in set.files {
            let origin = if there { Origin::AlreadyThere } else { bring_archive(set, file, folder, observer)? };
            for member in set.members {
                let path = folder.join(member.name);
                let bytes = fs::metadata(&path).map_err(io_error(&path, "read"))?.len();
                files.push(FetchedFile { name: member.name.into(), bytes, origin: origin.clone() });
            }
        }
    }
    Ok(Fetched { set: set.name.into(), folder: folder.to_path_buf(), files })
}

/// Downloads a file unless it is there.
fn bring(
    set: &PublishedSet,
    file: &PublishedFile,
    folder: &Path,
    observer: &mut dyn DownloadObserver,
) -> Result<Origin> {
    let target = folder.join(file.name);
    if target.exists() {
        let found = sha256_of(&target)?;
        if found == file.sha256 {
            return Ok(Origin::AlreadyThere);
        }
        let problem = format!("is {found}, expected {}; remove the file to fetch the published one", file.sha256);
        return Err(file_error(&target, "SHA-256", problem));
    }
    let expected = Expected { bytes: file.bytes, sha256: file.sha256 };
    let url = download(&client(), &set.urls(file), &target, expected, observer)?;
    Ok(Origin::Downloaded { url })
}

/// Downloads an archive unless it is there, takes its members out and removes it.
fn bring_archive(
    set: &PublishedSet,
    file: &PublishedFile,
    folder: &Path,
    observer: &mut dyn DownloadObserver,
) -> Result<Origin> {
    let origin = bring(set, file, folder, observer)?;
    let archive = folder.join(file.name);
    unpack(&archive, folder, set.members)?;
    fs::remove_file(&archive).map_err(io_error(&archive, "remove"))?;
    Ok(origin)
}

fn is_there(member: &Member, folder: &Path) -> bool {
    fs::metadata(folder.join(member.name))
        .is_ok_and(|found| found.is_file() && member.bytes.is_none_or(|bytes| found.len() == bytes))
}

/// Writes the members of a `.tar.gz` archive into `folder`, each in one step. Only these names are ever written, whatever the
/// archive holds, and without the archive's folders.
fn unpack(archive: &Path, folder: &Path, members: &[Member]) -> Result<()> {
    let damaged = |error: io::Error| file_error(archive, "archive", format!("cannot be unpacked ({error})"));
    let file = File::open(archive).map_err(io_error(archive, "open"))?;
    let mut tar = tar::Archive::new(MultiGzDecoder::new(BufReader::with_capacity(1 << 18, file)));
    let mut missing: Vec<&Member> = members.iter().collect();
    for entry in tar.entries().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        let path = entry.path().map_err(damaged)?.into_owned();
        let found = missing.iter().position(|member| path.file_name().is_some_and(|name| name == member.name));
        let Some(found) = found.filter(|_| entry.header().entry_type().is_file()) else { continue };
        let member = missing.swap_remove(found);
        if member.bytes.is_some_and(|bytes| bytes != entry.size()) {
            let problem = format!("has {} bytes, expected {}", entry.size(), member.bytes.unwrap_or_default());
            return Err(file_error(archive, member.name, problem));
        }
        write_atomic_with(folder.join(member.name), |out| io::copy(&mut entry, out).map(|_| ()))?;
    }
    match missing.first() {
        None => Ok(()),
        Some(member) => Err(file_error(archive, "archive", format!("holds no file `{}`", member.name))),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::super::download::Unobserved;
    use super::*;

    /// A `.tar.gz` of these files.
    fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
        let encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let mut tar = tar::Builder::new(encoder);
        for (path, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            // Set raw: the writer itself would refuse a path that leads out of the folder.
            header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_cksum();
            tar.append(&header, *content).unwrap();
        }
        tar.into_inner().unwrap().finish().unwrap()
    }

    const MEMBERS: [Member; 2] = [Member { name: "a.bin", bytes: Some(3) }, Member { name: "names.txt", bytes: None }];

    fn unpacked(files: &[(&str, &[u8])]) -> (tempfile::TempDir, Result<()>) {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("inner");
        fs::create_dir(&folder).unwrap();
        let path = outer.path().join("set.tar.gz");
        fs::write(&path, archive(files)).unwrap();
        let result = unpack(&path, &folder, &MEMBERS);
        (outer, result)
    }

    #[test]
    fn members_are_written_without_the_folders_of_the_archive() {
        let (outer, result) = unpacked(&[("set/readme", b"x"), ("set/a.bin", b"abc"), ("set/names.txt", b"one\n")]);
        result.unwrap();
        assert_eq!(fs::read(outer.path().join("inner/a.bin")).unwrap(), b"abc");
        assert_eq!(fs::read(outer.path().join("inner/names.txt")).unwrap(), b"one\n");
        assert_eq!(fs::read_dir(outer.path().join("inner")).unwrap().count(), 2);
    }

    #[test]
    fn a_path_that_leads_out_of_the_folder_does_not() {
        let (outer, result) = unpacked(&[("../a.bin", b"abc"), ("../../other", b"x"), ("names.txt", b"")]);
        result.unwrap();
        assert!(!outer.path().join("a.bin").exists() && outer.path().join("inner/a.bin").exists());
    }

    #[test]
    fn a_missing_member_and_one_of_another_length_are_named() {
        let message = unpacked(&[("set/a.bin", b"abc")]).1.unwrap_err().to_string();
        assert!(message.contains("set.tar.gz: archive: holds no file `names.txt`"), "{message}");
        let message = unpacked(&[("set/a.bin", b"abcd")]).1.unwrap_err().to_string();
        assert!(message.contains("a.bin: has 4 bytes, expected 3"), "{message}");
    }

    #[test]
    fn a_damaged_archive_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("set.tar.gz");
        let bytes = archive(&[("set/a.bin", b"abc"), ("set/names.txt", b"one\n")]);
        File::create(&path).unwrap().write_all(&bytes[..bytes.len() / 2]).unwrap();
        assert!(unpack(&path, folder.path(), &MEMBERS).is_err());
    }

    /// Set of one file that no server has.
    const NOWHERE: PublishedSet = PublishedSet {
        name: "nowhere",
        title: "",
        homes: &["http://127.0.0.1:1/"],
        files: &[PublishedFile {
            name: "abc",
            bytes: 3,
            sha256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        }],
        members: &[],
    };

    #[test]
    fn a_file_that_is_there_is_checked_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("abc"), "abc").unwrap();
        let fetched = fetch(&NOWHERE, folder.path(), &mut Unobserved).unwrap();
        assert_eq!(fetched.files[0].origin, Origin::AlreadyThere);
    }

    #[test]
    fn a_file_with_another_content_is_neither_used_nor_replaced() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("abc"), "mine").unwrap();
        let message = fetch(&NOWHERE, folder.path(), &mut Unobserved).unwrap_err().to_string();
        assert!(message.contains("abc: SHA-256: is ") && message.contains("remove the file"), "{message}");
        assert_eq!(fs::read(folder.path().join("abc")).unwrap(), b"mine");
    }

    #[test]
    fn an_unpacked_set_is_recognised_by_its_members() {
        let folder = tempfile::tempdir().unwrap();
        let set = PublishedSet { members: &MEMBERS, ..NOWHERE };
        fs::write(folder.path().join("a.bin"), "abc").unwrap();
        fs::write(folder.path().join("names.txt"), "").unwrap();
        let fetched = fetch(&set, folder.path(), &mut Unobserved).unwrap();
        assert_eq!(fetched.files.iter().map(|file| file.name.as_str()).collect::<Vec<_>>(), ["a.bin", "names.txt"]);
        assert!(fetched.files.iter().all(|file| file.origin == Origin::AlreadyThere));
    }
}
