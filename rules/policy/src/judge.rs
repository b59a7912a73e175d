//! The slow, obvious reading of the rules: one after the other, first match wins. What the lowered tables and the
//! second wall are compared with, and what answers for protocols without ports.

use abi::{
    POLICY_LOG, POLICY_OBSERVE, PolicyValue, RULE_DEFAULT, ZONE_FIRST, ZONE_MULTICAST, ZONE_SELF, ZoneId,
};
use model::{Action, Mode, Protocol};

use crate::{Policy, Rule};

/// What the policy says about a new flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Judgement {
    /// What happens to it.
    pub action: Action,
    /// Place of the rule that says so; none = the default of the zone it starts in.
    pub rule: Option<u16>,
    /// The rule asks for an event.
    pub log: bool,
    /// The rule itself only observes. The modes of the zone and of the whole are not folded in.
    pub observe: bool,
}

impl Judgement {
    /// As the kernel's tables hold it.
    #[must_use]
    pub fn value(self) -> PolicyValue {
        PolicyValue {
            action: self.action as u8,
            flags: if self.log { POLICY_LOG } else { 0 } | if self.observe { POLICY_OBSERVE } else { 0 },
            rule: self.rule.unwrap_or(RULE_DEFAULT),
        }
    }
}

impl Policy {
    /// Judges a new flow from zone `from` to zone `to` by scanning the rules in order. `port` is the destination
    /// port, for ICMP type * 256 + code, and is ignored for protocols without ports.
    ///
    /// Where no rule matches, [`Policy::default_action`] holds. A denial towards multicast or broadcast is never
    /// answered (RFC 1122 §3.2.2), so a `reject` there is a drop.
    #[must_use]
    pub fn judge(&self, from: ZoneId, to: ZoneId, protocol: Protocol, port: u16) -> Judgement {
        self.rules
            .iter()
            .find(|rule| rule.covers(from, to) && rule.names(protocol, port))
            .map_or_else(|| self.judge_unnamed(from, to), |rule| rule.judgement(to))
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
        Judgement { action: self.default_action(from, to), rule: None, log: false, observe: false }
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
        // The id is the place in the file; the search is for policies that were put together otherwise.
        self.rules
            .get(usize::from(id))
            .filter(|rule| rule.id == id)
            .or_else(|| self.rules.iter().find(|rule| rule.id == id))
    }

    /// Whether `id` is a zone a person configured.
    #[must_use]
    pub fn is_configured(&self, id: ZoneId) -> bool {
        id >= ZONE_FIRST && self.zone(id).is_some()
    }
}

impl Rule {
    /// Whether the rule is about flows between these zones.
    #[must_use]
    pub fn covers(&self, from: ZoneId, to: ZoneId) -> bool {
        self.from.contains(from) && self.to.contains(to)
    }

    /// Whether the rule names this protocol and port; one without services names everything.
    #[must_use]
    pub fn names(&self, protocol: Protocol, port: u16) -> bool {
        self.services.is_empty()
            || self.services.iter().flat_map(|service| &service.matches).any(|matched| {
                matched.protocol == protocol
                    && (!has_ports(protocol) || (matched.ports.first..=matched.ports.last).contains(&port))
            })
    }

    /// What the rule says about a flow to `to`.
    pub(crate) fn judgement(&self, to: ZoneId) -> Judgement {
        let action = match self.action {
            Action::Reject if to == ZONE_MULTICAST => Action::Drop,
            Action::Pass | Action::Drop | Action::Reject => self.action,
        };
        Judgement { action, rule: Some(self.id), log: self.log, observe: self.mode == Mode::Observe }
    }
}

/// Whether rules can tell ports, or ICMP types and codes, of this protocol apart.
#[must_use]
pub fn has_ports(protocol: Protocol) -> bool {
    LOWERED.contains(&protocol)
}

/// Protocols whose policy the kernel's tables hold. Others go to the second wall, which has the same rules.
pub const LOWERED: [Protocol; 4] = [Protocol::ICMP, Protocol::TCP, Protocol::UDP, Protocol::ICMPV6];
