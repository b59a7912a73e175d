//! Rules that decide nothing: equal to an earlier one, shadowed by earlier ones together, or about flows that cannot
//! be.
//!
//! A rule is asked for one flow that it takes and nobody before it does. While an earlier rule takes the flow that is
//! tried, what that rule takes is cut out of the rule in question, and a flow of the rest is tried. So every rule either
//! has a flow of its own or is shown to have none, and by which rules. The work is bounded; what was not settled is
//! said ([`Review::unsettled`]).
//!
//! Not seen: what countries, systems and lists hold as long as they are empty in the policy (such a set equals only
//! itself then), quarantine, and rates.

mod space;

use abi::{MAX_ZONES, ZONE_MULTICAST, ZONE_NONE, ZONE_SELF, ZoneId};
use model::Action;
use serde::{Serialize, Serializer};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
};

use crate::{Policy, Rule, RulePlace, ServiceMatch, SetKind, Side, ZoneSet, rows};
use space::{AddressClass, Bits, Content, Services, SetId};

/// Comparisons of a flow with a rule in one review.
const MOST_COMPARISONS: u64 = 160_000_000;
/// Flows that are tried for one rule.
const MOST_TRIALS: usize = 200;
/// Pieces that what is left of one rule may have.
const MOST_PIECES: usize = 400;

/// What [`Policy::review`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Review {
    /// Rules that decide nothing, in order.
    pub findings: Vec<Finding>,
    /// Rules of which it was not settled, because that would have taken too long.
    pub unsettled: Vec<u16>,
}

/// A rule that decides nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Why.
    pub kind: FindingKind,
    /// The rule.
    pub rule: RulePlace,
    /// Rules and forwards that take all of its flows, in order; empty for [`FindingKind::Never`].
    pub by: Vec<RulePlace>,
    /// One of them does something else with the flows than the rule would.
    pub contradicts: bool,
    /// All of it in one sentence.
    pub message: String,
}

/// Why a rule decides nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FindingKind {
    /// An earlier rule names the same flows and does the same.
    Equal,
    /// Earlier rules decide all of its flows.
    Shadowed,
    /// No flow is such.
    Never,
}

impl FindingKind {
    /// The word in `secctl check -o json`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::Shadowed => "shadowed",
            Self::Never => "never",
        }
    }
}

impl Serialize for FindingKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl Policy {
    /// Looks for rules that decide nothing, on a router with the addresses `own` (without them, forwards and the
    /// router's own addresses inside networks of zones are not taken into account).
    #[must_use]
    pub fn review(&self, own: &[IpAddr]) -> Review {
        let ground = Ground::new(self, own);
        let mut review = Review::default();
        let mut comparisons = 0;
        let mut seen: BTreeMap<Key, usize> = BTreeMap::new();
        for (place, rule) in self.rules.iter().enumerate() {
            let first = *seen.entry(key(rule)).or_insert(place);
            let found = if first < place {
                Outcome::Taken(vec![ground.forwards + first])
            } else if comparisons > MOST_COMPARISONS {
                Outcome::Unsettled
            } else {
                ground.outcome(ground.forwards + place, &mut comparisons)
            };
            match found {
                Outcome::HasOwn => {}
                Outcome::Unsettled => review.unsettled.push(rule.id),
                Outcome::Never => review.findings.push(self.never(rule, &ground)),
                Outcome::Taken(by) => review.findings.push(self.taken(rule, &by, ground.forwards)),
            }
        }
        review
    }

    fn never(&self, rule: &Rule, ground: &Ground<'_>) -> Finding {
        let place = place_of(rule);
        let why = ground.why_never(rule);
        let message = format!("rule {} at {}:{} can never match: {why}", place.id, place.file, place.line);
        Finding { kind: FindingKind::Never, rule: place, by: Vec::new(), contradicts: false, message }
    }

