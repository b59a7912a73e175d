//! CrowdSec's hub: every file of parsers loads, and the hub's own tests find what they assert about parsers.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use logs::crowdsec::assert::{Failed, Results, year_of};
use logs::crowdsec::{DataFile, Event, Item, Items, Line, Mode, Pipeline, Step};
use logs::expr::Time;

fn hub(test: &str) -> Option<PathBuf> {
    let corpora = std::env::var_os("SECD_CORPORA").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/corpora")),
        PathBuf::from,
    );
    let hub = corpora.join("crowdsec-hub");
    if hub.is_dir() {
        return Some(hub);
    }
    println!("SKIP: {test}: no {}", hub.display());
    None
}

/// Files below a folder, by their path in it.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let (mut found, mut open) = (BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(path) = open.pop() {
        for entry in fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_string_lossy().into_owned();
                found.insert(name, fs::read(path).unwrap());
            }
        }
    }
    found
}

/// What all tests of a hub share.
struct Hub {
    patterns: BTreeMap<String, String>,
    /// By their path below `parsers` or `postoverflows`, which begins with the stage.
    parsers: BTreeMap<String, Vec<u8>>,
    postoverflows: BTreeMap<String, Vec<u8>>,
    data: BTreeMap<String, Vec<u8>>,
}

impl Hub {
    fn read(hub: &Path) -> Self {
        let patterns = files(&hub.join("patterns"))
            .into_iter()
            .map(|(name, text)| (name, String::from_utf8(text).unwrap()));
        Self {
            patterns: patterns.collect(),
            parsers: files(&hub.join("parsers")),
            postoverflows: files(&hub.join("postoverflows")),
            data: files(&hub.join("data")),
        }
    }

    fn items<'t>(&'t self, parsers: impl Iterator<Item = (&'t String, &'t Vec<u8>)>) -> Items<'t> {
        let item = |(file, bytes): (&'t String, &'t Vec<u8>)| Item {
            file,
            stage: file.split('/').next().unwrap(),
            bytes,
        };
        Items {
            patterns: self.patterns.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect(),
            parsers: parsers.map(item).collect(),
            data: self.data.iter().map(|(name, bytes)| DataFile { name, bytes }).collect(),
        }
    }

    /// A parser by what a test calls it: a path, or author and name.
    fn parser(&self, named: &str) -> Option<(&String, &Vec<u8>)> {
        let path = named.trim_start_matches("./").trim_start_matches("parsers/");
        let is = |file: &str| {
            file == path
                || file.split_once('/').is_some_and(|(_, behind)| {
                    behind == format!("{path}.yaml") || behind == format!("{path}.yml")
                })
        };
        self.parsers.iter().find(|(file, _)| is(file))
    }
}

#[test]
fn every_file_of_the_hub_loads() {
    let Some(hub) = hub("crowdsec_parsers::every_file_of_the_hub_loads") else { return };
    let hub = Hub::read(&hub);
    assert!(hub.parsers.len() > 100 && hub.postoverflows.len() > 10);
    let (parsers, errors) = Pipeline::new(&hub.items(hub.parsers.iter()));
    assert!(errors.is_empty(), "{}", errors.iter().map(|error| format!("{error}\n")).collect::<String>());
    assert_eq!(parsers.stages().collect::<Vec<_>>(), ["s00-raw", "s01-parse", "s02-enrich"]);
    assert!(parsers.missing_data().is_empty(), "{:#?}", parsers.missing_data());
    let (postoverflows, errors) = Pipeline::new(&hub.items(hub.postoverflows.iter()));
    assert!(errors.is_empty(), "{errors:#?}");
    // Some lists of addresses are not part of the corpora.
    let missing = postoverflows.missing_data();
    assert!(missing.iter().all(|error| error.message.contains("unsupported: data file")), "{missing:#?}");
    assert_eq!(postoverflows.stages().collect::<Vec<_>>(), ["s00-enrich", "s01-whitelist"]);
}

