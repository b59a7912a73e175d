//! mDNS messages as bytes (RFC 1035 §4, RFC 6762 §18). What no service needs is read over, so that a record nobody knows
//! does not spoil the rest.

use std::{
    collections::HashMap,
    net::{Ipv4Addr, Ipv6Addr},
};

use crate::limits::{MAX_PACKET, MAX_QUESTIONS, MAX_RECORDS};

pub(crate) const A: u16 = 1;
pub(crate) const PTR: u16 = 12;
pub(crate) const TXT: u16 = 16;
pub(crate) const AAAA: u16 = 28;
pub(crate) const SRV: u16 = 33;
pub(crate) const ANY: u16 = 255;
/// Class IN, and the bit that means "answer me alone" in a question and "forget what you knew" in a record.
const IN: u16 = 1;
const TOP_BIT: u16 = 0x8000;
/// Bytes of a name on the wire (RFC 1035 §2.3.4).
const MAX_NAME: usize = 255;
/// Bits of the header that are looked at: response, opcode, answer of authority, truncation, code.
const RESPONSE: u16 = 0x8000;
const OPCODE_AND_CODE: u16 = 0x780f;
const AUTHORITATIVE: u16 = 0x0400;
/// Places that a compressed name can point at.
const MAX_POINTER: usize = 0x3fff;

/// A name, as bytes of labels with their lengths, without the empty one at its end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Name(Vec<u8>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    pub(crate) name: Name,
    pub(crate) kind: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) name: Name,
    /// What was known of this name and type is to be forgotten.
    pub(crate) flush: bool,
    pub(crate) ttl: u32,
    pub(crate) data: Data,
}

/// What services are made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Data {
    A(Ipv4Addr),
    Aaaa(Ipv6Addr),
    Ptr(Name),
    Srv { priority: u16, weight: u16, port: u16, target: Name },
    Txt(Vec<u8>),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) id: u16,
    pub(crate) response: bool,
    pub(crate) questions: Vec<Question>,
    pub(crate) answers: Vec<Record>,
    pub(crate) authorities: Vec<Record>,
    pub(crate) additionals: Vec<Record>,
}

/// It is no mDNS message, or one beyond the limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

impl Name {
    #[cfg(test)]
    pub(crate) fn of_labels<'l>(labels: impl IntoIterator<Item = &'l [u8]>) -> Option<Self> {
        let mut name = Vec::new();
        for label in labels {
            let length = u8::try_from(label.len()).ok().filter(|length| (1..=63).contains(length))?;
            name.push(length);
            name.extend_from_slice(label);
        }
        (name.len() < MAX_NAME).then_some(Self(name))
    }

    pub(crate) fn labels(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.0.as_slice();
        std::iter::from_fn(move || {
            let (length, after) = rest.split_first()?;
            let (label, after) = after.split_at_checked(usize::from(*length))?;
            rest = after;
            Some(label)
        })
    }

    /// In lower case, by which names are the same. Lengths are below the letters.
    pub(crate) fn key(&self) -> Vec<u8> {
        self.0.to_ascii_lowercase()
    }

    pub(crate) fn is(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Data {
    pub(crate) fn kind(&self) -> u16 {
        match self {
            Self::A(_) => A,
            Self::Aaaa(_) => AAAA,
            Self::Ptr(_) => PTR,
            Self::Srv { .. } => SRV,
            Self::Txt(_) => TXT,
        }
    }
}

impl Message {
    pub(crate) fn records(&self) -> impl Iterator<Item = &Record> {
        self.answers.iter().chain(&self.authorities).chain(&self.additionals)
    }

    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() > MAX_PACKET {
            return Err(Malformed);
        }
        let mut reader = Reader { bytes, at: 0 };
        let (id, flags) = (reader.number()?, reader.number()?);
        if flags & OPCODE_AND_CODE != 0 {
            return Err(Malformed);
        }
        let counts =
            [reader.number()?, reader.number()?, reader.number()?, reader.number()?].map(usize::from);
        let [questions, sections @ ..] = counts;
        if questions > MAX_QUESTIONS || sections.iter().sum::<usize>() > MAX_RECORDS {
            return Err(Malformed);
        }
        let mut message = Self { id, response: flags & RESPONSE != 0, ..Self::default() };
        for _ in 0..questions {
            let (name, kind, class) = (reader.name()?, reader.number()?, reader.number()?);
            if matches!(class & !TOP_BIT, IN | ANY) {
                message.questions.push(Question { name, kind });
            }
        }
        let [answers, authorities, additionals] = sections;
        for (section, count) in [
            (&mut message.answers, answers),
            (&mut message.authorities, authorities),
            (&mut message.additionals, additionals),
        ] {
            for _ in 0..count {
                section.extend(reader.record()?);
            }
        }
        Ok(message)
    }

    /// As bytes; none if they are too many.
    pub(crate) fn write(&self) -> Option<Vec<u8>> {
        let mut writer = Writer::default();
        let flags = if self.response { RESPONSE | AUTHORITATIVE } else { 0 };
        for number in [self.id, flags] {
            writer.number(number);
        }
        let counts =
            [self.questions.len(), self.answers.len(), self.authorities.len(), self.additionals.len()];
        for count in counts {
            writer.number(u16::try_from(count).ok()?);
        }
        for question in &self.questions {
            writer.name(&question.name);
            writer.number(question.kind);
            writer.number(IN);
        }
        for record in self.records() {
            writer.record(record)?;
        }
        (writer.bytes.len() <= MAX_PACKET).then_some(writer.bytes)
    }
}

struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl<'b> Reader<'b> {
    fn take(&mut self, count: usize) -> Result<&'b [u8], Malformed> {
        let end = self.at.checked_add(count).ok_or(Malformed)?;
        let taken = self.bytes.get(self.at..end).ok_or(Malformed)?;
        self.at = end;
        Ok(taken)
    }

    fn number(&mut self) -> Result<u16, Malformed> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes(bytes.try_into().map_err(|_| Malformed)?))
    }

    fn name(&mut self) -> Result<Name, Malformed> {
        let (name, end) = name_at(self.bytes, self.at)?;
        self.at = end;
        Ok(name)
    }

    /// A record; none if it is of a type or class that is read over.
    fn record(&mut self) -> Result<Option<Record>, Malformed> {
        let name = self.name()?;
        let (kind, class) = (self.number()?, self.number()?);
        let ttl = u32::from_be_bytes(self.take(4)?.try_into().map_err(|_| Malformed)?);
        let length = usize::from(self.number()?);
        let (start, data) = (self.at, self.take(length)?);
        if class & !TOP_BIT != IN {
            return Ok(None);
        }
        let name_inside = |at: usize| {
            let (name, end) = name_at(self.bytes, at)?;
            if end == start + length { Ok(name) } else { Err(Malformed) }
        };
        let data = match (kind, data) {
            (A, data) => Data::A(<[u8; 4]>::try_from(data).map_err(|_| Malformed)?.into()),
            (AAAA, data) => Data::Aaaa(<[u8; 16]>::try_from(data).map_err(|_| Malformed)?.into()),
            (PTR, _) => Data::Ptr(name_inside(start)?),
            // Without any string it is as one that is empty (RFC 6763 §6.1).
            (TXT, []) => Data::Txt(vec![0]),
            (TXT, data) => Data::Txt(data.to_vec()),
            (SRV, [p, q, w, x, r, s, ..]) => Data::Srv {
                priority: u16::from_be_bytes([*p, *q]),
                weight: u16::from_be_bytes([*w, *x]),
                port: u16::from_be_bytes([*r, *s]),
                target: name_inside(start + 6)?,
            },
            (SRV, _) => return Err(Malformed),
            (_, _) => return Ok(None),
        };
        Ok(Some(Record { name, flush: class & TOP_BIT != 0, ttl, data }))
    }
}

