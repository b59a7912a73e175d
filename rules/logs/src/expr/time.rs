//! Times and durations as Go has them: methods, layouts, texts.

use std::sync::Arc;

use jiff::civil::{Date, DateTime};
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Span, Timestamp};

use super::number::put;
use super::value::NUMBER;
use super::{Object, Problem, Value};

const SECOND: i64 = 1_000_000_000;
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

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
        let mut out = String::new();
        let mut rest = layout;
        while !rest.is_empty() {
            let (before, part, behind) = next_part(rest);
            out.push_str(before);
            if let Some(part) = part {
                self.write_part(part, &mut out);
            }
            rest = behind;
        }
        out
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

    /// The time that a text shows by one of Go's layouts; a zone it does not name is `zone`.
    ///
    /// # Errors
    /// If the text does not follow the layout.
    pub fn parse(text: &str, layout: &str, zone: &TimeZone) -> Result<Self, Problem> {
        let wrong = || Problem::new(format!("`{text}` is no time like `{layout}`"));
        let mut reading = Reading::default();
        let (mut rest, mut input) = (layout, text);
        while !rest.is_empty() {
            let (before, part, behind) = next_part(rest);
            input = input.strip_prefix(before).ok_or_else(wrong)?;
            if let Some(part) = part {
                input = reading.part(part, input, behind).ok_or_else(wrong)?;
            }
            rest = behind;
        }
        if !input.is_empty() {
            return Err(wrong());
        }
        reading.time(zone).ok_or_else(wrong)
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

    fn write_part(&self, part: Part, out: &mut String) {
        let civil = self.civil();
        let hour12 = match civil.hour() % 12 {
            0 => 12,
            hour => hour,
        };
        let month = MONTHS[usize::try_from(civil.month() - 1).unwrap_or(0) % 12];
        let day = DAYS[weekday(civil) % 7];
        match part {
            Part::LongYear => put(out, format_args!("{:04}", civil.year())),
            Part::ShortYear => put(out, format_args!("{:02}", civil.year().rem_euclid(100))),
            Part::LongMonth => out.push_str(month),
            Part::ShortMonth => out.push_str(&month[..3]),
            Part::TwoMonth => put(out, format_args!("{:02}", civil.month())),
            Part::Month => put(out, format_args!("{}", civil.month())),
            Part::LongDay => out.push_str(day),
            Part::ShortDay => out.push_str(&day[..3]),
            Part::TwoDay => put(out, format_args!("{:02}", civil.day())),
            Part::SpaceDay => put(out, format_args!("{:2}", civil.day())),
            Part::Day => put(out, format_args!("{}", civil.day())),
            Part::DayOfYear => put(out, format_args!("{:03}", civil.day_of_year())),
            Part::Hour24 => put(out, format_args!("{:02}", civil.hour())),
            Part::TwoHour12 => put(out, format_args!("{hour12:02}")),
            Part::Hour12 => put(out, format_args!("{hour12}")),
            Part::TwoMinute => put(out, format_args!("{:02}", civil.minute())),
            Part::Minute => put(out, format_args!("{}", civil.minute())),
            Part::TwoSecond => put(out, format_args!("{:02}", civil.second())),
            Part::Second => put(out, format_args!("{}", civil.second())),
            Part::Noon { upper } => {
                let text = if civil.hour() < 12 { "AM" } else { "PM" };
                put(out, format_args!("{}", if upper { text.to_owned() } else { text.to_lowercase() }))
            }
            Part::Fraction { separator, digits, trims } => {
                let all = format!("{:09}", civil.subsec_nanosecond());
                let shown = &all[..digits.min(9)];
                let shown = if trims { shown.trim_end_matches('0') } else { shown };
                if !shown.is_empty() {
                    out.push(separator);
                    out.push_str(shown);
                }
            }
            Part::Zone => {
                if self.offset == Offset::UTC {
                    out.push_str("UTC");
                } else {
                    write_offset(
                        self.offset,
                        Shape { z: false, colon: false, minutes: true, seconds: false },
                        out,
                    );
                }
            }
            Part::Offset(shape) => {
                write_offset(self.offset, shape, out);
            }
        }
    }
}

/// Sunday is 0.
fn weekday(civil: DateTime) -> usize {
    usize::try_from(civil.weekday().to_sunday_zero_offset()).unwrap_or(0)
}

