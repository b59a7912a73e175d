//! CrowdSec's local API and forward auth: where they answer, whom, and which proxies are believed.

use ipnet::IpNet;
use policy::Zone;
use std::{net::SocketAddr, time::Duration};

use super::{
    Dns, at_most, inside,
    pihole::{named, usual},
    sockets, twice,
};
use crate::{
    check::net,
    checked::{Lapi, PiholeApi},
    draft::LapiDraft,
    error::{Report, quoted},
    located::Located,
};

/// Where it answers if no port is named.
const PORT: u16 = 8080;
/// Entries in the list of proxies.
const MOST_PROXIES: usize = 64;
/// How long a ban may last.
const SHORTEST: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(365 * 86_400);
const USUAL: Duration = Duration::from_secs(4 * 3600);

/// None where it answers nowhere.
pub(in crate::check) fn lapi(
    draft: &LapiDraft,
    zones: &[Zone],
    (dns, pihole): (&Dns, Option<&PiholeApi>),
    report: &mut Report<'_>,
) -> Option<Lapi> {
    let listen = sockets("listen", &draft.listen, PORT, report);
    let trusted_proxies = proxies(&draft.trusted_proxies, report);
    let ban = lasting(&draft.ban, report);
    let Some((first, _)) = listen.first() else {
        if let Some(proxy) = draft.trusted_proxies.first()
            && draft.listen.is_empty()
            && !report.is_misfit("lapi.listen")
        {
            report.add(
                proxy.at,
                "`[lapi]` has no `listen`: nothing answers",
                "add for example `listen = [\"10.1.0.1:8080\"]`",
            );
        }
        return None;
    };
    inside(&listen, "the API", zones, report);
    for (text, socket) in &listen {
        let by_dns =
            [&dns.listen, &dns.listen_tls, &dns.listen_https].iter().any(|door| door.contains(socket));
        let by_pihole = pihole.is_some_and(|api| api.listen.contains(socket));
        if by_dns || by_pihole {
            let who = if by_dns { "the resolver" } else { "Pi-hole's API" };
            report.add(
                text.at,
                format!("{who} listens on {} already", quoted(text)),
                "give one of them another port",
            );
        }
    }
    let sockets: Vec<SocketAddr> = listen.iter().map(|(_, socket)| *socket).collect();
    let zones = match &draft.zones {
        Some(texts) => named(texts, zones, report),
        None => usual("lapi", first, zones, report),
    };
    Some(Lapi { listen: sockets, zones, trusted_proxies, ban })
}

/// Whoever is in here can say of anybody that they are the client: wide networks are refused.
fn proxies(texts: &[Located<String>], report: &mut Report<'_>) -> Vec<IpNet> {
    at_most("trusted_proxies", "entries", texts, MOST_PROXIES, "", report);
    let mut nets: Vec<IpNet> = Vec::new();
    for text in texts.iter().take(MOST_PROXIES) {
        let Some(net) = net::network("trusted_proxies", text, report) else { continue };
        let widest = if net.addr().is_ipv4() { 8 } else { 16 };
        if net.prefix_len() < widest {
            report.add(
                text.at,
                format!("{} in `trusted_proxies` would believe a large part of the Internet", quoted(text)),
                format!("name the proxies you mean; the widest network is a /{widest}"),
            );
        } else if nets.contains(&net) {
            twice("trusted_proxies", text, report);
        } else {
            nets.push(net);
        }
    }
    nets
}

fn lasting(text: &Located<String>, report: &mut Report<'_>) -> Duration {
    let (message, help) = match model::parse_duration(text) {
        Ok(duration) if (SHORTEST..=LONGEST).contains(&duration) => return duration,
        Ok(_) => (format!("{} in `ban` is too short or too long", quoted(text)), "write `1m` to `365d`"),
        Err(_) => (format!("{} in `ban` is no duration", quoted(text)), "write for example `4h`"),
    };
    report.add(text.at, message, help);
    USUAL
}
