//! The packet, stream and buffer tests of suricata-verify that were handed out, as far as this engine supports what
//! their rules say. Tests with a rule that is refused are counted with the keyword.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use signatures::{Classification, Limits, RuleSet, Variables, inspect_capture};

/// Tests that pass now. It only goes up.
const FLOOR: usize = 27;

/// One check of a `test.yaml`: these fields, this often.
#[derive(Debug, Default)]
struct Check {
    count: usize,
    fields: Vec<(String, String)>,
}

/// Reads the few forms that these files use.
fn checks(yaml: &str) -> (Vec<Check>, bool, Option<String>) {
    let (mut checks, mut in_match, mut midstream, mut capture) = (Vec::<Check>::new(), false, false, None);
    for line in yaml.lines() {
        let text = line.trim();
        midstream |= text.contains("stream.midstream=true");
        if text == "- filter:" {
            checks.push(Check::default());
            in_match = false;
        } else if text == "match:" {
            in_match = true;
        } else if let Some((key, value)) = text.split_once(": ") {
            match (key, checks.last_mut()) {
                ("count", Some(check)) => {
                    in_match = false;
                    check.count = value.parse().unwrap();
                }
                ("pcap", _) => {
                    in_match = false;
                    capture = Some(value.to_owned()).filter(|value| value.contains("cap"));
                }
                (_, Some(check)) if in_match && line.starts_with("      ") => {
                    check.fields.push((key.to_owned(), value.trim_matches('\'').to_owned()));
                }
                _ => {}
            }
        }
    }
    (checks, midstream, capture)
}

fn fits(event: &serde_json::Value, (key, wanted): &(String, String)) -> bool {
    let value = key.split('.').try_fold(event, |value, part| value.get(part));
    match value {
        None => wanted == "null",
        Some(serde_json::Value::String(text)) => text == wanted,
        Some(other) => format!("{other}") == *wanted,
    }
}

fn folders(root: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    if entries.iter().any(|path| path.ends_with("test.yaml")) {
        found.push(root.to_owned());
    }
    for entry in entries.iter().filter(|path| path.is_dir()) {
        folders(entry, found);
    }
}

fn with_extension(folder: &Path, extensions: &[&str]) -> PathBuf {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let fits = |path: &PathBuf| extensions.iter().any(|e| path.extension().is_some_and(|found| found == *e));
    files.into_iter().find(fits).unwrap()
}

#[test]
fn the_tests_handed_out() {
    let Some(corpora) = support::corpora() else {
        eprintln!("SKIP: the_tests_handed_out: no corpora");
        return;
    };
    let mut all = Vec::new();
    folders(&corpora.join("suricata-verify"), &mut all);
    let (mut passed, mut failed, mut unsupported) = (0, Vec::new(), BTreeMap::<String, usize>::new());
    for folder in &all {
        let yaml = std::fs::read_to_string(folder.join("test.yaml")).unwrap();
        let (checks, midstream, capture) = checks(&yaml);
        let rules = std::fs::read_to_string(with_extension(folder, &["rules"])).unwrap();
        let (rules, refused) =
            RuleSet::load(&rules, "rules", &Variables::usual(), &Classification::default());
        if let Some(first) = refused.first() {
            *unsupported.entry(first.keyword.clone()).or_default() += 1;
            continue;
        }
        let capture = capture.map_or_else(
            || with_extension(folder, &["pcap", "pcapng", "t", "syn"]),
            |name| folder.join(name),
        );
        let file = std::fs::File::open(capture).unwrap();
        let limits = Limits { midstream, cut: false, ..Limits::default() };
        let mut events = Vec::new();
        inspect_capture(file, "capture", Arc::new(rules), limits, &mut |alert| {
            events.push(serde_json::to_value(alert).unwrap());
        })
        .unwrap();
        let wrong: Vec<String> = checks
            .iter()
            .filter_map(|check| {
                let got = events.iter().filter(|event| check.fields.iter().all(|f| fits(event, f))).count();
                (got != check.count).then(|| format!("{:?} seen {got}, not {}", check.fields, check.count))
            })
            .collect();
        if wrong.is_empty() {
            passed += 1;
        } else {
            failed.push(format!(
                "{}: {}",
                folder.strip_prefix(&corpora).unwrap().display(),
                wrong.join("; ")
            ));
        }
    }
    println!(
        "suricata-verify: {passed} of {} pass, {} fail, not supported: {unsupported:?}",
        all.len(),
        failed.len()
    );
    for line in &failed {
        println!("  {line}");
    }
    assert!(passed >= FLOOR, "{passed} pass, {FLOOR} did before");
}
