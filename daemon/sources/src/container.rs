//! What container runtimes write around each line: Docker's `json-file` (an object with `log`, `stream` and `time`) and
//! CRI (`TIME STREAM F|P TEXT`). Long lines come in parts, which are joined here, each stream for itself.

use std::borrow::Cow;

use model::Timestamp;
use serde::Deserialize;

use crate::config::{Format, Position};
use crate::limits::MAX_LINE;

/// Takes lines out of what stands around them.
#[derive(Debug)]
pub(crate) struct Unwrap {
    format: Format,
    /// Begun lines of stdout and stderr.
    begun: [Option<Begun>; 2],
    /// Behind the last line of the file.
    behind: Option<Position>,
    /// The last line of the file was not of the format.
    unreadable: bool,
    pub(crate) oversized: u64,
}

/// A line of which some parts have come.
#[derive(Debug)]
struct Begun {
    bytes: Vec<u8>,
    /// In front of its first part: a restart has to read all parts again.
    before: Option<Position>,
    written: Option<Timestamp>,
}

/// A line without what stood around it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Inner {
    pub(crate) bytes: Vec<u8>,
    pub(crate) written: Option<Timestamp>,
    /// What to keep when it has been dealt with; none = nothing yet.
    pub(crate) position: Option<Position>,
}

/// A part of a line.
struct Part<'l> {
    stream: usize,
    text: Cow<'l, [u8]>,
    written: Option<Timestamp>,
    is_last: bool,
}

#[derive(Deserialize)]
struct Docker<'l> {
    #[serde(borrow)]
    log: Cow<'l, str>,
    #[serde(borrow)]
    stream: Cow<'l, str>,
    #[serde(borrow)]
    time: Cow<'l, str>,
}

impl Unwrap {
    pub(crate) fn new(format: Format, behind: Option<Position>) -> Self {
        Self { format, begun: [None, None], behind, unreadable: false, oversized: 0 }
    }

    /// What is wrong with what was read last.
    pub(crate) fn trouble(&self) -> Option<&'static str> {
        let format = match self.format {
            _ if !self.unreadable => return None,
            Format::Plain => return None,
            Format::Docker => {
                "its lines are not as Docker's `json-file` writes them; is `format = \"docker\"` right?"
            }
            Format::Cri => "its lines are not as CRI runtimes write them; is `format = \"cri\"` right?",
        };
        Some(format)
    }

    /// Takes a line of the file; `position` is behind it. None while a line is not whole.
    pub(crate) fn take(&mut self, raw: Vec<u8>, position: Position) -> Option<Inner> {
        let before = self.behind.replace(position);
        let part = match self.format {
            Format::Plain => {
                return Some(Inner { bytes: raw, written: None, position: Some(position) });
            }
            Format::Docker => docker(&raw),
            Format::Cri => cri(&raw),
        };
        self.unreadable = part.is_none();
        let Part { stream, text, written, is_last } = part?;
        let begun = self.begun[stream].take();
        let mut line = begun.unwrap_or_else(|| Begun { bytes: Vec::new(), before, written });
        let room = MAX_LINE - line.bytes.len();
        self.oversized += u64::from(room > 0 && text.len() >= room);
        for &byte in &text[..text.len().min(room)] {
            line.bytes.push(if matches!(byte, b'\n' | 0) { b' ' } else { byte });
        }
        if !is_last {
            self.begun[stream] = Some(line);
            return None;
        }
        if line.bytes.is_empty() {
            return None;
        }
        // Not beyond the begin of a line of the other stream that is not whole.
        let position = match &self.begun[1 - stream] {
            Some(other) => other.before,
            None => Some(position),
        };
        Some(Inner { bytes: line.bytes, written: line.written, position })
    }
}

fn stream(name: &[u8]) -> Option<usize> {
    match name {
        b"stdout" => Some(0),
        b"stderr" => Some(1),
        _ => None,
    }
}

fn time(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}

fn docker(line: &[u8]) -> Option<Part<'_>> {
    let Docker { log, stream: name, time: at } = serde_json::from_slice(line).ok()?;
    let is_last = log.ends_with('\n');
    let text = match log {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(mut text) => {
            text.truncate(text.len() - usize::from(is_last));
            Cow::Owned(text.into_bytes())
        }
    };
    Some(Part { stream: stream(name.as_bytes())?, text, written: time(&at), is_last })
}

