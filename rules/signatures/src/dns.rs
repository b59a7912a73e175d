//! The names asked for in a DNS message (RFC 1035 §4.1), as far as rules look at them.

/// Names of one message. Kept and reused.
#[derive(Debug, Default)]
pub(crate) struct Names {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MessageKind {
    Query,
    Response,
}

/// Questions looked at in one message; further ones are not.
const MAX_QUESTIONS: usize = 8;
/// Bytes of one name.
const MAX_NAME: usize = 255;

impl Names {
    /// Each name with a dot in front.
    pub(crate) fn dotted(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().map(move |end| {
            let name = &self.bytes[start..*end];
            start = *end;
            name
        })
    }

    /// Reads the questions of a message. `None`: this is no DNS message.
    pub(crate) fn read(&mut self, message: &[u8]) -> Option<MessageKind> {
        self.bytes.clear();
        self.ends.clear();
        let header = message.get(..12)?;
        let questions = usize::from(u16::from_be_bytes([header[4], header[5]]));
        let response = header[2] & 0x80 != 0;
        let operation = (header[2] >> 3) & 0x0f;
        if operation > 6 || questions > 64 || (questions == 0 && !response) {
            return None;
        }
        let mut at = 12;
        for _ in 0..questions.min(MAX_QUESTIONS) {
            at = self.name(message, at)?;
            message.get(at..at.checked_add(4)?)?;
            at += 4;
        }
        if response {
            self.bytes.clear();
            self.ends.clear();
            return Some(MessageKind::Response);
        }
        Some(MessageKind::Query)
    }

    /// Reads a name without compression (a question's has none); gives the place behind it.
    fn name(&mut self, message: &[u8], mut at: usize) -> Option<usize> {
        let start = self.bytes.len();
        loop {
            let length = usize::from(*message.get(at)?);
            at += 1;
            match length {
                0 => break,
                1..=63 => {
                    self.bytes.push(b'.');
                    self.bytes.extend_from_slice(message.get(at..at + length)?);
                    at += length;
                }
                _ => return None,
            }
            if self.bytes.len() - start > MAX_NAME {
                return None;
            }
        }
        if self.bytes.len() == start {
            self.bytes.push(b'.');
        }
        self.ends.push(self.bytes.len());
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_read_and_other_bytes_are_not_dns() {
        let mut names = Names::default();
        let query = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03www\x07example\x00\x00\x01\x00\x01";
        assert_eq!(names.read(query), Some(MessageKind::Query));
        assert_eq!(names.dotted().collect::<Vec<_>>(), [b".www.example"]);
        for cut in 0..query.len() {
            assert_eq!(names.read(&query[..cut]), None, "{cut}");
        }
        assert_eq!(names.read(b"GET / HTTP/1.1\r\nHost: example\r\n\r\n"), None);
    }
}
