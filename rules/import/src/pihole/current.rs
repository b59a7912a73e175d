//! The settings of Pi-hole 6: `pihole.toml`. It holds every setting, those at their default as well; only what a person
//! changed says something.

use toml::{Table, Value};

use super::Making;
use crate::{Files, ImportError, error::text, limits::MAX_TEXT_BYTES};

/// Settings that have no counterpart: where, the default, why and what to do.
const LEFT: [(&str, &str, &str, &str); 12] = [
    ("dns.CNAMEdeepInspect", "true", "every alias is looked at", "nothing"),
    ("dns.EDNS0ECS", "true", "clients are told by their own address", "nothing"),
    ("dns.ignoreLocalhost", "false", "the router's own questions are told as well", "nothing"),
    ("dns.analyzeOnlyAandAAAA", "false", "questions of all types are told", "nothing"),
    (
        "dns.queryLogging",
        "true",
        "questions are kept in the store",
        "write `[dns.log] days = 0` to keep none",
    ),
    ("dns.listeningMode", "LOCAL", "secd answers on the addresses that are named", "see `dns.listen`"),
    ("dns.port", "53", "secd answers on the addresses that are named", "see `dns.listen`"),
    ("dns.hostRecord", "", "it names the old machine", "add it under `[dns.records]` if it is still there"),
    (
        "dns.specialDomains.mozillaCanary",
        "true",
        "the name is always answered so that Firefox asks here",
        "nothing",
    ),
    (
        "dns.specialDomains.iCloudPrivateRelay",
        "true",
        "the names are always answered so that Apple devices ask here",
        "nothing",
    ),
    ("dns.cache.optimizer", "3600", "answers that have expired are kept for a day", "see `dns.serve_stale`"),
    (
        "dhcp.active",
        "false",
        "secd gives out no addresses",
        "set up Kea, dnsmasq or systemd-networkd; `[dns.local] leases` reads their leases",
    ),
];

/// Takes over `pihole.toml` and the files that go with it.
pub(super) fn read(files: &Files, making: &mut Making) -> Result<(), ImportError> {
    let file = files.place("pihole.toml");
    let bytes = files.get("pihole.toml").unwrap_or_default();
    if bytes.len() > MAX_TEXT_BYTES {
        let what = format!("has more than {MAX_TEXT_BYTES} bytes");
        return Err(ImportError::new(&file, what, "give pihole.toml as Pi-hole wrote it"));
    }
    let text = text(&file, bytes)?;
    let table: Table = text.parse().map_err(|error: toml::de::Error| {
        let line = error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        let what = format!("not valid TOML: {}", error.message());
        ImportError { line, ..ImportError::new(&file, what, "take the file as Pi-hole wrote it") }
    })?;
    let settings = Tree { file: &file, table: &table };
    for server in settings.texts("dns.upstreams")? {
        making.upstream(&server);
    }
    names(&settings, files, making)?;
    answers(&settings, making)?;
    if let Some(days) = settings.number("database.maxDBdays")?.filter(|days| *days != 91) {
        making.settings.log_days = Some(u64::try_from(days).unwrap_or(0).min(3650));
    }
    making.privacy_level(settings.number("misc.privacylevel")?.unwrap_or(0));
    making.static_leases(&settings.texts("dhcp.hosts")?);
    let lines = settings.texts("misc.dnsmasq_lines")?;
    making.dnsmasq_lines("misc.dnsmasq_lines", lines.iter().map(String::as_str));
    if settings.flag("misc.etc_dnsmasq_d")?.unwrap_or(false) {
        for (name, bytes) in files.dnsmasq() {
            let text = crate::error::text(&files.place(name), bytes)?.to_owned();
            making.dnsmasq_lines(name, text.lines());
        }
    }
    for (key, default, why, help) in LEFT {
        if let Some(value) = settings.get(key).map(shown).filter(|value| value != default) {
            making.report.leave(format!("`{key} = {value}`"), why, help);
        }
    }
    Ok(())
}

