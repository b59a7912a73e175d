//! Pi-hole's REST API: where it answers, whom, and by which passwords.

use policy::Zone;
use std::net::SocketAddr;

use super::{Dns, at_most, inner_zone, inside, sockets, twice};
use crate::{
    check::optional_path,
    checked::PiholeApi,
    draft::PiholeApiDraft,
    error::{Report, quoted},
    located::Located,
};

/// Where it answers if no port is named.
const PORT: u16 = 8080;
/// The zone that is let in if none is named.
const USUAL_ZONE: &str = "management";
/// Zones that can be let in.
const MOST_ZONES: usize = 64;

/// None where it answers nowhere.
pub(in crate::check) fn pihole_api(
    draft: &PiholeApiDraft,
    zones: &[Zone],
    dns: &Dns,
    report: &mut Report<'_>,
) -> Option<PiholeApi> {
    let listen = sockets("listen", &draft.listen, PORT, report);
    let password_file = optional_path("password_file", &draft.password_file, report);
    let Some((first, _)) = listen.first() else {
        if !draft.password_file.is_empty()
            && draft.listen.is_empty()
            && !report.is_misfit("pihole_api.listen")
        {
            report.add(
                draft.password_file.at,
                "`[pihole_api]` has no `listen`: nothing answers",
                "add for example `listen = [\"10.1.0.1:8080\"]`",
            );
        }
        return None;
    };
    inside(&listen, "the API", zones, report);
    for (text, socket) in &listen {
        if [&dns.listen, &dns.listen_tls, &dns.listen_https].iter().any(|door| door.contains(socket)) {
            report.add(
                text.at,
                format!("the resolver listens on {} already", quoted(text)),
                "give one of them another port",
            );
        }
    }
    if draft.password_file.is_empty() && !report.is_misfit("pihole_api.password_file") {
        report.add(
            first.at,
            "`[pihole_api]` has no `password_file`: nobody could log in",
            "add for example `password_file = \"/etc/secd/pihole.password\"`, a file that only root reads",
        );
    }
    let sockets: Vec<SocketAddr> = listen.iter().map(|(_, socket)| *socket).collect();
    let zones = match &draft.zones {
        Some(texts) => named(texts, zones, report),
        None => usual("pihole_api", first, zones, report),
    };
    Some(PiholeApi { listen: sockets, password_file: password_file.unwrap_or_default(), zones })
}

/// Zones that are let in, by name.
pub(super) fn named(
    texts: &Located<Vec<Located<String>>>,
    zones: &[Zone],
    report: &mut Report<'_>,
) -> Vec<String> {
    if texts.is_empty() {
        report.add(
            texts.at,
            "`zones` is empty: nobody could connect",
            "name a zone, or remove `listen` to switch the API off",
        );
    }
    at_most("zones", "zones", texts, MOST_ZONES, "", report);
    let mut names: Vec<String> = Vec::new();
    for text in texts.iter().take(MOST_ZONES) {
        let Some(zone) = inner_zone(text, text, zones, report) else { continue };
        if names.contains(&zone.name) {
            twice("zones", text, report);
        } else {
            names.push(zone.name.clone());
        }
    }
    names
}

/// The zone that is let in where none is named.
pub(super) fn usual(
    section: &str,
    listen: &Located<String>,
    zones: &[Zone],
    report: &mut Report<'_>,
) -> Vec<String> {
    if zones.iter().any(|zone| zone.name == USUAL_ZONE && !zone.wan) {
        return vec![USUAL_ZONE.to_owned()];
    }
    report.add(
        listen.at,
        format!(
            "`[{section}]` has no `zones`, and there is no zone `{USUAL_ZONE}`, which is let in by default"
        ),
        "add `zones = [\"NAME\"]` with the zones whose hosts may connect",
    );
    Vec::new()
}
