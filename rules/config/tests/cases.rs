//! `tests/cases/config`: a bad file `NAME.toml` and beside it in `NAME.errors` everything that is said about it.
//!
//! `SECD_REGENERATE_CASES=1` writes the `.errors` files anew; read the difference before it is committed.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

use std::{fmt::Write, path::Path};

#[test]
fn every_bad_file_is_told_all_its_mistakes() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/cases/config"));
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    names.sort();
    assert!(names.len() >= 40, "only {} cases", names.len());
    let mut wrong = String::new();
    for path in names {
        let name = path.file_name().unwrap().to_string_lossy();
        let text = std::fs::read_to_string(&path).unwrap();
        let mut said = String::new();
        for error in config::parse(&name, &text).err().into_iter().flatten() {
            assert_eq!(error.file, name);
            assert!(!error.help.is_empty(), "{name}: no help: {error}");
            let _ = writeln!(said, "{}:{}: {}\n    {}", error.line, error.column, error.message, error.help);
        }
        let expected_path = path.with_extension("errors");
        if std::env::var_os("SECD_REGENERATE_CASES").is_some() {
            std::fs::write(&expected_path, &said).unwrap();
        }
        let expected = std::fs::read_to_string(&expected_path).unwrap_or_default();
        if said != expected || said.is_empty() {
            let _ = writeln!(wrong, "=== {name}, expected:\n{expected}--- said:\n{said}");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
