//! Servers that the resolver asks.

use model::Name;
use std::net::{IpAddr, SocketAddr};

use super::{MOST_SOCKETS, PORT, PORT_HTTPS, PORT_TLS, at_most, plain_names, sockets, twice};
use crate::{
    checked::{DnsForward, Upstream, UpstreamTransport},
    draft::DnsForwardDraft,
    error::{Report, nearest, quoted},
    located::Located,
};

/// Forwards of names; a config with more is refused.
const MOST_FORWARDS: usize = 256;
/// Where DNS is asked for by HTTPS where the URL does not say it (RFC 8484 §4.1.1 has this one in its examples).
const USUAL_PATH: &str = "/dns-query";
/// Ways to ask, in front of `://`.
const SCHEMES: [&str; 3] = ["tls", "https", "udp"];

/// Servers in order of preference.
pub(super) fn list(
    key: &str,
    texts: &[Located<String>],
    own: &[SocketAddr],
    report: &mut Report<'_>,
) -> Vec<Upstream> {
    at_most(key, "servers", texts, MOST_SOCKETS, "", report);
    let mut upstreams: Vec<Upstream> = Vec::new();
    for text in texts.iter().take(MOST_SOCKETS) {
        let Some(upstream) = upstream(key, text, report) else { continue };
        if let Some(address) = upstream.address {
            can_be_asked(text, SocketAddr::new(address, upstream.port), own, report);
        }
        let same = |other: &&Upstream| {
            (&other.transport, other.address, &other.name, other.port)
                == (&upstream.transport, upstream.address, &upstream.name, upstream.port)
        };
        if upstreams.iter().find(same).is_some() {
            twice(key, text, report);
        }
        upstreams.push(upstream);
    }
    upstreams
}

/// Plain servers, by address.
pub(super) fn plain(
    key: &str,
    texts: &[Located<String>],
    own: &[SocketAddr],
    report: &mut Report<'_>,
) -> Vec<SocketAddr> {
    let mut servers = Vec::new();
    for (text, server) in sockets(key, texts, PORT, report) {
        can_be_asked(text, server, own, report);
        servers.push(server);
    }
    servers
}

pub(super) fn forwards(
    drafts: &[Located<DnsForwardDraft>],
    own: &[SocketAddr],
    report: &mut Report<'_>,
) -> Vec<DnsForward> {
    if let Some(first_over) = drafts.get(MOST_FORWARDS) {
        report.add(
            first_over.at,
            format!("the file has {} forwards of names", drafts.len()),
            format!("write at most {MOST_FORWARDS}; one can have several names"),
        );
    }
    let mut forwards: Vec<DnsForward> = Vec::new();
    for draft in drafts.iter().take(MOST_FORWARDS) {
        let names = plain_names("names", &draft.names, report);
        for text in draft.names.iter() {
            let Ok(name) = text.parse() else { continue };
            if let Some(other) = forwards.iter().find(|other| other.names.contains(&name)) {
                report.add(
                    text.at,
                    format!("{} is forwarded on line {} already", quoted(text), other.span.line),
                    "write all its servers into one forward",
                );
            }
        }
        forwards.push(DnsForward {
            names,
            to: list("to", &draft.to, own, report),
            span: report.span(draft.at),
        });
    }
    forwards
}

fn can_be_asked(text: &Located<String>, server: SocketAddr, own: &[SocketAddr], report: &mut Report<'_>) {
    if own.contains(&server) {
        report.add(
            text.at,
            format!("{} is an address that the resolver itself answers on", quoted(text)),
            "it would ask itself: write the server of your provider or a public one",
        );
    } else if server.ip().is_unspecified() || server.ip().is_multicast() {
        report.add(text.at, format!("{} cannot be asked", quoted(text)), "write the address of one server");
    }
}

