//! Zones: which frames are whose, and that no two say the same.

use ipnet::IpNet;
use model::Action;
use policy::Zone;
use std::collections::BTreeMap;

use super::{name_is_valid, net, times};
use crate::{
    draft::{Denial, Egress, Fail, ZoneDraft},
    error::{Report, quoted},
    located::Located,
};

/// Names that rules use for what is not a configured zone.
pub(super) const RESERVED: [&str; 3] = ["self", "any", "multicast"];
/// Zones of one's own that the kernel tables hold beside the reserved ones.
const MOST_ZONES: usize = abi::MAX_ZONES as usize - abi::ZONE_FIRST as usize;
/// Networks of all zones, each with its broadcast address, and room for the router's own addresses.
const MOST_NETWORKS: usize = abi::MAX_NETWORKS as usize / 2 - 128;

pub(super) fn check(drafts: &[(Located<String>, ZoneDraft)], report: &mut Report<'_>) -> Vec<Zone> {
    if let Some((first_over, _)) = drafts.get(MOST_ZONES) {
        report.add(
            first_over.at,
            format!("the file has {} zones", drafts.len()),
            format!("write at most {MOST_ZONES}"),
        );
    }
    let zones: Vec<Zone> = drafts
        .iter()
        .take(MOST_ZONES)
        .zip(abi::ZONE_FIRST..)
        .map(|((name, draft), id)| zone(id, name, draft, report))
        .collect();
    unique_ports(drafts, &zones, report);
    unique_devices(drafts, &zones, report);
    one_outside(drafts, report);
    disjoint_networks(drafts, report);
    zones
}

fn zone(id: u8, name: &Located<String>, draft: &ZoneDraft, report: &mut Report<'_>) -> Zone {
    if RESERVED.contains(&name.as_str()) {
        report.add(
            name.at,
            format!("`{}` is reserved and cannot be the name of a zone", name.value),
            "choose another name; rules use this one for what is not a zone",
        );
    } else if name_is_valid("zone", name, name.at, report)
        && name.value == "wan"
        && !draft.wan
        && !report.is_misfit("zones.wan.wan")
    {
        report.add(
            name.at,
            "the zone `wan` is not the outside",
            "add `wan = true`, or give the zone another name: rules mean the outside when they say `wan`",
        );
    }
    interface_is_valid("interface", &draft.interface, report);
    if let Some(device) = &draft.device {
        interface_is_valid("device", device, report);
    }
    let vlan = draft.vlan.as_ref().map(|vlan| vlan.value);
    let device = match (&draft.device, vlan) {
        (Some(device), _) => device.value.clone(),
        (None, None) => draft.interface.value.clone(),
        (None, Some(vlan)) => {
            let device = format!("{}.{vlan}", draft.interface.value);
            if device.len() > MOST_INTERFACE && draft.interface.len() <= MOST_INTERFACE {
                report.add(
                    draft.interface.at,
                    format!("the VLAN device would be called `{device}`, which is longer than {MOST_INTERFACE} bytes"),
                    "name the device that there is: `device = \"…\"`",
                );
            }
            device
        }
    };
    let networks: Vec<IpNet> =
        draft.networks.iter().filter_map(|text| zone_network("networks", text, draft, report)).collect();
    let routes: Vec<IpNet> =
        draft.routes.iter().filter_map(|text| zone_network("routes", text, draft, report)).collect();
    fits_together(name, draft, report);
    let told = |key: &str| report.is_misfit(&format!("zones.{}.{key}", name.value));
    if !draft.wan && draft.networks.is_empty() && !told("networks") && !told("wan") && name.value != "wan" {
        report.add(
            name.at,
            format!("the zone {} has no networks", quoted(name)),
            "add for example `networks = [\"10.4.0.0/24\", \"fd00:4::/64\"]`, or `wan = true` if it is the outside",
        );
    }
    Zone {
        id,
        name: name.value.clone(),
        interface: draft.interface.value.clone(),
        vlan,
        device,
        networks,
        wan: draft.wan,
        anti_spoof: draft.anti_spoof,
        inspect: draft.inspect,
        masquerade: draft.masquerade,
        mode: draft.mode,
        denial: match (draft.default, draft.wan) {
            (Some(Denial::Drop), _) | (None, true) => Action::Drop,
            (Some(Denial::Reject), _) | (None, false) => Action::Reject,
        },
        routes,
        isolate: draft.isolate,
        loose: draft.loose,
        strict: draft.strict,
        bogons: draft.bogons.as_ref().map_or(draft.wan, |bogons| bogons.value && draft.wan),
        bogons_asked: draft.bogons.as_ref().is_some_and(|bogons| bogons.value),
        quarantine: draft.quarantine,
        scan: draft.scan.unwrap_or(draft.wan),
        new_flows: draft.new_flows.as_ref().and_then(|text| times::rate("new_flows", text, report)),
        clamp_mss: draft.clamp_mss,
        egress: match draft.egress {
            Egress::Any => policy::Egress::Any,
            Egress::Resolved => policy::Egress::Resolved,
            Egress::ResolvedLearn => policy::Egress::Learn,
        },
        // Where the resolver answers is known later.
        resolvers: policy::OtherResolvers::Allow,
        fail_open: draft.fail.map_or(!draft.wan, |fail| fail == Fail::Open),
        span: report.span(name.at),
    }
}

