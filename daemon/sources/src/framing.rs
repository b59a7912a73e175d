//! Syslog messages in a TCP stream (RFC 6587): octet counting (`42 <38>…`) or a line each, told apart message by
//! message by the first byte.

use crate::limits::MAX_MESSAGE;

/// Digits of an octet count.
const COUNT_DIGITS: usize = 7;

/// Cuts a stream into messages.
#[derive(Debug, Default)]
pub(crate) struct Framer {
    buffer: Vec<u8>,
    /// Bytes of an overlong counted message still to be skipped.
    skip: usize,
    /// An overlong line is being skipped.
    skip_line: bool,
    pub(crate) oversized: u64,
}

/// The stream cannot be understood any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadFrame;

impl Framer {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let skipped = self.skip.min(bytes.len());
        self.skip -= skipped;
        self.buffer.extend_from_slice(&bytes[skipped..]);
    }

    /// The next whole message.
    pub(crate) fn next(&mut self) -> Result<Option<Vec<u8>>, BadFrame> {
        loop {
            let counted = !self.skip_line && self.buffer.first().is_some_and(|b| (b'1'..=b'9').contains(b));
            if counted {
                let digits =
                    self.buffer.iter().take(COUNT_DIGITS + 1).take_while(|b| b.is_ascii_digit()).count();
                match self.buffer.get(digits) {
                    None if digits <= COUNT_DIGITS => return Ok(None),
                    Some(b' ') if digits <= COUNT_DIGITS => {}
                    None | Some(_) => return Err(BadFrame),
                }
                let count =
                    self.buffer[..digits].iter().fold(0, |count, b| count * 10 + usize::from(b - b'0'));
                let end = digits + 1 + count;
                if count > MAX_MESSAGE {
                    self.oversized += 1;
                    self.skip = end.saturating_sub(self.buffer.len());
                    self.buffer.drain(..end.min(self.buffer.len()));
                    continue;
                }
                if self.buffer.len() < end {
                    return Ok(None);
                }
                let message = self.buffer[digits + 1..end].to_vec();
                self.buffer.drain(..end);
                return Ok(Some(message));
            }
            let Some(end) = self.buffer.iter().position(|&b| b == b'\n') else {
                if self.buffer.len() > MAX_MESSAGE {
                    self.oversized += u64::from(!self.skip_line);
                    self.skip_line = true;
                }
                if self.skip_line {
                    self.buffer.clear();
                }
                return Ok(None);
            };
            let message: Vec<u8> = self.buffer.drain(..=end).take(end).collect();
            let skipped = std::mem::take(&mut self.skip_line);
            if message.len() > MAX_MESSAGE {
                self.oversized += u64::from(!skipped);
            } else if !skipped && !message.is_empty() {
                return Ok(Some(message));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(framer: &mut Framer) -> Result<Vec<String>, BadFrame> {
        let mut messages = Vec::new();
        while let Some(message) = framer.next()? {
            messages.push(String::from_utf8_lossy(&message).into_owned());
        }
        Ok(messages)
    }

    #[test]
    fn both_framings_in_one_stream() {
        let mut framer = Framer::default();
        framer.push(b"5 <38>a<13>b\r\n\n3 x\ny<38>c");
        assert_eq!(all(&mut framer), Ok(vec!["<38>a".into(), "<13>b\r".into(), "x\ny".into()]));
        framer.push(b"\n");
        assert_eq!(all(&mut framer), Ok(vec!["<38>c".into()]));
    }

    #[test]
    fn too_long_is_skipped_and_counted() {
        let mut framer = Framer::default();
        framer.push(format!("{} ", MAX_MESSAGE + 1).as_bytes());
        assert_eq!(all(&mut framer), Ok(vec![]));
        framer.push(&vec![b'x'; MAX_MESSAGE]);
        framer.push(b"x2 ok");
        assert_eq!(all(&mut framer), Ok(vec!["ok".into()]));
        framer.push(b"<");
        for _ in 0..40 {
            framer.push(&[b'y'; 4096]);
            assert_eq!(all(&mut framer), Ok(vec![]));
            assert!(framer.buffer.len() <= MAX_MESSAGE + 4096);
        }
        framer.push(b"\n<1>z\n");
        assert_eq!((all(&mut framer), framer.oversized), (Ok(vec!["<1>z".into()]), 2));
    }

    #[test]
    fn nonsense_ends_the_stream() {
        for wrong in [&b"12345678 x"[..], b"1x"] {
            let mut framer = Framer::default();
            framer.push(wrong);
            assert_eq!(framer.next(), Err(BadFrame));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn pieces_do_not_matter(
            messages in proptest::collection::vec(("<[a-z]{0,20}", any::<bool>()), 0..8),
            cuts in proptest::collection::vec(1_usize..12, 1..20),
        ) {
            let mut stream = Vec::new();
            for (message, counted) in &messages {
                let text = if *counted { format!("{} {message}", message.len()) } else { format!("{message}\n") };
                stream.extend_from_slice(text.as_bytes());
            }
            let (mut framer, mut found, mut rest) = (Framer::default(), Vec::new(), &stream[..]);
            for cut in cuts.into_iter().cycle() {
                if rest.is_empty() { break }
                let (now, later) = rest.split_at(cut.min(rest.len()));
                framer.push(now);
                found.extend(all(&mut framer).unwrap());
                rest = later;
            }
            prop_assert_eq!(found, messages.into_iter().map(|(message, _)| message).collect::<Vec<_>>());
        }

        #[test]
        fn bytes_of_any_kind(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut framer = Framer::default();
            framer.push(&bytes);
            let mut most = 0;
            while let Ok(Some(message)) = framer.next() { most += message.len(); }
            prop_assert!(most <= bytes.len());
        }
    }
}
