//! The body of a push (`POST /loki/api/v1/push`): JSON, or protobuf packed by snappy, as Loki takes them.
//!
//! Source: Grafana Loki, "HTTP API: Ingest logs", and `pkg/push/push.proto`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Read;

use flate2::read::{MultiGzDecoder, ZlibDecoder};
use model::Timestamp;
use serde::de::{Error, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{labels, wire};
use crate::limits::{MAX_LABELS, MAX_PUSH, MAX_PUSH_LINES, MAX_STREAMS};

/// A stream of a push.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stream {
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) entries: Vec<Entry>,
}

/// A line of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) at: Timestamp,
    pub(crate) line: Vec<u8>,
}

/// Why a push cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unreadable {
    /// A coding that is not known.
    #[error("Content-Encoding {0:?} is not known; send gzip, deflate, snappy or none")]
    Coding(String),
    /// It is packed in a way that cannot be unpacked.
    #[error("the body cannot be unpacked: {0}")]
    Packing(String),
    /// Too much in it.
    #[error("the push is too large: {0}; send smaller ones")]
    Large(String),
    /// It is not what it should be.
    #[error("the push cannot be read: {0}")]
    Malformed(String),
}

impl Unreadable {
    /// HTTP status.
    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::Coding(_) => 415,
            Self::Large(_) => 413,
            Self::Packing(_) | Self::Malformed(_) => 400,
        }
    }
}

/// Reads a push.
pub(crate) fn read(content_type: &str, coding: &str, body: &[u8]) -> Result<Vec<Stream>, Unreadable> {
    let is_json = content_type.split(';').next().is_some_and(|kind| {
        let kind = kind.trim();
        kind.eq_ignore_ascii_case("application/json")
    });
    let coding = coding.trim().to_ascii_lowercase();
    // As Loki does it, snappy is what protobuf is always in, named or not.
    let unpacked = match coding.as_str() {
        "" | "identity" | "snappy" => Cow::Borrowed(body),
        "gzip" => Cow::Owned(inflated(MultiGzDecoder::new(body))?),
        "deflate" => Cow::Owned(inflated(ZlibDecoder::new(body))?),
        _ => return Err(Unreadable::Coding(coding)),
    };
    let streams = if is_json { json(&unpacked)? } else { wire::read(&unsnapped(&unpacked)?)? };
    if streams.len() > MAX_STREAMS {
        return Err(Unreadable::Large(format!("{} streams, at most {MAX_STREAMS} are taken", streams.len())));
    }
    let lines: usize = streams.iter().map(|stream| stream.entries.len()).sum();
    if lines > MAX_PUSH_LINES {
        return Err(Unreadable::Large(format!("{lines} lines, at most {MAX_PUSH_LINES} are taken")));
    }
    if let Some(stream) = streams.iter().find(|stream| stream.labels.len() > MAX_LABELS) {
        let message = format!("{} labels of a stream, at most {MAX_LABELS} are taken", stream.labels.len());
        return Err(Unreadable::Large(message));
    }
    Ok(streams)
}

fn inflated(from: impl Read) -> Result<Vec<u8>, Unreadable> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(MAX_PUSH).unwrap_or(u64::MAX) + 1;
    from.take(limit).read_to_end(&mut bytes).map_err(|error| Unreadable::Packing(error.to_string()))?;
    if bytes.len() > MAX_PUSH { Err(unpacked_too_large()) } else { Ok(bytes) }
}

fn unsnapped(body: &[u8]) -> Result<Vec<u8>, Unreadable> {
    let packing = |error: snap::Error| Unreadable::Packing(error.to_string());
    if snap::raw::decompress_len(body).map_err(packing)? > MAX_PUSH {
        return Err(unpacked_too_large());
    }
    snap::raw::Decoder::new().decompress_vec(body).map_err(packing)
}

fn unpacked_too_large() -> Unreadable {
    Unreadable::Large(format!("more than {} MiB unpacked", MAX_PUSH / 1024 / 1024))
}

#[derive(Deserialize)]
struct Push<'p> {
    #[serde(borrow)]
    streams: Vec<Written<'p>>,
}

#[derive(Deserialize)]
struct Written<'p> {
    #[serde(borrow)]
    stream: BTreeMap<Cow<'p, str>, Text<'p>>,
    #[serde(borrow)]
    values: Vec<Value<'p>>,
}

/// Text that is not copied where it holds no escapes.
#[derive(Deserialize)]
struct Text<'p>(#[serde(borrow)] Cow<'p, str>);

/// Time, line, and since Loki 2.9 what belongs to it.
struct Value<'p>(Text<'p>, Text<'p>);

impl<'de: 'p, 'p> Deserialize<'de> for Value<'p> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Values;
        impl<'p> Visitor<'p> for Values {
            type Value = Value<'p>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a time and a line")
            }
            fn visit_seq<A: SeqAccess<'p>>(self, mut values: A) -> Result<Value<'p>, A::Error> {
                let missing = |_| A::Error::invalid_length(0, &self);
                let at = values.next_element()?.ok_or(()).map_err(missing)?;
                let line = values.next_element()?.ok_or(()).map_err(missing)?;
                while values.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Value(at, line))
            }
        }
        deserializer.deserialize_seq(Values)
    }
}

