//! Lines of dnsmasq's config that say what becomes of a name and everything below it.
//!
//! | line | what it says |
//! |---|---|
//! | `address=/ads.example/0.0.0.0` (also `::`, `127.0.0.1`, `#`) | blocked |
//! | `address=/ads.example/`, `server=/ads.example/`, `local=/ads.example/` | the name does not exist |
//! | `address=/ads.example/192.0.2.1` | this address |
//! | `server=/good.example/#` | an exception |

use std::net::IpAddr;

use super::name;
use crate::{
    answer::{Record, RecordData},
    report::Refusal,
    rule::{Action, Rule, Shape},
    set::DomainKind,
};

/// Whether the line has the form `option=…`, which no name has.
pub(super) fn is_line(text: &str) -> bool {
    text.split_once('=').is_some_and(|(option, _)| {
        !option.is_empty() && option.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
    })
}

/// Gives each entry of a line to `give`.
pub(super) fn read(text: &str, mut give: impl FnMut(Result<Rule, Refusal>)) {
    let Some((option, value)) = text.split_once('=') else {
        return give(Err("no line of dnsmasq's config: write `address=/name/`".into()));
    };
    let value = value.split_once(" #").map_or(value, |(value, _)| value).trim();
    let known = match option.trim() {
        "address" | "server" | "local" => option.trim(),
        other => return give(Err(format!("the option `{other}` says nothing about what is blocked").into())),
    };
    let Some((names, target)) = value.strip_prefix('/').and_then(|value| value.rsplit_once('/')) else {
        return give(Err(format!("write `{known}=/name/`").into()));
    };
    let (kind, action) = match self::target(known, target) {
        Ok(said) => said,
        Err(refusal) => return give(Err(refusal)),
    };
    for text in names.split('/') {
        give(match named(text) {
            Ok(name) => Ok(Rule { action: action.clone(), ..Rule::plain(kind, name, Shape::Whole) }),
            Err(refusal) => Err(refusal),
        });
    }
}

fn target(option: &str, target: &str) -> Result<(DomainKind, Action), Refusal> {
    match (option, target) {
        (_, "") => Ok((DomainKind::Block, Action::NxDomain)),
        ("address", "#") => Ok((DomainKind::Block, Action::Block)),
        ("server", "#") => Ok((DomainKind::Allow, Action::Block)),
        ("address", target) => match target.parse::<IpAddr>() {
            Ok(address) if address.is_unspecified() || address.is_loopback() => {
                Ok((DomainKind::Block, Action::Block))
            }
            Ok(address) => {
                Ok((DomainKind::Block, Action::Answer(vec![Record::from(RecordData::from(address))])))
            }
            Err(_) => Err(format!("`{target}` is no address").into()),
        },
        _ => Err("asks another server: write it under `dns.forwards`".into()),
    }
}

fn named(text: &str) -> Result<model::Name, Refusal> {
    if text == "#" || text.is_empty() {
        return Err(Refusal::Everything("it is about every name: write one that says which".into()));
    }
    let text = text.strip_prefix("*.").or_else(|| text.strip_prefix('.')).unwrap_or(text);
    name::read(text)?.ok_or_else(|| "a name of the machine itself".into())
}
