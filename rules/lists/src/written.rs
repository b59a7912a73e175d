//! Entries that people write into the config: `dns.allow`, `dns.deny`, and those of groups.

use crate::{
    language::{adblock, name, pihole},
    limits::MAX_LINE_BYTES,
    regexes,
    rule::{Action, Pattern, Rule, Shape},
    set::DomainKind,
};

/// Reads an entry of the config as it stands in a list of what is denied (`Block`) or allowed:
///
/// | entry | names |
/// |---|---|
/// | `ads.example`, `*.ads.example`, `\|\|ads.example^` | the name and everything below it |
/// | `\|ads.example^` | the name alone |
/// | `/ads[0-9]+/` | those that the expression finds (RE2's syntax) |
/// | `(^\|\.)ads[0-9]+\.;querytype=A` | those that the expression finds (Pi-hole's syntax) |
///
/// The modifiers of adblock rules hold as in lists.
///
/// # Errors
/// What is wrong with it and what to write instead.
pub fn check_written(text: &str, kind: DomainKind) -> Result<(), String> {
    read(text, kind).map(drop)
}

pub(crate) fn read(text: &str, kind: DomainKind) -> Result<Rule, String> {
    let text = text.trim();
    if text.len() > MAX_LINE_BYTES {
        return Err(format!("longer than {MAX_LINE_BYTES} bytes"));
    }
    let bare = text.strip_prefix("*.").unwrap_or(text);
    let mut rule = if text.starts_with("@@") {
        if kind == DomainKind::Block {
            return Err("an exception: write it under `allow`".into());
        }
        adblock::read(text)
    } else if text.starts_with(['|', '/']) {
        adblock::read(text)
    } else if pihole::is_line(text) {
        pihole::read(text)
    } else {
        match name::any(bare) {
            Ok(name) => Ok(Rule::plain(kind, name, Shape::Whole)),
            Err(why) => Err(why.into()),
        }
    }
    .map_err(|refusal| refusal.why().to_owned())?;
    if rule.takes_back {
        return Err("`$badfilter` takes back rules of files: write `allow` for an exception".into());
    }
    if kind == DomainKind::Allow && rule.kind == DomainKind::Block {
        if rule.action != Action::Block {
            return Err("an exception has no answer of its own".into());
        }
        rule.kind = DomainKind::Allow;
    }
    if let Pattern::Regex(expression) = &rule.pattern {
        regexes::check(&expression.regex, expression.invert)?;
    }
    Ok(rule)
}