/// The name at a place, and where it ends. A pointer leads back only, so there are no circles (RFC 1035 §4.1.4).
fn name_at(bytes: &[u8], start: usize) -> Result<(Name, usize), Malformed> {
    let (mut name, mut at, mut end, mut before) = (Vec::new(), start, None, start);
    loop {
        let length = *bytes.get(at).ok_or(Malformed)?;
        match length {
            0 => return Ok((Name(name), end.unwrap_or(at + 1))),
            1..=63 => {
                let label = bytes.get(at..at + 1 + usize::from(length)).ok_or(Malformed)?;
                name.extend_from_slice(label);
                if name.len() >= MAX_NAME {
                    return Err(Malformed);
                }
                at += label.len();
            }
            64..=191 => return Err(Malformed),
            192.. => {
                let low = *bytes.get(at + 1).ok_or(Malformed)?;
                let target = usize::from(u16::from_be_bytes([length & 0x3f, low]));
                end.get_or_insert(at + 2);
                if target >= before {
                    return Err(Malformed);
                }
                (at, before) = (target, target);
            }
        }
    }
}

#[derive(Default)]
struct Writer {
    bytes: Vec<u8>,
    /// Where names stand.
    known: HashMap<Vec<u8>, u16>,
}

impl Writer {
    fn number(&mut self, number: u16) {
        self.bytes.extend_from_slice(&number.to_be_bytes());
    }

    fn name(&mut self, name: &Name) {
        let mut rest = name.0.as_slice();
        while let Some((length, after)) = rest.split_first() {
            if let Some(place) = self.known.get(rest) {
                self.number(0xc000 | place);
                return;
            }
            if let Some(place) =
                u16::try_from(self.bytes.len()).ok().filter(|place| usize::from(*place) <= MAX_POINTER)
            {
                self.known.insert(rest.to_vec(), place);
            }
            let (label, after) = after.split_at(after.len().min(usize::from(*length)));
            self.bytes.push(*length);
            self.bytes.extend_from_slice(label);
            rest = after;
        }
        self.bytes.push(0);
    }