#[test]
fn the_stock_patterns_do_without_the_folder() {
    let Some(hub) = hub("crowdsec_parsers::the_stock_patterns_do_without_the_folder") else { return };
    let hub = Hub::read(&hub);
    let mut items = hub.items(hub.parsers.iter());
    items.patterns.clear();
    let (_, errors) = Pipeline::new(&items);
    let missing: Vec<_> = errors.iter().map(ToString::to_string).collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

/// Runs a test of the hub as of a year; what fails.
fn run(hub: &Hub, folder: &Path, year: i16) -> Vec<Failed> {
    let read = |name: &str| fs::read(folder.join(name)).unwrap();
    let limits = yaml::Limits { bytes: 1 << 20, nodes: 10_000, repeated: 1 << 20, depth: 32 };
    let config = yaml::read(&read("config.yaml"), &limits).unwrap();
    let chosen: Vec<_> = config.at("parsers").texts().into_iter().filter(|name| !name.is_empty()).collect();
    let chosen: Vec<_> =
        chosen.iter().map(|name| hub.parser(name).unwrap_or_else(|| panic!("no parser {name}"))).collect();
    let mut items = hub.items(chosen.into_iter());
    let mut overrides = String::from("name: overrides\nfilter: 1==1\nstatics:\n");
    for entry in config.at("override_statics").list() {
        for (place, (key, value)) in entry.entries().iter().enumerate() {
            let mark = if place == 0 { "-" } else { " " };
            overrides += &format!("{mark} {key}: {:?}\n", value.text().unwrap());
        }
    }
    if overrides.contains('-') {
        items.parsers.push(Item { file: "00_overrides.yaml", stage: "s00-raw", bytes: overrides.as_bytes() });
    }
    let (mut pipeline, errors) = Pipeline::new(&items);
    assert!(errors.is_empty(), "{errors:#?}");
    let now = Time::utc(format!("{year}-12-31T12:00:00Z").parse().unwrap());
    let mut labels = BTreeMap::from([(Arc::from("type"), Arc::from(config.at("log_type").text().unwrap()))]);
    for (key, value) in config.at("labels").entries() {
        labels.insert(key.as_str().into(), value.text().unwrap_or("").into());
    }
    let log = config.at("log_file").text().unwrap();
    let template =
        Line { source: log.into(), module: "file".into(), labels: labels.into(), ..Line::default() };
    let mut results = Results::new(now);
    for line in String::from_utf8_lossy(&read(log)).lines().filter(|line| !line.is_empty()) {
        let event = Event::line(Line { raw: line.into(), ..template.clone() }, Mode::Replay, now);
        let steps: Vec<Step> = pipeline.parse_told(event, now).steps;
        results.add(steps);
    }
    results.check(&String::from_utf8_lossy(&read("parser.assert")))
}

#[test]
fn the_tests_of_the_hub_find_what_they_assert() {
    let Some(root) = hub("crowdsec_parsers::the_tests_of_the_hub_find_what_they_assert") else { return };
    let hub = Hub::read(&root);
    let (mut passed, mut failed) = (0, Vec::new());
    for entry in fs::read_dir(root.join("tests")).unwrap() {
        let folder = entry.unwrap().path();
        let Ok(config) = fs::read_to_string(folder.join("config.yaml")) else { continue };
        if config.contains("ignore_parsers: true") || !folder.join("parser.assert").exists() {
            continue;
        }
        let mut wrong = run(&hub, &folder, 2026);
        if let Some(year) = year_of(&wrong) {
            wrong = run(&hub, &folder, year);
        }
        match wrong.first() {
            None => passed += 1,
            Some(first) => failed.push(format!(
                "{}: {} wrong, first in line {}: {} is {}",
                folder.file_name().unwrap().to_string_lossy(),
                wrong.len(),
                first.line,
                first.assert,
                first.got
            )),
        }
    }
    assert!(failed.is_empty(), "{passed} passed, {} failed:\n{}", failed.len(), failed.join("\n"));
    assert!(passed > 40, "only {passed} tests were there");
}
