//! The built-in definitions load.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use logs::Library;

#[test]
fn built_in_files_have_no_mistake() {
    let mut library = Library::empty();
    for (file, text) in Library::builtin_files() {
        if let Err(errors) = library.add(file, text) {
            panic!("{errors:#?}");
        }
    }
    assert_eq!(library.filters().count(), 21);
    let (filters, scenarios) = (Library::builtin().filters().count(), Library::builtin().scenarios().count());
    assert_eq!((library.filters().count(), library.scenarios().count()), (filters, scenarios));
}

/// What a pattern can follow byte by byte is read to the end; what could be split in many ways is not judged when long.
#[test]
fn long_texts() {
    let library = Library::builtin();
    let found = |filter: &str, line: &str| library.filter(filter).unwrap().parse(line.as_bytes()).is_some();
    for length in [100, 9_000, 50_000] {
        let long = "x ".repeat(length / 2);
        let access = format!(
            "192.0.2.7 - - [23/Nov/2026:02:45:00 +0100] \"GET / HTTP/1.1\" 404 615 \"{long}\" \"{long}\""
        );
        assert_eq!(found("nginx", &access), length < 50_000, "{length}");
        let json = format!(
            "{{\"ClientHost\":\"192.0.2.7\",\"DownstreamStatus\":404,\"request_User-Agent\":\"{long}\"}}"
        );
        assert!(found("traefik", &json), "{length}");
        let name = format!(
            "[02:45:00] [INF] Authentication request for \"{long}\" has been denied (IP: \"192.0.2.7\")."
        );
        assert_eq!(found("jellyfin", &name), length == 100, "{length}");
    }
}
