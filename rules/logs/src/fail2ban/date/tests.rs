//! Dates as Fail2ban finds and reads them.

use super::super::python::Scratch;
use super::*;

fn zone() -> TimeZone {
    TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
}

/// 14 August 2005, noon in Zurich.
const NOW: Timestamp = Timestamp::from_seconds(1_124_013_600);

fn find(detector: &Detector, usage: &mut Usage, line: &str) -> Option<(String, String)> {
    let mut scratch = Scratch::default();
    scratch.begin();
    let found = usage.find(detector, line, NOW, &zone(), None, &mut scratch)?;
    let at = found.at.map_or_else(
        || "unreadable".to_owned(),
        |at| {
            let at = jiff::Timestamp::from_microsecond(at.0).unwrap().to_zoned(zone()).datetime();
            at.to_string()
        },
    );
    Some((line[found.cut.0..found.cut.1].to_owned(), at))
}

#[test]
fn stock_patterns() {
    let detector = Detector::new(None).unwrap();
    for (date, at) in [
        ("Jan 23 21:59:59", "2005-01-23T21:59:59"),
        ("Sun Jan 23 21:59:59 2005", "2005-01-23T21:59:59"),
        ("Sun Jan 23 21:59:59", "2005-01-23T21:59:59"),
        ("Sun Jan 23 2005 21:59:59", "2005-01-23T21:59:59"),
        ("2005/01/23 21:59:59", "2005-01-23T21:59:59"),
        ("2005.01.23 21:59:59", "2005-01-23T21:59:59"),
        ("23/01/2005 21:59:59", "2005-01-23T21:59:59"),
        ("23/01/05 21:59:59", "2005-01-23T21:59:59"),
        ("23/Jan/2005:21:59:59", "2005-01-23T21:59:59"),
        ("23/Jan/2005:21:59:59 +0100", "2005-01-23T21:59:59"),
        ("01/23/2005:21:59:59", "2005-01-23T21:59:59"),
        ("23-Jan-2005 21:59:59.02", "2005-01-23T21:59:59"),
        ("23-01-2005 21:59:59", "2005-01-23T21:59:59"),
        ("01-23-2005 21:59:59.252", "2005-01-23T21:59:59"),
        ("@4000000041f4104f00000000", "2005-01-23T21:59:59"),
        ("2005-01-23T20:59:59.252Z", "2005-01-23T21:59:59"),
        ("2005-01-23T15:59:59-05:00", "2005-01-23T21:59:59"),
        ("2005-01-23 21:59:59", "2005-01-23T21:59:59"),
        ("20050123T215959", "2005-01-23T21:59:59"),
        ("20050123 215959", "2005-01-23T21:59:59"),
        ("<01/23/05@21:59:59>", "2005-01-23T21:59:59"),
        ("050123 21:59:59", "2005-01-23T21:59:59"),
        ("Jan 23, 2005 9:59:59 PM", "2005-01-23T21:59:59"),
        ("Jan-23-05 21:59:59", "2005-01-23T21:59:59"),
        ("1106513999", "2005-01-23T21:59:59"),
        ("11:59:59", "2005-08-14T11:59:59"),
        ("21:59:59", "2005-08-13T21:59:59"),
        // Without a year, up to a day ahead.
        ("Aug 15 11:59:59", "2005-08-15T11:59:59"),
        ("Aug 15 12:00:01", "2004-08-15T12:00:01"),
    ] {
        let line = format!("{date} something");
        let mut usage = Usage::new(&detector);
        let found = find(&detector, &mut usage, &line);
        assert_eq!(found, Some((date.to_owned(), at.to_owned())), "{line}");
        // And again, where the pattern is the one last used.
        assert_eq!(find(&detector, &mut usage, &line), found, "{line}");
    }
    for line in ["", "nothing", "2005-13-01 00:00:00", "99:99:99", "x1234567890"] {
        assert_eq!(find(&detector, &mut Usage::new(&detector), line), None, "{line}");
    }
}

