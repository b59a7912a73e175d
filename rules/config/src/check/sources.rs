//! Lists, the GeoIP database and sets of signatures.

use ::lists::{
    Format, GroupSet,
    catalogue::{CatalogueKind, Entry},
};

use super::{dns, fetch, outputs};
use crate::{
    checked::{Geoip, ListSource, RuleSource},
    draft::{Fetch, ListDraft, ListKind, RuleSourceDraft},
    error::{Report, nearest, quoted},
    located::Located,
};

/// Sets of signatures that are fetched; a config with more is refused.
const MOST_RULE_SOURCES: usize = 64;

pub(super) fn lists(
    drafts: &[Located<ListDraft>],
    groups: &[&str],
    report: &mut Report<'_>,
) -> Vec<ListSource> {
    let most = abi::MAX_LISTS as usize;
    if let Some(first_over) = drafts.get(most) {
        report.add(
            first_over.at,
            format!("the file has {} lists", drafts.len()),
            format!("write at most {most}; lists of one kind can be put into one file"),
        );
    }
    super::unique("list", drafts.iter().map(|draft| &draft.name), report);
    drafts.iter().take(most).map(|draft| list(draft, groups, report)).collect()
}

fn list(draft: &Located<ListDraft>, groups: &[&str], report: &mut Report<'_>) -> ListSource {
    let fetch = draft.fetch();
    let this = if draft.name.is_empty() {
        "this list".to_owned()
    } else {
        format!("the list {}", quoted(&draft.name))
    };
    const KINDS: [CatalogueKind; 2] = [CatalogueKind::Addresses, CatalogueKind::Domains];
    let known = fetch.catalogue.and_then(|name| fetch::catalogue(name, &KINDS, report));
    let told = |key: &str| report.is_misfit(&format!("lists.{key}"));
    let misfits: Vec<&str> = ["path", "url", "catalogue"].into_iter().filter(|key| told(key)).collect();
    let path = Some(draft.path.as_ref());
    fetch::one_source(&this, draft.at, path, &fetch, |key| misfits.contains(&key), report);
    let subscription = if draft.path.is_some() {
        fetch::none_for_a_file(&fetch, report);
        None
    } else {
        fetch::subscription(&fetch, known.as_ref(), report)
    };
    let known_kind = known.as_ref().map(|known| match known.kind {
        CatalogueKind::Domains => ListKind::Domains,
        CatalogueKind::Addresses | CatalogueKind::Rules | CatalogueKind::GeoIp => ListKind::Addresses,
    });
    if let (Some(written), Some(known)) = (&draft.kind, known_kind)
        && known != written.value
    {
        report.add(
            written.at,
            format!("{this} is of another kind in the catalogue"),
            "remove the line: the catalogue says what it lists",
        );
    }
    let kind = draft.kind.as_ref().map(|kind| kind.value).or(known_kind);
    if kind.is_none() && fetch.catalogue.is_none() && !report.is_misfit("lists.kind") {
        report.add(
            draft.at,
            format!("{this} does not say what it lists"),
            "add `kind = \"domains\"` or `kind = \"addresses\"`",
        );
    }
    let kind = kind.unwrap_or_default();
    if kind == ListKind::Domains && draft.min_score.value > 0 {
        report.add(
            draft.min_score.at,
            "`min_score` is for lists of addresses",
            "remove the line, or write `kind = \"addresses\"`",
        );
    }
    if let Some(direction) = &draft.direction
        && kind == ListKind::Domains
    {
        report.add(
            direction.at,
            "`direction` is for lists of addresses: names have none",
            "remove the line, or write `kind = \"addresses\"`",
        );
    }
    let block = draft.block.value.0;
    if kind == ListKind::Domains && !block {
        report.add(
            draft.block.at,
            "`block = false` is for lists of addresses, which rules can name",
            "remove the line, or the list",
        );
    }
    if kind == ListKind::Addresses && draft.allow.value {
        report.add(
            draft.allow.at,
            "`allow` is for lists of names",
            "write the addresses into `allow` at the top of the file, or `kind = \"domains\"`",
        );
    }
    if let Some([first, ..]) = draft.groups.as_deref()
        && kind == ListKind::Addresses
    {
        report.add(
            first.at,
            "`groups` is for lists of names: the packet path knows no groups",
            "remove the line, or write `kind = \"domains\"`",
        );
    }
    ListSource {
        name: draft.name.value.clone(),
        path: draft.path.as_ref().and_then(|path| outputs::path("path", path, report)).unwrap_or_default(),
        subscription,
        kind,
        format: format(draft, kind, known.as_ref(), report),
        block,
        allow: draft.allow.value,
        min_score: min_score(draft, known.as_ref()),
        direction: (draft.direction.as_ref().map(|direction| direction.value))
            .or(known.as_ref().and_then(|known| known.direction))
            .unwrap_or_default(),
        mode: draft.mode,
        groups: draft
            .groups
            .as_ref()
            .map_or(GroupSet::DEFAULT, |texts| dns::groups_of(texts, groups, report)),
        span: report.span(draft.at),
    }
}

