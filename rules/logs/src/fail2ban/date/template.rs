//! One date pattern: strptime's `%` fields in a regex, and how to read the time of what it finds.
//!
//! Sources: jail.conf(5) ("datepattern"), Python's documentation of `strptime`.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Span, ToSpan};
use model::Timestamp;

use super::zone::offset;
use crate::fail2ban::python::{Pattern, Scratch, Text};
use crate::time::month;

/// A date pattern, compiled.
#[derive(Debug)]
pub(super) struct Template {
    /// As people are told it: `MON Day 24hour:Minute:Second`.
    pub(super) name: String,
    pub(super) pattern: Pattern,
    kind: Kind,
    /// Only at the beginning or at the end of a line.
    pub(super) anchored: bool,
    pub(super) at_begin: bool,
    /// How much more it counts when patterns are sorted by use.
    pub(super) weight: f64,
}

#[derive(Debug)]
enum Kind {
    Fields(Vec<(Field, usize)>),
    Epoch {
        group: usize,
        long: bool,
    },
    Tai,
    /// `{NONE}`: there is no date.
    Nothing,
}

/// Where a pattern may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begin {
    Anywhere,
    Word,
    Line,
}

macro_rules! fields {
    ($($field:ident $name:literal;)*) => {
        /// What a named group of a date pattern holds.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        enum Field { $($field),* }

        impl Field {
            fn named(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$field),)* _ => None }
            }
        }
    };
}

fields! {
    Year "Y"; ShortYear "y"; Month "m"; MonthName "B"; MonthShort "b"; Day "d"; Hour "H"; Hour12 "I"; Minute "M";
    Second "S"; HalfOfDay "p"; WeekdayName "A"; WeekdayShort "a"; Weekday "w"; DayOfYear "j"; WeekFromSunday "U";
    WeekFromMonday "W"; Offset "z"; ZoneName "Z";
}

const WEEKDAYS: &str = "monday|tuesday|wednesday|thursday|friday|saturday|sunday";
const MONTHS: &str = "january|february|march|april|may|june|july|august|september|october|november|december";
const SHORT_WEEKDAYS: &str = "mon|tue|wed|thu|fri|sat|sun";
const SHORT_MONTHS: &str = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec";
const DAY: &str = r"(?P<d>[12]\d|[0 ]?[1-9]|3[01])";
const MONTH: &str = "(?P<m>0?[1-9]|1[0-2])";
const CLOCK: &str = r"(?P<H>[01]?\d|2[0-3]):(?P<M>[0-5]?\d):(?P<S>[0-5]?\d|6[01])";
/// Up to five capital letters.
const ABBREVIATION: &str = "[A-Z](?:[A-Z]{2,4})?";
const NUMERIC_ZONE: &str = r"[+-][01]\d(?::?\d{2})?";

