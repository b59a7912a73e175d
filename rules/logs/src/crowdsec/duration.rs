//! Durations of scenarios and profiles, in nanoseconds: Go's (`1m30s`, `0.5s`, `4h`), with whole days in front (`7d`,
//! `1d12h`) as CrowdSec takes them.

/// Nanoseconds of a day.
const DAY: i64 = 24 * 3_600 * 1_000_000_000;

/// Reads a duration; `None` if it is none or does not fit.
pub(crate) fn parse(text: &str) -> Option<i64> {
    let Some((days, rest)) = text.split_once('d') else { return nanoseconds(text) };
    let rest = if rest.is_empty() { 0 } else { nanoseconds(rest).filter(|rest| *rest >= 0)? };
    i64::from(days.parse::<u32>().ok()?).checked_mul(DAY)?.checked_add(rest)
}

fn nanoseconds(text: &str) -> Option<i64> {
    i64::try_from(crate::go::duration(text)?.as_nanos()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_crowdsec_reads_them() {
        const SECOND: i64 = 1_000_000_000;
        for (text, nanoseconds) in [
            ("10s", Some(10 * SECOND)),
            ("1m30s", Some(90 * SECOND)),
            ("0.5s", Some(SECOND / 2)),
            ("-3s", Some(-3 * SECOND)),
            ("7d", Some(7 * DAY)),
            ("1d12h", Some(DAY + DAY / 2)),
            ("0", Some(0)),
            ("", None),
            ("5", None),
            ("d", None),
            ("-1d", None),
            ("1d-2h", None),
            ("1d 2h", None),
            ("99999999d", None),
            ("99999999999h", None),
            ("ten", None),
        ] {
            assert_eq!(parse(text), nanoseconds, "{text}");
        }
    }
}
