//! Own filters and scenarios: what is wrong with them is said with its place and a way out.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use logs::Library;

/// Line, column and message of each mistake.
fn mistakes(text: &str) -> Vec<(u32, Option<u32>, String)> {
    let Err(errors) = Library::builtin().add("own.toml", text) else { return Vec::new() };
    assert!(errors.iter().all(|error| error.file == "own.toml" && !error.help.is_empty()));
    errors.into_iter().map(|error| (error.line, error.column, error.message)).collect()
}

fn one(text: &str) -> (u32, Option<u32>, String) {
    let mut all = mistakes(text);
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

const HEAD: &str = "[filter]\nname = \"own\"\n[[patterns]]\nevent = \"a\"\n";

#[test]
fn an_own_filter_with_a_scenario() {
    let mut library = Library::builtin();
    let text = format!(
        "{HEAD}regex = 'no (?<who>\\w+) from <ip>'\n[[scenarios]]\nname = \"too-many\"\ncapacity = 3\nleak = \"1m\"\nban = \"1h\"\n"
    );
    library.add("own.toml", &text).unwrap();
    let found = library.filter("own").unwrap().parse(b"no bob from 192.0.2.7").unwrap();
    assert_eq!(
        found.fields,
        [("ip".to_owned(), "192.0.2.7".to_owned()), ("who".to_owned(), "bob".to_owned())]
    );
    let scenario = library.scenarios().last().unwrap();
    assert_eq!((scenario.name.as_str(), scenario.span.line, scenario.ipv6_prefix), ("too-many", 7, 64));
    // A second one of the name takes its place.
    let before = (library.filters().count(), library.scenarios().count());
    library.add("own.toml", &text).unwrap();
    assert_eq!((library.filters().count(), library.scenarios().count()), before);
}

#[test]
fn nothing_of_a_wrong_file_is_taken() {
    let mut library = Library::builtin();
    let text = format!(
        "{HEAD}regex = 'from <ip>'\n[[scenarios]]\nname = \"x\"\ncapacity = 3\nleak = \"1 fortnight\"\nban = \"1h\"\n"
    );
    assert!(library.add("own.toml", &text).is_err());
    assert!(library.filter("own").is_none());
}

#[test]
fn mistakes_have_places() {
    let pattern = |regex: &str| one(&format!("{HEAD}regex = '{regex}'\n"));
    let starts = |found: (u32, Option<u32>, String), line, column, message: &str| {
        assert_eq!((found.0, found.1), (line, Some(column)), "{found:?}");
        assert!(found.2.contains(message), "{found:?}");
    };
    starts(pattern("from <ip"), 5, 9, "the pattern has no address");
    starts(pattern("from <host>"), 5, 9, "there is no part `<host>`");
    starts(pattern("from (<ip>"), 5, 9, "unclosed group");
    starts(pattern("<ip> (?=x)"), 5, 9, "look-around");
    starts(pattern("<ip> (?<ip>x)"), 5, 9, "duplicate capture group name");
    starts(pattern("<ip>(?:(?:x{500}){500}){500}"), 5, 9, "too large");
    starts(pattern(&format!("<ip>{}", "(".repeat(200) + &")".repeat(200))), 5, 9, "nest");
    starts(pattern(&format!("<ip>{}", "x".repeat(9_000))), 5, 9, "longer than");
    starts(
        one("[filter]\nname = \"a b\"\n[[patterns]]\nignore = true\nregex = 'x'\n"),
        2,
        8,
        "`a b` is no name",
    );
    starts(
        one("[filter]\nname = \"own\"\n[[patterns]]\nregex = 'x'\n"),
        4,
        9,
        "does not say what a match means",
    );
    starts(one("[filter]\nname = \"own\"\n"), 2, 8, "0 patterns");
    starts(one("[filter]\nname = \"own\"\njson = true\n"), 2, 8, "no field `ip`");
    starts(
        one("[filter]\nname = \"own\"\njson = true\npeer = \"x\"\nfields = { ip = \"a\" }\n"),
        4,
        8,
        "no field is named `x`",
    );
    starts(one("[filter]\nname = \"own\"\njson = true\nfields = { ip = 5 }\n"), 4, 17, "`ip` names no key");
    starts(one("[filter]\nnam = \"own\"\n"), 2, 1, "nam");
    starts(one("[filter\n"), 1, 8, "");
    starts(one("[[patterns]]\nignore = true\nregex = 'x'\n"), 3, 9, "patterns without a filter");
    starts(one(&"#".repeat(300_000)), 1, 1, "larger than");
}

const JSON: &str = "[filter]\nname = \"own\"\njson = true\nfields = { ip = \"ip\", text = \"text\", kind = \"kind\" }\n[[patterns]]\n";

#[test]
fn patterns_of_json_lines() {
    let mut library = Library::empty();
    let text = format!(
        "{JSON}event = \"refused\"\nmatch = {{ kind = 'login', text = 'no (?<user>.*) from <ip>' }}\n\
         [[patterns]]\nignore = true\nmatch = {{ kind = 'quiet' }}\n\
         [[patterns]]\nevent = \"other\"\nmatch = {{ kind = '.*' }}\n\
         [[patterns]]\nevent = \"plain\"\nregex = 'plain <ip>'\n"
    );
    library.add("own.toml", &text).unwrap();
    let filter = library.filter("own").unwrap();
    let parse = |line: &str| {
        let found = filter.parse(line.as_bytes())?;
        let user = found.fields.iter().find(|(name, _)| name == "user").map(|(_, user)| user.clone());
        Some((found.event, found.ip.to_string(), user))
    };
    let event =
        |event: &str, ip: &str, user: Option<&str>| Some((event.into(), ip.into(), user.map(str::to_owned)));
    let line = r#"{"ip":"192.0.2.1","kind":"login","text":"no \u0062ob from 192.0.2.7"}"#;
    assert_eq!(parse(line), event("refused", "192.0.2.7", Some("bob")));
    // Every test must hold, and none covers a part only.
    assert_eq!(
        parse(r#"{"ip":"192.0.2.1","kind":"login","text":"no bob from 192.0.2.7 "}"#),
        event("other", "192.0.2.1", None)
    );
    assert_eq!(parse(r#"{"ip":"192.0.2.1","kind":"quiet"}"#), None);
    assert_eq!(parse(r#"{"ip":"192.0.2.1","text":"x"}"#), None);
    assert_eq!(parse("plain 192.0.2.9:80"), event("plain", "192.0.2.9", None));
    assert_eq!(parse(r#"plain {"ip":"192.0.2.1","kind":"x"}"#), None);
}

#[test]
fn mistakes_in_patterns_of_json_lines() {
    let message = |text: &str| {
        let (line, _, message) = one(text);
        (line, message)
    };
    let found = message(&format!("{HEAD}match = {{ a = 'x' }}\n"));
    assert_eq!((found.0, found.1.contains("`match` belongs to JSON")), (5, true), "{found:?}");
    let found = message(&format!("{JSON}event = \"a\"\nmatch = {{ near = 'x' }}\n"));
    assert_eq!((found.0, found.1.contains("no field is named `near`")), (7, true), "{found:?}");
    let found = message(&format!("{JSON}event = \"a\"\nregex = '<ip>'\nmatch = {{ kind = 'x' }}\n"));
    assert_eq!((found.0, found.1.contains("both")), (7, true), "{found:?}");
    let found = message(&format!("{JSON}event = \"a\"\n"));
    assert_eq!((found.0, found.1.contains("without `regex`")), (2, true), "{found:?}");
    let found = message(&format!("{JSON}event = \"a\"\nmatch = {{ kind = '(' }}\n"));
    assert_eq!((found.0, found.1.contains("unclosed group")), (7, true), "{found:?}");
    let text = "[filter]\nname = \"own\"\njson = true\nevent = \"x\"\nfields = { kind = \"k\" }\n[[patterns]]\nevent = \"a\"\nmatch = { kind = 'x' }\n";
    let lines: Vec<u32> = mistakes(text).iter().map(|mistake| mistake.0).collect();
    assert_eq!(lines, [8, 4], "no address, and two places say what the lines are");
}

#[test]
fn lines_with_and_without_a_header() {
    let mut library = Library::empty();
    let text = "[filter]\nname = \"own\"\nheader = \"either\"\nprograms = [\"door*\"]\nutc = true\n[[patterns]]\nevent = \"a\"\nregex = '(?:(?<time>\\S+ \\S+) )?no <ip>'\n";
    library.add("own.toml", text).unwrap();
    let filter = library.filter("own").unwrap();
    for (line, found) in [
        ("no 192.0.2.7", true),
        ("2026-11-23 02:45:00 no 192.0.2.7", true),
        ("Nov 23 02:45:00 gate door[1]: no 192.0.2.7", true),
        ("Nov 23 02:45:00 gate doorbell[1]: 2026-11-23 02:45:00 no 192.0.2.7", true),
        ("Nov 23 02:45:00 gate other[1]: no 192.0.2.7", false),
        ("Nov 23 02:45:00 gate door[1]: yes 192.0.2.7", false),
    ] {
        assert_eq!(filter.parse(line.as_bytes()).is_some(), found, "{line}");
    }
}

#[test]
fn all_mistakes_at_once() {
    let text = r#"
[[scenarios]]
name = "Too Many"
filters = ["nginx", "apache"]
events = ["htp"]
group_by = ["user"]
ipv6_prefix = 7
distinct = "colour"
capacity = 99999999
leak = "0s"
ban = "long"
when = [{ status = 4.5 }, { shape = "x" }, { status = { from = 9, to = 1 } }, { path = { near = "x" } }, { path = { regex = '(' } }]
"#;
    let lines: Vec<u32> = mistakes(text).iter().map(|mistake| mistake.0).collect();
    let mut sorted = lines.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, [3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 12, 12, 12, 12], "{:#?}", mistakes(text));
    let known = mistakes(text).into_iter().map(|mistake| mistake.2).collect::<Vec<_>>().join("\n");
    assert!(known.contains("no filter `apache`") && known.contains("the event `htp`"), "{known}");
}

#[test]
fn the_documented_example_is_one() {
    let text: String = include_str!("../src/lib.rs")
        .lines()
        .skip_while(|line| *line != "//! ```toml")
        .skip(1)
        .take_while(|line| *line != "//! ```")
        .map(|line| format!("{}\n", line.trim_start_matches("//!").trim_start()))
        .collect();
    let mut library = Library::empty();
    library.add("door.toml", &text).unwrap();
    let found = library.filter("door").unwrap().parse(b"refused eve from 192.0.2.7 port 4711").unwrap();
    assert_eq!((found.event.as_str(), found.ip.to_string()), ("refused", "192.0.2.7".to_owned()));
    assert_eq!(library.scenarios().next().unwrap().name, "door-rattling");
}
