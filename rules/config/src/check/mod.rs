//! What the file means: names that exist, addresses that make sense together, limits of the kernel tables.

mod bans;
mod countries;
mod dns;
mod fetch;
mod forwards;
mod logs;
mod names;
mod net;
mod outputs;
mod rules;
mod services;
mod sources;
mod times;
mod zones;

use ipnet::IpNet;
use model::Name;
use policy::Policy;
use std::{collections::BTreeMap, path::PathBuf};

use crate::{
    Config, ConfigError,
    checked::Limits,
    draft::{Draft, LimitsDraft},
    error::{Report, quoted},
    located::Located,
};

/// Turns a draft into a configuration. What it returns is only worth something if `report` stays clean.
pub(crate) fn check(draft: Draft, own_filters: &[&str], report: &mut Report<'_>) -> Config {
    let mut warnings = Vec::new();
    let mut zones = zones::check(&draft.zones.0, report);
    let services = services::check(&draft.services.0, report);
    let schedules = times::schedules(&draft.schedules.0, report);
    let mut names = names::Names::new(&draft, &zones, report);
    let rules = rules::check(&draft.rules, &mut names, &services, &schedules, report);
    let forwards = forwards::check(&draft.forwards, &zones, &mut names, &services, report);
    let names::Names { mut sets, devices, .. } = names;
    let (allow, allow_names) = allow_list(&draft.allow, &zones, report, &mut warnings);
    let bans = bans::check(&draft.bans, report);
    let others = dns::Others { zones: &zones, zone_drafts: &draft.zones.0, schedules: &schedules };
    let dns = dns::check(&draft.dns, &others, report, &mut warnings);
    dns::other_resolvers(&mut zones, &draft.zones.0, &dns.listen, report);
    let lists = sources::lists(&draft.lists, &dns::group_names(&draft.dns.groups.0), report);
    let logs = logs::check(&draft.logs, (own_filters, &draft.filters_dir.0), &dns, report);
    let fail2ban = logs::fail2ban(&draft.fail2ban, report);
    let crowdsec = logs::crowdsec(&draft.crowdsec, report);
    let pihole_api = dns::pihole_api(&draft.pihole_api, &zones, &dns, report);
    let lapi = dns::lapi(&draft.lapi, &zones, (&dns, pihole_api.as_ref()), report);
    let doors =
        forwards::Doors { dns: &dns, logs: &logs, pihole_api: pihole_api.as_ref(), lapi: lapi.as_ref() };
    forwards::listeners(&forwards, &draft.forwards, &zones, &doors, report);
    let geoip = sources::geoip(draft.geoip.path.as_ref(), &draft.geoip.fetch(), report);
    let systems = &draft.geoip.systems;
    let geoip_systems = sources::geoip(systems.path.as_ref(), &systems.fetch(), report);
    let limits = limits(&draft.limits, report);
    let signatures = outputs::signatures(&draft.signatures, &zones, report);
    let loki = outputs::loki(&draft.loki, report);
    let store = outputs::store(&draft.store, report);
    let events = outputs::events(&draft.events, report);
    let api = outputs::api(&draft.api, report);
    let filters_dir = outputs::path("filters_dir", &draft.filters_dir.0, report).unwrap_or_default();

    let forward_base = rules.len();
    let rules = dns::reflect_rules(&dns.reflect, &zones, rules, &mut sets);
    // Forwards are numbered behind all of them, and the last one is of the file.
    let forward_base =
        if rules.len() == forward_base { 0 } else { u16::try_from(rules.len()).unwrap_or(u16::MAX) };
    let sorted = |mut nets: Vec<IpNet>| {
        nets.sort_unstable();
        nets.dedup();
        nets
    };
    let protected = sorted(allow.clone());
    let upstreams = sorted(dns.asked().map(|address| address.to_canonical().into()).collect());
    let policy = Policy {
        mode: draft.mode,
        zones,
        rules,
        protected,
        upstreams,
        sets,
        devices,
        schedules,
        forwards,
        forward_base,
    };
    fits_the_kernel(&policy, draft.rules.first().map_or(0, |rule| rule.at), report);
    Config {
        mode: draft.mode,
        policy,
        allow,
        allow_names,
        bans,
        services,
        filters_dir,
        dns,
        lists,
        logs,
        fail2ban,
        crowdsec,
        signatures,
        loki,
        store,
        events,
        api,
        pihole_api,
        lapi,
        geoip,
        geoip_systems,
        limits,
        warnings,
    }
}

/// Whether the kernel's tables hold the rules once they are taken apart into ports.
fn fits_the_kernel(policy: &Policy, at: usize, report: &mut Report<'_>) {
    if !report.is_clean() {
        return;
    }
    if let Err(error) = policy.lower(&[], [].into()) {
        let text = error.to_string();
        let (message, help) = text.split_once("; ").unwrap_or((&text, "simplify the rules"));
        report.add(at, message, help);
    }
}

/// The flow table is found in by bits of a hash.
fn limits(draft: &LimitsDraft, report: &mut Report<'_>) -> Limits {
    let flows = draft.flows.value;
    if !flows.is_power_of_two() {
        let (below, above) = (flows.next_power_of_two() / 2, flows.next_power_of_two());
        report.add(
            draft.flows.at,
            format!("`limits.flows` is {flows}, which is no power of two"),
            format!("write {below} or {above}"),
        );
    }
    Limits { flows }
}

