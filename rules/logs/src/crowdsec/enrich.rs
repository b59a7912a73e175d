//! Methods of statics: what looks up more about a value and puts it into `evt.Enriched`.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use jiff::Timestamp;
use jiff::tz::Offset;

use super::event::{Event, Mode, put};
use crate::expr::{Time, Value};
use crate::go::layout;

/// Layouts that `ParseDate` tries, in this order.
const LAYOUTS: [&str; 15] = [
    "2006-01-02T15:04:05Z07:00",
    "02/Jan/2006:15:04:05 -0700",
    "Mon Jan 2 15:04:05 2006",
    "02-Jan-2006 15:04:05 europe/paris",
    "01/02/2006 15:04:05",
    "2006-01-02 15:04:05.999999999 -0700 MST",
    "Jan  2 15:04:05",
    "Mon Jan 02 15:04:05.000000 2006",
    "2006/01/02",
    "2006/01/02 15:04",
    "2006-01-02",
    "2006-01-02 15:04",
    "2006/01/02 15:04:05",
    "2006-01-02 15:04:05",
    "2006-01-02T15:04:05",
];
const RFC3339: &str = "2006-01-02T15:04:05Z07:00";
const RFC3339_NANO: &str = "2006-01-02T15:04:05.999999999Z07:00";

/// What a shell can look up about addresses. Without one, the methods that need it find nothing, as CrowdSec's do
/// without their databases.
pub trait Lookups: std::fmt::Debug + Send + Sync {
    /// Where an address is.
    fn city(&self, address: IpAddr) -> Option<City>;

    /// Number and name of the autonomous system of an address.
    fn system(&self, address: IpAddr) -> Option<(u32, Arc<str>)>;

    /// The network that an address is announced with.
    fn range(&self, address: IpAddr) -> Option<IpNet>;

    /// The name of an address. Must answer at once: from what is known, not by asking.
    fn name(&self, address: IpAddr) -> Option<Arc<str>>;
}

/// Where an address is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct City {
    /// Two letters.
    pub country: Arc<str>,
    /// Whether that is in the European Union.
    pub in_union: bool,
    /// Degrees.
    pub latitude: f64,
    /// Degrees.
    pub longitude: f64,
}

/// A method of a static.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    ParseDate,
    GeoIpCity,
    GeoIpAsn,
    IpToRange,
    ReverseDns,
    UnmarshalJson,
}

impl Method {
    pub(crate) const NAMES: &str = "ParseDate, GeoIpCity, GeoIpASN, IpToRange, reverse_dns, UnmarshalJSON";

    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "ParseDate" => Self::ParseDate,
            "GeoIpCity" => Self::GeoIpCity,
            "GeoIpASN" => Self::GeoIpAsn,
            "IpToRange" => Self::IpToRange,
            "reverse_dns" => Self::ReverseDns,
            "UnmarshalJSON" => Self::UnmarshalJson,
            _ => return None,
        })
    }

    /// Runs it on a value.
    pub(crate) fn run(self, value: &str, event: &mut Event, lookups: Option<&dyn Lookups>, now: Time) {
        let address = || value.parse::<IpAddr>().ok();
        let mut found = |name: &str, text: String| {
            put(&mut event.enriched, name, text.into());
        };
        match self {
            Self::ParseDate => {
                let text = parse_date(value, event, now);
                put(&mut event.enriched, "MarshaledTime", text.into());
            }
            Self::GeoIpCity => {
                if let Some(city) = address().and_then(|address| lookups?.city(address)) {
                    found("IsoCode", city.country.to_string());
                    found("IsInEU", city.in_union.to_string());
                    found("Latitude", format!("{:.6}", city.latitude));
                    found("Longitude", format!("{:.6}", city.longitude));
                }
            }
            Self::GeoIpAsn => {
                if let Some((number, name)) = address().and_then(|address| lookups?.system(address)) {
                    found("ASNNumber", number.to_string());
                    found("ASNumber", number.to_string());
                    found("ASNOrg", name.to_string());
                }
            }
            Self::IpToRange => {
                if let Some(range) = address().and_then(|address| lookups?.range(address)) {
                    found("SourceRange", range.to_string());
                }
            }
            Self::ReverseDns => {
                if let Some(name) = address().and_then(|address| lookups?.name(address)) {
                    found("reverse_dns", name.to_string());
                }
            }
            Self::UnmarshalJson => {
                if let Ok(serde_json::Value::Object(object)) = serde_json::from_str(&event.line.raw) {
                    let unmarshaled = Arc::make_mut(&mut event.unmarshaled);
                    unmarshaled.extend(object.into_iter().map(|(name, value)| (name.into(), of_json(value))));
                }
            }
        }
    }
}

/// The text of a time as RFC 3339; `now` if it is none that is known. In replay it becomes the event's time.
fn parse_date(text: &str, event: &mut Event, now: Time) -> String {
    let own = Some(&*event.str_time_format).filter(|layout| !layout.is_empty());
    let written = own.into_iter().chain(LAYOUTS).find_map(|layout| read(layout, text, now));
    let (time, layout) = match (written, unix(text)) {
        (Some(time), _) => (time, RFC3339_NANO),
        (None, Some(time)) => (time, RFC3339),
        (None, None) => return now.format(RFC3339_NANO),
    };
    if event.mode == Mode::Replay {
        event.time = time;
    }
    time.format(layout)
}

