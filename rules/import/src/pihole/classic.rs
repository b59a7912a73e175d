//! The settings of Pi-hole 5: `setupVars.conf`, `pihole-FTL.conf`, `custom.list` and the files for dnsmasq.

use std::collections::BTreeMap;

use super::Making;
use crate::{Files, ImportError, error::text};

/// Files for dnsmasq that Pi-hole 5 makes of other settings.
const MADE: [&str; 3] = ["01-pihole.conf", "02-pihole-dhcp.conf", "06-rfc6761.conf"];

/// Takes over the settings.
pub(super) fn read(files: &Files, making: &mut Making) -> Result<(), ImportError> {
    let setup = pairs(files, "setupVars.conf")?;
    let engine = pairs(files, "pihole-FTL.conf")?;
    let said = |key: &str| setup.get(key).map(String::as_str).filter(|value| !value.is_empty());
    for number in 1..=64 {
        if let Some(server) = said(&format!("PIHOLE_DNS_{number}")) {
            making.upstream(server);
        }
    }
    if said("REV_SERVER") == Some("true")
        && let (Some(network), Some(server)) = (said("REV_SERVER_CIDR"), said("REV_SERVER_TARGET"))
    {
        making.reverse_server(network, server, said("REV_SERVER_DOMAIN").unwrap_or_default());
    }
    making.settings.dnssec = (said("DNSSEC") == Some("true")).then_some(true);
    if said("BLOCKING_ENABLED") == Some("false") {
        making.settings.observe = true;
        making.report.translate("blocking is switched off", "`mode = \"observe\"` under `[dns]`");
    }
    making.settings.domain = said("PIHOLE_DOMAIN").map(str::to_owned);
    let number = |key: &str, default: u64| {
        setup
            .get(key)
            .or(engine.get(key))
            .and_then(|value| value.parse::<u64>().ok())
            .filter(|value| *value != default)
    };
    making.settings.cache_entries = number("CACHE_SIZE", 10_000).map(|size| size.min(1_000_000));
    making.settings.block_ttl = number("BLOCK_TTL", 2).map(|seconds| seconds.min(86_400));
    making.settings.log_days = number("MAXDBDAYS", 365).map(|days| days.min(3650));
    making.privacy_level(engine.get("PRIVACYLEVEL").and_then(|level| level.parse().ok()).unwrap_or(0));
    let address = |key: &str| engine.get(key).map(String::as_str).filter(|value| !value.is_empty());
    let both = address("REPLY_ADDR4").or(address("BLOCK_IPV4"));
    let mode = engine.get("BLOCKINGMODE").map_or("NULL", String::as_str);
    making.blocking_mode(mode, both, address("REPLY_ADDR6").or(address("BLOCK_IPV6")));
    if let Some((count, interval)) = engine.get("RATE_LIMIT").and_then(|rate| rate.split_once('/')) {
        making.rate(count.trim().parse().unwrap_or(1000), interval.trim().parse().unwrap_or(60));
    }
    if said("DHCP_ACTIVE") == Some("true") {
        making.report.leave(
            "the DHCP server",
            "secd gives out no addresses",
            "set up Kea, dnsmasq or systemd-networkd; `[dns.local] leases` reads their leases",
        );
    }
    for name in ["custom.list", "hosts"] {
        let Some(bytes) = files.get(name) else { continue };
        for line in text(&files.place(name), bytes)?.lines() {
            making.hosts_line(line, None);
        }
    }
    let mut leases = Vec::new();
    for (name, bytes) in files.dnsmasq() {
        if MADE.iter().any(|made| name.ends_with(made)) {
            continue;
        }
        let text = text(&files.place(name), bytes)?;
        let is_lease = |line: &&str| line.trim_start().starts_with("dhcp-host=");
        leases.extend(
            text.lines().filter(is_lease).map(|line| line.trim_start()["dhcp-host=".len()..].to_owned()),
        );
        making.dnsmasq_lines(name, text.lines().filter(|line| !is_lease(line)));
    }
    making.static_leases(&leases);
    Ok(())
}

/// `KEY=value` lines.
fn pairs(files: &Files, name: &str) -> Result<BTreeMap<String, String>, ImportError> {
    let Some(bytes) = files.get(name) else { return Ok(BTreeMap::new()) };
    let lines = text(&files.place(name), bytes)?.lines().filter(|line| !line.trim_start().starts_with('#'));
    let pair = |line: &str| {
        let (key, value) = line.split_once('=')?;
        Some((key.trim().to_owned(), value.trim().trim_matches('"').to_owned()))
    };
    Ok(lines.filter_map(pair).collect())
}
