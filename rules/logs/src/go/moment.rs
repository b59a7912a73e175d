//! Times as Go writes them (`Time.Format`), by the layouts that [`layout`](super::layout) reads.

use jiff::civil::DateTime;
use jiff::tz::Offset;

use super::layout::{DAYS, Element, MONTHS, next};
use super::number::put;

/// What a clock showed, by a layout.
pub(crate) fn format(layout: &str, local: DateTime, offset: Offset) -> String {
    let mut out = String::new();
    let mut rest = layout.as_bytes();
    loop {
        // Elements are ASCII, so what is between them is whole characters.
        let literal = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let Some((before, element, behind)) = next(rest) else {
            out.push_str(&literal(rest));
            return out;
        };
        out.push_str(&literal(before));
        let separator = rest.get(before.len()).copied().map_or('.', char::from);
        write(element, separator, local, offset, &mut out);
        rest = behind;
    }
}

/// Sunday is 0.
pub(crate) fn weekday(local: DateTime) -> usize {
    usize::try_from(local.weekday().to_sunday_zero_offset()).unwrap_or(0)
}

/// One element; `separator` is what stands in front of a fraction.
fn write(element: Element, separator: char, local: DateTime, offset: Offset, out: &mut String) {
    let half_hour = match local.hour() % 12 {
        0 => 12,
        hour => hour,
    };
    let month = MONTHS[usize::try_from(local.month() - 1).unwrap_or(0) % 12];
    let day = DAYS[weekday(local) % 7];
    let mut number = |fixed: bool, number: i16| match fixed {
        true => put(out, format_args!("{number:02}")),
        false => put(out, format_args!("{number}")),
    };
    match element {
        Element::NumberOfMonth(fixed) => number(fixed, local.month().into()),
        Element::Hour => number(true, local.hour().into()),
        Element::HalfHour(fixed) => number(fixed, half_hour.into()),
        Element::Minute(fixed) => number(fixed, local.minute().into()),
        Element::Second(fixed) => number(fixed, local.second().into()),
        Element::Year => number(true, local.year().rem_euclid(100)),
        Element::Day { fixed, space: false } => number(fixed, local.day().into()),
        Element::Day { space: true, .. } => put(out, format_args!("{:2}", local.day())),
        Element::DayOfYear { space: true } => put(out, format_args!("{:3}", local.day_of_year())),
        Element::DayOfYear { space: false } => put(out, format_args!("{:03}", local.day_of_year())),
        Element::LongYear => put(out, format_args!("{:04}", local.year())),
        Element::LongMonth => out.push_str(month),
        Element::Month => out.push_str(&month[..3]),
        Element::LongWeekday => out.push_str(day),
        Element::Weekday => out.push_str(&day[..3]),
        Element::HalfOfDay { upper } => out.push_str(match (upper, local.hour() < 12) {
            (true, true) => "AM",
            (true, false) => "PM",
            (false, true) => "am",
            (false, false) => "pm",
        }),
        Element::Fraction(digits) => {
            let all = format!("{:09}", local.subsec_nanosecond());
            out.push(separator);
            out.push_str(&all[..digits.min(9)]);
            out.extend((9..digits).map(|_| '0'));
        }
        Element::OptionalFraction => {
            let all = format!("{:09}", local.subsec_nanosecond());
            let shown = all.trim_end_matches('0');
            if !shown.is_empty() {
                out.push(separator);
                out.push_str(shown);
            }
        }
        Element::Zone if offset == Offset::UTC => out.push_str("UTC"),
        Element::Zone => write_offset(offset, (false, false, offset.seconds() % 3600 != 0, false), out),
        Element::Offset { z, colon, minutes, seconds } => {
            write_offset(offset, (z, colon, minutes, seconds), out)
        }
    }
}

fn write_offset(offset: Offset, (z, colon, minutes, seconds): (bool, bool, bool, bool), out: &mut String) {
    if z && offset == Offset::UTC {
        return out.push('Z');
    }
    let ahead = offset.seconds();
    let (sign, ahead) = (if ahead < 0 { '-' } else { '+' }, ahead.abs());
    let colon = if colon { ":" } else { "" };
    put(out, format_args!("{sign}{:02}", ahead / 3600));
    if minutes {
        put(out, format_args!("{colon}{:02}", ahead / 60 % 60));
    }
    if seconds {
        put(out, format_args!("{colon}{:02}", ahead % 60));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_write_what_go_writes() {
        let local = DateTime::new(2022, 10, 7, 4, 4, 5, 120_000_000).unwrap();
        let east = Offset::from_seconds(19_800).unwrap();
        for (layout, utc, there) in [
            ("2006-01-02T15:04:05Z07:00", "2022-10-07T04:04:05Z", "2022-10-07T04:04:05+05:30"),
            (
                "2006-01-02 15:04:05.999999999 -0700 MST",
                "2022-10-07 04:04:05.12 +0000 UTC",
                "2022-10-07 04:04:05.12 +0530 +0530",
            ),
            ("Mon Jan _2 3:4:5.000 PM 06", "Fri Oct  7 4:4:5.120 AM 22", "Fri Oct  7 4:4:5.120 AM 22"),
            ("Monday, 2 January, 002 __2 03pm,000", "Friday, 7 October, 280 280 04am,120", ""),
            ("é 15 ñ", "é 04 ñ", "é 04 ñ"),
        ] {
            assert_eq!(format(layout, local, Offset::UTC), utc);
            if !there.is_empty() {
                assert_eq!(format(layout, local, east), there);
            }
        }
    }
}
