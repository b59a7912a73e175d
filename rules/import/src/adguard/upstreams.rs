//! Servers that AdGuard Home asks: for everything, for some names (`[/name/]server`), for private reverse names.

use model::Name;
use std::net::{IpAddr, SocketAddr};

use super::Making;
use crate::{names::shown, pihole::local_to_the_old_machine, reverse};

/// Networks whose reverse names nobody outside knows (RFC 6303).
const PRIVATE: [&str; 5] = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fe80::/10"];

impl Making<'_> {
    pub(super) fn upstreams(&mut self) {
        for line in self.root.at("dns.upstream_dns").texts() {
            self.upstream_line(line.trim());
        }
        for server in self.root.at("dns.bootstrap_dns").texts() {
            match plain(server) {
                Some(server) => self.settings.bootstrap(server),
                None => self.report.leave(
                    format!("bootstrap server {}", shown(server)),
                    "names of upstreams are asked of plain servers, by address",
                    "see `dns.bootstrap`",
                ),
            }
        }
        let flag = |place: &str| self.root.at(place).flag() == Some(true);
        let mode = match self.root.at("dns.upstream_mode").text() {
            Some(mode) => mode.to_owned(),
            None if flag("dns.all_servers") => "parallel".to_owned(),
            None if flag("dns.fastest_addr") => "fastest_addr".to_owned(),
            None => "load_balance".to_owned(),
        };
        let order = match mode.as_str() {
            "parallel" | "fastest_addr" => "parallel",
            _ => "fastest",
        };
        if self.settings.upstreams.len() > 1 {
            self.settings.order = Some(order);
            if mode != order {
                self.report
                    .translate(format!("upstream mode {mode}"), format!("`upstream_order = \"{order}\"`"));
            }
        }
        let asked = self.first(&["dns.use_private_ptr_resolvers"]).flag() != Some(false);
        let servers: Vec<String> =
            self.root.at("dns.local_ptr_upstreams").texts().into_iter().map(str::to_owned).collect();
        let to: Vec<String> = servers.iter().filter_map(|server| self.server(server)).collect();
        if asked && !to.is_empty() {
            let networks = PRIVATE.iter().filter_map(|network| network.parse().ok());
            let names: Vec<String> = networks.flat_map(|network| reverse::zones(network).0).collect();
            self.report.translate(
                format!("private reverse servers {}", to.join(", ")),
                "a forward of the reverse names of private networks",
            );
            self.settings.forward(names, to);
        }
    }

    /// `server`, or `[/name/name/]server server`.
    fn upstream_line(&mut self, line: &str) {
        if line.is_empty() || line.starts_with('#') {
            return;
        }
        let Some((names, servers)) = line.strip_prefix("[/").and_then(|rest| rest.split_once("/]")) else {
            if let Some(server) = self.server(line) {
                self.settings.upstream(server);
            }
            return;
        };
        let mut asked = Vec::new();
        for name in names.split('/') {
            let bare = name.strip_prefix("*.").unwrap_or(name);
            if bare != name {
                self.report.translate(
                    format!("upstream of everything below `{bare}`"),
                    format!("a forward of `{bare}` and everything below it"),
                );
            }
            match bare.parse::<Name>() {
                Ok(bare) => asked.push(bare.to_string()),
                Err(_) => self.report.leave(
                    format!("upstream `{line}`"),
                    "names without a dot have no servers of their own",
                    "`[dns.local] domain` is what is put behind them",
                ),
            }
        }
        let to: Vec<String> = servers
            .split_whitespace()
            .filter_map(|server| match server {
                "#" => {
                    let why = "a name below a forwarded one cannot be asked of the other upstreams again";
                    self.report.leave(
                        format!("upstream `{line}`"),
                        why,
                        "write `[[dns.forwards]]` with the upstreams",
                    );
                    None
                }
                server => self.server(server),
            })
            .collect();
        if !asked.is_empty() && !to.is_empty() {
            self.settings.forward(asked, to);
        }
    }

    /// A server as secd writes it; none, and told, for one that cannot be asked.
    fn server(&mut self, text: &str) -> Option<String> {
        let (why, help) = match text.split_once("://") {
            None | Some(("udp", _)) => {
                let rest = text.strip_prefix("udp://").unwrap_or(text);
                match plain(rest) {
                    Some(server) if !local_to_the_old_machine(&server) => return Some(server),
                    Some(_) => (
                        "a resolver on the old machine",
                        "if it is to be asked from now on, write its address into `dns.upstreams`",
                    ),
                    None => ("a plain server is asked by its address", "write its address, or `tls://NAME`"),
                }
            }
            Some(("tcp", rest)) => match plain(rest) {
                Some(server) => {
                    self.report.translate(
                        format!("upstream {text}"),
                        format!("`{server}`: TCP is asked where it has to be"),
                    );
                    return Some(server);
                }
                None => ("a plain server is asked by its address", "write its address, or `tls://NAME`"),
            },
            Some((_, rest)) if rest.contains('@') => {
                ("user and password stand in it", "look for an address of the server without them")
            }
            Some((scheme @ ("tls" | "https" | "h3"), rest)) => {
                let known = if scheme == "h3" { "https" } else { scheme };
                match encrypted(known, rest) {
                    Some(server) if scheme == "h3" => {
                        let how = format!("`{server}`: over HTTP/2");
                        self.report.translate(format!("upstream {text}"), how);
                        return Some(server);
                    }
                    Some(server) => return Some(server),
                    None => (
                        "no host and path that can be asked",
                        "write the server as `tls://NAME` or `https://NAME/dns-query`",
                    ),
                }
            }
            Some(("quic", _)) => {
                ("DNS over QUIC is not asked", "most such servers answer at `tls://` as well")
            }
            Some(("sdns", _)) => (
                "DNS stamps and DNSCrypt are not read",
                "write the server as `tls://NAME` or `https://NAME/dns-query`",
            ),
            Some(_) => (
                "that way to ask is not known",
                "write the server as `tls://NAME` or `https://NAME/dns-query`",
            ),
        };
        self.report.leave(format!("upstream {}", shown(text)), why, help);
        None
    }
}