    /// `by` are places of subjects: forwards first, then rules.
    fn taken(&self, rule: &Rule, by: &[usize], forwards: usize) -> Finding {
        let place = place_of(rule);
        let (mut takers, mut contradicts) = (Vec::new(), false);
        let mut equal = false;
        for taker in by {
            match taker.checked_sub(forwards).and_then(|place| self.rules.get(place)) {
                Some(other) => {
                    takers.push(place_of(other));
                    contradicts |= !rule.goes_on && does(other) != does(rule);
                    equal |= by.len() == 1 && key(other) == key(rule) && does(other) == does(rule);
                }
                None => {
                    let span =
                        self.forwards.get(*taker).map(|forward| forward.span.clone()).unwrap_or_default();
                    takers.push(RulePlace { id: self.forward_id(*taker), file: span.file, line: span.line });
                    contradicts |= !rule.goes_on && rule.action != Action::Pass;
                }
            }
        }
        /// Rules that a message names.
        const MOST_NAMED: usize = 5;
        let mut names: Vec<String> = takers.iter().take(MOST_NAMED).map(|taker| self.told(taker)).collect();
        if takers.len() > MOST_NAMED {
            names.push(format!("{} more", takers.len() - MOST_NAMED));
        }
        let by = match names.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("{} and {last} together", rest.join(", ")),
            _ => names.concat(),
        };
        let (kind, message) = if equal {
            (FindingKind::Equal, format!("{} says the same as {by}", self.told(&place)))
        } else {
            let but = if contradicts { ", and not as it says" } else { "" };
            let decide = if takers.len() == 1 { "decides" } else { "decide" };
            (
                FindingKind::Shadowed,
                format!("{} is never reached: {by} {decide} all of its flows{but}", self.told(&place)),
            )
        };
        Finding { kind, rule: place, by: takers, contradicts, message }
    }

    fn told(&self, place: &RulePlace) -> String {
        let name = self.rule_name(place.id).unwrap_or_else(|| format!("rule {}", place.id));
        format!("{name} at {}:{}", place.file, place.line)
    }
}

fn place_of(rule: &Rule) -> RulePlace {
    RulePlace { id: rule.id, file: rule.span.file.clone(), line: rule.span.line }
}

/// What a rule does with its flows.
fn does(rule: &Rule) -> (Action, bool, Option<crate::Rate>, model::Mode) {
    (rule.action, rule.goes_on, rule.limit, rule.mode)
}

/// Which flows a rule names. Two with one key name the same; an earlier one that only logs stands for another that does.
type Key = (SideKey, SideKey, Vec<ServiceMatch>, Option<u16>, bool);
type SideKey = (Option<Vec<ZoneId>>, Vec<u16>, Vec<u16>);

fn key(rule: &Rule) -> Key {
    let side = |side: &Side| -> SideKey {
        let sorted = |places: &[u16]| places.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
        match &side.zones {
            ZoneSet::Any => (None, Vec::new(), Vec::new()),
            ZoneSet::Of(zones) => {
                let zones: BTreeSet<ZoneId> = zones.iter().copied().collect();
                (Some(zones.into_iter().collect()), sorted(&side.sets), sorted(&side.devices))
            }
        }
    };
    (side(&rule.from), side(&rule.to), rows::services(rule), rule.schedule, rule.goes_on)
}

enum Outcome {
    /// Some flow is decided by it.
    HasOwn,
    /// These subjects take all of its flows.
    Taken(Vec<usize>),
    /// It has no flows.
    Never,
    Unsettled,
}

/// Everything that flows are compared with.
struct Ground<'a> {
    policy: &'a Policy,
    /// Forwards, then rules.
    subjects: Vec<Subject>,
    forwards: usize,
    sources: Vec<AddressClass>,
    targets: Vec<AddressClass>,
    devices: Vec<Vec<u16>>,
    services: Services,
    source_places: HashMap<SetId, Vec<u32>>,
    target_places: HashMap<SetId, Vec<u32>>,
    /// By family.
    source_family: [Bits; 2],
    target_family: [Bits; 2],
    service_family: [Bits; 2],
    /// By zone: target classes at home there.
    homes: Vec<Bits>,
    /// By zone in which a flow starts: the sources that it can have, and the targets that are asked about.
    feasible: BTreeMap<ZoneId, (Bits, Bits)>,
    every_zone: u64,
}