/// The regex of a field and how it is called in names; `Ex…` fields take whole numbers only.
fn field(name: &str) -> Option<(String, String)> {
    let shown = |short: &str| match short {
        "a" => "DAY",
        "A" => "DAYNAME",
        "b" => "MON",
        "B" => "MONTH",
        "d" => "Day",
        "H" => "24hour",
        "I" => "12hour",
        "j" => "Yearday",
        "m" => "Month",
        "M" => "Minute",
        "p" => "AMPM",
        "S" => "Second",
        "U" | "W" => "Yearweek",
        "w" => "Weekday",
        "y" => "Year2",
        "Y" => "Year",
        "z" => "Zone offset",
        "f" => "Microseconds",
        "Z" => "Zone name",
        _ => "",
    };
    let regex = match name {
        "%" => return Some(("%".into(), "%".into())),
        "a" => format!("(?P<a>{SHORT_WEEKDAYS})"),
        "A" => format!("(?P<A>{WEEKDAYS})"),
        "b" => format!("(?P<b>{SHORT_MONTHS})"),
        "B" => format!("(?P<B>{MONTHS})"),
        "p" => "(?P<p>am|pm)".into(),
        "d" => DAY.into(),
        "m" => MONTH.into(),
        "Y" | "G" => format!(r"(?P<{name}>\d{{4}})"),
        "y" | "Exy" => r"(?P<y>\d{2})".into(),
        "H" => r"(?P<H>[01]?\d|2[0-3])".into(),
        "I" => "(?P<I>1[0-2]|0[1-9]|[1-9])".into(),
        "k" => r" ?(?P<H>[0-2]?\d)".into(),
        "l" => r" ?(?P<I>1?\d)".into(),
        "M" => r"(?P<M>[0-5]?\d)".into(),
        "S" => r"(?P<S>[0-5]?\d|6[01])".into(),
        "f" => "(?P<f>[0-9]{1,6})".into(),
        "j" => r"(?P<j>36[0-6]|3[0-5]\d|[12]\d\d|0[1-9]\d|00[1-9]|[1-9]\d|0[1-9]|[1-9])".into(),
        "U" | "W" => format!(r"(?P<{name}>5[0-3]|[0-4]\d|\d)"),
        "V" => r"(?P<V>5[0-3]|0[1-9]|[1-4]\d|\d)".into(),
        "w" => "(?P<w>[0-6])".into(),
        "u" => "(?P<u>[1-7])".into(),
        "Z" => "(?P<Z>Z|[A-Z]{3,5})".into(),
        "z" => format!("(?P<z>Z|UTC|GMT|{NUMERIC_ZONE})"),
        "ExZ" => format!("(?P<Z>{ABBREVIATION})"),
        "Exz" => format!("(?P<z>(?:{ABBREVIATION})?{NUMERIC_ZONE}|{ABBREVIATION})"),
        "Exd" => r"(?P<d>[12]\d|0[1-9]|3[01])".into(),
        "Exm" => "(?P<m>0[1-9]|1[0-2])".into(),
        "ExH" => r"(?P<H>[01]\d|2[0-3])".into(),
        "Exk" => r" ?(?P<H>[01]?\d|2[0-3])".into(),
        "Exl" => r" ?(?P<I>1[0-2]|\d)".into(),
        "ExM" => r"(?P<M>[0-5]\d)".into(),
        "ExS" => r"(?P<S>[0-5]\d|6[01])".into(),
        "ExY" => r"(?P<Y>20\d\d)".into(),
        "c" => format!(r"(?P<a>{SHORT_WEEKDAYS})\s+(?P<b>{SHORT_MONTHS})\s+{DAY}\s+{CLOCK}\s+(?P<Y>\d{{4}})"),
        "x" => format!(r"{MONTH}/{DAY}/(?P<y>\d{{2}})"),
        "X" => CLOCK.into(),
        _ => return None,
    };
    let called = match name.strip_prefix("Ex") {
        Some(short) if !shown(short).is_empty() => format!("Ex{}", shown(short)),
        None if !shown(name).is_empty() => shown(name).to_owned(),
        _ => format!("%{name}"),
    };
    Some((regex, called))
}

const LINE_BEGIN: &str = "{^LN-BEG}";
const UNBOUND: &str = "{UNB}";
/// What Fail2ban puts at both ends of a date so that it does not begin or end inside a word.
const EDGE: &str = r"(?=\b|\W|$)";

impl Template {
    /// Compiles a pattern, of which `%%` has become `%`.
    pub(super) fn new(pattern: &str) -> Result<Self, String> {
        let upper = pattern.to_uppercase();
        let plain = !pattern.contains('%');
        let bare = upper.strip_prefix(LINE_BEGIN).or(upper.strip_prefix('^')).unwrap_or(&upper);
        let begin = if bare.len() < upper.len() { Begin::Line } else { Begin::Anywhere };
        if plain && matches!(bare, "EPOCH" | "LEPOCH") {
            let seconds = seconds(bare == "LEPOCH");
            let regex = match begin {
                Begin::Line => format!("({seconds})"),
                Begin::Word | Begin::Anywhere => format!(r"(?:^\[?|\baudit\()({seconds})"),
            };
            let name = if bare == "EPOCH" { "Epoch" } else { "LongEpoch" };
            let mut template = Self::bounded(name.into(), &regex, begin, true)?;
            template.kind = Kind::Epoch { group: 1, long: bare == "LEPOCH" };
            return Ok(template);
        }
        if plain && bare == "TAI64N" {
            let mut template = Self::bounded("TAI64N".into(), "@[0-9a-f]{24}", begin, true)?;
            template.kind = Kind::Tai;
            return Ok(template);
        }
        if plain && upper == "{NONE}" {
            let mut template = Self::bounded("{NONE}".into(), "^", Begin::Anywhere, false)?;
            template.kind = Kind::Nothing;
            return Ok(template);
        }
        if let Some(template) = Self::with_epoch(pattern)? {
            return Ok(template);
        }
        let (mut rest, mut begin, mut end) = (pattern, Begin::Word, true);
        if let Some(after) = pattern.strip_prefix(LINE_BEGIN) {
            (rest, begin) = (after, Begin::Line);
        } else if let Some(after) = pattern.strip_prefix(UNBOUND) {
            (rest, begin, end) = (after, Begin::Anywhere, false);
        }
        let (mut regex, mut name) = (String::new(), String::new());
        let mut letters = false;
        while let Some(at) = rest.find('%') {
            regex.push_str(&rest[..at]);
            name.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            let length = if rest.starts_with("Ex") { 3 } else { 1 };
            let known = rest.get(..length).and_then(|name| Some((name, field(name)?)));
            let Some((field_name, (field, called))) = known else {
                return Err(format!("`%{}` is no field of a date", rest.chars().next().unwrap_or(' ')));
            };
            letters |= matches!(field_name, "a" | "A" | "b" | "B" | "p" | "c");
            regex.push_str(&field);
            name.push_str(&called);
            rest = &rest[length..];
        }
        regex.push_str(rest);
        name.push_str(rest);
        if letters {
            regex.insert_str(0, "(?iu)");
        }
        Self::bounded(name, &regex, begin, end)
    }