/// Keys that contradict each other or what the zone is.
fn fits_together(name: &Located<String>, draft: &ZoneDraft, report: &mut Report<'_>) {
    if let Some(bogons) = &draft.bogons
        && bogons.value
        && !draft.wan
        && !report.is_misfit(&format!("zones.{}.wan", name.value))
    {
        report.add(
            bogons.at,
            format!("`bogons` is for the outside, and the zone {} is not", quoted(name)),
            "remove the line: `anti_spoof` refuses here what is not in `networks` and `routes`",
        );
    }
    if draft.loose && draft.strict {
        report.add(
            name.at,
            format!("the zone {} is both `loose` and `strict`", quoted(name)),
            "choose one: `loose` lets pass what `strict` drops",
        );
    }
    let asks = draft.egress != Egress::Any;
    for (key, is_set) in [("quarantine", draft.quarantine), ("isolate", draft.isolate), ("egress", asks)] {
        if is_set && draft.wan {
            report.add(
                name.at,
                format!("`{key}` is for inner zones, and the zone {} is the outside", quoted(name)),
                "remove the line: nothing passes from the outside that no rule names",
            );
        }
    }
}

/// Bytes of an interface name (IFNAMSIZ without its zero).
const MOST_INTERFACE: usize = 15;

fn interface_is_valid(key: &str, name: &Located<String>, report: &mut Report<'_>) {
    if name.is_empty() {
        return;
    }
    let usable = |c: char| c.is_ascii_graphic() && !matches!(c, '/' | ':' | '"' | '*' | '\\');
    if name.len() > MOST_INTERFACE {
        report.add(
            name.at,
            format!("{} is longer than an interface name can be", quoted(name)),
            format!("write at most {MOST_INTERFACE} bytes; `ip -brief link` shows the names"),
        );
    } else if !name.chars().all(usable) || matches!(name.as_str(), "." | "..") {
        report.add(
            name.at,
            format!("{} cannot be the name of an interface", quoted(name)),
            format!("write the name that `ip -brief link` shows, for example `{key} = \"eth0\"`"),
        );
    }
}

fn zone_network(
    key: &str,
    text: &Located<String>,
    draft: &ZoneDraft,
    report: &mut Report<'_>,
) -> Option<IpNet> {
    let net = net::network(key, text, report)?;
    if draft.wan {
        report.add(
            text.at,
            format!("{} is a network of the outside", quoted(text)),
            format!("remove `{key}` here: everything that is in no other zone is outside"),
        );
        return None;
    }
    let refused = if net.prefix_len() == 0 {
        Some("is the whole Internet")
    } else if net.addr().is_multicast() {
        Some("is multicast, which is a destination of its own")
    } else if net.addr().is_loopback() {
        Some("is the router's own loopback")
    } else {
        None
    };
    if let Some(what) = refused {
        report.add(
            text.at,
            format!("{} {what} and cannot be a network of a zone", quoted(text)),
            "write the networks of the hosts behind this interface, for example `10.4.0.0/24`",
        );
        return None;
    }
    Some(net)
}

