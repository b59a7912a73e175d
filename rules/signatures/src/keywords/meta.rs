//! What a rule says about itself: `msg`, `sid`, `rev`, `gid`, `classtype`, `priority`, `reference`, `metadata`,
//! `target`, `noalert`.

use super::{Draft, Read, no_value, unquoted, value};
use crate::syntax::RawOption;

/// What the family collects.
#[derive(Debug, Default)]
pub(crate) struct Meta {
    pub msg: String,
    pub sid: Option<u32>,
    pub gid: Option<u32>,
    pub rev: Option<u32>,
    pub class: Option<String>,
    pub priority: Option<u8>,
    pub references: Vec<(String, String)>,
    pub metadata: Vec<(String, String)>,
    pub target: Option<&'static str>,
    pub silent: bool,
}

pub(crate) const KEYWORDS: &[(&str, Read)] = &[
    ("msg", msg),
    ("sid", |draft, option| number(option).map(|sid| draft.meta.sid = Some(sid))),
    ("gid", |draft, option| number(option).map(|gid| draft.meta.gid = Some(gid))),
    ("rev", |draft, option| number(option).map(|rev| draft.meta.rev = Some(rev))),
    ("classtype", |draft, option| {
        value(option).map(|class| draft.meta.class = Some(class.to_ascii_lowercase()))
    }),
    ("priority", priority),
    ("reference", reference),
    ("metadata", metadata),
    ("target", target),
    ("noalert", |draft, option| no_value(option).map(|()| draft.meta.silent = true)),
];

fn number(option: &RawOption<'_>) -> Result<u32, String> {
    let text = unquoted(value(option)?).trim();
    text.parse().map_err(|_| format!("`{text}` is no number from 0 to 4294967295"))
}

fn msg(draft: &mut Draft<'_>, option: &RawOption<'_>) -> Result<(), String> {
    let text = unquoted(value(option)?);
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        plain.push(if c == '\\' { characters.next().unwrap_or('\\') } else { c });
    }
    draft.meta.msg = plain;
    Ok(())
}

fn priority(draft: &mut Draft<'_>, option: &RawOption<'_>) -> Result<(), String> {
    let number = number(option)?;
    let priority = u8::try_from(number).ok().filter(|number| *number >= 1);
    draft.meta.priority = Some(priority.ok_or_else(|| format!("`{number}` is not from 1 to 255"))?);
    Ok(())
}

fn reference(draft: &mut Draft<'_>, option: &RawOption<'_>) -> Result<(), String> {
    let (kind, id) = value(option)?.split_once(',').ok_or("write `reference:KIND,ID;`")?;
    draft.meta.references.push((kind.trim().to_owned(), id.trim().to_owned()));
    Ok(())
}

fn metadata(draft: &mut Draft<'_>, option: &RawOption<'_>) -> Result<(), String> {
    for pair in value(option)?.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (key, rest) = pair.split_once(char::is_whitespace).unwrap_or((pair, ""));
        draft.meta.metadata.push((key.to_owned(), rest.trim().to_owned()));
    }
    Ok(())
}

fn target(draft: &mut Draft<'_>, option: &RawOption<'_>) -> Result<(), String> {
    draft.meta.target = Some(match value(option)? {
        "src_ip" => "src_ip",
        "dest_ip" => "dest_ip",
        other => return Err(format!("`{other}` is neither src_ip nor dest_ip")),
    });
    Ok(())
}
