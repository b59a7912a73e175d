//! Lines of hosts files and of dnsmasq, as Pi-hole keeps local names in them.

use ipnet::IpNet;
use lists::Blocking;
use model::Name;
use std::net::{IpAddr, SocketAddr};

use super::Making;
use crate::{report::several, reverse};

impl Making {
    /// One line of a hosts file: an address and its names. `domain` is put behind names without a dot.
    pub(super) fn hosts_line(&mut self, line: &str, domain: Option<&str>) {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        let Some(first) = words.next() else { return };
        let Ok(address) = first.parse::<IpAddr>() else {
            self.report.leave(
                format!("local name `{}`", line.trim()),
                "it does not begin with an address",
                "write it as `\"name\" = [\"address\"]` under `[dns.records]`",
            );
            return;
        };
        for name in words {
            if lists::is_of_the_machine(name) || address.is_loopback() || address.is_multicast() {
                continue;
            }
            self.address_record(name, address, domain);
        }
    }

    fn address_record(&mut self, name: &str, address: IpAddr, domain: Option<&str>) {
        let full = match domain {
            Some(domain) if !name.contains('.') => format!("{name}.{domain}"),
            _ => name.to_owned(),
        };
        match full.parse::<Name>() {
            Ok(known) => {
                if full != name {
                    self.report.translate(format!("local name `{name}`"), format!("`{known}`"));
                }
                self.settings.record(known.as_str(), address.to_string());
            }
            Err(error) => self.report.leave(
                format!("local name `{name}`"),
                format!("no domain name: {error}"),
                "write it with letters, digits and `-` under `[dns.records]`",
            ),
        }
    }

    /// `alias,alias,target` or with a time to live behind: as in `cname=`.
    pub(super) fn alias_line(&mut self, line: &str) {
        let mut parts: Vec<&str> = line.split(',').map(str::trim).collect();
        if parts.len() > 2 && parts.last().is_some_and(|part| part.parse::<u32>().is_ok()) {
            parts.pop();
        }
        let target = parts.pop().map(str::parse::<Name>);
        let (Some(Ok(target)), false) = (target, parts.is_empty()) else {
            self.report.leave(
                format!("alias `{line}`"),
                "it is not `alias,target`",
                "write it as `\"alias\" = [\"CNAME target\"]` under `[dns.records]`",
            );
            return;
        };
        for alias in parts {
            match alias.strip_prefix("*.").unwrap_or(alias).parse::<Name>() {
                Ok(_) => self.settings.record(alias, format!("CNAME {target}")),
                Err(error) => self.report.leave(
                    format!("alias `{alias}`"),
                    format!("no domain name: {error}"),
                    "write it with letters, digits and `-` under `[dns.records]`",
                ),
            }
        }
    }

    /// A conditional forward: a network, its servers, and the domain that belongs to it.
    pub(super) fn reverse_server(&mut self, network: &str, server: &str, domain: &str) {
        let what = format!("conditional forwarding of {network} to {server}");
        let server_of = server_of(server);
        let network = match network.parse::<IpNet>() {
            Ok(network) => Some(network.trunc()),
            Err(_) => network.parse::<IpAddr>().ok().map(IpNet::from),
        };
        let (Some(network), Some(to)) = (network, server_of) else {
            let help = "write it as `[[dns.forwards]]` with the names of the network and its server";
            self.report.leave(what, "a network and a server's address are needed", help);
            return;
        };
        let (mut names, is_wider) = reverse::zones(network);
        if is_wider {
            self.report
                .translate(&what, format!("of the wider `{}`: networks end between labels", names.join(" ")));
        }
        match domain.parse::<Name>() {
            Ok(domain) => names.push(domain.to_string()),
            Err(_) if domain.is_empty() => {}
            Err(error) => self.report.leave(
                format!("the domain `{domain}` of {what}"),
                format!("no domain name: {error}"),
                "write it into `names` of the `[[dns.forwards]]`",
            ),
        }
        if local_to_the_old_machine(&to) {
            self.report.leave(
                what,
                "the server is the old machine itself",
                "write the address where it is now",
            );
            return;
        }
        self.settings.forward(names, vec![to]);
    }

