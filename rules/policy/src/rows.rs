//! Rules as rows that the classifier matches: zones, addresses, sender's device and services that must all hold.
//!
//! A side of a rule names zones, addresses and devices of which one is enough, so a rule becomes at most three times
//! two rows (twice that where it rejects what may be multicast). All address sets of a side are one set here, and so are
//! its device groups: however much a rule names, it stays few rows.

use abi::{
    MAX_DEVICE_GROUPS, MAX_DEVICES, MAX_RATES, MAX_RULES, MAX_SETS, POLICY_ADDRESSED, PolicyValue,
    RULE_DEFAULT, ZONE_MULTICAST, ZONE_SELF, ZoneId,
};
use ipnet::IpNet;
use model::{Action, Mac};
use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::Arc,
};

use crate::{
    Forward, LowerError, Policy, Rate, Row, Rule, Selector, ServiceMatch, Side, ZoneSet, lower::at_most,
};

/// What the rules of a policy become.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    pub(crate) rows: Vec<Row>,
    pub(crate) sets: Vec<Arc<[IpNet]>>,
    pub(crate) devices: Vec<Vec<Mac>>,
    pub(crate) rates: Vec<Rate>,
    pub(crate) zone_rates: BTreeMap<ZoneId, u16>,
    /// Patterns of names by set, a bit each.
    pub(crate) names: BTreeMap<u16, u64>,
}

/// Every zone, those that are not configured included.
const EVERY_ZONE: u64 = u64::MAX;

impl Policy {
    /// Forwards, then rules in order, then the zones' defaults.
    pub(crate) fn lower_rows(&self, own: &[IpAddr]) -> Result<Rows, LowerError> {
        let mut lowering = Lowering {
            policy: self,
            multicast: self.multicast(),
            made: Rows::default(),
            unions: HashMap::new(),
            by_content: HashMap::new(),
            groups: HashMap::new(),
        };
        for (place, forward) in self.forwards.iter().enumerate() {
            lowering.forward(self.forward_id(place), forward, own)?;
        }
        for rule in &self.rules {
            lowering.rule(rule)?;
            // Told at the end with the whole number, but never more than a few times the limit in memory.
            if lowering.made.rows.len() > 8 * MAX_RULES as usize {
                break;
            }
        }
        lowering.defaults();
        if self.zones.iter().any(|zone| zone.quarantine) {
            // Whoever is in no group is new: the kernel must know all of them, named by rules or not.
            let every: Vec<u16> = (0u16..).take(self.devices.len()).collect();
            lowering.group(&every)?;
        }
        for zone in &self.zones {
            if let Some(rate) = zone.new_flows {
                let place = lowering.rate(rate);
                lowering.made.zone_rates.insert(zone.id, place);
            }
        }
        lowering.made.check()
    }
}

impl Rows {
    fn check(self) -> Result<Self, LowerError> {
        let (rows, groups, rates) = (self.rows.len(), self.devices.len(), self.rates.len());
        let devices = self.devices.iter().map(Vec::len).sum();
        let wider = "write fewer, wider rules";
        at_most("lines that the rules become", rows, MAX_RULES as usize, wider)?;
        at_most("device groups", groups, MAX_DEVICE_GROUPS as usize, "merge groups that rules treat alike")?;
        at_most(
            "devices in groups",
            devices,
            2 * MAX_DEVICES as usize,
            "let fewer rules name several groups",
        )?;
        at_most("different rates", rates, MAX_RATES as usize, "use the same rate in several places")?;
        Ok(self)
    }
}

struct Lowering<'a> {
    policy: &'a Policy,
    multicast: Vec<IpNet>,
    made: Rows,
    /// Planned set by the places of the sets and device groups it unites; none = it is empty.
    unions: HashMap<(Vec<u16>, Vec<u16>), Option<Union>>,
    by_content: HashMap<Arc<[IpNet]>, u16>,
    groups: HashMap<Vec<u16>, Option<u16>>,
}

