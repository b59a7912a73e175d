//! Functions on times.

use super::super::time::read;
use super::{Function, Problem, Time, Value, Work, list, pure, text};

pub(super) const FUNCTIONS: &[Function] = &[
    Function { name: "now", least: 0, most: 0, work: Work::Now(|_, now| Ok(Value::Time(now))) },
    Function {
        name: "TimeNow",
        least: 0,
        most: 0,
        work: Work::Now(|_, now| Ok(Value::from(Time::utc(now.instant).rfc3339()))),
    },
    pure("duration", 1, 1, |arguments| {
        let text = text(arguments, 0)?;
        let help = || Problem::new(format!("`{text}` is no duration; write one like \"1h30m\""));
        nanoseconds(text).map(Value::Duration).ok_or_else(help)
    }),
    pure("date", 1, 3, |arguments| {
        let date = text(arguments, 0)?;
        if arguments.len() == 1 {
            return read(date).map(Value::Time);
        }
        // Other zones need the system's files, which rules do not read.
        if arguments.len() == 3 && !matches!(&**text(arguments, 2)?, "UTC" | "GMT" | "") {
            return Err(Problem::fixed(
                "only the time zone \"UTC\" is known here; write the offset into the text",
            ));
        }
        Time::parse(date, text(arguments, 1)?).map(Value::Time)
    }),
    pure("ParseUnix", 1, 1, |arguments| {
        let text = text(arguments, 0)?;
        let seconds = text.split('.').next().and_then(|seconds| seconds.parse::<i64>().ok());
        let instant = seconds
            .filter(|seconds| *seconds > 0)
            .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
        Ok(instant.map_or_else(|| Value::text(""), |instant| Value::from(Time::utc(instant).rfc3339())))
    }),
    pure("AverageInterval", 1, 1, |arguments| {
        let intervals = intervals(arguments)?;
        let total = intervals.iter().map(|interval| i128::from(*interval)).sum::<i128>();
        let average = total / i128::try_from(intervals.len()).unwrap_or(1);
        Ok(Value::Duration(i64::try_from(average).unwrap_or(i64::MAX)))
    }),
    pure("MedianInterval", 1, 1, |arguments| {
        let mut intervals = intervals(arguments)?;
        intervals.sort_unstable();
        let middle = intervals.len() / 2;
        let (low, high) = (intervals[middle.saturating_sub(1)], intervals[middle]);
        Ok(Value::Duration(if intervals.len() % 2 == 1 { high } else { low.midpoint(high) }))
    }),
];

fn nanoseconds(text: &str) -> Option<i64> {
    i64::try_from(crate::go::duration(text)?.as_nanos()).ok()
}

/// What lies between times, in their order; at least one.
fn intervals(arguments: &[Value]) -> Result<Vec<i64>, Problem> {
    let mut times = Vec::new();
    for value in list(arguments, 0)?.iter() {
        match value {
            Value::Time(time) => times.push(*time),
            other => return Err(Problem::new(format!("{} is no time", other.kind()))),
        }
    }
    if times.len() < 2 {
        return Err(Problem::fixed("an interval lies between two times at least"));
    }
    times.sort_by_key(|time| time.instant);
    Ok(times.windows(2).map(|pair| pair[1].since(pair[0])).collect())
}
