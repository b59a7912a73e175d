//! The shipped files: the example, the reference and the schema.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

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
    assert_eq!((everything.lists.len(), everything.logs.len()), (3, 2));
    assert!(everything.geoip.is_some() && !everything.policy.devices.is_empty());
    // Three that are written, and the one that its reflection needs.
    assert!(everything.loki.is_some() && everything.policy.rules.len() == config.policy.rules.len() + 4);
}

#[test]
fn every_rule_of_the_example_decides_something() {
    let text = std::fs::read_to_string(root().join("image/secd.toml")).unwrap();
    let own = ["203.0.113.7", "10.5.0.1", "10.0.0.1"].map(|address| address.parse().unwrap());
    for text in [text.clone(), switched_on(&text)] {
        let review = must_parse("image/secd.toml", &text).policy.review(&own);
        assert_eq!(review, policy::Review::default());
    }
}

/// The copy in `docs/reference` is what the types say. `SECD_REGENERATE=1` writes it anew.
fn must_be_current(name: &str, text: &str) {
    let path = root().join("docs/reference").join(name);
    if std::env::var_os("SECD_REGENERATE").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == text, "docs/reference/{name} is not current: run SECD_REGENERATE=1 cargo test -p config");
}

#[test]
fn the_reference_names_every_key_and_parses() {
    let text = config::reference();
    must_be_current("secd.toml", &text);
    let config = must_parse("docs/reference/secd.toml", &text);
    assert_eq!(config.warnings, []);
    // What is off by default parses as well once it is switched on, but for the keys that exclude each other.
    let mut everything = text;
    for key in ["syslog", "senders", "url", "catalogue", "refresh", "format", "limit", "direction"] {
        everything = everything.replace(&format!("\n#{key} = "), &format!("\n# {key} = "));
    }
    // Of a log that is a file.
    for key in ["units", "identifiers", "matches", "client_ca", "loki", "labels", "token_file"] {
        everything = everything.replace(&format!("\n#{key} = "), &format!("\n# {key} = "));
    }
    for key in ["certificate = \"/etc/secd/logs.pem\"", "key = \"/etc/secd/logs.key\""] {
        everything = everything.replace(&format!("\n#{key}"), &format!("\n# {key}"));
    }
    let everything = switched_on(&everything);
    let everything = must_parse("docs/reference/secd.toml", &everything);
    assert_eq!(everything.policy.zones[0].vlan, Some(400));
}

#[test]
fn the_schema_is_current_and_describes_every_key() {
    let schema = config::schema();
    must_be_current("secd.schema.json", &format!("{}\n", serde_json::to_string_pretty(&schema).unwrap()));
    let tables = schema["$defs"].as_object().unwrap().values().chain([&schema]);
    let mut count = 0;
    for (name, key) in tables.filter_map(|table| table["properties"].as_object()).flatten() {
        let described = key["description"].as_str().is_some_and(|text| text.len() > 10);
        assert!(described, "`{name}` has no doc comment");
        count += 1;
    }
    assert!(count > 40, "{count}");
}

#[test]
fn an_empty_file_is_the_default() {
    let config = must_parse("secd.toml", "");
    assert_eq!(config.mode, model::Mode::Enforce);
    assert!(config.policy.zones.is_empty() && config.dns.listen.is_empty() && config.loki.is_none());
    assert_eq!(config.dns.cache_entries, 20_000);
    assert_eq!(config.events.rotate_bytes, 64_000_000);
}

#[test]
fn the_page_of_services_is_current() {
    must_be_current("services.md", &config::services_page());
}

#[test]
fn own_filters_are_found_and_their_mistakes_told() {
    let text = "filters_dir = \"/etc/filters\"\n[[logs]]\nname = \"a\"\npath = \"/a\"\nfilter = \"mine\"\n";
    assert_eq!(config::filters_dir(text), Path::new("/etc/filters"));
    assert_eq!(config::filters_dir("mode = ["), Path::new(config::DEFAULT_FILTERS_DIR));
    let (_, built_in) = logs::Library::builtin_files().next().unwrap();
    let own = built_in.replacen("\"sshd\"", "\"mine\"", 1);
    let file = "/etc/filters/mine.toml".to_owned();
    let (config, library) = config::load("secd.toml", text, &[(file.clone(), own)]).unwrap();
    assert_eq!(config.logs[0].filter, "mine");
    assert!(library.filter("mine").is_some() && library.filter("sshd").is_some());
    // A file with a mistake is told, and its filter is not called unknown.
    let errors = config::load("secd.toml", text, &[(file.clone(), "no filter = (".into())]).unwrap_err();
    assert!(errors.iter().all(|error| error.file == file), "{errors:?}");
    let errors = config::load("secd.toml", text, &[]).unwrap_err();
    assert!(errors.len() == 1 && errors[0].message.contains("no filter `mine`"), "{errors:?}");
}

#[test]
fn the_built_in_filters_are_those_of_the_log_engine() {
    let mut built_in: Vec<_> = logs::Library::builtin().filters().map(|filter| filter.name.clone()).collect();
    let mut known = config::BUILT_IN_FILTERS.map(str::to_owned);
    built_in.sort();
    known.sort();
    assert_eq!(built_in, known);
}
