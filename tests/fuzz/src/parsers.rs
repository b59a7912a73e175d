//! CrowdSec's parser files and grok patterns.

use logs::crowdsec::{Event, Item, Items, Line, Mode, Patterns, Pipeline, limits};
use logs::expr::Time;

/// Lines that what loads is tried on.
const LINES: [&str; 4] = [
    "Nov 23 02:45:00 host sshd[7]: Failed password for bob from 192.0.2.1 port 22 ssh2",
    r#"192.0.2.1 - - [23/Nov/2026:02:45:00 +0000] "GET /a?b HTTP/1.1" 404 1 "-" "-""#,
    r#"{"time": "2026-11-23T02:45:00Z", "ip": "2001:db8::1"}"#,
    "",
];

/// A parser file: it loads or is refused with a place, and what loads ends on every line.
pub(crate) fn parser(data: &[u8]) {
    let items =
        Items { parsers: vec![Item { file: "own.yaml", stage: "s00-raw", bytes: data }], ..Items::default() };
    let (mut pipeline, mistakes) = Pipeline::new(&items);
    assert!(
        mistakes
            .iter()
            .all(|mistake| mistake.line > 0 && !mistake.message.is_empty() && !mistake.help.is_empty())
    );
    assert!(pipeline.nodes() == 0 || mistakes.is_empty(), "a file with mistakes runs");
    let now = Time::utc(jiff::Timestamp::from_second(1_790_000_000).unwrap());
    for raw in LINES {
        let event = Event::line(Line { raw: raw.into(), ..Line::default() }, Mode::Replay, now);
        let told = pipeline.parse_told(event, now);
        assert!(told.event.parsed.len() <= limits::MAX_EVENT_FIELDS);
        // Where there are no stages, everything passes them.
        let passed = pipeline.nodes() == 0 || told.steps.iter().any(|step| step.success);
        assert!(!told.event.process || passed);
    }
}

/// A grok pattern: a first line that names patterns of its own, and a pattern that may use them.
pub(crate) fn grok(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (own, pattern) = text.split_once('\0').unwrap_or(("", &text));
    let mut patterns = Patterns::stock();
    let mistakes = patterns.add_file(own);
    assert!(mistakes.iter().all(|(line, mistake)| *line > 0 && !mistake.message.is_empty()));
    if let Err(mistake) = patterns.compile(pattern) {
        assert!(!mistake.message.is_empty());
    }
}
