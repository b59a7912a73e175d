//! Bytes that claim to be a query: a question to answer, an error to send back, or nothing at all.
//!
//! Read without allocating into a [`Question`] that is used again and again.

use hickory_proto::{
    rr::{Name, RecordType},
    serialize::binary::{BinDecodable, BinDecoder},
};

use crate::{
    cookie::{CLIENT_COOKIE, SERVER_COOKIE},
    limits::{EDNS_PAYLOAD, PLAIN_PAYLOAD},
    wire::{
        name::{MAX_WIRE, listed},
        walk::{HEADER, number, record},
    },
};

/// How a query came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// In a datagram; the answer's size is limited.
    #[default]
    Udp,
    /// In a stream.
    Tcp,
    /// Encrypted (TLS or HTTPS); the answer is padded where the client pads.
    Encrypted,
}

/// Answer codes that are made here (RFC 1035 §4.1.1, RFC 6895 §2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum Code {
    NoError = 0,
    FormErr = 1,
    ServFail = 2,
    NxDomain = 3,
    NotImp = 4,
    Refused = 5,
    BadVersion = 16,
    BadCookie = 23,
}

/// What of cookies came with a query (RFC 7873).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Cookie {
    /// Nothing.
    #[default]
    None,
    /// The client's alone.
    Client([u8; CLIENT_COOKIE]),
    /// The client's, and one that it had from a server; none if it is not of our size.
    Both([u8; CLIENT_COOKIE], Option<[u8; SERVER_COOKIE]>),
}

/// What the OPT record of a query says (RFC 6891).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClientEdns {
    /// Bytes the client takes in a datagram.
    pub(crate) payload: u16,
    /// DNSSEC records are wanted.
    pub(crate) dnssec_ok: bool,
    /// Cookies.
    pub(crate) cookie: Cookie,
    /// The query is padded (RFC 7830).
    pub(crate) padded: bool,
    /// The client wants to know how long its connection is kept (RFC 7828).
    pub(crate) keepalive: bool,
}

/// Bytes of a key behind the name: type and flags.
pub(crate) const KEY_TAIL: usize = 3;

/// A question, with its name in every form that is needed.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    /// Id the answer carries.
    pub(crate) id: u16,
    /// How it came.
    pub(crate) transport: Transport,
    /// Type.
    pub(crate) qtype: u16,
    /// Class, repeated in the answer; only IN is answered.
    pub(crate) class: u16,
    /// Recursion desired, copied to the answer.
    pub(crate) recursion_desired: bool,
    /// Checking disabled, passed on.
    pub(crate) checking_disabled: bool,
    /// The client wants to know whether the answer was validated (RFC 6840 §5.7).
    pub(crate) authentic_data: bool,
    /// The client speaks EDNS, so answers may carry extended errors.
    pub(crate) edns: Option<ClientEdns>,
    /// Bytes of the name on the wire.
    length: usize,
    /// The name as asked, its case kept.
    asked: [u8; MAX_WIRE],
    /// The name in lower case, then type and flags.
    key: [u8; MAX_WIRE + KEY_TAIL],
    /// The name as lists know it.
    text: [u8; MAX_WIRE],
}

/// What came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// A question.
    Question,
    /// A question that is refused with this code.
    Refused(Code),
    /// Nothing whose question could be repeated: refused by a header alone.
    Unreadable(Code),
    /// Nothing that should be answered: too short to have an id, or itself an answer.
    Ignore,
}

impl Default for Question {
    fn default() -> Self {
        Self {
            id: 0,
            transport: Transport::Udp,
            qtype: 0,
            class: 1,
            recursion_desired: true,
            checking_disabled: false,
            authentic_data: false,
            edns: None,
            length: 1,
            asked: [0; MAX_WIRE],
            key: [0; MAX_WIRE + KEY_TAIL],
            text: [0; MAX_WIRE],
        }
    }
}

