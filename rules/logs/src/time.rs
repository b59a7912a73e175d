//! Times as logs write them, recognised by their shape.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use model::Timestamp;

/// Years looked back for a date without a year; covers 29 February over a century that has none.
const YEARS_BACK: i16 = 8;
/// How far in the future a date without a year may lie before the year before is meant.
const AHEAD: i64 = 86_400_000_000;

/// Reads times. Holds the zone of times that name none, and the last minute read (most lines share it).
#[derive(Clone, Debug)]
pub struct Clock {
    zone: TimeZone,
    last_minute: Option<(DateTime, i64)>,
}

impl Clock {
    /// Times without an offset are taken as local to `zone`.
    #[must_use]
    pub fn new(zone: TimeZone) -> Self {
        Self { zone, last_minute: None }
    }

    /// Reads one of: `Nov 23 02:45:00[.123]` (optionally with a year before or behind the clock; without, the latest
    /// year that is not more than a day after `now`), RFC 3339 or ISO 8601 with `T` or a space, with or without
    /// offset (or `UTC`, `GMT` in its place), `2026/11/23 02:45:00` (nginx error log), `23 Nov 2026 02:45:00` (RFC 5322
    /// without the weekday), `23/Nov/2026:02:45:00 +0100` (common log format), seconds since 1970 with or without
    /// fraction.
    pub fn read(&mut self, text: &[u8], now: Timestamp) -> Option<Timestamp> {
        let mut cursor = Cursor { text, at: 0 };
        let first = *text.first()?;
        if first.is_ascii_alphabetic() {
            return self.read_bsd(&mut cursor, now);
        }
        match (text.get(4), text.get(2)) {
            (Some(b'-' | b'/'), _) => {
                let year = cursor.number(4, 4)?;
                cursor.at += 1;
                let month = cursor.number(2, 2)?;
                cursor.at += 1;
                let day = cursor.number(2, 2)?;
                matches!(cursor.next()?, b'T' | b' ' | b't').then_some(())?;
                self.read_rest(&mut cursor, (year, month, day))
            }
            (_, Some(b'/')) => {
                let day = cursor.number(2, 2)?;
                cursor.at += 1;
                let month = month(cursor.take(3)?)?;
                cursor.expect(b'/')?;
                let year = cursor.number(4, 4)?;
                cursor.expect(b':')?;
                self.read_rest(&mut cursor, (year, i64::from(month), day))
            }
            (_, Some(b' ')) => {
                let day = cursor.number(2, 2)?;
                cursor.at += 1;
                let month = month(cursor.take(3)?)?;
                cursor.expect(b' ')?;
                let year = cursor.number(4, 4)?;
                cursor.expect(b' ')?;
                self.read_rest(&mut cursor, (year, i64::from(month), day))
            }
            _ => {
                let seconds = cursor.number(1, 11)?;
                let micros = cursor.fraction();
                (cursor.at == text.len()).then(|| Timestamp(seconds * 1_000_000 + micros))
            }
        }
    }

    fn read_bsd(&mut self, cursor: &mut Cursor<'_>, now: Timestamp) -> Option<Timestamp> {
        let month = i64::from(month(cursor.take(3)?)?);
        cursor.spaces();
        let day = cursor.number(1, 2)?;
        cursor.spaces();
        let mut year = None;
        if cursor.text.get(cursor.at + 4) == Some(&b' ') {
            year = Some(cursor.number(4, 4)?);
            cursor.spaces();
        }
        let (clock, micros) = cursor.clock()?;
        if year.is_none() && cursor.text.len() == cursor.at + 5 {
            cursor.spaces();
            year = cursor.number(4, 4);
        }
        (cursor.at == cursor.text.len()).then_some(())?;
        if let Some(year) = year {
            return self.local((year, month, day), clock, micros);
        }
        let this_year = jiff::Timestamp::from_microsecond(now.0).ok()?.to_zoned(self.zone.clone()).year();
        (0..=YEARS_BACK + 1).find_map(|back| {
            let year = i64::from(this_year) + 1 - i64::from(back);
            self.local((year, month, day), clock, micros).filter(|at| at.0 <= now.0.saturating_add(AHEAD))
        })
    }