    /// A pattern with `{EPOCH}` or `{LEPOCH}` in it; all it finds is cut out.
    fn with_epoch(pattern: &str) -> Result<Option<Self>, String> {
        let upper = pattern.to_uppercase();
        let long = upper.contains("{LEPOCH}");
        let tag = if long { "{LEPOCH}" } else { "{EPOCH}" };
        let Some(at) =
            upper.find(tag).filter(|at| upper.is_char_boundary(*at) && pattern.is_char_boundary(*at))
        else {
            return Ok(None);
        };
        if upper.len() != pattern.len() || pattern[..at].ends_with('\\') {
            return Ok(None);
        }
        let (before, after) = (&pattern[..at], &pattern[at + tag.len()..]);
        let (before, begin) = match before.strip_prefix(LINE_BEGIN) {
            Some(before) => (before, Begin::Line),
            None => (before, Begin::Word),
        };
        let regex = format!("({before}(?P<epoch>{}){after})", seconds(long));
        let mut template = Self::bounded(pattern.to_owned(), &regex, begin, true)?;
        let group = template.pattern.group("epoch").unwrap_or(1);
        template.kind = Kind::Epoch { group, long };
        Ok(Some(template))
    }

    /// Compiles a regex with the bounds it needs, and a first group that says what to cut out.
    fn bounded(name: String, regex: &str, begin: Begin, end: bool) -> Result<Self, String> {
        let regex = regex.trim();
        let bound_begin = begin != Begin::Anywhere && !begins_itself(regex);
        let bound_end = end && !ends_itself(regex);
        let (flags, body) = match regex.strip_prefix("(?iu)") {
            Some(body) => ("(?iu)", body),
            None => ("", regex),
        };
        let mut body = if has_plain_group(body) { body.to_owned() } else { grouped(body) };
        let mut name = name;
        let mut at_begin = false;
        if bound_begin {
            at_begin = begin == Begin::Line;
            let bound = if at_begin { r"^(?:\W{0,2})?" } else { EDGE };
            body.insert_str(0, bound);
            if at_begin {
                name.insert_str(0, LINE_BEGIN);
            }
        }
        at_begin |= body.starts_with('^') || (body.starts_with("(?:^") && !body.starts_with("(?:^|"));
        let at_end = body.ends_with('$') && !body.ends_with(r"\$") && !body.ends_with("|$");
        let at_end = at_end || (body.ends_with("$)") && !body.ends_with(r"\$)") && !body.ends_with("|$)"));
        if bound_end {
            body.push_str(EDGE);
        }
        // `**` at the ends says that no bounds are wanted.
        let inner = body.trim_start_matches('(');
        if let Some(after) = inner.strip_prefix("**") {
            body = format!("{}{after}", "(".repeat(body.len() - inner.len()));
        }
        let inner = body.trim_end_matches(')');
        if let Some(before) = inner.strip_suffix("**").filter(|before| !before.ends_with('\\')) {
            body = format!("{before}{}", ")".repeat(body.len() - inner.len()));
        }
        let regex = format!("{flags}{body}");
        let pattern = Pattern::new(&regex, false).map_err(|mistake| format!("{mistake}, in `{regex}`"))?;
        let kind = Kind::Fields(
            pattern.names().filter_map(|(name, group)| Some((Field::named(name)?, group))).collect(),
        );
        Ok(Self { name, pattern, kind, anchored: at_begin || at_end, at_begin, weight: 1.0 })
    }