fn write_offset(offset: Offset, shape: Shape, out: &mut String) {
    if shape.z && offset == Offset::UTC {
        return out.push('Z');
    }
    let seconds = offset.seconds();
    let (sign, seconds) = (if seconds < 0 { '-' } else { '+' }, seconds.abs());
    let colon = if shape.colon { ":" } else { "" };
    put(out, format_args!("{sign}{:02}", seconds / 3600));
    if shape.minutes {
        put(out, format_args!("{colon}{:02}", seconds / 60 % 60));
    }
    if shape.seconds {
        put(out, format_args!("{colon}{:02}", seconds % 60));
    }
}

/// What of an offset a layout shows.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Shape {
    z: bool,
    colon: bool,
    minutes: bool,
    seconds: bool,
}

/// A piece of a layout that stands for something.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Part {
    LongYear,
    ShortYear,
    LongMonth,
    ShortMonth,
    TwoMonth,
    Month,
    LongDay,
    ShortDay,
    TwoDay,
    SpaceDay,
    Day,
    DayOfYear,
    Hour24,
    TwoHour12,
    Hour12,
    TwoMinute,
    Minute,
    TwoSecond,
    Second,
    Noon { upper: bool },
    Fraction { separator: char, digits: usize, trims: bool },
    Zone,
    Offset(Shape),
}

const fn shape(z: bool, colon: bool, minutes: bool, seconds: bool) -> Part {
    Part::Offset(Shape { z, colon, minutes, seconds })
}

/// Longest first where one begins another.
const PARTS: [(&str, Part); 31] = [
    ("January", Part::LongMonth),
    ("Jan", Part::ShortMonth),
    ("Monday", Part::LongDay),
    ("Mon", Part::ShortDay),
    ("MST", Part::Zone),
    ("2006", Part::LongYear),
    ("002", Part::DayOfYear),
    ("01", Part::TwoMonth),
    ("02", Part::TwoDay),
    ("03", Part::TwoHour12),
    ("04", Part::TwoMinute),
    ("05", Part::TwoSecond),
    ("06", Part::ShortYear),
    ("15", Part::Hour24),
    ("_2006", Part::LongYear),
    ("_2", Part::SpaceDay),
    ("PM", Part::Noon { upper: true }),
    ("pm", Part::Noon { upper: false }),
    ("-07:00:00", shape(false, true, true, true)),
    ("-07:00", shape(false, true, true, false)),
    ("-070000", shape(false, false, true, true)),
    ("-0700", shape(false, false, true, false)),
    ("-07", shape(false, false, false, false)),
    ("Z07:00:00", shape(true, true, true, true)),
    ("Z07:00", shape(true, true, true, false)),
    ("Z070000", shape(true, false, true, true)),
    ("Z0700", shape(true, false, true, false)),
    ("Z07", shape(true, false, false, false)),
    ("1", Part::Month),
    ("2", Part::Day),
    ("3", Part::Hour12),
];
const LAST_PARTS: [(&str, Part); 2] = [("4", Part::Minute), ("5", Part::Second)];

/// What stands in front of the next piece, the piece, and what stands behind.
fn next_part(layout: &str) -> (&str, Option<Part>, &str) {
    for (at, character) in layout.char_indices() {
        let rest = &layout[at..];
        if matches!(character, '.' | ',') {
            let digit = rest.as_bytes().get(1).copied().filter(|digit| matches!(digit, b'0' | b'9'));
            if let Some(digit) = digit {
                let digits = rest[1..].bytes().take_while(|next| *next == digit).count();
                if !rest.as_bytes().get(1 + digits).is_some_and(u8::is_ascii_digit) {
                    let part = Part::Fraction { separator: character, digits, trims: digit == b'9' };
                    return (&layout[..at], Some(part), &rest[1 + digits..]);
                }
            }
        }
        // "_2006" is a space-like `_` and a year.
        if rest.starts_with("_2006") {
            return (&layout[..=at], Some(Part::LongYear), &rest[5..]);
        }
        for (text, part) in PARTS.iter().chain(&LAST_PARTS) {
            // A month's short name inside of a longer word is none.
            if let Some(behind) = rest.strip_prefix(text)
                && !(*text == "Jan" && behind.starts_with(|next: char| next.is_ascii_lowercase()))
            {
                return (&layout[..at], Some(*part), behind);
            }
        }
    }
    (layout, None, "")
}

