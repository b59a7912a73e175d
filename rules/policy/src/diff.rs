//! What changes from one policy to another, in the user's terms: rules added, removed, moved and changed, zones, groups,
//! forwards; and for a live flow whether its verdict does.

use ipnet::IpNet;
use model::{Action, Flow, Mode, Reason};
use serde::{Serialize, Serializer};
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    net::IpAddr,
};

use crate::{ExplainError, Judgement, Policy, Question, Rule, RulePlace, SetKind, Zone, has_ports, rows};

/// Addresses and devices of a group that a change names one by one.
const MOST_NAMED: usize = 8;

/// What happened to something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChangeKind {
    /// It was not there.
    Added,
    /// It is not there any more.
    Removed,
    /// It stands elsewhere among the others, which can matter: the first rule that matches wins.
    Moved,
    /// It says something else.
    Changed,
}

impl ChangeKind {
    /// The word in `secctl diff -o json`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Moved => "moved",
            Self::Changed => "changed",
        }
    }
}

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// The mode of the whole.
    Mode,
    /// A zone.
    Zone,
    /// A group of addresses that rules name.
    Group,
    /// A group of devices.
    Devices,
    /// A schedule.
    Schedule,
    /// A forward.
    Forward,
    /// A rule.
    Rule,
    /// What no ban or list may touch.
    Protected,
}

impl Subject {
    /// The word in `secctl diff -o json`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mode => "mode",
            Self::Zone => "zone",
            Self::Group => "group",
            Self::Devices => "devices",
            Self::Schedule => "schedule",
            Self::Forward => "forward",
            Self::Rule => "rule",
            Self::Protected => "allow",
        }
    }
}

macro_rules! serialize_by_name {
    ($($type:ty),+) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.name())
            }
        }
    )+};
}
serialize_by_name!(ChangeKind, Subject);

/// One difference between two policies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What happened.
    pub kind: ChangeKind,
    /// To what.
    pub subject: Subject,
    /// Its name; of a rule `rule 3` by the policy that has it (the new one where both do).
    pub name: String,
    /// What it said, one line for each thing that differs.
    pub before: Vec<String>,
    /// What it says now, line by line against `before` where it changed.
    pub after: Vec<String>,
    /// Where a rule or forward stood.
    pub old_place: Option<RulePlace>,
    /// Where it stands.
    pub new_place: Option<RulePlace>,
}

impl std::fmt::Display for Change {
    /// One or several lines, as a person reads them.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.name, self.kind.name())?;
        match (self.kind, &self.old_place, &self.new_place) {
            (ChangeKind::Moved, Some(old), Some(new)) => write!(f, " from place {} to {}", old.id, new.id)?,
            (ChangeKind::Changed, Some(old), Some(new)) if old.id != new.id => {
                write!(f, " (was rule {})", old.id)?
            }
            _ => {}
        }
        match self.kind {
            ChangeKind::Moved => self.after.iter().try_for_each(|line| write!(f, "\n    {line}")),
            ChangeKind::Added | ChangeKind::Removed | ChangeKind::Changed => {
                self.before.iter().try_for_each(|line| write!(f, "\n  - {line}"))?;
                self.after.iter().try_for_each(|line| write!(f, "\n  + {line}"))
            }
        }
    }
}

/// Everything that differs between two policies, in the order of the config: mode, what is protected, zones, groups,
/// schedules, forwards, rules. What countries and lists hold is not looked at.
#[must_use]
pub fn diff(old: &Policy, new: &Policy) -> Vec<Change> {
    let mut changes = Vec::new();
    if old.mode != new.mode {
        let text = |mode: Mode| vec![mode.to_string()];
        changes.push(changed(Subject::Mode, "the mode", text(old.mode), text(new.mode)));
    }
    let protected =
        |policy: &Policy| policy.protected.iter().chain(&policy.upstreams).map(ToString::to_string).collect();
    let (before, after) = (protected(old), protected(new));
    changes.extend(members(Subject::Protected, "what is protected", &before, &after));
    changes.extend(zones(old, new));
    changes.extend(groups(old, new));
    let schedules = |policy: &Policy| {
        policy.schedules.iter().map(|schedule| (schedule.name.clone(), vec![schedule.to_string()])).collect()
    };
    changes.extend(by_name(Subject::Schedule, "schedule", &schedules(old), &schedules(new)));
    changes.extend(forwards(old, new));
    changes.extend(rules(old, new));
    changes
}

