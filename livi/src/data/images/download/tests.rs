use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use super::*;

/// How the server on this machine behaves.
#[derive(Clone)]
struct Behaviour {
    content: Vec<u8>,
    /// Whether it can send a file from its middle.
    ranges: bool,
    /// After how many bytes it cuts each connection but the last; `None` never.
    cuts: Vec<usize>,
    status: &'static str,
}

impl Behaviour {
    fn good(content: &[u8]) -> Self {
        Self { content: content.to_vec(), ranges: true, cuts: vec![], status: "200 OK" }
    }
}

/// A server and the `Range` fields of the requests it got.
struct Server {
    home: String,
    ranges: Arc<Mutex<Vec<Option<String>>>>,
}

impl Server {
    fn start(behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let home = format!("http://{}/", listener.local_addr().unwrap());
        let ranges = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&ranges);
        thread::spawn(move || {
            for (connection, stream) in listener.incoming().enumerate() {
                let Ok(mut stream) = stream else { return };
                let range = requested_range(&mut stream);
                seen.lock().unwrap().push(range.clone());
                let cut = behaviour.cuts.get(connection).copied();
                answer(&mut stream, &behaviour, range.as_deref(), cut);
            }
        });
        Self { home, ranges }
    }

    fn urls(&self) -> Vec<String> {
        vec![format!("{}set.bin", self.home)]
    }

    fn ranges(&self) -> Vec<Option<String>> {
        self.ranges.lock().unwrap().clone()
    }
}

/// Reads a request and returns its `Range` field.
fn requested_range(stream: &mut TcpStream) -> Option<String> {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
        request.push(byte[0]);
    }
    let text = String::from_utf8_lossy(&request).to_lowercase();
    text.lines().find_map(|line| line.strip_prefix("range: ").map(Into::into))
}

fn answer(stream: &mut TcpStream, behaviour: &Behaviour, range: Option<&str>, cut: Option<usize>) {
    let total = behaviour.content.len();
    let begin = range
        .filter(|_| behaviour.ranges && behaviour.status == "200 OK")
        .map(|range| range.trim_start_matches("bytes=").trim_end_matches('-').parse::<usize>().unwrap());
    let body = &behaviour.content[begin.unwrap_or(0)..];
    let head = match begin {
        Some(begin) => format!("206 Partial Content\r\nContent-Range: bytes {begin}-{}/{total}", total - 1),
        None => behaviour.status.to_string(),
    };
    let head = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    let sent = &body[..cut.unwrap_or(body.len()).min(body.len())];
    // A client that hangs up early is none of the server's business.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(sent));
}

/// A client that takes no proxy from the environment.
fn direct() -> Agent {
    client_with(Agent::config_builder().proxy(None))
}

fn content() -> Vec<u8> {
    (0..200_000_u32).map(|k| (k.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn sum_of(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Downloads [`content`] from these addresses into the folder's `set.bin`.
fn fetch(folder: &Path, urls: &[String]) -> Result<String> {
    let sum = sum_of(&content());
    let expected = Expected { bytes: 200_000, sha256: &sum };
    download(&direct(), urls, &folder.join("set.bin"), expected, &mut Unobserved)
}

/// Names in the folder, sorted.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_whole_download_has_the_content_and_leaves_nothing_else() {
    let (folder, server) = (tempfile::tempdir().unwrap(), Server::start(Behaviour::good(&content())));
    assert_eq!(fetch(folder.path(), &server.urls()).unwrap(), server.urls()[0]);
    assert_eq!(fs::read(folder.path().join("set.bin")).unwrap(), content());
    assert_eq!(names(folder.path()), ["set.bin"]);
    assert_eq!(server.ranges(), [None]);
}

#[test]
fn a_cut_connection_is_taken_up_where_it_ended() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(Behaviour { cuts: vec![70_000, 30_000], ..Behaviour::good(&content()) });
    fetch(folder.path(), &server.urls()).unwrap();
    assert_eq!(fs::read(folder.path().join("set.bin")).unwrap(), content());
    assert_eq!(server.ranges(), [None, Some("bytes=70000-".into()), Some("bytes=100000-".into())]);
}

#[test]
fn a_later_call_goes_on_from_the_part_of_an_earlier_one() {
    let folder = tempfile::tempdir().unwrap();
    let dying = Server::start(Behaviour { cuts: vec![50_000, 0, 0], ..Behaviour::good(&content()) });
    let error = fetch(folder.path(), &dying.urls()).unwrap_err();
    assert!(error.to_string().contains("after 50000 of 200000 bytes"), "{error}");
    assert_eq!(names(folder.path()), ["set.bin.part"]);
    let server = Server::start(Behaviour::good(&content()));
    fetch(folder.path(), &server.urls()).unwrap();
    assert_eq!(server.ranges(), [Some("bytes=50000-".into())]);
    assert_eq!(fs::read(folder.path().join("set.bin")).unwrap(), content());
    assert_eq!(names(folder.path()), ["set.bin"]);
}

#[test]
fn a_part_that_is_whole_needs_no_server() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("set.bin.part"), content()).unwrap();
    fetch(folder.path(), &["http://127.0.0.1:1/set.bin".into()]).unwrap();
    assert_eq!(names(folder.path()), ["set.bin"]);
}

