//! Zone files of response policies (RPZ, draft-vixie-dnsop-dns-rpz): triggers are owner names, actions are records.
//!
//! | record | what it says |
//! |---|---|
//! | `ads.example CNAME .` | the name does not exist |
//! | `ads.example CNAME *.` | no data |
//! | `good.example CNAME rpz-passthru.` | an exception |
//! | `ads.example CNAME rpz-drop.`, `rpz-tcp-only.` | no answer; come back over TCP |
//! | `ads.example A 192.0.2.1` (also AAAA, CNAME, TXT, PTR, MX, SRV, HTTPS) | answered with that |
//! | `*.ads.example …` | the same for everything below it |
//! | `24.0.2.0.192.rpz-ip …` | the same for answers with an address of 192.0.2.0/24 |
//!
//! Triggers by client address and by name server are rejected: groups do the first, and a forwarder does not see the
//! second.

use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::name;
use crate::{
    answer::{Record, RecordData},
    report::Refusal,
    rule::{Action, Pattern, Rule, Shape},
    set::DomainKind,
};

/// Lines of one record in parentheses (the SOA of a zone); one that does not end within them is rejected.
const MAX_RECORD_LINES: u32 = 32;
/// Types whose records are the zone's own affair.
const OWN_AFFAIRS: [&str; 9] =
    ["SOA", "NS", "RRSIG", "NSEC", "NSEC3", "NSEC3PARAM", "DNSKEY", "CDS", "CDNSKEY"];
/// Types that a policy may answer with.
const ANSWERS: [&str; 9] = ["A", "AAAA", "CNAME", "TXT", "PTR", "MX", "SRV", "HTTPS", "SVCB"];
/// Types that are known and rejected by name.
const OTHERS: [&str; 7] = ["DNAME", "NAPTR", "CAA", "TLSA", "DS", "SSHFP", "HINFO"];

/// What lines before say about the ones to come.
#[derive(Debug, Default)]
pub(super) struct Zone {
    is_open: bool,
    /// Every line is a zone's.
    only: bool,
    /// The zone's own name: what stands before it in an owner is the trigger.
    apex: Option<String>,
    origin: Option<String>,
    owner: Option<String>,
    ttl: Option<u32>,
    /// Lines since a parenthesis was opened; 0: none is.
    open_lines: u32,
}

/// A record's parts.
struct Parts<'a> {
    /// None: that of the line before.
    owner: Option<&'a str>,
    ttl: Option<u32>,
    kind: String,
    data: &'a str,
}

/// Whether a line alone looks like a zone's.
pub(super) fn is_line(text: &str) -> bool {
    let directive = text.split_ascii_whitespace().next().unwrap_or_default();
    ["$TTL", "$ORIGIN", "$INCLUDE", "$GENERATE"].iter().any(|known| directive.eq_ignore_ascii_case(known))
        || (directive.parse::<IpAddr>().is_err() && parts(text, false).is_some())
}

impl Zone {
    pub(super) fn new(only: bool) -> Self {
        Self { only, ..Self::default() }
    }

    pub(super) fn is_open(&self) -> bool {
        self.is_open || self.only
    }

    /// Whether this line belongs to a zone because of those before it.
    pub(super) fn continues(&self, text: &str, indented: bool) -> bool {
        self.open_lines > 0 || (self.is_open && indented && parts(text, true).is_some())
    }

    /// Reads a line; none where it is the zone's own affair.
    pub(super) fn read(&mut self, text: &str, indented: bool) -> Result<Option<Rule>, Refusal> {
        let text = uncommented(text);
        if self.open_lines > 0 {
            self.open_lines = if text.contains(')') { 0 } else { self.open_lines + 1 };
            if self.open_lines > MAX_RECORD_LINES {
                self.open_lines = 0;
                return Err(format!("a parenthesis is not closed within {MAX_RECORD_LINES} lines").into());
            }
            return Ok(None);
        }
        if text.is_empty() {
            return Ok(None);
        }
        if let Some(directive) = text.strip_prefix('$') {
            return self.directive(directive).map(|()| None);
        }
        let Some(parts) = parts(text, indented) else {
            return Err("no record of a zone: write `name CNAME .`".into());
        };
        let own_affair = OWN_AFFAIRS.contains(&parts.kind.as_str());
        if parts.kind == "SOA" {
            self.is_open = true;
            if let (None, Some(owner)) = (&self.apex, parts.owner.and_then(|owner| owner.strip_suffix('.')))
                && !owner.is_empty()
            {
                self.apex = Some(owner.to_ascii_lowercase());
            }
        }
        if text.contains('(') && !text.contains(')') && own_affair {
            self.open_lines = 1;
        }
        let owner = match parts.owner {
            Some(owner) => {
                self.owner = Some(owner.to_owned());
                owner.to_owned()
            }
            None => self.owner.clone().ok_or("the first record has no name")?,
        };
        if own_affair {
            return Ok(None);
        }
        let Some(trigger) = self.trigger(&owner)? else { return Ok(None) };
        self.rule(&trigger, &parts).map(Some)
    }

