//! When services are blocked: AdGuard Home says when they are *not*, day by day; a schedule of ours says when they are.

use std::collections::BTreeMap;

use crate::{settings::Schedule, yaml::Node};

/// Days as both write them.
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
/// Minutes of a day.
const DAY: u64 = 24 * 60;

/// Times when services are blocked: none for "always".
pub(super) fn blocked(schedule: &Node, name: &str) -> Option<Vec<Schedule>> {
    let mut windows: BTreeMap<(u64, u64), Vec<&'static str>> = BTreeMap::new();
    let mut paused = false;
    for day in DAYS {
        let minutes = |edge: &str| {
            let text = schedule.at(&format!("{day}.{edge}")).text()?;
            let seconds =
                seconds(text).or_else(|| text.parse::<u64>().ok().map(|thousandths| thousandths / 1000))?;
            Some((seconds / 60).min(DAY))
        };
        let (start, end) = match (minutes("start"), minutes("end")) {
            (Some(start), Some(end)) if start < end => (start, end),
            _ => (DAY, DAY),
        };
        paused |= start < end;
        for window in [(0, start), (end, DAY)] {
            if window.0 < window.1 {
                windows.entry(window).or_default().push(day);
            }
        }
    }
    if !paused {
        return None;
    }
    let zone =
        schedule.at("time_zone").text().filter(|zone| !matches!(*zone, "" | "Local")).map(str::to_owned);
    let schedules = windows.into_iter().zip(1..).map(|(((from, to), days), number)| Schedule {
        name: format!("{name}-{number}"),
        days,
        from: clock(from),
        to: clock(to),
        zone: zone.clone(),
    });
    Some(schedules.collect())
}

fn clock(minutes: u64) -> String {
    format!("{:02}:{:02}", minutes / 60, minutes % 60)
}

/// A duration as Go writes it, `1h30m0s`, in seconds.
pub(super) fn seconds(text: &str) -> Option<u64> {
    let (mut total, mut number) = (0_u64, String::new());
    let mut units = text.chars().peekable();
    while let Some(c) = units.next() {
        if c.is_ascii_digit() {
            number.push(c);
            continue;
        }
        let value: u64 = number.parse().ok()?;
        number.clear();
        let factor = match c {
            'h' => 3600,
            'm' if units.peek() == Some(&'s') => {
                units.next();
                total = total.checked_add(value / 1000)?;
                continue;
            }
            'm' => 60,
            's' => 1,
            _ => return None,
        };
        total = total.checked_add(value.checked_mul(factor)?)?;
    }
    (number.is_empty() && !text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read() {
        for (text, value) in [
            ("0s", Some(0)),
            ("24h", Some(86_400)),
            ("9h30m0s", Some(34_200)),
            ("1500ms", Some(1)),
            ("", None),
            ("9", None),
            ("h", None),
        ] {
            assert_eq!(seconds(text), value, "{text}");
        }
    }

    #[test]
    fn a_pause_leaves_the_rest_of_the_week() {
        let text = b"time_zone: Europe/Berlin\nsat: {start: 10h, end: 18h30m}\nsun: {start: 0s, end: 24h}\n";
        let schedules = blocked(&crate::yaml::read("f", text).unwrap(), "s").unwrap();
        let seen: Vec<_> =
            schedules.iter().map(|one| (one.days.join(" "), one.from.as_str(), one.to.as_str())).collect();
        assert_eq!(
            seen,
            [
                ("sat".to_owned(), "00:00", "10:00"),
                ("mon tue wed thu fri".to_owned(), "00:00", "24:00"),
                ("sat".to_owned(), "18:30", "24:00")
            ]
        );
        assert_eq!(schedules[0].zone.as_deref(), Some("Europe/Berlin"));
        assert!(blocked(&crate::yaml::read("f", b"time_zone: Local\n").unwrap(), "s").is_none());
    }
}
