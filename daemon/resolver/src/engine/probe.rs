//! Asking as a client would, for a person who wants to see what it gets: `secctl dns test NAME --client …`.

use hickory_proto::{
    op::{Edns, Message, OpCode, Query},
    rr::{DNSClass, RecordType, rdata::opt::EdnsOption},
};
use model::Name;
use std::{net::IpAddr, sync::Arc};

use super::Engine;
use crate::{journal::code_name, wire::question::Transport};

/// What a client would get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probed {
    /// The answer code in words.
    pub code: String,
    /// The records of the answer, as zone files have them.
    pub records: Vec<String>,
    /// What the extended error (RFC 8914) says.
    pub said: Option<String>,
}

/// Extended DNS error (RFC 8914 §2).
const EXTENDED_ERROR: u16 = 15;

impl Engine {
    /// Asks as `client` would, with all that comes of it: it counts against its rate and stands in the log of questions.
    /// None where there is no answer: the client is in no zone, asks too much, or a list says `drop`.
    pub async fn probe(self: &Arc<Self>, name: &Name, qtype: u16, client: IpAddr) -> Option<Probed> {
        let mut query = Message::query();
        query.metadata.op_code = OpCode::Query;
        query.metadata.recursion_desired = true;
        let mut asked = Query::new();
        asked.set_name(name.as_str().parse().ok()?);
        asked.set_query_type(RecordType::from(qtype));
        asked.set_query_class(DNSClass::IN);
        query.add_query(asked);
        let mut edns = Edns::new();
        edns.set_max_payload(u16::MAX);
        query.edns = Some(edns);
        let bytes = query.to_vec().ok()?;
        let answer = self.answer(&bytes, client, Transport::Tcp).await?;
        let answer = Message::from_vec(&answer).ok()?;
        let said = answer.edns.as_ref().and_then(|edns| {
            edns.options().as_ref().iter().find_map(|(code, option)| match option {
                EdnsOption::Unknown(_, data) if u16::from(*code) == EXTENDED_ERROR => {
                    let (info, text) = data.split_first_chunk::<2>()?;
                    Some(format!("{}: {}", u16::from_be_bytes(*info), String::from_utf8_lossy(text)))
                }
                _ => None,
            })
        });
        Some(Probed {
            code: code_name(answer.metadata.response_code.into()),
            records: answer.answers.iter().map(ToString::to_string).collect(),
            said,
        })
    }
}