fn changed(subject: Subject, name: &str, before: Vec<String>, after: Vec<String>) -> Change {
    let kind = ChangeKind::Changed;
    Change { kind, subject, name: name.to_owned(), before, after, old_place: None, new_place: None }
}

/// Things with a name and what they say, by name. Lines that both have are left out of a change.
fn by_name(
    subject: Subject,
    word: &str,
    old: &BTreeMap<String, Vec<String>>,
    new: &BTreeMap<String, Vec<String>>,
) -> Vec<Change> {
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let change = |name: &&String| {
        let called = format!("{word} `{name}`");
        let mut change = changed(subject, &called, Vec::new(), Vec::new());
        match (old.get(*name), new.get(*name)) {
            (None, Some(after)) => {
                change.kind = ChangeKind::Added;
                change.after.clone_from(after);
            }
            (Some(before), None) => {
                change.kind = ChangeKind::Removed;
                change.before.clone_from(before);
            }
            (Some(before), Some(after)) => {
                change.before = before.iter().filter(|line| !after.contains(line)).cloned().collect();
                change.after = after.iter().filter(|line| !before.contains(line)).cloned().collect();
            }
            (None, None) => return None,
        }
        (change.kind != ChangeKind::Changed || change.before != change.after).then_some(change)
    };
    names.iter().filter_map(change).collect()
}

/// A set whose members come and go.
fn members(subject: Subject, name: &str, old: &BTreeSet<String>, new: &BTreeSet<String>) -> Option<Change> {
    let some = |lines: Vec<String>| {
        let more = lines.len().saturating_sub(MOST_NAMED);
        let mut lines: Vec<String> = lines.into_iter().take(MOST_NAMED).collect();
        if more > 0 {
            lines.push(format!("and {more} more"));
        }
        lines
    };
    let before = some(old.difference(new).cloned().collect());
    let after = some(new.difference(old).cloned().collect());
    (!before.is_empty() || !after.is_empty()).then(|| changed(subject, name, before, after))
}

fn zones(old: &Policy, new: &Policy) -> Vec<Change> {
    let all =
        |policy: &Policy| policy.zones.iter().map(|zone| (zone.name.clone(), zone_lines(zone))).collect();
    let mut changes = by_name(Subject::Zone, "zone", &all(old), &all(new));
    // Of a zone that comes or goes, what every zone has need not be told.
    let usual = zone_lines(&Zone::default());
    for change in changes.iter_mut().filter(|change| change.kind != ChangeKind::Changed) {
        change.before.retain(|line| !usual.contains(line));
        change.after.retain(|line| !usual.contains(line));
    }
    changes
}

/// A zone in the words of the config, a line for each key.
fn zone_lines(zone: &Zone) -> Vec<String> {
    let Zone {
        id: _,
        name: _,
        interface,
        vlan,
        device,
        networks,
        wan,
        anti_spoof,
        inspect,
        masquerade,
        mode,
        denial,
        routes,
        isolate,
        loose,
        strict,
        bogons,
        bogons_asked: _,
        quarantine,
        scan,
        new_flows,
        clamp_mss,
        resolvers,
        egress,
        fail_open,
        span: _,
    } = zone;
    let nets = |key: &str, nets: &[IpNet]| {
        let nets: BTreeSet<&IpNet> = nets.iter().collect();
        nets.iter().map(|net| format!("{key} {net}")).collect::<Vec<_>>()
    };
    let mut lines = vec![
        format!("interface = {interface}"),
        format!("vlan = {}", vlan.map_or_else(|| "untagged".to_owned(), |vlan| vlan.to_string())),
        format!("device = {device}"),
        format!("mode = {mode}"),
        format!("default = {}", denial.name()),
        format!("new_flows = {}", new_flows.map_or_else(|| "any".to_owned(), |rate| rate.to_string())),
        format!("dns_others = {}", resolvers.name()),
        format!("egress = {}", egress.name()),
        format!("fail = {}", if *fail_open { "open" } else { "closed" }),
    ];
    let flags = [
        ("wan", wan),
        ("masquerade", masquerade),
        ("inspect", inspect),
        ("anti_spoof", anti_spoof),
        ("isolate", isolate),
        ("quarantine", quarantine),
        ("loose", loose),
        ("strict", strict),
        ("bogons", bogons),
        ("scan", scan),
        ("clamp_mss", clamp_mss),
    ];
    lines.extend(flags.map(|(key, value)| format!("{key} = {value}")));
    lines.extend(nets("network", networks));
    lines.extend(nets("route", routes));
    lines
}