/// What a text has shown so far.
#[derive(Debug, Default)]
struct Reading {
    year: Option<i16>,
    month: Option<i8>,
    day: Option<i8>,
    day_of_year: Option<i16>,
    hour: i8,
    noon: Option<bool>,
    minute: i8,
    second: i8,
    nanosecond: i32,
    offset: Option<Offset>,
}

impl Reading {
    /// Reads one piece and returns what stands behind it.
    fn part<'t>(&mut self, part: Part, input: &'t str, layout_behind: &str) -> Option<&'t str> {
        let mut input = input;
        match part {
            Part::LongYear => self.year = Some(i16::try_from(number(&mut input, 4, 4)?).ok()?),
            Part::ShortYear => {
                let year = number(&mut input, 2, 2)?;
                self.year = i16::try_from(if year >= 69 { 1900 + year } else { 2000 + year }).ok();
            }
            Part::LongMonth => self.month = Some(name(&mut input, &MONTHS, usize::MAX)? + 1),
            Part::ShortMonth => self.month = Some(name(&mut input, &MONTHS, 3)? + 1),
            Part::TwoMonth => self.month = Some(small(&mut input, 2, 2)?),
            Part::Month => self.month = Some(small(&mut input, 1, 2)?),
            Part::LongDay => {
                name(&mut input, &DAYS, usize::MAX)?;
            }
            Part::ShortDay => {
                name(&mut input, &DAYS, 3)?;
            }
            Part::TwoDay => self.day = Some(small(&mut input, 2, 2)?),
            Part::SpaceDay | Part::Day => {
                input = input.strip_prefix(' ').unwrap_or(input);
                self.day = Some(small(&mut input, 1, 2)?);
            }
            Part::DayOfYear => self.day_of_year = i16::try_from(number(&mut input, 3, 3)?).ok(),
            // One digit is enough for Go here.
            Part::Hour24 => self.hour = small(&mut input, 1, 2).filter(|hour| *hour < 24)?,
            Part::TwoHour12 => self.hour = small(&mut input, 2, 2).filter(|hour| *hour <= 12)?,
            Part::Hour12 => self.hour = small(&mut input, 1, 2).filter(|hour| *hour <= 12)?,
            Part::TwoMinute => self.minute = small(&mut input, 2, 2).filter(|minute| *minute < 60)?,
            Part::Minute => self.minute = small(&mut input, 1, 2).filter(|minute| *minute < 60)?,
            Part::TwoSecond | Part::Second => {
                let least = if part == Part::TwoSecond { 2 } else { 1 };
                self.second = small(&mut input, least, 2).filter(|second| *second < 60)?;
                // A fraction is taken even where the layout has none.
                if !layout_behind.starts_with(['.', ',']) {
                    self.fraction(&mut input);
                }
            }
            Part::Noon { .. } => {
                let (text, rest) = input.split_at_checked(2)?;
                self.noon = Some(match text {
                    "AM" | "am" => false,
                    "PM" | "pm" => true,
                    _ => return None,
                });
                input = rest;
            }
            Part::Fraction { digits, trims, .. } => {
                let before = input.len();
                self.fraction(&mut input);
                if !trims && before - input.len() != digits + 1 {
                    return None;
                }
            }
            Part::Zone => input = self.zone(input)?,
            Part::Offset(shape) => input = self.offset(shape, input)?,
        }
        Some(input)
    }

    fn fraction(&mut self, input: &mut &str) {
        let Some(digits) = input.strip_prefix(['.', ',']) else { return };
        let count = digits.bytes().take_while(u8::is_ascii_digit).count();
        if count > 0 {
            let nine = digits[..count].bytes().chain(std::iter::repeat(b'0')).take(9);
            self.nanosecond = nine.fold(0, |number, digit| number * 10 + i32::from(digit - b'0'));
            *input = &digits[count..];
        }
    }

    fn zone<'t>(&mut self, input: &'t str) -> Option<&'t str> {
        if input.starts_with(['+', '-']) {
            return self
                .offset(Shape { z: false, colon: false, minutes: input.len() >= 5, seconds: false }, input);
        }
        let letters = input.bytes().take_while(u8::is_ascii_uppercase).count();
        let (name, rest) = input.split_at_checked(letters).filter(|_| (3..=5).contains(&letters))?;
        // As Go does: an abbreviation that is not known here says nothing about the offset.
        if matches!(name, "UTC" | "GMT") || self.offset.is_none() {
            self.offset = self.offset.or(Some(Offset::UTC));
        }
        Some(rest)
    }

    fn offset<'t>(&mut self, shape: Shape, input: &'t str) -> Option<&'t str> {
        if shape.z
            && let Some(rest) = input.strip_prefix('Z')
        {
            self.offset = Some(Offset::UTC);
            return Some(rest);
        }
        let sign = match input.bytes().next()? {
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        let mut input = &input[1..];
        let mut seconds = number(&mut input, 2, 2)? * 3600;
        for (shown, unit) in [(shape.minutes, 60), (shape.seconds, 1)] {
            if shown {
                if shape.colon {
                    input = input.strip_prefix(':')?;
                }
                seconds += number(&mut input, 2, 2).filter(|number| *number < 60)? * unit;
            }
        }
        self.offset = Some(Offset::from_seconds(sign * seconds).ok()?);
        Some(input)
    }

    fn time(self, zone: &TimeZone) -> Option<Time> {
        let hour = match (self.noon, self.hour) {
            (None, hour) => hour,
            (Some(true), hour) if hour < 12 => hour + 12,
            (Some(false), 12) => 0,
            (Some(_), hour) => hour,
        };
        let year = self.year.unwrap_or(0);
        let date = match self.day_of_year {
            Some(day) if self.month.is_none() => {
                Date::new(year, 1, 1).ok()?.with().day_of_year(day).build().ok()?
            }
            _ => Date::new(year, self.month.unwrap_or(1), self.day.unwrap_or(1)).ok()?,
        };
        let civil = date.at(hour, self.minute, self.second, self.nanosecond);
        if let Some(offset) = self.offset {
            return Some(Time { instant: offset.to_timestamp(civil).ok()?, offset });
        }
        let zoned = zone.to_ambiguous_zoned(civil).compatible().ok()?;
        Some(Time { instant: zoned.timestamp(), offset: zoned.offset() })
    }
}

