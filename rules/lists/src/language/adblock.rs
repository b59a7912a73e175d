//! Adblock rules as far as DNS goes: AdGuard's "DNS filtering rule syntax".
//!
//! | pattern | names |
//! |---|---|
//! | `\|\|ads.example^` | the name and everything below it |
//! | `\|ads.example^` | the name alone |
//! | `\|\|*.ads.example^` | everything below it |
//! | `\|\|ads*.example^` | where `*` is any text |
//! | `/ads[0-9]+/` | that the expression finds |

use model::Name;
use std::net::IpAddr;

use super::{
    modifiers::{self, Modifiers},
    name,
};
use crate::{
    report::Refusal,
    rule::{Expression, Pattern, Rule, Shape},
    set::DomainKind,
};

/// Reads a rule that begins with `@@`, `|` or `/`.
pub(crate) fn read(text: &str) -> Result<Rule, Refusal> {
    let (kind, rule) = match text.strip_prefix("@@") {
        Some(rule) => (DomainKind::Allow, rule),
        None => (DomainKind::Block, text),
    };
    let (pattern, modifiers) = split(rule);
    let mut read = Rule::of(kind, self::pattern(pattern, kind)?);
    if let Some(modifiers) = modifiers {
        let Modifiers { important, takes_back, action, condition } = modifiers::read(modifiers, kind)?;
        read.important = important;
        read.takes_back = takes_back;
        read.action = action;
        read.condition = if condition.is_always() { None } else { Some(Box::new(condition)) };
    }
    Ok(read)
}

/// Pattern and modifiers. A `$` may stand in an expression, where only one behind its `/` ends it.
fn split(rule: &str) -> (&str, Option<&str>) {
    if rule.len() > 1 && rule.starts_with('/') {
        if rule.ends_with('/') {
            return (rule, None);
        }
        return match rule.rfind("/$") {
            Some(at) if at > 0 => (&rule[..=at], Some(&rule[at + 2..])),
            _ => (rule, None),
        };
    }
    match rule.split_once('$') {
        Some((pattern, modifiers)) => (pattern, Some(modifiers)),
        None => (rule, None),
    }
}

fn pattern(text: &str, kind: DomainKind) -> Result<Pattern, Refusal> {
    let wanted = if kind == DomainKind::Allow { "@@||name^" } else { "||name^" };
    if let Some(regex) = text.strip_prefix('/') {
        let Some(regex) = regex.strip_suffix('/').filter(|regex| !regex.is_empty()) else {
            return Err("an expression stands between two slashes: `/ads[0-9]+/`".into());
        };
        return Ok(Pattern::Regex(Expression { regex: regex.into(), written: text.into(), invert: false }));
    }
    let (rule, shape) = match (text.strip_prefix("||"), text.strip_prefix('|')) {
        (Some(rule), _) => (rule, Shape::Whole),
        (None, Some(rule)) => (rule, Shape::Exact),
        (None, None) => return Err(format!("not a rule about a whole domain: write `{wanted}`").into()),
    };
    if rule.contains("://") {
        return Err(format!("a URL is nothing a resolver sees: write `{wanted}`").into());
    }
    let ended = rule.strip_suffix("^|").or_else(|| rule.strip_suffix('^')).or_else(|| rule.strip_suffix('|'));
    let Some(domain) = ended else {
        return Err(format!("does not end in `^`: write `{wanted}`").into());
    };
    if domain.contains(['/', ':', '^', '|']) {
        return Err(format!("a path, port or pattern is nothing a resolver sees: write `{wanted}`").into());
    }
    if let Ok(address) = domain.parse::<IpAddr>() {
        let why = format!("{address} is an address, not a name: address lists have kind = \"addresses\"");
        return Err(why.into());
    }
    if domain.contains('*') {
        return wildcard(domain, text, shape);
    }
    Ok(Pattern::Name(named(domain)?, shape))
}

fn named(domain: &str) -> Result<Name, Refusal> {
    name::read(domain)?.ok_or_else(|| "a name of the machine itself".into())
}

/// A pattern with `*` in it.
fn wildcard(domain: &str, text: &str, shape: Shape) -> Result<Pattern, Refusal> {
    if let Some(below) = domain.strip_prefix("*.").filter(|below| !below.contains('*')) {
        return Ok(Pattern::Name(named(below)?, Shape::Below));
    }
    let mut regex = String::from(if shape == Shape::Exact { "^" } else { r"(?:^|\.)" });
    for letter in domain.chars() {
        match letter {
            '*' => regex.push_str(".*"),
            '.' => regex.push_str(r"\."),
            letter if letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_') => regex.push(letter),
            _ => return Err("a pattern has letters, digits, `-`, `_`, `.` and `*`".into()),
        }
    }
    regex.push('$');
    Ok(Pattern::Regex(Expression { regex: regex.into(), written: text.into(), invert: false }))
}