/// Local names and where others are known.
fn names(settings: &Tree<'_>, files: &Files, making: &mut Making) -> Result<(), ImportError> {
    // A text at first, a table since Pi-hole 6.3.
    let domain = match settings.get("dns.domain") {
        Some(Value::Table(_)) => settings.text("dns.domain.name")?,
        _ => settings.text("dns.domain")?,
    };
    let domain = domain.filter(|domain| !domain.is_empty());
    let behind = domain.clone().filter(|_| settings.flag("dns.expandHosts").ok().flatten().unwrap_or(false));
    making.settings.domain = domain;
    for line in settings.texts("dns.hosts")? {
        making.hosts_line(&line, behind.as_deref());
    }
    if let Some(bytes) = files.get("hosts") {
        let text = text(&files.place("hosts"), bytes)?.to_owned();
        for line in text.lines() {
            making.hosts_line(line, behind.as_deref());
        }
    }
    for line in settings.texts("dns.cnameRecords")? {
        making.alias_line(&line);
    }
    for line in settings.texts("dns.revServers")? {
        let parts: Vec<&str> = line.split(',').map(str::trim).collect();
        match parts.as_slice() {
            ["true", network, server, rest @ ..] => {
                making.reverse_server(network, server, rest.first().copied().unwrap_or_default());
            }
            ["false", ..] => making.report.leave(
                format!("conditional forwarding `{line}`"),
                "switched off in Pi-hole",
                "write it as `[[dns.forwards]]` if you want it",
            ),
            _ => making.report.leave(
                format!("conditional forwarding `{line}`"),
                "it is not `true,network,server,domain`",
                "write it as `[[dns.forwards]]`",
            ),
        }
    }
    Ok(())
}

/// How names are answered.
fn answers(settings: &Tree<'_>, making: &mut Making) -> Result<(), ImportError> {
    making.settings.dnssec = settings.flag("dns.dnssec")?.filter(|dnssec| *dnssec);
    if settings.flag("dns.blocking.active")? == Some(false) {
        making.settings.observe = true;
        making.report.translate("blocking is switched off", "`mode = \"observe\"` under `[dns]`");
    }
    let chosen = |family: &str| -> Result<Option<String>, ImportError> {
        let forced = settings.flag(&format!("dns.reply.blocking.force{}", &family[3..]))? == Some(true);
        let address = settings.text(&format!("dns.reply.blocking.{family}"))?;
        Ok(address.filter(|address| forced && !address.is_empty()))
    };
    let (v4, v6) = (chosen("IPv4")?, chosen("IPv6")?);
    let mode = settings.text("dns.blocking.mode")?;
    making.blocking_mode(mode.as_deref().unwrap_or("NULL"), v4.as_deref(), v6.as_deref());
    let number = |key: &str, default: i64| -> Result<Option<u64>, ImportError> {
        Ok(settings
            .number(key)?
            .filter(|value| *value != default)
            .and_then(|value| u64::try_from(value).ok()))
    };
    making.settings.block_ttl = number("dns.blockTTL", 2)?.map(|seconds| seconds.min(86_400));
    making.settings.cache_entries = number("dns.cache.size", 10_000)?.map(|size| size.min(1_000_000));
    let limit =
        |key: &str| settings.number(key).map(|value| value.and_then(|value| u64::try_from(value).ok()));
    if let (Some(count), Some(interval)) = (limit("dns.rateLimit.count")?, limit("dns.rateLimit.interval")?) {
        making.rate(count, interval);
    }
    Ok(())
}

/// A value as the report shows it.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The settings, asked for by path.
struct Tree<'a> {
    file: &'a str,
    table: &'a Table,
}

impl Tree<'_> {
    fn get(&self, path: &str) -> Option<&Value> {
        let mut parts = path.split('.');
        let mut value = self.table.get(parts.next()?)?;
        for part in parts {
            value = value.as_table()?.get(part)?;
        }
        Some(value)
    }

    fn wrong(&self, path: &str, wanted: &str) -> ImportError {
        let what = format!("`{path}` is not {wanted}");
        ImportError::new(self.file, what, "take the file as Pi-hole 6 wrote it")
    }

    fn text(&self, path: &str) -> Result<Option<String>, ImportError> {
        self.get(path)
            .map(|value| value.as_str().map(str::to_owned).ok_or_else(|| self.wrong(path, "text")))
            .transpose()
    }

    fn number(&self, path: &str) -> Result<Option<i64>, ImportError> {
        self.get(path)
            .map(|value| value.as_integer().ok_or_else(|| self.wrong(path, "a whole number")))
            .transpose()
    }

    fn flag(&self, path: &str) -> Result<Option<bool>, ImportError> {
        self.get(path)
            .map(|value| value.as_bool().ok_or_else(|| self.wrong(path, "`true` or `false`")))
            .transpose()
    }

    fn texts(&self, path: &str) -> Result<Vec<String>, ImportError> {
        let Some(value) = self.get(path) else { return Ok(Vec::new()) };
        let wrong = || self.wrong(path, "a list of texts");
        let list = value.as_array().ok_or_else(wrong)?;
        list.iter().map(|value| value.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
    }
}
