//! Durations and times as Go writes them (<https://pkg.go.dev/time>), in microseconds.

use model::Timestamp;
use std::fmt::Write as _;

const SECOND: u64 = 1_000_000;

/// `3h59m59.123s`, `-1.5ms`, `0s`.
pub(crate) fn duration_text(micros: i64) -> String {
    let (sign, left) = (if micros < 0 { "-" } else { "" }, micros.unsigned_abs());
    let fraction = |value: u64, unit: u64| {
        let (whole, rest) = (value / unit, value % unit);
        let digits = if unit == SECOND { 6 } else { 3 };
        let text = format!("{whole}.{rest:0digits$}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    match left {
        0 => "0s".into(),
        1..1_000 => format!("{sign}{left}µs"),
        1_000..SECOND => format!("{sign}{}ms", fraction(left, 1_000)),
        _ => {
            let (hours, minutes) = (left / (3600 * SECOND), left / (60 * SECOND) % 60);
            let mut text = sign.to_owned();
            // Writing to a string does not fail.
            if hours > 0 {
                write!(text, "{hours}h").ok();
            }
            if hours > 0 || minutes > 0 {
                write!(text, "{minutes}m").ok();
            }
            text + &fraction(left % (60 * SECOND), SECOND) + "s"
        }
    }
}

/// Reads what [`duration_text`] writes and everything else Go does, and days. None for what makes no sense or is longer
/// than about 292,000 years.
pub(crate) fn parse_duration(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() || rest.len() > 64 {
        return None;
    }
    let mut total: i64 = 0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, behind) = rest.split_at(end);
        let end = behind.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(end);
        let nanos: i128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            "d" => 86_400_000_000_000,
            _ => return None,
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return None;
        }
        let digits = |text: &str| if text.is_empty() { Some(0) } else { text.parse::<u64>().ok() };
        let fraction = &fraction[..fraction.len().min(15)];
        let scale = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
        let part = (i128::from(digits(whole)?) * nanos)
            .checked_add(i128::from(digits(fraction)?) * nanos / scale)?;
        total = total.checked_add(i64::try_from(part / 1_000).ok()?)?;
        rest = behind;
    }
    Some(if negative { -total } else { total })
}

/// `2026-11-23T17:36:50Z`.
pub(crate) fn rfc3339(at: Timestamp) -> String {
    let text = Timestamp::from_seconds(at.seconds()).to_string();
    text.split_once('.').map_or_else(|| text.clone(), |(head, _)| format!("{head}Z"))
}

/// `2026-11-23 17:36:50.5 +0000 UTC`.
pub(crate) fn time_text(at: Timestamp) -> String {
    let text = at.to_string().replace('T', " ");
    let text = text.trim_end_matches('Z').trim_end_matches('0').trim_end_matches('.');
    format!("{text} +0000 UTC")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_written_as_go_does() {
        for (micros, text) in [
            (0, "0s"),
            (7, "7µs"),
            (1_500, "1.5ms"),
            (-1_500, "-1.5ms"),
            (1_000_000, "1s"),
            (59_999_999, "59.999999s"),
            (60_000_000, "1m0s"),
            (14_399_123_000, "3h59m59.123s"),
            (-14_400_000_000, "-4h0m0s"),
            (315_360_000_000_000, "87600h0m0s"),
        ] {
            assert_eq!(duration_text(micros), text);
            assert_eq!(parse_duration(text), Some(micros), "{text}");
        }
        assert_eq!(duration_text(i64::MIN), "-2562047788h0m54.775808s");
        for (text, micros) in
            [("1d", 86_400_000_000), ("+1.5h", 5_400_000_000), ("0", 0), ("1h1ns", 3_600_000_000)]
        {
            assert_eq!(parse_duration(text), Some(micros), "{text}");
        }
        for wrong in [
            "",
            "-",
            "4",
            "h",
            "1.h.",
            "1..5s",
            ".s",
            "1y",
            "99999999999999999999h",
            "1h-2m",
            "9223372036854775807h",
        ] {
            assert_eq!(parse_duration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn times_are_written_as_go_does() {
        let at = Timestamp(1_790_000_000_500_000);
        assert_eq!(rfc3339(at), "2026-09-21T14:13:20Z");
        assert_eq!(time_text(at), "2026-09-21 14:13:20.5 +0000 UTC");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(micros in -400_000_000_000_000_i64..400_000_000_000_000) {
            prop_assert_eq!(parse_duration(&duration_text(micros)), Some(micros));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,80}") {
            parse_duration(&text);
        }
    }
}
