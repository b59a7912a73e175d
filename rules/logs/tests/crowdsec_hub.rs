//! CrowdSec's hub: its scenarios and postoverflows load, and its own tests come out as they do there.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use logs::crowdsec::hubtest::{Files, Hub, Verdict};
use logs::crowdsec::scenario::Scenario;
use model::Timestamp;

fn hub(test: &str) -> Option<PathBuf> {
    let corpora = std::env::var_os("SECD_CORPORA").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpora"),
        PathBuf::from,
    );
    let hub = corpora.join("crowdsec-hub");
    if !hub.is_dir() {
        eprintln!("SKIP: {test}: no corpora (crowdsec-hub)");
        return None;
    }
    Some(hub)
}

fn read(folder: &Path, prefix: &str, files: &mut Files) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("{prefix}{}", path.file_name().unwrap().to_str().unwrap());
        if path.is_dir() {
            read(&path, &format!("{name}/"), files);
        } else {
            files.insert(name, fs::read(&path).unwrap());
        }
    }
}

fn files(folder: &Path, prefix: &str) -> Files {
    let mut files = Files::new();
    read(folder, prefix, &mut files);
    files
}

#[test]
fn every_scenario_loads() {
    let Some(hub) = hub("every_scenario_loads") else { return };
    let files = files(&hub.join("scenarios"), "scenarios/");
    let mut scenarios = 0;
    let mut refused = Vec::new();
    for (path, bytes) in &files {
        match Scenario::read(path, bytes) {
            Ok(read) => scenarios += read.len(),
            Err(mistakes) => refused.extend(mistakes),
        }
    }
    println!("{} files, {scenarios} scenarios", files.len());
    assert!(refused.is_empty(), "{refused:#?}");
    assert_eq!(files.len(), 263);
    assert_eq!(scenarios, 326);
}

/// Tests of the hub handed out that need data which is not: three lists, and the database of places.
const WITHOUT_DATA: [&str; 5] = [
    "http-admin-interface-probing",
    "http-cve-probing",
    "http-technology-probing",
    "sshd-impossible-travel",
    "sshd-impossible-travel-user",
];

#[test]
fn the_hubs_own_tests_pass() {
    let Some(folder) = hub("the_hubs_own_tests_pass") else { return };
    let mut all = Files::new();
    for part in ["parsers", "scenarios", "postoverflows", "patterns", "data"] {
        read(&folder.join(part), &format!("{part}/"), &mut all);
    }
    let hub = Hub::new(all);
    let mut names: Vec<_> =
        fs::read_dir(folder.join("tests")).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    assert_eq!(names.len(), 137);
    let (mut passed, mut wrong, mut unsupported) = (0, Vec::new(), Vec::new());
    for path in names {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        match hub.test(&files(&path, ""), Timestamp::from_seconds(1_767_268_800)) {
            Verdict::Passed => passed += 1,
            Verdict::Failed(failed) => {
                wrong.push((name, failed.len(), failed.into_iter().take(3).collect::<Vec<_>>()))
            }
            Verdict::Unsupported(why) => {
                assert!(why.starts_with("data file "), "{name}: {why}");
                unsupported.push(name);
            }
        }
    }
    println!("{passed} passed, {} failed, {} unsupported: {unsupported:?}", wrong.len(), unsupported.len());
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(unsupported, WITHOUT_DATA);
}
