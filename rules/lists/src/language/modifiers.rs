//! The modifiers of adblock rules that DNS knows: `$important`, `$badfilter`, `$denyallow`, `$dnstype`, `$client`,
//! `$dnsrewrite`. A rule with another one is rejected: it would say more than its author meant.

use ipnet::IpNet;
use std::net::IpAddr;

use super::name;
use crate::{
    answer::{Record, RecordData},
    asked::{Asker, Askers, Condition, Types, type_number},
    report::Refusal,
    rule::Action,
    set::DomainKind,
};

/// Values of one modifier that are taken.
const MAX_VALUES: usize = 256;

pub(super) struct Modifiers {
    pub(super) important: bool,
    pub(super) takes_back: bool,
    pub(super) action: Action,
    pub(super) condition: Condition,
}

/// Reads what stands behind the `$`.
pub(super) fn read(text: &str, kind: DomainKind) -> Result<Modifiers, Refusal> {
    let mut read = Modifiers {
        important: false,
        takes_back: false,
        action: Action::Block,
        condition: Condition::default(),
    };
    for modifier in parts(text, ',') {
        let (key, value) =
            modifier.split_once('=').map_or((modifier, None), |(key, value)| (key, Some(value)));
        match (key.trim(), value.map(str::trim)) {
            ("important", None) => read.important = true,
            ("badfilter", None) => read.takes_back = true,
            ("denyallow", Some(value)) => read.condition.except = names(value)?,
            ("dnstype", Some(value)) => read.condition.types = Some(types(value)?),
            ("client", Some(value)) => read.condition.clients = Some(clients(value)?),
            ("dnsrewrite", value) => match (kind, value.filter(|value| !value.is_empty())) {
                (DomainKind::Allow, None) => read.condition.rewrites_only = true,
                (DomainKind::Allow, Some(_)) => {
                    return Err(
                        "an exception is to every rewrite: write `$dnsrewrite` without a value".into()
                    );
                }
                (DomainKind::Block, None) => {
                    return Err(
                        "`$dnsrewrite` without a value: write an address, a name or `RCODE;TYPE;VALUE`"
                            .into(),
                    );
                }
                (DomainKind::Block, Some(value)) => read.action = rewrite(&unescaped(value))?,
            },
            ("important" | "badfilter", Some(_)) => return Err(format!("`${key}` has no value").into()),
            ("denyallow" | "dnstype" | "client", None) => {
                return Err(format!("`${key}` needs a value").into());
            }
            ("", _) => return Err("an empty modifier".into()),
            (key, _) => {
                return Err(format!(
                    "the modifier `${key}` is not supported: a resolver knows important, badfilter, denyallow, dnstype, client and dnsrewrite"
                )
                .into());
            }
        }
    }
    Ok(read)
}

/// Parts between separators that are neither escaped nor in quotes.
fn parts(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let (mut quote, mut escaped) = (None, false);
        for (at, letter) in text.char_indices() {
            if std::mem::take(&mut escaped) {
                continue;
            }
            match (letter, quote) {
                ('\\', _) => escaped = true,
                ('\'' | '"', None) if at == 0 || text[..at].ends_with(['=', '|', '~']) => {
                    quote = Some(letter)
                }
                (letter, Some(open)) if letter == open => quote = None,
                (letter, None) if letter == separator => {
                    rest = Some(&text[at + separator.len_utf8()..]);
                    return Some(&text[..at]);
                }
                _ => {}
            }
        }
        rest = None;
        Some(text)
    })
}

fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut escaped = false;
    for letter in text.chars() {
        if letter == '\\' && !escaped {
            escaped = true;
            continue;
        }
        escaped = false;
        plain.push(letter);
    }
    plain
}

fn bounded(count: usize, key: &str) -> Result<(), Refusal> {
    if count > MAX_VALUES {
        Err(format!("`${key}` has more than {MAX_VALUES} values").into())
    } else {
        Ok(())
    }
}

fn names(value: &str) -> Result<Box<[model::Name]>, Refusal> {
    let mut all = Vec::new();
    for part in value.split('|') {
        bounded(all.len() + 1, "denyallow")?;
        all.push(name::any(part).map_err(|why| format!("`$denyallow`: `{part}`: {why}"))?);
    }
    Ok(all.into())
}

