//! A policy as nftables text, written line by line as a person would who knows nothing of `daemon/enforce`: every rule
//! in the order of the file, every address a line of its own, no sets, no maps, no chains by zone.

use crate::router::{DEVICES, ZONES};
use abi::{ZONE_MULTICAST, ZONE_SELF, ZoneId};
use ipnet::IpNet;
use model::{Action, Mode, Protocol};
use policy::{Policy, Rule, ServiceMatch, Side, Zone, ZoneSet};
use std::fmt::Write as _;

/// Where packets are judged: what is for the router or for many before it is translated, the rest as it is forwarded.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Router,
    Many,
    Through,
}

/// The table `inet linear`. What is refused with an answer is noted in `refused4` and `refused6` of the same table.
pub(crate) fn table(policy: &Policy) -> String {
    let mut text = String::from(
        "add table inet linear\ndelete table inet linear\ntable inet linear {\n\
         set refused4 { typeof ip id; size 65535; flags dynamic; }\n\
         set refused6 { typeof ip6 flowlabel; size 65535; flags dynamic; }\n\
         chain refuse {\n add @refused4 { ip id }\n add @refused6 { ip6 flowlabel }\n\
         meta l4proto tcp reject with tcp reset\n reject with icmpx admin-prohibited\n }\n",
    );
    for (place, name) in [(Place::Router, "router"), (Place::Many, "many"), (Place::Through, "through")] {
        let _ = writeln!(text, "chain {name} {{\n{}}}", lines(policy, place));
    }
    // What no connection knows is dropped where a zone enforces.
    let enforcing = policy.zones.iter().filter(|zone| policy.mode.and(zone.mode) == Mode::Enforce);
    let invalid: String =
        enforcing.map(|zone| format!("iifname {} ct state invalid drop\n ", zone.device)).collect();
    let many = "{ 224.0.0.0/4, 255.255.255.255, 10.1.0.255, 10.2.0.255 }";
    let _ = writeln!(
        text,
        "chain early {{\n type filter hook prerouting priority -120;\n ct state established,related accept\n\
         {invalid}ip daddr {many} goto many\n ip6 daddr ff00::/8 goto many\n\
         fib daddr type local goto router\n }}\n\
         chain late {{\n type filter hook forward priority 0;\n ct state established,related accept\n\
         {invalid}ct status dnat accept\n goto through\n }}\n\
         chain translation {{\n type nat hook prerouting priority -100;\n{}}}\n}}",
        translations(policy)
    );
    text
}

fn lines(policy: &Policy, place: Place) -> String {
    let mut text = String::new();
    kept_apart(policy, place, &mut text);
    if place == Place::Router {
        for (from, condition) in forwards(policy) {
            let _ = writeln!(text, "{from} {condition} accept");
        }
    }
    for rule in &policy.rules {
        one_rule(policy, rule, place, &mut text);
    }
    for zone in &policy.zones {
        let device = &zone.device;
        let mut default = |more: &str, action: Action| {
            let verdict = verdict(action, policy.mode, zone.mode, place == Place::Many);
            let _ = writeln!(text, "iifname {device} {more} {verdict}");
        };
        match place {
            Place::Router => default("", zone.denial),
            Place::Many => default("", if zone.wan { Action::Drop } else { Action::Pass }),
            Place::Through => {
                if !zone.wan {
                    default(&format!("oifname {device}"), Action::Pass);
                }
                default("", zone.denial);
            }
        }
    }
    text
}

/// Hosts of a zone from each other, and new devices.
fn kept_apart(policy: &Policy, place: Place, text: &mut String) {
    if place != Place::Through {
        return;
    }
    for zone in &policy.zones {
        let (device, verdict) = (&zone.device, verdict(zone.denial, policy.mode, zone.mode, false));
        if zone.isolate {
            let _ = writeln!(text, "iifname {device} oifname {device} {verdict}");
        }
        if zone.quarantine {
            let known: Vec<String> =
                policy.devices.iter().flat_map(|group| &group.macs).map(ToString::to_string).collect();
            let other: String = known.iter().map(|mac| format!(" ether saddr != {mac}")).collect();
            let _ = writeln!(text, "iifname {device}{other} {verdict}");
        }
    }
}

/// Who may use a forward, and by which destination: device and condition.
fn forwards(policy: &Policy) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for forward in &policy.forwards {
        let outer = match policy.zones.iter().find(|zone| zone.id == forward.from).map(|zone| zone.wan) {
            Some(true) => "ip daddr 192.0.2.1".to_owned(),
            _ => format!("ip daddr 10.{}.0.1", forward.from - ZONES[0]),
        };
        let who = |zone: &Zone| -> Vec<String> {
            if zone.id != forward.from {
                let is_home = zone.networks.iter().any(|net| net.contains(&forward.to));
                let apart = zone.quarantine || zone.isolate && is_home;
                return if forward.hairpin && !zone.wan && !apart { vec![String::new()] } else { vec![] };
            }
            if forward.sources.is_empty() {
                return vec![String::new()];
            }
            let nets = forward.sources.iter().flat_map(|set| policy.sets[usize::from(*set)].nets.iter());
            nets.filter(|net| matches!(net, IpNet::V4(_))).map(|net| format!("ip saddr {net}")).collect()
        };
        for zone in &policy.zones {
            for source in who(zone) {
                for service in &forward.services {
                    let protocol = if service.protocol == Protocol::TCP { "tcp" } else { "udp" };
                    let (first, last) = (service.ports.first, service.ports.last);
                    let condition = format!("{outer} {source} {protocol} dport {first}-{last}");
                    all.push((format!("iifname {}", zone.device), condition));
                }
            }
        }
    }
    all
}

