//! One field of a JSON document, or of one JSON object a line, read as a stream: no tree of it ever exists.

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;

use crate::{
    ListError,
    limits::{MAX_LINE_BYTES, MAX_REJECT_TEXT},
    records::{Record, Sink},
    text::{self, Line},
};

/// Reads all records; returns the number of lines.
pub(crate) fn read(
    bytes: &[u8],
    path: &[String],
    score: Option<&str>,
    sink: &mut impl Sink,
) -> Result<u32, ListError> {
    text::refuse_pages(bytes)?;
    if bytes.trim_ascii().is_empty() {
        return Ok(0);
    }
    let broken = |line: u32, error: &serde_json::Error| ListError::BrokenJson {
        line,
        column: error.column(),
        why: error.to_string().chars().take(MAX_REJECT_TEXT).collect(),
    };
    let mut walk = Walk { sink, score, text: bytes, seen: 0, line: 1, found: false };
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let whole = Step { walk: &mut walk, path }.deserialize(&mut deserializer);
    let lines = match whole {
        Ok(()) if deserializer.end().is_ok() => count_lines(bytes),
        Ok(()) => {
            walk.sink.restart();
            one_a_line(bytes, path, &mut walk)
        }
        Err(error) => return Err(broken(u32::try_from(error.line()).unwrap_or(u32::MAX), &error)),
    };
    if walk.found || path.is_empty() { Ok(lines) } else { Err(ListError::NoField { field: path.join(".") }) }
}

/// One document a line (JSON lines).
fn one_a_line<'a, S: Sink>(bytes: &[u8], path: &'a [String], walk: &mut Walk<'a, S>) -> u32 {
    let mut count = 0;
    // Lines are cut at their limit by `text::lines`; the text after that would only make the error vaguer.
    for line in text::lines(bytes) {
        count = line.number;
        if text::is_comment(line.text) {
            continue;
        }
        if line.too_long {
            let why = format!("the line is longer than {MAX_LINE_BYTES} bytes");
            walk.sink.reject(line.number, line.text, why);
            continue;
        }
        (walk.text, walk.seen, walk.line) = (&[], 0, line.number);
        let mut deserializer = serde_json::Deserializer::from_slice(line.text);
        let read = Step { walk, path }.deserialize(&mut deserializer).and_then(|()| deserializer.end());
        if let Err(error) = read {
            walk.sink.reject(line.number, line.text, format!("not JSON: {error}"));
        }
    }
    count
}

/// What is known while the document goes by.
struct Walk<'a, S> {
    sink: &'a mut S,
    score: Option<&'a str>,
    /// The document, as long as lines are counted in it.
    text: &'a [u8],
    /// Bytes of it before which the lines are counted.
    seen: usize,
    line: u32,
    /// Some value stood where the path leads.
    found: bool,
}

impl<S: Sink> Walk<'_, S> {
    /// The line of a text that was borrowed from the document.
    fn locate(&mut self, borrowed: &str) {
        let at = (borrowed.as_ptr() as usize).wrapping_sub(self.text.as_ptr() as usize);
        if let Some(between) = self.text.get(self.seen..at) {
            self.line = self.line.saturating_add(count_breaks(between));
            self.seen = at;
        }
    }

    fn value(&mut self, text: &str, score: Option<&str>) {
        self.found = true;
        let too_long = text.len() > MAX_LINE_BYTES;
        let text = &text.as_bytes()[..text.len().min(MAX_LINE_BYTES)];
        let line = Line { number: self.line, text: text.trim_ascii(), too_long, indented: false };
        self.sink.record(Record { line, score });
    }

    fn wrong(&mut self, what: &str) {
        self.found = true;
        self.sink.reject(self.line, what.as_bytes(), "a text was expected here".into());
    }
}

/// The value to which `path` still has to be gone.
struct Step<'w, 'a, S> {
    walk: &'w mut Walk<'a, S>,
    path: &'a [String],
}

impl<'de, S: Sink> DeserializeSeed<'de> for Step<'_, '_, S> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, S: Sink> Visitor<'de> for Step<'_, '_, S> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON document")
    }

    fn visit_borrowed_str<E: serde::de::Error>(self, text: &'de str) -> Result<(), E> {
        self.walk.locate(text);
        self.visit_str(text)
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        // Whoever names the field of a score gets it from an object only.
        if self.path.is_empty() {
            self.walk.value(text, None);
        }
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.other(&value)
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.other(&value)
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.other(&value)
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.other(&value)
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        // `null`: nothing is said.
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        while elements.next_element_seed(Step { walk: &mut *self.walk, path: self.path })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        let Some((first, rest)) = self.path.split_first() else {
            self.walk.wrong("{…}");
            while fields.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(());
        };
        let beside = self.walk.score.filter(|_| rest.is_empty());
        let (mut entry, mut score) = (None, None);
        while let Some(is) = fields.next_key_seed(Key { first, beside })? {
            match is {
                Field::Wanted if beside.is_some() => entry = fields.next_value_seed(Scalar(self.walk))?,
                Field::Wanted => fields.next_value_seed(Step { walk: &mut *self.walk, path: rest })?,
                Field::Score => score = fields.next_value_seed(Scalar(self.walk))?,
                Field::Other => {
                    fields.next_value::<IgnoredAny>()?;
                }
            }
        }
        if let Some(entry) = entry {
            self.walk.value(&entry, score.as_deref());
        }
        Ok(())
    }
}

impl<S: Sink> Step<'_, '_, S> {
    fn other<E>(self, value: &dyn fmt::Display) -> Result<(), E> {
        if self.path.is_empty() {
            self.walk.wrong(&value.to_string());
        }
        Ok(())
    }
}

/// Which field of an object it is.
enum Field {
    Wanted,
    Score,
    Other,
}

struct Key<'a> {
    first: &'a str,
    beside: Option<&'a str>,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Field;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Field, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Field;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_str<E>(self, name: &str) -> Result<Field, E> {
        Ok(if name == self.first {
            Field::Wanted
        } else if self.beside == Some(name) {
            Field::Score
        } else {
            Field::Other
        })
    }
}

/// A text or number kept for a moment; none for anything else.
struct Scalar<'w, 'a, S>(&'w mut Walk<'a, S>);

impl<'de, S: Sink> DeserializeSeed<'de> for Scalar<'_, '_, S> {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, S: Sink> Visitor<'de> for Scalar<'_, '_, S> {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a number")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        self.0.locate(text);
        Ok(kept(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(kept(text))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Some(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Some(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Some(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Some(value.to_string()))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Self::Value, A::Error> {
        Err(A::Error::custom("an array where a text or a number was expected"))
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<Self::Value, A::Error> {
        Err(A::Error::custom("an object where a text or a number was expected"))
    }
}

/// A longer text is no entry; its beginning is enough to say so.
fn kept(text: &str) -> Option<String> {
    Some(text.chars().take(MAX_LINE_BYTES / 4).collect())
}

fn count_breaks(bytes: &[u8]) -> u32 {
    u32::try_from(memchr::memchr_iter(b'\n', bytes).count()).unwrap_or(u32::MAX)
}

fn count_lines(bytes: &[u8]) -> u32 {
    count_breaks(bytes).saturating_add(u32::from(!bytes.ends_with(b"\n")))
}