/// Groups of addresses that rules name, and of devices.
fn groups(old: &Policy, new: &Policy) -> Vec<Change> {
    let named = |policy: &Policy| -> BTreeMap<String, BTreeSet<String>> {
        let own = policy.sets.iter().filter(|set| set.kind == SetKind::Group);
        // An address written in a rule is a set of its own, and stands in the text of the rule.
        let own = own.filter(|set| set.name.parse::<IpAddr>().is_err() && set.name.parse::<IpNet>().is_err());
        own.map(|set| (set.name.clone(), set.nets.iter().map(ToString::to_string).collect())).collect()
    };
    let devices = |policy: &Policy| -> BTreeMap<String, BTreeSet<String>> {
        let macs = |group: &crate::DeviceGroup| group.macs.iter().map(ToString::to_string).collect();
        policy.devices.iter().map(|group| (group.name.clone(), macs(group))).collect()
    };
    let both = [
        (Subject::Group, "group", named(old), named(new)),
        (Subject::Devices, "devices", devices(old), devices(new)),
    ];
    let nothing = BTreeSet::new();
    let mut changes = Vec::new();
    for (subject, word, old, new) in &both {
        let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        for name in names {
            let (before, after) = (old.get(name), new.get(name));
            let called = format!("{word} `{name}`");
            let change = members(*subject, &called, before.unwrap_or(&nothing), after.unwrap_or(&nothing));
            changes.extend(change.map(|mut change| {
                match (before, after) {
                    (None, _) => change.kind = ChangeKind::Added,
                    (_, None) => change.kind = ChangeKind::Removed,
                    (Some(_), Some(_)) => {}
                }
                change
            }));
        }
    }
    changes
}

fn forwards(old: &Policy, new: &Policy) -> Vec<Change> {
    let all = |policy: &Policy| {
        let forwards = policy.forwards.iter();
        forwards.map(|forward| (forward.name.clone(), vec![policy.written_forward(forward)])).collect()
    };
    let place = |policy: &Policy, name: &str| {
        let place =
            policy.forwards.iter().position(|forward| format!("forward `{}`", forward.name) == name)?;
        let span = &policy.forwards[place].span;
        Some(RulePlace { id: policy.forward_id(place), file: span.file.clone(), line: span.line })
    };
    let mut changes = by_name(Subject::Forward, "forward", &all(old), &all(new));
    for change in &mut changes {
        change.old_place = place(old, &change.name);
        change.new_place = place(new, &change.name);
    }
    changes
}

/// A rule as it is compared: what is written, and the ports that its services mean.
fn compared(policy: &Policy, rule: &Rule) -> (String, String) {
    let ports: Vec<String> = rows::services(rule).iter().map(ToString::to_string).collect();
    (policy.written(rule), ports.join(", "))
}

