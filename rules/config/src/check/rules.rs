//! Rules: zones and services by name, in the order of the file.

use model::Action;
use policy::{Rule, Service, Zone, ZoneSet};

use super::{services, zones::RESERVED};
use crate::{
    draft::{RuleAction, RuleDraft},
    error::{Report, listed, nearest, quoted},
    located::Located,
};

/// Zones or services named in one rule; a config with more is refused.
const MOST_NAMES: usize = 64;

pub(super) fn check(
    drafts: &[Located<RuleDraft>],
    zones: &[Zone],
    own: &[Service],
    report: &mut Report<'_>,
) -> Vec<Rule> {
    let most = abi::MAX_RULES as usize;
    if let Some(first_over) = drafts.get(most) {
        report.add(
            first_over.at,
            format!("the file has {} rules", drafts.len()),
            format!("write at most {most}; a rule can name several zones and services"),
        );
    }
    drafts.iter().take(most).zip(0..).map(|(draft, id)| rule(id, draft, zones, own, report)).collect()
}

fn rule(
    id: u16,
    draft: &Located<RuleDraft>,
    zones: &[Zone],
    own: &[Service],
    report: &mut Report<'_>,
) -> Rule {
    let from = zone_set(Side::From, &draft.from, zones, report);
    let to = zone_set(Side::To, &draft.to, zones, report);
    if let Some(first_over) = draft.services.get(MOST_NAMES) {
        report.add(
            first_over.at,
            format!("the rule names {} services", draft.services.len()),
            format!("write at most {MOST_NAMES}, or gather ports in a service of your own"),
        );
    }
    let mut named: Vec<&str> = Vec::new();
    let mut services = Vec::new();
    for text in draft.services.iter().take(MOST_NAMES) {
        if named.contains(&text.as_str()) {
            twice(text, "services", report);
            continue;
        }
        named.push(text);
        services.extend(services::resolve(text, own, report));
    }
    Rule {
        id,
        from: from.into(),
        to: to.into(),
        services,
        action: match draft.action {
            RuleAction::Allow => Action::Pass,
            RuleAction::Drop => Action::Drop,
            RuleAction::Reject => Action::Reject,
        },
        log: draft.log,
        mode: draft.mode,
        comment: super::optional(&draft.comment),
        span: report.span(draft.at),
        ..Rule::default()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    From,
    To,
}

fn zone_set(side: Side, texts: &[Located<String>], zones: &[Zone], report: &mut Report<'_>) -> ZoneSet {
    let key = match side {
        Side::From => "from",
        Side::To => "to",
    };
    if let Some(first_over) = texts.get(MOST_NAMES) {
        report.add(
            first_over.at,
            format!("`{key}` names {} zones", texts.len()),
            format!("write at most {MOST_NAMES}, or `any`"),
        );
    }
    let mut ids = Vec::new();
    let mut named: Vec<&str> = Vec::new();
    let mut any = false;
    for text in texts.iter().take(MOST_NAMES) {
        if named.contains(&text.as_str()) {
            twice(text, key, report);
            continue;
        }
        named.push(text);
        match text.as_str() {
            "any" => any = true,
            "self" => ids.push(abi::ZONE_SELF),
            "multicast" if side == Side::To => ids.push(abi::ZONE_MULTICAST),
            "multicast" => report.add(
                text.at,
                "no flow starts at `multicast`",
                "name the zones of the senders; `multicast` can stand in `to`",
            ),
            name => match zones.iter().find(|zone| zone.name == name) {
                Some(zone) => ids.push(zone.id),
                None if name == "wan" => match zones.iter().find(|zone| zone.wan) {
                    Some(zone) => ids.push(zone.id),
                    None => unknown(text, zones, report),
                },
                None => unknown(text, zones, report),
            },
        }
    }
    if any && texts.len() > 1 {
        report.add(
            texts[0].at,
            format!("`{key}` names `any` and others"),
            format!("write `{key} = [\"any\"]`, or leave `any` out"),
        );
    }
    ids.sort_unstable();
    ids.dedup();
    if any { ZoneSet::Any } else { ZoneSet::Of(ids) }
}

fn twice(text: &Located<String>, key: &str, report: &mut Report<'_>) {
    report.add(text.at, format!("{} stands twice in `{key}`", quoted(text)), "remove one of the two");
}

fn unknown(text: &Located<String>, zones: &[Zone], report: &mut Report<'_>) {
    let names = || zones.iter().map(|zone| zone.name.as_str()).chain(RESERVED);
    let help = match nearest(text, names()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if zones.is_empty() => {
            format!("define it as `[zones.{}]`, or use {}", text.value, listed(RESERVED))
        }
        None => format!("write one of {}", listed(names())),
    };
    report.add(text.at, format!("there is no zone {}", quoted(text)), help);
}
