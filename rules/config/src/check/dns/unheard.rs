//! Keys that are checked and that no part of secd carries out yet: whoever writes one is told, by `secctl check` and by
//! the daemon, so that nobody relies on what does not happen.

use super::Others;
use crate::{
    ConfigError,
    check::warning,
    draft::{DnsDraft, DnsOthers, Egress, QueryLogDraft, ZoneDraft},
    error::Report,
};

/// Warns of every such key that says something other than its default; returns them, each once.
pub(super) fn unheard(
    draft: &DnsDraft,
    others: &Others<'_>,
    report: &Report<'_>,
    warnings: &mut Vec<ConfigError>,
) -> Vec<&'static str> {
    let mut keys: Vec<&'static str> = Vec::new();
    for (at, key, instead) in written(draft).into_iter().chain(written_in_zones(others)) {
        if !keys.contains(&key) {
            keys.push(key);
        }
        let message = format!("`{key}` is not carried out yet: {instead}");
        warnings.push(warning(at, message, "remove it until a version carries it out", report));
    }
    keys
}

type Written = (usize, &'static str, &'static str);

fn written(draft: &DnsDraft) -> Vec<Written> {
    let usual = DnsDraft::default();
    let mut written: Vec<Written> = Vec::new();
    let mut add = |at: Option<usize>, key, instead| written.extend(at.map(|at| (at, key, instead)));
    add(draft.listen_tls.first().map(|text| text.at), "dns.listen_tls", "nothing answers by TLS");
    add(draft.listen_https.first().map(|text| text.at), "dns.listen_https", "nothing answers by HTTPS");
    let renamed = draft.name.value != usual.name.value;
    add(renamed.then_some(draft.name.at), "dns.name", "no device is told of encrypted DNS");
    let certificate = draft.certificate.as_ref().map(|text| text.at);
    add(certificate, "dns.certificate", "nothing answers by TLS or HTTPS");
    add(draft.local.leases.first().map(|text| text.at), "dns.local.leases", "no lease is read");
    for (_, client) in &draft.clients.0 {
        let host = client.who.value.iter().find(|who| who.starts_with("host:"));
        add(host.map(|who| who.at), "dns.clients.*.who = host:", "no lease is read, so this finds nobody");
    }
    let QueryLogDraft { days, size } = &draft.log;
    let log = [(days.at, days.value != usual.log.days.value), (size.at, size.value != usual.log.size.value)];
    let log = log.into_iter().find(|(_, differs)| *differs && days.value != 0).map(|(at, _)| at);
    add(log, "dns.log", "questions are told as events, and no log is kept");
    add(draft.reflect.first().map(|reflect| reflect.at), "dns.reflect", "mDNS and SSDP stay in their zones");
    written
}

fn written_in_zones<'a>(others: &'a Others<'_>) -> impl Iterator<Item = Written> + use<'a> {
    others.zone_drafts.iter().flat_map(|(name, zone): &(_, ZoneDraft)| {
        let egress = (zone.egress != Egress::default()).then_some((
            name.at,
            "zones.*.egress",
            "flows of the zone go wherever rules allow",
        ));
        let asked = (zone.dns_others != DnsOthers::default()).then_some((
            name.at,
            "zones.*.dns_others",
            "questions to other resolvers go as rules say",
        ));
        egress.into_iter().chain(asked)
    })
}
