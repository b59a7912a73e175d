//! Following one file by inode and offset. Blocking and without a clock of its own; `file.rs` drives it.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::config::{Position, Start};
use crate::limits;

/// A file being followed.
#[derive(Debug)]
pub(crate) struct Tail {
    path: PathBuf,
    start: Start,
    known: Option<Position>,
    current: Option<Open>,
    /// The file before the rotation, and when it was rotated.
    previous: Option<(Open, Instant)>,
    chunk: Vec<u8>,
    last: Option<Position>,
    /// What happened when the file was opened ahead of the first step.
    early: Vec<String>,
    /// No file has the name.
    gone: bool,
    /// What was read last holds bytes that no text has.
    binary: bool,
    pub(crate) oversized: u64,
}

/// What one step gives.
#[derive(Debug, Default)]
pub(crate) struct Step {
    /// Lines, with the position behind each.
    pub(crate) lines: Vec<(Vec<u8>, Position)>,
    /// What happened to the file.
    pub(crate) notices: Vec<String>,
    /// Whether there may be more at once.
    pub(crate) more: bool,
}

impl Tail {
    pub(crate) fn new(path: PathBuf, start: Start, known: Option<Position>) -> Self {
        Self {
            path,
            start,
            known,
            current: None,
            previous: None,
            chunk: vec![0; limits::CHUNK],
            last: known,
            early: Vec::new(),
            gone: false,
            binary: false,
            oversized: 0,
        }
    }

    /// Opens the file, so that what is written from now on counts as new. A file that cannot be opened is tried again
    /// by [`Self::step`].
    pub(crate) fn prepare(&mut self) {
        let mut step = Step::default();
        if self.open(&mut step).is_ok() {
            self.early = step.notices;
        }
    }

    /// Behind the last line that was handed out.
    pub(crate) fn position(&self) -> Option<Position> {
        self.last
    }

    /// Whether no file has the name.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone
    }

    /// What is wrong with what was read last.
    pub(crate) fn trouble(&self) -> Option<String> {
        let path = self.path.display();
        if self.binary {
            return Some(format!("{path} is no text: it holds NUL bytes; give the path of a log file"));
        }
        self.current.as_ref().filter(|current| current.skipping).map(|_| {
            format!(
                "a line of {path} has no end within {} KiB; give the path of a log file with a line for each event",
                limits::MAX_LINE / 1024
            )
        })
    }

    /// Reads on by at most a chunk.
    ///
    /// # Errors
    /// A sentence about why the file cannot be read.
    pub(crate) fn step(&mut self, now: Instant) -> Result<Step, String> {
        let mut step = Step { notices: std::mem::take(&mut self.early), ..Step::default() };
        if let Some((previous, since)) = &mut self.previous {
            let read = previous.read(&mut self.chunk, &mut step.lines, &mut self.oversized).unwrap_or(0);
            let over = read == 0 && now.duration_since(*since) >= limits::ROTATED_GRACE;
            if over {
                previous.finish(&mut step.lines);
                self.previous = None;
            }
            if read > 0 || over {
                step.more = true;
                // Once the new file is begun, its place is the one to go on from: a late line of the old one must not
                // make the new one be read again.
                if let Some(begun) = self.current.as_ref().filter(|current| current.line_start > 0) {
                    step.lines.iter_mut().for_each(|(_, position)| *position = begun.position());
                }
                return Ok(self.handed_out(step));
            }
        }
        if self.current.is_none() && !self.open(&mut step)? {
            return Ok(step);
        }
        let Some(current) = &mut self.current else { return Ok(step) };
        if current.was_truncated().map_err(|error| sentence(&self.path, &error))? {
            step.notices.push("the file was truncated; reading from its beginning".to_owned());
            current.restart();
        }
        let Some(current) = &mut self.current else { return Ok(step) };
        match current.read(&mut self.chunk, &mut step.lines, &mut self.oversized) {
            Ok(0) => self.follow_rotation(now, &mut step),
            Ok(read) => {
                self.binary = self.chunk[..read].contains(&0);
                step.more = true;
            }
            Err(error) => {
                self.current = None;
                return Err(sentence(&self.path, &error));
            }
        }
        Ok(self.handed_out(step))
    }

    fn handed_out(&mut self, step: Step) -> Step {
        if let Some((_, position)) = step.lines.last() {
            self.last = Some(*position);
        }
        step
    }

    /// At the end of the file: is it still the one that has the name?
    fn follow_rotation(&mut self, now: Instant, step: &mut Step) {
        let Some(current) = &self.current else { return };
        let named = std::fs::metadata(&self.path);
        self.gone = named.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        let Ok(named) = named else { return };
        if (named.dev(), named.ino()) == (current.device, current.inode) {
            return;
        }
        let Some(old) = self.current.take() else { return };
        if let Some((mut oldest, _)) = self.previous.replace((old, now)) {
            oldest.finish(&mut step.lines);
        }
        // What was written later belongs at the beginning.
        self.start = Start::Beginning;
        step.notices.push("the file was rotated; reading the new one".to_owned());
        step.more = true;
    }

    /// Opens the file by name. False if there is none.
    fn open(&mut self, step: &mut Step) -> Result<bool, String> {
        let mut file = match Open::new(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // When it appears, all of it is new.
                self.start = Start::Beginning;
                self.gone = true;
                return Ok(false);
            }
            Err(error) => return Err(sentence(&self.path, &error)),
        };
        self.gone = false;
        match self.known.take() {
            Some(known) if file.holds(&known) => file.go_to(known.offset),
            Some(known) => match find_rotated(&self.path, &known) {
                Some(rotated) => {
                    step.notices
                        .push("the file was rotated meanwhile; reading the rest of the old one".to_owned());
                    self.previous = Some((rotated, Instant::now()));
                    step.more = true;
                }
                None => {
                    let message =
                        "the file is another than before and the old one is gone; reading from its beginning";
                    step.notices.push(message.to_owned());
                }
            },
            None if self.start == Start::End => {
                let end =
                    file.last_line_end(&mut self.chunk).map_err(|error| sentence(&self.path, &error))?;
                file.go_to(end);
                self.last = Some(file.position());
            }
            None => {}
        }
        let continues = self.previous.is_none();
        self.current = Some(file);
        Ok(continues)
    }
}

