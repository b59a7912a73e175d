//! What would happen to a flow, and why, from the config alone: its opening packet is built byte by byte and judged by
//! the very code that runs in the kernel.

use abi::{ResolvedValue, ZONE_NONE, ZONE_SELF, ZoneId};
use datapath::{
    Input, Verdict, decide,
    host::{FrameBuilder, Payload},
};
use ipnet::IpNet;
use model::{Action, Flow, Mode, Protocol, Reason, Span};
use serde::{Serialize, Serializer};
use std::{net::IpAddr, sync::Arc};

use crate::{
    Egress, HostTables, Judgement, LowerError, Policy, Question, Rule, Side, Zone, has_ports,
    host::to_kernel, image::ImageError,
};

/// What happens to the opening packet of a flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// What the policy says. In observe mode the packet passes all the same, see `observed`.
    #[serde(rename = "verdict", serialize_with = "action_name")]
    pub action: Action,
    /// Why.
    #[serde(serialize_with = "reason_name")]
    pub reason: Reason,
    /// The rule that says so; none where it is a default or no rule is asked.
    pub rule: Option<RulePlace>,
    /// Zone the flow starts in.
    pub zone_in: String,
    /// Zone it goes to.
    pub zone_out: String,
    /// Judged only: the appliance, the zone or the rule is in observe mode.
    pub observed: bool,
    /// How it came to that, one sentence each.
    pub steps: Vec<String>,
}

/// A rule and where it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RulePlace {
    /// Place among the rules, from 0.
    pub id: u16,
    /// File.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
}

/// Why a flow cannot be explained.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExplainError {
    /// There is no such zone.
    #[error("there is no zone `{name}`; the zones are {known}")]
    Zone {
        /// What was written.
        name: String,
        /// What could be written.
        known: String,
    },
    /// Nothing comes from there.
    #[error("no flow starts in `{name}`")]
    Start {
        /// The zone.
        name: String,
    },
    /// Source and destination are of different families.
    #[error("{source_address} and {destination} are of different families")]
    Families {
        /// Source.
        source_address: IpAddr,
        /// Destination.
        destination: IpAddr,
    },
    /// The policy cannot be put in force.
    #[error(transparent)]
    Lower(#[from] LowerError),
    /// The policy does not fit into the kernel.
    #[error(transparent)]
    Image(#[from] ImageError),
}

impl Policy {
    /// Explains what happens to the opening packet of `flow` on a router that has the addresses `own`.
    ///
    /// Bans, lists and flows that are known already are not in a config; `secctl why` asks the running daemon. Where
    /// the packet path leaves a packet to the second wall, the second wall's judgement is the verdict.
    ///
    /// # Errors
    /// [`ExplainError`] where the flow names a zone that is not there, or the policy has no plan.
    pub fn explain(&self, own: &[IpAddr], flow: &Flow) -> Result<Explanation, ExplainError> {
        self.explain_answered(own, flow, Answered::NotKnown)
    }

    /// The same where it is known whether the zone's DNS answered the destination.
    ///
    /// # Errors
    /// As of [`Self::explain`].
    pub fn explain_answered(
        &self,
        own: &[IpAddr],
        flow: &Flow,
        answered: Answered,
    ) -> Result<Explanation, ExplainError> {
        let (source, destination) = (flow.src.to_canonical(), flow.dst.to_canonical());
        if source.is_ipv4() != destination.is_ipv4() {
            return Err(ExplainError::Families { source_address: source, destination });
        }
        let mut tables = HostTables::new(Arc::new(self.lower(own, Arc::new([]))?))?;
        let (to, out_of) = match tables.zone_of(destination) {
            Some((net, zone)) => (zone, Some(net)),
            None => (ZONE_NONE, None),
        };
        let from = self.zone_in(flow, &tables, source)?;
        if answered != Answered::Never {
            let answer = ResolvedValue { until: u64::MAX, patterns: answered.patterns() };
            tables.resolved.insert((from, to_kernel(destination)), answer);
        }
        let mut story = Story { policy: self, own, flow, from, to, answered, steps: Vec::new() };
        let Some(zone) = self.zone(from) else { return Ok(story.of_the_router(destination, out_of)) };
        story.comes_in(zone);
        story.goes_out(destination, out_of);
        let frame = opening_frame(flow, zone);
        let input = Input {
            ifindex: tables.interface(&zone.interface).unwrap_or(0),
            now: 1,
            length: frame.len() as u32,
            ..Input::default()
        };
        let mut verdict = Verdict::EMPTY;
        decide(&frame.as_slice(), &input, &tables, &mut verdict);
        Ok(story.judged(&verdict))
    }

    /// The zone that the flow names, or that its source belongs to.
    fn zone_in(&self, flow: &Flow, tables: &HostTables, source: IpAddr) -> Result<ZoneId, ExplainError> {
        let Some(name) = flow.zone.as_deref() else {
            let zone = tables.zone_of(source).map_or(ZONE_NONE, |(_, zone)| zone);
            return if zone == ZONE_SELF || self.is_configured(zone) {
                Ok(zone)
            } else {
                Err(ExplainError::Start { name: self.zone_name(zone).to_owned() })
            };
        };
        self.zone_named(name)
    }

    /// The zone of this name in which flows start; `wan` is the outside, `self` the router.
    pub(crate) fn zone_named(&self, name: &str) -> Result<ZoneId, ExplainError> {
        if name == "self" {
            return Ok(ZONE_SELF);
        }
        let named = self.zones.iter().find(|zone| zone.name == name);
        let outside = || self.zones.iter().find(|zone| zone.wan && name == "wan");
        named.or_else(outside).map(|zone| zone.id).ok_or_else(|| {
            let names = self.zones.iter().map(|zone| zone.name.as_str()).chain(["self"]);
            ExplainError::Zone { name: name.to_owned(), known: names.collect::<Vec<_>>().join(", ") }
        })
    }
}

/// What is known of the resolver's answers to the zone in which a flow starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// Nothing: it is taken for answered, and that is told.
    NotKnown,
    /// The destination was not answered, or too long ago.
    Never,
    /// It was, for names of these patterns ([`ResolvedValue::patterns`]).
    For(u64),
}