/// `9.9.9.9`, `9.9.9.9:53`, `tls://dns.quad9.net`, `tls://9.9.9.9#dns.quad9.net`, `https://dns.quad9.net/dns-query`.
fn upstream(key: &str, text: &Located<String>, report: &mut Report<'_>) -> Option<Upstream> {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (scheme, rest),
        None => ("udp", text.as_str()),
    };
    let (transport, usual, rest) = match scheme {
        "udp" => return plain_upstream(key, text, rest, report),
        "tls" => (UpstreamTransport::Tls, PORT_TLS, rest.strip_suffix('/').unwrap_or(rest)),
        "https" => {
            // The name of the certificate stands behind everything: `https://9.9.9.9/dns-query#dns.quad9.net`.
            let (host, path) = rest.split_at(rest.find(['/', '#']).unwrap_or(rest.len()));
            let (path, _) = path.split_at(path.find('#').unwrap_or(path.len()));
            let path = if matches!(path, "" | "/") { USUAL_PATH } else { path };
            let fits = path.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\<>{}?".contains(&byte));
            if !fits {
                let why = "the path has a byte that no path has";
                return refused(
                    key,
                    text,
                    why,
                    format!("write for example `https://{host}{USUAL_PATH}`"),
                    report,
                );
            }
            (UpstreamTransport::Https { path: path.to_owned() }, PORT_HTTPS, rest)
        }
        other => {
            let help = match nearest(other, SCHEMES) {
                Some(near) => format!("did you mean `{near}://{rest}`?"),
                None => "write an address, `tls://…` or `https://…`".to_owned(),
            };
            return refused(key, text, &format!("{} is no way to ask", quoted(other)), help, report);
        }
    };
    let (before, certificate) = match rest.split_once('#') {
        Some((before, name)) => (before, Some(name)),
        None => (rest, None),
    };
    let host = before.split('/').next().unwrap_or_default();
    let example =
        format!("write for example `{scheme}://dns.quad9.net` or `{scheme}://9.9.9.9#dns.quad9.net`");
    let Some((host, port)) = host_and_port(host, usual) else {
        return refused(key, text, "the port is no number from 1 to 65535", example, report);
    };
    let named = |name: &str, report: &mut Report<'_>| match name.parse::<Name>() {
        Ok(name) => Some(name),
        Err(error) => {
            refused(key, text, &format!("{} is no name: {error}", quoted(name)), example.clone(), report)
        }
    };
    let (address, name) = match (host.parse::<IpAddr>(), certificate) {
        (Ok(address), None) => (Some(address.to_canonical()), None),
        (Ok(address), Some(name)) => (Some(address.to_canonical()), Some(named(name, report)?)),
        (Err(_), None) => (None, Some(named(host, report)?)),
        (Err(_), Some(_)) => {
            let why = "a name behind `#` belongs to an address";
            return refused(key, text, why, format!("write `{scheme}://{host}` alone"), report);
        }
    };
    Some(Upstream { text: text.value.clone(), transport, address, name, port })
}

fn plain_upstream(
    key: &str,
    text: &Located<String>,
    rest: &str,
    report: &mut Report<'_>,
) -> Option<Upstream> {
    let host = rest.split(':').next().unwrap_or_default();
    if host.parse::<Name>().is_ok()
        && host.contains(|c: char| c.is_ascii_alphabetic())
        && !rest.contains("::")
    {
        let help = format!("write its address, or `tls://{host}`, which can be a name");
        return refused(key, text, "a plain server is written by its address", help, report);
    }
    let socket = Located { at: text.at, value: rest.to_owned() };
    let socket = super::net::socket(key, &socket, Some(PORT), report)?;
    Some(Upstream {
        text: text.value.clone(),
        transport: UpstreamTransport::Plain,
        address: Some(socket.ip()),
        name: None,
        port: socket.port(),
    })
}

/// `host`, `host:port`, `[v6]:port`, `[v6]`, `v6`.
fn host_and_port(text: &str, usual: u16) -> Option<(&str, u16)> {
    let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
    if text.parse::<IpAddr>().is_ok() {
        return Some((text, usual));
    }
    if let Some((host, rest)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return match rest.strip_prefix(':') {
            Some(given) => Some((host, port(given)?)),
            None => rest.is_empty().then_some((host, usual)),
        };
    }
    match text.rsplit_once(':') {
        Some((host, given)) => Some((host, port(given)?)),
        None => Some((text, usual)),
    }
}

fn refused<T>(
    key: &str,
    text: &Located<String>,
    why: &str,
    help: String,
    report: &mut Report<'_>,
) -> Option<T> {
    report.add(text.at, format!("{} in `{key}` is no server to ask: {why}", quoted(text)), help);
    None
}