#[test]
fn a_server_without_ranges_sends_the_file_from_its_beginning() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("set.bin.part"), &content()[..1234]).unwrap();
    let server = Server::start(Behaviour { ranges: false, ..Behaviour::good(&content()) });
    fetch(folder.path(), &server.urls()).unwrap();
    assert_eq!(server.ranges(), [Some("bytes=1234-".into())]);
    assert_eq!(fs::read(folder.path().join("set.bin")).unwrap(), content());
}

#[test]
fn a_wrong_checksum_keeps_the_file_apart_and_names_both_sums() {
    let folder = tempfile::tempdir().unwrap();
    let mut wrong = content();
    wrong[77] ^= 1;
    let server = Server::start(Behaviour::good(&wrong));
    let message = fetch(folder.path(), &server.urls()).unwrap_err().to_string();
    for part in ["set.bin.part.bad", &sum_of(&wrong), &sum_of(&content()), "fetch again"] {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(names(folder.path()), ["set.bin.part.bad"]);
}

#[test]
fn a_file_that_is_not_there_names_address_and_answer_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(Behaviour { status: "404 Not Found", ..Behaviour::good(b"no such page") });
    let error = fetch(folder.path(), &server.urls()).unwrap_err();
    let message = error.to_string();
    for part in [&server.urls()[0], "the server answers 404 Not Found", "set.bin", "by hand"] {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(error.exit_code(), 1);
    assert!(names(folder.path()).is_empty());
}

#[test]
fn the_next_address_is_tried_when_one_fails() {
    let folder = tempfile::tempdir().unwrap();
    let missing = Server::start(Behaviour { status: "503 Service Unavailable", ..Behaviour::good(b"") });
    let server = Server::start(Behaviour::good(&content()));
    let urls = [missing.urls(), server.urls()].concat();
    assert_eq!(fetch(folder.path(), &urls).unwrap(), urls[1]);
}

#[test]
fn a_mirror_goes_on_where_the_first_address_ended() {
    let folder = tempfile::tempdir().unwrap();
    let dying = Server::start(Behaviour { cuts: vec![50_000, 0], ..Behaviour::good(&content()) });
    let server = Server::start(Behaviour::good(&content()));
    fetch(folder.path(), &[dying.urls(), server.urls()].concat()).unwrap();
    assert_eq!(server.ranges(), [Some("bytes=50000-".into())]);
}

#[test]
fn a_file_of_another_length_is_not_downloaded() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(Behaviour::good(&content()[..1000]));
    let message = fetch(folder.path(), &server.urls()).unwrap_err().to_string();
    assert!(message.contains("the file there has 1000 bytes, expected 200000"), "{message}");
    fs::write(folder.path().join("set.bin.part"), &content()[..500]).unwrap();
    let message = fetch(folder.path(), &server.urls()).unwrap_err().to_string();
    assert!(message.contains("sends the range `bytes 500-999/1000`, expected `bytes 500-199999/200000`"), "{message}");
}

#[test]
fn a_part_longer_than_the_file_is_begun_anew() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("set.bin.part"), vec![1; 300_000]).unwrap();
    let server = Server::start(Behaviour::good(&content()));
    fetch(folder.path(), &server.urls()).unwrap();
    assert_eq!(server.ranges(), [None]);
    assert_eq!(fs::read(folder.path().join("set.bin")).unwrap(), content());
}

#[test]
fn no_answer_at_all_is_said_with_the_address() {
    let folder = tempfile::tempdir().unwrap();
    let message = fetch(folder.path(), &["http://127.0.0.1:1/set.bin".into()]).unwrap_err().to_string();
    assert!(message.contains("http://127.0.0.1:1/set.bin: no answer"), "{message}");
}
