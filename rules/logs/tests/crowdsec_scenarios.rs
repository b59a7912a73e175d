//! Which scenario files are refused, and what is said about them: `tests/cases/crowdsec/mistakes.toml`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::path::PathBuf;

use logs::crowdsec::scenario::{MAX_DOCUMENTS, Scenario};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    good: String,
    mistakes: Vec<Mistake>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mistake {
    replace: String,
    with: String,
    line: u32,
    says: String,
}

fn cases() -> Cases {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases/crowdsec/mistakes.toml");
    toml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn mistakes_are_told_with_their_line() {
    let cases = cases();
    let good = Scenario::read("good.yaml", cases.good.as_bytes()).unwrap();
    assert_eq!(&*good[0].name, "test/good");
    for case in &cases.mistakes {
        assert!(cases.good.contains(&case.replace), "{}", case.replace);
        let text = cases.good.replace(&case.replace, &case.with);
        let mistakes = Scenario::read("bad.yaml", text.as_bytes()).err().unwrap_or_default();
        let found =
            mistakes.iter().find(|mistake| mistake.line == case.line && mistake.message.contains(&case.says));
        assert!(found.is_some(), "{}: {mistakes:#?}", case.with);
        assert!(mistakes.iter().all(|mistake| mistake.file == "bad.yaml" && !mistake.help.is_empty()));
    }
}

#[test]
fn every_mistake_of_a_file_is_told_at_once() {
    let text =
        "type: leaky\nname: a/b\ndescription: c\nfilter: '=='\ncapacity: 0\nleakspeed: x\n---\ntype: none\n";
    let mistakes = Scenario::read("bad.yaml", text.as_bytes()).unwrap_err();
    let lines: Vec<u32> = mistakes.iter().map(|mistake| mistake.line).collect();
    for line in [4, 5, 6, 8] {
        assert!(lines.contains(&line), "{line}: {mistakes:#?}");
    }
}

#[test]
fn files_are_bounded() {
    let good = cases().good;
    let many = vec![good.clone(); MAX_DOCUMENTS + 1].join("---\n");
    let mistakes = Scenario::read("many.yaml", many.as_bytes()).unwrap_err();
    assert!(mistakes[0].message.contains("more than 64"), "{mistakes:?}");
    let long = good.replace("good\n", &format!("{}\n", "x".repeat(1 << 20)));
    assert!(Scenario::read("long.yaml", long.as_bytes()).is_err());
    assert!(Scenario::read("deep.yaml", "[".repeat(10_000).as_bytes()).is_err());
    assert!(Scenario::read("empty.yaml", b"# nothing\n").is_err());
    assert!(Scenario::read("binary.yaml", b"\xff\xfe\x00").is_err());
    assert_eq!(Scenario::read("two.yaml", format!("{good}---\n{good}---\n").as_bytes()).unwrap().len(), 2);
}