    /// What this template cuts out of a line, and where it found it at all.
    pub(super) fn find(&self, text: &str, from: usize, scratch: &mut Scratch) -> Option<Found> {
        if !self.pattern.search_from(Text::new(text), from, scratch) {
            return None;
        }
        let cut = scratch.group(1).or_else(|| scratch.group(0))?;
        let whole = match self.kind {
            Kind::Epoch { .. } => cut,
            Kind::Fields(_) | Kind::Tai | Kind::Nothing => scratch.group(0)?,
        };
        Some(Found { whole, cut })
    }

    /// The time of the last match in `scratch`. Without a year, the last that is not more than a day ahead of `now`;
    /// without a day, the last such clock time.
    pub(super) fn time(
        &self,
        text: &str,
        scratch: &Scratch,
        now: Timestamp,
        zone: &TimeZone,
        default_offset: Option<i64>,
    ) -> Option<Timestamp> {
        let group = |group: usize| scratch.group(group).and_then(|(start, end)| text.get(start..end));
        match &self.kind {
            Kind::Fields(fields) => {
                let mut read = Read::default();
                for (field, at) in fields {
                    if let Some(value) = group(*at) {
                        read.set(*field, value)?;
                    }
                }
                read.time(now, zone, default_offset)
            }
            Kind::Epoch { group: at, long } => epoch(group(*at)?, *long),
            Kind::Tai => {
                let seconds = i64::from_str_radix(group(1)?.get(2..17)?, 16).ok()?;
                Some(Timestamp::from_seconds(seconds))
            }
            Kind::Nothing => None,
        }
    }
}

/// Where a date was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) whole: (usize, usize),
    /// What is cut out of the line.
    pub(super) cut: (usize, usize),
}

/// Seconds since 1970; with `long` also milliseconds and microseconds.
fn seconds(long: bool) -> &'static str {
    if long { r"\d{10,11}(?:\d{3}(?:\.\d{1,6}|\d{3})?)?" } else { r"\d{10,11}\b(?:\.\d{3,6})?" }
}

fn epoch(text: &str, long: bool) -> Option<Timestamp> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = text.len();
    let number: i64 = whole.parse().ok()?;
    // Microseconds of one unit.
    let unit: i64 = match () {
        () if long && digits >= 16 && fraction.is_empty() => 1,
        () if long && digits >= 13 => 1_000,
        () => 1_000_000,
    };
    let mut part = 0;
    let mut size = unit;
    for digit in fraction.bytes() {
        size /= 10;
        part += size * i64::from(digit - b'0');
    }
    Some(Timestamp(number.checked_mul(unit)?.checked_add(part)?))
}

/// The regex says itself where a line or word must begin.
fn begins_itself(regex: &str) -> bool {
    let rest = regex.trim_start_matches('(');
    let rest = match rest.strip_prefix("?iu)") {
        Some(rest) => rest,
        None => rest,
    };
    let bare = rest.trim_start_matches('(');
    rest.starts_with('^') || bare.starts_with("**") || bare.starts_with('^') || bare.starts_with("?:^")
}

fn ends_itself(regex: &str) -> bool {
    let rest = regex.trim_end_matches(')');
    let dollar = |regex: &str| regex.ends_with('$') && !regex.ends_with(r"\$");
    dollar(regex)
        || regex.strip_suffix(')').is_some_and(dollar)
        || regex.ends_with(r"\b")
        || regex.ends_with(r"\s")
        || rest.ends_with("**")
}

/// There is a group without a name or other `(?`.
fn has_plain_group(regex: &str) -> bool {
    let bytes = regex.as_bytes();
    bytes.iter().enumerate().any(|(at, byte)| {
        let before = &bytes[..at];
        *byte == b'('
            && bytes.get(at + 1) != Some(&b'?')
            && !before.ends_with(b"\\")
            && !before.ends_with(b"(?")
    })
}

/// The whole as a group, but for `^` and `$` at its ends.
fn grouped(regex: &str) -> String {
    let (begin, body) = match regex.strip_prefix('^') {
        Some(body) => ("^", body),
        None => ("", regex),
    };
    match body.strip_suffix('$') {
        Some(body) => format!("{begin}({body})$"),
        None => format!("{begin}({body})"),
    }
}

/// What the fields of a date say.
#[derive(Debug, Default)]
struct Read {
    year: Option<i16>,
    month: Option<i8>,
    day: Option<i8>,
    hour: i8,
    hour12: bool,
    afternoon: bool,
    minute: i8,
    second: i8,
    /// From Monday.
    weekday: Option<i64>,
    day_of_year: Option<i64>,
    week: Option<(i64, bool)>,
    offset: Option<i64>,
}

