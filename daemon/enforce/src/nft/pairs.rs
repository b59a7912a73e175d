//! The chain of a pair of zones: who is kept apart, forwards, the rules in the order of the file, the default.

use abi::{ZONE_MULTICAST, ZONE_SELF, ZoneId};
use model::{Action, Mode, Protocol};
use nftables::{
    expr::{Elem, Expression, MetaKey, NamedExpression, SetItem},
    stmt::{Limit, Meter, Statement},
};
use policy::{OtherResolvers, Rate, Rule, ServiceMatch, has_ports};
use std::collections::BTreeMap;

use super::{
    render::{REFUSE, Rendering},
    resolvers::questions,
    sides::{End, Field, Way},
    spans::Family,
    syntax::{
        accept, conntrack, counter, equals, is_in, meta, one_of, owned, payload, range, source_network,
    },
};

/// Which port of the packet is that of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Port {
    Source,
    Destination,
}

impl Rendering<'_> {
    /// An element of a verdict map: to the pair's chain, which is made here, or straight to accept where no rule says
    /// anything and the default passes.
    pub(super) fn leads(
        &mut self,
        hook: &str,
        key: &Expression<'static>,
        from: ZoneId,
        to: ZoneId,
    ) -> SetItem<'static> {
        let name = self.pair_name(hook, from, to);
        let known = self.made.get(&name).copied();
        let has_chain = known.unwrap_or_else(|| self.pair(&name, from, to));
        let verdict = if has_chain { self.goto(&name) } else { self.passes() };
        self.made.insert(name, has_chain);
        SetItem::MappingStatement(key.clone(), verdict)
    }

    fn pair_name(&self, hook: &str, from: ZoneId, to: ZoneId) -> String {
        format!("{hook}.{}.{}", self.label(from), self.label(to))
    }

    /// Makes the chain of a pair; false where it would say no more than that everything passes.
    fn pair(&mut self, name: &str, from: ZoneId, to: ZoneId) -> bool {
        let policy = self.policy;
        let (first_rule, mode) = (self.ruleset.rules.len(), self.mode_of(from));
        let ends = self.kept_apart(name, from, to, mode) || {
            self.forwards_in(name, from, to);
            self.rules_in(name, from, to, mode)
        };
        let default = policy.default_action(from, to);
        if !ends {
            if self.ruleset.rules.len() == first_rule && default == Action::Pass {
                return false;
            }
            let (verdict, observed) = self.carried_out(default, mode);
            self.rule(name, vec![counter(), verdict], Some(&format!("default{observed}")));
        }
        self.chain(name);
        true
    }

    /// What no rule opens: hosts of a zone from each other, new devices from everything but the router, questions to
    /// resolvers outside. True where
    /// that is all there is to say.
    fn kept_apart(&mut self, name: &str, from: ZoneId, to: ZoneId, mode: Mode) -> bool {
        let Some(zone) = self.policy.zone(from) else { return false };
        let (verdict, observed) = self.carried_out(zone.denial, mode);
        if zone.isolate && from == to {
            self.rule(name, vec![counter(), verdict], Some(&format!("isolated{observed}")));
            return true;
        }
        if zone.quarantine && !matches!(to, ZONE_SELF | ZONE_MULTICAST) {
            let new = self.sets.new_device();
            self.rule(name, vec![new, counter(), verdict], Some(&format!("quarantine{observed}")));
        }
        if self.policy.zone(to).is_some_and(|to| to.wan) && zone.resolvers == OtherResolvers::Drop {
            let (verdict, observed) = self.carried_out(Action::Drop, mode);
            for way in questions(zone.resolvers) {
                let statements = way.into_iter().chain([counter(), verdict.clone()]).collect();
                self.rule(name, statements, Some(&format!("resolvers{observed}")));
            }
        }
        false
    }

    /// The rules in order. True where the last of them holds for everything.
    fn rules_in(&mut self, name: &str, from: ZoneId, to: ZoneId, mode: Mode) -> bool {
        let policy = self.policy;
        for rule in policy.rules.iter().filter(|rule| rule.covers(from, to)) {
            let ways = self.ways_of(rule, from, to);
            let (verdict, comment) = self.verdict_of(rule, to, mode);
            let verdict = [counter()].into_iter().chain(verdict);
            let matches = matches_of(rule);
            for way in &ways {
                if matches.is_empty() {
                    let all = way.statements.iter().cloned().chain(verdict.clone());
                    self.rule(name, all.collect(), Some(&comment));
                    if way.family.is_none() && way.statements.is_empty() && !rule.goes_on {
                        return true;
                    }
                }
                for service in match_statements(&matches, way.family, Port::Destination) {
                    let all = way.statements.iter().cloned().chain(service).chain(verdict.clone());
                    self.rule(name, all.collect(), Some(&comment));
                }
            }
        }
        false
    }

    /// What a rule does, and what the comment says about it.
    fn verdict_of(&self, rule: &Rule, to: ZoneId, mode: Mode) -> (Option<Statement<'static>>, String) {
        let id = rule.id;
        if rule.goes_on {
            return (None, format!("rule {id}"));
        }
        // The multicast exception of the slow reference holds here as well.
        let action = match rule.action {
            Action::Reject if to == ZONE_MULTICAST => Action::Drop,
            Action::Pass | Action::Drop | Action::Reject => rule.action,
        };
        let mode = mode.and(rule.mode);
        if rule.limit.is_some() && mode == Mode::Enforce && !self.proves {
            return (Some(self.goto(&limit_chain(id))), format!("rule {id}"));
        }
        let (verdict, observed) = self.carried_out(action, mode);
        (Some(verdict), format!("rule {id}{observed}"))
    }

    /// Every way in which a rule's zones, addresses and devices hold between two zones.
    fn ways_of(&mut self, rule: &Rule, from: ZoneId, to: ZoneId) -> Vec<Way> {
        let senders = self.sets.ways(&rule.from, from, End::Sender, Field::Source);
        if senders.is_empty() {
            return senders;
        }
        let receivers = self.receivers(rule, to, Field::Destination);
        crossed(&senders, &receivers)
    }

    /// The ways in which a rule's destinations hold. What was answered for the domains that it names only the packet path
    /// knows: where the rule lets them pass every address outside does here, and where it does not none is stopped.
    fn receivers(&mut self, rule: &Rule, to: ZoneId, field: Field) -> Vec<Way> {
        let names = self.policy.patterns_of(&rule.to) != 0;
        let is_outside = self.policy.zone(to).is_some_and(|zone| zone.wan);
        if names && is_outside && rule.action == Action::Pass && !rule.goes_on {
            return vec![Way { family: None, statements: Vec::new() }];
        }
        self.sets.ways(&rule.to, to, End::Receiver, field)
    }

    /// The chain that lets answers from `from` to `to` pass where the opening, which went the other way, would have
    /// been; none where nothing would.
    pub(super) fn backwards(&mut self, from: ZoneId, to: ZoneId) -> Option<String> {
        let policy = self.policy;
        let name = format!("answers.{}.{}", self.label(from), self.label(to));
        let (mut lines, mode) = (Vec::new(), self.mode_of(to));
        let kept_apart = policy.zone(to).is_some_and(|zone| zone.isolate && from == to || zone.quarantine);
        let rules = policy.rules.iter().filter(|rule| !kept_apart && !rule.goes_on && rule.covers(to, from));
        for rule in rules {
            let senders = self.sets.ways(&rule.from, to, End::Sender, Field::Destination);
            let receivers = self.receivers(rule, from, Field::Source);
            let passes = rule.action == Action::Pass || mode.and(rule.mode) == Mode::Observe;
            let verdict = if passes { accept() } else { Statement::Return(None) };
            let comment = format!("rule {} answered", rule.id);
            let matches = matches_of(rule);
            for way in crossed(&senders, &receivers) {
                let services = if matches.is_empty() {
                    vec![vec![]]
                } else {
                    let tcp: Vec<_> =
                        matches.iter().filter(|matched| matched.protocol == Protocol::TCP).copied().collect();
                    match_statements(&tcp, way.family, Port::Source)
                };
                for service in services {
                    let mut statements: Vec<_> = way.statements.iter().cloned().chain(service).collect();
                    statements.extend([counter(), verdict.clone()]);
                    lines.push((statements, comment.clone()));
                }
            }
        }
        if !kept_apart && (policy.default_action(to, from) == Action::Pass || mode == Mode::Observe) {
            lines.push((vec![counter(), accept()], "default answered".to_owned()));
        }
        if lines.is_empty() {
            return None;
        }
        self.chain(&name);
        for (statements, comment) in lines {
            self.rule(&name, statements, Some(&comment));
        }
        Some(self.named(&name))
    }

    /// A chain per rule that limits: new flows of a source pass at its rate.
    pub(super) fn limits(&mut self) {
        let policy = self.policy;
        let limited =
            policy.rules.iter().filter(|rule| !rule.goes_on && policy.mode.and(rule.mode) == Mode::Enforce);
        for (rule, rate) in limited.filter_map(|rule| Some((rule, rule.limit?))) {
            let (name, comment) = (limit_chain(rule.id), format!("rule {}", rule.id));
            self.chain(&name);
            // Whatever follows the first packet of a connection that passed is not a new flow.
            let passed = is_in(conntrack("status"), super::syntax::text("confirmed"));
            self.rule(&name, vec![passed, accept()], None);
            for (key, suffix) in [(payload("ip", "saddr"), "v4"), (source_network(), "v6")] {
                let meter = self.named(&format!("{name}.{suffix}"));
                let over = Statement::Meter(Meter {
                    name: owned(&meter),
                    key: Expression::Named(NamedExpression::Elem(Elem {
                        val: Box::new(key),
                        timeout: Some(seconds_to_recover(rate)),
                        expires: None,
                        comment: None,
                        counter: None,
                    })),
                    stmt: Box::new(over(rate)),
                });
                let statements = vec![over, counter(), Statement::Drop(None)];
                self.rule(&name, statements, Some(&format!("{comment} limited")));
            }
            self.rule(&name, vec![accept()], None);
        }
    }

    /// A zone in the name of a chain: its name if nftables can hold it, else its number, which no name can equal.
    pub(super) fn label(&self, zone: ZoneId) -> String {
        let name = self.policy.zone_name(zone);
        let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        let known = self.policy.is_configured(zone) || matches!(zone, ZONE_SELF | ZONE_MULTICAST);
        if known && plain && (1..=40).contains(&name.len()) {
            name.to_owned()
        } else {
            format!("zone.{zone}")
        }
    }

    /// What holds for flows that start in a zone: the whole's mode and its own.
    pub(super) fn mode_of(&self, zone: ZoneId) -> Mode {
        self.policy.mode.and(self.policy.zone(zone).map_or(Mode::Enforce, |zone| zone.mode))
    }

    /// What an action does in this mode, and what the comment says about it.
    fn carried_out(&self, action: Action, mode: Mode) -> (Statement<'static>, &'static str) {
        match (action, mode) {
            (Action::Pass, Mode::Observe | Mode::Enforce) => (self.passes(), ""),
            (Action::Drop | Action::Reject, Mode::Observe) => (self.passes(), " observed"),
            (Action::Drop, Mode::Enforce) => (Statement::Drop(None), ""),
            (Action::Reject, Mode::Enforce) => (self.goto(REFUSE), ""),
        }
    }
}