/// Reads `least` to `most` digits.
fn number(input: &mut &str, least: usize, most: usize) -> Option<i32> {
    let digits = input.bytes().take(most).take_while(u8::is_ascii_digit).count();
    if digits < least {
        return None;
    }
    let number = input[..digits].parse().ok()?;
    *input = &input[digits..];
    Some(number)
}

fn small(input: &mut &str, least: usize, most: usize) -> Option<i8> {
    i8::try_from(number(input, least, most)?).ok()
}

/// Reads one of these names (their first `length` letters), in any case, and returns its place.
fn name(input: &mut &str, names: &[&str], length: usize) -> Option<i8> {
    let place = names.iter().position(|name| {
        let name = &name[..length.min(name.len())];
        input.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
    })?;
    *input = &input[length.min(names[place].len())..];
    i8::try_from(place).ok()
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
    let found = LAYOUTS.iter().find_map(|layout| Time::parse(text, layout, &TimeZone::UTC).ok());
    found.ok_or_else(|| Problem::new(format!("`{text}` is no date that is known without a layout")))
}

/// A duration as Go writes it: `1h30m0s`, `1.5ms`.
pub(super) fn write_duration(nanoseconds: i64, out: &mut String) {
    if nanoseconds == 0 {
        return out.push_str("0s");
    }
    if nanoseconds < 0 {
        out.push('-');
    }
    let all = nanoseconds.unsigned_abs();
    let second = SECOND.unsigned_abs();
    if all < second {
        let (unit, text) = match all {
            0..1_000 => (1, "ns"),
            1_000..1_000_000 => (1_000, "µs"),
            _ => (1_000_000, "ms"),
        };
        write_part_of(all / unit, all % unit, unit, out);
        return out.push_str(text);
    }
    let seconds = all / second;
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    if hours > 0 {
        put(out, format_args!("{hours}h"));
    }
    if hours > 0 || minutes > 0 {
        put(out, format_args!("{minutes}m"));
    }
    write_part_of(seconds % 60, all % second, second, out);
    out.push('s');
}

