//! The shipped files: the example, the reference and the schema.

use std::path::Path;

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// Lines that begin with `#` and no space are settings to switch on.
fn switched_on(text: &str) -> String {
    text.lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '[') => rest,
            Some(_) | None => line,
        })
        .collect::<Vec<_>>()
        .join("\n")
}

fn must_parse(name: &str, text: &str) -> config::Config {
    match config::parse(name, text) {
        Ok(config) => config,
        Err(errors) => panic!("{}", errors.iter().map(|error| format!("{error}\n")).collect::<String>()),
    }
}

#[test]
fn the_example_parses_as_it_is_and_with_everything_switched_on() {
    let text = std::fs::read_to_string(root().join("image/secd.toml")).unwrap();
    let config = must_parse("image/secd.toml", &text);
    assert_eq!(config.warnings, []);
    assert_eq!(config.policy.zones.len(), 8);
    assert_eq!(config.mode, model::Mode::Observe);
    let everything = must_parse("image/secd.toml", &switched_on(&text));
    assert_eq!((everything.lists.len(), everything.logs.len()), (2, 2));
    assert!(everything.loki.is_some() && everything.policy.rules.len() == config.policy.rules.len() + 2);
}