fn limit_chain(id: u16) -> String {
    format!("limit.{id}")
}

/// Matches what comes faster than this from one source. Never stricter than the rate itself: so many per day that one
/// takes no longer than `interval`, and one more at once for clocks that differ.
fn over(rate: Rate) -> Statement<'static> {
    const UNITS: [(&str, u64); 4] = [("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)];
    let interval = rate.interval.max(1);
    let fitting = UNITS.iter().find_map(|(unit, seconds)| {
        let count = (seconds * 1_000_000_000).div_ceil(interval);
        Some((*unit, u32::try_from(count).ok()?))
    });
    let (unit, count) = fitting.unwrap_or(("second", 1_000_000_000));
    Statement::Limit(Limit {
        rate: count,
        rate_unit: None,
        per: Some(owned(unit)),
        burst: Some(rate.burst.saturating_add(1)),
        burst_unit: None,
        inv: Some(true),
    })
}

/// After so long a source that sent nothing has its whole burst again, so it can be forgotten.
fn seconds_to_recover(rate: Rate) -> u32 {
    let nanoseconds = u128::from(rate.interval) * (u128::from(rate.burst) + 1);
    u32::try_from(nanoseconds / 1_000_000_000 + 1).unwrap_or(u32::MAX).min(86_400)
}

/// Every way of one side with every way of the other that can hold together.
fn crossed(senders: &[Way], receivers: &[Way]) -> Vec<Way> {
    let both = |sender: &Way, receiver: &Way| {
        if let (Some(one), Some(other)) = (sender.family, receiver.family)
            && one != other
        {
            return None;
        }
        let statements = sender.statements.iter().chain(&receiver.statements).cloned().collect();
        Some(Way { family: sender.family.or(receiver.family), statements })
    };
    senders
        .iter()
        .flat_map(|sender| receivers.iter().filter_map(move |receiver| both(sender, receiver)))
        .collect()
}

pub(super) fn matches_of(rule: &Rule) -> Vec<ServiceMatch> {
    rule.services.iter().flat_map(|service| service.matches.iter().copied()).collect()
}

/// The statements that match any of a rule's protocols and ports, as few nft rules as possible. A service that names
/// nothing of the family has none.
pub(super) fn match_statements(
    matches: &[ServiceMatch],
    family: Option<Family>,
    port: Port,
) -> Vec<Vec<Statement<'static>>> {
    let mut by_protocol: BTreeMap<Protocol, Vec<(u16, u16)>> = BTreeMap::new();
    for matched in matches {
        by_protocol.entry(matched.protocol).or_default().push((matched.ports.first, matched.ports.last));
    }
    let field = match port {
        Port::Source => "sport",
        Port::Destination => "dport",
    };
    let (mut whole, mut rules) = (Vec::new(), Vec::new());
    for (protocol, ranges) in by_protocol {
        let ranges = merged(ranges);
        if !has_ports(protocol) || ranges == [(0, u16::MAX)] {
            whole.push(Expression::Number(u32::from(protocol.0)));
        } else if protocol == Protocol::TCP || protocol == Protocol::UDP {
            let name = if protocol == Protocol::TCP { "tcp" } else { "udp" };
            let ports = ranges.into_iter().map(|(first, last)| range(first, last)).collect();
            rules.push(vec![equals(payload(name, field), one_of(ports))]);
        } else {
            let (name, other) =
                if protocol == Protocol::ICMP { ("icmp", Family::V6) } else { ("icmpv6", Family::V4) };
            if family != Some(other) {
                rules.extend(icmp_statements(name, &ranges));
            }
        }
    }
    if !whole.is_empty() {
        rules.push(vec![equals(meta(MetaKey::L4proto), one_of(whole))]);
    }
    rules
}