fn write_part_of(whole: u64, part: u64, unit: u64, out: &mut String) {
    put(out, format_args!("{whole}"));
    if part > 0 {
        let digits = usize::try_from(unit.ilog10()).unwrap_or(9);
        let text = format!("{part:0digits$}");
        out.push('.');
        out.push_str(text.trim_end_matches('0'));
    }
}

/// A duration as Go reads it: `1h30m`, `-1.5s`, `0`.
pub(super) fn read_duration(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let whole = rest.bytes().take_while(u8::is_ascii_digit).count();
        let mut value = if whole == 0 { 0 } else { rest[..whole].parse::<i64>().ok()?.into() };
        let mut digits = whole;
        rest = &rest[whole..];
        let mut scale: i128 = 1;
        if let Some(behind) = rest.strip_prefix('.') {
            let part = behind.bytes().take_while(u8::is_ascii_digit).count();
            digits += part;
            for digit in behind[..part].bytes().take(15) {
                value = value * 10 + i128::from(digit - b'0');
                scale *= 10;
            }
            rest = &behind[part..];
        }
        if digits == 0 {
            return None;
        }
        let letters = rest.find(|next: char| next == '.' || next.is_ascii_digit()).unwrap_or(rest.len());
        let unit: i128 = match &rest[..letters] {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => SECOND.into(),
            "m" => i128::from(SECOND) * 60,
            "h" => i128::from(SECOND) * 3600,
            _ => return None,
        };
        rest = &rest[letters..];
        total = total.checked_add(value * unit / scale)?;
    }
    i64::try_from(total * sign).ok()
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
        ("Weekday", []) => Some(Ok(named("time.Weekday", &DAYS, weekday(civil), weekday(civil)))),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, layout: &str) -> Option<String> {
        Time::parse(text, layout, &TimeZone::UTC).ok().map(|time| time.rfc3339())
    }

    #[test]
    fn layouts() {
        let text = |found: Option<String>| found.unwrap_or_default();
        for (input, layout, expected) in [
            ("2022-10-17T14:14:21Z", "2006-01-02T15:04:05Z07:00", "2022-10-17T14:14:21Z"),
            ("2022-10-17T14:14:21.5+02:00", "2006-01-02T15:04:05Z07:00", "2022-10-17T14:14:21+02:00"),
            ("17/Oct/2022:14:14:21 +0000", "02/Jan/2006:15:04:05 -0700", "2022-10-17T14:14:21Z"),
            ("Oct  7 04:14:21", "Jan _2 15:04:05", "0000-10-07T04:14:21Z"),
            ("Mon, 02 Jan 2006 15:04:05 GMT", "Mon, 02 Jan 2006 15:04:05 MST", "2006-01-02T15:04:05Z"),
            ("1/2/06 3:04PM", "1/2/06 3:04PM", "2006-01-02T15:04:00Z"),
            ("2024 060", "2006 002", "2024-02-29T00:00:00Z"),
        ] {
            assert_eq!(text(parse(input, layout)), expected, "{input} by {layout}");
        }
        for (input, layout) in
            [("2022-13-01", "2006-01-02"), ("2022-01-01x", "2006-01-02"), ("", "2006"), ("x", "1")]
        {
            assert_eq!(parse(input, layout), None, "{input}");
        }
        let time = Time::utc("2022-10-07T04:04:05.120Z".parse().unwrap());
        assert_eq!(
            time.format("Mon Jan _2 3:4:5.000 PM 2006 .99 MST Z07:00"),
            "Fri Oct  7 4:4:5.120 AM 2022 .12 UTC Z"
        );
        assert_eq!(time.text(), "2022-10-07 04:04:05.12 +0000 UTC");
    }

    #[test]
    fn durations() {
        for (text, written) in [
            ("1h30m", "1h30m0s"),
            ("90s", "1m30s"),
            ("-1.5s", "-1.5s"),
            ("1500us", "1.5ms"),
            ("0", "0s"),
            ("5ns", "5ns"),
        ] {
            let mut out = String::new();
            write_duration(read_duration(text).unwrap(), &mut out);
            assert_eq!(out, written);
        }
        for wrong in ["", "1", "h", "1d", ".s", "9999999999h", "1h-1m"] {
            assert_eq!(read_duration(wrong), None, "{wrong}");
        }
        let mut out = String::new();
        write_duration(i64::MIN, &mut out);
        assert_eq!(out, "-2562047h47m16.854775808s");
    }
}
