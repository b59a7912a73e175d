//! Times and durations as Go has them: methods, layouts, texts.

use std::sync::Arc;

use jiff::civil::{Date, DateTime};
use jiff::tz::Offset;
use jiff::{SignedDuration, Span, Timestamp};

use super::value::NUMBER;
use super::{Object, Problem, Value};
use crate::go::layout::{self, DAYS, MONTHS};
use crate::go::moment;

const SECOND: i64 = 1_000_000_000;

/// A point in time, and how far from UTC the clock stood that showed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time {
    /// The instant, to the nanosecond.
    pub instant: Timestamp,
    /// What the clock was ahead of UTC.
    pub offset: Offset,
}

impl Time {
    /// A time shown in UTC.
    #[must_use]
    pub fn utc(instant: Timestamp) -> Self {
        Self { instant, offset: Offset::UTC }
    }

    /// Go's zero time, 1 January of the year 1.
    #[must_use]
    pub fn zero() -> Self {
        Self::utc(Timestamp::from_second(-62_135_596_800).unwrap_or(Timestamp::UNIX_EPOCH))
    }

    /// Date and clock as shown.
    #[must_use]
    pub fn civil(&self) -> DateTime {
        self.offset.to_datetime(self.instant)
    }

    /// The text by one of Go's layouts, such as `2006-01-02T15:04:05Z07:00`.
    #[must_use]
    pub fn format(&self, layout: &str) -> String {
        moment::format(layout, self.civil(), self.offset)
    }

    /// As RFC 3339 to the second, as `time.RFC3339` writes it.
    #[must_use]
    pub fn rfc3339(&self) -> String {
        self.format("2006-01-02T15:04:05Z07:00")
    }

    /// As Go's `String()`.
    pub(super) fn text(&self) -> String {
        self.format("2006-01-02 15:04:05.999999999 -0700 MST")
    }

    /// The time that a text shows by one of Go's layouts; in UTC where it names no offset.
    ///
    /// # Errors
    /// If the text does not follow the layout.
    pub fn parse(text: &str, layout: &str) -> Result<Self, Problem> {
        let written = layout::parse(layout, text);
        let time = written.and_then(|written| {
            let instant = written.offset.to_timestamp(written.local).ok()?;
            Some(Self { instant, offset: written.offset })
        });
        time.ok_or_else(|| Problem::new(format!("`{text}` is no time like `{layout}`")))
    }

    /// The time so many nanoseconds later.
    ///
    /// # Errors
    /// If that is outside of what can be counted.
    pub(super) fn later(self, nanoseconds: i64) -> Result<Self, Problem> {
        let instant = self.instant.checked_add(SignedDuration::from_nanos(nanoseconds));
        let instant = instant.map_err(|_| Problem::fixed("a time too far away"))?;
        Ok(Self { instant, offset: self.offset })
    }

    /// Nanoseconds since another time, held at the ends of what fits.
    pub(super) fn since(self, earlier: Self) -> i64 {
        let nanoseconds = self.instant.as_nanosecond() - earlier.instant.as_nanosecond();
        i64::try_from(nanoseconds).unwrap_or(if nanoseconds < 0 { i64::MIN } else { i64::MAX })
    }
}

/// The layouts that `date("…")` tries.
const LAYOUTS: [&str; 7] = [
    "2006-01-02",
    "15:04:05",
    "2006-01-02 15:04:05",
    "2006-01-02T15:04:05Z07:00",
    "02 Jan 06 15:04 MST",
    "Monday, 02-Jan-06 15:04:05 MST",
    "Mon, 02 Jan 2006 15:04:05 MST",
];

/// `date(text)`
pub(super) fn read(text: &str) -> Result<Time, Problem> {
    let found = LAYOUTS.iter().find_map(|layout| Time::parse(text, layout).ok());
    found.ok_or_else(|| Problem::new(format!("`{text}` is no date that is known without a layout")))
}

/// Go's named numbers: a weekday or a month compares as a number and is written as a name.
#[derive(Debug)]
struct Named {
    kind: &'static str,
    number: i64,
    name: &'static str,
}

impl Object for Named {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn field(&self, name: &str) -> Option<Value> {
        (name == NUMBER).then_some(Value::Int(self.number))
    }

    fn call(&self, name: &str, _: &[Value]) -> Option<Result<Value, Problem>> {
        (name == "String").then(|| Ok(Value::text(self.name)))
    }

    fn text(&self) -> Option<String> {
        Some(self.name.to_owned())
    }
}

