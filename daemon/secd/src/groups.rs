//! Which groups of the resolver are in force: their schedules, and the pauses that people order. Pure.

use config::Dns;
use lists::GroupSet;
use model::Timestamp;
use policy::{Schedule, TimeZones};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Pauses of blocking, by group; that of everything has no name. Kept in the store over restarts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pauses(BTreeMap<String, Timestamp>);

/// The name under which everything is paused.
const EVERYTHING: &str = "";

impl Pauses {
    /// Nothing of a group is blocked until then; of nobody's with no group.
    pub fn pause(&mut self, group: Option<&str>, until: Timestamp) {
        self.0.insert(group.unwrap_or(EVERYTHING).to_owned(), until);
    }

    /// Ends the pause of a group; with no group, every one. Whether there was one.
    pub fn resume(&mut self, group: Option<&str>) -> bool {
        match group {
            Some(group) => self.0.remove(group).is_some(),
            None => !std::mem::take(&mut self.0).is_empty(),
        }
    }

    /// Takes out those that are over, and those of groups that are gone; returns their groups.
    pub fn expire(&mut self, dns: &Dns, now: Timestamp) -> Vec<Option<String>> {
        let known = |name: &str| name == EVERYTHING || dns.groups.iter().any(|group| group.name == name);
        let over: Vec<String> = self
            .0
            .iter()
            .filter(|(name, until)| **until <= now || !known(name))
            .map(|(name, _)| name.clone())
            .collect();
        for name in &over {
            self.0.remove(name);
        }
        over.into_iter().map(|name| (name != EVERYTHING).then_some(name)).collect()
    }

    /// Until when a group is paused; with no group, everything.
    #[must_use]
    pub fn until(&self, group: Option<&str>) -> Option<Timestamp> {
        self.0.get(group.unwrap_or(EVERYTHING)).copied()
    }
}

/// One group at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupState {
    /// It is in force.
    pub in_force: bool,
    /// The name of its schedule, and whether that holds.
    pub schedule: Option<(String, bool)>,
    /// When that changes next.
    pub next_change: Option<Timestamp>,
    /// Until when it is paused, alone or with all others.
    pub paused_until: Option<Timestamp>,
}

/// Every group at a time, by place.
#[must_use]
pub fn states(
    dns: &Dns,
    schedules: &[Schedule],
    pauses: &Pauses,
    (now, zones): (Timestamp, &TimeZones),
) -> Vec<GroupState> {
    let live = |group: Option<&str>| pauses.until(group).filter(|until| *until > now);
    dns.groups
        .iter()
        .map(|group| {
            let schedule = group.schedule.and_then(|place| schedules.get(usize::from(place)));
            let holds = schedule.is_none_or(|schedule| schedule.is_active(now, zones));
            let paused_until = live(None).max(live(Some(&group.name)));
            GroupState {
                in_force: holds && paused_until.is_none(),
                schedule: schedule.map(|schedule| (schedule.name.clone(), holds)),
                next_change: schedule.and_then(|schedule| schedule.next_change(now, zones)),
                paused_until,
            }
        })
        .collect()
}

/// The groups that are in force. What is denied to everybody is, unless everything is paused.
#[must_use]
pub fn in_force(states: &[GroupState], pauses: &Pauses, now: Timestamp) -> GroupSet {
    let mut set = if pauses.until(None).is_some_and(|until| until > now) {
        GroupSet::NONE
    } else {
        GroupSet::EVERYBODY
    };
    for (place, _) in states.iter().enumerate().filter(|(_, state)| state.in_force) {
        set.insert(place);
    }
    set
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::tz::TimeZone;

    const CONFIG: &str = "[schedules.school]\nfrom = '08:00'\nto = '13:00'\nzone = 'Europe/Berlin'\n\
        [dns.groups.kids]\nschedule = 'school'\n[dns.groups.office]\n";

    fn states_at(text: &str, pauses: &Pauses) -> (Timestamp, Vec<GroupState>) {
        let config = config::parse("secd.toml", CONFIG).unwrap();
        let zones = TimeZones::new(TimeZone::UTC);
        let now = Timestamp(text.parse::<jiff::Timestamp>().unwrap().as_microsecond());
        (now, states(&config.dns, &config.policy.schedules, pauses, (now, &zones)))
    }

    /// Which bits are set: everybody, default, kids, office.
    fn shown(text: &str, pauses: &Pauses) -> [bool; 4] {
        let (now, states) = states_at(text, pauses);
        let set = in_force(&states, pauses, now);
        [set.intersects(GroupSet::EVERYBODY), set.contains(0), set.contains(1), set.contains(2)]
    }

    #[test]
    fn a_schedule_takes_its_group_out_also_where_clocks_change() {
        let none = Pauses::default();
        // In winter Berlin is an hour ahead, in summer two; the clocks change on 2026-03-29.
        assert_eq!(shown("2026-03-28T06:59:59Z", &none), [true, true, false, true]);
        assert_eq!(shown("2026-03-28T07:00:00Z", &none), [true, true, true, true]);
        assert_eq!(shown("2026-03-29T06:00:00Z", &none), [true, true, true, true]);
        assert_eq!(shown("2026-03-29T11:00:00Z", &none), [true, true, false, true]);
        let (_, states) = states_at("2026-03-29T11:00:00Z", &none);
        assert_eq!(states[1].schedule, Some(("school".into(), false)));
        assert_eq!(states[1].next_change.unwrap().to_string(), "2026-03-30T06:00:00.000000Z");
    }

    #[test]
    fn a_pause_ends_by_itself_and_one_of_everything_reaches_everybody() {
        let at = |text: &str| Timestamp(text.parse::<jiff::Timestamp>().unwrap().as_microsecond());
        let mut pauses = Pauses::default();
        pauses.pause(Some("office"), at("2026-03-28T08:10:00Z"));
        assert_eq!(shown("2026-03-28T08:00:00Z", &pauses), [true, true, true, false]);
        assert_eq!(shown("2026-03-28T08:10:00Z", &pauses), [true, true, true, true]);
        pauses.pause(None, at("2026-03-28T08:05:00Z"));
        assert_eq!(shown("2026-03-28T08:00:00Z", &pauses), [false; 4]);
        assert_eq!(shown("2026-03-28T08:05:00Z", &pauses), [true, true, true, false]);

        let kept: Pauses = serde_json::from_str(&serde_json::to_string(&pauses).unwrap()).unwrap();
        assert_eq!(kept, pauses);
        let config = config::parse("secd.toml", CONFIG).unwrap();
        pauses.pause(Some("a group that is gone"), at("2030-01-01T00:00:00Z"));
        let over = pauses.expire(&config.dns, at("2026-03-28T08:06:00Z"));
        assert_eq!(over, [None, Some("a group that is gone".into())]);
        assert!(pauses.resume(None) && !pauses.resume(None) && !pauses.resume(Some("office")));
    }
}