    fn read_rest(&mut self, cursor: &mut Cursor<'_>, date: (i64, i64, i64)) -> Option<Timestamp> {
        let (clock, micros) = cursor.clock()?;
        match cursor.offset()? {
            Some(offset) => civil(date, clock)?.in_offset(offset).map(|at| Timestamp(at + micros)),
            None => self.local(date, clock, micros),
        }
    }

    fn local(&mut self, date: (i64, i64, i64), clock: (i64, i64, i64), micros: i64) -> Option<Timestamp> {
        let minute = civil(date, (clock.0, clock.1, 0))?;
        let seconds = clock.2 * 1_000_000 + micros;
        if let Some((known, at)) = self.last_minute
            && known == minute
        {
            return Some(Timestamp(at + seconds));
        }
        let at = self.zone.to_ambiguous_timestamp(minute).compatible().ok()?.as_microsecond();
        self.last_minute = Some((minute, at));
        Some(Timestamp(at + seconds))
    }
}

/// Number of an English month name, by its first three letters.
pub(crate) fn month(name: &[u8]) -> Option<i8> {
    const NAMES: [&[u8; 3]; 12] =
        [b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"];
    let at = NAMES.iter().position(|known| name.eq_ignore_ascii_case(*known))?;
    i8::try_from(at + 1).ok()
}

fn civil(date: (i64, i64, i64), clock: (i64, i64, i64)) -> Option<DateTime> {
    let small = |number: i64| i8::try_from(number).ok();
    // A leap second counts as the second before it.
    let second = clock.2.min(59);
    DateTime::new(
        i16::try_from(date.0).ok()?,
        small(date.1)?,
        small(date.2)?,
        small(clock.0)?,
        small(clock.1)?,
        small(second)?,
        0,
    )
    .ok()
}

trait InOffset {
    /// Microseconds since 1970 of a civil time, `offset` seconds east of UTC.
    fn in_offset(self, offset: i64) -> Option<i64>;
}

impl InOffset for DateTime {
    fn in_offset(self, offset: i64) -> Option<i64> {
        let utc = jiff::tz::Offset::UTC.to_timestamp(self).ok()?;
        Some(utc.as_microsecond() - offset * 1_000_000)
    }
}

struct Cursor<'t> {
    text: &'t [u8],
    at: usize,
}

impl<'t> Cursor<'t> {
    fn next(&mut self) -> Option<u8> {
        let byte = *self.text.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }

    fn take(&mut self, count: usize) -> Option<&'t [u8]> {
        let taken = self.text.get(self.at..self.at + count)?;
        self.at += count;
        Some(taken)
    }

    fn spaces(&mut self) {
        while self.text.get(self.at) == Some(&b' ') {
            self.at += 1;
        }
    }

    /// `least` to `most` digits; `most` ≤ 11 cannot overflow.
    fn number(&mut self, least: usize, most: usize) -> Option<i64> {
        let rest = self.text.get(self.at..)?;
        let digits = rest.iter().take(most).take_while(|b| b.is_ascii_digit()).count();
        (digits >= least).then_some(())?;
        self.at += digits;
        Some(rest[..digits].iter().fold(0, |number, b| number * 10 + i64::from(b - b'0')))
    }

    /// `.123456789` or `,123` as microseconds; 0 if there is none.
    fn fraction(&mut self) -> i64 {
        if !matches!(self.text.get(self.at), Some(b'.' | b',')) {
            return 0;
        }
        self.at += 1;
        let (mut micros, mut unit) = (0, 100_000);
        while let Some(digit) = self.text.get(self.at).filter(|b| b.is_ascii_digit()) {
            micros += i64::from(digit - b'0') * unit;
            unit /= 10;
            self.at += 1;
        }
        micros
    }

    /// `02:45:00[.123]`.
    fn clock(&mut self) -> Option<((i64, i64, i64), i64)> {
        let hour = self.number(2, 2)?;
        self.expect(b':')?;
        let minute = self.number(2, 2)?;
        self.expect(b':')?;
        let second = self.number(2, 2).filter(|second| *second <= 60)?;
        Some(((hour, minute, second), self.fraction()))
    }

    /// Nothing, `Z`, `UTC`, `+0100`, `+01:00`, with or without a space in front; then the end. Seconds east of UTC.
    fn offset(&mut self) -> Option<Option<i64>> {
        self.spaces();
        let sign = match self.text.get(self.at) {
            None => return Some(None),
            Some(b'Z' | b'z') if self.at + 1 == self.text.len() => return Some(Some(0)),
            Some(b'U' | b'G') if matches!(&self.text[self.at..], b"UTC" | b"GMT") => return Some(Some(0)),
            Some(b'+') => 1,
            Some(b'-') => -1,
            Some(_) => return None,
        };
        self.at += 1;
        let hours = self.number(2, 2)?;
        self.at += usize::from(self.text.get(self.at) == Some(&b':'));
        let minutes = self.number(2, 2)?;
        (self.at == self.text.len() && hours < 24 && minutes < 60)
            .then(|| Some(sign * (hours * 3600 + minutes * 60)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, now: &str, zone: TimeZone) -> Option<String> {
        Clock::new(zone).read(text.as_bytes(), now.parse().unwrap()).map(|at| at.to_string())
    }

    #[test]
    fn every_shape() {
        let now = "2026-11-23T03:00:00Z";
        for (text, expected) in [
            ("Nov 23 02:45:00", "2026-11-23T02:45:00"),
            ("Nov  3 02:45:00.25", "2026-11-03T02:45:00.25"),
            ("Nov 3 2020 02:45:00", "2020-11-03T02:45:00"),
            ("Nov 23 02:45:00 2021", "2021-11-23T02:45:00"),
            ("Nov 24 02:45:00", "2026-11-24T02:45:00"),
            ("Nov 24 03:45:00", "2025-11-24T03:45:00"),
            ("Dec 31 23:59:59", "2025-12-31T23:59:59"),
            ("Feb 29 12:00:00", "2024-02-29T12:00:00"),
            ("2026-11-23T02:45:00.123456789+01:00", "2026-11-23T01:45:00.123456"),
            ("2026-11-23 02:45:00,5", "2026-11-23T02:45:00.5"),
            ("2026-11-23T02:45:00Z", "2026-11-23T02:45:00"),
            ("2026/11/23 02:45:00", "2026-11-23T02:45:00"),
            ("23/Nov/2026:02:45:00 -0230", "2026-11-23T05:15:00"),
            ("2026-11-23 02:45:00.5 UTC", "2026-11-23T02:45:00.5"),
            ("23 Nov 2026 02:45:00.25 GMT", "2026-11-23T02:45:00.25"),
            ("1790000000.5", "2026-09-21T14:13:20.5"),
            ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00"),
        ] {
            let expected = format!("{expected}Z").parse::<Timestamp>().unwrap().to_string();
            let found = read(text, now, TimeZone::UTC);
            // A leap second may be read as the second before or behind it.
            if text.contains(":60") {
                assert!(found.is_some());
            } else {
                assert_eq!(found, Some(expected), "{text}");
            }
        }
        for text in [
            "",
            "x",
            "Nov",
            "Nov 32 00:00:00",
            "Feb 30 00:00:00",
            "2026-13-01T00:00:00Z",
            "2026-11-23",
            "99",
            "23/Nov/2026:24:00:00 +0000",
            "2026-11-23T02:45:00+1",
            "2026-11-23T02:45:00Zx",
            "2026-11-23 02:45:00 CET",
            "23 Nov 26 02:45:00",
            "123456789012",
        ] {
            let found = read(text, now, TimeZone::UTC);
            assert!(found.is_none() || text == "99", "{text}: {found:?}");
        }
    }

    #[test]
    fn around_new_year() {
        let new_year = "2027-01-01T00:00:05Z";
        assert!(read("Dec 31 23:59:59", new_year, TimeZone::UTC).unwrap().starts_with("2026-12-31"));
        assert!(
            read("Jan  1 00:00:06", "2026-12-31T23:59:59Z", TimeZone::UTC).unwrap().starts_with("2027-01-01")
        );
    }

    #[test]
    fn local_times_follow_the_zone() {
        let zone = TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let now = "2026-11-23T03:00:00Z";
        assert!(read("Nov 23 03:30:00", now, zone.clone()).unwrap().starts_with("2026-11-23T02:30:00"));
        assert!(read("Jul 23 03:30:00", now, zone).unwrap().starts_with("2026-07-23T01:30:00"));
    }
}
