//! The language of CrowdSec's parsers: what nodes do to an event, what is refused, and that whatever somebody writes into
//! a file or a line ends in time.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use logs::FilterError;
use logs::crowdsec::overflow::{Overflow, Source};
use logs::crowdsec::{DataFile, Event, Item, Items, Line, Mode, Pipeline, limits};
use logs::expr::Time;
use proptest::prelude::*;

fn now() -> Time {
    Time::utc("2026-11-23T02:45:00Z".parse().unwrap())
}

fn items<'t>(files: &[(&'t str, &'t str)]) -> Items<'t> {
    let item = |(file, text): &(&'t str, &'t str)| Item {
        file,
        stage: file.split('/').next().unwrap(),
        bytes: text.as_bytes(),
    };
    Items { parsers: files.iter().map(item).collect(), ..Items::default() }
}

fn pipeline(files: &[(&str, &str)]) -> Pipeline {
    let (pipeline, errors) = Pipeline::new(&items(files));
    assert!(errors.is_empty(), "{errors:#?}");
    pipeline
}

fn refused(text: &str) -> Vec<FilterError> {
    let (pipeline, errors) = Pipeline::new(&items(&[("s00/f.yaml", text)]));
    assert_eq!(pipeline.nodes(), 0, "a file with mistakes is left out");
    errors
}

fn line(raw: &str) -> Event {
    let labels = [(Arc::from("type"), Arc::from("test"))];
    let labels = Arc::new(labels.into_iter().collect());
    Event::line(Line { raw: raw.into(), labels, ..Line::default() }, Mode::Live, now())
}

fn meta(event: &Event) -> Vec<String> {
    event.meta.iter().map(|(name, value)| format!("{name}={value}")).collect()
}

#[test]
fn a_node_with_a_grok_stays_a_success_whatever_its_children_do() {
    let mut pipeline = pipeline(&[(
        "s00/f.yaml",
        r"
name: a
grok:
  pattern: '^%{WORD:word} %{INT:number}'
  apply_on: Line.Raw
  statics:
    - meta: grokked
      value: yes
nodes:
  - filter: evt.Parsed.word == 'one'
    statics: [{meta: child, value: one}]
  - filter: evt.Parsed.number == '2'
    statics: [{meta: second, value: two}]
statics:
  - meta: word
    expression: evt.Parsed.word
",
    )]);
    let event = pipeline.parse(line("one 2"), now());
    assert!(event.process);
    assert_eq!(meta(&event), ["child=one", "grokked=yes", "second=two", "word=one"]);
    let event = pipeline.parse(line("other 3"), now());
    assert!(event.process);
    assert_eq!(meta(&event), ["grokked=yes", "word=other"]);
    let event = pipeline.parse(line("other"), now());
    assert!(!event.process);
    assert!(meta(&event).is_empty());
}

#[test]
fn without_a_grok_the_last_child_decides_unless_the_first_success_ends_it() {
    let nodes = r"
nodes:
  - filter: evt.Line.Raw contains 'a'
    statics: [{meta: a, value: yes}]
  - filter: evt.Line.Raw contains 'b'
    statics: [{meta: b, value: yes}]
statics: [{meta: node, value: yes}]
";
    let last = format!("name: n\n{nodes}");
    let first = format!("name: n\nonsuccess: next_stage\n{nodes}");
    for (file, raw, passes, expected) in [
        (&last, "ab", true, &["a=yes", "b=yes", "node=yes"][..]),
        (&last, "a", false, &["a=yes"]),
        (&last, "b", true, &["b=yes", "node=yes"]),
        (&first, "ab", true, &["a=yes", "node=yes"]),
        (&first, "a", true, &["a=yes", "node=yes"]),
        (&first, "c", false, &[]),
    ] {
        let event = pipeline(&[("s00/f.yaml", file)]).parse(line(raw), now());
        assert_eq!(
            (event.process, &meta(&event)[..]),
            (passes, &expected.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>()[..]),
            "{raw} in {file}"
        );
    }
}

