//! Services across zones: which, between whom, and what has to pass for it.

use abi::ZONE_SELF;
use discovery::{ServiceSet, ServiceType, sets};
use ipnet::IpNet;
use model::{Name, Protocol};
use policy::{AddressSet, Rule, Service, ServiceMatch, SetKind, Side, Zone, ZoneSet, address_set};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{at_most, inner_zone, twice};
use crate::{
    checked::Reflect,
    draft::ReflectDraft,
    error::{Report, all, nearest, quoted},
    located::Located,
};

/// Reflections; a config with more is refused.
const MOST_REFLECTIONS: usize = 16;
/// Services of one reflection; a config with more is refused.
const MOST_SERVICES: usize = 64;
/// The groups of mDNS (RFC 6762 §3) and of SSDP (UPnP Device Architecture 1.1 §1.1, §A.3).
const MDNS: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(224, 0, 0, 251)), IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb))];
const SSDP: [IpAddr; 3] = [
    IpAddr::V4(Ipv4Addr::new(239, 255, 255, 250)),
    IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xc)),
    IpAddr::V6(Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 0, 0xc)),
];

pub(super) fn reflect(
    drafts: &[Located<ReflectDraft>],
    zones: &[Zone],
    report: &mut Report<'_>,
) -> Vec<Reflect> {
    if let Some(first_over) = drafts.get(MOST_REFLECTIONS) {
        report.add(
            first_over.at,
            format!("the file has {} reflections", drafts.len()),
            format!("write at most {MOST_REFLECTIONS}; one can have several zones and services"),
        );
    }
    let sets = sets();
    drafts.iter().take(MOST_REFLECTIONS).map(|draft| reflection(draft, zones, &sets, report)).collect()
}

fn reflection(
    draft: &Located<ReflectDraft>,
    zones: &[Zone],
    sets: &[ServiceSet],
    report: &mut Report<'_>,
) -> Reflect {
    let mut names: Vec<String> = Vec::new();
    for text in &draft.zones {
        let Some(zone) = inner_zone(text, text, zones, report) else { continue };
        if names.contains(&zone.name) {
            twice("zones", text, report);
            continue;
        }
        names.push(zone.name.clone());
    }
    if let [only] = draft.zones.as_slice() {
        report.add(
            only.at,
            "one zone alone has nobody to find its services",
            "write two zones or more, or leave `zones` out for all inner ones",
        );
    }
    if draft.zones.is_empty() {
        names.extend(zones.iter().filter(|zone| !zone.wan).map(|zone| zone.name.clone()));
    }
    at_most("services", "services", &draft.services, MOST_SERVICES, "", report);
    let mut services: Vec<ServiceType> = Vec::new();
    for text in draft.services.iter().take(MOST_SERVICES) {
        for service in service_types(text, sets, report) {
            if services.contains(&service) && !sets.iter().any(|set| set.name == text.value) {
                twice("services", text, report);
            } else if !services.contains(&service) {
                services.push(service);
            }
        }
    }
    Reflect { zones: names, services, ssdp: draft.ssdp, span: report.span(draft.at) }
}

/// The types of a set, or the one that is written (RFC 6763 §4.1.2: `_name._tcp` or `_name._udp`).
fn service_types(text: &Located<String>, sets: &[ServiceSet], report: &mut Report<'_>) -> Vec<ServiceType> {
    if let Some(set) = sets.iter().find(|set| set.name == text.value) {
        return set.types.iter().filter_map(|service| service.parse().ok()).collect();
    }
    let service = text.parse::<Name>().ok().and_then(|name| name.as_str().parse().ok());
    if let Some(service) = service {
        return vec![service];
    }
    let names = || sets.iter().map(|set| set.name.as_str());
    let help = match nearest(text, names()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("write a type, for example `_ssh._tcp`, or one of {}", all(names())),
    };
    report.add(text.at, format!("{} in `services` is no type of service", quoted(text)), help);
    Vec::new()
}

/// What reflecting needs to be let in and out, in front of all other rules: a rule that denies everything must not undo
/// what is asked for by name. Ids are those behind the file's.
pub(in crate::check) fn rules(
    reflections: &[Reflect],
    zones: &[Zone],
    written: Vec<Rule>,
    sets: &mut Vec<AddressSet>,
) -> Vec<Rule> {
    if reflections.is_empty() {
        return written;
    }
    let mut group = |name: &str, addresses: &[IpAddr]| {
        let nets = address_set(addresses.iter().copied().map(IpNet::from).collect());
        let place = u16::try_from(sets.len()).unwrap_or(u16::MAX);
        sets.push(AddressSet { name: name.to_owned(), kind: SetKind::Group, nets });
        Side { zones: ZoneSet::Of(Vec::new()), sets: vec![place], devices: Vec::new() }
    };
    // Names of people's groups are in lower case.
    let mdns = group("mDNS", &MDNS);
    let ssdp = group("SSDP", &SSDP);
    let mut rules: Vec<Rule> = Vec::new();
    let first = written.len();
    let mut add = |reflect: &Reflect, to: Side, port: u16, what: &str| {
        let named = zones.iter().filter(|zone| reflect.zones.contains(&zone.name)).map(|zone| zone.id);
        // The router speaks to these groups, and is not spoken for by who asks it.
        let own = (to.zones != ZoneSet::Of(vec![ZONE_SELF])).then_some(ZONE_SELF);
        let service = ServiceMatch::new(Protocol::UDP, port, port);
        rules.push(Rule {
            id: u16::try_from(first + rules.len()).unwrap_or(abi::RULE_DEFAULT - 1),
            from: ZoneSet::Of(own.into_iter().chain(named).collect()).into(),
            to,
            services: vec![Service { name: format!("udp/{port}"), matches: vec![service] }],
            comment: Some(format!("{what}, by dns.reflect")),
            span: reflect.span.clone(),
            ..Rule::default()
        });
    };
    for reflect in reflections {
        add(reflect, mdns.clone(), discovery::MDNS_PORT, "mDNS is heard");
        if reflect.ssdp {
            add(reflect, ssdp.clone(), discovery::SSDP_PORT, "SSDP is heard");
            let own = ZoneSet::Of(vec![ZONE_SELF]).into();
            add(reflect, own, discovery::SEARCH_PORT, "Answers to searches by SSDP come back");
        }
    }
    rules.extend(written);
    rules
}

