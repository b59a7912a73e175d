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
    let names: Vec<&str> = library.filters().map(|filter| filter.name.as_str()).collect();
    assert_eq!(names, ["sshd", "nginx", "traefik"]);
    assert_eq!(library.scenarios().count(), 15);
}
