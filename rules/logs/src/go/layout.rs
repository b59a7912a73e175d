//! Go's layouts of time (`time.Parse`): a layout is the moment `Mon Jan 2 15:04:05 MST 2006` as the log would write it.
//! Every element of Go 1.22 is known, with the same leniency: one digit where two are not asked for, fractions of a
//! second where the layout has none, any number of spaces for one.

use jiff::civil::{Date, DateTime};
use jiff::tz::Offset;

/// A time as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    /// What clock and calendar said. Year 0 = no year was written.
    pub(crate) local: DateTime,
    /// Seconds the clock is ahead of UTC; 0 where nothing was said.
    pub(crate) offset: Offset,
}

/// An element of a layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    LongMonth,
    Month,
    /// `1` or `01`: whether both digits must stand.
    NumberOfMonth(bool),
    LongWeekday,
    Weekday,
    /// `2`, `_2` or `02`: whether a space may stand, and whether both digits must.
    Day {
        space: bool,
        fixed: bool,
    },
    /// `__2` or `002`.
    DayOfYear {
        space: bool,
    },
    Hour,
    HalfHour(bool),
    Minute(bool),
    Second(bool),
    LongYear,
    Year,
    HalfOfDay {
        upper: bool,
    },
    Zone,
    Offset {
        z: bool,
        colon: bool,
        minutes: bool,
        seconds: bool,
    },
    /// `.000` or `,000`: with this many digits.
    Fraction(usize),
    /// `.999`: if there is one.
    OptionalFraction,
}

pub(crate) const MONTHS: [&str; 12] = [
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
pub(crate) const DAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// Reads a time as a layout says; nothing if it is written otherwise.
pub(crate) fn parse(layout: &str, value: &str) -> Option<Written> {
    let mut read = Read::default();
    let (mut layout, mut value) = (layout.as_bytes(), value.as_bytes());
    loop {
        let Some((prefix, element, behind)) = next(layout) else {
            return skip(value, layout)?.is_empty().then(|| read.finish()).flatten();
        };
        value = skip(value, prefix)?;
        layout = behind;
        value = read.element(element, value, layout)?;
    }
}

/// The first element of a layout, what stands before and behind it.
pub(super) fn next(layout: &[u8]) -> Option<(&[u8], Element, &[u8])> {
    (0..layout.len()).find_map(|at| {
        let (skipped, element, length) = element_at(layout, at)?;
        Some((&layout[..at + skipped], element, &layout[at + skipped + length..]))
    })
}

/// The element that begins at a place: bytes before it that are literal, the element, its length.
fn element_at(layout: &[u8], at: usize) -> Option<(usize, Element, usize)> {
    let rest = &layout[at..];
    let is = |text: &str| rest.starts_with(text.as_bytes());
    let lower = |at: usize| rest.get(at).is_some_and(u8::is_ascii_lowercase);
    let found = match rest[0] {
        b'J' if is("January") => (Element::LongMonth, 7),
        b'J' if is("Jan") && !lower(3) => (Element::Month, 3),
        b'M' if is("Monday") => (Element::LongWeekday, 6),
        b'M' if is("Mon") && !lower(3) => (Element::Weekday, 3),
        b'M' if is("MST") => (Element::Zone, 3),
        b'0' if is("002") => (Element::DayOfYear { space: false }, 3),
        b'0' if is("01") => (Element::NumberOfMonth(true), 2),
        b'0' if is("02") => (Element::Day { space: false, fixed: true }, 2),
        b'0' if is("03") => (Element::HalfHour(true), 2),
        b'0' if is("04") => (Element::Minute(true), 2),
        b'0' if is("05") => (Element::Second(true), 2),
        b'0' if is("06") => (Element::Year, 2),
        b'1' if is("15") => (Element::Hour, 2),
        b'1' => (Element::NumberOfMonth(false), 1),
        b'2' if is("2006") => (Element::LongYear, 4),
        b'2' => (Element::Day { space: false, fixed: false }, 1),
        b'_' if is("_2006") => return Some((1, Element::LongYear, 4)),
        b'_' if is("_2") => (Element::Day { space: true, fixed: false }, 2),
        b'_' if is("__2") => (Element::DayOfYear { space: true }, 3),
        b'3' => (Element::HalfHour(false), 1),
        b'4' => (Element::Minute(false), 1),
        b'5' => (Element::Second(false), 1),
        b'P' if is("PM") => (Element::HalfOfDay { upper: true }, 2),
        b'p' if is("pm") => (Element::HalfOfDay { upper: false }, 2),
        b'-' | b'Z' => offset_at(rest)?,
        b'.' | b',' => fraction_at(rest)?,
        _ => return None,
    };
    Some((0, found.0, found.1))
}

fn offset_at(rest: &[u8]) -> Option<(Element, usize)> {
    let z = rest[0] == b'Z';
    let forms: [(&[u8], bool, bool, bool); 5] = [
        (b"070000", false, true, true),
        (b"07:00:00", true, true, true),
        (b"0700", false, true, false),
        (b"07:00", true, true, false),
        (b"07", false, false, false),
    ];
    forms.into_iter().find_map(|(form, colon, minutes, seconds)| {
        let element = Element::Offset { z, colon, minutes, seconds };
        rest[1..].starts_with(form).then_some((element, form.len() + 1))
    })
}

fn fraction_at(rest: &[u8]) -> Option<(Element, usize)> {
    let digit = *rest.get(1).filter(|&&digit| matches!(digit, b'0' | b'9'))?;
    let digits = rest[1..].iter().take_while(|&&byte| byte == digit).count();
    if rest.get(1 + digits).is_some_and(u8::is_ascii_digit) {
        return None;
    }
    let element = if digit == b'0' { Element::Fraction(digits) } else { Element::OptionalFraction };
    Some((element, 1 + digits))
}

/// Takes literal text of the layout off a value. A run of spaces stands for any run of spaces.
fn skip<'v>(mut value: &'v [u8], mut prefix: &[u8]) -> Option<&'v [u8]> {
    while let Some((&first, rest)) = prefix.split_first() {
        if first == b' ' {
            if value.first().is_some_and(|&byte| byte != b' ') {
                return None;
            }
            prefix = prefix.trim_ascii_start_of_spaces();
            value = value.trim_ascii_start_of_spaces();
            continue;
        }
        if value.first() != Some(&first) {
            return None;
        }
        prefix = rest;
        value = &value[1..];
    }
    Some(value)
}