/// The addresses that no ban may touch. The widest networks are refused: they would switch every ban off.
fn allow_list(
    entries: &[Located<String>],
    zones: &[policy::Zone],
    report: &mut Report<'_>,
    warnings: &mut Vec<ConfigError>,
) -> (Vec<IpNet>, Vec<Name>) {
    /// With room for the router's own addresses and those of names.
    const MOST: usize = abi::MAX_PROTECTED as usize - 512;
    if let Some(first_over) = entries.get(MOST) {
        report.add(
            first_over.at,
            format!("`allow` has {} entries", entries.len()),
            format!("write at most {MOST}; neighbouring addresses can be written as one network"),
        );
        return (Vec::new(), Vec::new());
    }
    let (mut nets, mut names) = (Vec::new(), Vec::new());
    for entry in entries {
        if let Some(name) = allowed_name(entry) {
            if names.contains(&name) {
                let message = format!("{} stands twice in `allow`", quoted(entry));
                report.add(entry.at, message, "remove one of the two");
            } else if names.len() == MOST_NAMES {
                let message = format!("`allow` has more than {MOST_NAMES} names");
                report.add(entry.at, message, "write the addresses of those that have fixed ones");
            } else {
                names.push(name);
            }
            continue;
        }
        let Some(net) = net::network("allow", entry, report) else { continue };
        let widest = if net.addr().is_ipv4() { 8 } else { 16 };
        if net.prefix_len() < widest {
            report.add(
                entry.at,
                format!(
                    "{} in `allow` would protect a large part of the Internet from every ban",
                    quoted(entry)
                ),
                format!("name the addresses you mean; the widest network that can be allowed is a /{widest}"),
            );
            continue;
        }
        if nets.contains(&net) {
            report.add(
                entry.at,
                format!("{} stands twice in `allow`", quoted(entry)),
                "remove one of the two",
            );
            continue;
        }
        if let Some(zone) = zones.iter().find(|zone| zone.networks.iter().any(|own| net.contains(own))) {
            warnings.push(warning(
                entry.at,
                format!(
                    "{} covers the whole zone `{}`: none of its hosts can be banned",
                    quoted(entry),
                    zone.name
                ),
                "name single addresses if that is not meant",
                report,
            ));
        }
        nets.push(net);
    }
    (nets, names)
}

/// Names in `allow`; a config with more is refused.
const MOST_NAMES: usize = 16;

/// A name of a host, where that is what was meant: it has letters behind its last dot, and no `:` or `/`.
fn allowed_name(entry: &Located<String>) -> Option<Name> {
    let (_, last) = entry.trim_end_matches('.').rsplit_once('.')?;
    let is_name = last.bytes().any(|byte| byte.is_ascii_alphabetic()) && !entry.contains([':', '/']);
    if is_name { entry.parse().ok() } else { None }
}

/// Something that is allowed but probably not meant.
fn warning(at: usize, message: String, help: &str, report: &Report<'_>) -> ConfigError {
    let model::Span { file, line, column } = report.span(at);
    ConfigError { file, line, column, message, help: help.to_owned() }
}

/// Notes a name that is not of the form that all our names have; returns whether it is.
fn name_is_valid(kind: &str, name: &str, at: usize, report: &mut Report<'_>) -> bool {
    const LONGEST: usize = 32;
    let valid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    if !name.is_empty() && name.len() <= LONGEST && name.chars().all(valid) && !name.starts_with(['-', '_']) {
        return true;
    }
    let mut proposed: String = name
        .to_lowercase()
        .chars()
        .map(|c| if valid(c) { c } else { '-' })
        .skip_while(|c| matches!(c, '-' | '_'))
        .take(LONGEST)
        .collect();
    proposed.truncate(proposed.trim_end_matches('-').len());
    let rule = format!("lower-case letters, digits, `-` and `_`, at most {LONGEST}");
    let help = if proposed.is_empty() { format!("use {rule}") } else { format!("use {rule}: `{proposed}`") };
    report.add(at, format!("{} cannot be the name of a {kind}", quoted(name)), help);
    false
}

/// An empty text stands for "left out".
fn optional(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// See [`optional`].
fn optional_path(key: &str, text: &Located<String>, report: &mut Report<'_>) -> Option<PathBuf> {
    if text.is_empty() { None } else { outputs::path(key, text, report) }
}

/// Notes names of the wrong form and names that stand twice.
pub(crate) fn unique<'n>(
    kind: &str,
    names: impl Iterator<Item = &'n Located<String>>,
    report: &mut Report<'_>,
) {
    let mut seen = BTreeMap::new();
    for name in names.filter(|name| !name.is_empty()) {
        name_is_valid(kind, name, name.at, report);
        if let Some(first) = seen.get(name.as_str()) {
            let line = report.span(*first).line;
            report.add(
                name.at,
                format!("there is a {kind} {} already, on line {line}", quoted(name)),
                "give each a name of its own",
            );
        } else {
            seen.insert(name.as_str(), name.at);
        }
    }
}