impl Answered {
    const fn patterns(self) -> u64 {
        match self {
            Self::NotKnown | Self::Never => 0,
            Self::For(patterns) => patterns,
        }
    }
}

/// An explanation that is being told.
struct Story<'a> {
    policy: &'a Policy,
    own: &'a [IpAddr],
    flow: &'a Flow,
    from: ZoneId,
    to: ZoneId,
    answered: Answered,
    steps: Vec<String>,
}

impl Story<'_> {
    fn comes_in(&mut self, zone: &Zone) {
        let tag = zone.vlan.map_or_else(|| "untagged".to_owned(), |vlan| format!("with VLAN tag {vlan}"));
        let how = if self.flow.zone.is_some() { "as the flow says" } else { "by its source address" };
        let (name, interface) = (&zone.name, &zone.interface);
        self.steps.push(format!("it comes from zone `{name}` ({how}), in at {interface} {tag}"));
    }

    fn goes_out(&mut self, destination: IpAddr, out_of: Option<IpNet>) {
        let zone = self.policy.zone_name(self.to);
        self.steps.push(match out_of {
            Some(net) if net.prefix_len() == 0 => {
                format!("{destination} is in no network of a zone, so it goes to `{zone}`, the outside")
            }
            Some(net) if net.prefix_len() == net.max_prefix_len() && self.to == ZONE_SELF => {
                format!("{destination} is the router's own address, so it goes to `self`")
            }
            Some(net) => format!("{destination} is in {net}, so it goes to `{zone}`"),
            None => format!("{destination} is in no network of a zone, and there is no outside"),
        });
        if self.from == self.to {
            self.steps
                .push("both ends are in one zone: the switch carries most of that past the router".into());
        }
    }

    /// The packet path does not judge what the router itself sends; the second wall does.
    fn of_the_router(mut self, destination: IpAddr, out_of: Option<IpNet>) -> Explanation {
        self.steps.push("it comes from the router itself, which only the second wall judges".into());
        self.goes_out(destination, out_of);
        let mode = self.policy.mode;
        self.by_policy(mode)
    }

    /// What the packet path said, or the second wall where it leaves the matter to that.
    fn judged(mut self, verdict: &Verdict) -> Explanation {
        let zone_mode = self.policy.zone(self.from).map_or(Mode::Enforce, |zone| zone.mode);
        let mode = self.policy.mode.and(zone_mode);
        match verdict.reason {
            Reason::Portless | Reason::NoState | Reason::Fragment => {
                self.steps.push("the packet path cannot tell and leaves it to the second wall".into());
                return self.by_policy(mode);
            }
            Reason::IcmpError => self.steps.push(
                "an ICMP error passes if it belongs to a connection that conntrack knows, else it is dropped there".into(),
            ),
            Reason::Spoofed => self.steps.push(format!(
                "{} does not belong to zone `{}`: spoofed",
                self.flow.src,
                self.policy.zone_name(self.from)
            )),
            Reason::LinkEssential => self.steps.push("the link itself needs it; no rule is asked".into()),
            Reason::Malformed => self.steps.push("such a packet is against the rules of its protocol".into()),
            Reason::WrongVlan => self.steps.push("the VLAN tag belongs to no zone of the interface".into()),
            Reason::NotIp => self.steps.push("it is not IP and goes on to the host".into()),
            Reason::NoPlan => self.steps.push("there is no plan yet; everything passes".into()),
            Reason::HalfSeen => self.steps.push(
                "only one way of the connection is seen here: it passes where the zone is `loose`, else conntrack refuses it".into(),
            ),
            Reason::Bogon => self.steps.push(format!("{} cannot exist in the Internet", self.flow.src)),
            Reason::Unsolicited => self.steps.push("it belongs to no connection, and the zone is `strict`".into()),
            Reason::Unresolved => self.steps.push(format!(
                "`{}` opens flows only to what its DNS answered (`egress = \"{}\"`), and {} it did not",
                self.policy.zone_name(self.from),
                self.policy.zone(self.from).map_or(Egress::Any, |zone| zone.egress).name(),
                self.flow.dst,
            )),
            Reason::RuleAllowed
            | Reason::RuleDenied
            | Reason::DefaultDenied
            | Reason::Isolated
            | Reason::OtherResolver
            | Reason::NewDevice => return self.by_policy(mode),
            Reason::Established
            | Reason::BannedSource
            | Reason::BannedDestination
            | Reason::ListedSource
            | Reason::ListedDestination
            | Reason::RateLimited
            | Reason::PortScan
            | Reason::Signature => {}
        }
        self.told(verdict.action, verdict.reason, None, verdict.observed)
    }

    /// What the rules say. The packet path has them as tables that say the same.
    fn by_policy(mut self, mode: Mode) -> Explanation {
        let judged = self.policy.judge(self.own, &self.question());
        match judged.reason {
            Reason::Isolated => {
                let zone = self.policy.zone_name(self.from);
                self.steps.push(format!("hosts of `{zone}` are kept apart from each other (`isolate`)"));
            }
            Reason::NewDevice => self.steps.push(format!(
                "the device is in no group, and `{}` holds new ones back (`quarantine`)",
                self.policy.zone_name(self.from)
            )),
            Reason::OtherResolver => self.steps.push(format!(
                "`{}` asks only the router's own resolver (`dns_others = \"drop\"`); no rule is asked",
                self.policy.zone_name(self.from)
            )),
            Reason::RuleAllowed if judged.rule.is_none() && judged.addressed => self.steps.push(format!(
                "questions of `{}` to other resolvers are answered by the router's own (`dns_others = \"redirect\"`); no rule is asked",
                self.policy.zone_name(self.from)
            )),
            _ => {
                if let Some(rule) = judged.logged.and_then(|id| self.policy.rule(id)) {
                    self.steps.push(format!("{} makes an event of it and goes on", place(rule)));
                }
                self.by_rule(&judged);
            }
        }
        if self.answered == Answered::NotKnown
            && self.policy.is_outside(self.to)
            && self.policy.names_domains(self.from)
        {
            self.steps.push(format!(
                "a rule that names domains holds too if {} was answered for one of them, which the running daemon knows (`secctl why`)",
                self.flow.dst
            ));
        }
        if judged.action == Action::Pass && !judged.addressed {
            self.by_resolver();
        }
        let observed = judged.action != Action::Pass && (judged.observe || mode == Mode::Observe);
        self.told(judged.action, judged.reason, judged.rule, observed)
    }

    /// What passes goes on only if the zone's DNS answered it.
    fn by_resolver(&mut self) {
        let outside = self.policy.zone(self.to).is_some_and(|zone| zone.wan);
        let Some(zone) = self.policy.zone(self.from).filter(|zone| outside && zone.egress != Egress::Any)
        else {
            return;
        };
        let (name, egress, to) = (&zone.name, zone.egress.name(), self.flow.dst);
        self.steps.push(match self.answered {
            Answered::NotKnown => format!(
                "`{name}` has `egress = \"{egress}\"`: only if its DNS answered {to} lately, which the running daemon knows (`secctl why`)"
            ),
            Answered::For(_) => format!("the DNS of `{name}` answered {to} (`egress = \"{egress}\"`)"),
            Answered::Never => return,
        });
    }

    fn question(&self) -> Question {
        Question {
            from: self.from,
            to: self.to,
            source: self.flow.src.to_canonical(),
            destination: self.flow.dst.to_canonical(),
            device: self.flow.mac,
            protocol: self.flow.proto,
            port: if has_ports(self.flow.proto) { self.flow.dport } else { 0 },
            patterns: self.answered.patterns(),
        }
    }

    fn by_rule(&mut self, judged: &Judgement) {
        let says = match judged.action {
            Action::Pass => "passes",
            Action::Drop => "is dropped",
            Action::Reject => "is rejected",
        };
        let (from, to) = (self.policy.zone_name(self.from), self.policy.zone_name(self.to));
        let id = judged.rule.unwrap_or(abi::RULE_DEFAULT);
        let before = self.policy.rules.iter().take_while(|rule| rule.id != id);
        let skipped = Skipped::count(before.filter(|rule| !rule.goes_on && rule.covers(self.from, self.to)));
        let step = match (self.policy.rule(id), self.policy.forward(id)) {
            (Some(rule), _) => {
                let parts = rule.because(self.policy, &self.question());
                let because =
                    if parts.is_empty() { String::new() } else { format!(", {},", parts.join(" and ")) };
                let place = place(rule);
                let after = match skipped.count {
                    0 => String::new(),
                    1 => format!(", after one that names other {}", skipped.what()),
                    count => format!(", after {count} that name other {}", skipped.what()),
                };
                let rate = rule.limit.map_or_else(String::new, |limit| {
                    format!(", at most {limit} from one source, what is more is dropped")
                });
                format!("from `{from}` to `{to}`, {place}{because} matches first{after}: it {says}{rate}")
            }
            (None, Some(forward)) => {
                let port = forward.port_for(self.flow.proto, self.flow.dport).unwrap_or(self.flow.dport);
                let zone = self.policy.zone_of(forward.to).map_or("unknown", |zone| &zone.name);
                let (name, Span { file, line, .. }) = (&forward.name, &forward.span);
                let to = forward.to;
                format!(
                    "the forward `{name}` at {file}:{line} takes it to {to} port {port} in `{zone}`: it {says}"
                )
            }
            (None, None) => {
                let named = match skipped.count {
                    0 => "no rule names these zones".to_owned(),
                    1 => format!("the one rule for these zones names other {}", skipped.what()),
                    count => format!("the {count} rules for these zones name other {}", skipped.what()),
                };
                format!("from `{from}` to `{to}`, {named}: by default it {says}")
            }
        };
        self.steps.push(step);
    }

    fn told(mut self, action: Action, reason: Reason, rule: Option<u16>, observed: bool) -> Explanation {
        if observed {
            self.steps.push("observe mode: this is only counted and told, the packet passes".into());
        }
        let place = |id: u16| {
            let rule = self.policy.rule(id).map(|rule| &rule.span);
            let span = rule.or_else(|| self.policy.forward(id).map(|forward| &forward.span))?;
            Some(RulePlace { id, file: span.file.clone(), line: span.line })
        };
        Explanation {
            action,
            reason,
            rule: rule.and_then(place),
            zone_in: self.policy.zone_name(self.from).to_owned(),
            zone_out: self.policy.zone_name(self.to).to_owned(),
            observed,
            steps: self.steps,
        }
    }
}