/// A time by a layout. Without a year it is in the year of `now`; 29 February is 1 March where there is none.
fn read(layout: &str, text: &str, now: Time) -> Option<Time> {
    if text.is_empty() {
        return None;
    }
    let written = layout::parse(layout, text)?;
    let mut local = written.local;
    if local.year() == 0 {
        let year = now.civil().year();
        let next_day = || local.with().month(3).day(1).year(year).build();
        local = local.with().year(year).build().or_else(|_| next_day()).ok()?;
    }
    let instant = written.offset.to_timestamp(local).ok()?;
    let time = Time { instant, offset: written.offset };
    (time.instant != Time::zero().instant).then_some(time)
}

/// Seconds since 1970; what stands behind a dot is left.
fn unix(text: &str) -> Option<Time> {
    let seconds: i64 = text.split('.').next()?.parse().ok().filter(|seconds| *seconds > 0)?;
    Some(Time { instant: Timestamp::from_second(seconds).ok()?, offset: Offset::UTC })
}

fn of_json(value: serde_json::Value) -> Value {
    match value {
        serde_json::Value::Null => Value::Nil,
        serde_json::Value::Bool(value) => Value::Bool(value),
        serde_json::Value::Number(number) => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        serde_json::Value::String(text) => Value::from(text),
        serde_json::Value::Array(values) => values.into_iter().map(of_json).collect(),
        serde_json::Value::Object(object) => Value::Map(Arc::new(
            object.into_iter().map(|(name, value)| (name.into(), of_json(value))).collect(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crowdsec::Line;

    #[derive(Debug)]
    struct Atlas;

    impl Lookups for Atlas {
        fn city(&self, _: IpAddr) -> Option<City> {
            Some(City { country: "NZ".into(), in_union: false, latitude: -41.5, longitude: 174.0 })
        }
        fn system(&self, _: IpAddr) -> Option<(u32, Arc<str>)> {
            Some((64_500, "Example".into()))
        }
        fn range(&self, _: IpAddr) -> Option<IpNet> {
            "192.0.2.0/24".parse().ok()
        }
        fn name(&self, _: IpAddr) -> Option<Arc<str>> {
            Some("host.example.".into())
        }
    }

    fn event(mode: Mode) -> Event {
        Event::line(Line::default(), mode, Time::zero())
    }

    fn now() -> Time {
        Time::utc("2025-11-23T02:45:00Z".parse().unwrap())
    }

    #[test]
    fn times_of_every_layout_are_read() {
        for (text, expected) in [
            ("2026-11-23T02:45:00.5+01:00", "2026-11-23T02:45:00.5+01:00"),
            ("23/Nov/2026:02:45:00 +0000", "2026-11-23T02:45:00Z"),
            ("Mon Nov 23 02:45:00 2026", "2026-11-23T02:45:00Z"),
            ("23-Nov-2026 02:45:00 europe/paris", "2026-11-23T02:45:00Z"),
            ("11/23/2026 02:45:00", "2026-11-23T02:45:00Z"),
            ("2026-11-23 02:45:00.123 +0200 CEST", "2026-11-23T02:45:00.123+02:00"),
            ("Nov  3 02:45:00", "2025-11-03T02:45:00Z"),
            ("Feb 29 02:45:00", "2025-03-01T02:45:00Z"),
            ("Mon Nov 23 02:45:00.000001 2026", "2026-11-23T02:45:00.000001Z"),
            ("2026/11/23", "2026-11-23T00:00:00Z"),
            ("2026/11/23 02:45", "2026-11-23T02:45:00Z"),
            ("2026-11-23", "2026-11-23T00:00:00Z"),
            ("2026-11-23 02:45", "2026-11-23T02:45:00Z"),
            ("2026/11/23 02:45:00", "2026-11-23T02:45:00Z"),
            ("2026-11-23 02:45:00,25", "2026-11-23T02:45:00.25Z"),
            ("2026-11-23T02:45:00", "2026-11-23T02:45:00Z"),
            ("1795401900.123", "2026-11-23T02:45:00Z"),
            ("", "2025-11-23T02:45:00Z"),
            ("yesterday", "2025-11-23T02:45:00Z"),
        ] {
            let mut event = event(Mode::Replay);
            Method::ParseDate.run(text, &mut event, None, now());
            assert_eq!(event.enriched.get("MarshaledTime").map(|text| &**text), Some(expected), "{text}");
        }
    }

    #[test]
    fn only_a_replay_goes_by_the_clock_of_the_line() {
        for (mode, expected) in [(Mode::Live, Time::zero().instant), (Mode::Replay, now().instant)] {
            let mut event = event(mode);
            event.str_time_format = "02.01.06 15h04".into();
            Method::ParseDate.run("23.11.25 02h45", &mut event, None, Time::zero());
            assert_eq!(event.time.instant, expected, "{mode:?}");
        }
    }

    #[test]
    fn lookups_are_asked_where_there_are_any() {
        let methods = [Method::GeoIpCity, Method::GeoIpAsn, Method::IpToRange, Method::ReverseDns];
        let mut event = event(Mode::Live);
        for method in methods {
            method.run("192.0.2.1", &mut event, None, now());
            method.run("no address", &mut event, Some(&Atlas), now());
        }
        assert!(event.enriched.is_empty());
        for method in methods {
            method.run("192.0.2.1", &mut event, Some(&Atlas), now());
        }
        let found: Vec<(&str, &str)> =
            event.enriched.iter().map(|(name, value)| (&**name, &**value)).collect();
        let expected = [
            ("ASNNumber", "64500"),
            ("ASNOrg", "Example"),
            ("ASNumber", "64500"),
            ("IsInEU", "false"),
            ("IsoCode", "NZ"),
            ("Latitude", "-41.500000"),
            ("Longitude", "174.000000"),
            ("SourceRange", "192.0.2.0/24"),
            ("reverse_dns", "host.example."),
        ];
        assert_eq!(found, expected);
    }
}
