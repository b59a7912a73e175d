//! Rules: who, where and what by name, in the order of the file.

use model::Action;
use policy::{Rate, Rule, Schedule, Service, Side, ZoneSet};

use super::{
    names::{Named, Names},
    services, times,
};
use crate::{
    draft::{RuleAction, RuleDraft},
    error::{Report, nearest, quoted},
    located::Located,
};

/// Names on one side of a rule, and services of it; a config with more is refused.
const MOST_NAMES: usize = 64;

pub(super) fn check(
    drafts: &[Located<RuleDraft>],
    names: &mut Names<'_>,
    own: &[Service],
    schedules: &[Schedule],
    report: &mut Report<'_>,
) -> Vec<Rule> {
    let most = abi::MAX_RULES as usize;
    if let Some(first_over) = drafts.get(most) {
        report.add(
            first_over.at,
            format!("the file has {} rules", drafts.len()),
            format!("write at most {most}; a rule can name several zones, groups and services"),
        );
    }
    let drafts = drafts.iter().take(most).zip(0..);
    drafts.map(|(draft, id)| rule(id, draft, names, own, schedules, report)).collect()
}

fn rule(
    id: u16,
    draft: &Located<RuleDraft>,
    names: &mut Names<'_>,
    own: &[Service],
    schedules: &[Schedule],
    report: &mut Report<'_>,
) -> Rule {
    let from = side("from", &draft.from, names, report);
    let to = side("to", &draft.to, names, report);
    let services = named_services("the rule", &draft.services, own, report);
    let (action, goes_on) = match draft.action {
        RuleAction::Allow | RuleAction::Limit => (Action::Pass, false),
        RuleAction::Drop => (Action::Drop, false),
        RuleAction::Reject => (Action::Reject, false),
        RuleAction::Log => (Action::Pass, true),
    };
    Rule {
        id,
        from,
        to,
        services,
        action,
        log: draft.log || goes_on,
        goes_on,
        limit: limit(draft, report),
        schedule: draft.schedule.as_ref().and_then(|name| schedule(name, schedules, report)),
        mode: draft.mode,
        comment: super::optional(&draft.comment),
        span: report.span(draft.at),
    }
}

/// The rate of a rule, which belongs to the action `limit` and to no other.
fn limit(draft: &Located<RuleDraft>, report: &mut Report<'_>) -> Option<Rate> {
    match (&draft.limit, draft.action == RuleAction::Limit) {
        (Some(text), true) => times::rate("limit", text, report),
        (Some(text), false) => {
            if !report.is_misfit("rules.action") {
                report.add(
                    text.at,
                    "`limit` is for rules with `action = \"limit\"`",
                    "write that action, or remove the line",
                );
            }
            None
        }
        (None, true) => {
            if !report.is_misfit("rules.limit") {
                report.add(
                    draft.at,
                    "the rule limits, and does not say to what",
                    "add for example `limit = \"10/minute burst 20\"`",
                );
            }
            None
        }
        (None, false) => None,
    }
}

/// The place of the schedule of this name.
pub(super) fn schedule(
    name: &Located<String>,
    schedules: &[Schedule],
    report: &mut Report<'_>,
) -> Option<u16> {
    if let Some(place) = schedules.iter().position(|schedule| schedule.name == name.value) {
        return u16::try_from(place).ok();
    }
    let help = match nearest(name, schedules.iter().map(|schedule| schedule.name.as_str())) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("define it as `[schedules.{}]`", name.value),
    };
    report.add(name.at, format!("there is no schedule {}", quoted(name)), help);
    None
}

/// Services by name, each once.
pub(super) fn named_services(
    who: &str,
    texts: &[Located<String>],
    own: &[Service],
    report: &mut Report<'_>,
) -> Vec<Service> {
    if let Some(first_over) = texts.get(MOST_NAMES) {
        report.add(
            first_over.at,
            format!("{who} names {} services", texts.len()),
            format!("write at most {MOST_NAMES}, or gather ports in a service of your own"),
        );
    }
    let mut named: Vec<&str> = Vec::new();
    let mut services = Vec::new();
    for text in texts.iter().take(MOST_NAMES) {
        if named.contains(&text.as_str()) {
            twice(text, "services", report);
            continue;
        }
        named.push(text);
        services.extend(services::resolve(text, own, report));
    }
    services
}

fn side(key: &str, texts: &[Located<String>], names: &mut Names<'_>, report: &mut Report<'_>) -> Side {
    if let Some(first_over) = texts.get(MOST_NAMES) {
        report.add(
            first_over.at,
            format!("`{key}` names {} zones and groups", texts.len()),
            format!("write at most {MOST_NAMES}, gather addresses in a group, or write `any`"),
        );
    }
    let (mut zones, mut sets, mut devices) = (Vec::new(), Vec::new(), Vec::new());
    let mut named: Vec<&str> = Vec::new();
    let mut any = false;
    for text in texts.iter().take(MOST_NAMES) {
        if named.contains(&text.as_str()) {
            twice(text, key, report);
            continue;
        }
        named.push(text);
        if text.value == "multicast" && key == "from" {
            report.add(
                text.at,
                "no flow starts at `multicast`",
                "name the zones of the senders; `multicast` can stand in `to`",
            );
            continue;
        }
        match names.resolve(key, text, report) {
            Some(Named::Any) => any = true,
            Some(Named::Zones(ids)) => zones.extend(ids),
            Some(Named::Set(place)) => sets.push(place),
            Some(Named::Devices(place)) => devices.push(place),
            None => {}
        }
    }
    if any && texts.len() > 1 {
        report.add(
            texts[0].at,
            format!("`{key}` names `any` and others"),
            format!("write `{key} = [\"any\"]`, or leave `any` out"),
        );
    }
    if any {
        return ZoneSet::Any.into();
    }
    zones.sort_unstable();
    zones.dedup();
    sets.sort_unstable();
    sets.dedup();
    Side { zones: ZoneSet::Of(zones), sets, devices }
}

pub(super) fn twice(text: &Located<String>, key: &str, report: &mut Report<'_>) {
    report.add(text.at, format!("{} stands twice in `{key}`", quoted(text)), "remove one of the two");
}
