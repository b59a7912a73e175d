//! `/api/info`: what runs here and on what, as far as dashboards ask; and actions, which are not done from here.

use hyper::Method;
use serde_json::{Value, json};
use std::fs;

use super::Api;
use crate::{
    hole::{Blocking, Hole, Refusal, Verdict},
    reply::Reply,
    request::{Request, not_found},
};

impl<H: Hole> Api<H> {
    /// Everything below `/api/info` that needs a session.
    pub(super) async fn info(&self, request: &Request, rest: &[&str]) -> Reply {
        if request.method != Method::GET {
            let hint = "a message goes away with its cause";
            return Refusal::forbidden("Messages are not deleted from here", hint).into();
        }
        match rest {
            ["version"] => self.version(),
            ["ftl"] => self.ftl().await.unwrap_or_else(|reply| reply),
            ["system"] => Reply::ok(json!({ "system": Machine::read().system() })),
            ["host"] => Reply::ok(json!({ "host": host() })),
            ["sensors"] => {
                let sensors = json!({ "list": [], "cpu_temp": null, "hot_limit": 60.0, "unit": "C" });
                Reply::ok(json!({ "sensors": sensors }))
            }
            ["messages"] => self.messages(),
            ["messages", "count"] => Reply::ok(json!({ "count": self.hole.messages().len() })),
            _ => not_found(&request.raw_path),
        }
    }

    /// `GET /api/info/login`, for everybody.
    pub(super) fn login_page(&self) -> Reply {
        let (blocking, _) = self.hole.blocking();
        Reply::ok(json!({ "https_port": 0, "dns": blocking != Blocking::Failure }))
    }

    /// `GET /api/info/version`. The version is that of the API as it is spoken here; which secd speaks it stands in the
    /// branch. Nothing is looked up elsewhere: the newest version is not known, which is Pi-hole's `null`.
    fn version(&self) -> Reply {
        let secd = self.hole.about().version;
        let local = json!({ "branch": format!("secd {secd}"), "version": "v6.0", "hash": secd });
        let remote = json!({ "version": null, "hash": null });
        let mut ftl = local.clone();
        ftl["date"] = Value::Null;
        Reply::ok(json!({ "version": {
            "core": { "local": local.clone(), "remote": remote.clone() },
            "web": { "local": local, "remote": remote.clone() },
            "ftl": { "local": ftl, "remote": remote },
            "docker": { "local": null, "remote": null },
        }}))
    }

    /// `GET /api/info/ftl`.
    async fn ftl(&self) -> Result<Reply, Reply> {
        let clients = self.last_day(0).await?.different_clients;
        let about = self.hole.about();
        let domains = self.hole.domains();
        let of = |verdict| domains.iter().filter(|entry| entry.verdict == verdict).count();
        let entries: u64 =
            self.hole.lists().iter().filter(|list| list.enabled).map(|list| list.entries).sum();
        let uptime = self.hole.now().since(about.started);
        let machine = Machine::read();
        let used = share(about.resident / 1024, machine.field("MemTotal"));
        let since_start = uptime.as_secs_f64().max(1.0);
        Ok(Reply::ok(json!({ "ftl": {
            "database": {
                "gravity": entries,
                "groups": self.hole.groups().len(),
                "lists": self.hole.lists().len(),
                "clients": self.hole.clients().len(),
                "domains": { "allowed": of(Verdict::Allow), "denied": of(Verdict::Deny) },
            },
            "privacy_level": 0,
            "clients": { "total": clients, "active": clients },
            "pid": about.pid,
            "uptime": u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX),
            "%mem": used,
            "%cpu": 100.0 * about.cpu.as_secs_f64() / since_start,
            "allow_destructive": false,
            "dnsmasq": {
                "dns_cache_inserted": about.cache_entries,
                "dns_queries_forwarded": about.forwarded,
                "dns_local_answered": about.from_cache,
                "dns_stale_answered": about.stale,
                "dns_unanswered": about.failed,
            },
        }})))
    }

    /// `GET /api/info/messages`.
    fn messages(&self) -> Reply {
        let messages = self.hole.messages().into_iter().zip(1u64..).map(|(message, id)| {
            json!({
                "id": id,
                "timestamp": message.at.seconds(),
                "type": "secd",
                "plain": message.text,
                "html": escaped(&message.text),
            })
        });
        Reply::ok(json!({ "messages": messages.collect::<Vec<Value>>() }))
    }
}

