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