fn unique_ports(drafts: &[(Located<String>, ZoneDraft)], zones: &[Zone], report: &mut Report<'_>) {
    let mut seen = BTreeMap::new();
    for ((name, draft), zone) in drafts.iter().zip(zones).filter(|(_, zone)| !zone.interface.is_empty()) {
        if report.is_misfit(&format!("zones.{}.vlan", name.value)) {
            continue;
        }
        if let Some(other) = seen.insert((&zone.interface, zone.vlan), name) {
            let (at, what) = match &draft.vlan {
                Some(vlan) => (vlan.at, format!("VLAN {} of `{}`", vlan.value, zone.interface)),
                None => (draft.interface.at, format!("untagged frames of `{}`", zone.interface)),
            };
            report.add(
                at,
                format!("{what} are the zone `{}` already", other.value).replace("are the", verb(draft)),
                "give each zone an interface or a VLAN tag of its own: `vlan = …`",
            );
        }
    }
}

fn verb(draft: &ZoneDraft) -> &'static str {
    if draft.vlan.is_some() { "is the" } else { "are the" }
}

fn unique_devices(drafts: &[(Located<String>, ZoneDraft)], zones: &[Zone], report: &mut Report<'_>) {
    let mut seen = BTreeMap::new();
    for ((name, draft), zone) in drafts.iter().zip(zones).filter(|(_, zone)| !zone.device.is_empty()) {
        let port = (&zone.interface, zone.vlan);
        if let Some((other, other_port)) = seen.insert(&zone.device, (name, port))
            && other_port != port
        {
            report.add(
                draft.device.as_ref().map_or(draft.interface.at, |device| device.at),
                format!("the device `{}` belongs to the zone `{}` already", zone.device, other.value),
                "give each zone a device of its own: `device = \"…\"`",
            );
        }
    }
}

fn one_outside(drafts: &[(Located<String>, ZoneDraft)], report: &mut Report<'_>) {
    let mut outside = drafts.iter().filter(|(_, draft)| draft.wan);
    match (outside.next(), drafts.first()) {
        (None, Some((first, _))) => {
            // A zone called `wan` without `wan = true` has been told already.
            let told = drafts.iter().any(|(name, _)| {
                name.value == "wan" || report.is_misfit(&format!("zones.{}.wan", name.value))
            });
            if !told {
                report.add(
                    first.at,
                    "no zone is the outside",
                    "add `wan = true` to the zone of the interface that leads to the Internet",
                );
            }
        }
        (Some((first, _)), _) => {
            for (name, _) in outside {
                report.add(
                    name.at,
                    format!(
                        "the zone {} is a second outside, `{}` is one already",
                        quoted(name),
                        first.value
                    ),
                    "leave `wan = true` in one zone only; the others need `networks`",
                );
            }
        }
        (None, None) => {}
    }
}

fn disjoint_networks(drafts: &[(Located<String>, ZoneDraft)], report: &mut Report<'_>) {
    let mut all = Vec::new();
    for (name, draft) in drafts {
        for text in draft.networks.iter().chain(&draft.routes) {
            if let Ok(net) = text.parse::<IpNet>()
                && net.prefix_len() > 0
            {
                all.push((net.trunc(), text, name));
            }
        }
    }
    if all.len() > MOST_NETWORKS {
        let (_, text, _) = all[MOST_NETWORKS];
        report.add(
            text.at,
            format!("the zones have {} networks", all.len()),
            format!("write at most {MOST_NETWORKS} in all"),
        );
    }
    // Sorted, a covering network stands right before what it covers: a stack of open ones finds every overlap.
    all.sort_by_key(|(net, text, _)| (*net, text.at));
    let mut open: Vec<(IpNet, &Located<String>, &Located<String>)> = Vec::new();
    for (net, text, name) in all {
        while open.last().is_some_and(|(outer, _, _)| !outer.contains(&net)) {
            open.pop();
        }
        if let Some((outer, outer_text, outer_name)) = open.last() {
            // The later one of the two in the file is the mistake.
            let ((at, inner), (other, other_zone)) = if text.at > outer_text.at {
                ((text.at, net), (outer, &outer_name.value))
            } else {
                ((outer_text.at, *outer), (&net, &name.value))
            };
            report.add(
                at,
                format!("the network `{inner}` overlaps `{other}` of the zone `{other_zone}`"),
                "every address belongs to one zone: make the networks disjoint",
            );
        }
        open.push((net, text, name));
    }
}
