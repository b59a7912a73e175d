//! The languages of domain lists, found line by line, so that files may mix them:
//!
//! | line | what it says |
//! |---|---|
//! | `0.0.0.0 ads.example more.example` (also `127.0.0.1`, `::`, `::1`) | blocks exactly these names |
//! | `ads.example` | blocks exactly this name |
//! | `*.ads.example` | blocks the name and everything below it, as lists of wildcards mean it |
//! | `\|\|ads.example^`, `@@…`, `/regex/`, `$modifiers` | adblock rules for DNS; see [`adblock`] |
//! | `address=/ads.example/`, `server=`, `local=` | dnsmasq; see [`dnsmasq`] |
//! | `ads.example CNAME .` | a zone file of response policies; see [`rpz`] |
//! | `(^\|\.)ads[0-9]+\.;querytype=A` | Pi-hole's expressions; see [`pihole`] |
//! | `# …`, `! …`, `; …`, `[Adblock Plus 2.0]` | nothing |
//!
//! Hosts and plain lines name hosts, so they are exact, as in Pi-hole. What a resolver cannot carry out (paths, element
//! hiding, modifiers it does not know) is rejected with its reason, never read as something wider.

pub(crate) mod adblock;
pub(crate) mod dnsmasq;
mod modifiers;
pub(crate) mod name;
pub(crate) mod pihole;
pub(crate) mod rpz;

use model::Name;
use std::{collections::HashMap, net::IpAddr};

use crate::{
    Format,
    asked::{Condition, is_within},
    limits::{
        MAX_CONDITIONED, MAX_EXTRAS, MAX_LINE_BYTES, MAX_REGEX_STATES, MAX_REGEX_TOGETHER, MAX_REGEX_TOTAL,
    },
    regexes::{self, Placing},
    report::Refusal,
    rule::{Pattern, Rule, Shape},
    set::DomainKind,
    text::{self, Line},
};

/// Reads the lines of one file, in order: some say what the lines after them mean.
pub(crate) struct Reader<'a> {
    /// The one language of the file; none if each line says its own.
    only: Option<Language>,
    zone: rpz::Zone,
    /// Names that no entry may block.
    own: &'a [Name],
    spent: Spent,
    /// Entries with conditions by their names; a file with more names than there may be such entries is refused.
    conditioned: HashMap<Name, usize>,
}

/// What the expressions of a file have cost so far.
#[derive(Default)]
struct Spent {
    /// Bytes of automata that were made, also of those that were too large.
    automata: usize,
    /// Of these, those that every name is held against.
    together: usize,
    placing: Placing,
}

