//! Schedules and rates.

use policy::{DAYS, Rate, Schedule, TimeZones};

use super::name_is_valid;
use crate::{
    draft::{Day, ScheduleDraft},
    error::{Report, nearest, quoted},
    located::Located,
};

/// Schedules; a config with more is refused.
const MOST_SCHEDULES: usize = 256;
/// Minutes of a day.
const MIDNIGHT: u16 = 24 * 60;
/// The longest burst, and the highest number per unit of a rate.
const MOST_AT_ONCE: u32 = 1_000_000;

pub(super) fn schedules(
    drafts: &[(Located<String>, ScheduleDraft)],
    report: &mut Report<'_>,
) -> Vec<Schedule> {
    if let Some((first_over, _)) = drafts.get(MOST_SCHEDULES) {
        report.add(
            first_over.at,
            format!("the file has {} schedules", drafts.len()),
            format!("write at most {MOST_SCHEDULES}"),
        );
    }
    drafts.iter().take(MOST_SCHEDULES).map(|(name, draft)| schedule(name, draft, report)).collect()
}

fn schedule(name: &Located<String>, draft: &ScheduleDraft, report: &mut Report<'_>) -> Schedule {
    name_is_valid("schedule", name, name.at, report);
    let mut days = [draft.days.is_none(); 7];
    for day in draft.days.iter().flatten() {
        let place = day.value as usize;
        if std::mem::replace(&mut days[place], true) {
            report.add(day.at, format!("`{}` stands twice in `days`", DAYS[place]), "remove one of the two");
        }
    }
    let start = draft.from.as_ref().map(|text| time("from", text, report));
    let end = draft.to.as_ref().map(|text| time("to", text, report));
    if let (Some(Some(start)), Some(Some(end)), Some(text)) = (start, end, &draft.to)
        && start % MIDNIGHT == end % MIDNIGHT
        && (start, end) != (0, MIDNIGHT)
    {
        report.add(
            text.at,
            format!("the schedule {} begins and ends at the same time", quoted(name)),
            "leave `from` and `to` out for whole days, or write another end",
        );
    }
    if let (Some(Some(MIDNIGHT)), Some(text)) = (start, &draft.from)
        && end != Some(Some(MIDNIGHT))
    {
        report.add(text.at, "a schedule cannot begin at `24:00`", "write `00:00` and the day behind it");
    }
    if let Some(zone) = &draft.zone
        && !TimeZones::knows(zone)
    {
        let names = TimeZones::names();
        let lower: Vec<String> = names.iter().map(|name| name.to_lowercase()).collect();
        let near = nearest(zone, lower.iter().map(String::as_str));
        let near = near.and_then(|near| names.iter().find(|name| name.to_lowercase() == near));
        let help = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => "write a name of the IANA database, for example `Europe/Berlin` or `UTC`".to_owned(),
        };
        report.add(zone.at, format!("there is no time zone {}", quoted(zone)), help);
    }
    Schedule {
        name: name.value.clone(),
        days,
        start: start.flatten().unwrap_or(0),
        end: end.flatten().unwrap_or(MIDNIGHT),
        zone: draft.zone.as_ref().map(|zone| zone.value.clone()),
    }
}

/// Days as `Day as usize` counts them.
const _: () = assert!(Day::Mon as usize == 0 && Day::Sun as usize == 6);

/// Minutes after midnight.
fn time(key: &str, text: &Located<String>, report: &mut Report<'_>) -> Option<u16> {
    let number = |part: &str| {
        let digits = (1..=2).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
        part.parse::<u16>().ok().filter(|_| digits)
    };
    let parts = text
        .split_once(':')
        .and_then(|(hours, minutes)| Some((number(hours)?, number(minutes).filter(|_| minutes.len() == 2)?)));
    let help = match parts {
        Some((24, 0)) => return Some(MIDNIGHT),
        Some((hours @ 0..24, minutes @ 0..60)) => return Some(hours * 60 + minutes),
        Some(_) => "hours go from 00 to 23, minutes from 00 to 59; `24:00` is the end of the day",
        None => "write hours and minutes, for example `18:00`",
    };
    report.add(text.at, format!("{} in `{key}` is no time of day", quoted(text)), help);
    None
}

/// `10/minute burst 20`.
pub(super) fn rate(key: &str, text: &Located<String>, report: &mut Report<'_>) -> Option<Rate> {
    const EXAMPLE: &str = "write for example `10/minute burst 20`";
    let wrong = |report: &mut Report<'_>, why: &str, help: String| {
        report.add(text.at, format!("{} in `{key}` is no rate: {why}", quoted(text)), help);
        None
    };
    let (rate, burst) = match text.split_once("burst") {
        Some((rate, burst)) => (rate.trim(), Some(burst.trim())),
        None => (text.trim(), None),
    };
    let Some((count, unit)) = rate.split_once('/') else {
        return wrong(report, "the `/` is missing", EXAMPLE.to_owned());
    };
    let (count, unit) = (count.trim(), unit.trim());
    let units = Rate::UNITS.map(|(name, _)| name);
    let Some((_, nanoseconds)) = Rate::UNITS.iter().find(|(name, _)| *name == unit) else {
        let near = match unit {
            "s" | "sec" => Some("second"),
            "m" | "min" => Some("minute"),
            "h" => Some("hour"),
            "d" => Some("day"),
            other => nearest(other, units),
        };
        let help = near.map_or_else(|| EXAMPLE.to_owned(), |near| format!("did you mean `{count}/{near}`?"));
        return wrong(report, &format!("{} is no unit", quoted(unit)), help);
    };
    let number = |text: &str| text.parse::<u32>().ok().filter(|number| (1..=MOST_AT_ONCE).contains(number));
    let Some(count) = number(count) else {
        let why = format!("{} is no number from 1 to {MOST_AT_ONCE}", quoted(count));
        return wrong(report, &why, EXAMPLE.to_owned());
    };
    let burst = match burst {
        None => count,
        Some(burst) => match number(burst) {
            Some(burst) => burst,
            None => {
                let why = format!("the burst {} is no number from 1 to {MOST_AT_ONCE}", quoted(burst));
                return wrong(report, &why, EXAMPLE.to_owned());
            }
        },
    };
    Some(Rate::new(count.into(), *nanoseconds, burst))
}
