//! Answers as bytes: header and question of the client, records, and the OPT record with what explains them.

use std::net::IpAddr;

use crate::{
    cookie::{CLIENT_COOKIE, SERVER_COOKIE},
    limits::{EDNS_PAYLOAD, ENCRYPTED_IDLE, MAX_EXTRA_TEXT, PADDING_BLOCK, TCP_IDLE},
    wire::{
        name,
        question::{COOKIE, Code, KEEPALIVE, PADDING, Question, Transport},
        walk::HEADER,
    },
};

/// EDNS option of extended errors (RFC 8914 §2).
const EXTENDED_ERROR: u16 = 15;
/// A pointer to the name of the question.
const TO_QUESTION: [u8; 2] = [0xc0, 0x0c];
const CLASS_IN: [u8; 2] = [0, 1];

/// Extended error codes (RFC 8914 §4 and its registry).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extended {
    /// Other error.
    Other,
    /// An answer past its time, because nothing newer was to be had.
    Stale,
    /// A "does not exist" past its time.
    StaleNxDomain,
    /// The answer is not the one of the name's owner.
    Forged,
    /// Blocked by the operator of the resolver.
    Blocked,
    /// The client asks for more than its share.
    Prohibited,
    /// No upstream could be reached.
    NoReachableAuthority,
    /// What an upstream or the validation says.
    Number(u16),
}

impl Extended {
    const fn code(self) -> u16 {
        match self {
            Self::Other => 0,
            Self::Stale => 3,
            Self::Forged => 4,
            Self::Blocked => 15,
            Self::Prohibited => 18,
            Self::StaleNxDomain => 19,
            Self::NoReachableAuthority => 22,
            Self::Number(code) => code,
        }
    }
}

/// What the OPT record of an answer carries beside itself.
#[derive(Clone, Copy, Default)]
pub(crate) struct Extras<'a> {
    /// Extended error and its text.
    pub(crate) error: Option<(Extended, &'a str)>,
    /// The client's cookie and the one for it.
    pub(crate) cookie: Option<([u8; CLIENT_COOKIE], [u8; SERVER_COOKIE])>,
}

/// An error answer to something that has no question to repeat.
pub(crate) fn unreadable(out: &mut Vec<u8>, query: &[u8], code: Code) {
    out.clear();
    let at = |index: usize| query.get(index).copied().unwrap_or_default();
    // Id, opcode and "recursion desired" are the query's.
    out.extend_from_slice(&[at(0), at(1), 0x80 | at(2) & 0x79, 0x80 | code as u8 & 0x0f]);
    out.resize(HEADER, 0);
}

/// An answer that is being written: [`Reply::start`], records, [`Reply::finish`].
pub(crate) struct Reply<'o> {
    out: &'o mut Vec<u8>,
    code: u16,
    answers: u16,
    authorities: u16,
}

impl<'o> Reply<'o> {
    /// Header and question.
    pub(crate) fn start(out: &'o mut Vec<u8>, question: &Question, code: Code) -> Self {
        out.clear();
        let [high, low] = question.id.to_be_bytes();
        let (flags, more) = flags(question, code as u8, false);
        out.extend_from_slice(&[high, low, flags, more, 0, 1, 0, 0, 0, 0, 0, 0]);
        out.extend_from_slice(question.asked());
        out.extend_from_slice(&question.qtype.to_be_bytes());
        out.extend_from_slice(&question.class.to_be_bytes());
        Self { out, code: code as u16, answers: 0, authorities: 0 }
    }

    /// An answer that was kept: its bytes from header to end, the places of its TTLs, and what to make of each.
    pub(crate) fn kept(
        out: &'o mut Vec<u8>,
        question: &Question,
        wire: &[u8],
        ttls: &[u16],
        authentic: bool,
        ttl: impl Fn(u32) -> u32,
    ) -> Self {
        out.clear();
        out.extend_from_slice(wire);
        let code = wire.get(3).copied().unwrap_or_default() & 0x0f;
        let wanted = question.authentic_data || question.dnssec_ok();
        let (flags, more) = flags(question, code, authentic && wanted);
        if let Some(start) = out.first_chunk_mut::<4>() {
            let [high, low] = question.id.to_be_bytes();
            *start = [high, low, flags, more];
        }
        if let Some(name) = out.get_mut(HEADER..HEADER + question.asked().len()) {
            name.copy_from_slice(question.asked());
        }
        for &at in ttls {
            if let Some(place) = out.get_mut(usize::from(at)..).and_then(<[u8]>::first_chunk_mut::<4>) {
                *place = ttl(u32::from_be_bytes(*place)).to_be_bytes();
            }
        }
        Self { out, code: code.into(), answers: 0, authorities: 0 }
    }

    /// A record of the name asked for, its data written by `data`. Where that fails there is no record.
    pub(crate) fn answer(&mut self, kind: u16, ttl: u32, data: impl FnOnce(&mut Vec<u8>) -> bool) {
        let start = self.out.len();
        self.out.extend_from_slice(&TO_QUESTION);
        let written = self.record(start, kind, ttl, data);
        self.answers += u16::from(written);
    }

