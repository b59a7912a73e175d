//! The push request, decoded from its protobuf wire format by hand (protobuf.dev, "Encoding"; `push.proto` of Loki
//! for the field numbers).

use std::collections::BTreeMap;

/// A push.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PushRequest {
    /// Its streams.
    pub streams: Vec<Stream>,
}

/// Entries with the same labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stream {
    /// Labels as text, `{job="secd"}`.
    pub labels: String,
    /// Entries in the order they came.
    pub entries: Vec<StreamEntry>,
}

/// One line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamEntry {
    /// Nanoseconds since 1970.
    pub nanoseconds: i128,
    /// The line.
    pub line: String,
    /// Structured metadata.
    pub metadata: BTreeMap<String, String>,
}

/// Why bytes are no push.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The bytes end inside of a field.
    #[error("the message is cut short")]
    Short,
    /// A number over 64 bits.
    #[error("a varint is longer than ten bytes")]
    Varint,
    /// A field of another type than it should be, or of a type that is gone.
    #[error("field {0} has the wire type {1}")]
    Type(u64, u64),
    /// Text that is not UTF-8.
    #[error("field {0} is not UTF-8")]
    Text(u64),
    /// A field that the message does not have.
    #[error("{0} has no field {1}")]
    Unknown(&'static str, u64),
    /// The same metadata name twice in one entry.
    #[error("the metadata `{0}` stands twice in an entry")]
    Twice(String),
}

/// Decodes a push. Strict: fields that the messages do not have are refused.
///
/// # Errors
/// Whatever is against the format.
pub fn decode(bytes: &[u8]) -> Result<PushRequest, WireError> {
    let mut request = PushRequest::default();
    let mut reader = Reader(bytes);
    while let Some((field, value)) = reader.field()? {
        match field {
            1 => request.streams.push(stream(value.bytes(field)?)?),
            // The format field of later versions.
            2 => drop(value.bytes(field)?),
            _ => return Err(WireError::Unknown("PushRequest", field)),
        }
    }
    Ok(request)
}

fn stream(bytes: &[u8]) -> Result<Stream, WireError> {
    let mut stream = Stream::default();
    let mut reader = Reader(bytes);
    while let Some((field, value)) = reader.field()? {
        match field {
            1 => stream.labels = value.text(field)?,
            2 => stream.entries.push(entry(value.bytes(field)?)?),
            // The hash, which Loki counts itself.
            3 => drop(value.number(field)?),
            _ => return Err(WireError::Unknown("Stream", field)),
        }
    }
    Ok(stream)
}

fn entry(bytes: &[u8]) -> Result<StreamEntry, WireError> {
    let mut entry = StreamEntry::default();
    let mut reader = Reader(bytes);
    while let Some((field, value)) = reader.field()? {
        match field {
            1 => entry.nanoseconds = timestamp(value.bytes(field)?)?,
            2 => entry.line = value.text(field)?,
            3 => {
                let (name, value) = pair(value.bytes(field)?)?;
                if entry.metadata.insert(name.clone(), value).is_some() {
                    return Err(WireError::Twice(name));
                }
            }
            _ => return Err(WireError::Unknown("Entry", field)),
        }
    }
    Ok(entry)
}

fn timestamp(bytes: &[u8]) -> Result<i128, WireError> {
    let (mut seconds, mut nanoseconds) = (0i64, 0i32);
    let mut reader = Reader(bytes);
    while let Some((field, value)) = reader.field()? {
        match field {
            1 => seconds = value.number(field)? as i64,
            2 => nanoseconds = value.number(field)? as i32,
            _ => return Err(WireError::Unknown("Timestamp", field)),
        }
    }
    Ok(i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds))
}

fn pair(bytes: &[u8]) -> Result<(String, String), WireError> {
    let mut pair = (String::new(), String::new());
    let mut reader = Reader(bytes);
    while let Some((field, value)) = reader.field()? {
        match field {
            1 => pair.0 = value.text(field)?,
            2 => pair.1 = value.text(field)?,
            _ => return Err(WireError::Unknown("LabelPair", field)),
        }
    }
    Ok(pair)
}

/// What a field holds.
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    fn number(self, field: u64) -> Result<u64, WireError> {
        match self {
            Self::Number(number) => Ok(number),
            Self::Bytes(_) => Err(WireError::Type(field, 2)),
        }
    }

    fn bytes(self, field: u64) -> Result<&'a [u8], WireError> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            Self::Number(_) => Err(WireError::Type(field, 0)),
        }
    }

    fn text(self, field: u64) -> Result<String, WireError> {
        let bytes = self.bytes(field)?;
        std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| WireError::Text(field))
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn field(&mut self) -> Result<Option<(u64, Value<'a>)>, WireError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let (field, kind) = (key >> 3, key & 7);
        match kind {
            0 => Ok(Some((field, Value::Number(self.varint()?)))),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| WireError::Short)?;
                let (bytes, rest) = self.0.split_at_checked(length).ok_or(WireError::Short)?;
                self.0 = rest;
                Ok(Some((field, Value::Bytes(bytes))))
            }
            _ => Err(WireError::Type(field, kind)),
        }
    }

    fn varint(&mut self) -> Result<u64, WireError> {
        let mut number = 0u64;
        for shift in (0..70).step_by(7) {
            let (byte, rest) = self.0.split_first().ok_or(WireError::Short)?;
            self.0 = rest;
            if shift == 63 && *byte > 1 {
                return Err(WireError::Varint);
            }
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(WireError::Varint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = vec![(number << 3) | 2, u8::try_from(content.len()).unwrap()];
        bytes.extend(content);
        bytes
    }

    #[test]
    fn a_push_by_hand() {
        let timestamp = field(1, &[1 << 3, 0x80, 0x01, 2 << 3, 5]);
        let metadata = field(3, &[field(1, b"sid"), field(2, b"7")].concat());
        let entry = field(2, &[timestamp, field(2, b"hello"), metadata].concat());
        let push = field(1, &[field(1, b"{job=\"secd\"}"), entry].concat());
        let decoded = decode(&push).unwrap();
        let expected = StreamEntry {
            nanoseconds: 128_000_000_005,
            line: "hello".into(),
            metadata: [("sid".into(), "7".into())].into(),
        };
        assert_eq!(decoded.streams[0].labels, "{job=\"secd\"}");
        assert_eq!(decoded.streams[0].entries, [expected]);
        for end in 1..push.len() {
            assert!(decode(&push[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn what_is_no_push_is_refused() {
        assert_eq!(decode(&field(9, b"x")), Err(WireError::Unknown("PushRequest", 9)));
        assert_eq!(decode(&[1 << 3, 1]), Err(WireError::Type(1, 0)));
        assert_eq!(decode(&[(1 << 3) | 5, 0, 0, 0, 0]), Err(WireError::Type(1, 5)));
        assert_eq!(decode(&field(1, &field(1, &[0xff]))), Err(WireError::Text(1)));
        assert_eq!(decode(&[0xff; 11]), Err(WireError::Varint));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode(&bytes);
        }
    }
}
