//! The slow, obvious reading of the rules: one after the other, first match wins. What the lowered rows and the
//! second wall are compared with, and what answers for protocols without ports.

use abi::{
    POLICY_ADDRESSED, POLICY_CONTINUE, POLICY_LIMIT, POLICY_LOG, POLICY_OBSERVE, PolicyValue, RULE_DEFAULT,
    ZONE_FIRST, ZONE_MULTICAST, ZONE_SELF, ZoneId,
};
use model::{Action, Mac, Mode, Protocol, Reason};
use std::net::{IpAddr, Ipv4Addr};

use crate::{AddressSet, DeviceGroup, OtherResolvers, Policy, Rate, Rule, SetKind, Side};

/// A new flow, as the policy is asked about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Question {
    /// Zone it starts in.
    pub from: ZoneId,
    /// Zone it goes to.
    pub to: ZoneId,
    /// Source address.
    pub source: IpAddr,
    /// Destination address, as the packet carries it when it comes in.
    pub destination: IpAddr,
    /// MAC address of the sender; none = not known (devices without Ethernet, the router itself).
    pub device: Option<Mac>,
    /// Protocol.
    pub protocol: Protocol,
    /// Destination port, for ICMP type * 256 + code; ignored for protocols without ports.
    pub port: u16,
    /// Patterns of names ([`SetKind::Names`]) for which the zone's DNS answered the destination, a bit each.
    pub patterns: u64,
}

impl Question {
    /// A flow of which only the zones and the service matter.
    #[must_use]
    pub const fn between(from: ZoneId, to: ZoneId, protocol: Protocol, port: u16) -> Self {
        let nobody = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        Self { from, to, source: nobody, destination: nobody, device: None, protocol, port, patterns: 0 }
    }
}

/// What the policy says about a new flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Judgement {
    /// What happens to it.
    pub action: Action,
    /// Why: a rule, a default, isolation or quarantine.
    pub reason: Reason,
    /// Id of the rule or forward that says so; none = no rule.
    pub rule: Option<u16>,
    /// The rule asks for an event.
    pub log: bool,
    /// The rule itself only observes. The modes of the zone and of the whole are not folded in.
    pub observe: bool,
    /// It passes at this rate per source, more is dropped.
    pub limit: Option<Rate>,
    /// The first rule on the way that only logs.
    pub logged: Option<u16>,
    /// The rule names the destination by its address, so that the resolver need not have answered it.
    pub addressed: bool,
}

impl Judgement {
    /// As the kernel's tables hold it.
    #[must_use]
    pub fn value(self) -> PolicyValue {
        PolicyValue {
            action: self.action as u8,
            flags: bit(self.log, POLICY_LOG)
                | bit(self.observe, POLICY_OBSERVE)
                | bit(self.limit.is_some(), POLICY_LIMIT)
                | bit(self.addressed, POLICY_ADDRESSED),
            rule: self.rule.unwrap_or(RULE_DEFAULT),
        }
    }
}

impl Policy {
    /// Judges a new flow by scanning the rules in order, on a router with the addresses `own`.
    ///
    /// - Hosts of a zone with isolation do not reach each other, and a device in no group does not leave a zone with
    ///   quarantine but to the router; no rule changes that.
    /// - Questions to resolvers outside are dropped or led to the router's own where the zone says so, whatever rules say.
    /// - A forward passes before the rules are asked.
    /// - Where no rule matches, [`Policy::default_action`] holds.
    /// - A denial towards multicast or broadcast is never answered (RFC 1122 §3.2.2), so a `reject` there is a drop.
    #[must_use]
    pub fn judge(&self, own: &[IpAddr], question: &Question) -> Judgement {
        self.judge_among(self.rules.iter(), own, question)
    }

