//! One line of a domain list. The format is found line by line, so files may mix them:
//!
//! | line | what it says |
//! |---|---|
//! | `0.0.0.0 ads.example more.example` (also `127.0.0.1`, `::`, `::1`) | blocks exactly these names |
//! | `ads.example` | blocks exactly this name |
//! | `\|\|ads.example^` | blocks the name and everything below it |
//! | `@@\|\|good.example^` | allows the name and everything below it |
//! | `# …`, `! …`, `; …`, `[Adblock Plus 2.0]` | nothing |
//!
//! Hosts and plain lines name hosts, so they are exact, as in Pi-hole; adblock lines name domains. Adblock rules that a
//! resolver cannot carry out (`$options`, paths, patterns, element hiding) are rejected, never read as something wider.

use model::{Name, NameError};
use std::net::IpAddr;

use crate::{limits::MAX_LINE_BYTES, report::Refusal, set::DomainKind, text};

/// What one name of a line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainLine {
    /// Block or allow.
    pub kind: DomainKind,
    /// The name.
    pub name: Name,
    /// Everything below the name as well.
    pub below: bool,
}

/// Names that hosts files hold for the machine itself; they are no entries and no mistakes.
const HOUSEKEEPING: [&str; 14] = [
    "localhost",
    "localhost.localdomain",
    "localhost4",
    "localhost6",
    "local",
    "broadcasthost",
    "ip6-localhost",
    "ip6-loopback",
    "ip6-localnet",
    "ip6-mcastprefix",
    "ip6-allnodes",
    "ip6-allrouters",
    "ip6-allhosts",
    "0.0.0.0",
];

/// Reads a line, gives each name of it to `take` and each part that cannot be read to `reject`.
pub(crate) fn read(
    line: text::Line<'_>,
    mut take: impl FnMut(DomainLine),
    mut reject: impl FnMut(&[u8], Refusal),
) {
    let bytes = line.text;
    if text::is_comment(bytes) {
        return;
    }
    if line.too_long {
        return reject(bytes, format!("the line is longer than {MAX_LINE_BYTES} bytes").into());
    }
    let Ok(text) = str::from_utf8(bytes) else {
        return reject(bytes, "not UTF-8 text".into());
    };
    if text.starts_with("@@") || text.starts_with('|') {
        return match adblock(text) {
            Ok(entry) => take(entry),
            Err(why) => reject(bytes, why),
        };
    }
    if let Some(why) = unsupported(text) {
        return reject(bytes, why.into());
    }
    let text = text.split_once('#').map_or(text, |(before, _)| before);
    let mut words = text.split_ascii_whitespace();
    let Some(first) = words.next() else { return };
    // `fe80::1%lo0 localhost` stands in the hosts file of macOS.
    let Ok(address) = first.split('%').next().unwrap_or(first).parse::<IpAddr>() else {
        if words.next().is_some() {
            return reject(bytes, "more than one word: write one name a line, or `0.0.0.0 name …`".into());
        }
        return match name(first) {
            Ok(Some(name)) => take(DomainLine { kind: DomainKind::Block, name, below: false }),
            Ok(None) => {}
            Err(why) => reject(bytes, why.into()),
        };
    };
    let mut named = false;
    for word in words {
        named = true;
        match name(word) {
            Ok(None) => {}
            Ok(Some(_)) if !(address.is_unspecified() || address.is_loopback()) => {
                reject(
                    word.as_bytes(),
                    format!("points to {address}: a blocked name points to 0.0.0.0 or ::").into(),
                );
            }
            Ok(Some(name)) => take(DomainLine { kind: DomainKind::Block, name, below: false }),
            Err(why) => reject(word.as_bytes(), why.into()),
        }
    }
    if !named {
        reject(bytes, "an address without a name: address lists have kind = \"addresses\"".into());
    }
}

/// `||name^` and `@@||name^`.
fn adblock(text: &str) -> Result<DomainLine, Refusal> {
    let (kind, rule) = match text.strip_prefix("@@") {
        Some(rule) => (DomainKind::Allow, rule),
        None => (DomainKind::Block, text),
    };
    let wanted = if kind == DomainKind::Allow { "@@||name^" } else { "||name^" };
    if let Some((_, options)) = rule.split_once('$') {
        return Err(
            format!("the option `${options}` is not supported: write `{wanted}` without options").into()
        );
    }
    let Some(rule) = rule.strip_prefix("||") else {
        return Err(format!("not a rule about a whole domain: write `{wanted}`").into());
    };
    let Some(domain) = rule.strip_suffix("^|").or_else(|| rule.strip_suffix('^')) else {
        return Err(format!("does not end in `^`: write `{wanted}`").into());
    };
    if domain.contains(['/', '*', ':', '^', '|']) {
        return Err(format!("a path, port or pattern is nothing a resolver sees: write `{wanted}`").into());
    }
    if let Ok(address) = domain.parse::<IpAddr>() {
        let why = format!("{address} is an address, not a name: address lists have kind = \"addresses\"");
        return Err(why.into());
    }
    match name(domain)? {
        Some(name) if is_public_suffix(&name) => Err(Refusal::Suffix(format!(
            "`{name}` is a public suffix, below which names are registered: write a name below it"
        ))),
        Some(name) => Ok(DomainLine { kind, name, below: true }),
        None => Err("a name of the machine itself".into()),
    }
}

/// Whether everybody registers names below it (`co.uk`). Suffixes of companies (`blogspot.com`) are domains as others.
fn is_public_suffix(name: &Name) -> bool {
    psl::suffix(name.as_str().as_bytes()).is_some_and(|suffix| {
        suffix == name.as_str().as_bytes() && suffix.is_known() && suffix.typ() == Some(psl::Type::Icann)
    })
}

/// Lines of other languages that would be misread as names.
fn unsupported(text: &str) -> Option<&'static str> {
    if text.starts_with('/') {
        return Some("regular expressions are not supported: write `||name^`");
    }
    if text.contains("##") || text.contains("#@#") || text.contains("#?#") || text.contains("#$#") {
        return Some("element hiding is nothing a resolver can do");
    }
    if text.contains("://") {
        return Some("a URL: write the name alone");
    }
    if text.contains('$') {
        return Some("adblock options are not supported: write `||name^`");
    }
    if text.contains('*') {
        return Some("wildcards are not supported: write `||name^` for a name and everything below it");
    }
    None
}

/// A name that may stand in a list; none for a name of the machine itself.
fn name(text: &str) -> Result<Option<Name>, String> {
    if HOUSEKEEPING.iter().any(|known| text.eq_ignore_ascii_case(known)) {
        return Ok(None);
    }
    let name: Name = text.parse().map_err(|error: NameError| error.to_string())?;
    match name.as_str().rsplit_once('.') {
        None => Err("a whole top-level domain: write a name below it".into()),
        Some((_, top)) if top.bytes().all(|byte| byte.is_ascii_digit()) => {
            Err("neither a name nor an address: a top-level domain has letters".into())
        }
        Some(_) => Ok(Some(name)),
    }
}
