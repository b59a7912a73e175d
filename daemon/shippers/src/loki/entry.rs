//! An event as Loki keeps it: few labels, the rest as structured metadata, the JSON as line.

use model::Event;
use serde_json::Value;
use std::fmt::Write;

use super::wire::{Entry, LabelPair, Timestamp};

/// Bytes of a line (`max_line_size` of Loki). A longer event is sent without its long parts.
pub(super) const MAX_LINE: usize = 256 * 1024;
/// Structured metadata of an entry.
pub(super) const MAX_METADATA: usize = 32;
/// Bytes of a value of structured metadata; longer ones are cut.
pub(super) const MAX_METADATA_VALUE: usize = 1024;
/// Bytes of a label value; longer ones are cut.
const MAX_LABEL_VALUE: usize = 256;
/// Fields that are labels or the time.
const NOT_METADATA: [&str; 5] = ["ts", "kind", "action", "zone", "severity"];

/// The labels of the event's stream and its entry.
pub(super) fn render(event: &Event, host: &str) -> (String, Entry) {
    let value = serde_json::to_value(event).unwrap_or_default();
    let metadata = metadata(&value);
    let mut line = value.to_string();
    if line.len() > MAX_LINE {
        line = shortened(event, &metadata);
    }
    let seconds = event.ts.0.div_euclid(1_000_000);
    let micros = i32::try_from(event.ts.0.rem_euclid(1_000_000)).unwrap_or(0);
    let timestamp = Timestamp { seconds, nanos: micros * 1000 };
    (labels(event, host), Entry { timestamp: Some(timestamp), line, structured_metadata: metadata })
}

fn labels(event: &Event, host: &str) -> String {
    let mut text = String::from("{job=\"secd\"");
    let pairs = [
        ("host", host),
        ("kind", event.body.kind()),
        ("action", event.action.name()),
        ("zone", event.zone.as_deref().unwrap_or_default()),
        ("severity", event.severity.name()),
    ];
    for (name, value) in pairs.into_iter().filter(|(_, value)| !value.is_empty()) {
        let _ = write!(text, ",{name}=\"");
        for c in cut(value, MAX_LABEL_VALUE).chars() {
            match c {
                '"' | '\\' => text.extend(['\\', c]),
                _ if c.is_control() => text.push(' '),
                _ => text.push(c),
            }
        }
        text.push('"');
    }
    text.push('}');
    text
}

/// Scalars of the event, and of the tables directly in it as `table_field`.
fn metadata(value: &Value) -> Vec<LabelPair> {
    let mut pairs = Vec::new();
    let fields = value.as_object().into_iter().flatten();
    for (name, value) in fields.filter(|(name, _)| !NOT_METADATA.contains(&name.as_str())) {
        match value {
            Value::Object(inner) => {
                for (inner_name, value) in inner {
                    push(&mut pairs, &format!("{name}_{inner_name}"), value);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                push(&mut pairs, name, value);
            }
        }
    }
    pairs
}

fn push(pairs: &mut Vec<LabelPair>, name: &str, value: &Value) {
    let value = match value {
        Value::Null | Value::Array(_) | Value::Object(_) => return,
        Value::String(text) => cut(text, MAX_METADATA_VALUE).to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    };
    if value.is_empty() || pairs.len() == MAX_METADATA || pairs.iter().any(|pair| pair.name == name) {
        return;
    }
    pairs.push(LabelPair { name: name.to_owned(), value });
}

/// A line with the labels and the metadata only, for an event that is too long.
fn shortened(event: &Event, metadata: &[LabelPair]) -> String {
    let mut fields: serde_json::Map<String, Value> =
        metadata.iter().map(|pair| (pair.name.clone(), Value::from(pair.value.as_str()))).collect();
    fields.insert("ts".into(), event.ts.to_string().into());
    fields.insert("kind".into(), event.body.kind().into());
    fields.insert("action".into(), event.action.name().into());
    fields.insert("severity".into(), event.severity.name().into());
    fields.insert("shortened".into(), true.into());
    Value::Object(fields).to_string()
}

/// At most `most` bytes of `text`, whole characters.
fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Body, EventAction, Severity};

    fn pairs(entry: &Entry) -> Vec<(&str, &str)> {
        entry.structured_metadata.iter().map(|pair| (pair.name.as_str(), pair.value.as_str())).collect()
    }

    #[test]
    fn labels_are_few_and_the_rest_is_metadata() {
        let event = Event {
            ts: model::Timestamp(1_790_000_000_123_456),
            severity: Severity::Notice,
            action: EventAction::Sinkhole,
            zone: Some("iot".into()),
            reason: Some("listed".into()),
            body: Body::Query {
                client: [10, 4, 0, 9].into(),
                name: "ads.example".into(),
                qtype: "A".into(),
                rcode: "NOERROR".into(),
                from: "sinkhole".into(),
                by: None,
                encrypted: false,
                micros: 41,
            },
        };
        let (labels, entry) = render(&event, "rou\"ter");
        let expected =
            r#"{job="secd",host="rou\"ter",kind="query",action="sinkhole",zone="iot",severity="notice"}"#;
        assert_eq!(labels, expected);
        assert_eq!(entry.timestamp, Some(Timestamp { seconds: 1_790_000_000, nanos: 123_456_000 }));
        let expected = [
            ("client", "10.4.0.9"),
            ("from", "sinkhole"),
            ("micros", "41"),
            ("name", "ads.example"),
            ("qtype", "A"),
            ("rcode", "NOERROR"),
            ("reason", "listed"),
        ];
        let mut found = pairs(&entry);
        found.sort_unstable();
        assert_eq!(found, expected);
        assert_eq!(serde_json::from_str::<Event>(&entry.line).unwrap(), event);
    }

    #[test]
    fn long_events_are_shortened_within_the_limits() {
        let event = super::super::tests_event("ü".repeat(300_000));
        let (_, entry) = render(&event, "");
        assert!(entry.line.len() <= MAX_LINE);
        let line: Value = serde_json::from_str(&entry.line).unwrap();
        assert_eq!(line["shortened"], true);
        assert_eq!(pairs(&entry)[0].1.len(), MAX_METADATA_VALUE);
    }
}