fn sentence(path: &Path, error: &io::Error) -> String {
    let path = path.display();
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            format!(
                "cannot read {path}: permission denied; let the daemon's user read it (group adm, for example)"
            )
        }
        io::ErrorKind::InvalidInput => format!("cannot follow {path}: {error}"),
        _ => format!("cannot read {path}: {error}"),
    }
}

/// An open file and how far it is read.
#[derive(Debug)]
struct Open {
    file: File,
    device: u64,
    inode: u64,
    /// Read up to here.
    offset: u64,
    /// Begin of the line that is not complete yet.
    line_start: u64,
    partial: Vec<u8>,
    /// The rest of an overlong line is being skipped.
    skipping: bool,
    /// First bytes of the file.
    head: Vec<u8>,
}

impl Open {
    fn new(path: &Path) -> io::Result<Self> {
        // Opening a FIFO would wait for a writer.
        let file =
            OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            let what = kind_of(&metadata);
            let message = format!("it is {what}, not a file; give the path of a log file");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        Ok(Self {
            file,
            device: metadata.dev(),
            inode: metadata.ino(),
            offset: 0,
            line_start: 0,
            partial: Vec::new(),
            skipping: false,
            head: Vec::new(),
        })
    }

    fn position(&self) -> Position {
        let head = &self.head[..self.head.len().min(usize::try_from(self.line_start).unwrap_or(usize::MAX))];
        Position {
            device: self.device,
            inode: self.inode,
            offset: self.line_start,
            head_length: u16::try_from(head.len()).unwrap_or(u16::MAX),
            head: fnv(head),
        }
    }

    /// Whether this is the file of a position, still with what was read of it.
    fn holds(&self, known: &Position) -> bool {
        (self.device, self.inode) == (known.device, known.inode) && self.has_content_of(known)
    }

    fn has_content_of(&self, known: &Position) -> bool {
        let mut head = vec![0; usize::from(known.head_length).min(limits::HEAD)];
        self.file.metadata().is_ok_and(|metadata| metadata.len() >= known.offset)
            && self.file.read_exact_at(&mut head, 0).is_ok()
            && fnv(&head) == known.head
    }