    fn directive(&mut self, text: &str) -> Result<(), Refusal> {
        let mut words = text.split_ascii_whitespace();
        let (directive, value) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        match directive.to_ascii_uppercase().as_str() {
            "TTL" => {
                self.ttl = Some(seconds(value).ok_or_else(|| format!("`{value}` is no time to live"))?);
            }
            "ORIGIN" => {
                let absolute = self.absolute(value);
                let origin = absolute.trim_end_matches('.').to_ascii_lowercase();
                self.origin = if origin.is_empty() { None } else { Some(origin) };
                if self.apex.is_none() {
                    self.apex.clone_from(&self.origin);
                }
            }
            other => return Err(format!("`${other}` is not supported: write the records themselves").into()),
        }
        self.is_open = true;
        Ok(())
    }

    /// A name as it stands, or below the origin.
    fn absolute(&self, text: &str) -> String {
        match (text.strip_suffix('.'), &self.origin) {
            (Some(name), _) => name.to_owned(),
            (None, Some(origin)) if text == "@" => origin.clone(),
            (None, Some(origin)) => format!("{text}.{origin}"),
            (None, None) => text.to_owned(),
        }
    }

    /// The owner without the name of the zone; none for the zone itself.
    fn trigger(&self, owner: &str) -> Result<Option<String>, Refusal> {
        let name = self.absolute(owner).to_ascii_lowercase();
        let Some(apex) = &self.apex else {
            return Ok(if name == "@" { None } else { Some(name) });
        };
        // A file may name its zone in the SOA alone, and write owners below no origin.
        if self.origin.is_none() && !owner.ends_with('.') {
            return Ok(if name == "@" { None } else { Some(name) });
        }
        if name == *apex {
            return Ok(None);
        }
        match name.strip_suffix(apex.as_str()).and_then(|name| name.strip_suffix('.')) {
            Some(trigger) => Ok(Some(trigger.to_owned())),
            None => Err(format!("`{owner}` is outside of the zone `{apex}`").into()),
        }
    }

    fn rule(&self, trigger: &str, parts: &Parts<'_>) -> Result<Rule, Refusal> {
        let pattern = pattern(trigger)?;
        let of = |kind, action| Rule { action, ..Rule::of(kind, pattern.clone()) };
        let block = |action| Ok(of(DomainKind::Block, action));
        if parts.kind == "CNAME" {
            let target = parts.data.trim().to_ascii_lowercase();
            let itself =
                self.absolute(&target).as_str() == trigger || target.strip_suffix('.') == Some(trigger);
            return match target.as_str() {
                "." => block(Action::NxDomain),
                "*." => block(Action::NoData),
                "rpz-passthru." | "rpz-passthru" => Ok(of(DomainKind::Allow, Action::Block)),
                "rpz-drop." | "rpz-drop" => block(Action::Drop),
                "rpz-tcp-only." | "rpz-tcp-only" => block(Action::TcpOnly),
                _ if itself => Ok(of(DomainKind::Allow, Action::Block)),
                rpz if rpz.starts_with("rpz-") => Err(format!("the action `{rpz}` is not known").into()),
                wild if wild.starts_with("*.") => {
                    Err("an alias with the name in front of it is not supported: write the alias itself"
                        .into())
                }
                _ => self.local(parts).and_then(block),
            };
        }
        if OTHERS.contains(&parts.kind.as_str()) {
            return Err(format!("records of type {} are not supported", parts.kind).into());
        }
        self.local(parts).and_then(block)
    }

    fn local(&self, parts: &Parts<'_>) -> Result<Action, Refusal> {
        let named = |text: &str| name::any(&self.absolute(text)).map(|name| name.as_str().into());
        let data = RecordData::read(&parts.kind, parts.data, &named)?;
        Ok(Action::Answer(vec![Record { ttl: parts.ttl.or(self.ttl), data }]))
    }
}

/// Owner, time to live, class, type and data of a record; none if there is no type in its place.
fn parts(text: &str, indented: bool) -> Option<Parts<'_>> {
    let mut rest = text;
    let mut word = || {
        let start = rest.trim_start();
        let end = start.find([' ', '\t']).unwrap_or(start.len());
        let (word, after) = start.split_at(end);
        rest = after;
        if word.is_empty() { None } else { Some(word) }
    };
    let owner = if indented { None } else { Some(word()?) };
    let mut ttl = None;
    for _ in 0..3 {
        let word = word()?;
        if word.eq_ignore_ascii_case("IN") {
            continue;
        }
        let kind = word.to_ascii_uppercase();
        if [&OWN_AFFAIRS[..], &ANSWERS, &OTHERS].iter().any(|types| types.contains(&kind.as_str())) {
            let data = rest.trim();
            return if data.is_empty() { None } else { Some(Parts { owner, ttl, kind, data }) };
        }
        ttl = Some(seconds(word)?);
    }
    None
}