#[test]
fn stages_follow_each_other_only_where_a_node_says_so() {
    let moves = "name: a\nonsuccess: next_stage\nstatics: [{meta: first, value: a}]\n";
    let stays = "name: a\nstatics: [{meta: first, value: a}]\n";
    let second = "name: b\nstatics: [{meta: second, value: b}]\n";
    let event = pipeline(&[("s00/a.yaml", moves), ("s01/b.yaml", second)]).parse(line("x"), now());
    assert_eq!((event.process, meta(&event)), (true, vec!["first=a".to_owned(), "second=b".to_owned()]));
    let event = pipeline(&[("s00/a.yaml", stays), ("s01/b.yaml", second)]).parse(line("x"), now());
    assert_eq!((event.process, meta(&event)), (false, vec!["first=a".to_owned()]));
    // Files of a stage go by their names, whoever's folder they are in; the first success that moves on ends the stage.
    let late = "name: z\nstatics: [{meta: first, value: late}]\n";
    let mut both = pipeline(&[("s00/zz/a.yaml", moves), ("s00/aa/b.yaml", late), ("s01/b.yaml", second)]);
    let parsed = both.parse_told(line("x"), now());
    let steps: Vec<String> =
        parsed.steps.iter().map(|step| format!("{}/{}", step.stage, step.name)).collect();
    assert_eq!(steps, ["s00/a", "s01/b"]);
    let mut nothing = pipeline(&[("s00/a.yaml", moves), ("s01/b.yaml", "# nothing\n")]);
    assert!(nothing.parse(line("x"), now()).process, "a file without nodes makes no stage");
    let mut begun = line("x");
    begun.stage = "s01".into();
    assert_eq!(meta(&both.parse(begun, now())), ["second=b"]);
}

#[test]
fn statics_set_what_they_name() {
    let mut pipeline = pipeline(&[(
        "s00/f.yaml",
        r#"
name: a
statics:
  - {parsed: text, value: x}
  - {parsed: number, expression: 1 + 2}
  - {parsed: float, expression: "1.5"}
  - {parsed: nothing, expression: evt.Unmarshaled.none}
  - {parsed: list, expression: "['a']"}
  - {enriched: e, value: y}
  - {target: evt.Meta.m, value: z}
  - {target: evt.StrTime, value: "2026-11-23"}
  - {target: evt.NoSuchThing, value: z}
  - {method: ParseDate, expression: evt.StrTime}
  - {target: MarshaledTime, expression: evt.Enriched.MarshaledTime}
  - {meta: type, expression: evt.Line.Labels.type}
  - {meta: set, expression: "evt.SetMeta('by', evt.GetType()) ? 'yes' : 'no'"}
"#,
    )]);
    let event = pipeline.parse(line("x"), now());
    assert!(event.process);
    let parsed: Vec<String> = event.parsed.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(parsed, ["float=1.500000", "number=3", "text=x"]);
    assert_eq!(meta(&event), ["by=log", "m=z", "set=yes", "type=test"]);
    assert_eq!(&*event.marshaled_time, "2026-11-23T00:00:00Z");
}

#[test]
fn what_cannot_be_a_text_gives_the_event_up() {
    let mut pipeline = pipeline(&[(
        "s00/f.yaml",
        "name: a\nstatics:\n- {meta: a, expression: 1 == 1}\n- {meta: b, value: c}\n",
    )]);
    let parsed = pipeline.parse_told(line("x"), now());
    assert!(!parsed.event.process && parsed.event.meta.is_empty() && parsed.steps.is_empty());
}