impl Question {
    /// A question of nobody about a name, none if that is no name.
    pub(crate) fn about(name: &str, qtype: u16, dnssec_ok: bool, checking_disabled: bool) -> Option<Self> {
        let mut wire = Vec::with_capacity(MAX_WIRE);
        if !super::name::push(&mut wire, name) {
            return None;
        }
        let mut question = Self {
            qtype,
            checking_disabled,
            edns: dnssec_ok.then(|| ClientEdns { payload: EDNS_PAYLOAD, dnssec_ok, ..ClientEdns::default() }),
            ..Self::default()
        };
        question.take_name(&wire, 0)?;
        question.seal();
        Some(question)
    }

    /// The name as lists know it; the root is the empty text.
    pub(crate) fn text(&self) -> &str {
        str::from_utf8(self.text.get(..self.length.saturating_sub(2)).unwrap_or_default()).unwrap_or_default()
    }

    /// The name on the wire, as asked.
    pub(crate) fn asked(&self) -> &[u8] {
        self.asked.get(..self.length).unwrap_or_default()
    }

    /// The name on the wire in lower case.
    pub(crate) fn lower(&self) -> &[u8] {
        self.key.get(..self.length).unwrap_or_default()
    }

    /// What the cache knows the question by.
    pub(crate) fn key(&self) -> &[u8] {
        self.key.get(..self.length + KEY_TAIL).unwrap_or_default()
    }

    /// DNSSEC records are wanted.
    pub(crate) fn dnssec_ok(&self) -> bool {
        self.edns.is_some_and(|edns| edns.dnssec_ok)
    }

    /// Bytes the answer may have.
    pub(crate) fn limit(&self) -> usize {
        match self.transport {
            Transport::Udp => {
                let payload = self.edns.map_or(PLAIN_PAYLOAD, |edns| edns.payload);
                usize::from(payload.clamp(PLAIN_PAYLOAD, EDNS_PAYLOAD))
            }
            Transport::Tcp | Transport::Encrypted => usize::from(u16::MAX),
        }
    }

    /// The name as hickory-proto holds it, in lower case.
    pub(crate) fn name(&self) -> Name {
        Name::read(&mut BinDecoder::new(self.lower())).unwrap_or_else(|_| Name::root())
    }

    /// The type as hickory-proto holds it.
    pub(crate) fn record_type(&self) -> RecordType {
        RecordType::from(self.qtype)
    }

    /// Takes the uncompressed name at `at`; says where it ends.
    fn take_name(&mut self, bytes: &[u8], start: usize) -> Option<usize> {
        let mut at = start;
        loop {
            let length = usize::from(*bytes.get(at)?);
            // Nothing stands before the name of a question that a pointer could point to.
            at += 1 + length;
            if length > 63 || at - start > MAX_WIRE {
                return None;
            }
            if length == 0 {
                break;
            }
        }
        let name = bytes.get(start..at)?;
        self.length = name.len();
        self.asked.get_mut(..name.len())?.copy_from_slice(name);
        let mut next_length = 0;
        for (index, &byte) in name.iter().enumerate() {
            let is_length = index == next_length;
            if is_length {
                next_length = index + 1 + usize::from(byte);
            }
            self.key[index] = if is_length { byte } else { byte.to_ascii_lowercase() };
            if let Some(before) = index.checked_sub(1) {
                self.text[before] = if is_length { b'.' } else { listed(byte) };
            }
        }
        Some(at)
    }

    /// Writes type and flags behind the name, once both are known.
    fn seal(&mut self) {
        let [high, low] = self.qtype.to_be_bytes();
        let flags = u8::from(self.dnssec_ok()) | u8::from(self.checking_disabled) << 1;
        if let Some(tail) = self.key.get_mut(self.length..self.length + KEY_TAIL) {
            tail.copy_from_slice(&[high, low, flags]);
        }
    }

    /// Reads a query.
    pub(crate) fn read(&mut self, bytes: &[u8], transport: Transport) -> Received {
        let Some(header) = bytes.first_chunk::<HEADER>() else { return Received::Ignore };
        if header[2] & 0x80 != 0 {
            return Received::Ignore;
        }
        if header[2] >> 3 & 0x0f != 0 {
            return Received::Unreadable(Code::NotImp);
        }
        let count = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        // One question, no answers (RFC 9619); an OPT and perhaps a signature behind it.
        if count(4) != 1 || count(6) != 0 || count(8) != 0 || count(10) > 2 {
            return Received::Unreadable(Code::FormErr);
        }
        self.id = count(0);
        self.transport = transport;
        self.recursion_desired = header[2] & 1 != 0;
        self.authentic_data = header[3] & 0x20 != 0;
        self.checking_disabled = header[3] & 0x10 != 0;
        self.edns = None;
        match self.take_body(bytes, count(10)) {
            Some(code) => code,
            None => Received::Unreadable(Code::FormErr),
        }
    }

