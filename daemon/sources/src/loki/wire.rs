//! Protobuf of a push, read as it comes: nothing is kept that is not needed, and no more lines than are taken.

use model::Timestamp;

use super::push::{Entry, Stream, Unreadable, one_line, stream_of};
use crate::limits::{MAX_PUSH_LINES, MAX_STREAMS};

/// Reads a `PushRequest`.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Stream>, Unreadable> {
    let (mut streams, mut room) = (Vec::new(), MAX_PUSH_LINES);
    for field in Fields(bytes) {
        if let (1, Value::Bytes(stream)) = field? {
            if streams.len() == MAX_STREAMS {
                return Err(Unreadable::Large(format!("more than {MAX_STREAMS} streams")));
            }
            streams.push(read_stream(stream, &mut room)?);
        }
    }
    Ok(streams)
}

fn read_stream(bytes: &[u8], room: &mut usize) -> Result<Stream, Unreadable> {
    let mut stream = Stream::default();
    for field in Fields(bytes) {
        match field? {
            (1, Value::Bytes(labels)) => {
                let text = std::str::from_utf8(labels).map_err(|_| malformed("labels are no UTF-8"))?;
                stream.labels = stream_of(text)?;
            }
            (2, Value::Bytes(entry)) => {
                *room = room
                    .checked_sub(1)
                    .ok_or_else(|| Unreadable::Large(format!("more than {MAX_PUSH_LINES} lines")))?;
                stream.entries.push(read_entry(entry)?);
            }
            _ => {}
        }
    }
    Ok(stream)
}

fn read_entry(bytes: &[u8]) -> Result<Entry, Unreadable> {
    let mut entry = Entry { at: Timestamp(0), line: Vec::new() };
    for field in Fields(bytes) {
        match field? {
            (1, Value::Bytes(at)) => entry.at = read_time(at)?,
            (2, Value::Bytes(line)) => entry.line = one_line(line),
            _ => {}
        }
    }
    Ok(entry)
}

/// `google.protobuf.Timestamp`.
fn read_time(bytes: &[u8]) -> Result<Timestamp, Unreadable> {
    let (mut seconds, mut nanos) = (0_i64, 0_i64);
    for field in Fields(bytes) {
        match field? {
            (1, Value::Number(number)) => seconds = number.cast_signed(),
            (2, Value::Number(number)) => nanos = number.cast_signed(),
            _ => {}
        }
    }
    Ok(Timestamp(seconds.saturating_mul(1_000_000).saturating_add(nanos / 1_000)))
}

/// The fields of a message, by number.
struct Fields<'m>(&'m [u8]);

enum Value<'m> {
    Number(u64),
    Bytes(&'m [u8]),
    Other,
}

impl<'m> Iterator for Fields<'m> {
    type Item = Result<(u64, Value<'m>), Unreadable>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field.ok_or_else(|| malformed("it is no protobuf message, or was cut")))
    }
}

impl<'m> Fields<'m> {
    fn field(&mut self) -> Option<(u64, Value<'m>)> {
        let key = self.number()?;
        let value = match key & 7 {
            0 => Value::Number(self.number()?),
            1 => self.bytes(8).map(|_| Value::Other)?,
            2 => {
                let length = self.number()?;
                Value::Bytes(self.bytes(usize::try_from(length).ok()?)?)
            }
            5 => self.bytes(4).map(|_| Value::Other)?,
            _ => return None,
        };
        Some((key >> 3, value))
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (first, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u64::from(first & 0x7f) << shift;
            if first & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn bytes(&mut self, length: usize) -> Option<&'m [u8]> {
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }
}

fn malformed(why: &str) -> Unreadable {
    Unreadable::Malformed(why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(fields: &[(u8, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (number, content) in fields {
            bytes.push(number << 3 | 2);
            bytes.push(u8::try_from(content.len()).unwrap());
            bytes.extend_from_slice(content);
        }
        bytes
    }

    #[test]
    fn a_push_is_read_and_what_is_not_known_skipped() {
        let time = [0x08, 0x96, 0x01, 0x10, 0xd0, 0x0f];
        let entry = message(&[(1, &time), (2, b"a line\n"), (3, b"")]);
        let stream = message(&[(1, br#"{a="b"}"#), (2, &entry), (9, b"x")]);
        let push = message(&[(1, &stream), (7, b"y")]);
        let streams = read(&push).unwrap();
        assert_eq!(streams[0].labels["a"], "b");
        assert_eq!(streams[0].entries, [Entry { at: Timestamp(150_000_002), line: b"a line".to_vec() }]);
        for cut in 1..push.len() {
            let _ = read(&push[..cut]);
        }
        assert!(read(&push[..push.len() - 1]).is_err());
        assert!(read(&[0x0a, 0xff]).is_err() && read(&[0x0b]).is_err());
    }

    #[test]
    fn tiny_entries_are_bounded() {
        let stream: Vec<u8> = [0x12, 0x00].repeat(MAX_PUSH_LINES + 1);
        let mut push = vec![0x0a];
        let mut length = stream.len();
        while length > 0x7f {
            push.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        push.push(length as u8);
        push.extend_from_slice(&stream);
        assert_eq!(read(&push).unwrap_err().status(), 413);
        assert_eq!(read(&[0x0a, 0x00].repeat(MAX_STREAMS + 1)).unwrap_err().status(), 413);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn bytes_of_any_kind(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
        }
    }
}