fn cri(line: &[u8]) -> Option<Part<'_>> {
    let mut words = line.splitn(4, |b| *b == b' ');
    let (at, name, tags) = (words.next()?, words.next()?, words.next()?);
    let text = words.next().unwrap_or_default();
    let is_last = match tags.split(|b| *b == b':').next()? {
        b"F" => true,
        b"P" => false,
        _ => return None,
    };
    let written = Some(time(std::str::from_utf8(at).ok()?)?);
    Some(Part { stream: stream(name)?, text: Cow::Borrowed(text), written, is_last })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(offset: u64) -> Position {
        Position { offset, ..Position::default() }
    }

    /// Lines with how far they let a restart go on, for raw lines of ten bytes each.
    fn all(format: Format, lines: &[&str]) -> (Vec<(String, Option<u64>)>, Unwrap) {
        let mut unwrap = Unwrap::new(format, Some(at(0)));
        let mut found = Vec::new();
        for (index, line) in lines.iter().enumerate() {
            let behind = at((index as u64 + 1) * 10);
            if let Some(inner) = unwrap.take(line.as_bytes().to_vec(), behind) {
                let text = String::from_utf8(inner.bytes).unwrap();
                found.push((text, inner.position.map(|position| position.offset)));
            }
        }
        (found, unwrap)
    }

    #[test]
    fn docker_lines_with_parts_of_two_streams() {
        let (found, _) = all(
            Format::Docker,
            &[
                r#"{"log":"one\n","stream":"stdout","time":"2026-11-23T18:00:00.123456789Z"}"#,
                r#"{"log":"be","stream":"stdout","time":"2026-11-23T18:00:01Z"}"#,
                r#"{"log":"oops \"x\"\n","stream":"stderr","attrs":{"a":"b"},"time":"2026-11-23T18:00:01Z"}"#,
                r#"{"log":"gun\n","stream":"stdout","time":"2026-11-23T18:00:02Z"}"#,
                r#"{"log":"\n","stream":"stdout","time":"2026-11-23T18:00:02Z"}"#,
            ],
        );
        let expected = [("one", 10), ("oops \"x\"", 10), ("begun", 40)];
        assert_eq!(found, expected.map(|(text, offset)| (text.to_owned(), Some(offset))));
        let mut unwrap = Unwrap::new(Format::Docker, None);
        let line = br#"{"log":"x\n","stream":"stdout","time":"2026-11-23T18:00:00.123456789Z"}"#;
        let inner = unwrap.take(line.to_vec(), at(9)).unwrap();
        assert_eq!(inner.written, Some(Timestamp(1_795_456_800_123_456)));
    }

    #[test]
    fn cri_lines_with_parts() {
        let (found, unwrap) = all(
            Format::Cri,
            &[
                "2026-11-23T18:00:00.1Z stdout F whole line",
                "2026-11-23T18:00:00.1Z stderr P first,",
                "2026-11-23T18:00:00.1+01:00 stderr F:x  second",
                "2026-11-23T18:00:00.1Z stdout F",
            ],
        );
        assert_eq!(found, [("whole line".to_owned(), Some(10)), ("first, second".to_owned(), Some(30))]);
        assert_eq!(unwrap.trouble(), None);
        for wrong in [
            "",
            "x",
            "2026-11-23T18:00:00Z stdout X x",
            "yesterday stdout F x",
            "2026-11-23T18:00:00Z in F x",
        ] {
            let (found, unwrap) = all(Format::Cri, &[wrong]);
            assert!(found.is_empty() && unwrap.trouble().unwrap().contains("cri"), "{wrong}");
        }
    }

    #[test]
    fn what_is_no_container_log_is_told_until_it_is_one() {
        let (found, mut unwrap) = all(Format::Docker, &["plain", "{}", r#"{"log":1}"#, "[[["]);
        assert!(found.is_empty() && unwrap.trouble().unwrap().contains("docker"));
        let good = br#"{"log":"x\n","stream":"stderr","time":"never"}"#;
        assert!(unwrap.take(good.to_vec(), at(1)).is_some_and(|inner| inner.written.is_none()));
        assert_eq!(unwrap.trouble(), None);
    }

    #[test]
    fn parts_without_an_end_are_bounded() {
        let mut unwrap = Unwrap::new(Format::Cri, None);
        let part = format!("2026-11-23T18:00:00Z stdout P {}", "x".repeat(300_000));
        for number in 0..8 {
            assert_eq!(unwrap.take(part.clone().into_bytes(), at(number)), None);
        }
        let inner = unwrap.take(b"2026-11-23T18:00:00Z stdout F end".to_vec(), at(9)).unwrap();
        assert_eq!((inner.bytes.len(), unwrap.oversized), (MAX_LINE, 1));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn bytes_of_any_kind(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for format in [Format::Docker, Format::Cri] {
                let mut unwrap = Unwrap::new(format, None);
                let inner = unwrap.take(bytes.clone(), at(1));
                prop_assert!(inner.is_none_or(|inner| inner.bytes.len() <= bytes.len()));
            }
        }
    }
}