#[test]
fn stashes_remember_from_line_to_line() {
    let mut pipeline = pipeline(&[(
        "s00/f.yaml",
        r"
name: a
nodes:
  - grok: {pattern: '^login %{INT:id} %{IP:ip}', apply_on: Line.Raw}
    stash: [{name: who, key: evt.Parsed.id, value: evt.Parsed.ip, ttl: 1m, size: 2}]
  - grok: {pattern: '^fail %{INT:id}', apply_on: Line.Raw}
    statics: [{meta: source_ip, expression: 'GetFromStash(\'who\', evt.Parsed.id)'}]
onsuccess: next_stage
"
        .replace("\\'", "''")
        .as_str(),
    )]);
    pipeline.parse(line("login 7 192.0.2.1"), now());
    assert_eq!(pipeline.parse(line("fail 7"), now()).meta("source_ip"), "192.0.2.1");
    assert_eq!(pipeline.parse(line("fail 8"), now()).meta("source_ip"), "");
    let later = Time::utc("2026-11-23T02:46:00Z".parse().unwrap());
    assert_eq!(pipeline.parse(line("fail 7"), later).meta("source_ip"), "");
}

#[test]
fn whitelists_forgive_lines_and_overflows() {
    let mut pipeline = pipeline(&[(
        "s01-whitelist/f.yaml",
        r"
name: a
whitelist:
  reason: mine
  ip: ['192.0.2.1', '2001:db8::1']
  cidr: ['198.51.100.0/24']
  expression: [evt.GetMeta('user') == 'alice']
statics: [{meta: only, value: forgiven}]
",
    )]);
    let from = |ip: &str| {
        let mut event = line("x");
        Arc::make_mut(&mut event.meta).insert("source_ip".into(), ip.into());
        event
    };
    for (ip, forgiven) in [
        ("192.0.2.1", true),
        ("2001:db8::1", true),
        ("198.51.100.9", true),
        ("192.0.2.2", false),
        ("x", false),
    ] {
        let event = pipeline.parse(from(ip), now());
        assert_eq!(
            (event.whitelisted, &*event.whitelist_reason),
            (forgiven, if forgiven { "mine" } else { "" }),
            "{ip}"
        );
        assert_eq!(event.meta("only"), if forgiven { "forgiven" } else { "" }, "{ip}");
    }
    let mut event = line("x");
    Arc::make_mut(&mut event.meta).insert("user".into(), "alice".into());
    assert!(pipeline.parse(event, now()).whitelisted);
    for (source, forgiven) in [("198.51.100.9", true), ("192.0.2.2", false)] {
        let overflow =
            Overflow { sources: [(source.into(), Source::default())].into(), ..Overflow::default() };
        let event = pipeline.parse(Event::overflow(Arc::new(overflow), Mode::Live, now()), now());
        assert_eq!(event.overflow.unwrap().whitelisted, forgiven);
    }
}

