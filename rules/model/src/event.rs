//! Things that happened. One shape for the JSON lines file, Loki, `secctl tail` and the metrics.

use serde::{Deserialize, Serialize};
use std::net::IpAddr;

use crate::{Decision, Evidence, Timestamp};

/// How much a person should care.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Everyday.
    Info,
    /// Worth a look.
    Notice,
    /// Worth waking someone.
    Warning,
    /// Something is lost or not enforced.
    Error,
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventAction {
    /// Let through.
    Pass,
    /// Dropped.
    Drop,
    /// Refused with an answer.
    Reject,
    /// Would have been dropped or refused, but only observed.
    Observe,
    /// A name was answered by the sinkhole.
    Sinkhole,
    /// A ban was put in force.
    Ban,
    /// A decision ended or was lifted.
    Lift,
    /// An allow was put in force.
    Allow,
    /// Told only.
    Alert,
}

/// Something that happened. Serialises to one flat JSON object: `ts, severity, action, zone, reason, kind, …`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub ts: Timestamp,
    /// How much to care.
    pub severity: Severity,
    /// What was done.
    pub action: EventAction,
    /// Zone it came from, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Why, in the words of [`crate::Reason`] or of the engine that judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What.
    #[serde(flatten)]
    pub body: Body,
}

/// What happened, by kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Body {
    /// A packet was judged.
    Packet {
        /// Source address.
        src: IpAddr,
        /// Destination address.
        dst: IpAddr,
        /// Protocol name or number.
        proto: String,
        /// Source port.
        sport: u16,
        /// Destination port; for ICMP type * 256 + code.
        dport: u16,
        /// VLAN id, 0 = untagged.
        vlan: u16,
        /// Interface name.
        interface: String,
        /// Bytes on the wire.
        length: u16,
        /// Zone it goes to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        zone_out: Option<String>,
        /// The rule, list, decision or signature that says so, in words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
    },
    /// A DNS question was answered.
    Query {
        /// Who asked.
        client: IpAddr,
        /// The name.
        name: String,
        /// Record type.
        qtype: String,
        /// Answer code (`NOERROR`, …).
        rcode: String,
        /// Where the answer came from: `sinkhole`, `cache`, the upstream's address.
        from: String,
        /// The list and line, or rule, that says so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<String>,
        /// It came by TLS or HTTPS.
        #[serde(default, skip_serializing_if = "is_false")]
        encrypted: bool,
        /// Time to answer, in microseconds.
        micros: u64,
    },
    /// A decision came into force, was lifted or ended.
    Decision {
        /// The decision.
        decision: Decision,
    },
    /// A signature matched.
    Signature {
        /// Signature id.
        sid: u32,
        /// Revision.
        rev: u32,
        /// Message.
        msg: String,
        /// Class.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        class: Option<String>,
        /// Source address.
        src: IpAddr,
        /// Destination address.
        dst: IpAddr,
        /// Protocol name.
        proto: String,
        /// Source port.
        sport: u16,
        /// Destination port.
        dport: u16,
        /// The bytes that matched, escaped.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        evidence: Option<Evidence>,
    },
    /// A list was read.
    List {
        /// Its name.
        list: String,
        /// Entries now.
        entries: u64,
        /// Lines refused.
        rejected: u64,
        /// What was wrong, where something was.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// A log source changed its state.
    Source {
        /// File or listener.
        source: String,
        /// What happened to it.
        message: String,
    },
    /// The daemon itself: start, stop, reload, adoption, repair, loss.
    System {
        /// What happened.
        message: String,
        /// How many, where it counts something.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        count: Option<u64>,
    },
}

impl Body {
    /// Every word that `kind` can be.
    pub const KINDS: [&str; 7] = ["packet", "query", "decision", "signature", "list", "source", "system"];

    /// The word in `kind`, also the Loki label.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Packet { .. } => "packet",
            Self::Query { .. } => "query",
            Self::Decision { .. } => "decision",
            Self::Signature { .. } => "signature",
            Self::List { .. } => "list",
            Self::Source { .. } => "source",
            Self::System { .. } => "system",
        }
    }
}

impl EventAction {
    /// Every action.
    pub const ALL: [Self; 9] = [
        Self::Pass,
        Self::Drop,
        Self::Reject,
        Self::Observe,
        Self::Sinkhole,
        Self::Ban,
        Self::Lift,
        Self::Allow,
        Self::Alert,
    ];

    /// The word in `action`, also the Loki label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Drop => "drop",
            Self::Reject => "reject",
            Self::Observe => "observe",
            Self::Sinkhole => "sinkhole",
            Self::Ban => "ban",
            Self::Lift => "lift",
            Self::Allow => "allow",
            Self::Alert => "alert",
        }
    }
}

impl Severity {
    /// The word in `severity`, also the Loki label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

fn is_false(flag: &bool) -> bool {
    !flag
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_flat_and_round_trip() {
        let event = Event {
            ts: Timestamp::from_seconds(1_790_000_000),
            severity: Severity::Notice,
            action: EventAction::Sinkhole,
            zone: Some("iot".into()),
            reason: Some("listed".into()),
            body: Body::Query {
                client: [10, 4, 0, 9].into(),
                name: "ads.example".into(),
                qtype: "A".into(),
                rcode: "NOERROR".into(),
                from: "sinkhole".into(),
                by: Some("phishing line 12".into()),
                encrypted: true,
                micros: 41,
            },
        };
        let text = serde_json::to_string(&event).unwrap();
        assert!(text.contains(r#""kind":"query""#) && text.contains(r#""action":"sinkhole""#), "{text}");
        assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), event);
    }
}
