//! Runs `tests/cases/import/*.toml`: what the old program was told, and what becomes of it.
//!
//! A case file holds `[[case]]`s. `pihole` gives files by name, with the tables of the database as SQL in `gravity`;
//! `adguard` gives the text of AdGuardHome.yaml. `config` is the config text without its first line, `own` the files of
//! own rules without their first lines, `taken` what is counted, `translated` and `left` what is told. `error` is what
//! an error says. What is left out is not looked at, but that every config passes the check, put into a router's
//! config. Set `SECD_WRITE_CASES=1` to write what is seen into the files, and read the difference before you commit it.

#![expect(clippy::unwrap_used, reason = "test code")]

mod support;

use import::{Files, Gravity, Import, ImportError, adguard, pihole};
use std::{fs, path::Path};
use support::{checked, database};
use toml_edit::{DocumentMut, Item, Table, value};

/// Where the files of own rules are said to be.
const FOLDER: &str = "/etc/secd/lists";

#[test]
fn cases() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases/import");
    let (mut wrong, mut count) = (Vec::new(), 0);
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "toml")) {
        let text = fs::read_to_string(file).unwrap();
        let mut document: DocumentMut = text.parse().unwrap();
        for case in document["case"].as_array_of_tables_mut().unwrap().iter_mut() {
            count += 1;
            let name = case["name"].as_str().unwrap().to_owned();
            for what in run(case) {
                wrong.push(format!("{} `{name}`: {what}", file.file_name().unwrap().to_string_lossy()));
            }
        }
        if std::env::var_os("SECD_WRITE_CASES").is_some() {
            fs::write(file, document.to_string()).unwrap();
        }
    }
    assert!(count >= 20, "only {count} cases");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Runs a case, writes what is seen into it, and returns what is not as it says.
fn run(case: &mut Table) -> Vec<String> {
    let seen = match read(case) {
        Ok(import) => {
            checked(&import, FOLDER);
            shown(&import)
        }
        Err(error) => vec![("error", value(format!("{error}; {}", error.help)))],
    };
    let mut wrong = Vec::new();
    for key in ["error", "config", "own", "taken", "translated", "left"] {
        let Some(wanted) = case.get(key).map(plain) else { continue };
        let (now, item) = match seen.iter().find(|(name, _)| *name == key) {
            Some((_, item)) => (plain(item), item.clone()),
            None => (String::new(), Item::None),
        };
        if wanted != now {
            wrong.push(format!("{key}\n  wanted {wanted}\n  seen   {now}"));
            case.insert(key, item);
        }
    }
    wrong
}

fn read(case: &Table) -> Result<Import, ImportError> {
    if let Some(text) = case.get("adguard").and_then(Item::as_str) {
        return adguard("AdGuardHome.yaml", text.as_bytes());
    }
    let mut files = Files::new("backup");
    for (name, text) in case["pihole"].as_table().unwrap() {
        if name != "gravity" {
            let known = Files::known(name).unwrap_or_else(|| panic!("{name} is not looked at"));
            files.add(known, text.as_str().unwrap().as_bytes().to_vec());
        }
    }
    let gravity = match case["pihole"].get("gravity").and_then(Item::as_str) {
        Some(sql) => {
            let bytes = database(sql);
            Some(Gravity::read("gravity.db", bytes.as_slice(), bytes.len())?)
        }
        None => None,
    };
    pihole(&files, gravity)
}

/// What is seen of an import, as the case files write it.
fn shown(import: &Import) -> Vec<(&'static str, Item)> {
    let config = import.fragment(FOLDER);
    let (_, config) = config.split_once('\n').unwrap();
    let mut own = String::new();
    for list in import.settings.own_lists() {
        let (_, text) = list.text.split_once('\n').unwrap();
        own += &format!("{}:\n{text}", list.file());
    }
    let lines = |lines: Vec<String>| text(&lines.join("\n"));
    let report = &import.report;
    vec![
        ("config", text(config.trim())),
        ("own", text(&own)),
        ("taken", lines(report.taken.iter().map(|one| format!("{} {}", one.count, one.kind)).collect())),
        (
            "translated",
            lines(report.translated.iter().map(|one| format!("{} -> {}", one.what, one.how)).collect()),
        ),
        (
            "left",
            lines(
                report.left.iter().map(|one| format!("{} | {} | {}", one.what, one.why, one.help)).collect(),
            ),
        ),
    ]
}

/// A text over several lines, to be read by people.
fn text(text: &str) -> Item {
    let text = text.trim_end();
    if text.contains("'''") {
        return value(text);
    }
    let written = format!("x = '''\n{text}{}'''\n", if text.is_empty() { "" } else { "\n" });
    written.parse::<DocumentMut>().unwrap()["x"].clone()
}

fn plain(item: &Item) -> String {
    item.as_str().unwrap_or_default().trim_end().to_owned()
}
