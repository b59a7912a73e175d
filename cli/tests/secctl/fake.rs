//! A daemon that answers what it is told to, over a real Unix socket. Reads and writes HTTP by hand, so that the
//! command is tested against the protocol and not against its own HTTP library.

use std::{
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread::JoinHandle,
};

/// What came in: the request line and the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) line: String,
    pub(crate) version: Option<String>,
    pub(crate) body: String,
}

/// A daemon that answers every request with the same bytes, and closes.
pub(crate) struct Fake {
    socket: PathBuf,
    asked: Arc<Mutex<Vec<Asked>>>,
    thread: Option<JoinHandle<()>>,
}

impl Fake {
    /// Listens on `socket`; `answer` makes the bytes to answer with from the request's target.
    pub(crate) fn new(socket: &Path, answer: impl Fn(&str) -> Vec<u8> + Send + 'static) -> Self {
        let listener = UnixListener::bind(socket).unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                // An empty connection is how `drop` ends this.
                let Some(request) = read(&stream) else { break };
                let target = request.line.split(' ').nth(1).unwrap_or_default().to_owned();
                seen.lock().unwrap().push(request);
                // The command may hang up first, for instance when it has seen enough events.
                let _ = stream.write_all(&answer(&target));
            }
        });
        Self { socket: socket.to_owned(), asked, thread: Some(thread) }
    }

    /// Everything that was asked until now.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        drop(UnixStream::connect(&self.socket));
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// Reads one request; none if the connection ends before one.
fn read(stream: &UnixStream) -> Option<Asked> {
    let mut reader = BufReader::new(stream);
    let mut asked = Asked { line: String::new(), version: None, body: String::new() };
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end();
        if asked.line.is_empty() {
            line.clone_into(&mut asked.line);
        } else if line.is_empty() {
            break;
        } else if let Some((name, value)) = line.split_once(": ") {
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.parse().unwrap(),
                protocol::API_HEADER => asked.version = Some(value.to_owned()),
                _ => {}
            }
        }
    }
    reader.take(length).read_to_string(&mut asked.body).unwrap();
    Some(asked)
}

/// An answer with a length.
pub(crate) fn reply(status: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{}: {}\r\ncontent-length: {}\r\n\r\n{body}",
        protocol::API_HEADER,
        protocol::API_VERSION,
        body.len()
    )
    .into_bytes()
}

/// The beginning of an answer in chunks, one for each piece; without the last chunk the answer is cut.
pub(crate) fn chunks(pieces: &[&str], end: bool) -> Vec<u8> {
    let mut bytes = format!(
        "HTTP/1.1 200 OK\r\n{}: {}\r\ntransfer-encoding: chunked\r\n\r\n",
        protocol::API_HEADER,
        protocol::API_VERSION
    )
    .into_bytes();
    for piece in pieces {
        bytes.extend(format!("{:x}\r\n{piece}\r\n", piece.len()).into_bytes());
    }
    if end {
        bytes.extend(b"0\r\n\r\n");
    }
    bytes
}