trait Spaces {
    fn trim_ascii_start_of_spaces(&self) -> &Self;
}

impl Spaces for [u8] {
    fn trim_ascii_start_of_spaces(&self) -> &Self {
        let spaces = self.iter().take_while(|&&byte| byte == b' ').count();
        &self[spaces..]
    }
}

/// What was read so far.
#[derive(Default)]
struct Read {
    year: i16,
    month: Option<i8>,
    day: Option<i8>,
    day_of_year: Option<i16>,
    hour: i8,
    minute: i8,
    second: i8,
    nanosecond: i32,
    /// `AM` = false, `PM` = true.
    afternoon: Option<bool>,
    /// Seconds ahead of UTC.
    offset: i32,
}

impl Read {
    /// Reads one element and gives what stands behind it. `layout` is what the layout has behind it.
    fn element<'v>(&mut self, element: Element, value: &'v [u8], layout: &[u8]) -> Option<&'v [u8]> {
        match element {
            Element::LongMonth | Element::Month => {
                let (month, behind) = lookup(&MONTHS, value, element == Element::LongMonth)?;
                self.month = Some(month + 1);
                Some(behind)
            }
            Element::LongWeekday | Element::Weekday => {
                lookup(&DAYS, value, element == Element::LongWeekday).map(|(_, behind)| behind)
            }
            Element::NumberOfMonth(fixed) => {
                let (month, behind) = number(value, fixed)?;
                self.month = Some(month);
                (1..=12).contains(&month).then_some(behind)
            }
            Element::Day { space, fixed } => {
                let value = if space { value.strip_prefix(b" ").unwrap_or(value) } else { value };
                let (day, behind) = number(value, fixed)?;
                self.day = Some(day);
                Some(behind)
            }
            Element::DayOfYear { space } => {
                let spaces =
                    if space { value.iter().take(2).take_while(|&&byte| byte == b' ').count() } else { 0 };
                let value = &value[spaces..];
                let digits = value.iter().take(3).take_while(|byte| byte.is_ascii_digit()).count();
                if !space && digits != 3 {
                    return None;
                }
                self.day_of_year = Some(i16::try_from(whole(&value[..digits])?).ok()?);
                Some(&value[digits..])
            }
            Element::Hour => {
                let (hour, behind) = number(value, false)?;
                self.hour = hour;
                (hour < 24).then_some(behind)
            }
            Element::HalfHour(fixed) => {
                let (hour, behind) = number(value, fixed)?;
                self.hour = hour;
                (hour <= 12).then_some(behind)
            }
            Element::Minute(fixed) => {
                let (minute, behind) = number(value, fixed)?;
                self.minute = minute;
                (minute < 60).then_some(behind)
            }
            Element::Second(fixed) => self.seconds(value, fixed, layout),
            Element::LongYear => {
                let (digits, behind) = value.split_at_checked(4)?;
                self.year = i16::try_from(whole(digits)?).ok()?;
                Some(behind)
            }
            Element::Year => {
                let (digits, behind) = value.split_at_checked(2)?;
                let year = i16::try_from(whole(digits)?).ok()?;
                self.year = if year >= 69 { 1900 + year } else { 2000 + year };
                Some(behind)
            }
            Element::HalfOfDay { upper } => {
                let (half, behind) = value.split_at_checked(2)?;
                self.afternoon = Some(match (half, upper) {
                    (b"PM", true) | (b"pm", false) => true,
                    (b"AM", true) | (b"am", false) => false,
                    _ => return None,
                });
                Some(behind)
            }
            Element::Zone => self.zone(value),
            Element::Offset { z, colon, minutes, seconds } => self.offset(value, z, colon, minutes, seconds),
            Element::Fraction(digits) => {
                let (fraction, behind) = value.split_at_checked(1 + digits)?;
                self.nanosecond = nanoseconds(fraction)?;
                Some(behind)
            }
            Element::OptionalFraction => self.optional_fraction(value),
        }
    }

    fn seconds<'v>(&mut self, value: &'v [u8], fixed: bool, layout: &[u8]) -> Option<&'v [u8]> {
        let (second, behind) = number(value, fixed)?;
        self.second = second;
        if second >= 60 {
            return None;
        }
        // A fraction is taken although the layout has none, unless that comes next.
        let comes = next(layout).is_some_and(|(_, element, _)| {
            matches!(element, Element::Fraction(_) | Element::OptionalFraction)
        });
        if comes { Some(behind) } else { self.optional_fraction(behind) }
    }

    fn optional_fraction<'v>(&mut self, value: &'v [u8]) -> Option<&'v [u8]> {
        let [b'.' | b',', digits @ ..] = value else { return Some(value) };
        let length = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if length == 0 {
            return Some(value);
        }
        self.nanosecond = nanoseconds(&value[..=length])?;
        Some(&digits[length..])
    }

    fn offset<'v>(
        &mut self,
        value: &'v [u8],
        z: bool,
        colon: bool,
        minutes: bool,
        seconds: bool,
    ) -> Option<&'v [u8]> {
        if z && let Some(behind) = value.strip_prefix(b"Z") {
            self.offset = 0;
            return Some(behind);
        }
        let (&sign, mut value) = value.split_first()?;
        let mut total = 0;
        for (wanted, size, most, first) in
            [(true, 3600, 24, true), (minutes, 60, 60, false), (seconds, 1, 60, false)]
        {
            if !wanted {
                continue;
            }
            if colon && !first {
                value = value.strip_prefix(b":")?;
            }
            let (part, behind) = number(value, true)?;
            // Go lets 24 hours and 60 minutes pass.
            if part > most {
                return None;
            }
            total += i32::from(part) * size;
            value = behind;
        }
        self.offset = match sign {
            b'+' => total,
            b'-' => -total,
            _ => return None,
        };
        Some(value)
    }

    /// Names of zones say nothing of their offset, but for `GMT-3`.
    fn zone<'v>(&mut self, value: &'v [u8]) -> Option<&'v [u8]> {
        if let Some(behind) = value.strip_prefix(b"UTC") {
            return Some(behind);
        }
        let length = zone_length(value)?;
        let (name, behind) = value.split_at(length);
        if let Some(signed) = name.strip_prefix(b"GMT")
            && let Some((sign, hours)) = signed.split_first()
        {
            let hours = i32::try_from(whole(hours)?).ok()?;
            self.offset = if *sign == b'-' { -hours * 3600 } else { hours * 3600 };
        }
        Some(behind)
    }

    fn finish(mut self) -> Option<Written> {
        match self.afternoon {
            Some(true) if self.hour < 12 => self.hour += 12,
            Some(false) if self.hour == 12 => self.hour = 0,
            Some(_) | None => {}
        }
        let date = match self.day_of_year {
            Some(day) => {
                let date = Date::new(self.year, 1, 1).ok()?;
                let found = date.with().day_of_year(day).build().ok()?;
                let fits = |wanted: Option<i8>, is: i8| wanted.is_none_or(|wanted| wanted == is);
                (fits(self.month, found.month()) && fits(self.day, found.day())).then_some(found)?
            }
            None => Date::new(self.year, self.month.unwrap_or(1), self.day.unwrap_or(1)).ok()?,
        };
        let local = date.at(self.hour, self.minute, self.second, self.nanosecond);
        Some(Written { local, offset: Offset::from_seconds(self.offset).ok()? })
    }
}