    /// Judges by these of the rules; the others are known not to match.
    pub(crate) fn judge_among<'r>(
        &self,
        rules: impl Iterator<Item = &'r Rule>,
        own: &[IpAddr],
        question: &Question,
    ) -> Judgement {
        if let Some(reason) = self.kept_apart(question) {
            let action = self.zone(question.from).map_or(Action::Drop, |zone| zone.denial);
            return Judgement { action, reason, ..self.judge_unnamed(question.from, question.to) };
        }
        match self.asks_others(question) {
            OtherResolvers::Allow => {}
            OtherResolvers::Redirect { .. } => {
                let unnamed = self.judge_unnamed(question.from, question.to);
                let (action, reason) = (Action::Pass, Reason::RuleAllowed);
                return Judgement { action, reason, addressed: true, ..unnamed };
            }
            OtherResolvers::Drop => {
                let unnamed = self.judge_unnamed(question.from, question.to);
                let (action, reason) = (Action::Drop, Reason::OtherResolver);
                return Judgement { action, reason, ..unnamed };
            }
        }
        if let Some(place) = self.forwarded(own, question) {
            return Judgement {
                action: Action::Pass,
                reason: Reason::RuleAllowed,
                rule: Some(self.forward_id(place)),
                ..self.judge_unnamed(question.from, question.to)
            };
        }
        let judged = self.by_rules(rules, question);
        if judged.action == Action::Reject
            && self.is_outside(question.to)
            && self.names_domains(question.from)
        {
            // The second wall does not tell domains apart, so it is not left to that.
            return Judgement { action: Action::Drop, ..judged };
        }
        judged
    }

    /// The rules in order, then the default.
    fn by_rules<'r>(&self, rules: impl Iterator<Item = &'r Rule>, question: &Question) -> Judgement {
        let mut logged = None;
        for rule in rules.filter(|rule| rule.matches(self, question)) {
            if !rule.goes_on {
                let addressed = !rule.to.contains(question.to) && self.is_addressed(&rule.to);
                return Judgement { logged, addressed, ..rule.judgement(question.to) };
            }
            logged = logged.or(Some(rule.id));
        }
        Judgement { logged, ..self.judge_unnamed(question.from, question.to) }
    }

    /// Whether a zone is the outside.
    pub(crate) fn is_outside(&self, zone: ZoneId) -> bool {
        self.zone(zone).is_some_and(|zone| zone.wan)
    }

    /// Whether rules over flows that start in an inner zone name domains.
    #[must_use]
    pub fn names_domains(&self, from: ZoneId) -> bool {
        self.zone(from).is_some_and(|zone| !zone.wan)
            && self.sets.iter().any(|set| matches!(set.kind, SetKind::Names(_)))
            && self.rules.iter().any(|rule| rule.from.can_match(from) && self.patterns_of(&rule.to) != 0)
    }

    /// The patterns of names that a side names, a bit each.
    #[must_use]
    pub fn patterns_of(&self, side: &Side) -> u64 {
        let sets = side.sets.iter().filter_map(|place| self.sets.get(usize::from(*place)));
        sets.fold(0, |patterns, set| match set.kind {
            SetKind::Names(number) => patterns | 1u64.checked_shl(number.into()).unwrap_or(0),
            SetKind::Group | SetKind::Country | SetKind::System | SetKind::List => patterns,
        })
    }

    /// What becomes of the flow because it asks another resolver.
    fn asks_others(&self, question: &Question) -> OtherResolvers {
        let Some(zone) = self.zone(question.from).filter(|_| self.is_outside(question.to)) else {
            return OtherResolvers::Allow;
        };
        let asks = matches!(question.protocol, Protocol::TCP | Protocol::UDP)
            && zone.resolvers.ports().contains(&question.port);
        if asks { zone.resolvers } else { OtherResolvers::Allow }
    }

    /// Why a flow is refused before any rule is asked.
    fn kept_apart(&self, question: &Question) -> Option<Reason> {
        let zone = self.zone(question.from)?;
        if zone.isolate && question.to == question.from {
            return Some(Reason::Isolated);
        }
        let leaves = !matches!(question.to, ZONE_SELF | ZONE_MULTICAST);
        let is_new = question.device.is_some_and(|mac| !self.devices.iter().any(|group| group.contains(mac)));
        (zone.quarantine && leaves && is_new).then_some(Reason::NewDevice)
    }

    /// The place of the forward that takes the flow.
    fn forwarded(&self, own: &[IpAddr], question: &Question) -> Option<usize> {
        if question.to != ZONE_SELF {
            return None;
        }
        self.forwards.iter().position(|forward| {
            let from_there = question.from == forward.from
                && (forward.sources.is_empty() || self.in_sets(&forward.sources, question.source));
            let from_inside = self.hairpin_zones(forward).any(|zone| zone.id == question.from);
            (from_there || from_inside)
                && forward.services.iter().any(|matched| matched.holds(question.protocol, question.port))
                && question.destination.is_ipv4() == forward.to.is_ipv4()
                && self.outer_addresses(forward.from, own).contains(&question.destination)
        })
    }

    /// Whether what a side names beside zones are addresses that a person wrote down, and nothing wider.
    pub(crate) fn is_addressed(&self, side: &Side) -> bool {
        let mut sets = side.sets.iter().filter_map(|place| self.sets.get(usize::from(*place)));
        sets.all(|set| matches!(set.kind, SetKind::Group | SetKind::Names(_)))
    }

    fn in_sets(&self, sets: &[u16], address: IpAddr) -> bool {
        sets.iter().filter_map(|place| self.sets.get(usize::from(*place))).any(|set| set.contains(address))
    }

    /// The device groups that a side names.
    fn groups<'a>(&'a self, side: &'a Side) -> impl Iterator<Item = &'a DeviceGroup> {
        side.devices.iter().filter_map(|place| self.devices.get(usize::from(*place)))
    }

    /// What happens to a new flow that no rule names:
    ///
    /// - from the router itself: passes, it is not a client of its own firewall;
    /// - within one inner zone: passes, the switch would carry most of it anyway;
    /// - from an inner zone to multicast or broadcast: passes (mDNS, SSDP, DHCP stay on their link);
    /// - from the WAN to multicast or broadcast, or from nowhere: dropped;
    /// - everything else, the WAN to itself included: the denial of the zone it starts in.
    #[must_use]
    pub fn default_action(&self, from: ZoneId, to: ZoneId) -> Action {
        if from == ZONE_SELF {
            return Action::Pass;
        }
        let Some(zone) = self.zone(from) else { return Action::Drop };
        match to {
            ZONE_MULTICAST if zone.wan => Action::Drop,
            ZONE_MULTICAST => Action::Pass,
            _ if to == from && !zone.wan => Action::Pass,
            _ => zone.denial,
        }
    }

    /// The judgement where no rule matches.
    pub(crate) fn judge_unnamed(&self, from: ZoneId, to: ZoneId) -> Judgement {
        let action = self.default_action(from, to);
        let reason = match action {
            Action::Pass => Reason::RuleAllowed,
            Action::Drop | Action::Reject => Reason::DefaultDenied,
        };
        Judgement {
            action,
            reason,
            rule: None,
            log: false,
            observe: false,
            limit: None,
            logged: None,
            addressed: false,
        }
    }

    /// Zones a flow can start in: the router and every configured zone.
    pub fn sources(&self) -> impl Iterator<Item = ZoneId> + '_ {
        std::iter::once(ZONE_SELF).chain(self.zones.iter().map(|zone| zone.id))
    }

    /// Zones a flow can go to: the router, multicast, every configured zone, and [`abi::ZONE_NONE`] where no WAN takes
    /// what belongs to no zone.
    pub fn destinations(&self) -> impl Iterator<Item = ZoneId> + '_ {
        let nowhere = (!self.zones.iter().any(|zone| zone.wan)).then_some(abi::ZONE_NONE);
        nowhere.into_iter().chain([ZONE_SELF, ZONE_MULTICAST]).chain(self.zones.iter().map(|zone| zone.id))
    }

    /// The rule with this id.
    #[must_use]
    pub fn rule(&self, id: u16) -> Option<&Rule> {
        // The id is the place in the file; where rules were taken out it is found by search, and the last is for
        // policies that were put together otherwise.
        let searched = || self.rules.binary_search_by_key(&id, |rule| rule.id).ok();
        let place =
            Some(usize::from(id)).filter(|place| self.rules.get(*place).is_some_and(|rule| rule.id == id));
        place.or_else(searched).and_then(|place| self.rules.get(place)).or_else(|| {
            if self.rules.is_sorted_by_key(|rule| rule.id) {
                None
            } else {
                self.rules.iter().find(|rule| rule.id == id)
            }
        })
    }

    /// Whether `id` is a zone a person configured.
    #[must_use]
    pub fn is_configured(&self, id: ZoneId) -> bool {
        id >= ZONE_FIRST && self.zone(id).is_some()
    }
}

