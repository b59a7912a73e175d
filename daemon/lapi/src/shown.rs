//! A decision in the shape that bouncers know.

use data_encoding::HEXLOWER;
use ipnet::IpNet;
use model::{Decision, OriginKind, Target, Timestamp};
use ring::digest::{Context, SHA256};
use serde::Serialize;

use crate::{go, ledger::Change, limits::NO_END};

/// `Decision` of CrowdSec's models.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Shown {
    pub(crate) duration: String,
    pub(crate) id: u64,
    pub(crate) origin: &'static str,
    pub(crate) scenario: String,
    pub(crate) scope: &'static str,
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    pub(crate) uuid: String,
    pub(crate) value: String,
}

/// The only kind of decision that bouncers are told of.
pub(crate) const BAN: &str = "ban";

impl Shown {
    /// A decision with the time that is left of it, or that has passed since it ended. None where it is about a name,
    /// which no bouncer knows.
    pub(crate) fn of(decision: &Decision, ended: Option<Timestamp>, now: Timestamp) -> Option<Self> {
        let net = net(decision)?;
        let until = decision.until.unwrap_or_else(|| now.plus(NO_END));
        let until = ended.map_or(until, |ended| ended.min(until).min(now));
        Some(Self {
            duration: go::duration_text(until.0.saturating_sub(now.0)),
            id: decision.id,
            origin: origin(decision),
            scenario: scenario(decision),
            scope: scope(net),
            kind: BAN,
            uuid: uuid(decision),
            value: decision.target.to_string(),
        })
    }

    pub(crate) fn of_change(change: &Change, now: Timestamp) -> Option<Self> {
        Self::of(&change.decision, change.ended.map(|(_, at)| at), now)
    }
}

/// What a ban is about, if that is addresses.
pub(crate) fn net(decision: &Decision) -> Option<IpNet> {
    match decision.target {
        Target::Net(net) => Some(net),
        Target::Domain(_) | Target::DomainFor { .. } => None,
    }
}

/// Who ordered, in CrowdSec's words, which bouncers can be told to look at.
pub(crate) fn origin(decision: &Decision) -> &'static str {
    match decision.origin.kind {
        OriginKind::Person => "cscli",
        OriginKind::Scenario | OriginKind::Signature => "crowdsec",
    }
}

/// Why: the scenario or signature, or who ordered.
pub(crate) fn scenario(decision: &Decision) -> String {
    match decision.origin.kind {
        OriginKind::Person => format!("manual 'ban' from '{}'", decision.origin.name),
        OriginKind::Scenario | OriginKind::Signature => decision.origin.name.clone(),
    }
}

pub(crate) fn scope(net: IpNet) -> &'static str {
    if net.prefix_len() == net.max_prefix_len() { "Ip" } else { "Range" }
}

/// The same for the same decision however often it is asked for, before it has a number too (RFC 9562, version 8).
pub(crate) fn uuid(decision: &Decision) -> String {
    let mut context = Context::new(&SHA256);
    for part in [
        &decision.since.0.to_be_bytes()[..],
        decision.target.to_string().as_bytes(),
        decision.origin.name.as_bytes(),
    ] {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&context.finish().as_ref()[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = HEXLOWER.encode(&bytes);
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}
