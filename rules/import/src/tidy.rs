//! What the config would refuse is found here, with the old program's words: names that stand twice, values out of
//! range, rules that no list can hold.

use lists::{DomainSetBuilder, Format, MAX_WHO, Who};
use model::Name;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use crate::{
    Import,
    limits::{MAX_FORWARDS, MAX_RECORDS, MAX_SERVERS, MAX_VALUES},
    report::Report,
    settings::Settings,
};

/// Takes out what cannot be, tells it, and counts what is left.
pub(crate) fn tidy(settings: &mut Settings, report: &mut Report) {
    if let Some(domain) = settings.domain.take() {
        match domain.parse::<Name>() {
            Ok(domain) => settings.domain = Some(domain.to_string()),
            Err(error) => report.leave(
                format!("the domain `{domain}`"),
                format!("no domain name: {error}"),
                "see `[dns.local] domain`",
            ),
        }
    }
    subscriptions(settings, report);
    records(settings, report);
    forwards(settings, report);
    clients(settings, report);
    own(settings, report);
    for (kind, servers) in
        [("upstreams", &mut settings.upstreams), ("bootstrap servers", &mut settings.bootstrap)]
    {
        if servers.len() > MAX_SERVERS {
            let why = format!("there are at most {MAX_SERVERS}");
            report.leave(format!("{kind} beyond the first {MAX_SERVERS}"), why, "choose those that you want");
            servers.truncate(MAX_SERVERS);
        }
        report.take(kind, servers.len());
    }
    if let (Some(min), Some(max)) = (settings.min_ttl, settings.max_ttl)
        && min > max
    {
        settings.max_ttl = None;
        report.leave(
            format!("a longest time to live of {max} s"),
            "the shortest is longer",
            "see `dns.max_ttl`",
        );
    }
}

impl Import {
    /// Takes out servers that are secd itself, which answers at `own`: a Pi-hole often asked the router for local names.
    pub fn leave_own_servers(&mut self, own: &[SocketAddr]) {
        let Self { settings, report } = self;
        let mut outside = |what: &str, servers: &mut Vec<String>| {
            servers.retain(|server| {
                let address = server.parse::<IpAddr>().map(|address| SocketAddr::new(address, 53));
                let is_own = address.or_else(|_| server.parse()).is_ok_and(|server| own.contains(&server));
                if is_own {
                    report.leave(
                        format!("{what} {server}"),
                        "secd answers there itself: it would ask itself",
                        "names of devices come from `[dns.local] leases` and `[dns.records]` now",
                    );
                }
                !is_own
            });
        };
        outside("upstream", &mut settings.upstreams);
        outside("bootstrap server", &mut settings.bootstrap);
        for forward in &mut settings.forwards {
            outside(&format!("forward of {} to", forward.names.join(", ")), &mut forward.to);
        }
        settings.forwards.retain(|forward| !forward.to.is_empty());
        for (kind, count) in [
            ("upstreams", settings.upstreams.len()),
            ("bootstrap servers", settings.bootstrap.len()),
            ("conditional forwards", settings.forwards.len()),
        ] {
            report.recount(kind, count);
        }
    }
}

fn subscriptions(settings: &Settings, report: &mut Report) {
    for list in &settings.subscriptions {
        if list.url.starts_with("http://") {
            report.translate(
                format!("list {} is not encrypted", list.url),
                "`insecure = true`; try whether it is there by https:// as well",
            );
        }
    }
    let exceptions = settings.subscriptions.iter().filter(|list| list.allows).count();
    report.take("block lists", settings.subscriptions.len() - exceptions);
    report.take("lists of exceptions", exceptions);
}

fn records(settings: &mut Settings, report: &mut Report) {
    let over: Vec<String> = settings.records.keys().skip(MAX_RECORDS).cloned().collect();
    for name in &over {
        settings.records.remove(name);
    }
    if !over.is_empty() {
        let what = crate::report::several("local names", &over);
        report.leave(
            what,
            format!("there are at most {MAX_RECORDS}"),
            "ask a server of your own by `[[dns.forwards]]`",
        );
    }
    for (name, values) in &mut settings.records {
        let alias = values.iter().find(|value| value.starts_with("CNAME ")).cloned();
        if let Some(alias) = alias.filter(|_| values.len() > 1) {
            let others: Vec<String> = values.iter().filter(|value| **value != alias).cloned().collect();
            let what = format!("`{name}`: {}", others.join(", "));
            report.leave(
                what,
                format!("the name has {alias}, beside which nothing else can be"),
                "choose one of the two",
            );
            *values = vec![alias];
        }
        if values.len() > MAX_VALUES {
            report.leave(
                format!("`{name}`: records beyond the first {MAX_VALUES}"),
                format!("a name has at most {MAX_VALUES}"),
                "choose those that you want",
            );
            values.truncate(MAX_VALUES);
        }
    }
    report.take("local names", settings.records.len());
}