#[derive(Clone, Copy)]
struct Union {
    place: u16,
    /// Whether it holds multicast or broadcast addresses.
    multicast: bool,
}

/// One way in which the source side of a rule holds.
#[derive(Clone, Copy)]
struct Sender {
    zones: u64,
    source: Selector,
    device: Option<u16>,
}

/// One way in which the destination side of a rule holds.
#[derive(Clone, Copy)]
struct Receiver {
    zones: u64,
    destination: Selector,
    multicast: bool,
}

impl Lowering<'_> {
    fn rule(&mut self, rule: &Rule) -> Result<(), LowerError> {
        let senders = self.senders(&rule.from)?;
        let receivers = self.receivers(&rule.to)?;
        let services = services(rule);
        let rate = rule.limit.filter(|_| !rule.goes_on).map(|limit| self.rate(limit));
        for sender in &senders {
            for receiver in &receivers {
                for (to, mut value) in split(rule, receiver) {
                    if matches!(receiver.destination, Selector::Set(_)) && self.policy.is_addressed(&rule.to)
                    {
                        value.flags |= POLICY_ADDRESSED;
                    }
                    self.made.rows.push(Row {
                        from: sender.zones,
                        to,
                        source: sender.source,
                        destination: receiver.destination,
                        device: sender.device,
                        services: services.clone(),
                        value,
                        rate,
                    });
                }
            }
        }
        Ok(())
    }

    fn senders(&mut self, side: &Side) -> Result<Vec<Sender>, LowerError> {
        let zones = mask(&side.zones);
        let mut senders = Vec::new();
        if zones != 0 {
            senders.push(Sender { zones, source: Selector::Any, device: None });
        }
        if zones != EVERY_ZONE {
            if let Some(union) = self.union(&side.sets, &[])? {
                senders.push(Sender { zones: EVERY_ZONE, source: Selector::Set(union.place), device: None });
            }
            if let Some(group) = self.group(&side.devices)? {
                senders.push(Sender { zones: EVERY_ZONE, source: Selector::Any, device: Some(group) });
            }
        }
        Ok(senders)
    }

    fn receivers(&mut self, side: &Side) -> Result<Vec<Receiver>, LowerError> {
        let zones = mask(&side.zones);
        let mut receivers = Vec::new();
        if zones != 0 {
            let multicast = zones & bit(ZONE_MULTICAST) != 0;
            receivers.push(Receiver { zones, destination: Selector::Any, multicast });
        }
        if zones != EVERY_ZONE
            && let Some(Union { place, multicast }) = self.union(&side.sets, &side.devices)?
        {
            receivers.push(Receiver { zones: EVERY_ZONE, destination: Selector::Set(place), multicast });
        }
        let outside = self.policy.zones.iter().find(|zone| zone.wan).map_or(0, |zone| bit(zone.id));
        let patterns = self.policy.patterns_of(side);
        if patterns != 0 && outside & !zones != 0 {
            let destination = Selector::Set(self.patterns(patterns)?);
            receivers.push(Receiver { zones: outside, destination, multicast: false });
        }
        Ok(receivers)
    }

    fn forward(&mut self, id: u16, forward: &Forward, own: &[IpAddr]) -> Result<(), LowerError> {
        let outer = self.policy.outer_addresses(forward.from, own).into_iter();
        let outer = outer.filter(|address| address.is_ipv4() == forward.to.is_ipv4()).map(IpNet::from);
        let Some(destination) = self.set(outer.collect())? else { return Ok(()) };
        let source = match forward.sources.as_slice() {
            [] => Some(Selector::Any),
            sources => self.union(sources, &[])?.map(|union| Selector::Set(union.place)),
        };
        let inside = self.policy.hairpin_zones(forward).map(|zone| bit(zone.id)).sum::<u64>();
        let senders = [(bit(forward.from), source), (inside, Some(Selector::Any))];
        for (from, source) in senders {
            let Some(source) = source.filter(|_| from != 0) else { continue };
            self.made.rows.push(Row {
                from,
                to: bit(ZONE_SELF),
                source,
                destination: Selector::Set(destination),
                device: None,
                services: forward.services.clone(),
                value: PolicyValue { action: Action::Pass as u8, flags: 0, rule: id },
                rate: None,
            });
        }
        Ok(())
    }

    /// [`Policy::default_action`] as rows.
    fn defaults(&mut self) {
        let zones = &self.policy.zones;
        let of = |matches: &dyn Fn(&crate::Zone) -> bool| {
            zones.iter().filter(|zone| matches(zone)).map(|zone| bit(zone.id)).sum::<u64>()
        };
        let inner = of(&|zone| !zone.wan);
        let mut rows = vec![
            (bit(ZONE_SELF), EVERY_ZONE, Action::Pass),
            (inner, bit(ZONE_MULTICAST), Action::Pass),
            (EVERY_ZONE, bit(ZONE_MULTICAST), Action::Drop),
        ];
        rows.extend(
            zones.iter().filter(|zone| !zone.wan).map(|zone| (bit(zone.id), bit(zone.id), Action::Pass)),
        );
        rows.push((of(&|zone| zone.denial == Action::Reject), EVERY_ZONE, Action::Reject));
        rows.push((EVERY_ZONE, EVERY_ZONE, Action::Drop));
        self.made.rows.extend(rows.into_iter().filter(|(from, to, _)| *from != 0 && *to != 0).map(
            |(from, to, action)| Row {
                from,
                to,
                source: Selector::Any,
                destination: Selector::Any,
                device: None,
                services: Vec::new(),
                value: PolicyValue { action: action as u8, flags: 0, rule: RULE_DEFAULT },
                rate: None,
            },
        ));
    }

    /// The planned set of all that these hold; none = nothing.
    fn union(&mut self, sets: &[u16], devices: &[u16]) -> Result<Option<Union>, LowerError> {
        if sets.is_empty() && devices.is_empty() {
            return Ok(None);
        }
        let key = (ordered(sets), ordered(devices));
        if let Some(known) = self.unions.get(&key) {
            return Ok(*known);
        }
        let policy = self.policy;
        let of_sets = key.0.iter().filter_map(|place| Some(&policy.sets.get(usize::from(*place))?.nets));
        let of_devices =
            key.1.iter().filter_map(|place| Some(&policy.devices.get(usize::from(*place))?.addresses));
        let parts: Vec<&Arc<[IpNet]>> = of_sets.chain(of_devices).collect();
        let nets = match parts.as_slice() {
            [only] if is_folded(only) => Arc::clone(only),
            _ => address_set(parts.iter().flat_map(|part| part.iter().copied()).collect()),
        };
        let union = match self.set(nets)? {
            Some(place) => {
                let nets = &self.made.sets[usize::from(place)];
                let multicast = nets.iter().any(|net| self.multicast.iter().any(|other| overlap(net, other)));
                Some(Union { place, multicast })
            }
            None => None,
        };
        self.unions.insert(key, union);
        Ok(union)
    }

    /// The place of a set of patterns of names.
    fn patterns(&mut self, patterns: u64) -> Result<u16, LowerError> {
        if let Some((place, _)) = self.made.names.iter().find(|(_, known)| **known == patterns) {
            return Ok(*place);
        }
        let help = "let rules name the same domains together";
        at_most(
            "different sets of addresses and domains",
            self.made.sets.len() + 1,
            MAX_SETS as usize,
            help,
        )?;
        let place = self.made.sets.len() as u16;
        self.made.sets.push(Arc::default());
        self.made.names.insert(place, patterns);
        Ok(place)
    }

    /// The place of a set; none = it is empty.
    fn set(&mut self, nets: Arc<[IpNet]>) -> Result<Option<u16>, LowerError> {
        if nets.is_empty() {
            return Ok(None);
        }
        if let Some(place) = self.by_content.get(&nets) {
            return Ok(Some(*place));
        }
        let help = "gather addresses in groups that several rules name";
        at_most("different address sets", self.made.sets.len() + 1, MAX_SETS as usize, help)?;
        let place = self.made.sets.len() as u16;
        self.made.sets.push(Arc::clone(&nets));
        self.by_content.insert(nets, place);
        Ok(Some(place))
    }

    /// The planned group of all devices in these; none = there are none.
    fn group(&mut self, groups: &[u16]) -> Result<Option<u16>, LowerError> {
        let key = ordered(groups);
        if let Some(known) = self.groups.get(&key) {
            return Ok(*known);
        }
        let room = MAX_DEVICE_GROUPS as usize;
        at_most("different device groups", self.made.devices.len(), room, "merge device groups")?;
        let named = key.iter().filter_map(|place| self.policy.devices.get(usize::from(*place)));
        let mut macs: Vec<Mac> = named.flat_map(|group| group.macs.iter().copied()).collect();
        macs.sort_unstable();
        macs.dedup();
        let place = (!macs.is_empty()).then(|| {
            let known = self.made.devices.iter().position(|group| *group == macs);
            known.unwrap_or_else(|| {
                self.made.devices.push(macs);
                self.made.devices.len() - 1
            }) as u16
        });
        self.groups.insert(key, place);
        Ok(place)
    }

    fn rate(&mut self, rate: Rate) -> u16 {
        let known = self.made.rates.iter().position(|known| *known == rate);
        known.unwrap_or_else(|| {
            self.made.rates.push(rate);
            self.made.rates.len() - 1
        }) as u16
    }
}