/// The language of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Language {
    Hosts,
    Adblock,
    Dnsmasq,
    Zone,
    Regex,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(format: &Format, own: &'a [Name]) -> Self {
        let only = match format {
            Format::Hosts => Some(Language::Hosts),
            Format::Adblock => Some(Language::Adblock),
            Format::Dnsmasq => Some(Language::Dnsmasq),
            Format::Rpz => Some(Language::Zone),
            Format::Regex => Some(Language::Regex),
            Format::Auto | Format::Plain | Format::Score | Format::Csv { .. } | Format::Json { .. } => None,
        };
        Self {
            only,
            zone: rpz::Zone::new(only == Some(Language::Zone)),
            own,
            spent: Spent::default(),
            conditioned: HashMap::new(),
        }
    }

    /// Whether the lines read so far are those of a zone file.
    pub(crate) fn is_zone(&self) -> bool {
        self.zone.is_open()
    }

    /// Reads a line, gives each entry of it to `take` and each part that cannot be read to `reject`.
    pub(crate) fn read(
        &mut self,
        line: Line<'_>,
        mut take: impl FnMut(Rule),
        mut reject: impl FnMut(&[u8], Refusal),
    ) {
        let bytes = line.text;
        let is_regex = self.only == Some(Language::Regex);
        if if is_regex { matches!(bytes, [] | [b'#', ..]) } else { text::is_comment(bytes) } {
            return;
        }
        if line.too_long {
            return reject(bytes, format!("the line is longer than {MAX_LINE_BYTES} bytes").into());
        }
        let Ok(text) = str::from_utf8(bytes) else {
            return reject(bytes, "not UTF-8 text".into());
        };
        let language = self.only.unwrap_or_else(|| self.language(text, line.indented));
        let (own, spent, conditioned) = (self.own, &mut self.spent, &mut self.conditioned);
        let mut take =
            |part: &[u8], rule: Rule, reject: &mut dyn FnMut(&[u8], Refusal)| match guard(&rule, own, spent)
                .and_then(|()| few(&rule, conditioned))
            {
                Ok(()) => take(rule),
                Err(refusal) => reject(part, refusal),
            };
        let mut one = |rule: Result<Rule, Refusal>| match rule {
            Ok(rule) => take(bytes, rule, &mut reject),
            Err(refusal) => reject(bytes, refusal),
        };
        match language {
            Language::Adblock if is_bare(text) => one(bare(text)),
            Language::Adblock => one(adblock::read(text)),
            Language::Regex => one(pihole::read(text)),
            Language::Dnsmasq => dnsmasq::read(text, one),
            Language::Zone => match self.zone.read(text, line.indented) {
                Ok(Some(rule)) => one(Ok(rule)),
                Ok(None) => {}
                Err(refusal) => one(Err(refusal)),
            },
            Language::Hosts => hosts(text, |part, rule| match rule {
                Ok(rule) => take(part, rule, &mut reject),
                Err(refusal) => reject(part, refusal),
            }),
        }
    }

    /// What the line looks like.
    fn language(&self, text: &str, indented: bool) -> Language {
        if self.zone.continues(text, indented) {
            return Language::Zone;
        }
        if text.starts_with("@@") || text.starts_with(['|', '/']) {
            return Language::Adblock;
        }
        if dnsmasq::is_line(text) {
            return Language::Dnsmasq;
        }
        if rpz::is_line(text) {
            return Language::Zone;
        }
        if pihole::is_line(text) {
            return Language::Regex;
        }
        Language::Hosts
    }
}

/// Whether an adblock file means a host by this line: AdGuard reads a name alone as one.
fn is_bare(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_') || byte >= 0x80)
}

fn bare(text: &str) -> Result<Rule, Refusal> {
    match name::read(text)? {
        Some(name) => Ok(Rule::plain(DomainKind::Block, name, Shape::Exact)),
        None => Err("a name of the machine itself".into()),
    }
}

/// Names alone, with `*.`, or behind an address.
fn hosts<'t>(text: &'t str, mut give: impl FnMut(&'t [u8], Result<Rule, Refusal>)) {
    let whole = text.as_bytes();
    if let Some(why) = misread(text) {
        return give(whole, Err(why.into()));
    }
    let text = text.split_once('#').map_or(text, |(before, _)| before);
    let mut words = text.split_ascii_whitespace();
    let Some(first) = words.next() else { return };
    // `fe80::1%lo0 localhost` stands in the hosts file of macOS.
    let Ok(address) = first.split('%').next().unwrap_or(first).parse::<IpAddr>() else {
        if words.next().is_some() {
            let why = "more than one word: write one name a line, or `0.0.0.0 name …`";
            return give(whole, Err(why.into()));
        }
        let (first, shape) = match first.strip_prefix("*.") {
            Some(name) => (name, Shape::Whole),
            None => (first, Shape::Exact),
        };
        return match name::read(first) {
            Ok(Some(name)) => give(whole, Ok(Rule::plain(DomainKind::Block, name, shape))),
            Ok(None) => {}
            Err(why) => give(whole, Err(why.into())),
        };
    };
    let mut named = false;
    for word in words {
        named = true;
        match name::read(word) {
            Ok(None) => {}
            Ok(Some(_)) if !(address.is_unspecified() || address.is_loopback()) => {
                let why = format!("points to {address}: a blocked name points to 0.0.0.0 or ::");
                give(word.as_bytes(), Err(why.into()));
            }
            Ok(Some(name)) => {
                give(word.as_bytes(), Ok(Rule::plain(DomainKind::Block, name, Shape::Exact)));
            }
            Err(why) => give(word.as_bytes(), Err(why.into())),
        }
    }
    if !named {
        let why = "an address without a name: address lists have kind = \"addresses\"";
        give(whole, Err(why.into()));
    }
}