/// Seconds, or `1h30m` (BIND).
fn seconds(text: &str) -> Option<u32> {
    let (mut total, mut number) = (0_u32, None::<u32>);
    for byte in text.bytes() {
        if byte.is_ascii_digit() {
            number = Some(number.unwrap_or(0).checked_mul(10)?.checked_add(u32::from(byte - b'0'))?);
            continue;
        }
        let unit = match byte.to_ascii_lowercase() {
            b's' => 1,
            b'm' => 60,
            b'h' => 3600,
            b'd' => 86_400,
            b'w' => 604_800,
            _ => return None,
        };
        total = total.checked_add(number.take()?.checked_mul(unit)?)?;
    }
    match (number, text.is_empty()) {
        (Some(number), _) => total.checked_add(number),
        (None, false) => Some(total),
        (None, true) => None,
    }
}

/// The line before a `;` that is not in quotes.
fn uncommented(text: &str) -> &str {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if std::mem::take(&mut escaped) => {}
            b'\\' => escaped = true,
            b'"' => quoted = !quoted,
            b';' if !quoted => return text[..at].trim_end(),
            _ => {}
        }
    }
    text
}

fn pattern(trigger: &str) -> Result<Pattern, Refusal> {
    for (kind, why) in [
        ("rpz-client-ip", "clients are told apart by `dns.clients` and groups"),
        ("rpz-nsdname", "a forwarder does not see the name servers of a name"),
        ("rpz-nsip", "a forwarder does not see the name servers of a name"),
    ] {
        if trigger == kind || trigger.strip_suffix(kind).is_some_and(|rest| rest.ends_with('.')) {
            return Err(format!("triggers of the kind {kind} are not supported: {why}").into());
        }
    }
    if let Some(net) = trigger.strip_suffix(".rpz-ip") {
        let net =
            network(net).ok_or_else(|| format!("`{net}` is no network: write `24.0.2.0.192.rpz-ip`"))?;
        return Ok(Pattern::Address(net));
    }
    let (text, shape) = match trigger.strip_prefix("*.") {
        Some(name) => (name, Shape::Below),
        None => (trigger, Shape::Exact),
    };
    if trigger == "*" {
        return Err(Refusal::Everything("it is about every name: write one that says which".into()));
    }
    match name::read(text)? {
        Some(name) => Ok(Pattern::Name(name, shape)),
        None => Err("a name of the machine itself".into()),
    }
}

/// `24.0.2.0.192` and `48.zz.1.db8.2001`: the length of the prefix, and the address backwards.
fn network(text: &str) -> Option<IpNet> {
    let (length, backwards) = text.split_once('.')?;
    let length: u8 = length.parse().ok()?;
    let parts: Vec<&str> = backwards.split('.').rev().collect();
    let address = if let [a, b, c, d] = parts[..]
        && !parts.contains(&"zz")
    {
        let octets = [a, b, c, d].map(|part| part.parse::<u8>().ok());
        let [Some(a), Some(b), Some(c), Some(d)] = octets else { return None };
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    } else {
        let mut written =
            parts.iter().map(|part| if *part == "zz" { "" } else { *part }).collect::<Vec<_>>().join(":");
        // `zz` at an end is `::` there.
        if parts.first() == Some(&"zz") {
            written.insert(0, ':');
        }
        if parts.last() == Some(&"zz") {
            written.push(':');
        }
        IpAddr::V6(written.parse::<Ipv6Addr>().ok()?)
    };
    let net = IpNet::new(address, length).ok()?;
    if net.network() == net.addr() { Some(net) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_stand_backwards() {
        for (text, wanted) in [
            ("24.0.2.0.192", "192.0.2.0/24"),
            ("32.4.3.2.1", "1.2.3.4/32"),
            ("48.zz.1.db8.2001", "2001:db8:1::/48"),
            ("128.1.zz", "::1/128"),
            ("128.8.7.6.5.4.3.2.1", "1:2:3:4:5:6:7:8/128"),
        ] {
            assert_eq!(network(text), Some(wanted.parse().unwrap()), "{text}");
        }
        for wrong in ["24.1.2.0.192", "33.4.3.2.1", "x", "32.4.3.2", "24.zz.zz.1", ""] {
            assert_eq!(network(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn times_as_zones_write_them() {
        assert_eq!(
            ["300", "1h30m", "2d", "", "h", "9x", "99999999999"].map(seconds),
            [Some(300), Some(5400), Some(172_800), None, None, None, None]
        );
    }
}
