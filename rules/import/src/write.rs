//! Settings as text for `secd.toml`.

use std::fmt::Write as _;

use crate::{
    Import,
    names::acts,
    settings::{Client, Group, OwnList, Settings, Subscription},
};

impl Import {
    /// The settings as config text of their own. `folder` is where the files of own rules are to be, an absolute path.
    #[must_use]
    pub fn fragment(&self, folder: &str) -> String {
        let mut text = format!("# {}, by `secctl import {}`.\n", self.report.source, self.settings.program);
        self.settings.write(&mut text, folder);
        text
    }
}

impl Settings {
    // Writing to a string does not fail.
    fn write(&self, text: &mut String, folder: &str) {
        let before = text.len();
        self.answers(text);
        if text.len() > before {
            text.insert_str(before, "\n[dns]\n");
        }
        if let Some(domain) = &self.domain {
            let _ = writeln!(text, "\n[dns.local]\ndomain = {}", quoted(domain));
        }
        if let Some(days) = self.log_days {
            let _ = writeln!(text, "\n[dns.log]\ndays = {days}");
        }
        for schedule in &self.schedules {
            let _ = writeln!(text, "\n[schedules.{}]", schedule.name);
            let _ = writeln!(text, "days = {}", list(&schedule.days));
            let _ = writeln!(text, "from = {}\nto = {}", quoted(&schedule.from), quoted(&schedule.to));
            if let Some(zone) = &schedule.zone {
                let _ = writeln!(text, "zone = {}", quoted(zone));
            }
        }
        for group in &self.groups {
            write_group(text, group);
        }
        for client in &self.clients {
            write_client(text, client);
        }
        if !self.records.is_empty() {
            text.push_str("\n[dns.records]\n");
            for (name, values) in &self.records {
                let _ = writeln!(text, "{} = {}", quoted(name), list(values));
            }
        }
        for forward in &self.forwards {
            let _ = writeln!(text, "\n[[dns.forwards]]\nnames = {}", list(&forward.names));
            let _ = writeln!(text, "to = {}", list(&forward.to));
        }
        for own in &self.own {
            write_own(text, own, folder);
        }
        for subscription in &self.subscriptions {
            write_subscription(text, subscription);
        }
    }

    /// The keys of `[dns]` itself.
    fn answers(&self, text: &mut String) {
        let mut key = |key: &str, value: String| {
            let _ = writeln!(text, "{key} = {value}");
        };
        if !self.upstreams.is_empty() {
            key("upstreams", list(&self.upstreams));
        }
        if let Some(order) = self.order {
            key("upstream_order", quoted(order));
        }
        if !self.bootstrap.is_empty() {
            key("bootstrap", list(&self.bootstrap));
        }
        if let Some(dnssec) = self.dnssec {
            key("dnssec", dnssec.to_string());
        }
        if self.observe {
            key("mode", quoted("observe"));
        }
        if let Some(blocking) = self.blocking {
            key("blocking", quoted(&blocking.to_string()));
        }
        for (name, seconds) in [
            ("block_ttl", self.block_ttl),
            ("min_ttl", self.min_ttl),
            ("max_ttl", self.max_ttl),
            ("serve_stale", self.serve_stale),
        ] {
            if let Some(seconds) = seconds {
                key(name, quoted(&format!("{seconds}s")));
            }
        }
        if let Some(rate) = &self.rate {
            key("rate", quoted(rate));
        }
        if let Some(entries) = self.cache_entries {
            key("cache_entries", entries.to_string());
        }
        if self.safe_search {
            key("safe_search", "true".to_owned());
        }
        if !self.services.is_empty() {
            key("services", list(&self.services));
        }
    }
}

fn write_group(text: &mut String, group: &Group) {
    let _ = writeln!(text, "\n[dns.groups.{}]", group.name);
    if !group.comment.is_empty() {
        let _ = writeln!(text, "comment = {}", quoted(&group.comment));
    }
    if !group.services.is_empty() {
        let _ = writeln!(text, "services = {}", list(&group.services));
    }
    if group.safe_search {
        text.push_str("safe_search = true\n");
    }
    if let Some(schedule) = &group.schedule {
        let _ = writeln!(text, "schedule = {}", quoted(schedule));
    }
}

fn write_client(text: &mut String, client: &Client) {
    let _ = writeln!(text, "\n[dns.clients.{}]", client.name);
    let _ = writeln!(text, "who = {}\ngroups = {}", list(&client.who), list(&client.groups));
    if !client.comment.is_empty() {
        let _ = writeln!(text, "comment = {}", quoted(&client.comment));
    }
}

fn write_own(text: &mut String, own: &OwnList, folder: &str) {
    let _ = writeln!(text, "\n[[lists]]\nname = {}\nkind = \"domains\"", quoted(&own.name));
    let path = format!("{}/{}", folder.trim_end_matches('/'), own.file());
    let _ = writeln!(text, "path = {}\nformat = {}", quoted(&path), quoted(own.format));
    write_groups(text, &own.groups);
}

fn write_subscription(text: &mut String, list: &Subscription) {
    text.push_str("\n[[lists]]");
    if !list.comment.is_empty() {
        let _ = write!(text, " # {}", list.comment);
    }
    let _ =
        writeln!(text, "\nname = {}\nkind = \"domains\"\nurl = {}", quoted(&list.name), quoted(&list.url));
    if list.allows {
        text.push_str("allow = true\n");
    }
    if list.url.starts_with("http://") {
        text.push_str("insecure = true\n");
    }
    if in_a_private_network(&list.url) {
        text.push_str("private = true\n");
    }
    write_groups(text, &list.groups);
}

fn write_groups(text: &mut String, groups: &[String]) {
    if groups != ["default"] {
        let _ = writeln!(text, "groups = {}", list(groups));
    }
}

/// Whether the host of a URL is an address in a private network, or a name without a dot.
fn in_a_private_network(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = rest.split(['/', '?']).next().unwrap_or_default();
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    match host.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V4(address)) => address.is_private() || address.is_loopback(),
        Ok(std::net::IpAddr::V6(address)) => address.is_unique_local() || address.is_loopback(),
        Err(_) => {
            !host.contains('.')
                || [".lan", ".local", ".home.arpa", ".internal"].iter().any(|end| host.ends_with(end))
        }
    }
}

/// A text as TOML writes it, in double quotes and on one line whatever is in it.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if acts(c) => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// A list of texts; long ones over several lines.
fn list<T: AsRef<str>>(texts: &[T]) -> String {
    const WIDTH: usize = 90;
    let texts: Vec<String> = texts.iter().map(|text| quoted(text.as_ref())).collect();
    let line = format!("[{}]", texts.join(", "));
    if line.len() <= WIDTH { line } else { format!("[\n    {},\n]", texts.join(",\n    ")) }
}