fn forwards(settings: &mut Settings, report: &mut Report) {
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    for forward in &mut settings.forwards {
        let to = forward.to.join(", ");
        forward.names.retain(|name| match seen.insert(name.clone(), to.clone()) {
            None => true,
            Some(first) if first == to => false,
            Some(first) => {
                let why = format!("the name is asked at {first} already");
                report.leave(
                    format!("forward of `{name}` to {to}"),
                    why,
                    "write all servers into one forward",
                );
                seen.insert(name.clone(), first);
                false
            }
        });
    }
    settings.forwards.retain(|forward| !forward.names.is_empty());
    if settings.forwards.len() > MAX_FORWARDS {
        let help = "put names with the same servers together";
        report.leave("forwards beyond those there may be", format!("there are at most {MAX_FORWARDS}"), help);
        settings.forwards.truncate(MAX_FORWARDS);
    }
    report.take("conditional forwards", settings.forwards.len());
}

fn clients(settings: &mut Settings, report: &mut Report) {
    let mut seen = BTreeSet::new();
    settings.clients.retain_mut(|client| {
        client.who.retain(|who| {
            let what = || format!("client `{}` as {who}", client.name);
            match who.parse::<Who>() {
                Ok(known) if seen.insert(known.clone()) => return true,
                Ok(_) => report.leave(what(), "another client is that already", "give that one both groups"),
                Err(why) => report.leave(what(), format!("it {why}"), "write a `who` that fits"),
            }
            false
        });
        if client.who.len() > MAX_WHO {
            let what =
                format!("client `{}`: {} more ways to know it", client.name, client.who.len() - MAX_WHO);
            report.leave(what, format!("a client has at most {MAX_WHO}"), "name a network instead");
            client.who.truncate(MAX_WHO);
        }
        !client.who.is_empty()
    });
    report.take("clients", settings.clients.len());
}

/// Own rules that a list cannot hold are told and made comments.
fn own(settings: &mut Settings, report: &mut Report) {
    let program = settings.program;
    for list in &mut settings.own {
        let Ok(format) = list.format.parse::<Format>() else { continue };
        let read = match DomainSetBuilder::inspect_as(list.text.as_bytes(), &format, &[]) {
            Ok(read) => read,
            Err(error) => {
                report.leave(
                    format!("own rules for {}", list.groups.join(", ")),
                    error.to_string(),
                    "write them anew",
                );
                continue;
            }
        };
        let mark = if list.format == "regex" { '#' } else { '!' };
        let refused: BTreeMap<u32, String> =
            read.rejects.iter().map(|reject| (reject.line, reject.why.to_string())).collect();
        let mut text = String::with_capacity(list.text.len());
        for (line, number) in list.text.lines().zip(1..) {
            if let Some(why) = refused.get(&number) {
                text.push_str(&format!("{mark} not taken over: "));
                report.give_back(kind(program, list.format, line));
                report.leave(
                    format!("own rule `{line}`"),
                    why,
                    "it stands as a comment in the list file: write it anew",
                );
            }
            text.push_str(line);
            text.push('\n');
        }
        list.text = text;
        let more = read.rejected.saturating_sub(read.rejects.len() as u64);
        if more > 0 {
            report.leave(
                format!("{more} more own rules"),
                "they cannot be read, for reasons like those above",
                "`secctl lists` names them when the list is there",
            );
        }
    }
}

/// What a rule was counted as.
pub(crate) fn kind(program: &str, format: &str, rule: &str) -> &'static str {
    match (program, format, rule) {
        ("adguard", ..) => "own rules",
        (_, "regex", rule) if rule.starts_with("@@") => "allowing regular expressions",
        (_, "regex", _) => "denying regular expressions",
        (_, _, rule) if rule.starts_with("@@/") => "allowing regular expressions",
        (_, _, rule) if rule.starts_with("@@") => "allowed names",
        _ => "denied names",
    }
}