fn lookup<'v>(names: &[&str], value: &'v [u8], long: bool) -> Option<(i8, &'v [u8])> {
    names.iter().enumerate().find_map(|(at, name)| {
        let name = if long { name } else { &name[..3] };
        let (found, behind) = value.split_at_checked(name.len())?;
        let same = found.eq_ignore_ascii_case(name.as_bytes());
        same.then_some((i8::try_from(at).ok()?, behind))
    })
}

/// One or two digits.
fn number(value: &[u8], fixed: bool) -> Option<(i8, &[u8])> {
    let digit = |at: usize| {
        value.get(at).filter(|byte| byte.is_ascii_digit()).map(|byte| (byte - b'0').cast_signed())
    };
    let first = digit(0)?;
    match digit(1) {
        Some(second) => Some((first * 10 + second, &value[2..])),
        None => (!fixed).then_some((first, &value[1..])),
    }
}

fn whole(digits: &[u8]) -> Option<u32> {
    (!digits.is_empty() && digits.iter().all(u8::is_ascii_digit))
        .then(|| str::from_utf8(digits).ok()?.parse().ok())?
}

/// Nanoseconds of `.123`; digits beyond the ninth are left.
fn nanoseconds(fraction: &[u8]) -> Option<i32> {
    let (b'.' | b',', digits) = fraction.split_first().map(|(first, digits)| (*first, digits))? else {
        return None;
    };
    let digits = &digits[..digits.len().min(9)];
    let scale = 10_u32.pow(u32::try_from(9 - digits.len()).ok()?);
    i32::try_from(whole(digits)? * scale).ok()
}