/// ICMP ranges over type * 256 + code: whole types in one rule, parts of a type in one each.
fn icmp_statements(name: &'static str, ranges: &[(u16, u16)]) -> Vec<Vec<Statement<'static>>> {
    let (mut types, mut rules) = (Vec::new(), Vec::new());
    for &(first, last) in ranges {
        let ([first_type, first_code], [last_type, last_code]) = (first.to_be_bytes(), last.to_be_bytes());
        for kind in first_type..=last_type {
            let from = if kind == first_type { first_code } else { 0 };
            let to = if kind == last_type { last_code } else { u8::MAX };
            if (from, to) == (0, u8::MAX) {
                types.push((u16::from(kind), u16::from(kind)));
            } else {
                let kind = equals(payload(name, "type"), Expression::Number(u32::from(kind)));
                let codes = one_of(vec![range(u16::from(from), u16::from(to))]);
                rules.push(vec![kind, equals(payload(name, "code"), codes)]);
            }
        }
    }
    if !types.is_empty() {
        let types = merged(types).into_iter().map(|(first, last)| range(first, last)).collect();
        rules.insert(0, vec![equals(payload(name, "type"), one_of(types))]);
    }
    rules
}

/// Sorted, with ranges that touch or overlap made one: nft refuses sets whose intervals overlap.
pub(super) fn merged(mut ranges: Vec<(u16, u16)>) -> Vec<(u16, u16)> {
    ranges.retain(|(first, last)| first <= last);
    ranges.sort_unstable();
    let mut merged: Vec<(u16, u16)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match merged.last_mut() {
            Some(before) if u32::from(first) <= u32::from(before.1) + 1 => before.1 = before.1.max(last),
            Some(_) | None => merged.push((first, last)),
        }
    }
    merged
}