/// A server over TLS or HTTPS in the one way in which secd writes it, so that the same twice is one.
fn encrypted(scheme: &str, rest: &str) -> Option<String> {
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let fits = |byte: u8| byte.is_ascii_graphic() && !b"\"\\<>{}?#".contains(&byte);
    if !path.bytes().all(fits) {
        return None;
    }
    let path = if scheme == "tls" || path == "/" { "" } else { path };
    let usual = if scheme == "tls" { 853 } else { 443 };
    let (host, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => (address, port.strip_prefix(':').or(port.is_empty().then_some(""))?),
        None if host.parse::<IpAddr>().is_ok() => (host, ""),
        None => host.rsplit_once(':').unwrap_or((host, "")),
    };
    let port = if port.is_empty() { usual } else { port.parse().ok().filter(|port| *port > 0)? };
    let host = match host.parse::<IpAddr>() {
        Ok(address) if !is_one(address) => return None,
        Ok(IpAddr::V6(address)) => format!("[{address}]"),
        Ok(IpAddr::V4(address)) => address.to_string(),
        Err(_) => host.parse::<Name>().ok()?.to_string(),
    };
    let port = if port == usual { String::new() } else { format!(":{port}") };
    Some(format!("{scheme}://{host}{port}{path}"))
}

/// Whether an address is that of one machine.
fn is_one(address: IpAddr) -> bool {
    !address.is_unspecified() && !address.is_multicast()
}

/// An address, with its port where that is not the usual one.
fn plain(text: &str) -> Option<String> {
    let text = text.trim();
    if let Ok(address) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
        return is_one(address).then(|| address.to_string());
    }
    let socket: SocketAddr = text.parse().ok()?;
    if !is_one(socket.ip()) || socket.port() == 0 {
        return None;
    }
    Some(if socket.port() == 53 { socket.ip().to_string() } else { socket.to_string() })
}