/// How long the name of a zone is: three to five capitals, `GMT-3`, `ChST`, `MeST`, or `+03`.
fn zone_length(value: &[u8]) -> Option<usize> {
    if value.starts_with(b"ChST") || value.starts_with(b"MeST") {
        return Some(4);
    }
    if let Some(rest) = value.strip_prefix(b"GMT") {
        return Some(3 + signed_length(rest));
    }
    if matches!(value.first(), Some(b'+' | b'-')) {
        let length = signed_length(value);
        return (length > 0).then_some(length);
    }
    let capitals = value.iter().take(6).take_while(|byte| byte.is_ascii_uppercase()).count();
    match capitals {
        3 => Some(3),
        4 if value[3] == b'T' || &value[..4] == b"WITA" => Some(4),
        5 if value[4] == b'T' => Some(5),
        _ => None,
    }
}

/// How long `-3` or `+12` is; 0 if it is none up to 23.
fn signed_length(value: &[u8]) -> usize {
    let Some((b'+' | b'-', digits)) = value.split_first() else { return 0 };
    let length = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    match whole(&digits[..length]) {
        Some(0..=23) => 1 + length,
        Some(_) | None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(layout: &str, value: &str) -> Option<String> {
        parse(layout, value).map(|written| format!("{}{}", written.local, written.offset))
    }

    #[test]
    fn layouts_read_what_go_reads() {
        for (layout, value, expected) in [
            ("2006-01-02T15:04:05Z07:00", "2026-11-23T02:45:00Z", "2026-11-23T02:45:00+00"),
            ("2006-01-02T15:04:05Z07:00", "2026-11-23T02:45:00.5+01:00", "2026-11-23T02:45:00.5+01"),
            ("02/Jan/2006:15:04:05 -0700", "23/nov/2026:02:45:00 -0330", "2026-11-23T02:45:00-03:30"),
            ("Jan  2 15:04:05", "Nov  3 02:45:00", "0000-11-03T02:45:00+00"),
            ("Jan  2 15:04:05", "Feb 29 02:45:00", "0000-02-29T02:45:00+00"),
            ("Mon Jan _2 15:04:05 2006", "Mon Nov  3 02:45:00 2026", "2026-11-03T02:45:00+00"),
            ("060102 15:04:05", "261123  2:45:00", "2026-11-23T02:45:00+00"),
            ("0102 15:04:05", "1123 02:45:00", "0000-11-23T02:45:00+00"),
            ("01/02/2006, 3:04:05 PM", "11/23/2026, 12:45:00 AM", "2026-11-23T00:45:00+00"),
            ("2006-01-02 15:04:05,999999999", "2026-11-23 02:45:00,123", "2026-11-23T02:45:00.123+00"),
            ("2006-01-02 15:04:05.000-0700", "2026-11-23 02:45:00.123+0100", "2026-11-23T02:45:00.123+01"),
            ("2006-01-02T15:04:05.999Z", "2026-11-23T02:45:00Z", "2026-11-23T02:45:00+00"),
            (
                "2006-01-02 15:04:05.999999999 -0700 MST",
                "2026-11-23 02:45:00 +0100 CET",
                "2026-11-23T02:45:00+01",
            ),
            ("Monday, January 2 2006 MST", "monday, november 3 2026 GMT-3", "2026-11-03T00:00:00-03"),
            ("2006 __2", "2026 32", "2026-02-01T00:00:00+00"),
            ("2006 002", "2026 032", "2026-02-01T00:00:00+00"),
            ("2006 __2", "2026  32", "2026-02-01T00:00:00+00"),
            (
                "02-Jan-2006 15:04:05 europe/paris",
                "23-Nov-2026 02:45:00 europe/paris",
                "2026-11-23T02:45:00+00",
            ),
            ("Jan_2006", "Nov_2026", "2026-11-01T00:00:00+00"),
            ("Janvier", "Janvier", "0000-01-01T00:00:00+00"),
        ] {
            assert_eq!(read(layout, value).unwrap_or_default(), expected, "{layout}: {value}");
        }
    }

    #[test]
    fn what_is_written_otherwise_is_not_read() {
        for (layout, value) in [
            ("2006-01-02", "2026-1-02"),
            ("2006-01-02", "2026-02-30"),
            ("2006-01-02", "2026-01-02 "),
            ("2006-01-02 15:04:05", "2026-01-02 24:00:00"),
            ("15:04", "02:60"),
            ("15:04:05.000", "02:45:00"),
            ("15:04:05.000", "02:45:00.12x"),
            ("Jan 2", "Nox 3"),
            ("MST", "Cet"),
            ("-07:00", "+0100"),
            ("2006", "20é"),
            ("3 PM", "13 PM"),
        ] {
            assert_eq!(read(layout, value), None, "{layout}: {value}");
        }
    }
}
