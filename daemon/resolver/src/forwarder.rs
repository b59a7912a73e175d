//! The seam between the engine and those it asks what it does not know.

use hickory_proto::rr::{DNSClass, Name, RecordType};
use std::{future::Future, pin::Pin};
use tokio::time::Instant;

use crate::upstream::{Answered, Ask, Trouble, Upstreams, limits::QUERY_DEADLINE};

/// What the engine wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// The name, in lower case.
    pub name: &'a Name,
    /// Type.
    pub qtype: RecordType,
    /// DNSSEC records are wanted.
    pub dnssec_ok: bool,
    /// No validation is wanted.
    pub checking_disabled: bool,
}

/// An answer that is waited for.
pub type Asking<'a> = Pin<Box<dyn Future<Output = Result<Answered, Trouble>> + Send + 'a>>;

/// Who is asked.
pub trait Forwarder: Send + Sync + 'static {
    /// Asks. The answer is about the question and nothing else: no foreign records, no endless chains.
    fn ask<'a>(&'a self, wanted: Wanted<'a>) -> Asking<'a>;
}

impl Forwarder for Upstreams {
    fn ask<'a>(&'a self, wanted: Wanted<'a>) -> Asking<'a> {
        Box::pin(async move {
            let ask = Ask {
                name: wanted.name,
                qtype: wanted.qtype,
                class: DNSClass::IN,
                dnssec_ok: wanted.dnssec_ok,
                checking_disabled: wanted.checking_disabled,
                deadline: Instant::now() + QUERY_DEADLINE,
            };
            Upstreams::ask(self, &ask).await
        })
    }
}