#[test]
fn json_is_read_into_the_event() {
    let mut pipeline = pipeline(&[(
        "s00/f.yaml",
        "name: a\nfilter: UnmarshalJSON(evt.Line.Raw, evt.Unmarshaled, 'j') in ['', nil]\nstatics:\n- {meta: b, expression: evt.Unmarshaled.j.a.b}\n- {meta: n, expression: string(evt.Unmarshaled.j.n)}\n",
    )]);
    let event = pipeline.parse(line(r#"{"a": {"b": "x"}, "n": 3}"#), now());
    assert_eq!(meta(&event), ["b=x", "n=3"]);
    assert!(!pipeline.parse(line("no json"), now()).process);
}

#[test]
fn what_is_not_supported_is_refused_by_line_and_name() {
    for (text, at, told) in [
        ("name: a\nconditon: x\nstatics: [{meta: a, value: b}]\n", 2, "`conditon` of a node"),
        ("name: a\nname: b\nstatics: [{meta: a, value: b}]\n", 2, "twice"),
        ("name: a\nformat: 9.0\nstatics: [{meta: a, value: b}]\n", 2, "format `9.0`"),
        ("name: a\nonsuccess: jump\nstatics: [{meta: a, value: b}]\n", 2, "`onsuccess: jump`"),
        ("name: a\nfilter: 'evt.Meta.a =='\nstatics: [{meta: a, value: b}]\n", 2, "expression is wrong"),
        ("name: a\nfilter: NoSuch(evt.Meta.a)\nstatics: [{meta: a, value: b}]\n", 2, "NoSuch"),
        ("name: a\nfilter: evt.Mete.a == ''\nstatics: [{meta: a, value: b}]\n", 2, "`evt.Mete`"),
        ("name: a\nfilter: queue.Queue == ''\nstatics: [{meta: a, value: b}]\n", 2, "`queue`"),
        ("name: a\ngrok:\n  pattern: '%{NOSUCH:x}'\n  apply_on: message\n", 3, "no pattern NOSUCH"),
        (
            "name: a\ngrok:\n  pattern: '(?=x)%{WORD:x}'\n  apply_on: message\n",
            3,
            "looks neither back nor ahead",
        ),
        ("name: a\ngrok:\n  pattern: '%{WORD:x}'\n", 3, "a grok of nothing"),
        ("name: a\ngrok:\n  apply_on: message\n", 3, "without a pattern"),
        ("name: a\nstatics:\n- meta: b\n", 3, "without a value"),
        ("name: a\nstatics:\n- value: b\n", 3, "sets nothing"),
        ("name: a\nstatics:\n- {method: GeoIpMoon, value: b}\n", 3, "`GeoIpMoon`"),
        ("name: a\nstash:\n- {name: b, key: \"'k'\", value: \"'v'\", ttl: 5}\n", 3, "`5` is no duration"),
        ("name: a\nstash:\n- {name: b, key: \"'k'\", value: \"'v'\", ttl: 5s, strategy: ARC}\n", 3, "`ARC`"),
        (
            "name: a\nstash:\n- {name: b, key: \"'k'\", value: \"'v'\", ttl: 5s, size: -1}\n",
            3,
            "no number above 0",
        ),
        ("name: a\nwhitelist:\n  ip: [192.0.2]\n", 3, "no address"),
        ("name: a\nwhitelist:\n  cidr: [192.0.2.0/33]\n", 3, "no range"),
        ("name: a\ndescription: nothing\n", 1, "does nothing"),
        ("name: a\nnodes: [{filter: 'true'}]\n", 2, "does nothing"),
        ("name: [a\n", 2, "no YAML"),
        ("- a\n", 1, "no mapping"),
        ("name: a\n? [b]\n: c\n", 2, "key that is no text"),
    ] {
        let errors = refused(text);
        let found = errors.first().unwrap_or_else(|| panic!("{text} is taken"));
        assert!(found.line == at && found.to_string().contains(told), "{text}: {found}");
    }
}

#[test]
fn every_mistake_is_told_and_the_other_files_run() {
    let wrong = "name: a\nfilter: '('\nstatics:\n- {meta: b}\n- {value: c}\n";
    let right = "name: b\nstatics: [{meta: a, value: b}]\n---\n# nothing\n---\nname: c\nstatics: [{meta: c, value: d}]\n";
    let (mut pipeline, errors) = Pipeline::new(&items(&[("s00/a.yaml", wrong), ("s00/b.yaml", right)]));
    assert_eq!(
        errors.iter().map(|error| (error.file.as_str(), error.line)).collect::<Vec<_>>(),
        [("s00/a.yaml", 2), ("s00/a.yaml", 4), ("s00/a.yaml", 5)]
    );
    assert_eq!(meta(&pipeline.parse(line("x"), now())), ["a=b", "c=d"]);
}

#[test]
fn data_files_are_asked_and_missing_ones_are_told() {
    let text = "name: a\nfilter: evt.Line.Raw in File('bad.txt')\nstatics: [{meta: a, value: b}]\ndata:\n- {source_url: x, dest_file: bad.txt, type: string}\n- {source_url: x, dest_file: none.txt, type: regexp}\n- {source_url: x, dest_file: notes.txt}\n";
    let mut given = items(&[("s00/a.yaml", text)]);
    given.data.push(DataFile { name: "bad.txt", bytes: b"x\n# y\n" });
    let (mut pipeline, errors) = Pipeline::new(&given);
    assert!(errors.is_empty());
    assert!(pipeline.parse(line("x"), now()).process);
    assert!(!pipeline.parse(line("# y"), now()).process);
    let missing: Vec<String> = pipeline.missing_data().iter().map(ToString::to_string).collect();
    assert_eq!(missing.len(), 1, "{missing:?}");
    assert!(missing[0].starts_with("s00/a.yaml:6: unsupported: data file `none.txt`"), "{missing:?}");
}

#[test]
fn bounds_hold() {
    let grok = "name: a\ngrok: {pattern: '%{GREEDYDATA:x}', apply_on: Line.Raw}\n";
    let mut pipeline = pipeline(&[("s00/a.yaml", grok)]);
    assert!(pipeline.parse(line(&"x".repeat(limits::MAX_GROKKED)), now()).process);
    assert!(!pipeline.parse(line(&"x".repeat(limits::MAX_GROKKED + 1)), now()).process);
    let mut any = self::pipeline(&[("s00/a.yaml", "name: a\nstatics: [{meta: a, value: b}]\n")]);
    assert!(any.parse(line(&"x".repeat(limits::MAX_LINE)), now()).process);
    assert!(!any.parse(line(&"x".repeat(limits::MAX_LINE + 1)), now()).process);
    let deep = (0..40)
        .fold("{statics: [{meta: a, value: b}]}".to_owned(), |inside, _| format!("{{nodes: [{inside}]}}"));
    assert!(!refused(&format!("name: a\nnodes: [{deep}]\n")).is_empty());
    let wide =
        format!("name: a\nnodes: [{}]\n", "{statics: [{meta: a, value: b}]}, ".repeat(limits::MAX_NODES + 1));
    assert!(!refused(&wide).is_empty());
    let long = format!("name: a\n# {}\n", "x".repeat(limits::MAX_FILE));
    assert!(refused(&long)[0].message.contains("bytes"));
    let mut bomb = "name: a\nx0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        bomb += &format!("x{level}: &a{level} [{}]\n", format!("*a{}, ", level - 1).repeat(10));
    }
    assert!(refused(&bomb)[0].message.contains("aliases"));
    let large = "name: a\ngrok: {pattern: '(%{IPORHOST:a}){1000}', apply_on: Line.Raw}\n";
    assert!(refused(large)[0].message.contains("bytes when compiled"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever stands in a file: it loads or is refused, and what loads runs.
    #[test]
    fn any_file_ends(bytes in proptest::collection::vec(any::<u8>(), 0..200), raw in ".{0,80}") {
        let items = Items { parsers: vec![Item { file: "f.yaml", stage: "s00", bytes: &bytes }], ..Items::default() };
        let (mut pipeline, _) = Pipeline::new(&items);
        pipeline.parse(line(&raw), now());
    }

    /// Files that look like ones, put together of pieces.
    #[test]
    fn any_node_ends(
        pieces in proptest::collection::vec(prop_oneof![
            Just("name: a\n"), Just("filter: evt.Meta.a != ''\n"), Just("onsuccess: next_stage\n"), Just("nodes:\n"),
            Just("  - filter: 'true'\n"), Just("    statics: [{meta: a, value: b}]\n"), Just("statics:\n"),
            Just("  - {parsed: a, expression: evt.Line.Raw}\n"), Just("grok:\n"), Just("  apply_on: Line.Raw\n"),
            Just("  pattern: '%{WORD:w}|%{IP:a}'\n"), Just("---\n"), Just("pattern_syntax: {A: '%{A}'}\n"),
            Just("whitelist: {ip: [192.0.2.1]}\n"), Just("&x "), Just("*x\n"),
        ], 0..12),
        raw in ".{0,80}",
    ) {
        let text = pieces.concat();
        let (mut pipeline, errors) = Pipeline::new(&items(&[("s00/f.yaml", &text)]));
        for error in errors {
            prop_assert!(error.line > 0 && !error.message.is_empty() && !error.help.is_empty());
        }
        pipeline.parse(line(&raw), now());
    }
}