fn rules(old: &Policy, new: &Policy) -> Vec<Change> {
    let text = |policy: &Policy| -> Vec<(String, String)> {
        policy.rules.iter().map(|rule| compared(policy, rule)).collect()
    };
    let (old_text, new_text) = (text(old), text(new));
    // Equal rules, the first with the first.
    let mut waiting: HashMap<&(String, String), VecDeque<usize>> = HashMap::new();
    for (place, text) in old_text.iter().enumerate() {
        waiting.entry(text).or_default().push_back(place);
    }
    let found = |text: &(String, String)| waiting.get_mut(text).and_then(VecDeque::pop_front);
    let matched: Vec<Option<usize>> = new_text.iter().map(found).collect();
    let stays = longest_rising(&matched);
    let mut changes = Vec::new();
    let mut gone: BTreeSet<usize> = (0..old_text.len()).collect();
    matched.iter().flatten().for_each(|place| {
        gone.remove(place);
    });
    // Where the last rule that stays stood: what is gone and what is new behind it may be one rule that changed.
    let mut behind = 0;
    for (place, was) in matched.iter().enumerate() {
        let rule = &new.rules[place];
        let mut change = Change {
            kind: ChangeKind::Added,
            subject: Subject::Rule,
            name: format!("rule {}", rule.id),
            before: Vec::new(),
            after: said(&new_text[place], rule),
            old_place: None,
            new_place: Some(place_of(rule)),
        };
        match was {
            Some(was) if stays.contains(&place) => {
                behind = *was;
                continue;
            }
            Some(was) => {
                change.kind = ChangeKind::Moved;
                change.old_place = Some(place_of(&old.rules[*was]));
            }
            None => {
                if let Some(was) = likeness(old, &gone, behind, new, rule) {
                    gone.remove(&was);
                    change.kind = ChangeKind::Changed;
                    change.old_place = Some(place_of(&old.rules[was]));
                    change.before = said(&old_text[was], &old.rules[was]);
                    if old_text[was].0 == new_text[place].0 {
                        change.before.push(format!("where its services mean {}", old_text[was].1));
                        change.after.push(format!("where its services mean {}", new_text[place].1));
                    }
                }
            }
        }
        changes.push(change);
    }
    for place in gone {
        let rule = &old.rules[place];
        changes.push(Change {
            kind: ChangeKind::Removed,
            subject: Subject::Rule,
            name: format!("rule {}", rule.id),
            before: said(&old_text[place], rule),
            after: Vec::new(),
            old_place: Some(place_of(rule)),
            new_place: None,
        });
    }
    changes
}

fn said((text, _): &(String, String), rule: &Rule) -> Vec<String> {
    vec![rule.comment.as_ref().map_or_else(|| text.clone(), |comment| format!("{text} ({comment})"))]
}

fn place_of(rule: &Rule) -> RulePlace {
    RulePlace { id: rule.id, file: rule.span.file.clone(), line: rule.span.line }
}

/// The removed rule that a new one is made from, most likely: near it, with the same comment or most of the same parts.
fn likeness(old: &Policy, gone: &BTreeSet<usize>, behind: usize, new: &Policy, rule: &Rule) -> Option<usize> {
    /// Removed rules that are looked at.
    const NEAR: usize = 16;
    let parts = |policy: &Policy, rule: &Rule| {
        let text = policy.written(rule);
        let (sides, rest) = text.split_once(": ").map_or((text.as_str(), ""), |(sides, rest)| (sides, rest));
        let (from, to) = sides.split_once(" to ").unwrap_or((sides, ""));
        let (services, action) = rest.split_once("; ").unwrap_or((rest, ""));
        [from, to, services, action].map(str::to_owned)
    };
    let own = parts(new, rule);
    let near = gone.range(behind..).take(NEAR).chain(gone.range(..behind).rev().take(NEAR));
    let scored = near.map(|place| {
        let other = &old.rules[*place];
        let same = parts(old, other).iter().zip(&own).filter(|(a, b)| a == b).count();
        let comment = other.comment.is_some() && other.comment == rule.comment;
        (same + if comment { 2 } else { 0 }, *place)
    });
    scored
        .filter(|(score, _)| *score >= 2)
        .max_by_key(|(score, place)| (*score, usize::MAX - *place))
        .map(|(_, place)| place)
}

/// Places of the longest run of rising values: the rules that stay where they are.
fn longest_rising(values: &[Option<usize>]) -> BTreeSet<usize> {
    let value = |place: usize| values[place].unwrap_or(0);
    let mut ends: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = vec![None; values.len()];
    for place in (0..values.len()).filter(|place| values[*place].is_some()) {
        let length = ends.partition_point(|end| value(*end) < value(place));
        before[place] = length.checked_sub(1).map(|last| ends[last]);
        if length == ends.len() { ends.push(place) } else { ends[length] = place }
    }
    let mut places = BTreeSet::new();
    let mut next = ends.last().copied();
    while let Some(place) = next {
        places.insert(place);
        next = before[place];
    }
    places
}

