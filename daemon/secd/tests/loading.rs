//! Reading the config and all it names.
#![allow(clippy::unwrap_used, reason = "a test ends where its own world cannot be built")]

use secd::loading::Loaded;
use std::{fs, path::Path};

fn write(folder: &Path, config: &str) -> std::path::PathBuf {
    let file = folder.join("secd.toml");
    let base = "[zones.wan]\ninterface = 'wan0'\nwan = true\n";
    fs::write(&file, format!("filters_dir = '{}'\n{base}{config}", folder.join("filters").display()))
        .unwrap();
    file
}

#[test]
fn every_mistake_of_all_files_is_named_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("filters")).unwrap();
    fs::write(folder.path().join("filters/own.toml"), "[[filters]]\nname = 3\n").unwrap();
    fs::write(folder.path().join("filters/notes.txt"), "not a filter").unwrap();
    let file = write(folder.path(), "[[logs]]\nname = 'a'\npath = '/var/log/a'\nfilter = 'sshdd'\n");
    let problems = Loaded::read(&file, None).err().unwrap();
    assert!(problems.iter().any(|p| p.file.ends_with("own.toml") && p.line >= 1), "{problems:?}");
    assert!(problems.iter().any(|p| p.message.contains("sshdd") && p.line == 8), "{problems:?}");
}

#[test]
fn a_config_that_is_not_there_says_what_to_do() {
    let problems = Loaded::read(Path::new("/nowhere/secd.toml"), None).err().unwrap();
    assert!(problems[0].message.contains("cannot be read"));
    assert!(problems[0].help.as_ref().unwrap().contains("secctl config reference"));
}

#[test]
fn signatures_that_are_not_supported_are_notes_and_the_others_run() {
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("local.rules");
    fs::write(
        &rules,
        "alert tcp any any -> any any (msg:\"one\"; content:\"abc\"; sid:1; rev:1;)\n\
         alert tcp any any -> any any (msg:\"two\"; lua:evil.lua; sid:2; rev:1;)\n",
    )
    .unwrap();
    let missing = folder.path().join("missing.rules");
    let files = format!("[signatures]\nfiles = ['{}', '{}']\n", rules.display(), missing.display());
    let loaded = Loaded::read(&write(folder.path(), &files), Some(model::Mode::Observe))
        .unwrap_or_else(|e| panic!("{e:?}"));
    assert_eq!((loaded.signatures.len(), loaded.signatures.refused()), (1, 1));
    assert!(
        loaded.notes.iter().any(|note| note.contains("sid 2") && note.contains("lua")),
        "{:?}",
        loaded.notes
    );
    assert!(loaded.unread_rules[0].contains("missing.rules"), "{:?}", loaded.unread_rules);
    assert_eq!((loaded.config.mode, loaded.configured), (model::Mode::Observe, model::Mode::Enforce));
}