    /// A record of another name.
    pub(crate) fn answer_of(
        &mut self,
        owner: &str,
        kind: u16,
        ttl: u32,
        data: impl FnOnce(&mut Vec<u8>) -> bool,
    ) {
        let start = self.out.len();
        let written = name::push(self.out, owner) && self.record(start, kind, ttl, data);
        self.answers += u16::from(written);
    }

    /// A or AAAA of the name asked for.
    pub(crate) fn address(&mut self, address: IpAddr, ttl: u32) {
        match address {
            IpAddr::V4(address) => self.answer(1, ttl, |out| {
                out.extend_from_slice(&address.octets());
                true
            }),
            IpAddr::V6(address) => self.answer(28, ttl, |out| {
                out.extend_from_slice(&address.octets());
                true
            }),
        }
    }

    /// An SOA of nobody, so that clients remember for `ttl` seconds that there is nothing (RFC 2308 §5).
    pub(crate) fn nothing_for(&mut self, ttl: u32) {
        let start = self.out.len();
        self.out.extend_from_slice(&TO_QUESTION);
        let written = self.record(start, 6, ttl, |out| {
            // No server, no mailbox; serial, refresh, retry, expire, minimum.
            out.extend_from_slice(&[0, 0]);
            for number in [1, 3600, 600, 86_400, ttl] {
                out.extend_from_slice(&u32::to_be_bytes(number));
            }
            true
        });
        self.authorities += u16::from(written);
    }

    fn record(&mut self, start: usize, kind: u16, ttl: u32, data: impl FnOnce(&mut Vec<u8>) -> bool) -> bool {
        self.out.extend_from_slice(&kind.to_be_bytes());
        self.out.extend_from_slice(&CLASS_IN);
        self.out.extend_from_slice(&ttl.to_be_bytes());
        let at = self.out.len();
        self.out.extend_from_slice(&[0, 0]);
        let written = data(self.out);
        match (written, u16::try_from(self.out.len() - at - 2)) {
            (true, Ok(length)) => {
                self.out[at..at + 2].copy_from_slice(&length.to_be_bytes());
                true
            }
            (false, _) | (true, Err(_)) => {
                self.out.truncate(start);
                false
            }
        }
    }

    /// Counts, the OPT record for clients that speak EDNS, and truncation where it does not fit.
    pub(crate) fn finish(self, question: &Question, extras: Extras<'_>) {
        let out = self.out;
        for (at, count) in [(6, self.answers), (8, self.authorities)] {
            if count > 0 {
                out[at..at + 2].copy_from_slice(&count.to_be_bytes());
            }
        }
        let limit = question.limit();
        let cookie = extras.cookie.filter(|_| question.edns.is_some());
        let least = match question.edns {
            Some(_) => 11 + cookie.map_or(0, |_| 4 + CLIENT_COOKIE + SERVER_COOKIE),
            None => 0,
        };
        if out.len() + least > limit {
            truncate(out, question);
        }
        if question.edns.is_some() {
            let room = limit.saturating_sub(out.len() + least);
            write_opt(out, question, self.code, room, Extras { cookie, ..extras });
        }
    }
}

/// The two bytes of flags of an answer.
fn flags(question: &Question, code: u8, authentic: bool) -> (u8, u8) {
    let more = 0x80 | u8::from(authentic) << 5 | u8::from(question.checking_disabled) << 4 | code & 0x0f;
    (0x80 | u8::from(question.recursion_desired), more)
}

/// Only header and question stay, and the word that there is more (RFC 2181 §9).
pub(crate) fn truncate(out: &mut Vec<u8>, question: &Question) {
    out.truncate(HEADER + question.asked().len() + 4);
    if let Some(header) = out.first_chunk_mut::<HEADER>() {
        header[2] |= 0x02;
        header[6..].fill(0);
    }
}

/// Appends the OPT record; `room` is what its options beside the cookie may take.
fn write_opt(out: &mut Vec<u8>, question: &Question, code: u16, mut room: usize, extras: Extras<'_>) {
    let [payload, payload_low] = EDNS_PAYLOAD.to_be_bytes();
    let dnssec = u8::from(question.dnssec_ok()) << 7;
    let extended = u8::try_from(code >> 4).unwrap_or_default();
    out.extend_from_slice(&[0, 0, 41, payload, payload_low, extended, 0, dnssec, 0]);
    let at = out.len();
    out.extend_from_slice(&[0, 0]);
    if let Some((client, server)) = extras.cookie {
        option(out, COOKIE, &[&client, &server]);
    }
    if let Some((error, text)) = extras.error
        && room >= 6
    {
        let text = &text[..text.floor_char_boundary(text.len().min(MAX_EXTRA_TEXT).min(room - 6))];
        option(out, EXTENDED_ERROR, &[&error.code().to_be_bytes(), text.as_bytes()]);
        room -= 6 + text.len();
    }
    let idle = match question.transport {
        Transport::Udp => None,
        Transport::Tcp => Some(TCP_IDLE),
        Transport::Encrypted => Some(ENCRYPTED_IDLE),
    };
    if let Some(idle) = idle.filter(|_| room >= 6 && question.edns.is_some_and(|edns| edns.keepalive)) {
        let tenths = u16::try_from(idle.as_millis() / 100).unwrap_or(u16::MAX);
        option(out, KEEPALIVE, &[&tenths.to_be_bytes()]);
        room -= 6;
    }
    if question.transport == Transport::Encrypted && question.edns.is_some_and(|edns| edns.padded) {
        // RFC 8467 §4.1: responses to a multiple of 468 bytes.
        let padding = (out.len() + 4).next_multiple_of(PADDING_BLOCK) - out.len() - 4;
        if padding + 4 <= room {
            option(out, PADDING, &[]);
            let length = u16::try_from(padding).unwrap_or_default();
            let end = out.len();
            out[end - 2..].copy_from_slice(&length.to_be_bytes());
            out.resize(end + padding, 0);
        }
    }
    let length = u16::try_from(out.len() - at - 2).unwrap_or_default();
    out[at..at + 2].copy_from_slice(&length.to_be_bytes());
    out[11] = 1;
}