    fn go_to(&mut self, offset: u64) {
        self.offset = offset;
        self.line_start = offset;
        let mut head = vec![0; limits::HEAD.min(usize::try_from(offset).unwrap_or(limits::HEAD))];
        if self.file.read_exact_at(&mut head, 0).is_ok() {
            self.head = head;
        }
    }

    fn restart(&mut self) {
        (self.offset, self.line_start) = (0, 0);
        self.partial = Vec::new();
        self.skipping = false;
        self.head.clear();
    }

    fn was_truncated(&self) -> io::Result<bool> {
        if self.file.metadata()?.len() < self.offset {
            return Ok(true);
        }
        let mut head = [0; limits::HEAD];
        let head = &mut head[..self.head.len()];
        Ok(match self.file.read_exact_at(head, 0) {
            Ok(()) => *head != self.head[..],
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => true,
            Err(error) => return Err(error),
        })
    }

    /// Begin of the last line that is not complete, or the end of the file. Looks back over a chunk only.
    fn last_line_end(&self, chunk: &mut [u8]) -> io::Result<u64> {
        let length = self.file.metadata()?.len();
        let from = length.saturating_sub(chunk.len() as u64);
        let read = self.file.read_at(chunk, from)?;
        let newline = chunk[..read].iter().rposition(|&b| b == b'\n');
        Ok(newline.map_or(if from == 0 { 0 } else { length }, |at| from + at as u64 + 1))
    }

    fn read(
        &mut self,
        chunk: &mut [u8],
        lines: &mut Vec<(Vec<u8>, Position)>,
        oversized: &mut u64,
    ) -> io::Result<usize> {
        let read = loop {
            match self.file.read_at(chunk, self.offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        let mut rest = &chunk[..read];
        if self.head.len() < limits::HEAD && self.offset == self.head.len() as u64 {
            self.head.extend_from_slice(&rest[..rest.len().min(limits::HEAD - self.head.len())]);
        }
        while let Some(at) = rest.iter().position(|&b| b == b'\n') {
            self.add(&rest[..at], oversized);
            self.offset += at as u64 + 1;
            rest = &rest[at + 1..];
            self.line_start = self.offset;
            self.skipping = false;
            let line = std::mem::take(&mut self.partial);
            if !line.is_empty() {
                lines.push((line, self.position()));
            }
        }
        self.add(rest, oversized);
        self.offset += rest.len() as u64;
        Ok(read)
    }

    fn add(&mut self, bytes: &[u8], oversized: &mut u64) {
        let room = limits::MAX_LINE - self.partial.len();
        self.partial.extend_from_slice(&bytes[..bytes.len().min(room)]);
        if bytes.len() > room && !self.skipping {
            self.skipping = true;
            *oversized += 1;
        }
    }

    /// Nothing more will come: an unfinished line is as whole as it will be.
    fn finish(&mut self, lines: &mut Vec<(Vec<u8>, Position)>) {
        if !self.partial.is_empty() {
            self.line_start = self.offset;
            lines.push((std::mem::take(&mut self.partial), self.position()));
        }
    }
}

/// Looks for the file of a position under another name (`auth.log.1`), or for a copy of it.
fn find_rotated(path: &Path, known: &Position) -> Option<Open> {
    let name = path.file_name()?.to_string_lossy().into_owned();
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let candidates = std::fs::read_dir(folder).ok()?.take(limits::MAX_FOLDER).filter_map(Result::ok);
    let mut copy = None;
    for entry in candidates {
        let other = entry.file_name().to_string_lossy().into_owned();
        if other == name || !other.starts_with(&name) {
            continue;
        }
        let Ok(mut file) = Open::new(&entry.path()) else { continue };
        if file.holds(known) {
            file.go_to(known.offset);
            return Some(file);
        }
        if known.head_length > 0 && file.has_content_of(known) {
            file.go_to(known.offset);
            copy = Some(file);
        }
    }
    copy
}

fn kind_of(metadata: &Metadata) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    let kind = metadata.file_type();
    if kind.is_dir() {
        "a folder"
    } else if kind.is_fifo() {
        "a named pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

/// FNV-1a, 64 bits: the same over versions and machines, which the positions need.
fn fnv(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}