/// A forward or a rule.
struct Subject {
    lines: Vec<Line>,
    /// Classes of services, first and last; empty = all.
    services: Vec<(usize, usize)>,
    goes_on: bool,
    schedule: Option<u16>,
}

/// One way in which both sides of a rule hold.
#[derive(Clone)]
struct Line {
    from: u64,
    sources: Option<Vec<SetId>>,
    devices: Option<Vec<u16>>,
    to: u64,
    targets: Option<Vec<SetId>>,
}

/// A flow of each class.
#[derive(Clone, Copy)]
struct Sample {
    zone: ZoneId,
    source: usize,
    device: usize,
    target: usize,
    service: usize,
}

/// Part of the flows that a rule takes: all combinations.
#[derive(Clone)]
struct Piece {
    zones: u64,
    sources: Bits,
    devices: Bits,
    targets: Bits,
    services: Bits,
}

impl<'a> Ground<'a> {
    fn new(policy: &'a Policy, own: &[IpAddr]) -> Self {
        let outer: Vec<Vec<ipnet::IpNet>> = policy
            .forwards
            .iter()
            .map(|forward| {
                let outer = policy.outer_addresses(forward.from, own).into_iter();
                outer.filter(|address| address.is_ipv4() == forward.to.is_ipv4()).map(Into::into).collect()
            })
            .collect();
        let group_base = policy.sets.len() as SetId;
        let outer_base = group_base + policy.devices.len() as SetId;
        let forward_lines = policy.forwards.iter().zip(outer_base..).map(|(forward, outer)| {
            let to_it = Line {
                from: 0,
                sources: None,
                devices: None,
                to: bit(ZONE_SELF),
                targets: Some(vec![outer]),
            };
            let inside = policy.hairpin_zones(forward).fold(0, |mask, zone| mask | bit(zone.id));
            let sources = match forward.sources.as_slice() {
                [] => None,
                sources => Some(sources.iter().map(|place| (*place).into()).collect()),
            };
            let lines = vec![
                Line { from: bit(forward.from), sources, ..to_it.clone() },
                Line { from: inside, ..to_it },
            ];
            (lines, forward.services.clone(), false, None)
        });
        let rule_lines = policy
            .rules
            .iter()
            .map(|rule| (lines(rule, group_base), rows::services(rule), rule.goes_on, rule.schedule));
        let raw: Vec<_> = forward_lines.chain(rule_lines).collect();
        let services = Services::new(raw.iter().flat_map(|(_, services, _, _)| services));

        let content = |set: SetId| -> Content<'_> {
            let place = set as usize;
            if let Some(set) = policy.sets.get(place) {
                let unknown = set.kind != SetKind::Group && set.nets.is_empty();
                return if unknown { Content::Unknown } else { Content::Known(&set.nets) };
            }
            if let Some(group) = policy.devices.get(place - policy.sets.len()) {
                return if group.addresses.is_empty() {
                    Content::Unknown
                } else {
                    Content::Known(&group.addresses)
                };
            }
            let nets = outer.get(place - policy.sets.len() - policy.devices.len());
            Content::Known(nets.map_or(&[], Vec::as_slice))
        };
        let named = |of: fn(&Line) -> &Option<Vec<SetId>>| -> BTreeMap<SetId, Content<'_>> {
            let sets =
                raw.iter().flat_map(|(lines, ..)| lines).filter_map(|line| of(line).as_ref()).flatten();
            sets.map(|set| (*set, content(*set))).collect()
        };
        let zones = space::zones_of_addresses(policy, own);
        let sources = space::address_classes(&zones, &named(|line| &line.sources));
        let targets = space::address_classes(&zones, &named(|line| &line.targets));

        let family = |classes: &[AddressClass]| {
            [false, true].map(|v6| Bits::of(classes.len(), |class| classes[class].v6 == v6))
        };
        let homes =
            (0..MAX_ZONES as u8).map(|zone| Bits::of(targets.len(), |class| targets[class].home == zone));
        let homes: Vec<Bits> = homes.collect();
        let feasible =
            policy.sources().map(|zone| (zone, feasible(policy, zone, &sources, &targets))).collect();
        let subjects = raw
            .into_iter()
            .map(|(lines, matches, goes_on, schedule)| Subject {
                lines,
                services: matches.iter().map(|matched| services.classes(matched)).collect(),
                goes_on,
                schedule,
            })
            .collect();
        Self {
            policy,
            subjects,
            forwards: policy.forwards.len(),
            devices: space::device_classes(policy),
            source_places: space::by_set(&sources),
            target_places: space::by_set(&targets),
            source_family: family(&sources),
            target_family: family(&targets),
            service_family: [false, true].map(|v6| services.of_family(v6)),
            every_zone: policy.sources().fold(0, |mask, zone| mask | bit(zone)),
            sources,
            targets,
            services,
            homes,
            feasible,
        }
    }

    fn outcome(&self, place: usize, comparisons: &mut u64) -> Outcome {
        let subject = &self.subjects[place];
        let mut pieces: Vec<Piece> = [0, 1]
            .iter()
            .flat_map(|family| subject.lines.iter().map(|line| self.piece(subject, line, *family)))
            .collect();
        let mut by = BTreeSet::new();
        let mut trials = 0;
        while let Some(piece) = pieces.pop() {
            let Some(sample) = self.sample(&piece) else { continue };
            trials += 1;
            if trials > MOST_TRIALS || pieces.len() > MOST_PIECES || *comparisons > MOST_COMPARISONS {
                return Outcome::Unsettled;
            }
            let Some((taker, line)) = self.first_before(place, sample, comparisons) else {
                return Outcome::HasOwn;
            };
            by.insert(taker);
            let cut = self.piece(&self.subjects[taker], line, usize::from(self.targets[sample.target].v6));
            pieces.extend(without(piece, &cut));
        }
        if by.is_empty() { Outcome::Never } else { Outcome::Taken(by.into_iter().collect()) }
    }

    /// The first subject before `place` that ends the search for this flow whenever `place` holds.
    fn first_before(&self, place: usize, sample: Sample, comparisons: &mut u64) -> Option<(usize, &Line)> {
        let schedule = self.subjects[place].schedule;
        for (taker, subject) in self.subjects[..place].iter().enumerate() {
            *comparisons += 1;
            if subject.goes_on || subject.schedule.is_some() && subject.schedule != schedule {
                continue;
            }
            let by_service = subject.services.is_empty()
                || subject.services.iter().any(|(first, last)| (*first..=*last).contains(&sample.service));
            if by_service && let Some(line) = subject.lines.iter().find(|line| self.takes(line, sample)) {
                return Some((taker, line));
            }
        }
        None
    }

    fn takes(&self, line: &Line, sample: Sample) -> bool {
        let target = &self.targets[sample.target];
        line.from & bit(sample.zone) != 0
            && line.to & bit(target.home) != 0
            && line.targets.as_ref().is_none_or(|sets| share(sets, &target.sets))
            && line.sources.as_ref().is_none_or(|sets| share(sets, &self.sources[sample.source].sets))
            && line.devices.as_ref().is_none_or(|groups| share(groups, &self.devices[sample.device]))
    }

    fn piece(&self, subject: &Subject, line: &Line, family: usize) -> Piece {
        let marked = |sets: &Option<Vec<SetId>>,
                      places: &HashMap<SetId, Vec<u32>>,
                      all: &Bits,
                      count: usize| match sets {
            None => all.clone(),
            Some(sets) => {
                let mut bits = Bits::none(count);
                for place in sets.iter().filter_map(|set| places.get(set)).flatten() {
                    bits.set(*place as usize);
                }
                bits.and(all)
            }
        };
        let targets =
            marked(&line.targets, &self.target_places, &self.target_family[family], self.targets.len());
        let targets = if line.to == u64::MAX { targets } else { targets.and(&self.at_home(line.to)) };
        let services = match subject.services.as_slice() {
            [] => self.service_family[family].clone(),
            ranges => {
                let mut bits = Bits::none(self.services.count);
                ranges.iter().flat_map(|(first, last)| *first..=*last).for_each(|class| bits.set(class));
                bits.and(&self.service_family[family])
            }
        };
        Piece {
            zones: line.from & self.every_zone,
            sources: marked(
                &line.sources,
                &self.source_places,
                &self.source_family[family],
                self.sources.len(),
            ),
            devices: Bits::of(self.devices.len(), |class| {
                line.devices.as_ref().is_none_or(|groups| share(groups, &self.devices[class]))
            }),
            targets,
            services,
        }
    }

    fn at_home(&self, zones: u64) -> Bits {
        let mut all = Bits::none(self.targets.len());
        for (zone, home) in (0u8..).zip(&self.homes) {
            if zones & bit(zone) != 0 {
                all.add(home);
            }
        }
        all
    }

    /// A flow of the piece that can be.
    fn sample(&self, piece: &Piece) -> Option<Sample> {
        let (device, service) = (piece.devices.first()?, piece.services.first()?);
        self.feasible.iter().filter(|(zone, _)| piece.zones & bit(**zone) != 0).find_map(
            |(zone, (from, to))| {
                let (source, target) = (piece.sources.first_in(from)?, piece.targets.first_in(to)?);
                Some(Sample { zone: *zone, source, device, target, service })
            },
        )
    }

    fn why_never(&self, rule: &Rule) -> String {
        let subject = self
            .subjects
            .iter()
            .skip(self.forwards)
            .zip(&self.policy.rules)
            .find(|(_, other)| other.id == rule.id);
        let lines = subject.map_or(&[][..], |(subject, _)| &subject.lines);
        if lines.is_empty() {
            return "everything that it names is empty".to_owned();
        }
        let families =
            |sets: fn(&Line) -> &Option<Vec<SetId>>, classes: &[AddressClass], zones: fn(&Line) -> u64| {
                [false, true].map(|v6| {
                    lines.iter().any(|line| {
                        classes.iter().any(|class| {
                            class.v6 == v6
                                && zones(line) & bit(class.home) != 0
                                && sets(line).as_ref().is_none_or(|sets| share(sets, &class.sets))
                        })
                    })
                })
            };
        let from = families(|line| &line.sources, &self.sources, |_| u64::MAX);
        let to = families(|line| &line.targets, &self.targets, |line| line.to);
        match (from, to) {
            ([true, false], [false, true]) => "its sources are IPv4 and its destinations IPv6".to_owned(),
            ([false, true], [true, false]) => "its sources are IPv6 and its destinations IPv4".to_owned(),
            _ => {
                let apart = self.policy.zones.iter().filter(|zone| zone.isolate);
                let apart = apart.filter(|zone| rule.from.contains(zone.id) && rule.to.contains(zone.id));
                match apart.map(|zone| zone.name.as_str()).next() {
                    Some(name) => {
                        format!("hosts of `{name}` are kept apart before any rule is asked (`isolate`)")
                    }
                    None => "no flow comes from there, goes there and has such a protocol".to_owned(),
                }
            }
        }
    }
}