#[test]
fn epochs_stand_where_they_may() {
    let detector = Detector::new(Some("EPOCH")).unwrap();
    for (line, cut) in [
        ("1106513999.123 x", Some("1106513999.123")),
        ("[1106513999] x", Some("1106513999")),
        ("type=X msg=audit(1106513999.123:5): y", Some("1106513999.123")),
        ("x 1106513999", None),
        ("110651399912345 x", None),
    ] {
        let found = find(&detector, &mut Usage::new(&detector), line).map(|found| found.0);
        assert_eq!(found.as_deref(), cut, "{line}");
    }
    let detector = Detector::new(Some("LEPOCH")).unwrap();
    let found = find(&detector, &mut Usage::new(&detector), "1106513999123 x").unwrap();
    assert_eq!(found, ("1106513999123".into(), "2005-01-23T21:59:59.123".into()));
    let detector = Detector::new(Some("time={EPOCH};")).unwrap();
    assert_eq!(
        find(&detector, &mut Usage::new(&detector), "a time=1106513999; b").unwrap().0,
        "time=1106513999;"
    );
}

#[test]
fn own_patterns() {
    for (pattern, line, cut, at) in [
        ("%Y-%m-%d %H:%M", "x 2005-01-23 21:59 y", "2005-01-23 21:59", "2005-01-23T21:59:00"),
        ("^%d%m%Y", "23012005 x", "23012005", "2005-01-23T00:00:00"),
        ("{^LN-BEG}%d.%m.%y %I:%M %p", "[23.01.05 09:59 pm] x", "23.01.05 09:59 pm", "2005-01-23T21:59:00"),
        ("day %j of %Y", "day 23 of 2005", "day 23 of 2005", "2005-01-23T00:00:00"),
        ("%Y week %W day %w", "2005 week 03 day 0", "2005 week 03 day 0", "2005-01-23T00:00:00"),
        ("%Y week %U day %w", "2005 week 04 day 0", "2005 week 04 day 0", "2005-01-23T00:00:00"),
        ("%A, %d. %B %Y", "Sunday, 23. january 2005", "Sunday, 23. january 2005", "2005-01-23T00:00:00"),
        ("%Exy%Exm%Exd %ExH%ExM%ExS%Exz", "050123 155959EST x", "050123 155959EST", "2005-01-23T21:59:59"),
        ("^x\\[({DATE})\\]", "x[2005-01-23 21:59:59] y", "2005-01-23 21:59:59", "2005-01-23T21:59:59"),
        (
            "^<\\d+>\\d+\\s+{DATE}",
            "<1>1 2005-01-23T20:59:59Z h",
            "<1>1 2005-01-23T20:59:59Z",
            "2005-01-23T21:59:59",
        ),
        ("**%H:%M:%S**", "x11:59:59y", "11:59:59", "2005-08-14T11:59:59"),
        ("a (%Y) b%%", "a 2005 b%", "2005", "2005-08-14T00:00:00"),
    ] {
        let detector = Detector::new(Some(pattern)).unwrap_or_else(|error| panic!("{pattern}: {error}"));
        let found = find(&detector, &mut Usage::new(&detector), line);
        let at = if pattern.starts_with("a (") { found.clone().unwrap().1 } else { at.to_owned() };
        assert_eq!(found, Some((cut.to_owned(), at)), "{pattern}");
    }
    for (pattern, part) in [("%Q", "no field"), ("%Y(", "`)`"), ("%Y\n%Y", "twice")] {
        assert!(Detector::new(Some(pattern)).unwrap_err().contains(part), "{pattern}");
    }
    let detector = Detector::new(Some("%d.%m.%Y")).unwrap();
    let found = find(&detector, &mut Usage::new(&detector), "31.02.2005").unwrap();
    assert_eq!(found.1, "unreadable");
}

#[test]
fn a_date_in_the_message_does_not_take_over() {
    let detector = Detector::new(None).unwrap();
    let mut usage = Usage::new(&detector);
    let line = |n: i32| format!("Aug  1 10:00:{n:02} host x[1]: user 2005-01-01 00:00:00 failed");
    for n in 10..30 {
        let (cut, _) = find(&detector, &mut usage, &line(n)).unwrap();
        assert_eq!(cut, format!("Aug  1 10:00:{n}"));
    }
    let (_, hits) = detector.names().zip(usage.hits()).find(|(_, hits)| *hits > 0).unwrap();
    assert_eq!(hits, 20);
}
