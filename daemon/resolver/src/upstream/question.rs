//! A question as it is sent to an upstream, and which bytes are the answer to it.

use hickory_proto::{
    op::Message,
    rr::{DNSClass, Name, Record, RecordType},
};

use super::limits::{MAX_RECORDS, PADDING};
use crate::{limits::EDNS_PAYLOAD, wire::name::MAX_WIRE as MAX_NAME};

/// A question to an upstream. The name may differ from the client's in the case of its letters.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    /// Name, type and class as they stand in the message.
    section: Vec<u8>,
    pub(crate) dnssec_ok: bool,
    pub(crate) checking_disabled: bool,
    /// It is asked for the chain of trust.
    pub(crate) is_link: bool,
    /// What the letters of an answer in a datagram must be.
    pub(crate) letters: Letters,
}

/// Why bytes are not the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// Another id, another question, or no answer at all: somebody else's, or forged.
    Foreign,
    /// The right question in other letters: an upstream that does not keep them, or a forger who cannot know them.
    Case,
    /// The answer to the question, but it cannot be read.
    Unreadable,
}

/// Whether the letters of the name must come back as they were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Letters {
    /// They were made random.
    AsSent,
    /// Capitals and small letters are the same.
    Any,
}

/// What an upstream said.
#[derive(Debug)]
pub(crate) enum Said {
    Answer(Message),
    /// It does not fit into a datagram.
    Truncated,
}

impl Outgoing {
    /// None if the name cannot be written.
    pub(crate) fn new(name: &Name, qtype: RecordType, class: DNSClass) -> Option<Self> {
        let mut section = Vec::with_capacity(name.len() + 5);
        for label in name.iter() {
            section.push(u8::try_from(label.len()).ok().filter(|length| (1..=63).contains(length))?);
            section.extend_from_slice(label);
        }
        section.push(0);
        if section.len() > MAX_NAME {
            return None;
        }
        section.extend_from_slice(&u16::from(qtype).to_be_bytes());
        section.extend_from_slice(&u16::from(class).to_be_bytes());
        Some(Self {
            section,
            dnssec_ok: false,
            checking_disabled: false,
            is_link: false,
            letters: Letters::Any,
        })
    }

    /// Whether an answer is of use: a link of the chain of trust is none without any signature, which some upstreams
    /// cut out.
    pub(crate) fn is_served_by(&self, answer: &Message) -> bool {
        let is_signature = |record: &Record| record.record_type() == RecordType::RRSIG;
        !self.is_link || answer.answers.iter().chain(&answer.authorities).any(is_signature)
    }

    /// Gives the letters of the name random case.
    pub(crate) fn randomise_case(&mut self) {
        self.letters = Letters::AsSent;
        let Some(end) = self.section.len().checked_sub(4) else { return };
        let coins: [u8; 32] = rand::random();
        for (at, byte) in self.section.iter_mut().take(end).enumerate() {
            // Lengths of labels are below 64, so they are no letters.
            if byte.is_ascii_alphabetic() && coins.get(at / 8).is_some_and(|coins| coins >> (at % 8) & 1 == 1)
            {
                *byte ^= 0x20;
            }
        }
    }