impl Rule {
    /// Whether the rule can be about flows between these zones.
    #[must_use]
    pub fn covers(&self, from: ZoneId, to: ZoneId) -> bool {
        self.from.can_match(from) && self.to.can_match(to)
    }

    /// Whether the rule is about this flow.
    #[must_use]
    pub fn matches(&self, policy: &Policy, question: &Question) -> bool {
        let from = self.from.contains(question.from)
            || policy.in_sets(&self.from.sets, question.source)
            || policy.groups(&self.from).any(|group| question.device.is_some_and(|mac| group.contains(mac)));
        let to = self.to.contains(question.to)
            || policy.in_sets(&self.to.sets, question.destination)
            || (question.patterns != 0
                && policy.is_outside(question.to)
                && policy.patterns_of(&self.to) & question.patterns != 0)
            || policy
                .groups(&self.to)
                .any(|group| crate::types::holds(&group.addresses, question.destination));
        from && to && self.names(question.protocol, question.port)
    }

    /// What of the rule a flow matches beside its zones, in words: ``10.4.0.9 in `nas` ``.
    pub(crate) fn because(&self, policy: &Policy, question: &Question) -> Vec<String> {
        let named = |side: &Side, address: IpAddr, device: Option<Mac>| {
            let mut sets = side.sets.iter().filter_map(|place| policy.sets.get(usize::from(*place)));
            let answered = |set: &AddressSet| match set.kind {
                SetKind::Names(number) => question.patterns >> (number & 63) & 1 != 0,
                SetKind::Group | SetKind::Country | SetKind::System | SetKind::List => false,
            };
            let set = sets.find(|set| set.contains(address) || answered(set));
            let by_device = |group: &&DeviceGroup| match device {
                Some(mac) => group.contains(mac),
                None => crate::types::holds(&group.addresses, address),
            };
            let subject = device.map_or_else(|| address.to_string(), |mac| mac.to_string());
            set.map(|set| format!("{address} in `{}`", set.written())).or_else(|| {
                policy.groups(side).find(by_device).map(|group| format!("{subject} in `{}`", group.name))
            })
        };
        let from = (!self.from.contains(question.from))
            .then(|| named(&self.from, question.source, question.device).map(|text| format!("with {text}")));
        let to = (!self.to.contains(question.to))
            .then(|| named(&self.to, question.destination, None).map(|text| format!("to {text}")));
        from.flatten().into_iter().chain(to.flatten()).collect()
    }

