//! Bytes that claim to be a query: a question to answer, an error to send back, or nothing at all.

use hickory_proto::{
    op::{Edns, Message, MessageType, ResponseCode},
    rr::{DNSClass, Name, RecordType},
};

use crate::{
    answer,
    limits::{EDNS_PAYLOAD, PLAIN_PAYLOAD},
};

/// How a query came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// In a datagram; the answer's size is limited.
    Udp,
    /// In a stream.
    Tcp,
}

/// A question that can be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    /// Id the answer carries.
    pub(crate) id: u16,
    /// The name as asked, its case kept.
    pub(crate) name: Name,
    /// The name as lists know it; see [`text`].
    pub(crate) text: String,
    /// Type.
    pub(crate) qtype: RecordType,
    /// Class, repeated in the answer; only IN is answered.
    pub(crate) class: DNSClass,
    /// Recursion desired, copied to the answer.
    pub(crate) recursion_desired: bool,
    /// Checking disabled, passed on.
    pub(crate) checking_disabled: bool,
    /// The client speaks EDNS, so answers may carry extended errors.
    pub(crate) edns: bool,
    /// DNSSEC records are wanted.
    pub(crate) dnssec: bool,
    /// Bytes the answer may have.
    pub(crate) limit: usize,
}

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// A question.
    Question(Box<Question>),
    /// Something to refuse with these bytes.
    Refuse(Vec<u8>),
    /// Nothing that should be answered: too short to have an id, or itself an answer.
    Ignore,
}

/// Reads a query. Counts are looked at before anything is allocated for them.
pub(crate) fn read(bytes: &[u8], transport: Transport) -> Received {
    let Some((header, _)) = bytes.split_first_chunk::<12>() else { return Received::Ignore };
    let id = u16::from_be_bytes([header[0], header[1]]);
    if header[2] & 0x80 != 0 {
        return Received::Ignore;
    }
    let opcode = header[2] >> 3 & 0x0f;
    let refuse = |code| Received::Refuse(answer::error(id, opcode, code));
    if opcode != 0 {
        return refuse(ResponseCode::NotImp);
    }
    let count = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    // One question, no answers (RFC 9619); an OPT and perhaps a signature behind it.
    if count(4) != 1 || count(6) != 0 || count(8) != 0 || count(10) > 2 {
        return refuse(ResponseCode::FormErr);
    }
    let Ok(message) = Message::from_vec(bytes) else { return refuse(ResponseCode::FormErr) };
    let (Some(asked), MessageType::Query) = (message.queries.first(), message.metadata.message_type) else {
        return refuse(ResponseCode::FormErr);
    };
    let edns = message.edns.as_ref();
    let question = Question {
        id,
        name: asked.name.clone(),
        text: text(&asked.name),
        qtype: asked.query_type,
        class: asked.query_class,
        recursion_desired: message.metadata.recursion_desired,
        checking_disabled: message.metadata.checking_disabled,
        edns: edns.is_some(),
        dnssec: edns.is_some_and(|edns| edns.flags().dnssec_ok),
        limit: match transport {
            Transport::Tcp => usize::from(u16::MAX),
            Transport::Udp => {
                usize::from(edns.map_or(PLAIN_PAYLOAD, Edns::max_payload).clamp(PLAIN_PAYLOAD, EDNS_PAYLOAD))
            }
        },
    };
    if edns.is_some_and(|edns| edns.version() != 0) {
        return Received::Refuse(answer::refused(&question, ResponseCode::BADVERS));
    }
    if asked.query_class != DNSClass::IN {
        return Received::Refuse(answer::refused(&question, ResponseCode::Refused));
    }
    match question.qtype {
        // Transfers and the other meta types are for authoritative servers (RFC 6895 §3.1).
        RecordType::AXFR | RecordType::IXFR => {
            Received::Refuse(answer::refused(&question, ResponseCode::Refused))
        }
        RecordType::OPT | RecordType::TSIG | RecordType::ZERO => {
            Received::Refuse(answer::refused(&question, ResponseCode::FormErr))
        }
        _ => Received::Question(Box::new(question)),
    }
}