#[cfg(test)]
mod tests {
    use super::*;
    use abi::ZONE_MULTICAST;
    use model::Action;
    use policy::{Policy, Question};

    const TEXT: &str = "[zones.home]\ninterface = \"home0\"\nnetworks = [\"10.1.0.0/24\"]\n\
        [zones.iot]\ninterface = \"iot0\"\nnetworks = [\"10.4.0.0/24\"]\n\
        [zones.guest]\ninterface = \"guest0\"\nnetworks = [\"10.5.0.0/24\"]\n\
        [zones.wan]\ninterface = \"wan0\"\nwan = true\n\
        [[rules]]\nfrom = [\"home\"]\nto = [\"iot\"]\naction = \"allow\"\n\
        [[rules]]\nfrom = [\"any\"]\nto = [\"any\"]\naction = \"drop\"\n\
        [[forwards]]\nname = \"web\"\nservices = [\"tcp/443\"]\nto = \"10.1.0.9\"\n";

    fn policy(more: &str) -> Policy {
        crate::parse("f", &format!("{TEXT}{more}")).unwrap().policy
    }

    /// What happens to UDP from the first host of a zone.
    fn judged(policy: &Policy, from: &str, to: u8, destination: &str, port: u16) -> (Action, Option<u16>) {
        let zone = policy.zones.iter().find(|zone| zone.name == from);
        let question = Question {
            source: zone
                .and_then(|zone| zone.networks.first()?.hosts().next())
                .unwrap_or([203, 0, 113, 9].into()),
            destination: destination.parse().unwrap(),
            ..Question::between(zone.map_or(ZONE_SELF, |zone| zone.id), to, Protocol::UDP, port)
        };
        let judged = policy.judge(&["10.4.0.1".parse().unwrap()], &question);
        (judged.action, judged.rule)
    }

    #[test]
    fn what_is_reflected_passes_and_nothing_else() {
        let with =
            policy("[[dns.reflect]]\nzones = [\"home\", \"iot\"]\nservices = [\"printers\"]\nssdp = true\n");
        for from in ["home", "iot", "self"] {
            for destination in ["224.0.0.251", "ff02::fb"] {
                assert_eq!(
                    judged(&with, from, ZONE_MULTICAST, destination, 5353),
                    (Action::Pass, Some(2)),
                    "{from}"
                );
            }
            for destination in ["239.255.255.250", "ff02::c", "ff05::c"] {
                assert_eq!(
                    judged(&with, from, ZONE_MULTICAST, destination, 1900),
                    (Action::Pass, Some(3)),
                    "{from}"
                );
            }
        }
        assert_eq!(judged(&with, "iot", ZONE_SELF, "10.4.0.1", 61900), (Action::Pass, Some(4)));
        for (from, to, destination, port) in [
            ("guest", ZONE_MULTICAST, "224.0.0.251", 5353),
            ("wan", ZONE_MULTICAST, "224.0.0.251", 5353),
            ("guest", ZONE_SELF, "10.4.0.1", 61900),
            ("wan", ZONE_SELF, "10.4.0.1", 61900),
            ("iot", ZONE_MULTICAST, "224.0.0.252", 5353),
            ("iot", ZONE_MULTICAST, "224.0.0.251", 1900),
            ("iot", ZONE_SELF, "10.4.0.1", 5353),
        ] {
            assert_eq!(
                judged(&with, from, to, destination, port),
                (Action::Drop, Some(1)),
                "{from} {destination} {port}"
            );
        }
        // Numbers of the file's rules stay, and forwards are behind all of them.
        assert_eq!(
            (with.rule_name(0).as_deref(), with.rule_name(4).as_deref()),
            (Some("rule 0"), Some("rule 4"))
        );
        assert_eq!((with.forward_id(0), with.rule(1).map(|rule| rule.span.line)), (5, Some(17)));
        let without = policy("");
        assert_eq!((without.rules.len(), without.sets.len(), without.forward_id(0)), (2, 0, 2));
        let quiet = policy("[[dns.reflect]]\nzones = [\"home\", \"iot\"]\nservices = [\"printers\"]\n");
        assert_eq!(
            judged(&quiet, "iot", ZONE_SELF, "10.4.0.1", 61900),
            (Action::Drop, Some(1)),
            "without `ssdp`"
        );
        assert_eq!(judged(&quiet, "iot", ZONE_MULTICAST, "239.255.255.250", 1900), (Action::Drop, Some(1)));
    }
}