fn option(out: &mut Vec<u8>, code: u16, parts: &[&[u8]]) {
    let length = u16::try_from(parts.iter().map(|part| part.len()).sum::<usize>()).unwrap_or_default();
    out.extend_from_slice(&code.to_be_bytes());
    out.extend_from_slice(&length.to_be_bytes());
    for part in parts {
        out.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::op::{Message, ResponseCode};
    use std::net::Ipv4Addr;

    fn question(edns: bool, transport: Transport) -> Question {
        let mut bytes = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x03aDs\x07example\0\0\x01\0\x01".to_vec();
        if edns {
            bytes[11] = 1;
            // A payload of 512, padding of no bytes.
            bytes.extend_from_slice(b"\0\0\x29\x02\0\0\0\0\0\0\x04\0\x0c\0\0");
        }
        let mut question = Question::default();
        question.read(&bytes, transport);
        question
    }

    fn sinkhole(question: &Question, text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        let mut reply = Reply::start(&mut out, question, Code::NoError);
        reply.address(Ipv4Addr::UNSPECIFIED.into(), 10);
        reply.finish(question, Extras { error: Some((Extended::Blocked, text)), cookie: None });
        out
    }

    #[test]
    fn hickory_reads_what_is_written() {
        let out = sinkhole(&question(true, Transport::Udp), "blocked by list ads line 1");
        let message = Message::from_vec(&out).unwrap();
        assert_eq!(message.metadata.response_code, ResponseCode::NoError);
        assert_eq!(message.answers.len(), 1);
        assert_eq!(message.answers[0].name.to_ascii(), "aDs.example.");
        assert!(message.edns.is_some());
        assert!(Message::from_vec(&sinkhole(&question(false, Transport::Udp), "x")).unwrap().edns.is_none());
    }

    #[test]
    fn explanations_never_make_an_answer_too_long() {
        for length in [0, 100, 255, 3000] {
            let out = sinkhole(&question(true, Transport::Udp), &"é".repeat(length));
            assert!(out.len() <= 512 && Message::from_vec(&out).is_ok());
        }
        let question = question(true, Transport::Udp);
        for records in 1..60 {
            let mut out = Vec::new();
            let mut reply = Reply::start(&mut out, &question, Code::NoError);
            (0..records).for_each(|_| reply.address(Ipv4Addr::LOCALHOST.into(), 10));
            let extras = Extras {
                error: Some((Extended::Blocked, "a text of some length")),
                cookie: Some(([1; CLIENT_COOKIE], [2; SERVER_COOKIE])),
            };
            reply.finish(&question, extras);
            let message = Message::from_vec(&out).unwrap();
            assert!(out.len() <= 512);
            assert_eq!(message.metadata.truncation, message.answers.is_empty(), "{records}");
            assert!(message.edns.is_some());
        }
    }

    #[test]
    fn answers_are_padded_where_they_are_encrypted() {
        assert_eq!(sinkhole(&question(true, Transport::Encrypted), "text").len(), 468);
        let out = sinkhole(&question(true, Transport::Encrypted), "text");
        assert!(Message::from_vec(&out).is_ok());
        assert!(sinkhole(&question(true, Transport::Tcp), "text").len() < 100);
    }

    #[test]
    fn codes_beyond_four_bits() {
        let question = question(true, Transport::Udp);
        let mut out = Vec::new();
        Reply::start(&mut out, &question, Code::BadVersion).finish(&question, Extras::default());
        assert_eq!(Message::from_vec(&out).unwrap().metadata.response_code, ResponseCode::from(1, 0));
        Reply::start(&mut out, &question, Code::BadCookie).finish(&question, Extras::default());
        assert_eq!(Message::from_vec(&out).unwrap().metadata.response_code, ResponseCode::BADCOOKIE);
        unreadable(&mut out, b"\x12\x34\x21", Code::NotImp);
        assert_eq!(out, [0x12, 0x34, 0xa1, 0x84, 0, 0, 0, 0, 0, 0, 0, 0]);
    }
}