/// `GET /api/info/client`, for everybody: what a client sent, without what lets it in.
pub(super) fn client(request: &Request) -> Reply {
    let secret = ["cookie", "sid", "x-ftl-sid", "x-ftl-csrf", "x-csrf-token", "authorization"];
    let headers = request.headers.iter().filter(|(name, _)| !secret.contains(&name.as_str()));
    let headers = headers.map(
        |(name, value)| json!({ "name": name.as_str(), "value": String::from_utf8_lossy(value.as_bytes()) }),
    );
    Reply::ok(json!({
        "remote_addr": request.from.to_string(),
        "http_version": "1.1",
        "method": request.method.as_str(),
        "headers": headers.collect::<Vec<Value>>(),
    }))
}

/// Everything below `/api/action`.
pub(super) fn no_action() -> Reply {
    let hint = "`secctl lists refresh` fetches lists; secd forgets answers and neighbours by itself";
    Refusal::forbidden("Actions are not done from here", hint).into()
}

/// Files of proc(5).
struct Machine {
    memory: String,
}

impl Machine {
    fn read() -> Self {
        Self { memory: read("/proc/meminfo") }
    }

    /// KiB.
    fn field(&self, name: &str) -> u64 {
        let value = self.memory.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.and_then(|text| text.trim().trim_end_matches("kB").trim().parse().ok()).unwrap_or(0)
    }

    fn system(&self) -> Value {
        let uptime = read("/proc/uptime");
        let uptime = uptime.split('.').next().and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        let load = read("/proc/loadavg");
        let raw: Vec<f64> = load.split(' ').take(3).filter_map(|text| text.parse().ok()).collect();
        let processes = load.split(' ').nth(3).and_then(|text| text.split_once('/')?.1.parse::<u64>().ok());
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        #[expect(clippy::cast_precision_loss, reason = "a number of cores")]
        let percent: Vec<f64> = raw.iter().map(|load| 100.0 * load / cores as f64).collect();
        let [total, free, available, swap, swap_free] =
            ["MemTotal", "MemFree", "MemAvailable", "SwapTotal", "SwapFree"].map(|name| self.field(name));
        let (used, swap_used) = (total.saturating_sub(available), swap.saturating_sub(swap_free));
        json!({
            "uptime": uptime,
            "memory": {
                "ram": {
                    "total": total, "free": free, "used": used, "available": available,
                    "%used": share(used, total),
                },
                "swap": { "total": swap, "free": swap_free, "used": swap_used, "%used": share(swap_used, swap) },
            },
            "procs": processes,
            "cpu": { "nprocs": cores, "load": { "raw": raw, "percent": percent } },
        })
    }
}

fn host() -> Value {
    let kernel = |name: &str| read(&format!("/proc/sys/kernel/{name}")).trim().to_owned();
    json!({
        "uname": {
            "domainname": kernel("domainname"),
            "machine": std::env::consts::ARCH,
            "nodename": kernel("hostname"),
            "release": kernel("osrelease"),
            "sysname": kernel("ostype"),
            "version": kernel("version"),
        },
        "model": null,
        "dmi": {
            "bios": { "vendor": null },
            "board": { "name": null, "vendor": null, "version": null },
            "product": { "name": null, "version": null, "family": null },
            "sys": { "vendor": null },
        },
    })
}

fn read(file: &str) -> String {
    fs::read_to_string(file).unwrap_or_default()
}

/// Percent; none of nothing.
#[expect(clippy::cast_precision_loss, reason = "shown with few digits")]
pub(super) fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { 100.0 * part as f64 / whole as f64 }
}

fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            c => html.push(c),
        }
    }
    html
}