/// `A|AAAA`: these; `~A|~AAAA`: all but these. Where both stand, those with `~` say nothing more.
fn types(value: &str) -> Result<Types, Refusal> {
    let (mut only, mut never) = (Vec::new(), Vec::new());
    for part in value.split('|') {
        bounded(only.len() + never.len() + 1, "dnstype")?;
        let (into, text) = match part.strip_prefix('~') {
            Some(text) => (&mut never, text),
            None => (&mut only, part),
        };
        into.push(type_number(text).ok_or_else(|| format!("`$dnstype`: `{text}` is no type of record"))?);
    }
    only.retain(|number| !never.contains(number));
    Ok(match only.is_empty() {
        true if never.is_empty() => return Err("`$dnstype` needs a value".into()),
        true => Types { others: true, numbers: never.into() },
        false => Types { others: false, numbers: only.into() },
    })
}

fn clients(value: &str) -> Result<Askers, Refusal> {
    let (mut only, mut never) = (Vec::new(), Vec::new());
    for part in parts(value, '|') {
        bounded(only.len() + never.len() + 1, "client")?;
        let (into, text) = match part.strip_prefix('~') {
            Some(text) => (&mut never, text),
            None => (&mut only, part),
        };
        let quoted = ['\'', '"'].iter().find_map(|&quote| text.strip_prefix(quote)?.strip_suffix(quote));
        let text = unescaped(quoted.unwrap_or(text));
        if text.is_empty() {
            return Err("`$client`: an empty name".into());
        }
        into.push(if let Ok(address) = text.parse::<IpAddr>() {
            Asker::Net(address.to_canonical().into())
        } else if let Ok(net) = text.parse::<IpNet>() {
            Asker::Net(net.trunc())
        } else if text.contains('/') {
            return Err(format!("`$client`: `{text}` is neither a network nor a name").into());
        } else {
            Asker::Name(text.into())
        });
    }
    Ok(Askers { only: only.into(), never: never.into() })
}

/// The value of `$dnsrewrite`: an address, a name, a code, or `RCODE;TYPE;VALUE`.
pub(super) fn rewrite(value: &str) -> Result<Action, Refusal> {
    let answer = |data: RecordData| Action::Answer(vec![Record::from(data)]);
    let mut fields = value.splitn(3, ';').map(str::trim);
    let (code, kind, data) = (fields.next().unwrap_or_default(), fields.next(), fields.next());
    let known = match code.to_ascii_uppercase().as_str() {
        "NOERROR" => Some(Action::NoData),
        "NXDOMAIN" => Some(Action::NxDomain),
        "REFUSED" => Some(Action::Refused),
        "SERVFAIL" | "FORMERR" | "NOTIMP" | "YXDOMAIN" | "NOTAUTH" => {
            return Err(format!(
                "`$dnsrewrite`: the code {code} is not supported: write NXDOMAIN, NOERROR or REFUSED"
            )
            .into());
        }
        _ => None,
    };
    match (known, kind, data) {
        (Some(action), None, _) => Ok(action),
        (Some(Action::NoData), Some(kind), Some(data)) if !kind.is_empty() => {
            let named = |text: &str| name::any(text).map(|name| name.as_str().into());
            RecordData::read(kind, data, &named)
                .map(answer)
                .map_err(|why| format!("`$dnsrewrite`: {why}").into())
        }
        (Some(action), Some(kind), data) if kind.is_empty() && data.is_none_or(str::is_empty) => Ok(action),
        (Some(_), ..) => Err("`$dnsrewrite`: write `NOERROR;TYPE;VALUE`, or `NXDOMAIN;;`".into()),
        (None, Some(_), _) => {
            Err(format!("`$dnsrewrite`: `{code}` is no code: write NOERROR, NXDOMAIN or REFUSED").into())
        }
        (None, None, _) => {
            if let Ok(address) = value.parse::<IpAddr>() {
                return Ok(answer(address.into()));
            }
            let name = name::read(value).map_err(|why| format!("`$dnsrewrite`: `{value}`: {why}"))?;
            let name = name.ok_or("`$dnsrewrite`: a name of the machine itself")?;
            Ok(answer(RecordData::Cname(name.as_str().into())))
        }
    }
}