/// The sources that flows from a zone can have, and the targets about which rules are asked.
fn feasible(
    policy: &Policy,
    from: ZoneId,
    sources: &[AddressClass],
    targets: &[AddressClass],
) -> (Bits, Bits) {
    let zone = policy.zone(from);
    let source = |class: &AddressClass| match zone {
        None => class.home == ZONE_SELF,
        Some(_) if class.home == ZONE_MULTICAST => false,
        Some(zone) if !zone.anti_spoof || class.link => true,
        Some(zone) if zone.wan => class.home == zone.id || class.home == ZONE_NONE,
        Some(zone) => class.home == zone.id,
    };
    let target = |class: &AddressClass| match zone {
        None => class.home != ZONE_SELF,
        Some(zone) => !(zone.isolate && class.home == zone.id),
    };
    (
        Bits::of(sources.len(), |place| source(&sources[place])),
        Bits::of(targets.len(), |place| target(&targets[place])),
    )
}

/// What is left of a piece without another, as pieces that share nothing.
fn without(piece: Piece, cut: &Piece) -> impl Iterator<Item = Piece> {
    let zones = piece.zones & cut.zones;
    let sources = piece.sources.and(&cut.sources);
    let devices = piece.devices.and(&cut.devices);
    let targets = piece.targets.and(&cut.targets);
    let others = [
        Piece { zones: piece.zones & !cut.zones, ..piece.clone() },
        Piece { zones, sources: piece.sources.without(&cut.sources), ..piece.clone() },
        Piece {
            zones,
            sources: sources.clone(),
            devices: piece.devices.without(&cut.devices),
            ..piece.clone()
        },
        Piece {
            zones,
            sources: sources.clone(),
            devices: devices.clone(),
            targets: piece.targets.without(&cut.targets),
            ..piece.clone()
        },
        Piece { zones, sources, devices, targets, services: piece.services.without(&cut.services) },
    ];
    others.into_iter().filter(|piece| {
        piece.zones != 0
            && !piece.sources.is_empty()
            && !piece.devices.is_empty()
            && !piece.targets.is_empty()
            && !piece.services.is_empty()
    })
}