    fn take_body(&mut self, bytes: &[u8], additional: u16) -> Option<Received> {
        let end = self.take_name(bytes, HEADER)?;
        self.qtype = number(bytes, end)?;
        self.class = number(bytes, end + 2)?;
        let mut at = end + 4;
        let mut version = 0;
        for _ in 0..additional {
            let found = record(bytes, at)?;
            if found.kind == u16::from(RecordType::OPT) {
                if self.edns.is_some() || bytes.get(found.owner) != Some(&0) {
                    return None;
                }
                version = *bytes.get(found.ttl + 1)?;
                self.edns = Some(ClientEdns {
                    payload: number(bytes, found.ttl - 2)?,
                    dnssec_ok: bytes.get(found.ttl + 2)? & 0x80 != 0,
                    ..options(bytes.get(found.data..found.end)?)?
                });
            }
            at = found.end;
        }
        self.seal();
        if version != 0 {
            return Some(Received::Refused(Code::BadVersion));
        }
        if self.class != 1 {
            return Some(Received::Refused(Code::Refused));
        }
        Some(match self.record_type() {
            // Transfers and the other meta types are for authoritative servers (RFC 6895 §3.1).
            RecordType::AXFR | RecordType::IXFR => Received::Refused(Code::Refused),
            RecordType::OPT | RecordType::TSIG | RecordType::ZERO => Received::Refused(Code::FormErr),
            _ => Received::Question,
        })
    }
}

/// Code of the cookie option (RFC 7873 §4).
pub(crate) const COOKIE: u16 = 10;
/// Code of the option that says how long a connection is kept (RFC 7828 §3.1).
pub(crate) const KEEPALIVE: u16 = 11;
/// Code of the padding option (RFC 7830 §3).
pub(crate) const PADDING: u16 = 12;

