//! What the outside can reach: rules and forwards from the WAN, and programs of the router that wait on such ports.

use abi::ZONE_SELF;
use model::{Action, Protocol};
use policy::{Policy, Question, Zone};
use protocol::Finding;
use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use super::{Known, facts::Facts, good, note, wrong};

/// Ports that nobody opens to the Internet on purpose, and what they are.
const DANGEROUS: [(u16, &str); 16] = [
    (23, "telnet"),
    (53, "DNS: an open resolver is used to attack others"),
    (69, "TFTP"),
    (111, "RPC"),
    (137, "NetBIOS"),
    (139, "SMB"),
    (161, "SNMP"),
    (389, "LDAP"),
    (445, "SMB"),
    (1883, "MQTT without TLS"),
    (1900, "SSDP"),
    (2049, "NFS"),
    (3306, "MySQL"),
    (5432, "PostgreSQL"),
    (6379, "Redis"),
    (11_211, "memcached"),
];

/// Someone out there (RFC 5737, RFC 3849).
const SOMEONE4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const SOMEONE6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));

/// Tells what is open to the outside.
pub(super) fn exposure(facts: &Facts, known: &Known<'_>, findings: &mut Vec<Finding>) {
    let before = findings.len();
    for zone in known.policy.zones.iter().filter(|zone| zone.wan) {
        rules(known.policy, zone, findings);
        forwards(known.policy, zone, findings);
        for (tcp, port, by) in reachable(facts, known, zone) {
            let protocol = if tcp { "tcp" } else { "udp" };
            let message = format!(
                "a program of the router waits on {protocol}/{port} and can be reached from {} ({by})",
                zone.name
            );
            findings.push(match DANGEROUS.iter().find(|(dangerous, _)| *dangerous == port) {
                Some((_, what)) => wrong(
                    "exposure",
                    format!("{message}: {what}"),
                    "narrow the rule, or bind the program to an inner address",
                ),
                None => note(
                    "exposure",
                    message,
                    "is it meant? else narrow the rule, or bind it to an inner address",
                ),
            });
        }
    }
    if findings.len() == before {
        findings.push(good("exposure", "nothing is let in from the outside".into()));
    }
}

fn rules(policy: &Policy, zone: &Zone, findings: &mut Vec<Finding>) {
    let lets_in = policy.rules.iter().filter(|rule| {
        rule.action == Action::Pass
            && !rule.goes_on
            && rule.from.can_match(zone.id)
            && !stays_outside(rule, zone)
    });
    for rule in lets_in {
        let services: Vec<_> = rule.services.iter().map(|service| service.name.as_str()).collect();
        let services = if services.is_empty() { "everything".to_owned() } else { services.join(", ") };
        let whom = if rule.from.sets.is_empty() { "anyone" } else { "some addresses" };
        let message = format!(
            "rule {} ({}:{}) lets {whom} in {} reach {}: {services}",
            rule.id,
            rule.span.file,
            rule.span.line,
            zone.name,
            targets(policy, rule),
        );
        findings.push(if rule.services.is_empty() && rule.from.sets.is_empty() {
            wrong("exposure", message, "name the services that are meant")
        } else {
            note("exposure", message, "is it meant? `secctl rules --unused` shows rules that nobody needs")
        });
    }
}

/// Whether the rule is about flows from the outside to the outside only.
fn stays_outside(rule: &policy::Rule, zone: &Zone) -> bool {
    let to = &rule.to;
    matches!(&to.zones, policy::ZoneSet::Of(zones) if zones.iter().all(|to| *to == zone.id))
        && to.sets.is_empty()
        && to.devices.is_empty()
}

fn targets(policy: &Policy, rule: &policy::Rule) -> String {
    let mut names: Vec<String> = match &rule.to.zones {
        policy::ZoneSet::Any => vec!["everything".into()],
        policy::ZoneSet::Of(zones) => zones.iter().map(|zone| policy.zone_name(*zone).to_owned()).collect(),
    };
    names.extend(
        rule.to
            .sets
            .iter()
            .filter_map(|place| policy.sets.get(usize::from(*place)))
            .map(|set| set.name.clone()),
    );
    names.extend(
        rule.to
            .devices
            .iter()
            .filter_map(|place| policy.devices.get(usize::from(*place)))
            .map(|group| group.name.clone()),
    );
    names.join(", ")
}

fn forwards(policy: &Policy, zone: &Zone, findings: &mut Vec<Finding>) {
    for forward in policy.forwards.iter().filter(|forward| forward.from == zone.id) {
        let whom = if forward.sources.is_empty() { "anyone" } else { "some addresses" };
        let message = format!(
            "forward {} ({}:{}) leads {whom} to {}",
            forward.name, forward.span.file, forward.span.line, forward.to
        );
        findings.push(note("exposure", message, "is it meant? `sources` narrows who may use it"));
    }
}

/// Ports on which the router waits and which the policy lets the outside reach, each once, with what lets it.
fn reachable(facts: &Facts, known: &Known<'_>, zone: &Zone) -> BTreeSet<(bool, u16, String)> {
    let mut found = BTreeSet::new();
    for waiting in &facts.listening {
        // secd's own resolver answers the zones only, whoever asks.
        if known.dns.contains(&waiting.at) {
            continue;
        }
        for at in addresses(waiting.at, known) {
            let question = Question {
                from: zone.id,
                to: ZONE_SELF,
                source: if at.is_ipv4() { SOMEONE4 } else { SOMEONE6 },
                destination: at,
                device: None,
                protocol: if waiting.tcp { Protocol::TCP } else { Protocol::UDP },
                port: waiting.at.port(),
                patterns: 0,
            };
            let judged = known.policy.judge(&known.own, &question);
            if judged.action == Action::Pass
                && judged.rule.is_some_and(|rule| known.policy.forward(rule).is_none())
            {
                let by = judged
                    .rule
                    .and_then(|rule| known.policy.rule_name(rule))
                    .unwrap_or_else(|| "default".into());
                found.insert((waiting.tcp, waiting.at.port(), by));
            }
        }
    }
    found
}

/// The router's addresses that a socket answers on.
fn addresses(at: SocketAddr, known: &Known<'_>) -> Vec<IpAddr> {
    if !at.ip().is_unspecified() {
        return vec![at.ip()];
    }
    // `::` takes IPv4 as well, unless the program says otherwise.
    known.own.iter().copied().filter(|own| !own.is_loopback() && (at.is_ipv6() || own.is_ipv4())).collect()
}
