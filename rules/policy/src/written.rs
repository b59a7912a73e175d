//! Rules, forwards and schedules as one line of text, in the words of the config.

use model::{Action, Mode};

use crate::{DAYS, Forward, Policy, Rule, Schedule, ServiceMatch, Side, ZoneSet, has_ports};

impl Policy {
    /// What a rule says: `from iot, tvs to wan: https, ntp; allow; only evenings`.
    #[must_use]
    pub fn written(&self, rule: &Rule) -> String {
        let mut text = format!("from {} to {}: ", self.side(&rule.from), self.side(&rule.to));
        if rule.services.is_empty() {
            text.push_str("everything");
        } else {
            let names: Vec<&str> = rule.services.iter().map(|service| service.name.as_str()).collect();
            text.push_str(&names.join(", "));
        }
        let action = match (rule.action, rule.goes_on, rule.limit) {
            (_, true, _) => "log and go on".to_owned(),
            (Action::Pass, false, Some(limit)) => format!("limit to {limit}"),
            (Action::Pass, false, None) => "allow".to_owned(),
            (Action::Drop, false, _) => "drop".to_owned(),
            (Action::Reject, false, _) => "reject".to_owned(),
        };
        text.push_str("; ");
        text.push_str(&action);
        if rule.log && !rule.goes_on {
            text.push_str(" and log");
        }
        if let Some(schedule) = rule.schedule.and_then(|place| self.schedules.get(usize::from(place))) {
            text.push_str("; only ");
            text.push_str(&schedule.name);
        }
        if rule.mode == Mode::Observe {
            text.push_str("; observed only");
        }
        text
    }

    fn side(&self, side: &Side) -> String {
        let zones = match &side.zones {
            ZoneSet::Any => return "any".to_owned(),
            ZoneSet::Of(zones) => zones.iter().map(|zone| self.zone_name(*zone).to_owned()),
        };
        let sets = side.sets.iter().filter_map(|place| Some(self.sets.get(usize::from(*place))?.written()));
        let groups =
            side.devices.iter().filter_map(|place| Some(self.devices.get(usize::from(*place))?.name.clone()));
        let names: Vec<String> = zones.chain(sets).chain(groups).collect();
        if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
    }

    /// What a forward says: `tcp/443 of wan to 10.2.0.5 port 8443; for country:DE; with hairpin`.
    #[must_use]
    pub fn written_forward(&self, forward: &Forward) -> String {
        let ports: Vec<String> = forward.services.iter().map(ToString::to_string).collect();
        let mut text = format!("{} of {} to {}", ports.join(", "), self.zone_name(forward.from), forward.to);
        if let Some(port) = forward.port {
            text.push_str(&format!(" port {port}"));
        }
        let sources =
            forward.sources.iter().filter_map(|place| Some(self.sets.get(usize::from(*place))?.written()));
        let sources: Vec<String> = sources.collect();
        if !sources.is_empty() {
            text.push_str(&format!("; for {}", sources.join(", ")));
        }
        text.push_str(if forward.hairpin { "; with hairpin" } else { "; without hairpin" });
        text
    }
}

impl std::fmt::Display for Schedule {
    /// `mon tue from 18:00 to 23:30 in Europe/Berlin`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.days == [true; 7] {
            f.write_str("every day")?;
        } else {
            let days = DAYS.iter().zip(self.days).filter(|(_, named)| *named).map(|(day, _)| *day);
            f.write_str(&days.collect::<Vec<_>>().join(" "))?;
        }
        let time = |minutes: u16| format!("{:02}:{:02}", minutes / 60, minutes % 60);
        if (self.start, self.end) != (0, 24 * 60) {
            write!(f, " from {} to {}", time(self.start), time(self.end))?;
        }
        match &self.zone {
            Some(zone) => write!(f, " in {zone}"),
            None => Ok(()),
        }
    }
}

impl std::fmt::Display for ServiceMatch {
    /// As it is written in a config: `tcp/80-90`, `icmp/8`, `esp` as `ip/50`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (protocol, first, last) = (self.protocol, self.ports.first, self.ports.last);
        let is_icmp = matches!(protocol, model::Protocol::ICMP | model::Protocol::ICMPV6);
        if !has_ports(protocol) {
            write!(f, "ip/{}", protocol.0)
        } else if (first, last) == (0, u16::MAX) {
            write!(f, "{protocol}")
        } else if is_icmp && first & 0xff == 0 && last == first | 0xff {
            write!(f, "{protocol}/{}", first >> 8)
        } else if is_icmp {
            write!(f, "{protocol}/{}/{}", first >> 8, first & 0xff)
        } else if first == last {
            write!(f, "{protocol}/{first}")
        } else {
            write!(f, "{protocol}/{first}-{last}")
        }
    }
}