/// The options of an OPT record; none if they are broken.
fn options(mut data: &[u8]) -> Option<ClientEdns> {
    let mut edns = ClientEdns::default();
    while !data.is_empty() {
        let (code, length) = (number(data, 0)?, usize::from(number(data, 2)?));
        let value = data.get(4..4 + length)?;
        match code {
            COOKIE => {
                let (&client, server) = value.split_first_chunk::<CLIENT_COOKIE>()?;
                edns.cookie = match server.len() {
                    0 => Cookie::Client(client),
                    8..=32 => Cookie::Both(client, server.try_into().ok()),
                    _ => return None,
                };
            }
            KEEPALIVE => edns.keepalive = true,
            PADDING => edns.padded = true,
            _ => {}
        }
        data = &data[4 + length..];
    }
    Some(edns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::{
        op::{Edns, Message, MessageType, OpCode, Query},
        rr::DNSClass,
    };
    use proptest::prelude::*;

    const HEADER_BYTES: [u8; 12] = [0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    const ADS: &[u8] = b"\x03aDs\x07example\x00\x00\x01\x00\x01";

    fn query(header: [u8; 12], rest: &[u8]) -> Vec<u8> {
        [&header[..], rest].concat()
    }

    fn read(bytes: &[u8]) -> (Received, Question) {
        let mut question = Question::default();
        (question.read(bytes, Transport::Udp), question)
    }

    #[test]
    fn a_plain_question() {
        let (received, question) = read(&query(HEADER_BYTES, ADS));
        assert_eq!(received, Received::Question);
        assert_eq!((question.id, question.text(), question.qtype), (0x1234, "ads.example", 1));
        assert!(question.recursion_desired && question.edns.is_none());
        assert_eq!(question.limit(), 512);
        assert_eq!(question.asked(), b"\x03aDs\x07example\x00");
        assert_eq!(question.key(), b"\x03ads\x07example\x00\x00\x01\x00");
        assert_eq!(question.name().to_ascii(), "ads.example.");
        let about = Question::about("ads.example", 1, false, false).unwrap();
        assert_eq!((about.key(), about.text()), (question.key(), "ads.example"));
        let (_, root) = read(&query(HEADER_BYTES, b"\0\0\x02\0\x01"));
        assert_eq!((root.text(), root.name().is_root()), ("", true));
    }

    #[test]
    fn what_is_no_question_is_refused_or_ignored() {
        assert_eq!(read(b"").0, Received::Ignore);
        assert_eq!(read(&HEADER_BYTES[..11]).0, Received::Ignore);
        let mut answer = HEADER_BYTES;
        answer[2] |= 0x80;
        assert_eq!(read(&query(answer, ADS)).0, Received::Ignore, "never answer an answer");
        let mut notify = HEADER_BYTES;
        notify[2] = 4 << 3;
        assert_eq!(read(&query(notify, ADS)).0, Received::Unreadable(Code::NotImp));
        for at in [5, 7, 9, 10] {
            let mut counts = HEADER_BYTES;
            counts[at] = 200;
            assert_eq!(read(&query(counts, ADS)).0, Received::Unreadable(Code::FormErr), "count at {at}");
        }
        let unreadable =
            |rest: &[u8]| read(&query(HEADER_BYTES, rest)).0 == Received::Unreadable(Code::FormErr);
        assert!(unreadable(&ADS[..9]), "cut");
        assert!(unreadable(b"\xc0\x0c\x00\x01\x00\x01"), "a pointer to itself");
        let longest = |last: u8| {
            let labels =
                [63, 63, 63, last].into_iter().flat_map(|length| vec![length; usize::from(length) + 1]);
            labels.chain([0, 0, 1, 0, 1]).collect::<Vec<u8>>()
        };
        let (received, question) = read(&query(HEADER_BYTES, &longest(61)));
        assert_eq!((received, question.asked().len()), (Received::Question, 255), "as long as names can be");
        assert_eq!((question.text().len(), question.name().num_labels()), (253, 4));
        assert!(unreadable(&longest(62)), "256 bytes");
        let long: Vec<u8> = [&[63; 64][..]; 4].concat().into_iter().chain([0, 0, 1, 0, 1]).collect();
        assert!(unreadable(&long), "257 bytes");
        let chaos = b"\x07version\x04bind\x00\x00\x10\x00\x03";
        assert_eq!(read(&query(HEADER_BYTES, chaos)).0, Received::Refused(Code::Refused));
        let transfer = b"\x07example\x00\x00\xfc\x00\x01";
        assert_eq!(read(&query(HEADER_BYTES, transfer)).0, Received::Refused(Code::Refused));
    }

    #[test]
    fn odd_bytes_match_nothing_but_parents_do() {
        let odd = b"\x04a.b\xff\x03Ads\x07example\x00\x00\x01\x00\x01";
        assert_eq!(read(&query(HEADER_BYTES, odd)).1.text(), "a?b?.ads.example");
    }

    #[test]
    fn options_of_clients() {
        let with = |options: &[u8]| {
            let mut header = HEADER_BYTES;
            header[11] = 1;
            let length = u16::try_from(options.len()).unwrap().to_be_bytes();
            let opt = [&b"\0\0\x29\x10\0\0\0\x80\0"[..], &length, options].concat();
            read(&query(header, &[ADS, &opt].concat()))
        };
        let (received, question) = with(b"\0\x0a\0\x08abcdefgh\0\x0c\0\x02\0\0");
        assert_eq!(received, Received::Question);
        let edns = question.edns.unwrap();
        assert!(edns.dnssec_ok && edns.padded);
        assert_eq!((edns.payload, edns.cookie), (4096, Cookie::Client(*b"abcdefgh")));
        assert_eq!(question.limit(), 1232);
        let (_, question) = with(b"\0\x0a\0\x18abcdefghABCDEFGHIJKLMNOP");
        assert_eq!(question.edns.unwrap().cookie, Cookie::Both(*b"abcdefgh", Some(*b"ABCDEFGHIJKLMNOP")));
        let (_, question) = with(b"\0\x0a\0\x12abcdefghABCDEFGHIJ");
        assert_eq!(question.edns.unwrap().cookie, Cookie::Both(*b"abcdefgh", None));
        for broken in
            [&b"\0\x0a\0\x07abcdefg"[..], b"\0\x0a\0\x0cabcdefghABCD", b"\0\x0a\0", b"\0\x0a\0\x09a"]
        {
            assert_eq!(with(broken).0, Received::Unreadable(Code::FormErr), "{broken:?}");
        }
    }

    /// What hickory-proto says of the same bytes.
    fn reference(bytes: &[u8]) -> Option<Message> {
        let message = Message::from_vec(bytes).ok()?;
        (message.metadata.message_type == MessageType::Query
            && message.metadata.op_code == OpCode::Query
            && message.queries.len() == 1)
            .then_some(message)
    }

    fn agrees(bytes: &[u8], question: &Question, message: &Message) -> Result<(), TestCaseError> {
        let asked = &message.queries[0];
        prop_assert_eq!(question.id, message.metadata.id);
        prop_assert_eq!(&question.name(), &asked.name, "{:?}", bytes);
        prop_assert_eq!(question.text(), super::super::name::text(&asked.name));
        prop_assert_eq!(question.record_type(), asked.query_type);
        prop_assert_eq!(DNSClass::from(question.class), asked.query_class);
        prop_assert_eq!(question.recursion_desired, message.metadata.recursion_desired);
        prop_assert_eq!(question.checking_disabled, message.metadata.checking_disabled);
        prop_assert_eq!(question.edns.is_some(), message.edns.is_some());
        if let (Some(ours), Some(theirs)) = (question.edns, &message.edns) {
            prop_assert_eq!(ours.dnssec_ok, theirs.flags().dnssec_ok);
            prop_assert_eq!(ours.payload.max(512), theirs.max_payload());
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1024))]

        /// Where both read bytes as a query, they read the same; hostile bytes never panic.
        #[test]
        fn reads_as_hickory_does(
            rest in proptest::collection::vec(any::<u8>(), 0..100),
            opt in any::<bool>(),
            changes in proptest::collection::vec((12..60_usize, any::<u8>()), 0..4),
            cut in 0..90_usize,
        ) {
            let mut header = HEADER_BYTES;
            let mut body = ADS.to_vec();
            if opt {
                header[11] = 1;
                body.extend_from_slice(b"\0\0\x29\x04\xd0\0\0\x80\0\0\x0c\0\x0a\0\x08abcdefgh");
            }
            body.extend(&rest[..rest.len().min(cut / 4)]);
            let mut bytes = query(header, &body);
            for (at, byte) in changes {
                if let Some(there) = bytes.get_mut(at) {
                    *there = byte;
                }
            }
            if cut % 4 == 0 {
                bytes.truncate(cut.max(12));
            }
            let (received, question) = read(&bytes);
            if received == Received::Question && let Some(message) = reference(&bytes) {
                agrees(&bytes, &question, &message)?;
            }
        }

        /// What a client of ordinary make sends is a question to both.
        #[test]
        fn reads_what_hickory_writes(
            labels in proptest::collection::vec("[a-zA-Z0-9_-]{1,20}", 0..8),
            kind in 1..100_u16, edns in any::<bool>(), dnssec in any::<bool>(), checking in any::<bool>(),
        ) {
            prop_assume!(kind != 41);
            let mut message = Message::query();
            message.metadata.recursion_desired = true;
            message.metadata.checking_disabled = checking;
            let name = Name::from_labels(labels.iter().map(String::as_bytes)).unwrap();
            message.add_query(Query::query(name, RecordType::from(kind)));
            if edns {
                let mut own = Edns::new();
                own.set_max_payload(1400).set_dnssec_ok(dnssec);
                message.set_edns(own);
            }
            let bytes = message.to_vec().unwrap();
            let (received, question) = read(&bytes);
            prop_assert_eq!(received, Received::Question);
            agrees(&bytes, &question, &message)?;
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = read(&bytes);
        }
    }
}