/// Rules that came first and did not match.
#[derive(Default)]
struct Skipped {
    count: usize,
    by_address: bool,
}

impl Skipped {
    fn count<'r>(rules: impl Iterator<Item = &'r Rule>) -> Self {
        let only_zones = |side: &Side| side.sets.is_empty() && side.devices.is_empty();
        rules.fold(Self::default(), |skipped, rule| Self {
            count: skipped.count + 1,
            by_address: skipped.by_address || !only_zones(&rule.from) || !only_zones(&rule.to),
        })
    }

    fn what(&self) -> &'static str {
        if self.by_address { "services, addresses or devices" } else { "services" }
    }
}

/// A rule, where it stands and what it is for.
fn place(rule: &Rule) -> String {
    let comment = rule.comment.as_ref().map_or_else(String::new, |comment| format!(" ({comment})"));
    format!("rule {} at {}:{}{comment}", rule.id, rule.span.file, rule.span.line)
}

/// The opening packet of a flow as it comes in at the zone's interface. TCP: a SYN; ICMP: type and code from `dport`.
/// Checksums stay zero, since the packet path reads none.
#[must_use]
pub fn opening_frame(flow: &Flow, zone: &Zone) -> Vec<u8> {
    let [kind, code] = flow.dport.to_be_bytes();
    let (from, to) = (source_port(flow), flow.dport);
    const SYN: u8 = 2;
    let payload = match flow.proto {
        Protocol::TCP => Payload::Tcp { from, to, flags: SYN },
        Protocol::UDP => Payload::Udp { from, to },
        Protocol::ICMP | Protocol::ICMPV6 => Payload::Icmp { kind, code, id: from },
        Protocol(number) => Payload::Other(number),
    };
    // What must not have crossed a router is sent so that it could not have.
    let hop_limit = match (flow.proto, kind) {
        (Protocol::ICMPV6, 133..=137) => 255,
        (Protocol::ICMPV6, 130..=132 | 143) | (Protocol(2), _) => 1,
        _ => 64,
    };
    let (source, destination) = (flow.src.to_canonical(), flow.dst.to_canonical());
    let frame = FrameBuilder::new(to_kernel(source), to_kernel(destination), payload).hops(hop_limit);
    let mut frame = zone.vlan.into_iter().fold(frame, FrameBuilder::tagged).build();
    if let (Some(mac), Some(sender)) = (flow.mac, frame.get_mut(6..12)) {
        sender.copy_from_slice(&mac.0);
    }
    frame
}

/// The flow's source port; one of the usual dynamic ones where it does not matter.
fn source_port(flow: &Flow) -> u16 {
    if flow.sport == 0 { 49_152 } else { flow.sport }
}

fn action_name<S: Serializer>(action: &Action, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(action.name())
}

fn reason_name<S: Serializer>(reason: &Reason, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(reason.name())
}
