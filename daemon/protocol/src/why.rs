//! Why something is blocked: the question the whole appliance exists to answer.

use model::{Evidence, Flow, Target, Timestamp};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// `GET /v1/why?target=…`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhyQuery {
    /// An address, a range, a name or a flow.
    pub target: Subject,
}

/// What a person asks about: `192.0.2.7`, `ads.example`, `zone=iot src=… dst=… proto=tcp dport=445`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Subject {
    /// An address, a range or a name.
    Target(Target),
    /// A flow.
    Flow(Flow),
}

impl std::str::FromStr for Subject {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        // Neither an address nor a name holds `=`.
        if text.contains('=') {
            text.parse().map(Self::Flow).map_err(|error: model::FlowParseError| error.to_string())
        } else {
            text.trim().parse().map(Self::Target).map_err(|error: model::TargetError| {
                format!("{error}, nor a flow (`src=10.4.0.9 dst=10.3.0.2 proto=tcp dport=445`)")
            })
        }
    }
}

impl TryFrom<String> for Subject {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Subject> for String {
    fn from(subject: Subject) -> Self {
        subject.to_string()
    }
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Target(target) => target.fmt(f),
            Self::Flow(flow) => flow.fmt(f),
        }
    }
}

/// What holds against a subject now. Every field is always there; what is not known is null.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    /// What was asked about, in its usual form.
    pub target: String,
    /// Whether anything stops it.
    pub blocked: bool,
    /// The reason word (`banned_source`, `listed_name`, `rule_denied`, …), or why it passes (`allowed`,
    /// `rule_allowed`, `not_listed`).
    pub reason: String,
    /// What says so.
    pub by: Option<By>,
    /// Since when.
    pub since: Option<Timestamp>,
    /// Until when; null = until it is lifted, or does not apply.
    pub until: Option<Timestamp>,
    /// What was seen.
    pub evidence: Vec<Evidence>,
    /// The command that would let it pass; null if nothing blocks it.
    pub allow_command: Option<String>,
    /// It would be blocked, but its part or the whole only observes.
    #[serde(default)]
    pub observed: bool,
    /// Of a name asked about for one client: who that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<WhyClient>,
    /// The groups for which the list or entry holds that says so, of a name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Of an address, name or flow: to which zones the resolver answered it, where flows depend on that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub answered: Vec<WhyAnswered>,
    /// What else holds against it, and would go on to after [`Self::allow_command`] unless that is an allow.
    #[serde(default)]
    pub also: Vec<By>,
}

/// An address that the resolver answered to a zone whose flows depend on that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhyAnswered {
    /// The zone.
    pub zone: String,
    /// The address.
    pub address: IpAddr,
    /// Names it was answered for, the latest first; empty where the zone's privacy keeps none.
    pub names: Vec<String>,
    /// Until when flows may be opened there.
    pub until: Timestamp,
}

/// A client of the resolver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhyClient {
    /// Its name in the config; null for one that it does not name.
    pub name: Option<String>,
    /// What names it there.
    pub known_by: Option<String>,
    /// Its groups that are in force.
    pub groups: Vec<String>,
    /// Its groups that are not, each with why: `kids (schedule school)`.
    #[serde(default)]
    pub off: Vec<String>,
}

/// What says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct By {
    /// What kind of thing.
    pub kind: ByKind,
    /// The name of the list, scenario, signature, zone or person; a rule's number and comment.
    pub name: String,
    /// The line in its file, from 1.
    pub line: Option<u32>,
    /// The file.
    #[serde(default)]
    pub file: Option<String>,
}

/// Kinds of things that block or allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ByKind {
    /// A domain or address list.
    List,
    /// A rule of the config.
    Rule,
    /// What a zone does with flows no rule names.
    ZoneDefault,
    /// A scenario over log lines.
    Scenario,
    /// A signature.
    Signature,
    /// A person's order.
    Person,
    /// The config's allow-list or what protects itself: own addresses, gateway, upstreams.
    Protected,
    /// A check of the packet path itself: spoofed source, wrong VLAN, malformed.
    Check,
}

impl ByKind {
    /// The word in `by.kind`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Rule => "rule",
            Self::ZoneDefault => "zone_default",
            Self::Scenario => "scenario",
            Self::Signature => "signature",
            Self::Person => "person",
            Self::Protected => "protected",
            Self::Check => "check",
        }
    }
}
