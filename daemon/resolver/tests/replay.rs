//! Cases of `tests/cases/dns/*.toml` around the engine alone: scripted clients, a scripted upstream, and a clock that
//! only the cases move. How a case is written is said in `replay/case.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

#[path = "replay/case.rs"]
mod case;
mod common;
#[path = "replay/world.rs"]
mod world;

use case::File;
use std::path::Path;

/// Runs all cases of a file; those that fail are named together.
async fn run_file(file: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases/dns").join(file);
    let text = std::fs::read_to_string(path).unwrap();
    let file: File = toml::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"));
    assert!(!file.case.is_empty());
    let mut failed = Vec::new();
    for case in file.case {
        let name = case.name.clone();
        if tokio::spawn(world::run(case)).await.is_err() {
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "failed: {failed:#?}");
}

macro_rules! files {
    ($($test:ident: $file:literal,)+) => {$(
        #[tokio::test(start_paused = true)]
        async fn $test() {
            run_file($file).await;
        }
    )+};
}

files! {
    answering: "answering.toml",
    asking: "asking.toml",
    blocking: "blocking.toml",
    caching: "caching.toml",
    failing: "failing.toml",
    inspection: "inspection.toml",
    limits: "limits.toml",
    local_names: "local.toml",
    people: "people.toml",
    policy_zones: "policy-zones.toml",
    rewriting: "rewriting.toml",
    special_names: "special.toml",
}