    fn record(&mut self, record: &Record) -> Option<()> {
        self.name(&record.name);
        self.number(record.data.kind());
        self.number(if record.flush { IN | TOP_BIT } else { IN });
        self.bytes.extend_from_slice(&record.ttl.to_be_bytes());
        let start = self.bytes.len();
        self.number(0);
        match &record.data {
            Data::A(address) => self.bytes.extend_from_slice(&address.octets()),
            Data::Aaaa(address) => self.bytes.extend_from_slice(&address.octets()),
            Data::Ptr(name) => self.name(name),
            Data::Srv { priority, weight, port, target } => {
                for number in [*priority, *weight, *port] {
                    self.number(number);
                }
                // May be compressed in mDNS (RFC 6762 §18.14), and is not where others than mDNS may read it.
                self.bytes.extend_from_slice(&target.0);
                self.bytes.push(0);
            }
            Data::Txt(strings) => self.bytes.extend_from_slice(strings),
        }
        let length = u16::try_from(self.bytes.len() - start - 2).ok()?;
        self.bytes.get_mut(start..start + 2)?.copy_from_slice(&length.to_be_bytes());
        Some(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use hickory_proto::op::Message as Peer;
    use proptest::prelude::*;

    pub(crate) fn name(text: &str) -> Name {
        Name::of_labels(text.split('.').map(str::as_bytes)).unwrap()
    }

    fn names() -> impl Strategy<Value = Name> {
        prop::collection::vec("[a-zA-Z_ é]{1,12}", 1..5)
            .prop_map(|labels| Name::of_labels(labels.iter().map(|label| label.as_bytes())).unwrap())
    }

    fn records() -> impl Strategy<Value = Record> {
        let data = prop_oneof![
            any::<u32>().prop_map(|bits| Data::A(bits.into())),
            any::<u128>().prop_map(|bits| Data::Aaaa(bits.into())),
            names().prop_map(Data::Ptr),
            (any::<u16>(), names()).prop_map(|(port, target)| Data::Srv {
                priority: 0,
                weight: 1,
                port,
                target
            }),
            "[a-z=]{0,40}"
                .prop_map(|text| Data::Txt([&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat())),
        ];
        (names(), any::<bool>(), 0..1_000_000u32, data).prop_map(|(name, flush, ttl, data)| Record {
            name,
            flush,
            ttl,
            data,
        })
    }

    pub(crate) fn messages() -> impl Strategy<Value = Message> {
        let questions = prop::collection::vec(
            (names(), any::<u16>()).prop_map(|(name, kind)| Question { name, kind }),
            0..4,
        );
        let records = || prop::collection::vec(records(), 0..4);
        (any::<u16>(), any::<bool>(), questions, records(), records(), records()).prop_map(
            |(id, response, questions, answers, authorities, additionals)| Message {
                id,
                response,
                questions,
                answers,
                authorities,
                additionals,
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

        #[test]
        fn what_is_written_is_read_here_and_by_others(message in messages()) {
            let bytes = message.write().unwrap();
            prop_assert_eq!(&Message::read(&bytes).unwrap(), &message);
            let peer = Peer::from_vec(&bytes).unwrap();
            prop_assert_eq!(peer.queries.len(), message.questions.len());
            let ours = message.answers.iter().map(|record| (record.data.kind(), record.ttl, record.name.labels().map(<[u8]>::to_vec).collect::<Vec<_>>()));
            let theirs = peer.answers.iter().map(|record| (u16::from(record.record_type()), record.ttl, record.name.iter().map(<[u8]>::to_vec).collect()));
            prop_assert_eq!(ours.collect::<Vec<_>>(), theirs.collect::<Vec<_>>());
        }

        #[test]
        fn rubbish_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300), message in messages(), cut in any::<prop::sample::Index>(), flip in any::<prop::sample::Index>()) {
            let _ = Message::read(&bytes);
            let mut whole = message.write().unwrap();
            let at = flip.index(whole.len());
            whole[at] ^= 0xc0;
            let _ = Message::read(&whole);
            let _ = Message::read(&whole[..cut.index(whole.len())]);
        }
    }

    #[test]
    fn limits_and_bombs() {
        // A pointer to itself, forward, and into a circle.
        for pointer in [12u8, 14, 200] {
            let bytes = [&[0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0], &[0xc0, pointer, 0, 12, 0, 1][..]].concat();
            assert_eq!(Message::read(&bytes), Err(Malformed));
        }
        let header = |questions: u16, answers: u16| {
            let mut bytes = vec![0; 12];
            bytes[4..6].copy_from_slice(&questions.to_be_bytes());
            bytes[6..8].copy_from_slice(&answers.to_be_bytes());
            bytes
        };
        assert_eq!(Message::read(&header(65535, 0)), Err(Malformed));
        assert_eq!(Message::read(&header(0, 65535)), Err(Malformed));
        assert_eq!(Message::read(&vec![0; MAX_PACKET + 1]), Err(Malformed));
        assert_eq!(Message::read(&header(0, 0)), Ok(Message::default()));
        let long = Record { name: name("a.local"), flush: false, ttl: 1, data: Data::Txt(vec![0; 5000]) };
        assert_eq!(Message { answers: vec![long.clone(), long], ..Message::default() }.write(), None);
    }

    #[test]
    fn a_question_that_wants_an_answer_of_its_own_is_passed_on_as_any_other() {
        let asked = Message {
            questions: vec![Question { name: name("_ipp._tcp.local"), kind: PTR }],
            ..Message::default()
        };
        let mut bytes = asked.write().unwrap();
        let class = bytes.len() - 2;
        bytes[class] |= 0x80;
        assert_eq!(Message::read(&bytes).unwrap().write(), asked.write());
        bytes[class + 1] = 3;
        assert_eq!(Message::read(&bytes).unwrap().questions, [], "of another class than IN");
    }

    #[test]
    fn a_record_nobody_knows_is_read_over() {
        let mut bytes = Message {
            response: true,
            answers: vec![Record {
                name: name("a.local"),
                flush: true,
                ttl: 120,
                data: Data::A([10, 4, 0, 9].into()),
            }],
            ..Message::default()
        }
        .write()
        .unwrap();
        bytes[7] = 3;
        // NSEC with a compressed name inside, and TXT without a string.
        bytes.extend([0xc0, 12, 0, 47, 0x80, 1, 0, 0, 0, 120, 0, 5, 0xc0, 12, 0, 1, 0x40]);
        bytes.extend([0xc0, 12, 0, 16, 0x80, 1, 0, 0, 0, 120, 0, 0]);
        let message = Message::read(&bytes).unwrap();
        assert_eq!(message.answers.len(), 2);
        assert_eq!(message.answers[1].data, Data::Txt(vec![0]));
    }
}
