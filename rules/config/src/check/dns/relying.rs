//! Zones whose flows depend on what the resolver answers.

use abi::resolver_zone;
use ipnet::IpNet;
use policy::{OtherResolvers, Zone};
use std::{collections::BTreeMap, net::SocketAddr};

use super::Others;
use crate::{
    draft::{DnsDraft, DnsOthers, Egress, ZoneDraft},
    error::{Report, quoted},
    located::Located,
};

/// That the resolver answers where something depends on it, and that each zone's answers are its own.
pub(super) fn check(draft: &DnsDraft, others: &Others<'_>, report: &mut Report<'_>) {
    let answers = !draft.listen.is_empty() || report.is_misfit("dns.listen");
    let mut called = BTreeMap::new();
    for (name, zone) in others.zone_drafts {
        if zone.wan {
            continue;
        }
        if !answers && zone.egress != Egress::Any {
            report.add(
                name.at,
                format!("flows of the zone {} depend on the resolver, which answers nobody", quoted(name)),
                "add an address of the router to `[dns] listen`, or remove `egress`",
            );
        }
        if let Some(other) = called.insert(resolver_zone(name), name) {
            report.add(
                name.at,
                format!("the packet path cannot tell the zones {} and {} apart", quoted(other), quoted(name)),
                "call one of them something else",
            );
        }
    }
}

/// What becomes of questions to resolvers outside, and where the router's own answers them instead.
pub(in crate::check) fn other_resolvers(
    zones: &mut [Zone],
    drafts: &[(Located<String>, ZoneDraft)],
    listen: &[SocketAddr],
    report: &mut Report<'_>,
) {
    for (zone, (name, draft)) in zones.iter_mut().zip(drafts) {
        if draft.dns_others != DnsOthers::Allow && draft.wan {
            report.add(
                name.at,
                format!("`dns_others` is for inner zones, and the zone {} is the outside", quoted(name)),
                "remove the line: nothing passes from the outside that no rule names",
            );
            continue;
        }
        zone.resolvers = match draft.dns_others {
            DnsOthers::Allow => OtherResolvers::Allow,
            DnsOthers::Drop => OtherResolvers::Drop,
            DnsOthers::Redirect => OtherResolvers::Redirect {
                v4: answers(zone, name, listen, ("IPv4", true), report),
                v6: answers(zone, name, listen, ("IPv6", false), report),
            },
        };
    }
}

/// Where the resolver answers a zone: on an address in its networks, else on any interface, else on another address.
/// None where nobody in the zone can have such an address, since what claims to is refused.
fn answers<'z>(
    zone: &'z Zone,
    name: &Located<String>,
    listen: &[SocketAddr],
    (family, is_v4): (&str, bool),
    report: &mut Report<'_>,
) -> Option<SocketAddr> {
    let of_family = |nets: &'z [IpNet]| nets.iter().filter(move |net| net.addr().is_ipv4() == is_v4);
    let networks: Vec<_> = of_family(&zone.networks).collect();
    // The packet path lets questions pass to be answered here, so wherever one can come from there has to be a door.
    if networks.is_empty() && zone.anti_spoof && of_family(&zone.routes).next().is_none() {
        return None;
    }
    let doors = || listen.iter().filter(|door| door.is_ipv4() == is_v4 && !door.ip().is_loopback());
    let near = doors().find(|door| networks.iter().any(|net| net.contains(&door.ip())));
    let found = near.or_else(|| doors().find(|door| door.ip().is_unspecified())).or_else(|| doors().next());
    if found.is_none() && !report.is_misfit("dns.listen") {
        report.add(
            name.at,
            format!(
                "questions of the zone {} are to be answered here, and the resolver answers no {family}",
                quoted(name)
            ),
            format!(
                "add an {family} address of the router to `[dns] listen`, or write `dns_others = \"drop\"`"
            ),
        );
    }
    found.copied()
}