    /// Whether the rule names this protocol and port; one without services names everything.
    #[must_use]
    pub fn names(&self, protocol: Protocol, port: u16) -> bool {
        self.services.is_empty()
            || self
                .services
                .iter()
                .flat_map(|service| &service.matches)
                .any(|matched| matched.holds(protocol, port))
    }

    /// What the rule says about a flow to `to`.
    pub(crate) fn judgement(&self, to: ZoneId) -> Judgement {
        let action = match self.action {
            Action::Reject if to == ZONE_MULTICAST => Action::Drop,
            Action::Pass | Action::Drop | Action::Reject => self.action,
        };
        Judgement {
            action,
            reason: match action {
                Action::Pass => Reason::RuleAllowed,
                Action::Drop | Action::Reject => Reason::RuleDenied,
            },
            rule: Some(self.id),
            log: self.log,
            observe: self.mode == Mode::Observe,
            limit: self.limit,
            logged: None,
            addressed: false,
        }
    }

    /// As the kernel's tables hold it.
    pub(crate) fn value(&self, to: ZoneId) -> PolicyValue {
        let mut value = self.judgement(to).value();
        if self.goes_on {
            value.action = Action::Pass as u8;
            value.flags |= POLICY_CONTINUE | POLICY_LOG;
        }
        value
    }
}

impl crate::ServiceMatch {
    /// Whether it names this protocol and port.
    #[must_use]
    pub fn holds(&self, protocol: Protocol, port: u16) -> bool {
        self.protocol == protocol
            && (!has_ports(protocol) || (self.ports.first..=self.ports.last).contains(&port))
    }
}

fn bit(is_set: bool, bit: u8) -> u8 {
    if is_set { bit } else { 0 }
}

/// Whether rules can tell ports, or ICMP types and codes, of this protocol apart.
#[must_use]
pub fn has_ports(protocol: Protocol) -> bool {
    LOWERED.contains(&protocol)
}

/// Protocols whose policy the kernel's tables hold. Others go to the second wall, which has the same rules.
pub const LOWERED: [Protocol; 4] = [Protocol::ICMP, Protocol::TCP, Protocol::UDP, Protocol::ICMPV6];