fn format(draft: &ListDraft, kind: ListKind, known: Option<&Entry>, report: &mut Report<'_>) -> Format {
    let Some(text) = &draft.format else { return known.map_or(Format::Auto, |known| known.format.clone()) };
    match text.parse::<Format>() {
        Ok(format) => {
            if kind == ListKind::Domains && format.has_score() {
                report.add(
                    text.at,
                    format!("{} has scores, and names have none", quoted(text)),
                    "write the format without its score, or `kind = \"addresses\"`",
                );
            }
            if kind == ListKind::Addresses && format.is_of_names() {
                report.add(
                    text.at,
                    format!("{} is how names are written", quoted(text)),
                    "write how the addresses stand (`auto`, `csv:2`, `json:ip`), or `kind = \"domains\"`",
                );
            }
            format
        }
        Err(error) => {
            let words =
                ["auto", "plain", "hosts", "adblock", "dnsmasq", "rpz", "regex", "score", "csv", "json"];
            let first = text.split(':').next().unwrap_or_default();
            let help = match nearest(first, words) {
                Some(near) if near != first => format!("did you mean `{}`?", text.replacen(first, near, 1)),
                _ => "write `auto`, `plain`, `score`, `csv:2` or `json:ip`; the second may be followed by `:` and the score's"
                    .to_owned(),
            };
            let error = error.to_string();
            report.add(text.at, error.split_once("; ").map_or(error.as_str(), |(what, _)| what), help);
            Format::Auto
        }
    }
}

/// The least score: as written, else as the catalogue says.
fn min_score(draft: &ListDraft, known: Option<&Entry>) -> u32 {
    // What is written stands behind its key.
    let is_written = draft.min_score.at > 0;
    let usual = known.and_then(|known| known.min_score).filter(|_| !is_written);
    usual.unwrap_or(draft.min_score.value)
}

/// A database of countries or systems.
pub(super) fn geoip(
    path: Option<&Located<String>>,
    fetch: &Fetch<'_>,
    report: &mut Report<'_>,
) -> Option<Geoip> {
    if path.is_none() && fetch.url.is_none() && fetch.catalogue.is_none() {
        return None;
    }
    fetch::one_source("the database", 0, Some(path), fetch, |_| false, report);
    if let Some(path) = path {
        fetch::none_for_a_file(fetch, report);
        return outputs::path("path", path, report).map(Geoip::File);
    }
    let known = fetch.catalogue.and_then(|name| fetch::catalogue(name, &[CatalogueKind::GeoIp], report));
    fetch::subscription(fetch, known.as_ref(), report).map(Geoip::Subscription)
}

/// Sets of signatures that are fetched.
pub(super) fn rule_sources(drafts: &[Located<RuleSourceDraft>], report: &mut Report<'_>) -> Vec<RuleSource> {
    if let Some(first_over) = drafts.get(MOST_RULE_SOURCES) {
        report.add(
            first_over.at,
            format!("`signatures.sources` has {} entries", drafts.len()),
            format!("write at most {MOST_RULE_SOURCES}"),
        );
    }
    super::unique("source", drafts.iter().map(|draft| &draft.name), report);
    let mut sources = Vec::new();
    for draft in drafts.iter().take(MOST_RULE_SOURCES) {
        let fetch = draft.fetch();
        let this = format!("the source {}", quoted(&draft.name));
        let told = |key: &str| report.is_misfit(&format!("signatures.sources.{key}"));
        let misfits: Vec<&str> = ["url", "catalogue"].into_iter().filter(|key| told(key)).collect();
        fetch::one_source(&this, draft.at, None, &fetch, |key| misfits.contains(&key), report);
        let known = fetch.catalogue.and_then(|name| fetch::catalogue(name, &[CatalogueKind::Rules], report));
        if let Some(subscription) = fetch::subscription(&fetch, known.as_ref(), report) {
            let (name, mode, span) = (draft.name.value.clone(), draft.mode, report.span(draft.at));
            sources.push(RuleSource { name, subscription, mode, span });
        }
    }
    sources
}
