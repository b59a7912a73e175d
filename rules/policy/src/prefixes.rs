//! Rules as disjoint prefixes of destination ports between two zones: what a kernel path without a classifier looks up.
//!
//! It knows neither addresses nor devices. So that it never drops what the second wall would pass, a rule that lets some
//! addresses through lets all of them through here, and one that refuses some addresses is left out.

use abi::{MAX_POLICY, PolicyValue, ZONE_MULTICAST, ZONE_SELF, ZoneId};
use model::{Action, Protocol};
use std::collections::{BTreeMap, HashMap};

use crate::{LowerError, Policy, PolicyPrefix, Rule, Service, ZoneSet, judge::LOWERED, lower::at_most};

impl Policy {
    /// See the module.
    pub(crate) fn lower_prefixes(&self) -> Result<BTreeMap<PolicyPrefix, PolicyValue>, LowerError> {
        let forwards: Vec<Rule> =
            self.forwards.iter().enumerate().map(|(place, _)| self.forward_rule(place)).collect();
        let all: Vec<&Rule> = forwards.iter().chain(self.rules.iter().filter(|rule| !rule.goes_on)).collect();
        let limit = MAX_POLICY as usize / 2;
        let mut policy = BTreeMap::new();
        let mut needed = 0;
        // Most pairs of zones have the same rules as some other pair: those are resolved once.
        let mut known: HashMap<(Vec<u16>, PolicyValue, bool), Vec<Vec<Segment>>> = HashMap::new();
        let destinations: Vec<_> = self.destinations().collect();
        for from in self.sources() {
            for &to in &destinations {
                let rules: Vec<&Rule> = all.iter().copied().filter(|rule| takes(rule, from, to)).collect();
                let unnamed = self.judge_unnamed(from, to).value();
                let ids = rules.iter().map(|rule| rule.id).collect();
                let resolved = known.entry((ids, unnamed, to == ZONE_MULTICAST)).or_insert_with(|| {
                    LOWERED.iter().map(|&protocol| resolve(&rules, to, protocol, unnamed)).collect()
                });
                for (protocol, segments) in LOWERED.iter().zip(resolved) {
                    for segment in segments.iter() {
                        for (port, bits) in prefixes(segment.first, segment.last) {
                            needed += 1;
                            if needed <= limit {
                                let prefix = PolicyPrefix { from, to, protocol: protocol.0, port, bits };
                                policy.insert(prefix, segment.value);
                            }
                        }
                    }
                }
            }
        }
        let help = "let fewer rules say `any`, or use ranges of ports that start and end at powers of two";
        let by_address = |rule: &&Rule| [&rule.from, &rule.to].iter().any(|side| !side.sets.is_empty());
        if needed > limit && self.rules.iter().any(|rule| by_address(&rule)) {
            // What prefixes cannot say at all is left to the second wall.
            let pass = PolicyValue { action: Action::Pass as u8, flags: 0, rule: abi::RULE_DEFAULT };
            let pairs = self.sources().flat_map(|from| destinations.iter().map(move |to| (from, *to)));
            let every =
                pairs.flat_map(|(from, to)| LOWERED.iter().map(move |protocol| (from, to, protocol.0)));
            return Ok(every
                .map(|(from, to, protocol)| (PolicyPrefix { from, to, protocol, port: 0, bits: 0 }, pass))
                .collect());
        }
        at_most("port prefixes of rules", needed, limit, help)?;
        Ok(policy)
    }

    /// A forward as a rule.
    fn forward_rule(&self, place: usize) -> Rule {
        let forward = &self.forwards[place];
        let zones = std::iter::once(forward.from).chain(self.hairpin_zones(forward).map(|zone| zone.id));
        Rule {
            id: self.forward_id(place),
            from: ZoneSet::Of(zones.collect()).into(),
            to: ZoneSet::Of(vec![ZONE_SELF]).into(),
            services: vec![Service { name: forward.name.clone(), matches: forward.services.clone() }],
            ..Rule::default()
        }
    }
}

/// Whether the rule holds between these zones as far as prefixes can say it.
fn takes(rule: &Rule, from: ZoneId, to: ZoneId) -> bool {
    match rule.action {
        Action::Pass => rule.covers(from, to),
        Action::Drop | Action::Reject => rule.from.contains(from) && rule.to.contains(to),
    }
}

/// Ports that have one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Segment {
    first: u16,
    last: u16,
    value: PolicyValue,
}

/// Settles first match wins over all ports of one protocol: segments in order, without gaps, neighbours unequal.
fn resolve(rules: &[&Rule], to: ZoneId, protocol: Protocol, unnamed: PolicyValue) -> Vec<Segment> {
    // By first port; disjoint. A rule only takes what no earlier rule has.
    let mut taken: BTreeMap<u16, Segment> = BTreeMap::new();
    let everything = [(0, u16::MAX)];
    for rule in rules {
        let value = rule.value(to);
        if rule.services.is_empty() {
            fill(&mut taken, everything, value);
            break;
        }
        let matches = rule.services.iter().flat_map(|service| &service.matches);
        let ports = matches
            .filter(|matched| matched.protocol == protocol)
            .map(|matched| (matched.ports.first, matched.ports.last));
        fill(&mut taken, ports, value);
    }
    fill(&mut taken, everything, unnamed);
    let mut segments: Vec<Segment> = Vec::with_capacity(taken.len());
    for segment in taken.into_values() {
        match segments.last_mut() {
            Some(last) if last.value == segment.value => last.last = segment.last,
            Some(_) | None => segments.push(segment),
        }
    }
    segments
}

/// Gives `value` to the ports of each range that have none yet.
fn fill(
    taken: &mut BTreeMap<u16, Segment>,
    ranges: impl IntoIterator<Item = (u16, u16)>,
    value: PolicyValue,
) {
    for (first, last) in ranges {
        let mut gaps = Vec::new();
        let before = taken.range(..first).next_back().map_or(0, |(_, segment)| u32::from(segment.last) + 1);
        // One past the last port, so that it can be 65,536.
        let mut next = before.max(u32::from(first));
        for segment in taken.range(first..=last.max(first)).map(|(_, segment)| segment) {
            gaps.push((next, u32::from(segment.first)));
            next = u32::from(segment.last) + 1;
        }
        gaps.push((next, u32::from(last) + 1));
        for (start, end) in gaps {
            if let (true, Ok(first), Ok(last)) =
                (start < end, u16::try_from(start), u16::try_from(end.max(1) - 1))
            {
                taken.insert(first, Segment { first, last, value });
            }
        }
    }
}

/// The fewest prefixes that hold exactly the ports from `first` to `last`, as (first port, significant bits).
fn prefixes(first: u16, last: u16) -> impl Iterator<Item = (u16, u8)> {
    let (mut next, end) = (u32::from(first), u32::from(last) + 1);
    std::iter::from_fn(move || {
        let port = u16::try_from(next).ok().filter(|_| next < end)?;
        // As many low bits free as the start is aligned to and as still fit.
        let aligned = if next == 0 { 16 } else { next.trailing_zeros() };
        let free = aligned.min((end - next).ilog2());
        next += 1 << free;
        Some((port, (16 - free) as u8))
    })
}
