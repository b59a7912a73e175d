//! docs/log-filters.md is written from the built-in files, so that it says what they do.
//! `SECD_REGENERATE=1 cargo test -p logs --test page` writes it anew.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::fmt::Write as _;
use std::path::PathBuf;

use logs::{Filter, Library, Scenario};
use model::{Mode, duration_text};

const INTRODUCTION: &str = "\
# Built-in log filters

A filter reads the lines of one program; a scenario says how much is too much. `[[logs]] filter = \"…\"` in `secd.toml` names
one of the filters below, or one of your own (`filters_dir`; `rules/logs/src/builtin/*.toml` are the examples). Which scenarios
judge a filter's events follows from the scenarios themselves. A scenario in a file of your own takes the place of the built-in
one of its name: that is how a number is changed, or `mode = \"observe\"` set.

Every filter names an address only where nobody but the program could have written it. What the program itself was told by a
proxy it trusts is its own affair: each section says where the address comes from. Programs that write a user name as it came,
line ends included, let whoever types it write a whole line of the log (Vaultwarden, Jellyfin, Sonarr and its kin, Traefik in
the common format do); no filter can tell such a line from a true one, so take their JSON logs where there are any, or
the log of the proxy in front of them.

Times without an offset are taken as local to the machine secd runs on: give containers the same `TZ`.
";

/// The comment a file begins with, as prose.
fn comment(text: &str) -> String {
    let lines = text.lines().take_while(|line| line.starts_with('#'));
    let lines: Vec<&str> = lines.map(|line| line.trim_start_matches('#').trim()).collect();
    lines.join("\n").trim().to_owned()
}

fn list<'n>(names: impl IntoIterator<Item = &'n str>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

fn rows(page: &mut String, scenarios: &[&Scenario], with_filters: bool) {
    let filters = if with_filters { " filters |" } else { "" };
    let rule = if with_filters { "---|" } else { "" };
    writeln!(page, "| scenario |{filters} what it means | more than | forgets one in | ban |").unwrap();
    writeln!(page, "|---|{rule}---|---|---|---|").unwrap();
    for scenario in scenarios {
        let filters = if with_filters {
            format!(" {} |", list(scenario.filters.iter().map(String::as_str)))
        } else {
            String::new()
        };
        let distinct =
            scenario.distinct.as_ref().map_or(String::new(), |field| format!(" (each `{field}` once)"));
        let ban = match scenario.mode {
            Mode::Enforce => duration_text(scenario.ban),
            Mode::Observe => format!("{}, observed only", duration_text(scenario.ban)),
        };
        writeln!(
            page,
            "| `{}` |{filters} {} | {}{distinct} | {} | {ban} |",
            scenario.name,
            scenario.description,
            scenario.capacity,
            duration_text(scenario.leak)
        )
        .unwrap();
    }
}

fn section(page: &mut String, library: &Library, filter: &Filter, text: &str) {
    writeln!(page, "\n## {}\n\n**{}.** {}\n", filter.name, filter.description, comment(text)).unwrap();
    writeln!(page, "Events: {}.", list(filter.events())).unwrap();
    let (own, shared): (Vec<_>, Vec<_>) = library
        .scenarios()
        .filter(|scenario| scenario.filters.contains(&filter.name))
        .partition(|scenario| scenario.filters.len() == 1);
    if !shared.is_empty() {
        let names = list(shared.iter().map(|scenario| scenario.name.as_str()));
        writeln!(page, "Scenarios for several filters: {names}.").unwrap();
    }
    if !own.is_empty() {
        page.push('\n');
        rows(page, &own, false);
    }
}

fn page() -> String {
    let library = Library::builtin();
    let mut page = INTRODUCTION.to_owned();
    let names = list(library.filters().map(|filter| filter.name.as_str()));
    writeln!(page, "\nThere are {names}.").unwrap();
    for (file, text) in Library::builtin_files() {
        if let Some(filter) = library.filters().find(|filter| filter.span.file == file) {
            section(&mut page, &library, filter, text);
            continue;
        }
        let scenarios: Vec<&Scenario> =
            library.scenarios().filter(|scenario| scenario.span.file == file).collect();
        let title = if file.contains("http") { "Scenarios for web servers" } else { "Scenarios for logins" };
        writeln!(page, "\n## {title}\n\n{}\n", comment(text)).unwrap();
        rows(&mut page, &scenarios, true);
    }
    page
}

#[test]
fn the_page_of_filters_is_current() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/log-filters.md");
    let page = page();
    if std::env::var_os("SECD_REGENERATE").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page,
        "docs/log-filters.md is not current: SECD_REGENERATE=1 cargo test -p logs --test page"
    );
}
