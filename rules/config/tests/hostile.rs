//! Whatever is in the file: an answer, in bounded time, that names places within the file.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

use proptest::prelude::*;

const EXAMPLE: &str = include_str!("../../../image/secd.toml");

fn check(text: &str) {
    let Err(errors) = config::parse("secd.toml", text) else { return };
    assert!(!errors.is_empty());
    let lines: Vec<&str> = text.split('\n').collect();
    for error in errors {
        let line = lines.get(error.line as usize - 1).unwrap_or_else(|| panic!("no such line: {error}"));
        assert!(error.column as usize <= line.chars().count() + 1, "no such column: {error}");
        assert!(!error.message.is_empty() && !error.help.is_empty(), "{error}");
        assert!(error.message.chars().all(|c| !c.is_control()), "{error:?}");
    }
}

#[derive(Clone, Debug)]
enum Change {
    Delete(usize, usize),
    Insert(usize, String),
    Copy(usize, usize, usize),
}

fn change() -> impl Strategy<Value = Change> {
    let place = 0..EXAMPLE.len();
    prop_oneof![
        (place.clone(), 1usize..40).prop_map(|(at, length)| Change::Delete(at, length)),
        (place.clone(), prop::string::string_regex("[\\[\\]{}\"'=#,.\n\\\\ a-z0-9üx\u{0}]{1,6}").unwrap())
            .prop_map(|(at, text)| Change::Insert(at, text)),
        (place.clone(), 1usize..200, place).prop_map(|(from, length, to)| Change::Copy(from, length, to)),
    ]
}

fn changed(changes: &[Change]) -> String {
    let mut text: Vec<char> = EXAMPLE.chars().collect();
    for change in changes {
        let clamp = |at: usize, text: &[char]| at.min(text.len());
        match change {
            Change::Delete(at, length) => {
                let (from, to) = (clamp(*at, &text), clamp(at + length, &text));
                text.drain(from..to);
            }
            Change::Insert(at, inserted) => {
                let at = clamp(*at, &text);
                text.splice(at..at, inserted.chars());
            }
            Change::Copy(from, length, to) => {
                let piece: Vec<char> = text[clamp(*from, &text)..clamp(from + length, &text)].to_vec();
                let to = clamp(*to, &text);
                text.splice(to..to, piece);
            }
        }
    }
    text.into_iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn a_damaged_example_never_panics(changes in prop::collection::vec(change(), 1..8)) {
        check(&changed(&changes));
    }

    #[test]
    fn any_text_never_panics(text in "[\\[\\]{}\"'=#,.\n\\\\ a-z0-9ü_-]{0,200}") {
        check(&text);
    }
}

#[test]
fn long_files_of_one_mistake_are_answered_shortly() {
    const LENGTH: usize = config::MAX_FILE_BYTES / 32;
    let fill = |line: &str| line.repeat(LENGTH / line.len());
    for text in [
        fill("a"),
        fill("a\n"),
        fill("a = [\n"),
        fill("["),
        fill("{"),
        fill("a = ["),
        fill("\""),
        fill("\"\n"),
        fill("[a\n"),
        fill("[[rules]]\n"),
        fill("[[rules]]\nfrom = [\"x\"]\nto = [\"y\"]\naction = \"allow\"\nservices = [\"z\"]\n"),
        format!("allow = [{}]", fill("\"x\",").trim_end_matches(','))
            .chars()
            .take(config::MAX_FILE_BYTES)
            .collect(),
        (0..20_000).map(|place| format!("[zones.z{place}]\ninterface = \"e\"\n")).collect(),
        (0..30_000).map(|place| format!("key{place} = 1\n")).collect(),
        format!("a{}= 1", ".a".repeat(100_000)),
    ] {
        let errors = config::parse("f", &text).expect_err(&text[..20]);
        assert!(errors.len() <= 201, "{} errors for {:?}", errors.len(), &text[..20]);
    }
    let errors = config::parse("f", &"#".repeat(config::MAX_FILE_BYTES + 1)).unwrap_err();
    assert!(errors[0].message.contains("4194305 bytes"), "{}", errors[0]);
    assert!(config::parse("f", &fill("#")).is_ok());
}
