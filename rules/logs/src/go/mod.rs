//! What CrowdSec's files inherit from Go: its regular expressions (RE2), its layouts of time and its durations.

pub(crate) mod layout;
pub(crate) mod regex;

use jiff::SignedDuration;

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
}
