//! When scheduled rules hold, and when that changes next. Time comes in; nothing here reads a clock.
//!
//! A window opens when the wall clock first shows its start and closes when it then first shows its end. A time that
//! the clock skips (in spring) counts as the moment of the skip. So each window of a day opens once and closes once,
//! also in the night in which an hour comes twice.

use jiff::{
    Timestamp as Instant, ToSpan,
    civil::Date,
    tz::{AmbiguousOffset, Offset, TimeZone, TimeZoneDatabase},
};
use model::Timestamp;

use crate::{Policy, Schedule};

/// Days ahead in which the next change is looked for: schedules repeat every week, a window can reach into the day
/// after, and in spring a whole window can be skipped.
const DAYS_AHEAD: i64 = 16;
/// Minutes of a day.
const MIDNIGHT: u16 = 24 * 60;

/// Time zones: the router's own, and others by their IANA names.
#[derive(Clone, Debug)]
pub struct TimeZones {
    router: TimeZone,
    names: TimeZoneDatabase,
}

impl TimeZones {
    /// `router` is the time zone of schedules that name none. Names are looked up in the tz database that is built in.
    #[must_use]
    pub fn new(router: TimeZone) -> Self {
        Self { router, names: TimeZoneDatabase::bundled() }
    }

    /// Whether there is a time zone of this name.
    #[must_use]
    pub fn knows(name: &str) -> bool {
        TimeZoneDatabase::bundled().get(name).is_ok()
    }

    /// The names of all time zones.
    #[must_use]
    pub fn names() -> Vec<String> {
        TimeZoneDatabase::bundled().available().map(|name| name.to_string()).collect()
    }

    /// The time zone of a schedule; the router's where the name is not known.
    fn of(&self, schedule: &Schedule) -> TimeZone {
        let named = schedule.zone.as_ref().and_then(|name| self.names.get(name).ok());
        named.unwrap_or_else(|| self.router.clone())
    }
}

impl Policy {
    /// The policy as it stands at `now`: rules whose schedule does not hold are taken out, the others have none any
    /// more. Ids stay those of the file.
    #[must_use]
    pub fn active_at(&self, now: Timestamp, zones: &TimeZones) -> Self {
        let active: Vec<bool> =
            self.schedules.iter().map(|schedule| schedule.is_active(now, zones)).collect();
        self.with_schedules(&active)
    }

    /// The policy as it stands when these schedules hold, by place.
    #[must_use]
    pub fn with_schedules(&self, active: &[bool]) -> Self {
        let holds = |schedule: Option<u16>| {
            schedule.is_none_or(|place| active.get(usize::from(place)).copied().unwrap_or(false))
        };
        let mut policy = self.clone();
        policy.forward_base = self.forward_id(0);
        policy.rules.retain(|rule| holds(rule.schedule));
        for rule in &mut policy.rules {
            rule.schedule = None;
        }
        policy
    }

    /// When the next schedule that a rule names begins or ceases to hold; none where none ever does.
    #[must_use]
    pub fn next_change(&self, now: Timestamp, zones: &TimeZones) -> Option<Timestamp> {
        let named =
            |place: usize| self.rules.iter().any(|rule| rule.schedule.map(usize::from) == Some(place));
        let schedules = self.schedules.iter().enumerate().filter(|(place, _)| named(*place));
        schedules.filter_map(|(_, schedule)| schedule.next_change(now, zones)).min()
    }
}

impl Schedule {
    /// Whether rules with this schedule hold at `now`.
    #[must_use]
    pub fn is_active(&self, now: Timestamp, zones: &TimeZones) -> bool {
        instant(now).is_some_and(|now| self.holds(now, &zones.of(self)))
    }

    /// When that changes next; none where it never does.
    #[must_use]
    pub fn next_change(&self, now: Timestamp, zones: &TimeZones) -> Option<Timestamp> {
        let (now, zone) = (instant(now)?, zones.of(self));
        let mut edges: Vec<Instant> = self
            .windows(now, &zone, DAYS_AHEAD)
            .flat_map(|(from, to)| [from, to])
            .filter(|edge| *edge > now)
            .collect();
        edges.sort_unstable();
        let holds = self.holds(now, &zone);
        // Windows that touch make one.
        let change = edges.into_iter().find(|edge| self.holds(*edge, &zone) != holds)?;
        Some(Timestamp(change.as_microsecond()))
    }

    fn holds(&self, now: Instant, zone: &TimeZone) -> bool {
        self.windows(now, zone, 0).any(|(from, to)| (from..to).contains(&now))
    }

    /// The windows that begin on the day before `now`, on the same day, and on as many days behind it.
    fn windows(&self, now: Instant, zone: &TimeZone, ahead: i64) -> impl Iterator<Item = (Instant, Instant)> {
        let today = zone.to_datetime(now).date();
        (-1..=ahead).filter_map(move |days| {
            let day = today.checked_add(days.days()).ok()?;
            if !self.days[usize::from(day.weekday().to_monday_zero_offset().unsigned_abs())] {
                return None;
            }
            let last = if self.end > self.start { day } else { day.tomorrow().ok()? };
            Some((first_shown(day, self.start, zone)?, first_shown(last, self.end, zone)?))
        })
    }
}

/// When the wall clock first shows a time of a day, or skips it.
fn first_shown(day: Date, minute: u16, zone: &TimeZone) -> Option<Instant> {
    let (day, minute) = if minute >= MIDNIGHT { (day.tomorrow().ok()?, 0) } else { (day, minute) };
    let shown = day.at((minute / 60) as i8, (minute % 60) as i8, 0, 0);
    let at = |offset: Offset| offset.to_timestamp(shown).ok();
    match zone.to_ambiguous_timestamp(shown).offset() {
        AmbiguousOffset::Unambiguous { offset } => at(offset),
        AmbiguousOffset::Fold { before, .. } => at(before),
        AmbiguousOffset::Gap { before, after } => {
            let behind = at(after)?;
            zone.following(behind).next().map(|transition| transition.timestamp()).or_else(|| at(before))
        }
    }
}