    /// An upstream as Pi-hole writes it: an address, with its port behind `#`.
    pub(super) fn upstream(&mut self, text: &str) {
        let text = text.trim();
        match server_of(text) {
            Some(server) if local_to_the_old_machine(&server) => self.report.leave(
                format!("upstream {text}"),
                "a resolver on the old machine",
                "if it is to be asked from now on, write its address into `dns.upstreams`; secd validates and encrypts by \
                 itself",
            ),
            Some(server) => self.settings.upstream(server),
            None => self.report.leave(
                format!("upstream `{text}`"),
                "no address",
                "write it into `dns.upstreams` as an address, `tls://NAME` or `https://NAME/dns-query`",
            ),
        }
    }

    /// Lines that a person wrote for dnsmasq. What is no setting of names is left.
    pub(super) fn dnsmasq_lines<'a>(&mut self, from: &str, lines: impl Iterator<Item = &'a str>) {
        let mut left = Vec::new();
        for line in lines {
            let line = line.split(" #").next().unwrap_or_default().trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (key, value) = line.split_once('=').unwrap_or((line, ""));
            let taken = match key.trim() {
                "cname" => {
                    self.alias_line(value);
                    true
                }
                "host-record" => self.host_record(value),
                "address" => self.address_line(value),
                "server" | "local" => self.server_line(value),
                "rev-server" => match value.split_once(',') {
                    Some((network, server)) => {
                        self.reverse_server(network, server, "");
                        true
                    }
                    None => false,
                },
                _ => false,
            };
            if !taken {
                left.push(line.to_owned());
            }
        }
        if !left.is_empty() {
            self.report.leave(
                format!("{from}: {}", several("lines for dnsmasq", &left)),
                "secd has no dnsmasq in it",
                "look in `secctl config reference` for what they were for",
            );
        }
    }

    /// `name,name,address,address`, and a time to live.
    fn host_record(&mut self, value: &str) -> bool {
        let parts: Vec<&str> =
            value.split(',').map(str::trim).filter(|part| part.parse::<u32>().is_err()).collect();
        let addresses: Vec<IpAddr> = parts.iter().filter_map(|part| part.parse().ok()).collect();
        for name in
            parts.iter().filter(|part| part.parse::<Name>().is_ok() && part.parse::<IpAddr>().is_err())
        {
            for address in &addresses {
                self.settings.record(name, address.to_string());
            }
        }
        !addresses.is_empty()
    }

    /// `/name/name/address`: the names and everything below them. Without an address, or with `#`, they are blocked.
    fn address_line(&mut self, value: &str) -> bool {
        let Some((names, address)) = value.strip_prefix('/').and_then(|rest| rest.rsplit_once('/')) else {
            return false;
        };
        let names: Vec<&str> = names.split('/').collect();
        if names.iter().any(|name| name.parse::<Name>().is_err()) {
            return false;
        }
        for name in names {
            match address.parse::<IpAddr>() {
                Ok(address) if !address.is_unspecified() => {
                    self.settings.record(name, address.to_string());
                    self.settings.record(&format!("*.{name}"), address.to_string());
                }
                Ok(_) => self.block_below(name),
                Err(_) if matches!(address, "" | "#") => self.block_below(name),
                Err(_) => return false,
            }
        }
        true
    }

    fn block_below(&mut self, name: &str) {
        self.own.add(&["default".to_owned()], "adblock", &format!("||{name}^"), "");
        self.report.take("denied names", 1);
    }

    /// `/name/name/server`: the names are asked there. A server without names is an upstream.
    fn server_line(&mut self, value: &str) -> bool {
        let Some((names, server)) = value.strip_prefix('/').and_then(|rest| rest.rsplit_once('/')) else {
            self.upstream(value);
            return true;
        };
        let names: Vec<String> = names.split('/').map(str::to_ascii_lowercase).collect();
        let Some(server) = server_of(server) else { return false };
        if local_to_the_old_machine(&server) || names.iter().any(|name| name.parse::<Name>().is_err()) {
            return false;
        }
        self.settings.forward(names, vec![server]);
        true
    }

    /// A way to block by its name in Pi-hole; `v4` and `v6` are the addresses that were chosen for it.
    pub(super) fn blocking_mode(&mut self, mode: &str, v4: Option<&str>, v6: Option<&str>) {
        let own = || {
            let (v4, v6) = (v4.and_then(|text| text.parse().ok()), v6.and_then(|text| text.parse().ok()));
            (v4.is_some() || v6.is_some()).then_some(Blocking::Address { v4, v6 })
        };
        let blocking = match mode.to_ascii_uppercase().replace('-', "_").as_str() {
            "NULL" => return,
            "NX" | "NXDOMAIN" => Some(Blocking::NxDomain),
            "NODATA" => Some(Blocking::NoData),
            "IP" => own(),
            "IP_NODATA_AAAA" => own().map(|blocking| match blocking {
                Blocking::Address { v4, .. } => Blocking::Address { v4, v6: None },
                other => other,
            }),
            _ => None,
        };
        match blocking {
            Some(blocking) => {
                self.report.translate(format!("blocking mode {mode}"), format!("`blocking = \"{blocking}\"`"));
                self.settings.blocking = Some(blocking);
            }
            None => self.report.leave(
                format!("blocking mode {mode}"),
                "it answers with the old machine's address",
                "blocked names are 0.0.0.0 now; write an address into `dns.blocking` if a page is to be shown",
            ),
        }
    }

    /// Questions of one client in a time.
    pub(super) fn rate(&mut self, count: u64, seconds: u64) {
        if (count, seconds) == (1000, 60) {
            return;
        }
        if count == 0 || seconds == 0 {
            self.settings.rate = Some("1000000/second".to_owned());
            self.report.translate("no rate limit", "a limit that nobody reaches");
            return;
        }
        let count = count.min(1_000_000);
        let rate = match seconds {
            1 => format!("{count}/second burst {count}"),
            3600 => format!("{count}/hour burst {count}"),
            _ => format!("{}/minute burst {count}", (count * 60).div_ceil(seconds).min(1_000_000)),
        };
        self.report.translate(format!("rate limit {count}/{seconds} s"), format!("`rate = \"{rate}\"`"));
        self.settings.rate = Some(rate);
    }

    /// What is told of questions.
    pub(super) fn privacy_level(&mut self, level: i64) {
        self.settings.privacy = match level {
            1 => Some("no-names"),
            2 | 3 => Some("none"),
            _ => return,
        };
        if let Some(privacy) = self.settings.privacy {
            let how = format!("`dns_privacy = \"{privacy}\"` in each inner zone");
            self.report.translate(format!("privacy level {level}"), how);
        }
    }

    /// Leases that hold for ever; secd gives out no addresses.
    pub(super) fn static_leases(&mut self, leases: &[String]) {
        if !leases.is_empty() {
            self.report.leave(
                several("fixed DHCP leases", leases),
                "secd gives out no addresses",
                "write them into the DHCP server (Kea, dnsmasq, systemd-networkd); `[dns.local] leases` reads them there",
            );
        }
    }
}

/// `192.0.2.1#5335`, `2001:db8::1`, as secd writes them.
pub(super) fn server_of(text: &str) -> Option<String> {
    let text = text.trim();
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.to_string());
    }
    let (address, port) = text.split_once('#').or_else(|| text.rsplit_once("@"))?;
    let socket = SocketAddr::new(address.parse().ok()?, port.parse().ok().filter(|port| *port > 0)?);
    Some(if socket.port() == 53 { socket.ip().to_string() } else { socket.to_string() })
}

/// Whether a server is the machine that Pi-hole ran on.
pub(crate) fn local_to_the_old_machine(server: &str) -> bool {
    let address =
        server.parse::<IpAddr>().or_else(|_| server.parse::<SocketAddr>().map(|socket| socket.ip()));
    address.is_ok_and(|address| address.is_loopback() || address.is_unspecified())
}
