//! What CrowdSec's files inherit from Go: its regular expressions (RE2), its layouts of time, its durations, and how it
//! writes numbers.

pub(crate) mod layout;
pub(crate) mod moment;
pub(crate) mod number;
pub(crate) mod regex;

use jiff::SignedDuration;

use number::put;

/// A duration as Go writes it: `90s`, `1h30m`, `-1.5h`, `0`.
pub(crate) fn duration(text: &str) -> Option<SignedDuration> {
    const UNITS: [(&str, i64); 8] = [
        ("ns", 1),
        ("us", 1_000),
        ("µs", 1_000),
        ("μs", 1_000),
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("m", 60_000_000_000),
        ("h", 3_600_000_000_000),
    ];
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(SignedDuration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total = 0_i64;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.').filter(|length| *length > 0)?;
        let (number, behind) = rest.split_at(number);
        let unit = behind.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(unit);
        let (_, scale) = UNITS.iter().find(|(name, _)| *name == unit)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
            return None;
        }
        let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            reason = "a part of one unit"
        )]
        let part = match fraction {
            "" => 0,
            digits => (format!("0.{digits}").parse::<f64>().ok()? * *scale as f64) as i64,
        };
        total = total.checked_add(whole.checked_mul(*scale)?)?.checked_add(part)?;
        rest = behind;
    }
    Some(SignedDuration::from_nanos(if negative { -total } else { total }))
}

/// A duration as Go writes it: `1h30m0s`, `1.5ms`.
pub(crate) fn write_duration(nanoseconds: i64, out: &mut String) {
    if nanoseconds == 0 {
        return out.push_str("0s");
    }
    if nanoseconds < 0 {
        out.push('-');
    }
    let all = nanoseconds.unsigned_abs();
    let second = 1_000_000_000;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, expected) in [
            ("90s", Some(90_000_000_000)),
            ("1h30m", Some(5_400_000_000_000)),
            ("-1.5h", Some(-5_400_000_000_000)),
            (".5s", Some(500_000_000)),
            ("1us2µs", Some(3_000)),
            ("0", Some(0)),
            ("", None),
            ("1", None),
            ("1d", None),
            ("1..5s", None),
            (".s", None),
            ("99999999999999h", None),
        ] {
            assert_eq!(duration(text), expected.map(SignedDuration::from_nanos), "{text}");
        }
    }

    #[test]
    fn durations_are_written_as_go_writes_them() {
        for (text, written) in [
            ("1h30m", "1h30m0s"),
            ("90s", "1m30s"),
            ("-1.5s", "-1.5s"),
            ("1500us", "1.5ms"),
            ("0", "0s"),
            ("5ns", "5ns"),
        ] {
            let mut out = String::new();
            write_duration(i64::try_from(duration(text).unwrap().as_nanos()).unwrap(), &mut out);
            assert_eq!(out, written);
        }
        let mut out = String::new();
        write_duration(i64::MIN, &mut out);
        assert_eq!(out, "-2562047h47m16.854775808s");
    }
}