impl Read {
    fn set(&mut self, field: Field, value: &str) -> Option<()> {
        fn number<N: std::str::FromStr>(value: &str) -> Option<N> {
            value.trim_start().parse().ok()
        }
        let listed = |list: &str| {
            let at = list.split('|').position(|known| known.eq_ignore_ascii_case(value))?;
            i64::try_from(at).ok()
        };
        match field {
            Field::Year => self.year = Some(number(value)?),
            Field::ShortYear => self.year = Some(2000 + number::<i16>(value)?),
            Field::Month => self.month = Some(number(value)?),
            Field::MonthName => self.month = i8::try_from(listed(MONTHS)? + 1).ok(),
            Field::MonthShort => self.month = Some(month(value.as_bytes())?),
            Field::Day => self.day = Some(number(value)?),
            Field::Hour => self.hour = number(value)?,
            Field::Hour12 => (self.hour, self.hour12) = (number(value)?, true),
            Field::HalfOfDay => self.afternoon = value.eq_ignore_ascii_case("pm"),
            Field::Minute => self.minute = number(value)?,
            Field::Second => self.second = number(value)?,
            Field::WeekdayName => self.weekday = Some(listed(WEEKDAYS)?),
            Field::WeekdayShort => self.weekday = Some(listed(SHORT_WEEKDAYS)?),
            Field::Weekday => self.weekday = Some((number::<i64>(value)? + 6) % 7),
            Field::DayOfYear => self.day_of_year = Some(number(value)?),
            Field::WeekFromSunday => self.week = Some((number(value)?, false)),
            Field::WeekFromMonday => self.week = Some((number(value)?, true)),
            Field::Offset | Field::ZoneName => self.offset = Some(offset(value)?),
        }
        Some(())
    }

    fn time(mut self, now: Timestamp, zone: &TimeZone, default_offset: Option<i64>) -> Option<Timestamp> {
        let here = jiff::Timestamp::from_microsecond(now.0).ok()?.to_zoned(zone.clone()).datetime();
        if self.hour12 {
            self.hour = self.hour % 12 + if self.afternoon { 12 } else { 0 };
        }
        let (no_year, mut no_day) = (self.year.is_none(), false);
        let mut year = self.year.unwrap_or(here.year());
        if self.month.is_none() || self.day.is_none() {
            let of_year = self.day_of_year.or_else(|| {
                let (week, from_monday) = self.week?;
                day_of_week(year, week, self.weekday?, from_monday)
            });
            if let Some(of_year) = of_year {
                let first = Date::new(year, 1, 1).ok()?;
                let date = first.checked_add(Span::new().try_days(of_year - 1).ok()?).ok()?;
                year = date.year();
                (self.month, self.day) = (Some(date.month()), Some(date.day()));
            }
        }
        if self.month.is_none() && self.day.is_none() {
            no_day = true;
            (self.month, self.day) = (Some(here.month()), Some(here.day()));
        }
        let (month, day) = (self.month?, self.day?);
        let mut at = DateTime::new(year, month, day, self.hour, self.minute, self.second, 0).ok()?;
        let offset = self.offset.or(default_offset);
        if let Some(offset) = offset {
            at = at.checked_sub(offset.seconds()).ok()?;
        }
        if no_day && at > here {
            at = at.checked_sub(1.day()).ok()?;
        }
        if no_year && at > here.checked_add(1.day()).ok()? {
            at = DateTime::new(year - 1, month, day, at.hour(), at.minute(), at.second(), 0).ok()?;
        }
        let moment = match offset {
            Some(_) => TimeZone::UTC.to_ambiguous_timestamp(at).compatible(),
            None => zone.to_ambiguous_timestamp(at).compatible(),
        };
        moment.ok().map(|at| Timestamp(at.as_microsecond()))
    }
}

/// Day of the year of a weekday in a week that is counted from the first Monday or Sunday on.
fn day_of_week(year: i16, week: i64, weekday: i64, from_monday: bool) -> Option<i64> {
    let first = i64::from(Date::new(year, 1, 1).ok()?.weekday().to_monday_zero_offset());
    let (first, weekday) = if from_monday { (first, weekday) } else { ((first + 1) % 7, (weekday + 1) % 7) };
    let before = (7 - first) % 7;
    Some(if week == 0 { 1 + weekday - first } else { 1 + before + 7 * (week - 1) + weekday })
}