/// What the rule says, by destination zones: a rejection of multicast is a drop.
fn split(rule: &Rule, receiver: &Receiver) -> Vec<(u64, PolicyValue)> {
    let rejects = rule.action == Action::Reject && !rule.goes_on;
    if !(rejects && receiver.multicast) {
        return vec![(receiver.zones, rule.value(ZONE_SELF))];
    }
    let multicast = receiver.zones & bit(ZONE_MULTICAST);
    let others = receiver.zones & !multicast;
    [(multicast, rule.value(ZONE_MULTICAST)), (others, rule.value(ZONE_SELF))]
        .into_iter()
        .filter(|(zones, _)| *zones != 0)
        .collect()
}

/// Ranges of one protocol that touch or overlap are one.
pub(crate) fn services(rule: &Rule) -> Vec<ServiceMatch> {
    let mut matches: Vec<ServiceMatch> =
        rule.services.iter().flat_map(|service| &service.matches).copied().collect();
    matches.sort_unstable();
    matches.dedup_by(|next, before| {
        let touches =
            next.protocol == before.protocol && next.ports.first <= before.ports.last.saturating_add(1);
        if touches {
            before.ports.last = before.ports.last.max(next.ports.last);
        }
        touches
    });
    matches
}

fn bit(zone: ZoneId) -> u64 {
    1u64.checked_shl(zone.into()).unwrap_or(0)
}

fn mask(zones: &ZoneSet) -> u64 {
    match zones {
        ZoneSet::Any => EVERY_ZONE,
        ZoneSet::Of(zones) => zones.iter().fold(0, |mask, zone| mask | bit(*zone)),
    }
}

fn ordered(places: &[u16]) -> Vec<u16> {
    let mut places = places.to_vec();
    places.sort_unstable();
    places.dedup();
    places
}

fn overlap(one: &IpNet, other: &IpNet) -> bool {
    one.contains(other) || other.contains(one)
}

/// Sorted, and none lies within another.
fn is_folded(nets: &[IpNet]) -> bool {
    nets.windows(2).all(|pair| pair[0] < pair[1] && !pair[0].contains(&pair[1]))
        && nets.iter().all(|net| *net == net.trunc())
}

/// The addresses of a set as a policy holds them: sorted, without host bits and without what lies within another.
#[must_use]
pub fn address_set(mut nets: Vec<IpNet>) -> Arc<[IpNet]> {
    nets.iter_mut().for_each(|net| *net = net.trunc());
    nets.sort_unstable();
    // A covering network stands in front of what it covers.
    nets.dedup_by(|next, kept| kept.contains(&*next));
    nets.into()
}