fn json(body: &[u8]) -> Result<Vec<Stream>, Unreadable> {
    let malformed = |error: &dyn std::fmt::Display| Unreadable::Malformed(error.to_string());
    let push: Push<'_> = serde_json::from_slice(body).map_err(|error| malformed(&error))?;
    let entry = |value: Value<'_>| {
        let Value(at, line) = value;
        let at = at
            .0
            .parse::<i64>()
            .map_err(|_| Unreadable::Malformed("a time is no number of nanoseconds since 1970".to_owned()))?;
        Ok(Entry { at: Timestamp(at / 1_000), line: one_line(line.0.as_bytes()) })
    };
    let stream = |written: Written<'_>| {
        let labels =
            written.stream.into_iter().map(|(name, value)| (name.into_owned(), value.0.into_owned()));
        let entries: Result<_, Unreadable> = written.values.into_iter().map(entry).collect();
        Ok(Stream { labels: labels.collect(), entries: entries? })
    };
    push.streams.into_iter().map(stream).collect()
}

/// A line, though what was sent may be several.
pub(super) fn one_line(text: &[u8]) -> Vec<u8> {
    let text = text.trim_ascii_end();
    let mut line = Vec::with_capacity(text.len());
    if text.iter().any(|byte| matches!(byte, b'\n' | 0)) {
        for part in text {
            match part {
                b'\n' => line.extend_from_slice(b"#012"),
                0 => line.extend_from_slice(b"#000"),
                other => line.push(*other),
            }
        }
    } else {
        line.extend_from_slice(text);
    }
    line
}

pub(super) fn stream_of(text: &str) -> Result<BTreeMap<String, String>, Unreadable> {
    labels::parse(text).ok_or_else(|| {
        let shown: String = text.chars().take(80).collect();
        Unreadable::Malformed(format!("{shown:?} are no labels; they look like {{job=\"nginx\"}}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    const JSON: &str = r#"{"streams":[{"stream":{"job":"nginx","host":"a\"b"},"values":[
        ["1795456800123456789","one \u0001"],["1795456800123456789","two\nlines\n",{"trace":"1"}]]}]}"#;

    fn expected() -> Vec<Stream> {
        let at = Timestamp(1_795_456_800_123_456);
        let labels = [("job", "nginx"), ("host", "a\"b")];
        vec![Stream {
            labels: labels.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            entries: vec![
                Entry { at, line: b"one \x01".to_vec() },
                Entry { at, line: b"two#012lines".to_vec() },
            ],
        }]
    }

    #[test]
    fn json_plain_and_packed() {
        assert_eq!(read("application/json; charset=utf-8", "", JSON.as_bytes()), Ok(expected()));
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(JSON.as_bytes()).unwrap();
        assert_eq!(read("application/json", "gzip", &gzip.finish().unwrap()), Ok(expected()));
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        zlib.write_all(JSON.as_bytes()).unwrap();
        assert_eq!(read("application/json", "deflate", &zlib.finish().unwrap()), Ok(expected()));
        for (coding, body, status) in [
            ("br", JSON, 415),
            ("gzip", JSON, 400),
            ("", "{}", 400),
            ("", r#"{"streams":[{"stream":{},"values":[["soon","x"]]}]}"#, 400),
            ("", r#"{"streams":[{"stream":{},"values":[["1"]]}]}"#, 400),
        ] {
            assert_eq!(
                read("application/json", coding, body.as_bytes()).unwrap_err().status(),
                status,
                "{body}"
            );
        }
    }

    #[test]
    fn what_is_small_and_unpacks_to_much_is_refused() {
        let zeros = vec![b' '; MAX_PUSH + 1];
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        gzip.write_all(&zeros).unwrap();
        let packed = gzip.finish().unwrap();
        assert!(packed.len() < 10_000);
        assert_eq!(read("application/json", "gzip", &packed).unwrap_err().status(), 413);
        let packed = snap::raw::Encoder::new().compress_vec(&zeros).unwrap();
        assert_eq!(read("", "", &packed).unwrap_err().status(), 413);
        let many = format!(
            r#"{{"streams":[{{"stream":{{}},"values":[{}["1",""]]}}]}}"#,
            r#"["1",""],"#.repeat(MAX_PUSH_LINES)
        );
        assert_eq!(read("application/json", "", many.as_bytes()).unwrap_err().status(), 413);
        let labels: Vec<String> = (0..=MAX_LABELS).map(|number| format!("\"l{number}\":\"\"")).collect();
        let wide = format!(r#"{{"streams":[{{"stream":{{{}}},"values":[]}}]}}"#, labels.join(","));
        assert_eq!(read("application/json", "", wide.as_bytes()).unwrap_err().status(), 413);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn bytes_of_any_kind(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for kind in ["application/json", "application/x-protobuf"] {
                for coding in ["", "gzip", "deflate"] {
                    let _ = read(kind, coding, &bytes);
                }
            }
            let packed = snap::raw::Encoder::new().compress_vec(&bytes).unwrap();
            let _ = read("application/x-protobuf", "", &packed);
        }
    }
}