fn named(kind: &'static str, names: &'static [&'static str], place: usize, number: usize) -> Value {
    let number = i64::try_from(number).unwrap_or(0);
    Value::Object(Arc::new(Named { kind, number, name: names.get(place).copied().unwrap_or("") }))
}

/// A method of a time; `None` = it has none of this name.
pub(super) fn call(time: Time, name: &str, arguments: &[Value]) -> Option<Result<Value, Problem>> {
    let civil = time.civil();
    let int = |number: i64| Some(Ok(Value::Int(number)));
    match (name, arguments) {
        ("Year", []) => int(civil.year().into()),
        ("Month", []) => {
            let month = usize::try_from(civil.month()).unwrap_or(1);
            Some(Ok(named("time.Month", &MONTHS, month.saturating_sub(1), month)))
        }
        ("Day", []) => int(civil.day().into()),
        ("YearDay", []) => int(civil.day_of_year().into()),
        ("Weekday", []) => {
            Some(Ok(named("time.Weekday", &DAYS, moment::weekday(civil), moment::weekday(civil))))
        }
        ("Hour", []) => int(civil.hour().into()),
        ("Minute", []) => int(civil.minute().into()),
        ("Second", []) => int(civil.second().into()),
        ("Nanosecond", []) => int(civil.subsec_nanosecond().into()),
        ("Unix", []) => int(time.instant.as_nanosecond().div_euclid(SECOND.into()).try_into().unwrap_or(0)),
        ("UnixMilli", []) => int(time.instant.as_millisecond()),
        ("UnixMicro", []) => int(time.instant.as_microsecond()),
        ("UnixNano", []) => int(i64::try_from(time.instant.as_nanosecond()).unwrap_or(0)),
        ("UTC" | "Local", []) => Some(Ok(Value::Time(Time::utc(time.instant)))),
        ("IsZero", []) => Some(Ok(Value::Bool(time.instant == Time::zero().instant))),
        ("String", []) => Some(Ok(Value::from(time.text()))),
        ("Format", [Value::Text(layout)]) => Some(Ok(Value::from(time.format(layout)))),
        ("Add", [Value::Duration(duration)]) => Some(time.later(*duration).map(Value::Time)),
        ("Sub", [Value::Time(other)]) => Some(Ok(Value::Duration(time.since(*other)))),
        ("AddDate", [Value::Int(years), Value::Int(months), Value::Int(days)]) => {
            Some(add_date(time, *years, *months, *days).ok_or_else(|| Problem::fixed("a time too far away")))
        }
        ("After", [Value::Time(other)]) => Some(Ok(Value::Bool(time.instant > other.instant))),
        ("Before", [Value::Time(other)]) => Some(Ok(Value::Bool(time.instant < other.instant))),
        ("Equal", [Value::Time(other)]) => Some(Ok(Value::Bool(time.instant == other.instant))),
        ("Compare", [Value::Time(other)]) => int(time.instant.cmp(&other.instant) as i64),
        ("Truncate" | "Round", [Value::Duration(unit)]) => {
            Some(Ok(Value::Time(rounded(time, *unit, name == "Round"))))
        }
        _ => None,
    }
}

/// Go's `AddDate`: a day that a month does not have runs over into the next.
fn add_date(time: Time, years: i64, months: i64, days: i64) -> Option<Value> {
    let civil = time.civil();
    let all = i64::from(civil.year()).checked_add(years)?.checked_mul(12)?;
    let all = all.checked_add(i64::from(civil.month()) - 1)?.checked_add(months)?;
    let (year, month) = (i16::try_from(all.div_euclid(12)).ok()?, i8::try_from(all.rem_euclid(12)).ok()? + 1);
    let first = Date::new(year, month, 1).ok()?.to_datetime(civil.time());
    let days = days.checked_add(i64::from(civil.day()) - 1)?;
    let moved = first.checked_add(Span::new().try_days(days).ok()?).ok()?;
    Some(Value::Time(Time { instant: time.offset.to_timestamp(moved).ok()?, offset: time.offset }))
}

/// To a whole number of units since Go's zero time.
fn rounded(time: Time, unit: i64, half_up: bool) -> Time {
    if unit <= 0 {
        return time;
    }
    let (unit, start) = (i128::from(unit), Time::zero().instant.as_nanosecond());
    let since = time.instant.as_nanosecond() - start;
    let behind = since.rem_euclid(unit);
    let since = since - behind + if half_up && behind * 2 >= unit { unit } else { 0 };
    let instant = Timestamp::from_nanosecond(start + since).unwrap_or(time.instant);
    Time { instant, offset: time.offset }
}

/// A method of a duration; `None` = it has none of this name.
pub(super) fn call_duration(
    nanoseconds: i64,
    name: &str,
    arguments: &[Value],
) -> Option<Result<Value, Problem>> {
    #[expect(clippy::cast_precision_loss, reason = "as Go does")]
    let float = |unit: i64| {
        Some(Ok(Value::Float((nanoseconds / unit) as f64 + (nanoseconds % unit) as f64 / unit as f64)))
    };
    match (name, arguments) {
        ("Hours", []) => float(3600 * SECOND),
        ("Minutes", []) => float(60 * SECOND),
        ("Seconds", []) => float(SECOND),
        ("Milliseconds", []) => Some(Ok(Value::Int(nanoseconds / 1_000_000))),
        ("Microseconds", []) => Some(Ok(Value::Int(nanoseconds / 1_000))),
        ("Nanoseconds", []) => Some(Ok(Value::Int(nanoseconds))),
        ("Abs", []) => Some(Ok(Value::Duration(nanoseconds.saturating_abs()))),
        ("String", []) => Some(Ok(Value::from(Value::Duration(nanoseconds).to_string()))),
        ("Truncate", [Value::Duration(unit)]) if *unit > 0 => {
            Some(Ok(Value::Duration(nanoseconds - nanoseconds % unit)))
        }
        ("Round", [Value::Duration(unit)]) if *unit > 0 => {
            let behind = nanoseconds % unit;
            let down = nanoseconds - behind;
            let away = behind.unsigned_abs() * 2 >= unit.unsigned_abs();
            Some(Ok(Value::Duration(if away {
                down.saturating_add(unit * nanoseconds.signum())
            } else {
                down
            })))
        }
        ("Truncate" | "Round", [Value::Duration(_)]) => Some(Ok(Value::Duration(nanoseconds))),
        _ => None,
    }
}