/// What a policy says about a live flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// What happens, the modes folded in: what is only observed passes.
    #[serde(serialize_with = "action_name")]
    pub action: Action,
    /// Why.
    #[serde(serialize_with = "reason_name")]
    pub reason: Reason,
    /// The rule or forward that says so, in words; none = a default.
    pub rule: Option<String>,
    /// It would be denied if that were enforced.
    pub observed: bool,
}

/// Two policies and what they say about live flows.
#[derive(Debug)]
pub struct Comparison<'a> {
    old: Answers<'a>,
    new: Answers<'a>,
}

impl<'a> Comparison<'a> {
    /// Compares on a router that has the addresses `own`. Both policies as they stand now ([`Policy::active_at`]).
    #[must_use]
    pub fn new(old: &'a Policy, new: &'a Policy, own: &'a [IpAddr]) -> Self {
        Self { old: Answers::new(old, own), new: Answers::new(new, own) }
    }

    /// What both say about the opening packet of a flow, if a flow that passes would not, or the other way round.
    ///
    /// # Errors
    /// The flow names a zone that one of the policies does not have.
    pub fn change(&self, flow: &Flow) -> Result<Option<(Standing, Standing)>, ExplainError> {
        let (before, after) = (self.old.standing(flow)?, self.new.standing(flow)?);
        Ok((before.action != after.action).then_some((before, after)))
    }
}

/// A policy that is asked many times.
#[derive(Debug)]
struct Answers<'a> {
    policy: &'a Policy,
    own: &'a [IpAddr],
    networks: BTreeMap<IpNet, u8>,
    /// By pair of zones: rules that can be about it.
    rules: RefCell<HashMap<(u8, u8), Vec<&'a Rule>>>,
}

impl<'a> Answers<'a> {
    fn new(policy: &'a Policy, own: &'a [IpAddr]) -> Self {
        Self { policy, own, networks: policy.zone_by_network(own), rules: RefCell::default() }
    }

    fn zone_of(&self, address: IpAddr) -> u8 {
        let most = if address.is_ipv4() { 32 } else { 128 };
        let found = (0..=most).rev().find_map(|bits| {
            let net = IpNet::new(address, bits).ok()?.trunc();
            self.networks.get(&net).copied()
        });
        found.unwrap_or(abi::ZONE_NONE)
    }

    fn standing(&self, flow: &Flow) -> Result<Standing, ExplainError> {
        let policy = self.policy;
        let (source, destination) = (flow.src.to_canonical(), flow.dst.to_canonical());
        let from = match flow.zone.as_deref() {
            Some(name) => policy.zone_named(name)?,
            None => self.zone_of(source),
        };
        let question = Question {
            from,
            to: self.zone_of(destination),
            source,
            destination,
            device: flow.mac,
            protocol: flow.proto,
            port: if has_ports(flow.proto) { flow.dport } else { 0 },
            patterns: 0,
        };
        let mut rules = self.rules.borrow_mut();
        let rules = rules.entry((question.from, question.to)).or_insert_with(|| {
            policy.rules.iter().filter(|rule| rule.covers(question.from, question.to)).collect()
        });
        let judged: Judgement = policy.judge_among(rules.iter().copied(), self.own, &question);
        let zone_mode = policy.zone(from).map_or(Mode::Enforce, |zone| zone.mode);
        let observes = judged.observe || policy.mode.and(zone_mode) == Mode::Observe;
        let observed = judged.action != Action::Pass && observes;
        Ok(Standing {
            action: if observed { Action::Pass } else { judged.action },
            reason: judged.reason,
            rule: judged.rule.and_then(|id| policy.rule_name(id)),
            observed,
        })
    }
}

fn action_name<S: Serializer>(action: &Action, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(action.name())
}

fn reason_name<S: Serializer>(reason: &Reason, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(reason.name())
}
