//! Answers that are made here, and how answers become bytes.

use hickory_proto::{
    op::{Edns, Message, OpCode, Query, ResponseCode},
    rr::{
        RData, Record, RecordType,
        rdata::{A, AAAA, HINFO, opt::EdnsOption},
    },
};
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::{
    limits::{EDNS_PAYLOAD, MAX_EXTRA_TEXT, SINKHOLE_TTL, SPECIAL_TTL},
    query::Question,
};

/// EDNS option of extended errors (RFC 8914 §2).
const EXTENDED_ERROR: u16 = 15;

/// Extended error codes (RFC 8914 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extended {
    /// Other error.
    Other = 0,
    /// Blocked by the operator of the resolver.
    Blocked = 15,
    /// No upstream could be reached.
    NoReachableAuthority = 22,
}

/// An error answer to something that has no question to repeat. 12 bytes.
pub(crate) fn error(id: u16, opcode: u8, code: ResponseCode) -> Vec<u8> {
    let [high, low] = id.to_be_bytes();
    vec![high, low, 0x80 | (opcode & 0x0f) << 3, code.low(), 0, 0, 0, 0, 0, 0, 0, 0]
}

/// An error answer without explanation.
pub(crate) fn refused(question: &Question, code: ResponseCode) -> Vec<u8> {
    encode(question, empty(question, code))
}

/// SERVFAIL with the reason.
pub(crate) fn failure(question: &Question, extended: Extended, text: &str) -> Vec<u8> {
    let mut message = empty(question, ResponseCode::ServFail);
    explain(&mut message, question, extended, text);
    encode(question, message)
}

/// The sinkhole: `0.0.0.0`, `::`, or nothing of any other type, with the reason.
pub(crate) fn sinkhole(question: &Question, text: &str) -> Vec<u8> {
    let mut message = empty(question, ResponseCode::NoError);
    add_address(&mut message, question, Ipv4Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED, SINKHOLE_TTL);
    explain(&mut message, question, Extended::Blocked, text);
    encode(question, message)
}

/// `localhost` is here (RFC 6761 §6.3).
pub(crate) fn loopback(question: &Question) -> Vec<u8> {
    let mut message = empty(question, ResponseCode::NoError);
    add_address(&mut message, question, Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST, SPECIAL_TTL);
    encode(question, message)
}

/// Minimal answer to ANY (RFC 8482 §4.2).
pub(crate) fn any(question: &Question) -> Vec<u8> {
    let mut message = empty(question, ResponseCode::NoError);
    let data = RData::HINFO(HINFO::new("RFC8482".into(), String::new()));
    message.add_answer(Record::from_rdata(question.name.clone(), SPECIAL_TTL, data));
    encode(question, message)
}

/// An upstream's answer for this client: its id, its question, our EDNS, no claim of validation.
pub(crate) fn relay(question: &Question, upstream: Message) -> Vec<u8> {
    let mut message = empty(question, upstream.metadata.response_code);
    message.answers = upstream.answers;
    message.authorities = upstream.authorities;
    message.additionals = upstream.additionals;
    encode(question, message.maybe_strip_dnssec_records(question.dnssec))
}

fn add_address(message: &mut Message, question: &Question, v4: Ipv4Addr, v6: Ipv6Addr, ttl: u32) {
    let data = match question.qtype {
        RecordType::A => RData::A(A(v4)),
        RecordType::AAAA => RData::AAAA(AAAA(v6)),
        _ => return,
    };
    message.add_answer(Record::from_rdata(question.name.clone(), ttl, data));
}

fn empty(question: &Question, code: ResponseCode) -> Message {
    let mut message = Message::response(question.id, OpCode::Query);
    message.metadata.response_code = code;
    message.metadata.recursion_desired = question.recursion_desired;
    message.metadata.recursion_available = true;
    message.metadata.checking_disabled = question.checking_disabled;
    let mut asked = Query::query(question.name.clone(), question.qtype);
    asked.set_query_class(question.class);
    message.add_query(asked);
    if question.edns {
        let mut edns = Edns::new();
        edns.set_max_payload(EDNS_PAYLOAD).set_dnssec_ok(question.dnssec);
        message.set_edns(edns);
    }
    message
}

fn explain(message: &mut Message, question: &Question, extended: Extended, text: &str) {
    if !question.edns {
        return;
    }
    if let Some(edns) = &mut message.edns {
        let mut option = (extended as u16).to_be_bytes().to_vec();
        let end = (0..=text.len().min(MAX_EXTRA_TEXT)).rev().find(|&at| text.is_char_boundary(at));
        option.extend_from_slice(text.get(..end.unwrap_or(0)).unwrap_or_default().as_bytes());
        edns.options_mut().insert(EdnsOption::Unknown(EXTENDED_ERROR, option));
    }
}

/// Bytes for the client: truncated where they do not fit. What cannot be written is a SERVFAIL.
fn encode(question: &Question, message: Message) -> Vec<u8> {
    match message.to_vec() {
        Ok(bytes) if bytes.len() <= question.limit && !message.metadata.truncation => bytes,
        Ok(_) => {
            message.truncate().to_vec().unwrap_or_else(|_| error(question.id, 0, ResponseCode::ServFail))
        }
        Err(_) => error(question.id, 0, ResponseCode::ServFail),
    }
}

/// Addresses in an answer, for those who look at what was resolved.
#[cfg(test)]
pub(crate) fn addresses(message: &Message) -> Vec<std::net::IpAddr> {
    message
        .answers
        .iter()
        .filter_map(|record| match &record.data {
            RData::A(A(address)) => Some((*address).into()),
            RData::AAAA(AAAA(address)) => Some((*address).into()),
            _ => None,
        })
        .collect()
}