fn instant(at: Timestamp) -> Option<Instant> {
    Instant::from_microsecond(at.0).ok()
}

/// The days of the week as a config names them, Monday first.
pub const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(days: &str, start: u16, end: u16, zone: &str) -> Schedule {
        let days = std::array::from_fn(|day| days.is_empty() || days.contains(DAYS[day]));
        Schedule { name: "s".into(), days, start, end, zone: Some(zone.into()) }
    }

    fn zones() -> TimeZones {
        TimeZones::new(TimeZone::UTC)
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// Every change from a time on, as RFC 3339 in UTC, to the minute.
    fn changes(schedule: &Schedule, from: &str, count: usize) -> Vec<String> {
        let mut now = at(from);
        let mut found = Vec::new();
        while found.len() < count {
            let Some(next) = schedule.next_change(now, &zones()) else { break };
            assert!(next > now);
            let is_on = schedule.is_active(next, &zones());
            assert_ne!(is_on, schedule.is_active(Timestamp(next.0 - 1), &zones()), "{next}");
            found.push(format!("{} {}", if is_on { "on" } else { "off" }, &next.to_string()[..16]));
            now = next;
        }
        found
    }

    #[test]
    fn evenings_of_some_days() {
        let evenings = schedule("mon tue", 18 * 60, 23 * 60 + 30, "UTC");
        // 2026-11-23 is a Monday.
        assert_eq!(
            changes(&evenings, "2026-11-23T00:00:00Z", 5),
            [
                "on 2026-11-23T18:00",
                "off 2026-11-23T23:30",
                "on 2026-11-24T18:00",
                "off 2026-11-24T23:30",
                "on 2026-11-30T18:00"
            ]
        );
    }

    #[test]
    fn over_midnight_into_a_day_that_is_not_named() {
        let nights = schedule("fri", 22 * 60, 6 * 60, "UTC");
        assert_eq!(
            changes(&nights, "2026-11-23T00:00:00Z", 3),
            ["on 2026-11-27T22:00", "off 2026-11-28T06:00", "on 2026-12-04T22:00"]
        );
    }

    #[test]
    fn whole_days_touch_and_a_whole_week_never_changes() {
        let weekend = schedule("sat sun", 0, MIDNIGHT, "UTC");
        assert_eq!(
            changes(&weekend, "2026-11-23T00:00:00Z", 2),
            ["on 2026-11-28T00:00", "off 2026-11-30T00:00"]
        );
        let always = schedule("", 0, MIDNIGHT, "Europe/Berlin");
        assert_eq!(always.next_change(at("2026-03-28T12:00:00Z"), &zones()), None);
        assert!(always.is_active(at("2026-03-29T01:30:00Z"), &zones()));
        let never = Schedule { days: [false; 7], ..always };
        assert_eq!(never.next_change(at("2026-03-28T12:00:00Z"), &zones()), None);
    }

    /// Berlin: on 2026-03-29 the clock goes from 02:00 to 03:00 (01:00 UTC).
    #[test]
    fn in_spring_skipped_times_are_the_moment_of_the_skip() {
        let of =
            |start, end| changes(&schedule("sun", start, end, "Europe/Berlin"), "2026-03-28T12:00:00Z", 2);
        assert_eq!(of(60, 150), ["on 2026-03-29T00:00", "off 2026-03-29T01:00"]);
        assert_eq!(of(150, 240), ["on 2026-03-29T01:00", "off 2026-03-29T02:00"]);
        // All of it is skipped: the next is a week later.
        assert_eq!(of(135, 165), ["on 2026-04-05T00:15", "off 2026-04-05T00:45"]);
        let skipped = schedule("sun", 135, 165, "Europe/Berlin");
        assert_eq!(changes(&skipped, "2026-03-22T12:00:00Z", 1), ["on 2026-04-05T00:15"]);
        assert_eq!(of(18 * 60, 22 * 60), ["on 2026-03-29T16:00", "off 2026-03-29T20:00"]);
    }

    /// Berlin: on 2026-10-25 the clock goes back from 03:00 to 02:00 (01:00 UTC).
    #[test]
    fn in_autumn_a_window_opens_and_closes_once() {
        let of =
            |start, end| changes(&schedule("sun", start, end, "Europe/Berlin"), "2026-10-24T12:00:00Z", 2);
        assert_eq!(of(60, 150), ["on 2026-10-24T23:00", "off 2026-10-25T00:30"]);
        assert_eq!(of(150, 240), ["on 2026-10-25T00:30", "off 2026-10-25T03:00"]);
        assert_eq!(of(150, 165), ["on 2026-10-25T00:30", "off 2026-10-25T00:45"]);
        assert_eq!(of(0, 0), ["on 2026-10-24T22:00", "off 2026-10-25T23:00"]);
    }

    #[test]
    fn the_routers_zone_holds_where_none_is_named() {
        let mut evenings = schedule("mon", 18 * 60, 19 * 60, "UTC");
        evenings.zone = None;
        let zones = TimeZones::new(TimeZone::posix("EST5").unwrap());
        assert!(evenings.is_active(at("2026-11-23T23:30:00Z"), &zones));
        assert!(!evenings.is_active(at("2026-11-23T18:30:00Z"), &zones));
    }

    #[test]
    fn names_of_time_zones() {
        assert!(TimeZones::knows("Europe/Berlin") && !TimeZones::knows("Europe/Berlinn"));
        assert!(TimeZones::names().len() > 400);
    }
}