/// A name as lists know it: lower case, without trailing dot. Bytes that no list can hold become `?`, one for one, so
/// that they match nothing while the parents of such a name still do. The root is the empty text.
pub(crate) fn text(name: &Name) -> String {
    let mut text = String::with_capacity(name.len());
    for label in name.iter() {
        if !text.is_empty() {
            text.push('.');
        }
        text.extend(label.iter().map(|&byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => char::from(byte.to_ascii_lowercase()),
            _ => '?',
        }));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn query(header: [u8; 12], rest: &[u8]) -> Vec<u8> {
        [&header[..], rest].concat()
    }

    const HEADER: [u8; 12] = [0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    const ADS: &[u8] = b"\x03aDs\x07example\x00\x00\x01\x00\x01";

    fn code(received: &Received) -> Option<u8> {
        match received {
            Received::Refuse(bytes) => Some(bytes[3] & 0x0f),
            Received::Question(_) | Received::Ignore => None,
        }
    }

    #[test]
    fn a_plain_question() {
        let Received::Question(question) = read(&query(HEADER, ADS), Transport::Udp) else {
            panic!("no question")
        };
        assert_eq!(
            (question.id, question.text.as_str(), question.qtype),
            (0x1234, "ads.example", RecordType::A)
        );
        assert!(question.recursion_desired && !question.edns);
        assert_eq!(question.limit, 512);
        assert_eq!(question.name.to_ascii(), "aDs.example.");
    }

    #[test]
    fn what_is_no_question_is_refused_or_ignored() {
        assert_eq!(read(b"", Transport::Udp), Received::Ignore);
        assert_eq!(read(&HEADER[..11], Transport::Udp), Received::Ignore);
        let mut answer = HEADER;
        answer[2] |= 0x80;
        assert_eq!(read(&query(answer, ADS), Transport::Udp), Received::Ignore, "never answer an answer");
        let mut notify = HEADER;
        notify[2] = 4 << 3;
        assert_eq!(code(&read(&query(notify, ADS), Transport::Udp)), Some(4));
        for at in [5, 7, 9, 10] {
            let mut counts = HEADER;
            counts[at] = 200;
            assert_eq!(code(&read(&query(counts, ADS), Transport::Udp)), Some(1), "count at {at}");
        }
        assert_eq!(code(&read(&query(HEADER, &ADS[..9]), Transport::Udp)), Some(1), "cut");
        // A pointer to itself.
        assert_eq!(code(&read(&query(HEADER, b"\xc0\x0c\x00\x01\x00\x01"), Transport::Udp)), Some(1));
        let chaos = b"\x07version\x04bind\x00\x00\x10\x00\x03";
        assert_eq!(code(&read(&query(HEADER, chaos), Transport::Udp)), Some(5));
        let transfer = b"\x07example\x00\x00\xfc\x00\x01";
        assert_eq!(code(&read(&query(HEADER, transfer), Transport::Udp)), Some(5));
    }

    #[test]
    fn odd_bytes_match_nothing_but_parents_do() {
        let odd = b"\x04a.b\xff\x03Ads\x07example\x00\x00\x01\x00\x01";
        let Received::Question(question) = read(&query(HEADER, odd), Transport::Udp) else {
            panic!("no question")
        };
        assert_eq!(question.text, "a?b?.ads.example");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = read(&bytes, Transport::Udp);
        }

        #[test]
        fn damaged_queries_never_panic(
            rest in proptest::collection::vec(any::<u8>(), 0..100), additional in 0..3_u8, cut in 0..40_usize,
        ) {
            let mut header = HEADER;
            header[11] = additional;
            let bytes = query(header, &[&ADS[..ADS.len().min(cut)], &rest].concat());
            if let Received::Refuse(answer) = read(&bytes, Transport::Tcp) {
                prop_assert_eq!(&answer[..2], &bytes[..2]);
                prop_assert!(answer.len() <= bytes.len().max(12) + 11 + 20);
            }
        }
    }
}
