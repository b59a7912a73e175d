//! The DNS resolver's part.

use model::Name;
use policy::Zone;
use std::net::SocketAddr;

use super::net;
use crate::{
    checked::Dns,
    draft::DnsDraft,
    error::{Report, quoted},
    located::Located,
};

/// Addresses to answer on, and upstreams; a config with more is refused.
const MOST_SOCKETS: usize = 64;
/// Names in `allow`; a config with more is refused.
const MOST_NAMES: usize = 10_000;
/// The port of DNS (RFC 1035 §4.2).
const PORT: u16 = 53;

pub(super) fn check(draft: &DnsDraft, zones: &[Zone], report: &mut Report<'_>) -> Dns {
    let listen = sockets("listen", &draft.listen, report);
    let upstreams = sockets("upstreams", &draft.upstreams, report);
    if !draft.listen.is_empty() && draft.upstreams.is_empty() && !report.is_misfit("dns.upstreams") {
        report.add(
            draft.listen[0].at,
            "the resolver has nobody to ask",
            "add for example `upstreams = [\"9.9.9.9:53\"]`",
        );
    }
    for (text, upstream) in draft.upstreams.iter().zip(&upstreams) {
        if listen.iter().any(|own| own == upstream) {
            report.add(
                text.at,
                format!("{} is an address that the resolver itself answers on", quoted(text)),
                "it would ask itself: write the server of your provider or a public one",
            );
        } else if upstream.ip().is_unspecified() || upstream.ip().is_multicast() {
            report.add(
                text.at,
                format!("{} cannot be asked", quoted(text)),
                "write the address of one server",
            );
        }
    }
    for (text, own) in draft.listen.iter().zip(&listen) {
        let outside = zones.iter().any(|zone| !zone.networks.is_empty())
            && !own.ip().is_loopback()
            && !own.ip().is_unspecified()
            && zones.iter().all(|zone| !zone.networks.iter().any(|net| net.contains(&own.ip())));
        if outside {
            report.add(
                text.at,
                format!(
                    "{} is in no network of a zone: the resolver would answer the Internet",
                    quoted(text)
                ),
                "write an address that the router has in one of the zones",
            );
        }
    }
    if let Some(first_over) = draft.allow.get(MOST_NAMES) {
        report.add(
            first_over.at,
            format!("`allow` has {} names", draft.allow.len()),
            format!("write at most {MOST_NAMES}; a list file can hold exceptions as `@@||name^`"),
        );
    }
    Dns {
        listen,
        upstreams,
        allow: draft.allow.iter().take(MOST_NAMES).filter_map(|text| name(text, report)).collect(),
        mode: draft.mode,
        cache_entries: draft.cache_entries as usize,
    }
}

fn sockets(key: &str, texts: &[Located<String>], report: &mut Report<'_>) -> Vec<SocketAddr> {
    if let Some(first_over) = texts.get(MOST_SOCKETS) {
        report.add(
            first_over.at,
            format!("`{key}` has {} addresses", texts.len()),
            format!("write at most {MOST_SOCKETS}"),
        );
    }
    let mut sockets = Vec::new();
    for text in texts.iter().take(MOST_SOCKETS) {
        let Some(socket) = net::socket(key, text, Some(PORT), report) else { continue };
        if sockets.contains(&socket) {
            report.add(text.at, format!("{} stands twice in `{key}`", quoted(text)), "remove one of the two");
        }
        sockets.push(socket);
    }
    sockets
}

fn name(text: &Located<String>, report: &mut Report<'_>) -> Option<Name> {
    match text.parse() {
        Ok(name) => Some(name),
        Err(error) => {
            let bare = text
                .trim_start_matches("@@")
                .trim_start_matches("||")
                .trim_start_matches("*.")
                .trim_end_matches('^');
            let help = match bare.parse::<Name>() {
                Ok(name) if bare != text.as_str() => {
                    format!("write `{name}`: everything below it is meant as well")
                }
                _ => "write a name, for example `good.example`".to_owned(),
            };
            report.add(text.at, format!("{} is no domain name: {error}", quoted(text)), help);
            None
        }
    }
}