    /// The bytes of the query. With `padded`, filled up to hide its length (RFC 8467 §4.1).
    pub(crate) fn to_bytes(&self, id: u16, padded: bool) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(PADDING);
        bytes.extend_from_slice(&id.to_be_bytes());
        bytes.extend_from_slice(&[1, u8::from(self.checking_disabled) << 4, 0, 1, 0, 0, 0, 0, 0, 1]);
        bytes.extend_from_slice(&self.section);
        bytes.extend_from_slice(&[0, 0, 41]);
        bytes.extend_from_slice(&EDNS_PAYLOAD.to_be_bytes());
        bytes.extend_from_slice(&[0, 0, u8::from(self.dnssec_ok) << 7, 0]);
        if padded {
            let filler = (bytes.len() + 2 + 4).next_multiple_of(PADDING) - (bytes.len() + 2 + 4);
            let filler = u16::try_from(filler).unwrap_or(0);
            bytes.extend_from_slice(&(filler + 4).to_be_bytes());
            bytes.extend_from_slice(&[0, 12]);
            bytes.extend_from_slice(&filler.to_be_bytes());
            bytes.resize(bytes.len() + usize::from(filler), 0);
        } else {
            bytes.extend_from_slice(&[0, 0]);
        }
        bytes
    }

    /// Reads bytes as the answer with this id. Nothing is allocated before id, kind and question are right.
    pub(crate) fn read(&self, id: u16, letters: Letters, bytes: &[u8]) -> Result<Said, Wrong> {
        let (header, rest) = bytes.split_first_chunk::<12>().ok_or(Wrong::Foreign)?;
        let number = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        // An answer, opcode QUERY, one question.
        if number(0) != id || header[2] & 0xf8 != 0x80 || number(4) != 1 {
            return Err(Wrong::Foreign);
        }
        let asked = rest.get(..self.section.len()).ok_or(Wrong::Foreign)?;
        if asked != self.section {
            let (name, kind) = self.section.split_at(self.section.len() - 4);
            let same = asked
                .split_at_checked(name.len())
                .is_some_and(|(asked, asked_kind)| asked.eq_ignore_ascii_case(name) && asked_kind == kind);
            match letters {
                _ if !same => return Err(Wrong::Foreign),
                Letters::AsSent => return Err(Wrong::Case),
                Letters::Any => {}
            }
        }
        if header[2] & 2 != 0 {
            return Ok(Said::Truncated);
        }
        if usize::from(number(6)) + usize::from(number(8)) + usize::from(number(10)) > MAX_RECORDS {
            return Err(Wrong::Unreadable);
        }
        Message::from_vec(bytes).map(Said::Answer).map_err(|_| Wrong::Unreadable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An alias, an address, an SOA, an NSEC3-like unknown type, an HTTPS record with parameters, an OPT with options.
    const ANSWER: &[u8] = b"\x12\x34\x81\x80\0\x01\0\x04\0\x01\0\x01\x03www\x07example\0\0\x01\0\x01\
        \xc0\x0c\0\x05\0\x01\0\0\x01\x2c\0\x04\x01b\xc0\x10\
        \x01b\xc0\x10\0\x01\0\x01\0\0\x01\x2c\0\x04\xc0\0\x02\x01\
        \xc0\x0c\0\x32\0\x01\0\0\x01\x2c\0\x0b\x01\0\0\x0a\0\x02\xab\xcd\0\x01\x40\
        \xc0\x0c\0\x41\0\x01\0\0\x01\x2c\0\x0a\0\x01\0\0\x01\0\x03\x02h2\
        \xc0\x10\0\x06\0\x01\0\0\x01\x2c\0\x19\x01n\xc0\x10\0\0\0\0\x01\0\0\0\x02\0\0\0\x03\0\0\0\x04\0\0\0\x05\
        \0\0\x29\x04\xd0\0\0\0\0\0\x06\0\x0f\0\x02\0\x0f";

    fn question() -> Outgoing {
        Outgoing::new(&Name::from_ascii("www.example.").unwrap(), RecordType::A, DNSClass::IN).unwrap()
    }

    #[test]
    fn a_query_is_a_message_with_edns() {
        let mut outgoing = question();
        (outgoing.dnssec_ok, outgoing.checking_disabled) = (true, true);
        for padded in [false, true] {
            let bytes = outgoing.to_bytes(0x1234, padded);
            let message = Message::from_vec(&bytes).unwrap();
            assert_eq!(message.metadata.id, 0x1234);
            assert!(message.metadata.recursion_desired && message.metadata.checking_disabled);
            assert_eq!(message.queries[0].name.to_ascii(), "www.example.");
            let edns = message.edns.unwrap();
            assert_eq!((edns.max_payload(), edns.flags().dnssec_ok), (1232, true));
            assert_eq!(bytes.len().is_multiple_of(PADDING), padded);
        }
    }

    #[test]
    fn only_answers_to_the_question_are_taken() {
        let said = |change: fn(&mut Vec<u8>)| {
            let mut bytes = ANSWER[..29].to_vec();
            (bytes[7], bytes[9], bytes[11]) = (0, 0, 0);
            change(&mut bytes);
            question().read(0x1234, Letters::AsSent, &bytes).map(|said| matches!(said, Said::Truncated))
        };
        assert_eq!(said(|_| {}), Ok(false));
        assert_eq!(said(|bytes| bytes[13] = b'W'), Err(Wrong::Case));
        let other_letters = [&ANSWER[..13], b"W", &ANSWER[14..]].concat();
        assert!(question().read(0x1234, Letters::Any, &other_letters).is_ok());
        assert_eq!(said(|bytes| bytes[2] |= 2), Ok(true), "truncated");
        assert_eq!(said(|bytes| bytes[1] ^= 1), Err(Wrong::Foreign), "id");
        assert_eq!(said(|bytes| bytes[2] &= 0x7f), Err(Wrong::Foreign), "a query");
        assert_eq!(said(|bytes| bytes[2] |= 4 << 3), Err(Wrong::Foreign), "opcode");
        assert_eq!(said(|bytes| bytes[5] = 0), Err(Wrong::Foreign), "no question");
        assert_eq!(said(|bytes| bytes[13] = b'x'), Err(Wrong::Foreign), "name");
        assert_eq!(said(|bytes| bytes[26] = 28), Err(Wrong::Foreign), "type");
        assert_eq!(said(|bytes| bytes[28] = 3), Err(Wrong::Foreign), "class");
        assert_eq!(said(|bytes| bytes.truncate(20)), Err(Wrong::Foreign), "cut");
        assert_eq!(said(|bytes| bytes[7] = 1), Err(Wrong::Unreadable), "a record that is not there");
        assert_eq!(said(|bytes| bytes[6] = 0xff), Err(Wrong::Unreadable), "too many records");
    }

    #[test]
    fn random_case_changes_letters_only() {
        let mut outgoing = question();
        let plain = outgoing.section.clone();
        let changed = (0..64).any(|_| {
            outgoing.randomise_case();
            assert!(outgoing.section.eq_ignore_ascii_case(&plain));
            assert_eq!(
                (outgoing.section[0], outgoing.section[4], &outgoing.section[12..]),
                (3, 7, &plain[12..])
            );
            outgoing.section != plain
        });
        assert!(changed, "64 coins of 10 letters never changed one");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        /// What an upstream sends, however broken, is refused or read.
        #[test]
        fn hostile_answers_never_panic(
            changes in proptest::collection::vec((12..ANSWER.len(), any::<u8>()), 0..6),
            counts in proptest::option::of(any::<[u8; 6]>()),
            cut in 12..=ANSWER.len(),
        ) {
            let mut bytes = ANSWER.to_vec();
            for (at, byte) in changes {
                bytes[at] = byte;
            }
            if let Some(counts) = counts {
                bytes[6..12].copy_from_slice(&counts);
            }
            bytes.truncate(cut);
            if let Ok(Said::Answer(mut message)) = question().read(0x1234, Letters::Any, &bytes) {
                let _ = super::super::scrub::scrub(&Name::from_ascii("www.example.").unwrap(), RecordType::A, &mut message);
                let _ = message.to_vec();
            }
        }
    }
}
