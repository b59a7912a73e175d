//! The rules of the house that a linter does not know.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use directions::{code_of, files, has_word, workspace};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Lines of a source file; what is longer is two things.
const MOST_LINES: usize = 800;
/// Folders whose code may be `unsafe`: what speaks to the kernel, and tests of that.
const UNSAFE: [&str; 4] = ["ebpf/edge", "ebpf/abi", "daemon/enforce", "tests"];

fn sources() -> Vec<(PathBuf, String)> {
    let root = workspace();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(root.join(&path)).unwrap();
        (path, text)
    };
    let rust = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "rs");
    files(&root).unwrap().into_iter().filter(rust).map(read).collect()
}

fn below(path: &Path, folders: &[&str]) -> bool {
    folders.iter().any(|folder| path.starts_with(folder))
}

#[test]
fn no_source_file_is_too_long() {
    let sources = sources();
    assert!(sources.len() > 50, "only {} source files were found", sources.len());
    let long: Vec<_> = sources
        .iter()
        .map(|(path, text)| (path, text.lines().count()))
        .filter(|(_, lines)| *lines > MOST_LINES)
        .collect();
    assert!(long.is_empty(), "longer than {MOST_LINES} lines: {long:?}");
}

#[test]
fn every_source_file_says_why_it_is_there() {
    let silent: Vec<_> =
        sources().into_iter().filter(|(_, text)| !text.starts_with("//! ")).map(|(path, _)| path).collect();
    assert!(silent.is_empty(), "no `//!` at the top: {silent:?}");
}

#[test]
fn unsafe_stays_at_the_kernel_line() {
    let mut wrong = Vec::new();
    for (path, text) in sources().iter().filter(|(path, _)| !below(path, &UNSAFE)) {
        for (number, line) in text.lines().enumerate() {
            if has_word(&code_of(line), "unsafe") {
                wrong.push(format!("{}:{}", path.display(), number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "unsafe code: {wrong:?}");
}

#[test]
fn pure_crates_reach_for_no_clock_socket_or_thread() {
    const IMPURE: [&str; 7] = [
        "std::net::TcpStream",
        "std::net::UdpSocket",
        "std::thread",
        "std::process",
        "std::fs",
        "std::env",
        "tokio",
    ];
    let mut wrong = Vec::new();
    let is_pure = |path: &Path| {
        below(path, &["rules", "ebpf/datapath"])
            && !path.iter().any(|part| part == "tests" || part == "examples" || part == "benches")
    };
    for (path, text) in sources().iter().filter(|(path, _)| is_pure(path)) {
        // Tests inside a file stand at its end.
        let code = text.split("#[cfg(test)]").next().unwrap();
        for (number, line) in code.lines().enumerate() {
            let line = code_of(line);
            if let Some(word) = IMPURE.iter().find(|word| has_word(&line, word)) {
                wrong.push(format!("{}:{}: {word}", path.display(), number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_file_knows_the_machine_it_was_written_on() {
    // Put together, so that this file does not name them.
    let places = ["work", "root"].map(|folder| format!("/{folder}/"));
    let root = workspace();
    let mut wrong = Vec::new();
    for path in files(&root).unwrap() {
        let Ok(text) = fs::read_to_string(root.join(&path)) else { continue };
        for (number, line) in text.lines().enumerate() {
            // The middle of a longer path or address is none of them.
            let found = |place: &&String| {
                line.match_indices(place.as_str()).any(|(at, _)| {
                    line[..at]
                        .chars()
                        .next_back()
                        .is_none_or(|c| !c.is_alphanumeric() && !"/._-~$})*]".contains(c))
                })
            };
            if places.iter().any(|place| found(&place)) {
                wrong.push(format!("{}:{}", path.display(), number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "absolute paths: {wrong:?}");
}

#[test]
fn the_checks_see_what_they_look_for() {
    assert!(has_word(&code_of("    unsafe { call() }"), "unsafe"));
    assert!(!has_word(&code_of("#[deny(unsafe_code)] // unsafe"), "unsafe"));
    assert!(!has_word(&code_of(r#"let text = "unsafe \" unsafe"; done('"')"#), "unsafe"));
    assert!(has_word(&code_of(r#"let c = '"'; unsafe {"#), "unsafe"));
}