/// Lines of other languages that would be misread as names.
fn misread(text: &str) -> Option<String> {
    if !text.bytes().any(|byte| matches!(byte, b'#' | b'/' | b'$' | b'*' | b'^')) {
        return None;
    }
    if ["##", "#@#", "#?#", "#$#"].iter().any(|mark| text.contains(mark)) {
        return Some("element hiding is nothing a resolver can do".into());
    }
    if text.contains("://") {
        return Some("a URL: write the name alone".into());
    }
    if text.contains(['$', '^']) {
        return Some("not a rule about a whole domain: write `||name^`, and modifiers behind it".into());
    }
    if text.strip_prefix("*.").unwrap_or(text).contains('*') {
        return Some("a wildcard stands for whole labels at the beginning, as in `*.ads.example`; write `||ads*.example^` for others".into());
    }
    None
}

/// Refuses more entries with conditions about one name than a question may be held against.
fn few(rule: &Rule, conditioned: &mut HashMap<Name, usize>) -> Result<(), Refusal> {
    let (Pattern::Name(name, _), Some(_)) = (&rule.pattern, &rule.condition) else { return Ok(()) };
    let is_full = conditioned.len() == MAX_EXTRAS;
    match conditioned.get_mut(name) {
        Some(count) if *count == MAX_CONDITIONED => {
            return Err(format!("`{name}` has {MAX_CONDITIONED} entries with conditions before it").into());
        }
        Some(count) => *count += 1,
        None if is_full => {}
        None => drop(conditioned.insert(name.clone(), 1)),
    }
    Ok(())
}

/// Refuses what would do great harm: a public suffix, everything, the resolver's own upstreams.
fn guard(rule: &Rule, own: &[Name], spent: &mut Spent) -> Result<(), Refusal> {
    match &rule.pattern {
        Pattern::Name(name, shape) => {
            if *shape != Shape::Exact && name::is_public_suffix(name) {
                return Err(Refusal::Suffix(format!(
                    "`{name}` is a public suffix, below which names are registered: write a name below it"
                )));
            }
            if rule.kind == DomainKind::Block && !rule.takes_back {
                let hit = own.iter().find(|own| {
                    own == &name || (*shape != Shape::Exact && is_within(own.as_str(), name.as_str()))
                });
                if let Some(own) = hit {
                    return Err(Refusal::Own(format!("it would block `{own}`, the resolver's own upstream")));
                }
            }
            Ok(())
        }
        Pattern::Regex(expression) => {
            const FULL: &str = "the expressions before it are as many as a list may hold";
            const COMMON: &str = "every name would be held against it, as against those before it, which are as many as \
                may be: write letters into it that few of them have";
            if spent.automata > MAX_REGEX_TOTAL {
                return Err(FULL.into());
            }
            let checked = regexes::check(&expression.regex, expression.invert);
            spent.automata += checked.as_ref().map_or(MAX_REGEX_STATES, |checked| checked.bytes);
            let checked = checked?;
            if spent.automata > MAX_REGEX_TOTAL {
                return Err(FULL.into());
            }
            if spent.placing.place(checked.choices).is_none() {
                if spent.together + checked.bytes > MAX_REGEX_TOGETHER {
                    return Err(COMMON.into());
                }
                spent.together += checked.bytes;
            }
            if checked.matches_everything && !rule.condition.as_deref().is_some_and(Condition::is_narrow) {
                return Err(Refusal::Everything("it matches every name: write one that says which".into()));
            }
            let of = own.iter().map(Name::as_str);
            if rule.kind == DomainKind::Block
                && !own.is_empty()
                && !expression.invert
                && regexes::matches_any(&expression.regex, of)
            {
                return Err(Refusal::Own("it would block the resolver's own upstreams".into()));
            }
            Ok(())
        }
        Pattern::Address(net) => {
            let least = if net.addr().is_ipv4() {
                crate::limits::MIN_PREFIX_V4
            } else {
                crate::limits::MIN_PREFIX_V6
            };
            if net.prefix_len() < least && rule.kind == DomainKind::Block {
                return Err(Refusal::Everything(format!("{net} is wider than a list may say")));
            }
            Ok(())
        }
    }
}