fn translations(policy: &Policy) -> String {
    let mut text = String::new();
    for forward in &policy.forwards {
        let alone = Policy { forwards: vec![forward.clone()], ..policy.clone() };
        for (from, condition) in forwards(&alone) {
            // Where exactly it leads is not what is compared, only that it does.
            let _ = writeln!(text, "{from} fib daddr type local {condition} dnat ip to {}", forward.to);
        }
    }
    text
}

fn one_rule(policy: &Policy, rule: &Rule, place: Place, text: &mut String) {
    if rule.goes_on {
        return;
    }
    for zone in &policy.zones {
        let verdict = verdict(rule.action, policy.mode, zone.mode.and(rule.mode), place == Place::Many);
        for from in senders(policy, &rule.from, zone) {
            for to in receivers(policy, &rule.to, place) {
                for service in services(rule) {
                    let words = format!("iifname {} {from} {to} {service}", zone.device);
                    if !contradicts(&words) {
                        let _ = writeln!(text, "{words} {verdict}");
                    }
                }
            }
        }
    }
}

fn senders(policy: &Policy, side: &Side, zone: &Zone) -> Vec<String> {
    if names(side, zone.id) {
        return vec![String::new()];
    }
    let mut all = addresses(policy, &side.sets, &[], "saddr");
    for group in &side.devices {
        all.extend(policy.devices[usize::from(*group)].macs.iter().map(|mac| format!("ether saddr {mac}")));
    }
    all
}

fn receivers(policy: &Policy, side: &Side, place: Place) -> Vec<String> {
    let mut all = match place {
        Place::Router if names(side, ZONE_SELF) => return vec![String::new()],
        Place::Many if names(side, ZONE_MULTICAST) => return vec![String::new()],
        Place::Router | Place::Many => Vec::new(),
        Place::Through if side.zones == ZoneSet::Any => return vec![String::new()],
        Place::Through => ZONES
            .iter()
            .zip(DEVICES)
            .filter(|(zone, _)| names(side, **zone))
            .map(|(_, device)| format!("oifname {device}"))
            .collect(),
    };
    all.extend(addresses(policy, &side.sets, &side.devices, "daddr"));
    all
}

fn names(side: &Side, zone: ZoneId) -> bool {
    match &side.zones {
        ZoneSet::Any => true,
        ZoneSet::Of(zones) => zones.contains(&zone),
    }
}

fn addresses(policy: &Policy, sets: &[u16], groups: &[u16], field: &str) -> Vec<String> {
    let of_sets = sets.iter().flat_map(|set| policy.sets[usize::from(*set)].nets.iter());
    let of_groups = groups.iter().flat_map(|group| policy.devices[usize::from(*group)].addresses.iter());
    let line = |net: &IpNet| match net {
        IpNet::V4(v4) => format!("ip {field} {v4}"),
        IpNet::V6(v6) => format!("ip6 {field} {v6}"),
    };
    of_sets.chain(of_groups).map(line).collect()
}

fn services(rule: &Rule) -> Vec<String> {
    if rule.services.is_empty() {
        return vec![String::new()];
    }
    let one = |matched: &ServiceMatch| {
        let (first, last) = (matched.ports.first, matched.ports.last);
        match matched.protocol {
            Protocol::TCP => format!("tcp dport {first}-{last}"),
            Protocol::UDP => format!("udp dport {first}-{last}"),
            Protocol::ICMP => format!("icmp type {}", first >> 8),
            Protocol::ICMPV6 => format!("icmpv6 type {}", first >> 8),
            Protocol(number) => format!("meta l4proto {number}"),
        }
    };
    rule.services.iter().flat_map(|service| service.matches.iter().map(one)).collect()
}

/// No packet is of both families, and nft refuses such lines.
fn contradicts(words: &str) -> bool {
    let v4 = words.contains("ip saddr") || words.contains("ip daddr") || words.contains("icmp ");
    let v6 = words.contains("ip6 ") || words.contains("icmpv6 ");
    v4 && v6
}

fn verdict(action: Action, whole: Mode, part: Mode, to_many: bool) -> &'static str {
    match action {
        Action::Pass => "accept",
        _ if whole == Mode::Observe || part == Mode::Observe => "accept",
        Action::Reject if !to_many => "goto refuse",
        Action::Reject | Action::Drop => "drop",
    }
}