/// The lines of a rule: senders times receivers.
fn lines(rule: &Rule, group_base: SetId) -> Vec<Line> {
    let zones = |side: &Side| match &side.zones {
        ZoneSet::Any => u64::MAX,
        ZoneSet::Of(zones) => zones.iter().fold(0, |mask, zone| mask | bit(*zone)),
    };
    let sorted = |sets: &mut Vec<SetId>| sets.sort_unstable();
    let (from, to) = (zones(&rule.from), zones(&rule.to));
    let mut senders = vec![(from, None, None)];
    if from != u64::MAX {
        let mut sets: Vec<SetId> = rule.from.sets.iter().map(|place| (*place).into()).collect();
        sorted(&mut sets);
        let mut groups = rule.from.devices.clone();
        groups.sort_unstable();
        senders.push((if sets.is_empty() { 0 } else { u64::MAX }, Some(sets), None));
        // The router itself is no device.
        senders.push((if groups.is_empty() { 0 } else { !bit(ZONE_SELF) }, None, Some(groups)));
    }
    let mut receivers = vec![(to, None)];
    if to != u64::MAX {
        let of_sets = rule.to.sets.iter().map(|place| SetId::from(*place));
        let mut sets: Vec<SetId> =
            of_sets.chain(rule.to.devices.iter().map(|place| group_base + SetId::from(*place))).collect();
        sorted(&mut sets);
        receivers.push((if sets.is_empty() { 0 } else { u64::MAX }, Some(sets)));
    }
    let mut lines = Vec::new();
    for (from, sources, devices) in senders.iter().filter(|(zones, ..)| *zones != 0) {
        for (to, targets) in receivers.iter().filter(|(zones, _)| *zones != 0) {
            lines.push(Line {
                from: *from,
                sources: sources.clone(),
                devices: devices.clone(),
                to: *to,
                targets: targets.clone(),
            });
        }
    }
    lines
}

/// Whether two ordered lists share something.
fn share<T: Ord>(some: &[T], others: &[T]) -> bool {
    let (few, many) = if some.len() <= others.len() { (some, others) } else { (others, some) };
    few.iter().any(|one| many.binary_search(one).is_ok())
}

fn bit(zone: ZoneId) -> u64 {
    1u64.checked_shl(zone.into()).unwrap_or(0)
}
